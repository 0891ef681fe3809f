// SPDX-License-Identifier: GPL-2.0
/* Reads of files whose buffer is chosen (IOSQE_BUFFER_SELECT). */
#include "kbuf.h"
#include "kselftest_harness.h"

#define SIZE	256
#define NR	8

FIXTURE(kbuf_file) {
	struct io io;
	struct ring *r;
	struct group g;
};

GROUP_VARIANTS(kbuf_file);

FIXTURE_SETUP(kbuf_file)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 16, variant->flags, 0));
	self->r = &self->io.r;
	ASSERT_EQ(0, group_init(&self->g, self->r, 7, NR, SIZE, variant->group));
}

FIXTURE_TEARDOWN(kbuf_file)
{
	ring_exit(self->r);
}

#define EXPECT_HEAD(nr)		EXPECT_EQ(nr, pbuf_head(self->r, 7))

/* A regular file cannot be polled: its buffer is used from the start. */
TEST_F(kbuf_file, read)
{
	int fd = new_file(0, 4 * PAGE);
	char data[3 * SIZE];

	ASSERT_LE(0, fd);
	fill(data, sizeof(data), 5);
	ASSERT_EQ((int)sizeof(data), pwrite(fd, data, sizeof(data), 0));
	group_fill(&self->g, 0, 4);
	select_read(&self->io, fd, 0, 0, 7);
	EXPECT_RUN(SIZE, buffer(0));
	select_read(&self->io, fd, 100, SIZE, 7);
	EXPECT_RUN(100, buffer(1));
	select_read(&self->io, fd, 5000, 2 * SIZE, 7)->flags |= IOSQE_ASYNC;
	EXPECT_RUN(SIZE, buffer(2));
	EXPECT_EQ(0, memcmp(group_buf(&self->g, 0), data, SIZE));
	EXPECT_EQ(0, memcmp(group_buf(&self->g, 1), data + SIZE, 100));
	EXPECT_EQ(0, group_buf(&self->g, 1)[100]);
	EXPECT_EQ(0, memcmp(group_buf(&self->g, 2), data + 2 * SIZE, SIZE));
	/* The end of the file. */
	if (place != BLOCK) {
		select_read(&self->io, fd, 100, 1 << 20, 7);
		EXPECT_RUN(0, buffer(3));
		EXPECT_HEAD(4);
	}
	select_read(&self->io, fd, 0, 0, 7)->flags |= IOSQE_ASYNC;
	if (place == BLOCK) {
		EXPECT_RUN(SIZE, buffer(3));
		select_read(&self->io, fd, 0, 0, 7)->flags |= IOSQE_ASYNC;
	}
	EXPECT_RUN(-ENOBUFS, 0);
	close(fd);
}

