// SPDX-License-Identifier: GPL-2.0
/* What a thread that submits has of its process: descriptors, credentials, directory, workers. */
#include "sqpoll.h"
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

FIXTURE(owner) {
	struct ring r;
};

BACKEND_VARIANTS(owner);

FIXTURE_SETUP(owner)
{
	ASSERT_EQ(0, sq_init(&self->r, variant->backend, 8, 0, SQ_IDLE_MS));
}

FIXTURE_TEARDOWN(owner)
{
	ring_exit(&self->r);
}

/* Lets the thread do one thing, and returns the result. */
static int one(struct ring *r, const struct io_uring_sqe *what)
{
	struct io_uring_cqe cqe;
	struct io_uring_sqe *sqe = ring_sqe(r);

	if (!sqe)
		return -ENOSPC;
	*sqe = *what;
	sqe->user_data = 4711;
	if (ring_submit(r, 1) != 1 || !cqes_come(r, 1) || !ring_cqe(r, &cqe) ||
	    cqe.user_data != 4711)
		return -EPROTO;
	return cqe.res;
}

static int open_path(struct ring *r, const char *path, int flags, int sqe_flags)
{
	return one(r, &(struct io_uring_sqe) {
		.opcode = IORING_OP_OPENAT, .flags = sqe_flags, .fd = AT_FDCWD,
		.addr = (unsigned long)path, .open_flags = flags, .len = flags & O_CREAT ? 0600 : 0,
	});
}

static int close_fd(struct ring *r, int fd)
{
	return one(r, &(struct io_uring_sqe) { .opcode = IORING_OP_CLOSE, .fd = fd });
}

TEST_F(owner, opens_and_closes_descriptors)
{
	struct ring *r = &self->r;
	int i, fd, free = lowest_fd();

	for (i = 0; i < 2; i++) {
		fd = open_path(r, "/proc/self/status", O_RDONLY | O_CLOEXEC, i ? IOSQE_ASYNC : 0);
		EXPECT_EQ(free, fd);
		EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
		EXPECT_EQ(0, close_fd(r, fd));
		EXPECT_EQ(-1, fcntl(fd, F_GETFD));
		EXPECT_EQ(-EBADF, close_fd(r, fd));
	}
	EXPECT_EQ(-EBADF, close_fd(r, r->fd));
	EXPECT_EQ(free, lowest_fd());
}

/* What it closes is closed, not just forgotten. */
TEST_F(owner, closed_files_are_gone)
{
	struct pollfd hup = { .events = POLLIN };
	struct ring *r = &self->r;
	int p[2];

	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	hup.fd = p[0];
	EXPECT_EQ(0, close_fd(r, p[1]));
	EXPECT_EQ(1, poll(&hup, 1, 30000));
	EXPECT_EQ(POLLHUP, hup.revents);
	close(p[0]);
	/* Also if it is a request that had it last. */
	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	hup.fd = p[0];
	ASSERT_TRUE(sq_falls_asleep(r));
	ring_nop(r, 1)->opcode = IORING_OP_WRITE;
	r->sqes[(r->sqe_tail - 1) & (r->p.sq_entries - 1)].fd = p[1];
	r->sqes[(r->sqe_tail - 1) & (r->p.sq_entries - 1)].addr = (unsigned long)"x";
	r->sqes[(r->sqe_tail - 1) & (r->p.sq_entries - 1)].len = 1;
	ASSERT_EQ(1, ring_submit(r, 1));
	ASSERT_TRUE(cqes_come(r, 1));
	ring_seen(r, 1);
	close(p[1]);
	ASSERT_EQ(1, read(p[0], &(char) { 0 }, 1));
	EXPECT_EQ(0, read(p[0], &(char) { 0 }, 1));
	close(p[0]);
}

