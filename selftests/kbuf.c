// SPDX-License-Identifier: GPL-2.0
/* Groups of provided buffers: how they come and go. What is done with them is in kbuf-read.c. */
#include "kbuf.h"
#include "kselftest_harness.h"

FIXTURE(kbuf) {
	struct io io;
	struct ring *r;
	char *memory;		/* for a ring of entries */
	int p[2];
};

RING_VARIANTS(kbuf);

FIXTURE_SETUP(kbuf)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 16, variant->flags, 0));
	self->r = &self->io.r;
	self->memory = pages(128 * PAGE);
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC));
}

FIXTURE_TEARDOWN(kbuf)
{
	ring_exit(self->r);
}

static int probed(struct ring *r, unsigned int opcode)
{
	struct {
		struct io_uring_probe head;
		struct io_uring_probe_op ops[256];
	} probe = {};
	int ret = ring_register(r, IORING_REGISTER_PROBE, &probe, 256);

	return ret ? ret : probe.ops[opcode].flags & IO_URING_OP_SUPPORTED;
}

TEST_F(kbuf, probe_tells)
{
	EXPECT_EQ(1, probed(self->r, IORING_OP_PROVIDE_BUFFERS));
	EXPECT_EQ(1, probed(self->r, IORING_OP_REMOVE_BUFFERS));
	EXPECT_EQ(1, probed(self->r, IORING_OP_READ_MULTISHOT));
}

TEST_F(kbuf, register_and_unregister)
{
	EXPECT_EQ(-ENOENT, pbuf_unregister(self->r, 3));
	EXPECT_EQ(0, pbuf_register(self->r, 3, 8, self->memory, 0));
	EXPECT_EQ(-EEXIST, pbuf_register(self->r, 3, 8, self->memory, 0));
	EXPECT_EQ(-EEXIST, pbuf_register(self->r, 3, 8, NULL, IOU_PBUF_RING_MMAP));
	/* The same memory may be that of two. */
	EXPECT_EQ(0, pbuf_register(self->r, 65535, 32768, self->memory, 0));
	EXPECT_EQ(0, pbuf_unregister(self->r, 3));
	EXPECT_EQ(-ENOENT, pbuf_unregister(self->r, 3));
	EXPECT_EQ(0, pbuf_register(self->r, 3, 1, self->memory, IOU_PBUF_RING_INC));
	EXPECT_EQ(0, pbuf_unregister(self->r, 65535));
}