/* So it is gone with a failure. */
TEST_F(kbuf_file, for_writing)
{
	int fd = new_file(0, PAGE), wronly;
	char path[64];

	ASSERT_LE(0, fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	wronly = open(path, O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, wronly);
	group_fill(&self->g, 0, 2);
	select_read(&self->io, wronly, 0, 0, 7);
	EXPECT_RUN(-EBADF, buffer(0));
	EXPECT_HEAD(1);
	select_read(&self->io, wronly, 0, 0, 7)->flags |= IOSQE_ASYNC;
	EXPECT_RUN(-EBADF, buffer(1));
	EXPECT_HEAD(2);
}

TEST_F(kbuf_file, direct)
{
	int fd = new_file(O_DIRECT, 4 * PAGE);
	char *data = pages(2 * PAGE);
	struct group g;

	if (fd < 0 && errno == EINVAL)
		SKIP(return, "no direct I/O here");
	ASSERT_LE(0, fd);
	fill(data, 2 * PAGE, 9);
	ASSERT_EQ(2 * PAGE, pwrite(fd, data, 2 * PAGE, 0));
	ASSERT_EQ(0, group_init(&g, self->r, 8, NR, PAGE, 0));
	group_fill(&g, 0, 3);
	select_read(&self->io, fd, 0, 0, 8);
	EXPECT_RUN(PAGE, buffer(0));
	select_read(&self->io, fd, 0, PAGE, 8);
	EXPECT_RUN(PAGE, buffer(1));
	EXPECT_EQ(0, memcmp(data, g.memory, 2 * PAGE));
	if (place == TMPFS)
		return;		/* which is not that strict */
	select_read(&self->io, fd, 0, 1, 8);
	EXPECT_RUN(-EINVAL, buffer(2));
	EXPECT_EQ(3, pbuf_head(self->r, 8));
}

/* Several at once, each with a buffer of its own, whatever order they are done in. */
TEST_F(kbuf_file, many_direct)
{
	int fd = new_file(O_DIRECT, NR * PAGE), i;
	char *data = pages(NR * PAGE);
	struct group g;

	if (fd < 0 && errno == EINVAL)
		SKIP(return, "no direct I/O here");
	ASSERT_LE(0, fd);
	fill(data, NR * PAGE, 10);
	ASSERT_EQ(NR * PAGE, pwrite(fd, data, NR * PAGE, 0));
	ASSERT_EQ(0, group_init(&g, self->r, 8, NR, PAGE, 0));
	group_fill(&g, 0, NR);
	for (i = 0; i < NR; i++)
		select_read(&self->io, fd, 0, i * PAGE, 8)->user_data = i;
	SUBMIT(NR);
	for (i = 0; i < NR; i++) {
		struct io_uring_cqe cqe;

		ASSERT_TRUE(soon(self->r, &cqe));
		EXPECT_EQ(PAGE, cqe.res);
		EXPECT_EQ(IORING_CQE_F_BUFFER, cqe.flags & 0xffff);
		EXPECT_EQ(0, memcmp(data + cqe.user_data * PAGE, group_buf(&g, cqe.flags >> 16),
				    PAGE));
	}
	EXPECT_EQ(NR, pbuf_head(self->r, 8));
}

/* A group whose buffers are used bit by bit: what was asked for counts. */
TEST_F(kbuf_file, bit_by_bit)
{
	int fd = new_file(0, PAGE);
	struct group g;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, group_init(&g, self->r, 8, NR, SIZE, IOU_PBUF_RING_INC));
	group_fill(&g, 0, 2);
	select_read(&self->io, fd, 100, 0, 8);
	EXPECT_RUN(100, buffer(0) | IORING_CQE_F_BUF_MORE);
	EXPECT_EQ(SIZE - 100, g.ring->bufs[0].len);
	select_read(&self->io, fd, SIZE - 101, 0, 8)->flags |= IOSQE_ASYNC;
	EXPECT_RUN(SIZE - 101, buffer(0) | IORING_CQE_F_BUF_MORE);
	select_read(&self->io, fd, 5, 0, 8)->flags |= IOSQE_ASYNC;
	EXPECT_RUN(1, buffer(0));
	EXPECT_EQ(1, pbuf_head(self->r, 8));
	if (place != BLOCK) {
		select_read(&self->io, fd, 56, PAGE - 6, 8);
		EXPECT_RUN(6, buffer(1) | IORING_CQE_F_BUF_MORE);
		EXPECT_EQ(SIZE - 56, g.ring->bufs[1].len);
	}
}

/* A ring that polls for completions. */
TEST_F(kbuf_file, polled)
{
	unsigned int flags = variant->flags | IORING_SETUP_IOPOLL;
	int fd = new_file(O_DIRECT, 4 * PAGE), buffered = new_file(0, 4 * PAGE);
	char *data = pages(PAGE);
	struct group g;
	int p[2];

	if (place != BLOCK)
		SKIP(return, "no completions to poll for");
	ASSERT_LE(0, fd);
	fill(data, PAGE, 12);
	ASSERT_EQ(PAGE, pwrite(fd, data, PAGE, 0));
	ring_exit(self->r);
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, flags, 0));
	ASSERT_EQ(0, group_init(&g, self->r, 8, NR, PAGE, 0));
	group_fill(&g, 0, 3);
#define EXPECT_POLLED(result, cqe_flags) do {				\
	ASSERT_EQ(1, ring_submit(self->r, 1));				\
	EXPECT_CQE(result, cqe_flags);					\
} while (0)
	select_read(&self->io, fd, 0, 0, 8);
	EXPECT_POLLED(PAGE, buffer(0));
	EXPECT_EQ(0, memcmp(group_buf(&g, 0), data, PAGE));
	select_read(&self->io, fd, 512, 512, 8)->flags |= IOSQE_ASYNC;
	EXPECT_POLLED(512, buffer(1));
	EXPECT_EQ(0, memcmp(group_buf(&g, 1), data + 512, 512));
	select_read(&self->io, buffered, 0, 0, 8);
	EXPECT_POLLED(-EOPNOTSUPP, buffer(2));
	EXPECT_EQ(3, pbuf_head(self->r, 8));
	provide(&self->io, 33, group_buf(&g, 4), PAGE, 1, 4);
	EXPECT_POLLED(0, 0);
	select_read(&self->io, fd, 0, 0, 33);
	EXPECT_POLLED(PAGE, buffer(4));
	EXPECT_EQ(0, memcmp(group_buf(&g, 4), data, PAGE));
	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	multishot(&self->io, p[0], 8);
	EXPECT_POLLED(-EINVAL, 0);
}

FILES_MAIN
