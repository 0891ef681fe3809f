// SPDX-License-Identifier: GPL-2.0
/* A registered eventfd: when it is signalled, and when not. */
#include "uring.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include "kselftest_harness.h"

FIXTURE(eventfd) {
	struct ring r;
	int fd;
};

RING_VARIANTS(eventfd);

FIXTURE_SETUP(eventfd)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
	self->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(eventfd)
{
	close(self->fd);
	ring_exit(&self->r);
}

static int add(struct ring *r, int fd)
{
	return ring_register(r, IORING_REGISTER_EVENTFD, &fd, 1);
}

static int del(struct ring *r)
{
	return ring_register(r, IORING_UNREGISTER_EVENTFD, NULL, 0);
}

/* How often it was signalled since the last time. */
static long signals(int fd)
{
	eventfd_t count;

	return eventfd_read(fd, &count) ? 0 : (long)count;
}

static int post(struct ring *r, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		ring_nop(r, i);
	return ring_enter(r, ring_flush(r), 0, 0);
}

static void consume(struct ring *r)
{
	ring_seen(r, ring_ready(r));
}

TEST_F(eventfd, errors)
{
	unsigned int ops[] = { IORING_REGISTER_EVENTFD, IORING_REGISTER_EVENTFD_ASYNC };
	int fd, pipes[2], i;

	ASSERT_EQ(0, pipe(pipes));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-EINVAL, ring_register(&self->r, ops[i], &self->fd, 0));
		EXPECT_EQ(-EINVAL, ring_register(&self->r, ops[i], &self->fd, 2));
		EXPECT_EQ(-EINVAL, ring_register(&self->r, ops[i], NULL, 0));
		EXPECT_EQ(-EFAULT, ring_register(&self->r, ops[i], NULL, 1));
		EXPECT_EQ(-EFAULT, ring_register(&self->r, ops[i], (void *)-8l, 1));
		fd = -1;
		EXPECT_EQ(-EBADF, ring_register(&self->r, ops[i], &fd, 1));
		fd = 4000;
		EXPECT_EQ(-EBADF, ring_register(&self->r, ops[i], &fd, 1));
		EXPECT_EQ(-EINVAL, ring_register(&self->r, ops[i], &pipes[0], 1));
		EXPECT_EQ(-EINVAL, ring_register(&self->r, ops[i], &self->r.fd, 1));
		/* There can be one, of either kind. */
		EXPECT_EQ(-ENXIO, del(&self->r));
		EXPECT_EQ(0, ring_register(&self->r, ops[i], &self->fd, 1));
		EXPECT_EQ(-EBUSY, ring_register(&self->r, ops[0], &self->fd, 1));
		EXPECT_EQ(-EBUSY, ring_register(&self->r, ops[1], &self->fd, 1));
		EXPECT_EQ(-EBUSY, ring_register(&self->r, ops[0], NULL, 1));
		EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_UNREGISTER_EVENTFD, &fd, 0));
		EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_UNREGISTER_EVENTFD, NULL, 1));
		EXPECT_EQ(0, del(&self->r));
		EXPECT_EQ(-ENXIO, del(&self->r));
	}
	close(pipes[0]);
	close(pipes[1]);
}

TEST_F(eventfd, once_for_each_batch)
{
	ASSERT_EQ(1, post(&self->r, 1));
	ASSERT_EQ(0, add(&self->r, self->fd));
	/* What was there before does not count. */
	EXPECT_EQ(0, signals(self->fd));
	ASSERT_EQ(5, post(&self->r, 5));
	EXPECT_EQ(1, signals(self->fd));
	ASSERT_EQ(1, post(&self->r, 1));
	ASSERT_EQ(2, post(&self->r, 2));
	EXPECT_EQ(2, signals(self->fd));
	EXPECT_EQ(9, ring_ready(&self->r));
	/* Nothing new, nothing told. */
	ASSERT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
	ASSERT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, signals(self->fd));
	ASSERT_EQ(0, del(&self->r));
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(0, signals(self->fd));
}

