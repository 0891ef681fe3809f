// SPDX-License-Identifier: GPL-2.0
/* READ_MULTISHOT: one request that reads as often as there is data. */
#include "kbuf.h"
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include "kselftest_harness.h"

#define SIZE	64
#define NR	16
#define MORE	IORING_CQE_F_MORE

FIXTURE(multi) {
	struct io io;
	struct ring *r;
	struct group g;
	int p[2];
};

RING_VARIANTS(multi);

FIXTURE_SETUP(multi)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, variant->flags, 0));
	self->r = &self->io.r;
	ASSERT_EQ(0, group_init(&self->g, self->r, 7, NR, SIZE, 0));
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC));
}

FIXTURE_TEARDOWN(multi)
{
	ring_exit(self->r);
}

#define PUT(text)	ASSERT_EQ(strlen(text), write(self->p[1], text, strlen(text)))
#define EXPECT_DATA(bid, text)						\
	EXPECT_EQ(0, memcmp(group_buf(&self->g, bid), text, strlen(text)))
#define EXPECT_HEAD(nr)		EXPECT_EQ(nr, pbuf_head(self->r, 7))

/* Cancels everything with the user data of most requests. */
#define CANCEL() do {							\
	prep(&self->io, IORING_OP_ASYNC_CANCEL, -1, (void *)4711, 0, 0)->flags |=	\
		IOSQE_CQE_SKIP_SUCCESS;					\
	SUBMIT(1);							\
} while (0)

TEST_F(multi, wrong)
{
	struct io_uring_sqe *sqe;
	int file = new_file(0, PAGE), null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	group_fill(&self->g, 0, 2);
	PUT("data");
	multishot(&self->io, self->p[0], 7)->flags = 0;
	EXPECT_RUN(-EINVAL, 0);
	multishot(&self->io, self->p[0], 7)->addr = 8;
	EXPECT_RUN(-EINVAL, 0);
	multishot(&self->io, self->p[0], 7)->len = 8;
	EXPECT_RUN(-EINVAL, 0);
	multishot(&self->io, self->p[0], 7)->ioprio = 1;
	EXPECT_RUN(-EINVAL, 0);
	multishot(&self->io, self->p[0], 7)->attr_type_mask = 2;
	EXPECT_RUN(-EINVAL, 0);
	multishot(&self->io, self->p[0], 7)->rw_flags = 1u << 30;
	EXPECT_RUN(-EOPNOTSUPP, 0);
	multishot(&self->io, 12345, 7);
	EXPECT_RUN(-EBADF, 0);
	multishot(&self->io, file, 7);
	EXPECT_RUN(-EBADFD, 0);
	multishot(&self->io, null, 7);
	EXPECT_RUN(-EBADFD, 0);
	multishot(&self->io, file, 7)->flags |= IOSQE_ASYNC;
	EXPECT_RUN(-EBADFD, 0);
	multishot(&self->io, self->p[1], 7);
	EXPECT_RUN(-EBADF, 0);
	multishot(&self->io, self->p[0], 8);
	EXPECT_RUN(-ENOBUFS, 0);
	sqe = multishot(&self->io, self->p[0], 7);
	sqe->flags |= 1 << 7;
	EXPECT_RUN(-EINVAL, 0);
	EXPECT_HEAD(0);
}

TEST_F(multi, goes_on)
{
	group_fill(&self->g, 0, 4);
	multishot(&self->io, self->p[0], 7);
	SUBMIT(1);
	EXPECT_QUIET();
	EXPECT_HEAD(0);
	PUT("one");
	EXPECT_CQE(3, buffer(0) | MORE);
	PUT("two");
	EXPECT_CQE(3, buffer(1) | MORE);
	EXPECT_DATA(0, "one");
	EXPECT_DATA(1, "two");
	EXPECT_QUIET();
	EXPECT_HEAD(2);
	PUT("three");
	EXPECT_CQE(5, buffer(2) | MORE);
	CANCEL();
	EXPECT_CQE(-ECANCELED, 0);
	PUT("four");
	EXPECT_QUIET();
	EXPECT_HEAD(3);
}

/* What is there already, and more than a buffer has room for. */
TEST_F(multi, what_is_there)
{
	char data[4 * SIZE];
	int i;

	fill(data, sizeof(data), 3);
	group_fill(&self->g, 0, 8);
	ASSERT_EQ((int)sizeof(data), write(self->p[1], data, sizeof(data)));
	multishot(&self->io, self->p[0], 7);
	SUBMIT(1);
	for (i = 0; i < 4; i++)
		EXPECT_CQE(SIZE, buffer(i) | MORE);
	EXPECT_EQ(0, memcmp(self->g.memory, data, sizeof(data)));
	EXPECT_QUIET();
	PUT("more");
	EXPECT_CQE(4, buffer(4) | MORE);
}

