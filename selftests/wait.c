// SPDX-License-Identifier: GPL-2.0
/* Waiting in ENTER: how many CQEs, how long, and what is wrong with the arguments. */
#include "uring.h"
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define MS	1000000ull

FIXTURE(wait) { struct ring r; };
RING_VARIANTS(wait);

FIXTURE_SETUP(wait)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
}

FIXTURE_TEARDOWN(wait)
{
	ring_exit(&self->r);
}

static int wait_ext(struct ring *r, unsigned int min, unsigned int flags,
		    const struct io_uring_getevents_arg *arg)
{
	return uring_enter_arg(r->backend, r->fd, 0, min,
			       flags | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
			       arg, sizeof(*arg));
}

/* Waits for @min CQEs until @ns nanoseconds have passed, after @min_wait_us be content with 1. */
static int wait_ns(struct ring *r, unsigned int min, unsigned int flags, long long ns,
		   unsigned int min_wait_us)
{
	struct __kernel_timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	struct io_uring_getevents_arg arg = {
		.ts = (unsigned long)&ts,
		.min_wait_usec = min_wait_us,
	};

	return wait_ext(r, min, flags, &arg);
}

static int post_nops(struct ring *r, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		ring_nop(r, i);
	return ring_submit(r, 0);
}

TEST_F(wait, zero_is_no_wait)
{
	EXPECT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
	ASSERT_EQ(3, post_nops(&self->r, 3));
	EXPECT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(3, ring_ready(&self->r));
}

TEST_F(wait, no_getevents_is_no_wait)
{
	EXPECT_EQ(0, ring_enter(&self->r, 0, 5, 0));
	/* Then nothing of the argument is looked at. */
	EXPECT_EQ(0, uring_enter_arg(variant->backend, self->r.fd, 0, 5, IORING_ENTER_EXT_ARG,
				     (void *)8, 3));
}

TEST_F(wait, enough_is_enough)
{
	ASSERT_EQ(3, post_nops(&self->r, 3));
	EXPECT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, ring_enter(&self->r, 0, 3, IORING_ENTER_GETEVENTS));
	ring_nop(&self->r, 0);
	EXPECT_EQ(1, ring_submit(&self->r, 4));
	EXPECT_EQ(4, ring_ready(&self->r));
}

