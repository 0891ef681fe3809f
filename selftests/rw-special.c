// SPDX-License-Identifier: GPL-2.0
/* Reads and writes on what is no regular file: pipes, sockets, devices, /proc, eventfd and such. */
#include "files.h"
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include "kselftest_harness.h"

#define PIPE	(64 * 1024)

FIXTURE(rw_special) {
	struct io io;
	int p[2];
	char *in, *out;
};

IO_VARIANTS(rw_special);

FIXTURE_SETUP(rw_special)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, variant->flags,
			     variant->sqe_flags));
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC));
	self->in = pages(2 * PIPE);
	self->out = pages(2 * PIPE);
	fill(self->out, 2 * PIPE, 1);
}

FIXTURE_TEARDOWN(rw_special)
{
	ring_exit(&self->io.r);
}

#define READ(fd, addr, len, off)	one(&self->io, IORING_OP_READ, fd, addr, len, off)
#define WRITE(fd, addr, len, off)	one(&self->io, IORING_OP_WRITE, fd, addr, len, off)

/* Submits what was prepared, and it does not complete. */
#define WAITS() do {							\
	ASSERT_EQ(1, ring_submit(&self->io.r, 0));			\
	usleep(20000);							\
	ASSERT_EQ(0, ring_enter(&self->io.r, 0, 0, IORING_ENTER_GETEVENTS));	\
	ASSERT_EQ(0, ring_ready(&self->io.r));				\
} while (0)

TEST_F(rw_special, pipe_with_data)
{
	struct iovec iov[2] = { { self->in, 10 }, { self->in + 10, 1000 } };
	static const int64_t offs[] = { 0, -1, 4711, INT32_MAX };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(offs); i++) {
		EXPECT_EQ(100, WRITE(self->p[1], self->out, 100, offs[i]));
		EXPECT_EQ(60, READ(self->p[0], self->in, 60, offs[i]));
		EXPECT_EQ(40, one(&self->io, IORING_OP_READV, self->p[0], iov, 2, offs[i]));
		EXPECT_EQ(0, memcmp(self->in, self->out + 60, 40));
	}
	EXPECT_EQ(-EINVAL, WRITE(self->p[1], self->out, 100, -2));
	EXPECT_EQ(-EINVAL, READ(self->p[0], self->in, 100, -2));
	EXPECT_EQ(-EBADF, WRITE(self->p[0], self->out, 100, 0));
	EXPECT_EQ(-EBADF, READ(self->p[1], self->in, 100, 0));
	EXPECT_EQ(0, WRITE(self->p[1], self->out, 0, 0));
	EXPECT_EQ(0, READ(self->p[0], self->in, 0, 0));
}

TEST_F(rw_special, pipe_read_waits)
{
	prep(&self->io, IORING_OP_READ, self->p[0], self->in, 1000, 0);
	WAITS();
	ASSERT_EQ(100, write(self->p[1], self->out, 100));
	EXPECT_EQ(100, wait_result(&self->io));
	EXPECT_EQ(0, memcmp(self->in, self->out, 100));
	/* The descriptor may go meanwhile, the file does not. */
	prep(&self->io, IORING_OP_READ, self->p[0], self->in, 1000, -1);
	WAITS();
	close(self->p[0]);
	ASSERT_EQ(100, write(self->p[1], self->out + 100, 100));
	EXPECT_EQ(100, wait_result(&self->io));
	EXPECT_EQ(0, memcmp(self->in, self->out + 100, 100));
}

TEST_F(rw_special, pipe_write_waits)
{
	ASSERT_EQ(PIPE, write(self->p[1], self->out, PIPE));
	prep(&self->io, IORING_OP_WRITE, self->p[1], self->out, 4096, 0);
	WAITS();
	ASSERT_EQ(4096, read(self->p[0], self->in, 4096));
	EXPECT_EQ(4096, wait_result(&self->io));
	/* What fits is written, and that is it. */
	ASSERT_EQ(8192, read(self->p[0], self->in, 8192));
	EXPECT_EQ(8192, WRITE(self->p[1], self->out, 20000, 0));
	ASSERT_EQ(PIPE, read(self->p[0], self->in, PIPE));
}

static int sigpipe;

static void count_sigpipe(int sig)
{
	sigpipe++;
}

TEST_F(rw_special, pipe_ends)
{
	signal(SIGPIPE, count_sigpipe);
	prep(&self->io, IORING_OP_READ, self->p[0], self->in, 100, 0);
	WAITS();
	close(self->p[1]);
	EXPECT_EQ(0, wait_result(&self->io));
	EXPECT_EQ(0, READ(self->p[0], self->in, 100, 0));
	close(self->p[0]);
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC));
	close(self->p[0]);
	EXPECT_EQ(-EPIPE, WRITE(self->p[1], self->out, 100, 0));
	/* A worker takes no signals, and neither does a thread that submits. */
	EXPECT_EQ(!variant->sqe_flags && !ring_is_polled(&self->io.r), sigpipe);
	prep(&self->io, IORING_OP_WRITE, self->p[1], self->out, 100, 0)->rw_flags = RWF_NOSIGNAL;
	EXPECT_EQ(-EPIPE, run(&self->io));
	EXPECT_EQ(!variant->sqe_flags && !ring_is_polled(&self->io.r), sigpipe);
}

