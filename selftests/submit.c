// SPDX-License-Identifier: GPL-2.0
/* Submission: which SQEs are consumed, in which order, and what enter returns. */
#include "uring.h"
#include "kselftest_harness.h"

#define ENTRIES	8

FIXTURE(submit) {
	struct ring r;
};

RING_VARIANTS(submit);

FIXTURE_SETUP(submit)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, ENTRIES, variant->flags));
}

FIXTURE_TEARDOWN(submit)
{
	ring_exit(&self->r);
}

/* Replaces the ring by one with more flags. */
#define WITH_FLAGS(more) do {							\
	ring_exit(&self->r);							\
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, ENTRIES,		\
			       variant->flags | (more)));			\
} while (0)

/* The next CQE is this one. */
static void expect_cqe(struct __test_metadata *_metadata, struct ring *r, uint64_t user_data,
		       int res)
{
	struct io_uring_cqe cqe;

	ASSERT_TRUE(ring_cqe(r, &cqe)) {
		TH_LOG("no CQE %llu", (unsigned long long)user_data);
	}
	EXPECT_EQ(user_data, cqe.user_data);
	EXPECT_EQ(res, cqe.res);
	EXPECT_EQ(0, cqe.flags);
}

/* An SQE that cannot be prepared. */
static void ring_bad(struct ring *r, uint64_t user_data)
{
	ring_nop(r, user_data)->ioprio = 1;
}

TEST_F(submit, counts)
{
	struct ring *r = &self->r;
	unsigned int i;

	SKIP_POLLED(r, "it takes all there is");
	/* Nothing there, or nothing asked for. */
	EXPECT_EQ(0, ring_enter(r, 0, 0, 0));
	EXPECT_EQ(0, ring_enter(r, 1, 0, 0));
	EXPECT_EQ(0, ring_enter(r, UINT32_MAX, 0, 0));
	for (i = 0; i < 5; i++)
		ring_nop(r, i);
	/* Filled in, but not shown. */
	EXPECT_EQ(0, ring_enter(r, 5, 0, 0));
	ring_flush(r);
	EXPECT_EQ(0, ring_enter(r, 0, 0, 0));
	EXPECT_EQ(0, *r->sq_head);
	EXPECT_EQ(2, ring_enter(r, 2, 0, 0));
	EXPECT_EQ(2, *r->sq_head);
	EXPECT_EQ(3, ring_enter(r, 4, 0, 0));
	EXPECT_EQ(5, *r->sq_head);
	EXPECT_EQ(5, *r->sq_tail);
	EXPECT_EQ(0, ring_enter(r, 4, 0, 0));
	for (i = 0; i < 5; i++)
		expect_cqe(_metadata, r, i, 0);
	EXPECT_EQ(0, ring_ready(r));
	/* All of it. */
	for (i = 0; i < ENTRIES; i++)
		ASSERT_NE(NULL, ring_nop(r, i));
	EXPECT_EQ(NULL, ring_nop(r, i));
	ring_flush(r);
	EXPECT_EQ(ENTRIES, ring_enter(r, UINT32_MAX, 0, 0));
	EXPECT_EQ(ENTRIES, ring_ready(r));
	EXPECT_EQ(5 + ENTRIES, *r->sq_head);
}

TEST_F(submit, fewer_than_asked_for_is_no_wait)
{
	struct ring *r = &self->r;

	SKIP_POLLED(r, "it takes all there is");
	/* If it waited, it would do so for ever. */
	EXPECT_EQ(0, ring_enter(r, 1, 1, IORING_ENTER_GETEVENTS));
	ring_nop(r, 1);
	ring_flush(r);
	EXPECT_EQ(1, ring_enter(r, 2, 4, IORING_ENTER_GETEVENTS));
	ring_bad(r, 2);
	ring_nop(r, 3);
	ring_flush(r);
	EXPECT_EQ(1, ring_enter(r, 2, 4, IORING_ENTER_GETEVENTS));
}

