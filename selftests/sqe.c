// SPDX-License-Identifier: GPL-2.0
/* The common part of an SQE: what is refused with which errno, in the CQE; SQEs of both sizes. */
#include "uring.h"
#include "kselftest_harness.h"

#define ENTRIES	8

FIXTURE(sqe) {
	struct ring r;
};

RING_VARIANTS(sqe);

FIXTURE_SETUP(sqe)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, ENTRIES, variant->flags));
}

FIXTURE_TEARDOWN(sqe)
{
	ring_exit(&self->r);
}

#define WITH_FLAGS(more) do {							\
	ring_exit(&self->r);							\
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, ENTRIES,		\
			       variant->flags | (more)));			\
} while (0)

/* What a copy of @sqe comes to; an SQE that is in error is consumed like any other. */
static int result_of(struct __test_metadata *_metadata, struct ring *r, struct io_uring_sqe *sqe)
{
	struct io_uring_cqe cqe = { .res = 1 };
	static uint64_t nr;

	sqe->user_data = ++nr;
	*ring_sqe(r) = *sqe;
	EXPECT_EQ(1, ring_submit(r, 1));
	EXPECT_TRUE(ring_cqe(r, &cqe));
	EXPECT_EQ(sqe->user_data, cqe.user_data);
	EXPECT_FALSE(ring_cqe(r, &cqe));
	return cqe.res;
}

TEST_F(sqe, opcodes)
{
	unsigned int opcode;

	/* 7.3 ends with URING_CMD128. */
	for (opcode = IORING_OP_LAST; opcode < 256; opcode++) {
		struct io_uring_sqe sqe = { .opcode = opcode };

		EXPECT_EQ(-EINVAL, result_of(_metadata, &self->r, &sqe)) {
			TH_LOG("opcode %u", opcode);
		}
	}
	/* Those of 128 bytes do not fit in here. */
	for (opcode = IORING_OP_NOP128; opcode < IORING_OP_LAST; opcode++) {
		struct io_uring_sqe sqe = { .opcode = opcode };

		EXPECT_EQ(-EINVAL, result_of(_metadata, &self->r, &sqe)) {
			TH_LOG("opcode %u", opcode);
		}
	}
	/* Flags do not make a bad opcode something else. */
	for (opcode = 0; opcode < 8; opcode++) {
		struct io_uring_sqe sqe = { .opcode = 255, .flags = 1u << opcode };

		EXPECT_EQ(-EINVAL, result_of(_metadata, &self->r, &sqe));
	}
}

TEST_F(sqe, flags)
{
	static const struct {
		unsigned char flags;
		int result;
	} flags[] = {
		{ 0, 0 },
		{ IOSQE_FIXED_FILE, 0 },
		{ IOSQE_IO_LINK, 0 },
		{ IOSQE_IO_HARDLINK, 0 },
		{ IOSQE_ASYNC, 0 },
		{ IOSQE_IO_DRAIN, 0 },
		{ IOSQE_BUFFER_SELECT, -EOPNOTSUPP },
		{ IOSQE_BUFFER_SELECT | IOSQE_FIXED_FILE, -EOPNOTSUPP },
		{ IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS, -EOPNOTSUPP },
		{ IOSQE_BUFFER_SELECT | IOSQE_IO_LINK, -EOPNOTSUPP },
		{ 1 << 7, -EINVAL },
		{ 1 << 7 | IOSQE_FIXED_FILE, -EINVAL },
		{ 1 << 7 | IOSQE_CQE_SKIP_SUCCESS, -EINVAL },
		{ 1 << 7 | IOSQE_BUFFER_SELECT, -EINVAL },
		{ 0xff, -EINVAL },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		struct io_uring_sqe sqe = { .flags = flags[i].flags };

		EXPECT_EQ(flags[i].result, result_of(_metadata, &self->r, &sqe)) {
			TH_LOG("flags 0x%x", flags[i].flags);
		}
	}
}

TEST_F(sqe, ioprio)
{
	unsigned int i;

	for (i = 0; i < 16; i++) {
		struct io_uring_sqe sqe = { .ioprio = 1u << i };

		EXPECT_EQ(-EINVAL, result_of(_metadata, &self->r, &sqe));
	}
}

TEST_F(sqe, personality)
{
	struct io_uring_sqe sqe = { .personality = 1 };
	int id;

	EXPECT_EQ(-EINVAL, result_of(_metadata, &self->r, &sqe));
	sqe.personality = UINT16_MAX;
	EXPECT_EQ(-EINVAL, result_of(_metadata, &self->r, &sqe));
	id = ring_register(&self->r, IORING_REGISTER_PERSONALITY, NULL, 0);
	ASSERT_EQ(1, id);
	EXPECT_EQ(-EINVAL, result_of(_metadata, &self->r, &sqe));
	sqe.personality = id;
	EXPECT_EQ(0, result_of(_metadata, &self->r, &sqe));
	/* Not if something else is wrong. */
	sqe.nop_flags = 1u << 31;
	EXPECT_EQ(-EINVAL, result_of(_metadata, &self->r, &sqe));
	sqe.nop_flags = 0;
	EXPECT_EQ(0, ring_register(&self->r, IORING_UNREGISTER_PERSONALITY, NULL, id));
	EXPECT_EQ(-EINVAL, result_of(_metadata, &self->r, &sqe));
}

