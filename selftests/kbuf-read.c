// SPDX-License-Identifier: GPL-2.0
/* Reads whose buffer is chosen when there is data (IOSQE_BUFFER_SELECT). */
#include "kbuf.h"
#include <sys/eventfd.h>
#include <sys/socket.h>
#include "kselftest_harness.h"

#define SIZE	256
#define NR	8

FIXTURE(kbuf_read) {
	struct io io;
	struct ring *r;
	struct group g;
	int p[2];
};

GROUP_VARIANTS(kbuf_read);

FIXTURE_SETUP(kbuf_read)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 16, variant->flags, 0));
	self->r = &self->io.r;
	ASSERT_EQ(0, group_init(&self->g, self->r, 7, NR, SIZE, variant->group));
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC));
}

FIXTURE_TEARDOWN(kbuf_read)
{
	ring_exit(self->r);
}

/* Another group than the fixture's. */
static int other(struct group *g, struct ring *r, unsigned int flags)
{
	return group_init(g, r, 8, NR, SIZE, flags);
}

#define PUT(text)	ASSERT_EQ(strlen(text), write(self->p[1], text, strlen(text)))
#define EXPECT_DATA(bid, text)						\
	EXPECT_EQ(0, memcmp(group_buf(&self->g, bid), text, strlen(text)))
#define EXPECT_HEAD(nr)		EXPECT_EQ(nr, pbuf_head(self->r, 7))

TEST_F(kbuf_read, pipe_with_data)
{
	group_fill(&self->g, 0, 2);
	PUT("one");
	select_read(&self->io, self->p[0], 0, -1, 7);
	EXPECT_RUN(3, buffer(0));
	EXPECT_DATA(0, "one");
	EXPECT_HEAD(1);
	PUT("twofold");
	select_read(&self->io, self->p[0], 3, -1, 7);
	EXPECT_RUN(3, buffer(1));
	EXPECT_DATA(1, "two");
	EXPECT_EQ(0, group_buf(&self->g, 1)[3]);
	EXPECT_HEAD(2);
	/* No buffer is left; the data is. */
	select_read(&self->io, self->p[0], 0, -1, 7);
	EXPECT_RUN(-ENOBUFS, 0);
	group_fill(&self->g, 2, 1);
	select_read(&self->io, self->p[0], 1000, -1, 7);
	EXPECT_RUN(4, buffer(2));
	EXPECT_DATA(2, "fold");
}

/* It is chosen when the data comes. */
TEST_F(kbuf_read, pipe_that_waits)
{
	group_fill(&self->g, 3, 1);
	select_read(&self->io, self->p[0], 0, -1, 7);
	SUBMIT(1);
	EXPECT_QUIET();
	EXPECT_HEAD(0);
	/* So it can be another one, even another size. */
	self->g.ring->bufs[0].bid = 4;
	self->g.ring->bufs[0].addr = (unsigned long)group_buf(&self->g, 4);
	PUT("later");
	EXPECT_CQE(5, buffer(4));
	EXPECT_DATA(4, "later");
	EXPECT_HEAD(1);
}

/* Those that wait do not take anything from each other. */
TEST_F(kbuf_read, many_that_wait)
{
	int i;

	group_fill(&self->g, 0, 2);
	for (i = 0; i < 4; i++)
		select_read(&self->io, self->p[0], 4, -1, 7);
	SUBMIT(4);
	EXPECT_QUIET();
	EXPECT_HEAD(0);
	PUT("aaaa");
	EXPECT_CQE(4, buffer(0));
	EXPECT_QUIET();
	PUT("bbbb");
	EXPECT_CQE(4, buffer(1));
	EXPECT_DATA(0, "aaaa");
	EXPECT_DATA(1, "bbbb");
	EXPECT_HEAD(2);
	PUT("cccc");
	EXPECT_CQE(-ENOBUFS, 0);
}

TEST_F(kbuf_read, no_group)
{
	PUT("data");
	select_read(&self->io, self->p[0], 0, -1, 99);
	EXPECT_RUN(-ENOBUFS, 0);
	select_read(&self->io, self->p[0], 0, -1, 7);
	EXPECT_RUN(-ENOBUFS, 0);
	select_read(&self->io, 12345, 0, -1, 7);
	EXPECT_RUN(-EBADF, 0);
}

