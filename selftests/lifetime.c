// SPDX-License-Identifier: GPL-2.0
/* How long a ring lives: fork, exec, descriptors that are passed on, mappings that stay, exit. */
#include "stress.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

FIXTURE(life) {
	struct ring r;
	long refs;
};

RING_VARIANTS(life);

FIXTURE_SETUP(life)
{
	self->refs = module_refs();
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
	if (variant->backend == DEVICE)
		ASSERT_EQ(self->refs + 1, module_refs());
}

/* The tests let go of the ring themselves. */
FIXTURE_TEARDOWN(life)
{
	EXPECT_TRUE(falls_to(module_refs, self->refs));
}

/* One NOP there and back. */
static int roundtrip(struct ring *r, uint64_t user_data)
{
	struct io_uring_cqe cqe = {};
	int ret;

	if (!ring_nop(r, user_data))
		return -ENOSPC;
	ret = ring_submit(r, 1);
	if (ret != 1)
		return ret < 0 ? ret : -EIO;
	return ring_cqe(r, &cqe) && cqe.user_data == user_data && !cqe.res ? 0 : -EBADMSG;
}

static int exit_code(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

TEST_F(life, parent_and_child_take_turns)
{
	bool bound = variant->flags & IORING_SETUP_SINGLE_ISSUER;
	pid_t child;
	int i;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, roundtrip(&self->r, i));
		child = fork();
		ASSERT_LE(0, child);
		if (!child) {
			if (bound) {
				ring_nop(&self->r, 1);
				_exit(ring_submit(&self->r, 1) == -EEXIST ? 0 : 1);
			}
			_exit(-roundtrip(&self->r, 100 + i));
		}
		ASSERT_EQ(0, exit_code(child));
		/* The child's SQE is still there, for whoever may submit it. */
		self->r.sqe_tail = *self->r.sq_tail;
		if (bound) {
			ASSERT_EQ(1, ring_enter(&self->r, 1, 1, IORING_ENTER_GETEVENTS));
			ring_seen(&self->r, 1);
		}
		ASSERT_EQ(0, ring_ready(&self->r));
	}
	ring_exit(&self->r);
}

TEST_F(life, child_keeps_it_when_the_parent_closes)
{
	bool bound = variant->flags & IORING_SETUP_SINGLE_ISSUER;
	int go[2], i, ret = 0;
	pid_t child;
	char c;

	ASSERT_EQ(3, ring_nops(&self->r, 3, 1));
	ASSERT_EQ(0, pipe(go));
	child = fork();
	ASSERT_LE(0, child);
	if (!child) {
		close(go[1]);
		if (read(go[0], &c, 1) != 0)
			_exit(100);
		for (i = 0; i < 3; i++) {
			struct io_uring_cqe cqe;

			if (!ring_cqe(&self->r, &cqe) || cqe.user_data != i + 1)
				_exit(101);
		}
		if (!bound)
			ret = roundtrip(&self->r, 7);
		else if (ring_enter(&self->r, 1, 0, 0) != -EEXIST)
			ret = -EIO;
		_exit(-ret);
	}
	ring_exit(&self->r);
	close(go[1]);
	ASSERT_EQ(0, exit_code(child));
	close(go[0]);
}

/* As long as one page of it is mapped. */
TEST_F(life, a_mapping_keeps_it)
{
	unsigned int tail;

	ASSERT_EQ(3, ring_nops(&self->r, 3, 1));
	ASSERT_EQ(0, close(self->r.fd));
	tail = load_acquire(self->r.cq_tail);
	EXPECT_EQ(3, tail);
	ASSERT_EQ(0, munmap(self->r.rings, self->r.rings_size));
	EXPECT_EQ(1, self->r.sqes[0].user_data);
	if (variant->backend == DEVICE)
		EXPECT_LT(self->refs, module_refs());
	ASSERT_EQ(0, munmap(self->r.sqes, self->r.sqes_size));
}

struct waiter {
	struct ring *r;
	pthread_t thread;
	pid_t tid;
	int ret;
	bool started, over;
};

static void *waiter_thread(void *arg)
{
	struct waiter *w = arg;
	int fd = w->r->fd;

	w->tid = gettid();
	store_release(&w->started, true);
	w->ret = uring_enter(w->r->backend, fd, 0, 1, IORING_ENTER_GETEVENTS);
	store_release(&w->over, true);
	return NULL;
}

static void nothing(int sig)
{
}

static void catch_signal(int sig)
{
	struct sigaction sa = { .sa_handler = nothing };

	sigaction(sig, &sa, NULL);
}

/* A thread that sleeps in enter: the file is its own until it comes back. */
static int waiter_start(struct waiter *w, struct ring *r)
{
	*w = (struct waiter) { .r = r };
	catch_signal(SIGUSR1);
	if (pthread_create(&w->thread, NULL, waiter_thread, w))
		return -errno;
	while (!load_acquire(&w->started))
		usleep(100);
	wait_asleep(w->tid);
	return 0;
}

TEST_F(life, a_waiting_thread_keeps_it)
{
	struct waiter w;
	int i;

	if (variant->flags)
		SKIP(ring_exit(&self->r); return, "another thread may not wait");
	ASSERT_EQ(0, waiter_start(&w, &self->r));
	ring_exit(&self->r);
	/* It sleeps on, whatever else happens. */
	for (i = 0; i < 20; i++) {
		usleep(10000);
		ASSERT_FALSE(load_acquire(&w.over));
	}
	EXPECT_EQ('S', thread_state(w.tid));
	if (variant->backend == DEVICE)
		EXPECT_EQ(self->refs + 1, module_refs());
	while (!load_acquire(&w.over)) {
		pthread_kill(w.thread, SIGUSR1);
		usleep(10000);
	}
	pthread_join(w.thread, NULL);
	EXPECT_EQ(-EINTR, w.ret);
}

