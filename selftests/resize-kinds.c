// SPDX-License-Identifier: GPL-2.0
/* Resizing rings with large or mixed entries, without an array, in the application's memory. */
#include "uring.h"
#include "resize.h"
#include "kselftest_harness.h"

FIXTURE(kinds) { struct ring r; };
BACKEND_VARIANTS(kinds);

FIXTURE_SETUP(kinds)
{
}

FIXTURE_TEARDOWN(kinds)
{
}

/* A NOP of 16 or 32 bytes of CQE, with its result in all of it. */
static void nop(struct ring *r, unsigned int id, bool large)
{
	struct io_uring_sqe *sqe = ring_nop(r, id);

	sqe->nop_flags = IORING_NOP_INJECT_RESULT | (large ? IORING_NOP_CQE32 : 0);
	sqe->len = id + 1;
	sqe->off = id + 2;
	sqe->addr = id + 3;
}

static int post(struct ring *r, unsigned int id, bool large)
{
	nop(r, id, large);
	return ring_submit(r, 0) - 1;
}

static bool is_cqe(struct ring *r, unsigned int id, bool large)
{
	struct io_uring_cqe *cqe = ring_peek(r);
	bool mixed = r->p.flags & IORING_SETUP_CQE_MIXED, ok;

	if (!cqe)
		return false;
	ok = cqe->user_data == id && cqe->res == id + 1;
	ok = ok && cqe->flags == (large && mixed ? IORING_CQE_F_32 : 0);
	if (large)
		ok = ok && cqe->big_cqe[0] == id + 2 && cqe->big_cqe[1] == id + 3;
	ring_seen(r, 1 + (large && mixed));
	return ok;
}

TEST_F(kinds, cqe32)
{
	unsigned int sizes[] = { 16, 4, 64, 8 }, i, k;
	struct ring *r = &self->r;

	ASSERT_EQ(0, ring_init(r, variant->backend, 4, DEFER | IORING_SETUP_CQE32));
	for (k = 0; k < 5; k++) {
		ASSERT_EQ(0, post(r, k, true));
		ASSERT_TRUE(is_cqe(r, k, true));
	}
	for (k = 0; k < 4; k++)
		ASSERT_EQ(0, post(r, 10 * k, k & 1));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, resize(r, 4, sizes[i]));
		EXPECT_TRUE(r->p.flags & IORING_SETUP_CQE32);
	}
	for (k = 0; k < 4; k++)
		EXPECT_TRUE(is_cqe(r, 10 * k, k & 1));
	EXPECT_EQ(0, ring_ready(r));
	ring_exit(r);
}

TEST_F(kinds, sqe128)
{
	struct ring *r = &self->r;
	unsigned int k;

	ASSERT_EQ(0, ring_init(r, variant->backend, 4, DEFER | IORING_SETUP_SQE128));
	for (k = 0; k < 3; k++)
		ASSERT_EQ(0, post(r, k, false));
	ring_seen(r, 3);
	for (k = 0; k < 4; k++) {
		nop(r, k, false);
		memset((char *)&r->sqes[2 * ((3 + k) & 3) + 1], 0x70 + k, 64);
	}
	ring_flush(r);
	ASSERT_EQ(0, resize(r, 32, 0));
	EXPECT_TRUE(r->p.flags & IORING_SETUP_SQE128);
	/* Both halves have come along. */
	for (k = 0; k < 4; k++) {
		EXPECT_EQ(k, r->sqes[2 * (3 + k)].user_data);
		EXPECT_EQ(0x70 + k, ((char *)&r->sqes[2 * (3 + k) + 1])[63]);
	}
	ASSERT_EQ(0, resize(r, 4, 0));
	EXPECT_EQ(4, ring_enter(r, 4, 4, IORING_ENTER_GETEVENTS));
	for (k = 0; k < 4; k++)
		EXPECT_TRUE(is_cqe(r, k, false));
	ring_exit(r);
}

TEST_F(kinds, no_sqarray)
{
	struct ring *r = &self->r;
	unsigned int k;

	ASSERT_EQ(0, ring_init(r, variant->backend, 4, DEFER | IORING_SETUP_NO_SQARRAY));
	for (k = 0; k < 3; k++)
		ASSERT_EQ(0, post(r, k, false));
	ring_seen(r, 3);
	for (k = 0; k < 4; k++)
		nop(r, k, false);
	ring_flush(r);
	ASSERT_EQ(0, resize(r, 64, 0));
	EXPECT_TRUE(r->p.flags & IORING_SETUP_NO_SQARRAY);
	ASSERT_EQ(0, resize(r, 4, 0));
	EXPECT_EQ(4, ring_enter(r, 4, 4, IORING_ENTER_GETEVENTS));
	for (k = 0; k < 4; k++)
		EXPECT_TRUE(is_cqe(r, k, false));
	ring_exit(r);
}

