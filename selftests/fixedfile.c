// SPDX-License-Identifier: GPL-2.0
/* Registered files: the table, its updates and tags, and what is in use while it goes. */
#include "files.h"
#include <sys/socket.h>
#include "kselftest_harness.h"

FIXTURE(fixedfile) {
	struct io io;
	struct ring *r;
	int a, b;	/* files that begin with 'a' and 'b' */
};

IO_VARIANTS(fixedfile);

static int letter_file(char letter)
{
	int fd = new_file(0, 0);

	if (fd < 0 || pwrite(fd, &letter, 1, 0) != 1)
		abort();
	return fd;
}

FIXTURE_SETUP(fixedfile)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, variant->flags,
			     variant->sqe_flags | IOSQE_FIXED_FILE));
	self->r = &self->io.r;
	self->a = letter_file('a');
	self->b = letter_file('b');
}

FIXTURE_TEARDOWN(fixedfile)
{
	ring_exit(self->r);
}

static int reg(struct ring *r, const int *fds, unsigned int nr)
{
	return ring_register(r, IORING_REGISTER_FILES, fds, nr);
}

static int reg2(struct ring *r, const int *fds, const uint64_t *tags, unsigned int nr,
		unsigned int flags)
{
	struct io_uring_rsrc_register arg = {
		.nr = nr, .flags = flags,
		.data = (unsigned long)fds, .tags = (unsigned long)tags,
	};

	return ring_register(r, IORING_REGISTER_FILES2, &arg, sizeof(arg));
}

static int update(struct ring *r, unsigned int off, const int *fds, unsigned int nr)
{
	struct io_uring_rsrc_update arg = { .offset = off, .data = (unsigned long)fds };

	return ring_register(r, IORING_REGISTER_FILES_UPDATE, &arg, nr);
}

static int update2(struct ring *r, unsigned int off, const int *fds, const uint64_t *tags,
		   unsigned int nr)
{
	struct io_uring_rsrc_update2 arg = {
		.offset = off, .nr = nr,
		.data = (unsigned long)fds, .tags = (unsigned long)tags,
	};

	return ring_register(r, IORING_REGISTER_FILES_UPDATE2, &arg, sizeof(arg));
}

static int unreg(struct ring *r)
{
	return ring_register(r, IORING_UNREGISTER_FILES, NULL, 0);
}

/* What slot @index begins with, or the error of looking. */
static int look(struct io *io, int index)
{
	char c = 0;
	int res = one(io, IORING_OP_READ, index, &c, 1, 0);

	return res == 1 ? c : res;
}

#define LOOK(index)	look(&self->io, index)

TEST_F(fixedfile, use)
{
	int fds[3] = { self->a, -1, self->b };

	EXPECT_EQ(-EBADF, LOOK(0));
	ASSERT_EQ(0, reg(self->r, fds, 3));
	EXPECT_EQ('a', LOOK(0));
	EXPECT_EQ(-EBADF, LOOK(1));
	EXPECT_EQ('b', LOOK(2));
	EXPECT_EQ(-EBADF, LOOK(3));
	EXPECT_EQ(-EBADF, LOOK(-1));
	EXPECT_EQ(-EBADF, LOOK(INT32_MIN));
	/* Without the flag a number is a descriptor. */
	self->io.sqe_flags &= ~IOSQE_FIXED_FILE;
	EXPECT_EQ('a', LOOK(self->a));
	self->io.sqe_flags |= IOSQE_FIXED_FILE;
	/* The files stay when their descriptors go. */
	close(self->a);
	close(self->b);
	EXPECT_EQ('a', LOOK(0));
	EXPECT_EQ('b', LOOK(2));
	EXPECT_EQ(0, unreg(self->r));
	EXPECT_EQ(-EBADF, LOOK(0));
}

