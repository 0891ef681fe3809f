/* SPDX-License-Identifier: GPL-2.0 */
/* Groups of provided buffers, for the tests on them. */
#ifndef RUST_URING_SELFTEST_KBUF_H
#define RUST_URING_SELFTEST_KBUF_H

#include "files.h"

#define PAGE	4096

/* Groups in memory of ours and of the kernel; rings that defer, and rings with a thread. */
#define GROUP_VARIANTS(fixture)						\
	FIXTURE_VARIANT(fixture) {					\
		enum backend backend;					\
		unsigned int flags, group;				\
	};								\
	FIXTURE_VARIANT_ADD(fixture, device) { .backend = DEVICE };	\
	FIXTURE_VARIANT_ADD(fixture, native) { .backend = NATIVE };	\
	FIXTURE_VARIANT_ADD(fixture, device_mmap) {			\
		.backend = DEVICE, .group = IOU_PBUF_RING_MMAP };	\
	FIXTURE_VARIANT_ADD(fixture, native_mmap) {			\
		.backend = NATIVE, .group = IOU_PBUF_RING_MMAP };	\
	FIXTURE_VARIANT_ADD(fixture, device_defer) {			\
		.backend = DEVICE,					\
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };	\
	FIXTURE_VARIANT_ADD(fixture, native_defer) {			\
		.backend = NATIVE,					\
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };	\
	FIXTURE_VARIANT_ADD(fixture, device_sqpoll) {			\
		.backend = DEVICE, .flags = IORING_SETUP_SQPOLL,	\
		.group = IOU_PBUF_RING_MMAP };				\
	FIXTURE_VARIANT_ADD(fixture, native_sqpoll) {			\
		.backend = NATIVE, .flags = IORING_SETUP_SQPOLL,	\
		.group = IOU_PBUF_RING_MMAP }

/* A group that is a ring in memory, and the memory of its buffers. */
struct group {
	struct io_uring_buf_ring *ring;
	unsigned int entries;
	unsigned short bgid;
	char *memory;
	unsigned int size;	/* of one buffer */
};

static __maybe_unused size_t group_bytes(unsigned int entries)
{
	return (entries * sizeof(struct io_uring_buf) + PAGE - 1) & ~(PAGE - 1ul);
}

static __maybe_unused int pbuf(struct ring *r, unsigned int opcode, unsigned short bgid,
			       unsigned int entries, void *memory, unsigned int flags)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (unsigned long)memory,
		.ring_entries = entries,
		.bgid = bgid,
		.flags = flags,
	};

	return ring_register(r, opcode, &reg, 1);
}

static __maybe_unused int pbuf_register(struct ring *r, unsigned short bgid, unsigned int entries,
					void *memory, unsigned int flags)
{
	return pbuf(r, IORING_REGISTER_PBUF_RING, bgid, entries, memory, flags);
}

static __maybe_unused int pbuf_unregister(struct ring *r, unsigned short bgid)
{
	return pbuf(r, IORING_UNREGISTER_PBUF_RING, bgid, 0, NULL, 0);
}

/* The head of a group, or a negative errno. */
static __maybe_unused int pbuf_head(struct ring *r, unsigned int bgid)
{
	struct io_uring_buf_status status = { .buf_group = bgid, .head = 0xdeadbeef };
	int ret = ring_register(r, IORING_REGISTER_PBUF_STATUS, &status, 1);

	return ret ? ret : (int)status.head;
}

static __maybe_unused void *pbuf_map(int fd, unsigned short bgid, size_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
		    IORING_OFF_PBUF_RING | (off_t)bgid << IORING_OFF_PBUF_SHIFT);
}

/* Shows the kernel one more buffer. */
static __maybe_unused void group_add(struct group *g, void *addr, unsigned int len,
				     unsigned short bid)
{
	struct io_uring_buf *buf = &g->ring->bufs[g->ring->tail & (g->entries - 1)];

	buf->addr = (unsigned long)addr;
	buf->len = len;
	buf->bid = bid;
	store_release(&g->ring->tail, g->ring->tail + 1);
}

/* The memory of a buffer. */
static __maybe_unused char *group_buf(struct group *g, unsigned int bid)
{
	return g->memory + bid * g->size;
}

