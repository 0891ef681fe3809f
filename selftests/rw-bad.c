// SPDX-License-Identifier: GPL-2.0
/* Disks that are full, or fail; filesystems that are read-only; memory that goes away. */
#include "files.h"
#include "kselftest_harness.h"

#define SIZE	(1 << 20)
#define PAGE	4096

FIXTURE(rw_bad) {
	struct io io;
	int fd, direct;
	char *in, *out;
};

IO_VARIANTS(rw_bad);

FIXTURE_SETUP(rw_bad)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 32, variant->flags,
			     variant->sqe_flags));
	self->in = pages(SIZE);
	self->out = pages(SIZE);
	fill(self->out, SIZE, 1);
	self->fd = new_file(0, SIZE);
	ASSERT_LE(0, self->fd);
	self->direct = new_file(O_DIRECT, SIZE);
	ASSERT_LE(0, self->direct);
	ASSERT_EQ(SIZE, pwrite(self->fd, self->out, SIZE, 0));
}

FIXTURE_TEARDOWN(rw_bad)
{
	close(self->fd);
	close(self->direct);
	ring_exit(&self->io.r);
}

#define READ(fd, addr, len, off)	one(&self->io, IORING_OP_READ, fd, addr, len, off)
#define WRITE(fd, addr, len, off)	one(&self->io, IORING_OP_WRITE, fd, addr, len, off)
#define WRITEV(fd, iov, nr, off)	one(&self->io, IORING_OP_WRITEV, fd, iov, nr, off)
#define FALLOCATE(fd, off, len)						\
	one(&self->io, IORING_OP_FALLOCATE, fd, (void *)(long)(len), 0, off)
#define FSYNC(fd)			one(&self->io, IORING_OP_FSYNC, fd, NULL, 0, 0)

