// SPDX-License-Identifier: GPL-2.0
/* Many tasks wait in one ring, each for its own number of CQEs. */
#include "uring.h"
#include <pthread.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define WAITERS	8

struct waiter {
	pthread_t thread;
	struct ring *r;
	unsigned int min;
	unsigned int timeout_ms;
	pid_t tid;
	int ret;
	unsigned int seen;	/* CQEs that were there when the wait was over */
	bool done;
};

FIXTURE(many) {
	struct ring r;
	struct waiter w[WAITERS];
};

BACKEND_VARIANTS(many);

FIXTURE_SETUP(many)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, 0));
}

FIXTURE_TEARDOWN(many)
{
	ring_exit(&self->r);
}

static void *wait_thread(void *arg)
{
	struct waiter *w = arg;
	struct __kernel_timespec ts = { .tv_nsec = w->timeout_ms * 1000000ull };
	struct io_uring_getevents_arg ext = { .ts = w->timeout_ms ? (unsigned long)&ts : 0 };

	store_release(&w->tid, gettid());
	w->ret = uring_enter_arg(w->r->backend, w->r->fd, 0, w->min,
				 IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &ext, sizeof(ext));
	w->seen = load_acquire(w->r->cq_tail);
	store_release(&w->done, true);
	return NULL;
}

/* Starts a thread that waits for @min CQEs; returns when it sleeps. */
static void start(struct ring *r, struct waiter *w, unsigned int min, unsigned int timeout_ms)
{
	w->r = r;
	w->min = min;
	w->timeout_ms = timeout_ms;
	if (pthread_create(&w->thread, NULL, wait_thread, w))
		abort();
	while (!load_acquire(&w->tid))
		usleep(1000);
	if (!timeout_ms)
		wait_asleep(w->tid);
}

/* One CQE, by a request or by a message. */
static int post_one(struct ring *r, bool message)
{
	if (message)
		return send_msg(r->backend, r->fd, 0, 0);
	ring_nop(r, 0);
	return ring_submit(r, 0) - 1;
}

TEST_F(many, each_for_its_own_number)
{
	unsigned int i, k;

	/* The most demanding first: it must not be in the way of the others. */
	for (i = 0; i < WAITERS; i++)
		start(&self->r, &self->w[i], WAITERS - i, 0);
	for (k = 1; k <= WAITERS; k++) {
		struct waiter *w = &self->w[WAITERS - k];

		ASSERT_EQ(0, post_one(&self->r, k & 1));
		ASSERT_EQ(0, pthread_join(w->thread, NULL));
		EXPECT_EQ(0, w->ret);
		EXPECT_EQ(k, w->seen);
		for (i = 0; i < WAITERS - k; i++)
			EXPECT_FALSE(load_acquire(&self->w[i].done));
	}
}

TEST_F(many, one_is_enough_for_all)
{
	unsigned int i;

	for (i = 0; i < WAITERS; i++)
		start(&self->r, &self->w[i], 1, 0);
	ASSERT_EQ(0, post_one(&self->r, variant->backend == DEVICE));
	for (i = 0; i < WAITERS; i++) {
		ASSERT_EQ(0, pthread_join(self->w[i].thread, NULL));
		EXPECT_EQ(0, self->w[i].ret);
	}
	EXPECT_EQ(1, ring_ready(&self->r));
}

TEST_F(many, one_batch_for_all)
{
	unsigned int i;

	for (i = 0; i < WAITERS; i++)
		start(&self->r, &self->w[i], i + 1, 0);
	for (i = 0; i < WAITERS; i++)
		ring_nop(&self->r, i);
	ASSERT_EQ(WAITERS, ring_submit(&self->r, 0));
	for (i = 0; i < WAITERS; i++) {
		ASSERT_EQ(0, pthread_join(self->w[i].thread, NULL));
		EXPECT_EQ(0, self->w[i].ret);
		EXPECT_EQ(WAITERS, self->w[i].seen);
	}
}

/* The number counts from where the application was when the wait began. */
TEST_F(many, consumed_in_between)
{
	ASSERT_EQ(0, post_one(&self->r, true));
	start(&self->r, &self->w[0], 3, 0);
	ring_seen(&self->r, 1);
	ASSERT_EQ(0, post_one(&self->r, true));
	start(&self->r, &self->w[1], 2, 0);
	ASSERT_EQ(0, post_one(&self->r, true));
	ASSERT_EQ(0, pthread_join(self->w[0].thread, NULL));
	ASSERT_EQ(0, pthread_join(self->w[1].thread, NULL));
	EXPECT_EQ(3, self->w[0].seen);
	EXPECT_EQ(3, self->w[1].seen);
}