/* Buffers of different sizes: each is used for what it has. */
TEST_F(multi, sizes)
{
	group_add(&self->g, group_buf(&self->g, 0), 2, 0);
	group_add(&self->g, group_buf(&self->g, 1), 30, 1);
	multishot(&self->io, self->p[0], 7);
	SUBMIT(1);
	EXPECT_QUIET();
	PUT("abcdefgh");
	EXPECT_CQE(2, buffer(0) | MORE);
	EXPECT_CQE(6, buffer(1) | MORE);
	EXPECT_DATA(1, "cdefgh");
}

TEST_F(multi, end_of_file)
{
	group_fill(&self->g, 0, 4);
	multishot(&self->io, self->p[0], 7);
	SUBMIT(1);
	EXPECT_QUIET();
	PUT("last");
	close(self->p[1]);
	EXPECT_CQE(4, buffer(0) | MORE);
	EXPECT_CQE(0, 0);
	EXPECT_HEAD(1);
	multishot(&self->io, self->p[0], 7);
	EXPECT_RUN(0, 0);
	EXPECT_HEAD(1);
}

TEST_F(multi, no_more_buffers)
{
	group_fill(&self->g, 0, 2);
	multishot(&self->io, self->p[0], 7);
	SUBMIT(1);
	PUT("a");
	EXPECT_CQE(1, buffer(0) | MORE);
	PUT("b");
	EXPECT_CQE(1, buffer(1) | MORE);
	EXPECT_QUIET();
	PUT("c");
	EXPECT_CQE(-ENOBUFS, 0);
	/* The data is not lost. */
	group_fill(&self->g, 2, 2);
	multishot(&self->io, self->p[0], 7);
	SUBMIT(1);
	EXPECT_CQE(1, buffer(2) | MORE);
	EXPECT_DATA(2, "c");
}

/* The memory of a buffer is not there: it ends, and the buffer is not used. */
TEST_F(multi, bad_memory)
{
	group_fill(&self->g, 0, 1);
	group_add(&self->g, before_hole(PAGE) + PAGE, SIZE, 1);
	multishot(&self->io, self->p[0], 7);
	SUBMIT(1);
	PUT("a");
	EXPECT_CQE(1, buffer(0) | MORE);
	PUT("b");
	EXPECT_CQE(-EFAULT, 0);
	EXPECT_HEAD(1);
}

/* The CQ is full: it ends there, with that buffer, and nothing is lost. */
TEST_F(multi, full_cq)
{
	struct io_uring_cqe cqe;
	unsigned int i, nr = 0;

	ring_exit(self->r);
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 2, variant->flags, 0));
	ASSERT_EQ(4, self->r->p.cq_entries);
	ASSERT_EQ(0, pbuf_register(self->r, 7, NR, self->g.ring, 0));
	group_fill(&self->g, 0, 10);
	for (i = 0; i < 8; i++)
		PUT("0123456789012345678901234567890123456789012345678901234567890123");
	multishot(&self->io, self->p[0], 7);
	ASSERT_EQ(1, ring_submit(self->r, 4));
	while (soon(self->r, &cqe)) {
		EXPECT_EQ(SIZE, cqe.res);
		EXPECT_EQ(buffer(nr), cqe.flags & ~MORE);
		nr++;
		if (!(cqe.flags & MORE))
			break;
	}
	EXPECT_EQ(5, nr);
	EXPECT_HEAD(5);
	EXPECT_EQ(0, *self->r->cq_overflow);
	EXPECT_QUIET();
}

TEST_F(multi, list)
{
	provide(&self->io, 9, group_buf(&self->g, 0), SIZE, 3, 10);
	EXPECT_RUN(0, 0);
	multishot(&self->io, self->p[0], 9);
	SUBMIT(1);
	EXPECT_QUIET();
	/* One that waits has none. */
	take_out(&self->io, 9, 1);
	EXPECT_RUN(1, 0);
	PUT("one");
	EXPECT_CQE(3, buffer(11) | MORE);
	PUT("two");
	EXPECT_CQE(3, buffer(12) | MORE);
	EXPECT_QUIET();
	provide(&self->io, 9, group_buf(&self->g, 5), SIZE, 1, 5);
	EXPECT_RUN(0, 0);
	PUT("three");
	EXPECT_CQE(5, buffer(5) | MORE);
	EXPECT_DATA(5, "three");
	PUT("four");
	EXPECT_CQE(-ENOBUFS, 0);
}

