// SPDX-License-Identifier: GPL-2.0
/*
 * A wait goes on when other subsystems have work for the waiting task: here a
 * native ring of the same thread, whose poll requests complete meanwhile. The
 * device has to leave the kernel for that, and must not be seen to do so.
 */
#include "uring.h"
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/eventfd.h>
#include "kselftest_harness.h"

#define MS	1000000ull
#define SLOT	3	/* where the ring is registered */

/* The native ring, and who makes its requests complete. */
struct foreign {
	struct ring n;
	int event;
	pthread_t thread;
	pid_t tid;		/* the thread that waits */
	int signal;		/* send it that signal first */
	unsigned int rounds;	/* so many completions, or until the wait is over */
	unsigned int messages;	/* then so many messages */
	int signal_after;	/* or that signal */
	struct ring *r;
	unsigned int count;	/* completions that there were */
	bool over;		/* the wait is over */
	bool too_long;
};

static int foreign_init(struct foreign *f, struct ring *r)
{
	struct io_uring_sqe *sqe;
	int ret;

	memset(f, 0, sizeof(*f));
	f->r = r;
	f->tid = gettid();
	f->event = eventfd(0, EFD_CLOEXEC);
	ret = ring_init(&f->n, NATIVE, 2048, 0);
	if (ret)
		return ret;
	sqe = ring_sqe(&f->n);
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = f->event;
	sqe->poll32_events = POLLIN;
	sqe->len = IORING_POLL_ADD_MULTI;
	return ring_submit(&f->n, 0) - 1;
}

static void foreign_exit(struct foreign *f)
{
	ring_exit(&f->n);
	close(f->event);
}

static bool complete_one(struct foreign *f)
{
	unsigned int tail;

	wait_asleep(f->tid);
	if (load_acquire(&f->over))
		return false;
	tail = load_acquire(f->n.cq_tail);
	eventfd_write(f->event, 1);
	/* It completes while the wait goes on: that takes the waiting thread. */
	while (load_acquire(f->n.cq_tail) == tail)
		usleep(100);
	f->count++;
	return true;
}

static void *foreign_thread(void *arg)
{
	struct foreign *f = arg;
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 20000 * MS;
	unsigned int i;

	wait_asleep(f->tid);
	if (f->signal)
		syscall(SYS_tgkill, getpid(), f->tid, f->signal);
	for (i = 0; !f->rounds || i < f->rounds; i++) {
		if (!complete_one(f))
			return NULL;
		if (now_ns(CLOCK_MONOTONIC) > limit) {
			f->too_long = true;
			break;
		}
	}
	for (i = 0; i < f->messages || f->too_long; i++) {
		wait_asleep(f->tid);
		if (f->too_long && load_acquire(&f->over))
			break;
		send_msg(f->r->backend, f->r->fd, 1000 + i, i);
	}
	wait_asleep(f->tid);
	if (f->signal_after)
		syscall(SYS_tgkill, getpid(), f->tid, f->signal_after);
	return NULL;
}

static void foreign_start(struct foreign *f)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&f->thread, NULL, foreign_thread, f))
		abort();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void foreign_stop(struct foreign *f)
{
	store_release(&f->over, true);
	pthread_join(f->thread, NULL);
}

static struct ring *handler_ring;
static volatile unsigned int handled, handler_tail;
static sigjmp_buf jump;

static void on_signal(int sig)
{
	handled++;
	handler_tail = load_acquire(handler_ring->cq_tail);
}

static void on_signal_jump(int sig)
{
	handled++;
	siglongjmp(jump, 1);
}

FIXTURE(foreign) {
	struct ring r;
	struct foreign f;
};

RING_VARIANTS(foreign);

FIXTURE_SETUP(foreign)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
	ASSERT_EQ(0, foreign_init(&self->f, &self->r));
	handler_ring = &self->r;
	signal(SIGUSR1, on_signal);
}

FIXTURE_TEARDOWN(foreign)
{
	foreign_exit(&self->f);
	ring_exit(&self->r);
}

static int wait_ts(struct ring *r, unsigned int submit, unsigned int min, unsigned int flags,
		   uint64_t ns, unsigned int min_wait_us)
{
	struct __kernel_timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	struct io_uring_getevents_arg arg = {
		.ts = ns ? (unsigned long)&ts : 0,
		.min_wait_usec = min_wait_us,
	};

	return uring_enter_arg(r->backend, r->fd, submit, min,
			       flags | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
			       sizeof(arg));
}

