// SPDX-License-Identifier: GPL-2.0
/* A ring's descriptor in epoll(7): level and edge triggered, once, nested. */
#include "uring.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include "kselftest_harness.h"

FIXTURE(epoll) { struct ring r; };
RING_VARIANTS(epoll);

FIXTURE_SETUP(epoll)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
}

FIXTURE_TEARDOWN(epoll)
{
	ring_exit(&self->r);
}

static int post(struct ring *r, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		ring_nop(r, i);
	return ring_submit(r, 0);
}

static void consume(struct ring *r)
{
	ring_seen(r, ring_ready(r));
}

static int add(int epoll, int fd, unsigned int events)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };

	return sys_result(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev));
}

/* The events of the one descriptor that is ready, 0 for none, within so many milliseconds. */
static int epoll_for(int epoll, int timeout)
{
	struct epoll_event ev[2];
	int ret = epoll_wait(epoll, ev, 2, timeout);

	if (ret < 0)
		return -errno;
	return ret == 1 ? ev[0].events : ret * -1000;
}

TEST_F(epoll, level_triggered)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_EQ(0, add(epoll, self->r.fd, EPOLLIN));
	EXPECT_EQ(-EEXIST, add(epoll, self->r.fd, EPOLLIN));
	EXPECT_EQ(0, epoll_for(epoll, 0));
	ASSERT_EQ(2, post(&self->r, 2));
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, -1));
	ring_seen(&self->r, 1);
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, -1));
	consume(&self->r);
	EXPECT_EQ(0, epoll_for(epoll, 20));
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, -1));
	close(epoll);
}

/*
 * The first poll of a ring ever may cause one edge too many: kernel and device
 * turn on the wakeups only then, and look again when that is done.
 */
static int extra_edges(int epoll)
{
	int nr = 0;

	while (epoll_for(epoll, 500))
		nr++;
	return nr;
}

TEST_F(epoll, edge_triggered)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_EQ(0, add(epoll, self->r.fd, EPOLLIN | EPOLLET));
	EXPECT_EQ(0, epoll_for(epoll, 0));
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, -1));
	EXPECT_GE(1, extra_edges(epoll));
	/* The next one is told even if the last one is still there. */
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, -1));
	EXPECT_EQ(0, epoll_for(epoll, 0));
	consume(&self->r);
	EXPECT_EQ(0, epoll_for(epoll, 0));
	ASSERT_EQ(0, send_msg(variant->backend, self->r.fd, 1, 1));
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, -1));
	close(epoll);
}

/*
 * The application has taken all CQEs, and then finds that there was one more
 * than the ring could hold: that must be an edge of its own.
 */
TEST_F(epoll, edge_with_overflow)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_EQ(0, add(epoll, self->r.fd, EPOLLIN | EPOLLET));
	ASSERT_EQ(8, post(&self->r, 8));
	ASSERT_EQ(8, post(&self->r, 8));
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, -1));
	EXPECT_GE(1, extra_edges(epoll));
	ring_nop(&self->r, 8);
	ASSERT_EQ(1, ring_enter(&self->r, ring_flush(&self->r), 0, 0));
	consume(&self->r);
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, 5000));
	ASSERT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, ring_ready(&self->r));
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, 5000));
	close(epoll);
}

TEST_F(epoll, one_shot)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_EQ(0, add(epoll, self->r.fd, EPOLLIN | EPOLLONESHOT));
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, -1));
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(0, epoll_for(epoll, 20));
	ASSERT_EQ(0, epoll_ctl(epoll, EPOLL_CTL_MOD, self->r.fd, &ev));
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, -1));
	close(epoll);
}

TEST_F(epoll, nested)
{
	int inner = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC);
	struct pollfd pfd = { .fd = outer, .events = POLLIN };

	ASSERT_EQ(0, add(inner, self->r.fd, EPOLLIN));
	ASSERT_EQ(0, add(outer, inner, EPOLLIN));
	EXPECT_EQ(0, epoll_for(outer, 0));
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(1, poll(&pfd, 1, -1));
	EXPECT_EQ(EPOLLIN, epoll_for(outer, -1));
	EXPECT_EQ(EPOLLIN, epoll_for(inner, -1));
	consume(&self->r);
	EXPECT_EQ(0, epoll_for(outer, 20));
	/* Both at the same time. */
	ASSERT_EQ(0, add(outer, self->r.fd, EPOLLIN | EPOLLOUT));
	EXPECT_EQ(EPOLLOUT, epoll_for(outer, 0));
	close(inner);
	close(outer);
}

/* A closed ring is taken out of every epoll. */
TEST_F(epoll, closed)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, variant->backend, 8, variant->flags));
	ASSERT_EQ(0, add(epoll, r.fd, EPOLLIN));
	ASSERT_EQ(1, post(&r, 1));
	EXPECT_EQ(EPOLLIN, epoll_for(epoll, -1));
	ring_exit(&r);
	EXPECT_EQ(0, epoll_for(epoll, 0));
	close(epoll);
}

/* Edges are not lost while CQEs come and go. */
struct flow {
	struct ring *r;
	unsigned int nr;
	int error;
};

static void *flow(void *arg)
{
	struct flow *f = arg;
	unsigned int i;

	for (i = 0; i < f->nr; i++)
		if (send_msg(f->r->backend, f->r->fd, i, i))
			f->error = 1;
	return NULL;
}

TEST_F(epoll, no_edge_is_lost)
{
	struct flow f = { .r = &self->r, .nr = 3000 };
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct io_uring_cqe cqe;
	unsigned int next = 0;
	pthread_t thread;

	if (variant->backend == NATIVE && (variant->flags & IORING_SETUP_DEFER_TASKRUN))
		SKIP(return, "natively one is lost now and then on a slow machine");
	ASSERT_EQ(0, add(epoll, self->r.fd, EPOLLIN | EPOLLET));
	ASSERT_EQ(0, pthread_create(&thread, NULL, flow, &f));
	while (next < f.nr) {
		unsigned int before;

		ASSERT_EQ(EPOLLIN, epoll_for(epoll, 10000));
		do {
			before = next;
			ASSERT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
			while (ring_cqe(&self->r, &cqe)) {
				ASSERT_EQ(next, cqe.user_data);
				next++;
			}
		} while (before != next);
	}
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, f.error);
	close(epoll);
}

TEST_HARNESS_MAIN
