// SPDX-License-Identifier: GPL-2.0
/* IORING_REGISTER_RESIZE_RINGS: what is in the rings stays in them, or nothing happens. */
#include "uring.h"
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include "resize.h"
#include "kselftest_harness.h"

FIXTURE(resize) { struct ring r; };
BACKEND_VARIANTS(resize);

FIXTURE_SETUP(resize)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, DEFER));
}

FIXTURE_TEARDOWN(resize)
{
	ring_exit(&self->r);
}

/* So many NOPs, submitted one after another. */
static int post(struct ring *r, unsigned int first, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		ring_nop(r, first + i);
		if (ring_submit(r, 0) != 1)
			return -1;
	}
	return 0;
}

/* Moves the positions in both queues ahead, so that they wrap elsewhere. */
static int advance(struct ring *r, unsigned int nr)
{
	while (nr--) {
		if (post(r, 0, 1))
			return -1;
		ring_seen(r, 1);
	}
	return 0;
}

/* Whether the CQEs are these, one after another, and no others. */
static bool are_there(struct ring *r, unsigned int first, unsigned int nr)
{
	struct io_uring_cqe cqe;
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (!ring_cqe(r, &cqe) || cqe.user_data != first + i)
			return false;
	return !ring_ready(r);
}

static unsigned int field(struct ring *r, unsigned int offset)
{
	return load_acquire((unsigned int *)(r->rings + offset));
}

TEST_F(resize, sizes)
{
	struct { unsigned int sq, cq, new_sq, new_cq; } sizes[] = {
		{ 16, 0, 16, 32 }, { 1, 0, 1, 2 }, { 3, 5, 4, 8 }, { 4, 4, 4, 4 },
		{ 1, 64, 1, 64 }, { 100, 100, 128, 128 }, { 2000, 0, 2048, 4096 },
		{ 8, 0, 8, 16 }, { 8, 0, 8, 16 },
	};
	struct ring *r = &self->r;
	unsigned int i, k, total = 0;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		ASSERT_EQ(0, resize(r, sizes[i].sq, sizes[i].cq));
		EXPECT_EQ(sizes[i].new_sq, r->p.sq_entries);
		EXPECT_EQ(sizes[i].new_cq, r->p.cq_entries);
		EXPECT_EQ(sizes[i].new_sq, field(r, r->p.sq_off.ring_entries));
		EXPECT_EQ(sizes[i].new_cq, field(r, r->p.cq_off.ring_entries));
		EXPECT_EQ(sizes[i].new_sq - 1, field(r, r->p.sq_off.ring_mask));
		EXPECT_EQ(sizes[i].new_cq - 1, field(r, r->p.cq_off.ring_mask));
		EXPECT_EQ(total, *r->sq_head);
		EXPECT_EQ(total, *r->sq_tail);
		EXPECT_EQ(total, *r->cq_head);
		EXPECT_EQ(total, *r->cq_tail);
		/* One call too many does no harm. */
		EXPECT_EQ(IORING_SQ_TASKRUN | IORING_SQ_NEED_WAKEUP, *r->sq_flags);
		for (k = 0; k < sizes[i].new_cq + 3; k++) {
			ASSERT_EQ(0, post(r, k, 1));
			ASSERT_TRUE(are_there(r, k, 1));
		}
		total += k;
		/* As many as fit at once. */
		for (k = 0; k < sizes[i].new_sq; k++)
			ASSERT_NE(NULL, ring_nop(r, k));
		EXPECT_EQ(NULL, ring_nop(r, k));
		EXPECT_EQ(k, ring_submit(r, k));
		EXPECT_TRUE(are_there(r, 0, k));
		total += k;
	}
}

TEST_F(resize, errors)
{
	struct io_uring_params p;
	unsigned int bit;

#define TRY(error, sq, cq, fl)							\
	do {									\
		p = (struct io_uring_params) { .sq_entries = sq, .cq_entries = cq,	\
			.flags = fl };						\
		EXPECT_EQ(error, resize_raw(&self->r, &p));			\
	} while (0)
	TRY(-EINVAL, 0, 0, 0);
	TRY(-EINVAL, 32769, 0, 0);
	TRY(-EINVAL, 8, 0, IORING_SETUP_CQSIZE);
	TRY(-EINVAL, 8, 4, IORING_SETUP_CQSIZE);
	TRY(-EINVAL, 8, 65537, IORING_SETUP_CQSIZE);
	TRY(-EINVAL, 0, 8, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP);
	for (bit = 0; bit < 32; bit++)
		if (!((IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP) & 1u << bit))
			TRY(-EINVAL, 8, 16, 1u << bit);
#undef TRY
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_RESIZE_RINGS, &p, 0));
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_RESIZE_RINGS, &p, 2));
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_RESIZE_RINGS, NULL, 1));
	EXPECT_EQ(-EFAULT, ring_register(&self->r, IORING_REGISTER_RESIZE_RINGS, (void *)8, 1));
	/* Nothing has happened. */
	ASSERT_EQ(0, post(&self->r, 5, 10));
	EXPECT_TRUE(are_there(&self->r, 5, 10));
}

