// SPDX-License-Identifier: GPL-2.0
/*
 * Registered rings go with their thread. Whether one is still there shows in
 * the locked memory of its user: the region of the ring counts against it.
 */
#include "uring.h"
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define PAGES	4
#define SIZE	(PAGES * 4096ul)

FIXTURE(life) { int pipe[2]; };
BACKEND_VARIANTS(life);

/* One such region fits into what the user may lock, not two. */
FIXTURE_SETUP(life)
{
	struct rlimit limit = { .rlim_cur = SIZE + 4096, .rlim_max = SIZE + 4096 };

	ASSERT_EQ(0, pipe2(self->pipe, O_CLOEXEC));
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &limit));
	/* A user who has nothing from earlier on. */
	ASSERT_EQ(0, drop_privileges(100000 + getpid()));
}

FIXTURE_TEARDOWN(life)
{
	close(self->pipe[0]);
	close(self->pipe[1]);
}

static int add_region(struct ring *r)
{
	struct io_uring_region_desc desc = { .size = SIZE };
	struct io_uring_mem_region_reg reg = { .region_uptr = (unsigned long)&desc };

	return ring_register(r, IORING_REGISTER_MEM_REGION, &reg, 1);
}

/* Whether the memory of the one ring that has some is taken. */
static bool is_there(enum backend backend)
{
	struct ring probe;
	int ret;

	if (ring_init(&probe, backend, 4, 0))
		return false;
	ret = add_region(&probe);
	ring_exit(&probe);
	if (ret && ret != -ENOMEM)
		abort();
	/* What was just tried is given back when that ring is gone, which takes a while, too. */
	return ret == -ENOMEM;
}

/* Waits until it is gone; false if that does not happen. */
static bool goes_away(enum backend backend)
{
	int i;

	for (i = 0; i < 2000; i++) {
		if (!is_there(backend))
			return true;
		usleep(10000);
	}
	return false;
}

/* A ring with a region, registered as number 0, whose descriptor is closed unless it is kept. */
static int make_ring(enum backend backend, bool keep)
{
	struct io_uring_rsrc_update update;
	struct ring r;
	int ret, i;

	ret = ring_init(&r, backend, 4, 0);
	if (ret)
		return ret;
	/* The memory of a ring that was there before may be on its way back yet. */
	for (i = 0; i < 2000; i++) {
		ret = add_region(&r);
		if (ret != -ENOMEM)
			break;
		usleep(10000);
	}
	update = (struct io_uring_rsrc_update) { .offset = 0, .data = r.fd };
	if (!ret)
		ret = ring_register(&r, IORING_REGISTER_RING_FDS, &update, 1) - 1;
	if (keep)
		ring_unmap(&r);
	else
		ring_exit(&r);
	return ret;
}

static int use(enum backend backend)
{
	return uring_enter(backend, 0, 0, 0, IORING_ENTER_REGISTERED_RING);
}

TEST_F(life, unregistered)
{
	struct io_uring_rsrc_update update = { .offset = 0 };

	ASSERT_EQ(0, make_ring(variant->backend, false));
	EXPECT_TRUE(is_there(variant->backend));
	EXPECT_EQ(0, use(variant->backend));
	EXPECT_EQ(1, uring_register(variant->backend, 0, IORING_UNREGISTER_RING_FDS |
				    IORING_REGISTER_USE_REGISTERED_RING, &update, 1));
	EXPECT_TRUE(goes_away(variant->backend));
}

struct thread {
	enum backend backend;
	int ret, step;
};

static void *thread(void *arg)
{
	struct thread *t = arg;

	t->ret = make_ring(t->backend, false);
	store_release(&t->step, 1);
	while (load_acquire(&t->step) != 2)
		usleep(1000);
	return NULL;
}

