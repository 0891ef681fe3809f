// SPDX-License-Identifier: GPL-2.0
/* STATX: field by field as statx(2), on all kinds of files, and all that can be wrong with it. */
#include "files.h"
#include <linux/stat.h>
#include "kselftest_harness.h"

FIXTURE(statx) {
	struct io io;
	int dir;
};

IO_VARIANTS(statx);

FIXTURE_SETUP(statx)
{
	int fd;

	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, variant->flags,
			     variant->sqe_flags));
	ASSERT_EQ(0, own_folder("statx"));
	self->dir = open(".", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->dir);
	fd = open("file", O_RDWR | O_CREAT, 0640);
	ASSERT_EQ(5000, pwrite(fd, pages(8192), 5000, 100000));
	ASSERT_EQ(0, fchown(fd, 1, 2));
	close(fd);
	ASSERT_EQ(0, link("file", "other"));
	ASSERT_EQ(0, symlink("file", "link"));
	ASSERT_EQ(0, mkfifo("fifo", 0600));
}

FIXTURE_TEARDOWN(statx)
{
	ring_exit(&self->io.r);
}

static int by_ring(struct io *io, int dir, const char *path, unsigned int flags,
		   unsigned int mask, struct statx *st)
{
	prep(io, IORING_OP_STATX, dir, path, mask, (unsigned long)st)->statx_flags = flags;
	return run(io);
}

static int by_call(int dir, const char *path, unsigned int flags, unsigned int mask,
		   struct statx *st)
{
	return sys_result(syscall(__NR_statx, dir, path, flags, mask, st));
}

#define MOUNT	(STATX_MNT_ID | STATX_MNT_ID_UNIQUE)

/* Both ways; the same result, in all fields but those that the device does not have. */
static int compare(struct __test_metadata *_metadata, struct io *io, int dir, const char *path,
		   unsigned int flags, unsigned int mask)
{
	struct statx a, b;
	int res;

	memset(&a, 0xff, sizeof(a));
	memset(&b, 0xff, sizeof(b));
	res = by_call(dir, path, flags, mask, &b);
	EXPECT_EQ(res, by_ring(io, dir, path, flags, mask, &a)) {
		TH_LOG("%s, flags %#x, mask %#x", path, flags, mask);
		return res;
	}
	if (res < 0) {
		memset(&b, 0xff, sizeof(b));
		EXPECT_EQ(0, memcmp(&a, &b, sizeof(a)));
		return res;
	}
	if (io->r.backend == DEVICE) {
		/* Only the core knows the number of a mount. */
		EXPECT_EQ(0, a.stx_mask & MOUNT);
		EXPECT_EQ(0, a.stx_mnt_id);
		b.stx_mask &= ~MOUNT;
		b.stx_mnt_id = 0;
	}
#define SAME(field)	EXPECT_EQ(b.stx_##field, a.stx_##field)
	SAME(mask);
	SAME(blksize);
	SAME(attributes);
	SAME(nlink);
	SAME(uid);
	SAME(gid);
	SAME(mode);
	SAME(ino);
	SAME(size);
	SAME(blocks);
	SAME(attributes_mask);
	SAME(atime.tv_sec);
	SAME(atime.tv_nsec);
	SAME(btime.tv_sec);
	SAME(btime.tv_nsec);
	SAME(ctime.tv_sec);
	SAME(ctime.tv_nsec);
	SAME(mtime.tv_sec);
	SAME(mtime.tv_nsec);
	SAME(rdev_major);
	SAME(rdev_minor);
	SAME(dev_major);
	SAME(dev_minor);
	SAME(mnt_id);
	SAME(dio_mem_align);
	SAME(dio_offset_align);
	/* And in what has no name here. */
	EXPECT_EQ(0, memcmp(&a, &b, sizeof(a))) TH_LOG("%s", path);
	return res;
}

#define COMPARE(dir, path, flags, mask)	\
	compare(_metadata, &self->io, dir, path, flags, mask)