TEST_F(life, a_waiting_thread_is_told_after_the_close)
{
	struct waiter w;
	int dup_fd;

	if (variant->flags)
		SKIP(ring_exit(&self->r); return, "another thread may not wait");
	ASSERT_EQ(0, waiter_start(&w, &self->r));
	dup_fd = fcntl(self->r.fd, F_DUPFD_CLOEXEC, 100);
	ASSERT_EQ(100, dup_fd);
	ring_exit(&self->r);
	ASSERT_EQ(0, send_msg(variant->backend, dup_fd, 5, 6));
	pthread_join(w.thread, NULL);
	EXPECT_EQ(0, w.ret);
	/* Nothing is mapped, but the CQE is there for a new mapping. */
	self->r.fd = dup_fd;
	ASSERT_EQ(0, ring_map(&self->r));
	EXPECT_EQ(1, ring_ready(&self->r));
	EXPECT_EQ(5, ring_peek(&self->r)->user_data);
	ring_exit(&self->r);
}

static void *sets_up(void *arg)
{
	struct ring *r = arg;

	return (void *)(long)ring_init(r, r->backend, 8, r->p.flags);
}

/* The thread that a ring is bound to is gone: nobody may use it, but nothing else is wrong. */
TEST_F(life, outlives_the_thread_that_set_it_up)
{
	bool bound = variant->flags & IORING_SETUP_SINGLE_ISSUER;
	struct ring r = { .backend = variant->backend, .p.flags = variant->flags };
	struct io_uring_probe probe = {};
	struct pollfd pfd;
	pthread_t thread;
	void *ret;
	int i;

	ring_exit(&self->r);
	ASSERT_EQ(0, pthread_create(&thread, NULL, sets_up, &r));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	ASSERT_EQ(NULL, ret);

	for (i = 0; i < 5; i++)
		ASSERT_EQ(0, send_msg(variant->backend, r.fd, i, 0));
	pfd = (struct pollfd) { .fd = r.fd, .events = POLLIN };
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLIN, pfd.revents);
	if (!bound) {
		EXPECT_EQ(5, ring_ready(&r));
		ring_seen(&r, 5);
		EXPECT_EQ(0, roundtrip(&r, 7));
	} else {
		/* The messages wait for a submitter that does not come any more. */
		EXPECT_EQ(0, ring_ready(&r));
		EXPECT_EQ(-EEXIST, ring_enter(&r, 1, 0, 0));
		EXPECT_EQ(-EEXIST, ring_enter(&r, 0, 1, IORING_ENTER_GETEVENTS));
		EXPECT_EQ(-EEXIST, ring_register(&r, IORING_REGISTER_PROBE, &probe, 0));
	}
	ring_exit(&r);
}

/* In an epoll set, and that one in another: closing takes it out of both. */
TEST_F(life, closed_while_in_an_epoll_set)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = 7 }, got = {};
	int inner = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_EQ(0, epoll_ctl(inner, EPOLL_CTL_ADD, self->r.fd, &ev));
	ASSERT_EQ(0, epoll_ctl(outer, EPOLL_CTL_ADD, inner, &ev));
	ASSERT_EQ(0, epoll_wait(outer, &got, 1, 0));
	ASSERT_EQ(0, send_msg(variant->backend, self->r.fd, 1, 2));
	ASSERT_EQ(1, epoll_wait(outer, &got, 1, -1));
	ASSERT_EQ(1, epoll_wait(inner, &got, 1, -1));
	EXPECT_EQ(EPOLLIN, got.events);
	ring_exit(&self->r);
	EXPECT_EQ(0, epoll_wait(inner, &got, 1, 0));
	EXPECT_EQ(0, epoll_wait(outer, &got, 1, 0));
	close(inner);
	close(outer);
}

/* The ring and its eventfd in one set; the eventfd's descriptor goes before the ring does. */
TEST_F(life, eventfd_in_the_same_epoll_set)
{
	struct epoll_event ev = { .events = EPOLLIN }, got[4];
	int ep = epoll_create1(EPOLL_CLOEXEC), event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	ASSERT_EQ(0, ring_register(&self->r, IORING_REGISTER_EVENTFD, &event, 1));
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->r.fd, &ev));
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, event, &ev));
	ASSERT_EQ(0, send_msg(variant->backend, self->r.fd, 1, 2));
	EXPECT_EQ(2, epoll_wait(ep, got, 4, -1));
	close(event);
	ASSERT_EQ(0, send_msg(variant->backend, self->r.fd, 1, 2));
	EXPECT_EQ(1, epoll_wait(ep, got, 4, -1));
	ring_exit(&self->r);
	EXPECT_EQ(0, epoll_wait(ep, got, 4, 0));
	close(ep);
}

/* Many at once, in all states, with CQEs that were not read. */
TEST_F(life, many_are_closed_at_once)
{
	struct ring rings[64];
	int i;

	ring_exit(&self->r);
	for (i = 0; i < 64; i++) {
		ASSERT_EQ(0, ring_init(&rings[i], variant->backend, 4, variant->flags));
		ASSERT_EQ(4, ring_nops(&rings[i], 4, 0));
		ASSERT_EQ(4, ring_nops(&rings[i], 4, 4));
		ASSERT_EQ(i & 1 ? 4 : 0, ring_nops(&rings[i], i & 1 ? 4 : 0, 8));
		ASSERT_EQ(0, send_msg(variant->backend, rings[i].fd, 1, 2));
	}
	for (i = 0; i < 64; i++)
		ring_exit(&rings[i]);
}

TEST_HARNESS_MAIN
