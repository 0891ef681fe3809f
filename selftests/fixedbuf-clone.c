// SPDX-License-Identifier: GPL-2.0
/* Buffers of one ring in another: CLONE_BUFFERS with all that can be said and be wrong. */
#include "files.h"
#include <pthread.h>
#include "kselftest_harness.h"

#define NR	4
#define LEN	4096

FIXTURE(clone) {
	struct io src, dst;
	int fd;
	char *mem;
};

RING_VARIANTS(clone);

FIXTURE_SETUP(clone)
{
	struct iovec iov[NR];
	int i;

	ASSERT_EQ(0, io_init(&self->src, variant->backend, 8, variant->flags, 0));
	ASSERT_EQ(0, io_init(&self->dst, variant->backend, 8, variant->flags, 0));
	self->fd = new_file(0, 2 * NR * LEN);
	ASSERT_LE(0, self->fd);
	self->mem = pages(2 * NR * LEN);
	/* The source has one hole. */
	for (i = 0; i < NR; i++)
		iov[i] = (struct iovec) { i == 2 ? NULL : self->mem + LEN * i, i == 2 ? 0 : LEN };
	ASSERT_EQ(0, ring_register(&self->src.r, IORING_REGISTER_BUFFERS, iov, NR));
}

FIXTURE_TEARDOWN(clone)
{
	ring_exit(&self->src.r);
	ring_exit(&self->dst.r);
}

static int clone_args(struct io *dst, unsigned int src_fd, unsigned int flags,
		      unsigned int src_off, unsigned int dst_off, unsigned int nr)
{
	struct io_uring_clone_buffers arg = {
		.src_fd = src_fd, .flags = flags, .src_off = src_off, .dst_off = dst_off, .nr = nr,
	};

	return ring_register(&dst->r, IORING_REGISTER_CLONE_BUFFERS, &arg, 1);
}

#define CLONE(flags, src_off, dst_off, nr)	\
	clone_args(&self->dst, self->src.r.fd, flags, src_off, dst_off, nr)
#define REPLACE	IORING_REGISTER_DST_REPLACE

/* Which piece of the memory slot @index is; -1 if it is none. */
static int piece(struct io *io, int fd, char *mem, unsigned int index)
{
	int i;

	for (i = 0; i < 2 * NR; i++) {
		prep(io, IORING_OP_WRITE_FIXED, fd, mem + LEN * i, LEN, 0)->buf_index = index;
		if (run(io) == LEN)
			return i;
	}
	return -1;
}

/* All slots of the ring from 0 on, as in @want; and none behind. */
static void expect_slots(struct __test_metadata *_metadata, struct io *io, int fd, char *mem,
			 const int *want, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		EXPECT_EQ(want[i], piece(io, fd, mem, i)) TH_LOG("slot %u", i);
	EXPECT_EQ(-1, piece(io, fd, mem, nr));
	/* The table ends there. */
	EXPECT_EQ(nr ? -EINVAL : -ENXIO,
		  ring_register(&io->r, IORING_REGISTER_BUFFERS_UPDATE,
				&(struct io_uring_rsrc_update2) {
					.offset = nr, .nr = 1,
					.data = (unsigned long)&(struct iovec) { mem, LEN },
				}, sizeof(struct io_uring_rsrc_update2)));
}

#define SLOTS(...) do {								\
	const int want_[] = { __VA_ARGS__ };					\
	expect_slots(_metadata, &self->dst, self->fd, self->mem, want_,		\
		     ARRAY_SIZE(want_));					\
} while (0)

TEST_F(clone, whole)
{
	ASSERT_EQ(0, CLONE(0, 0, 0, 0));
	SLOTS(0, 1, -1, 3);
	EXPECT_EQ(-EBUSY, CLONE(0, 0, 0, 0));
	EXPECT_EQ(0, CLONE(REPLACE, 0, 0, 0));
	SLOTS(0, 1, -1, 3);
	/* The source may go; the memory stays pinned. */
	EXPECT_EQ(0, ring_register(&self->src.r, IORING_UNREGISTER_BUFFERS, NULL, 0));
	SLOTS(0, 1, -1, 3);
	EXPECT_EQ(-ENXIO, CLONE(REPLACE, 0, 0, 0));
	EXPECT_EQ(0, ring_register(&self->dst.r, IORING_UNREGISTER_BUFFERS, NULL, 0));
	EXPECT_EQ(-EFAULT, one(&self->dst, IORING_OP_WRITE_FIXED, self->fd, self->mem, 1, 0));
}

TEST_F(clone, outlives_the_source)
{
	ASSERT_EQ(0, CLONE(0, 0, 0, 0));
	ring_exit(&self->src.r);
	fill(self->mem, LEN, 9);
	SLOTS(0, 1, -1, 3);
	ASSERT_EQ(0, ring_init(&self->src.r, variant->backend, 8, 0));
}

