// SPDX-License-Identifier: GPL-2.0
/*
 * Workers and the process that they are of: how they come to be, whose
 * descriptors they use, their end.
 */
#include "files.h"
#include <pthread.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define ROUNDS	20

FIXTURE(life) {
	int p[2];
	struct io io;
};

BACKEND_VARIANTS(life);

FIXTURE_SETUP(life)
{
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC));
}

FIXTURE_TEARDOWN(life)
{
}

/* A ring whose first request is for a worker that there is not yet. Returns the result. */
static int first_request(enum backend backend, const int *p)
{
	struct io_uring_cqe cqe = { .res = -EBADE };
	struct io io;
	char c = 'x';

	if (io_init(&io, backend, 8, 0, IOSQE_ASYNC) || write(p[1], &c, 1) != 1)
		return -EBADE;
	prep(&io, IORING_OP_READ, p[0], &c, 1, 0);
	if (ring_submit(&io.r, 0) == 1) {
		/* Signals may end the wait. */
		while (!ring_ready(&io.r))
			ring_enter(&io.r, 0, 1, IORING_ENTER_GETEVENTS);
		ring_cqe(&io.r, &cqe);
	}
	if (cqe.res != 1)
		printf("# result %d\n", cqe.res);
	ring_exit(&io.r);
	return cqe.res;
}

static void on_alarm(int sig)
{
}

/* A signal that is there already is for later. */
TEST_F_TIMEOUT(life, begins_with_a_signal, 120)
{
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	struct itimerval often = { .it_value.tv_usec = 300, .it_interval.tv_usec = 300 };
	int status, i, n;
	pid_t child;

	for (i = 0; i < ROUNDS; i++) {
		child = fork();
		if (!child) {
			sigaction(SIGALRM, &sa, NULL);
			setitimer(ITIMER_REAL, &often, NULL);
			n = first_request(variant->backend, self->p);
			setitimer(ITIMER_REAL, &(struct itimerval) {}, NULL);
			_exit(n != 1);
		}
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_EQ(0, status);
	}
}

struct executor {
	char path[64];
	bool over;
};

/* Executes what is no program, over and over. */
static void *execute(void *arg)
{
	struct executor *e = arg;
	char *argv[2] = { e->path };

	while (!__atomic_load_n(&e->over, __ATOMIC_RELAXED)) {
		execve(e->path, argv, argv);
		if (errno != ENOEXEC)
			return "something else";
	}
	return NULL;
}

/* Another thread that is about to leave, but then stays. */
TEST_F_TIMEOUT(life, begins_while_another_executes, 120)
{
	struct executor e = { .path = "/tmp/worker-life.XXXXXX" };
	int fd = mkstemp(e.path), i;
	pthread_t thread;
	void *error;

	ASSERT_LE(0, fd);
	ASSERT_EQ(8, write(fd, "no code\n", 8));
	ASSERT_EQ(0, fchmod(fd, 0700));
	close(fd);
	ASSERT_EQ(0, pthread_create(&thread, NULL, execute, &e));
	for (i = 0; i < ROUNDS; i++)
		EXPECT_EQ(1, first_request(variant->backend, self->p));
	__atomic_store_n(&e.over, true, __ATOMIC_RELAXED);
	ASSERT_EQ(0, pthread_join(thread, &error));
	EXPECT_EQ(NULL, error);
	unlink(e.path);
}

/* The last thread ends alone, without a word to the others. What is left serves nobody. */
TEST_F_TIMEOUT(life, ends_with_the_last_thread, 120)
{
	int status, i, n = 0;
	pid_t child = fork();

	if (!child) {
		if (first_request(variant->backend, self->p) != 1)
			_exit(1);
		/* And one that has something to do. */
		if (io_init(&self->io, variant->backend, 8, 0, IOSQE_ASYNC))
			_exit(2);
		prep(&self->io, IORING_OP_READ, self->p[0], &status, 1, 0);
		if (ring_submit(&self->io.r, 0) != 1)
			_exit(3);
		syscall(SYS_exit, 0);
	}
	for (i = 0; i < 6000 && !n; i++) {
		n = waitpid(child, &status, WNOHANG);
		usleep(10000);
	}
	EXPECT_EQ(child, n);
	if (!n) {
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
	}
	EXPECT_EQ(0, status);
}

struct opener {
	enum backend backend;
	bool unshare;
	int fd;
};

/* Opens a file by a worker, into a descriptor. */
static void *open_async(void *arg)
{
	struct opener *o = arg;
	struct io_uring_cqe cqe;
	struct io io;

	if (o->unshare && unshare(CLONE_FILES))
		return "unshare";
	if (io_init(&io, o->backend, 8, 0, IOSQE_ASYNC))
		return "setup";
	prep(&io, IORING_OP_OPENAT, AT_FDCWD, "/dev/null", 0, 0)->open_flags = O_RDWR | O_CLOEXEC;
	if (ring_submit(&io.r, 1) != 1 || !ring_cqe(&io.r, &cqe))
		return "submit";
	o->fd = cqe.res;
	ring_exit(&io.r);
	return o->fd < 0 || write(o->fd, "x", 1) != 1 ? "no descriptor" : NULL;
}