TEST_F(owner, moves_files_between_tables)
{
	struct ring *r = &self->r;
	int event = eventfd(0, EFD_CLOEXEC), none = -1, fd, fds[2] = { event, -1 };
	uint64_t value = 17;

	ASSERT_EQ(0, ring_register(r, IORING_REGISTER_FILES, (int[]) { -1, -1 }, 2));
	EXPECT_EQ(2, one(r, &(struct io_uring_sqe) {
		.opcode = IORING_OP_FILES_UPDATE, .addr = (unsigned long)fds, .len = 2 }));
	fd = one(r, &(struct io_uring_sqe) {
		.opcode = IORING_OP_FIXED_FD_INSTALL, .flags = IOSQE_FIXED_FILE, .fd = 0 });
	ASSERT_LT(event, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	ASSERT_EQ(8, write(fd, &value, 8));
	value = 0;
	EXPECT_EQ(8, one(r, &(struct io_uring_sqe) {
		.opcode = IORING_OP_READ, .flags = IOSQE_FIXED_FILE,
		.addr = (unsigned long)&value, .len = 8 }));
	EXPECT_EQ(17, value);
	EXPECT_EQ(1, one(r, &(struct io_uring_sqe) {
		.opcode = IORING_OP_FILES_UPDATE, .addr = (unsigned long)&none, .len = 1 }));
	EXPECT_EQ(0, close_fd(r, fd));
	close(event);
}

/* Those of the thread are the process' own, not a copy of what there was. */
TEST_F(owner, sees_later_descriptors)
{
	int event = eventfd(3, EFD_CLOEXEC);
	uint64_t value = 0;

	EXPECT_EQ(8, one(&self->r, &(struct io_uring_sqe) {
		.opcode = IORING_OP_READ, .fd = event, .addr = (unsigned long)&value, .len = 8 }));
	EXPECT_EQ(3, value);
	close(event);
	EXPECT_EQ(-EBADF, one(&self->r, &(struct io_uring_sqe) {
		.opcode = IORING_OP_READ, .fd = event, .addr = (unsigned long)&value, .len = 8 }));
}

TEST_F(owner, follows_the_directory)
{
	char dir[] = "/tmp/sqpoll-XXXXXX", path[64];
	int i, fd;

	ASSERT_NE(NULL, mkdtemp(dir));
	ASSERT_EQ(0, chdir(dir));
	umask(0);
	for (i = 0; i < 2; i++) {
		struct stat st;

		fd = open_path(&self->r, "file", O_CREAT | O_EXCL | O_WRONLY, i ? IOSQE_ASYNC : 0);
		ASSERT_LE(0, fd);
		close(fd);
		snprintf(path, sizeof(path), "%s/file", dir);
		ASSERT_EQ(0, stat(path, &st));
		EXPECT_EQ(0600, st.st_mode & 0777);
		unlink(path);
	}
	ASSERT_EQ(0, chdir("/"));
	EXPECT_EQ(0, rmdir(dir));
}

/* Who set up the ring counts, not what became of it. */
TEST_F(owner, has_the_credentials_of_the_creator)
{
	char path[] = "/tmp/sqpoll-XXXXXX";
	int status, fd = mkstemp(path);
	pid_t child;

	ASSERT_LE(0, fd);
	fchmod(fd, 0600);
	close(fd);
	child = fork();
	if (!child) {
		struct ring before, after;
		int i;

		if (sq_init(&before, variant->backend, 8, 0, SQ_IDLE_MS))
			_exit(1);
		chmod("/dev/rust_uring", 0666);
		if (setresuid(4711, 4711, 4711))
			_exit(2);
		if (sq_init(&after, variant->backend, 8, 0, SQ_IDLE_MS))
			_exit(3);
		for (i = 0; i < 2; i++) {
			int flags = i ? IOSQE_ASYNC : 0;

			if (open(path, O_RDWR) != -1 || errno != EACCES)
				_exit(4);
			if (open_path(&before, path, O_RDWR, flags) < 0)
				_exit(5);
			if (open_path(&after, path, O_RDWR, flags) != -EACCES)
				_exit(6);
		}
		/* A thread that is shared has those of each ring. */
		ring_exit(&after);
		if (sq_attach(&after, &before, 8, 0) || sq_thread(&after) != sq_thread(&before))
			_exit(7);
		for (i = 0; i < 4; i++) {
			int flags = i & 1 ? IOSQE_ASYNC : 0;

			if (open_path(&after, path, O_RDWR, flags) != -EACCES)
				_exit(8);
			if (open_path(&before, path, O_RDWR, flags) < 0)
				_exit(9);
		}
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status) TH_LOG("step %d", WEXITSTATUS(status));
	unlink(path);
}

TEST_F(owner, personality)
{
	char path[] = "/tmp/sqpoll-XXXXXX";
	int fd = mkstemp(path), id, ret;
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (unsigned long)path,
		.open_flags = O_RDWR,
	};

	ASSERT_LE(0, fd);
	fchmod(fd, 0600);
	close(fd);
	ASSERT_EQ(0, seteuid(4711));
	id = ring_register(&self->r, IORING_REGISTER_PERSONALITY, NULL, 0);
	ASSERT_EQ(0, seteuid(0));
	ASSERT_LT(0, id);
	ret = one(&self->r, &sqe);
	EXPECT_LE(0, ret);
	close(ret);
	sqe.personality = id;
	EXPECT_EQ(-EACCES, one(&self->r, &sqe));
	sqe.flags = IOSQE_ASYNC;
	EXPECT_EQ(-EACCES, one(&self->r, &sqe));
	sqe.personality = id + 1;
	EXPECT_EQ(-EINVAL, one(&self->r, &sqe));
	unlink(path);
}

/* Completions show up, though the thread sleeps and nobody enters. */
TEST_F(owner, completions_come_by_themselves)
{
	struct ring *r = &self->r;
	struct io_uring_cqe cqe;
	char text[8] = "";
	int p[2], i;

	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	for (i = 0; i < 10; i++) {
		struct io_uring_sqe *sqe = ring_nop(r, i);

		sqe->opcode = IORING_OP_READ;
		sqe->fd = p[0];
		sqe->addr = (unsigned long)text;
		sqe->len = sizeof(text);
		ASSERT_EQ(1, ring_submit(r, 0));
		ASSERT_TRUE(sq_falls_asleep(r));
		EXPECT_EQ(0, ring_ready(r));
		ASSERT_EQ(3, write(p[1], "abc", 3));
		ASSERT_TRUE(cqes_come(r, 1));
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
		EXPECT_EQ(3, cqe.res);
		ASSERT_TRUE(sq_falls_asleep(r));
		ASSERT_EQ(0, send_msg(variant->backend, r->fd, 100 + i, i));
		ASSERT_TRUE(cqes_come(r, 1));
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(100 + i, cqe.user_data);
	}
}

TEST_HARNESS_MAIN
