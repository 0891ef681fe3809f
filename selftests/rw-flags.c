// SPDX-License-Identifier: GPL-2.0
/* What reads and writes are done with: RWF_*, priority, attributes, direct I/O, size limit. */
#include "files.h"
#include <linux/ioprio.h>
#include "kselftest_harness.h"

#define SIZE	(64 * 1024)

FIXTURE(rw_flags) {
	struct io io;
	int fd;
	char *in, *out;
};

IO_VARIANTS(rw_flags);

FIXTURE_SETUP(rw_flags)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 16, variant->flags,
			     variant->sqe_flags));
	self->fd = new_file(0, SIZE);
	ASSERT_LE(0, self->fd);
	self->in = pages(SIZE);
	self->out = pages(SIZE);
	fill(self->out, SIZE, 1);
	ASSERT_EQ(SIZE, pwrite(self->fd, self->out, SIZE, 0));
}

FIXTURE_TEARDOWN(rw_flags)
{
	close(self->fd);
	ring_exit(&self->io.r);
}

#define READ(fd, addr, len, off)	one(&self->io, IORING_OP_READ, fd, addr, len, off)
#define WRITE(fd, addr, len, off)	one(&self->io, IORING_OP_WRITE, fd, addr, len, off)

static int flagged(struct io *io, int op, int fd, void *addr, unsigned int len, uint64_t off,
		   unsigned int flags)
{
	prep(io, op, fd, addr, len, off)->rw_flags = flags;
	return run(io);
}

/* Each flag does what it does in preadv2(2) and pwritev2(2). */
TEST_F(rw_flags, one_by_one)
{
	struct iovec in = { self->in, 100 }, out = { self->out, 100 };
	unsigned int bit, flag;
	int want;

	for (bit = 0; bit < 32; bit++) {
		flag = 1u << bit;
		want = preadv2(self->fd, &in, 1, 0, flag) < 0 ? -errno : 100;
		if (flag == RWF_HIPRI)
			want = -EINVAL;
		EXPECT_EQ(want, flagged(&self->io, IORING_OP_READ, self->fd, self->in, 100, 0,
					flag))
			TH_LOG("read, flag %#x", flag);
		EXPECT_EQ(want, flagged(&self->io, IORING_OP_READV, self->fd, &in, 1, 0, flag));
		want = pwritev2(self->fd, &out, 1, 0, flag) < 0 ? -errno : 100;
		if (flag == RWF_HIPRI)
			want = -EINVAL;
		/* ext4 and block devices cannot do it; a worker does not mind to wait. */
		if (flag == RWF_NOWAIT && place != TMPFS)
			want = variant->sqe_flags ? 100 : -EAGAIN;
		EXPECT_EQ(want, flagged(&self->io, IORING_OP_WRITE, self->fd, self->out, 100, 0,
					flag))
			TH_LOG("write, flag %#x", flag);
		EXPECT_EQ(want, flagged(&self->io, IORING_OP_WRITEV, self->fd, &out, 1, 0,
					flag));
	}
	EXPECT_EQ(-EINVAL, flagged(&self->io, IORING_OP_WRITE, self->fd, self->out, 100, 0,
				   RWF_APPEND | RWF_NOAPPEND));
	EXPECT_EQ(-EOPNOTSUPP, flagged(&self->io, IORING_OP_WRITE, self->fd, self->out, 100, 0,
				       UINT32_MAX));
	EXPECT_EQ(100, flagged(&self->io, IORING_OP_WRITE, self->fd, self->out, 100, 0,
			       RWF_SYNC | RWF_DSYNC));
}

TEST_F(rw_flags, append)
{
	int fd = new_file(O_APPEND, 100);

	if (place == BLOCK)
		SKIP(return, "a device has no end to append to");
	EXPECT_EQ(10, flagged(&self->io, IORING_OP_WRITE, self->fd, self->out, 10, 5, RWF_APPEND));
	EXPECT_EQ(SIZE + 10, lseek(self->fd, 0, SEEK_END));
	EXPECT_EQ(10, READ(self->fd, self->in, 20, SIZE));
	EXPECT_EQ(0, memcmp(self->in, self->out, 10));
	/* And the opposite. */
	EXPECT_EQ(10, flagged(&self->io, IORING_OP_WRITE, fd, self->out, 10, 5, RWF_NOAPPEND));
	EXPECT_EQ(100, lseek(fd, 0, SEEK_END));
	EXPECT_EQ(10, WRITE(fd, self->out, 10, 5));
	EXPECT_EQ(110, lseek(fd, 0, SEEK_END));
	EXPECT_EQ(20, READ(fd, self->in, 20, 0));
	EXPECT_EQ(0, memcmp(self->in, "\0\0\0\0\0", 5));
	EXPECT_EQ(0, memcmp(self->in + 5, self->out, 10));
	close(fd);
}

