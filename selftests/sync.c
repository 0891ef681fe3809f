// SPDX-License-Identifier: GPL-2.0
/* FSYNC, SYNC_FILE_RANGE, FALLOCATE, FTRUNCATE, FADVISE: what they do, and what they refuse. */
#include "files.h"
#include <linux/falloc.h>
#include "kselftest_harness.h"

#define SIZE	(256 * 1024)

FIXTURE(sync) {
	struct io io;
	int fd, ro, dir, p[2];
};

IO_VARIANTS(sync);

FIXTURE_SETUP(sync)
{
	char link[32], *data = pages(SIZE);

	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, variant->flags,
			     variant->sqe_flags));
	self->fd = new_file(0, SIZE);
	ASSERT_LE(0, self->fd);
	fill(data, SIZE, 1);
	ASSERT_EQ(SIZE, pwrite(self->fd, data, SIZE, 0));
	snprintf(link, sizeof(link), "/proc/self/fd/%d", self->fd);
	self->ro = open(link, O_RDONLY | O_CLOEXEC);
	self->dir = open(files_dir, O_RDONLY | O_CLOEXEC);
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC));
}

FIXTURE_TEARDOWN(sync)
{
	ring_exit(&self->io.r);
}

static int call(struct io *io, int op, int fd, uint64_t off, uint64_t addr, unsigned int len,
		unsigned int flags)
{
	prep(io, op, fd, (void *)addr, len, off)->rw_flags = flags;
	return run(io);
}

static off_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : st.st_size;
}

static off_t blocks_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : st.st_blocks;
}

/* Fields of the SQE that have to be zero, as bits. */
#define OFF		1
#define ADDR		2
#define LEN		4
#define FLAGS		8
#define BUF_INDEX	16
#define FILE_INDEX	32
#define ADDR3		64
#define IOPRIO		128

static void expect_zero(struct __test_metadata *_metadata, struct io *io, int op, int fd,
			unsigned int fields)
{
	struct io_uring_sqe *sqe;
	unsigned int i;

	for (i = 0; i < 8; i++) {
		if (!(fields & 1u << i))
			continue;
		sqe = prep(io, op, fd, NULL, 0, 0);
		sqe->off = i == 0;
		sqe->addr = i == 1;
		sqe->len = i == 2;
		sqe->rw_flags = (i == 3) << 20;
		sqe->buf_index = i == 4;
		sqe->file_index = i == 5;
		sqe->addr3 = i == 6;
		sqe->ioprio = i == 7;
		EXPECT_EQ(-EINVAL, run(io)) TH_LOG("field %u", i);
	}
}

#define FSYNC(fd, off, len, flags)	call(&self->io, IORING_OP_FSYNC, fd, off, 0, len, flags)

TEST_F(sync, fsync)
{
	EXPECT_EQ(0, FSYNC(self->fd, 0, 0, 0));
	EXPECT_EQ(0, FSYNC(self->fd, 0, 0, IORING_FSYNC_DATASYNC));
	EXPECT_EQ(0, FSYNC(self->fd, 4096, 8192, 0));
	EXPECT_EQ(0, FSYNC(self->fd, 1ull << 40, UINT32_MAX, 0));
	/* The end may overflow: then it is the end of the file. */
	EXPECT_EQ(0, FSYNC(self->fd, INT64_MAX, 10, 0));
	EXPECT_EQ(-EINVAL, FSYNC(self->fd, -1, 0, 0));
	EXPECT_EQ(-EINVAL, FSYNC(self->fd, INT64_MIN, 0, 0));
	EXPECT_EQ(-EINVAL, FSYNC(self->fd, 0, 0, 2));
	EXPECT_EQ(-EINVAL, FSYNC(self->fd, 0, 0, UINT32_MAX));
	/* Reading is enough. */
	EXPECT_EQ(0, FSYNC(self->ro, 0, 0, 0));
	EXPECT_EQ(0, FSYNC(self->dir, 0, 0, 0));
	EXPECT_EQ(-EINVAL, FSYNC(self->p[0], 0, 0, 0));
	EXPECT_EQ(-EINVAL, FSYNC(self->io.r.fd, 0, 0, 0));
	EXPECT_EQ(-EBADF, FSYNC(-1, 0, 0, 0));
	EXPECT_EQ(-EBADF, FSYNC(open("/", O_PATH), 0, 0, 0));
	expect_zero(_metadata, &self->io, IORING_OP_FSYNC, self->fd,
		    ADDR | FLAGS | BUF_INDEX | FILE_INDEX | IOPRIO);
}

