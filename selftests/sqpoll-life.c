// SPDX-License-Identifier: GPL-2.0
/*
 * The end of threads that submit: with their rings, with their process, with its
 * program. Nothing of them may be left behind.
 */
#include "states.h"
#include "sqpoll.h"
#include <sys/resource.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

FIXTURE(life) {
	long refs;
};

BACKEND_VARIANTS(life);

FIXTURE_SETUP(life)
{
	self->refs = module_refs();
}

FIXTURE_TEARDOWN(life)
{
	EXPECT_TRUE(falls_to(module_refs, self->refs));
}

/* Threads of this process. */
static long threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	long nr = -2;

	while (dir && readdir(dir))
		nr++;
	if (dir)
		closedir(dir);
	return nr;
}

/* Objects of a slab cache that are in use, after what is free was given back. */
static long in_use(const char *cache)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", cache);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (write(fd, "1", 1) != 1)
		perror(path);
	close(fd);
	snprintf(path, sizeof(path), "/sys/kernel/slab/%s/objects", cache);
	return read_number(path, NULL);
}

static long address_spaces(void)
{
	return in_use("mm_struct");
}

TEST_F(life, threads_end_with_their_rings)
{
	struct ring rings[6];
	unsigned int i;

	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, sq_init(&rings[i], variant->backend, 8, 0, SQ_IDLE_MS));
	EXPECT_EQ(5, threads());
	ASSERT_EQ(0, sq_attach(&rings[4], &rings[0], 8, 0));
	ASSERT_EQ(0, sq_attach(&rings[5], &rings[4], 8, 0));
	EXPECT_EQ(5, threads());
	/* One that looks for work, and one that sleeps. */
	ring_nop(&rings[0], 1);
	EXPECT_EQ(1, ring_submit(&rings[0], 1));
	ASSERT_TRUE(sq_falls_asleep(&rings[1]));
	for (i = 0; i < 4; i++)
		ring_exit(&rings[i]);
	EXPECT_TRUE(falls_to(threads, 2));
	ring_nop(&rings[5], 1);
	EXPECT_EQ(1, ring_submit(&rings[5], 1));
	ring_exit(&rings[4]);
	ring_nop(&rings[5], 1);
	EXPECT_EQ(1, ring_submit(&rings[5], 1));
	EXPECT_EQ(2, threads());
	ring_exit(&rings[5]);
	EXPECT_TRUE(falls_to(threads, 1));
}

/* A setup that fails after the thread was made leaves none. */
TEST_F(life, failing_setup)
{
	struct io_uring_params p = { .flags = IORING_SETUP_SQPOLL, .sq_thread_idle = SQ_IDLE_MS };
	int fds[3], i;
	struct rlimit limit, old;

	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	/* The device is opened for the call; the ring has no room beside it. */
	limit = old;
	limit.rlim_cur = lowest_fd() + (variant->backend == DEVICE);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &limit));
	for (i = 0; i < 3; i++)
		fds[i] = uring_setup(variant->backend, 8, &p);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-EMFILE, fds[i]);
	EXPECT_TRUE(falls_to(threads, 1));
}

/* A process that is stopped stops the thread; the ring can go meanwhile. */
TEST_F(life, stopped)
{
	int status, p[2];
	struct ring r;
	pid_t child;
	char c;

	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (sq_init(&r, variant->backend, 8, 0, 60000))
			_exit(1);
		ring_nop(&r, 1);
		if (ring_submit(&r, 1) != 1 || write(p[1], "x", 1) != 1)
			_exit(2);
		/* Busy or not: the thread must see the signal. */
		for (;;) {
			ring_nop(&r, 1);
			ring_flush(&r);
			ring_wake(&r);
			ring_seen(&r, ring_ready(&r));
		}
	}
	ASSERT_EQ(1, read(p[0], &c, 1));
	ASSERT_EQ(0, kill(child, SIGSTOP));
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	EXPECT_TRUE(WIFSTOPPED(status));
	ASSERT_EQ(0, kill(child, SIGCONT));
	ASSERT_EQ(child, waitpid(child, &status, WCONTINUED));
	usleep(20000);
	ASSERT_EQ(0, kill(child, SIGSTOP));
	ASSERT_EQ(child, waitpid(child, &status, WUNTRACED));
	ASSERT_EQ(0, kill(child, SIGKILL));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(SIGKILL, WTERMSIG(status));
	close(p[0]);
	close(p[1]);
}