/* Descriptors are those of the thread that asks, which need not be those of all. */
TEST_F(life, opens_for_its_thread)
{
	struct opener o[2] = {
		{ .backend = variant->backend },
		{ .backend = variant->backend, .unshare = true },
	};
	struct opener own = { .backend = variant->backend };
	long lowest = lowest_fd();
	pthread_t thread;
	void *error;
	int i;

	/* There are workers for the others' already. */
	EXPECT_EQ(NULL, open_async(&own));
	EXPECT_LE(0, fcntl(own.fd, F_GETFD));
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, pthread_create(&thread, NULL, open_async, &o[i]));
		ASSERT_EQ(0, pthread_join(thread, &error));
		EXPECT_EQ(NULL, error);
	}
	EXPECT_LE(0, fcntl(o[0].fd, F_GETFD));
	EXPECT_EQ(-1, fcntl(o[1].fd, F_GETFD));
	close(own.fd);
	close(o[0].fd);
	EXPECT_EQ(lowest, lowest_fd());
}

/* A table that grows again and again while its owner uses it without a count. */
TEST_F_TIMEOUT(life, opens_more_than_there_is_room_for, 120)
{
	struct rlimit limit = { 2500, 2500 };
	struct io_uring_cqe cqe;
	int status, i;
	pid_t child = fork();

	if (!child) {
		setrlimit(RLIMIT_NOFILE, &limit);
		if (io_init(&self->io, variant->backend, 64, 0, IOSQE_ASYNC))
			_exit(1);
		for (i = 0; i < 2048; i++) {
			prep(&self->io, IORING_OP_OPENAT, AT_FDCWD, "/dev/null", 0, 0)->open_flags =
				O_RDWR;
			if (ring_submit(&self->io.r, 0) != 1)
				_exit(2);
			do {
				/* Something that looks at the table. */
				if (fcntl(self->p[0], F_GETFD) < 0)
					_exit(3);
			} while (!ring_ready(&self->io.r));
			if (!ring_cqe(&self->io.r, &cqe) || cqe.res < 0)
				_exit(4);
		}
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/* Memory that nobody fills: who touches it waits, for us or for death. */
static char *unfilled(int *uffd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	reg.range = (struct uffdio_range) { (unsigned long)p, 4096 };
	if (p == MAP_FAILED || *uffd < 0 || ioctl(*uffd, UFFDIO_API, &api) ||
	    ioctl(*uffd, UFFDIO_REGISTER, &reg))
		return NULL;
	return p;
}

/*
 * A worker waits for memory of a process that is killed, while others have the
 * ring: it must not stay, and keep the memory, for as long as they do.
 */
TEST_F_TIMEOUT(life, waits_for_memory_of_the_dead, 120)
{
	int status, fd, uffd, pidfd, go[2], i;
	struct io_uring_cqe cqe;
	char *buf;
	pid_t child;

	fd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd < 0)
		SKIP(return, "the kernel has no userfaultfd");
	close(fd);
	fd = memfd_create("data", MFD_CLOEXEC);
	ASSERT_EQ(4096, pwrite(fd, pages(4096), 4096, 0));
	ASSERT_EQ(0, pipe2(go, O_CLOEXEC));
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, 0, IOSQE_ASYNC));
	child = fork();
	if (!child) {
		buf = unfilled(&uffd);
		if (!buf)
			_exit(1);
		prep(&self->io, IORING_OP_READ, fd, buf, 4096, 0);
		if (ring_submit(&self->io.r, 0) != 1 || write(go[1], &uffd, 4) != 4)
			_exit(2);
		pause();
	}
	ASSERT_EQ(4, read(go[0], &uffd, 4));
	/* It is ours as well, so that the end of the process does not fill anything. */
	pidfd = syscall(SYS_pidfd_open, child, 0);
	ASSERT_LE(0, pidfd);
	uffd = syscall(SYS_pidfd_getfd, pidfd, uffd, 0);
	ASSERT_LE(0, uffd);
	usleep(300000);
	EXPECT_EQ(0, ring_ready(&self->io.r));
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	for (i = 0; i < 3000 && !ring_ready(&self->io.r); i++) {
		usleep(10000);
		ASSERT_EQ(0, ring_enter(&self->io.r, 0, 0, IORING_ENTER_GETEVENTS));
	}
	ASSERT_TRUE(ring_cqe(&self->io.r, &cqe));
	EXPECT_GT(0, cqe.res) TH_LOG("result %d", cqe.res);
	ring_exit(&self->io.r);
	close(uffd);
	close(fd);
}

TEST_HARNESS_MAIN
