// SPDX-License-Identifier: GPL-2.0
/* Registered rings: each thread's own table of rings under small numbers. */
#include "uring.h"
#include <pthread.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define MAX	16
#define ANY	(~0u)

FIXTURE(ringfds) { struct ring r; };
RING_VARIANTS(ringfds);

FIXTURE_SETUP(ringfds)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
}

FIXTURE_TEARDOWN(ringfds)
{
	ring_exit(&self->r);
}

static int add_some(struct ring *r, struct io_uring_rsrc_update *list, unsigned int nr)
{
	return ring_register(r, IORING_REGISTER_RING_FDS, list, nr);
}

static int del_some(struct ring *r, struct io_uring_rsrc_update *list, unsigned int nr)
{
	return ring_register(r, IORING_UNREGISTER_RING_FDS, list, nr);
}

/* Returns the index. */
static int add(struct ring *r, int fd, unsigned int index)
{
	struct io_uring_rsrc_update u = { .offset = index, .data = fd };
	int ret = add_some(r, &u, 1);

	return ret == 1 ? (int)u.offset : ret;
}

static int del(struct ring *r, unsigned int index)
{
	return del_some(r, &(struct io_uring_rsrc_update) { .offset = index }, 1);
}

/* A call by index; 0 if there is a ring. */
static int use(enum backend backend, unsigned int index)
{
	return uring_enter(backend, index, 0, 0, IORING_ENTER_REGISTERED_RING);
}

static int use_register(enum backend backend, unsigned int index, unsigned int opcode)
{
	return uring_register(backend, index, opcode | IORING_REGISTER_USE_REGISTERED_RING, NULL,
			      0);
}

TEST_F(ringfds, add_errors)
{
	int file = open("/dev/null", O_RDWR);
	struct io_uring_rsrc_update list[MAX + 1] = {};
	struct ring other;

	EXPECT_EQ(-EINVAL, add_some(&self->r, list, 0));
	EXPECT_EQ(-EINVAL, add_some(&self->r, list, MAX + 1));
	EXPECT_EQ(-EINVAL, add_some(&self->r, list, ~0u));
	EXPECT_EQ(-EFAULT, add_some(&self->r, NULL, 1));
	EXPECT_EQ(-EFAULT, add_some(&self->r, (void *)8, 1));
	EXPECT_EQ(-EINVAL, add(&self->r, self->r.fd, MAX));
	EXPECT_EQ(-EINVAL, add(&self->r, self->r.fd, ANY - 1));
	EXPECT_EQ(-EBADF, add(&self->r, -1, ANY));
	EXPECT_EQ(-EBADF, add(&self->r, 4000, ANY));
	EXPECT_EQ(-EOPNOTSUPP, add(&self->r, file, ANY));
	ASSERT_EQ(0, ring_init(&other, variant->backend == NATIVE ? DEVICE : NATIVE, 4, 0));
	EXPECT_EQ(-EOPNOTSUPP, add(&self->r, other.fd, ANY));
	list[0] = (struct io_uring_rsrc_update) { .offset = ANY, .data = self->r.fd, .resv = 1 };
	EXPECT_EQ(-EINVAL, add_some(&self->r, list, 1));
	EXPECT_EQ(0, add(&self->r, self->r.fd, ANY));
	EXPECT_EQ(-EBUSY, add(&self->r, self->r.fd, 0));
	ring_exit(&other);
	close(file);
}