TEST_F(submit, error_ends_it)
{
	struct ring *r = &self->r;

	SKIP_POLLED(r, "it goes on after an error");
	ring_nop(r, 0);
	ring_bad(r, 1);
	ring_nop(r, 2);
	ring_bad(r, 3);
	ring_bad(r, 4);
	ring_nop(r, 5);
	ring_flush(r);
	/* The one in error is consumed, and gets its CQE. */
	EXPECT_EQ(2, ring_enter(r, 6, 0, 0));
	EXPECT_EQ(2, *r->sq_head);
	EXPECT_EQ(2, ring_ready(r));
	expect_cqe(_metadata, r, 0, 0);
	expect_cqe(_metadata, r, 1, -EINVAL);
	EXPECT_EQ(2, ring_enter(r, 4, 0, 0));
	EXPECT_EQ(1, ring_enter(r, 2, 0, 0));
	EXPECT_EQ(1, ring_enter(r, 1, 0, 0));
	expect_cqe(_metadata, r, 2, 0);
	expect_cqe(_metadata, r, 3, -EINVAL);
	expect_cqe(_metadata, r, 4, -EINVAL);
	expect_cqe(_metadata, r, 5, 0);
	EXPECT_EQ(0, *r->sq_dropped);
}

TEST_F(submit, failure_does_not_end_it)
{
	struct ring *r = &self->r;
	struct io_uring_sqe *sqe;
	unsigned int i;

	/* Only what is wrong with an SQE does, not what its request comes to. */
	for (i = 0; i < 4; i++) {
		sqe = ring_nop(r, i);
		sqe->nop_flags = IORING_NOP_INJECT_RESULT;
		sqe->len = -EIO;
	}
	EXPECT_EQ(4, ring_submit(r, 4));
	for (i = 0; i < 4; i++)
		expect_cqe(_metadata, r, i, -EIO);
}

TEST_F(submit, submit_all)
{
	struct ring *r = &self->r;
	unsigned int i;

	WITH_FLAGS(IORING_SETUP_SUBMIT_ALL);
	for (i = 0; i < ENTRIES; i++) {
		if (i % 3)
			ring_bad(r, i);
		else
			ring_nop(r, i);
	}
	EXPECT_EQ(ENTRIES, ring_submit(r, ENTRIES));
	for (i = 0; i < ENTRIES; i++)
		expect_cqe(_metadata, r, i, i % 3 ? -EINVAL : 0);
	EXPECT_EQ(ENTRIES, *r->sq_head);
}

TEST_F(submit, array)
{
	struct ring *r = &self->r;
	unsigned int i;

	/* Any order, and any SQE more than once. */
	static const unsigned int order[ENTRIES] = { 7, 0, 3, 3, 5, 1, 7, 2 };

	for (i = 0; i < ENTRIES; i++)
		ring_nop(r, 10 + i);
	for (i = 0; i < ENTRIES; i++)
		r->sq_array[i] = order[i];
	EXPECT_EQ(ENTRIES, ring_submit(r, ENTRIES));
	for (i = 0; i < ENTRIES; i++)
		expect_cqe(_metadata, r, 10 + order[i], 0);
}

TEST_F(submit, bad_index)
{
	static const unsigned int bad[] = { ENTRIES, UINT32_MAX, 1u << 31, 100 };
	struct ring *r = &self->r;
	unsigned int i;

	SKIP_POLLED(r, "it goes on after an error");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		ring_nop(r, 10 * i);
		ring_nop(r, 10 * i + 1);
		ring_nop(r, 10 * i + 2);
		r->sq_array[(r->sqe_tail - 2) % ENTRIES] = bad[i];
		ring_flush(r);
		/* It is counted and passed over, and ends the submission. */
		EXPECT_EQ(1, ring_enter(r, 3, 0, 0));
		EXPECT_EQ(i + 1, *r->sq_dropped);
		EXPECT_EQ(3 * i + 2, *r->sq_head);
		EXPECT_EQ(1, ring_enter(r, 2, 0, 0));
		expect_cqe(_metadata, r, 10 * i, 0);
		expect_cqe(_metadata, r, 10 * i + 2, 0);
		EXPECT_EQ(0, ring_ready(r));
	}
	/* Nothing but such. */
	WITH_FLAGS(IORING_SETUP_SUBMIT_ALL);
	for (i = 0; i < 4; i++) {
		ring_nop(r, i);
		r->sq_array[i] = bad[i];
	}
	ring_flush(r);
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(0, ring_enter(r, 4, 0, 0));
		EXPECT_EQ(i + 1, *r->sq_head);
		EXPECT_EQ(i + 1, *r->sq_dropped);
	}
	EXPECT_EQ(0, ring_ready(r));
}