/* The group goes while a request waits. */
TEST_F(kbuf_read, group_goes)
{
	group_fill(&self->g, 0, 1);
	select_read(&self->io, self->p[0], 0, -1, 7);
	SUBMIT(1);
	EXPECT_QUIET();
	EXPECT_EQ(0, pbuf_unregister(self->r, 7));
	PUT("data");
	EXPECT_CQE(-ENOBUFS, 0);
}

/* A failure uses no buffer, if it is known that it is none. */
TEST_F(kbuf_read, wrong_direction)
{
	group_fill(&self->g, 0, 1);
	select_read(&self->io, self->p[1], 0, -1, 7);
	EXPECT_RUN(-EBADF, 0);
	EXPECT_HEAD(0);
	close(self->p[1]);
	select_read(&self->io, self->p[0], 0, -1, 7);
	/* Nothing was read, and that is a result. */
	EXPECT_RUN(0, buffer(0));
	EXPECT_HEAD(1);
}

TEST_F(kbuf_read, cancel)
{
	struct io_uring_sqe *sqe;

	group_fill(&self->g, 0, 1);
	select_read(&self->io, self->p[0], 0, -1, 7);
	SUBMIT(1);
	EXPECT_QUIET();
	sqe = prep(&self->io, IORING_OP_ASYNC_CANCEL, -1, (void *)4711, 0, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	SUBMIT(1);
	EXPECT_CQE(-ECANCELED, 0);
	EXPECT_HEAD(0);
}

TEST_F(kbuf_read, readv)
{
	struct iovec iov[2] = { { (void *)1, 4 }, { (void *)1, 4 } };

	group_fill(&self->g, 0, 3);
	PUT("abcdefgh");
	select_read(&self->io, self->p[0], 0, -1, 7)->opcode = IORING_OP_READV;
	EXPECT_RUN(-EINVAL, 0);
	select_read(&self->io, self->p[0], 2, -1, 7)->opcode = IORING_OP_READV;
	self->r->sqes[(self->r->sqe_tail - 1) & 15].addr = (unsigned long)iov;
	EXPECT_RUN(-EINVAL, 0);
	select_read(&self->io, self->p[0], 1, -1, 7)->opcode = IORING_OP_READV;
	EXPECT_RUN(-EFAULT, 0);
	iov[1].iov_len = -1;
	select_read(&self->io, self->p[0], 1, -1, 7)->opcode = IORING_OP_READV;
	self->r->sqes[(self->r->sqe_tail - 1) & 15].addr = (unsigned long)&iov[1];
	EXPECT_RUN(-EINVAL, 0);
	/* Only the length is looked at. */
	select_read(&self->io, self->p[0], 1, -1, 7)->opcode = IORING_OP_READV;
	self->r->sqes[(self->r->sqe_tail - 1) & 15].addr = (unsigned long)iov;
	EXPECT_RUN(4, buffer(0));
	EXPECT_DATA(0, "abcd");
	iov[0].iov_len = 0;
	select_read(&self->io, self->p[0], 1, -1, 7)->opcode = IORING_OP_READV;
	self->r->sqes[(self->r->sqe_tail - 1) & 15].addr = (unsigned long)iov;
	EXPECT_RUN(4, buffer(1));
	EXPECT_DATA(1, "efgh");
}

/* What takes no buffer says so. */
TEST_F(kbuf_read, others_refuse)
{
	const int ops[] = {
		IORING_OP_WRITE, IORING_OP_WRITEV, IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED,
		IORING_OP_READV_FIXED, IORING_OP_WRITEV_FIXED, IORING_OP_FSYNC,
		IORING_OP_POLL_ADD, IORING_OP_NOP, IORING_OP_OPENAT, IORING_OP_TIMEOUT,
		IORING_OP_ASYNC_CANCEL,
	};
	int i;

	group_fill(&self->g, 0, 1);
	for (i = 0; i < (int)(sizeof(ops) / sizeof(*ops)); i++) {
		select_read(&self->io, self->p[0], 0, 0, 7)->opcode = ops[i];
		EXPECT_RUN(-EOPNOTSUPP, 0);
	}
	EXPECT_HEAD(0);
}

/* A worker takes it for good, and keeps it while it waits. */
TEST_F(kbuf_read, forced_into_a_worker)
{
	int i;

	group_fill(&self->g, 0, 2);
	PUT("here");
	select_read(&self->io, self->p[0], 0, -1, 7)->flags |= IOSQE_ASYNC;
	EXPECT_RUN(4, buffer(0));
	EXPECT_DATA(0, "here");
	select_read(&self->io, self->p[0], 0, -1, 7)->flags |= IOSQE_ASYNC;
	SUBMIT(1);
	for (i = 0; i < 5000 && pbuf_head(self->r, 7) != 2; i++)
		usleep(1000);
	EXPECT_HEAD(2);
	EXPECT_QUIET();
	PUT("later");
	EXPECT_CQE(5, buffer(1));
	EXPECT_DATA(1, "later");
}

/* It goes with a request that is cancelled then, and the application is told. */
TEST_F(kbuf_read, cancelled_with_a_buffer)
{
	struct io_uring_sqe *sqe;
	int i;

	group_fill(&self->g, 5, 1);
	select_read(&self->io, self->p[0], 0, -1, 7)->flags |= IOSQE_ASYNC;
	SUBMIT(1);
	for (i = 0; i < 5000 && pbuf_head(self->r, 7) != 1; i++)
		usleep(1000);
	EXPECT_QUIET();
	sqe = prep(&self->io, IORING_OP_ASYNC_CANCEL, -1, (void *)4711, 0, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	SUBMIT(1);
	EXPECT_CQE(-ECANCELED, buffer(5));
	EXPECT_HEAD(1);
}

TEST_F(kbuf_read, nonblocking)
{
	group_fill(&self->g, 0, 1);
	select_read(&self->io, self->p[0], 0, -1, 7)->rw_flags = RWF_NOWAIT;
	EXPECT_RUN(-EAGAIN, 0);
	EXPECT_HEAD(0);
}

/* Short reads break chains, as they do without. */
TEST_F(kbuf_read, links)
{
	group_fill(&self->g, 0, 4);
	PUT("abcd");
	select_read(&self->io, self->p[0], 2, -1, 7)->flags |= IOSQE_IO_LINK;
	select_read(&self->io, self->p[0], 0, -1, 7)->flags |= IOSQE_IO_LINK;
	select_read(&self->io, self->p[0], 0, -1, 7);
	SUBMIT(3);
	EXPECT_CQE(2, buffer(0));
	EXPECT_CQE(2, buffer(1));
	EXPECT_CQE(-ECANCELED, 0);
	EXPECT_HEAD(2);
}

/* A buffer is used bit by bit. */
TEST_F(kbuf_read, bit_by_bit)
{
	struct group g;

	ASSERT_EQ(0, other(&g, self->r, IOU_PBUF_RING_INC));
	group_add(&g, group_buf(&g, 0), 10, 21);
	group_add(&g, group_buf(&g, 1), SIZE, 22);
	PUT("abcdefghijklmnop");
	select_read(&self->io, self->p[0], 4, -1, 8);
	EXPECT_RUN(4, buffer(21) | IORING_CQE_F_BUF_MORE);
	EXPECT_EQ(0, pbuf_head(self->r, 8));
	EXPECT_EQ((unsigned long)group_buf(&g, 0) + 4, g.ring->bufs[0].addr);
	EXPECT_EQ(6, g.ring->bufs[0].len);
	/* No more than what is left of it. */
	select_read(&self->io, self->p[0], 0, -1, 8);
	EXPECT_RUN(6, buffer(21));
	EXPECT_EQ(0, memcmp(group_buf(&g, 0), "abcdefghij", 11));
	EXPECT_EQ(1, pbuf_head(self->r, 8));
	EXPECT_EQ(0, g.ring->bufs[0].len);
	select_read(&self->io, self->p[0], 0, -1, 8);
	EXPECT_RUN(6, buffer(22) | IORING_CQE_F_BUF_MORE);
	close(self->p[1]);
	select_read(&self->io, self->p[0], 0, -1, 8);
	EXPECT_RUN(0, buffer(22) | IORING_CQE_F_BUF_MORE);
	EXPECT_EQ(1, pbuf_head(self->r, 8));
	EXPECT_EQ(SIZE - 6, g.ring->bufs[1].len);
}

/* What is less than that is left over. */
TEST_F(kbuf_read, least_that_is_left)
{
	struct io_uring_buf_reg reg = {
		.ring_entries = NR, .bgid = 8, .flags = IOU_PBUF_RING_INC, .min_left = 100,
	};
	struct group g = { .entries = NR, .size = SIZE };

	g.memory = pages(NR * SIZE);
	g.ring = pages(PAGE);
	reg.ring_addr = (unsigned long)g.ring;
	ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_PBUF_RING, &reg, 1));
	group_fill(&g, 0, 2);
	PUT("abcdefghijklmnop");
	self->g.ring->bufs[0].len = 0;
	g.ring->bufs[0].len = 104;
	select_read(&self->io, self->p[0], 4, -1, 8);
	EXPECT_RUN(4, buffer(0) | IORING_CQE_F_BUF_MORE);
	EXPECT_EQ(100, g.ring->bufs[0].len);
	select_read(&self->io, self->p[0], 1, -1, 8);
	EXPECT_RUN(1, buffer(0));
	EXPECT_EQ(1, pbuf_head(self->r, 8));
}

