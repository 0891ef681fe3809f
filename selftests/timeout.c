// SPDX-License-Identifier: GPL-2.0
/* Timeouts: clocks, counts, repeats, changes, and those of other requests. */
#include "cqes.h"

#define MS	1000000ull
#define LATE	(20000 * MS)
#define MANY	256

PIPE_FIXTURE(timeout, MANY, O_CLOEXEC);

static struct io_uring_sqe *limit(struct ring *r, uint64_t user_data, uint64_t ns)
{
	struct io_uring_sqe *sqe = timer(r, user_data, ns, 0, 0);

	sqe->opcode = IORING_OP_LINK_TIMEOUT;
	return sqe;
}

static void change(struct ring *r, uint64_t user_data, uint64_t of, unsigned int flags, uint64_t ns)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	sqe->opcode = IORING_OP_TIMEOUT_REMOVE;
	sqe->addr = of;
	sqe->off = ns;
	sqe->timeout_flags = flags | (flags ? IORING_TIMEOUT_IMMEDIATE_ARG : 0);
	sqe->user_data = user_data;
}

#define EXPECT_NO_MORE() do {							\
	ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);			\
	EXPECT_EQ(0, ring_ready(self->r));					\
} while (0)

static const struct {
	clockid_t clock;
	unsigned int flag;
} clocks[] = {
	{ CLOCK_MONOTONIC, 0 },
	{ CLOCK_BOOTTIME, IORING_TIMEOUT_BOOTTIME },
	{ CLOCK_REALTIME, IORING_TIMEOUT_REALTIME },
};

TEST_F(timeout, spans)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(clocks); i++) {
		uint64_t begin = now_ns(CLOCK_MONOTONIC);

		timer(self->r, i, 20 * MS, clocks[i].flag, 0);
		EXPECT_EQ(1, ring_submit(self->r, 1));
		EXPECT_NEXT(i, -ETIME);
		EXPECT_LE(20 * MS, now_ns(CLOCK_MONOTONIC) - begin);
	}
}

TEST_F(timeout, points)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(clocks); i++) {
		uint64_t at = now_ns(clocks[i].clock) + 20 * MS;

		timer(self->r, i, at, clocks[i].flag | IORING_TIMEOUT_ABS, 0);
		EXPECT_EQ(1, ring_submit(self->r, 1));
		EXPECT_NEXT(i, -ETIME);
		EXPECT_LE(at, now_ns(clocks[i].clock));
		/* One that is over. */
		timer(self->r, i, at, clocks[i].flag | IORING_TIMEOUT_ABS, 0);
		EXPECT_EQ(1, ring_submit(self->r, 1));
		EXPECT_NEXT(i, -ETIME);
	}
}

TEST_F(timeout, from_memory)
{
	struct __kernel_timespec ts = { .tv_nsec = 10 * MS };
	struct io_uring_sqe *sqe;

	sqe = timer(self->r, 1, (unsigned long)&ts, 0, 0);
	sqe->timeout_flags = 0;
	EXPECT_EQ(1, ring_submit(self->r, 0));
	/* It was read then. */
	ts.tv_sec = 1000;
	EXPECT_NEXT(1, -ETIME);
	sqe = timer(self->r, 2, 8, 0, 0);
	sqe->timeout_flags = 0;
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(2, -EFAULT);
	ts.tv_sec = -1;
	sqe = timer(self->r, 3, (unsigned long)&ts, 0, 0);
	sqe->timeout_flags = 0;
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(3, -EINVAL);
}