TEST_F(clone, parts)
{
	ASSERT_EQ(0, CLONE(0, 1, 0, 1));
	SLOTS(1);
	ASSERT_EQ(0, CLONE(REPLACE, 3, 2, 1));
	SLOTS(1, -1, 3);
	/* Holes are cloned as well. */
	ASSERT_EQ(0, CLONE(REPLACE, 2, 0, 2));
	SLOTS(-1, 3, 3);
	ASSERT_EQ(0, CLONE(REPLACE, 0, 1, 1));
	SLOTS(-1, 0, 3);
	ASSERT_EQ(0, CLONE(REPLACE, 0, 3, 4));
	SLOTS(-1, 0, 3, 0, 1, -1, 3);
	/* All of it into a table that is larger. */
	ASSERT_EQ(0, CLONE(REPLACE, 0, 0, 0));
	SLOTS(0, 1, -1, 3, 1, -1, 3);
}

TEST_F(clone, into_itself)
{
	struct io *src = &self->src;

	EXPECT_EQ(-EBUSY, clone_args(src, src->r.fd, 0, 0, 0, 0));
	EXPECT_EQ(0, clone_args(src, src->r.fd, REPLACE, 0, 2, 2));
	expect_slots(_metadata, src, self->fd, self->mem, (int[]) { 0, 1, 0, 1 }, 4);
	EXPECT_EQ(0, clone_args(src, src->r.fd, REPLACE, 1, 4, 1));
	expect_slots(_metadata, src, self->fd, self->mem, (int[]) { 0, 1, 0, 1, 1 }, 5);
	EXPECT_EQ(-ENXIO, clone_args(&self->dst, self->dst.r.fd, 0, 0, 0, 0));
}

TEST_F(clone, bad_ranges)
{
	int i;

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(-EINVAL, CLONE(REPLACE, 1, 0, 0));
		EXPECT_EQ(-EINVAL, CLONE(REPLACE, 0, 1, 0));
		EXPECT_EQ(-EINVAL, CLONE(REPLACE, 0, 0, NR + 1));
		EXPECT_EQ(-EINVAL, CLONE(REPLACE, 0, 0, UINT32_MAX));
		EXPECT_EQ(-EOVERFLOW, CLONE(REPLACE, 1, 0, NR));
		EXPECT_EQ(-EOVERFLOW, CLONE(REPLACE, NR, 0, 1));
		EXPECT_EQ(-EOVERFLOW, CLONE(REPLACE, UINT32_MAX, 0, 1));
		EXPECT_EQ(-EOVERFLOW, CLONE(REPLACE, 0, UINT32_MAX, 1));
		EXPECT_EQ(-EINVAL, CLONE(REPLACE, 0, 16384, 1));
		EXPECT_EQ(-EINVAL, CLONE(REPLACE, 0, 16383, 2));
		if (!i) {
			SLOTS();
			EXPECT_EQ(0, CLONE(0, 0, 0, 1));
		}
	}
	SLOTS(0);
	EXPECT_EQ(0, CLONE(REPLACE, 0, 16383, 1));
	EXPECT_EQ(0, piece(&self->dst, self->fd, self->mem, 16383));
}

TEST_F(clone, bad_arguments)
{
	struct io_uring_clone_buffers arg = { .src_fd = self->src.r.fd, .pad = { 0, 1 } };
	struct ring *r = &self->dst.r;
	struct ring other;
	int fds[2], i;

	ASSERT_EQ(0, ring_init(&other, !variant->backend, 8, 0));
	ASSERT_EQ(0, pipe(fds));
	for (i = 0; i < 2; i++) {
		/* A table that is in the way is seen first, but not before unknown flags. */
		int busy = i ? -EBUSY : 0;

		EXPECT_EQ(-EINVAL, ring_register(r, IORING_REGISTER_CLONE_BUFFERS, NULL, 1));
		EXPECT_EQ(-EINVAL, ring_register(r, IORING_REGISTER_CLONE_BUFFERS, &arg, 0));
		EXPECT_EQ(-EINVAL, ring_register(r, IORING_REGISTER_CLONE_BUFFERS, &arg, 2));
		EXPECT_EQ(-EFAULT, ring_register(r, IORING_REGISTER_CLONE_BUFFERS, (void *)8, 1));
		EXPECT_EQ(busy ?: -EINVAL,
			  ring_register(r, IORING_REGISTER_CLONE_BUFFERS, &arg, 1));
		EXPECT_EQ(-EINVAL, CLONE(4, 0, 0, 0));
		EXPECT_EQ(-EINVAL, CLONE(1u << 31, 0, 0, 0));
		EXPECT_EQ(busy ?: -EBADF, clone_args(&self->dst, -1, 0, 0, 0, 0));
		EXPECT_EQ(busy ?: -EOPNOTSUPP, clone_args(&self->dst, fds[0], 0, 0, 0, 0));
		EXPECT_EQ(busy ?: -EOPNOTSUPP, clone_args(&self->dst, other.fd, 0, 0, 0, 0));
		EXPECT_EQ(-EBADF, clone_args(&self->dst, -1, REPLACE, 0, 0, 0));
		EXPECT_EQ(-EINVAL, CLONE(REPLACE, 1, 0, 0));
		EXPECT_EQ(busy ?: -EINVAL, CLONE(0, 1, 0, 0));
		if (!i)
			EXPECT_EQ(0, CLONE(0, 0, 0, 0));
	}
	ring_exit(&other);
}

