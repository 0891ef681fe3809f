/* SPDX-License-Identifier: GPL-2.0 */
/* For the tests of requests that wait: a ring with a pipe, and CQEs that come, or do not. */
#ifndef RUST_URING_SELFTEST_CQES_H
#define RUST_URING_SELFTEST_CQES_H

#include "files.h"
#include "stress.h"
#include "kselftest_harness.h"

/* The fixture of such a test: a ring of so many entries, a pipe, and room to read into. */
#define PIPE_FIXTURE(name, entries, pipe_flags)					\
FIXTURE(name) {									\
	struct io io;								\
	struct ring *r;								\
	int p[2];								\
	char in[256];								\
};										\
										\
RING_VARIANTS(name);								\
										\
FIXTURE_SETUP(name)								\
{										\
	ASSERT_EQ(0, io_init(&self->io, variant->backend, entries, variant->flags, 0));\
	self->r = &self->io.r;							\
	ASSERT_EQ(0, pipe2(self->p, pipe_flags));				\
	signal(SIGPIPE, SIG_IGN);						\
}										\
										\
FIXTURE_TEARDOWN(name)								\
{										\
	ring_exit(self->r);							\
	close(self->p[0]);							\
	close(self->p[1]);							\
}

/* The next CQE, which comes within ten seconds. */
static __maybe_unused bool next_cqe(struct ring *r, struct io_uring_cqe *cqe)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 10 * SEC;

	while (!ring_cqe(r, cqe)) {
		if (now_ns(CLOCK_MONOTONIC) > limit)
			return false;
		ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS);
		usleep(500);
	}
	return true;
}

/* The same though nobody waits in an enter, where that is not needed. */
static __maybe_unused bool next_cqe_unattended(struct ring *r, struct io_uring_cqe *cqe)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 10 * SEC;

	/* Natively a signal to the task would do. */
	if ((r->p.flags & IORING_SETUP_DEFER_TASKRUN) || r->backend == NATIVE)
		return next_cqe(r, cqe);
	while (!ring_cqe(r, cqe)) {
		if (now_ns(CLOCK_MONOTONIC) > limit)
			return false;
		usleep(500);
	}
	return true;
}

/* There is no CQE, and none comes soon. */
static __maybe_unused bool quiet(struct ring *r)
{
	usleep(30000);
	ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS);
	return !ring_ready(r);
}

/* The next CQE is this one. */
#define EXPECT_NEXT_FLAGS(user, result, flag) do {				\
	struct io_uring_cqe __cqe;						\
										\
	ASSERT_TRUE(next_cqe(self->r, &__cqe));					\
	EXPECT_EQ(user, __cqe.user_data);					\
	EXPECT_EQ(result, __cqe.res) TH_LOG("user data %u", (unsigned int)(user));\
	EXPECT_EQ(flag, __cqe.flags);						\
} while (0)

#define EXPECT_NEXT(user, result)	EXPECT_NEXT_FLAGS(user, result, 0)
#define EXPECT_QUIET()			EXPECT_TRUE(quiet(self->r))

/* A read of one byte that may have to wait. */
static __maybe_unused void blocked(struct io *io, int fd, char *in, uint64_t user_data,
				   unsigned int flags)
{
	struct io_uring_sqe *sqe = prep(io, IORING_OP_READ, fd, in, 1, 0);

	sqe->user_data = user_data;
	sqe->flags |= flags;
}

/* So many nanoseconds, which the SQE says itself. */
static __maybe_unused struct io_uring_sqe *timer(struct ring *r, uint64_t user_data, uint64_t ns,
						 unsigned int flags, unsigned int count)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	sqe->opcode = IORING_OP_TIMEOUT;
	sqe->addr = ns;
	sqe->len = 1;
	sqe->off = count;
	sqe->timeout_flags = flags | IORING_TIMEOUT_IMMEDIATE_ARG;
	sqe->user_data = user_data;
	return sqe;
}

#endif
