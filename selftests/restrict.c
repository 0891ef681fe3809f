// SPDX-License-Identifier: GPL-2.0
/* Restrictions of a ring: what it takes when it is enabled, and what it refuses. */
#include "uring.h"
#include "kselftest_harness.h"

#define MAX_ENTRIES	(IORING_RESTRICTION_LAST + IORING_REGISTER_LAST + IORING_OP_LAST)

#define ALLOW_REGISTER(op) \
	{ .opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = (op) }
#define ALLOW_SQE(op) \
	{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = (op) }
#define ALLOW_FLAGS(flags) \
	{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = (flags) }
#define REQUIRE_FLAGS(flags) \
	{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = (flags) }

FIXTURE(restrict) { struct ring r; };
RING_VARIANTS(restrict);

FIXTURE_SETUP(restrict)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags |
			       IORING_SETUP_R_DISABLED | IORING_SETUP_SQE128));
}

FIXTURE_TEARDOWN(restrict)
{
	ring_exit(&self->r);
}

static int restrict_ring(struct ring *r, const struct io_uring_restriction *list, unsigned int nr)
{
	return ring_register(r, IORING_REGISTER_RESTRICTIONS, list, nr);
}

static int enable(struct ring *r)
{
	return ring_register(r, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int try_sqe(struct ring *r, unsigned int opcode, unsigned int flags)
{
	struct io_uring_sqe *sqe = ring_sqe(r);
	struct io_uring_cqe cqe;

	sqe->opcode = opcode;
	sqe->flags = flags;
	sqe->fd = -1;
	/* So that there is a CQE in any case. */
	sqe->nop_flags = IORING_NOP_INJECT_RESULT;
	sqe->len = -77;
	if (ring_submit(r, 1) != 1 || !ring_cqe(r, &cqe))
		return -1000;
	return cqe.res;
}

static int try_register(struct ring *r)
{
	return ring_register(r, IORING_REGISTER_PERSONALITY, NULL, 0);
}

TEST_F(restrict, errors)
{
	struct io_uring_restriction one[] = { ALLOW_SQE(IORING_OP_NOP) };
	struct io_uring_restriction bad[][2] = {
		{ ALLOW_SQE(IORING_OP_NOP), { .opcode = IORING_RESTRICTION_LAST } },
		{ ALLOW_SQE(IORING_OP_NOP), { .opcode = 0xffff } },
		{ ALLOW_SQE(IORING_OP_NOP), ALLOW_SQE(IORING_OP_LAST) },
		{ ALLOW_SQE(IORING_OP_NOP), ALLOW_SQE(255) },
		{ ALLOW_REGISTER(IORING_REGISTER_PROBE), ALLOW_REGISTER(IORING_REGISTER_LAST) },
		{ ALLOW_REGISTER(IORING_REGISTER_PROBE), ALLOW_REGISTER(255) },
	};
	struct io_uring_restriction many[MAX_ENTRIES + 1] = {};
	size_t i;

	EXPECT_EQ(-EINVAL, restrict_ring(&self->r, NULL, 0));
	EXPECT_EQ(-EINVAL, restrict_ring(&self->r, NULL, 1));
	EXPECT_EQ(-EFAULT, restrict_ring(&self->r, (void *)8, 1));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EINVAL, restrict_ring(&self->r, bad[i], 2));
	for (i = 0; i <= MAX_ENTRIES; i++)
		many[i].opcode = IORING_RESTRICTION_SQE_OP;
	EXPECT_EQ(-EINVAL, restrict_ring(&self->r, many, MAX_ENTRIES + 1));
	EXPECT_EQ(-EINVAL, restrict_ring(&self->r, many, ~0u));
	/* Nothing of all that is left. */
	EXPECT_EQ(0, restrict_ring(&self->r, many, MAX_ENTRIES));
	/* Once, and not on a ring that is enabled. */
	EXPECT_EQ(-EBUSY, restrict_ring(&self->r, one, 1));
	EXPECT_EQ(-EBUSY, restrict_ring(&self->r, NULL, 0));
	EXPECT_EQ(0, enable(&self->r));
	EXPECT_EQ(-EBADFD, restrict_ring(&self->r, one, 1));
	EXPECT_EQ(-77, try_sqe(&self->r, IORING_OP_NOP, 0));
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP128, 0));
}