/* Whoever else has the ring is told that its thread is gone. */
TEST_F(life, owner_dies)
{
	struct ring *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			      -1, 0);
	int dead[2], status;
	pid_t heir, owner;

	ASSERT_NE(MAP_FAILED, r);
	ASSERT_EQ(0, pipe2(dead, O_CLOEXEC));
	/* The heir becomes ours. */
	ASSERT_EQ(0, prctl(PR_SET_CHILD_SUBREAPER, 1));
	owner = fork();
	if (!owner) {
		if (sq_init(r, variant->backend, 8, 0, SQ_IDLE_MS))
			_exit(1);
		heir = fork();
		if (!heir) {
			close(dead[1]);
			ring_nop(r, 1);
			if (ring_enter(r, ring_flush(r), 1, IORING_ENTER_GETEVENTS) != 1)
				_exit(2);
			/* It is the process that set it up whose thread it is. */
			kill(getppid(), SIGKILL);
			if (read(dead[0], &(char) { 0 }, 1) != 1)
				_exit(3);
			if (uring_enter(r->backend, r->fd, 0, 0, 0) != -EOWNERDEAD)
				_exit(4);
			if (uring_enter(r->backend, r->fd, 1, 0, IORING_ENTER_SQ_WAKEUP) !=
			    -EOWNERDEAD)
				_exit(5);
			if (uring_enter(r->backend, r->fd, 0, 1, IORING_ENTER_GETEVENTS) !=
			    -EOWNERDEAD)
				_exit(6);
			if (!sq_asleep(r) || ring_info(r->fd, "SqThread") != -1)
				_exit(7);
			/* That of another process does not do anyway. */
			if (sq_attach(&(struct ring) {}, r, 8, 0))
				_exit(8);
			/* What needs none goes on. */
			if (ring_register(r, IORING_REGISTER_PERSONALITY, NULL, 0) != 1)
				_exit(9);
			_exit(77);
		}
		for (;;)
			pause();
	}
	ASSERT_EQ(owner, waitpid(owner, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	ASSERT_EQ(1, write(dead[1], "x", 1));
	heir = wait(&status);
	EXPECT_LT(0, heir);
	EXPECT_EQ(77, WEXITSTATUS(status));
	prctl(PR_SET_CHILD_SUBREAPER, 0);
	close(dead[0]);
	close(dead[1]);
	munmap(r, sizeof(*r));
}

/* Completions of a ring whose thread is gone find somebody else. */
TEST_F(life, messages_after_the_end)
{
	struct ring *r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			      -1, 0);
	int status, p[2], back[2], i;
	pid_t owner;
	char c = 0;

	ASSERT_NE(MAP_FAILED, r);
	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	ASSERT_EQ(0, pipe2(back, O_CLOEXEC));
	owner = fork();
	if (!owner) {
		if (sq_init(r, variant->backend, 8, 0, SQ_IDLE_MS))
			_exit(1);
		if (!fork()) {
			int ret = 0;

			if (write(back[1], &c, 1) != 1 || read(p[0], &c, 1) != 1)
				_exit(2);
			for (i = 0; i < 4 && !ret; i++)
				ret = send_msg(r->backend, r->fd, i, i);
			c = !ret && (variant->backend == NATIVE || cqes_come(r, 4));
			_exit(write(back[1], &c, 1) != 1);
		}
		pause();
	}
	ASSERT_EQ(1, read(back[0], &c, 1));
	kill(owner, SIGKILL);
	ASSERT_EQ(owner, waitpid(owner, &status, 0));
	ASSERT_EQ(1, write(p[1], "x", 1));
	ASSERT_EQ(1, read(back[0], &c, 1));
	EXPECT_EQ(1, c);
	munmap(r, sizeof(*r));
}

/* The next program's part: the ring is there, the thread is not. */
static int after_exec(enum backend backend, int fd)
{
	if (fcntl(fd, F_GETFD) < 0)
		return errno == EBADF ? 50 : 51;
	if (threads() != 1)
		return 52;
	if (uring_enter(backend, fd, 0, 0, 0) != -EOWNERDEAD)
		return 53;
	return 60;
}

TEST_F(life, exec)
{
	int keep, busy, status;

	for (keep = 0; keep < 2; keep++)
		for (busy = 0; busy < 2; busy++) {
			pid_t child = fork();

			if (!child) {
				char which[16], nr[16];
				struct ring r;

				if (sq_init(&r, variant->backend, 8, 0, busy ? 60000 : SQ_IDLE_MS))
					_exit(1);
				ring_nop(&r, 1);
				if (ring_submit(&r, 1) != 1)
					_exit(2);
				if (keep)
					fcntl(r.fd, F_SETFD, 0);
				snprintf(which, sizeof(which), "%d", variant->backend);
				snprintf(nr, sizeof(nr), "%d", r.fd);
				execl("/proc/self/exe", "life", "--after-exec", which, nr, NULL);
				_exit(3);
			}
			ASSERT_EQ(child, waitpid(child, &status, 0));
			EXPECT_EQ(keep ? 60 : 50, WEXITSTATUS(status));
		}
}

