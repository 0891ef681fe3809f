// SPDX-License-Identifier: GPL-2.0
/* POLL_ADD of files that are special: signals, timers, rings; and how it ends with its process. */
#include "pollop.h"
#include <sys/signalfd.h>
#include <sys/timerfd.h>

/* Those who wait exclusively are not all woken. */
TEST_F(pollop, exclusive)
{
	struct io_uring_cqe cqe;
	unsigned int seen = 0;
	int i, fd;

	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, fd);
	for (i = 1; i <= 3; i++)
		poll_add(&self->io, fd, POLLIN | EPOLLEXCLUSIVE, 0, i);
	ASSERT_EQ(3, ring_submit(self->r, 0));
	for (i = 1; i <= 3; i++) {
		ASSERT_EQ(0, eventfd_write(fd, 1));
		ASSERT_TRUE(next_cqe(self->r, &cqe));
		EXPECT_EQ(POLLIN, cqe.res);
		seen |= 1u << cqe.user_data;
		EXPECT_QUIET();
	}
	EXPECT_EQ(0xe, seen);
	close(fd);
}

TEST_F(pollop, timer)
{
	struct itimerspec in = {
		.it_value.tv_nsec = 20000000, .it_interval.tv_nsec = 20000000,
	};
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	uint64_t expired;

	ASSERT_LE(0, fd);
	poll_add(&self->io, fd, POLLIN, IORING_POLL_ADD_MULTI, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	ASSERT_EQ(0, timerfd_settime(fd, 0, &in, NULL));
	EXPECT_CQE(1, POLLIN, true);
	/* The next one comes when this one was seen. */
	ASSERT_EQ(sizeof(expired), read(fd, &expired, sizeof(expired)));
	EXPECT_CQE(1, POLLIN, true);
	ASSERT_EQ(sizeof(expired), read(fd, &expired, sizeof(expired)));
	EXPECT_CQE(1, POLLIN, true);
	close(fd);
}

TEST_F(pollop, signals)
{
	struct signalfd_siginfo info;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ASSERT_EQ(0, sigprocmask(SIG_BLOCK, &set, NULL));
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	ASSERT_LE(0, fd);
	poll_add(&self->io, fd, POLLIN, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	/* Another one wakes it, too, and is none of its business. */
	ASSERT_EQ(0, kill(getpid(), SIGWINCH));
	EXPECT_QUIET();
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	EXPECT_CQE(1, POLLIN, false);
	EXPECT_EQ(sizeof(info), read(fd, &info, sizeof(info)));
	poll_add(&self->io, fd, POLLIN, IORING_POLL_ADD_MULTI, 2);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	EXPECT_CQE(2, POLLIN, true);
	EXPECT_EQ(sizeof(info), read(fd, &info, sizeof(info)));
	ASSERT_EQ(0, kill(getpid(), SIGUSR1));
	EXPECT_CQE(2, POLLIN, true);
	close(fd);
}

/* Whose signals it is about is gone while it is polled. */
TEST_F(pollop, signals_of_the_dead)
{
	struct io_uring_cqe cqe;
	int status, go[2], i;
	sigset_t set;
	pid_t pid;
	char c;

	if (variant->flags)
		SKIP(return, "another process submits");
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	ASSERT_EQ(0, pipe(go));
	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid) {
			int fd = signalfd(-1, &set, SFD_CLOEXEC);

			sigprocmask(SIG_BLOCK, &set, NULL);
			poll_add(&self->io, fd, POLLIN, IORING_POLL_ADD_MULTI, 1);
			poll_add(&self->io, fd, POLLIN, 0, 2);
			if (ring_submit(self->r, 0) != 2 || write(go[1], "x", 1) != 1)
				_exit(1);
			if (i & 1)
				usleep(10000);
			_exit(0);
		}
		ASSERT_EQ(1, read(go[0], &c, 1));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
		/* The child has changed our copy of nothing but what is shared. */
		self->r->sqe_tail = *self->r->sq_tail;
		ASSERT_TRUE(next_cqe(self->r, &cqe));
		EXPECT_EQ(-ECANCELED, cqe.res);
		ASSERT_TRUE(next_cqe(self->r, &cqe));
		EXPECT_EQ(-ECANCELED, cqe.res);
	}
}