TEST_F(fixedfile, registering)
{
	int fds[3] = { self->a, -1, self->b }, path = open("/", O_PATH);
	int bad[2] = { self->a, -2 };
	struct rlimit limit;
	int *many;

	EXPECT_EQ(-ENXIO, unreg(self->r));
	EXPECT_EQ(-EFAULT, reg(self->r, NULL, 1));
	EXPECT_EQ(-EINVAL, reg(self->r, fds, 0));
	EXPECT_EQ(-EFAULT, reg(self->r, (void *)8, 1));
	EXPECT_EQ(-EBADF, reg(self->r, bad, 2));
	bad[1] = 100000;
	EXPECT_EQ(-EBADF, reg(self->r, bad, 2));
	bad[1] = path;
	EXPECT_EQ(-EBADF, reg(self->r, bad, 2));
	EXPECT_EQ(-EMFILE, reg(self->r, fds, (1 << 20) + 1));
	EXPECT_EQ(-EMFILE, reg(self->r, fds, UINT32_MAX));
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &limit));
	many = pages((limit.rlim_cur + 1) * sizeof(int));
	memset(many, 0xff, (limit.rlim_cur + 1) * sizeof(int));
	EXPECT_EQ(-EMFILE, reg(self->r, many, limit.rlim_cur + 1));
	/* None of this has left a table. */
	EXPECT_EQ(-ENXIO, unreg(self->r));
	EXPECT_EQ(0, reg(self->r, many, limit.rlim_cur));
	EXPECT_EQ(0, unreg(self->r));
	EXPECT_EQ(0, reg(self->r, fds, 3));
	EXPECT_EQ(-EBUSY, reg(self->r, fds, 3));
	EXPECT_EQ(-EBUSY, reg(self->r, fds, 0));
	EXPECT_EQ('b', LOOK(2));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_UNREGISTER_FILES, fds, 0));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_UNREGISTER_FILES, NULL, 1));
	EXPECT_EQ(0, unreg(self->r));
	EXPECT_EQ(-ENXIO, unreg(self->r));
}

