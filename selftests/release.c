// SPDX-License-Identifier: GPL-2.0
/* Letting go of user memory (RUST_URING_REGISTER_RELEASE), which io_uring itself does not have. */
#include "files.h"
#include "stress.h"
#include "kselftest_harness.h"

#define DEFER	(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
#define PAGE	4096
#define MANY	64

FIXTURE(release) {
	struct io io;
	struct ring *r;
	int p[2];
	char *a, *b;
};

FIXTURE_VARIANT(release) { unsigned int flags; };
FIXTURE_VARIANT_ADD(release, device) { .flags = 0 };
FIXTURE_VARIANT_ADD(release, device_defer) { .flags = DEFER };

FIXTURE_SETUP(release)
{
	ASSERT_EQ(0, io_init(&self->io, DEVICE, MANY, variant->flags, 0));
	self->r = &self->io.r;
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC));
	self->a = pages(MANY * PAGE);
	self->b = pages(MANY * PAGE);
}

FIXTURE_TEARDOWN(release)
{
	ring_exit(self->r);
	close(self->p[0]);
	close(self->p[1]);
}

/* Within a minute. */
static int release(struct ring *r, const void *addr, size_t len)
{
	struct rust_uring_release arg = {
		.addr = (unsigned long)addr, .len = len, .timeout.tv_sec = 60,
	};

	return ring_register(r, RUST_URING_REGISTER_RELEASE, &arg, 1);
}

static struct io_uring_sqe *transfer(struct io *io, int op, int fd, char *addr, uint64_t user_data,
				     unsigned int flags)
{
	struct io_uring_sqe *sqe = prep(io, op, fd, addr, 1, 0);

	sqe->user_data = user_data;
	sqe->flags |= flags;
	return sqe;
}

/* The result of the one CQE that is there without waiting; it has this user data. */
static int there(struct ring *r, uint64_t user_data)
{
	struct io_uring_cqe cqe;

	ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS);
	return ring_cqe(r, &cqe) && cqe.user_data == user_data ? cqe.res : NO_RESULT;
}

static bool ended(int res)
{
	return res == -ECANCELED || res == -EINTR;
}

static int submit(struct ring *r)
{
	return ring_enter(r, ring_flush(r), 0, 0);
}

TEST_F(release, arguments)
{
	struct rust_uring_release arg = { .addr = 1 };

	EXPECT_EQ(0, release(self->r, NULL, 0));
	EXPECT_EQ(0, release(self->r, self->a, 1));
	EXPECT_EQ(-EINVAL, ring_register(self->r, RUST_URING_REGISTER_RELEASE, &arg, 1));
	arg.len = UINT64_MAX;
	EXPECT_EQ(-EINVAL, ring_register(self->r, RUST_URING_REGISTER_RELEASE, &arg, 1));
	arg.len = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, RUST_URING_REGISTER_RELEASE, &arg, 0));
	EXPECT_EQ(-EINVAL, ring_register(self->r, RUST_URING_REGISTER_RELEASE, NULL, 1));
	EXPECT_EQ(-EFAULT, ring_register(self->r, RUST_URING_REGISTER_RELEASE, (void *)8, 1));
	arg.flags = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, RUST_URING_REGISTER_RELEASE, &arg, 1));
	arg.flags = 0;
	arg.resv = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, RUST_URING_REGISTER_RELEASE, &arg, 1));
	/* Its neighbour is none, and natively there is none at all. */
	EXPECT_EQ(-EINVAL, ring_register(self->r, RUST_URING_REGISTER_RELEASE + 1, &arg, 1));
	EXPECT_EQ(-EINVAL, uring_register(NATIVE, self->r->fd, RUST_URING_REGISTER_RELEASE, &arg,
					  1));
}

