// SPDX-License-Identifier: GPL-2.0
/* Rings whose SQEs a thread consumes: setup, sleep and wakeup, CPUs, what fdinfo tells. */
#include "sqpoll.h"
#include <pthread.h>
#include <sched.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

FIXTURE(sqpoll) {
	struct ring r;
};

BACKEND_VARIANTS(sqpoll);

FIXTURE_SETUP(sqpoll)
{
	ASSERT_EQ(0, sq_init(&self->r, variant->backend, 8, 0, SQ_IDLE_MS));
}

FIXTURE_TEARDOWN(sqpoll)
{
	ring_exit(&self->r);
}

static int setup(enum backend backend, unsigned int flags, unsigned int cpu)
{
	struct io_uring_params p = { .flags = flags, .sq_thread_cpu = cpu,
				     .sq_thread_idle = SQ_IDLE_MS };
	int ret = uring_setup(backend, 8, &p);

	if (ret < 0)
		return ret;
	close(ret);
	return 0;
}

TEST_F(sqpoll, flags)
{
	static const unsigned int refused[] = {
		IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQ_REWIND, IORING_SETUP_COOP_TASKRUN,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	static const unsigned int taken[] = {
		0, IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_SUBMIT_ALL, IORING_SETUP_SQE128,
		IORING_SETUP_CQE32, IORING_SETUP_SQE_MIXED, IORING_SETUP_CQE_MIXED,
		IORING_SETUP_NO_SQARRAY, IORING_SETUP_R_DISABLED,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(refused); i++)
		EXPECT_EQ(-EINVAL, setup(variant->backend, IORING_SETUP_SQPOLL | refused[i], 0));
	for (i = 0; i < ARRAY_SIZE(taken); i++)
		EXPECT_EQ(0, setup(variant->backend, IORING_SETUP_SQPOLL | taken[i], 0));
	EXPECT_EQ(-EINVAL, setup(variant->backend, IORING_SETUP_SQ_AFF, 0));
	EXPECT_TRUE(self->r.p.features & IORING_FEAT_SQPOLL_NONFIXED);
}

TEST_F(sqpoll, sleeps_until_it_is_woken)
{
	struct io_uring_cqe cqe;
	struct ring *r = &self->r;
	int i;

	for (i = 0; i < 20; i++) {
		ASSERT_TRUE(sq_falls_asleep(r));
		ring_nop(r, i);
		EXPECT_EQ(1, ring_flush(r));
		if (!i)
			usleep(50000);
		/* Nobody has told it. */
		EXPECT_EQ(i, load_acquire(r->sq_head));
		EXPECT_EQ(0, uring_enter(r->backend, r->fd, 0, 0, 0));
		EXPECT_EQ(i, load_acquire(r->sq_head));
		EXPECT_EQ(0, uring_enter(r->backend, r->fd, 0, 0, IORING_ENTER_SQ_WAKEUP));
		ASSERT_TRUE(cqes_come(r, 1));
		ASSERT_EQ(0, ring_consumed(r));
		EXPECT_EQ(i + 1, load_acquire(r->sq_head));
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
	}
}

/* While it is awake it needs no call, and says so. */
TEST_F(sqpoll, awake)
{
	struct ring r;
	int i;

	ASSERT_EQ(0, sq_init(&r, variant->backend, 8, 0, 60000));
	ring_nop(&r, 0);
	ASSERT_EQ(1, ring_enter(&r, ring_flush(&r), 0, 0));
	for (i = 0; i < 100; i++) {
		EXPECT_FALSE(sq_asleep(&r));
		ring_seen(&r, ring_ready(&r));
		ring_nop(&r, i);
		ring_nop(&r, i);
		ring_flush(&r);
		ASSERT_TRUE(cqes_come(&r, 2));
	}
	ring_exit(&r);
}

TEST_F(sqpoll, enter_returns_what_it_is_told)
{
	struct ring *r = &self->r;

	EXPECT_EQ(0, uring_enter(r->backend, r->fd, 0, 0, 0));
	EXPECT_EQ(1000, uring_enter(r->backend, r->fd, 1000, 0, 0));
	EXPECT_EQ(7, uring_enter(r->backend, r->fd, 7, 0, IORING_ENTER_SQ_WAKEUP));
	EXPECT_EQ(7, uring_enter(r->backend, r->fd, 7, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, uring_enter(r->backend, r->fd, 0, 0, IORING_ENTER_SQ_WAIT));
	EXPECT_EQ(3, uring_enter(r->backend, r->fd, 3, 0, IORING_ENTER_SQ_WAIT));
}

/* Neither an SQE in error ends it nor an index that is none. */
TEST_F(sqpoll, goes_on_after_an_error)
{
	struct io_uring_cqe cqe;
	struct ring *r = &self->r;
	int i;

	for (i = 0; i < 8; i++) {
		ring_nop(r, i)->ioprio = i % 3 == 1;
		if (i % 3 == 2)
			r->sq_array[i] = 8 + i;
	}
	ring_flush(r);
	ASSERT_EQ(0, ring_consumed(r));
	ASSERT_TRUE(cqes_come(r, 6));
	for (i = 0; i < 8; i++) {
		if (i % 3 == 2)
			continue;
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
		EXPECT_EQ(i % 3 ? -EINVAL : 0, cqe.res);
	}
	EXPECT_EQ(0, ring_ready(r));
	EXPECT_EQ(2, *r->sq_dropped);
}

static void on_alarm(int sig)
{
}

TEST_F(sqpoll, waits_for_room)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct ring *r = &self->r;
	struct itimerval soon = { .it_value.tv_usec = 50000, .it_interval.tv_usec = 50000 };
	int i;

	for (i = 0; i < 50; i++) {
		while (ring_nop(r, i))
			;
		ring_flush(r);
		EXPECT_EQ(8, uring_enter(r->backend, r->fd, 8, 0,
					 IORING_ENTER_SQ_WAKEUP | IORING_ENTER_SQ_WAIT));
		EXPECT_NE(r->sqe_tail, load_acquire(r->sq_head) + 8);
		ASSERT_TRUE(cqes_come(r, 8));
		ring_seen(r, 8);
	}
	/* A thread that sleeps makes no room: it takes a signal. */
	ASSERT_TRUE(sq_falls_asleep(r));
	while (ring_nop(r, i))
		;
	ring_flush(r);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	EXPECT_EQ(8, uring_enter(r->backend, r->fd, 8, 0, IORING_ENTER_SQ_WAIT));
	setitimer(ITIMER_REAL, &(struct itimerval) {}, NULL);
	EXPECT_EQ(r->sqe_tail, load_acquire(r->sq_head) + 8);
}

TEST_F(sqpoll, is_a_thread_of_the_process)
{
	pid_t tid = sq_thread(&self->r);
	char path[64], name[32] = "", expected[32];
	FILE *f;

	ASSERT_LT(0, tid);
	EXPECT_NE(getpid(), tid);
	snprintf(path, sizeof(path), "/proc/self/task/%d/comm", tid);
	/* Natively it gives itself the name, a moment later. */
	usleep(10000);
	f = fopen(path, "re");
	ASSERT_NE(NULL, f);
	EXPECT_NE(NULL, fgets(name, sizeof(name), f));
	fclose(f);
	snprintf(expected, sizeof(expected), "iou-sqp-%d\n", getpid());
	EXPECT_STREQ(expected, name);
}

TEST_F(sqpoll, fdinfo)
{
	uint64_t end = now_ns(CLOCK_MONOTONIC) + 20000000000;
	int64_t work = 0;
	struct ring r, plain;
	int i, cpu;

	/* Time is measured in ticks, if by nothing better: the thread has to be met at its work. */
	ASSERT_EQ(0, sq_init(&r, variant->backend, 4096, 0, SQ_IDLE_MS));
	while (!work && now_ns(CLOCK_MONOTONIC) < end) {
		for (i = 0; i < 20; i++) {
			while (ring_nop(&r, i))
				;
			ASSERT_LT(0, ring_enter(&r, ring_flush(&r), 0, IORING_ENTER_SQ_WAKEUP));
			ring_seen(&r, ring_ready(&r));
		}
		work = ring_info(r.fd, "SqWorkTime");
	}
	EXPECT_LT(0, work);
	EXPECT_LE(work, ring_info(r.fd, "SqTotalTime"));
	cpu = ring_info(r.fd, "SqThreadCpu");
	EXPECT_LE(0, cpu);
	EXPECT_GT(sysconf(_SC_NPROCESSORS_CONF), cpu);

	ASSERT_EQ(0, ring_init(&plain, variant->backend, 8, 0));
	EXPECT_EQ(-1, ring_info(plain.fd, "SqThread"));
	EXPECT_EQ(-1, ring_info(plain.fd, "SqThreadCpu"));
	EXPECT_EQ(0, ring_info(plain.fd, "SqTotalTime"));
	EXPECT_EQ(0, ring_info(plain.fd, "SqWorkTime"));
	ring_exit(&plain);
	ring_exit(&r);
}

/* The CPUs that a thread may run on. */
static cpu_set_t cpus_of(pid_t tid)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	sched_getaffinity(tid, sizeof(set), &set);
	return set;
}