/* Neither head nor tail of the SQ are used there. */
TEST_F(kinds, sq_rewind)
{
	struct ring *r = &self->r;
	int i, k;

	ASSERT_EQ(0, ring_init(r, variant->backend, 4,
			       DEFER | IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQ_REWIND));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, resize(r, i == 1 ? 16 : 4, 64));
		for (k = 0; k < 4; k++) {
			memset(&r->sqes[k], 0, sizeof(r->sqes[k]));
			r->sqes[k].user_data = 10 * i + k;
		}
		ASSERT_EQ(4, ring_enter(r, 4, 4, IORING_ENTER_GETEVENTS));
		for (k = 0; k < 4; k++) {
			struct io_uring_cqe cqe;

			ASSERT_TRUE(ring_cqe(r, &cqe));
			EXPECT_EQ(10 * i + k, cqe.user_data);
		}
	}
	ring_exit(r);
}

/* A CQE of two slots must not be torn apart at the end of the new ring. */
TEST_F(kinds, cqe_mixed)
{
	struct ring *r = &self->r;
	unsigned int k;

	ASSERT_EQ(0, ring_init(r, variant->backend, 4, DEFER | IORING_SETUP_CQE_MIXED));
	for (k = 0; k < 3; k++) {
		ASSERT_EQ(0, post(r, k, false));
		ASSERT_TRUE(is_cqe(r, k, false));
	}
	/* Slots 3 and 4 of 8. */
	ASSERT_EQ(0, post(r, 30, true));
	EXPECT_EQ(2, ring_ready(r));
	EXPECT_EQ(-EOVERFLOW, resize(r, 4, 4));
	EXPECT_EQ(-EOVERFLOW, resize(r, 2, 4));
	ASSERT_EQ(0, resize(r, 4, 16));
	EXPECT_TRUE(r->p.flags & IORING_SETUP_CQE_MIXED);
	EXPECT_EQ(-EOVERFLOW, resize(r, 2, 2));
	EXPECT_TRUE(is_cqe(r, 30, true));
	/* Slots 5, 6 and 7, 8: in a ring of 4 they are 1, 2 and 3, 0. */
	ASSERT_EQ(0, post(r, 40, true));
	ASSERT_EQ(0, post(r, 50, true));
	EXPECT_EQ(-EOVERFLOW, resize(r, 4, 4));
	EXPECT_EQ(-EOVERFLOW, resize(r, 4, 8));
	EXPECT_TRUE(is_cqe(r, 40, true));
	EXPECT_TRUE(is_cqe(r, 50, true));
	/* Small ones in between make no difference. */
	ASSERT_EQ(0, post(r, 60, false));
	ASSERT_EQ(0, post(r, 70, true));
	ASSERT_EQ(0, post(r, 80, false));
	ASSERT_EQ(0, resize(r, 4, 64));
	ASSERT_EQ(0, resize(r, 4, 8));
	EXPECT_TRUE(is_cqe(r, 60, false));
	EXPECT_TRUE(is_cqe(r, 70, true));
	EXPECT_TRUE(is_cqe(r, 80, false));
	/* There is no such ring with one entry. */
	EXPECT_EQ(-EOVERFLOW, resize(r, 1, 1));
	ring_exit(r);
}

static void nop128(struct ring *r, unsigned int id)
{
	struct io_uring_sqe *sqe = ring_nop(r, id);
	unsigned int slot = sqe - r->sqes;

	sqe->opcode = IORING_OP_NOP128;
	sqe->nop_flags = IORING_NOP_INJECT_RESULT;
	sqe->len = id + 1;
	/* The second half has no entry of its own in the array; it counts nevertheless. */
	r->sqe_tail++;
	memset(&r->sqes[slot + 1], 0x42, sizeof(*sqe));
}