TEST_F(timeout, refused)
{
	static const unsigned int flags[] = {
		IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME, IORING_TIMEOUT_UPDATE,
		IORING_LINK_TIMEOUT_UPDATE, IORING_TIMEOUT_MULTISHOT | IORING_TIMEOUT_ABS,
		1u << 31, IORING_TIMEOUT_IMMEDIATE_ARG << 1,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		timer(self->r, i, MS, flags[i], 0);
		EXPECT_EQ(1, ring_submit(self->r, 0));
		EXPECT_NEXT(i, -EINVAL);
	}
	for (i = 0; i < 6; i++) {
		struct io_uring_sqe *sqe = timer(self->r, i, MS, 0, 0);

		switch (i) {
		case 0:
			sqe->len = 0;
			break;
		case 1:
			sqe->buf_index = 1;
			break;
		case 2:
			sqe->file_index = 1;
			break;
		case 3:
			sqe->addr3 = 1;
			break;
		case 4:
			sqe->__pad2[0] = 1;
			break;
		case 5:
			sqe->addr = 1ull << 63;
			break;
		}
		EXPECT_EQ(1, ring_submit(self->r, 0));
		EXPECT_NEXT(i, -EINVAL);
	}
	/* Nothing of that was armed. */
	EXPECT_NO_MORE();
}

/* CQEs end it, those that are posted after it was issued. */
TEST_F(timeout, counts)
{
	ring_nop(self->r, 1);
	EXPECT_EQ(1, ring_submit(self->r, 1));
	timer(self->r, 2, LATE, 0, 2);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	ring_nop(self->r, 3);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(1, 0);
	EXPECT_NEXT(3, 0);
	EXPECT_NO_MORE();
	ring_nop(self->r, 4);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(4, 0);
	EXPECT_NEXT(2, 0);
}

TEST_F(timeout, counts_in_one_batch)
{
	ring_nop(self->r, 1);
	timer(self->r, 2, LATE, 0, 3);
	ring_nop(self->r, 3);
	EXPECT_EQ(3, ring_submit(self->r, 2));
	EXPECT_NEXT(1, 0);
	EXPECT_NEXT(3, 0);
	EXPECT_NO_MORE();
	ring_nop(self->r, 4);
	EXPECT_EQ(1, ring_submit(self->r, 1));
	EXPECT_NEXT(4, 0);
	EXPECT_NEXT(2, 0);
}

/* The shortest first, whatever the order; and their own CQEs do not count. */
TEST_F(timeout, counts_are_sorted)
{
	timer(self->r, 3, LATE, 0, 3);
	timer(self->r, 1, LATE, 0, 1);
	timer(self->r, 2, LATE, 0, 2);
	timer(self->r, 4, LATE, 0, 0);
	EXPECT_EQ(4, ring_submit(self->r, 0));
	EXPECT_NO_MORE();
	ring_nop(self->r, 11);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(11, 0);
	EXPECT_NEXT(1, 0);
	EXPECT_NO_MORE();
	ring_nop(self->r, 12);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(12, 0);
	EXPECT_NEXT(2, 0);
	EXPECT_NO_MORE();
	timer(self->r, 5, MS, 0, 0);
	EXPECT_EQ(1, ring_submit(self->r, 1));
	EXPECT_NEXT(5, -ETIME);
	EXPECT_NO_MORE();
	ring_nop(self->r, 13);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(13, 0);
	EXPECT_NEXT(3, 0);
	EXPECT_NO_MORE();
}

TEST_F(timeout, counts_or_time)
{
	timer(self->r, 1, 10 * MS, 0, 5);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(1, -ETIME);
	ring_nop(self->r, 2);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(2, 0);
	EXPECT_NO_MORE();
}

TEST_F(timeout, repeats)
{
	uint64_t begin = now_ns(CLOCK_MONOTONIC);
	int i;

	timer(self->r, 1, 5 * MS, IORING_TIMEOUT_MULTISHOT, 4);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	for (i = 0; i < 4; i++)
		EXPECT_NEXT_FLAGS(1, -ETIME, i < 3 ? IORING_CQE_F_MORE : 0);
	EXPECT_LE(20 * MS, now_ns(CLOCK_MONOTONIC) - begin);
	usleep(20000);
	EXPECT_NO_MORE();
}