TEST_F(many, timeouts)
{
	unsigned int i;

	for (i = 0; i < WAITERS; i++)
		start(&self->r, &self->w[i], i + 1, i & 1 ? 20 + 10 * i : 0);
	for (i = 1; i < WAITERS; i += 2) {
		ASSERT_EQ(0, pthread_join(self->w[i].thread, NULL));
		EXPECT_EQ(-ETIME, self->w[i].ret);
	}
	/* They are out of the way of the others. */
	for (i = 0; i < WAITERS; i++)
		ASSERT_EQ(0, post_one(&self->r, true));
	for (i = 0; i < WAITERS; i += 2) {
		ASSERT_EQ(0, pthread_join(self->w[i].thread, NULL));
		EXPECT_EQ(0, self->w[i].ret);
		EXPECT_LE(i + 1, self->w[i].seen);
	}
}

TEST_F(many, processes)
{
	pid_t child[WAITERS];
	int i, status;

	for (i = 0; i < WAITERS; i++) {
		child[i] = fork();
		if (!child[i])
			_exit(ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS) ? 1 : 0);
		ASSERT_LT(0, child[i]);
	}
	for (i = 0; i < WAITERS; i++)
		wait_asleep(child[i]);
	ASSERT_EQ(0, kill(child[0], SIGKILL));
	ASSERT_EQ(child[0], waitpid(child[0], &status, 0));
	ASSERT_EQ(0, post_one(&self->r, false));
	for (i = 1; i < WAITERS; i++) {
		ASSERT_EQ(child[i], waitpid(child[i], &status, 0));
		EXPECT_EQ(0, status);
	}
}

/* Messages from some threads, consumed by others, none lost and each sender's in order. */
#define SENDERS	3

struct flow {
	struct ring *r;
	pthread_mutex_t lock;
	uint64_t next[SENDERS];		/* what the consumers expect */
	uint64_t sent[SENDERS];
	unsigned int wrong, errors, senders;
	uint64_t until;
};

struct role {
	pthread_t thread;
	struct flow *f;
	unsigned int id;
};

static void *sender(void *arg)
{
	struct role *role = arg;
	struct flow *f = role->f;
	uint64_t i;
	int ret;

	for (i = 0; now_ns(CLOCK_MONOTONIC) < f->until; i++) {
		ret = send_msg(f->r->backend, f->r->fd, i, role->id);
		if (ret)
			__atomic_fetch_add(&f->errors, 1, __ATOMIC_RELAXED);
		/* Do not run away from the consumers. */
		while (i + 1 - load_acquire(&f->next[role->id]) > 20)
			sched_yield();
	}
	f->sent[role->id] = i;
	__atomic_fetch_sub(&f->senders, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *consumer(void *arg)
{
	struct role *role = arg;
	struct flow *f = role->f;
	struct __kernel_timespec ts = { .tv_nsec = 50000000 };
	struct io_uring_getevents_arg ext = { .ts = (unsigned long)&ts };
	struct io_uring_cqe cqe;
	bool last;
	int ret;

	do {
		last = !load_acquire(&f->senders);
		ret = uring_enter_arg(f->r->backend, f->r->fd, 0, 1 + role->id,
				      IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &ext,
				      sizeof(ext));
		if (ret && ret != -ETIME)
			__atomic_fetch_add(&f->errors, 1, __ATOMIC_RELAXED);
		pthread_mutex_lock(&f->lock);
		while (ring_cqe(f->r, &cqe)) {
			if (cqe.res >= SENDERS || cqe.user_data != f->next[cqe.res])
				f->wrong++;
			else
				store_release(&f->next[cqe.res], cqe.user_data + 1);
		}
		pthread_mutex_unlock(&f->lock);
	} while (!last);
	return NULL;
}

TEST_F_TIMEOUT(many, stress, 3600)
{
	const char *stress = getenv("STRESS");
	unsigned int seconds = stress ? atoi(stress) : 2;
	struct flow f = { .r = &self->r, .senders = SENDERS, .lock = PTHREAD_MUTEX_INITIALIZER };
	struct role senders[SENDERS], consumers[4];
	unsigned int i;

	f.until = now_ns(CLOCK_MONOTONIC) + seconds * 1000000000ull;
	for (i = 0; i < 4; i++) {
		consumers[i] = (struct role) { .f = &f, .id = i };
		ASSERT_EQ(0, pthread_create(&consumers[i].thread, NULL, consumer, &consumers[i]));
	}
	for (i = 0; i < SENDERS; i++) {
		senders[i] = (struct role) { .f = &f, .id = i };
		ASSERT_EQ(0, pthread_create(&senders[i].thread, NULL, sender, &senders[i]));
	}
	for (i = 0; i < SENDERS; i++)
		ASSERT_EQ(0, pthread_join(senders[i].thread, NULL));
	for (i = 0; i < 4; i++)
		ASSERT_EQ(0, pthread_join(consumers[i].thread, NULL));
	EXPECT_EQ(0, f.wrong);
	EXPECT_EQ(0, f.errors);
	for (i = 0; i < SENDERS; i++) {
		EXPECT_LT(0, f.sent[i]);
		EXPECT_EQ(f.sent[i], f.next[i]);
	}
}

TEST_HARNESS_MAIN