TEST_F(submit, counter_of_dropped_is_only_a_word)
{
	struct ring *r = &self->r;

	/* The application may write to it; the kernel goes on from there. */
	*r->sq_dropped = UINT32_MAX;
	ring_nop(r, 1);
	r->sq_array[0] = ENTRIES;
	ring_flush(r);
	EXPECT_EQ(ring_is_polled(r), ring_enter(r, 1, 0, 0));
	EXPECT_EQ(0, *r->sq_dropped);
}

TEST_F(submit, no_array)
{
	struct ring *r = &self->r;
	unsigned int i, round;

	WITH_FLAGS(IORING_SETUP_NO_SQARRAY);
	for (round = 0; round < 3; round++) {
		/* Rounds of 5 in a ring of 8. */
		for (i = 0; i < 5; i++)
			ring_nop(r, 10 * round + i);
		EXPECT_EQ(5, ring_submit(r, 5));
		for (i = 0; i < 5; i++)
			expect_cqe(_metadata, r, 10 * round + i, 0);
	}
	EXPECT_EQ(15, *r->sq_head);
	EXPECT_EQ(0, *r->sq_dropped);
}

TEST_F(submit, rewind)
{
	struct ring *r = &self->r;
	unsigned int i;

	SKIP_POLLED(r, "not with this flag");
	WITH_FLAGS(IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQ_REWIND);
	for (i = 0; i < ENTRIES; i++)
		r->sqes[i].user_data = 100 + i;
	/* Always from the first on, whatever head and tail say. */
	EXPECT_EQ(3, ring_enter(r, 3, 3, IORING_ENTER_GETEVENTS));
	for (i = 0; i < 3; i++)
		expect_cqe(_metadata, r, 100 + i, 0);
	store_release(r->sq_tail, 4711);
	EXPECT_EQ(2, ring_enter(r, 2, 2, IORING_ENTER_GETEVENTS));
	for (i = 0; i < 2; i++)
		expect_cqe(_metadata, r, 100 + i, 0);
	EXPECT_EQ(0, *r->sq_head);
	EXPECT_EQ(ENTRIES, ring_enter(r, UINT32_MAX, 0, 0));
	for (i = 0; i < ENTRIES; i++)
		expect_cqe(_metadata, r, 100 + i, 0);
	/* After an error, too. */
	r->sqes[1].ioprio = 1;
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(2, ring_enter(r, 4, 0, 0));
		expect_cqe(_metadata, r, 100, 0);
		expect_cqe(_metadata, r, 101, -EINVAL);
	}
	EXPECT_EQ(0, ring_ready(r));
	EXPECT_EQ(0, *r->sq_head);
	EXPECT_EQ(0, ring_enter(r, 0, 0, 0));
}

TEST_F(submit, hostile_tail)
{
	static const unsigned int far[] = { 9, 100, 1u << 31, UINT32_MAX, 0x7fffffff, 0xdeadbeef };
	struct ring *r = &self->r;
	unsigned int i, head;

	SKIP_POLLED(r, "it takes all there is");
	for (i = 0; i < ENTRIES; i++)
		r->sq_array[i] = i;
	for (i = 0; i < ARRAY_SIZE(far); i++) {
		head = *r->sq_head;
		/* All there is, and no more; SQEs of zeroes are NOPs. */
		store_release(r->sq_tail, head + far[i]);
		EXPECT_EQ(ENTRIES, ring_enter(r, UINT32_MAX, 0, 0));
		EXPECT_EQ(head + ENTRIES, *r->sq_head);
		EXPECT_EQ(ENTRIES, ring_ready(r));
		ring_seen(r, ENTRIES);
	}
	/* Back to reason. */
	store_release(r->sq_tail, *r->sq_head);
	EXPECT_EQ(0, ring_enter(r, 1, 0, 0));
	r->sqe_tail = *r->sq_tail;
	ring_nop(r, 5);
	EXPECT_EQ(1, ring_submit(r, 1));
	expect_cqe(_metadata, r, 5, 0);
}