TEST_F(sqpoll, stays_on_its_cpu)
{
	unsigned int flags = IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF;
	cpu_set_t one, set, all = cpus_of(0);
	int cpu, i;

	EXPECT_EQ(-EINVAL, setup(variant->backend, flags, 100000));
	EXPECT_EQ(-EINVAL, setup(variant->backend, flags, -1));
	/* Wherever its creator is just now. */
	CPU_ZERO(&one);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &one);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(one), &one));
	for (cpu = 0; cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++) {
		struct ring r = { .p = { .flags = flags, .sq_thread_cpu = cpu,
					 .sq_thread_idle = SQ_IDLE_MS } };

		ASSERT_EQ(0, ring_init_params(&r, variant->backend, 8));
		for (i = 0; i < 20; i++) {
			ring_nop(&r, i);
			ASSERT_EQ(1, ring_submit(&r, 1));
			EXPECT_EQ(cpu, ring_info(r.fd, "SqThreadCpu"));
		}
		set = cpus_of(sq_thread(&r));
		EXPECT_EQ(1, CPU_COUNT(&set));
		EXPECT_TRUE(CPU_ISSET(cpu, &set));
		ring_exit(&r);
	}
	/* Otherwise it goes where its creator goes. */
	ring_exit(&self->r);
	ASSERT_EQ(0, sq_init(&self->r, variant->backend, 8, 0, SQ_IDLE_MS));
	ring_nop(&self->r, 0);
	ASSERT_EQ(1, ring_submit(&self->r, 1));
	set = cpus_of(sq_thread(&self->r));
	EXPECT_TRUE(CPU_EQUAL(&one, &set));
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(all), &all));
}