TEST_F(foreign, wait_goes_on)
{
	self->f.rounds = 20;
	self->f.messages = 2;
	foreign_start(&self->f);
	EXPECT_EQ(0, ring_enter(&self->r, 0, 2, IORING_ENTER_GETEVENTS));
	foreign_stop(&self->f);
	EXPECT_EQ(20, self->f.count);
	EXPECT_EQ(2, ring_ready(&self->r));
}

TEST_F(foreign, nothing_is_submitted_twice)
{
	struct io_uring_cqe cqe;
	int i;

	SKIP_POLLED(&self->r, "it is the call that submits");
	for (i = 0; i < 5; i++)
		ring_nop(&self->r, i);
	ring_flush(&self->r);
	self->f.rounds = 10;
	self->f.messages = 2;
	foreign_start(&self->f);
	EXPECT_EQ(2, ring_enter(&self->r, 2, 4, IORING_ENTER_GETEVENTS));
	foreign_stop(&self->f);
	EXPECT_EQ(10, self->f.count);
	EXPECT_EQ(2, *self->r.sq_head);
	ASSERT_EQ(4, ring_ready(&self->r));
	for (i = 0; i < 2; i++) {
		ASSERT_TRUE(ring_cqe(&self->r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
	}
	/* The same call once more is one of its own. */
	EXPECT_EQ(2, ring_enter(&self->r, 2, 4, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(4, *self->r.sq_head);
}

TEST_F(foreign, timeout_is_not_extended)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	foreign_start(&self->f);
	EXPECT_EQ(-ETIME, wait_ts(&self->r, 0, 1, 0, 500 * MS, 0));
	EXPECT_LE(500 * MS, now_ns(CLOCK_MONOTONIC) - start);
	foreign_stop(&self->f);
	EXPECT_FALSE(self->f.too_long);
	EXPECT_LT(0, self->f.count);
}

TEST_F(foreign, timeout_after_submission)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	SKIP_POLLED(&self->r, "it is the call that submits");
	ring_nop(&self->r, 1);
	ring_nop(&self->r, 2);
	ring_flush(&self->r);
	foreign_start(&self->f);
	EXPECT_EQ(1, wait_ts(&self->r, 1, 2, 0, 300 * MS, 0));
	EXPECT_LE(300 * MS, now_ns(CLOCK_MONOTONIC) - start);
	foreign_stop(&self->f);
	EXPECT_FALSE(self->f.too_long);
	EXPECT_LT(0, self->f.count);
	EXPECT_EQ(1, *self->r.sq_head);
}

TEST_F(foreign, absolute_timeout)
{
	uint64_t until = now_ns(CLOCK_MONOTONIC) + 300 * MS;

	foreign_start(&self->f);
	EXPECT_EQ(-ETIME, wait_ts(&self->r, 0, 1, IORING_ENTER_ABS_TIMER, until, 0));
	EXPECT_LE(until, now_ns(CLOCK_MONOTONIC));
	foreign_stop(&self->f);
	EXPECT_FALSE(self->f.too_long);
}

TEST_F(foreign, min_wait_is_not_extended)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	foreign_start(&self->f);
	EXPECT_EQ(-ETIME, wait_ts(&self->r, 0, 2, 0, 0, 300000));
	EXPECT_LE(300 * MS, now_ns(CLOCK_MONOTONIC) - start);
	foreign_stop(&self->f);
	EXPECT_FALSE(self->f.too_long);
	EXPECT_LT(0, self->f.count);
}

/* The minimum, then the rest of the time; then one CQE is enough again. */
TEST_F(foreign, min_wait_and_timeout)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	foreign_start(&self->f);
	EXPECT_EQ(-ETIME, wait_ts(&self->r, 0, 2, 0, 400 * MS, 100000));
	EXPECT_LE(400 * MS, now_ns(CLOCK_MONOTONIC) - start);
	foreign_stop(&self->f);
	EXPECT_FALSE(self->f.too_long);

	ring_nop(&self->r, 1);
	ASSERT_EQ(1, ring_submit(&self->r, 0));
	self->f.over = false;
	foreign_start(&self->f);
	start = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(0, wait_ts(&self->r, 0, 2, 0, 3600 * 1000 * MS, 300000));
	EXPECT_LE(300 * MS, now_ns(CLOCK_MONOTONIC) - start);
	foreign_stop(&self->f);
	EXPECT_FALSE(self->f.too_long);
}

