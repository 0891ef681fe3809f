// SPDX-License-Identifier: GPL-2.0
/* Registered credentials: their ids, and SQEs that name them. */
#include "uring.h"
#include "kselftest_harness.h"

FIXTURE(personality) { struct ring r; };
RING_VARIANTS(personality);

FIXTURE_SETUP(personality)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
}

FIXTURE_TEARDOWN(personality)
{
	ring_exit(&self->r);
}

static int add(struct ring *r)
{
	return ring_register(r, IORING_REGISTER_PERSONALITY, NULL, 0);
}

static int del(struct ring *r, unsigned int id)
{
	return ring_register(r, IORING_UNREGISTER_PERSONALITY, NULL, id);
}

/* The result of a NOP that is to run with these credentials. */
static int use(struct ring *r, unsigned int id)
{
	struct io_uring_cqe cqe;

	ring_nop(r, 1)->personality = id;
	if (ring_submit(r, 1) != 1 || !ring_cqe(r, &cqe))
		return -1000;
	return cqe.res;
}

TEST_F(personality, ids_go_up)
{
	int i;

	for (i = 1; i <= 5; i++)
		EXPECT_EQ(i, add(&self->r));
	EXPECT_EQ(0, del(&self->r, 2));
	EXPECT_EQ(0, del(&self->r, 5));
	/* One is not used again before all others. */
	EXPECT_EQ(6, add(&self->r));
	EXPECT_EQ(7, add(&self->r));
}

TEST_F(personality, errors)
{
	unsigned int bad[] = { 0, 2, 65535, 65536, 65537, 1u << 31 | 1, ~0u };
	size_t i;

	EXPECT_EQ(-EINVAL, del(&self->r, 1));
	EXPECT_EQ(1, add(&self->r));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EINVAL, del(&self->r, bad[i]));
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_UNREGISTER_PERSONALITY, self, 1));
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_PERSONALITY, self, 0));
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_PERSONALITY, NULL, 1));
	EXPECT_EQ(0, del(&self->r, 1));
	EXPECT_EQ(-EINVAL, del(&self->r, 1));
}

TEST_F(personality, in_an_sqe)
{
	EXPECT_EQ(0, use(&self->r, 0));
	EXPECT_EQ(-EINVAL, use(&self->r, 1));
	ASSERT_EQ(1, add(&self->r));
	EXPECT_EQ(0, use(&self->r, 1));
	EXPECT_EQ(-EINVAL, use(&self->r, 2));
	EXPECT_EQ(-EINVAL, use(&self->r, 65535));
	ASSERT_EQ(2, add(&self->r));
	EXPECT_EQ(0, use(&self->r, 2));
	ASSERT_EQ(0, del(&self->r, 1));
	EXPECT_EQ(-EINVAL, use(&self->r, 1));
	EXPECT_EQ(0, use(&self->r, 2));
}

/* Each ring has its own. */
TEST_F(personality, belongs_to_its_ring)
{
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, variant->backend, 8, variant->flags));
	ASSERT_EQ(1, add(&self->r));
	ASSERT_EQ(2, add(&self->r));
	EXPECT_EQ(-EINVAL, use(&r, 1));
	EXPECT_EQ(1, add(&r));
	EXPECT_EQ(-EINVAL, use(&r, 2));
	ring_exit(&r);
	EXPECT_EQ(0, use(&self->r, 1));
}

/* All of them, then from the beginning those that are free. */
TEST_F(personality, all_ids)
{
	const char *kernel = getenv("RUST_URING_KERNEL");
	int i;

	if (variant->flags || (kernel && !strcmp(kernel, "test") && !getenv("STRESS")))
		SKIP(return, "takes long, and is the same for all rings");
	for (i = 1; i <= 65535; i++)
		ASSERT_EQ(i, add(&self->r));
	EXPECT_EQ(-EBUSY, add(&self->r));
	EXPECT_EQ(0, use(&self->r, 65535));
	ASSERT_EQ(0, del(&self->r, 777));
	ASSERT_EQ(0, del(&self->r, 3));
	EXPECT_EQ(3, add(&self->r));
	EXPECT_EQ(777, add(&self->r));
	EXPECT_EQ(-EBUSY, add(&self->r));
}

TEST_HARNESS_MAIN
