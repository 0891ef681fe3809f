// SPDX-License-Identifier: GPL-2.0
/* Buffered reads of what is not in the page cache: they wait for the disk without a thread each. */
#include "files.h"
#include <dirent.h>
#include "kselftest_harness.h"

#define SIZE	(2 << 20)
#define MANY	64
#define MAX	20000		/* bytes of one read */

FIXTURE(cold) {
	struct io io;
	struct ring *r;
	int fd;
	char *in, *out;
};

RING_VARIANTS(cold);

FIXTURE_SETUP(cold)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, MANY, variant->flags, 0));
	self->r = &self->io.r;
	self->fd = new_file(0, SIZE);
	ASSERT_LE(0, self->fd);
	self->in = pages(MANY * MAX);
	self->out = pages(SIZE);
	fill(self->out, SIZE, 7);
	ASSERT_EQ(SIZE, pwrite(self->fd, self->out, SIZE, 0));
	ASSERT_EQ(0, fsync(self->fd));
	/* No reading ahead: each one is to find nothing. */
	ASSERT_EQ(0, posix_fadvise(self->fd, 0, 0, POSIX_FADV_RANDOM));
	ASSERT_EQ(0, posix_fadvise(self->fd, 0, 0, POSIX_FADV_DONTNEED));
}

FIXTURE_TEARDOWN(cold)
{
	close(self->fd);
	if (self->r->fd >= 0)
		ring_exit(self->r);
}

static unsigned int offset(unsigned int i)
{
	return (i * 40503u * 4099u) % (SIZE - MAX);
}

static unsigned int length(unsigned int i)
{
	return 1 + (i * 7919u) % (MAX - 1);
}

#define DEST(i)	(self->in + (i) * MAX)

/* MANY reads here and there, submitted at once. */
static int submit_many(struct io *io, int fd, char *in, unsigned int wait)
{
	int i;

	for (i = 0; i < MANY; i++)
		prep(io, IORING_OP_READ, fd, in + i * MAX, length(i), offset(i))->user_data = i;
	return ring_submit(&io->r, wait);
}

/* How many of them are not right. */
static int bad(struct ring *r, const char *in, const char *out)
{
	bool seen[MANY] = {};
	struct io_uring_cqe cqe;
	int wrong = 0, i;

	for (i = 0; i < MANY; i++) {
		if (!ring_cqe(r, &cqe) || cqe.user_data >= MANY || seen[cqe.user_data])
			return MANY;
		seen[cqe.user_data] = true;
		if (cqe.res != (int)length(cqe.user_data) ||
		    memcmp(in + cqe.user_data * MAX, out + offset(cqe.user_data), cqe.res))
			wrong++;
	}
	return wrong;
}

/* Threads of this process, but for the one that asks. */
static int threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int nr = -1;

	while (dir && (entry = readdir(dir)))
		nr += entry->d_name[0] != '.';
	closedir(dir);
	return nr;
}

TEST_F(cold, one)
{
	ASSERT_EQ(5000, one(&self->io, IORING_OP_READ, self->fd, self->in, 5000, 123456));
	EXPECT_EQ(0, memcmp(self->in, self->out + 123456, 5000));
	/* What was read is there now. */
	ASSERT_EQ(5000, one(&self->io, IORING_OP_READ, self->fd, self->in, 5000, 123456));
	EXPECT_EQ(0, memcmp(self->in, self->out + 123456, 5000));
}

TEST_F(cold, own_position)
{
	lseek(self->fd, 1000000, SEEK_SET);
	ASSERT_EQ(MAX, one(&self->io, IORING_OP_READ, self->fd, self->in, MAX, -1));
	EXPECT_EQ(0, memcmp(self->in, self->out + 1000000, MAX));
	EXPECT_EQ(1000000 + MAX, lseek(self->fd, 0, SEEK_CUR));
}

TEST_F(cold, in_pieces)
{
	struct iovec iov[3] = {
		{ self->in, 5 }, { self->in + 10, 9000 }, { self->in + 20000, 123 },
	};

	ASSERT_EQ(9128, one(&self->io, IORING_OP_READV, self->fd, iov, 3, 777777));
	EXPECT_EQ(0, memcmp(self->in, self->out + 777777, 5));
	EXPECT_EQ(0, memcmp(self->in + 10, self->out + 777782, 9000));
	EXPECT_EQ(0, memcmp(self->in + 20000, self->out + 786782, 123));
}

TEST_F(cold, into_registered_memory)
{
	struct iovec iov = { self->in, MANY * MAX };
	struct io_uring_sqe *sqe;

	ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_BUFFERS, &iov, 1));
	sqe = prep(&self->io, IORING_OP_READ_FIXED, self->fd, self->in + 100, MAX, 4097);
	sqe->buf_index = 0;
	ASSERT_EQ(MAX, run(&self->io));
	EXPECT_EQ(0, memcmp(self->in + 100, self->out + 4097, MAX));
}