/* The ring itself: one CQE makes the next one, so it is told once. */
TEST_F(pollop, own_ring)
{
	struct io_uring_cqe cqe;
	int i, n = 0;

	poll_add(&self->io, self->r->fd, POLLIN, IORING_POLL_ADD_MULTI, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ring_nop(self->r, 2);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(2, 0, false);
	for (i = 0; i < 100; i++) {
		usleep(500);
		ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
		while (ring_cqe(self->r, &cqe)) {
			EXPECT_EQ(1, cqe.user_data);
			n++;
		}
	}
	EXPECT_LE(1, n);
	EXPECT_GE(3, n);
}

/* Rings that poll each other, and are closed so. */
TEST_F(pollop, rings_in_a_ring)
{
	struct io_uring_cqe cqe;
	struct io other;
	int i;

	ASSERT_EQ(0, io_init(&other, variant->backend, 8, variant->flags, 0));
	poll_add(&self->io, other.r.fd, POLLIN, IORING_POLL_ADD_MULTI, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	poll_add(&other, self->r->fd, POLLIN, IORING_POLL_ADD_MULTI, 1);
	poll_add(&other, self->r->fd, POLLIN, 0, 2);
	ASSERT_EQ(2, ring_submit(&other.r, 0));
	ring_nop(&other.r, 3);
	ASSERT_EQ(1, ring_submit(&other.r, 1));
	ASSERT_TRUE(next_cqe(self->r, &cqe));
	EXPECT_EQ(1, cqe.user_data);
	EXPECT_EQ(POLLIN, cqe.res);
	for (i = 0; i < 50; i++) {
		usleep(500);
		ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
		ring_enter(&other.r, 0, 0, IORING_ENTER_GETEVENTS);
	}
	EXPECT_LE(2, ring_ready(&other.r));
	ring_exit(&other.r);
}

TEST_F(pollop, ring_in_epoll_in_ring)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct io_uring_cqe cqe;
	int i, n = 0, ep = epoll_create1(EPOLL_CLOEXEC);

	ASSERT_LE(0, ep);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, self->r->fd, &ev));
	poll_add(&self->io, ep, POLLIN, IORING_POLL_ADD_MULTI, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_QUIET();
	ring_nop(self->r, 2);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(2, 0, false);
	for (i = 0; i < 100; i++) {
		usleep(500);
		ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
		while (ring_cqe(self->r, &cqe))
			n++;
	}
	EXPECT_GE(4, n);
	close(ep);
}

/* An eventfd that is signalled for each CQE, and polled by the same ring. */
TEST_F(pollop, own_eventfd)
{
	struct io_uring_cqe cqe;
	int i, n = 0, fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_EVENTFD, &fd, 1));
	poll_add(&self->io, fd, POLLIN, IORING_POLL_ADD_MULTI, 1);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	ring_nop(self->r, 2);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(2, 0, false);
	for (i = 0; i < 100; i++) {
		usleep(500);
		ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
		while (ring_cqe(self->r, &cqe)) {
			EXPECT_EQ(1, cqe.user_data);
			n++;
		}
	}
	EXPECT_LE(1, n);
	EXPECT_GE(4, n);
	close(fd);
}

/* A ring of the kernel's own would be kept by us, and keep us. */
TEST_F(pollop, ring_of_the_other_kind)
{
	struct ring other;

	if (variant->backend == NATIVE)
		SKIP(return, "there is one kind only");
	ASSERT_EQ(0, ring_init(&other, NATIVE, 8, 0));
	poll_add(&self->io, other.fd, POLLIN, 0, 1);
	ASSERT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQE(1, -EBADF, false);
	ring_exit(&other);
}