static int file_in(const char *dir, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* What there is room for is written, and that is told; then there is none. */
TEST_F(rw_bad, full_tmpfs)
{
	struct iovec iov[3] = { { self->out, 100 << 10 }, { self->out, 100 << 10 },
				{ self->out, 100 << 10 } };
	char dir[] = "/tmp/full";
	int fd, other, want;

	if (place != TMPFS)
		SKIP(return, "about a tmpfs");
	mkdir(dir, 0700);
	ASSERT_EQ(0, mount("full", dir, "tmpfs", 0, "size=256k"));
	fd = file_in(dir, "a");
	ASSERT_LE(0, fd);
	want = pwrite(fd, self->out, SIZE, 0);
	EXPECT_EQ(256 << 10, want);
	ASSERT_EQ(0, ftruncate(fd, 0));
	EXPECT_EQ(want, WRITE(fd, self->out, SIZE, 0));
	EXPECT_EQ(want, READ(fd, self->in, SIZE, 0));
	EXPECT_EQ(0, memcmp(self->in, self->out, want));
	EXPECT_EQ(-ENOSPC, WRITE(fd, self->out, 1, want));
	/* There is room where something is. */
	EXPECT_EQ(PAGE, WRITE(fd, self->out, PAGE, 0));
	other = file_in(dir, "b");
	ASSERT_LE(0, other);
	EXPECT_EQ(-ENOSPC, WRITE(other, self->out, PAGE, 0));
	EXPECT_EQ(-ENOSPC, WRITEV(other, iov, 3, 0));
	EXPECT_EQ(-ENOSPC, FALLOCATE(other, 0, PAGE));
	EXPECT_EQ(0, FSYNC(fd));
	ASSERT_EQ(0, ftruncate(fd, 0));
	EXPECT_EQ(-ENOSPC, FALLOCATE(other, 0, SIZE));
	EXPECT_EQ(256 << 10, WRITEV(other, iov, 3, 0));
	ASSERT_EQ(0, ftruncate(other, 0));
	EXPECT_EQ(0, FALLOCATE(other, 0, 256 << 10));
	EXPECT_EQ(-ENOSPC, WRITE(fd, self->out, PAGE, 0));
	close(fd);
	close(other);
	ASSERT_EQ(0, umount2(dir, MNT_DETACH));
}

TEST_F(rw_bad, full_disk)
{
	struct iovec iov[2] = { { self->out, PAGE }, { self->out, PAGE } };
	int fd, other, step;
	off_t end = 0;

	if (place != EXT4)
		SKIP(return, "about ext4");
	fd = new_file(0, 0);
	other = new_file(0, 0);
	/* All of it, in steps that get smaller. */
	for (step = 8 << 20; step >= 1024; step /= 2)
		while (!fallocate(fd, 0, end, step))
			end += step;
	EXPECT_EQ(-ENOSPC, FALLOCATE(other, 0, PAGE));
	EXPECT_EQ(-ENOSPC, WRITE(other, self->out, PAGE, 0));
	EXPECT_EQ(-ENOSPC, WRITEV(other, iov, 2, 0));
	EXPECT_EQ(PAGE, WRITE(fd, self->out, PAGE, 0));
	EXPECT_EQ(0, FSYNC(fd));
	/* A hole has no room behind it. */
	EXPECT_EQ(-ENOSPC, WRITE(self->direct, self->out, PAGE, 0));
	ASSERT_EQ(0, ftruncate(fd, 0));
	close(fd);
	EXPECT_EQ(PAGE, WRITE(other, self->out, PAGE, 0));
	EXPECT_EQ(0, FSYNC(other));
	close(other);
}

/* A page there cannot be read or written, from the first time that it is asked for. */
#define BAD	(32 << 20)

static void bad_blocks(void)
{
	char text[64] = {};
	int fd = open(NULLB "/badblocks", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		abort();
	close(fd);
	if (text[0] > ' ')
		return;
	snprintf(text, sizeof(text), "+%d-%d", BAD / 512, BAD / 512 + 7);
	put_file(NULLB, "badblocks", text);
}

TEST_F(rw_bad, failing_disk)
{
	struct io_uring_cqe cqe;
	int i, good = 0, bad = 0, want;

	if (place != BLOCK)
		SKIP(return, "about the device itself");
	ASSERT_EQ(32 * PAGE, pwrite(self->direct, self->out, 32 * PAGE, BAD + PAGE));
	ASSERT_EQ(16 * PAGE, pwrite(self->direct, self->out, 16 * PAGE, BAD - 16 * PAGE));
	posix_fadvise(self->fd, 0, 0, POSIX_FADV_DONTNEED);
	bad_blocks();

	EXPECT_EQ(-EIO, READ(self->direct, self->in, PAGE, BAD));
	EXPECT_EQ(-EIO, WRITE(self->direct, self->out, PAGE, BAD));
	want = pread(self->direct, self->in, 64 << 10, BAD - (32 << 10)) < 0 ? -errno : 0;
	EXPECT_EQ(-EIO, want);
	EXPECT_EQ(want, READ(self->direct, self->in, 64 << 10, BAD - (32 << 10)));
	EXPECT_EQ(PAGE, READ(self->direct, self->in, PAGE, BAD - PAGE));
	EXPECT_EQ(0, memcmp(self->in, self->out + 15 * PAGE, PAGE));

	/* Among many others, in any order, and not so that they could become one. */
	for (i = 0; i < 32; i++)
		prep(&self->io, IORING_OP_READ, self->direct, self->in + i * PAGE, PAGE,
		     BAD + 2 * (i - 16) * PAGE)->user_data = i;
	ASSERT_EQ(32, ring_submit(&self->io.r, 32));
	for (i = 0; i < 32; i++) {
		ASSERT_TRUE(ring_cqe(&self->io.r, &cqe));
		if (cqe.user_data == 16)
			bad += cqe.res == -EIO;
		else
			good += cqe.res == PAGE;
	}
	EXPECT_EQ(31, good);
	EXPECT_EQ(1, bad);

	/* Through the page cache: a read fails, what is before it does not. */
	EXPECT_EQ(-EIO, READ(self->fd, self->in, PAGE, BAD));
	EXPECT_EQ(PAGE, READ(self->fd, self->in, PAGE, BAD - PAGE));
	EXPECT_EQ(PAGE, READ(self->fd, self->in, 2 * PAGE, BAD - PAGE));
	/* A write succeeds, and is told of by whoever wants it to be safe, once. */
	EXPECT_EQ(PAGE, WRITE(self->fd, self->out, PAGE, BAD));
	EXPECT_EQ(-EIO, FSYNC(self->fd));
	EXPECT_EQ(0, FSYNC(self->fd));
	prep(&self->io, IORING_OP_WRITE, self->fd, self->out, PAGE, BAD)->rw_flags = RWF_DSYNC;
	EXPECT_EQ(-EIO, run(&self->io));
}

/* What a chain is for: nothing is called safe that could not be written. */
TEST_F(rw_bad, failing_disk_in_a_chain)
{
	struct io_uring_cqe cqe[3];
	int i;

	if (place != BLOCK)
		SKIP(return, "about the device itself");
	bad_blocks();
	prep(&self->io, IORING_OP_WRITE, self->direct, self->out, PAGE, 0)->flags |=
		IOSQE_IO_LINK;
	prep(&self->io, IORING_OP_WRITE, self->direct, self->out, PAGE, BAD)->flags |=
		IOSQE_IO_LINK;
	prep(&self->io, IORING_OP_FSYNC, self->direct, NULL, 0, 0);
	ASSERT_EQ(3, ring_submit(&self->io.r, 3));
	for (i = 0; i < 3; i++)
		ASSERT_TRUE(ring_cqe(&self->io.r, &cqe[i]));
	EXPECT_EQ(PAGE, cqe[0].res);
	EXPECT_EQ(-EIO, cqe[1].res);
	EXPECT_EQ(-ECANCELED, cqe[2].res);
}

/* The same with a drain, which is behind what is under way. */
TEST_F(rw_bad, failing_disk_and_a_drain)
{
	struct io_uring_cqe cqe[2];
	int i;

	if (place != BLOCK)
		SKIP(return, "about the device itself");
	bad_blocks();
	prep(&self->io, IORING_OP_WRITE, self->direct, self->out, PAGE, BAD);
	prep(&self->io, IORING_OP_NOP, -1, NULL, 0, 0)->flags |= IOSQE_IO_DRAIN;
	ASSERT_EQ(2, ring_submit(&self->io.r, 0));
	/* Natively a wait for both was seen not to end in a ring that defers. */
	while (ring_ready(&self->io.r) < 2) {
		ASSERT_EQ(0, ring_enter(&self->io.r, 0, 0, IORING_ENTER_GETEVENTS));
		usleep(1000);
	}
	for (i = 0; i < 2; i++)
		ASSERT_TRUE(ring_cqe(&self->io.r, &cqe[i]));
	EXPECT_EQ(-EIO, cqe[0].res);
	EXPECT_EQ(0, cqe[1].res);
}

/* Pinned memory stays; what is not pinned is found missing. */
TEST_F(rw_bad, memory_goes_away)
{
	struct io_uring_cqe cqe;
	char *p;
	int i;

	for (i = 0; i < 16; i++) {
		p = pages(PAGE);
		prep(&self->io, IORING_OP_READ, self->direct, p, PAGE, i * PAGE);
		ASSERT_EQ(1, ring_submit(&self->io.r, 0));
		munmap(p, PAGE);
		if (!ring_ready(&self->io.r))
			ASSERT_EQ(0, ring_enter(&self->io.r, 0, 1, IORING_ENTER_GETEVENTS));
		ASSERT_TRUE(ring_cqe(&self->io.r, &cqe));
		/* A worker may come too late. */
		EXPECT_TRUE(cqe.res == PAGE || cqe.res == -EFAULT) TH_LOG("%d", cqe.res);
	}
}

TEST_F(rw_bad, memory_becomes_read_only)
{
	int p[2];

	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	prep(&self->io, IORING_OP_READ, p[0], self->in, 100, 0);
	ASSERT_EQ(1, ring_submit(&self->io.r, 0));
	ASSERT_EQ(0, mprotect(self->in, SIZE, PROT_READ));
	ASSERT_EQ(100, write(p[1], self->out, 100));
	EXPECT_EQ(-EFAULT, wait_result(&self->io));
	/* Reading from it is all right. */
	EXPECT_EQ(100, WRITE(p[1], self->in, 100, 0));
	close(p[0]);
	close(p[1]);
}

TEST_F(rw_bad, read_only_filesystem)
{
	struct io_uring_sqe *sqe;
	char dir[] = "/tmp/fixed", path[] = "/tmp/fixed/a";
	int fd, res;

	if (place != TMPFS)
		SKIP(return, "does not depend on the place");
	mkdir(dir, 0700);
	ASSERT_EQ(0, mount("fixed", dir, "tmpfs", 0, NULL));
	fd = file_in(dir, "a");
	ASSERT_EQ(100, write(fd, self->out, 100));
	close(fd);
	ASSERT_EQ(0, mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL));
	sqe = prep(&self->io, IORING_OP_OPENAT, AT_FDCWD, path, 0, 0);
	sqe->open_flags = O_RDWR;
	EXPECT_EQ(-EROFS, run(&self->io));
	sqe = prep(&self->io, IORING_OP_OPENAT, AT_FDCWD, "/tmp/fixed/b", 0600, 0);
	sqe->open_flags = O_CREAT | O_WRONLY;
	EXPECT_EQ(-EROFS, run(&self->io));
	sqe = prep(&self->io, IORING_OP_OPENAT, AT_FDCWD, path, 0, 0);
	sqe->open_flags = O_RDONLY;
	res = run(&self->io);
	ASSERT_LE(0, res);
	EXPECT_EQ(100, READ(res, self->in, 200, 0));
	EXPECT_EQ(-EBADF, WRITE(res, self->out, 1, 0));
	EXPECT_EQ(-EINVAL, one(&self->io, IORING_OP_FTRUNCATE, res, NULL, 0, 0));
	EXPECT_EQ(-EBADF, FALLOCATE(res, 0, PAGE));
	EXPECT_EQ(0, FSYNC(res));
	close(res);
	ASSERT_EQ(0, umount2(dir, MNT_DETACH));
}

TEST_F(rw_bad, directories)
{
	int dir = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	ASSERT_LE(0, dir);
	EXPECT_EQ(-EISDIR, READ(dir, self->in, 100, 0));
	EXPECT_EQ(-EISDIR, READ(dir, self->in, 100, -1));
	EXPECT_EQ(-EBADF, WRITE(dir, self->out, 100, 0));
	EXPECT_EQ(-EBADF, FALLOCATE(dir, 0, PAGE));
	EXPECT_EQ(-EINVAL, one(&self->io, IORING_OP_FTRUNCATE, dir, NULL, 0, 0));
	EXPECT_EQ(0, FSYNC(dir));
	close(dir);
}

FILES_MAIN
