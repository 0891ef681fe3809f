// SPDX-License-Identifier: GPL-2.0
/* Reads and writes on files: one piece and vectors, buffered and direct, here and in workers. */
#include "uring.h"
#include <sys/stat.h>
#include <sys/uio.h>
#include "kselftest_harness.h"

#define SIZE	(64 * 1024)

FIXTURE(rw)
{
	struct ring r;
	char path[64];
	int fd;
	char *in, *out;
};

RING_VARIANTS(rw);

static void fill(char *p, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = seed >> 16;
	}
}

FIXTURE_SETUP(rw)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
	strcpy(self->path, "/tmp/rust_uring_rw_XXXXXX");
	self->fd = mkstemp(self->path);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, posix_memalign((void **)&self->in, 4096, SIZE));
	ASSERT_EQ(0, posix_memalign((void **)&self->out, 4096, SIZE));
	fill(self->out, SIZE, 1);
	memset(self->in, 0, SIZE);
}

FIXTURE_TEARDOWN(rw)
{
	close(self->fd);
	unlink(self->path);
	free(self->in);
	free(self->out);
	ring_exit(&self->r);
}

static int one(struct ring *r, int op, int fd, void *addr, unsigned int len, uint64_t off,
	       int flags, int rwf)
{
	struct io_uring_sqe *sqe = ring_sqe(r);
	struct io_uring_cqe cqe;
	int ret;

	sqe->opcode = op;
	sqe->fd = fd;
	sqe->addr = (unsigned long)addr;
	sqe->len = len;
	sqe->off = off;
	sqe->flags = flags;
	sqe->rw_flags = rwf;
	sqe->user_data = 77;
	ret = ring_submit(r, 1);
	if (ret != 1)
		return -10000 + ret;
	if (!ring_cqe(r, &cqe))
		return -20000;
	if (cqe.user_data != 77)
		return -30000;
	return cqe.res;
}

TEST_F(rw, write_then_read)
{
	int async;

	for (async = 0; async < 2; async++) {
		int flags = async ? IOSQE_ASYNC : 0;

		memset(self->in, 0, SIZE);
		fill(self->out, SIZE, async + 5);
		ASSERT_EQ(SIZE, one(&self->r, IORING_OP_WRITE, self->fd, self->out, SIZE, 0, flags, 0));
		ASSERT_EQ(0, one(&self->r, IORING_OP_FSYNC, self->fd, NULL, 0, 0, flags, 0));
		ASSERT_EQ(SIZE, one(&self->r, IORING_OP_READ, self->fd, self->in, SIZE, 0, flags, 0));
		ASSERT_EQ(0, memcmp(self->in, self->out, SIZE));
		/* At the end and beyond there is nothing. */
		EXPECT_EQ(10, one(&self->r, IORING_OP_READ, self->fd, self->in, 100, SIZE - 10, flags, 0));
		EXPECT_EQ(0, one(&self->r, IORING_OP_READ, self->fd, self->in, 100, SIZE, flags, 0));
	}
}

TEST_F(rw, vectors)
{
	struct iovec out[3] = { { self->out, 100 }, { self->out + 100, 0 }, { self->out + 100, 900 } };
	struct iovec in[2] = { { self->in, 1 }, { self->in + 1, 999 } };

	ASSERT_EQ(1000, one(&self->r, IORING_OP_WRITEV, self->fd, out, 3, 0, 0, 0));
	ASSERT_EQ(1000, one(&self->r, IORING_OP_READV, self->fd, in, 2, 0, 0, 0));
	ASSERT_EQ(0, memcmp(self->in, self->out, 1000));
	EXPECT_EQ(-EINVAL, one(&self->r, IORING_OP_READV, self->fd, in, 1025, 0, 0, 0));
	EXPECT_EQ(-EFAULT, one(&self->r, IORING_OP_READV, self->fd, (void *)8, 1, 0, 0, 0));
	EXPECT_EQ(0, one(&self->r, IORING_OP_READV, self->fd, in, 0, 0, 0, 0));
}