TEST_F(sqe, first_error_counts)
{
	/* In the order of the checks: opcode, flags, buffer selection, ioprio, the opcode's own. */
	static const struct {
		struct io_uring_sqe sqe;
		int res;
	} sqes[] = {
		{ { .opcode = 255, .flags = IOSQE_BUFFER_SELECT }, -EINVAL },
		{ { .flags = IOSQE_BUFFER_SELECT, .ioprio = 1 }, -EOPNOTSUPP },
		{ { .flags = IOSQE_BUFFER_SELECT, .personality = 9 }, -EOPNOTSUPP },
		{ { .flags = IOSQE_BUFFER_SELECT, .nop_flags = 1u << 31 }, -EOPNOTSUPP },
		{ { .flags = 1 << 7 | IOSQE_BUFFER_SELECT, .ioprio = 1 }, -EINVAL },
		{ { .opcode = IORING_OP_NOP128, .flags = IOSQE_BUFFER_SELECT }, -EINVAL },
		{ { .nop_flags = IORING_NOP_FILE, .fd = -1, .personality = 9 }, -EINVAL },
		{ { .nop_flags = IORING_NOP_FILE, .fd = -1, .ioprio = 9 }, -EINVAL },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sqes); i++) {
		struct io_uring_sqe sqe = sqes[i].sqe;

		EXPECT_EQ(sqes[i].res, result_of(_metadata, &self->r, &sqe)) {
			TH_LOG("SQE %u", i);
		}
	}
}

TEST_F(sqe, what_a_nop_does_not_look_at)
{
	struct io_uring_sqe sqe;

	memset(&sqe, 0xa5, sizeof(sqe));
	sqe.opcode = IORING_OP_NOP;
	sqe.flags = 0;
	sqe.ioprio = 0;
	sqe.personality = 0;
	sqe.nop_flags = 0;
	EXPECT_EQ(0, result_of(_metadata, &self->r, &sqe));
}

TEST_F(sqe, user_data_is_any_value)
{
	static const uint64_t values[] = { 0, 1, UINT64_MAX, 1ull << 63, 0x123456789abcdef0 };
	struct io_uring_cqe cqe;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(values); i++)
		ring_nop(&self->r, values[i]);
	EXPECT_EQ(ARRAY_SIZE(values), ring_submit(&self->r, 1));
	for (i = 0; i < ARRAY_SIZE(values); i++) {
		ASSERT_TRUE(ring_cqe(&self->r, &cqe));
		EXPECT_EQ(values[i], cqe.user_data);
	}
}

TEST_F(sqe, of_128_bytes)
{
	struct ring *r = &self->r;
	struct io_uring_cqe cqe;
	struct io_uring_sqe *sqe;
	unsigned int i, round;

	WITH_FLAGS(IORING_SETUP_SQE128);
	EXPECT_EQ(ENTRIES * 128, r->sqes_size);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 6; i++) {
			sqe = ring_nop(r, 10 * round + i);
			ASSERT_NE(NULL, sqe);
			/* The second half would be refused if it were taken for an SQE. */
			memset(sqe + 1, 0xff, sizeof(*sqe));
			if (i % 2)
				sqe->opcode = IORING_OP_NOP128;
		}
		EXPECT_EQ(6, ring_submit(r, 6));
		EXPECT_EQ(6 * round + 6, *r->sq_head);
		for (i = 0; i < 6; i++) {
			ASSERT_TRUE(ring_cqe(r, &cqe));
			EXPECT_EQ(10 * round + i, cqe.user_data);
			EXPECT_EQ(0, cqe.res);
		}
	}
}

/* In a ring with both sizes: a NOP, or a NOP128 with its second half. */
static struct io_uring_sqe *mixed(struct ring *r, uint64_t user_data, bool big)
{
	struct io_uring_sqe *sqe = ring_nop(r, user_data);

	if (big) {
		sqe->opcode = IORING_OP_NOP128;
		memset(ring_sqe(r), 0xff, sizeof(*sqe));
	}
	return sqe;
}

static void expect_cqe(struct __test_metadata *_metadata, struct ring *r, uint64_t user_data,
		       int res)
{
	struct io_uring_cqe cqe;

	ASSERT_TRUE(ring_cqe(r, &cqe));
	EXPECT_EQ(user_data, cqe.user_data);
	EXPECT_EQ(res, cqe.res);
}

TEST_F(sqe, of_both_sizes)
{
	struct ring *r = &self->r;

	WITH_FLAGS(IORING_SETUP_SQE_MIXED);
	EXPECT_EQ(ENTRIES * 64, r->sqes_size);
	mixed(r, 1, false);
	mixed(r, 2, true);
	mixed(r, 3, true);
	mixed(r, 4, false);
	mixed(r, 5, true);
	/* A big one counts twice. */
	EXPECT_EQ(8, ring_submit(r, 5));
	EXPECT_EQ(8, *r->sq_head);
	expect_cqe(_metadata, r, 1, 0);
	expect_cqe(_metadata, r, 2, 0);
	expect_cqe(_metadata, r, 3, 0);
	expect_cqe(_metadata, r, 4, 0);
	expect_cqe(_metadata, r, 5, 0);
	EXPECT_EQ(0, ring_ready(r));
}