/* A group in memory of ours, or of the kernel's, with no buffers in it. */
static __maybe_unused int group_init(struct group *g, struct ring *r, unsigned short bgid,
				     unsigned int entries, unsigned int size, unsigned int flags)
{
	void *memory = NULL;
	int ret;

	g->entries = entries;
	g->bgid = bgid;
	g->size = size;
	g->memory = pages(entries * size);
	if (!(flags & IOU_PBUF_RING_MMAP))
		memory = pages(group_bytes(entries));
	ret = pbuf_register(r, bgid, entries, memory, flags);
	if (!ret && (flags & IOU_PBUF_RING_MMAP)) {
		memory = pbuf_map(r->fd, bgid, group_bytes(entries));
		if (memory == MAP_FAILED)
			return -errno;
	}
	g->ring = memory;
	return ret;
}

/* Buffers with the numbers from @first on. */
static __maybe_unused void group_fill(struct group *g, unsigned int first, unsigned int nr)
{
	while (nr--) {
		group_add(g, group_buf(g, first), g->size, first);
		first++;
	}
}

/* PROVIDE_BUFFERS */
static __maybe_unused struct io_uring_sqe *provide(struct io *io, unsigned short bgid,
						   const void *addr, unsigned int len,
						   unsigned int nr, uint64_t bid)
{
	struct io_uring_sqe *sqe = prep(io, IORING_OP_PROVIDE_BUFFERS, nr, addr, len, bid);

	sqe->buf_group = bgid;
	return sqe;
}

/* REMOVE_BUFFERS */
static __maybe_unused struct io_uring_sqe *take_out(struct io *io, unsigned short bgid,
						    unsigned int nr)
{
	struct io_uring_sqe *sqe = prep(io, IORING_OP_REMOVE_BUFFERS, nr, NULL, 0, 0);

	sqe->buf_group = bgid;
	return sqe;
}

/* A read whose buffer is chosen. */
static __maybe_unused struct io_uring_sqe *select_read(struct io *io, int fd, unsigned int len,
						       uint64_t off, unsigned short bgid)
{
	struct io_uring_sqe *sqe = prep(io, IORING_OP_READ, fd, NULL, len, off);

	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = bgid;
	return sqe;
}

/* READ_MULTISHOT */
static __maybe_unused struct io_uring_sqe *multishot(struct io *io, int fd, unsigned short bgid)
{
	struct io_uring_sqe *sqe = select_read(io, fd, 0, -1, bgid);

	sqe->opcode = IORING_OP_READ_MULTISHOT;
	return sqe;
}

/* The flags of a CQE with this buffer. */
static __maybe_unused unsigned int buffer(unsigned int bid)
{
	return IORING_CQE_F_BUFFER | bid << IORING_CQE_BUFFER_SHIFT;
}

/* The next CQE, which comes within ten seconds though nobody waits in an enter. */
static __maybe_unused bool soon(struct ring *r, struct io_uring_cqe *cqe)
{
	bool defers = r->p.flags & IORING_SETUP_DEFER_TASKRUN;
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 10000000000ull;

	while (!ring_cqe(r, cqe)) {
		if (now_ns(CLOCK_MONOTONIC) > limit)
			return false;
		/* Natively a signal to the task would do. What found no room needs an enter. */
		if (defers || r->backend == NATIVE || (r->p.flags & IORING_SETUP_IOPOLL) ||
		    (load_acquire(r->sq_flags) & IORING_SQ_CQ_OVERFLOW))
			ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS);
		usleep(500);
	}
	return true;
}

/* No CQE comes. */
static __maybe_unused bool quiet(struct ring *r)
{
	usleep(20000);
	ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS);
	return !ring_ready(r);
}

#define SUBMIT(nr)	ASSERT_EQ(nr, ring_submit(self->r, 0))

#define EXPECT_CQE(result, cqe_flags) do {				\
	struct io_uring_cqe __cqe;					\
									\
	ASSERT_TRUE(soon(self->r, &__cqe));				\
	EXPECT_EQ(result, __cqe.res);					\
	EXPECT_EQ(cqe_flags, __cqe.flags);				\
} while (0)

#define EXPECT_QUIET()	EXPECT_TRUE(quiet(self->r))

/* What one request comes to. */
#define EXPECT_RUN(result, cqe_flags) do {				\
	SUBMIT(1);							\
	EXPECT_CQE(result, cqe_flags);					\
} while (0)

#endif
