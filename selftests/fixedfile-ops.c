// SPDX-License-Identifier: GPL-2.0
/* Requests about registered files and descriptors: FILES_UPDATE, FIXED_FD_INSTALL, CLOSE. */
#include "files.h"
#include "kselftest_harness.h"

FIXTURE(fixedfile_ops) {
	struct io io;
	struct ring *r;
	int fd;
};

IO_VARIANTS(fixedfile_ops);

FIXTURE_SETUP(fixedfile_ops)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, variant->flags,
			     variant->sqe_flags));
	self->r = &self->io.r;
	self->fd = new_file(0, 1);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(fixedfile_ops)
{
	ring_exit(self->r);
}

static int sparse(struct ring *r, unsigned int nr)
{
	struct io_uring_rsrc_register arg = { .nr = nr, .flags = IORING_RSRC_REGISTER_SPARSE };

	return ring_register(r, IORING_REGISTER_FILES2, &arg, sizeof(arg));
}

static int range(struct ring *r, unsigned int off, unsigned int len)
{
	struct io_uring_file_index_range arg = { .off = off, .len = len };

	return ring_register(r, IORING_REGISTER_FILE_ALLOC_RANGE, &arg, 0);
}

#define UPDATE(fds, nr, off)	one(&self->io, IORING_OP_FILES_UPDATE, 0, fds, nr, off)
#define ALLOC			IORING_FILE_INDEX_ALLOC

/* The slot that the ring chooses for a file. */
static int put_in(struct io *io, int fd)
{
	int res = one(io, IORING_OP_FILES_UPDATE, 0, &fd, 1, ALLOC);

	return res == 1 ? fd : res;
}

/* Into a slot, one more than the index, by an open. */
static int open_in(struct io *io, unsigned int slot)
{
	struct io_uring_sqe *sqe = prep(io, IORING_OP_OPENAT, AT_FDCWD, "/dev/null", 0, 0);

	sqe->file_index = slot;
	return run(io);
}

static int close_slot(struct io *io, unsigned int slot)
{
	prep(io, IORING_OP_CLOSE, 0, NULL, 0, 0)->file_index = slot;
	return run(io);
}

/* Whether there is a file in a slot. */
static bool taken(struct io *io, unsigned int index)
{
	char c;

	prep(io, IORING_OP_READ, index, &c, 1, 0)->flags |= IOSQE_FIXED_FILE;
	return run(io) != -EBADF;
}