TEST_F(timeout, repeats_until_removed)
{
	struct io_uring_cqe cqe = {};
	int i;

	timer(self->r, 1, 20 * MS, IORING_TIMEOUT_MULTISHOT, 0);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	for (i = 0; i < 5; i++)
		EXPECT_NEXT_FLAGS(1, -ETIME, IORING_CQE_F_MORE);
	change(self->r, 2, 1, 0, 0);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	/* It may fire once more meanwhile, or be about to. */
	for (i = 0; i < 1000 && (cqe.user_data != 1 || cqe.flags); i++) {
		if (!ring_ready(self->r))
			ASSERT_EQ(0, ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS));
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		if (cqe.user_data == 2 && cqe.res == -EALREADY) {
			change(self->r, 2, 1, 0, 0);
			EXPECT_EQ(1, ring_submit(self->r, 0));
		}
	}
	EXPECT_EQ(-ECANCELED, cqe.res);
	usleep(60000);
	ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);
	while (ring_cqe(self->r, &cqe))
		EXPECT_EQ(2, cqe.user_data);
}

/* There is no room to tell that there is more, so there is no more. */
TEST_F(timeout, repeats_until_full)
{
	struct io_uring_cqe cqe;
	unsigned int i, nr = 0, last = 0;

	for (i = 0; i < self->r->p.cq_entries; i++) {
		if (i % MANY == 0)
			ring_submit(self->r, 0);
		ring_nop(self->r, 0);
	}
	ring_submit(self->r, 0);
	ASSERT_EQ(self->r->p.cq_entries, ring_ready(self->r));
	timer(self->r, 1, MS, IORING_TIMEOUT_MULTISHOT, 0);
	EXPECT_EQ(1, ring_enter(self->r, ring_flush(self->r), 0, 0));
	usleep(30000);
	/* In a ring that defers, it fires when that is run. */
	ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS);
	for (i = 0; i < 100; i++) {
		while (ring_cqe(self->r, &cqe)) {
			nr += cqe.user_data == 1;
			last = cqe.user_data == 1 ? cqe.flags : last;
		}
		if (nr && !last)
			break;
		ring_enter(self->r, 0, 1, IORING_ENTER_GETEVENTS);
	}
	EXPECT_EQ(1, nr);
	EXPECT_EQ(0, last);
	usleep(10000);
	EXPECT_NO_MORE();
}

TEST_F(timeout, removed)
{
	timer(self->r, 1, LATE, 0, 0);
	timer(self->r, 2, LATE, 0, 1000);
	EXPECT_EQ(2, ring_submit(self->r, 0));
	change(self->r, 11, 2, 0, 0);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(11, 0);
	EXPECT_NEXT(2, -ECANCELED);
	change(self->r, 12, 1, 0, 0);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(12, 0);
	EXPECT_NEXT(1, -ECANCELED);
	change(self->r, 13, 1, 0, 0);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(13, -ENOENT);
}

TEST_F(timeout, changed)
{
	uint64_t begin = now_ns(CLOCK_MONOTONIC);

	timer(self->r, 1, LATE, 0, 0);
	timer(self->r, 2, LATE, 0, 1);
	EXPECT_EQ(2, ring_submit(self->r, 0));
	change(self->r, 11, 1, IORING_TIMEOUT_UPDATE, 20 * MS);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(11, 0);
	EXPECT_NEXT(2, 0);
	EXPECT_NEXT(1, -ETIME);
	EXPECT_LE(20 * MS, now_ns(CLOCK_MONOTONIC) - begin);
	/* To a point in time, and CQEs do not matter any more. */
	timer(self->r, 3, LATE, 0, 2);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	begin = now_ns(CLOCK_MONOTONIC) + 20 * MS;
	change(self->r, 12, 3, IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_ABS, begin);
	ring_nop(self->r, 13);
	ring_nop(self->r, 14);
	EXPECT_EQ(3, ring_submit(self->r, 0));
	EXPECT_NEXT(12, 0);
	EXPECT_NEXT(13, 0);
	EXPECT_NEXT(14, 0);
	EXPECT_NEXT(3, -ETIME);
	EXPECT_LE(begin, now_ns(CLOCK_MONOTONIC));
	change(self->r, 15, 3, IORING_TIMEOUT_UPDATE, MS);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(15, -ENOENT);
}

