// SPDX-License-Identifier: GPL-2.0
/* A ring's descriptor in poll(2), select(2) and epoll(7). */
#include "uring.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define ALL	(POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLWRNORM | POLLRDHUP)
#define READ	(POLLIN | POLLRDNORM)
#define WRITE	(POLLOUT | POLLWRNORM)

FIXTURE(poll) { struct ring r; };
RING_VARIANTS(poll);

FIXTURE_SETUP(poll)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
}

FIXTURE_TEARDOWN(poll)
{
	ring_exit(&self->r);
}

static int poll_now(struct ring *r)
{
	struct pollfd p = { .fd = r->fd, .events = ALL };
	int ret = poll(&p, 1, 0);

	return ret < 0 ? -errno : p.revents;
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

TEST_F(poll, readable_with_cqes)
{
	EXPECT_EQ(WRITE, poll_now(&self->r));
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(READ | WRITE, poll_now(&self->r));
	EXPECT_EQ(READ | WRITE, poll_now(&self->r));
	ASSERT_EQ(2, post(&self->r, 2));
	ring_seen(&self->r, 1);
	EXPECT_EQ(READ | WRITE, poll_now(&self->r));
	consume(&self->r);
	EXPECT_EQ(WRITE, poll_now(&self->r));
}

TEST_F(poll, writable_unless_the_sq_is_full)
{
	int i;

	for (i = 0; i < 8; i++) {
		ring_nop(&self->r, i);
		ring_flush(&self->r);
		EXPECT_EQ(i == 7 ? 0 : WRITE, poll_now(&self->r));
	}
	ASSERT_EQ(1, ring_enter(&self->r, 1, 0, 0));
	EXPECT_EQ(READ | WRITE, poll_now(&self->r));
	ASSERT_EQ(7, ring_enter(&self->r, 7, 0, 0));
	EXPECT_EQ(READ | WRITE, poll_now(&self->r));
}

/* What overflowed can be had by entering. */
TEST_F(poll, readable_with_overflow)
{
	ASSERT_EQ(8, post(&self->r, 8));
	ASSERT_EQ(8, post(&self->r, 8));
	ring_nop(&self->r, 8);
	ASSERT_EQ(1, ring_enter(&self->r, ring_flush(&self->r), 0, 0));
	EXPECT_TRUE(*self->r.sq_flags & IORING_SQ_CQ_OVERFLOW);
	consume(&self->r);
	ASSERT_EQ(0, ring_ready(&self->r));
	EXPECT_EQ(READ | WRITE, poll_now(&self->r));
	ASSERT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, ring_ready(&self->r));
	EXPECT_EQ(READ | WRITE, poll_now(&self->r));
	consume(&self->r);
	EXPECT_EQ(WRITE, poll_now(&self->r));
}

/* The same for work that waits for the submitter. */
TEST_F(poll, readable_with_pending_work)
{
	bool defer = variant->flags & IORING_SETUP_DEFER_TASKRUN;

	ASSERT_EQ(0, send_msg(variant->backend, self->r.fd, 1, 1));
	EXPECT_EQ(defer ? 0 : 1, ring_ready(&self->r));
	EXPECT_EQ(READ | WRITE, poll_now(&self->r));
	ASSERT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
	consume(&self->r);
	EXPECT_EQ(WRITE, poll_now(&self->r));
}

TEST_F(poll, select)
{
	struct timeval tv = {};
	fd_set in, out, err;

	FD_ZERO(&in);
	FD_SET(self->r.fd, &in);
	out = in;
	err = in;
	EXPECT_EQ(1, select(self->r.fd + 1, &in, &out, &err, &tv));
	EXPECT_FALSE(FD_ISSET(self->r.fd, &in));
	EXPECT_TRUE(FD_ISSET(self->r.fd, &out));
	ASSERT_EQ(1, post(&self->r, 1));
	FD_SET(self->r.fd, &in);
	EXPECT_EQ(1, select(self->r.fd + 1, &in, NULL, NULL, NULL));
}

/* Somebody who waits for the ring to become readable. */
struct poller {
	pthread_t thread;
	int fd;
	enum { POLL, SELECT, EPOLL, EPOLL_EDGE, NESTED } how;
	int epoll[2];
	pid_t tid;
	int ret;
};

static void *poller(void *arg)
{
	struct poller *p = arg;
	struct pollfd pfd = { .fd = p->fd, .events = POLLIN };
	fd_set in;
	int i;

	p->epoll[0] = epoll_create1(0);
	p->epoll[1] = epoll_create1(0);
	if (p->how >= EPOLL)
		add(p->epoll[0], p->fd, EPOLLIN | (p->how == EPOLL_EDGE ? EPOLLET : 0));
	if (p->how == NESTED)
		add(p->epoll[1], p->epoll[0], EPOLLIN);
	FD_ZERO(&in);
	FD_SET(p->fd, &in);
	store_release(&p->tid, gettid());
	switch (p->how) {
	case POLL:
		p->ret = poll(&pfd, 1, -1) == 1 ? pfd.revents : -1;
		break;
	case SELECT:
		p->ret = select(p->fd + 1, &in, NULL, NULL, NULL) == 1 ? POLLIN : -1;
		break;
	case EPOLL:
	case EPOLL_EDGE:
		p->ret = epoll_for(p->epoll[0], -1);
		break;
	case NESTED:
		p->ret = epoll_for(p->epoll[1], -1);
		if (p->ret == EPOLLIN)
			p->ret = epoll_for(p->epoll[0], 0);
		break;
	}
	for (i = 0; i < 2; i++)
		close(p->epoll[i]);
	return NULL;
}

