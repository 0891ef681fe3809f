// SPDX-License-Identifier: GPL-2.0
/* POLL_ADD and POLL_REMOVE: what is told, once or often, and how it is changed and ended. */
#include "pollop.h"

TEST_F(pollop, ready_at_once)
{
	ASSERT_EQ(1, put(self->p[1]));
	poll_add(&self->io, self->p[0], POLLIN, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(1, POLLIN, false);
	poll_add(&self->io, self->p[1], POLLOUT, 0, 2);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(2, POLLOUT, false);
	EXPECT_QUIET();
}

TEST_F(pollop, ready_later)
{
	poll_add(&self->io, self->p[0], POLLIN, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_CQE(1, POLLIN, false);
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_QUIET();
}

/* What is not asked for is not told, but for what always is. */
TEST_F(pollop, only_what_is_asked_for)
{
	int sk[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sk));
	poll_add(&self->io, sk[0], POLLPRI, 0, 1);
	poll_add(&self->io, sk[0], POLLIN, 0, 2);
	ASSERT_EQ(2, ring_submit(self->r, 0));
	ASSERT_EQ(1, put(sk[1]));
	EXPECT_CQE(2, POLLIN, false);
	EXPECT_QUIET();
	close(sk[1]);
	EXPECT_CQE(1, POLLHUP | POLLRDHUP, false);
}

TEST_F(pollop, hang_up_and_error)
{
	poll_add(&self->io, self->p[0], 0, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	close(self->p[1]);
	EXPECT_CQE(1, POLLHUP, false);
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC | O_NONBLOCK));
	poll_add(&self->io, self->p[1], 0, 0, 2);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	close(self->p[0]);
	EXPECT_CQE(2, POLLERR, false);
}

TEST_F(pollop, what_cannot_be_polled_is_ready)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	poll_add(&self->io, fd, POLLIN | POLLOUT, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(1, POLLIN | POLLOUT, false);
	/* Ready for nothing that is asked for, and there is nothing to wait for. */
	poll_add(&self->io, fd, POLLPRI, 0, 2);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(2, -EINVAL, false);
	poll_add(&self->io, fd, POLLIN, IORING_POLL_ADD_MULTI, 3);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(3, POLLIN, false);
}

TEST_F(pollop, errors)
{
	struct {
		unsigned int flags, sqe_flags;
		uint64_t off, addr;
		unsigned int buf_index, ioprio;
		int res;
	} *t, tests[] = {
		{ .flags = IORING_POLL_ADD_LEVEL, .res = -EINVAL },
		{ .flags = IORING_POLL_UPDATE_EVENTS, .res = -EINVAL },
		{ .flags = IORING_POLL_UPDATE_USER_DATA, .res = -EINVAL },
		{ .flags = 1 << 4, .res = -EINVAL },
		{ .off = 1, .res = -EINVAL },
		{ .addr = 1, .res = -EINVAL },
		{ .buf_index = 1, .res = -EINVAL },
		{ .ioprio = 1, .res = -EINVAL },
		{ .flags = IORING_POLL_ADD_MULTI, .sqe_flags = IOSQE_CQE_SKIP_SUCCESS,
		  .res = -EINVAL },
		{ .sqe_flags = IOSQE_BUFFER_SELECT, .res = -EOPNOTSUPP },
		{ .sqe_flags = IOSQE_FIXED_FILE, .res = -EBADF },
	};
	struct io_uring_sqe *sqe;

	for (t = tests; t < tests + sizeof(tests) / sizeof(*tests); t++) {
		sqe = poll_add(&self->io, self->p[0], POLLIN, t->flags, 1);
		sqe->flags |= t->sqe_flags;
		sqe->off = t->off;
		sqe->addr = t->addr;
		sqe->buf_index = t->buf_index;
		sqe->ioprio = t->ioprio;
		ASSERT_EQ(1, ring_submit(self->r, 1));
		EXPECT_CQE(1, t->res, false);
	}
	poll_add(&self->io, -1, POLLIN, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(1, -EBADF, false);
	poll_add(&self->io, 1000, POLLIN, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(1, -EBADF, false);
}

TEST_F(pollop, skip_success)
{
	poll_add(&self->io, self->p[0], POLLIN, 0, 1)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	ASSERT_EQ(1, ring_submit(self->r, 0));
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_QUIET();
	ASSERT_EQ(1, get(self->p[0]));
	/* It is over: there is nothing to be removed. */
	poll_remove(&self->io, 1, 0, 0, 0, 2);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(2, -ENOENT, false);
	poll_add(&self->io, self->p[0], POLLIN, 0, 1)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	poll_remove(&self->io, 1, 0, 0, 0, 2);
	ASSERT_EQ(2, ring_submit(self->r, 2));
	EXPECT_CQE(2, 0, false);
	EXPECT_CQE(1, -ECANCELED, false);
}

TEST_F(pollop, async)
{
	struct io_uring_cqe a, b;

	poll_add(&self->io, self->p[0], POLLIN, 0, 1)->flags |= IOSQE_ASYNC;
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_CQE(1, POLLIN, false);
	poll_add(&self->io, self->p[0], POLLIN, 0, 2)->flags |= IOSQE_ASYNC;
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_CQE(2, POLLIN, false);
	ASSERT_EQ(1, get(self->p[0]));
	poll_add(&self->io, self->p[0], POLLIN, 0, 3)->flags |= IOSQE_ASYNC;
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	poll_remove(&self->io, 3, 0, 0, 0, 4)->flags |= IOSQE_ASYNC;
	ASSERT_EQ(1, ring_submit(self->r, 0));
	ASSERT_TRUE(next_cqe(self->r, &a));
	ASSERT_TRUE(next_cqe(self->r, &b));
	EXPECT_EQ(7, a.user_data + b.user_data);
	EXPECT_EQ(a.user_data == 3 ? -ECANCELED : 0, a.res);
	EXPECT_EQ(b.user_data == 3 ? -ECANCELED : 0, b.res);
}

TEST_F(pollop, fixed_file)
{
	int i;

	ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_FILES, &self->p[0], 1));
	poll_add(&self->io, 0, POLLIN, 0, 1)->flags |= IOSQE_FIXED_FILE;
	ASSERT_EQ(1, ring_submit(self->r, 0));
	/* It holds what it polls. */
	close(self->p[0]);
	ASSERT_EQ(0, ring_register(self->r, IORING_UNREGISTER_FILES, NULL, 0));
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_CQE(1, POLLIN, false);
	/* And lets it go. */
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < 1000 && put(self->p[1]) == 1; i++)
		usleep(10000);
	EXPECT_GT(1000, i);
}

