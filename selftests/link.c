// SPDX-License-Identifier: GPL-2.0
/* Chains: requests that run one after another, and what happens when one of them fails. */
#include "cqes.h"
#include <pthread.h>

#define LONG	1024

PIPE_FIXTURE(link, LONG, O_CLOEXEC);

/* A NOP with this result and these flags. */
static void nop(struct ring *r, uint64_t user_data, int res, unsigned int flags)
{
	struct io_uring_sqe *sqe = ring_nop(r, user_data);

	sqe->nop_flags = IORING_NOP_INJECT_RESULT;
	sqe->len = res;
	sqe->flags = flags;
}

static void bad(struct ring *r, uint64_t user_data, unsigned int flags)
{
	struct io_uring_sqe *sqe = ring_nop(r, user_data);

	sqe->opcode = 200;
	sqe->flags = flags;
}

/* Waits for so many CQEs. */
static int reap(struct ring *r, unsigned int nr)
{
	return ring_ready(r) < nr ? ring_enter(r, 0, nr, IORING_ENTER_GETEVENTS) : 0;
}

/* The CQEs, in this order: pairs of user data and result, and no others. */
#define EXPECT_CQES(...) do {							\
	const int want[][2] = { __VA_ARGS__ };					\
	struct io_uring_cqe cqe;						\
	unsigned int i;								\
										\
	ASSERT_EQ(0, reap(self->r, ARRAY_SIZE(want)));				\
	for (i = 0; i < ARRAY_SIZE(want); i++) {				\
		ASSERT_TRUE(ring_cqe(self->r, &cqe)) TH_LOG("CQE %u", i);	\
		EXPECT_EQ(want[i][0], cqe.user_data) TH_LOG("CQE %u", i);	\
		EXPECT_EQ(want[i][1], cqe.res) TH_LOG("CQE %u", i);		\
	}									\
	ring_enter(self->r, 0, 0, IORING_ENTER_GETEVENTS);			\
	EXPECT_EQ(0, ring_ready(self->r));					\
} while (0)

TEST_F(link, in_order)
{
	nop(self->r, 1, 11, IOSQE_IO_LINK);
	nop(self->r, 2, 12, IOSQE_IO_HARDLINK);
	nop(self->r, 3, 13, IOSQE_IO_LINK);
	nop(self->r, 4, 14, 0);
	EXPECT_EQ(4, ring_submit(self->r, 4));
	EXPECT_CQES({ 1, 11 }, { 2, 12 }, { 3, 13 }, { 4, 14 });
}

TEST_F(link, long_chain)
{
	struct io_uring_cqe cqe;
	int i;

	for (i = 0; i < LONG; i++)
		nop(self->r, i, i, i == LONG - 1 ? 0 : IOSQE_IO_LINK);
	EXPECT_EQ(LONG, ring_submit(self->r, LONG));
	ASSERT_EQ(0, reap(self->r, LONG));
	for (i = 0; i < LONG; i++) {
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		ASSERT_EQ(i, cqe.user_data);
		EXPECT_EQ(i, cqe.res);
	}
}

/* A long one that fails at its beginning. */
TEST_F(link, long_failure)
{
	struct io_uring_cqe cqe;
	int i;

	for (i = 0; i < LONG; i++)
		nop(self->r, i, i ? 0 : -EIO, i == LONG - 1 ? 0 : IOSQE_IO_LINK);
	EXPECT_EQ(LONG, ring_submit(self->r, LONG));
	ASSERT_EQ(0, reap(self->r, LONG));
	for (i = 0; i < LONG; i++) {
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		ASSERT_EQ(i, cqe.user_data);
		EXPECT_EQ(i ? -ECANCELED : -EIO, cqe.res);
	}
}

TEST_F(link, soft_failure)
{
	struct io_uring_cqe cqe;
	int seen[6] = {}, i;

	nop(self->r, 1, -EIO, IOSQE_IO_LINK);
	nop(self->r, 2, 0, IOSQE_IO_LINK);
	nop(self->r, 3, 0, IOSQE_IO_HARDLINK);
	nop(self->r, 4, 0, 0);
	nop(self->r, 5, 0, 0);
	EXPECT_EQ(5, ring_submit(self->r, 5));
	/* What is not in the chain goes on, whenever. */
	ASSERT_EQ(0, reap(self->r, 5));
	for (i = 0; i < 5; i++) {
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		if (cqe.user_data < 6)
			seen[cqe.user_data]++;
		EXPECT_EQ(cqe.user_data == 1 ? -EIO : cqe.user_data == 5 ? 0 : -ECANCELED, cqe.res);
	}
	for (i = 1; i < 6; i++)
		EXPECT_EQ(1, seen[i]);
}

