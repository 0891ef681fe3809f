/* SPDX-License-Identifier: GPL-2.0 */
/* For the tests of POLL_ADD and POLL_REMOVE. */
#ifndef RUST_URING_SELFTEST_POLLOP_H
#define RUST_URING_SELFTEST_POLLOP_H

#include "cqes.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define ENTRIES	64

PIPE_FIXTURE(pollop, ENTRIES, O_CLOEXEC | O_NONBLOCK);

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

#define EXPECT_CQE(data, result, more)	\
	EXPECT_NEXT_FLAGS(data, result, (more) ? IORING_CQE_F_MORE : 0)

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