TEST_F(multi, bit_by_bit)
{
	struct group g;

	ASSERT_EQ(0, group_init(&g, self->r, 8, NR, SIZE, IOU_PBUF_RING_INC));
	group_fill(&g, 0, 1);
	multishot(&self->io, self->p[0], 8);
	SUBMIT(1);
	EXPECT_QUIET();
	PUT("abc");
	EXPECT_CQE(3, buffer(0) | MORE | IORING_CQE_F_BUF_MORE);
	PUT("def");
	EXPECT_CQE(3, buffer(0) | MORE | IORING_CQE_F_BUF_MORE);
	EXPECT_EQ(0, memcmp(g.memory, "abcdef", 7));
	EXPECT_EQ(SIZE - 6, g.ring->bufs[0].len);
	EXPECT_EQ(0, pbuf_head(self->r, 8));
	PUT("0123456789012345678901234567890123456789012345678901234567");
	EXPECT_CQE(58, buffer(0) | MORE);
	EXPECT_EQ(1, pbuf_head(self->r, 8));
}

/* A chain goes on when it has ended. */
TEST_F(multi, links)
{
	group_fill(&self->g, 0, 2);
	multishot(&self->io, self->p[0], 7)->flags |= IOSQE_IO_LINK;
	ring_nop(self->r, 5);
	SUBMIT(2);
	PUT("a");
	EXPECT_CQE(1, buffer(0) | MORE);
	EXPECT_QUIET();
	close(self->p[1]);
	EXPECT_CQE(0, 0);
	EXPECT_CQE(0, 0);
}

TEST_F(multi, chain_breaks)
{
	multishot(&self->io, self->p[0], 7)->flags |= IOSQE_IO_LINK;
	ring_nop(self->r, 5);
	PUT("a");
	SUBMIT(2);
	EXPECT_CQE(-ENOBUFS, 0);
	EXPECT_CQE(-ECANCELED, 0);
}

TEST_F(multi, linked_timeout)
{
	struct __kernel_timespec ts = { .tv_nsec = 50000000 };
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	int i, seen = 0;

	group_fill(&self->g, 0, 2);
	multishot(&self->io, self->p[0], 7)->flags |= IOSQE_IO_LINK;
	sqe = prep(&self->io, IORING_OP_LINK_TIMEOUT, -1, &ts, 1, 0);
	sqe->user_data = 5;
	SUBMIT(2);
	for (i = 0; i < 2; i++) {
		ASSERT_TRUE(soon(self->r, &cqe));
		seen |= 1 << (cqe.user_data == 5);
		EXPECT_EQ(cqe.user_data == 5 ? -ETIME : -ECANCELED, cqe.res);
		EXPECT_EQ(0, cqe.flags);
	}
	EXPECT_EQ(3, seen);
	EXPECT_HEAD(0);
}

/* Only the last CQE can be left out. */
TEST_F(multi, skip)
{
	group_fill(&self->g, 0, 2);
	multishot(&self->io, self->p[0], 7)->flags |= IOSQE_CQE_SKIP_SUCCESS;
	SUBMIT(1);
	PUT("a");
	EXPECT_CQE(1, buffer(0) | MORE);
	close(self->p[1]);
	EXPECT_QUIET();
}

TEST_F(multi, two_on_one_file)
{
	struct io_uring_cqe cqe;
	unsigned int bytes = 0, seen = 0;
	int i;

	group_fill(&self->g, 0, NR);
	multishot(&self->io, self->p[0], 7)->user_data = 1;
	multishot(&self->io, self->p[0], 7)->user_data = 2;
	SUBMIT(2);
	for (i = 0; i < 8; i++) {
		PUT("x");
		ASSERT_TRUE(soon(self->r, &cqe));
		bytes += cqe.res;
		EXPECT_EQ(IORING_CQE_F_BUFFER | MORE, cqe.flags & 0xffff);
		EXPECT_EQ(0, seen & 1 << (cqe.flags >> 16));
		seen |= 1 << (cqe.flags >> 16);
	}
	EXPECT_EQ(8, bytes);
	EXPECT_HEAD(8);
}

TEST_F(multi, registered_file)
{
	struct io_uring_sqe *sqe;

	ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_FILES, &self->p[0], 1));
	group_fill(&self->g, 0, 2);
	sqe = multishot(&self->io, 0, 7);
	sqe->flags |= IOSQE_FIXED_FILE;
	SUBMIT(1);
	EXPECT_QUIET();
	ASSERT_EQ(0, ring_register(self->r, IORING_UNREGISTER_FILES, NULL, 0));
	PUT("a");
	EXPECT_CQE(1, buffer(0) | MORE);
}