TEST_F(foreign, signal_still_interrupts)
{
	self->f.rounds = 5;
	self->f.signal_after = SIGUSR1;
	foreign_start(&self->f);
	EXPECT_EQ(-EINTR, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
	foreign_stop(&self->f);
	EXPECT_EQ(5, self->f.count);
	EXPECT_EQ(1, handled);
	/* Of a wait that has submitted the count is told. */
	ring_nop(&self->r, 1)->flags = IOSQE_CQE_SKIP_SUCCESS;
	self->f.over = false;
	foreign_start(&self->f);
	EXPECT_EQ(1, ring_submit(&self->r, 1));
	foreign_stop(&self->f);
	EXPECT_EQ(10, self->f.count);
	EXPECT_EQ(2, handled);
}

/*
 * A signal that the mask of the wait holds back. The device cannot keep the
 * mask while it is out of the kernel, so there the handler runs earlier; the
 * wait goes on nevertheless.
 */
TEST_F(foreign, mask_holds_back)
{
	uint64_t mask = 1ull << (SIGUSR1 - 1);

	self->f.signal = SIGUSR1;
	self->f.rounds = 5;
	self->f.messages = 1;
	foreign_start(&self->f);
	EXPECT_EQ(0, uring_enter_arg(variant->backend, self->r.fd, 0, 1, IORING_ENTER_GETEVENTS,
				     &mask, 8));
	foreign_stop(&self->f);
	EXPECT_EQ(5, self->f.count);
	EXPECT_EQ(1, ring_ready(&self->r));
	EXPECT_EQ(1, handled);
	EXPECT_EQ(variant->backend == NATIVE ? 1 : 0, handler_tail);
}

/* And one that only the wait lets through. */
TEST_F(foreign, mask_lets_through)
{
	uint64_t none = 0;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	self->f.rounds = 5;
	self->f.signal_after = SIGUSR1;
	foreign_start(&self->f);
	EXPECT_EQ(-EINTR, uring_enter_arg(variant->backend, self->r.fd, 0, 1,
					  IORING_ENTER_GETEVENTS, &none, 8));
	foreign_stop(&self->f);
	EXPECT_EQ(5, self->f.count);
	EXPECT_EQ(1, handled);
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	EXPECT_TRUE(sigismember(&set, SIGUSR1));
}

/* Submits one and waits, until a handler jumps out of that. The foreign thread is gone then. */
static bool jump_out(struct foreign *f)
{
	uint64_t mask = 1ull << (SIGUSR1 - 1);

	signal(SIGUSR1, on_signal_jump);
	f->signal = SIGUSR1;
	f->rounds = 1;
	f->messages = 1;
	foreign_start(f);
	if (!sigsetjmp(jump, 1)) {
		uring_enter_arg(f->r->backend, f->r->fd, 1, 1, IORING_ENTER_GETEVENTS, &mask, 8);
		return false;
	}
	return handled == 1 && !pthread_join(f->thread, NULL);
}

/* The same call once more. Returns what it does. */
static int the_same_call(struct ring *r)
{
	uint64_t mask = 1ull << (SIGUSR1 - 1);

	return uring_enter_arg(r->backend, r->fd, 1, 1, IORING_ENTER_GETEVENTS, &mask, 8);
}

/* Waits for two CQEs, in either order, and adds up what they belong to. */
static uint64_t sum_of_two(struct ring *r)
{
	struct io_uring_cqe first, second;

	if (ring_enter(r, 0, 2, IORING_ENTER_GETEVENTS) || !ring_cqe(r, &first) ||
	    !ring_cqe(r, &second))
		return 0;
	return first.user_data + second.user_data;
}

/* A handler that does not return to the wait: the same call is a new one the next time. */
TEST_F(foreign, handler_jumps_out)
{
	SKIP_POLLED(&self->r, "it is the call that submits");
	ring_nop(&self->r, 1)->flags = IOSQE_CQE_SKIP_SUCCESS;
	ring_flush(&self->r);
	ASSERT_TRUE(jump_out(&self->f));
	EXPECT_EQ(1, *self->r.sq_head);
	ring_nop(&self->r, 2);
	ring_flush(&self->r);
	EXPECT_EQ(1, the_same_call(&self->r));
	EXPECT_EQ(2, *self->r.sq_head);
	/* This one and the message. */
	EXPECT_EQ(1002, sum_of_two(&self->r));
}

/* The same where each submission begins with the first entry: it looks like the one before. */
TEST_F(foreign, handler_jumps_out_of_the_first_entry)
{
	SKIP_POLLED(&self->r, "it is the call that submits");
	ring_exit(&self->r);
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags |
			       IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQ_REWIND));
	self->r.sqes[0] = (struct io_uring_sqe) {
		.opcode = IORING_OP_NOP, .user_data = 1, .flags = IOSQE_CQE_SKIP_SUCCESS,
	};
	ASSERT_TRUE(jump_out(&self->f));
	self->r.sqes[0] = (struct io_uring_sqe) { .opcode = IORING_OP_NOP, .user_data = 2 };
	EXPECT_EQ(1, the_same_call(&self->r));
	EXPECT_EQ(1002, sum_of_two(&self->r));
}

