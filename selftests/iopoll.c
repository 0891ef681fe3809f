// SPDX-License-Identifier: GPL-2.0
/* Rings that find completions by polling the device. */
/* A filesystem waits for room, and does not say so, and while the submitter waits nobody polls. */
#define NULLB_DEPTH	(place == BLOCK ? "4" : "256")
#include "files.h"
#include "kselftest_harness.h"

#define SIZE	(1 << 20)
#define MANY	64
#define PAGE	4096
#define DEFER	(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
#define HYBRID	(IORING_SETUP_IOPOLL | IORING_SETUP_HYBRID_IOPOLL)

FIXTURE(iopoll) {
	struct io io;
	struct ring *r;
	int fd;
	char *in, *out;
};

FIXTURE_VARIANT(iopoll) { enum backend backend; unsigned int flags; };
FIXTURE_VARIANT_ADD(iopoll, device) { .backend = DEVICE, .flags = IORING_SETUP_IOPOLL };
FIXTURE_VARIANT_ADD(iopoll, native) { .backend = NATIVE, .flags = IORING_SETUP_IOPOLL };
FIXTURE_VARIANT_ADD(iopoll, device_defer) {
	.backend = DEVICE, .flags = IORING_SETUP_IOPOLL | DEFER };
FIXTURE_VARIANT_ADD(iopoll, native_defer) {
	.backend = NATIVE, .flags = IORING_SETUP_IOPOLL | DEFER };
FIXTURE_VARIANT_ADD(iopoll, device_sqpoll) {
	.backend = DEVICE, .flags = IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL };
FIXTURE_VARIANT_ADD(iopoll, native_sqpoll) {
	.backend = NATIVE, .flags = IORING_SETUP_IOPOLL | IORING_SETUP_SQPOLL };
FIXTURE_VARIANT_ADD(iopoll, device_hybrid) { .backend = DEVICE, .flags = HYBRID };
FIXTURE_VARIANT_ADD(iopoll, native_hybrid) { .backend = NATIVE, .flags = HYBRID };

FIXTURE_SETUP(iopoll)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, MANY, variant->flags, 0));
	self->r = &self->io.r;
	self->fd = new_file(O_DIRECT, SIZE);
	ASSERT_LE(0, self->fd);
	self->in = pages(SIZE);
	self->out = pages(SIZE);
	fill(self->out, SIZE, 3);
	ASSERT_EQ(SIZE, pwrite(self->fd, self->out, SIZE, 0));
}

FIXTURE_TEARDOWN(iopoll)
{
	close(self->fd);
	ring_exit(self->r);
}

/*
 * Takes as many CQEs as that, in the order in which they come. Polling may end before there is
 * one, when others want the CPU, and does not begin while there is one.
 */
static int reap(struct ring *r, struct io_uring_cqe *cqes, unsigned int nr)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 25000000000ull;
	unsigned int i = 0;
	int ret;

	while (i < nr) {
		if (ring_cqe(r, &cqes[i])) {
			i++;
			continue;
		}
		ret = ring_enter(r, 0, nr - i, IORING_ENTER_GETEVENTS);
		if (ret < 0)
			return ret;
		if (now_ns(CLOCK_MONOTONIC) > limit)
			return -ETIME;
	}
	return 0;
}

/* One request from its submission to its result. */
static int polled(struct io *io)
{
	struct io_uring_cqe cqe;
	int ret;

	ret = ring_submit(&io->r, 1);
	if (ret != 1)
		return NO_RESULT;
	ret = reap(&io->r, &cqe, 1);
	if (ret)
		return NO_RESULT + ret;
	return cqe.user_data == 4711 && !ring_ready(&io->r) ? cqe.res : NO_RESULT;
}

#define DO(op, fd, addr, len, off)					\
	({ prep(&self->io, IORING_OP_##op, fd, addr, len, off); polled(&self->io); })

TEST_F(iopoll, moves_data)
{
	static const unsigned int sizes[] = { 512, PAGE, 3 * PAGE, 64 << 10, SIZE };
	struct iovec iov[2] = { { self->in, PAGE }, { self->in + 2 * PAGE, 512 } };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		fill(self->out, SIZE, 10 + i);
		ASSERT_EQ(sizes[i], DO(WRITE, self->fd, self->out, sizes[i], 0));
		memset(self->in, 0, SIZE);
		ASSERT_EQ(sizes[i], DO(READ, self->fd, self->in, sizes[i], 0));
		EXPECT_EQ(0, memcmp(self->in, self->out, sizes[i]));
	}
	ASSERT_EQ(PAGE + 512, DO(READV, self->fd, iov, 2, PAGE));
	EXPECT_EQ(0, memcmp(self->in, self->out + PAGE, PAGE));
	EXPECT_EQ(0, memcmp(self->in + 2 * PAGE, self->out + 2 * PAGE, 512));
}

TEST_F(iopoll, registered)
{
	struct iovec iov = { self->in, SIZE };
	struct io_uring_sqe *sqe;

	ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_BUFFERS, &iov, 1));
	ASSERT_EQ(0, ring_register(self->r, IORING_REGISTER_FILES, &self->fd, 1));
	sqe = prep(&self->io, IORING_OP_READ_FIXED, 0, self->in + PAGE, 2 * PAGE, PAGE);
	sqe->flags |= IOSQE_FIXED_FILE;
	ASSERT_EQ(2 * PAGE, polled(&self->io));
	EXPECT_EQ(0, memcmp(self->in + PAGE, self->out + PAGE, 2 * PAGE));
}

