// SPDX-License-Identifier: GPL-2.0
/* OPENAT and OPENAT2: as the system calls, into descriptors and into slots. */
#include "files.h"
#include <linux/openat2.h>
#include "kselftest_harness.h"

FIXTURE(open) {
	struct io io;
	int dir, file;
	mode_t mask;
};

IO_VARIANTS(open);

FIXTURE_SETUP(open)
{
	self->mask = umask(0);
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, variant->flags,
			     variant->sqe_flags));
	ASSERT_EQ(0, own_folder("open"));
	self->dir = open(".", O_RDONLY | O_CLOEXEC);
	self->file = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	ASSERT_LE(0, self->dir);
	ASSERT_EQ(5, write(self->file, "12345", 5));
	ASSERT_EQ(0, mkdir("sub", 0755));
	ASSERT_EQ(0, symlink("file", "link"));
	ASSERT_EQ(0, mkfifo("fifo", 0666));
}

FIXTURE_TEARDOWN(open)
{
	ring_exit(&self->io.r);
	umask(self->mask);
}

/* OPENAT into slot @slot - 1, or into a descriptor. */
static int openat_in(struct io *io, int dir, const char *path, int flags, mode_t mode,
		     unsigned int slot)
{
	struct io_uring_sqe *sqe = prep(io, IORING_OP_OPENAT, dir, path, mode, 0);

	sqe->open_flags = flags;
	sqe->file_index = slot;
	return run(io);
}

static int openat2_sized(struct io *io, int dir, const char *path, const void *how, size_t size)
{
	return one(io, IORING_OP_OPENAT2, dir, path, size, (unsigned long)how);
}

#define OPEN(path, flags, mode)	openat_in(&self->io, AT_FDCWD, path, flags, mode, 0)

