// SPDX-License-Identifier: GPL-2.0
/*
 * Restrictions of a task: registered without a ring, for good, and passed on
 * to its children and to every ring that they set up, of either kind.
 */
#include "uring.h"
#include <pthread.h>
#include <sys/wait.h>
#include <linux/filter.h>
#include <linux/io_uring/bpf_filter.h>
#include "kselftest_harness.h"

/* struct io_uring_task_restriction with room for some entries. */
struct task_restriction {
	uint16_t flags, nr;
	uint32_t resv[3];
	struct io_uring_restriction list[4];
};

FIXTURE(task) { struct task_restriction t; };

FIXTURE_VARIANT(task) {
	enum backend registers;	/* where the restrictions are registered */
	enum backend rings;	/* and where the rings are set up */
};

FIXTURE_VARIANT_ADD(task, device) { .registers = DEVICE, .rings = DEVICE };
FIXTURE_VARIANT_ADD(task, native) { .registers = NATIVE, .rings = NATIVE };
FIXTURE_VARIANT_ADD(task, from_device) { .registers = DEVICE, .rings = NATIVE };
FIXTURE_VARIANT_ADD(task, from_native) { .registers = NATIVE, .rings = DEVICE };

/* Each test runs in a process of its own. NOP, PROBE and RESTRICTIONS are what is left to it. */
FIXTURE_SETUP(task)
{
	self->t = (struct task_restriction) {
		.nr = 3,
		.list = {
			{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP },
			{ .opcode = IORING_RESTRICTION_REGISTER_OP,
			  .register_op = IORING_REGISTER_PROBE },
			{ .opcode = IORING_RESTRICTION_REGISTER_OP,
			  .register_op = IORING_REGISTER_RESTRICTIONS },
		},
	};
}

FIXTURE_TEARDOWN(task)
{
}

static int restrict_task(enum backend backend, const void *arg, unsigned int nr)
{
	return uring_register(backend, -1, IORING_REGISTER_RESTRICTIONS, arg, nr);
}

static int try_sqe(struct ring *r, unsigned int opcode)
{
	struct io_uring_cqe cqe;

	ring_nop(r, 1)->opcode = opcode;
	if (ring_submit(r, 1) != 1 || !ring_cqe(r, &cqe))
		return -1000;
	return cqe.res;
}

static int query(enum backend backend)
{
	return uring_register(backend, -1, IORING_REGISTER_QUERY, NULL, 0);
}

static int probe(struct ring *r)
{
	uint64_t head[2] = {};

	return ring_register(r, IORING_REGISTER_PROBE, head, 0);
}

/* Whether a new ring of this task is restricted; 2 for anything unexpected. */
static int is_restricted(enum backend backend)
{
	struct ring r;
	int sqe, reg;

	if (ring_init(&r, backend, 8, IORING_SETUP_SQE128) || probe(&r))
		return 2;
	sqe = try_sqe(&r, IORING_OP_NOP128);
	reg = ring_register(&r, IORING_REGISTER_PERSONALITY, NULL, 0);
	if (try_sqe(&r, IORING_OP_NOP))
		return 2;
	ring_exit(&r);
	if (sqe == -EACCES && reg == -EACCES && query(backend) == -EACCES)
		return 1;
	return sqe == 0 && reg == 1 && query(backend) == 0 ? 0 : 2;
}

static int in_child(enum backend backend)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(is_restricted(backend));
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return 3;
	return WEXITSTATUS(status);
}

TEST_F(task, errors)
{
	struct task_restriction t;
	int i;

	EXPECT_EQ(-EINVAL, restrict_task(variant->registers, &self->t, 0));
	EXPECT_EQ(-EINVAL, restrict_task(variant->registers, &self->t, 2));
	EXPECT_EQ(-EFAULT, restrict_task(variant->registers, NULL, 1));
	EXPECT_EQ(-EFAULT, restrict_task(variant->registers, (void *)8, 1));
	t = self->t;
	t.flags = 1;
	EXPECT_EQ(-EINVAL, restrict_task(variant->registers, &t, 1));
	for (i = 0; i < 3; i++) {
		t = self->t;
		t.resv[i] = 1;
		EXPECT_EQ(-EINVAL, restrict_task(variant->registers, &t, 1));
	}
	t = self->t;
	t.list[1].opcode = IORING_RESTRICTION_LAST;
	EXPECT_EQ(-EINVAL, restrict_task(variant->registers, &t, 1));
	t = self->t;
	t.list[1].register_op = IORING_REGISTER_LAST;
	EXPECT_EQ(-EINVAL, restrict_task(variant->registers, &t, 1));
	t = self->t;
	t.nr = 0xffff;
	EXPECT_EQ(-EINVAL, restrict_task(variant->registers, &t, 1));
	EXPECT_EQ(0, is_restricted(variant->rings));

	EXPECT_EQ(0, restrict_task(variant->registers, &self->t, 1));
	/* That was for good, and is told before everything else. */
	EXPECT_EQ(-EPERM, restrict_task(variant->registers, &self->t, 1));
	EXPECT_EQ(-EPERM, restrict_task(variant->registers, NULL, 0));
	EXPECT_EQ(-EPERM, restrict_task(variant->rings, &self->t, 1));
	EXPECT_EQ(1, is_restricted(variant->rings));
}