TEST_F(ringfds, indices)
{
	int i;

	EXPECT_EQ(5, add(&self->r, self->r.fd, 5));
	EXPECT_EQ(0, add(&self->r, self->r.fd, ANY));
	EXPECT_EQ(MAX - 1, add(&self->r, self->r.fd, MAX - 1));
	for (i = 1; i < MAX - 1; i++)
		EXPECT_EQ(i < 5 ? i : i + 1, i == MAX - 2 ? MAX - 1 : add(&self->r, self->r.fd,
									  ANY));
	EXPECT_EQ(-EBUSY, add(&self->r, self->r.fd, ANY));
	for (i = 0; i < MAX; i++)
		EXPECT_EQ(0, use(variant->backend, i));
	EXPECT_EQ(1, del(&self->r, 9));
	EXPECT_EQ(-EBADF, use(variant->backend, 9));
	EXPECT_EQ(9, add(&self->r, self->r.fd, ANY));
	EXPECT_EQ(0, use(variant->backend, 9));
}

/* Several at once: as far as they are in order. */
TEST_F(ringfds, lists)
{
	struct io_uring_rsrc_update list[MAX], *edge;
	long page = sysconf(_SC_PAGESIZE);
	char *end;
	int i;

	for (i = 0; i < MAX; i++)
		list[i] = (struct io_uring_rsrc_update) { .offset = ANY, .data = self->r.fd };
	list[4].data = 4000;
	EXPECT_EQ(4, add_some(&self->r, list, MAX));
	for (i = 0; i < MAX; i++)
		EXPECT_EQ(i < 4 ? i : ANY, list[i].offset);
	EXPECT_EQ(-EBADF, use(variant->backend, 4));
	/* Half of it is there. */
	end = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, end);
	end += page;
	ASSERT_EQ(0, mprotect(end, page, PROT_NONE));
	edge = (struct io_uring_rsrc_update *)end - 2;
	edge[0] = (struct io_uring_rsrc_update) { .offset = 10, .data = self->r.fd };
	edge[1] = (struct io_uring_rsrc_update) { .offset = 11, .data = self->r.fd };
	EXPECT_EQ(2, add_some(&self->r, edge, 4));
	EXPECT_EQ(-EFAULT, add_some(&self->r, (struct io_uring_rsrc_update *)end, 1));
	/* It can be read, but the index cannot be told: then it is not registered. */
	edge[0].offset = ANY;
	ASSERT_EQ(0, mprotect(end - page, page, PROT_READ));
	EXPECT_EQ(-EFAULT, add_some(&self->r, edge, 1));
	EXPECT_EQ(-EBADF, use(variant->backend, 4));
	EXPECT_EQ(4, add(&self->r, self->r.fd, ANY));
	/* As many as there are places. */
	for (i = 0; i < MAX; i++)
		list[i] = (struct io_uring_rsrc_update) { .offset = i };
	EXPECT_EQ(MAX, del_some(&self->r, list, MAX));
	for (i = 0; i < MAX; i++)
		list[i] = (struct io_uring_rsrc_update) { .offset = ANY, .data = self->r.fd };
	EXPECT_EQ(MAX, add_some(&self->r, list, MAX));
	EXPECT_EQ(MAX - 1, list[MAX - 1].offset);
}

/* Of the descriptor the lower half counts. */
TEST_F(ringfds, wide_descriptor)
{
	struct io_uring_rsrc_update u = { .offset = 3, .data = 7ull << 32 | self->r.fd };

	EXPECT_EQ(1, add_some(&self->r, &u, 1));
	EXPECT_EQ(0, use(variant->backend, 3));
}