TEST_F(timeout, changed_while_it_repeats)
{
	timer(self->r, 1, LATE, IORING_TIMEOUT_MULTISHOT, 2);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	change(self->r, 2, 1, IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_ABS, MS);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(2, -EINVAL);
	change(self->r, 3, 1, IORING_TIMEOUT_UPDATE, 5 * MS);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(3, 0);
	EXPECT_NEXT_FLAGS(1, -ETIME, IORING_CQE_F_MORE);
	EXPECT_NEXT(1, -ETIME);
}

TEST_F(timeout, bad_changes)
{
	static const unsigned int flags[] = {
		IORING_TIMEOUT_ABS, IORING_TIMEOUT_MULTISHOT | IORING_TIMEOUT_UPDATE,
		IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_BOOTTIME | IORING_TIMEOUT_REALTIME,
		IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_BOOTTIME, 1u << 31,
	};
	unsigned int i;

	timer(self->r, 99, LATE, 0, 0);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		change(self->r, i, 99, flags[i], MS);
		EXPECT_EQ(1, ring_submit(self->r, 0));
		EXPECT_NEXT(i, -EINVAL);
	}
	EXPECT_NO_MORE();
}

/* Of those with the same user data the first one that was armed. */
TEST_F(timeout, same_user_data)
{
	int i;

	for (i = 0; i < 3; i++)
		timer(self->r, 1, LATE, 0, 0);
	EXPECT_EQ(3, ring_submit(self->r, 0));
	for (i = 0; i < 3; i++) {
		change(self->r, 2, 1, 0, 0);
		EXPECT_EQ(1, ring_submit(self->r, 0));
		EXPECT_NEXT(2, 0);
		EXPECT_NEXT(1, -ECANCELED);
	}
	change(self->r, 2, 1, 0, 0);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(2, -ENOENT);
}

TEST_F(timeout, in_a_chain)
{
	timer(self->r, 1, MS, 0, 0)->flags = IOSQE_IO_LINK;
	ring_nop(self->r, 2);
	EXPECT_EQ(2, ring_submit(self->r, 0));
	EXPECT_NEXT(1, -ETIME);
	EXPECT_NEXT(2, -ECANCELED);
	timer(self->r, 3, MS, IORING_TIMEOUT_ETIME_SUCCESS, 0)->flags = IOSQE_IO_LINK;
	ring_nop(self->r, 4);
	EXPECT_EQ(2, ring_submit(self->r, 0));
	EXPECT_NEXT(3, -ETIME);
	EXPECT_NEXT(4, 0);
	timer(self->r, 5, MS, IORING_TIMEOUT_ETIME_SUCCESS, 0)->flags =
		IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
	ring_nop(self->r, 6);
	EXPECT_EQ(2, ring_submit(self->r, 0));
	EXPECT_NEXT(6, 0);
	EXPECT_NO_MORE();
}

/* Two CQEs in whatever order. */
#define EXPECT_BOTH(user1, ok1, user2, ok2) do {				\
	struct io_uring_cqe cqe;						\
	int j, res;								\
										\
	for (j = 0; j < 2; j++) {						\
		if (!ring_ready(self->r))					\
			ASSERT_EQ(0, ring_enter(self->r, 0, 1,			\
						IORING_ENTER_GETEVENTS));	\
		ASSERT_TRUE(ring_cqe(self->r, &cqe));				\
		res = cqe.res;							\
		EXPECT_TRUE((cqe.user_data == (user1) && (ok1)) ||		\
			    (cqe.user_data == (user2) && (ok2)))		\
			TH_LOG("user data %llu: %d", cqe.user_data, res);	\
	}									\
} while (0)