#define RANGE(fd, off, len, flags)	\
	call(&self->io, IORING_OP_SYNC_FILE_RANGE, fd, off, 0, len, flags)

TEST_F(sync, sync_file_range)
{
	unsigned int flags;

	for (flags = 0; flags < 8; flags++) {
		EXPECT_EQ(0, RANGE(self->fd, 0, 0, flags));
		EXPECT_EQ(0, RANGE(self->fd, 4096, 8192, flags));
		EXPECT_EQ(0, RANGE(self->ro, 0, UINT32_MAX, flags));
	}
	for (flags = 8; flags; flags <<= 1)
		EXPECT_EQ(-EINVAL, RANGE(self->fd, 0, 0, flags));
	EXPECT_EQ(-EINVAL, RANGE(self->fd, -1, 0, 0));
	EXPECT_EQ(-EINVAL, RANGE(self->fd, INT64_MAX, 10, 0));
	EXPECT_EQ(0, RANGE(self->fd, INT64_MAX, 0, 0));
	EXPECT_EQ(0, RANGE(self->dir, 0, 0, 7));
	EXPECT_EQ(-ESPIPE, RANGE(self->p[0], 0, 0, 0));
	EXPECT_EQ(-EINVAL, RANGE(self->p[0], 0, 0, 8));
	EXPECT_EQ(-EBADF, RANGE(-1, 0, 0, 0));
	expect_zero(_metadata, &self->io, IORING_OP_SYNC_FILE_RANGE, self->fd,
		    ADDR | FLAGS | BUF_INDEX | FILE_INDEX | IOPRIO);
}

#define FALLOCATE(fd, mode, off, len)	\
	call(&self->io, IORING_OP_FALLOCATE, fd, off, len, mode, 0)