TEST_F(resize, clamped)
{
	struct io_uring_params p = {
		.sq_entries = 40000,
		.cq_entries = 1u << 31,
		.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
	};

	ASSERT_EQ(0, resize_raw(&self->r, &p));
	EXPECT_EQ(32768, p.sq_entries);
	EXPECT_EQ(65536, p.cq_entries);
	ASSERT_EQ(0, resize(&self->r, 8, 0));
	ASSERT_EQ(0, post(&self->r, 5, 10));
	EXPECT_TRUE(are_there(&self->r, 5, 10));
}

/* The answer cannot be written. */
TEST_F(resize, fault)
{
	struct io_uring_params *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
					 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, p);
	p->sq_entries = 64;
	ASSERT_EQ(0, mprotect(p, 4096, PROT_READ));
	EXPECT_EQ(-EFAULT, resize_raw(&self->r, p));
	ASSERT_EQ(0, post(&self->r, 5, 10));
	EXPECT_TRUE(are_there(&self->r, 5, 10));
	munmap(p, 4096);
}

static void *other_thread(void *arg)
{
	struct io_uring_params p = { .sq_entries = 4 };

	return (void *)(long)resize_raw(arg, &p);
}

/* It is for rings whose completions run in one task, and that one can do it. */
TEST_F(resize, who_and_what)
{
	unsigned int flags[] = { 0, IORING_SETUP_SINGLE_ISSUER, IORING_SETUP_COOP_TASKRUN };
	struct io_uring_params p = { .sq_entries = 4 };
	pthread_t thread;
	struct ring r;
	void *ret;
	int i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, ring_init(&r, variant->backend, 8, flags[i]));
		EXPECT_EQ(-EINVAL, resize_raw(&r, &p));
		ring_exit(&r);
	}
	ASSERT_EQ(0, pthread_create(&thread, NULL, other_thread, &self->r));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(-EEXIST, (long)ret);

	ASSERT_EQ(0, ring_init(&r, variant->backend, 8, DEFER | IORING_SETUP_R_DISABLED));
	ASSERT_EQ(0, resize(&r, 32, 0));
	ASSERT_EQ(0, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	ASSERT_EQ(0, post(&r, 0, 60));
	EXPECT_TRUE(are_there(&r, 0, 60));
	ring_exit(&r);
}

TEST_F(resize, cqes_stay)
{
	unsigned int start, nr, sizes[] = { 64, 16, 32, 128, 16 }, i;

	for (start = 0; start < 40; start += 13) {
		ASSERT_EQ(0, advance(&self->r, 13));
		for (nr = 0; nr <= 16; nr += 4) {
			unsigned int head = *self->r.cq_head;

			ASSERT_EQ(0, post(&self->r, 1000, nr));
			for (i = 0; i < 5; i++) {
				ASSERT_EQ(0, resize(&self->r, 8, sizes[i]));
				EXPECT_EQ(head, *self->r.cq_head);
				EXPECT_EQ(head + nr, *self->r.cq_tail);
			}
			EXPECT_TRUE(are_there(&self->r, 1000, nr));
		}
	}
}

TEST_F(resize, sqes_stay)
{
	unsigned int order[] = { 5, 2, 7, 0, 3, 6, 1, 4 }, start, i;

	for (start = 0; start < 30; start += 7) {
		struct ring *r = &self->r;

		ASSERT_EQ(0, advance(r, 7));
		ASSERT_EQ(8, r->p.sq_entries);
		/* In an order of their own. */
		for (i = 0; i < 8; i++) {
			ring_nop(r, 0);
			r->sq_array[(*r->sq_tail + i) & 7] = order[i];
		}
		for (i = 0; i < 8; i++)
			r->sqes[order[i]].user_data = 500 + i;
		ring_flush(r);
		ASSERT_EQ(0, resize(r, 64, 0));
		ASSERT_EQ(0, resize(r, 8, 0));
		EXPECT_EQ(8, ring_enter(r, 8, 8, IORING_ENTER_GETEVENTS));
		EXPECT_TRUE(are_there(r, 500, 8));
	}
}

