// SPDX-License-Identifier: GPL-2.0
/* Cancellation: by what, of what, from where. */
#include "files.h"
#include <linux/time_types.h>
#include "kselftest_harness.h"

#define LATE	20000000000ull

FIXTURE(cancel) {
	struct io io;
	struct ring *r;
	char in[16];
	char fifo[64];
};

RING_VARIANTS(cancel);

FIXTURE_SETUP(cancel)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 64, variant->flags, 0));
	self->r = &self->io.r;
	snprintf(self->fifo, sizeof(self->fifo), "%s/cancel.%d", files_dir, getpid());
	ASSERT_EQ(0, mkfifo(self->fifo, 0600));
}

FIXTURE_TEARDOWN(cancel)
{
	ring_exit(self->r);
	unlink(self->fifo);
}

static void timer(struct ring *r, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	sqe->opcode = IORING_OP_TIMEOUT;
	sqe->addr = LATE;
	sqe->len = 1;
	sqe->timeout_flags = IORING_TIMEOUT_IMMEDIATE_ARG;
	sqe->user_data = user_data;
}

static struct io_uring_sqe *cancel(struct ring *r, uint64_t user_data, uint64_t of,
				   unsigned int flags)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	sqe->addr = of;
	sqe->cancel_flags = flags;
	sqe->user_data = user_data;
	return sqe;
}

/* Runs in a worker until somebody opens the other end. */
static void open_fifo(struct io *io, const char *fifo, uint64_t user_data, unsigned int flags)
{
	struct io_uring_sqe *sqe = prep(io, IORING_OP_OPENAT, AT_FDCWD, fifo, 0, 0);

	sqe->open_flags = O_RDONLY;
	sqe->flags |= IOSQE_ASYNC | flags;
	sqe->user_data = user_data;
}

/* Takes so many CQEs, and counts those with this user data and result. */
static int count(struct ring *r, unsigned int nr, uint64_t user_data, int res)
{
	struct io_uring_cqe cqe;
	int found = 0, tries = 0;

	while (nr) {
		if (!ring_cqe(r, &cqe)) {
			if (tries++ > 20 || ring_enter(r, 0, 1, IORING_ENTER_GETEVENTS) < 0)
				return -1;
			continue;
		}
		nr--;
		found += cqe.user_data == user_data && cqe.res == res;
	}
	return found;
}

#define EXPECT_NEXT(user, result) do {						\
	struct io_uring_cqe cqe;						\
										\
	if (!ring_ready(self->r))						\
		ASSERT_EQ(0, ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS));\
	ASSERT_TRUE(ring_cqe(self->r, &cqe));					\
	EXPECT_EQ(user, cqe.user_data);						\
	EXPECT_EQ(result, cqe.res) TH_LOG("user data %u", (unsigned int)(user));\
} while (0)

static int submit(struct ring *r, unsigned int wait)
{
	unsigned int nr = ring_flush(r);

	return ring_enter(r, nr, wait, IORING_ENTER_GETEVENTS) == nr ? 0 : -1;
}

TEST_F(cancel, by_user_data)
{
	timer(self->r, 1);
	timer(self->r, 2);
	cancel(self->r, 10, 2, 0);
	ASSERT_EQ(0, submit(self->r, 2));
	EXPECT_NEXT(10, 0);
	EXPECT_NEXT(2, -ECANCELED);
	cancel(self->r, 11, 2, 0);
	cancel(self->r, 12, 1, IORING_ASYNC_CANCEL_USERDATA);
	ASSERT_EQ(0, submit(self->r, 3));
	EXPECT_NEXT(11, -ENOENT);
	EXPECT_NEXT(12, 0);
	EXPECT_NEXT(1, -ECANCELED);
}

TEST_F(cancel, all_of_the_same)
{
	int i;

	for (i = 0; i < 5; i++)
		timer(self->r, 1);
	timer(self->r, 2);
	cancel(self->r, 10, 1, IORING_ASYNC_CANCEL_ALL);
	ASSERT_EQ(0, submit(self->r, 6));
	EXPECT_NEXT(10, 5);
	EXPECT_EQ(5, count(self->r, 5, 1, -ECANCELED));
	cancel(self->r, 11, 1, IORING_ASYNC_CANCEL_ALL);
	cancel(self->r, 12, 0, IORING_ASYNC_CANCEL_ANY);
	ASSERT_EQ(0, submit(self->r, 3));
	EXPECT_NEXT(11, 0);
	EXPECT_NEXT(12, 1);
	EXPECT_NEXT(2, -ECANCELED);
	cancel(self->r, 13, 0, IORING_ASYNC_CANCEL_ANY);
	ASSERT_EQ(0, submit(self->r, 1));
	EXPECT_NEXT(13, 0);
}

