// SPDX-License-Identifier: GPL-2.0
/* The completion queue: what happens when it is full, and when the application lies about it. */
#include "uring.h"
#include "kselftest_harness.h"

#define CQ	8

FIXTURE(cq) {
	struct ring r;
};

RING_VARIANTS(cq);

/* A ring with as many CQEs as SQEs, which is the fewest there can be. */
static int make(struct ring *r, enum backend backend, unsigned int flags)
{
	memset(r, 0, sizeof(*r));
	r->p.flags = flags | IORING_SETUP_CQSIZE;
	r->p.cq_entries = CQ;
	return ring_init_params(r, backend, CQ);
}

FIXTURE_SETUP(cq)
{
	ASSERT_EQ(0, make(&self->r, variant->backend, variant->flags));
}

FIXTURE_TEARDOWN(cq)
{
	ring_exit(&self->r);
}

#define WITH_FLAGS(more) do {							\
	ring_exit(&self->r);							\
	ASSERT_EQ(0, make(&self->r, variant->backend, variant->flags | (more)));	\
} while (0)

/* Takes so many CQEs, which are numbered from @first on. */
static void take(struct __test_metadata *_metadata, struct ring *r, unsigned int nr,
		 uint64_t first)
{
	struct io_uring_cqe cqe;

	while (nr--) {
		ASSERT_TRUE(ring_cqe(r, &cqe)) {
			TH_LOG("no CQE %llu", (unsigned long long)first);
		}
		EXPECT_EQ(first++, cqe.user_data);
		EXPECT_EQ(0, cqe.res);
	}
}

static bool overflown(struct ring *r)
{
	return load_acquire(r->sq_flags) & IORING_SQ_CQ_OVERFLOW;
}

/* Fetches what has overflown, as far as there is room. */
static int flush(struct ring *r)
{
	return ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS);
}

TEST_F(cq, full_is_not_overflown)
{
	struct ring *r = &self->r;

	EXPECT_EQ(CQ, ring_nops(r, CQ, 0));
	EXPECT_EQ(CQ, ring_ready(r));
	EXPECT_FALSE(overflown(r));
	EXPECT_EQ(0, flush(r));
	EXPECT_EQ(CQ, *r->cq_tail);
	take(_metadata, r, CQ, 0);
	EXPECT_EQ(0, *r->cq_overflow);
}

TEST_F(cq, nothing_is_dropped)
{
	struct ring *r = &self->r;
	unsigned int i;

	/* IORING_FEAT_NODROP: five times what there is room for. */
	for (i = 0; i < 5; i++)
		EXPECT_EQ(CQ, ring_nops(r, CQ, CQ * i));
	EXPECT_EQ(CQ, ring_ready(r));
	EXPECT_TRUE(overflown(r));
	for (i = 0; i < 5; i++) {
		/* The flag stays for as long as there is something left. */
		EXPECT_EQ(i < 4, overflown(r));
		EXPECT_EQ(CQ, ring_ready(r));
		take(_metadata, r, CQ, CQ * i);
		EXPECT_EQ(0, flush(r));
	}
	EXPECT_EQ(0, ring_ready(r));
	EXPECT_FALSE(overflown(r));
	EXPECT_EQ(0, *r->cq_overflow);
	EXPECT_EQ(5 * CQ, *r->cq_tail);
}

TEST_F(cq, flush_as_far_as_there_is_room)
{
	struct ring *r = &self->r;

	EXPECT_EQ(CQ, ring_nops(r, CQ, 0));
	EXPECT_EQ(5, ring_nops(r, 5, CQ));
	EXPECT_EQ(0, flush(r));
	EXPECT_EQ(CQ, ring_ready(r));
	take(_metadata, r, 3, 0);
	EXPECT_EQ(CQ - 3, ring_ready(r));
	EXPECT_EQ(0, flush(r));
	EXPECT_EQ(CQ, ring_ready(r));
	EXPECT_TRUE(overflown(r));
	take(_metadata, r, 2, 3);
	EXPECT_EQ(0, flush(r));
	EXPECT_EQ(CQ, ring_ready(r));
	EXPECT_FALSE(overflown(r));
	take(_metadata, r, CQ, 5);
	EXPECT_EQ(0, ring_ready(r));
}