TEST_F(eventfd, only_with_cqes)
{
	struct io_uring_sqe *sqe;

	ASSERT_EQ(0, add(&self->r, self->fd));
	ring_nop(&self->r, 1)->flags = IOSQE_CQE_SKIP_SUCCESS;
	ring_nop(&self->r, 2)->flags = IOSQE_CQE_SKIP_SUCCESS;
	ASSERT_EQ(2, ring_enter(&self->r, ring_flush(&self->r), 0, 0));
	EXPECT_EQ(0, signals(self->fd));
	ring_nop(&self->r, 1)->flags = IOSQE_CQE_SKIP_SUCCESS;
	ring_nop(&self->r, 2);
	ASSERT_EQ(2, ring_enter(&self->r, ring_flush(&self->r), 0, 0));
	EXPECT_EQ(1, signals(self->fd));
	/* A failure is told in any case. */
	sqe = ring_nop(&self->r, 3);
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->nop_flags = IORING_NOP_INJECT_RESULT;
	sqe->len = -EIO;
	ASSERT_EQ(1, ring_enter(&self->r, ring_flush(&self->r), 0, 0));
	EXPECT_EQ(1, signals(self->fd));
	EXPECT_EQ(2, ring_ready(&self->r));
	/* So is an SQE that is in error. */
	ring_nop(&self->r, 4)->opcode = 200;
	ASSERT_EQ(1, ring_enter(&self->r, ring_flush(&self->r), 0, 0));
	EXPECT_EQ(1, signals(self->fd));
}

TEST_F(eventfd, overflow)
{
	ASSERT_EQ(0, add(&self->r, self->fd));
	ASSERT_EQ(8, post(&self->r, 8));
	ASSERT_EQ(8, post(&self->r, 8));
	EXPECT_EQ(2, signals(self->fd));
	/* These are not in the ring, so they are not told. */
	ASSERT_EQ(3, post(&self->r, 3));
	EXPECT_TRUE(*self->r.sq_flags & IORING_SQ_CQ_OVERFLOW);
	EXPECT_EQ(0, signals(self->fd));
	consume(&self->r);
	ASSERT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(3, ring_ready(&self->r));
	EXPECT_EQ(1, signals(self->fd));
}

