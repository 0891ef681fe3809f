// SPDX-License-Identifier: GPL-2.0
/* NOP and NOP128: every flag, every way to be refused, and where the completion goes. */
#include "uring.h"
#include <sys/uio.h>
#include "kselftest_harness.h"

#define ALL_FLAGS	((IORING_NOP_CQE32 << 1) - 1)

FIXTURE(nop) {
	struct ring r;
};

RING_VARIANTS(nop);

FIXTURE_SETUP(nop)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
}

FIXTURE_TEARDOWN(nop)
{
	ring_exit(&self->r);
}

/* Replaces the ring by one with more flags. */
#define WITH_FLAGS(more) do {							\
	ring_exit(&self->r);							\
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8,			\
			       variant->flags | (more)));			\
} while (0)

/* Submits what is there, which is one request, and returns its result. */
static int result(struct __test_metadata *_metadata, struct ring *r)
{
	struct io_uring_cqe cqe = { .res = 1 };

	EXPECT_EQ(1, ring_submit(r, 1));
	EXPECT_TRUE(ring_cqe(r, &cqe));
	EXPECT_EQ(0, cqe.flags);
	EXPECT_EQ(0, ring_ready(r));
	return cqe.res;
}

TEST_F(nop, completes_in_order)
{
	struct io_uring_cqe cqe;
	int i, round;

	for (round = 0; round < 100; round++) {
		for (i = 0; i < 8; i++)
			ASSERT_NE(NULL, ring_nop(&self->r, 100 * round + i));
		ASSERT_EQ(8, ring_submit(&self->r, 8));
		for (i = 0; i < 8; i++) {
			ASSERT_TRUE(ring_cqe(&self->r, &cqe));
			EXPECT_EQ(100 * round + i, cqe.user_data);
			EXPECT_EQ(0, cqe.res);
			EXPECT_EQ(0, cqe.flags);
		}
		ASSERT_FALSE(ring_cqe(&self->r, &cqe));
	}
}

TEST_F(nop, injects_result)
{
	static const int values[] = { 0, 1, 4711, -1, -EIO, -511, -517, INT32_MIN, INT32_MAX };
	struct io_uring_sqe *sqe;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(values); i++) {
		sqe = ring_nop(&self->r, i);
		sqe->nop_flags = IORING_NOP_INJECT_RESULT;
		sqe->len = values[i];
		EXPECT_EQ(values[i], result(_metadata, &self->r));
	}
	/* Without the flag the length means nothing. */
	ring_nop(&self->r, 7)->len = 55;
	EXPECT_EQ(0, result(_metadata, &self->r));
}

TEST_F(nop, restart_codes_become_eintr)
{
	/* ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK */
	static const int codes[] = { -512, -513, -514, -516 };
	struct io_uring_sqe *sqe;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(codes); i++) {
		sqe = ring_nop(&self->r, i);
		sqe->nop_flags = IORING_NOP_INJECT_RESULT;
		sqe->len = codes[i];
		EXPECT_EQ(-EINTR, result(_metadata, &self->r));
		/* Natively they slip through where the result comes by way of task work. */
		sqe = ring_nop(&self->r, i);
		sqe->nop_flags = IORING_NOP_INJECT_RESULT | IORING_NOP_TW;
		sqe->len = codes[i];
		EXPECT_EQ(variant->backend == NATIVE ? codes[i] : -EINTR,
			  result(_metadata, &self->r));
	}
}

TEST_F(nop, unknown_flags)
{
	unsigned int i;

	for (i = 6; i < 32; i++) {
		ring_nop(&self->r, i)->nop_flags = 1u << i;
		EXPECT_EQ(-EINVAL, result(_metadata, &self->r));
		/* Whatever else is asked for. */
		ring_nop(&self->r, i)->nop_flags = 1u << i | IORING_NOP_TW |
			IORING_NOP_INJECT_RESULT;
		EXPECT_EQ(-EINVAL, result(_metadata, &self->r));
	}
	ring_nop(&self->r, i)->nop_flags = UINT32_MAX;
	EXPECT_EQ(-EINVAL, result(_metadata, &self->r));
}

/* A NOP that is to look up @fd. */
static struct io_uring_sqe *file(struct ring *r, int fd, unsigned int flags)
{
	struct io_uring_sqe *sqe = ring_nop(r, 0);

	sqe->nop_flags = IORING_NOP_FILE | flags;
	sqe->fd = fd;
	return sqe;
}

