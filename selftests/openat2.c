// SPDX-License-Identifier: GPL-2.0
/* OPENAT2: RESOLVE_* and the flags that only it has, as the system call. */
#include "files.h"
#include <linux/openat2.h>
#include "kselftest_harness.h"

#ifndef OPENAT2_REGULAR
#define OPENAT2_REGULAR	(1ull << 32)
#endif
#ifndef EFTYPE
#define EFTYPE		134
#endif

FIXTURE(openat2) {
	struct io io;
	int top, dir;		/* DIR/.. and DIR */
};

IO_VARIANTS(openat2);

/*
 * DIR is what paths are resolved in; beside it is a file. The links: to things in it, out of it
 * (by name and from the root), through /proc, to nothing, to itself.
 */
FIXTURE_SETUP(openat2)
{
	int fd;

	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, variant->flags,
			     variant->sqe_flags));
	ASSERT_EQ(0, own_folder("openat2"));
	self->top = open(".", O_PATH | O_CLOEXEC);
	ASSERT_EQ(0, mkdir("dir", 0777));
	close(open("beside", O_RDWR | O_CREAT, 0644));
	ASSERT_EQ(0, chdir("dir"));
	self->dir = open(".", O_PATH | O_CLOEXEC);
	ASSERT_LE(0, self->top);
	ASSERT_LE(0, self->dir);
	fd = open("file", O_RDWR | O_CREAT, 0644);
	ASSERT_EQ(5, write(fd, "12345", 5));
	close(fd);
	ASSERT_EQ(0, mkdir("sub", 0755));
	ASSERT_EQ(0, symlink("file", "link"));
	ASSERT_EQ(0, symlink("sub/../link", "far"));
	ASSERT_EQ(0, symlink("/file", "root"));
	ASSERT_EQ(0, symlink("../beside", "out"));
	ASSERT_EQ(0, symlink("/proc/self/cwd/file", "magic"));
	ASSERT_EQ(0, symlink("none", "gone"));
	ASSERT_EQ(0, symlink("loop", "loop"));
	ASSERT_EQ(0, mkfifo("fifo", 0666));
	/* Another mount, and one on a file. */
	ASSERT_EQ(0, mkdir("mnt", 0755));
	ASSERT_EQ(0, mount("tmp", "mnt", "tmpfs", 0, ""));
	close(open("mnt/in", O_RDWR | O_CREAT, 0644));
	close(open("bound", O_RDWR | O_CREAT, 0644));
	ASSERT_EQ(0, mount("file", "bound", NULL, MS_BIND, NULL));
}

FIXTURE_TEARDOWN(openat2)
{
	ring_exit(&self->io.r);
	umount2("bound", MNT_DETACH);
	umount2("mnt", MNT_DETACH);
}

static int by_call(int dir, const char *path, struct open_how *how)
{
	return sys_result(syscall(__NR_openat2, dir, path, how, sizeof(*how)));
}

static int by_ring(struct io *io, int dir, const char *path, struct open_how *how)
{
	return one(io, IORING_OP_OPENAT2, dir, path, sizeof(*how), (unsigned long)how);
}

/* Which file it is, and what was made of it. Nothing is left of it. */
struct outcome {
	int res;
	dev_t dev;
	ino_t ino;
	mode_t mode;
	int flags;
	char path[128];
};

static struct outcome look(int fd)
{
	struct outcome o = { .res = fd < 0 ? fd : 0 };
	char name[64];
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return o;
	o.dev = st.st_dev;
	o.mode = st.st_mode;
	o.flags = fcntl(fd, F_GETFL);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	if (readlink(name, o.path, sizeof(o.path) - 1) < 0)
		o.path[0] = 0;
	/* A file that was made anew is another one each time. */
	if (strstr(o.path, "none"))
		unlink(o.path);
	else if (!strstr(o.path, "deleted"))
		o.ino = st.st_ino;
	else
		o.path[0] = 0;
	close(fd);
	return o;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
	return a->res == b->res && a->dev == b->dev && a->ino == b->ino && a->mode == b->mode &&
	       a->flags == b->flags && !strcmp(a->path, b->path);
}