TEST_F(link, failure_in_the_middle)
{
	nop(self->r, 1, 0, IOSQE_IO_LINK);
	nop(self->r, 2, -EIO, IOSQE_IO_LINK);
	nop(self->r, 3, 0, 0);
	EXPECT_EQ(3, ring_submit(self->r, 3));
	EXPECT_CQES({ 1, 0 }, { 2, -EIO }, { 3, -ECANCELED });
}

TEST_F(link, hard_failure)
{
	nop(self->r, 1, -EIO, IOSQE_IO_HARDLINK);
	nop(self->r, 2, -EAGAIN, IOSQE_IO_LINK);
	nop(self->r, 3, 0, 0);
	EXPECT_EQ(3, ring_submit(self->r, 3));
	EXPECT_CQES({ 1, -EIO }, { 2, -EAGAIN }, { 3, -ECANCELED });
}

/* An SQE in error makes the whole chain fail before anything of it runs, hard links or not. */
TEST_F(link, bad_in_the_middle)
{
	nop(self->r, 1, 0, IOSQE_IO_HARDLINK);
	bad(self->r, 2, IOSQE_IO_HARDLINK);
	nop(self->r, 3, 0, 0);
	EXPECT_EQ(3, ring_submit(self->r, 3));
	EXPECT_CQES({ 1, -ECANCELED }, { 2, -EINVAL }, { 3, -ECANCELED });
}

TEST_F(link, bad_first)
{
	bad(self->r, 1, IOSQE_IO_LINK);
	nop(self->r, 2, 0, IOSQE_IO_LINK);
	bad(self->r, 3, 0);
	nop(self->r, 4, 0, 0);
	SKIP_POLLED(self->r, "it goes on after an error");
	EXPECT_EQ(3, ring_submit(self->r, 3));
	EXPECT_CQES({ 1, -EINVAL }, { 2, -ECANCELED }, { 3, -EINVAL });
	EXPECT_EQ(1, ring_enter(self->r, 1, 1, IORING_ENTER_GETEVENTS));
	EXPECT_CQES({ 4, 0 });
}

/* The submission ends behind it, as with any SQE in error. */
TEST_F(link, bad_last)
{
	nop(self->r, 1, 0, IOSQE_IO_LINK);
	bad(self->r, 2, 0);
	nop(self->r, 3, 0, 0);
	SKIP_POLLED(self->r, "it goes on after an error");
	EXPECT_EQ(2, ring_submit(self->r, 2));
	EXPECT_CQES({ 1, -ECANCELED }, { 2, -EINVAL });
	EXPECT_EQ(1, ring_enter(self->r, 1, 1, IORING_ENTER_GETEVENTS));
	EXPECT_CQES({ 3, 0 });
}

/* A chain ends where the submission does. */
TEST_F(link, open_end)
{
	nop(self->r, 1, 0, IOSQE_IO_LINK);
	nop(self->r, 2, -EIO, IOSQE_IO_LINK);
	EXPECT_EQ(2, ring_submit(self->r, 2));
	EXPECT_CQES({ 1, 0 }, { 2, -EIO });
	nop(self->r, 3, 0, 0);
	EXPECT_EQ(1, ring_submit(self->r, 1));
	EXPECT_CQES({ 3, 0 });
}