TEST_F(nop, looks_up_file)
{
	int path = open("/", O_PATH), dir = open("/", O_RDONLY), gone = dup(0);

	ASSERT_LE(0, path);
	ASSERT_LE(0, dir);
	close(gone);
	file(&self->r, 0, 0);
	EXPECT_EQ(0, result(_metadata, &self->r));
	file(&self->r, dir, 0);
	EXPECT_EQ(0, result(_metadata, &self->r));
	/* Rings have files, too. */
	file(&self->r, self->r.fd, 0);
	EXPECT_EQ(0, result(_metadata, &self->r));
	file(&self->r, 0, IORING_NOP_INJECT_RESULT)->len = 42;
	EXPECT_EQ(42, result(_metadata, &self->r));
	file(&self->r, 0, IORING_NOP_TW);
	EXPECT_EQ(0, result(_metadata, &self->r));
	file(&self->r, gone, 0);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	file(&self->r, path, 0);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	file(&self->r, -1, 0);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	file(&self->r, INT32_MAX, 0);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	file(&self->r, INT32_MIN, 0);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	file(&self->r, -1, IORING_NOP_TW);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	/* The lookup's error is the result, whatever is injected. */
	file(&self->r, gone, IORING_NOP_INJECT_RESULT)->len = 42;
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	/* Without the flag the descriptor means nothing. */
	ring_nop(&self->r, 0)->fd = gone;
	EXPECT_EQ(0, result(_metadata, &self->r));
	close(path);
	close(dir);
}

TEST_F(nop, lets_go_of_file)
{
	int fds[2], i;
	char c;

	ASSERT_EQ(0, pipe(fds));
	for (i = 0; i < 8; i++)
		file(&self->r, fds[1], i % 2 ? IORING_NOP_TW : 0);
	EXPECT_EQ(8, ring_submit(&self->r, 8));
	EXPECT_EQ(8, ring_ready(&self->r));
	close(fds[1]);
	/* The end of the pipe is seen once nobody can write any more. */
	EXPECT_EQ(0, read(fds[0], &c, 1));
	close(fds[0]);
}

TEST_F(nop, nothing_is_registered)
{
	struct io_uring_sqe *sqe;

	file(&self->r, 0, IORING_NOP_FIXED_FILE);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	file(&self->r, -1, IORING_NOP_FIXED_FILE);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	/* The SQE's own flag says the same. */
	file(&self->r, 0, 0)->flags = IOSQE_FIXED_FILE;
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	/* No file is asked for. */
	ring_nop(&self->r, 0)->nop_flags = IORING_NOP_FIXED_FILE;
	EXPECT_EQ(0, result(_metadata, &self->r));
	ring_nop(&self->r, 0)->flags = IOSQE_FIXED_FILE;
	EXPECT_EQ(0, result(_metadata, &self->r));

	ring_nop(&self->r, 0)->nop_flags = IORING_NOP_FIXED_BUFFER;
	EXPECT_EQ(-EFAULT, result(_metadata, &self->r));
	sqe = ring_nop(&self->r, 0);
	sqe->nop_flags = IORING_NOP_FIXED_BUFFER | IORING_NOP_INJECT_RESULT;
	sqe->len = 42;
	sqe->buf_index = UINT16_MAX;
	EXPECT_EQ(-EFAULT, result(_metadata, &self->r));
	/* The file comes first. */
	file(&self->r, -1, IORING_NOP_FIXED_BUFFER);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	file(&self->r, 0, IORING_NOP_FIXED_BUFFER);
	EXPECT_EQ(-EFAULT, result(_metadata, &self->r));
	file(&self->r, 0, ALL_FLAGS & ~IORING_NOP_CQE32);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
}