TEST_F(clone, registered_source)
{
	struct io_uring_rsrc_update up = { .offset = -1u, .data = self->src.r.fd };

	EXPECT_EQ(-EINVAL, clone_args(&self->dst, 16, IORING_REGISTER_SRC_REGISTERED, 0, 0, 0));
	ASSERT_EQ(1, ring_register(&self->src.r, IORING_REGISTER_RING_FDS, &up, 1));
	EXPECT_EQ(0, clone_args(&self->dst, up.offset, IORING_REGISTER_SRC_REGISTERED, 0, 0, 0));
	SLOTS(0, 1, -1, 3);
	EXPECT_EQ(-EBADF, clone_args(&self->dst, up.offset + 1,
				     REPLACE | IORING_REGISTER_SRC_REGISTERED, 0, 0, 0));
}

TEST_F(clone, tags)
{
	uint64_t tags[2] = { 100, 101 };
	struct iovec iov[2] = { { self->mem + 4 * LEN, LEN }, { self->mem + 5 * LEN, LEN } };
	struct io_uring_rsrc_register arg = {
		.nr = 2, .data = (unsigned long)iov, .tags = (unsigned long)tags,
	};
	struct io_uring_cqe cqe;
	struct ring *r = &self->dst.r;

	ASSERT_EQ(0, ring_register(r, IORING_REGISTER_BUFFERS2, &arg, sizeof(arg)));
	/* The one that is replaced is told, the other one stays as it is. */
	ASSERT_EQ(0, CLONE(REPLACE, 0, 0, 1));
	EXPECT_EQ(0, ring_enter(r, 0, 1, IORING_ENTER_GETEVENTS));
	ASSERT_TRUE(ring_cqe(r, &cqe));
	EXPECT_EQ(100, cqe.user_data);
	SLOTS(0, 5);
	EXPECT_EQ(0, ring_register(r, IORING_UNREGISTER_BUFFERS, NULL, 0));
	EXPECT_EQ(0, ring_enter(r, 0, 1, IORING_ENTER_GETEVENTS));
	ASSERT_TRUE(ring_cqe(r, &cqe));
	EXPECT_EQ(101, cqe.user_data);
	EXPECT_FALSE(ring_cqe(r, &cqe));
}

static void *clone_elsewhere(void *arg)
{
	struct io **io = arg;
	struct io own;

	if (io_init(&own, io[0]->r.backend, 8, 0, 0))
		return (void *)1ul;
	return (void *)(long)clone_args(&own, io[0]->r.fd, 0, 0, 0, 0);
}

TEST_F(clone, from_another_thread)
{
	struct io *io = &self->src;
	pthread_t thread;
	void *ret;

	/* The source must not be bound to somebody else. */
	ASSERT_EQ(0, pthread_create(&thread, NULL, clone_elsewhere, &io));
	ASSERT_EQ(0, pthread_join(thread, &ret));
	EXPECT_EQ(variant->flags & IORING_SETUP_SINGLE_ISSUER ? -EEXIST : 0, (long)ret);
}

TEST_F(clone, of_somebody_else)
{
	struct io own;
	int status;
	pid_t pid;

	if (variant->flags)
		SKIP(return, "bound to its task anyway");
	/* Another process. */
	pid = fork();
	if (!pid) {
		if (io_init(&own, variant->backend, 8, 0, 0))
			_exit(1);
		_exit(-clone_args(&own, self->src.r.fd, 0, 0, 0, 0));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(EINVAL, WEXITSTATUS(status));
	/* Another user: this one pays for what it locks. */
	ASSERT_EQ(0, chmod(RUST_URING_DEVICE, 0666));
	ASSERT_EQ(0, seteuid(65534));
	ASSERT_EQ(0, io_init(&own, variant->backend, 8, 0, 0));
	ASSERT_EQ(0, seteuid(0));
	EXPECT_EQ(-EINVAL, clone_args(&own, self->src.r.fd, 0, 0, 0, 0));
	ring_exit(&own.r);
}

FILES_MAIN