/* A worker has it armed, for the submitter; who cannot be asked without blocking reads once. */
TEST_F(multi, in_a_worker)
{
	int master, slave;

	group_fill(&self->g, 0, 8);
	multishot(&self->io, self->p[0], 7)->flags |= IOSQE_ASYNC;
	SUBMIT(1);
	EXPECT_QUIET();
	PUT("a");
	EXPECT_CQE(1, buffer(0) | MORE);
	PUT("b");
	EXPECT_CQE(1, buffer(1) | MORE);
	CANCEL();
	EXPECT_CQE(-ECANCELED, 0);
	PUT("c");
	multishot(&self->io, self->p[0], 7)->flags |= IOSQE_ASYNC;
	SUBMIT(1);
	EXPECT_CQE(1, buffer(2) | MORE);
	PUT("d");
	EXPECT_CQE(1, buffer(3) | MORE);
	EXPECT_HEAD(4);

	ASSERT_EQ(0, openpty(&master, &slave, NULL, NULL, NULL));
	multishot(&self->io, slave, 7)->flags |= IOSQE_ASYNC;
	ASSERT_EQ(3, write(master, "hi\n", 3));
	SUBMIT(1);
	EXPECT_CQE(3, buffer(4));
	EXPECT_DATA(4, "hi\n");
}

/* Terminals cannot be told not to block. */
TEST_F(multi, terminal)
{
	int master, slave;

	group_fill(&self->g, 0, 4);
	ASSERT_EQ(0, openpty(&master, &slave, NULL, NULL, NULL));
	multishot(&self->io, slave, 7);
	SUBMIT(1);
	EXPECT_QUIET();
	ASSERT_EQ(4, write(master, "one\n", 4));
	EXPECT_CQE(4, buffer(0) | MORE);
	ASSERT_EQ(4, write(master, "two\n", 4));
	EXPECT_CQE(4, buffer(1) | MORE);
	EXPECT_DATA(0, "one\n");
	EXPECT_DATA(1, "two\n");
	CANCEL();
	EXPECT_CQE(-ECANCELED, 0);
}

TEST_F(multi, other_files)
{
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), s[2];
	uint64_t one = 1;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
	group_fill(&self->g, 0, 6);
	multishot(&self->io, event, 7)->user_data = 1;
	multishot(&self->io, s[0], 7)->user_data = 2;
	SUBMIT(2);
	EXPECT_QUIET();
	ASSERT_EQ(8, write(event, &one, 8));
	EXPECT_CQE(8, buffer(0) | MORE);
	ASSERT_EQ(3, write(s[1], "abc", 3));
	EXPECT_CQE(3, buffer(1) | MORE);
	ASSERT_EQ(8, write(event, &one, 8));
	EXPECT_CQE(8, buffer(2) | MORE);
	close(s[1]);
	EXPECT_CQE(0, 0);
}

/* Who may not wait at all has it end when there is nothing. */
TEST_F(multi, nowait)
{
	group_fill(&self->g, 0, 4);
	multishot(&self->io, self->p[0], 7)->rw_flags = RWF_NOWAIT;
	EXPECT_RUN(-EAGAIN, 0);
	PUT("a");
	multishot(&self->io, self->p[0], 7)->rw_flags = RWF_NOWAIT;
	SUBMIT(1);
	EXPECT_CQE(1, buffer(0) | MORE);
	EXPECT_CQE(-EAGAIN, 0);
	EXPECT_HEAD(1);
}

/* A child writes as fast as it can, and we give back what we have seen. */
TEST_F(multi, stream)
{
	const unsigned int total = 100000;
	unsigned int got = 0, i, rounds = 0;
	unsigned char want = 0;
	bool armed = false;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		unsigned char data[97];
		unsigned int sent = 0;

		close(self->p[0]);
		while (sent < total) {
			unsigned int len = total - sent;

			if (len > sizeof(data))
				len = sizeof(data);
			for (i = 0; i < len; i++)
				data[i] = sent + i;
			if (write(self->p[1], data, len) != (int)len)
				_exit(1);
			sent += len;
		}
		_exit(0);
	}
	close(self->p[1]);
	group_fill(&self->g, 0, NR);
	for (;;) {
		struct io_uring_cqe cqe;
		unsigned char *buf;

		if (!armed) {
			multishot(&self->io, self->p[0], 7);
			SUBMIT(1);
			armed = true;
			rounds++;
		}
		ASSERT_TRUE(soon(self->r, &cqe));
		armed = cqe.flags & MORE;
		if (cqe.res == -ENOBUFS)
			continue;
		if (cqe.res <= 0) {
			EXPECT_EQ(0, cqe.res);
			break;
		}
		buf = (unsigned char *)group_buf(&self->g, cqe.flags >> 16);
		for (i = 0; i < (unsigned int)cqe.res; i++)
			ASSERT_EQ(want++, buf[i]);
		got += cqe.res;
		group_fill(&self->g, cqe.flags >> 16, 1);
	}
	EXPECT_EQ(total, got);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	TH_LOG("armed %u times", rounds);
}

FILES_MAIN