TEST_F(statx, kinds_of_files)
{
	static const char *const paths[] = {
		"file", "other", "link", "fifo", ".", "..", "/", "/dev/null", "/dev/zero",
		"/proc/self/stat", "/proc/self/fd/0", "/proc", "/sys/kernel", "/tmp/files",
		"/dev/uring_files",
	};
	unsigned int i;
	int res;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		res = access(paths[i], F_OK) ? -ENOENT : 0;
		EXPECT_EQ(res, COMPARE(AT_FDCWD, paths[i], 0, STATX_BASIC_STATS));
		EXPECT_EQ(res, COMPARE(AT_FDCWD, paths[i], 0, STATX_ALL));
		EXPECT_EQ(res, COMPARE(AT_FDCWD, paths[i], AT_SYMLINK_NOFOLLOW, STATX_ALL));
		EXPECT_EQ(res, COMPARE(self->dir, paths[i], AT_NO_AUTOMOUNT, 0x7fffffff));
	}
}

TEST_F(statx, masks)
{
	unsigned int bit;

	EXPECT_EQ(0, COMPARE(AT_FDCWD, "file", 0, 0));
	for (bit = 0; bit < 31; bit++)
		EXPECT_EQ(0, COMPARE(AT_FDCWD, "file", 0, 1u << bit));
	EXPECT_EQ(-EINVAL, COMPARE(AT_FDCWD, "file", 0, STATX__RESERVED));
	EXPECT_EQ(-EINVAL, COMPARE(AT_FDCWD, "file", 0, UINT32_MAX));
}

TEST_F(statx, flags)
{
	static const unsigned int good[] = {
		AT_STATX_FORCE_SYNC, AT_STATX_DONT_SYNC, AT_NO_AUTOMOUNT, AT_SYMLINK_NOFOLLOW,
		AT_EMPTY_PATH,
	};
	unsigned int i, all = 0;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_EQ(0, COMPARE(AT_FDCWD, "link", good[i], STATX_BASIC_STATS));
		all |= good[i];
	}
	EXPECT_EQ(-EINVAL, COMPARE(AT_FDCWD, "link", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC,
				   STATX_BASIC_STATS));
	for (i = 0; i < 32; i++)
		if (!(all & 1u << i))
			EXPECT_EQ(-EINVAL, COMPARE(AT_FDCWD, "link", 1u << i, STATX_BASIC_STATS));
}

TEST_F(statx, directories)
{
	char full[64];
	int path = open("link", O_PATH | O_NOFOLLOW), file = open("file", O_RDONLY), p[2];

	ASSERT_EQ(0, pipe(p));
	snprintf(full, sizeof(full), "%s/statx.%d/file", files_dir, getpid());
	EXPECT_EQ(0, COMPARE(self->dir, "file", 0, STATX_BASIC_STATS));
	EXPECT_EQ(0, COMPARE(-1, full, 0, STATX_BASIC_STATS));
	EXPECT_EQ(0, COMPARE(file, full, 0, STATX_BASIC_STATS));
	EXPECT_EQ(-EBADF, COMPARE(-1, "file", 0, STATX_BASIC_STATS));
	EXPECT_EQ(-EBADF, COMPARE(100000, "file", 0, STATX_BASIC_STATS));
	EXPECT_EQ(-ENOTDIR, COMPARE(file, "file", 0, STATX_BASIC_STATS));
	/* Without a path it is about the descriptor, whatever that is. */
	EXPECT_EQ(0, COMPARE(file, "", AT_EMPTY_PATH, STATX_ALL));
	EXPECT_EQ(0, COMPARE(self->dir, "", AT_EMPTY_PATH, STATX_ALL));
	EXPECT_EQ(0, COMPARE(path, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_ALL));
	EXPECT_EQ(0, COMPARE(p[0], "", AT_EMPTY_PATH, STATX_ALL));
	EXPECT_EQ(0, COMPARE(AT_FDCWD, "", AT_EMPTY_PATH, STATX_ALL));
	EXPECT_EQ(-EBADF, COMPARE(-1, "", AT_EMPTY_PATH, STATX_ALL));
	EXPECT_EQ(-ENOENT, COMPARE(file, "", 0, STATX_ALL));
	EXPECT_EQ(0, COMPARE(self->dir, "file", AT_EMPTY_PATH, STATX_ALL));
	EXPECT_EQ(-ENOTDIR, COMPARE(p[0], "file", AT_EMPTY_PATH, STATX_ALL));
}

