// SPDX-License-Identifier: GPL-2.0
/* Drains: requests that wait for all before them, and hold up all behind them. */
#include "cqes.h"

#define MANY	256

PIPE_FIXTURE(drain, MANY, O_CLOEXEC);

static void nop(struct ring *r, uint64_t user_data, unsigned int flags)
{
	ring_nop(r, user_data)->flags = flags;
}

TEST_F(drain, waits_for_what_is_before)
{
	blocked(&self->io, self->p[0], self->in, 1, 0);
	nop(self->r, 2, IOSQE_IO_DRAIN);
	nop(self->r, 3, 0);
	EXPECT_EQ(3, ring_submit(self->r, 0));
	EXPECT_TRUE(quiet(self->r));
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_NEXT(1, 1);
	EXPECT_NEXT(2, 0);
	EXPECT_NEXT(3, 0);
	EXPECT_TRUE(quiet(self->r));
}

TEST_F(drain, holds_up_what_is_behind)
{
	blocked(&self->io, self->p[0], self->in, 1, IOSQE_IO_DRAIN);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	nop(self->r, 2, 0);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_TRUE(quiet(self->r));
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_NEXT(1, 1);
	EXPECT_NEXT(2, 0);
	/* All is as before then. */
	blocked(&self->io, self->p[0], self->in, 3, 0);
	nop(self->r, 4, 0);
	EXPECT_EQ(2, ring_submit(self->r, 1));
	EXPECT_NEXT(4, 0);
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_NEXT(3, 1);
}

TEST_F(drain, nothing_before)
{
	int i;

	for (i = 0; i < 10; i++) {
		nop(self->r, 2 * i, IOSQE_IO_DRAIN);
		nop(self->r, 2 * i + 1, 0);
		EXPECT_EQ(2, ring_submit(self->r, 2));
		EXPECT_NEXT(2 * i, 0);
		EXPECT_NEXT(2 * i + 1, 0);
	}
}

TEST_F(drain, several)
{
	int i;

	blocked(&self->io, self->p[0], self->in, 1, 0);
	for (i = 2; i < 20; i++)
		nop(self->r, i, IOSQE_IO_DRAIN);
	EXPECT_EQ(19, ring_submit(self->r, 0));
	EXPECT_TRUE(quiet(self->r));
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_NEXT(1, 1);
	for (i = 2; i < 20; i++)
		EXPECT_NEXT(i, 0);
}

TEST_F(drain, failing)
{
	blocked(&self->io, self->p[0], self->in, 1, 0);
	nop(self->r, 2, IOSQE_IO_DRAIN | IOSQE_FIXED_FILE);
	self->r->sqes[(self->r->sqe_tail - 1) & (MANY - 1)].nop_flags = 1u << 31;
	EXPECT_EQ(2, ring_submit(self->r, 1));
	/* An SQE in error waits for nobody. */
	EXPECT_NEXT(2, -EINVAL);
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_NEXT(1, 1);
	nop(self->r, 3, 0);
	EXPECT_EQ(1, ring_submit(self->r, 1));
	EXPECT_NEXT(3, 0);
}

/* The chain waits as a whole, and so does what is behind it. */
TEST_F(drain, within_a_chain)
{
	blocked(&self->io, self->p[0], self->in, 1, 0);
	nop(self->r, 2, IOSQE_IO_LINK);
	nop(self->r, 3, IOSQE_IO_LINK | IOSQE_IO_DRAIN);
	blocked(&self->io, self->p[0], self->in, 4, 0);
	nop(self->r, 5, 0);
	EXPECT_EQ(5, ring_submit(self->r, 0));
	EXPECT_TRUE(quiet(self->r));
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_NEXT(1, 1);
	EXPECT_NEXT(2, 0);
	EXPECT_NEXT(3, 0);
	EXPECT_TRUE(quiet(self->r));
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_NEXT(4, 1);
	EXPECT_NEXT(5, 0);
}

TEST_F(drain, first_of_a_chain)
{
	blocked(&self->io, self->p[0], self->in, 1, 0);
	nop(self->r, 2, IOSQE_IO_LINK | IOSQE_IO_DRAIN);
	nop(self->r, 3, 0);
	nop(self->r, 4, 0);
	EXPECT_EQ(4, ring_submit(self->r, 0));
	EXPECT_TRUE(quiet(self->r));
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_NEXT(1, 1);
	EXPECT_NEXT(2, 0);
	EXPECT_NEXT(3, 0);
	EXPECT_NEXT(4, 0);
}

/* Who leaves out CQEs cannot be told what is done. */
TEST_F(drain, not_with_skipping)
{
	nop(self->r, 1, IOSQE_IO_DRAIN | IOSQE_CQE_SKIP_SUCCESS);
	EXPECT_EQ(1, ring_submit(self->r, 1));
	EXPECT_NEXT(1, -EOPNOTSUPP);
	nop(self->r, 2, IOSQE_IO_DRAIN);
	EXPECT_EQ(1, ring_submit(self->r, 1));
	EXPECT_NEXT(2, -EOPNOTSUPP);
	nop(self->r, 3, 0);
	EXPECT_EQ(1, ring_submit(self->r, 1));
	EXPECT_NEXT(3, 0);
}

/* Whatever is submitted: a drain is behind all before it, and before all behind it. */
TEST_F(drain, random)
{
	int round, i, j;
	struct dice d;

	dice_init(&d, variant->backend + variant->flags);
	for (round = 0; round < 50; round++) {
		int nr = 1 + dice(&d, 40), reads = 0, at[40];
		unsigned int flags[40];
		struct io_uring_cqe cqe;

		for (i = 0; i < nr; i++) {
			flags[i] = dice(&d, 4) ? 0 : IOSQE_IO_DRAIN;
			if (!dice(&d, 4))
				flags[i] |= IOSQE_ASYNC;
			if (dice(&d, 3)) {
				nop(self->r, i, flags[i]);
			} else {
				blocked(&self->io, self->p[0], self->in, i, flags[i]);
				reads++;
			}
		}
		ASSERT_EQ(nr, ring_submit(self->r, 0));
		while (reads--)
			ASSERT_EQ(1, write(self->p[1], "x", 1));
		for (i = 0; i < nr; i++) {
			if (!ring_ready(self->r))
				ASSERT_EQ(0, ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS));
			ASSERT_TRUE(ring_cqe(self->r, &cqe));
			ASSERT_GT(nr, cqe.user_data);
			ASSERT_LE(0, cqe.res);
			at[cqe.user_data] = i;
		}
		for (i = 0; i < nr; i++)
			for (j = 0; j < i; j++)
				if ((flags[i] | flags[j]) & IOSQE_IO_DRAIN)
					EXPECT_LT(at[j], at[i]);
	}
}

TEST_F(drain, ends)
{
	int i, status, j;
	pid_t pid;

	for (i = 0; i < 10; i++) {
		pid = fork();
		if (!pid) {
			struct io io;

			if (io_init(&io, variant->backend, 64, variant->flags, 0))
				_exit(1);
			blocked(&io, self->p[0], self->in, 1, 0);
			for (j = 0; j < 50; j++)
				nop(&io.r, 1, j % 3 ? IOSQE_IO_DRAIN : IOSQE_IO_LINK);
			if (ring_submit(&io.r, 0) != 51)
				_exit(2);
			if (i % 2)
				raise(SIGKILL);
			ring_exit(&io.r);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(i % 2 ? SIGKILL : 0, status);
	}
}

FILES_MAIN