TEST_F_TIMEOUT(openat2, as_the_system_call, 300)
{
	static const char *const paths[] = {
		"file", "link", "far", "root", "out", "magic", "gone", "loop", "sub/none",
		"sub/../file", "../beside", "../../beside", "/file", "/dev/null", ".", "..",
		"mnt", "mnt/in", "bound", "file/", "link/", "sub/", "fifo", "none/none",
		"/proc/self/fd/0",
	};
	static const unsigned long long flags[] = {
		O_RDONLY | O_NONBLOCK, O_RDWR | O_NONBLOCK | O_NOFOLLOW, O_PATH | O_NOFOLLOW,
		O_RDONLY | O_DIRECTORY | O_CLOEXEC, O_RDWR | O_NONBLOCK | O_CREAT,
		O_RDWR | O_NONBLOCK | O_CREAT | O_EXCL,
		O_WRONLY | O_NONBLOCK | O_CREAT | O_NOFOLLOW, O_RDWR | O_TMPFILE,
	};
	static const unsigned long long resolve[] = {
		RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH,
		RESOLVE_IN_ROOT, RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS,
		RESOLVE_IN_ROOT | RESOLVE_NO_XDEV,
	};
	unsigned int f, p, r;

	for (p = 0; p < ARRAY_SIZE(paths); p++) {
		for (f = 0; f < ARRAY_SIZE(flags); f++) {
			for (r = 0; r < ARRAY_SIZE(resolve); r++) {
				struct open_how how = { .flags = flags[f], .resolve = resolve[r] };
				struct outcome want, is;

				if (flags[f] & (O_CREAT | __O_TMPFILE))
					how.mode = 0640;
				want = look(by_call(self->dir, paths[p], &how));
				is = look(by_ring(&self->io, self->dir, paths[p], &how));
				/* What a link to nothing leads to is not made by the device. */
				if (variant->backend == DEVICE && (how.flags & O_CREAT) &&
				    (!strcmp(paths[p], "gone") || !strcmp(paths[p], "root")) &&
				    (!want.res || want.res == -EROFS) && is.res == -ENOENT)
					continue;
				EXPECT_TRUE(same(&want, &is)) {
					TH_LOG("%s with %#llx, %#llx: %d %s, not %d %s", paths[p],
					       flags[f], resolve[r], is.res, is.path, want.res,
					       want.path);
				}
			}
		}
	}
}

/* What the path begins at matters for an absolute one, too, if that is to be its root. */
TEST_F(openat2, what_it_begins_at)
{
	struct io *io = &self->io;
	struct open_how how = { .flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT };
	struct outcome want, is;
	int file = open("file", O_RDONLY | O_CLOEXEC);

	is = look(by_ring(io, self->top, "/beside", &how));
	EXPECT_EQ(0, is.res);
	EXPECT_EQ(-ENOENT, by_ring(io, self->dir, "/beside", &how));
	is = look(by_ring(io, AT_FDCWD, "/file", &how));
	want = look(open("file", O_RDONLY));
	EXPECT_TRUE(same(&want, &is));
	EXPECT_EQ(-EBADF, by_ring(io, 1000, "/file", &how));
	EXPECT_EQ(-ENOTDIR, by_ring(io, file, "/file", &how));
	how.resolve = RESOLVE_BENEATH;
	EXPECT_EQ(-EXDEV, by_ring(io, 1000, "/file", &how));
	EXPECT_EQ(-EBADF, by_ring(io, 1000, "file", &how));
	how.resolve = RESOLVE_NO_SYMLINKS;
	is = look(by_ring(io, 1000, "/dev/null", &how));
	EXPECT_EQ(0, is.res);
	close(file);
}

TEST_F(openat2, from_the_cache)
{
	struct io *io = &self->io;
	struct open_how how = { .flags = O_RDONLY, .resolve = RESOLVE_CACHED };
	struct outcome want, is;

	want = look(by_call(self->dir, "file", &how));
	ASSERT_EQ(0, want.res);
	is = look(by_ring(io, self->dir, "file", &how));
	EXPECT_TRUE(same(&want, &is));
	EXPECT_EQ(-EAGAIN, by_call(self->dir, "none", &how));
	EXPECT_EQ(-EAGAIN, by_ring(io, self->dir, "none", &how));
	how.flags = O_RDWR | O_TRUNC;
	EXPECT_EQ(-EAGAIN, by_ring(io, self->dir, "file", &how));
	how = (struct open_how) { .flags = O_RDWR | O_CREAT, .mode = 0600,
				  .resolve = RESOLVE_CACHED };
	EXPECT_EQ(-EAGAIN, by_ring(io, self->dir, "file", &how));
	how.flags |= O_DIRECTORY;
	EXPECT_EQ(-EINVAL, by_ring(io, self->dir, "file", &how));
}

TEST_F(openat2, does_not_fit)
{
	static const struct open_how hows[] = {
		{ .resolve = RESOLVE_BENEATH | RESOLVE_IN_ROOT },
		{ .resolve = 0x40 },
		{ .resolve = 1ull << 40 },
		{ .flags = O_PATH | O_RDWR },
		{ .flags = O_PATH | O_CREAT },
		{ .flags = O_PATH | OPENAT2_REGULAR },
		{ .flags = O_DIRECTORY | OPENAT2_REGULAR },
		{ .flags = O_DIRECTORY | O_CREAT },
		{ .flags = (O_TMPFILE & ~O_DIRECTORY) | O_RDWR },
		{ .flags = O_TMPFILE | O_RDONLY },
		{ .flags = O_RDONLY, .mode = 0600 },
		{ .flags = O_RDWR | O_CREAT, .mode = 0200000 },
		{ .flags = 1ull << 33 },
		{ .flags = 1ull << 30 },
	};
	struct open_how how;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(hows); i++) {
		how = hows[i];
		EXPECT_EQ(-EINVAL, by_call(self->dir, "sub", &how)) TH_LOG("%u", i);
		EXPECT_EQ(-EINVAL, by_ring(&self->io, self->dir, "sub", &how)) TH_LOG("%u", i);
	}
}