/* What is registered is found, held while it is in use, and let go. */
TEST_F(nop, registered)
{
	uint64_t tags[2] = { 1, 2 };
	int fds[3] = { -1, open("/dev/null", O_RDONLY), -1 };
	struct iovec iov = { tags, sizeof(tags) };
	struct io_uring_rsrc_register files = {
		.nr = 2, .data = (unsigned long)fds, .tags = (unsigned long)tags,
	};
	struct io_uring_cqe cqe;

	ASSERT_LE(0, fds[1]);
	tags[0] = 0;
	ASSERT_EQ(0, ring_register(&self->r, IORING_REGISTER_FILES2, &files, sizeof(files)));
	ASSERT_EQ(0, ring_register(&self->r, IORING_REGISTER_BUFFERS, &iov, 1));

	file(&self->r, 1, IORING_NOP_FIXED_FILE);
	EXPECT_EQ(0, result(_metadata, &self->r));
	file(&self->r, 1, 0)->flags = IOSQE_FIXED_FILE;
	EXPECT_EQ(0, result(_metadata, &self->r));
	/* A hole, and beyond. */
	file(&self->r, 0, IORING_NOP_FIXED_FILE);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	file(&self->r, 2, IORING_NOP_FIXED_FILE);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	file(&self->r, INT32_MAX, IORING_NOP_FIXED_FILE);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	file(&self->r, -1, IORING_NOP_FIXED_FILE);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));

	ring_nop(&self->r, 0)->nop_flags = IORING_NOP_FIXED_BUFFER;
	EXPECT_EQ(0, result(_metadata, &self->r));
	file(&self->r, 1, IORING_NOP_FIXED_BUFFER | IORING_NOP_FIXED_FILE | IORING_NOP_TW);
	EXPECT_EQ(0, result(_metadata, &self->r));
	ring_nop(&self->r, 0)->nop_flags = IORING_NOP_FIXED_BUFFER;
	self->r.sqes[(self->r.sqe_tail - 1) & 7].buf_index = 1;
	EXPECT_EQ(-EFAULT, result(_metadata, &self->r));

	/* Nobody has them any more, so unregistering is the end of it. */
	EXPECT_EQ(0, ring_register(&self->r, IORING_UNREGISTER_FILES, NULL, 0));
	EXPECT_EQ(0, ring_enter(&self->r, 0, 1, IORING_ENTER_GETEVENTS));
	ASSERT_TRUE(ring_cqe(&self->r, &cqe));
	EXPECT_EQ(2, cqe.user_data);
	EXPECT_EQ(0, cqe.res);
	EXPECT_EQ(0, ring_register(&self->r, IORING_UNREGISTER_BUFFERS, NULL, 0));
	file(&self->r, 1, IORING_NOP_FIXED_FILE);
	EXPECT_EQ(-EBADF, result(_metadata, &self->r));
	ring_nop(&self->r, 0)->nop_flags = IORING_NOP_FIXED_BUFFER;
	EXPECT_EQ(-EFAULT, result(_metadata, &self->r));
	close(fds[1]);
}

TEST_F(nop, task_work)
{
	bool defer = variant->flags & IORING_SETUP_DEFER_TASKRUN;
	struct ring *r = &self->r;
	struct io_uring_cqe cqe;
	int i, order[6] = { 1, 3, 5, 0, 2, 4 };

	/* Even ones take the way of what completes later. */
	for (i = 0; i < 6; i++)
		ring_nop(r, i)->nop_flags = i % 2 ? 0 : IORING_NOP_TW;
	EXPECT_EQ(6, ring_enter(r, ring_flush(r), 0, 0));
	/* A thread that submits does the rest a little later. */
	for (i = 0; variant->flags & IORING_SETUP_SQPOLL && i < 1000 && ring_ready(r) < 6; i++)
		usleep(10000);
	EXPECT_EQ(defer ? 3 : 6, ring_ready(r));
	if (defer) {
		EXPECT_EQ(0, ring_enter(r, 0, 0, 0));
		EXPECT_EQ(3, ring_ready(r));
		EXPECT_EQ(0, ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS));
	}
	for (i = 0; i < 6; i++) {
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(order[i], cqe.user_data);
	}
	EXPECT_EQ(0, ring_ready(r));
	/* In one go. */
	for (i = 0; i < 8; i++)
		ring_nop(r, i)->nop_flags = IORING_NOP_TW;
	EXPECT_EQ(8, ring_submit(r, 8));
	for (i = 0; i < 8; i++) {
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
	}
}

/* A NOP with a CQE of 32 bytes. */
static struct io_uring_sqe *big(struct ring *r, uint64_t user_data, unsigned int flags)
{
	struct io_uring_sqe *sqe = ring_nop(r, user_data);

	sqe->nop_flags = IORING_NOP_CQE32 | flags;
	sqe->off = user_data + 100;
	sqe->addr = user_data + 200;
	return sqe;
}

TEST_F(nop, no_big_cqe_in_a_plain_ring)
{
	big(&self->r, 1, 0);
	EXPECT_EQ(-EINVAL, result(_metadata, &self->r));
	big(&self->r, 1, IORING_NOP_TW);
	EXPECT_EQ(-EINVAL, result(_metadata, &self->r));
}

