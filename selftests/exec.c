// SPDX-License-Identifier: GPL-2.0
/* What becomes of rings and registered rings when their program executes another one. */
#include "stress.h"
#include <pthread.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

/* Handed on to the next program in an unlinked file, whose descriptor is its argument. */
struct handover {
	struct ring r;
	bool closed;		/* the descriptor is close-on-exec */
	int index;		/* a registered ring, or -1 */
	unsigned int messages;	/* CQEs to be found */
	long refs;		/* references when no ring is left */
};

/* The next program's part. */
static int after_exec(int fd)
{
	struct io_uring_cqe cqe;
	struct handover h;
	struct ring *r = &h.r;
	unsigned int i;

	if (pread(fd, &h, sizeof(h), 0) != sizeof(h))
		return 10;
	if (h.index >= 0 && uring_enter(r->backend, h.index, 0, 0, IORING_ENTER_REGISTERED_RING) !=
			    -EINVAL)
		return 11;
	if (h.closed) {
		if (fcntl(r->fd, F_GETFD) != -1 || errno != EBADF)
			return 12;
		if (r->backend == DEVICE && !falls_to(module_refs, h.refs))
			return 13;
		return 0;
	}
	if (fcntl(r->fd, F_GETFD) != 0)
		return 14;
	if (ring_map(r))
		return 15;
	/* The task is the same, so it may go on with a ring that is bound to it. */
	for (i = 0; i < h.messages; i++) {
		if (!ring_peek(r) && ring_enter(r, 0, 1, IORING_ENTER_GETEVENTS))
			return 16;
		if (!ring_cqe(r, &cqe) || cqe.user_data != 100 + i)
			return 17;
	}
	if (ring_ready(r))
		return 18;
	for (i = 0; i < 20; i++) {
		if (!ring_nop(r, i) || ring_submit(r, 1) != 1 || !ring_cqe(r, &cqe))
			return 19;
		if (cqe.user_data != i)
			return 20;
	}
	return 0;
}

static void execute(struct handover *h)
{
	int fd = memfd_create("handover", 0);
	char arg[16];

	if (write(fd, h, sizeof(*h)) != sizeof(*h))
		_exit(30);
	if (!h->closed)
		fcntl(h->r.fd, F_SETFD, 0);
	snprintf(arg, sizeof(arg), "%d", fd);
	execl("/proc/self/exe", "exec", "--after-exec", arg, NULL);
	_exit(31);
}

static int register_ring(struct ring *r)
{
	struct io_uring_rsrc_update up = { .offset = -1U, .data = r->fd };
	int ret = ring_register(r, IORING_REGISTER_RING_FDS, &up, 1);

	return ret == 1 ? up.offset : -1;
}

FIXTURE(exec) {
	struct handover h;
};

RING_VARIANTS(exec);

/* The ring lives on, but not its thread: see sqpoll-life. */
#define SKIP_WITH_THREAD						\
do {									\
	if (variant->flags & IORING_SETUP_SQPOLL)			\
		SKIP(return, "a thread submits: it ends with the program");	\
} while (0)

FIXTURE_SETUP(exec)
{
	self->h = (struct handover) { .index = -1, .refs = module_refs() };
}

FIXTURE_TEARDOWN(exec)
{
	EXPECT_TRUE(falls_to(module_refs, self->h.refs));
}

#define EXPECT_EXIT(child)						\
do {									\
	int status;							\
									\
	ASSERT_EQ(child, waitpid(child, &status, 0));			\
	ASSERT_TRUE(WIFEXITED(status));					\
	EXPECT_EQ(0, WEXITSTATUS(status));				\
} while (0)

static void prepare(struct handover *h, enum backend backend, unsigned int flags)
{
	if (ring_init(&h->r, backend, 8, flags))
		_exit(32);
}

TEST_F(exec, closes_it)
{
	pid_t child = fork();

	if (!child) {
		prepare(&self->h, variant->backend, variant->flags);
		self->h.closed = true;
		execute(&self->h);
	}
	EXPECT_EXIT(child);
}

TEST_F(exec, keeps_it)
{
	pid_t child;

	SKIP_WITH_THREAD;
	child = fork();
	if (!child) {
		prepare(&self->h, variant->backend, variant->flags);
		execute(&self->h);
	}
	EXPECT_EXIT(child);
}

/* More than the CQ takes: what is on the overflow list, or waits to be run, comes along. */
TEST_F(exec, keeps_what_is_pending)
{
	pid_t child;
	unsigned int i;

	SKIP_WITH_THREAD;
	child = fork();
	if (!child) {
		prepare(&self->h, variant->backend, variant->flags);
		self->h.messages = 40;
		for (i = 0; i < 40; i++)
			if (send_msg(variant->backend, self->h.r.fd, 100 + i, 0))
				_exit(33);
		execute(&self->h);
	}
	EXPECT_EXIT(child);
}

TEST_F(exec, forgets_registered_rings)
{
	pid_t child = fork();

	if (!child) {
		prepare(&self->h, variant->backend, variant->flags);
		self->h.index = register_ring(&self->h.r);
		if (self->h.index)
			_exit(34);
		self->h.closed = true;
		execute(&self->h);
	}
	EXPECT_EXIT(child);
}

TEST_F(exec, forgets_registered_rings_but_keeps_the_descriptor)
{
	pid_t child;

	SKIP_WITH_THREAD;
	child = fork();
	if (!child) {
		prepare(&self->h, variant->backend, variant->flags);
		self->h.index = register_ring(&self->h.r);
		execute(&self->h);
	}
	EXPECT_EXIT(child);
}

static void *execute_thread(void *arg)
{
	struct handover *h = arg;

	prepare(h, h->r.backend, h->r.p.flags);
	if (register_ring(&h->r))
		_exit(35);
	execute(h);
	return NULL;
}

/* A thread executes; it takes over the id of the first one, which had rings registered as well. */
TEST_F(exec, in_a_thread)
{
	int closed;

	SKIP_WITH_THREAD;
	for (closed = 0; closed < 2; closed++) {
		pid_t child = fork();
		pthread_t thread;
		struct ring first;

		if (!child) {
			if (ring_init(&first, variant->backend, 8, variant->flags) ||
			    register_ring(&first))
				_exit(36);
			self->h.closed = closed;
			self->h.index = 0;
			self->h.r.backend = variant->backend;
			self->h.r.p.flags = variant->flags;
			pthread_create(&thread, NULL, execute_thread, &self->h);
			pthread_join(thread, NULL);
			_exit(37);
		}
		EXPECT_EXIT(child);
	}
}

/* An exec that fails in the end changes nothing. */
TEST_F(exec, that_fails)
{
	struct io_uring_cqe cqe;

	ASSERT_EQ(0, ring_init(&self->h.r, variant->backend, 8, variant->flags));
	ASSERT_EQ(0, register_ring(&self->h.r));
	ASSERT_EQ(-1, execl("/dev/null", "null", NULL));
	ASSERT_NE(NULL, ring_nop(&self->h.r, 1));
	ASSERT_EQ(1, uring_enter(variant->backend, 0, ring_flush(&self->h.r), 1,
				 IORING_ENTER_REGISTERED_RING | IORING_ENTER_GETEVENTS |
				 IORING_ENTER_SQ_WAKEUP));
	ASSERT_TRUE(ring_cqe(&self->h.r, &cqe));
	/* In the end nothing but the registration keeps it; the test's own exit ends that. */
	ring_exit(&self->h.r);
	self->h.refs++;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--after-exec"))
		return after_exec(atoi(argv[2]));
	return test_harness_run(argc, argv);
}