TEST_F(life, thread_exits)
{
	struct thread t = { .backend = variant->backend };
	pthread_t id;

	ASSERT_EQ(0, pthread_create(&id, NULL, thread, &t));
	while (load_acquire(&t.step) != 1)
		usleep(1000);
	ASSERT_EQ(0, t.ret);
	EXPECT_TRUE(is_there(variant->backend));
	EXPECT_GT(0, use(variant->backend));
	store_release(&t.step, 2);
	ASSERT_EQ(0, pthread_join(id, NULL));
	EXPECT_TRUE(goes_away(variant->backend));
}

/* A child that has such a ring, tells so, and waits for the pipe to be closed. */
static pid_t child(int *alive, enum backend backend, bool keep, bool exec)
{
	int ready[2], dead[2];
	char byte;
	pid_t pid;

	if (pipe(ready) || pipe(dead))
		return -1;
	pid = fork();
	if (pid) {
		close(ready[1]);
		close(dead[0]);
		close(alive[1]);
		alive[1] = dead[1];
		if (read(ready[0], &byte, 1) != 1)
			pid = -1;
		close(ready[0]);
		return pid;
	}
	close(alive[1]);
	close(dead[1]);
	if (make_ring(backend, keep))
		_exit(1);
	if (exec) {
		dup2(dead[0], 0);
		dup2(ready[1], 1);
		/* It says that it is there by copying the first byte. */
		execl("/bin/sh", "sh", "-c", "echo; read line", NULL);
		_exit(2);
	}
	if (write(ready[1], "x", 1) != 1)
		_exit(3);
	if (read(dead[0], &byte, 1) < 0)
		_exit(4);
	_exit(0);
}

static void let_go(int *alive)
{
	close(alive[1]);
	alive[1] = -1;
}

TEST_F(life, process_exits)
{
	pid_t pid = child(self->pipe, variant->backend, false, false);
	int status;

	ASSERT_LT(0, pid);
	EXPECT_TRUE(is_there(variant->backend));
	let_go(self->pipe);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(goes_away(variant->backend));
}

TEST_F(life, process_is_killed)
{
	pid_t pid = child(self->pipe, variant->backend, false, false);
	int status;

	ASSERT_LT(0, pid);
	EXPECT_TRUE(is_there(variant->backend));
	ASSERT_EQ(0, kill(pid, SIGKILL));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(goes_away(variant->backend));
}

/* It is gone in a program that knows nothing of it. */
TEST_F(life, other_program)
{
	pid_t pid = child(self->pipe, variant->backend, true, true);
	int status;

	ASSERT_LT(0, pid);
	EXPECT_TRUE(goes_away(variant->backend));
	let_go(self->pipe);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
}

/*
 * And without a descriptor to be closed. The device is told of a new program
 * only by that: here it keeps the ring until the process ends.
 */
TEST_F(life, other_program_without_descriptor)
{
	pid_t pid = child(self->pipe, variant->backend, false, true);
	int status;
	bool gone;

	ASSERT_LT(0, pid);
	gone = variant->backend == NATIVE ? goes_away(NATIVE) : !is_there(DEVICE);
	EXPECT_EQ(variant->backend == NATIVE, gone);
	let_go(self->pipe);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(goes_away(variant->backend));
}

/* Threads come and go: each one's table with it. */
static void *short_thread(void *arg)
{
	struct thread *t = arg;

	if (use(t->backend) != -EINVAL)
		t->ret = -1000;
	else
		t->ret = make_ring(t->backend, false);
	return NULL;
}

TEST_F(life, many_threads)
{
	struct thread t = { .backend = variant->backend };
	pthread_t id;
	int i;

	for (i = 0; i < 30; i++) {
		ASSERT_EQ(0, pthread_create(&id, NULL, short_thread, &t));
		ASSERT_EQ(0, pthread_join(id, NULL));
		ASSERT_EQ(0, t.ret);
		ASSERT_TRUE(goes_away(variant->backend));
	}
}

TEST_HARNESS_MAIN