TEST_F(ringfds, del_errors)
{
	struct io_uring_rsrc_update list[MAX + 1] = {};

	EXPECT_EQ(2, add(&self->r, self->r.fd, 2));
	EXPECT_EQ(-EINVAL, del_some(&self->r, list, 0));
	EXPECT_EQ(-EINVAL, del_some(&self->r, list, MAX + 1));
	EXPECT_EQ(-EFAULT, del_some(&self->r, NULL, 1));
	EXPECT_EQ(-EINVAL, del(&self->r, MAX));
	EXPECT_EQ(-EINVAL, del(&self->r, ANY));
	list[0] = (struct io_uring_rsrc_update) { .offset = 2, .data = self->r.fd };
	EXPECT_EQ(-EINVAL, del_some(&self->r, list, 1));
	list[0] = (struct io_uring_rsrc_update) { .offset = 2, .resv = 1 };
	EXPECT_EQ(-EINVAL, del_some(&self->r, list, 1));
	EXPECT_EQ(0, use(variant->backend, 2));
	/* Where nothing is there is nothing to complain about. */
	list[0] = (struct io_uring_rsrc_update) { .offset = 1 };
	list[1] = (struct io_uring_rsrc_update) { .offset = 2 };
	list[2] = (struct io_uring_rsrc_update) { .offset = MAX };
	EXPECT_EQ(2, del_some(&self->r, list, 4));
	EXPECT_EQ(-EBADF, use(variant->backend, 2));
	EXPECT_EQ(1, del(&self->r, 2));
}

TEST_F(ringfds, enter)
{
	unsigned int flags = IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING |
			     IORING_ENTER_SQ_WAKEUP;
	struct ring other;

	ASSERT_EQ(0, ring_init(&other, variant->backend, 8, variant->flags));
	ASSERT_EQ(3, add(&self->r, self->r.fd, 3));
	ASSERT_EQ(12, add(&self->r, other.fd, 12));
	ring_nop(&self->r, 1);
	EXPECT_EQ(1, uring_enter(variant->backend, 3, ring_flush(&self->r), 1, flags));
	EXPECT_EQ(1, ring_ready(&self->r));
	ring_nop(&other, 1);
	ring_nop(&other, 2);
	EXPECT_EQ(2, uring_enter(variant->backend, 12, ring_flush(&other), 2, flags));
	EXPECT_EQ(2, ring_ready(&other));
	EXPECT_EQ(1, ring_ready(&self->r));
	EXPECT_EQ(-EBADF, use(variant->backend, 0));
	EXPECT_EQ(-EINVAL, use(variant->backend, MAX));
	EXPECT_EQ(-EINVAL, use(variant->backend, ~0u));
	EXPECT_EQ(-EINVAL, use(variant->backend, 1u << 31 | 3));
	ring_exit(&other);
}

TEST_F(ringfds, register)
{
	unsigned int personality = IORING_REGISTER_PERSONALITY;
	struct io_uring_rsrc_update u = { .offset = 3 };

	ASSERT_EQ(3, add(&self->r, self->r.fd, 3));
	EXPECT_EQ(1, use_register(variant->backend, 3, personality));
	EXPECT_EQ(2, ring_register(&self->r, personality, NULL, 0));
	EXPECT_EQ(-EBADF, use_register(variant->backend, 0, personality));
	EXPECT_EQ(-EINVAL, use_register(variant->backend, MAX, personality));
	EXPECT_EQ(-EINVAL, use_register(variant->backend, -2, personality));
	/* A descriptor is no index: without the modifier that is what it is. */
	EXPECT_EQ(3, ring_register(&self->r, personality, NULL, 0));
	/* It can be taken out by its own index. */
	EXPECT_EQ(1, uring_register(variant->backend, 3, IORING_UNREGISTER_RING_FDS |
				    IORING_REGISTER_USE_REGISTERED_RING, &u, 1));
	EXPECT_EQ(-EBADF, use_register(variant->backend, 3, personality));
}

/* The registration keeps the ring when the descriptor is gone. */
TEST_F(ringfds, without_descriptor)
{
	struct io_uring_cqe cqe;
	struct ring other;

	ASSERT_EQ(0, ring_init(&other, variant->backend, 8, variant->flags));
	ASSERT_EQ(7, add(&self->r, other.fd, 7));
	close(other.fd);
	ring_nop(&other, 5);
	EXPECT_EQ(1, uring_enter(variant->backend, 7, ring_flush(&other), 1,
				 IORING_ENTER_GETEVENTS | IORING_ENTER_REGISTERED_RING |
				 IORING_ENTER_SQ_WAKEUP));
	ASSERT_TRUE(ring_cqe(&other, &cqe));
	EXPECT_EQ(5, cqe.user_data);
	EXPECT_EQ(1, use_register(variant->backend, 7, IORING_REGISTER_PERSONALITY));
	EXPECT_EQ(1, del(&self->r, 7));
	EXPECT_EQ(-EBADF, use(variant->backend, 7));
	ring_unmap(&other);
}