TEST_F(statx, paths)
{
	char *path = pages(8192);

	EXPECT_EQ(-ENOENT, COMPARE(AT_FDCWD, "none", 0, STATX_BASIC_STATS));
	EXPECT_EQ(-ENOTDIR, COMPARE(AT_FDCWD, "file/x", 0, STATX_BASIC_STATS));
	EXPECT_EQ(-ENOENT, COMPARE(AT_FDCWD, "", 0, STATX_BASIC_STATS));
	EXPECT_EQ(-EFAULT, COMPARE(AT_FDCWD, (void *)8, 0, STATX_BASIC_STATS));
	EXPECT_EQ(-EFAULT, COMPARE(AT_FDCWD, NULL, 0, STATX_BASIC_STATS));
	memset(path, 'x', 8191);
	EXPECT_EQ(-ENAMETOOLONG, COMPARE(AT_FDCWD, path, 0, STATX_BASIC_STATS));
	path[300] = 0;
	EXPECT_EQ(-ENAMETOOLONG, COMPARE(AT_FDCWD, path, 0, STATX_BASIC_STATS));
	ASSERT_EQ(0, symlink("circle", "circle"));
	EXPECT_EQ(-ELOOP, COMPARE(AT_FDCWD, "circle", 0, STATX_BASIC_STATS));
	EXPECT_EQ(0, COMPARE(AT_FDCWD, "circle", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS));
}

TEST_F(statx, bad_memory)
{
	struct statx *cut = (void *)before_hole(sizeof(*cut));

	EXPECT_EQ(-EFAULT, by_ring(&self->io, AT_FDCWD, "file", 0, STATX_BASIC_STATS, NULL));
	EXPECT_EQ(-EFAULT, by_ring(&self->io, AT_FDCWD, "file", 0, STATX_BASIC_STATS,
				   (void *)((char *)cut + 1)));
	EXPECT_EQ(0, by_ring(&self->io, AT_FDCWD, "file", 0, STATX_BASIC_STATS, cut));
	EXPECT_EQ(105000, cut->stx_size);
	EXPECT_EQ(2, cut->stx_nlink);
	/* What is wrong with the path is seen first. */
	EXPECT_EQ(-ENOENT, by_ring(&self->io, AT_FDCWD, "none", 0, STATX_BASIC_STATS, NULL));
}

TEST_F(statx, bad_sqe)
{
	struct io *io = &self->io;
	struct statx st;

	prep(io, IORING_OP_STATX, AT_FDCWD, "file", 0, (unsigned long)&st)->buf_index = 1;
	EXPECT_EQ(-EINVAL, run(io));
	prep(io, IORING_OP_STATX, AT_FDCWD, "file", 0, (unsigned long)&st)->file_index = 1;
	EXPECT_EQ(-EINVAL, run(io));
	prep(io, IORING_OP_STATX, AT_FDCWD, "file", 0, (unsigned long)&st)->ioprio = 1;
	EXPECT_EQ(-EINVAL, run(io));
	prep(io, IORING_OP_STATX, AT_FDCWD, "file", 0,
	     (unsigned long)&st)->flags |= IOSQE_FIXED_FILE;
	EXPECT_EQ(-EBADF, run(io));
	/* Only what is wrong with the SQE ends the submission. */
	prep(io, IORING_OP_STATX, -1, "file", 0, (unsigned long)&st);
	prep(io, IORING_OP_STATX, AT_FDCWD, "file", STATX__RESERVED, (unsigned long)&st);
	ring_nop(&io->r, 4711);
	EXPECT_EQ(3, ring_submit(&io->r, 3));
	EXPECT_EQ(3, ring_ready(&io->r));
}

TEST_F(statx, personality)
{
	struct statx st;
	int id;

	id = ring_register(&self->io.r, IORING_REGISTER_PERSONALITY, NULL, 0);
	ASSERT_LT(0, id);
	ASSERT_EQ(0, mkdir("closed", 0700));
	close(open("closed/file", O_WRONLY | O_CREAT, 0600));
	SKIP_POLLED(&self->io.r, "its rights are those of who set it up");
	ASSERT_EQ(0, seteuid(65534));
	EXPECT_EQ(-EACCES, by_ring(&self->io, AT_FDCWD, "closed/file", 0, 0, &st));
	prep(&self->io, IORING_OP_STATX, AT_FDCWD, "closed/file", 0,
	     (unsigned long)&st)->personality = id;
	EXPECT_EQ(0, run(&self->io));
	ASSERT_EQ(0, seteuid(0));
}

FILES_MAIN