/* Workers that it makes do not. */
TEST_F(sqpoll, workers_are_not_bound)
{
	struct ring r = { .p = { .flags = IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF,
				 .sq_thread_cpu = 0, .sq_thread_idle = SQ_IDLE_MS } };
	cpu_set_t set, all = cpus_of(0);
	struct dirent *entry;
	struct io_uring_sqe *sqe;
	int p[2], workers = 0;
	DIR *dir;
	char c;

	ring_exit(&self->r);
	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	ASSERT_EQ(0, ring_init_params(&r, variant->backend, 8));
	sqe = ring_nop(&r, 1);
	sqe->opcode = IORING_OP_READ;
	sqe->flags = IOSQE_ASYNC;
	sqe->fd = p[0];
	sqe->addr = (unsigned long)&c;
	sqe->len = 1;
	ASSERT_EQ(1, ring_submit(&r, 0));
	/* It may not run yet. */
	usleep(100000);
	dir = opendir("/proc/self/task");
	ASSERT_NE(NULL, dir);
	while ((entry = readdir(dir))) {
		pid_t tid = atoi(entry->d_name);

		if (!tid || tid == getpid() || tid == sq_thread(&r))
			continue;
		set = cpus_of(tid);
		EXPECT_TRUE(CPU_EQUAL(&all, &set));
		workers++;
	}
	closedir(dir);
	/* Natively a read of a pipe may wait without one. */
	EXPECT_GE(workers, variant->backend == DEVICE);
	ASSERT_EQ(1, write(p[1], "x", 1));
	EXPECT_TRUE(cqes_come(&r, 1));
	close(p[0]);
	close(p[1]);
	self->r = r;
}