static int with_priority(struct io *io, int op, int fd, void *addr, unsigned int prio)
{
	prep(io, op, fd, addr, 100, 0)->ioprio = prio;
	return run(io);
}

TEST_F(rw_flags, priority)
{
	static const int ops[] = { IORING_OP_READ, IORING_OP_WRITE };
	int i, class, rt = IOPRIO_CLASS_RT << IOPRIO_CLASS_SHIFT;
	struct io *io = &self->io;

	for (i = 0; i < 2; i++) {
		for (class = 0; class < 8; class++) {
			int prio = class << IOPRIO_CLASS_SHIFT;
			int ok = class <= IOPRIO_CLASS_IDLE ? 100 : -EINVAL;

			EXPECT_EQ(ok, with_priority(io, ops[i], self->fd, self->in, prio));
			if (!class)
				ok = -EINVAL;
			EXPECT_EQ(ok, with_priority(io, ops[i], self->fd, self->in, prio + 7));
			/* A hint. */
			EXPECT_EQ(class ? ok : 100,
				  with_priority(io, ops[i], self->fd, self->in, prio + 8));
		}
	}
	EXPECT_EQ(100, with_priority(io, IORING_OP_READ, self->fd, self->in, rt));
	SKIP_POLLED(&io->r, "its rights are those of who set it up");
	ASSERT_EQ(0, seteuid(65534));
	EXPECT_EQ(-EPERM, with_priority(io, IORING_OP_READ, self->fd, self->in, rt));
	EXPECT_EQ(100, with_priority(io, IORING_OP_READ, self->fd, self->in,
				     IOPRIO_CLASS_IDLE << IOPRIO_CLASS_SHIFT));
	ASSERT_EQ(0, seteuid(0));
}

TEST_F(rw_flags, attributes)
{
	struct io_uring_attr_pi pi = { .addr = (unsigned long)self->in, .len = 8 };
	struct io_uring_sqe *sqe;

	/* No such file here has protection information. */
	sqe = prep(&self->io, IORING_OP_READ, self->fd, self->in, 100, 0);
	sqe->attr_type_mask = IORING_RW_ATTR_FLAG_PI;
	sqe->attr_ptr = (unsigned long)&pi;
	EXPECT_EQ(-EINVAL, run(&self->io));
	sqe = prep(&self->io, IORING_OP_WRITE, self->fd, self->in, 100, 0);
	sqe->attr_type_mask = 2;
	sqe->attr_ptr = (unsigned long)&pi;
	EXPECT_EQ(-EINVAL, run(&self->io));
	sqe = prep(&self->io, IORING_OP_WRITE, self->fd, self->in, 100, 0);
	sqe->attr_type_mask = IORING_RW_ATTR_FLAG_PI;
	EXPECT_EQ(-EFAULT, run(&self->io));
	/* Without a type there is nothing to look at. */
	prep(&self->io, IORING_OP_READ, self->fd, self->in, 100, 0)->attr_ptr = 8;
	EXPECT_EQ(100, run(&self->io));
}

/* As read(2) and write(2) on the same descriptor. */
TEST_F(rw_flags, direct)
{
	static const unsigned int at[][3] = {	/* memory, length, position */
		{ 0, 4096, 0 }, { 0, SIZE, 0 }, { 0, 8192, 4096 }, { 512, 4096, 8192 },
		{ 512, 512, 512 }, { 0, 512, 0 }, { 1, 4096, 0 }, { 4, 4096, 4096 },
		{ 0, 4095, 0 }, { 0, 511, 4096 }, { 0, 4096, 1 }, { 0, 4096, 511 },
		{ 3, 100, 100 }, { 0, 0, 0 }, { 0, 0, 1 },
	};
	int fd = new_file(O_DIRECT, SIZE);
	char *twin = pages(SIZE);
	unsigned int i;
	int want;

	ASSERT_LE(0, fd);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		unsigned int mem = at[i][0], len = at[i][1], pos = at[i][2];

		fill(self->out, SIZE, i);
		want = pwrite(fd, self->out + mem, len, pos) < 0 ? -errno : len;
		EXPECT_EQ(want, WRITE(fd, self->out + mem, len, pos))
			TH_LOG("write of %u bytes from %u to %u", len, mem, pos);
		memset(self->in, 0, SIZE);
		want = pread(fd, twin + mem, len, pos) < 0 ? -errno : len;
		EXPECT_EQ(want, READ(fd, self->in + mem, len, pos))
			TH_LOG("read of %u bytes from %u to %u", len, pos, mem);
		if (want > 0)
			EXPECT_EQ(0, memcmp(self->in + mem, self->out + mem, len));
	}
	/* The end. */
	EXPECT_EQ(4096, READ(fd, self->in, 8192, lseek(fd, 0, SEEK_END) - 4096));
	EXPECT_EQ(0, READ(fd, self->in, 8192, lseek(fd, 0, SEEK_END)));
	/* Memory that is not there is found before anything is done. */
	want = pread(fd, (void *)4096, 4096, 0) < 0 ? -errno : 4096;
	EXPECT_EQ(want, READ(fd, (void *)4096, 4096, 0));
	EXPECT_EQ(-EFAULT, want);
	close(fd);
}

