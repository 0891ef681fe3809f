// SPDX-License-Identifier: GPL-2.0
/* Reads and writes on regular files and block devices: data, positions, ends, bad memory. */
#include "files.h"
#include "kselftest_harness.h"

#define SIZE	(64 * 1024)

FIXTURE(rw) {
	struct io io;
	int fd;
	char *in, *out;
};

IO_VARIANTS(rw);

FIXTURE_SETUP(rw)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 64, variant->flags,
			     variant->sqe_flags));
	self->fd = new_file(0, SIZE);
	ASSERT_LE(0, self->fd);
	self->in = pages(SIZE);
	self->out = pages(SIZE);
	fill(self->out, SIZE, 1);
	ASSERT_EQ(SIZE, pwrite(self->fd, self->out, SIZE, 0));
}

FIXTURE_TEARDOWN(rw)
{
	close(self->fd);
	ring_exit(&self->io.r);
}

#define READ(fd, addr, len, off)	one(&self->io, IORING_OP_READ, fd, addr, len, off)
#define WRITE(fd, addr, len, off)	one(&self->io, IORING_OP_WRITE, fd, addr, len, off)
#define READV(fd, iov, nr, off)		one(&self->io, IORING_OP_READV, fd, iov, nr, off)
#define WRITEV(fd, iov, nr, off)	one(&self->io, IORING_OP_WRITEV, fd, iov, nr, off)

TEST_F(rw, moves_data)
{
	static const unsigned int sizes[] = { 0, 1, 511, 512, 4096, 4097, 20000, SIZE };
	static const unsigned int offs[] = { 0, 1, 4095, 5000, SIZE - 1 };
	unsigned int i, j, want;
	char *back = pages(2 * SIZE);

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (j = 0; j < ARRAY_SIZE(offs); j++) {
			fill(self->out, SIZE, 10 * i + j);
			ASSERT_EQ(sizes[i], WRITE(self->fd, self->out, sizes[i], offs[j]));
			/* Seen by others, and nothing else was touched. */
			want = sizes[i];
			ASSERT_EQ(want, pread(self->fd, back, want, offs[j]));
			EXPECT_EQ(0, memcmp(back, self->out, want));
			memset(self->in, 0, SIZE);
			ASSERT_EQ(want, READ(self->fd, self->in, want, offs[j]));
			EXPECT_EQ(0, memcmp(self->in, self->out, want));
			if (want < SIZE)
				EXPECT_EQ(0, self->in[want]);
		}
	}
}

TEST_F(rw, at_the_end)
{
	off_t end = lseek(self->fd, 0, SEEK_END);
	int last;

	EXPECT_EQ(10, READ(self->fd, self->in, 100, end - 10));
	EXPECT_EQ(1, READ(self->fd, self->in, SIZE, end - 1));
	EXPECT_EQ(0, READ(self->fd, self->in, 100, end));
	EXPECT_EQ(0, READ(self->fd, self->in, 100, end + 12345));
	EXPECT_EQ(0, READ(self->fd, self->in, 0, 0));
	EXPECT_EQ(0, WRITE(self->fd, self->out, 0, 0));
	/* The file's own limit: one that does not fit at all, one that does in part. */
	if (place == BLOCK) {
		EXPECT_EQ(-ENOSPC, WRITE(self->fd, self->out, 100, end));
		EXPECT_EQ(10, WRITE(self->fd, self->out, 100, end - 10));
		return;
	}
	EXPECT_EQ(7, WRITE(self->fd, self->out, 7, end + 3));
	EXPECT_EQ(end + 10, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(10, READ(self->fd, self->in, 100, end));
	EXPECT_EQ(0, memcmp(self->in, "\0\0\0", 3));
	EXPECT_EQ(0, memcmp(self->in + 3, self->out, 7));
	EXPECT_EQ(0, READ(self->fd, self->in, 5, INT64_MAX - 10));
	last = pwrite(self->fd, self->out, 5, INT64_MAX - 10) < 0 ? -errno : 5;
	EXPECT_EQ(last, WRITE(self->fd, self->out, 5, INT64_MAX - 10));
}

TEST_F(rw, impossible_positions)
{
	static const int64_t bad[] = { -2, -SIZE, INT64_MIN, INT64_MAX - 10, INT64_MAX };
	struct iovec iov = { self->in, 100 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, READ(self->fd, self->in, 100, bad[i]));
		EXPECT_EQ(-EINVAL, WRITE(self->fd, self->out, 100, bad[i]));
		EXPECT_EQ(-EINVAL, READV(self->fd, &iov, 1, bad[i]));
		EXPECT_EQ(-EINVAL, WRITEV(self->fd, &iov, 1, bad[i]));
	}
}