TEST_F(kbuf, wrong_registrations)
{
	char *hole = before_hole(PAGE);
	char *readable = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct {
		struct io_uring_buf_reg reg;
		int ret;
	} wrong[] = {
		{ { .ring_entries = 0, .ring_addr = 1 }, -EINVAL },
		{ { .ring_entries = 3, .ring_addr = 1 }, -EINVAL },
		{ { .ring_entries = 65536, .ring_addr = 1 }, -EINVAL },
		{ { .ring_entries = 1u << 31, .ring_addr = 1 }, -EINVAL },
		{ { .ring_entries = 8, .flags = 4 }, -EINVAL },
		{ { .ring_entries = 8, .flags = 0x8001 }, -EINVAL },
		{ { .ring_entries = 8, .flags = IOU_PBUF_RING_MMAP, .min_left = 1 }, -EINVAL },
		{ { .ring_entries = 8, .flags = IOU_PBUF_RING_MMAP, .resv = { 1 } }, -EINVAL },
		{ { .ring_entries = 8, .flags = IOU_PBUF_RING_MMAP, .resv = { [4] = 1 } },
		  -EINVAL },
		{ { .ring_entries = 8 }, -EFAULT },
		{ { .ring_entries = 8, .ring_addr = 16 }, -EINVAL },
		{ { .ring_entries = 8, .ring_addr = PAGE }, -EFAULT },
		{ { .ring_entries = 8, .ring_addr = (unsigned long)hole + PAGE }, -EFAULT },
		{ { .ring_entries = 512, .ring_addr = (unsigned long)hole }, -EFAULT },
		{ { .ring_entries = 8, .ring_addr = (unsigned long)readable }, -EFAULT },
		{ { .ring_entries = 8, .ring_addr = -4096ull }, -EOVERFLOW },
		{ { .ring_entries = 8, .ring_addr = -8192ull }, -EFAULT },
		{ { .ring_entries = 512, .ring_addr = -4096ull }, -EOVERFLOW },
	};
	struct io_uring_buf_reg reg = { .ring_entries = 8, .ring_addr = (unsigned long)hole };
	int i, ret;

	for (i = 0; i < (int)(sizeof(wrong) / sizeof(*wrong)); i++) {
		ret = ring_register(self->r, IORING_REGISTER_PBUF_RING, &wrong[i].reg, 1);
		EXPECT_EQ(wrong[i].ret, ret)
			TH_LOG("number %d", i);
		EXPECT_EQ(-ENOENT, pbuf_unregister(self->r, 0));
	}
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_PBUF_RING, NULL, 1));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_PBUF_RING, &reg, 0));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_PBUF_RING, &reg, 2));
	EXPECT_EQ(-EFAULT, ring_register(self->r, IORING_REGISTER_PBUF_RING, hole + PAGE - 8, 1));
	EXPECT_EQ(0, ring_register(self->r, IORING_REGISTER_PBUF_RING, &reg, 1));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_UNREGISTER_PBUF_RING, NULL, 1));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_UNREGISTER_PBUF_RING, &reg, 0));
	EXPECT_EQ(-EFAULT, ring_register(self->r, IORING_UNREGISTER_PBUF_RING, hole + PAGE, 1));
	reg.flags = IOU_PBUF_RING_MMAP;
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_UNREGISTER_PBUF_RING, &reg, 1));
	reg.flags = 0;
	reg.resv[2] = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_UNREGISTER_PBUF_RING, &reg, 1));
	reg.resv[2] = 0;
	/* Only the number is looked at. */
	reg.min_left = 77;
	EXPECT_EQ(0, ring_register(self->r, IORING_UNREGISTER_PBUF_RING, &reg, 1));
}

TEST_F(kbuf, status)
{
	struct io_uring_buf_status status = { .buf_group = 1 };

	EXPECT_EQ(-ENOENT, pbuf_head(self->r, 1));
	EXPECT_EQ(0, pbuf_register(self->r, 1, 8, self->memory, 0));
	EXPECT_EQ(0, pbuf_head(self->r, 1));
	EXPECT_EQ(-ENOENT, pbuf_head(self->r, 0x10001));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_PBUF_STATUS, &status, 0));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_PBUF_STATUS, NULL, 1));
	EXPECT_EQ(-EFAULT, ring_register(self->r, IORING_REGISTER_PBUF_STATUS, (void *)8, 1));
	status.resv[7] = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_PBUF_STATUS, &status, 1));
	provide(&self->io, 2, self->memory, 8, 1, 0);
	EXPECT_RUN(0, 0);
	EXPECT_EQ(-EINVAL, pbuf_head(self->r, 2));
}

/* The kernel's memory, and where it can be mapped. */
TEST_F(kbuf, memory_of_the_kernel)
{
	const size_t len = group_bytes(512);
	char *a, *b;

	EXPECT_EQ(MAP_FAILED, pbuf_map(self->r->fd, 5, PAGE));
	EXPECT_EQ(EINVAL, errno);
	/* The address is not looked at. */
	EXPECT_EQ(0, pbuf_register(self->r, 5, 512, (void *)123, IOU_PBUF_RING_MMAP));
	a = pbuf_map(self->r->fd, 5, len);
	ASSERT_NE(MAP_FAILED, a);
	b = pbuf_map(self->r->fd, 5, len);
	ASSERT_NE(MAP_FAILED, b);
	EXPECT_EQ(0, a[len - 1]);
	a[len - 1] = 7;
	EXPECT_EQ(7, b[len - 1]);
	EXPECT_EQ(MAP_FAILED, pbuf_map(self->r->fd, 5, len - PAGE));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(MAP_FAILED, pbuf_map(self->r->fd, 4, len));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(MAP_FAILED, mmap(NULL, len, PROT_READ, MAP_SHARED, self->r->fd,
				   IORING_OFF_PBUF_RING | 5ull << 16 | 1ull << 32));
	EXPECT_EQ(EINVAL, errno);
	/* What is below the number is not looked at. */
	b = mmap(NULL, len, PROT_READ, MAP_SHARED, self->r->fd,
		 IORING_OFF_PBUF_RING | 5ull << 16 | PAGE);
	ASSERT_NE(MAP_FAILED, b);
	EXPECT_EQ(7, b[len - 1]);
	/* It stays as long as it is mapped, and is nobody's then. */
	EXPECT_EQ(0, pbuf_unregister(self->r, 5));
	EXPECT_EQ(7, b[len - 1]);
	EXPECT_EQ(MAP_FAILED, pbuf_map(self->r->fd, 5, len));
	EXPECT_EQ(0, pbuf_register(self->r, 5, 512, NULL, IOU_PBUF_RING_MMAP));
	b = pbuf_map(self->r->fd, 5, len);
	ASSERT_NE(MAP_FAILED, b);
	EXPECT_EQ(0, b[len - 1]);
}