TEST_F(sync, fallocate)
{
	struct rlimit limit = { 2 * SIZE, RLIM_INFINITY };
	char buf[100], zero[100] = { 0 };
	off_t blocks;
	int fd;

	expect_zero(_metadata, &self->io, IORING_OP_FALLOCATE, self->fd,
		    FLAGS | BUF_INDEX | FILE_INDEX | IOPRIO);
	EXPECT_EQ(-EINVAL, FALLOCATE(self->fd, 0, 0, 0));
	EXPECT_EQ(-EINVAL, FALLOCATE(self->fd, 0, -1, 10));
	EXPECT_EQ(-EINVAL, FALLOCATE(self->fd, 0, 0, -1));
	EXPECT_EQ(-EBADF, FALLOCATE(self->ro, 0, 0, 4096));
	EXPECT_EQ(-ESPIPE, FALLOCATE(self->p[1], 0, 0, 4096));
	EXPECT_EQ(-EBADF, FALLOCATE(self->dir, 0, 0, 4096));
	EXPECT_EQ(-EBADF, FALLOCATE(-1, 0, 0, 4096));
	EXPECT_EQ(-EOPNOTSUPP, FALLOCATE(self->fd, 1 << 20, 0, 4096));
	EXPECT_EQ(-EOPNOTSUPP, FALLOCATE(self->fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
	EXPECT_EQ(-ENODEV, FALLOCATE(open("/dev/zero", O_RDWR), 0, 0, 4096));
	if (place == BLOCK) {
		EXPECT_EQ(-EOPNOTSUPP, FALLOCATE(self->fd, 0, 0, 4096));
		EXPECT_EQ(0, FALLOCATE(self->fd, FALLOC_FL_ZERO_RANGE, 4096, 4096));
		EXPECT_EQ(100, pread(self->fd, buf, 100, 5000));
		EXPECT_EQ(0, memcmp(buf, zero, 100));
		return;
	}
	EXPECT_EQ(-EFBIG, FALLOCATE(self->fd, 0, INT64_MAX - 10, 100));
	fd = new_file(0, 0);
	EXPECT_EQ(0, FALLOCATE(fd, FALLOC_FL_KEEP_SIZE, 0, SIZE));
	EXPECT_EQ(0, size_of(fd));
	EXPECT_LE(SIZE / 512, blocks_of(fd));
	EXPECT_EQ(0, FALLOCATE(fd, 0, 4096, SIZE));
	EXPECT_EQ(SIZE + 4096, size_of(fd));
	blocks = blocks_of(self->fd);
	EXPECT_EQ(0, FALLOCATE(self->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 8192));
	EXPECT_EQ(blocks - 16, blocks_of(self->fd));
	EXPECT_EQ(100, pread(self->fd, buf, 100, 9000));
	EXPECT_EQ(0, memcmp(buf, zero, 100));
	EXPECT_EQ(100, pread(self->fd, buf, 100, 16384));
	EXPECT_NE(0, memcmp(buf, zero, 100));
	signal(SIGXFSZ, SIG_IGN);
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	EXPECT_EQ(-EFBIG, FALLOCATE(self->fd, 0, 0, 2 * SIZE + 1));
	EXPECT_EQ(SIZE, size_of(self->fd));
	EXPECT_EQ(0, FALLOCATE(self->fd, 0, 0, 2 * SIZE));
	EXPECT_EQ(2 * SIZE, size_of(self->fd));
}

#define TRUNCATE(fd, len)	call(&self->io, IORING_OP_FTRUNCATE, fd, len, 0, 0, 0)

TEST_F(sync, ftruncate)
{
	struct rlimit limit = { 2 * SIZE, RLIM_INFINITY };
	char buf[100], zero[100] = { 0 };
	int mem, other;

	expect_zero(_metadata, &self->io, IORING_OP_FTRUNCATE, self->fd,
		    ADDR | LEN | FLAGS | BUF_INDEX | FILE_INDEX | ADDR3 | IOPRIO);
	EXPECT_EQ(-EINVAL, TRUNCATE(self->ro, 0));
	EXPECT_EQ(-EINVAL, TRUNCATE(self->dir, 0));
	EXPECT_EQ(-EINVAL, TRUNCATE(self->p[1], 0));
	EXPECT_EQ(-EBADF, TRUNCATE(-1, 0));
	EXPECT_EQ(-EBADF, TRUNCATE(open("/", O_PATH), 0));
	if (place == BLOCK) {
		EXPECT_EQ(-EINVAL, TRUNCATE(self->fd, 0));
		return;
	}
	EXPECT_EQ(-EINVAL, TRUNCATE(self->fd, -1));
	EXPECT_EQ(SIZE, size_of(self->fd));
	EXPECT_EQ(0, TRUNCATE(self->fd, 5000));
	EXPECT_EQ(5000, size_of(self->fd));
	EXPECT_EQ(0, TRUNCATE(self->fd, SIZE));
	EXPECT_EQ(SIZE, size_of(self->fd));
	EXPECT_EQ(100, pread(self->fd, buf, 100, 5000));
	EXPECT_EQ(0, memcmp(buf, zero, 100));
	EXPECT_EQ(0, TRUNCATE(self->fd, 0));
	EXPECT_EQ(0, size_of(self->fd));
	signal(SIGXFSZ, SIG_IGN);
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &limit));
	EXPECT_EQ(-EFBIG, TRUNCATE(self->fd, 2 * SIZE + 1));
	EXPECT_EQ(0, TRUNCATE(self->fd, 2 * SIZE));
	mem = memfd_create("x", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	EXPECT_EQ(0, TRUNCATE(mem, 100));
	ASSERT_EQ(0, fcntl(mem, F_ADD_SEALS, F_SEAL_SHRINK));
	EXPECT_EQ(-EPERM, TRUNCATE(mem, 10));
	EXPECT_EQ(0, TRUNCATE(mem, 200));
	/* Whose file it was when it was opened does not count any more on the device. */
	ASSERT_EQ(0, seteuid(65534));
	other = new_file(0, 100);
	ASSERT_EQ(0, fchmod(other, 0));
	EXPECT_EQ(variant->backend == NATIVE || ring_is_polled(&self->io.r) ? 0 : -EACCES,
		  TRUNCATE(other, 50));
	ASSERT_EQ(0, seteuid(0));
}

#define FADVISE(fd, off, addr, len, advice)	\
	call(&self->io, IORING_OP_FADVISE, fd, off, addr, len, advice)

TEST_F(sync, fadvise)
{
	int advice;

	for (advice = POSIX_FADV_NORMAL; advice <= POSIX_FADV_NOREUSE; advice++) {
		EXPECT_EQ(0, FADVISE(self->fd, 0, 0, 0, advice));
		EXPECT_EQ(0, FADVISE(self->fd, 4096, 0, 8192, advice));
		EXPECT_EQ(0, FADVISE(self->ro, 4096, 1ull << 40, 0, advice));
		/* The length is in addr, or if that is zero in len. */
		EXPECT_EQ(-EINVAL, FADVISE(self->fd, 0, -1ull, 0, advice));
		EXPECT_EQ(-EINVAL, FADVISE(self->fd, 0, -1ull, 10, advice));
		EXPECT_EQ(0, FADVISE(self->fd, 0, 0, UINT32_MAX, advice));
		EXPECT_EQ(-ESPIPE, FADVISE(self->p[0], 0, 0, 0, advice));
		EXPECT_EQ(-EBADF, FADVISE(-1, 0, 0, 0, advice));
	}
	EXPECT_EQ(-EINVAL, FADVISE(self->fd, 0, 0, 0, advice));
	EXPECT_EQ(-EINVAL, FADVISE(self->fd, 0, 0, 0, UINT32_MAX));
	expect_zero(_metadata, &self->io, IORING_OP_FADVISE, self->fd,
		    FLAGS | BUF_INDEX | FILE_INDEX | IOPRIO);
}

/* All of them take registered files. */
/* On a ring, advice that enters it is for the system call alone: a worker has no SQEs to submit. */
TEST_F(sync, fadvise_on_a_ring)
{
	struct io *io = &self->io;
	struct io_uring_cqe cqe;
	unsigned int tail;
	char c;

	SKIP_POLLED(&io->r, "it takes all there is");
	prep(io, IORING_OP_FADVISE, io->r.fd, NULL, 0, RUST_URING_PACK(1, 0, 0))->fadvise_advice =
		RUST_URING_ADVICE_ENTER;
	prep(io, IORING_OP_READ, self->ro, &c, 1, 0);
	tail = ring_flush(&io->r);
	ASSERT_EQ(2, tail);
	ASSERT_EQ(1, ring_enter(&io->r, 1, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, *io->r.sq_head);
	ASSERT_TRUE(ring_cqe(&io->r, &cqe));
	EXPECT_EQ(-EINVAL, cqe.res);
	ASSERT_EQ(1, ring_enter(&io->r, 1, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, wait_result(io));
}

TEST_F(sync, registered_files)
{
	static const int ops[] = {
		IORING_OP_FSYNC, IORING_OP_SYNC_FILE_RANGE, IORING_OP_FADVISE,
		IORING_OP_FALLOCATE, IORING_OP_FTRUNCATE,
	};
	unsigned int i, j;
	int want;

	ASSERT_EQ(0, ring_register(&self->io.r, IORING_REGISTER_FILES, &self->fd, 1));
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		for (j = 0; j < 2; j++) {
			prep(&self->io, ops[i], j, NULL, 0, 0)->flags |= IOSQE_FIXED_FILE;
			want = j ? -EBADF : ops[i] == IORING_OP_FALLOCATE ? -EINVAL : 0;
			if (place == BLOCK && ops[i] == IORING_OP_FTRUNCATE && !j)
				want = -EINVAL;
			EXPECT_EQ(want, run(&self->io)) TH_LOG("opcode %d", ops[i]);
		}
	}
}

FILES_MAIN