static int submit_reads(struct io *io, int fd, char *in)
{
	int i;

	for (i = 0; i < MANY; i++)
		prep(io, IORING_OP_READ, fd, in + i * PAGE, PAGE, i * PAGE)->user_data = i;
	return ring_submit(&io->r, 0);
}

TEST_F(iopoll, many)
{
	struct io_uring_cqe cqes[MANY];
	bool seen[MANY] = {};
	int i;

	memset(self->in, 0, SIZE);
	ASSERT_EQ(MANY, submit_reads(&self->io, self->fd, self->in));
	ASSERT_EQ(0, reap(self->r, cqes, MANY));
	for (i = 0; i < MANY; i++) {
		ASSERT_GT(MANY, cqes[i].user_data);
		EXPECT_EQ(PAGE, cqes[i].res);
		EXPECT_FALSE(seen[cqes[i].user_data]);
		seen[cqes[i].user_data] = true;
	}
	EXPECT_EQ(0, memcmp(self->in, self->out, MANY * PAGE));
}

/* Several files, so it cannot spin for one. */
TEST_F(iopoll, several_files)
{
	int fd[2] = { new_file(O_DIRECT, SIZE), self->fd }, i;
	struct io_uring_cqe cqes[MANY];

	ASSERT_LE(0, fd[0]);
	ASSERT_EQ(SIZE, pwrite(fd[0], self->out, SIZE, 0));
	for (i = 0; i < MANY; i++)
		prep(&self->io, IORING_OP_READ, fd[i % 2], self->in + i * PAGE, PAGE, i * PAGE);
	ASSERT_EQ(MANY, ring_submit(self->r, 1));
	ASSERT_EQ(0, reap(self->r, cqes, MANY));
	for (i = 0; i < MANY; i++)
		EXPECT_EQ(PAGE, cqes[i].res);
	EXPECT_EQ(0, memcmp(self->in, self->out, MANY * PAGE));
	close(fd[0]);
}

/* A worker starts it, and others find it. */
TEST_F(iopoll, in_a_worker)
{
	struct io_uring_cqe cqes[9];
	int i;

	self->io.sqe_flags = IOSQE_ASYNC;
	for (i = 0; i < 8; i++)
		prep(&self->io, IORING_OP_READ, self->fd, self->in + i * PAGE, PAGE, i * PAGE);
	prep(&self->io, IORING_OP_NOP, -1, NULL, 0, 0);
	ASSERT_EQ(9, ring_submit(self->r, 1));
	ASSERT_EQ(0, reap(self->r, cqes, 9));
	for (i = 0; i < 9; i++)
		EXPECT_TRUE(cqes[i].res == PAGE || !cqes[i].res);
	EXPECT_EQ(0, memcmp(self->in, self->out, 8 * PAGE));
}

/* What comes after a polled transfer runs when that is found. */
TEST_F(iopoll, chains)
{
	struct io_uring_cqe cqes[4];
	int i;

	fill(self->out, SIZE, 77);
	prep(&self->io, IORING_OP_WRITE, self->fd, self->out, PAGE, 0)->flags |= IOSQE_IO_LINK;
	prep(&self->io, IORING_OP_READ, self->fd, self->in, PAGE, 0)->flags |= IOSQE_IO_LINK;
	prep(&self->io, IORING_OP_WRITE, self->fd, self->in, PAGE, 8 * PAGE);
	prep(&self->io, IORING_OP_READ, self->fd, self->in + PAGE, PAGE, 8 * PAGE)->flags |=
		IOSQE_IO_DRAIN;
	ASSERT_EQ(4, ring_submit(self->r, 0));
	ASSERT_EQ(0, reap(self->r, cqes, 4));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(PAGE, cqes[i].res);
	EXPECT_EQ(0, memcmp(self->in, self->out, PAGE));
	EXPECT_EQ(0, memcmp(self->in + PAGE, self->out, PAGE));
}

