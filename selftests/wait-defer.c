// SPDX-License-Identifier: GPL-2.0
/* DEFER_TASKRUN and TASKRUN_FLAG: work that waits for the submitter to enter. */
#include "uring.h"
#include <poll.h>
#include <pthread.h>
#include "kselftest_harness.h"

#define MS	1000000ull
#define DEFER	(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

FIXTURE(defer) { struct ring r; };
BACKEND_VARIANTS(defer);

FIXTURE_SETUP(defer)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 64,
			       DEFER | IORING_SETUP_TASKRUN_FLAG));
}

FIXTURE_TEARDOWN(defer)
{
	ring_exit(&self->r);
}

static bool taskrun(struct ring *r)
{
	return load_acquire(r->sq_flags) & IORING_SQ_TASKRUN;
}

static int send(struct ring *r, int res)
{
	return send_msg(r->backend, r->fd, 100, res);
}

/* How often a thread has gone to sleep by itself. */
static unsigned long switches(pid_t tid)
{
	char path[64], line[128];
	unsigned long nr = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "voluntary_ctxt_switches: %lu", &nr) == 1)
			break;
	if (f)
		fclose(f);
	return nr;
}

TEST_F(defer, message_waits_for_the_submitter)
{
	struct io_uring_cqe cqe;

	EXPECT_FALSE(taskrun(&self->r));
	ASSERT_EQ(0, send(&self->r, 1));
	ASSERT_EQ(0, send(&self->r, 2));
	EXPECT_TRUE(taskrun(&self->r));
	EXPECT_EQ(0, ring_ready(&self->r));
	/* Not every call is the one that is waited for. */
	EXPECT_EQ(0, ring_enter(&self->r, 0, 0, 0));
	EXPECT_TRUE(taskrun(&self->r));
	EXPECT_EQ(0, ring_ready(&self->r));

	EXPECT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_FALSE(taskrun(&self->r));
	ASSERT_EQ(2, ring_ready(&self->r));
	ASSERT_TRUE(ring_cqe(&self->r, &cqe));
	EXPECT_EQ(1, cqe.res);
	ASSERT_TRUE(ring_cqe(&self->r, &cqe));
	EXPECT_EQ(2, cqe.res);
}

TEST_F(defer, requests_as_well)
{
	ring_nop(&self->r, 1)->nop_flags = IORING_NOP_TW;
	EXPECT_EQ(1, ring_enter(&self->r, ring_flush(&self->r), 0, 0));
	EXPECT_TRUE(taskrun(&self->r));
	EXPECT_EQ(0, ring_ready(&self->r));
	/* A submission alone leaves it there, too. What completes inline does not wait for it. */
	ring_nop(&self->r, 2);
	EXPECT_EQ(1, ring_enter(&self->r, ring_flush(&self->r), 0, 0));
	EXPECT_TRUE(taskrun(&self->r));
	ASSERT_EQ(1, ring_ready(&self->r));
	EXPECT_EQ(2, ring_peek(&self->r)->user_data);

	EXPECT_EQ(0, ring_enter(&self->r, 0, 2, IORING_ENTER_GETEVENTS));
	EXPECT_FALSE(taskrun(&self->r));
	EXPECT_EQ(2, ring_ready(&self->r));
	/* With GETEVENTS it is done in the same call. */
	ring_nop(&self->r, 3)->nop_flags = IORING_NOP_TW;
	EXPECT_EQ(1, ring_enter(&self->r, ring_flush(&self->r), 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(3, ring_ready(&self->r));
	EXPECT_FALSE(taskrun(&self->r));
}

/* The flag is only there for those who asked. */
TEST_F(defer, no_flag)
{
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, variant->backend, 4, DEFER));
	ASSERT_EQ(0, send(&r, 1));
	EXPECT_FALSE(taskrun(&r));
	EXPECT_EQ(0, ring_ready(&r));
	EXPECT_EQ(0, ring_enter(&r, 0, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, ring_ready(&r));
	ring_exit(&r);
}

/* Without DEFER_TASKRUN work is done on the way out of the call that made it. */
TEST_F(defer, coop)
{
	unsigned int flags[] = { 0, IORING_SETUP_COOP_TASKRUN, IORING_SETUP_SINGLE_ISSUER,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG };
	struct ring r;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		ASSERT_EQ(0, ring_init(&r, variant->backend, 4, flags[i]));
		ring_nop(&r, 1)->nop_flags = IORING_NOP_TW;
		EXPECT_EQ(1, ring_enter(&r, ring_flush(&r), 0, 0));
		EXPECT_EQ(1, ring_ready(&r));
		EXPECT_FALSE(taskrun(&r));
		ASSERT_EQ(0, send(&r, 1));
		EXPECT_EQ(2, ring_ready(&r));
		EXPECT_FALSE(taskrun(&r));
		ring_nop(&r, 1)->nop_flags = IORING_NOP_TW;
		EXPECT_EQ(1, ring_submit(&r, 3));
		EXPECT_EQ(3, ring_ready(&r));
		ring_exit(&r);
	}
}