TEST_F(openat2, regular_files_only)
{
	static const char *const paths[] = {
		"file", "link", "sub", "fifo", "/dev/null", "none", "root", "loop",
	};
	struct open_how how = { .flags = O_RDONLY | O_NONBLOCK | OPENAT2_REGULAR };
	struct outcome want, is;
	unsigned int i;

	for (i = 0; i < 2 * ARRAY_SIZE(paths); i++) {
		how.resolve = i & 1 ? RESOLVE_NO_SYMLINKS : 0;
		want = look(by_call(self->dir, paths[i / 2], &how));
		is = look(by_ring(&self->io, self->dir, paths[i / 2], &how));
		EXPECT_TRUE(same(&want, &is)) TH_LOG("%s: %d", paths[i / 2], is.res);
	}
	how.resolve = 0;
	EXPECT_EQ(-EFTYPE, by_ring(&self->io, self->dir, "fifo", &how));
	how = (struct open_how) { .flags = O_RDWR | O_CREAT | OPENAT2_REGULAR, .mode = 0600 };
	is = look(by_ring(&self->io, self->dir, "file", &how));
	EXPECT_EQ(variant->backend == DEVICE ? -EINVAL : 0, is.res);
}

static void set_protected(struct __test_metadata *_metadata, const char *value)
{
	int fd = open("/proc/sys/fs/protected_regular", O_WRONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(1, write(fd, value, 1));
	close(fd);
}

/* Somebody else's file in a directory for all is not what O_CREAT is to open. */
TEST_F(openat2, sticky)
{
	struct open_how how = { .flags = O_RDWR | O_CREAT, .mode = 0600,
				.resolve = RESOLVE_BENEATH };
	struct io *io = &self->io;
	struct outcome is;
	char old = '0';
	int fd;

	fd = open("/proc/sys/fs/protected_regular", O_RDONLY | O_CLOEXEC);
	ASSERT_EQ(1, read(fd, &old, 1));
	close(fd);
	ASSERT_EQ(0, chmod("sub", 01777));
	close(open("sub/theirs", O_RDWR | O_CREAT, 0666));
	close(open("sub/ours", O_RDWR | O_CREAT, 0666));
	ASSERT_EQ(0, chown("sub/theirs", 1000, 1000));
	ASSERT_EQ(0, symlink("sub/theirs", "theirs"));
	ASSERT_EQ(0, symlink("sub/ours", "ours"));
	set_protected(_metadata, "2");
	EXPECT_EQ(-EACCES, by_ring(io, self->dir, "sub/theirs", &how));
	EXPECT_EQ(-EACCES, by_ring(io, self->dir, "theirs", &how));
	is = look(by_ring(io, self->dir, "ours", &how));
	EXPECT_EQ(0, is.res);
	set_protected(_metadata, "0");
	is = look(by_ring(io, self->dir, "sub/theirs", &how));
	EXPECT_EQ(0, is.res);
	/* The device cannot see that it would be allowed through a link. */
	is = look(by_ring(io, self->dir, "theirs", &how));
	EXPECT_EQ(variant->backend == DEVICE ? -EACCES : 0, is.res);
	set_protected(_metadata, (char [2]) { old });
}

TEST_F(openat2, slots)
{
	struct io_uring_rsrc_register arg = { .nr = 2, .flags = IORING_RSRC_REGISTER_SPARSE };
	struct open_how how = { .flags = O_RDWR, .resolve = RESOLVE_BENEATH };
	struct io *io = &self->io;
	char c = 0;

	ASSERT_EQ(0, ring_register(&io->r, IORING_REGISTER_FILES2, &arg, sizeof(arg)));
	prep(io, IORING_OP_OPENAT2, self->dir, "link", sizeof(how),
	     (unsigned long)&how)->file_index = 2;
	EXPECT_EQ(0, run(io));
	prep(io, IORING_OP_READ, 1, &c, 1, 0)->flags |= IOSQE_FIXED_FILE;
	EXPECT_EQ(1, run(io));
	EXPECT_EQ('1', c);
	prep(io, IORING_OP_OPENAT2, self->dir, "out", sizeof(how),
	     (unsigned long)&how)->file_index = 1;
	EXPECT_EQ(-EXDEV, run(io));
	prep(io, IORING_OP_READ, 0, &c, 1, 0)->flags |= IOSQE_FIXED_FILE;
	EXPECT_EQ(-EBADF, run(io));
}

FILES_MAIN