static void poller_start(struct poller *p, int fd, int how)
{
	memset(p, 0, sizeof(*p));
	p->fd = fd;
	p->how = how;
	if (pthread_create(&p->thread, NULL, poller, p))
		abort();
	while (!load_acquire(&p->tid))
		usleep(1000);
	wait_asleep(p->tid);
}

static int poller_join(struct poller *p)
{
	pthread_join(p->thread, NULL);
	return p->ret;
}

/* Those who slept before the first CQE, and those who came later. */
TEST_F(poll, wakes)
{
	struct poller p;
	int how, round;

	for (how = POLL; how <= NESTED; how++) {
		struct ring r;

		ASSERT_EQ(0, ring_init(&r, variant->backend, 8, variant->flags));
		for (round = 0; round < 3; round++) {
			poller_start(&p, r.fd, how);
			ASSERT_EQ(1, post(&r, 1));
			EXPECT_EQ(POLLIN, poller_join(&p));
			consume(&r);
		}
		ring_exit(&r);
	}
}

/* When the first CQE came before anybody polled. */
TEST_F(poll, wakes_after_the_first_cqe)
{
	struct poller p;
	int how;

	for (how = POLL; how <= NESTED; how++) {
		struct ring r;

		ASSERT_EQ(0, ring_init(&r, variant->backend, 8, variant->flags));
		ASSERT_EQ(1, post(&r, 1));
		consume(&r);
		poller_start(&p, r.fd, how);
		ASSERT_EQ(0, send_msg(variant->backend, r.fd, 1, 1));
		EXPECT_EQ(POLLIN, poller_join(&p));
		ring_exit(&r);
	}
}

TEST_F(poll, wakes_all)
{
	struct poller p[10];
	int i;

	for (i = 0; i < 10; i++)
		poller_start(&p[i], self->r.fd, i / 2);
	ASSERT_EQ(1, post(&self->r, 1));
	for (i = 0; i < 10; i++)
		EXPECT_EQ(POLLIN, poller_join(&p[i]));
}

TEST_F(poll, message_wakes_all)
{
	struct poller p[10];
	int i;

	for (i = 0; i < 10; i++)
		poller_start(&p[i], self->r.fd, i / 2);
	ASSERT_EQ(0, send_msg(variant->backend, self->r.fd, 1, 1));
	for (i = 0; i < 10; i++)
		EXPECT_EQ(POLLIN, poller_join(&p[i]));
}

TEST_F(poll, child)
{
	struct pollfd pfd = { .fd = self->r.fd, .events = POLLIN };
	int status;
	pid_t child = fork();

	if (!child)
		_exit(poll(&pfd, 1, -1) == 1 && pfd.revents == POLLIN ? 0 : 1);
	ASSERT_LT(0, child);
	wait_asleep(child);
	ASSERT_EQ(1, post(&self->r, 1));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_F(poll, level_triggered)
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

TEST_F(poll, edge_triggered)
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
TEST_F(poll, edge_with_overflow)
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

TEST_F(poll, one_shot)
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

TEST_F(poll, nested)
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
TEST_F(poll, closed)
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

/* A native ring polls this one. */
TEST_F(poll, native_poll_request)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	struct ring n;
	int i, ret;

	ASSERT_EQ(0, ring_init(&n, NATIVE, 8, 0));
	for (i = 0; i < 3; i++) {
		sqe = ring_sqe(&n);
		sqe->opcode = IORING_OP_POLL_ADD;
		sqe->fd = self->r.fd;
		sqe->poll32_events = POLLIN;
		ASSERT_EQ(1, ring_submit(&n, 0));
		EXPECT_EQ(0, ring_ready(&n));
		ret = i ? send_msg(variant->backend, self->r.fd, 1, 1) : post(&self->r, 1) - 1;
		ASSERT_EQ(0, ret);
		ASSERT_EQ(0, ring_enter(&n, 0, 1, IORING_ENTER_GETEVENTS));
		ASSERT_TRUE(ring_cqe(&n, &cqe));
		EXPECT_EQ(POLLIN, cqe.res);
		ASSERT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
		consume(&self->r);
	}
	ring_exit(&n);
}

/* Whoever polled when the ring was not enabled yet gets its events afterwards. */
TEST_F(poll, disabled_ring)
{
	struct poller p[5];
	struct ring r;
	int i;

	ASSERT_EQ(0, ring_init(&r, variant->backend, 8, variant->flags | IORING_SETUP_R_DISABLED));
	EXPECT_EQ(WRITE, poll_now(&r));
	for (i = 0; i < 5; i++)
		poller_start(&p[i], r.fd, i);
	ASSERT_EQ(0, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	ASSERT_EQ(1, post(&r, 1));
	for (i = 0; i < 5; i++)
		EXPECT_EQ(POLLIN, poller_join(&p[i]));
	ring_exit(&r);
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

TEST_F(poll, no_edge_is_lost)
{
	struct flow f = { .r = &self->r, .nr = 3000 };
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct io_uring_cqe cqe;
	unsigned int next = 0;
	pthread_t thread;

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