/* Rings would keep each other alive. */
TEST_F(fixedfile, no_rings)
{
	struct ring own, other;
	int fds[2] = { self->a, self->r->fd };

	ASSERT_EQ(0, ring_init(&own, variant->backend, 8, 0));
	ASSERT_EQ(0, ring_init(&other, !variant->backend, 8, 0));
	EXPECT_EQ(-EBADF, reg(self->r, fds, 2));
	fds[1] = own.fd;
	EXPECT_EQ(-EBADF, reg(self->r, fds, 2));
	EXPECT_EQ(-EBADF, reg2(self->r, fds, NULL, 2, 0));
	ASSERT_EQ(0, reg2(self->r, NULL, NULL, 2, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(-EBADF, update(self->r, 0, &own.fd, 1));
	EXPECT_EQ(-EBADF, update2(self->r, 0, &own.fd, NULL, 1));
	/* The core does not know the device's rings; the device knows those of the core. */
	if (variant->backend == DEVICE)
		EXPECT_EQ(-EBADF, update(self->r, 0, &other.fd, 1));
	ring_exit(&own);
	ring_exit(&other);
}

/* See the module's parameter unix_files, and params.sh. */
TEST_F(fixedfile, unix_sockets)
{
	int s[2], want = variant->backend == DEVICE ? -EBADF : 1;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	EXPECT_EQ(want < 0 ? want : 0, reg(self->r, s, 2));
	if (want > 0)
		return;
	ASSERT_EQ(0, reg2(self->r, NULL, NULL, 2, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(want, update(self->r, 0, s, 1));
	EXPECT_EQ(want, update2(self->r, 0, s, NULL, 1));
}

TEST_F(fixedfile, sparse)
{
	struct io_uring_rsrc_register arg = { .nr = 3, .flags = IORING_RSRC_REGISTER_SPARSE };
	uint64_t tags[3] = { 1, 0, 0 };
	int fds[2] = { self->a, self->b };

	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_FILES2, &arg, 31));
	EXPECT_EQ(-EFAULT, ring_register(self->r, IORING_REGISTER_FILES2, NULL, 32));
	arg.resv2 = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_FILES2, &arg, 32));
	EXPECT_EQ(-EINVAL, reg2(self->r, NULL, NULL, 3, 2));
	EXPECT_EQ(-EINVAL, reg2(self->r, NULL, NULL, 0, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(-EINVAL, reg2(self->r, fds, NULL, 2, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(-EINVAL, reg2(self->r, NULL, tags, 3, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(0, reg2(self->r, NULL, NULL, 3, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(-EBUSY, reg2(self->r, NULL, NULL, 3, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(-EBADF, LOOK(0));
	EXPECT_EQ(2, update(self->r, 1, fds, 2));
	EXPECT_EQ(-EBADF, LOOK(0));
	EXPECT_EQ('a', LOOK(1));
	EXPECT_EQ('b', LOOK(2));
}

TEST_F(fixedfile, updating)
{
	int fds[4] = { self->a, self->b, IORING_REGISTER_FILES_SKIP, self->a };
	struct io_uring_rsrc_update arg = { .data = (unsigned long)fds, .resv = 1 };
	struct io_uring_rsrc_update2 arg2 = { .data = (unsigned long)fds, .nr = 1 };
	int none = -1, bad = 100000;

	EXPECT_EQ(-ENXIO, update(self->r, 0, fds, 1));
	ASSERT_EQ(0, reg(self->r, (int[]) { self->b, self->b, self->b }, 3));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_FILES_UPDATE, &arg, 1));
	EXPECT_EQ(-EFAULT, ring_register(self->r, IORING_REGISTER_FILES_UPDATE, (void *)8, 1));
	EXPECT_EQ(-EINVAL, update(self->r, 0, fds, 0));
	EXPECT_EQ(-EINVAL, update(self->r, 0, fds, 4));
	EXPECT_EQ(-EINVAL, update(self->r, 3, fds, 1));
	EXPECT_EQ(-EOVERFLOW, update(self->r, UINT32_MAX, fds, 1));
	EXPECT_EQ(-EFAULT, update(self->r, 0, (void *)8, 1));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_FILES_UPDATE2, &arg2, 31));
	arg2.resv = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_FILES_UPDATE2, &arg2, 32));
	arg2.resv = 0;
	arg2.resv2 = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_FILES_UPDATE2, &arg2, 32));
	EXPECT_EQ(-EINVAL, update2(self->r, 0, fds, NULL, 0));
	EXPECT_EQ(-EFAULT, update2(self->r, 0, fds, (void *)8, 1));
	/* Nothing of that changed anything. */
	EXPECT_EQ('b', LOOK(0));
	EXPECT_EQ(3, update(self->r, 0, fds, 3));
	EXPECT_EQ('a', LOOK(0));
	EXPECT_EQ('b', LOOK(1));
	EXPECT_EQ('b', LOOK(2));
	EXPECT_EQ(1, update2(self->r, 1, &none, NULL, 1));
	EXPECT_EQ(-EBADF, LOOK(1));
	EXPECT_EQ(1, update2(self->r, 1, &none, NULL, 1));
	/* What was done before an error counts. */
	EXPECT_EQ(1, update(self->r, 1, (int[]) { self->a, bad }, 2));
	EXPECT_EQ('a', LOOK(1));
	/* The old file is gone even if the new one is none. */
	EXPECT_EQ(-EBADF, LOOK(2));
	EXPECT_EQ(-EBADF, update(self->r, 1, &bad, 1));
	EXPECT_EQ(-EBADF, LOOK(1));
	EXPECT_EQ('a', LOOK(0));
}

TEST_F(fixedfile, tags)
{
	uint64_t tags[3] = { 100, 0, 102 }, other[2] = { 200, 201 };
	int fds[3] = { self->a, self->b, self->a };
	int skip = IORING_REGISTER_FILES_SKIP, none = -1;

	ASSERT_EQ(0, reg2(self->r, fds, tags, 3, 0));
	EXPECT_EQ(0, tag(self->r));
	EXPECT_EQ(-EINVAL, update2(self->r, 0, &skip, other, 1));
	EXPECT_EQ(-EINVAL, update2(self->r, 0, &none, other, 1));
	EXPECT_EQ(1, update2(self->r, 0, &skip, NULL, 1));
	EXPECT_EQ(0, tag(self->r));
	EXPECT_EQ(2, update2(self->r, 0, fds, other, 2));
	EXPECT_EQ(100, tag_soon(self->r));
	EXPECT_EQ(0, tag(self->r));
	EXPECT_EQ('a', LOOK(0));
	EXPECT_EQ(1, update(self->r, 0, &none, 1));
	EXPECT_EQ(200, tag_soon(self->r));
	EXPECT_EQ(0, unreg(self->r));
	/* The last one first. */
	EXPECT_EQ(102, tag_soon(self->r));
	EXPECT_EQ(201, tag_soon(self->r));
	EXPECT_EQ(0, tag(self->r));
	/* A failed registration has never been there. */
	fds[1] = 100000;
	EXPECT_EQ(-EBADF, reg2(self->r, fds, tags, 3, 0));
	EXPECT_EQ(0, tag(self->r));
	fds[1] = -1;
	tags[1] = 5;
	EXPECT_EQ(-EINVAL, reg2(self->r, fds, tags, 3, 0));
	EXPECT_EQ(0, tag(self->r));
	EXPECT_EQ(-EFAULT, reg2(self->r, fds, (void *)8, 3, 0));
}

/* A request keeps its file; the tag comes when that is done. */
TEST_F(fixedfile, in_flight)
{
	uint64_t tag_in = 100;
	struct io_uring_cqe cqe;
	int p[2], round, i, none = -1;
	char buf[100];

	signal(SIGPIPE, SIG_IGN);
	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, pipe(p));
		ASSERT_EQ(0, reg2(self->r, p, &tag_in, 1, 0));
		close(p[0]);
		prep(&self->io, IORING_OP_READ, 0, buf, 100, 0);
		ASSERT_EQ(1, ring_submit(self->r, 0));
		usleep(20000);
		if (!round)
			ASSERT_EQ(0, unreg(self->r));
		if (round)
			ASSERT_EQ(1, update(self->r, 0, round == 1 ? &none : &self->a, 1));
		EXPECT_EQ(0, tag(self->r));
		ASSERT_EQ(10, write(p[1], "0123456789", 10));
		ASSERT_EQ(0, ring_enter(self->r, 0, 2, IORING_ENTER_GETEVENTS));
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		EXPECT_EQ(4711, cqe.user_data);
		EXPECT_EQ(10, cqe.res);
		EXPECT_EQ(100, tag_soon(self->r));
		/* It was the last one who could read. The file may be closed by another thread. */
		for (i = 0; i < 1000 && write(p[1], "x", 1) == 1; i++)
			usleep(1000);
		EXPECT_GT(1000, i);
		EXPECT_EQ(EPIPE, errno);
		if (round)
			EXPECT_EQ(0, unreg(self->r));
	}
}

/* The ring's end lets go of its files, of those in use as well. */
TEST_F(fixedfile, end_of_the_ring)
{
	struct pollfd pfd = { .events = POLLOUT };
	int p[2], fds[2];
	char buf[10];

	ASSERT_EQ(0, pipe(p));
	pfd.fd = p[1];
	fds[0] = p[0];
	fds[1] = p[0];
	ASSERT_EQ(0, reg(self->r, fds, 2));
	close(p[0]);
	prep(&self->io, IORING_OP_READ, 0, buf, 10, 0);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLOUT, pfd.revents);
	ring_exit(self->r);
	pfd.events = 0;
	EXPECT_EQ(1, poll(&pfd, 1, 60000));
	EXPECT_EQ(POLLERR, pfd.revents);
	ASSERT_EQ(0, ring_init(self->r, variant->backend, 8, 0));
}

FILES_MAIN
