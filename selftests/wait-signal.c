// SPDX-License-Identifier: GPL-2.0
/* Signals while a task waits in ENTER: EINTR, signal masks, stop and continue, kill. */
#include "uring.h"
#include <pthread.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define MASK_SIZE	8	/* the kernel's sigset_t */

static struct ring *handler_ring;
static volatile unsigned int handled, handler_tail;
static volatile int handler_ret;

static void on_signal(int sig)
{
	handled++;
	handler_tail = load_acquire(handler_ring->cq_tail);
}

static void on_signal_submit(int sig)
{
	handled++;
	ring_nop(handler_ring, 77);
	handler_ret = ring_submit(handler_ring, 0);
}

static void catch(int sig, void (*handler)(int), int flags)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = flags };

	sigaction(sig, &sa, NULL);
}

static bool is_blocked(int sig)
{
	sigset_t now;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	return sigismember(&now, sig);
}

static void block(int how, int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	pthread_sigmask(how, &set, NULL);
}

/* Somebody who waits until a thread sleeps, sends it signals, and then perhaps a message. */
struct poker {
	pthread_t thread;
	pid_t tid;
	int signals[2];
	struct ring *ring;	/* where to send a message, when the thread sleeps again */
	int ret;
};

static void *poke(void *arg)
{
	struct poker *p = arg;
	int i;

	wait_asleep(p->tid);
	for (i = 0; i < 2; i++)
		if (p->signals[i])
			syscall(SYS_tgkill, getpid(), p->tid, p->signals[i]);
	if (p->ring) {
		wait_asleep(p->tid);
		p->ret = send_msg(p->ring->backend, p->ring->fd, 1, 1);
	}
	return NULL;
}

/* The poker itself gets no signals. */
static void poker_start(struct poker *p)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	p->tid = gettid();
	if (pthread_create(&p->thread, NULL, poke, p))
		abort();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static int poker_stop(struct poker *p)
{
	pthread_join(p->thread, NULL);
	return p->ret;
}

FIXTURE(signal) { struct ring r; };
RING_VARIANTS(signal);

FIXTURE_SETUP(signal)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
	handler_ring = &self->r;
	catch(SIGUSR1, on_signal, 0);
}

FIXTURE_TEARDOWN(signal)
{
	ring_exit(&self->r);
}

static int wait_one(struct ring *r)
{
	return ring_enter(r, 0, 1, IORING_ENTER_GETEVENTS);
}

static int wait_masked(struct ring *r, const uint64_t *mask, size_t size)
{
	return uring_enter_arg(r->backend, r->fd, 0, 1, IORING_ENTER_GETEVENTS, mask, size);
}

static int wait_arg(struct ring *r, const struct io_uring_getevents_arg *arg)
{
	return uring_enter_arg(r->backend, r->fd, 0, 1,
			       IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, arg, sizeof(*arg));
}

TEST_F(signal, interrupts)
{
	int flags[] = { 0, SA_RESTART };
	int i;

	/* The call is never restarted. */
	for (i = 0; i < 2; i++) {
		struct poker p = { .signals = { SIGUSR1 } };

		catch(SIGUSR1, on_signal, flags[i]);
		poker_start(&p);
		EXPECT_EQ(-EINTR, wait_one(&self->r));
		EXPECT_EQ(i + 1, handled);
		poker_stop(&p);
	}
}

TEST_F(signal, interrupts_a_timed_wait)
{
	struct __kernel_timespec ts = { .tv_sec = 3600 };
	struct io_uring_getevents_arg arg = { .ts = (unsigned long)&ts };
	int i;

	for (i = 0; i < 3; i++) {
		struct poker p = { .signals = { SIGUSR1 } };

		/* In the second round for the minimum, in the third for both. */
		arg.min_wait_usec = i ? 3600u * 1000000 : 0;
		arg.ts = i == 1 ? 0 : (unsigned long)&ts;
		poker_start(&p);
		EXPECT_EQ(-EINTR, wait_arg(&self->r, &arg));
		poker_stop(&p);
	}
	EXPECT_EQ(3, handled);
}

