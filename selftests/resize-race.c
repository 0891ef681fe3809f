// SPDX-License-Identifier: GPL-2.0
/* Rings are resized while others send to them, poll them, map them and look into fdinfo. */
#include "uring.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include "resize.h"
#include "kselftest_harness.h"

#define SENDERS	2

struct race {
	enum backend backend;
	int fd;
	bool stop;
	unsigned int sent[SENDERS];
	unsigned int polled, mapped, read;
	int error;
};

FIXTURE(race) { struct ring r; };
BACKEND_VARIANTS(race);

FIXTURE_SETUP(race)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, DEFER | IORING_SETUP_TASKRUN_FLAG));
}

FIXTURE_TEARDOWN(race)
{
	ring_exit(&self->r);
}

struct sender {
	pthread_t thread;
	struct race *race;
	unsigned int id;
	unsigned int received;
};

static void *sender(void *arg)
{
	struct sender *s = arg;
	struct race *c = s->race;
	unsigned int i;

	for (i = 0; !load_acquire(&c->stop); i++) {
		if (send_msg(c->backend, c->fd, i, s->id))
			c->error = 1;
		store_release(&c->sent[s->id], i + 1);
		while (i + 1 - load_acquire(&s->received) > 100 && !load_acquire(&c->stop))
			sched_yield();
	}
	return NULL;
}

static void *poller(void *arg)
{
	struct race *c = arg;
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN | POLLOUT };
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev);
	while (!load_acquire(&c->stop)) {
		if (poll(&pfd, 1, 10) < 0 || pfd.revents & ~(POLLIN | POLLOUT))
			c->error = 2;
		if (epoll_wait(epoll, &ev, 1, 1) < 0)
			c->error = 3;
		c->polled++;
	}
	close(epoll);
	return NULL;
}

/* What is mapped may be the old or the new ring; a part of it is always there. */
static void *mapper(void *arg)
{
	struct race *c = arg;
	unsigned int *p, sum = 0;

	while (!load_acquire(&c->stop)) {
		p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd,
			 IORING_OFF_CQ_RING);
		if (p == MAP_FAILED) {
			c->error = 4;
			continue;
		}
		sum += load_acquire(p);
		munmap(p, 4096);
		p = mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, c->fd, IORING_OFF_SQES);
		if (p == MAP_FAILED) {
			c->error = 5;
			continue;
		}
		sum += load_acquire(p);
		munmap(p, 1 << 20);
		c->mapped++;
	}
	return (void *)(unsigned long)sum;
}

static void *reader(void *arg)
{
	struct race *c = arg;
	char path[64], text[8192];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", c->fd);
	while (!load_acquire(&c->stop)) {
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, text, sizeof(text)) <= 0)
			c->error = 6;
		close(fd);
		c->read++;
	}
	return NULL;
}

static unsigned int drain(struct ring *r, struct sender *s, unsigned int *next, unsigned int *own)
{
	struct io_uring_cqe cqe;
	unsigned int wrong = 0;

	while (ring_cqe(r, &cqe)) {
		if (cqe.res == 1000) {
			wrong += cqe.user_data != (*own)++;
			continue;
		}
		if (cqe.res < 0 || cqe.res >= SENDERS || cqe.user_data != next[cqe.res])
			wrong++;
		else
			store_release(&s[cqe.res].received, ++next[cqe.res]);
	}
	return wrong;
}

TEST_F_TIMEOUT(race, nothing_is_lost, 3600)
{
	const char *stress = getenv("STRESS");
	uint64_t until = now_ns(CLOCK_MONOTONIC) + (stress ? atoi(stress) : 2) * 1000000000ull;
	unsigned int next[SENDERS] = {}, own = 0, posted = 0, wrong = 0, resized = 0, i;
	struct race c = { .backend = variant->backend, .fd = self->r.fd };
	struct sender s[SENDERS] = {};
	struct ring *r = &self->r;
	pthread_t others[3];
	unsigned int seed = 1;

	for (i = 0; i < SENDERS; i++) {
		s[i].race = &c;
		s[i].id = i;
		ASSERT_EQ(0, pthread_create(&s[i].thread, NULL, sender, &s[i]));
	}
	ASSERT_EQ(0, pthread_create(&others[0], NULL, poller, &c));
	ASSERT_EQ(0, pthread_create(&others[1], NULL, mapper, &c));
	ASSERT_EQ(0, pthread_create(&others[2], NULL, reader, &c));
	while (now_ns(CLOCK_MONOTONIC) < until || resized < 10) {
		struct io_uring_sqe *sqe;
		int ret;

		ret = resize(r, 1 << rand_r(&seed) % 6, 64 << rand_r(&seed) % 4);
		ASSERT_TRUE(ret == 0 || ret == -EOVERFLOW);
		resized += !ret;
		/* Sometimes what is in the rings stays there over a resize. */
		for (i = rand_r(&seed) % 4; i; i--) {
			sqe = ring_nop(r, posted);
			if (!sqe)
				break;
			sqe->nop_flags = IORING_NOP_INJECT_RESULT;
			sqe->len = 1000;
			posted++;
		}
		ring_flush(r);
		if (rand_r(&seed) & 1)
			continue;
		i = *r->sq_tail - *r->sq_head;
		ASSERT_EQ(i, ring_enter(r, i, 0, IORING_ENTER_GETEVENTS));
		if (rand_r(&seed) & 1)
			wrong += drain(r, s, next, &own);
	}
	store_release(&c.stop, true);
	for (i = 0; i < SENDERS; i++)
		ASSERT_EQ(0, pthread_join(s[i].thread, NULL));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_join(others[i], NULL));
	i = *r->sq_tail - *r->sq_head;
	ASSERT_EQ(i, ring_enter(r, i, 0, 0));
	/* In portions: natively a call runs so much, and the CQ may be small. */
	for (i = 0; i < 100000 && (next[0] != c.sent[0] || next[1] != c.sent[1]); i++) {
		ASSERT_EQ(0, ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS));
		wrong += drain(r, s, next, &own);
	}
	ASSERT_EQ(0, ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS));
	wrong += drain(r, s, next, &own);
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(0, c.error);
	EXPECT_EQ(posted, own);
	for (i = 0; i < SENDERS; i++) {
		EXPECT_EQ(c.sent[i], next[i]);
		EXPECT_LT(0, next[i]);
	}
	EXPECT_LT(0, c.polled);
	EXPECT_LT(0, c.mapped);
	EXPECT_LT(0, c.read);
}

TEST_HARNESS_MAIN