TEST_F(cq, order_is_kept)
{
	struct ring *r = &self->r;
	unsigned int sent, seen;

	EXPECT_EQ(CQ, ring_nops(r, CQ, 0));
	EXPECT_EQ(4, ring_nops(r, 4, CQ));
	/* There is room now, but not for those who come later. */
	take(_metadata, r, 6, 0);
	EXPECT_EQ(2, ring_nops(r, 2, CQ + 4));
	EXPECT_EQ(2, ring_ready(r));
	EXPECT_EQ(0, flush(r));
	EXPECT_EQ(8, ring_ready(r));
	take(_metadata, r, 8, 6);
	/* A call that submits and asks for events flushes, too. */
	for (sent = 0; sent < 2 * CQ; sent += CQ)
		EXPECT_EQ(CQ, ring_nops(r, CQ, sent));
	for (seen = 0; seen < 10 * CQ; seen += 2) {
		take(_metadata, r, 2, seen);
		ring_nop(r, sent++);
		ring_nop(r, sent++);
		EXPECT_EQ(2, ring_submit(r, 1));
		EXPECT_EQ(CQ, ring_ready(r));
	}
	EXPECT_TRUE(overflown(r));
	EXPECT_EQ(0, *r->cq_overflow);
}

TEST_F(cq, only_getevents_flushes)
{
	struct ring *r = &self->r;

	EXPECT_EQ(CQ, ring_nops(r, CQ, 0));
	EXPECT_EQ(1, ring_nops(r, 1, CQ));
	take(_metadata, r, CQ, 0);
	EXPECT_EQ(0, ring_enter(r, 0, 0, 0));
	EXPECT_EQ(0, ring_ready(r));
	EXPECT_EQ(1, ring_nops(r, 1, CQ + 1));
	EXPECT_EQ(0, ring_ready(r));
	EXPECT_TRUE(overflown(r));
	EXPECT_EQ(0, ring_enter(r, 0, 2, IORING_ENTER_GETEVENTS));
	take(_metadata, r, 2, CQ);
	EXPECT_FALSE(overflown(r));
}