TEST_F(sqe, big_one_must_not_wrap)
{
	struct ring *r = &self->r;
	unsigned int i;

	SKIP_POLLED(r, "it goes on after an error");
	WITH_FLAGS(IORING_SETUP_SQE_MIXED);
	for (i = 0; i < 7; i++)
		mixed(r, i, false);
	EXPECT_EQ(7, ring_submit(r, 7));
	ring_seen(r, 7);
	/* Slots 7 and 0: refused, and only slot 7 is consumed. */
	mixed(r, 8, true);
	ring_flush(r);
	EXPECT_EQ(1, ring_enter(r, 2, 0, 0));
	EXPECT_EQ(8, *r->sq_head);
	expect_cqe(_metadata, r, 8, -EINVAL);
	/* What was to be its second half is an SQE of its own now, a bad one. */
	EXPECT_EQ(1, ring_enter(r, 1, 0, 0));
	expect_cqe(_metadata, r, UINT64_MAX, -EINVAL);
	EXPECT_EQ(9, *r->sq_head);
}

TEST_F(sqe, big_one_must_be_whole)
{
	struct ring *r = &self->r;

	SKIP_POLLED(r, "it goes on after an error");
	WITH_FLAGS(IORING_SETUP_SQE_MIXED);
	/* The application shows one half, or asks for one half. */
	ring_nop(r, 1)->opcode = IORING_OP_NOP128;
	ring_flush(r);
	EXPECT_EQ(1, ring_enter(r, 2, 0, 0));
	expect_cqe(_metadata, r, 1, -EINVAL);
	EXPECT_EQ(1, *r->sq_head);
	mixed(r, 2, true);
	ring_flush(r);
	EXPECT_EQ(1, ring_enter(r, 1, 0, 0));
	expect_cqe(_metadata, r, 2, -EINVAL);
	EXPECT_EQ(2, *r->sq_head);
}

TEST_F(sqe, big_one_in_error_is_consumed_whole)
{
	struct ring *r = &self->r;

	SKIP_POLLED(r, "it goes on after an error");
	WITH_FLAGS(IORING_SETUP_SQE_MIXED);
	mixed(r, 1, true)->ioprio = 1;
	mixed(r, 2, true)->nop_flags = 1u << 31;
	mixed(r, 3, false);
	ring_flush(r);
	EXPECT_EQ(2, ring_enter(r, 5, 0, 0));
	expect_cqe(_metadata, r, 1, -EINVAL);
	EXPECT_EQ(2, ring_enter(r, 3, 0, 0));
	expect_cqe(_metadata, r, 2, -EINVAL);
	EXPECT_EQ(1, ring_enter(r, 1, 0, 0));
	expect_cqe(_metadata, r, 3, 0);
	EXPECT_EQ(5, *r->sq_head);
	/* With SUBMIT_ALL in one go. */
	WITH_FLAGS(IORING_SETUP_SQE_MIXED | IORING_SETUP_SUBMIT_ALL);
	mixed(r, 1, true)->ioprio = 1;
	mixed(r, 2, true)->nop_flags = 1u << 31;
	mixed(r, 3, false);
	EXPECT_EQ(5, ring_submit(r, 3));
	expect_cqe(_metadata, r, 1, -EINVAL);
	expect_cqe(_metadata, r, 2, -EINVAL);
	expect_cqe(_metadata, r, 3, 0);
}

TEST_F(sqe, big_one_through_the_array)
{
	struct ring *r = &self->r;

	SKIP_POLLED(r, "it goes on after an error");
	WITH_FLAGS(IORING_SETUP_SQE_MIXED);
	/* Both halves lie together; the second index is passed over, whatever it is. */
	r->sqes[4] = (struct io_uring_sqe){ .opcode = IORING_OP_NOP128, .user_data = 4 };
	r->sqes[2] = (struct io_uring_sqe){ .user_data = 2 };
	r->sqes[7] = (struct io_uring_sqe){ .opcode = IORING_OP_NOP128, .user_data = 7 };
	r->sq_array[0] = 4;
	r->sq_array[1] = UINT32_MAX;
	r->sq_array[2] = 2;
	/* The last slot has no other half, in whatever position it is named. */
	r->sq_array[3] = 7;
	r->sq_array[4] = 2;
	store_release(r->sq_tail, 5);
	EXPECT_EQ(4, ring_enter(r, 5, 0, 0));
	EXPECT_EQ(4, *r->sq_head);
	EXPECT_EQ(0, *r->sq_dropped);
	EXPECT_EQ(1, ring_enter(r, 1, 0, 0));
	expect_cqe(_metadata, r, 4, 0);
	expect_cqe(_metadata, r, 2, 0);
	expect_cqe(_metadata, r, 7, -EINVAL);
	expect_cqe(_metadata, r, 2, 0);
}

TEST_HARNESS_MAIN