/* Lists. */

#define LIST	33

#define PROVIDE(first, nr) do {						\
	provide(&self->io, LIST, group_buf(&self->g, first), SIZE, nr, first);	\
	EXPECT_RUN(0, 0);						\
} while (0)

/* How many buffers the list has, which it has no more then. */
#define EXPECT_LEFT(nr) do {						\
	take_out(&self->io, LIST, NR);					\
	EXPECT_RUN(nr, 0);						\
} while (0)

TEST_F(kbuf_read, list)
{
	PROVIDE(2, 2);
	PROVIDE(0, 1);
	PUT("onetwo");
	select_read(&self->io, self->p[0], 3, -1, LIST);
	EXPECT_RUN(3, buffer(2));
	EXPECT_DATA(2, "one");
	select_read(&self->io, self->p[0], 0, -1, LIST);
	EXPECT_RUN(3, buffer(3));
	EXPECT_DATA(3, "two");
	/* The one that waits keeps it. */
	select_read(&self->io, self->p[0], 0, -1, LIST);
	SUBMIT(1);
	EXPECT_QUIET();
	EXPECT_LEFT(0);
	PUT("three");
	EXPECT_CQE(5, buffer(0));
	EXPECT_DATA(0, "three");
	PUT("four");
	select_read(&self->io, self->p[0], 0, -1, LIST);
	EXPECT_RUN(-ENOBUFS, 0);
	PROVIDE(6, 1);
	select_read(&self->io, self->p[0], 0, -1, LIST)->flags |= IOSQE_ASYNC;
	EXPECT_RUN(4, buffer(6));
	EXPECT_DATA(6, "four");
}