/* Locks of the process live through it, whoever shares its descriptors. */
TEST_F(life, locks_live_through_exec)
{
	char path[] = "/tmp/sqpoll-XXXXXX";
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = mkstemp(path), status, i;

	ASSERT_LE(0, fd);
	for (i = 0; i < 5; i++) {
		pid_t child;
		int p[2];

		ASSERT_EQ(0, pipe2(p, 0));
		child = fork();
		if (!child) {
			struct ring r;

			if (fcntl(fd, F_SETLK, &lock) ||
			    sq_init(&r, variant->backend, 8, 0, 60000))
				_exit(1);
			fcntl(fd, F_SETFD, 0);
			dup2(p[1], STDOUT_FILENO);
			execl("/bin/sh", "sh", "-c", "echo here; sleep 1", NULL);
			_exit(2);
		}
		close(p[1]);
		ASSERT_EQ(1, read(p[0], &(char) { 0 }, 1));
		EXPECT_EQ(-1, fcntl(fd, F_SETLK, &lock));
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		close(p[0]);
	}
	close(fd);
	unlink(path);
}

static const char *const polled_states[] = {
	"submits by a thread", "shares a thread", "reads by a thread", "sets up threads",
};

static const struct state *random_state(struct dice *d)
{
	const char *name = polled_states[dice(d, 4)];
	unsigned int i;

	for (i = 0; i < NR_STATES; i++)
		if (!strcmp(states[i].name, name))
			return &states[i];
	abort();
}

/* How and when another thread of the process ends it, if it does. */
struct ender {
	bool executes;
	unsigned int pause;
};

static void *end_process(void *arg)
{
	struct ender *e = arg;

	usleep(e->pause);
	if (e->executes)
		execl("/bin/true", "true", NULL);
	_exit(0);
}

/* One process that is killed, exits or executes another program at a random moment. */
static int end_one(enum backend backend, struct dice *d)
{
	struct victim v = { .backend = backend };
	const struct state *state = random_state(d);
	struct ender ender = { .executes = dice(d, 2), .pause = dice(d, 10000) };
	bool killed = dice(d, 2);
	int status, fds[2];
	pthread_t thread;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	dice_init(&v.dice, dice_throw(d));
	pid = fork();
	if (!pid) {
		close(fds[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		v.ready = fds[1];
		if (!killed && pthread_create(&thread, NULL, end_process, &ender))
			_exit(1);
		state->enter(&v);
		_exit(1);
	}
	close(fds[1]);
	/* Those that end themselves may be faster. */
	if (read(fds[0], &(char) { 0 }, 1) != 1 && killed)
		return -EPIPE;
	close(fds[0]);
	if (killed) {
		usleep(ender.pause);
		kill(pid, SIGKILL);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -ECHILD;
	if (status != (killed ? SIGKILL : 0))
		printf("# %s: status %x\n", state->name, status);
	return status == (killed ? SIGKILL : 0) ? 0 : -EBADMSG;
}

TEST_F_TIMEOUT(life, ends_at_any_moment, 3000)
{
	unsigned int nr = getenv("STRESS") ? 500 : 60, round, i;
	uint64_t seed = stress_seed(4711);
	long before = 0, after = 0;
	struct dice d;

	TH_LOG("seed %llu, %u processes", (unsigned long long)seed, nr);
	dice_init(&d, seed);
	/* The first round, a short one, fills caches for good. */
	for (round = 0; round < 2; round++) {
		for (i = 0; i < (round ? nr : nr / 5); i++)
			ASSERT_EQ(0, end_one(variant->backend, &d));
		EXPECT_TRUE(falls_to(module_refs, self->refs));
		/* Rings are gone for the module a moment before their memory is. */
		usleep(200000);
		after = address_spaces();
		if (!round)
			before = after;
	}
	TH_LOG("address spaces: %ld, %ld", before, after);
	EXPECT_LT(after, before + nr / 4);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--after-exec"))
		return after_exec(atoi(argv[2]), atoi(argv[3]));
	return test_harness_run(argc, argv);
}
