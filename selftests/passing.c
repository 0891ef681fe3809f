// SPDX-License-Identifier: GPL-2.0
/* Ring descriptors that travel over UNIX sockets. The core refuses that for its own rings. */
#include "stress.h"
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

FIXTURE(passing) {
	struct ring r;
	int pair[2];
	long refs;
};

RING_VARIANTS(passing);

FIXTURE_SETUP(passing)
{
	self->refs = module_refs();
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->pair));
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
}

FIXTURE_TEARDOWN(passing)
{
	ring_exit(&self->r);
	close(self->pair[0]);
	close(self->pair[1]);
	EXPECT_TRUE(falls_to(module_refs, self->refs));
}

union control {
	struct cmsghdr head;
	char bytes[CMSG_SPACE(2 * sizeof(int))];
};

/* Sends descriptors, and data to go with them. */
static int send_fds(int sock, const int *fds, int nr, void *data, size_t len)
{
	union control control = {};
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = CMSG_SPACE(nr * sizeof(int)),
	};

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(nr * sizeof(int));
	memcpy(CMSG_DATA(&control.head), fds, nr * sizeof(int));
	return sys_result(sendmsg(sock, &msg, 0));
}

/* Receives one descriptor and data. */
static int recv_fd(int sock, void *data, size_t len)
{
	union control control = {};
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = CMSG_SPACE(sizeof(int)),
	};
	ssize_t ret = recvmsg(sock, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC);
	int fd;

	if (ret != len || control.head.cmsg_type != SCM_RIGHTS)
		return ret < 0 ? -errno : -EIO;
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	return fd;
}

/* What the receiver does with it: it has nothing but the descriptor and the parameters. */
static int use(int sock, enum backend backend)
{
	struct ring r = { .backend = backend };
	struct io_uring_cqe cqe;
	int i, ret;

	r.fd = recv_fd(sock, &r.p, sizeof(r.p));
	if (r.fd < 0)
		return 100;
	ret = ring_map(&r);
	if (ret)
		return 101;
	/* What the sender left unread comes first. */
	if (!ring_cqe(&r, &cqe) || cqe.user_data != 77)
		return 102;
	if (r.p.flags & IORING_SETUP_SINGLE_ISSUER) {
		if (!ring_nop(&r, 1) || ring_submit(&r, 1) != -EEXIST)
			return 103;
		return 0;
	}
	for (i = 0; i < 20; i++) {
		if (!ring_nop(&r, i) || ring_submit(&r, 1) != 1)
			return 104;
		if (!ring_cqe(&r, &cqe) || cqe.user_data != i)
			return 105;
	}
	return 0;
}

TEST_F(passing, receiver_uses_it)
{
	pid_t child = fork();
	int status;

	ASSERT_LE(0, child);
	if (!child) {
		/* Not the inherited one. */
		ring_exit(&self->r);
		_exit(use(self->pair[1], variant->backend));
	}
	ASSERT_EQ(1, ring_nops(&self->r, 1, 77));
	if (variant->backend == NATIVE) {
		/* Different by design: see Documentation/abi.rst. */
		ASSERT_EQ(-EINVAL, send_fds(self->pair[0], &self->r.fd, 1, &self->r.p,
					    sizeof(self->r.p)));
		close(self->pair[0]);
		self->pair[0] = -1;
		ASSERT_EQ(0, shutdown(self->pair[1], SHUT_RDWR));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		EXPECT_EQ(100, WEXITSTATUS(status));
		return;
	}
	ASSERT_EQ(sizeof(self->r.p), send_fds(self->pair[0], &self->r.fd, 1, &self->r.p,
					      sizeof(self->r.p)));
	ASSERT_EQ(child, waitpid(child, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
}

TEST_F(passing, never_received)
{
	int ret = send_fds(self->pair[0], &self->r.fd, 1, &self->r.p, sizeof(self->r.p));

	if (variant->backend == NATIVE) {
		ASSERT_EQ(-EINVAL, ret);
		return;
	}
	ASSERT_EQ(sizeof(self->r.p), ret);
	ring_exit(&self->r);
	EXPECT_LT(self->refs, module_refs());
	close(self->pair[0]);
	close(self->pair[1]);
	EXPECT_TRUE(falls_to(module_refs, self->refs));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->pair));
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
}

/* Both ends of the pair wait in the pair itself, and the ring beside them: only GC ends that. */
TEST_F(passing, in_a_cycle_of_sockets)
{
	int fds[2] = { self->pair[1], self->r.fd };
	int ret = send_fds(self->pair[0], fds, 2, "x", 1);

	if (variant->backend == NATIVE) {
		ASSERT_EQ(-EINVAL, ret);
		return;
	}
	ASSERT_EQ(1, ret);
	ASSERT_EQ(1, send_fds(self->pair[1], self->pair, 1, "x", 1));
	ring_exit(&self->r);
	close(self->pair[0]);
	close(self->pair[1]);
	/* It runs when a socket is closed while others are in flight. */
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->pair));
	close(self->pair[0]);
	close(self->pair[1]);
	EXPECT_TRUE(falls_to(module_refs, self->refs));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, self->pair));
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
}

/* A process that leaves a ring on its way in a socket which the ring polls, and nothing else. */
static int leave(enum backend backend, unsigned int flags, unsigned int events, bool again)
{
	struct io_uring_sqe *sqe;
	struct ring r;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
	    ring_init(&r, backend, 8, flags))
		return 100;
	sqe = ring_sqe(&r);
	if (!sqe)
		return 101;
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = pair[1];
	sqe->poll32_events = events;
	sqe->len = again ? IORING_POLL_ADD_MULTI : 0;
	if (ring_submit(&r, 0) != 1)
		return 102;
	/* The thread that submits takes its time. */
	while (ring_is_polled(&r) && __atomic_load_n(r.sq_head, __ATOMIC_ACQUIRE) != *r.sq_tail)
		usleep(1000);
	if (send_fds(pair[0], &r.fd, 1, "x", 1) != 1)
		return 103;
	return 0;
}

/* Such a circle has no end but that of the request, which comes with that of the process. */
TEST_F(passing, polls_what_it_is_in)
{
	static const unsigned int events[] = { POLLPRI, POLLIN };
	unsigned int i;
	int status;

	if (variant->backend == NATIVE)
		SKIP(return, "rings do not travel");
	for (i = 0; i < 4; i++) {
		long refs = module_refs();
		pid_t child = fork();

		ASSERT_LE(0, child);
		if (!child)
			_exit(leave(variant->backend, variant->flags, events[i & 1], i & 2));
		ASSERT_EQ(child, waitpid(child, &status, 0));
		ASSERT_TRUE(WIFEXITED(status));
		ASSERT_EQ(0, WEXITSTATUS(status));
		EXPECT_TRUE(falls_to(module_refs, refs)) TH_LOG("%u", i);
	}
}

TEST_HARNESS_MAIN
