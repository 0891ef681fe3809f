// SPDX-License-Identifier: GPL-2.0
/* The threads that run what would block: how many, for how long, and what interrupts them. */
#include "files.h"
#include <dirent.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define MANY	32
#define BLOCKED	10000
#define SEC	1000000000ull

/* Whether the workers are threads of the kernel. */
static bool of_the_kernel;

FIXTURE(worker) {
	struct io io;
	struct ring *r;
	int p[2];
};

RING_VARIANTS(worker);

FIXTURE_SETUP(worker)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, MANY, variant->flags, IOSQE_ASYNC));
	self->r = &self->io.r;
	of_the_kernel = ring_has_kernel_workers(self->r);
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC));
}

FIXTURE_TEARDOWN(worker)
{
	ring_exit(self->r);
}

static int max_workers(struct ring *r, unsigned int bounded, unsigned int unbounded,
		       unsigned int *old)
{
	old[0] = bounded;
	old[1] = unbounded;
	return ring_register(r, IORING_REGISTER_IOWQ_MAX_WORKERS, old, 2);
}

/* Threads of the kernel that work for this process. */
static int kernel_threads(void)
{
	DIR *dir = opendir("/proc");
	char path[300], name[32], want[32];
	struct dirent *entry;
	int fd, n, nr = 0;

	snprintf(want, sizeof(want), "rust_uring/%d\n", getpid());
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		n = read(fd, name, sizeof(name) - 1);
		close(fd);
		name[n > 0 ? n : 0] = 0;
		nr += !strcmp(name, want);
	}
	closedir(dir);
	return nr;
}

/* Threads of this process, but for the one that asks, or those that work for it. */
static int threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int nr = -1;

	while (dir && (entry = readdir(dir)))
		nr += entry->d_name[0] != '.';
	closedir(dir);
	return nr + (of_the_kernel ? kernel_threads() : 0);
}

/* Waits until there are no more than so many; tells how many there are. */
static int threads_fall_to(int nr, int seconds)
{
	int i;

	for (i = 0; i < seconds * 100 && threads() > nr; i++)
		usleep(10000);
	return threads();
}

TEST_F(worker, limits)
{
	unsigned int was[2], is[2];

	EXPECT_EQ(0, max_workers(self->r, 0, 0, was));
	EXPECT_LT(0, was[0]);
	EXPECT_LT(0, was[1]);
	EXPECT_EQ(0, max_workers(self->r, 2, 3, is));
	EXPECT_EQ(was[0], is[0]);
	EXPECT_EQ(was[1], is[1]);
	EXPECT_EQ(0, max_workers(self->r, 0, 5, is));
	EXPECT_EQ(2, is[0]);
	EXPECT_EQ(3, is[1]);
	EXPECT_EQ(0, max_workers(self->r, 0, 0, is));
	EXPECT_EQ(2, is[0]);
	EXPECT_EQ(5, is[1]);
	EXPECT_EQ(-EINVAL, max_workers(self->r, 1u << 31, 1, is));
	EXPECT_EQ(-EINVAL, max_workers(self->r, 1, -1u, is));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_IOWQ_MAX_WORKERS, is, 1));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_IOWQ_MAX_WORKERS, is, 3));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_IOWQ_MAX_WORKERS, NULL, 2));
	EXPECT_EQ(-EFAULT, ring_register(self->r, IORING_REGISTER_IOWQ_MAX_WORKERS, (void *)8, 2));
}