/* What open(2) says; both leave nothing open. */
static int by_call(int dir, const char *path, int flags, mode_t mode)
{
	int fd = openat(dir, path, flags, mode);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int by_ring(struct io *io, int dir, const char *path, int flags, mode_t mode)
{
	int fd = openat_in(io, dir, path, flags, mode, 0);

	if (fd < 0)
		return fd;
	return close(fd);
}

/* What O_CREAT made. */
static void clean(void)
{
	static const char *const made[] = {
		"none", "sub/none", "sub/file", "sub/link", "sub/sub", "sub/fifo",
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(made); i++)
		unlink(made[i]);
}

TEST_F_TIMEOUT(open, as_the_system_call, 120)
{
	static const char *const paths[] = {
		"file", "link", "sub", "fifo", "none", "none/file", "file/none", "", ".", "..",
		"sub/../file", "./sub/.", "/dev/null", "/", "/proc/self/cwd/file", "/dev/zero/x",
	};
	static const int flags[] = {
		O_RDONLY | O_NONBLOCK, O_WRONLY | O_NONBLOCK, O_RDWR | O_NONBLOCK,
		O_RDONLY | O_NONBLOCK | O_CREAT | O_EXCL, O_RDONLY | O_NONBLOCK | O_DIRECTORY,
		O_RDONLY | O_NONBLOCK | O_NOFOLLOW, O_PATH, O_PATH | O_NOFOLLOW,
		O_WRONLY | O_NONBLOCK | O_APPEND, O_RDONLY | O_NONBLOCK | O_NOATIME,
		O_WRONLY | O_NONBLOCK | O_CREAT, 3 | O_NONBLOCK,
	};
	int dirs[] = { AT_FDCWD, self->dir, self->file, -1, 1000, open("sub", O_PATH) };
	unsigned int d, f, p, n = 0;

	for (d = 0; d < ARRAY_SIZE(dirs); d++) {
		for (p = 0; p < ARRAY_SIZE(paths); p++) {
			for (f = 0; f < ARRAY_SIZE(flags); f++) {
				int want, is;

				/* Natively it is to be shown that the test is right. */
				if (variant->backend == NATIVE && n++ % 7)
					continue;
				want = by_call(dirs[d], paths[p], flags[f], 0644);
				clean();
				is = by_ring(&self->io, dirs[d], paths[p], flags[f], 0644);
				EXPECT_EQ(want, is) {
					TH_LOG("%s in %d with 0x%x", paths[p], dirs[d], flags[f]);
				}
				clean();
			}
		}
	}
}

TEST_F(open, descriptors)
{
	struct rlimit limit, none;
	struct stat st;
	int lowest, fd;
	char c;

	lowest = dup(0);
	close(lowest);
	fd = OPEN("file", O_RDONLY | O_CLOEXEC, 0);
	EXPECT_EQ(lowest, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(1, read(fd, &c, 1));
	EXPECT_EQ('1', c);
	close(fd);
	fd = OPEN("file", O_RDWR | O_APPEND, 0);
	EXPECT_EQ(lowest, fd);
	EXPECT_EQ(0, fcntl(fd, F_GETFD));
	EXPECT_EQ(O_RDWR | O_APPEND, fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND));
	close(fd);
	/* Modes, and the mask of now. */
	umask(027);
	fd = OPEN("new", O_RDWR | O_CREAT | O_EXCL, 0666);
	EXPECT_EQ(lowest, fd);
	EXPECT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(S_IFREG | 0640, st.st_mode);
	close(fd);
	EXPECT_EQ(-EEXIST, OPEN("new", O_RDWR | O_CREAT | O_EXCL, 0666));
	fd = OPEN(".", O_RDWR | O_TMPFILE, 0600);
	EXPECT_EQ(lowest, fd);
	EXPECT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(0, st.st_nlink);
	close(fd);
	fd = OPEN("file", O_WRONLY | O_TRUNC, 0);
	EXPECT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(0, st.st_size);
	close(fd);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = lowest;
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ(-EMFILE, OPEN("file", O_RDONLY, 0));
	EXPECT_EQ(-EMFILE, OPEN("other", O_RDONLY | O_CREAT, 0600));
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
}

TEST_F(open, bad_sqe)
{
	struct io *io = &self->io;
	char *name = before_hole(100), *path = pages(2 * 4096);
	struct open_how how = {};

	memset(name, 'a', 100);
	memset(path, '/', 2 * 4096 - 1);
	EXPECT_EQ(-EFAULT, OPEN((char *)8, O_RDONLY, 0));
	EXPECT_EQ(-EFAULT, OPEN(NULL, O_RDONLY, 0));
	EXPECT_EQ(-EFAULT, OPEN(name, O_RDONLY, 0));
	EXPECT_EQ(-ENAMETOOLONG, OPEN(path, O_RDONLY, 0));
	prep(io, IORING_OP_OPENAT, AT_FDCWD, "file", 0, 0)->buf_index = 1;
	EXPECT_EQ(-EINVAL, run(io));
	prep(io, IORING_OP_OPENAT, AT_FDCWD, "file", 0, 0)->flags |= IOSQE_FIXED_FILE;
	EXPECT_EQ(-EBADF, run(io));
	prep(io, IORING_OP_OPENAT, AT_FDCWD, "file", 0, 0)->ioprio = 1;
	EXPECT_EQ(-EINVAL, run(io));
	prep(io, IORING_OP_OPENAT2, AT_FDCWD, "file", sizeof(how),
	     (unsigned long)&how)->buf_index = 1;
	EXPECT_EQ(-EINVAL, run(io));
	/* That something is not there does not end a submission. */
	prep(io, IORING_OP_OPENAT, -1, "file", 0, 0);
	prep(io, IORING_OP_OPENAT, AT_FDCWD, "none", 0, 0);
	ring_nop(&io->r, 4711);
	EXPECT_EQ(3, ring_submit(&io->r, 3));
	EXPECT_EQ(3, ring_ready(&io->r));
	ring_seen(&io->r, 3);
	/* A path that is none does. */
	prep(io, IORING_OP_OPENAT, AT_FDCWD, (char *)8, 0, 0);
	ring_nop(&io->r, 4711);
	EXPECT_EQ(ring_is_polled(&io->r) ? 2 : 1, ring_submit(&io->r, 1));
	EXPECT_EQ(-EFAULT, wait_result(io));
	EXPECT_EQ(1, ring_enter(&io->r, 1, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, wait_result(io));
}

TEST_F(open, how)
{
	struct io *io = &self->io;
	struct {
		struct open_how how;
		uint64_t more[4];
	} big = { .how = { .flags = O_RDONLY | O_CLOEXEC } };
	int fd;

	fd = openat2_sized(io, self->dir, "file", &big, sizeof(big.how));
	EXPECT_LE(0, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	close(fd);
	fd = openat2_sized(io, self->dir, "file", &big, sizeof(big));
	EXPECT_LE(0, fd);
	close(fd);
	big.more[2] = 1;
	EXPECT_EQ(-E2BIG, openat2_sized(io, self->dir, "file", &big, sizeof(big)));
	EXPECT_EQ(-EINVAL, openat2_sized(io, self->dir, "file", &big, sizeof(big.how) - 1));
	EXPECT_EQ(-EINVAL, openat2_sized(io, self->dir, "file", &big, 0));
	EXPECT_EQ(-EFAULT, openat2_sized(io, self->dir, "file", (void *)8, sizeof(big.how)));
	big.how.flags = 1ull << 40;
	EXPECT_EQ(-EINVAL, openat2_sized(io, self->dir, "file", &big, sizeof(big.how)));
	big.how = (struct open_how) { .mode = 0600 };
	EXPECT_EQ(-EINVAL, openat2_sized(io, self->dir, "file", &big, sizeof(big.how)));
	big.how = (struct open_how) { .flags = O_CREAT | O_RDWR, .mode = 010000 };
	EXPECT_EQ(-EINVAL, openat2_sized(io, self->dir, "new", &big, sizeof(big.how)));
	big.how.mode = 0600;
	fd = openat2_sized(io, self->dir, "new", &big, sizeof(big.how));
	EXPECT_LE(0, fd);
	close(fd);
}

static int sparse(struct ring *r, unsigned int nr)
{
	struct io_uring_rsrc_register arg = { .nr = nr, .flags = IORING_RSRC_REGISTER_SPARSE };

	return ring_register(r, IORING_REGISTER_FILES2, &arg, sizeof(arg));
}

/* The first byte of what is in a slot. */
static int look(struct io *io, unsigned int slot)
{
	struct io_uring_sqe *sqe;
	char c;
	int ret;

	sqe = prep(io, IORING_OP_READ, slot, &c, 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	ret = run(io);
	return ret == 1 ? c : ret;
}

TEST_F(open, slots)
{
	struct io *io = &self->io;
	int lowest = dup(0);

	close(lowest);
	EXPECT_EQ(-ENXIO, openat_in(io, AT_FDCWD, "file", O_RDONLY, 0, 1));
	ASSERT_EQ(0, sparse(&io->r, 3));
	EXPECT_EQ(0, openat_in(io, AT_FDCWD, "file", O_RDONLY, 0, 1));
	EXPECT_EQ('1', look(io, 0));
	EXPECT_EQ(0, openat_in(io, self->dir, "link", O_RDONLY, 0, 3));
	EXPECT_EQ('1', look(io, 2));
	/* One takes another's place. */
	EXPECT_EQ(0, openat_in(io, AT_FDCWD, "/dev/zero", O_RDONLY, 0, 1));
	EXPECT_EQ(0, look(io, 0));
	EXPECT_EQ(-EINVAL, openat_in(io, AT_FDCWD, "file", O_RDONLY, 0, 4));
	EXPECT_EQ(-EINVAL, openat_in(io, AT_FDCWD, "file", O_RDONLY | O_CLOEXEC, 0, 2));
	EXPECT_EQ(-ENOENT, openat_in(io, AT_FDCWD, "none", O_RDONLY, 0, 1));
	EXPECT_EQ(0, look(io, 0));
	EXPECT_EQ(-EBADF, look(io, 1));
	EXPECT_EQ(1, openat_in(io, AT_FDCWD, "file", O_RDONLY, 0, IORING_FILE_INDEX_ALLOC));
	EXPECT_EQ('1', look(io, 1));
	EXPECT_EQ(-ENFILE, openat_in(io, AT_FDCWD, "file", O_RDONLY, 0, IORING_FILE_INDEX_ALLOC));
	/* None of it is a descriptor. */
	EXPECT_EQ(lowest, dup(0));
	close(lowest);
}

/* The path is taken when the SQE is, and so is what it begins at. */
TEST_F(open, what_it_begins_at)
{
	char name[16] = "file";
	struct io *io = &self->io;
	int fd;

	ASSERT_EQ(0, chdir("sub"));
	EXPECT_EQ(-ENOENT, OPEN("file", O_RDONLY, 0));
	fd = OPEN("../file", O_RDONLY, 0);
	EXPECT_LE(0, fd);
	close(fd);
	/* A directory's descriptor may go once it is submitted. */
	fd = dup(self->dir);
	prep(io, IORING_OP_OPENAT, fd, name, 0, 0);
	ASSERT_EQ(1, ring_enter(&io->r, ring_flush(&io->r), 0, 0));
	memset(name, 'x', sizeof(name));
	if (!variant->sqe_flags)
		close(fd);
	fd = wait_result(io);
	EXPECT_LE(0, fd);
	close(fd);
}

TEST_F(open, credentials)
{
	struct io_uring_sqe *sqe;
	int id, fd;

	SKIP_POLLED(&self->io.r, "its rights are those of who set it up");
	ASSERT_EQ(0, chmod("file", 0600));
	id = ring_register(&self->io.r, IORING_REGISTER_PERSONALITY, NULL, 0);
	ASSERT_LT(0, id);
	ASSERT_EQ(0, seteuid(65534));
	EXPECT_EQ(-EACCES, OPEN("file", O_RDONLY, 0));
	EXPECT_EQ(-EACCES, OPEN("file", O_RDWR | O_CREAT, 0600));
	sqe = prep(&self->io, IORING_OP_OPENAT, AT_FDCWD, "file", 0, 0);
	sqe->personality = id;
	fd = run(&self->io);
	EXPECT_LE(0, fd);
	close(fd);
	sqe = prep(&self->io, IORING_OP_OPENAT, AT_FDCWD, "file", 0600, 0);
	sqe->open_flags = O_RDWR | O_CREAT;
	sqe->personality = id;
	fd = run(&self->io);
	EXPECT_LE(0, fd);
	close(fd);
	ASSERT_EQ(0, seteuid(0));
}

/*
 * A pipe with a name is open when both ends are. Without being told that it is for a
 * worker, the first try does not wait, and that is all it takes for one that is read.
 */
TEST_F(open, waits_for_the_other_end)
{
	struct io *io = &self->io;
	int fd, other;

	if (!variant->sqe_flags) {
		EXPECT_EQ(-ENXIO, OPEN("fifo", O_WRONLY, 0));
		fd = OPEN("fifo", O_RDONLY, 0);
		EXPECT_LE(0, fd);
		EXPECT_EQ(0, fcntl(fd, F_GETFL) & O_NONBLOCK);
		close(fd);
		return;
	}
	prep(io, IORING_OP_OPENAT, AT_FDCWD, "fifo", 0, 0);
	ASSERT_EQ(1, ring_submit(&io->r, 0));
	usleep(20000);
	ASSERT_EQ(0, ring_enter(&io->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, ring_ready(&io->r));
	other = open("fifo", O_WRONLY);
	ASSERT_LE(0, other);
	fd = wait_result(io);
	ASSERT_LE(0, fd);
	EXPECT_EQ(1, write(other, "x", 1));
	EXPECT_EQ(1, one(io, IORING_OP_READ, fd, &(char) { 0 }, 1, -1));
	close(fd);
	close(other);
	/* And the end of the ring does not wait for it. */
	prep(io, IORING_OP_OPENAT, AT_FDCWD, "fifo", 0, 0);
	ASSERT_EQ(1, ring_submit(&io->r, 0));
	usleep(20000);
	ring_exit(&io->r);
	ASSERT_EQ(0, io_init(io, variant->backend, 8, variant->flags, variant->sqe_flags));
}

TEST_F(open, many)
{
	struct io *io = &self->io;
	struct io_uring_cqe cqe;
	int round, i;

	for (round = 0; round < 50; round++) {
		for (i = 0; i < 8; i++) {
			struct io_uring_sqe *sqe = prep(io, IORING_OP_OPENAT, self->dir, "file",
							0600, 0);

			sqe->open_flags = i & 1 ? O_RDWR | O_CREAT : O_RDONLY;
		}
		ASSERT_EQ(8, ring_submit(&io->r, 8));
		for (i = 0; i < 8; i++) {
			ASSERT_TRUE(ring_cqe(&io->r, &cqe));
			ASSERT_LE(0, cqe.res);
			ASSERT_EQ(0, close(cqe.res));
		}
	}
}

FILES_MAIN