/* The end of a ring that is polled, while the other one goes on. */
TEST_F(pollop, polled_ring_ends)
{
	struct io_uring_cqe cqe;
	struct io other;

	ASSERT_EQ(0, io_init(&other, variant->backend, 8, 0, 0));
	poll_add(&self->io, other.r.fd, POLLIN, 0, 1);
	poll_add(&self->io, other.r.fd, POLLIN, IORING_POLL_ADD_MULTI, 2);
	ASSERT_EQ(2, ring_submit(self->r, 0));
	ring_exit(&other.r);
	if (variant->backend == NATIVE)
		return;
	/* Natively it lives on, unseen. */
	ASSERT_TRUE(next_cqe(self->r, &cqe));
	EXPECT_TRUE(cqe.res & POLLHUP);
	ASSERT_TRUE(next_cqe(self->r, &cqe));
	EXPECT_TRUE(cqe.res & POLLHUP);
	EXPECT_QUIET();
}

/* Others of the process wait for what is polled by one that has left. */
TEST_F(pollop, submitter_leaves)
{
	struct io_uring_cqe cqe;
	int status;
	pid_t pid;

	if (variant->flags)
		SKIP(return, "another process submits");
	pid = fork();
	if (!pid) {
		poll_add(&self->io, self->p[0], POLLIN, 0, 1);
		_exit(ring_submit(self->r, 0) != 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	self->r->sqe_tail = *self->r->sq_tail;
	ASSERT_EQ(1, put(self->p[1]));
	ASSERT_TRUE(next_cqe(self->r, &cqe));
	EXPECT_EQ(1, cqe.user_data);
	/* Natively nobody is left to do it. */
	EXPECT_TRUE(cqe.res == POLLIN || cqe.res == -ECANCELED);
}

/* Ends in all ways with much that is armed: nothing is kept, nobody waits for it. */
TEST_F(pollop, ends)
{
	struct pollfd pfd = { .fd = self->p[1] };
	int how, status, go[2], p[2];
	pid_t pid;
	char c;

	for (how = 0; how < 4; how++) {
		ASSERT_EQ(0, pipe2(go, O_CLOEXEC));
		ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
		pid = fork();
		if (!pid) {
			struct io io;
			int i;

			close(self->p[0]);
			close(self->p[1]);
			ring_exit(self->r);
			if (io_init(&io, variant->backend, ENTRIES, variant->flags, 0))
				_exit(1);
			for (i = 0; i < ENTRIES; i++)
				poll_add(&io, i == 7 ? io.r.fd : p[0], i & 1 ? POLLIN : POLLPRI,
					 i & 2 ? IORING_POLL_ADD_MULTI : 0, i & 3);
			if (ring_submit(&io.r, 0) != ENTRIES)
				_exit(2);
			if (how == 2)
				ring_exit(&io.r);
			close(p[0]);
			if (write(go[1], "x", 1) != 1)
				_exit(3);
			if (how == 0)
				_exit(0);
			if (how == 1)
				execl("/bin/true", "true", NULL);
			pause();
		}
		close(p[0]);
		ASSERT_EQ(1, read(go[0], &c, 1));
		if (how >= 2) {
			usleep(20000);
			kill(pid, SIGKILL);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(how >= 2 ? SIGKILL : 0, status);
		/* Nobody has the other end any more. */
		pfd.fd = p[1];
		EXPECT_EQ(1, poll(&pfd, 1, 30000));
		EXPECT_EQ(POLLOUT | POLLERR, pfd.revents | POLLOUT);
		close(p[1]);
		close(go[0]);
		close(go[1]);
	}
}

/* The ring's own fdinfo tells what waits. */
TEST_F(pollop, fdinfo)
{
	char path[64], text[8192] = {}, *list;
	int fd, n = 0;

	poll_add(&self->io, self->p[0], POLLIN, 0, 1);
	poll_add(&self->io, self->p[0], POLLIN, IORING_POLL_ADD_MULTI, 2);
	ASSERT_EQ(2, ring_submit(self->r, 0));
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", self->r->fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_LT(0, read(fd, text, sizeof(text) - 1));
	close(fd);
	list = strstr(text, "PollList:\n");
	ASSERT_NE(NULL, list);
	while ((list = strstr(list + 1, "  op=6,")))
		n++;
	EXPECT_EQ(2, n);
}

TEST_HARNESS_MAIN