/* Opens of pipes that nobody writes to: as many at a time as there may be threads. */
TEST_F(worker, no_more_than_allowed)
{
	int i, fd, before = threads();
	struct io_uring_cqe cqe;
	char path[4][64];
	unsigned int old[2];

	if (of_the_kernel)
		SKIP(return, "the submitter opens, and does not wait for the other end");
	ASSERT_EQ(0, max_workers(self->r, 1, 1, old));
	for (i = 0; i < 4; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/fifo.%d.%d", files_dir, getpid(), i);
		ASSERT_EQ(0, mkfifo(path[i], 0600));
		prep(&self->io, IORING_OP_OPENAT, AT_FDCWD, path[i], 0, 0)->user_data = i;
	}
	ASSERT_EQ(4, ring_submit(self->r, 0));
	usleep(100000);
	EXPECT_GE(before + 1, threads());
	/* They come in turn. */
	for (i = 0; i < 4; i++) {
		fd = open(path[i], O_WRONLY);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS));
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
		EXPECT_LE(0, cqe.res);
		close(cqe.res);
		close(fd);
		EXPECT_GE(before + 1, threads());
	}
}

/* The one CPU that all other threads of this process are bound to; -1 if they are not. */
static int bound_to(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int cpu = -2, tid;
	cpu_set_t set;

	while (dir && (entry = readdir(dir))) {
		tid = atoi(entry->d_name);
		if (!tid || tid == gettid())
			continue;
		if (sched_getaffinity(tid, sizeof(set), &set) || CPU_COUNT(&set) != 1)
			cpu = -1;
		else if (cpu == -2)
			cpu = CPU_ISSET(0, &set) ? 0 : CPU_ISSET(1, &set) ? 1 : -1;
		else if (!CPU_ISSET(cpu, &set))
			cpu = -1;
	}
	closedir(dir);
	return cpu;
}

static int bind_workers(struct ring *r, unsigned long mask)
{
	return ring_register(r, IORING_REGISTER_IOWQ_AFF, &mask, sizeof(mask));
}

TEST_F(worker, affinity)
{
	char path[64];
	cpu_set_t set;
	int fd, i;

	if (variant->flags & IORING_SETUP_SQPOLL)
		SKIP(return, "the workers are not told from the thread that submits");
	if (of_the_kernel)
		SKIP(return, "the submitter opens, and does not wait for the other end");
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_IOWQ_AFF, NULL, 8));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_IOWQ_AFF, &set, 0));
	EXPECT_EQ(-EFAULT, ring_register(self->r, IORING_REGISTER_IOWQ_AFF, (void *)8, 8));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_UNREGISTER_IOWQ_AFF, &set, 0));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_UNREGISTER_IOWQ_AFF, NULL, 8));
	EXPECT_EQ(0, ring_register(self->r, IORING_UNREGISTER_IOWQ_AFF, NULL, 0));
	/* No CPU at all is no error, and CPUs that there cannot be are not looked at. */
	EXPECT_EQ(0, bind_workers(self->r, 0));
	EXPECT_EQ(0, bind_workers(self->r, 3 | 1ul << 40));

	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, bind_workers(self->r, 1 << i));
		snprintf(path, sizeof(path), "%s/cpu.%d.%d", files_dir, getpid(), i);
		ASSERT_EQ(0, mkfifo(path, 0600));
		prep(&self->io, IORING_OP_OPENAT, AT_FDCWD, path, 0, 0);
		ASSERT_EQ(1, ring_submit(self->r, 0));
		for (fd = 0; fd < 1000 && bound_to() != i; fd++)
			usleep(1000);
		EXPECT_EQ(i, bound_to());
		fd = open(path, O_WRONLY);
		ASSERT_LE(0, fd);
		close(wait_result(&self->io));
		close(fd);
		/* Natively those that there are stay where they are. */
		if (variant->backend == NATIVE)
			break;
	}
	if (variant->backend == DEVICE) {
		CPU_ZERO(&set);
		CPU_SET(0, &set);
		ASSERT_EQ(0, sched_setaffinity(0, sizeof(set), &set));
		EXPECT_EQ(-EINVAL, bind_workers(self->r, 2));
		EXPECT_EQ(-EINVAL, bind_workers(self->r, 3));
		EXPECT_EQ(1, bound_to());
		EXPECT_EQ(0, ring_register(self->r, IORING_UNREGISTER_IOWQ_AFF, NULL, 0));
		EXPECT_EQ(0, bound_to());
	}
}