TEST_F(signal, ignored_ones_do_not)
{
	struct poker p = { .signals = { SIGUSR2, SIGWINCH }, .ring = &self->r };

	catch(SIGUSR2, SIG_IGN, 0);
	poker_start(&p);
	EXPECT_EQ(0, wait_one(&self->r));
	EXPECT_EQ(0, poker_stop(&p));
	EXPECT_EQ(1, ring_ready(&self->r));
}

TEST_F(signal, blocked_ones_do_not)
{
	struct poker p = { .signals = { SIGUSR1 }, .ring = &self->r };

	block(SIG_BLOCK, SIGUSR1);
	poker_start(&p);
	EXPECT_EQ(0, wait_one(&self->r));
	EXPECT_EQ(0, poker_stop(&p));
	EXPECT_EQ(0, handled);
	block(SIG_UNBLOCK, SIGUSR1);
	EXPECT_EQ(1, handled);
}

/* Some CQEs, though too few, are better news than EINTR. */
TEST_F(signal, cqes_win)
{
	struct poker p = { .signals = { SIGUSR1 } };

	ring_nop(&self->r, 1);
	ASSERT_EQ(1, ring_submit(&self->r, 0));
	poker_start(&p);
	EXPECT_EQ(0, ring_enter(&self->r, 0, 2, IORING_ENTER_GETEVENTS));
	poker_stop(&p);
	EXPECT_EQ(1, handled);
}

TEST_F(signal, submit_count_wins)
{
	struct poker p = { .signals = { SIGUSR1 } };

	SKIP_POLLED(&self->r, "it takes more than one call");
	ring_nop(&self->r, 1)->flags = IOSQE_CQE_SKIP_SUCCESS;
	poker_start(&p);
	EXPECT_EQ(1, ring_submit(&self->r, 1));
	poker_stop(&p);
	EXPECT_EQ(1, handled);
	EXPECT_EQ(0, ring_ready(&self->r));
}

/* One that is pending when the call begins. */
TEST_F(signal, pending_before)
{
	uint64_t none = 0;

	block(SIG_BLOCK, SIGUSR1);
	raise(SIGUSR1);
	ring_nop(&self->r, 1);
	ASSERT_EQ(1, ring_submit(&self->r, 0));
	/* There is a CQE: no wait, so the mask is not even set. */
	EXPECT_EQ(0, wait_masked(&self->r, &none, MASK_SIZE));
	EXPECT_EQ(0, handled);
	ring_seen(&self->r, 1);
	EXPECT_EQ(-EINTR, wait_masked(&self->r, &none, MASK_SIZE));
	EXPECT_EQ(1, handled);
	EXPECT_TRUE(is_blocked(SIGUSR1));
}

TEST_F(signal, mask_lets_through)
{
	struct poker p = { .signals = { SIGUSR1 } };
	uint64_t none = 0;

	block(SIG_BLOCK, SIGUSR1);
	poker_start(&p);
	EXPECT_EQ(-EINTR, wait_masked(&self->r, &none, MASK_SIZE));
	poker_stop(&p);
	EXPECT_EQ(1, handled);
	EXPECT_TRUE(is_blocked(SIGUSR1));
}

/* What the mask blocks is delivered when the wait is over, not before. */
TEST_F(signal, mask_holds_back)
{
	uint64_t mask = 1ull << (SIGUSR1 - 1);
	struct io_uring_getevents_arg arg = {
		.sigmask = (unsigned long)&mask,
		.sigmask_sz = MASK_SIZE,
	};
	int i, ret;

	for (i = 0; i < 2; i++) {
		struct poker p = { .signals = { SIGUSR1 }, .ring = &self->r };

		poker_start(&p);
		ret = i ? wait_arg(&self->r, &arg) : wait_masked(&self->r, &mask, MASK_SIZE);
		EXPECT_EQ(0, ret);
		EXPECT_EQ(i + 1, handled);
		EXPECT_EQ(i + 1, handler_tail);
		EXPECT_FALSE(is_blocked(SIGUSR1));
		EXPECT_EQ(0, poker_stop(&p));
		ring_seen(&self->r, 1);
	}
}