/* By registered index: on the device that is a call on another file. */
TEST_F(foreign, registered_ring)
{
	struct io_uring_rsrc_update reg = { .offset = SLOT, .data = self->r.fd };

	SKIP_POLLED(&self->r, "it is the call that submits");
	ASSERT_EQ(1, ring_register(&self->r, IORING_REGISTER_RING_FDS, &reg, 1));
	ring_nop(&self->r, 1);
	ring_nop(&self->r, 2);
	ring_flush(&self->r);
	self->f.rounds = 5;
	self->f.messages = 1;
	foreign_start(&self->f);
	EXPECT_EQ(1, uring_enter(variant->backend, SLOT, 1, 2,
				 IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING));
	foreign_stop(&self->f);
	EXPECT_EQ(5, self->f.count);
	EXPECT_EQ(1, *self->r.sq_head);
}

/* With everything in the argument word; the device only. */
TEST_F(foreign, packed)
{
	int ret;

	SKIP_POLLED(&self->r, "it is the call that submits");
	if (variant->backend == NATIVE)
		SKIP(return, "there is no such call");
	ring_nop(&self->r, 1);
	ring_nop(&self->r, 2);
	ring_flush(&self->r);
	self->f.rounds = 5;
	self->f.messages = 1;
	foreign_start(&self->f);
	ret = ioctl(self->r.fd, RUST_URING_ENTER_PACKED,
		    RUST_URING_PACK(1, 2, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, ret);
	foreign_stop(&self->f);
	EXPECT_EQ(5, self->f.count);
	EXPECT_EQ(1, *self->r.sq_head);
}

/* Threads that wait in one ring, each with foreign work of its own. */
#define THREADS	6

struct worker {
	pthread_t thread;
	struct ring *r;
	unsigned int min;
	unsigned int count;
	int ret;
};

static void *worker(void *arg)
{
	struct worker *w = arg;
	struct foreign f;

	if (foreign_init(&f, w->r)) {
		w->ret = -1000;
		return NULL;
	}
	f.rounds = 10;
	f.messages = 1;
	foreign_start(&f);
	w->ret = ring_enter(w->r, 0, w->min, IORING_ENTER_GETEVENTS);
	foreign_stop(&f);
	w->count = f.count;
	foreign_exit(&f);
	return NULL;
}

TEST_F(foreign, threads)
{
	struct worker w[THREADS] = {};
	unsigned int i;

	if (variant->flags)
		SKIP(return, "only its submitter can wait in such a ring");
	for (i = 0; i < THREADS; i++) {
		w[i].r = &self->r;
		/* Nobody is done before all of them have had their work. */
		w[i].min = THREADS;
		ASSERT_EQ(0, pthread_create(&w[i].thread, NULL, worker, &w[i]));
	}
	for (i = 0; i < THREADS; i++) {
		ASSERT_EQ(0, pthread_join(w[i].thread, NULL));
		EXPECT_EQ(0, w[i].ret);
		EXPECT_EQ(10, w[i].count);
	}
	EXPECT_EQ(THREADS, ring_ready(&self->r));
}

TEST_HARNESS_MAIN