TEST_F(rw, own_position)
{
	ASSERT_EQ(1000, one(&self->r, IORING_OP_WRITE, self->fd, self->out, 1000, -1, 0, 0));
	EXPECT_EQ(1000, lseek(self->fd, 0, SEEK_CUR));
	ASSERT_EQ(500, one(&self->r, IORING_OP_WRITE, self->fd, self->out + 1000, 500, -1, IOSQE_ASYNC, 0));
	EXPECT_EQ(1500, lseek(self->fd, 0, SEEK_CUR));
	lseek(self->fd, 10, SEEK_SET);
	ASSERT_EQ(1490, one(&self->r, IORING_OP_READ, self->fd, self->in, SIZE, -1, 0, 0));
	EXPECT_EQ(0, memcmp(self->in, self->out + 10, 1490));
	EXPECT_EQ(1500, lseek(self->fd, 0, SEEK_CUR));
}

TEST_F(rw, errors)
{
	int ro = open(self->path, O_RDONLY), wo = open(self->path, O_WRONLY), dir = open("/tmp", O_RDONLY);

	EXPECT_EQ(-EBADF, one(&self->r, IORING_OP_READ, 999, self->in, 10, 0, 0, 0));
	EXPECT_EQ(-EBADF, one(&self->r, IORING_OP_READ, -1, self->in, 10, 0, 0, 0));
	EXPECT_EQ(-EBADF, one(&self->r, IORING_OP_WRITE, ro, self->in, 10, 0, 0, 0));
	EXPECT_EQ(-EBADF, one(&self->r, IORING_OP_READ, wo, self->in, 10, 0, 0, 0));
	EXPECT_EQ(-EISDIR, one(&self->r, IORING_OP_READ, dir, self->in, 10, 0, 0, 0));
	EXPECT_EQ(-EINVAL, one(&self->r, IORING_OP_READ, self->fd, self->in, 10, -2, 0, 0));
	EXPECT_EQ(-EFAULT, one(&self->r, IORING_OP_WRITE, self->fd, (void *)8, 10, 0, 0, 0));
	EXPECT_EQ(-EOPNOTSUPP, one(&self->r, IORING_OP_READ, self->fd, self->in, 10, 0, 0, 1 << 30));
	EXPECT_EQ(-EBADF, one(&self->r, IORING_OP_READ, 0, self->in, 10, 0, IOSQE_FIXED_FILE, 0));
	EXPECT_EQ(-EFAULT, one(&self->r, IORING_OP_READ_FIXED, self->fd, self->in, 10, 0, 0, 0));
	close(ro);
	close(wo);
	close(dir);
}

TEST_F(rw, fixed_file_and_buffer)
{
	struct iovec iov[2] = { { self->out, SIZE }, { self->in, SIZE } };
	int fds[2] = { -1, self->fd };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;

	ASSERT_EQ(0, ring_register(&self->r, IORING_REGISTER_FILES, fds, 2));
	ASSERT_EQ(0, ring_register(&self->r, IORING_REGISTER_BUFFERS, iov, 2));
	EXPECT_EQ(-EBUSY, ring_register(&self->r, IORING_REGISTER_BUFFERS, iov, 2));
	EXPECT_EQ(-EBUSY, ring_register(&self->r, IORING_REGISTER_FILES, fds, 2));
	ASSERT_EQ(SIZE - 8, one(&self->r, IORING_OP_WRITE_FIXED, 1, self->out + 8, SIZE - 8, 0,
				IOSQE_FIXED_FILE, 0));
	sqe = ring_sqe(&self->r);
	sqe->opcode = IORING_OP_READ_FIXED;
	sqe->fd = 1;
	sqe->flags = IOSQE_FIXED_FILE | IOSQE_ASYNC;
	sqe->addr = (unsigned long)self->in + 100;
	sqe->len = 20000;
	sqe->off = 5000;
	sqe->buf_index = 1;
	ASSERT_EQ(1, ring_submit(&self->r, 1));
	ASSERT_TRUE(ring_cqe(&self->r, &cqe));
	ASSERT_EQ(20000, cqe.res);
	EXPECT_EQ(0, memcmp(self->in + 100, self->out + 5008, 20000));
	EXPECT_EQ(-EFAULT, one(&self->r, IORING_OP_WRITE_FIXED, 1, self->out - 1, 10, 0,
			       IOSQE_FIXED_FILE, 0));
	EXPECT_EQ(-EBADF, one(&self->r, IORING_OP_READ, 0, self->in, 10, 0, IOSQE_FIXED_FILE, 0));
	ASSERT_EQ(0, ring_register(&self->r, IORING_UNREGISTER_BUFFERS, NULL, 0));
	ASSERT_EQ(0, ring_register(&self->r, IORING_UNREGISTER_FILES, NULL, 0));
	EXPECT_EQ(-ENXIO, ring_register(&self->r, IORING_UNREGISTER_FILES, NULL, 0));
	EXPECT_EQ(-EFAULT, one(&self->r, IORING_OP_WRITE_FIXED, self->fd, self->out, 10, 0, 0, 0));
}