/* One is held back, the other one interrupts; then both are delivered. */
TEST_F(signal, mask_chooses)
{
	struct poker p = { .signals = { SIGUSR1, SIGUSR2 } };
	uint64_t mask = 1ull << (SIGUSR1 - 1);

	catch(SIGUSR2, on_signal, 0);
	block(SIG_BLOCK, SIGUSR2);
	poker_start(&p);
	EXPECT_EQ(-EINTR, wait_masked(&self->r, &mask, MASK_SIZE));
	EXPECT_EQ(2, handled);
	EXPECT_FALSE(is_blocked(SIGUSR1));
	EXPECT_TRUE(is_blocked(SIGUSR2));
	poker_stop(&p);
}

TEST_F(signal, mask_errors)
{
	struct io_uring_getevents_arg arg = {};
	uint64_t mask[4] = {};
	size_t sizes[] = { 0, 1, 4, 7, 9, 16, 24, 4096 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT_EQ(-EINVAL, wait_masked(&self->r, mask, sizes[i]));
		arg.sigmask = (unsigned long)mask;
		arg.sigmask_sz = sizes[i];
		EXPECT_EQ(-EINVAL, wait_arg(&self->r, &arg));
	}
	EXPECT_EQ(-EFAULT, wait_masked(&self->r, (void *)8, MASK_SIZE));
	EXPECT_EQ(-EFAULT, wait_masked(&self->r, (void *)0xffff888000000000, MASK_SIZE));
	EXPECT_EQ(-EINVAL, wait_masked(&self->r, (void *)8, 7));
	/* Without a mask the size means nothing, without a wait neither does. */
	EXPECT_EQ(0, uring_enter_arg(variant->backend, self->r.fd, 0, 0, IORING_ENTER_GETEVENTS,
				     NULL, 99));
	EXPECT_EQ(0, uring_enter_arg(variant->backend, self->r.fd, 0, 0, IORING_ENTER_GETEVENTS,
				     (void *)8, 99));
	ring_nop(&self->r, 1);
	EXPECT_EQ(1, uring_enter_arg(variant->backend, self->r.fd, ring_flush(&self->r), 1,
				     IORING_ENTER_GETEVENTS, (void *)8, 99));
	EXPECT_FALSE(is_blocked(SIGUSR1));
}

/* A handler may use the ring that its task was waiting in. */
TEST_F(signal, handler_enters)
{
	struct poker p = { .signals = { SIGUSR1 } };
	struct io_uring_cqe cqe;

	catch(SIGUSR1, on_signal_submit, 0);
	poker_start(&p);
	EXPECT_EQ(-EINTR, wait_one(&self->r));
	poker_stop(&p);
	EXPECT_EQ(1, handled);
	EXPECT_EQ(1, handler_ret);
	ASSERT_TRUE(ring_cqe(&self->r, &cqe));
	EXPECT_EQ(77, cqe.user_data);
}

/* A child that waits in a ring of its own; its exit code tells if that ended with EINTR. */
static pid_t waiting_child(enum backend backend, unsigned int flags, bool block_all)
{
	uint64_t all = ~0ull;
	struct ring r;
	pid_t child;
	int ret;

	child = fork();
	if (child)
		return child;
	if (ring_init(&r, backend, 4, flags))
		_exit(2);
	if (block_all)
		ret = wait_masked(&r, &all, MASK_SIZE);
	else
		ret = wait_one(&r);
	_exit(ret == -EINTR ? 0 : 1);
}

TEST_F(signal, stop_and_continue)
{
	int status;
	pid_t child = waiting_child(variant->backend, variant->flags, false);

	ASSERT_LT(0, child);
	wait_asleep(child);
	ASSERT_EQ(0, kill(child, SIGSTOP));
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, kill(child, SIGCONT));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/* A mask cannot hold back SIGKILL. */
TEST_F(signal, kill)
{
	int status, i;

	for (i = 0; i < 2; i++) {
		pid_t child = waiting_child(variant->backend, variant->flags, i);

		ASSERT_LT(0, child);
		wait_asleep(child);
		ASSERT_EQ(0, kill(child, SIGKILL));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		EXPECT_EQ(SIGKILL, WTERMSIG(status));
	}
}

TEST_HARNESS_MAIN