/* More than the CQ can hold is as much as the CQ can hold. */
TEST_F(wait, more_than_the_cq)
{
	ASSERT_EQ(16, self->r.p.cq_entries);
	ASSERT_EQ(8, post_nops(&self->r, 8));
	/* Half of them: not enough, so the time is waited for. */
	EXPECT_EQ(0, wait_ns(&self->r, 17, 0, 1 * MS, 0));
	ASSERT_EQ(8, post_nops(&self->r, 8));
	EXPECT_EQ(0, ring_enter(&self->r, 0, 17, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, ring_enter(&self->r, 0, INT_MAX, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(16, ring_ready(&self->r));
}

/* The number is taken as a signed one. */
TEST_F(wait, negative_number_is_no_wait)
{
	EXPECT_EQ(0, ring_enter(&self->r, 0, (unsigned int)INT_MIN + 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, ring_enter(&self->r, 0, UINT_MAX, IORING_ENTER_GETEVENTS));
	ring_nop(&self->r, 1);
	EXPECT_EQ(1, ring_submit(&self->r, UINT_MAX));
	EXPECT_EQ(1, ring_ready(&self->r));
}

TEST_F(wait, unknown_flags)
{
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		if (IORING_ENTER_NO_IOWAIT >= 1u << bit)
			continue;
		EXPECT_EQ(-EINVAL, ring_enter(&self->r, 0, 0, 1u << bit));
		EXPECT_EQ(-EINVAL, ring_enter(&self->r, 0, 0, 1u << bit | IORING_ENTER_GETEVENTS));
	}
	/* That comes before the descriptor. */
	EXPECT_EQ(-EINVAL, uring_enter(NATIVE, -1, 0, 0, 1u << 31));
	EXPECT_EQ(-EBADF, uring_enter(NATIVE, -1, 0, 0, 0));
	/* Nothing is submitted either, by the call. */
	SKIP_POLLED(&self->r, "it may just be awake");
	ring_nop(&self->r, 1);
	EXPECT_EQ(-EINVAL, ring_enter(&self->r, ring_flush(&self->r), 0, 1u << 8));
	EXPECT_EQ(0, *self->r.sq_head);
}

/* Tasks that wait for I/O, as the kernel counts them. */
static long nr_iowait(void)
{
	FILE *f = fopen("/proc/stat", "re");
	char line[4096];
	long nr = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "procs_blocked %ld", &nr) == 1)
			break;
	if (f)
		fclose(f);
	return nr;
}

/* A process that waits for what is to be read in a pipe, by a request. */
static pid_t wait_for_pipe(struct ring *r, unsigned int ring_flags, int fd, unsigned int flags)
{
	enum backend backend = r->backend;
	struct io_uring_sqe *sqe;
	struct ring own;
	pid_t child = fork();

	if (child)
		return child;
	if (ring_init(&own, backend, 1, ring_flags))
		_exit(1);
	sqe = ring_sqe(&own);
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = fd;
	sqe->poll32_events = POLLIN;
	flags |= IORING_ENTER_GETEVENTS;
	_exit(ring_enter(&own, ring_flush(&own), 1, flags) != 1 || ring_ready(&own) != 1);
}

/* IORING_FEAT_NO_IOWAIT: who waits for a request waits for I/O, but for those who say otherwise. */
TEST_F(wait, no_iowait)
{
	enum { NR = 4 };
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 30000 * MS;
	unsigned int quiet;
	pid_t child[NR];
	int p[2], i, status;
	bool counted;

	SKIP_POLLED(&self->r, "the request is the thread's");
	EXPECT_TRUE(self->r.p.features & IORING_FEAT_NO_IOWAIT);
	for (quiet = 0; quiet < 2; quiet++) {
		ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
		for (i = 0; i < NR; i++) {
			child[i] = wait_for_pipe(&self->r, variant->flags, p[0],
						 quiet ? IORING_ENTER_NO_IOWAIT : 0);
			ASSERT_LT(0, child[i]);
		}
		for (i = 0; i < NR; i++)
			wait_asleep(child[i]);
		/* Others may wait as well, for a moment. */
		do {
			usleep(1000);
			counted = nr_iowait() >= NR;
		} while (counted == quiet && now_ns(CLOCK_MONOTONIC) < limit);
		EXPECT_EQ(!quiet, counted);
		ASSERT_EQ(1, write(p[1], "x", 1));
		for (i = 0; i < NR; i++) {
			ASSERT_EQ(child[i], waitpid(child[i], &status, 0));
			EXPECT_EQ(0, status);
		}
		close(p[0]);
		close(p[1]);
	}
}

/* What is for SQPOLL means nothing in other rings. */
TEST_F(wait, flags_without_effect)
{
	unsigned int flags = IORING_ENTER_SQ_WAKEUP | IORING_ENTER_SQ_WAIT | IORING_ENTER_NO_IOWAIT;

	EXPECT_EQ(0, ring_enter(&self->r, 0, 0, flags));
	ring_nop(&self->r, 1);
	EXPECT_EQ(1, ring_enter(&self->r, ring_flush(&self->r), 1, flags | IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, ring_ready(&self->r));
	EXPECT_EQ(-ETIME, wait_ns(&self->r, 2, flags, 1 * MS, 0) ?: -ETIME);
	ring_seen(&self->r, 1);
	EXPECT_EQ(-ETIME, wait_ns(&self->r, 1, flags, 1 * MS, 0));
}

TEST_F(wait, argument_errors)
{
	unsigned int flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
	struct io_uring_getevents_arg arg[4] = {};
	size_t sizes[] = { 0, 1, 8, 23, 25, 32, 64, 4096, (1ull << 32) + 24 };
	int cqes;
	size_t i;

	for (cqes = 0; cqes < 2; cqes++) {
		for (i = 0; i < ARRAY_SIZE(sizes); i++)
			EXPECT_EQ(-EINVAL, uring_enter_arg(variant->backend, self->r.fd, 0, 1,
							   flags, arg, sizes[i]));
		EXPECT_EQ(-EFAULT, uring_enter_arg(variant->backend, self->r.fd, 0, 1, flags,
						   NULL, sizeof(arg[0])));
		EXPECT_EQ(-EFAULT, uring_enter_arg(variant->backend, self->r.fd, 0, 1, flags,
						   (void *)-4096l, sizeof(arg[0])));
		arg[0].ts = 8;
		EXPECT_EQ(-EFAULT, wait_ext(&self->r, 1, 0, arg));
		arg[0].ts = 0xffff800000000000;
		EXPECT_EQ(-EFAULT, wait_ext(&self->r, 0, 0, arg));
		arg[0].ts = 0;
		/* It does not matter how many CQEs there are. */
		ASSERT_EQ(1, post_nops(&self->r, 1));
	}
	EXPECT_EQ(0, wait_ext(&self->r, 1, 0, arg));
}

TEST_F(wait, relative_timeout)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	EXPECT_EQ(-ETIME, wait_ns(&self->r, 1, 0, 30 * MS, 0));
	EXPECT_LE(30 * MS, now_ns(CLOCK_MONOTONIC) - start);
	/* With a CQE, even if that is too few, it is a success. */
	ASSERT_EQ(1, post_nops(&self->r, 1));
	start = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(0, wait_ns(&self->r, 2, 0, 30 * MS, 0));
	EXPECT_LE(30 * MS, now_ns(CLOCK_MONOTONIC) - start);
	EXPECT_EQ(1, ring_ready(&self->r));
	/* Enough: no time is spent. */
	EXPECT_EQ(0, wait_ns(&self->r, 1, 0, 3600 * 1000 * MS, 0));
}

TEST_F(wait, timeouts_that_are_over)
{
	struct __kernel_timespec ts = { .tv_sec = 0, .tv_nsec = -5 };
	struct io_uring_getevents_arg arg = { .ts = (unsigned long)&ts };

	EXPECT_EQ(-ETIME, wait_ns(&self->r, 1, 0, 0, 0));
	EXPECT_EQ(-ETIME, wait_ns(&self->r, 1, 0, -1000 * (long long)MS, 0));
	EXPECT_EQ(-ETIME, wait_ext(&self->r, 1, 0, &arg));
	EXPECT_EQ(-ETIME, wait_ns(&self->r, 1, IORING_ENTER_ABS_TIMER, 0, 0));
	EXPECT_EQ(-ETIME, wait_ns(&self->r, 1, IORING_ENTER_ABS_TIMER,
				  now_ns(CLOCK_MONOTONIC) - 1, 0));
	/* Nothing to wait for, so no ETIME. */
	EXPECT_EQ(0, wait_ns(&self->r, 0, 0, 0, 0));
	ASSERT_EQ(1, post_nops(&self->r, 1));
	EXPECT_EQ(0, wait_ns(&self->r, 2, 0, 0, 0));
	EXPECT_EQ(0, wait_ns(&self->r, 1, 0, 0, 0));
}

TEST_F(wait, absolute_timeout)
{
	uint64_t until = now_ns(CLOCK_MONOTONIC) + 40 * MS;

	EXPECT_EQ(-ETIME, wait_ns(&self->r, 1, IORING_ENTER_ABS_TIMER, until, 0));
	EXPECT_LE(until, now_ns(CLOCK_MONOTONIC));
	/* Without a time the flag means nothing. */
	EXPECT_EQ(0, wait_ext(&self->r, 0, IORING_ENTER_ABS_TIMER,
			      &(struct io_uring_getevents_arg){}));
	ASSERT_EQ(1, post_nops(&self->r, 1));
	until = now_ns(CLOCK_MONOTONIC) + 20 * MS;
	EXPECT_EQ(0, wait_ns(&self->r, 2, IORING_ENTER_ABS_TIMER, until, 0));
	EXPECT_LE(until, now_ns(CLOCK_MONOTONIC));
}

/* The minimum is over: nothing came, or too little. */
TEST_F(wait, min_wait_alone)
{
	struct io_uring_getevents_arg arg = { .min_wait_usec = 30000 };
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	EXPECT_EQ(-ETIME, wait_ext(&self->r, 2, 0, &arg));
	EXPECT_LE(30 * MS, now_ns(CLOCK_MONOTONIC) - start);
	ASSERT_EQ(1, post_nops(&self->r, 1));
	start = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(0, wait_ext(&self->r, 2, 0, &arg));
	EXPECT_LE(30 * MS, now_ns(CLOCK_MONOTONIC) - start);
	ASSERT_EQ(1, post_nops(&self->r, 1));
	arg.min_wait_usec = UINT_MAX;
	EXPECT_EQ(0, wait_ext(&self->r, 2, 0, &arg));
}

TEST_F(wait, min_wait_and_timeout)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	/* Nothing comes: it takes the whole time. */
	EXPECT_EQ(-ETIME, wait_ns(&self->r, 2, 0, 60 * MS, 20000));
	EXPECT_LE(60 * MS, now_ns(CLOCK_MONOTONIC) - start);
	/* The shorter one of the two is the timeout: the minimum is kept nevertheless. */
	start = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(-ETIME, wait_ns(&self->r, 2, 0, 1 * MS, 40000));
	EXPECT_LE(40 * MS, now_ns(CLOCK_MONOTONIC) - start);
	/* There is one already: good enough after the minimum. */
	ASSERT_EQ(1, post_nops(&self->r, 1));
	start = now_ns(CLOCK_MONOTONIC);
	EXPECT_EQ(0, wait_ns(&self->r, 2, 0, 3600 * 1000 * MS, 20000));
	EXPECT_LE(20 * MS, now_ns(CLOCK_MONOTONIC) - start);
}