struct other {
	struct ring *r;
	int before, added, used, used_mine, deleted, after;
};

static void *other_thread(void *arg)
{
	struct other *o = arg;
	struct ring r;

	o->before = use(o->r->backend, 3);
	if (ring_init(&r, o->r->backend, 4, 0))
		return NULL;
	o->added = add(&r, r.fd, 5);
	/* Now it has a table of its own. */
	o->used = use(o->r->backend, 3);
	o->used_mine = use(o->r->backend, 5);
	o->deleted = del(&r, 3);
	o->after = use(o->r->backend, 3);
	ring_exit(&r);
	return NULL;
}

TEST_F(ringfds, threads_have_their_own)
{
	struct other o = { .r = &self->r };
	pthread_t thread;
	int i;

	for (i = 0; i < 3; i++) {
		/* Before and after this thread has one. */
		if (i)
			ASSERT_LE(0, add(&self->r, self->r.fd, i == 1 ? 3 : 4));
		ASSERT_EQ(0, pthread_create(&thread, NULL, other_thread, &o));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_EQ(-EINVAL, o.before);
		EXPECT_EQ(5, o.added);
		EXPECT_EQ(-EBADF, o.used);
		EXPECT_EQ(0, o.used_mine);
		EXPECT_EQ(1, o.deleted);
		EXPECT_EQ(-EBADF, o.after);
		if (i)
			EXPECT_EQ(0, use(variant->backend, 3));
	}
	EXPECT_EQ(-EBADF, use(variant->backend, 5));
}

TEST_F(ringfds, child_has_none)
{
	int status;
	pid_t child;

	ASSERT_EQ(3, add(&self->r, self->r.fd, 3));
	child = fork();
	if (!child)
		_exit(use(variant->backend, 3) == -EINVAL ? 0 : 1);
	ASSERT_LT(0, child);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, use(variant->backend, 3));
}

/*
 * A thread without a table. In the kernel it is there from the thread's first
 * ring on, on the device from the first registration on.
 */
TEST_F(ringfds, no_table)
{
	EXPECT_EQ(variant->backend == NATIVE ? -EBADF : -EINVAL, use(variant->backend, 0));
	EXPECT_EQ(-EINVAL, use(variant->backend, MAX));
	EXPECT_EQ(1, del(&self->r, 0));
}

/* An index is no way around the rule that a ring is bound to a task. */
static void *foreign_ring(void *arg)
{
	struct other *o = arg;
	struct ring r;

	if (ring_init(&r, o->r->backend, 4, 0))
		return NULL;
	o->added = add(&r, o->r->fd, 0);
	o->used = uring_enter(o->r->backend, 0, 1, 0, IORING_ENTER_REGISTERED_RING);
	o->used_mine = use_register(o->r->backend, 0, IORING_REGISTER_PERSONALITY);
	ring_exit(&r);
	return NULL;
}

TEST_F(ringfds, bound_ring)
{
	bool bound = variant->flags & IORING_SETUP_DEFER_TASKRUN;
	struct other o = { .r = &self->r };
	pthread_t thread;

	ring_nop(&self->r, 1);
	ring_flush(&self->r);
	ASSERT_EQ(0, pthread_create(&thread, NULL, foreign_ring, &o));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(0, o.added);
	EXPECT_EQ(bound ? -EEXIST : 1, o.used);
	EXPECT_EQ(bound ? -EEXIST : 1, o.used_mine);
}

TEST_HARNESS_MAIN