/* Who must not wait does not, not even in a worker. */
TEST_F(rw_special, pipe_nowait)
{
	prep(&self->io, IORING_OP_READ, self->p[0], self->in, 100, 0)->rw_flags = RWF_NOWAIT;
	EXPECT_EQ(-EAGAIN, run(&self->io));
	ASSERT_EQ(100, write(self->p[1], self->out, 100));
	prep(&self->io, IORING_OP_READ, self->p[0], self->in, 100, 0)->rw_flags = RWF_NOWAIT;
	EXPECT_EQ(100, run(&self->io));
	ASSERT_EQ(PIPE, write(self->p[1], self->out, PIPE));
	prep(&self->io, IORING_OP_WRITE, self->p[1], self->out, 100, 0)->rw_flags = RWF_NOWAIT;
	EXPECT_EQ(-EAGAIN, run(&self->io));
}

TEST_F(rw_special, pipe_nonblocking)
{
	ASSERT_EQ(0, fcntl(self->p[0], F_SETFL, O_NONBLOCK));
	prep(&self->io, IORING_OP_READ, self->p[0], self->in, 100, 0);
	WAITS();
	ASSERT_EQ(100, write(self->p[1], self->out, 100));
	EXPECT_EQ(100, wait_result(&self->io));
}

TEST_F(rw_special, bad_memory)
{
	ASSERT_EQ(100, write(self->p[1], self->out, 100));
	EXPECT_EQ(-EFAULT, READ(self->p[0], (void *)8, 100, 0));
	EXPECT_EQ(100, READ(self->p[0], self->in, 100, 0));
	EXPECT_EQ(-EFAULT, WRITE(self->p[1], (void *)8, 100, 0));
	/* It goes away while the request waits. */
	prep(&self->io, IORING_OP_READ, self->p[0], self->in, 100, 0);
	WAITS();
	munmap(self->in, 2 * PIPE);
	ASSERT_EQ(100, write(self->p[1], self->out, 100));
	EXPECT_EQ(-EFAULT, wait_result(&self->io));
}

TEST_F(rw_special, devices)
{
	int zero = open("/dev/zero", O_RDWR), null = open("/dev/null", O_RDWR);
	int full = open("/dev/full", O_RDWR), rnd = open("/dev/urandom", O_RDONLY);
	struct iovec iov[2] = { { self->in, 100 }, { self->in + 5000, 60000 } };
	int i;

	memset(self->in, 'x', 2 * PIPE);
	EXPECT_EQ(2 * PIPE, READ(zero, self->in, 2 * PIPE, 0));
	for (i = 0; i < 2 * PIPE && !self->in[i]; i++)
		;
	EXPECT_EQ(2 * PIPE, i);
	EXPECT_EQ(60100, one(&self->io, IORING_OP_READV, zero, iov, 2, -1));
	EXPECT_EQ(-EFAULT, READ(zero, (void *)8, 100, 0));
	EXPECT_EQ(100, WRITE(zero, self->out, 100, 4711));
	EXPECT_EQ(0, READ(null, self->in, 100, 0));
	EXPECT_EQ(2 * PIPE, WRITE(null, self->out, 2 * PIPE, -1));
	EXPECT_EQ(60100, one(&self->io, IORING_OP_WRITEV, null, iov, 2, 0));
	/* Nobody looks at the data. */
	EXPECT_EQ(100, WRITE(null, (void *)8, 100, 0));
	EXPECT_EQ(100, READ(full, self->in, 100, 0));
	EXPECT_EQ(-ENOSPC, WRITE(full, self->out, 100, 0));
	EXPECT_EQ(4096, READ(rnd, self->in, 4096, 0));
	EXPECT_NE(0, memcmp(self->in, self->out, 4096));
}

TEST_F(rw_special, proc_and_sys)
{
	static const char *const paths[] = {
		"/proc/version", "/proc/self/limits", "/proc/cpuinfo", "/proc/mounts",
		"/proc/sys/kernel/osrelease", "/proc/self/cmdline", "/proc/self/auxv",
		"/sys/kernel/mm/transparent_hugepage/enabled",
	};
	unsigned int i;
	int fd, want;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		fd = open(paths[i], O_RDONLY);
		ASSERT_LE(0, fd);
		want = pread(fd, self->out, PIPE, 0);
		ASSERT_LT(10, want);
		EXPECT_EQ(want, READ(fd, self->in, PIPE, 0)) TH_LOG("%s", paths[i]);
		EXPECT_EQ(0, memcmp(self->in, self->out, want));
		EXPECT_EQ(want - 5, READ(fd, self->in, PIPE, 5));
		EXPECT_EQ(5, READ(fd, self->in, 5, -1));
		EXPECT_EQ(5, lseek(fd, 0, SEEK_CUR));
		EXPECT_EQ(0, READ(fd, self->in, PIPE, want));
		EXPECT_EQ(-EBADF, WRITE(fd, self->out, 1, 0));
		close(fd);
	}
	fd = open("/proc/self/oom_score_adj", O_RDWR);
	EXPECT_EQ(3, WRITE(fd, "500", 3, 0));
	EXPECT_EQ(4, READ(fd, self->in, 100, 0));
	EXPECT_EQ(0, memcmp(self->in, "500\n", 4));
	EXPECT_EQ(-EINVAL, WRITE(fd, "nix", 3, 0));
}