/* The flag without one of the other two makes no sense. */
TEST_F(defer, flag_needs_another)
{
	struct io_uring_params p = { .flags = IORING_SETUP_TASKRUN_FLAG };

	EXPECT_EQ(-EINVAL, uring_setup(variant->backend, 4, &p));
}

/* One call runs twenty, or as many as it waits for; what is left is told. */
TEST_F(defer, much_work)
{
	struct io_uring_cqe cqe;
	unsigned int i;

	for (i = 0; i < 60; i++)
		ASSERT_EQ(0, send(&self->r, i));
	EXPECT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(20, ring_ready(&self->r));
	EXPECT_TRUE(taskrun(&self->r));
	EXPECT_EQ(0, ring_enter(&self->r, 0, 0, 0));
	EXPECT_EQ(20, ring_ready(&self->r));
	EXPECT_EQ(0, ring_enter(&self->r, 0, 50, IORING_ENTER_GETEVENTS));
	EXPECT_LE(50, ring_ready(&self->r));
	for (; i < 70; i++)
		ASSERT_EQ(0, send(&self->r, i));
	for (i = 0; taskrun(&self->r) && i < 10; i++)
		EXPECT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_GT(10, i);
	EXPECT_EQ(70, ring_ready(&self->r));
	for (i = 0; i < 70; i++) {
		ASSERT_TRUE(ring_cqe(&self->r, &cqe));
		EXPECT_EQ(i, cqe.res);
	}
}

/* What is left makes the ring readable, and is run with what the submitter sends itself. */
TEST_F(defer, much_work_and_more)
{
	struct pollfd pfd = { .fd = self->r.fd, .events = POLLIN };
	struct io_uring_cqe cqe;
	unsigned int i;

	for (i = 0; i < 50; i++)
		ASSERT_EQ(0, send(&self->r, i));
	ASSERT_NE(NULL, ring_nop(&self->r, 1000));
	/* Twenty after the submission, twenty before the wait. */
	EXPECT_EQ(1, ring_submit(&self->r, 1));
	for (i = 0; i < 41; i++)
		ASSERT_TRUE(ring_cqe(&self->r, &cqe)) TH_LOG("%u", i);
	EXPECT_EQ(0, ring_ready(&self->r));
	EXPECT_TRUE(taskrun(&self->r));
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(10, ring_ready(&self->r));
	EXPECT_FALSE(taskrun(&self->r));
}

/* A ring that is closed with some left over. */
TEST_F(defer, much_work_left)
{
	unsigned int i;
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, variant->backend, 64, DEFER));
	for (i = 0; i < 60; i++)
		ASSERT_EQ(0, send(&r, i));
	EXPECT_EQ(0, ring_enter(&r, 0, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(20, ring_ready(&r));
	ring_exit(&r);
}

struct helper {
	pthread_t thread;
	struct ring *r;
	pid_t tid;
	unsigned int messages;
	unsigned int woken;	/* messages that woke the thread too early */
	int signal;
};

static void *helper(void *arg)
{
	struct helper *h = arg;
	unsigned long before;
	unsigned int i;

	wait_asleep(h->tid);
	before = switches(h->tid);
	for (i = 0; i < h->messages; i++) {
		if (thread_state(h->tid) != 'S' || switches(h->tid) != before)
			h->woken++;
		send(h->r, i);
	}
	if (h->signal)
		syscall(SYS_tgkill, getpid(), h->tid, h->signal);
	return NULL;
}

static void helper_start(struct helper *h, struct ring *r)
{
	sigset_t all, old;

	h->r = r;
	h->tid = gettid();
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&h->thread, NULL, helper, h))
		abort();
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* The sleeping submitter is woken by the message that makes it enough, not before. */
TEST_F(defer, woken_once)
{
	struct helper h = { .messages = 5 };

	ring_nop(&self->r, 1);
	ASSERT_EQ(1, ring_submit(&self->r, 0));
	helper_start(&h, &self->r);
	EXPECT_EQ(0, ring_enter(&self->r, 0, 6, IORING_ENTER_GETEVENTS));
	pthread_join(h.thread, NULL);
	EXPECT_EQ(0, h.woken);
	EXPECT_EQ(6, ring_ready(&self->r));
	EXPECT_FALSE(taskrun(&self->r));
}