TEST_F(fixedfile_ops, update)
{
	int fds[3] = { self->fd, IORING_REGISTER_FILES_SKIP, self->fd };
	struct io_uring_sqe *sqe;
	int none = -1, bad = 100000;

	EXPECT_EQ(-ENXIO, UPDATE(fds, 1, 0));
	EXPECT_EQ(-ENXIO, UPDATE(fds, 1, ALLOC));
	ASSERT_EQ(0, sparse(self->r, 4));
	EXPECT_EQ(3, UPDATE(fds, 3, 1));
	EXPECT_FALSE(taken(&self->io, 0));
	EXPECT_TRUE(taken(&self->io, 1));
	EXPECT_FALSE(taken(&self->io, 2));
	EXPECT_TRUE(taken(&self->io, 3));
	EXPECT_EQ(1, UPDATE(&none, 1, 1));
	EXPECT_FALSE(taken(&self->io, 1));
	EXPECT_EQ(-EBADF, UPDATE(&bad, 1, 3));
	EXPECT_FALSE(taken(&self->io, 3));
	EXPECT_EQ(-EINVAL, UPDATE(fds, 3, 2));
	EXPECT_EQ(-EOVERFLOW, UPDATE(fds, 3, UINT32_MAX - 1));
	EXPECT_EQ(-EFAULT, UPDATE(NULL, 1, 0));
	EXPECT_EQ(-EINVAL, UPDATE(fds, 0, 0));
	fds[1] = bad;
	EXPECT_EQ(1, UPDATE(fds, 3, 0));
	EXPECT_TRUE(taken(&self->io, 0));
	EXPECT_EQ(-EBADF, UPDATE(&self->r->fd, 1, 0));
	sqe = prep(&self->io, IORING_OP_FILES_UPDATE, 0, fds, 1, 0);
	sqe->rw_flags = 1;
	EXPECT_EQ(-EINVAL, run(&self->io));
	sqe = prep(&self->io, IORING_OP_FILES_UPDATE, 0, fds, 1, 0);
	sqe->file_index = 1;
	EXPECT_EQ(-EINVAL, run(&self->io));
	sqe = prep(&self->io, IORING_OP_FILES_UPDATE, 0, fds, 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	EXPECT_EQ(-EINVAL, run(&self->io));
	sqe = prep(&self->io, IORING_OP_FILES_UPDATE, 0, fds, 1, 0);
	sqe->ioprio = 1;
	EXPECT_EQ(-EINVAL, run(&self->io));
}

TEST_F(fixedfile_ops, update_chooses)
{
	int fds[4] = { self->fd, self->fd, -1, self->fd }, *ro = pages(4096);
	int i;

	ASSERT_EQ(0, sparse(self->r, 4));
	EXPECT_EQ(2, UPDATE(fds, 4, ALLOC));
	EXPECT_EQ(0, fds[0]);
	EXPECT_EQ(1, fds[1]);
	EXPECT_EQ(-1, fds[2]);
	EXPECT_EQ(self->fd, fds[3]);
	EXPECT_EQ(-EBADF, UPDATE(fds + 2, 1, ALLOC));
	EXPECT_EQ(-EFAULT, UPDATE(NULL, 1, ALLOC));
	EXPECT_EQ(-EBADF, put_in(&self->io, self->r->fd));
	/* Where the index cannot be told there is no file either. */
	*ro = self->fd;
	ASSERT_EQ(0, mprotect(ro, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, UPDATE(ro, 1, ALLOC));
	EXPECT_FALSE(taken(&self->io, 2));
	for (i = 0; i < 4; i++)
		fds[i] = self->fd;
	EXPECT_EQ(2, UPDATE(fds, 4, ALLOC));
	EXPECT_EQ(2, fds[0]);
	EXPECT_EQ(3, fds[1]);
	EXPECT_EQ(-ENFILE, UPDATE(fds + 2, 1, ALLOC));
	EXPECT_EQ(self->fd, fds[2]);
}

TEST_F(fixedfile_ops, order_of_choice)
{
	struct io *io = &self->io;

	ASSERT_EQ(0, sparse(self->r, 6));
	EXPECT_EQ(0, put_in(io, self->fd));
	EXPECT_EQ(1, put_in(io, self->fd));
	EXPECT_EQ(2, put_in(io, self->fd));
	/* What became free last is first. */
	EXPECT_EQ(0, close_slot(io, 2));
	EXPECT_EQ(0, close_slot(io, 1));
	EXPECT_EQ(0, put_in(io, self->fd));
	EXPECT_EQ(1, put_in(io, self->fd));
	EXPECT_EQ(3, put_in(io, self->fd));
	/* Behind what was put somewhere. */
	EXPECT_EQ(0, close_slot(io, 2));
	EXPECT_EQ(0, open_in(io, 5));
	EXPECT_EQ(5, put_in(io, self->fd));
	EXPECT_EQ(1, put_in(io, self->fd));
	EXPECT_EQ(-ENFILE, put_in(io, self->fd));
	/* Replacing what is there changes nothing. */
	EXPECT_EQ(0, close_slot(io, 2));
	EXPECT_EQ(0, close_slot(io, 5));
	EXPECT_EQ(0, open_in(io, 1));
	EXPECT_EQ(4, put_in(io, self->fd));
	EXPECT_EQ(1, put_in(io, self->fd));
	/* An update replaces by taking away and putting in. */
	EXPECT_EQ(0, close_slot(io, 2));
	EXPECT_EQ(0, close_slot(io, 4));
	EXPECT_EQ(1, UPDATE(&self->fd, 1, 0));
	EXPECT_EQ(1, put_in(io, self->fd));
	EXPECT_EQ(3, put_in(io, self->fd));
}

TEST_F(fixedfile_ops, range)
{
	struct io_uring_file_index_range arg = { .off = 1, .len = 2, .resv = 1 };
	struct io *io = &self->io;

	EXPECT_EQ(-EINVAL, range(self->r, 0, 1));
	EXPECT_EQ(0, range(self->r, 0, 0));
	EXPECT_EQ(-ENFILE, open_in(io, ALLOC));
	ASSERT_EQ(0, sparse(self->r, 6));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_FILE_ALLOC_RANGE, &arg, 0));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_FILE_ALLOC_RANGE, &arg, 1));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_FILE_ALLOC_RANGE, NULL, 0));
	EXPECT_EQ(-EFAULT, ring_register(self->r, IORING_REGISTER_FILE_ALLOC_RANGE,
					 (void *)8, 0));
	EXPECT_EQ(-EOVERFLOW, range(self->r, UINT32_MAX, 1));
	EXPECT_EQ(-EINVAL, range(self->r, 6, 1));
	EXPECT_EQ(-EINVAL, range(self->r, 0, 7));
	EXPECT_EQ(0, range(self->r, 6, 0));
	EXPECT_EQ(-ENFILE, open_in(io, ALLOC));
	EXPECT_EQ(0, range(self->r, 2, 3));
	EXPECT_EQ(2, open_in(io, ALLOC));
	EXPECT_EQ(3, put_in(io, self->fd));
	/* Others may use the range, too; and it is no limit for them. */
	EXPECT_EQ(0, open_in(io, 5));
	EXPECT_EQ(0, open_in(io, 6));
	EXPECT_EQ(0, open_in(io, 1));
	EXPECT_EQ(-ENFILE, open_in(io, ALLOC));
	EXPECT_EQ(0, close_slot(io, 6));
	EXPECT_EQ(-ENFILE, put_in(io, self->fd));
	EXPECT_EQ(0, close_slot(io, 4));
	EXPECT_EQ(3, open_in(io, ALLOC));
	/* A new table has a new range: all of it. */
	EXPECT_EQ(0, ring_register(self->r, IORING_UNREGISTER_FILES, NULL, 0));
	EXPECT_EQ(-ENFILE, open_in(io, ALLOC));
	ASSERT_EQ(0, sparse(self->r, 2));
	EXPECT_EQ(0, open_in(io, ALLOC));
	EXPECT_EQ(1, open_in(io, ALLOC));
	EXPECT_EQ(-ENFILE, open_in(io, ALLOC));
}

