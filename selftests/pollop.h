/* SPDX-License-Identifier: GPL-2.0 */
/* For the tests of POLL_ADD and POLL_REMOVE. */
#ifndef RUST_URING_SELFTEST_POLLOP_H
#define RUST_URING_SELFTEST_POLLOP_H

#include "files.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include "kselftest_harness.h"

#define ENTRIES	64

FIXTURE(pollop) {
	struct io io;
	struct ring *r;
	int p[2];
};

RING_VARIANTS(pollop);

FIXTURE_SETUP(pollop)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, ENTRIES, variant->flags, 0));
	self->r = &self->io.r;
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC | O_NONBLOCK));
}

FIXTURE_TEARDOWN(pollop)
{
	ring_exit(self->r);
}

static __maybe_unused struct io_uring_sqe *poll_add(struct io *io, int fd, unsigned int events,
						    unsigned int flags, uint64_t user_data)
{
	struct io_uring_sqe *sqe = prep(io, IORING_OP_POLL_ADD, fd, NULL, flags, 0);

	sqe->poll32_events = events;
	sqe->user_data = user_data;
	return sqe;
}

static __maybe_unused struct io_uring_sqe *poll_remove(struct io *io, uint64_t target,
						       unsigned int flags, unsigned int events,
						       uint64_t new_user_data, uint64_t user_data)
{
	struct io_uring_sqe *sqe = prep(io, IORING_OP_POLL_REMOVE, -1, NULL, flags, new_user_data);

	sqe->addr = target;
	sqe->poll32_events = events;
	sqe->user_data = user_data;
	return sqe;
}

/* The next CQE, which comes within ten seconds. */
static __maybe_unused bool next_cqe(struct ring *r, struct io_uring_cqe *cqe)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 10000000000ull;

	while (!ring_cqe(r, cqe)) {
		if (now_ns(CLOCK_MONOTONIC) > limit)
			return false;
		ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS);
		usleep(500);
	}
	return true;
}

/* There is no CQE, and none comes soon. */
static __maybe_unused bool quiet(struct ring *r)
{
	usleep(20000);
	ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS);
	return !ring_ready(r);
}

#define EXPECT_CQE(data, result, more) do {				\
	struct io_uring_cqe __cqe;					\
									\
	ASSERT_TRUE(next_cqe(self->r, &__cqe));				\
	EXPECT_EQ(data, __cqe.user_data);				\
	EXPECT_EQ(result, __cqe.res);					\
	EXPECT_EQ((more) ? IORING_CQE_F_MORE : 0, __cqe.flags);		\
} while (0)

#define EXPECT_QUIET()	EXPECT_TRUE(quiet(self->r))

static __maybe_unused int put(int fd)
{
	return write(fd, "x", 1);
}

static __maybe_unused int get(int fd)
{
	char c;

	return read(fd, &c, 1);
}

#endif