TEST_F(iopoll, only_what_can_be_polled_for)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), buffered, p[2];

	ASSERT_EQ(0, pipe(p));
	buffered = new_file(0, SIZE);
	EXPECT_EQ(-EOPNOTSUPP, DO(READ, buffered, self->in, PAGE, 0));
	EXPECT_EQ(-EOPNOTSUPP, DO(WRITE, buffered, self->in, PAGE, 0));
	EXPECT_EQ(-EOPNOTSUPP, DO(READ, null, self->in, PAGE, 0));
	EXPECT_EQ(-EOPNOTSUPP, DO(READ, p[0], self->in, PAGE, 0));
	EXPECT_EQ(-EBADF, DO(READ, -1, self->in, PAGE, 0));
	EXPECT_EQ(-EINVAL, DO(READ, self->fd, self->in, 100, 0));
	EXPECT_EQ(-EINVAL, DO(READ, self->fd, self->in, PAGE, 1));
	EXPECT_EQ(-EFAULT, DO(WRITE, self->fd, (void *)8, PAGE, 0));
	EXPECT_EQ(0, DO(NOP, -1, NULL, 0, 0));
	close(null);
	close(buffered);
}

TEST_F(iopoll, opcodes)
{
	static const int refused[] = {
		IORING_OP_FSYNC, IORING_OP_SYNC_FILE_RANGE, IORING_OP_FALLOCATE,
		IORING_OP_OPENAT, IORING_OP_OPENAT2, IORING_OP_CLOSE, IORING_OP_STATX,
		IORING_OP_FADVISE, IORING_OP_FTRUNCATE, IORING_OP_FIXED_FD_INSTALL,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		prep(&self->io, refused[i], self->fd, NULL, 0, 0);
		EXPECT_EQ(-EINVAL, polled(&self->io)) TH_LOG("opcode %d", refused[i]);
	}
	/* It is there, and has nothing to do. */
	EXPECT_EQ(-ENXIO, DO(FILES_UPDATE, -1, &self->fd, 1, 0));
}

TEST_F(iopoll, arguments)
{
	struct io_uring_getevents_arg arg = {};
	const unsigned int flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;

	EXPECT_EQ(0, uring_enter_arg(variant->backend, self->r->fd, 0, 0, flags, &arg,
				     sizeof(arg)));
	EXPECT_EQ(-EINVAL, uring_enter_arg(variant->backend, self->r->fd, 0, 0, flags, &arg, 8));
	EXPECT_EQ(-EFAULT, uring_enter_arg(variant->backend, self->r->fd, 0, 0, flags, (void *)8,
					   sizeof(arg)));
	/* Nothing is under way, so there is nothing to wait for, where the call polls. */
	SKIP_POLLED(self->r, "it polls");
	EXPECT_EQ(0, ring_enter(self->r, 0, 5, IORING_ENTER_GETEVENTS));
}

TEST_F(iopoll, hybrid_alone)
{
	struct ring r;

	EXPECT_EQ(-EINVAL, ring_init(&r, variant->backend, 8, IORING_SETUP_HYBRID_IOPOLL));
}

static void reader(enum backend backend, unsigned int flags, int fd, const char *out)
{
	char *in = pages(MANY * PAGE);
	struct io_uring_cqe cqes[MANY];
	struct io io;
	int i, turn;

	if (io_init(&io, backend, MANY, flags, 0))
		_exit(1);
	for (turn = 0; turn < 10; turn++) {
		memset(in, 0, MANY * PAGE);
		if (submit_reads(&io, fd, in) != MANY || reap(&io.r, cqes, MANY))
			_exit(2);
		for (i = 0; i < MANY; i++)
			if (cqes[i].res != PAGE)
				_exit(3);
		if (memcmp(in, out, MANY * PAGE))
			_exit(4);
	}
	_exit(0);
}

/* Whoever polls a queue finds what others wait for, too. */
TEST_F(iopoll, several_processes)
{
	int i, status;

	for (i = 0; i < 3; i++)
		if (!fork())
			reader(variant->backend, variant->flags, self->fd, self->out);
	for (i = 0; i < 3; i++) {
		ASSERT_LT(0, wait(&status));
		EXPECT_EQ(0, status);
	}
}

/*
 * Nobody polls any more when the ring or the process ends. Those that a worker has started may
 * wait for room, and the worker cannot be killed then: natively everything waits until the device
 * runs into a timeout, so that is not tried there.
 */
TEST_F(iopoll, ends)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < 12; i++) {
		pid = fork();
		if (!pid) {
			struct io io;

			if (io_init(&io, variant->backend, MANY, variant->flags,
				    i % 2 && variant->backend == DEVICE ? IOSQE_ASYNC : 0) ||
			    submit_reads(&io, self->fd, self->in) != MANY)
				_exit(1);
			switch (i / 2 % 3) {
			case 0:
				ring_exit(&io.r);
				_exit(0);
			case 1:
				raise(SIGKILL);
			}
			execl("/bin/true", "true", NULL);
			_exit(1);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(i / 2 % 3 == 1 ? SIGKILL : 0, status);
	}
	ASSERT_EQ(PAGE, DO(READ, self->fd, self->in, PAGE, 0));
}

FILES_MAIN