static int install(struct io *io, int index, unsigned int flags)
{
	struct io_uring_sqe *sqe = prep(io, IORING_OP_FIXED_FD_INSTALL, index, NULL, 0, 0);

	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->install_fd_flags = flags;
	return run(io);
}

TEST_F(fixedfile_ops, install)
{
	struct rlimit limit = { 0, 1024 };
	struct stat one_, other;
	struct io_uring_sqe *sqe;
	int fd, lowest, i, id;

	EXPECT_EQ(-EBADF, install(&self->io, 0, 0));
	ASSERT_EQ(0, sparse(self->r, 2));
	EXPECT_EQ(-EBADF, install(&self->io, 0, 0));
	EXPECT_EQ(0, put_in(&self->io, self->fd));
	lowest = lowest_fd();
	fd = install(&self->io, 0, 0);
	EXPECT_EQ(lowest, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(0, fstat(fd, &one_));
	EXPECT_EQ(0, fstat(self->fd, &other));
	EXPECT_EQ(one_.st_ino, other.st_ino);
	EXPECT_EQ(0, lseek(self->fd, 0, SEEK_SET));
	EXPECT_EQ(5, lseek(fd, 5, SEEK_SET));
	/* The same open file, not another one. */
	EXPECT_EQ(5, lseek(self->fd, 0, SEEK_CUR));
	close(fd);
	fd = install(&self->io, 0, IORING_FIXED_FD_NO_CLOEXEC);
	EXPECT_EQ(lowest, fd);
	EXPECT_EQ(0, fcntl(fd, F_GETFD));
	close(fd);
	EXPECT_EQ(-EBADF, install(&self->io, 1, 0));
	EXPECT_EQ(-EBADF, install(&self->io, 2, 0));
	for (i = 1; i < 32; i++)
		EXPECT_EQ(-EINVAL, install(&self->io, 0, 1u << i));
	prep(&self->io, IORING_OP_FIXED_FD_INSTALL, 0, NULL, 0, 0);
	EXPECT_EQ(-EBADF, run(&self->io));
	for (i = 0; i < 6; i++) {
		sqe = prep(&self->io, IORING_OP_FIXED_FD_INSTALL, 0, NULL, 0, 0);
		sqe->flags |= IOSQE_FIXED_FILE;
		sqe->off = i == 0;
		sqe->addr = i == 1;
		sqe->len = i == 2;
		sqe->buf_index = i == 3;
		sqe->file_index = i == 4;
		sqe->addr3 = i == 5;
		EXPECT_EQ(-EINVAL, run(&self->io));
	}
	/* Only the task's own credentials will do. */
	id = ring_register(self->r, IORING_REGISTER_PERSONALITY, NULL, 0);
	ASSERT_LT(0, id);
	sqe = prep(&self->io, IORING_OP_FIXED_FD_INSTALL, 0, NULL, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->personality = id;
	EXPECT_EQ(-EPERM, run(&self->io));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ(-EMFILE, install(&self->io, 0, 0));
	EXPECT_EQ(lowest, fd);
}

TEST_F(fixedfile_ops, close_descriptor)
{
	int path = open("/", O_PATH), fd = dup(self->fd), p[2];
	struct io_uring_sqe *sqe;
	struct ring other;
	char c;
	int i;

#define CLOSE(fd)	one(&self->io, IORING_OP_CLOSE, fd, NULL, 0, 0)
	EXPECT_EQ(0, CLOSE(fd));
	EXPECT_EQ(-1, fcntl(fd, F_GETFD));
	EXPECT_EQ(-EBADF, CLOSE(fd));
	EXPECT_EQ(0, CLOSE(path));
	EXPECT_EQ(-1, fcntl(path, F_GETFD));
	EXPECT_EQ(-EBADF, CLOSE(-1));
	EXPECT_EQ(-EBADF, CLOSE(INT32_MAX));
	/* Rings are not closed by themselves. */
	EXPECT_EQ(-EBADF, CLOSE(self->r->fd));
	ASSERT_EQ(0, ring_init(&other, variant->backend, 8, 0));
	EXPECT_EQ(-EBADF, CLOSE(other.fd));
	ring_exit(&other);
	/* It is really closed when it is told. */
	ASSERT_EQ(0, pipe(p));
	EXPECT_EQ(0, CLOSE(p[1]));
	EXPECT_EQ(0, read(p[0], &c, 1));
	close(p[0]);
	for (i = 0; i < 7; i++) {
		sqe = prep(&self->io, IORING_OP_CLOSE, self->fd, NULL, 0, 0);
		sqe->off = i == 0;
		sqe->addr = i == 1;
		sqe->len = i == 2;
		sqe->rw_flags = i == 3;
		sqe->buf_index = i == 4;
		sqe->file_index = i == 5;
		sqe->ioprio = i == 6;
		EXPECT_EQ(-EINVAL, run(&self->io));
	}
	sqe = prep(&self->io, IORING_OP_CLOSE, self->fd, NULL, 0, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	EXPECT_EQ(-EBADF, run(&self->io));
	EXPECT_NE(-1, fcntl(self->fd, F_GETFD));
}

TEST_F(fixedfile_ops, close_slot)
{
	int p[2];
	char c;

	EXPECT_EQ(-ENXIO, close_slot(&self->io, 1));
	ASSERT_EQ(0, sparse(self->r, 2));
	EXPECT_EQ(-EBADF, close_slot(&self->io, 1));
	EXPECT_EQ(-EINVAL, close_slot(&self->io, 3));
	EXPECT_EQ(-EINVAL, close_slot(&self->io, UINT32_MAX));
	ASSERT_EQ(0, pipe(p));
	EXPECT_EQ(1, UPDATE(&p[1], 1, 1));
	close(p[1]);
	EXPECT_EQ(0, close_slot(&self->io, 2));
	EXPECT_EQ(0, read(p[0], &c, 1));
	EXPECT_EQ(-EBADF, close_slot(&self->io, 2));
	close(p[0]);
}

FILES_MAIN
