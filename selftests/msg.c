// SPDX-License-Identifier: GPL-2.0
/* IORING_REGISTER_SEND_MSG_RING: a CQE for another ring, from somebody who has none. */
#include "uring.h"
#include <pthread.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

FIXTURE(msg) {
	struct ring r;
	struct io_uring_sqe sqe;	/* a message to that ring */
};

RING_VARIANTS(msg);

FIXTURE_SETUP(msg)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
	self->sqe = (struct io_uring_sqe) {
		.opcode = IORING_OP_MSG_RING,
		.fd = self->r.fd,
		.addr = IORING_MSG_DATA,
		.off = 1234,
		.len = 55,
	};
}

FIXTURE_TEARDOWN(msg)
{
	ring_exit(&self->r);
}

static int send_sqe(enum backend backend, const struct io_uring_sqe *sqe)
{
	return uring_register(backend, -1, IORING_REGISTER_SEND_MSG_RING, sqe, 1);
}

/* Waits for one CQE and takes it. */
static bool receive(struct ring *r, struct io_uring_cqe *cqe)
{
	return !ring_enter(r, 0, 1, IORING_ENTER_GETEVENTS) && ring_cqe(r, cqe);
}

TEST_F(msg, arrives)
{
	int values[] = { 0, 1, -1, INT32_MAX, INT32_MIN, -512, -513 };
	struct io_uring_cqe cqe;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		self->sqe.len = values[i];
		self->sqe.off = ~0ull - i;
		ASSERT_EQ(0, send_sqe(variant->backend, &self->sqe));
		ASSERT_TRUE(receive(&self->r, &cqe));
		EXPECT_EQ(~0ull - i, cqe.user_data);
		EXPECT_EQ(values[i], cqe.res);
		EXPECT_EQ(0, cqe.flags);
	}
	EXPECT_EQ(0, ring_ready(&self->r));
}

TEST_F(msg, passes_flags)
{
	unsigned int flags[] = { 0, 1, IORING_CQE_F_MORE, 0xabcd0000, IORING_CQE_F_SKIP,
		~IORING_CQE_F_32 };
	struct io_uring_cqe cqe;
	size_t i;

	self->sqe.msg_ring_flags = IORING_MSG_RING_FLAGS_PASS;
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		self->sqe.file_index = flags[i];
		ASSERT_EQ(0, send_sqe(variant->backend, &self->sqe));
		ASSERT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
		ASSERT_EQ(1, ring_ready(&self->r));
		cqe = *ring_peek(&self->r);
		ring_seen(&self->r, 1);
		EXPECT_EQ(1234, cqe.user_data);
		EXPECT_EQ(55, cqe.res);
		EXPECT_EQ(flags[i], cqe.flags);
	}
}