/* The one that uses it ends, the others do not. */
TEST_F(release, blocked)
{
	int i;

	for (i = 0; i < 2; i++) {
		transfer(&self->io, IORING_OP_READ, self->p[0], self->b, 2, i ? IOSQE_ASYNC : 0);
		transfer(&self->io, IORING_OP_READ, self->p[0], self->a, 1, i ? IOSQE_ASYNC : 0);
		ASSERT_EQ(2, submit(self->r));
		usleep(20000);
		EXPECT_EQ(0, release(self->r, self->a, PAGE));
		EXPECT_TRUE(ended(there(self->r, 1)));
		munmap(self->a, PAGE);
		EXPECT_EQ(NO_RESULT, there(self->r, 2));
		ASSERT_EQ(1, write(self->p[1], "x", 1));
		ASSERT_EQ(0, ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS));
		EXPECT_EQ(1, there(self->r, 2));
		EXPECT_EQ('x', self->b[0]);
		ASSERT_EQ(self->a, mmap(self->a, PAGE, PROT_READ | PROT_WRITE, MAP_FIXED |
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	}
}

TEST_F(release, pieces)
{
	struct iovec iov[2] = { { self->a, 1 }, { self->a + 10 * PAGE, 1 } };
	struct io_uring_sqe *sqe;

	sqe = prep(&self->io, IORING_OP_READV, self->p[0], iov, 2, 0);
	sqe->user_data = 1;
	ASSERT_EQ(1, submit(self->r));
	EXPECT_EQ(0, release(self->r, self->a + 11 * PAGE, PAGE));
	EXPECT_EQ(NO_RESULT, there(self->r, 1));
	EXPECT_EQ(0, release(self->r, self->a + 10 * PAGE, 1));
	EXPECT_TRUE(ended(there(self->r, 1)));
}

/* A buffer that was taken is known; one that is yet to be chosen may be any. */
TEST_F(release, provided_buffers)
{
	struct io_uring_sqe *sqe;
	int i;

	sqe = prep(&self->io, IORING_OP_PROVIDE_BUFFERS, 1, self->a, PAGE, 7);
	sqe->user_data = 5;
	ASSERT_EQ(1, ring_submit(self->r, 1));
	ASSERT_EQ(0, there(self->r, 5));
	for (i = 0; i < 3; i++) {
		sqe = prep(&self->io, i == 2 ? IORING_OP_READ_MULTISHOT : IORING_OP_READ,
			   self->p[0], NULL, 0, i ? -1 : 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->user_data = i;
		if (i)
			sqe->buf_group = 1;
		if (i == 1) {
			struct io_uring_buf_reg reg = {
				.ring_addr = (unsigned long)self->b, .ring_entries = 1,
				.bgid = 1,
			};
			struct io_uring_buf_ring *ring = (void *)self->b;

			ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_PBUF_RING, &reg, 1));
			ring->bufs[0].addr = (unsigned long)self->b + PAGE;
			ring->bufs[0].len = PAGE;
			ring->tail = 1;
		}
		ASSERT_EQ(1, submit(self->r));
		EXPECT_EQ(NO_RESULT, there(self->r, i));
		EXPECT_EQ(0, release(self->r, self->a + 2 * PAGE, PAGE));
		if (i)
			EXPECT_EQ(-ECANCELED, there(self->r, i));
	}
	EXPECT_EQ(NO_RESULT, there(self->r, 0));
	EXPECT_EQ(0, release(self->r, self->a, PAGE));
	EXPECT_EQ(-ECANCELED, there(self->r, 0));
}