TEST_F(link, skipped_success)
{
	nop(self->r, 1, 0, IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
	nop(self->r, 2, 0, IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
	nop(self->r, 3, 7, 0);
	EXPECT_EQ(3, ring_submit(self->r, 1));
	EXPECT_CQES({ 3, 7 });
}

/* The failure is told, and stands for those behind it. */
TEST_F(link, skipped_failure)
{
	nop(self->r, 1, -EIO, IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
	nop(self->r, 2, 0, IOSQE_IO_LINK);
	nop(self->r, 3, 0, 0);
	EXPECT_EQ(3, ring_submit(self->r, 1));
	EXPECT_CQES({ 1, -EIO });
}

TEST_F(link, failure_before_skipped)
{
	nop(self->r, 1, -EIO, IOSQE_IO_LINK);
	nop(self->r, 2, 0, IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
	nop(self->r, 3, 0, IOSQE_CQE_SKIP_SUCCESS);
	EXPECT_EQ(3, ring_submit(self->r, 3));
	EXPECT_CQES({ 1, -EIO }, { 2, -ECANCELED }, { 3, -ECANCELED });
}

/* Less than was asked for is no success. */
TEST_F(link, short_read)
{
	int fd = new_file(0, 10);
	struct io_uring_sqe *sqe;

	sqe = prep(&self->io, IORING_OP_READ, fd, self->in, 20, 0);
	sqe->flags |= IOSQE_IO_LINK;
	sqe->user_data = 1;
	nop(self->r, 2, 0, 0);
	EXPECT_EQ(2, ring_submit(self->r, 2));
	EXPECT_CQES({ 1, 10 }, { 2, -ECANCELED });
	sqe = prep(&self->io, IORING_OP_READ, fd, self->in, 20, 0);
	sqe->flags |= IOSQE_IO_HARDLINK;
	sqe->user_data = 3;
	nop(self->r, 4, 0, 0);
	EXPECT_EQ(2, ring_submit(self->r, 2));
	EXPECT_CQES({ 3, 10 }, { 4, 0 });
	close(fd);
}

TEST_F(link, bad_descriptor)
{
	prep(&self->io, IORING_OP_READ, -1, self->in, 20, 0)->flags |= IOSQE_IO_LINK;
	nop(self->r, 2, 0, 0);
	EXPECT_EQ(2, ring_submit(self->r, 2));
	EXPECT_CQES({ 4711, -EBADF }, { 2, -ECANCELED });
}

static void put_name(char *name)
{
	snprintf(name, 64, "%s/link.%d", files_dir, getpid());
}

/* The file of one request is that which the one before has opened. */
static void copy(struct __test_metadata *_metadata, struct io *io, const char *name, int fd,
		 bool slot, unsigned int flags)
{
	struct io_uring_sqe *sqe;

	sqe = prep(io, IORING_OP_OPENAT, AT_FDCWD, name, 0600, 0);
	sqe->open_flags = O_RDWR | O_CREAT;
	sqe->file_index = slot ? fd + 1 : 0;
	sqe->flags |= IOSQE_IO_LINK | flags;
	sqe->user_data = 1;
	sqe = prep(io, IORING_OP_WRITE, fd, "0123456789", 10, 0);
	sqe->flags |= IOSQE_IO_LINK | flags | (slot ? IOSQE_FIXED_FILE : 0);
	sqe->user_data = 2;
	sqe = prep(io, IORING_OP_READ, fd, NULL, 8, 2);
	sqe->flags |= IOSQE_IO_LINK | flags | (slot ? IOSQE_FIXED_FILE : 0);
	sqe->user_data = 3;
}

TEST_F(link, file_of_a_slot)
{
	const int none = -1;
	char name[64];
	struct io_uring_sqe *sqe;
	int i;

	put_name(name);
	ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_FILES, &none, 1));
	for (i = 0; i < 2; i++) {
		unsigned int first = self->r->sqe_tail;

		copy(_metadata, &self->io, name, 0, true, i ? IOSQE_ASYNC : 0);
		sqe = &self->r->sqes[(first + 2) & (LONG - 1)];
		sqe->addr = (unsigned long)self->in;
		sqe = prep(&self->io, IORING_OP_CLOSE, 0, NULL, 0, 0);
		sqe->file_index = 1;
		sqe->user_data = 4;
		memset(self->in, 0, sizeof(self->in));
		ASSERT_EQ(4, ring_submit(self->r, 4));
		EXPECT_CQES({ 1, 0 }, { 2, 10 }, { 3, 8 }, { 4, 0 });
		EXPECT_EQ(0, memcmp("23456789", self->in, 8));
	}
	unlink(name);
}

/* The same by descriptor: it is the lowest one, which the opening will get. */
TEST_F(link, file_of_a_descriptor)
{
	char name[64];
	struct io_uring_sqe *sqe;
	int i, fd;

	put_name(name);
	for (i = 0; i < 2; i++) {
		unsigned int first = self->r->sqe_tail;

		fd = lowest_fd();
		copy(_metadata, &self->io, name, fd, false, i ? IOSQE_ASYNC : 0);
		sqe = &self->r->sqes[(first + 2) & (LONG - 1)];
		sqe->addr = (unsigned long)self->in;
		sqe = prep(&self->io, IORING_OP_CLOSE, fd, NULL, 0, 0);
		sqe->user_data = 4;
		memset(self->in, 0, sizeof(self->in));
		ASSERT_EQ(4, ring_submit(self->r, 4));
		EXPECT_CQES({ 1, fd }, { 2, 10 }, { 3, 8 }, { 4, 0 });
		EXPECT_EQ(0, memcmp("23456789", self->in, 8));
		EXPECT_EQ(fd, lowest_fd());
	}
	unlink(name);
}

/* What is not in the chain does not wait for it. */
TEST_F(link, others_run)
{
	prep(&self->io, IORING_OP_READ, self->p[0], self->in, 1, 0)->flags |= IOSQE_IO_LINK;
	nop(self->r, 2, 0, 0);
	nop(self->r, 3, 0, 0);
	EXPECT_EQ(3, ring_submit(self->r, 1));
	EXPECT_CQES({ 3, 0 });
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	EXPECT_CQES({ 4711, 1 }, { 2, 0 });
}

/* A chain goes on although nobody enters the kernel for the ring. */
TEST_F(link, unattended)
{
	int fd = new_file(0, 64), out = new_file(0, 0), limit = 30000;
	struct io_uring_sqe *sqe;
	bool refused;

	if (variant->flags & IORING_SETUP_DEFER_TASKRUN)
		SKIP(return, "such a ring runs nothing by itself");
	ASSERT_EQ(2, pwrite(fd, "ab", 2, 0));
	sqe = prep(&self->io, IORING_OP_READ, self->p[0], self->in, 1, 0);
	sqe->flags |= IOSQE_IO_LINK;
	sqe->user_data = 1;
	sqe = prep(&self->io, IORING_OP_READ, fd, self->in, 64, 0);
	sqe->flags |= IOSQE_IO_LINK;
	sqe->user_data = 2;
	sqe = prep(&self->io, IORING_OP_WRITE, out, self->in, 64, 0);
	sqe->flags |= IOSQE_IO_LINK;
	sqe->user_data = 3;
	sqe = prep(&self->io, IORING_OP_CLOSE, out, NULL, 0, 0);
	sqe->user_data = 4;
	EXPECT_EQ(4, ring_submit(self->r, 0));
	EXPECT_EQ(0, ring_ready(self->r));
	ASSERT_EQ(1, write(self->p[1], "x", 1));
	/* Natively it takes a return to user space of ours, so there is one now and then. */
	while (ring_ready(self->r) < 4 && limit--)
		usleep(1000);
	/* If this process is not to be interrupted, nobody else can do the last one for it. */
	refused = ring_has_kernel_workers(self->r) && fcntl(out, F_GETFD) >= 0;
	EXPECT_CQES({ 1, 1 }, { 2, 64 }, { 3, 64 }, { 4, refused ? -EOPNOTSUPP : 0 });
	EXPECT_EQ(refused ? 0 : -1, close(out));
	EXPECT_EQ(0, memcmp("ab", self->in, 2));
	close(fd);
}

/* The ring goes, or the process, while a chain is under way. */
/* What is forced into a worker, of requests that workers have nothing to do with. */
TEST_F(link, unattended_and_forced)
{
	struct io_uring_sqe *sqe;
	int i;

	for (i = 0; i < 2; i++) {
		sqe = prep(&self->io, IORING_OP_READ, self->p[0], self->in, 1, 0);
		sqe->user_data = 1;
		sqe->flags |= IOSQE_IO_LINK;
		sqe = ring_nop(self->r, 2);
		sqe->flags = IOSQE_ASYNC;
		sqe->opcode = i ? IORING_OP_TIMEOUT : IORING_OP_TIMEOUT_REMOVE;
		sqe->addr = i ? 50000000 : 4711;
		sqe->len = i;
		sqe->timeout_flags = i ? IORING_TIMEOUT_IMMEDIATE_ARG : 0;
		EXPECT_EQ(2, ring_enter(self->r, ring_flush(self->r), 0, 0));
		ASSERT_EQ(1, write(self->p[1], "x", 1));
		/* Others than this process go on with the chain. */
		usleep(100000);
		EXPECT_CQES({ 1, 1 }, { 2, i ? -ETIME : -ENOENT });
	}
}

/* What follows a worker's request has its own file, found in the table of the submitter. */
TEST_F(link, unattended_behind_a_worker)
{
	struct io_uring_sqe *sqe;

	sqe = prep(&self->io, IORING_OP_READ, self->p[0], self->in, 1, 0);
	sqe->user_data = 1;
	sqe->flags |= IOSQE_IO_LINK;
	sqe = prep(&self->io, IORING_OP_POLL_ADD, self->p[0], NULL, 0, 0);
	sqe->poll32_events = POLLIN;
	sqe->user_data = 2;
	sqe->flags |= IOSQE_IO_LINK;
	sqe = prep(&self->io, IORING_OP_READ, self->p[0], self->in + 1, 1, 0);
	sqe->user_data = 3;
	EXPECT_EQ(3, ring_enter(self->r, ring_flush(self->r), 0, 0));
	ASSERT_EQ(2, write(self->p[1], "xy", 2));
	usleep(100000);
	EXPECT_CQES({ 1, 1 }, { 2, POLLIN }, { 3, 1 });
	EXPECT_EQ('y', self->in[1]);
}

TEST_F(link, ends)
{
	int i, status, j;
	pid_t pid;

	for (i = 0; i < 20; i++) {
		pid = fork();
		if (!pid) {
			struct io io;

			if (io_init(&io, variant->backend, 64, variant->flags, 0))
				_exit(1);
			prep(&io, IORING_OP_READ, self->p[0], self->in, 1, 0)->flags |=
				IOSQE_IO_LINK;
			for (j = 0; j < 50; j++)
				nop(&io.r, 1, 0, IOSQE_IO_LINK);
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