TEST_F(pollop, closed_meanwhile)
{
	poll_add(&self->io, self->p[0], POLLIN, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	close(self->p[0]);
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_CQE(1, POLLIN, false);
}

/* Two queues in one file: the one for reading and the one for writing. */
TEST_F(pollop, both_directions)
{
	int sk[2], ptm, pts;
	char junk[4096] = {}, name[64];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sk));
	while (write(sk[0], junk, sizeof(junk)) > 0)
		;
	poll_add(&self->io, sk[0], POLLIN | POLLOUT, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ASSERT_EQ(1, put(sk[1]));
	EXPECT_CQE(1, POLLIN, false);
	/* A terminal has two. */
	ptm = open("/dev/ptmx", O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	ASSERT_LE(0, ptm);
	ASSERT_EQ(0, unlockpt(ptm));
	ASSERT_EQ(0, ptsname_r(ptm, name, sizeof(name)));
	pts = open(name, O_RDWR | O_CLOEXEC | O_NOCTTY);
	ASSERT_LE(0, pts);
	poll_add(&self->io, ptm, POLLIN, IORING_POLL_ADD_MULTI, 2);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ASSERT_EQ(1, put(pts));
	EXPECT_CQE(2, POLLIN, true);
	poll_remove(&self->io, 2, 0, 0, 0, 3);
	ASSERT_EQ(1, ring_submit(self->r, 2));
	EXPECT_CQE(3, 0, false);
	EXPECT_CQE(2, -ECANCELED, false);
	close(ptm);
	close(pts);
}

TEST_F(pollop, multishot)
{
	int i;

	poll_add(&self->io, self->p[0], POLLIN, IORING_POLL_ADD_MULTI, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(1, put(self->p[1]));
		EXPECT_CQE(1, POLLIN, true);
		EXPECT_QUIET();
	}
	/* What is there was told. */
	for (i = 0; i < 10; i++)
		ASSERT_EQ(1, get(self->p[0]));
	EXPECT_QUIET();
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_CQE(1, POLLIN, true);
	/* The end does not end it, though nothing will come. */
	close(self->p[1]);
	EXPECT_CQE(1, POLLIN | POLLHUP, true);
	EXPECT_QUIET();
	poll_remove(&self->io, 1, 0, 0, 0, 2);
	ASSERT_EQ(1, ring_submit(self->r, 2));
	EXPECT_CQE(2, 0, false);
	EXPECT_CQE(1, -ECANCELED, false);
}

TEST_F(pollop, multishot_ready_at_once)
{
	ASSERT_EQ(1, put(self->p[1]));
	poll_add(&self->io, self->p[0], POLLIN, IORING_POLL_ADD_MULTI, 1);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(1, POLLIN, true);
	EXPECT_QUIET();
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_CQE(1, POLLIN, true);
}

/* Many wakeups while nobody runs completions: at least one CQE after the last of them. */
TEST_F(pollop, multishot_loses_nothing)
{
	struct io_uring_cqe cqe;
	int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int round, i, seen = 0;
	uint64_t value;

	ASSERT_LE(0, efd);
	poll_add(&self->io, efd, POLLIN, IORING_POLL_ADD_MULTI, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	for (round = 0; round < 200; round++) {
		for (i = 0; i < 5; i++)
			ASSERT_EQ(0, eventfd_write(efd, 1));
		ASSERT_TRUE(next_cqe(self->r, &cqe));
		do {
			ASSERT_EQ(POLLIN, cqe.res);
			ASSERT_EQ(IORING_CQE_F_MORE, cqe.flags);
			seen++;
			ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
		} while (ring_cqe(self->r, &cqe));
		/* What came after the last CQE was read stays for the next round at most. */
		eventfd_read(efd, &value);
	}
	EXPECT_LE(200, seen);
}

/* When there is no room it ends, with a CQE that is kept. */
TEST_F(pollop, multishot_overflow)
{
	struct io_uring_cqe cqe;
	unsigned int i, n = 0, entries = self->r->p.cq_entries;

	poll_add(&self->io, self->p[0], POLLIN, IORING_POLL_ADD_MULTI, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	for (i = 0; i < entries; i++) {
		uint64_t limit = now_ns(CLOCK_MONOTONIC) + 10000000000ull;

		ASSERT_EQ(1, put(self->p[1]));
		while (ring_ready(self->r) <= i && now_ns(CLOCK_MONOTONIC) < limit)
			ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
		ASSERT_EQ(i + 1, ring_ready(self->r));
	}
	ASSERT_EQ(1, put(self->p[1]));
	usleep(20000);
	ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
	for (i = 0; i < entries; i++) {
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		EXPECT_EQ(IORING_CQE_F_MORE, cqe.flags);
		n++;
	}
	EXPECT_EQ(entries, n);
	EXPECT_CQE(1, POLLIN, false);
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_QUIET();
}

TEST_F(pollop, remove)
{
	poll_remove(&self->io, 1, 0, 0, 0, 2);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(2, -ENOENT, false);
	poll_add(&self->io, self->p[0], POLLIN, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	poll_remove(&self->io, 1, 0, 0, 0, 3);
	ASSERT_EQ(1, ring_submit(self->r, 2));
	EXPECT_CQE(3, 0, false);
	EXPECT_CQE(1, -ECANCELED, false);
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_QUIET();
	/* Among those with the same user data it is the one that came last. */
	poll_add(&self->io, self->p[1], POLLPRI, 0, 1);
	ASSERT_EQ(1, get(self->p[0]));
	poll_add(&self->io, self->p[0], POLLIN, 0, 1);
	poll_remove(&self->io, 1, 0, 0, 0, 4);
	ASSERT_EQ(3, ring_submit(self->r, 2));
	EXPECT_CQE(4, 0, false);
	EXPECT_CQE(1, -ECANCELED, false);
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_QUIET();
	close(self->p[0]);
	EXPECT_CQE(1, POLLERR, false);
}

TEST_F(pollop, remove_errors)
{
	struct {
		unsigned int flags, events, buf_index, file_index, ioprio;
		uint64_t off;
	} *t, tests[] = {
		{ .flags = IORING_POLL_ADD_MULTI },
		{ .flags = IORING_POLL_ADD_LEVEL },
		{ .flags = IORING_POLL_ADD_LEVEL | IORING_POLL_UPDATE_EVENTS },
		{ .flags = 1 << 4 },
		{ .events = POLLIN },
		{ .off = 1 },
		{ .flags = IORING_POLL_UPDATE_EVENTS, .off = 1 },
		{ .flags = IORING_POLL_UPDATE_USER_DATA, .events = POLLIN },
		{ .buf_index = 1 },
		{ .file_index = 1 },
		{ .ioprio = 1 },
	};
	struct io_uring_sqe *sqe;

	for (t = tests; t < tests + sizeof(tests) / sizeof(*tests); t++) {
		sqe = poll_remove(&self->io, 1, t->flags, t->events, t->off, 2);
		sqe->buf_index = t->buf_index;
		sqe->file_index = t->file_index;
		sqe->ioprio = t->ioprio;
		ASSERT_EQ(1, ring_submit(self->r, 1));
		EXPECT_CQE(2, -EINVAL, false);
	}
	/* What is refused changes nothing; so does what finds nothing. */
	poll_remove(&self->io, 1, IORING_POLL_UPDATE_EVENTS | IORING_POLL_UPDATE_USER_DATA,
		    POLLIN, 5, 2);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(2, -ENOENT, false);
}

/* A request that waits for its file is no POLL_ADD. */
TEST_F(pollop, remove_finds_polls_only)
{
	int p[2];
	char c;

	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	prep(&self->io, IORING_OP_READ, p[0], &c, 1, 0)->user_data = 1;
	poll_remove(&self->io, 1, 0, 0, 0, 2);
	ASSERT_EQ(2, ring_submit(self->r, 1));
	EXPECT_CQE(2, -ENOENT, false);
	poll_add(&self->io, self->p[0], POLLIN, 0, 1);
	poll_remove(&self->io, 1, 0, 0, 0, 3);
	ASSERT_EQ(2, ring_submit(self->r, 2));
	EXPECT_CQE(3, 0, false);
	EXPECT_CQE(1, -ECANCELED, false);
	ASSERT_EQ(1, put(p[1]));
	EXPECT_CQE(1, 1, false);
	close(p[0]);
	close(p[1]);
}

TEST_F(pollop, update_events)
{
	int sk[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sk));
	poll_add(&self->io, sk[0], POLLPRI, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	poll_remove(&self->io, 1, IORING_POLL_UPDATE_EVENTS, POLLIN, 0, 2);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(2, 0, false);
	EXPECT_QUIET();
	ASSERT_EQ(1, put(sk[1]));
	EXPECT_CQE(1, POLLIN, false);
	/* What is ready by then ends it. */
	poll_add(&self->io, sk[0], POLLPRI, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	poll_remove(&self->io, 1, IORING_POLL_UPDATE_EVENTS, POLLIN, 0, 2);
	ASSERT_EQ(1, ring_submit(self->r, 2));
	EXPECT_CQE(2, 0, false);
	EXPECT_CQE(1, POLLIN, false);
	EXPECT_QUIET();
	close(sk[0]);
	close(sk[1]);
}

TEST_F(pollop, update_user_data)
{
	poll_add(&self->io, self->p[0], POLLIN, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	poll_remove(&self->io, 1, IORING_POLL_UPDATE_USER_DATA, 0, 5, 2);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(2, 0, false);
	poll_remove(&self->io, 1, 0, 0, 0, 3);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(3, -ENOENT, false);
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_CQE(5, POLLIN, false);
}

/* How it waits stays as it was: one that tells often goes on to do so. */
TEST_F(pollop, update_multishot)
{
	poll_add(&self->io, self->p[0], POLLPRI, IORING_POLL_ADD_MULTI, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	poll_remove(&self->io, 1, IORING_POLL_UPDATE_EVENTS | IORING_POLL_UPDATE_USER_DATA,
		    POLLIN, 5, 2);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(2, 0, false);
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_CQE(5, POLLIN, true);
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_CQE(5, POLLIN, true);
	/* What is ready is told again, and goes on. */
	poll_remove(&self->io, 5, IORING_POLL_UPDATE_EVENTS | IORING_POLL_ADD_MULTI, POLLIN, 0, 3);
	ASSERT_EQ(1, ring_submit(self->r, 2));
	EXPECT_CQE(3, 0, false);
	EXPECT_CQE(5, POLLIN, true);
	poll_remove(&self->io, 5, 0, 0, 0, 4);
	ASSERT_EQ(1, ring_submit(self->r, 2));
	EXPECT_CQE(4, 0, false);
	EXPECT_CQE(5, -ECANCELED, false);
}

/* In a chain the next one runs when it is over. */
TEST_F(pollop, linked)
{
	char c = 0;

	poll_add(&self->io, self->p[0], POLLIN, 0, 1)->flags |= IOSQE_IO_LINK;
	prep(&self->io, IORING_OP_READ, self->p[0], &c, 1, 0)->user_data = 2;
	ASSERT_EQ(2, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ASSERT_EQ(1, put(self->p[1]));
	EXPECT_CQE(1, POLLIN, false);
	EXPECT_CQE(2, 1, false);
	EXPECT_EQ('x', c);
	prep(&self->io, IORING_OP_NOP, -1, NULL, 0, 0)->flags |= IOSQE_IO_LINK;
	poll_add(&self->io, self->p[0], POLLIN, 0, 3)->flags |= IOSQE_IO_LINK;
	ring_nop(self->r, 4);
	ASSERT_EQ(3, ring_submit(self->r, 1));
	EXPECT_CQE(4711, 0, false);
	EXPECT_QUIET();
	poll_remove(&self->io, 3, 0, 0, 0, 5);
	ASSERT_EQ(1, ring_submit(self->r, 3));
	EXPECT_CQE(5, 0, false);
	EXPECT_CQE(3, -ECANCELED, false);
	EXPECT_CQE(4, -ECANCELED, false);
}

TEST_HARNESS_MAIN