/* Numbers that the offset has no room for: they can be used, and not mapped. */
TEST_F(kbuf, numbers_that_are_too_large_to_be_mapped)
{
	ASSERT_EQ(0, pbuf_register(self->r, 2047, 8, NULL, IOU_PBUF_RING_MMAP));
	ASSERT_EQ(0, pbuf_register(self->r, 2048, 8, NULL, IOU_PBUF_RING_MMAP));
	ASSERT_EQ(0, pbuf_register(self->r, 0x8000, 8, NULL, IOU_PBUF_RING_MMAP));
	EXPECT_NE(MAP_FAILED, pbuf_map(self->r->fd, 2047, PAGE));
	EXPECT_EQ(MAP_FAILED, pbuf_map(self->r->fd, 2048, PAGE));
	EXPECT_EQ(MAP_FAILED, pbuf_map(self->r->fd, 0x8000, PAGE));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(kbuf, memory_of_ours_is_not_mapped)
{
	ASSERT_EQ(0, pbuf_register(self->r, 5, 8, self->memory, 0));
	EXPECT_EQ(MAP_FAILED, pbuf_map(self->r->fd, 5, PAGE));
	EXPECT_EQ(EINVAL, errno);
	provide(&self->io, 6, self->memory, 8, 1, 0);
	EXPECT_RUN(0, 0);
	EXPECT_EQ(MAP_FAILED, pbuf_map(self->r->fd, 6, PAGE));
	EXPECT_EQ(EINVAL, errno);
}

/* Another process has it mapped while the ring goes. */
TEST_F(kbuf, mapped_elsewhere)
{
	int to[2], from[2], status;
	char c = 0, *a;
	pid_t pid;

	ASSERT_EQ(0, pbuf_register(self->r, 5, 8, NULL, IOU_PBUF_RING_MMAP));
	a = pbuf_map(self->r->fd, 5, PAGE);
	ASSERT_NE(MAP_FAILED, a);
	ASSERT_EQ(0, pipe(to) | pipe(from));
	pid = fork();
	if (!pid) {
		char *b = pbuf_map(self->r->fd, 5, PAGE);

		if (b == MAP_FAILED || b[100] != 0)
			_exit(1);
		ring_exit(self->r);
		close(to[1]);
		b[100] = 'b';
		if (write(from[1], &c, 1) != 1 || read(to[0], &c, 1) != 1)
			_exit(2);
		/* The ring is no more. */
		usleep(100000);
		_exit(b[100] == 'c' ? 0 : 3);
	}
	close(to[0]);
	ASSERT_EQ(1, read(from[0], &c, 1));
	EXPECT_EQ('b', a[100]);
	a[100] = 'c';
	munmap(a, PAGE);
	ring_exit(self->r);
	ASSERT_EQ(1, write(to[1], &c, 1));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(0, ring_init(self->r, variant->backend, 8, variant->flags));
}

/* Many groups, found by their numbers. */
TEST_F(kbuf, many_groups)
{
	int i;

	for (i = 0; i < 1000; i++)
		ASSERT_EQ(0, pbuf_register(self->r, i * 63, 8, self->memory, 0));
	for (i = 0; i < 63000; i += 9)
		ASSERT_EQ(i % 63 ? -ENOENT : 0, pbuf_head(self->r, i));
	for (i = 0; i < 1000; i += 2)
		ASSERT_EQ(0, pbuf_unregister(self->r, i * 63));
	for (i = 0; i < 1000; i++)
		ASSERT_EQ(i % 2 ? 0 : -ENOENT, pbuf_head(self->r, i * 63));
}

TEST_F(kbuf, provide_and_remove)
{
	take_out(&self->io, 7, 1);
	EXPECT_RUN(-ENOENT, 0);
	provide(&self->io, 7, self->memory, 64, 10, 5);
	EXPECT_RUN(0, 0);
	take_out(&self->io, 7, 3);
	EXPECT_RUN(3, 0);
	take_out(&self->io, 7, 65536);
	EXPECT_RUN(7, 0);
	/* The group stays. */
	take_out(&self->io, 7, 1);
	EXPECT_RUN(0, 0);
	provide(&self->io, 7, self->memory, 64, 1, 65535)->flags |= IOSQE_ASYNC;
	EXPECT_RUN(0, 0);
	take_out(&self->io, 7, 2)->flags |= IOSQE_ASYNC;
	EXPECT_RUN(1, 0);
	provide(&self->io, 7, self->memory, 64, 1, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	take_out(&self->io, 7, 2);
	SUBMIT(2);
	EXPECT_CQE(1, 0);
	EXPECT_QUIET();
}

TEST_F(kbuf, wrong_sqes)
{
	const struct {
		struct io_uring_sqe sqe;
		int res;
	} wrong[] = {
#define PROVIDE	.opcode = IORING_OP_PROVIDE_BUFFERS
#define REMOVE	.opcode = IORING_OP_REMOVE_BUFFERS
		{ { PROVIDE, .fd = 1, .addr = PAGE, .len = 1, .rw_flags = 1 }, -EINVAL },
		{ { PROVIDE, .fd = 1, .addr = PAGE, .len = 1, .splice_fd_in = 1 }, -EINVAL },
		{ { PROVIDE, .fd = 1, .addr = PAGE, .len = 1, .ioprio = 1 }, -EINVAL },
		{ { PROVIDE, .fd = 0, .addr = PAGE, .len = 1 }, -E2BIG },
		{ { PROVIDE, .fd = -1, .addr = PAGE, .len = 1 }, -E2BIG },
		{ { PROVIDE, .fd = 65537, .addr = PAGE, .len = 1 }, -E2BIG },
		{ { PROVIDE, .fd = 1, .addr = PAGE }, -EINVAL },
		{ { PROVIDE, .fd = 2, .addr = -1ull, .len = 1 }, -EOVERFLOW },
		{ { PROVIDE, .fd = 1, .addr = -4096ull, .len = 1 }, -EFAULT },
		{ { PROVIDE, .fd = 2, .addr = 1ull << 63, .len = 1 }, -EFAULT },
		{ { PROVIDE, .fd = 1, .addr = PAGE, .len = 1, .off = 65536 }, -E2BIG },
		{ { PROVIDE, .fd = 2, .addr = PAGE, .len = 1, .off = 65535 }, -EINVAL },
		{ { PROVIDE, .fd = 65536, .addr = PAGE, .len = 1, .off = 1 }, -EINVAL },
		{ { PROVIDE, .fd = 1, .addr = PAGE, .len = 1, .flags = IOSQE_BUFFER_SELECT },
		  -EOPNOTSUPP },
		{ { REMOVE, .fd = 1, .rw_flags = 1 }, -EINVAL },
		{ { REMOVE, .fd = 1, .addr = 1 }, -EINVAL },
		{ { REMOVE, .fd = 1, .len = 1 }, -EINVAL },
		{ { REMOVE, .fd = 1, .off = 1 }, -EINVAL },
		{ { REMOVE, .fd = 1, .splice_fd_in = 1 }, -EINVAL },
		{ { REMOVE, .fd = 0 }, -EINVAL },
		{ { REMOVE, .fd = -1 }, -EINVAL },
		{ { REMOVE, .fd = 65537 }, -EINVAL },
		{ { REMOVE, .fd = 1, .flags = IOSQE_BUFFER_SELECT }, -EOPNOTSUPP },
		{ { REMOVE, .fd = 1, .personality = 4 }, -EINVAL },
	};
	int i;

	for (i = 0; i < (int)(sizeof(wrong) / sizeof(*wrong)); i++) {
		struct io_uring_cqe cqe;

		*ring_sqe(self->r) = wrong[i].sqe;
		SUBMIT(1);
		ASSERT_TRUE(soon(self->r, &cqe));
		EXPECT_EQ(wrong[i].res, cqe.res)
			TH_LOG("number %d", i);
	}
	/* Nothing came of it. */
	take_out(&self->io, 0, 1);
	EXPECT_RUN(-ENOENT, 0);
}

/* A list and a ring do not go together. */
TEST_F(kbuf, list_or_ring)
{
	ASSERT_EQ(0, pbuf_register(self->r, 1, 8, self->memory, 0));
	provide(&self->io, 1, self->memory, 64, 1, 0);
	EXPECT_RUN(-EINVAL, 0);
	take_out(&self->io, 1, 1);
	EXPECT_RUN(-EINVAL, 0);
	provide(&self->io, 2, self->memory, 64, 1, 0);
	EXPECT_RUN(0, 0);
	EXPECT_EQ(-EEXIST, pbuf_register(self->r, 2, 8, self->memory, 0));
	EXPECT_EQ(-EINVAL, pbuf_unregister(self->r, 2));
	take_out(&self->io, 2, 1);
	EXPECT_RUN(1, 0);
	/* An empty list becomes a ring; the attempt alone ends it. */
	EXPECT_EQ(-EINVAL, pbuf_unregister(self->r, 2));
	EXPECT_EQ(-EFAULT, pbuf_register(self->r, 2, 8, (void *)PAGE, 0));
	take_out(&self->io, 2, 1);
	EXPECT_RUN(-ENOENT, 0);
	EXPECT_EQ(0, pbuf_register(self->r, 2, 8, self->memory, 0));
	EXPECT_EQ(0, pbuf_unregister(self->r, 2));
}

/* A list has no more buffers than there are numbers, and takes what fits. */
TEST_F_TIMEOUT(kbuf, list_is_full, 150)
{
	/* Natively each buffer is an allocation. */
	if (variant->flags)
		SKIP(return, "once is enough");
	provide(&self->io, 9, self->memory, 1, 65000, 0);
	EXPECT_RUN(0, 0);
	provide(&self->io, 9, self->memory, 1, 1000, 0);
	EXPECT_RUN(0, 0);
	provide(&self->io, 9, self->memory, 1, 1, 0);
	EXPECT_RUN(-EOVERFLOW, 0);
	take_out(&self->io, 9, 65536);
	EXPECT_RUN(65536, 0);
	take_out(&self->io, 9, 65536);
	EXPECT_RUN(0, 0);
}

/* Who else has the ring has its groups. */
TEST_F(kbuf, used_by_a_child)
{
	int status;
	pid_t pid;

	if (variant->flags & IORING_SETUP_SINGLE_ISSUER)
		SKIP(return, "one task only");
	pid = fork();
	if (!pid)
		_exit(pbuf_register(self->r, 1, 8, self->memory, 0) != 0);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	/* The memory is pinned, whoever is gone. */
	EXPECT_EQ(0, pbuf_head(self->r, 1));
	EXPECT_EQ(-EEXIST, pbuf_register(self->r, 1, 8, self->memory, 0));
	EXPECT_EQ(0, pbuf_unregister(self->r, 1));
}

TEST_F(kbuf, restricted)
{
	struct io_uring_restriction allow[] = {
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_PBUF_STATUS },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_ENABLE_RINGS },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_REMOVE_BUFFERS },
	};
	struct io io;

	ASSERT_EQ(0, io_init(&io, variant->backend, 8, variant->flags | IORING_SETUP_R_DISABLED,
			     0));
	ASSERT_EQ(0, pbuf_register(&io.r, 1, 8, self->memory, 0));
	ASSERT_EQ(0, ring_register(&io.r, IORING_REGISTER_RESTRICTIONS, allow, 3));
	ASSERT_EQ(0, ring_register(&io.r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	EXPECT_EQ(-EACCES, pbuf_register(&io.r, 2, 8, self->memory, 0));
	EXPECT_EQ(-EACCES, pbuf_unregister(&io.r, 1));
	EXPECT_EQ(0, pbuf_head(&io.r, 1));
	ring_exit(&io.r);
}

TEST_HARNESS_MAIN