TEST_F(cq, no_wait_while_overflown)
{
	struct ring *r = &self->r;

	EXPECT_EQ(CQ, ring_nops(r, CQ, 0));
	EXPECT_EQ(3, ring_nops(r, 3, CQ));
	/* More than the CQ holds cannot be waited for; a full CQ is all there can be. */
	EXPECT_EQ(0, ring_enter(r, 0, CQ + 3, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(0, ring_enter(r, 0, UINT32_MAX, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(CQ, ring_ready(r));
	take(_metadata, r, CQ, 0);
	EXPECT_EQ(0, ring_enter(r, 0, 3, IORING_ENTER_GETEVENTS));
	take(_metadata, r, 3, CQ);
}

TEST_F(cq, what_posts_nothing_does_not_overflow)
{
	struct ring *r = &self->r;
	int i;

	EXPECT_EQ(CQ, ring_nops(r, CQ, 0));
	for (i = 0; i < CQ; i++)
		ring_nop(r, 100)->flags = IOSQE_CQE_SKIP_SUCCESS;
	EXPECT_EQ(CQ, ring_enter(r, ring_flush(r), 0, 0));
	EXPECT_FALSE(overflown(r));
	take(_metadata, r, CQ, 0);
	EXPECT_EQ(0, flush(r));
	EXPECT_EQ(0, ring_ready(r));
}

TEST_F(cq, task_work_overflows)
{
	struct ring *r = &self->r;
	int i;

	EXPECT_EQ(CQ, ring_nops(r, CQ, 0));
	for (i = 0; i < CQ; i++)
		ring_nop(r, CQ + i)->nop_flags = IORING_NOP_TW;
	EXPECT_EQ(CQ, ring_enter(r, ring_flush(r), 0, 0));
	/* A thread does that before it sleeps. */
	while (ring_is_polled(r) && !(load_acquire(r->sq_flags) & IORING_SQ_NEED_WAKEUP))
		usleep(1000);
	EXPECT_EQ(0, flush(r));
	EXPECT_TRUE(overflown(r));
	EXPECT_EQ(CQ, ring_ready(r));
	take(_metadata, r, CQ, 0);
	EXPECT_EQ(0, flush(r));
	take(_metadata, r, CQ, CQ);
	EXPECT_FALSE(overflown(r));
}

TEST_F(cq, closed_while_overflown)
{
	int i;

	/* What nobody reads is freed with the ring; kmemleak would tell. */
	for (i = 0; i < 20; i++)
		EXPECT_EQ(CQ, ring_nops(&self->r, CQ, 0));
	WITH_FLAGS(0);
	EXPECT_FALSE(overflown(&self->r));
	EXPECT_EQ(1, ring_nops(&self->r, 1, 0));
}

TEST_F(cq, application_clears_the_flag)
{
	struct ring *r = &self->r;

	/* The flag is for the application; the kernel does not need it. */
	EXPECT_EQ(CQ, ring_nops(r, CQ, 0));
	EXPECT_EQ(2, ring_nops(r, 2, CQ));
	*r->sq_flags = 0;
	take(_metadata, r, CQ, 0);
	EXPECT_EQ(0, flush(r));
	take(_metadata, r, 2, CQ);
	/* Nor does it believe in it. */
	*r->sq_flags = IORING_SQ_CQ_OVERFLOW;
	EXPECT_EQ(0, flush(r));
	EXPECT_EQ(0, ring_ready(r));
}

TEST_F(cq, head_too_far_ahead)
{
	static const unsigned int far[] = { 1, CQ, 1000, 0x7fffffff };
	struct ring *r = &self->r;
	unsigned int i, tail;

	for (i = 0; i < ARRAY_SIZE(far); i++) {
		tail = *r->cq_tail;
		/* Consumed what was never there: counts as an empty ring. */
		store_release(r->cq_head, tail + far[i]);
		EXPECT_EQ(CQ, ring_nops(r, CQ, 0));
		EXPECT_EQ(tail + CQ, *r->cq_tail);
		EXPECT_EQ(0, flush(r));
		store_release(r->cq_head, tail);
		take(_metadata, r, CQ, 0);
	}
	EXPECT_FALSE(overflown(r));
}

TEST_F(cq, head_too_far_behind)
{
	static const unsigned int far[] = { 1, CQ, 1000, 0x7ffffff0 };
	struct ring *r = &self->r;
	unsigned int i, tail;

	EXPECT_EQ(CQ, ring_nops(r, CQ, 0));
	take(_metadata, r, CQ, 0);
	for (i = 0; i < ARRAY_SIZE(far); i++) {
		tail = *r->cq_tail;
		/* More in it than it can hold: counts as a full ring. */
		store_release(r->cq_head, tail - CQ - far[i]);
		EXPECT_EQ(3, ring_nops(r, 3, 0));
		EXPECT_EQ(tail, *r->cq_tail);
		EXPECT_TRUE(overflown(r));
		EXPECT_EQ(0, flush(r));
		EXPECT_EQ(tail, *r->cq_tail);
		store_release(r->cq_head, tail);
		EXPECT_EQ(0, flush(r));
		take(_metadata, r, 3, 0);
		EXPECT_FALSE(overflown(r));
		/* The ring is used up to where it was looked at last, so begin anew. */
		WITH_FLAGS(0);
		EXPECT_EQ(CQ, ring_nops(r, CQ, 0));
		take(_metadata, r, CQ, 0);
	}
}

TEST_F(cq, tail_and_cqes_are_the_kernels)
{
	struct ring *r = &self->r;
	unsigned int i;

	EXPECT_EQ(3, ring_nops(r, 3, 0));
	take(_metadata, r, 3, 0);
	/* What is written there is overwritten. */
	*r->cq_tail = 0xdeadbeef;
	for (i = 0; i < CQ; i++)
		memset(&r->cqes[i], 0xff, sizeof(r->cqes[i]));
	EXPECT_EQ(2, ring_nops(r, 2, 3));
	EXPECT_EQ(5, *r->cq_tail);
	take(_metadata, r, 2, 3);
}

static void big_nop(struct ring *r, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_nop(r, user_data);

	sqe->nop_flags = IORING_NOP_CQE32;
	sqe->off = user_data + 1000;
	sqe->addr = user_data + 2000;
}

/* The next CQE is this one of 32 bytes; it takes so many slots. */
static void take_big(struct __test_metadata *_metadata, struct ring *r, uint64_t user_data,
		     unsigned int slots)
{
	struct io_uring_cqe *cqe = ring_peek(r);

	ASSERT_NE(NULL, cqe);
	EXPECT_EQ(user_data, cqe->user_data);
	EXPECT_EQ(slots == 2 ? IORING_CQE_F_32 : 0, cqe->flags);
	EXPECT_EQ(user_data + 1000, cqe->big_cqe[0]);
	EXPECT_EQ(user_data + 2000, cqe->big_cqe[1]);
	ring_seen(r, slots);
}

TEST_F(cq, big_ones_overflow)
{
	struct ring *r = &self->r;
	unsigned int i, round;

	WITH_FLAGS(IORING_SETUP_CQE32);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < CQ; i++)
			big_nop(r, CQ * round + i);
		EXPECT_EQ(CQ, ring_enter(r, ring_flush(r), 0, 0));
	}
	EXPECT_TRUE(overflown(r));
	for (i = 0; i < 3 * CQ; i++) {
		take_big(_metadata, r, i, 1);
		if (i % 3 == 2)
			EXPECT_EQ(0, flush(r));
	}
	EXPECT_FALSE(overflown(r));
}

TEST_F(cq, mixed_ones_overflow)
{
	struct ring *r = &self->r;
	unsigned int i;

	WITH_FLAGS(IORING_SETUP_CQE_MIXED);
	/* 0 and 1 small, 2 to 4 big: all slots are taken. 5 big and 6 small have none. */
	ring_nop(r, 0);
	ring_nop(r, 1);
	for (i = 2; i < 6; i++)
		big_nop(r, i);
	ring_nop(r, 6);
	EXPECT_EQ(7, ring_enter(r, ring_flush(r), 0, 0));
	EXPECT_EQ(CQ, ring_ready(r));
	EXPECT_TRUE(overflown(r));
	/* One slot: not enough for 5, and 6 must not overtake it. */
	take(_metadata, r, 1, 0);
	EXPECT_EQ(0, flush(r));
	EXPECT_EQ(CQ - 1, ring_ready(r));
	EXPECT_TRUE(overflown(r));
	take(_metadata, r, 1, 1);
	EXPECT_EQ(0, flush(r));
	EXPECT_EQ(CQ, ring_ready(r));
	EXPECT_TRUE(overflown(r));
	take_big(_metadata, r, 2, 2);
	EXPECT_EQ(0, flush(r));
	EXPECT_FALSE(overflown(r));
	for (i = 3; i < 6; i++)
		take_big(_metadata, r, i, 2);
	take(_metadata, r, 1, 6);
	EXPECT_EQ(0, ring_ready(r));
}

TEST_F(cq, filler_before_the_wrap)
{
	struct ring *r = &self->r;
	struct io_uring_cqe *cqe;

	WITH_FLAGS(IORING_SETUP_CQE_MIXED);
	EXPECT_EQ(CQ - 1, ring_nops(r, CQ - 1, 0));
	take(_metadata, r, CQ - 1, 0);
	big_nop(r, 7);
	EXPECT_EQ(1, ring_enter(r, ring_flush(r), 0, 0));
	EXPECT_EQ(3, ring_ready(r));
	cqe = ring_peek(r);
	ASSERT_NE(NULL, cqe);
	EXPECT_EQ(IORING_CQE_F_SKIP, cqe->flags);
	EXPECT_EQ(0, cqe->user_data);
	EXPECT_EQ(0, cqe->res);
	ring_seen(r, 1);
	take_big(_metadata, r, 7, 2);
	EXPECT_EQ(CQ + 2, *r->cq_tail);
}

TEST_F(cq, filler_takes_the_last_room)
{
	struct ring *r = &self->r;
	struct io_uring_cqe *cqe;

	WITH_FLAGS(IORING_SETUP_CQE_MIXED);
	/* Slots 0 to 6 are full, 7 is free: the filler goes there, and the rest overflows. */
	EXPECT_EQ(CQ - 1, ring_nops(r, CQ - 1, 0));
	big_nop(r, 7);
	ring_nop(r, 8);
	EXPECT_EQ(2, ring_enter(r, ring_flush(r), 0, 0));
	EXPECT_TRUE(overflown(r));
	EXPECT_EQ(0, flush(r));
	EXPECT_EQ(CQ, ring_ready(r));
	take(_metadata, r, CQ - 1, 0);
	EXPECT_EQ(1, ring_ready(r));
	cqe = ring_peek(r);
	EXPECT_EQ(IORING_CQE_F_SKIP, cqe->flags);
	EXPECT_EQ(0, flush(r));
	EXPECT_FALSE(overflown(r));
	ring_seen(r, 1);
	take_big(_metadata, r, 7, 2);
	take(_metadata, r, 1, 8);
	EXPECT_EQ(0, ring_ready(r));
}

TEST_HARNESS_MAIN