TEST_F(sqpoll, disabled)
{
	struct ring r;
	int i;

	ASSERT_EQ(0, sq_init(&r, variant->backend, 8, IORING_SETUP_R_DISABLED, SQ_IDLE_MS));
	for (i = 0; i < 8; i++)
		ring_nop(&r, i);
	ring_flush(&r);
	EXPECT_EQ(-EBADFD, uring_enter(r.backend, r.fd, 8, 0, IORING_ENTER_SQ_WAKEUP));
	ASSERT_TRUE(sq_falls_asleep(&r));
	EXPECT_EQ(0, ring_ready(&r));
	EXPECT_EQ(0, load_acquire(r.sq_head));
	/* That wakes it. */
	EXPECT_EQ(0, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	EXPECT_TRUE(cqes_come(&r, 8));
	ring_exit(&r);
}

struct feeder {
	struct ring *r;
	bool stop;
};

static void *feed(void *arg)
{
	struct feeder *f = arg;

	while (!load_acquire(&f->stop)) {
		while (ring_nop(f->r, 0))
			;
		ring_flush(f->r);
		ring_wake(f->r);
		ring_seen(f->r, ring_ready(f->r));
	}
	return NULL;
}

/* Whoever registers something gets the ring from a thread that is never idle. */
TEST_F_TIMEOUT(sqpoll, registering_at_a_busy_ring, 120)
{
	struct feeder f = { .r = &self->r };
	int i, file = open("/dev/null", O_RDWR | O_CLOEXEC);
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, feed, &f));
	for (i = 0; i < 200; i++) {
		EXPECT_EQ(0, ring_register(&self->r, IORING_REGISTER_FILES, &file, 1));
		EXPECT_EQ(0, ring_register(&self->r, IORING_UNREGISTER_FILES, NULL, 0));
		if (i % 20 == 0) {
			struct ring other;

			ASSERT_EQ(0, sq_attach(&other, &self->r, 8, 0));
			ring_exit(&other);
		}
	}
	store_release(&f.stop, true);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	close(file);
}

/* The workers meant are those of the thread's process, whoever asks. */
TEST_F(sqpoll, workers_are_those_of_the_thread)
{
	unsigned int nr[2] = { 3, 5 };
	int status;
	pid_t child;

	EXPECT_EQ(0, ring_register(&self->r, IORING_REGISTER_IOWQ_MAX_WORKERS, nr, 2));
	EXPECT_LT(0, nr[0]);
	EXPECT_LT(0, nr[1]);
	child = fork();
	if (!child) {
		memset(nr, 0, sizeof(nr));
		if (ring_register(&self->r, IORING_REGISTER_IOWQ_MAX_WORKERS, nr, 2))
			_exit(1);
		_exit(nr[0] == 3 && nr[1] == 5 ? 0 : 2);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/* Another task than the creator may enter, but not register. */
TEST_F(sqpoll, single_issuer)
{
	int status, event = -1;
	struct ring r;
	pid_t child;

	ASSERT_EQ(0, sq_init(&r, variant->backend, 8, IORING_SETUP_SINGLE_ISSUER, SQ_IDLE_MS));
	child = fork();
	if (!child) {
		ring_nop(&r, 1);
		if (ring_enter(&r, ring_flush(&r), 1, IORING_ENTER_GETEVENTS) != 1)
			_exit(1);
		_exit(ring_register(&r, IORING_REGISTER_EVENTFD, &event, 1) == -EEXIST ? 0 : 2);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(1, ring_ready(&r));
	ring_exit(&r);
}

TEST_HARNESS_MAIN