TEST_F(cold, at_the_end)
{
	off_t end = lseek(self->fd, 0, SEEK_END);

	if (place == BLOCK)
		SKIP(return, "the device does not end where the data does");
	EXPECT_EQ(10, one(&self->io, IORING_OP_READ, self->fd, self->in, MAX, end - 10));
	EXPECT_EQ(0, memcmp(self->in, self->out + end - 10, 10));
	EXPECT_EQ(0, one(&self->io, IORING_OP_READ, self->fd, self->in, MAX, end));
}

/* Where there would have to be a thread for each, there is one at most, kept for the worst case. */
TEST_F(cold, many_and_no_threads)
{
	int before = threads();

	ASSERT_EQ(MANY, submit_many(&self->io, self->fd, self->in, 0));
	EXPECT_TRUE(place == TMPFS || before + 1 >= threads());
	ASSERT_EQ(0, ring_enter(self->r, 0, MANY, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, bad(self->r, self->in, self->out));
	EXPECT_TRUE(place == TMPFS || before + 1 >= threads());
}

/* Some pages may be there whatever was advised, on the device that others use, too. */
TEST_F(cold, no_waiting_if_told_so)
{
	struct io_uring_sqe *sqe;
	int i, res, refused = 0;

	if (place == TMPFS)
		SKIP(return, "nothing is ever cold there");
	for (i = 0; i < MANY; i++) {
		sqe = prep(&self->io, IORING_OP_READ, self->fd, self->in, length(i), offset(i));
		sqe->rw_flags = RWF_NOWAIT;
		res = run(&self->io);
		refused += res == -EAGAIN;
		EXPECT_TRUE(res == -EAGAIN ||
			    (res > 0 && !memcmp(self->in, self->out + offset(i), res)));
	}
	EXPECT_LT(0, refused);
}

/* Nobody is in the kernel for the ring when the pages arrive. */
TEST_F(cold, unattended)
{
	struct pollfd pfd = { .fd = self->r->fd, .events = POLLIN };
	uint64_t limit;

	ASSERT_EQ(MANY, submit_many(&self->io, self->fd, self->in, 0));
	ASSERT_EQ(1, poll(&pfd, 1, 30000));
	limit = now_ns(CLOCK_MONOTONIC) + 30000000000ull;
	while (ring_ready(self->r) < MANY && now_ns(CLOCK_MONOTONIC) < limit) {
		if (variant->flags & IORING_SETUP_DEFER_TASKRUN)
			ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
		usleep(1000);
	}
	EXPECT_EQ(0, bad(self->r, self->in, self->out));
}

/* Another process waits; the data comes to the one that asked for it. */
TEST_F(cold, attended_by_another_process)
{
	int status;
	pid_t pid;

	if (variant->flags & IORING_SETUP_DEFER_TASKRUN)
		SKIP(return, "only its submitter can wait for such a ring");
	ASSERT_EQ(MANY, submit_many(&self->io, self->fd, self->in, 0));
	pid = fork();
	if (!pid)
		_exit(ring_enter(self->r, 0, MANY, IORING_ENTER_GETEVENTS) ? 1 : 0);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, bad(self->r, self->in, self->out));
}

TEST_F(cold, truncated_meanwhile)
{
	struct io_uring_cqe cqe;
	int i;

	if (place == BLOCK)
		SKIP(return, "a device is not truncated");
	ASSERT_EQ(MANY, submit_many(&self->io, self->fd, self->in, 0));
	ASSERT_EQ(0, ftruncate(self->fd, 0));
	ASSERT_EQ(0, ring_enter(self->r, 0, MANY, IORING_ENTER_GETEVENTS));
	for (i = 0; i < MANY; i++) {
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		EXPECT_LE(0, cqe.res);
		EXPECT_GE(length(cqe.user_data), cqe.res);
	}
}

TEST_F(cold, closed_meanwhile)
{
	unsigned int flags = self->r->p.flags;
	int i;

	for (i = 0; i < 20; i++) {
		posix_fadvise(self->fd, 0, 0, POSIX_FADV_DONTNEED);
		ASSERT_EQ(MANY, submit_many(&self->io, self->fd, self->in, 0));
		ring_exit(self->r);
		ASSERT_EQ(0, io_init(&self->io, variant->backend, MANY, flags, 0));
	}
}

TEST_F(cold, killed_meanwhile)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < 20; i++) {
		posix_fadvise(self->fd, 0, 0, POSIX_FADV_DONTNEED);
		pid = fork();
		if (!pid) {
			struct io io;

			if (io_init(&io, variant->backend, MANY, variant->flags, 0) ||
			    submit_many(&io, self->fd, self->in, i % 2 ? i : 0) != MANY)
				_exit(1);
			raise(SIGKILL);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(SIGKILL, WTERMSIG(status));
	}
}

FILES_MAIN