/* The flag of a large CQE is for rings that have some. */
TEST_F(msg, large_cqes)
{
	struct io_uring_cqe *cqe;
	struct ring r;

	self->sqe.msg_ring_flags = IORING_MSG_RING_FLAGS_PASS;
	self->sqe.file_index = IORING_CQE_F_32 | IORING_CQE_F_MORE;
	EXPECT_EQ(-EINVAL, send_sqe(variant->backend, &self->sqe));

	ASSERT_EQ(0, ring_init(&r, variant->backend, 4, variant->flags | IORING_SETUP_CQE32));
	/* Nothing of what was there before shows. */
	memset(r.cqes, 0xee, 8 * 32);
	self->sqe.fd = r.fd;
	EXPECT_EQ(0, send_sqe(variant->backend, &self->sqe));
	self->sqe.file_index = 0;
	EXPECT_EQ(0, send_sqe(variant->backend, &self->sqe));
	ASSERT_EQ(0, ring_enter(&r, 0, 2, IORING_ENTER_GETEVENTS));
	ASSERT_EQ(2, ring_ready(&r));
	cqe = ring_peek(&r);
	EXPECT_EQ(IORING_CQE_F_32 | IORING_CQE_F_MORE, cqe->flags);
	EXPECT_EQ(0, cqe->big_cqe[0]);
	EXPECT_EQ(0, cqe->big_cqe[1]);
	ring_seen(&r, 1);
	cqe = ring_peek(&r);
	EXPECT_EQ(0, cqe->flags);
	EXPECT_EQ(0, cqe->big_cqe[0]);
	EXPECT_EQ(0, cqe->big_cqe[1]);
	ring_exit(&r);

	ASSERT_EQ(0, ring_init(&r, variant->backend, 4, variant->flags | IORING_SETUP_CQE_MIXED));
	memset(r.cqes, 0xee, 8 * 16);
	self->sqe.fd = r.fd;
	EXPECT_EQ(0, send_sqe(variant->backend, &self->sqe));
	self->sqe.file_index = IORING_CQE_F_32;
	EXPECT_EQ(0, send_sqe(variant->backend, &self->sqe));
	ASSERT_EQ(0, ring_enter(&r, 0, 3, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(3, ring_ready(&r));
	EXPECT_EQ(0, r.cqes[0].flags);
	EXPECT_EQ(IORING_CQE_F_32, r.cqes[1].flags);
	EXPECT_EQ(55, r.cqes[1].res);
	EXPECT_EQ(0, r.cqes[1].big_cqe[0]);
	EXPECT_EQ(0, r.cqes[1].big_cqe[1]);
	ring_exit(&r);
}

TEST_F(msg, errors)
{
	int file = open("/dev/null", O_RDWR), i;
	struct io_uring_sqe sqe;
	struct ring other;

	ASSERT_EQ(0, ring_init(&other, variant->backend == NATIVE ? DEVICE : NATIVE, 4, 0));
#define TRY(error, change)						\
	do {								\
		sqe = self->sqe;					\
		change;							\
		EXPECT_EQ(error, send_sqe(variant->backend, &sqe));	\
	} while (0)
	for (i = 0; i < 8; i++)
		TRY(-EINVAL, sqe.flags = 1 << i);
	TRY(-EINVAL, sqe.opcode = IORING_OP_NOP);
	TRY(-EINVAL, sqe.opcode = 255);
	TRY(-EINVAL, sqe.buf_index = 1);
	TRY(-EINVAL, sqe.personality = 1);
	for (i = 0; i < 32; i++)
		if (i != 1)
			TRY(-EINVAL, sqe.msg_ring_flags = 1u << i);
	TRY(-EINVAL, sqe.addr = IORING_MSG_SEND_FD);
	TRY(-EINVAL, sqe.addr = 2);
	TRY(-EBADF, sqe.fd = -1);
	TRY(-EBADF, sqe.fd = 4000);
	TRY(-EBADFD, sqe.fd = file);
	TRY(-EBADFD, sqe.fd = other.fd);
	TRY(-EINVAL, sqe.addr3 = 1);
	TRY(-EINVAL, sqe.file_index = 1);
	/* The ring is found before the rest is looked at, and after the start is. */
	TRY(-EBADF, (sqe.fd = -1, sqe.addr3 = 1));
	TRY(-EBADF, (sqe.fd = -1, sqe.msg_ring_flags = IORING_MSG_RING_CQE_SKIP));
	TRY(-EINVAL, (sqe.fd = -1, sqe.addr = 1));
	TRY(-EINVAL, (sqe.fd = -1, sqe.buf_index = 1));
	ASSERT_EQ(0, ring_enter(&self->r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, ring_ready(&self->r));
	/* What is of no importance. */
	TRY(0, sqe.ioprio = 1);
	TRY(0, sqe.addr = 1ull << 32);
	TRY(0, sqe.addr3 = 1ull << 32);
	TRY(0, sqe.user_data = 5);
	TRY(0, sqe.__pad2[0] = 5);
#undef TRY
	ASSERT_EQ(0, ring_enter(&self->r, 0, 5, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(5, ring_ready(&self->r));
	ring_exit(&other);
	close(file);
}

TEST_F(msg, disabled_ring)
{
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, variant->backend, 4, variant->flags | IORING_SETUP_R_DISABLED));
	self->sqe.fd = r.fd;
	EXPECT_EQ(-EBADFD, send_sqe(variant->backend, &self->sqe));
	self->sqe.addr3 = 1;
	EXPECT_EQ(-EINVAL, send_sqe(variant->backend, &self->sqe));
	self->sqe.addr3 = 0;
	ASSERT_EQ(0, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	EXPECT_EQ(0, send_sqe(variant->backend, &self->sqe));
	ASSERT_EQ(0, ring_enter(&r, 0, 1, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(1, ring_ready(&r));
	ring_exit(&r);
}

/* What finds no room in the CQ is kept like any other CQE. */
TEST_F(msg, overflow)
{
	struct io_uring_cqe cqe;
	int i;

	for (i = 0; i < 20; i++) {
		self->sqe.len = i;
		ASSERT_EQ(0, send_sqe(variant->backend, &self->sqe));
	}
	ASSERT_EQ(0, ring_enter(&self->r, 0, 16, IORING_ENTER_GETEVENTS));
	/* What is deferred is run in portions natively. */
	ASSERT_EQ(0, ring_enter(&self->r, 0, 16, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(16, ring_ready(&self->r));
	EXPECT_TRUE(*self->r.sq_flags & IORING_SQ_CQ_OVERFLOW);
	for (i = 0; i < 16; i++) {
		ASSERT_TRUE(ring_cqe(&self->r, &cqe));
		EXPECT_EQ(i, cqe.res);
	}
	for (; i < 20; i++) {
		ASSERT_TRUE(receive(&self->r, &cqe));
		EXPECT_EQ(i, cqe.res);
	}
	EXPECT_FALSE(*self->r.sq_flags & IORING_SQ_CQ_OVERFLOW);
	EXPECT_EQ(0, *self->r.cq_overflow);
}

TEST_F(msg, from_another_process)
{
	struct io_uring_cqe cqe;
	pid_t child = fork();
	int status;

	if (!child)
		_exit(send_sqe(variant->backend, &self->sqe) ? 1 : 0);
	ASSERT_LT(0, child);
	ASSERT_TRUE(receive(&self->r, &cqe));
	EXPECT_EQ(55, cqe.res);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

/* A ring whose submitter is gone takes messages that nobody will read. */
struct orphan {
	struct ring r;
	enum backend backend;
	unsigned int flags;
	int ret;
};

static void *orphan(void *arg)
{
	struct orphan *o = arg;

	o->ret = ring_init(&o->r, o->backend, 4, o->flags);
	return NULL;
}

TEST_F(msg, submitter_is_gone)
{
	struct orphan o = { .backend = variant->backend, .flags = variant->flags };
	pthread_t thread;
	int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, orphan, &o));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	ASSERT_EQ(0, o.ret);
	self->sqe.fd = o.r.fd;
	for (i = 0; i < 100; i++)
		EXPECT_EQ(0, send_sqe(variant->backend, &self->sqe));
	ring_exit(&o.r);
}

/* Rings are closed while messages are on their way to them. */
struct target {
	enum backend backend;
	unsigned int flags;
	int fd;
	bool stop;
	unsigned long sent;
	int error;
};

static void *shoot(void *arg)
{
	struct target *t = arg;
	int ret;

	while (!load_acquire(&t->stop)) {
		ret = send_msg(t->backend, load_acquire(&t->fd), 1, 1);
		if (!ret)
			__atomic_fetch_add(&t->sent, 1, __ATOMIC_RELAXED);
		else if (ret != -EBADF && ret != -EBADFD)
			t->error = ret;
	}
	return NULL;
}

TEST_F_TIMEOUT(msg, closed_in_flight, 3600)
{
	const char *stress = getenv("STRESS");
	uint64_t until = now_ns(CLOCK_MONOTONIC) + (stress ? atoi(stress) : 1) * 1000000000ull;
	struct target t = { .backend = variant->backend, .fd = -1 };
	pthread_t threads[3];
	unsigned int i, rings = 0;

	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, shoot, &t));
	while (now_ns(CLOCK_MONOTONIC) < until || rings < 10) {
		unsigned long sent = load_acquire(&t.sent);
		struct ring r;

		ASSERT_EQ(0, ring_init(&r, variant->backend, 4, variant->flags));
		store_release(&t.fd, r.fd);
		while (load_acquire(&t.sent) - sent < 5)
			sched_yield();
		if (rings & 1)
			ring_enter(&r, 0, 3, IORING_ENTER_GETEVENTS);
		ring_exit(&r);
		rings++;
	}
	store_release(&t.stop, true);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, pthread_join(threads[i], NULL));
	EXPECT_EQ(0, t.error);
}

TEST_HARNESS_MAIN