/* Somebody who sends one message at a certain time. */
struct sender {
	struct ring *r;
	pid_t waiter;
	uint64_t at;
	int ret;
};

static void *send_one(void *arg)
{
	struct sender *s = arg;

	wait_asleep(s->waiter);
	while (now_ns(CLOCK_MONOTONIC) < s->at)
		usleep(1000);
	s->ret = send_msg(s->r->backend, s->r->fd, 7, 1);
	return NULL;
}

TEST_F(wait, min_wait_ends_with_the_next_cqe)
{
	struct sender s = { .r = &self->r, .waiter = gettid() };
	uint64_t start = now_ns(CLOCK_MONOTONIC);
	pthread_t thread;

	/* After the minimum one CQE will do, and it comes. */
	s.at = start + 200 * MS;
	ASSERT_EQ(0, pthread_create(&thread, NULL, send_one, &s));
	EXPECT_EQ(0, wait_ns(&self->r, 5, 0, 3600 * 1000 * MS, 20000));
	EXPECT_LE(s.at, now_ns(CLOCK_MONOTONIC));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, s.ret);
	EXPECT_EQ(1, ring_ready(&self->r));
}

TEST_F(wait, min_wait_is_kept_if_a_cqe_comes)
{
	struct sender s = { .r = &self->r, .waiter = gettid() };
	struct io_uring_getevents_arg arg = { .min_wait_usec = 400000 };
	uint64_t start = now_ns(CLOCK_MONOTONIC);
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, send_one, &s));
	EXPECT_EQ(0, wait_ext(&self->r, 2, 0, &arg));
	EXPECT_LE(400 * MS, now_ns(CLOCK_MONOTONIC) - start);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, s.ret);
	ASSERT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, ring_ready(&self->r));
}