static void many_reads(struct io *io, int fd, char *buf)
{
	int i;

	for (i = 0; i < MANY; i++)
		prep(io, IORING_OP_READ, fd, buf + i, 1, 0)->user_data = i;
}

TEST_F(worker, all_get_their_turn)
{
	bool seen[MANY] = {};
	struct io_uring_cqe cqe;
	char buf[MANY], out[MANY] = {};
	int i;

	many_reads(&self->io, self->p[0], buf);
	ASSERT_EQ(MANY, ring_submit(self->r, 0));
	usleep(50000);
	ASSERT_EQ(0, ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, ring_ready(self->r));
	ASSERT_EQ(MANY, write(self->p[1], out, MANY));
	ASSERT_EQ(0, ring_enter(self->r, 0, MANY, IORING_ENTER_GETEVENTS));
	for (i = 0; i < MANY; i++) {
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		EXPECT_EQ(1, cqe.res);
		ASSERT_GT(MANY, cqe.user_data);
		EXPECT_FALSE(seen[cqe.user_data]);
		seen[cqe.user_data] = true;
	}
}

/* The end of the ring ends what runs, and what waits to be run. */
TEST_F(worker, end_of_the_ring)
{
	struct pollfd pfd = { .fd = self->p[1] };
	unsigned int old[2];
	char buf[MANY];

	ASSERT_EQ(0, max_workers(self->r, 4, 4, old));
	many_reads(&self->io, self->p[0], buf);
	ASSERT_EQ(MANY, ring_submit(self->r, 0));
	usleep(50000);
	close(self->p[0]);
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	ring_exit(self->r);
	/* Nobody reads any more. */
	EXPECT_EQ(1, poll(&pfd, 1, 30000));
	EXPECT_EQ(POLLERR, pfd.revents);
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, variant->flags, IOSQE_ASYNC));
}

/* As many as there may ever be: no more threads than the ceiling, and all end with the ring. */
TEST_F_TIMEOUT(worker, ten_thousand_blocked, 120)
{
	const char *kernel = getenv("RUST_URING_KERNEL");
	bool slow = kernel && strcmp(kernel, "stock");
	struct pollfd pfd = { .fd = self->p[1] };
	int i, before = threads();
	unsigned int was[2];
	struct io io;
	uint64_t end;
	char *buf;

	ASSERT_EQ(0, max_workers(self->r, 0, 0, was));
	ASSERT_EQ(0, io_init(&io, variant->backend, BLOCKED, variant->flags, IOSQE_ASYNC));
	buf = pages(BLOCKED);
	for (i = 0; i < BLOCKED; i++)
		prep(&io, IORING_OP_READ, self->p[0], buf + i, 1, 0)->user_data = i;
	ASSERT_EQ(BLOCKED, ring_submit(&io.r, 0));
	usleep(200000);
	/* One of them submits, perhaps. */
	EXPECT_GE(before + was[1] + !!(variant->flags & IORING_SETUP_SQPOLL), threads());
	close(self->p[0]);
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	end = now_ns(CLOCK_MONOTONIC);
	ring_exit(&io.r);
	/* Nobody reads any more. */
	EXPECT_EQ(1, poll(&pfd, 1, 100000));
	end = now_ns(CLOCK_MONOTONIC) - end;
	TH_LOG("%d requests, %d threads of %u: over after %llu ms", BLOCKED, threads() - before,
	       was[1], (unsigned long long)end / 1000000);
	if (variant->backend == DEVICE)
		EXPECT_GT(slow ? 20 : 1, end / SEC);
}

