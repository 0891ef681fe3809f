// SPDX-License-Identifier: GPL-2.0
/*
 * What a thread that submits is for: no system calls. And what it must not cost:
 * CPU time while there is nothing to do, or a wakeup that is lost.
 */
#include "files.h"
#include "sqpoll.h"
#include <pthread.h>
#include <stddef.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include "kselftest_harness.h"

#define PAGE	4096
#define DEPTH	128

FIXTURE(quiet) {
	unsigned int million;	/* or less, where time passes slowly */
};

BACKEND_VARIANTS(quiet);

FIXTURE_SETUP(quiet)
{
	const char *kernel = getenv("RUST_URING_KERNEL");

	self->million = kernel && !strcmp(kernel, "test") ? 50000 : 1000000;
}

FIXTURE_TEARDOWN(quiet)
{
}

/* From now on every system call but the end is the end. */
static void no_more_calls(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit_group, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = { .len = ARRAY_SIZE(filter), .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		_exit(10);
}

/*
 * The child: so many requests, as many at a time as there is room for, with
 * nothing but loads and stores. @file: 4 KiB reads of it, else NOPs.
 */
static void rush(enum backend backend, unsigned int nr, int file, unsigned int pages, char *memory)
{
	unsigned int submitted = 0, done = 0;
	bool busy[DEPTH] = {};
	struct io_uring_cqe cqe;
	struct ring r;

	/* A minute without work until the thread sleeps: that does not come to pass. */
	if (sq_init(&r, backend, DEPTH, 0, 60000))
		_exit(11);
	ring_nop(&r, 0);
	if (ring_submit(&r, 1) != 1 || !ring_cqe(&r, &cqe))
		_exit(12);
	no_more_calls();
	while (done < nr) {
		/* A page of memory is free when its CQE was seen. */
		while (submitted < nr && !busy[submitted % DEPTH]) {
			struct io_uring_sqe *sqe = ring_nop(&r, submitted);

			if (!sqe)
				break;
			busy[submitted % DEPTH] = true;
			if (file >= 0) {
				sqe->opcode = IORING_OP_READ;
				sqe->fd = file;
				sqe->addr = (unsigned long)memory + submitted % DEPTH * PAGE;
				sqe->len = PAGE;
				sqe->off = (uint64_t)(submitted % pages) * PAGE;
			}
			submitted++;
		}
		ring_flush(&r);
		if (sq_asleep(&r))
			_exit(13);
		while (ring_cqe(&r, &cqe)) {
			const char *page = memory + cqe.user_data % DEPTH * PAGE;

			if (cqe.res != (file >= 0 ? PAGE : 0))
				_exit(14);
			if (file >= 0 && *(uint64_t *)page != cqe.user_data % pages)
				_exit(15);
			busy[cqe.user_data % DEPTH] = false;
			done++;
		}
	}
	_exit(0);
}

static int in_child(enum backend backend, unsigned int nr, int file, unsigned int pages,
		    char *memory)
{
	pid_t child = fork();
	int status;

	if (!child)
		rush(backend, nr, file, pages, memory);
	return waitpid(child, &status, 0) == child ? status : -1;
}

/* The filter is a filter: one call is the end. */
TEST_F(quiet, calls_are_noticed)
{
	pid_t child = fork();
	int status;

	if (!child) {
		struct ring r;

		if (sq_init(&r, variant->backend, 8, 0, SQ_IDLE_MS))
			_exit(11);
		no_more_calls();
		uring_enter(variant->backend, r.fd, 0, 0, IORING_ENTER_SQ_WAKEUP);
		_exit(0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGSYS, WTERMSIG(status));
}

TEST_F_TIMEOUT(quiet, nops_without_a_call, 300)
{
	EXPECT_EQ(0, in_child(variant->backend, self->million, -1, 0, NULL));
}

TEST_F_TIMEOUT(quiet, reads_without_a_call, 300)
{
	const unsigned int pages = 1024;
	char *memory = mmap(NULL, DEPTH * PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	uint64_t page[PAGE / 8] = {};
	int file = new_file(0, 0);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_LE(0, file);
	for (page[0] = 0; page[0] < pages; page[0]++)
		ASSERT_EQ(PAGE, write(file, page, PAGE));
	EXPECT_EQ(0, in_child(variant->backend, self->million, file, pages, memory));
	close(file);
	munmap(memory, DEPTH * PAGE);
}

/* Less than a thousandth of the time. */
TEST_F_TIMEOUT(quiet, idle_threads_use_no_time, 120)
{
	const unsigned int nr = 8, seconds = 5;
	struct ring rings[8];
	pid_t tids[8];
	uint64_t used[8], unit;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		ASSERT_EQ(0, sq_init(&rings[i], variant->backend, 8, 0, SQ_IDLE_MS));
		ring_nop(&rings[i], 0);
		ASSERT_EQ(1, ring_submit(&rings[i], 1));
		ASSERT_TRUE(sq_falls_asleep(&rings[i]));
		tids[i] = sq_thread(&rings[i]);
	}
	for (i = 0; i < nr; i++)
		used[i] = thread_runtime(tids[i], &unit);
	sleep(seconds);
	for (i = 0; i < nr; i++) {
		uint64_t now = thread_runtime(tids[i], &unit);

		EXPECT_NE(UINT64_MAX, now);
		/* One tick is as good as nothing. */
		EXPECT_GE(unit > 1 ? unit : seconds * SEC / 1000, now - used[i]);
	}
	/* The measure is one: a thread that looks for work uses all of it. */
	ring_exit(&rings[0]);
	ASSERT_EQ(0, sq_init(&rings[0], variant->backend, 8, 0, 60000));
	ring_nop(&rings[0], 0);
	ASSERT_EQ(1, ring_submit(&rings[0], 1));
	used[0] = thread_runtime(sq_thread(&rings[0]), &unit);
	sleep(2);
	EXPECT_LT(SEC / 50, thread_runtime(sq_thread(&rings[0]), &unit) - used[0]);
	for (i = 0; i < nr; i++)
		ring_exit(&rings[i]);
}

/* How the application learns of a CQE. */
enum how { LOOKS, ENTERS, SLEEPS, HOWS };

struct sleeper {
	struct ring *r;
	uint64_t end, rounds, seed;
	int error;
};

/* What there is to know when nothing comes. @gap: the longest time between two looks. */
static void tell_of_stall(struct ring *r, enum how how, uint64_t gap)
{
	pid_t tid = sq_thread(r);
	char path[64], line[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "re");
	if (f) {
		if (!fgets(line, sizeof(line), f))
			line[0] = 0;
		fclose(f);
	}
	printf("# how %d, not looked for %llu ms, SQ %u of %u, CQ %u of %u, flags %x\n", how,
	       (unsigned long long)gap / 1000000, load_acquire(r->sq_head),
	       load_acquire(r->sq_tail), load_acquire(r->cq_head), load_acquire(r->cq_tail),
	       load_acquire(r->sq_flags));
	printf("# thread: %s\n", line);
}

static int await_cqe(struct ring *r, enum how how)
{
	struct __kernel_timespec ts = { .tv_sec = 30 };
	struct io_uring_getevents_arg arg = { .ts = (unsigned long)&ts };
	uint64_t now = now_ns(CLOCK_MONOTONIC), limit = now + 30 * SEC, last, gap = 0;

	while (!ring_ready(r)) {
		if (how == ENTERS)
			uring_enter_arg(r->backend, r->fd, 0, 1,
					IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
					sizeof(arg));
		else if (how == SLEEPS)
			usleep(10);
		last = now;
		now = now_ns(CLOCK_MONOTONIC);
		if (now - last > gap)
			gap = now - last;
		if (now > limit && !ring_ready(r)) {
			tell_of_stall(r, how, gap);
			return -ETIME;
		}
	}
	return 0;
}

/* Pauses around the time after which the thread sleeps: each is a chance to miss each other. */
static void *pause_and_submit(void *arg)
{
	struct sleeper *s = arg;
	struct ring *r = s->r;
	struct dice d;

	dice_init(&d, s->seed);
	while (!stress_over(s->end)) {
		unsigned int i, nr = 1 + dice(&d, 3);
		uint64_t until = now_ns(CLOCK_MONOTONIC) + dice(&d, 2 * 1000000 * SQ_IDLE_MS);
		enum how how = dice(&d, HOWS);

		if (dice(&d, 2))
			usleep(dice(&d, 2 * 1000 * SQ_IDLE_MS));
		else
			while (now_ns(CLOCK_MONOTONIC) < until && !dice(&d, 4) && sq_asleep(r))
				;
		for (i = 0; i < nr; i++)
			if (!ring_nop(r, i))
				break;
		ring_flush(r);
		/* Once, as a program does it. */
		s->error = ring_wake(r);
		while (!s->error && nr--) {
			s->error = await_cqe(r, how);
			ring_seen(r, 1);
		}
		if (s->error)
			break;
		s->rounds++;
	}
	return NULL;
}

/* Two threads at once, so that they disturb each other; with a thread each, or one for both. */
TEST_F_TIMEOUT(quiet, no_wakeup_is_lost, 3600)
{
	uint64_t seed = stress_seed(now_ns(CLOCK_REALTIME));
	unsigned int shared, i;

	TH_LOG("seed %llu", (unsigned long long)seed);
	for (shared = 0; shared < 2; shared++) {
		struct sleeper s[2] = {};
		struct ring rings[2];
		pthread_t threads[2];
		uint64_t end = stress_end_for(variant->backend, 4);

		/* Half of the time for each. */
		end -= (end - now_ns(CLOCK_MONOTONIC)) / 2;
		ASSERT_EQ(0, sq_init(&rings[0], variant->backend, 8, 0, SQ_IDLE_MS));
		ASSERT_EQ(0, shared ? sq_attach(&rings[1], &rings[0], 8, 0) :
			  sq_init(&rings[1], variant->backend, 8, 0, SQ_IDLE_MS));
		for (i = 0; i < 2; i++) {
			s[i] = (struct sleeper) { .r = &rings[i], .end = end, .seed = seed + i };
			ASSERT_EQ(0, pthread_create(&threads[i], NULL, pause_and_submit, &s[i]));
		}
		for (i = 0; i < 2; i++) {
			ASSERT_EQ(0, pthread_join(threads[i], NULL));
			EXPECT_EQ(0, s[i].error);
			EXPECT_LT(10, s[i].rounds);
			TH_LOG("%llu rounds", (unsigned long long)s[i].rounds);
			ring_exit(&rings[i]);
		}
	}
}

FILES_MAIN