TEST_F(kbuf_read, list_and_failures)
{
	struct io_uring_sqe *sqe;

	PROVIDE(0, 4);
	select_read(&self->io, self->p[1], 0, -1, LIST);
	EXPECT_RUN(-EBADF, buffer(0));
	select_read(&self->io, self->p[0], 0, -1, LIST);
	SUBMIT(1);
	EXPECT_QUIET();
	sqe = prep(&self->io, IORING_OP_ASYNC_CANCEL, -1, (void *)4711, 0, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	SUBMIT(1);
	EXPECT_CQE(-ECANCELED, buffer(1));
	select_read(&self->io, self->p[0], 0, -1, LIST)->rw_flags = RWF_NOWAIT;
	EXPECT_RUN(-EAGAIN, buffer(2));
	EXPECT_LEFT(1);
}

/* In the order of a chain: provided, used, provided again. */
TEST_F(kbuf_read, list_in_a_chain)
{
	int i;

	PUT("ab");
	for (i = 0; i < 2; i++) {
		provide(&self->io, LIST, group_buf(&self->g, 1), SIZE, 1, 1)->flags |=
			IOSQE_IO_LINK;
		select_read(&self->io, self->p[0], 1, -1, LIST)->flags |= IOSQE_IO_LINK;
	}
	take_out(&self->io, LIST, 1);
	SUBMIT(5);
	for (i = 0; i < 2; i++) {
		EXPECT_CQE(0, 0);
		EXPECT_CQE(1, buffer(1));
	}
	EXPECT_CQE(0, 0);
	EXPECT_DATA(1, "b");
}

/* The list becomes a ring while a request has one of its buffers. */
TEST_F(kbuf_read, list_goes)
{
	PROVIDE(0, 1);
	select_read(&self->io, self->p[0], 0, -1, LIST);
	SUBMIT(1);
	EXPECT_QUIET();
	ASSERT_EQ(0, pbuf_register(self->r, LIST, 8, NULL, IOU_PBUF_RING_MMAP));
	PUT("data");
	EXPECT_CQE(4, buffer(0));
	EXPECT_DATA(0, "data");
	EXPECT_EQ(0, pbuf_head(self->r, LIST));
}

/* The memory of a buffer is not there. */
TEST_F(kbuf_read, bad_memory)
{
	PUT("data");
	group_add(&self->g, before_hole(PAGE) + PAGE, SIZE, 1);
	select_read(&self->io, self->p[0], 0, -1, 7);
	EXPECT_RUN(-EFAULT, 0);
	EXPECT_HEAD(0);
	/* The kernel's is not for us: there is none to be had. */
	self->g.ring->bufs[0].addr = 1ull << 63;
	select_read(&self->io, self->p[0], 0, -1, 7);
	EXPECT_RUN(-ENOBUFS, 0);
	self->g.ring->bufs[0].addr = 0;
	select_read(&self->io, self->p[0], 0, -1, 7);
	EXPECT_RUN(-ENOBUFS, 0);
	EXPECT_HEAD(0);
	self->g.ring->bufs[0].addr = (unsigned long)group_buf(&self->g, 0);
	self->g.ring->bufs[0].len = 0;
	select_read(&self->io, self->p[0], 0, -1, 7);
	EXPECT_RUN(0, buffer(1));
	EXPECT_HEAD(1);
}

/* Other files that can be polled. */
TEST_F(kbuf_read, other_files)
{
	uint64_t one = 1;
	int event = eventfd(0, EFD_CLOEXEC), s[2];

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	group_fill(&self->g, 0, 3);
	select_read(&self->io, event, 0, -1, 7);
	SUBMIT(1);
	EXPECT_QUIET();
	EXPECT_HEAD(0);
	ASSERT_EQ(8, write(event, &one, 8));
	EXPECT_CQE(8, buffer(0));
	EXPECT_EQ(1, group_buf(&self->g, 0)[0]);
	select_read(&self->io, s[0], 0, -1, 7);
	SUBMIT(1);
	EXPECT_QUIET();
	ASSERT_EQ(5, write(s[1], "hello", 5));
	EXPECT_CQE(5, buffer(1));
	EXPECT_DATA(1, "hello");
	close(s[1]);
	select_read(&self->io, s[0], 0, -1, 7);
	EXPECT_RUN(0, buffer(2));
}

/* The ring is closed with all kinds of them under way. */
TEST_F(kbuf_read, closed_with_requests)
{
	group_fill(&self->g, 0, 4);
	PROVIDE(4, 2);
	select_read(&self->io, self->p[0], 0, -1, 7);
	select_read(&self->io, self->p[0], 0, -1, 7)->flags |= IOSQE_ASYNC;
	select_read(&self->io, self->p[0], 0, -1, LIST);
	select_read(&self->io, self->p[0], 0, -1, LIST)->flags |= IOSQE_ASYNC;
	multishot(&self->io, self->p[0], 7);
	multishot(&self->io, self->p[0], LIST);
	SUBMIT(6);
	ring_exit(self->r);
	ASSERT_EQ(0, ring_init(self->r, variant->backend, 8, variant->flags));
}

FILES_MAIN