TEST_F(wait, min_wait_is_cut_short_by_enough)
{
	struct sender s = { .r = &self->r, .waiter = gettid() };
	struct io_uring_getevents_arg arg = { .min_wait_usec = UINT_MAX };
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, send_one, &s));
	EXPECT_EQ(0, wait_ext(&self->r, 1, 0, &arg));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(1, ring_ready(&self->r));
}

TEST_F(wait, message_ends_a_wait_without_timeout)
{
	struct sender s = { .r = &self->r, .waiter = gettid() };
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, send_one, &s));
	EXPECT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(1, ring_ready(&self->r));
}

/* Times beyond either end of the clock never come. */
TEST_F(wait, endless_timeout)
{
	struct __kernel_timespec ts[] = { { LLONG_MAX, 0 }, { LLONG_MAX, 0 }, { 0, -1 } };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		struct sender s = { .r = &self->r, .waiter = gettid() };
		struct io_uring_getevents_arg arg = { .ts = (unsigned long)&ts[i] };
		pthread_t thread;

		ASSERT_EQ(0, pthread_create(&thread, NULL, send_one, &s));
		EXPECT_EQ(0, wait_ext(&self->r, 1, i ? IORING_ENTER_ABS_TIMER : 0, &arg));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_EQ(1, ring_ready(&self->r));
		ring_seen(&self->r, 1);
	}
}