TEST_F(submit, hostile_head_and_masks)
{
	struct ring *r = &self->r;
	unsigned int *words = (unsigned int *)r->rings;
	unsigned int i;

	/* The kernel has its own head, masks and sizes. */
	for (i = 0; i < 3; i++)
		ring_nop(r, i);
	words[r->p.sq_off.ring_mask / 4] = UINT32_MAX;
	words[r->p.cq_off.ring_mask / 4] = UINT32_MAX;
	words[r->p.sq_off.ring_entries / 4] = UINT32_MAX;
	words[r->p.cq_off.ring_entries / 4] = UINT32_MAX;
	*r->sq_head = 0x12345678;
	store_release(r->sq_tail, 3);
	EXPECT_EQ(ring_is_polled(r) ? 8 : 3, ring_enter(r, 8, 0, 0));
	EXPECT_EQ(3, *r->sq_head);
	for (i = 0; i < 3; i++)
		expect_cqe(_metadata, r, i, 0);
	for (i = 0; i < 4 * ENTRIES; i++) {
		ring_nop(r, i);
		EXPECT_EQ(1, ring_submit(r, 1));
		expect_cqe(_metadata, r, i, 0);
	}
}

TEST_F(submit, skip_success)
{
	struct ring *r = &self->r;
	struct io_uring_sqe *sqe;

	ring_nop(r, 1)->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe = ring_nop(r, 2);
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->nop_flags = IORING_NOP_INJECT_RESULT;
	sqe->len = 17;
	ring_nop(r, 3);
	sqe = ring_nop(r, 4);
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->nop_flags = IORING_NOP_INJECT_RESULT;
	sqe->len = -EIO;
	sqe = ring_nop(r, 5);
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->nop_flags = IORING_NOP_TW;
	sqe = ring_nop(r, 6);
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->nop_flags = IORING_NOP_FILE;
	sqe->fd = -1;
	sqe = ring_nop(r, 7);
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->ioprio = 1;
	/* Submitted is submitted; what fails is told. */
	EXPECT_EQ(7, ring_submit(r, 0));
	expect_cqe(_metadata, r, 3, 0);
	expect_cqe(_metadata, r, 4, -EIO);
	expect_cqe(_metadata, r, 6, -EBADF);
	expect_cqe(_metadata, r, 7, -EINVAL);
	EXPECT_EQ(0, ring_ready(r));
	EXPECT_EQ(4, *r->cq_tail);
	/* The next user of the request is not affected. */
	ring_nop(r, 8);
	EXPECT_EQ(1, ring_submit(r, 1));
	expect_cqe(_metadata, r, 8, 0);
}

TEST_F(submit, sqes_are_free_after_enter)
{
	struct ring *r = &self->r;
	struct io_uring_sqe *sqe;
	unsigned int i;

	/* IORING_FEAT_SUBMIT_STABLE, also for what is not done yet. */
	for (i = 0; i < 4; i++) {
		sqe = ring_nop(r, 100 + i);
		sqe->nop_flags = IORING_NOP_INJECT_RESULT | IORING_NOP_TW;
		sqe->len = i;
	}
	EXPECT_EQ(4, ring_enter(r, ring_flush(r), 0, 0));
	memset(r->sqes, 0xff, r->sqes_size);
	memset(r->sq_array, 0xff, ENTRIES * sizeof(unsigned int));
	EXPECT_EQ(0, ring_enter(r, 0, 4, IORING_ENTER_GETEVENTS));
	for (i = 0; i < 4; i++)
		expect_cqe(_metadata, r, 100 + i, i);
}

TEST_F(submit, many)
{
	struct ring *r = &self->r;
	unsigned int i, sent = 0, seen = 0;

	/* Batches of all sizes, over and over through the ring. */
	for (i = 0; i < 1000; i++) {
		unsigned int nr = i % (ENTRIES + 1);

		ASSERT_EQ(nr, ring_nops(r, nr, sent));
		sent += nr;
		for (; nr; nr--)
			expect_cqe(_metadata, r, seen++, 0);
	}
	EXPECT_EQ(sent, *r->sq_head);
	EXPECT_EQ(sent, *r->cq_tail);
	EXPECT_EQ(0, *r->sq_dropped);
	EXPECT_EQ(0, *r->cq_overflow);
}

TEST_HARNESS_MAIN