/* What is in the rings is too much for the new ones. */
TEST_F(resize, does_not_fit)
{
	struct ring *r = &self->r;
	unsigned int i;

	ASSERT_EQ(0, advance(r, 5));
	ASSERT_EQ(0, post(r, 0, 9));
	for (i = 9; i < 14; i++)
		ring_nop(r, i);
	ring_flush(r);
	EXPECT_EQ(-EOVERFLOW, resize(r, 4, 64));
	EXPECT_EQ(-EOVERFLOW, resize(r, 8, 8));
	EXPECT_EQ(5, ring_enter(r, 5, 5, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(-EOVERFLOW, resize(r, 8, 8));
	EXPECT_EQ(-EOVERFLOW, resize(r, 1, 1));
	ring_seen(r, 6);
	EXPECT_EQ(0, resize(r, 1, 8));
	EXPECT_TRUE(are_there(r, 6, 8));
}

/* Indices that name nothing still do so afterwards. */
TEST_F(resize, bad_index)
{
	struct ring *r = &self->r;

	ASSERT_EQ(0, advance(r, 3));
	ring_nop(r, 1);
	ring_nop(r, 2);
	r->sq_array[(*r->sq_tail + 1) & 7] = 8;
	ring_nop(r, 3);
	ring_flush(r);
	ASSERT_EQ(0, resize(r, 16, 0));
	EXPECT_EQ(UINT_MAX, r->sq_array[(*r->sq_tail - 2) & 15]);
	/* The first; then nothing; then the third. */
	EXPECT_EQ(1, ring_enter(r, 3, 0, 0));
	EXPECT_EQ(1, *r->sq_dropped);
	EXPECT_EQ(1, ring_enter(r, 1, 0, 0));
	EXPECT_EQ(2, ring_ready(r));
	ASSERT_EQ(0, resize(r, 32, 0));
	EXPECT_EQ(1, *r->sq_dropped);
}

TEST_F(resize, overflow_list)
{
	struct ring *r = &self->r;

	ASSERT_EQ(0, resize(r, 2, 2));
	ASSERT_EQ(0, post(r, 0, 10));
	EXPECT_TRUE(*r->sq_flags & IORING_SQ_CQ_OVERFLOW);
	ASSERT_EQ(0, resize(r, 2, 4));
	EXPECT_TRUE(*r->sq_flags & IORING_SQ_CQ_OVERFLOW);
	EXPECT_EQ(2, ring_ready(r));
	ASSERT_EQ(0, ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_EQ(4, ring_ready(r));
	ASSERT_EQ(0, resize(r, 2, 16));
	ASSERT_EQ(0, ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS));
	EXPECT_FALSE(*r->sq_flags & IORING_SQ_CQ_OVERFLOW);
	EXPECT_TRUE(are_there(r, 0, 10));
	EXPECT_EQ(0, *r->cq_overflow);
}

/* Words that belong to the rings go with them. */
TEST_F(resize, other_words)
{
	struct ring *r = &self->r;

	*r->sq_dropped = 77;
	*r->cq_overflow = 88;
	*r->cq_flags = IORING_CQ_EVENTFD_DISABLED;
	ASSERT_EQ(0, resize(r, 64, 0));
	EXPECT_EQ(77, *r->sq_dropped);
	EXPECT_EQ(88, *r->cq_overflow);
	EXPECT_EQ(IORING_CQ_EVENTFD_DISABLED, *r->cq_flags);
}

/* Who still has the old memory mapped can read what was in it. */
TEST_F(resize, old_mapping)
{
	struct io_uring_params p = { .sq_entries = 32 };
	struct ring old = self->r;

	ASSERT_EQ(0, post(&self->r, 7, 3));
	ASSERT_EQ(0, resize_raw(&self->r, &p));
	self->r.p = p;
	ASSERT_EQ(0, ring_map(&self->r));
	ASSERT_EQ(0, post(&self->r, 10, 3));
	EXPECT_TRUE(are_there(&self->r, 7, 6));
	EXPECT_TRUE(are_there(&old, 7, 3));
	/* Writing does no harm to anybody. */
	memset(old.rings, 0xff, old.rings_size);
	memset(old.sqes, 0xff, old.sqes_size);
	ASSERT_EQ(0, post(&self->r, 20, 3));
	EXPECT_TRUE(are_there(&self->r, 20, 3));
	ring_unmap(&old);
}

/* Deferred work, the eventfd, pollers and registered indices do not notice. */
TEST_F(resize, what_is_pending)
{
	struct io_uring_rsrc_update update = { .offset = 2, .data = self->r.fd };
	struct pollfd pfd = { .fd = self->r.fd, .events = POLLIN | POLLOUT };
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct ring *r = &self->r;
	eventfd_t count;

	ASSERT_EQ(1, ring_register(r, IORING_REGISTER_RING_FDS, &update, 1));
	ASSERT_EQ(0, ring_register(r, IORING_REGISTER_EVENTFD, &fd, 1));
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLOUT, pfd.revents);
	ASSERT_EQ(0, send_msg(variant->backend, r->fd, 42, 0));
	ASSERT_EQ(0, resize(r, 64, 0));
	EXPECT_EQ(0, ring_ready(r));
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLIN | POLLOUT, pfd.revents);
	ASSERT_EQ(0, uring_enter(variant->backend, 2, 0, 1,
				 IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING));
	EXPECT_TRUE(are_there(r, 42, 1));
	ASSERT_EQ(0, eventfd_read(fd, &count));
	EXPECT_EQ(2, count);
	ASSERT_EQ(0, post(r, 0, 1));
	ASSERT_EQ(0, eventfd_read(fd, &count));
	EXPECT_EQ(1, count);
	close(fd);
}

TEST_HARNESS_MAIN
