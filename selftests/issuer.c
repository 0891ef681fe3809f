// SPDX-License-Identifier: GPL-2.0
/* R_DISABLED, SINGLE_ISSUER and DEFER_TASKRUN: which task may do what, and when. */
#include "uring.h"
#include <pthread.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

FIXTURE(issuer) {
	struct ring r;
};

FIXTURE_VARIANT(issuer) {
	enum backend backend;
	unsigned int flags;
};

FIXTURE_VARIANT_ADD(issuer, device) { .backend = DEVICE };
FIXTURE_VARIANT_ADD(issuer, native) { .backend = NATIVE };
FIXTURE_VARIANT_ADD(issuer, device_single) {
	.backend = DEVICE, .flags = IORING_SETUP_SINGLE_ISSUER };
FIXTURE_VARIANT_ADD(issuer, native_single) {
	.backend = NATIVE, .flags = IORING_SETUP_SINGLE_ISSUER };
FIXTURE_VARIANT_ADD(issuer, device_defer) {
	.backend = DEVICE, .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };
FIXTURE_VARIANT_ADD(issuer, native_defer) {
	.backend = NATIVE, .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };

FIXTURE_SETUP(issuer)
{
	self->r.fd = -1;
}

FIXTURE_TEARDOWN(issuer)
{
	if (self->r.fd >= 0)
		ring_exit(&self->r);
}

/* What the calls say in another task. */
struct answers {
	struct ring *r;
	int nothing, submit, wait, probe, enable;
};