static int wait_for(struct ring *r, unsigned int min, uint64_t ns, unsigned int min_wait_us)
{
	struct __kernel_timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	struct io_uring_getevents_arg arg = {
		.ts = ns ? (unsigned long)&ts : 0,
		.min_wait_usec = min_wait_us,
	};

	return uring_enter_arg(r->backend, r->fd, 0, min,
			       IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
}

/* When the time is over what little has come is done. */
TEST_F(defer, timeout_with_too_little)
{
	struct helper h = { .messages = 2 };
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	helper_start(&h, &self->r);
	EXPECT_EQ(0, wait_for(&self->r, 5, 700 * MS, 0));
	EXPECT_LE(700 * MS, now_ns(CLOCK_MONOTONIC) - start);
	pthread_join(h.thread, NULL);
	EXPECT_EQ(0, h.woken);
	EXPECT_EQ(2, ring_ready(&self->r));
}

TEST_F(defer, min_wait_with_too_little)
{
	struct helper h = { .messages = 2 };
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	helper_start(&h, &self->r);
	EXPECT_EQ(0, wait_for(&self->r, 5, 3600 * 1000 * MS, 700000));
	EXPECT_LE(700 * MS, now_ns(CLOCK_MONOTONIC) - start);
	pthread_join(h.thread, NULL);
	EXPECT_EQ(0, h.woken);
	EXPECT_EQ(2, ring_ready(&self->r));
}

static void on_signal(int sig)
{
}

TEST_F(defer, signal_with_too_little)
{
	struct helper h = { .messages = 2, .signal = SIGUSR1 };

	signal(SIGUSR1, on_signal);
	helper_start(&h, &self->r);
	EXPECT_EQ(0, ring_enter(&self->r, 0, 5, IORING_ENTER_GETEVENTS));
	pthread_join(h.thread, NULL);
	EXPECT_EQ(2, ring_ready(&self->r));
}

/* Some threads send as fast as they can; nothing is lost, and each one's come in order. */
#define SENDERS	4

struct flow {
	pthread_t thread;
	struct ring *r;
	unsigned int id, sent;
	uint64_t until;
	int error;
};

static void *flow(void *arg)
{
	struct flow *f = arg;
	int ret;

	while (now_ns(CLOCK_MONOTONIC) < f->until) {
		ret = send_msg(f->r->backend, f->r->fd, f->sent, f->id);
		if (ret)
			f->error = ret;
		store_release(&f->sent, f->sent + 1);
	}
	return NULL;
}

TEST_F_TIMEOUT(defer, stress, 3600)
{
	const char *stress = getenv("STRESS");
	unsigned int seconds = stress ? atoi(stress) : 2;
	unsigned int next[SENDERS] = {}, i, wrong = 0, total = 0, sent = 0;
	struct flow f[SENDERS] = {};
	struct io_uring_cqe cqe;

	for (i = 0; i < SENDERS; i++) {
		f[i].r = &self->r;
		f[i].id = i;
		f[i].until = now_ns(CLOCK_MONOTONIC) + seconds * 1000 * MS;
		ASSERT_EQ(0, pthread_create(&f[i].thread, NULL, flow, &f[i]));
	}
	do {
		int ret = wait_for(&self->r, 1 + total % 7, 200 * MS, 0);

		ASSERT_TRUE(ret == 0 || ret == -ETIME);
		while (ring_cqe(&self->r, &cqe)) {
			ASSERT_GT(SENDERS, cqe.res);
			wrong += cqe.user_data != next[cqe.res];
			next[cqe.res] = cqe.user_data + 1;
			total++;
		}
		for (i = sent = 0; i < SENDERS; i++)
			sent += load_acquire(&f[i].sent);
	} while (total != sent || now_ns(CLOCK_MONOTONIC) < f[SENDERS - 1].until + 500 * MS);
	for (i = 0; i < SENDERS; i++) {
		ASSERT_EQ(0, pthread_join(f[i].thread, NULL));
		EXPECT_EQ(0, f[i].error);
		EXPECT_LT(0, f[i].sent);
		EXPECT_EQ(f[i].sent, next[i]);
	}
	EXPECT_EQ(0, wrong);
}

TEST_HARNESS_MAIN