TEST_F(rw_special, eventfd)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t value = 0, add = 3;

	prep(&self->io, IORING_OP_READ, fd, &value, 8, 0);
	WAITS();
	ASSERT_EQ(8, write(fd, &add, 8));
	EXPECT_EQ(8, wait_result(&self->io));
	EXPECT_EQ(3, value);
	EXPECT_EQ(8, WRITE(fd, &add, 8, 0));
	EXPECT_EQ(8, WRITE(fd, &add, 8, -1));
	EXPECT_EQ(-EINVAL, READ(fd, &value, 7, 0));
	EXPECT_EQ(8, READ(fd, &value, 8, -1));
	EXPECT_EQ(6, value);
}

TEST_F(rw_special, timerfd)
{
	struct itimerspec ts = { .it_value.tv_nsec = 50000000 };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	uint64_t value = 0;

	prep(&self->io, IORING_OP_READ, fd, &value, 8, 0);
	WAITS();
	ASSERT_EQ(0, timerfd_settime(fd, 0, &ts, NULL));
	EXPECT_EQ(8, wait_result(&self->io));
	EXPECT_EQ(1, value);
	EXPECT_EQ(-EINVAL, WRITE(fd, &value, 8, 0));
}

TEST_F(rw_special, socket)
{
	int s[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	prep(&self->io, IORING_OP_READ, s[0], self->in, 1000, 0);
	WAITS();
	ASSERT_EQ(100, write(s[1], self->out, 100));
	EXPECT_EQ(100, wait_result(&self->io));
	EXPECT_EQ(0, memcmp(self->in, self->out, 100));
	EXPECT_EQ(100, WRITE(s[0], self->out, 100, -1));
	EXPECT_EQ(100, READ(s[1], self->in, 100, -1));
	EXPECT_EQ(-ESPIPE, WRITE(s[0], self->out, 100, 1));
	EXPECT_EQ(-ESPIPE, READ(s[0], self->in, 100, 1));
	prep(&self->io, IORING_OP_READ, s[0], self->in, 1000, 0);
	WAITS();
	shutdown(s[1], SHUT_WR);
	EXPECT_EQ(0, wait_result(&self->io));
}

TEST_F(rw_special, not_for_reading)
{
	int dir = open("/proc/self", O_RDONLY), mnt = open("/", O_PATH);
	int mem = memfd_create("x", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	EXPECT_EQ(-EBADF, READ(mnt, self->in, 100, 0));
	EXPECT_EQ(-EISDIR, READ(dir, self->in, 100, 0));
	EXPECT_EQ(100, WRITE(mem, self->out, 100, 0));
	ASSERT_EQ(0, fcntl(mem, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(-EPERM, WRITE(mem, self->out, 100, 0));
	EXPECT_EQ(100, READ(mem, self->in, 1000, 0));
}

/* Those who watch a file see what is done to it. */
TEST_F(rw_special, watched)
{
	const struct inotify_event *e = (void *)self->out;
	int fd, watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	fd = open("/tmp/files/watched", O_RDWR | O_CREAT, 0600);
	ASSERT_LE(0, fd);
	ASSERT_LE(0, inotify_add_watch(watch, "/tmp/files/watched", IN_ACCESS | IN_MODIFY));
	EXPECT_EQ(10, WRITE(fd, self->out, 10, 0));
	ASSERT_EQ(sizeof(*e), read(watch, self->out, 4096));
	EXPECT_EQ(IN_MODIFY, e->mask);
	EXPECT_EQ(10, READ(fd, self->in, 10, 0));
	ASSERT_EQ(sizeof(*e), read(watch, self->out, 4096));
	EXPECT_EQ(IN_ACCESS, e->mask);
	/* Whether it worked is another matter. */
	EXPECT_EQ(-EFAULT, WRITE(fd, (void *)8, 10, 0));
	ASSERT_EQ(sizeof(*e), read(watch, self->out, 4096));
	EXPECT_EQ(IN_MODIFY, e->mask);
	EXPECT_EQ(0, one(&self->io, IORING_OP_FALLOCATE, fd, (void *)4096, 0, 0));
	ASSERT_EQ(sizeof(*e), read(watch, self->out, 4096));
	EXPECT_EQ(IN_MODIFY, e->mask);
	/* The watch itself is read through the ring, too. */
	prep(&self->io, IORING_OP_READ, watch, self->out, 4096, 0);
	fcntl(watch, F_SETFL, 0);
	WAITS();
	ASSERT_EQ(1, pwrite(fd, "x", 1, 0));
	EXPECT_EQ(sizeof(*e), wait_result(&self->io));
	unlink("/tmp/files/watched");
}

FILES_MAIN