TEST_F_TIMEOUT(worker, idle_ones_go, 90)
{
	int before = threads();
	char buf[MANY];

	if (variant->flags)
		SKIP(return, "the kind of ring does not matter");
	many_reads(&self->io, self->p[0], buf);
	ASSERT_EQ(MANY, ring_submit(self->r, 0));
	usleep(50000);
	ASSERT_EQ(MANY, write(self->p[1], buf, MANY));
	ASSERT_EQ(0, ring_enter(self->r, 0, MANY, IORING_ENTER_GETEVENTS));
	EXPECT_LT(before, threads());
	/* Natively one is kept. */
	EXPECT_GE(before + 1, threads_fall_to(before + 1, 60));
}

/* A process that is stopped goes on with what it waited for. */
TEST_F(worker, stop_and_continue)
{
	int go[2], status, i;
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(go));
	pid = fork();
	if (!pid) {
		struct io io;
		char buf[4];

		if (io_init(&io, variant->backend, 8, variant->flags, IOSQE_ASYNC))
			_exit(1);
		for (i = 0; i < 4; i++)
			prep(&io, IORING_OP_READ, self->p[0], buf + i, 1, 0);
		if (ring_submit(&io.r, 0) != 4 || write(go[1], "x", 1) != 1)
			_exit(2);
		/* The wait itself is interrupted. */
		while (ring_ready(&io.r) < 4)
			ring_enter(&io.r, 0, 4, IORING_ENTER_GETEVENTS);
		for (i = 0; i < 4; i++)
			if (wait_result(&io) != 1)
				_exit(3);
		_exit(0);
	}
	ASSERT_EQ(1, read(go[0], &c, 1));
	for (i = 0; i < 3; i++) {
		usleep(20000);
		ASSERT_EQ(0, kill(pid, SIGSTOP));
		ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
		ASSERT_TRUE(WIFSTOPPED(status));
		ASSERT_EQ(0, kill(pid, SIGCONT));
	}
	ASSERT_EQ(4, write(self->p[1], "1234", 4));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

static volatile pid_t handled_by;

static void handler(int sig)
{
	handled_by = gettid();
}

/* Signals of the process are not theirs. */
TEST_F(worker, signals)
{
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_RESTART };
	char buf[MANY];
	int i;

	ASSERT_EQ(0, sigaction(SIGUSR1, &sa, NULL));
	many_reads(&self->io, self->p[0], buf);
	ASSERT_EQ(MANY, ring_submit(self->r, 0));
	usleep(20000);
	for (i = 0; i < 50; i++) {
		handled_by = 0;
		ASSERT_EQ(0, kill(getpid(), SIGUSR1));
		EXPECT_EQ(gettid(), handled_by);
	}
	ASSERT_EQ(0, ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, ring_ready(self->r));
	ASSERT_EQ(MANY, write(self->p[1], buf, MANY));
	EXPECT_EQ(0, ring_enter(self->r, 0, MANY, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(MANY, ring_ready(self->r));
}

/* Exit, exec and death do not wait for what they were doing. */
TEST_F(worker, end_of_the_process)
{
	uint64_t begin;
	int how, status, go[2];
	pid_t pid;
	char c;

	for (how = 0; how < 3; how++) {
		ASSERT_EQ(0, pipe2(go, O_CLOEXEC));
		pid = fork();
		if (!pid) {
			char buf[MANY];
			struct io io;

			if (io_init(&io, variant->backend, MANY, variant->flags, IOSQE_ASYNC))
				_exit(1);
			many_reads(&io, self->p[0], buf);
			if (ring_submit(&io.r, 0) != MANY)
				_exit(2);
			usleep(20000);
			if (write(go[1], "x", 1) != 1)
				_exit(3);
			if (how == 0)
				_exit(0);
			if (how == 1)
				execl("/bin/true", "true", NULL);
			pause();
		}
		ASSERT_EQ(1, read(go[0], &c, 1));
		begin = now_ns(CLOCK_MONOTONIC);
		if (how == 2)
			ASSERT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(how == 2 ? SIGKILL : 0, status);
		EXPECT_GT(20000000000ull, now_ns(CLOCK_MONOTONIC) - begin);
		close(go[0]);
		close(go[1]);
	}
}

FILES_MAIN