TEST_F(restrict, failed_ones_leave_nothing)
{
	struct io_uring_restriction bad[] = { ALLOW_SQE(IORING_OP_NOP128),
		ALLOW_REGISTER(IORING_REGISTER_PROBE), REQUIRE_FLAGS(IOSQE_FIXED_FILE),
		{ .opcode = 99 } };

	EXPECT_EQ(-EINVAL, restrict_ring(&self->r, bad, ARRAY_SIZE(bad)));
	EXPECT_EQ(0, enable(&self->r));
	EXPECT_EQ(-77, try_sqe(&self->r, IORING_OP_NOP, 0));
	EXPECT_EQ(1, try_register(&self->r));
	EXPECT_EQ(-EBADFD, restrict_ring(&self->r, bad, 1));
}

TEST_F(restrict, opcodes)
{
	struct io_uring_restriction list[] = { ALLOW_SQE(IORING_OP_NOP) };

	ASSERT_EQ(0, restrict_ring(&self->r, list, 1));
	ASSERT_EQ(0, enable(&self->r));
	EXPECT_EQ(-77, try_sqe(&self->r, IORING_OP_NOP, 0));
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP128, 0));
	/* What does not exist is no matter of permission. */
	EXPECT_EQ(-EINVAL, try_sqe(&self->r, IORING_OP_LAST, 0));
	/* No flag was allowed. */
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP, IOSQE_CQE_SKIP_SUCCESS));
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP, IOSQE_FIXED_FILE));
	EXPECT_EQ(-EINVAL, try_sqe(&self->r, IORING_OP_NOP, 1 << 7));
	/* Register operations are free. */
	EXPECT_EQ(1, try_register(&self->r));
}

TEST_F(restrict, high_opcodes)
{
	struct io_uring_restriction list[] = { ALLOW_SQE(IORING_OP_NOP128) };

	ASSERT_EQ(0, restrict_ring(&self->r, list, 1));
	ASSERT_EQ(0, enable(&self->r));
	EXPECT_EQ(-77, try_sqe(&self->r, IORING_OP_NOP128, 0));
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP, 0));
}

TEST_F(restrict, flags_allowed)
{
	struct io_uring_restriction list[] = { ALLOW_FLAGS(IOSQE_FIXED_FILE),
		ALLOW_SQE(IORING_OP_NOP), ALLOW_FLAGS(IOSQE_CQE_SKIP_SUCCESS | 1 << 7) };

	ASSERT_EQ(0, restrict_ring(&self->r, list, ARRAY_SIZE(list)));
	ASSERT_EQ(0, enable(&self->r));
	EXPECT_EQ(-77, try_sqe(&self->r, IORING_OP_NOP, 0));
	EXPECT_EQ(-77, try_sqe(&self->r, IORING_OP_NOP, IOSQE_CQE_SKIP_SUCCESS));
	/* The last word about flags is the one that counts, but it makes no new ones. */
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP, IOSQE_FIXED_FILE));
	EXPECT_EQ(-EINVAL, try_sqe(&self->r, IORING_OP_NOP, 1 << 7));
}

TEST_F(restrict, flags_required)
{
	struct io_uring_restriction list[] = { ALLOW_SQE(IORING_OP_NOP),
		REQUIRE_FLAGS(IOSQE_CQE_SKIP_SUCCESS), ALLOW_FLAGS(IOSQE_FIXED_FILE) };

	ASSERT_EQ(0, restrict_ring(&self->r, list, ARRAY_SIZE(list)));
	ASSERT_EQ(0, enable(&self->r));
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP, 0));
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP, IOSQE_FIXED_FILE));
	/* What is required is allowed as well. */
	EXPECT_EQ(-77, try_sqe(&self->r, IORING_OP_NOP, IOSQE_CQE_SKIP_SUCCESS));
	EXPECT_EQ(-77, try_sqe(&self->r, IORING_OP_NOP,
			       IOSQE_CQE_SKIP_SUCCESS | IOSQE_FIXED_FILE));
}

/* Flags alone allow no opcode. */
TEST_F(restrict, flags_without_opcodes)
{
	struct io_uring_restriction list[] = { ALLOW_FLAGS(IOSQE_CQE_SKIP_SUCCESS) };

	ASSERT_EQ(0, restrict_ring(&self->r, list, 1));
	ASSERT_EQ(0, enable(&self->r));
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP, 0));
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP, IOSQE_CQE_SKIP_SUCCESS));
	EXPECT_EQ(1, try_register(&self->r));
}