TEST_F(timeout, of_another)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	int i, j;

	for (i = 0; i < 2; i++) {
		blocked(&self->io, self->p[0], self->in, 1,
			IOSQE_IO_LINK | (i ? IOSQE_ASYNC : 0));
		sqe = limit(self->r, 2, 20 * MS);
		sqe->flags = IOSQE_IO_LINK;
		ring_nop(self->r, 3);
		EXPECT_EQ(3, ring_submit(self->r, 0));
		EXPECT_NO_MORE();
		ASSERT_EQ(0, ring_enter(self->r, 0, 3, IORING_ENTER_GETEVENTS));
		for (j = 0; j < 3; j++) {
			ASSERT_TRUE(ring_cqe(self->r, &cqe));
			EXPECT_TRUE((cqe.user_data == 1 &&
				     (cqe.res == -ECANCELED || cqe.res == -EINTR)) ||
				    (cqe.user_data == 2 &&
				     (cqe.res == -ETIME || cqe.res == -EALREADY)) ||
				    (cqe.user_data == 3 && cqe.res == -ECANCELED))
				TH_LOG("user data %llu: %d", cqe.user_data, cqe.res);
		}
		EXPECT_NO_MORE();
	}
}

TEST_F(timeout, of_another_that_ends)
{
	blocked(&self->io, self->p[0], self->in, 1, IOSQE_IO_LINK);
	limit(self->r, 2, LATE)->flags = IOSQE_IO_LINK;
	ring_nop(self->r, 3);
	EXPECT_EQ(3, ring_submit(self->r, 0));
	EXPECT_NO_MORE();
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_NEXT(1, 1);
	EXPECT_BOTH(2, res == -ECANCELED, 3, res == 0);
	EXPECT_NO_MORE();
}

TEST_F(timeout, of_another_that_is_over)
{
	ring_nop(self->r, 1)->flags = IOSQE_IO_LINK;
	limit(self->r, 2, LATE);
	EXPECT_EQ(2, ring_submit(self->r, 2));
	EXPECT_NEXT(1, 0);
	EXPECT_NEXT(2, -ECANCELED);
	/* One that fails. */
	prep(&self->io, IORING_OP_READ, -1, self->in, 1, 0)->flags = IOSQE_IO_LINK;
	limit(self->r, 3, LATE)->flags = IOSQE_IO_LINK;
	ring_nop(self->r, 4);
	EXPECT_EQ(3, ring_submit(self->r, 3));
	EXPECT_NEXT(4711, -EBADF);
	EXPECT_BOTH(3, res == -ECANCELED, 4, res == -ECANCELED);
	EXPECT_NO_MORE();
}

TEST_F(timeout, of_another_later_in_the_chain)
{
	ring_nop(self->r, 1)->flags = IOSQE_IO_LINK;
	blocked(&self->io, self->p[0], self->in, 2, IOSQE_IO_LINK);
	limit(self->r, 3, LATE)->flags = IOSQE_IO_LINK;
	ring_nop(self->r, 4);
	EXPECT_EQ(4, ring_submit(self->r, 1));
	EXPECT_NEXT(1, 0);
	EXPECT_NO_MORE();
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_NEXT(2, 1);
	EXPECT_BOTH(3, res == -ECANCELED, 4, res == 0);
	EXPECT_NO_MORE();
}