TEST_F(kinds, sqe_mixed)
{
	struct ring *r = &self->r;
	unsigned int k;

	ASSERT_EQ(0, ring_init(r, variant->backend, 8, DEFER | IORING_SETUP_SQE_MIXED));
	for (k = 0; k < 3; k++)
		ASSERT_EQ(0, post(r, k, false));
	ring_seen(r, 3);
	/* Slots 3 and 4: in a ring of 4 they would be 3 and 0. */
	nop128(r, 30);
	nop(r, 40, false);
	ring_flush(r);
	EXPECT_EQ(-EOVERFLOW, resize(r, 4, 0));
	EXPECT_EQ(-EOVERFLOW, resize(r, 2, 0));
	EXPECT_EQ(-EOVERFLOW, resize(r, 1, 0));
	ASSERT_EQ(0, resize(r, 16, 0));
	EXPECT_TRUE(r->p.flags & IORING_SETUP_SQE_MIXED);
	EXPECT_EQ(IORING_OP_NOP128, r->sqes[3].opcode);
	EXPECT_EQ(0x42, ((char *)&r->sqes[4])[5]);
	EXPECT_EQ(40, r->sqes[5].user_data);
	EXPECT_EQ(3, ring_enter(r, 3, 2, IORING_ENTER_GETEVENTS));
	EXPECT_TRUE(is_cqe(r, 30, false));
	EXPECT_TRUE(is_cqe(r, 40, false));
	EXPECT_EQ(0, ring_ready(r));
	/* What is no large SQE is not taken for one. */
	for (k = 0; k < 2; k++)
		nop(r, 50 + k, false);
	ring_flush(r);
	ASSERT_EQ(0, resize(r, 2, 0));
	EXPECT_EQ(2, ring_enter(r, 2, 2, IORING_ENTER_GETEVENTS));
	EXPECT_TRUE(is_cqe(r, 50, false));
	EXPECT_TRUE(is_cqe(r, 51, false));
	ring_exit(r);
}

/* The array says where the first half is; the second one follows it there. */
TEST_F(kinds, sqe_mixed_shuffled)
{
	struct ring *r = &self->r;

	ASSERT_EQ(0, ring_init(r, variant->backend, 8, DEFER | IORING_SETUP_SQE_MIXED));
	memset(r->sqes, 0, r->sqes_size);
	r->sqes[5].opcode = IORING_OP_NOP128;
	r->sqes[5].user_data = 1;
	memset(&r->sqes[6], 0x42, sizeof(r->sqes[6]));
	r->sqes[2].user_data = 2;
	r->sq_array[0] = 5;
	r->sq_array[1] = 0;
	r->sq_array[2] = 2;
	store_release(r->sq_tail, 3);
	ASSERT_EQ(0, resize(r, 16, 0));
	EXPECT_EQ(0, r->sq_array[0]);
	EXPECT_EQ(1, r->sq_array[1]);
	EXPECT_EQ(0x42, ((char *)&r->sqes[1])[63]);
	EXPECT_EQ(3, ring_enter(r, 3, 2, IORING_ENTER_GETEVENTS));
	ASSERT_EQ(2, ring_ready(r));
	EXPECT_EQ(1, r->cqes[0].user_data);
	EXPECT_EQ(2, r->cqes[1].user_data);
	EXPECT_EQ(0, r->cqes[0].res);
	EXPECT_EQ(0, r->cqes[1].res);
	ring_exit(r);
}

/* The application brings new memory; nothing can be mapped. */
TEST_F(kinds, no_mmap)
{
	size_t size = 1 << 20;
	char *old = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	char *new = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct ring *r = &self->r;
	struct io_uring_params p;
	unsigned int k;

	memset(r, 0, sizeof(*r));
	r->backend = variant->backend;
	r->p.flags = DEFER | IORING_SETUP_NO_MMAP;
	r->p.cq_off.user_addr = (unsigned long)old;
	r->p.sq_off.user_addr = (unsigned long)old + size;
	r->fd = uring_setup(variant->backend, 4, &r->p);
	ASSERT_LE(0, r->fd);
	r->rings = old;
	r->sqes = (void *)(old + size);
	ring_layout(r);
	for (k = 0; k < 5; k++)
		ASSERT_EQ(0, post(r, k, false));
	nop(r, 5, false);
	ring_flush(r);

	/* It has to be somewhere. */
	p = (struct io_uring_params) { .sq_entries = 64 };
	EXPECT_EQ(-EFAULT, resize_raw(r, &p));
	p = (struct io_uring_params) { .sq_entries = 64 };
	p.cq_off.user_addr = (unsigned long)new;
	EXPECT_EQ(-EFAULT, resize_raw(r, &p));
	p = (struct io_uring_params) { .sq_entries = 64 };
	p.cq_off.user_addr = (unsigned long)new;
	p.sq_off.user_addr = (unsigned long)new + size + 8;
	EXPECT_EQ(-EINVAL, resize_raw(r, &p));
	p.flags = 0;
	p.sq_off.user_addr = (unsigned long)new + size;
	ASSERT_EQ(0, resize_raw(r, &p));
	r->p = p;
	r->rings = new;
	r->sqes = (void *)(new + size);
	ring_layout(r);
	/* The old memory is the application's own again. */
	ASSERT_EQ(0, munmap(old, 2 * size));
	EXPECT_EQ(1, ring_enter(r, 1, 6, IORING_ENTER_GETEVENTS));
	for (k = 0; k < 6; k++)
		EXPECT_TRUE(is_cqe(r, k, false));
	EXPECT_EQ(0, ring_ready(r));
	close(r->fd);
	munmap(new, 2 * size);
}

TEST_HARNESS_MAIN