TEST_F(rw, own_position)
{
	lseek(self->fd, 100, SEEK_SET);
	fill(self->out, SIZE, 2);
	EXPECT_EQ(1000, WRITE(self->fd, self->out, 1000, -1));
	EXPECT_EQ(1100, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(500, WRITE(self->fd, self->out + 1000, 500, -1));
	EXPECT_EQ(1600, lseek(self->fd, 0, SEEK_CUR));
	lseek(self->fd, 110, SEEK_SET);
	EXPECT_EQ(1490, READ(self->fd, self->in, 1490, -1));
	EXPECT_EQ(0, memcmp(self->in, self->out + 10, 1490));
	EXPECT_EQ(1600, lseek(self->fd, 0, SEEK_CUR));
	/* A short one moves by what it got, one that fails and one elsewhere not at all. */
	lseek(self->fd, -10, SEEK_END);
	EXPECT_EQ(10, READ(self->fd, self->in, 100, -1));
	EXPECT_EQ(0, READ(self->fd, self->in, 100, -1));
	EXPECT_EQ(lseek(self->fd, 0, SEEK_CUR), lseek(self->fd, 0, SEEK_END));
	lseek(self->fd, 5, SEEK_SET);
	EXPECT_EQ(-EFAULT, READ(self->fd, (void *)8, 100, -1));
	EXPECT_EQ(100, READ(self->fd, self->in, 100, 50));
	EXPECT_EQ(100, WRITE(self->fd, self->in, 100, 50));
	EXPECT_EQ(5, lseek(self->fd, 0, SEEK_CUR));
}

TEST_F(rw, appends)
{
	int fd = new_file(O_APPEND, 100);

	if (place == BLOCK)
		SKIP(return, "a device has no end to append to");
	ASSERT_LE(0, fd);
	/* Wherever it is said to go. */
	EXPECT_EQ(10, WRITE(fd, self->out, 10, 0));
	EXPECT_EQ(110, lseek(fd, 0, SEEK_END));
	lseek(fd, 3, SEEK_SET);
	EXPECT_EQ(10, WRITE(fd, self->out, 10, -1));
	EXPECT_EQ(120, lseek(fd, 0, SEEK_CUR));
	EXPECT_EQ(20, READ(fd, self->in, 100, 100));
	EXPECT_EQ(0, memcmp(self->in, self->out, 10));
	EXPECT_EQ(0, memcmp(self->in + 10, self->out, 10));
	close(fd);
}

TEST_F(rw, vectors)
{
	struct iovec iov[1025], out[3] = {
		{ self->out, 100 }, { NULL, 0 }, { self->out + 100, 19900 },
	};
	int i;

	fill(self->out, SIZE, 3);
	EXPECT_EQ(20000, WRITEV(self->fd, out, 3, 33));
	for (i = 0; i < 1025; i++)
		iov[i] = (struct iovec) { self->in + 19 * i, 19 };
	EXPECT_EQ(1024 * 19, READV(self->fd, iov, 1024, 33));
	EXPECT_EQ(0, memcmp(self->in, self->out, 1024 * 19));
	EXPECT_EQ(-EINVAL, READV(self->fd, iov, 1025, 0));
	EXPECT_EQ(-EINVAL, WRITEV(self->fd, iov, 1025, 0));
	EXPECT_EQ(0, READV(self->fd, iov, 0, 0));
	EXPECT_EQ(0, WRITEV(self->fd, iov, 0, 0));
	EXPECT_EQ(0, READV(self->fd, NULL, 0, 0));
	EXPECT_EQ(0, READV(self->fd, out + 1, 1, 0));
	/* Positions of the file's own. */
	lseek(self->fd, 1, SEEK_SET);
	EXPECT_EQ(38, READV(self->fd, iov, 2, -1));
	EXPECT_EQ(38, WRITEV(self->fd, iov, 2, -1));
	EXPECT_EQ(77, lseek(self->fd, 0, SEEK_CUR));
}

TEST_F(rw, bad_vectors)
{
	off_t end = lseek(self->fd, 0, SEEK_END);
	struct iovec iov[3] = { { self->in, 10 }, { self->in, -1 }, { self->in, 10 } };
	struct iovec *cut = (void *)before_hole(sizeof(iov[0]));

	EXPECT_EQ(-EINVAL, READV(self->fd, iov, 2, 0));
	EXPECT_EQ(-EINVAL, WRITEV(self->fd, iov + 1, 1, 0));
	iov[1].iov_len = (size_t)INT64_MAX + 1;
	EXPECT_EQ(-EINVAL, READV(self->fd, iov, 3, 0));
	EXPECT_EQ(-EFAULT, READV(self->fd, NULL, 1, 0));
	EXPECT_EQ(-EFAULT, WRITEV(self->fd, (void *)8, 2, 0));
	*cut = iov[0];
	EXPECT_EQ(-EFAULT, READV(self->fd, cut, 2, 0));
	EXPECT_EQ(10, READV(self->fd, cut, 1, 0));
	/* More than can be moved at once is cut, if it is one piece, or refused. */
	iov[0].iov_len = INT64_MAX;
	EXPECT_EQ(10, READV(self->fd, iov, 1, end - 10));
	iov[1].iov_len = 10;
	EXPECT_EQ(-EFAULT, READV(self->fd, iov, 2, end - 10));
	iov[0].iov_len = UINT32_MAX;
	EXPECT_EQ(10, READV(self->fd, iov, 2, end - 10));
	iov[0] = (struct iovec) { (void *)(1ul << 63), 10 };
	EXPECT_EQ(-EFAULT, READV(self->fd, iov, 1, 0));
	EXPECT_EQ(-EFAULT, READV(self->fd, iov, 2, 0));
	/* Only the second piece is bad: the first one counts. */
	iov[0] = (struct iovec) { self->in, 4096 };
	iov[1] = (struct iovec) { (void *)8, 4096 };
	EXPECT_EQ(4096, READV(self->fd, iov, 2, 0));
	EXPECT_EQ(4096, WRITEV(self->fd, iov, 2, 0));
}

TEST_F(rw, bad_memory)
{
	char *cut = before_hole(8192), *read_only = pages(4096);

	EXPECT_EQ(-EFAULT, READ(self->fd, NULL, 10, 0));
	EXPECT_EQ(-EFAULT, WRITE(self->fd, NULL, 10, 0));
	EXPECT_EQ(-EFAULT, READ(self->fd, (void *)(1ul << 63), 10, 0));
	EXPECT_EQ(-EFAULT, WRITE(self->fd, (void *)-10ul, 10, 0));
	EXPECT_EQ(-EFAULT, WRITE(self->fd, cut + 8192, 10, 0));
	/* What is before the hole is done. */
	EXPECT_EQ(8192, READ(self->fd, cut, 20000, 0));
	EXPECT_EQ(0, memcmp(cut, self->out, 8192));
	fill(cut, 8192, 5);
	EXPECT_EQ(8192, WRITE(self->fd, cut, 20000, 4096));
	EXPECT_EQ(12288, READ(self->fd, self->in, 12288, 0));
	EXPECT_EQ(0, memcmp(self->in, self->out, 4096));
	EXPECT_EQ(0, memcmp(self->in + 4096, cut, 8192));
	ASSERT_EQ(0, mprotect(read_only, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, READ(self->fd, read_only, 10, 0));
	EXPECT_EQ(10, WRITE(self->fd, read_only, 10, 0));
}

/* Lengths that no buffer has: what the file has counts, and what is mapped. */
TEST_F(rw, big_lengths)
{
	off_t end = lseek(self->fd, 0, SEEK_END);
	size_t big = 6 << 20;
	char *a = pages(big), *b = pages(big);

	EXPECT_EQ(SIZE, READ(self->fd, self->in, UINT32_MAX, end - SIZE));
	EXPECT_EQ(-EFAULT, READ(self->fd, (void *)(-4096ul), UINT32_MAX, 0));
	fill(a, big, 7);
	ASSERT_EQ(big, WRITE(self->fd, a, big, 0));
	ASSERT_EQ(big, READ(self->fd, b, big, 0));
	EXPECT_EQ(0, memcmp(a, b, big));
}

TEST_F(rw, modes)
{
	char link[32];
	int ro, wo, path, dir = open(files_dir, O_RDONLY);

	snprintf(link, sizeof(link), "/proc/self/fd/%d", self->fd);
	ro = open(link, O_RDONLY);
	wo = open(link, O_WRONLY);
	path = open(link, O_PATH);
	ASSERT_LE(0, path);
	EXPECT_EQ(-EBADF, WRITE(ro, self->out, 10, 0));
	EXPECT_EQ(-EBADF, READ(wo, self->in, 10, 0));
	EXPECT_EQ(-EBADF, READ(path, self->in, 10, 0));
	EXPECT_EQ(-EBADF, READ(-1, self->in, 10, 0));
	EXPECT_EQ(-EBADF, READ(INT32_MAX, self->in, 10, 0));
	EXPECT_EQ(10, READ(ro, self->in, 10, 0));
	EXPECT_EQ(10, WRITE(wo, self->out, 10, 0));
	EXPECT_EQ(-EISDIR, READ(dir, self->in, 10, 0));
	EXPECT_EQ(-EBADF, WRITE(dir, self->in, 10, 0));
	close(ro);
	close(wo);
	close(path);
	close(dir);
}

/* What is wrong with the file is found when it is tried: the submission goes on behind it. */
TEST_F(rw, errors_of_prep_and_of_issue)
{
	struct io_uring_cqe cqe;
	struct io *io = &self->io;
	int i;

	for (i = 0; i < 4; i++) {
		prep(io, IORING_OP_READ, -1, self->in, 10, 0);
		prep(io, IORING_OP_WRITE, self->fd, self->out, 10, -2);
		prep(io, IORING_OP_READ_FIXED, self->fd, self->in, 10, 0);
	}
	ring_nop(&io->r, 1);
	EXPECT_EQ(13, ring_submit(&io->r, 13));
	for (i = 0; i < 13; i++) {
		ASSERT_TRUE(ring_cqe(&io->r, &cqe));
		EXPECT_EQ(cqe.user_data == 1, cqe.res == 0);
	}
	/* What is wrong with the SQE ends it. */
	prep(io, IORING_OP_READV, self->fd, (void *)8, 1, 0);
	ring_nop(&io->r, 1);
	EXPECT_EQ(ring_is_polled(&io->r) ? 2 : 1, ring_submit(&io->r, 1));
	ASSERT_TRUE(ring_cqe(&io->r, &cqe));
	EXPECT_EQ(-EFAULT, cqe.res);
	EXPECT_EQ(1, ring_enter(&io->r, 1, 1, IORING_ENTER_GETEVENTS));
	ASSERT_TRUE(ring_cqe(&io->r, &cqe));
	EXPECT_EQ(1, cqe.user_data);
}

TEST_F(rw, many_at_once)
{
	struct io_uring_cqe cqe;
	struct io *io = &self->io;
	int i, round, seen[64];

	for (round = 0; round < 4; round++) {
		fill(self->out, SIZE, 100 + round);
		for (i = 0; i < 64; i++)
			prep(io, IORING_OP_WRITE, self->fd, self->out + 1024 * i, 1024,
			     1024 * i)->user_data = i;
		ASSERT_EQ(64, ring_submit(&io->r, 64));
		memset(seen, 0, sizeof(seen));
		for (i = 0; i < 64; i++) {
			ASSERT_TRUE(ring_cqe(&io->r, &cqe));
			EXPECT_EQ(1024, cqe.res);
			EXPECT_EQ(0, seen[cqe.user_data]++);
		}
		memset(self->in, 0, SIZE);
		for (i = 0; i < 64; i++)
			prep(io, IORING_OP_READ, self->fd, self->in + 1024 * i, 1024,
			     1024 * i)->user_data = i;
		ASSERT_EQ(64, ring_submit(&io->r, 64));
		for (i = 0; i < 64; i++) {
			ASSERT_TRUE(ring_cqe(&io->r, &cqe));
			EXPECT_EQ(1024, cqe.res);
			EXPECT_EQ(1, seen[cqe.user_data]--);
		}
		EXPECT_EQ(0, memcmp(self->in, self->out, SIZE));
	}
}

TEST_F(rw, success_without_cqe)
{
	struct io *io = &self->io;

	prep(io, IORING_OP_READ, self->fd, self->in, 100, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	prep(io, IORING_OP_READ, -1, self->in, 100, 0)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	EXPECT_EQ(2, ring_submit(&io->r, 1));
	EXPECT_EQ(-EBADF, wait_result(io));
	/* One that got less than it asked for is no success. */
	prep(io, IORING_OP_READ, self->fd, self->in, 100,
	     lseek(self->fd, 0, SEEK_END) - 10)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	EXPECT_EQ(10, run(io));
	EXPECT_EQ(0, ring_ready(&io->r));
}

FILES_MAIN