static void *ask(void *arg)
{
	struct {
		struct io_uring_probe probe;
		struct io_uring_probe_op ops[4];
	} probe = {};
	struct answers *a = arg;

	a->nothing = ring_enter(a->r, 0, 0, 0);
	a->submit = ring_enter(a->r, 1, 0, 0);
	a->wait = ring_enter(a->r, 0, 0, IORING_ENTER_GETEVENTS);
	a->probe = ring_register(a->r, IORING_REGISTER_PROBE, &probe, 4);
	a->enable = ring_register(a->r, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return NULL;
}

static void *enable(void *arg)
{
	struct answers *a = arg;

	a->enable = ring_register(a->r, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	a->submit = ring_enter(a->r, 1, 1, IORING_ENTER_GETEVENTS);
	return NULL;
}

static int in_thread(void *(*fn)(void *), struct answers *a)
{
	pthread_t thread;
	int ret = pthread_create(&thread, NULL, fn, a);

	return ret ? -ret : -pthread_join(thread, NULL);
}

TEST_F(issuer, another_thread)
{
	struct answers a = { .r = &self->r };
	bool single = variant->flags & IORING_SETUP_SINGLE_ISSUER;
	bool defer = variant->flags & IORING_SETUP_DEFER_TASKRUN;

	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
	ring_nop(&self->r, 1);
	ring_flush(&self->r);
	ASSERT_EQ(0, in_thread(ask, &a));
	EXPECT_EQ(0, a.nothing);
	EXPECT_EQ(single ? -EEXIST : 1, a.submit);
	EXPECT_EQ(defer ? -EEXIST : 0, a.wait);
	EXPECT_EQ(single ? -EEXIST : 0, a.probe);
	EXPECT_EQ(single ? -EEXIST : -EBADFD, a.enable);
	/* Nothing was consumed by those who may not. */
	EXPECT_EQ(!single, *self->r.sq_head);
	EXPECT_EQ(single, ring_enter(&self->r, 1, 0, 0));
	EXPECT_EQ(1, ring_ready(&self->r));
}

TEST_F(issuer, a_child)
{
	struct answers *a = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool single = variant->flags & IORING_SETUP_SINGLE_ISSUER;
	bool defer = variant->flags & IORING_SETUP_DEFER_TASKRUN;
	int status;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, a);
	a->r = &self->r;
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
	ring_nop(&self->r, 1);
	ring_flush(&self->r);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		ask(a);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(single ? -EEXIST : 1, a->submit);
	EXPECT_EQ(defer ? -EEXIST : 0, a->wait);
	EXPECT_EQ(single ? -EEXIST : 0, a->probe);
	EXPECT_EQ(!single, *self->r.sq_head);
	munmap(a, 4096);
}

TEST_F(issuer, disabled)
{
	struct io_uring_cqe cqe;
	struct answers a = { .r = &self->r };

	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8,
			       variant->flags | IORING_SETUP_R_DISABLED));
	ring_nop(&self->r, 5);
	ring_flush(&self->r);
	EXPECT_EQ(-EBADFD, ring_enter(&self->r, 0, 0, 0));
	EXPECT_EQ(-EBADFD, ring_enter(&self->r, 1, 0, 0));
	EXPECT_EQ(-EBADFD, ring_enter(&self->r, 1, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(-EBADFD, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
	/* The flags are looked at before. */
	EXPECT_EQ(-EINVAL, ring_enter(&self->r, 0, 0, 1u << 31));
	EXPECT_EQ(0, *self->r.sq_head);
	/* Any argument is wrong. */
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_ENABLE_RINGS, NULL, 1));
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_ENABLE_RINGS, &cqe, 0));
	EXPECT_EQ(-EBADFD, ring_enter(&self->r, 0, 0, 0));
	EXPECT_EQ(0, ring_register(&self->r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	EXPECT_EQ(-EBADFD, ring_register(&self->r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	EXPECT_EQ(1, ring_enter(&self->r, 1, 1, IORING_ENTER_GETEVENTS));
	ASSERT_TRUE(ring_cqe(&self->r, &cqe));
	EXPECT_EQ(5, cqe.user_data);
	/* Who enabled it is the issuer. */
	ASSERT_EQ(0, in_thread(ask, &a));
	EXPECT_EQ(variant->flags ? -EEXIST : 0, a.submit);
}

TEST_F(issuer, not_disabled)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
	EXPECT_EQ(-EBADFD, ring_register(&self->r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
}

TEST_F(issuer, disabled_is_open_to_all)
{
	struct answers a = { .r = &self->r };

	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8,
			       variant->flags | IORING_SETUP_R_DISABLED));
	ring_nop(&self->r, 6);
	ring_flush(&self->r);
	/* Not bound yet: another thread may register, and it enables the ring. */
	ASSERT_EQ(0, in_thread(ask, &a));
	EXPECT_EQ(-EBADFD, a.nothing);
	EXPECT_EQ(-EBADFD, a.submit);
	EXPECT_EQ(-EBADFD, a.wait);
	EXPECT_EQ(0, a.probe);
	EXPECT_EQ(0, a.enable);
	/* It is bound to that thread, which is gone. */
	EXPECT_EQ(variant->flags ? -EEXIST : 1, ring_enter(&self->r, 1, 0, 0));
}

TEST_F(issuer, who_enables_is_bound)
{
	struct answers a = { .r = &self->r };
	struct io_uring_cqe cqe;

	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8,
			       variant->flags | IORING_SETUP_R_DISABLED));
	ring_nop(&self->r, 6);
	ring_flush(&self->r);
	ASSERT_EQ(0, in_thread(enable, &a));
	EXPECT_EQ(0, a.enable);
	EXPECT_EQ(1, a.submit);
	ASSERT_TRUE(ring_cqe(&self->r, &cqe));
	EXPECT_EQ(6, cqe.user_data);
	ring_nop(&self->r, 7);
	EXPECT_EQ(variant->flags ? -EEXIST : 1, ring_enter(&self->r, ring_flush(&self->r), 0, 0));
	EXPECT_EQ(variant->flags ? -EEXIST : -EBADFD,
		  ring_register(&self->r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
}

/* With DEFER_TASKRUN, work waits for the submitter to ask for events. */
TEST_F(issuer, work_is_deferred)
{
	bool defer = variant->flags & IORING_SETUP_DEFER_TASKRUN;
	unsigned int flags = IORING_SETUP_TASKRUN_FLAG | (defer ? 0 : IORING_SETUP_COOP_TASKRUN);
	struct ring *r = &self->r;
	struct io_uring_cqe cqe;
	int i;

	ASSERT_EQ(0, ring_init(r, variant->backend, 8, variant->flags | flags));
	EXPECT_EQ(0, *r->sq_flags);
	for (i = 0; i < 3; i++)
		ring_nop(r, i)->nop_flags = IORING_NOP_TW;
	EXPECT_EQ(3, ring_enter(r, ring_flush(r), 0, 0));
	if (defer) {
		EXPECT_EQ(0, ring_ready(r));
		EXPECT_EQ(IORING_SQ_TASKRUN, *r->sq_flags);
		/* Neither a call without GETEVENTS nor another submission runs it. */
		EXPECT_EQ(0, ring_enter(r, 0, 0, 0));
		ring_nop(r, 3);
		EXPECT_EQ(1, ring_enter(r, ring_flush(r), 0, 0));
		EXPECT_EQ(1, ring_ready(r));
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(3, cqe.user_data);
		EXPECT_EQ(IORING_SQ_TASKRUN, *r->sq_flags);
		EXPECT_EQ(0, ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS));
	}
	EXPECT_EQ(0, *r->sq_flags);
	for (i = 0; i < 3; i++) {
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
	}
	EXPECT_EQ(0, ring_ready(r));
}

/* Without TASKRUN_FLAG the flag word stays as it is. */
TEST_F(issuer, no_flag_unless_asked_for)
{
	struct ring *r = &self->r;

	ASSERT_EQ(0, ring_init(r, variant->backend, 8, variant->flags));
	ring_nop(r, 1)->nop_flags = IORING_NOP_TW;
	EXPECT_EQ(1, ring_enter(r, ring_flush(r), 0, 0));
	EXPECT_EQ(0, *r->sq_flags);
	EXPECT_EQ(!(variant->flags & IORING_SETUP_DEFER_TASKRUN), ring_ready(r));
}

TEST_HARNESS_MAIN