/* What is linked to others, or waits for a drain, has not begun, and never will. */
TEST_F(release, not_begun)
{
	struct io_uring_cqe cqe;

	transfer(&self->io, IORING_OP_READ, self->p[0], self->b, 1, IOSQE_IO_HARDLINK);
	transfer(&self->io, IORING_OP_READ, self->p[0], self->a, 2, IOSQE_IO_HARDLINK);
	transfer(&self->io, IORING_OP_READ, self->p[0], self->b + 1, 3, 0);
	ASSERT_EQ(3, submit(self->r));
	EXPECT_EQ(0, release(self->r, self->a, PAGE));
	EXPECT_EQ(NO_RESULT, there(self->r, 1));
	ASSERT_EQ(2, write(self->p[1], "xy", 2));
	ASSERT_EQ(0, ring_enter(self->r, 0, 3, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, there(self->r, 1));
	EXPECT_EQ(-ECANCELED, there(self->r, 2));
	EXPECT_EQ(1, there(self->r, 3));
	EXPECT_EQ(0, memcmp("xy", self->b, 2));
	/* What is submitted afterwards may use it. */
	transfer(&self->io, IORING_OP_READ, self->p[0], self->b, 1, IOSQE_IO_LINK);
	transfer(&self->io, IORING_OP_READ, self->p[0], self->a, 2, 0);
	ASSERT_EQ(2, submit(self->r));
	ASSERT_EQ(2, write(self->p[1], "vw", 2));
	ASSERT_EQ(0, ring_enter(self->r, 0, 2, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, there(self->r, 1));
	EXPECT_EQ(1, there(self->r, 2));
	/* A drain. */
	transfer(&self->io, IORING_OP_READ, self->p[0], self->b, 1, 0);
	transfer(&self->io, IORING_OP_READ, self->p[0], self->a, 2, IOSQE_IO_DRAIN);
	ring_nop(self->r, 3);
	ASSERT_EQ(3, submit(self->r));
	EXPECT_EQ(0, release(self->r, self->a, PAGE));
	EXPECT_EQ(-ECANCELED, there(self->r, 2));
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	while (!ring_cqe(self->r, &cqe))
		ASSERT_EQ(0, ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS));
	EXPECT_LE(0, cqe.res);
}

/* Transfers that the device has are waited for. */
TEST_F(release, under_way)
{
	int fd = new_file(O_DIRECT, MANY * PAGE), i, round;
	struct io_uring_cqe cqe;

	if (place != BLOCK)
		SKIP(return, "that needs a device that takes its time");
	ASSERT_LE(0, fd);
	for (round = 0; round < 10; round++) {
		char *memory = pages(MANY * PAGE);

		for (i = 0; i < MANY; i++)
			prep(&self->io, i % 2 ? IORING_OP_READ : IORING_OP_WRITE, fd,
			     memory + i * PAGE, PAGE, i * PAGE);
		ASSERT_EQ(MANY, submit(self->r));
		EXPECT_EQ(0, release(self->r, memory, MANY * PAGE));
		munmap(memory, MANY * PAGE);
		ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
		for (i = 0; i < MANY; i++) {
			ASSERT_TRUE(ring_cqe(self->r, &cqe));
			EXPECT_TRUE(cqe.res == PAGE || cqe.res == -ECANCELED) TH_LOG("%d", cqe.res);
		}
	}
	close(fd);
}

TEST_F(release, registered)
{
	struct iovec iov[2] = { { self->a, 16 * PAGE }, { self->b, 16 * PAGE } };
	uint64_t tags[2] = { 77, 78 };
	struct io_uring_rsrc_register reg = {
		.nr = 2, .data = (unsigned long)iov, .tags = (unsigned long)tags,
	};
	long before = pinned_pages();
	struct io_uring_sqe *sqe;

	ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_BUFFERS2, &reg, sizeof(reg)));
	EXPECT_EQ(before + 32, pinned_pages());
	sqe = prep(&self->io, IORING_OP_READ_FIXED, self->p[0], self->a, 1, 0);
	sqe->user_data = 1;
	ASSERT_EQ(1, submit(self->r));
	EXPECT_EQ(0, release(self->r, self->a + 3 * PAGE, PAGE));
	/* The buffer is out of the table; the request that has another part of it goes on. */
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	ASSERT_EQ(0, ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, there(self->r, 1));
	EXPECT_EQ(77, tag_soon(self->r));
	EXPECT_EQ(before + 16, pinned_pages());
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_EQ(-EFAULT, one(&self->io, IORING_OP_READ_FIXED, self->p[0], self->a, 1, 0));
	sqe = prep(&self->io, IORING_OP_READ_FIXED, self->p[0], self->b, 1, 0);
	sqe->buf_index = 1;
	EXPECT_EQ(1, run(&self->io));
	EXPECT_EQ(0, release(self->r, NULL, 0));
	EXPECT_EQ(78, tag_soon(self->r));
	EXPECT_EQ(before, pinned_pages());
}

/* What uses no memory of the caller goes on. */
TEST_F(release, others)
{
	struct io_uring_sqe *sqe = ring_sqe(self->r);

	sqe->opcode = IORING_OP_TIMEOUT;
	sqe->addr = 100000000;
	sqe->len = 1;
	sqe->timeout_flags = IORING_TIMEOUT_IMMEDIATE_ARG;
	sqe->user_data = 1;
	ASSERT_EQ(1, submit(self->r));
	EXPECT_EQ(0, release(self->r, NULL, 0));
	ASSERT_EQ(0, ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(-ETIME, there(self->r, 1));
}

FILES_MAIN