/* For those who could gain privileges it takes the right to administrate. */
TEST_F(task, needs_no_new_privs)
{
	ASSERT_EQ(0, drop_privileges(54321));
	EXPECT_EQ(-EACCES, restrict_task(variant->registers, &self->t, 1));
	EXPECT_EQ(-EACCES, restrict_task(variant->registers, NULL, 0));
	ASSERT_EQ(0, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	EXPECT_EQ(-EINVAL, restrict_task(variant->registers, NULL, 0));
	EXPECT_EQ(0, restrict_task(variant->registers, &self->t, 1));
	EXPECT_EQ(1, is_restricted(variant->rings));
}

/* Rings that were there before stay as they are. */
TEST_F(task, new_rings_only)
{
	struct ring old;

	ASSERT_EQ(0, ring_init(&old, variant->rings, 8, IORING_SETUP_SQE128));
	ASSERT_EQ(0, restrict_task(variant->registers, &self->t, 1));
	EXPECT_EQ(0, try_sqe(&old, IORING_OP_NOP128));
	EXPECT_EQ(1, ring_register(&old, IORING_REGISTER_PERSONALITY, NULL, 0));
	EXPECT_EQ(1, is_restricted(variant->rings));
	ring_exit(&old);
}

/* Unlike a ring's own restrictions they hold before it is enabled. */
TEST_F(task, disabled_ring)
{
	struct ring r;

	/* Someone has to enable it. */
	self->t.nr = 4;
	self->t.list[3] = self->t.list[2];
	self->t.list[3].register_op = IORING_REGISTER_ENABLE_RINGS;
	ASSERT_EQ(0, restrict_task(variant->registers, &self->t, 1));
	ASSERT_EQ(0, ring_init(&r, variant->rings, 8, IORING_SETUP_R_DISABLED));
	EXPECT_EQ(-EACCES, ring_register(&r, IORING_REGISTER_PERSONALITY, NULL, 0));
	EXPECT_EQ(0, probe(&r));
	/* Those that it has are the only ones. */
	EXPECT_EQ(-EBUSY, ring_register(&r, IORING_REGISTER_RESTRICTIONS, self->t.list, 1));
	EXPECT_EQ(0, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	EXPECT_EQ(0, try_sqe(&r, IORING_OP_NOP));
	ring_exit(&r);
}

/* Restrictions of SQEs alone leave the register operations free, and the other way round. */
TEST_F(task, sqes_only)
{
	struct ring r;

	self->t.nr = 1;
	ASSERT_EQ(0, restrict_task(variant->registers, &self->t, 1));
	ASSERT_EQ(0, ring_init(&r, variant->rings, 8,
			       IORING_SETUP_SQE128 | IORING_SETUP_R_DISABLED));
	EXPECT_EQ(1, ring_register(&r, IORING_REGISTER_PERSONALITY, NULL, 0));
	EXPECT_EQ(0, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	EXPECT_EQ(2, ring_register(&r, IORING_REGISTER_PERSONALITY, NULL, 0));
	EXPECT_EQ(0, query(variant->rings));
	EXPECT_EQ(0, try_sqe(&r, IORING_OP_NOP));
	EXPECT_EQ(-EACCES, try_sqe(&r, IORING_OP_NOP128));
	ring_exit(&r);
}

TEST_F(task, register_only)
{
	struct ring r;

	self->t.nr = 1;
	self->t.list[0] = self->t.list[1];
	ASSERT_EQ(0, restrict_task(variant->registers, &self->t, 1));
	ASSERT_EQ(0, ring_init(&r, variant->rings, 8, IORING_SETUP_SQE128));
	EXPECT_EQ(-EACCES, ring_register(&r, IORING_REGISTER_PERSONALITY, NULL, 0));
	EXPECT_EQ(0, probe(&r));
	EXPECT_EQ(-EACCES, query(variant->rings));
	EXPECT_EQ(-EACCES, send_msg(variant->rings, r.fd, 1, 1));
	EXPECT_EQ(-EACCES, restrict_task(variant->rings, &self->t, 1));
	EXPECT_EQ(-EINVAL, uring_register(variant->rings, -1, IORING_REGISTER_LAST, NULL, 0));
	EXPECT_EQ(0, try_sqe(&r, IORING_OP_NOP128));
	ring_exit(&r);
}

TEST_F(task, sqe_flags)
{
	struct io_uring_cqe cqe;
	struct ring r;

	self->t.nr = 2;
	self->t.list[1] = (struct io_uring_restriction) {
		.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
		.sqe_flags = IOSQE_FIXED_FILE,
	};
	ASSERT_EQ(0, restrict_task(variant->registers, &self->t, 1));
	ASSERT_EQ(0, ring_init(&r, variant->rings, 8, 0));
	EXPECT_EQ(-EACCES, try_sqe(&r, IORING_OP_NOP));
	ring_nop(&r, 1)->flags = IOSQE_FIXED_FILE;
	ASSERT_EQ(1, ring_submit(&r, 1));
	ASSERT_TRUE(ring_cqe(&r, &cqe));
	EXPECT_EQ(0, cqe.res);
	ring_exit(&r);
}

TEST_F(task, empty_list)
{
	struct ring r;

	self->t.nr = 0;
	ASSERT_EQ(0, restrict_task(variant->registers, &self->t, 1));
	EXPECT_EQ(-EACCES, query(variant->rings));
	/* A ring can still be set up, it is of no use though. */
	ASSERT_EQ(0, ring_init(&r, variant->rings, 8, 0));
	EXPECT_EQ(-EACCES, probe(&r));
	EXPECT_EQ(-EACCES, try_sqe(&r, IORING_OP_NOP));
	ring_exit(&r);
}

/* Children inherit them; parents are not concerned. */
TEST_F(task, fork)
{
	int status;
	pid_t child;

	child = fork();
	if (!child) {
		if (restrict_task(variant->registers, &self->t, 1))
			_exit(10);
		if (in_child(variant->rings) != 1)
			_exit(11);
		_exit(is_restricted(variant->rings));
	}
	ASSERT_LT(0, child);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(1, WEXITSTATUS(status));
	EXPECT_EQ(0, is_restricted(variant->rings));
	EXPECT_EQ(0, in_child(variant->rings));
}

static int next_step;

static void *thread_that_was_there(void *arg)
{
	while (!load_acquire(&next_step))
		usleep(1000);
	return (void *)(long)is_restricted(*(enum backend *)arg);
}

static void *new_thread(void *arg)
{
	return (void *)(long)is_restricted(*(enum backend *)arg);
}

/* New threads inherit them, those that are there do not. */
TEST_F(task, threads)
{
	enum backend backend = variant->rings;
	pthread_t old, new;
	void *ret;

	ASSERT_EQ(0, pthread_create(&old, NULL, thread_that_was_there, &backend));
	ASSERT_EQ(0, restrict_task(variant->registers, &self->t, 1));
	ASSERT_EQ(0, pthread_create(&new, NULL, new_thread, &backend));
	ASSERT_EQ(0, pthread_join(new, &ret));
	EXPECT_EQ(1, (long)ret);
	store_release(&next_step, 1);
	ASSERT_EQ(0, pthread_join(old, &ret));
	EXPECT_EQ(0, (long)ret);
	EXPECT_EQ(1, is_restricted(backend));
}

/* The module cannot run filter programs: whoever has them gets no rings, rather than free ones. */
TEST_F(task, filter_programs)
{
	struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct io_uring_bpf bpf = {
		.cmd_type = IO_URING_BPF_CMD_FILTER,
		.filter = {
			.opcode = IORING_OP_NOP128,
			.filter_len = 1,
			.filter_ptr = (unsigned long)code,
		},
	};
	struct io_uring_params p = { .flags = IORING_SETUP_SQE128 };
	struct ring r;
	int ret;

	if (variant->registers == DEVICE) {
		ret = uring_register(DEVICE, -1, IORING_REGISTER_BPF_FILTER, &bpf, 1);
		EXPECT_EQ(-EINVAL, ret);
		return;
	}
	ret = uring_register(NATIVE, -1, IORING_REGISTER_BPF_FILTER, &bpf, 1);
	ASSERT_EQ(0, ret);
	if (variant->rings == DEVICE) {
		EXPECT_EQ(-EPERM, uring_setup(DEVICE, 8, &p));
		EXPECT_EQ(0, query(DEVICE));
		EXPECT_EQ(-EPERM, restrict_task(DEVICE, &self->t, 1));
		return;
	}
	ASSERT_EQ(0, ring_init(&r, NATIVE, 8, IORING_SETUP_SQE128));
	EXPECT_EQ(-EACCES, try_sqe(&r, IORING_OP_NOP128));
	EXPECT_EQ(0, try_sqe(&r, IORING_OP_NOP));
	ring_exit(&r);
}

TEST_HARNESS_MAIN