TEST_F(nop, big_cqes)
{
	struct ring *r = &self->r;
	struct io_uring_cqe *cqe;
	int i, round;

	WITH_FLAGS(IORING_SETUP_CQE32);
	for (round = 0; round < 5; round++) {
		for (i = 0; i < 8; i++) {
			/* Other NOPs have zeroes there, whatever the SQE says. */
			if (i % 2)
				ring_nop(r, i)->off = 4711;
			else
				big(r, i, i == 4 ? IORING_NOP_FILE : 0)->fd = -1;
		}
		EXPECT_EQ(8, ring_submit(r, 8));
		EXPECT_EQ(8, ring_ready(r));
		for (i = 0; i < 8; i++) {
			cqe = ring_peek(r);
			ASSERT_NE(NULL, cqe);
			EXPECT_EQ(i, cqe->user_data);
			EXPECT_EQ(i == 4 ? -EBADF : 0, cqe->res);
			EXPECT_EQ(0, cqe->flags);
			EXPECT_EQ(i % 2 ? 0 : i + 100, cqe->big_cqe[0]);
			EXPECT_EQ(i % 2 ? 0 : i + 200, cqe->big_cqe[1]);
			/* Nothing of an old CQE may be left in a new one. */
			memset(cqe, 0xff, 32);
			ring_seen(r, 1);
		}
	}
	/* An SQE in error, after one that was not. */
	big(r, 1, 0);
	big(r, 2, 1u << 31);
	EXPECT_EQ(2, ring_submit(r, 2));
	ring_seen(r, 1);
	cqe = ring_peek(r);
	EXPECT_EQ(-EINVAL, cqe->res);
	EXPECT_EQ(0, cqe->big_cqe[0]);
	EXPECT_EQ(0, cqe->big_cqe[1]);
}

TEST_F(nop, cqes_of_both_sizes)
{
	struct ring *r = &self->r;
	struct io_uring_cqe *cqe;
	int i, j, round;

	WITH_FLAGS(IORING_SETUP_CQE_MIXED);
	/* 12 slots each round in a ring of 16, so that they come to lie everywhere. */
	for (round = 0; round < 10; round++) {
		for (i = 0; i < 8; i++) {
			if (i % 2)
				big(r, i, 0);
			else
				ring_nop(r, i);
		}
		EXPECT_EQ(8, ring_submit(r, 8));
		for (i = 0; i < 8; i++) {
			cqe = ring_peek(r);
			ASSERT_NE(NULL, cqe);
			if (cqe->flags & IORING_CQE_F_SKIP) {
				/* The last slot, where the next would have wrapped. */
				EXPECT_EQ(15, *r->cq_head % 16);
				EXPECT_EQ(IORING_CQE_F_SKIP, cqe->flags);
				EXPECT_EQ(0, cqe->user_data);
				EXPECT_EQ(0, cqe->res);
				EXPECT_EQ(1, i % 2);
				ring_seen(r, 1);
				cqe = ring_peek(r);
				ASSERT_NE(NULL, cqe);
			}
			EXPECT_EQ(i, cqe->user_data);
			EXPECT_EQ(0, cqe->res);
			EXPECT_EQ(i % 2 ? IORING_CQE_F_32 : 0, cqe->flags);
			if (i % 2) {
				EXPECT_EQ(i + 100, cqe->big_cqe[0]);
				EXPECT_EQ(i + 200, cqe->big_cqe[1]);
			}
			for (j = 0; j <= i % 2; j++)
				memset(cqe + j, 0xff, 16);
			ring_seen(r, 1 + i % 2);
		}
		EXPECT_EQ(0, ring_ready(r));
	}
	/* An SQE in error has a small CQE. */
	big(r, 9, 0)->ioprio = 1;
	EXPECT_EQ(-EINVAL, result(_metadata, r));
}

TEST_F(nop, of_128_bytes)
{
	struct ring *r = &self->r;
	struct io_uring_sqe *sqe;

	/* Not in a plain ring. */
	ring_nop(r, 0)->opcode = IORING_OP_NOP128;
	EXPECT_EQ(-EINVAL, result(_metadata, r));
	/* Its flags are those of NOP. */
	WITH_FLAGS(IORING_SETUP_SQE128);
	ring_nop(r, 0)->opcode = IORING_OP_NOP128;
	EXPECT_EQ(0, result(_metadata, r));
	sqe = ring_nop(r, 0);
	sqe->opcode = IORING_OP_NOP128;
	sqe->nop_flags = IORING_NOP_INJECT_RESULT | IORING_NOP_TW;
	sqe->len = -EIO;
	EXPECT_EQ(-EIO, result(_metadata, r));
	file(r, -1, 0)->opcode = IORING_OP_NOP128;
	EXPECT_EQ(-EBADF, result(_metadata, r));
	big(r, 0, 0)->opcode = IORING_OP_NOP128;
	EXPECT_EQ(-EINVAL, result(_metadata, r));
	sqe = ring_nop(r, 0);
	sqe->opcode = IORING_OP_NOP128;
	sqe->nop_flags = 1u << 6;
	EXPECT_EQ(-EINVAL, result(_metadata, r));
	sqe = ring_nop(r, 0);
	sqe->opcode = IORING_OP_NOP128;
	sqe->ioprio = 1;
	EXPECT_EQ(-EINVAL, result(_metadata, r));
}

TEST_HARNESS_MAIN