TEST_F(cancel, by_opcode)
{
	timer(self->r, 1);
	timer(self->r, 2);
	cancel(self->r, 10, 0, IORING_ASYNC_CANCEL_OP)->len = IORING_OP_READ;
	cancel(self->r, 11, 2, IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_USERDATA)->len =
		IORING_OP_READ;
	cancel(self->r, 12, 2, IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_USERDATA)->len =
		IORING_OP_TIMEOUT;
	ASSERT_EQ(0, submit(self->r, 4));
	EXPECT_NEXT(10, -ENOENT);
	EXPECT_NEXT(11, -ENOENT);
	EXPECT_NEXT(12, 0);
	EXPECT_NEXT(2, -ECANCELED);
	cancel(self->r, 13, 0, IORING_ASYNC_CANCEL_OP)->len = IORING_OP_TIMEOUT;
	ASSERT_EQ(0, submit(self->r, 2));
	EXPECT_NEXT(13, 0);
	EXPECT_NEXT(1, -ECANCELED);
}

TEST_F(cancel, bad)
{
	static const unsigned int flags[] = {
		IORING_ASYNC_CANCEL_OP << 1, 1u << 31,
		IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_FD,
		IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_OP,
	};
	unsigned int i;

	timer(self->r, 0);
	ASSERT_EQ(0, submit(self->r, 0));
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		cancel(self->r, i, 0, flags[i]);
		ASSERT_EQ(0, submit(self->r, 1));
		EXPECT_NEXT(i, -EINVAL);
	}
	cancel(self->r, 10, 0, 0)->off = 1;
	ASSERT_EQ(0, submit(self->r, 1));
	EXPECT_NEXT(10, -EINVAL);
	cancel(self->r, 11, 0, 0)->splice_fd_in = 1;
	ASSERT_EQ(0, submit(self->r, 1));
	EXPECT_NEXT(11, -EINVAL);
	cancel(self->r, 12, 0, IORING_ASYNC_CANCEL_OP)->len = IORING_OP_LAST;
	ASSERT_EQ(0, submit(self->r, 1));
	EXPECT_NEXT(12, -EINVAL);
	cancel(self->r, 13, 0, IORING_ASYNC_CANCEL_FD)->fd = -1;
	ASSERT_EQ(0, submit(self->r, 1));
	EXPECT_NEXT(13, -EBADF);
	cancel(self->r, 14, 0, IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED);
	ASSERT_EQ(0, submit(self->r, 1));
	EXPECT_NEXT(14, -EBADF);
}

/* What a worker runs is interrupted, and told so. */
TEST_F(cancel, running)
{
	struct io_uring_cqe cqe;
	int i;

	if (ring_has_kernel_workers(self->r))
		SKIP(return, "the submitter opens, and does not wait for the other end");
	open_fifo(&self->io, self->fifo, 1, 0);
	ASSERT_EQ(0, submit(self->r, 0));
	/* Until it runs. */
	usleep(100000);
	cancel(self->r, 10, 1, 0);
	ASSERT_EQ(0, submit(self->r, 2));
	for (i = 0; i < 2; i++) {
		if (!ring_ready(self->r))
			ASSERT_EQ(0, ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS));
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		/* On a slow machine it may not have begun. */
		EXPECT_TRUE((cqe.user_data == 10 && (cqe.res == -EALREADY || !cqe.res)) ||
			    (cqe.user_data == 1 &&
			     (cqe.res == -EINTR || cqe.res == -ECANCELED)))
			TH_LOG("user data %llu: %d", cqe.user_data, cqe.res);
	}
}

/* There are no threads for all of them, so some wait for one. */
TEST_F(cancel, queued)
{
	unsigned int limits[2] = { 1, 1 };
	int i, nr = 0;

	if (ring_has_kernel_workers(self->r))
		SKIP(return, "the submitter opens, and does not wait for the other end");
	ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_IOWQ_MAX_WORKERS, limits, 2));
	for (i = 0; i < 8; i++)
		open_fifo(&self->io, self->fifo, i, 0);
	ASSERT_EQ(0, submit(self->r, 0));
	usleep(50000);
	cancel(self->r, 10, 7, 0);
	ASSERT_EQ(0, submit(self->r, 2));
	EXPECT_NEXT(10, 0);
	EXPECT_NEXT(7, -ECANCELED);
	cancel(self->r, 11, 0, IORING_ASYNC_CANCEL_ANY);
	ASSERT_EQ(0, submit(self->r, 8));
	for (i = 0; i < 8; i++) {
		struct io_uring_cqe cqe;

		if (!ring_ready(self->r))
			ASSERT_EQ(0, ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS));
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		if (cqe.user_data != 11)
			nr += cqe.res == -ECANCELED || cqe.res == -EINTR;
	}
	EXPECT_EQ(7, nr);
}