/* More than the device takes at a time, and nobody who enters and waits for it. */
TEST_F(rw_flags, direct_and_busy)
{
	int i, round, fd = new_file(O_DIRECT, SIZE);
	struct io *io = &self->io;
	struct io_uring_cqe cqe;

	for (round = 0; round < 8; round++) {
		int op = round % 2 ? IORING_OP_READ : IORING_OP_WRITE;
		char *p = round % 2 ? self->in : self->out;

		if (op == IORING_OP_WRITE)
			fill(self->out, SIZE, round);
		for (i = 0; i < 16; i++)
			prep(io, op, fd, p + 4096 * i, 4096, 4096 * i);
		ASSERT_EQ(16, ring_enter(&io->r, ring_flush(&io->r), 0, 0));
		for (i = 0; i < 16; i++) {
			while (!ring_ready(&io->r)) {
				usleep(100);
				if (variant->flags & IORING_SETUP_DEFER_TASKRUN)
					ring_enter(&io->r, 0, 0, IORING_ENTER_GETEVENTS);
			}
			ASSERT_TRUE(ring_cqe(&io->r, &cqe));
			EXPECT_EQ(4096, cqe.res);
		}
		if (op == IORING_OP_READ)
			EXPECT_EQ(0, memcmp(self->in, self->out, SIZE));
	}
	close(fd);
}

static int sigxfsz;

static void count_sigxfsz(int sig)
{
	sigxfsz++;
}

TEST_F(rw_flags, size_limit)
{
	struct rlimit limit = { 8192, RLIM_INFINITY };

	if (place == BLOCK)
		SKIP(return, "the limit is about regular files");
	ASSERT_EQ(0, ftruncate(self->fd, 0));
	signal(SIGXFSZ, count_sigxfsz);
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	EXPECT_EQ(8000, WRITE(self->fd, self->out, 8000, 0));
	EXPECT_EQ(192, WRITE(self->fd, self->out + 8000, 8000, 8000));
	EXPECT_EQ(8192, WRITE(self->fd, self->out, SIZE, 0));
	EXPECT_EQ(-EFBIG, WRITE(self->fd, self->out, 1, 8192));
	EXPECT_EQ(-EFBIG, WRITE(self->fd, self->out, 100, 100000));
	/* The signal is for the worker, which does not take any. */
	EXPECT_EQ(0, sigxfsz);
	EXPECT_EQ(8192, READ(self->fd, self->in, SIZE, 0));
	EXPECT_EQ(0, memcmp(self->in, self->out, 8192));
	EXPECT_EQ(-1, pwrite(self->fd, self->out, 100, 8192));
	EXPECT_EQ(1, sigxfsz);
}

/* Whoever truncates: what is read are zeroes or what was written, and never beyond the end. */
TEST_F(rw_flags, truncated_under_reads)
{
	int i, j, res, status;
	pid_t pid;

	if (place == BLOCK)
		SKIP(return, "devices keep their size");
	memset(self->out, 'x', SIZE);
	ASSERT_EQ(SIZE, pwrite(self->fd, self->out, SIZE, 0));
	pid = fork();
	if (!pid) {
		while (1) {
			if (ftruncate(self->fd, 1000) || ftruncate(self->fd, SIZE) ||
			    pwrite(self->fd, self->out, SIZE, 0) != SIZE)
				_exit(1);
		}
	}
	for (i = 0; i < 200; i++) {
		memset(self->in, 0, SIZE);
		res = READ(self->fd, self->in, SIZE, 0);
		EXPECT_LE(1000, res);
		EXPECT_GE(SIZE, res);
		for (j = 0; j < res && (!self->in[j] || self->in[j] == 'x'); j++)
			;
		ASSERT_EQ(res, j);
		for (j = 0; j < 1000 && self->in[j] == 'x'; j++)
			;
		ASSERT_EQ(1000, j);
	}
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
}

FILES_MAIN