TEST_F(wait, submit_count_wins)
{
	unsigned int flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
	struct __kernel_timespec ts = {};
	struct io_uring_getevents_arg arg = { .ts = (unsigned long)&ts };
	struct ring *r = &self->r;

	ring_nop(r, 1);
	ring_nop(r, 2);
	/* ETIME, EINVAL, EFAULT of the wait. */
	EXPECT_EQ(1, uring_enter_arg(r->backend, r->fd, ring_flush(r) - 1, 5, flags, &arg,
				     sizeof(arg)));
	EXPECT_EQ(1, uring_enter_arg(r->backend, r->fd, 1, 5, flags, &arg, 3));
	ring_nop(r, 3);
	EXPECT_EQ(1, uring_enter_arg(r->backend, r->fd, ring_flush(r), 5, flags, (void *)8,
				     sizeof(arg)));
	ring_nop(r, 4);
	EXPECT_EQ(1, uring_enter_arg(r->backend, r->fd, ring_flush(r), 5, IORING_ENTER_GETEVENTS,
				     (void *)8, 8));
	EXPECT_EQ(0, ring_is_polled(r) ? ring_consumed(r) : 0);
	EXPECT_EQ(4, ring_ready(r));
}

/* If fewer SQEs were consumed than asked for there is no wait at all. */
TEST_F(wait, short_submission_does_not_wait)
{
	struct io_uring_sqe *sqe;

	SKIP_POLLED(&self->r, "it takes all there is");
	ring_nop(&self->r, 1);
	EXPECT_EQ(1, ring_enter(&self->r, ring_flush(&self->r) + 1, 10, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, ring_enter(&self->r, 1, 10, IORING_ENTER_GETEVENTS));
	sqe = ring_nop(&self->r, 2);
	sqe->opcode = 255;
	ring_nop(&self->r, 3);
	EXPECT_EQ(1, ring_enter(&self->r, ring_flush(&self->r), 10, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(2, ring_ready(&self->r));
}

struct other {
	struct ring *r;
	int plain, submit, wait, wait_none;
};

static void *other_thread(void *arg)
{
	struct other *o = arg;

	o->plain = ring_enter(o->r, 0, 0, 0);
	o->submit = ring_enter(o->r, 1, 0, 0);
	o->wait = ring_enter(o->r, 0, 1, IORING_ENTER_GETEVENTS);
	o->wait_none = ring_enter(o->r, 0, 0, IORING_ENTER_GETEVENTS);
	return NULL;
}

/* Any thread may wait, but in a ring that defers the work only its submitter. */
TEST_F(wait, other_thread)
{
	bool defer = variant->flags & IORING_SETUP_DEFER_TASKRUN;
	struct other o = { .r = &self->r };
	pthread_t thread;

	ASSERT_EQ(1, post_nops(&self->r, 1));
	ASSERT_EQ(0, pthread_create(&thread, NULL, other_thread, &o));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, o.plain);
	EXPECT_EQ(defer ? -EEXIST : ring_is_polled(&self->r), o.submit);
	EXPECT_EQ(defer ? -EEXIST : 0, o.wait);
	EXPECT_EQ(defer ? -EEXIST : 0, o.wait_none);
}

/* So may a child that has inherited the descriptor. */
TEST_F(wait, child)
{
	bool defer = variant->flags & IORING_SETUP_DEFER_TASKRUN;
	int status, ret;
	pid_t child;

	child = fork();
	if (!child) {
		ret = ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS);
		_exit(ret == (defer ? -EEXIST : 0) ? 0 : 1);
	}
	ASSERT_LT(0, child);
	if (!defer) {
		wait_asleep(child);
		ASSERT_EQ(1, post_nops(&self->r, 1));
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(wait, disabled_ring)
{
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, variant->backend, 4, variant->flags | IORING_SETUP_R_DISABLED));
	EXPECT_EQ(-EBADFD, ring_enter(&r, 0, 0, 0));
	EXPECT_EQ(-EBADFD, ring_enter(&r, 0, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(-EINVAL, ring_enter(&r, 0, 1, 1u << 20));
	ring_exit(&r);
}

TEST_HARNESS_MAIN