TEST_F(cancel, linked)
{
	timer(self->r, 1);
	/* When one is done, the other is cancelled; whatever is linked to that is, too. */
	timer(self->r, 2);
	self->r->sqes[(self->r->sqe_tail - 1) & 63].flags = IOSQE_IO_LINK;
	ring_nop(self->r, 3);
	ring_nop(self->r, 4)->flags = IOSQE_IO_LINK;
	cancel(self->r, 5, 2, 0)->flags = IOSQE_IO_LINK;
	cancel(self->r, 6, 1, 0);
	ASSERT_EQ(0, submit(self->r, 6));
	EXPECT_EQ(1, ring_ready(self->r) >= 6);
	EXPECT_EQ(0, count(self->r, 6, 99, 0));
	ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
	EXPECT_EQ(0, ring_ready(self->r));
}

static int sync_cancel(struct ring *r, uint64_t of, unsigned int flags, int fd, long long sec)
{
	struct io_uring_sync_cancel_reg reg = {
		.addr = of, .fd = fd, .flags = flags,
		.timeout = { .tv_sec = sec, .tv_nsec = sec < 0 ? -1 : 0 },
	};

	return ring_register(r, IORING_REGISTER_SYNC_CANCEL, &reg, 1);
}

TEST_F(cancel, synchronous)
{
	struct io_uring_sync_cancel_reg reg = { .addr = 1 };
	int i;

	EXPECT_EQ(-ENOENT, sync_cancel(self->r, 1, 0, -1, -1));
	EXPECT_EQ(0, sync_cancel(self->r, 0, IORING_ASYNC_CANCEL_ANY, -1, -1));
	timer(self->r, 1);
	ASSERT_EQ(0, submit(self->r, 0));
	EXPECT_EQ(0, sync_cancel(self->r, 1, 0, -1, -1));
	EXPECT_NEXT(1, -ECANCELED);
	for (i = 0; i < 4; i++)
		timer(self->r, 1);
	ASSERT_EQ(0, submit(self->r, 0));
	EXPECT_EQ(4, sync_cancel(self->r, 1, IORING_ASYNC_CANCEL_ALL, -1, -1));
	EXPECT_EQ(4, count(self->r, 4, 1, -ECANCELED));
	EXPECT_EQ(-EBADF, sync_cancel(self->r, 1, IORING_ASYNC_CANCEL_FD, -1, -1));
	EXPECT_EQ(-EBADF, sync_cancel(self->r, 1, IORING_ASYNC_CANCEL_FD |
				      IORING_ASYNC_CANCEL_FD_FIXED, 0, -1));
	EXPECT_EQ(-EINVAL, sync_cancel(self->r, 1, 1u << 31, -1, -1));
	reg.pad[0] = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_SYNC_CANCEL, &reg, 1));
	reg.pad[0] = 0;
	reg.pad2[2] = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_SYNC_CANCEL, &reg, 1));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_SYNC_CANCEL, &reg, 2));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_SYNC_CANCEL, NULL, 1));
	EXPECT_EQ(-EFAULT, ring_register(self->r, IORING_REGISTER_SYNC_CANCEL, (void *)8, 1));
}

/* It waits for what is running. */
TEST_F(cancel, synchronous_running)
{
	struct io_uring_cqe cqe;

	if (ring_has_kernel_workers(self->r))
		SKIP(return, "the submitter opens, and does not wait for the other end");
	/* Natively that is looked for with the caller's workers only. */
	if (variant->backend == NATIVE)
		SKIP_POLLED(self->r, "and has workers of its own");
	open_fifo(&self->io, self->fifo, 1, 0);
	ASSERT_EQ(0, submit(self->r, 0));
	usleep(100000);
	EXPECT_EQ(0, sync_cancel(self->r, 1, 0, -1, -1));
	EXPECT_EQ(-ENOENT, sync_cancel(self->r, 1, 0, -1, -1));
	if (!ring_ready(self->r))
		ASSERT_EQ(0, ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS));
	ASSERT_TRUE(ring_cqe(self->r, &cqe));
	EXPECT_TRUE(cqe.user_data == 1 && (cqe.res == -EINTR || cqe.res == -ECANCELED));
}

FILES_MAIN