TEST_F(timeout, of_another_changed)
{
	uint64_t begin = now_ns(CLOCK_MONOTONIC);

	blocked(&self->io, self->p[0], self->in, 1, IOSQE_IO_LINK);
	limit(self->r, 2, LATE);
	EXPECT_EQ(2, ring_submit(self->r, 0));
	EXPECT_NO_MORE();
	/* It stands not for itself. */
	change(self->r, 10, 2, 0, 0);
	change(self->r, 11, 2, IORING_TIMEOUT_UPDATE, MS);
	change(self->r, 12, 2, IORING_LINK_TIMEOUT_UPDATE, 20 * MS);
	EXPECT_EQ(3, ring_submit(self->r, 0));
	EXPECT_NEXT(10, -ENOENT);
	EXPECT_NEXT(11, -ENOENT);
	EXPECT_NEXT(12, -ENOENT);
	change(self->r, 13, 2, IORING_TIMEOUT_UPDATE | IORING_LINK_TIMEOUT_UPDATE, 20 * MS);
	EXPECT_EQ(1, ring_submit(self->r, 0));
	EXPECT_NEXT(13, 0);
	EXPECT_BOTH(1, res == -ECANCELED || res == -EINTR, 2, res == -ETIME || res == -EALREADY);
	EXPECT_LE(20 * MS, now_ns(CLOCK_MONOTONIC) - begin);
}

TEST_F(timeout, of_none)
{
	limit(self->r, 1, MS);
	EXPECT_EQ(1, ring_submit(self->r, 1));
	EXPECT_NEXT(1, -EINVAL);
	ring_nop(self->r, 2)->flags = IOSQE_IO_LINK;
	limit(self->r, 3, MS)->flags = IOSQE_IO_LINK;
	limit(self->r, 4, MS);
	EXPECT_EQ(3, ring_submit(self->r, 3));
	EXPECT_NEXT(2, -ECANCELED);
	EXPECT_BOTH(3, res == -ECANCELED, 4, res == -EINVAL);
}

/* All that are armed, removed and changed end once, and only once. */
TEST_F(timeout, storm)
{
	const char *text = getenv("STRESS");
	uint64_t end = now_ns(CLOCK_MONOTONIC) + (text ? atoi(text) / 8 : 2) * SEC;
	static unsigned char armed[MANY];
	unsigned int nr = 0, ended = 0, i;
	struct io_uring_cqe cqe;
	struct dice d;

	dice_init(&d, variant->backend * 2 + !!variant->flags);
	memset(armed, 0, sizeof(armed));
	while (now_ns(CLOCK_MONOTONIC) < end || nr != ended) {
		bool more = now_ns(CLOCK_MONOTONIC) < end;

		for (i = 0; more && i < 32; i++) {
			unsigned int id = dice(&d, MANY);

			if (!armed[id]) {
				timer(self->r, id, dice(&d, 1000000), 0,
				      dice(&d, 4) ? 0 : 1 + dice(&d, 9));
				armed[id] = 1;
				nr++;
			} else if (dice(&d, 2)) {
				change(self->r, MANY, id, 0, 0);
			} else {
				change(self->r, MANY, id, IORING_TIMEOUT_UPDATE, dice(&d, 1000000));
			}
		}
		i = ring_flush(self->r);
		ASSERT_EQ(i, ring_enter(self->r, i, !more, IORING_ENTER_GETEVENTS));
		while (ring_cqe(self->r, &cqe)) {
			if (cqe.user_data == MANY) {
				EXPECT_TRUE(!cqe.res || cqe.res == -ENOENT || cqe.res == -EALREADY)
					TH_LOG("%d", cqe.res);
				continue;
			}
			ASSERT_EQ(1, armed[cqe.user_data]);
			armed[cqe.user_data] = 0;
			ended++;
			EXPECT_TRUE(!cqe.res || cqe.res == -ETIME || cqe.res == -ECANCELED)
				TH_LOG("%d", cqe.res);
		}
	}
	EXPECT_LT(100, nr);
	EXPECT_NO_MORE();
}

TEST_F(timeout, ends)
{
	int i, status, j;
	pid_t pid;

	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid) {
			struct io io;

			if (io_init(&io, variant->backend, 128, variant->flags, 0))
				_exit(1);
			for (j = 0; j < 50; j++)
				timer(&io.r, j, j * 100000, 0, j % 3);
			for (j = 0; j < 20; j++) {
				blocked(&io, self->p[0], self->in, 1, IOSQE_IO_LINK);
				limit(&io.r, 2, j * 100000);
			}
			if (ring_submit(&io.r, 0) != 90)
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