TEST_F(restrict, register_operations)
{
	struct io_uring_restriction list[] = { ALLOW_REGISTER(IORING_REGISTER_PERSONALITY),
		ALLOW_REGISTER(IORING_REGISTER_QUERY) };
	unsigned int op;

	ASSERT_EQ(0, restrict_ring(&self->r, list, ARRAY_SIZE(list)));
	/* Not yet. */
	EXPECT_EQ(-ENXIO, ring_register(&self->r, IORING_UNREGISTER_EVENTFD, NULL, 0));
	ASSERT_EQ(0, enable(&self->r));
	for (op = 0; op < IORING_REGISTER_LAST; op++) {
		int expected = op == IORING_REGISTER_QUERY ? 0 : -EACCES;

		if (op == IORING_REGISTER_PERSONALITY)
			expected = 1;
		EXPECT_EQ(expected, ring_register(&self->r, op, NULL, 0));
	}
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_LAST, NULL, 0));
	/* SQEs are free. */
	EXPECT_EQ(-77, try_sqe(&self->r, IORING_OP_NOP128, IOSQE_CQE_SKIP_SUCCESS));
	/* So are calls that take no ring. */
	EXPECT_EQ(0, uring_register(variant->backend, -1, IORING_REGISTER_QUERY, NULL, 0));
}

/* Not even enabling is exempt, once it is enabled. */
TEST_F(restrict, empty_list)
{
	struct io_uring_restriction list[1] = {};

	ASSERT_EQ(0, restrict_ring(&self->r, list, 0));
	EXPECT_EQ(-EBUSY, restrict_ring(&self->r, list, 0));
	EXPECT_EQ(1, try_register(&self->r));
	ASSERT_EQ(0, enable(&self->r));
	EXPECT_EQ(-EACCES, enable(&self->r));
	EXPECT_EQ(-EACCES, try_register(&self->r));
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP, 0));
	EXPECT_EQ(-EACCES, try_sqe(&self->r, IORING_OP_NOP128, IOSQE_CQE_SKIP_SUCCESS));
}

/* What else is in an entry is not looked at. */
TEST_F(restrict, reserved_fields)
{
	struct io_uring_restriction list[] = { ALLOW_SQE(IORING_OP_NOP) };

	list[0].resv = 0xff;
	memset(list[0].resv2, 0xff, sizeof(list[0].resv2));
	EXPECT_EQ(0, restrict_ring(&self->r, list, 1));
	ASSERT_EQ(0, enable(&self->r));
	EXPECT_EQ(-77, try_sqe(&self->r, IORING_OP_NOP, 0));
}

/* A refused SQE ends a batch like any other that is in error. */
TEST_F(restrict, batch)
{
	struct io_uring_restriction list[] = { ALLOW_SQE(IORING_OP_NOP) };
	struct io_uring_cqe cqe;

	SKIP_POLLED(&self->r, "it goes on after an error");
	ASSERT_EQ(0, restrict_ring(&self->r, list, 1));
	ASSERT_EQ(0, enable(&self->r));
	ring_nop(&self->r, 1);
	ring_nop(&self->r, 2)->opcode = IORING_OP_NOP128;
	ring_nop(&self->r, 3);
	EXPECT_EQ(2, ring_submit(&self->r, 0));
	ASSERT_TRUE(ring_cqe(&self->r, &cqe));
	EXPECT_EQ(0, cqe.res);
	ASSERT_TRUE(ring_cqe(&self->r, &cqe));
	EXPECT_EQ(-EACCES, cqe.res);
	EXPECT_EQ(2, cqe.user_data);
	EXPECT_FALSE(ring_cqe(&self->r, &cqe));
	EXPECT_EQ(1, ring_enter(&self->r, 1, 1, IORING_ENTER_GETEVENTS));
}

/* Of several things that are wrong one is told, always the same. */
TEST_F(restrict, order_of_errors)
{
	struct io_uring_restriction list[] = { ALLOW_SQE(IORING_OP_NOP128) };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;

	ASSERT_EQ(0, restrict_ring(&self->r, list, 1));
	ASSERT_EQ(0, enable(&self->r));
	sqe = ring_nop(&self->r, 1);
	sqe->ioprio = 1;
	sqe->personality = 5;
	sqe->nop_flags = ~0u;
	ASSERT_EQ(1, ring_submit(&self->r, 1));
	ASSERT_TRUE(ring_cqe(&self->r, &cqe));
	EXPECT_EQ(-EACCES, cqe.res);
	EXPECT_EQ(-EOPNOTSUPP, try_sqe(&self->r, IORING_OP_NOP, IOSQE_BUFFER_SELECT));
}

/* A ring that was never disabled cannot be restricted. */
TEST_F(restrict, enabled_ring)
{
	struct io_uring_restriction list[] = { ALLOW_SQE(IORING_OP_NOP) };
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, variant->backend, 8, variant->flags));
	EXPECT_EQ(-EBADFD, restrict_ring(&r, list, 1));
	EXPECT_EQ(-EBADFD, restrict_ring(&r, NULL, 0));
	EXPECT_EQ(-77, try_sqe(&r, IORING_OP_NOP, 0));
	ring_exit(&r);
}

TEST_HARNESS_MAIN