TEST_F(rw, pipe_in_a_worker)
{
	struct io_uring_cqe cqe;
	struct io_uring_sqe *sqe;
	int p[2], i;

	ASSERT_EQ(0, pipe(p));
	for (i = 0; i < 4; i++) {
		sqe = ring_sqe(&self->r);
		sqe->opcode = IORING_OP_READ;
		sqe->fd = p[0];
		sqe->addr = (unsigned long)self->in + 100 * i;
		sqe->len = 100;
		sqe->user_data = i;
		sqe->flags = IOSQE_ASYNC;
	}
	ASSERT_EQ(4, ring_submit(&self->r, 0));
	ASSERT_FALSE(ring_cqe(&self->r, &cqe));
	for (i = 0; i < 4; i++)
		ASSERT_EQ(100, write(p[1], self->out + 100 * i, 100));
	ASSERT_EQ(0, ring_enter(&self->r, 0, 4, IORING_ENTER_GETEVENTS));
	for (i = 0; i < 4; i++) {
		ASSERT_TRUE(ring_cqe(&self->r, &cqe));
		EXPECT_EQ(100, cqe.res);
	}
	close(p[0]);
	close(p[1]);
}

/* The ring is closed, or the process ends, while reads of a silent pipe are in workers. */
TEST_F(rw, close_with_blocked_workers)
{
	struct io_uring_sqe *sqe;
	int p[2], i;

	ASSERT_EQ(0, pipe(p));
	for (i = 0; i < 8; i++) {
		sqe = ring_sqe(&self->r);
		sqe->opcode = IORING_OP_READ;
		sqe->fd = p[0];
		sqe->addr = (unsigned long)self->in;
		sqe->len = 100;
		sqe->flags = IOSQE_ASYNC;
	}
	ASSERT_EQ(8, ring_submit(&self->r, 0));
}

TEST_F(rw, direct)
{
	int fd = open(self->path, O_RDWR | O_DIRECT);
	int async;

	if (fd < 0)
		SKIP(return, "no O_DIRECT on this filesystem");
	for (async = 0; async < 2; async++) {
		int flags = async ? IOSQE_ASYNC : 0;

		memset(self->in, 0, SIZE);
		fill(self->out, SIZE, async + 50);
		ASSERT_EQ(SIZE, one(&self->r, IORING_OP_WRITE, fd, self->out, SIZE, 0, flags, 0));
		ASSERT_EQ(SIZE, one(&self->r, IORING_OP_READ, fd, self->in, SIZE, 0, flags, 0));
		ASSERT_EQ(0, memcmp(self->in, self->out, SIZE));
		EXPECT_EQ(-EINVAL, one(&self->r, IORING_OP_READ, fd, self->in + 1, 511, 1, flags, 0));
	}
	close(fd);
}

TEST_HARNESS_MAIN