TEST_F(eventfd, disabled_flag)
{
	ASSERT_EQ(0, add(&self->r, self->fd));
	store_release(self->r.cq_flags, IORING_CQ_EVENTFD_DISABLED);
	ASSERT_EQ(1, post(&self->r, 1));
	ASSERT_EQ(0, send_msg(variant->backend, self->r.fd, 1, 1));
	EXPECT_EQ(0, signals(self->fd));
	ASSERT_EQ(0, ring_enter(&self->r, 0, 2, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, signals(self->fd));
	EXPECT_EQ(2, ring_ready(&self->r));
	/* Other bits mean nothing. */
	store_release(self->r.cq_flags, ~IORING_CQ_EVENTFD_DISABLED);
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(1, signals(self->fd));
}

/* Only what was run by a worker signals such a one. */
TEST_F(eventfd, async)
{
	struct io_uring_cqe cqe;

	ASSERT_EQ(0, ring_register(&self->r, IORING_REGISTER_EVENTFD_ASYNC, &self->fd, 1));
	ASSERT_EQ(3, post(&self->r, 3));
	EXPECT_EQ(0, signals(self->fd));
	ASSERT_EQ(0, send_msg(variant->backend, self->r.fd, 1, 1));
	ASSERT_EQ(0, ring_enter(&self->r, 0, 4, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(4, ring_ready(&self->r));
	EXPECT_EQ(0, signals(self->fd));
	ring_nop(&self->r, 1)->nop_flags = IORING_NOP_TW;
	ASSERT_EQ(1, ring_submit(&self->r, 5));
	EXPECT_EQ(0, signals(self->fd));
	consume(&self->r);

	ring_nop(&self->r, 1)->flags = IOSQE_ASYNC;
	ASSERT_EQ(1, ring_submit(&self->r, 1));
	ASSERT_TRUE(ring_cqe(&self->r, &cqe));
	EXPECT_EQ(0, cqe.res);
	/* The CQE is there first, then the signal. */
	while (!(variant->flags & IORING_SETUP_DEFER_TASKRUN) && signals(self->fd) != 1)
		usleep(1000);
}

/* In a ring that defers its work the first thing that waits to be run is told, too. */
TEST_F(eventfd, message)
{
	bool defer = variant->flags & IORING_SETUP_DEFER_TASKRUN;
	struct pollfd event = { .fd = self->fd, .events = POLLIN };

	ASSERT_EQ(0, add(&self->r, self->fd));
	ASSERT_EQ(0, send_msg(variant->backend, self->r.fd, 1, 1));
	EXPECT_EQ(1, signals(self->fd));
	ASSERT_EQ(0, send_msg(variant->backend, self->r.fd, 2, 2));
	EXPECT_EQ(defer ? 0 : 1, signals(self->fd));
	ASSERT_EQ(0, ring_enter(&self->r, 0, 2, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(2, ring_ready(&self->r));
	EXPECT_EQ(defer ? 1 : 0, signals(self->fd));
	/* Requests of its own are no different. */
	ring_nop(&self->r, 1)->nop_flags = IORING_NOP_TW;
	ASSERT_EQ(1, ring_enter(&self->r, ring_flush(&self->r), 0, 0));
	/* A thread does that a little after it took the SQE; the CQE is there first. */
	EXPECT_EQ(1, poll(&event, 1, ring_is_polled(&self->r) ? 60000 : 0));
	EXPECT_EQ(1, signals(self->fd));
	EXPECT_EQ(defer ? 2 : 3, ring_ready(&self->r));
	ASSERT_EQ(0, ring_enter(&self->r, 0, 3, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(defer ? 1 : 0, signals(self->fd));
}

/* The descriptor can be closed; two rings can share an eventfd. */
TEST_F(eventfd, shared)
{
	int fd = dup(self->fd);
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, variant->backend, 8, variant->flags));
	ASSERT_EQ(0, add(&self->r, fd));
	ASSERT_EQ(0, add(&r, fd));
	close(fd);
	ASSERT_EQ(1, post(&self->r, 1));
	ASSERT_EQ(2, post(&r, 2));
	EXPECT_EQ(2, signals(self->fd));
	ring_exit(&r);
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(1, signals(self->fd));
}

/* It never blocks, however high the counter is. */
TEST_F(eventfd, counter_is_full)
{
	ASSERT_EQ(0, add(&self->r, self->fd));
	ASSERT_EQ(0, eventfd_write(self->fd, UINT64_MAX - 1));
	ASSERT_EQ(1, post(&self->r, 1));
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(2, ring_ready(&self->r));
	EXPECT_EQ(-1l, signals(self->fd));
	ASSERT_EQ(1, post(&self->r, 1));
	EXPECT_EQ(1, signals(self->fd));
}

TEST_F(eventfd, before_the_ring_is_enabled)
{
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, variant->backend, 8, variant->flags | IORING_SETUP_R_DISABLED));
	ASSERT_EQ(0, add(&r, self->fd));
	ASSERT_EQ(0, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	ASSERT_EQ(1, post(&r, 1));
	EXPECT_EQ(1, signals(self->fd));
	ring_exit(&r);
}

struct waiter {
	int epoll;
	pid_t tid;
	int ret;
};

static void *waiter(void *arg)
{
	struct waiter *w = arg;
	struct epoll_event ev;

	store_release(&w->tid, gettid());
	w->ret = epoll_wait(w->epoll, &ev, 1, -1);
	return NULL;
}

/* Those who poll the eventfd, the usual way to have rings in an event loop. */
TEST_F(eventfd, epoll)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct waiter w = { .epoll = epoll_create1(EPOLL_CLOEXEC) };
	pthread_t thread;
	int i;

	ASSERT_EQ(0, add(&self->r, self->fd));
	ASSERT_EQ(0, epoll_ctl(w.epoll, EPOLL_CTL_ADD, self->fd, &ev));
	for (i = 0; i < 4; i++) {
		int ret;

		w.tid = 0;
		ASSERT_EQ(0, pthread_create(&thread, NULL, waiter, &w));
		while (!load_acquire(&w.tid))
			usleep(1000);
		wait_asleep(w.tid);
		ret = i & 1 ? send_msg(variant->backend, self->r.fd, 1, 1) : post(&self->r, 1) - 1;
		ASSERT_EQ(0, ret);
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_EQ(1, w.ret);
		EXPECT_EQ(1, signals(self->fd));
		ASSERT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
		signals(self->fd);
		consume(&self->r);
	}
	close(w.epoll);
}

/* A native ring with an eventfd of its own polls this one's: a signal within a signal. */
TEST_F(eventfd, chain)
{
	int second = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), i;
	struct io_uring_sqe *sqe;
	struct ring n;

	ASSERT_EQ(0, ring_init(&n, NATIVE, 8, IORING_SETUP_SINGLE_ISSUER |
			       IORING_SETUP_DEFER_TASKRUN));
	ASSERT_EQ(0, add(&n, second));
	ASSERT_EQ(0, add(&self->r, self->fd));
	for (i = 0; i < 3; i++) {
		struct pollfd pfd = { .fd = second, .events = POLLIN };

		sqe = ring_sqe(&n);
		sqe->opcode = IORING_OP_POLL_ADD;
		sqe->fd = self->fd;
		sqe->poll32_events = POLLIN;
		ASSERT_EQ(1, ring_submit(&n, 0));
		ASSERT_EQ(0, ring_ready(&n));
		ASSERT_EQ(1, post(&self->r, 1));
		EXPECT_EQ(1, poll(&pfd, 1, -1));
		ASSERT_EQ(0, ring_enter(&n, 0, 1, IORING_ENTER_GETEVENTS));
		consume(&n);
		EXPECT_EQ(2, signals(second));
		EXPECT_EQ(1, signals(self->fd));
		consume(&self->r);
	}
	ring_exit(&n);
	close(second);
}

/* Registered and unregistered while messages come in from elsewhere. */
struct flow {
	struct ring *r;
	bool stop;
	unsigned int sent, got;
	int error;
};

static void *flow(void *arg)
{
	struct flow *f = arg;

	while (!load_acquire(&f->stop)) {
		/* Not faster than it is consumed: this is no test of who drowns in messages. */
		if (f->sent - load_acquire(&f->got) >= 16) {
			sched_yield();
			continue;
		}
		if (send_msg(f->r->backend, f->r->fd, f->sent, 0))
			f->error = 1;
		f->sent++;
	}
	return NULL;
}

TEST_F(eventfd, changed_in_flight)
{
	struct flow f = { .r = &self->r };
	struct io_uring_cqe cqe;
	unsigned int i, got = 0;
	pthread_t thread;

	ASSERT_EQ(0, pthread_create(&thread, NULL, flow, &f));
	for (i = 0; i < 500; i++) {
		ASSERT_EQ(0, add(&self->r, self->fd));
		ASSERT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
		while (ring_cqe(&self->r, &cqe))
			EXPECT_EQ(got++, cqe.user_data);
		store_release(&f.got, got);
		ASSERT_EQ(0, del(&self->r));
	}
	store_release(&f.stop, true);
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, f.error);
	while (got != f.sent) {
		ASSERT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
		while (ring_cqe(&self->r, &cqe))
			EXPECT_EQ(got++, cqe.user_data);
	}
	signals(self->fd);
	EXPECT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, signals(self->fd));
}

TEST_HARNESS_MAIN
