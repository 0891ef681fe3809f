// SPDX-License-Identifier: GPL-2.0
/* One thread that submits for several rings. */
#include "sqpoll.h"
#include <sys/wait.h>
#include "kselftest_harness.h"

FIXTURE(shared) {
	struct ring r;
};

BACKEND_VARIANTS(shared);

FIXTURE_SETUP(shared)
{
	ASSERT_EQ(0, sq_init(&self->r, variant->backend, 8, 0, SQ_IDLE_MS));
}

FIXTURE_TEARDOWN(shared)
{
	ring_exit(&self->r);
}

static int attach(enum backend backend, unsigned int flags, unsigned int fd)
{
	struct io_uring_params p = { .flags = flags, .wq_fd = fd, .sq_thread_idle = SQ_IDLE_MS };
	int ret = uring_setup(backend, 8, &p);

	if (ret < 0)
		return ret;
	close(ret);
	return 0;
}

TEST_F(shared, attaching)
{
	unsigned int flags = IORING_SETUP_ATTACH_WQ, i;
	struct ring plain, other, *r = &self->r;
	pid_t child, tid = sq_thread(r);
	int status, fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	ASSERT_EQ(0, ring_init(&plain, variant->backend, 8, 0));
	/* Without a thread of its own it is only looked at. */
	EXPECT_EQ(0, attach(variant->backend, flags, r->fd));
	EXPECT_EQ(0, attach(variant->backend, flags, plain.fd));
	EXPECT_EQ(-ENXIO, attach(variant->backend, flags, 1000));
	EXPECT_EQ(-EINVAL, attach(variant->backend, flags, fd));
	flags |= IORING_SETUP_SQPOLL;
	EXPECT_EQ(-ENXIO, attach(variant->backend, flags, 1000));
	EXPECT_EQ(-EINVAL, attach(variant->backend, flags, fd));
	EXPECT_EQ(-EINVAL, attach(variant->backend, flags, plain.fd));
	close(fd);

	ASSERT_EQ(0, sq_attach(&other, r, 16, 0));
	EXPECT_EQ(tid, sq_thread(&other));
	for (i = 0; i < 10; i++) {
		ring_nop(&other, i);
		EXPECT_EQ(1, ring_submit(&other, 1));
		ring_nop(r, i);
		EXPECT_EQ(1, ring_submit(r, 1));
	}
	EXPECT_EQ(10, ring_ready(&other));
	EXPECT_EQ(10, ring_ready(r));
	/* Another process' thread does not do. */
	child = fork();
	if (!child) {
		struct ring mine;

		if (sq_attach(&mine, r, 8, 0))
			_exit(1);
		ring_nop(&mine, 0);
		_exit(ring_submit(&mine, 1) != 1 || sq_thread(&mine) == tid ? 2 : 0);
	}
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	/* The thread is there as long as one of its rings. */
	ring_exit(r);
	ring_nop(&other, i);
	EXPECT_EQ(1, ring_submit(&other, 1));
	EXPECT_EQ(tid, sq_thread(&other));
	*r = other;
	ring_exit(&plain);
}

/* A new ring of a thread that sleeps is told that it does. */
TEST_F(shared, attaching_to_a_sleeper)
{
	int i;

	for (i = 0; i < 20; i++) {
		struct ring other;

		ASSERT_TRUE(sq_falls_asleep(&self->r));
		ASSERT_EQ(0, sq_attach(&other, &self->r, 8, 0));
		usleep(i * 500);
		ring_nop(&other, i);
		ring_flush(&other);
		ASSERT_EQ(0, ring_consumed(&other));
		ring_exit(&other);
	}
}

/* Of several rings each has a few SQEs consumed at a time. */
TEST_F(shared, fair)
{
	struct ring rings[2];
	int p[2], i, j, run, longest = 0;
	char got[128], before = 0;

	ASSERT_EQ(0, pipe2(p, O_CLOEXEC));
	ASSERT_EQ(0, sq_init(&rings[0], variant->backend, 64, 0, SQ_IDLE_MS));
	ASSERT_EQ(0, sq_attach(&rings[1], &rings[0], 64, 0));
	ASSERT_TRUE(sq_falls_asleep(&rings[0]));
	ASSERT_TRUE(sq_falls_asleep(&rings[1]));
	for (i = 0; i < 2; i++)
		for (j = 0; j < 64; j++) {
			struct io_uring_sqe *sqe = ring_nop(&rings[i], j);

			sqe->opcode = IORING_OP_WRITE;
			sqe->fd = p[1];
			sqe->addr = (unsigned long)(i ? "b" : "a");
			sqe->len = 1;
		}
	ring_flush(&rings[0]);
	ring_flush(&rings[1]);
	ASSERT_EQ(0, ring_wake(&rings[0]));
	for (i = 0; i < 128; i += j) {
		j = read(p[0], got + i, 128 - i);
		ASSERT_LT(0, j);
	}
	for (i = 0, run = 0; i < 128; i++) {
		run = got[i] == before ? run + 1 : 1;
		before = got[i];
		longest = run > longest ? run : longest;
	}
	EXPECT_EQ(8, longest) TH_LOG("%.128s", got);
	ring_exit(&rings[0]);
	ring_exit(&rings[1]);
}

/* That does not tear apart what belongs together. */
TEST_F(shared, big_sqe_across_the_cap)
{
	struct ring other;
	int i;

	ASSERT_EQ(0, sq_attach(&other, &self->r, 64, IORING_SETUP_SQE_MIXED));
	ASSERT_TRUE(sq_falls_asleep(&other));
	for (i = 0; i < 7; i++)
		ring_nop(&other, i);
	ring_nop(&other, 7)->opcode = IORING_OP_NOP128;
	ring_sqe(&other);
	ring_nop(&other, 8);
	EXPECT_EQ(10, ring_enter(&other, ring_flush(&other), 0, 0));
	ASSERT_TRUE(cqes_come(&other, 9));
	for (i = 0; i < 9; i++) {
		struct io_uring_cqe cqe;

		ASSERT_TRUE(ring_cqe(&other, &cqe));
		EXPECT_EQ(i, cqe.user_data);
		EXPECT_EQ(0, cqe.res);
	}
	ring_exit(&other);
}

TEST_HARNESS_MAIN
