// SPDX-License-Identifier: GPL-2.0
/* Registered buffers: the table, its updates, tags, and reads and writes with what is in it. */
#include "files.h"
#include "kselftest_harness.h"

#define SIZE	(64 * 1024)

FIXTURE(fixedbuf) {
	struct io io;
	struct ring *r;
	int fd;
	char *a, *b;
	struct iovec iov[2];
};

IO_VARIANTS(fixedbuf);

FIXTURE_SETUP(fixedbuf)
{
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, variant->flags,
			     variant->sqe_flags));
	self->r = &self->io.r;
	self->fd = new_file(0, SIZE);
	ASSERT_LE(0, self->fd);
	self->a = pages(SIZE);
	self->b = pages(SIZE);
	fill(self->a, SIZE, 1);
	self->iov[0] = (struct iovec) { self->a, SIZE };
	self->iov[1] = (struct iovec) { self->b, SIZE };
}

FIXTURE_TEARDOWN(fixedbuf)
{
	close(self->fd);
	ring_exit(self->r);
}

static int with_buffer(struct io *io, int op, int fd, const void *addr, unsigned int len,
		       uint64_t off, unsigned int index)
{
	prep(io, op, fd, addr, len, off)->buf_index = index;
	return run(io);
}

#define READ(addr, len, off, index)	\
	with_buffer(&self->io, IORING_OP_READ_FIXED, self->fd, addr, len, off, index)
#define WRITE(addr, len, off, index)	\
	with_buffer(&self->io, IORING_OP_WRITE_FIXED, self->fd, addr, len, off, index)

static int reg(struct ring *r, const struct iovec *iov, unsigned int nr)
{
	return ring_register(r, IORING_REGISTER_BUFFERS, iov, nr);
}

static int reg2(struct ring *r, const struct iovec *iov, const uint64_t *tags, unsigned int nr,
		unsigned int flags)
{
	struct io_uring_rsrc_register arg = {
		.nr = nr, .flags = flags,
		.data = (unsigned long)iov, .tags = (unsigned long)tags,
	};

	return ring_register(r, IORING_REGISTER_BUFFERS2, &arg, sizeof(arg));
}

static int update(struct ring *r, unsigned int off, const struct iovec *iov,
		  const uint64_t *tags, unsigned int nr)
{
	struct io_uring_rsrc_update2 arg = {
		.offset = off, .nr = nr,
		.data = (unsigned long)iov, .tags = (unsigned long)tags,
	};

	return ring_register(r, IORING_REGISTER_BUFFERS_UPDATE, &arg, sizeof(arg));
}

static int unreg(struct ring *r)
{
	return ring_register(r, IORING_UNREGISTER_BUFFERS, NULL, 0);
}

TEST_F(fixedbuf, moves_data)
{
	static const unsigned int at[][2] = {	/* where in the buffer, how much */
		{ 0, SIZE }, { 0, 1 }, { SIZE - 1, 1 }, { 4095, 2 }, { 4096, 4096 },
		{ 100, 0 }, { SIZE, 0 }, { 5000, 30000 }, { 8191, 4098 },
	};
	unsigned int i, off, len;

	ASSERT_EQ(0, reg(self->r, self->iov, 2));
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		off = at[i][0];
		len = at[i][1];
		fill(self->a, SIZE, i);
		EXPECT_EQ(len, WRITE(self->a + off, len, 77, 0));
		memset(self->b, 0, SIZE);
		EXPECT_EQ(len, READ(self->b + off, len, 77, 1));
		EXPECT_EQ(0, memcmp(self->a + off, self->b + off, len));
		if (off)
			EXPECT_EQ(0, self->b[off - 1]);
		if (off + len < SIZE)
			EXPECT_EQ(0, self->b[off + len]);
	}
	lseek(self->fd, 10, SEEK_SET);
	EXPECT_EQ(100, WRITE(self->a, 100, -1, 0));
	EXPECT_EQ(110, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(10, READ(self->b, 100, lseek(self->fd, 0, SEEK_END) - 10, 1));
	EXPECT_EQ(-EINVAL, READ(self->b, 100, -2, 1));
	/* Others may use the memory without the index. */
	EXPECT_EQ(100, one(&self->io, IORING_OP_READ, self->fd, self->b, 100, 0));
}

TEST_F(fixedbuf, bad_ranges)
{
	int ro, i;

	for (i = 0; i < 2; i++) {
		/* No table, or no such buffer. */
		EXPECT_EQ(-EFAULT, READ(self->a, 10, 0, 2));
		EXPECT_EQ(-EFAULT, READ(self->a, 10, 0, UINT16_MAX));
		EXPECT_EQ(-EFAULT, WRITE(self->a, 0, 0, 2));
		if (!i)
			ASSERT_EQ(0, reg(self->r, self->iov, 2));
	}
	EXPECT_EQ(-EFAULT, READ(self->a - 1, 10, 0, 0));
	EXPECT_EQ(-EFAULT, READ(self->a + SIZE, 1, 0, 0));
	EXPECT_EQ(-EFAULT, READ(self->a + 1, SIZE, 0, 0));
	EXPECT_EQ(-EFAULT, READ(self->a - 1, 0, 0, 0));
	EXPECT_EQ(-EFAULT, READ(self->a + SIZE + 1, 0, 0, 0));
	EXPECT_EQ(-EFAULT, WRITE(self->b, 10, 0, 0));
	EXPECT_EQ(-EFAULT, WRITE(NULL, 10, 0, 0));
	EXPECT_EQ(-EFAULT, WRITE((void *)-5ul, 10, 0, 0));
	EXPECT_EQ(-EFAULT, READ(self->a, UINT32_MAX, 0, 0));
	/* The buffer is looked at before what the file allows, the file before both. */
	ro = open("/dev/zero", O_RDONLY);
	EXPECT_EQ(-EFAULT, with_buffer(&self->io, IORING_OP_WRITE_FIXED, ro, self->a - 1, 10, 0,
				       0));
	EXPECT_EQ(-EBADF, with_buffer(&self->io, IORING_OP_WRITE_FIXED, ro, self->a, 10, 0, 0));
	EXPECT_EQ(-EBADF, with_buffer(&self->io, IORING_OP_WRITE_FIXED, -1, self->a - 1, 10, 0,
				      9));
	close(ro);
}

TEST_F(fixedbuf, registering)
{
	struct iovec iov[4] = { self->iov[0], { NULL, 0 }, self->iov[1], self->iov[0] };
	struct iovec bad[2] = { self->iov[0], { NULL, 10 } };
	struct iovec *many = pages(sizeof(*many) * 16385);
	struct iovec *cut = (void *)before_hole(sizeof(*cut));

	EXPECT_EQ(-ENXIO, unreg(self->r));
	EXPECT_EQ(-EFAULT, reg(self->r, NULL, 1));
	EXPECT_EQ(-EINVAL, reg(self->r, iov, 0));
	EXPECT_EQ(-EFAULT, reg(self->r, (void *)8, 1));
	EXPECT_EQ(-EINVAL, reg(self->r, many, 16385));
	EXPECT_EQ(-EINVAL, reg(self->r, many, UINT32_MAX));
	*cut = iov[0];
	EXPECT_EQ(-EFAULT, reg(self->r, cut, 2));
	EXPECT_EQ(-EFAULT, reg(self->r, bad, 2));
	bad[1] = (struct iovec) { self->b, 0 };
	EXPECT_EQ(-EFAULT, reg(self->r, bad, 2));
	bad[1] = (struct iovec) { self->b, (1ul << 40) + 1 };
	EXPECT_EQ(-EINVAL, reg(self->r, bad, 2));
	bad[1] = (struct iovec) { self->b, -1ul };
	EXPECT_EQ(-EINVAL, reg(self->r, bad, 2));
	bad[1] = (struct iovec) { NULL, -1ul };
	EXPECT_EQ(-EINVAL, reg(self->r, bad, 2));
	bad[1] = (struct iovec) { (void *)-4096ul, 8192 };
	EXPECT_EQ(-EOVERFLOW, reg(self->r, bad, 2));
	bad[1] = (struct iovec) { (void *)4096, 10 };
	EXPECT_EQ(-EFAULT, reg(self->r, bad, 2));
	bad[1] = (struct iovec) { (void *)cut, 5000 };
	EXPECT_EQ(-EFAULT, reg(self->r, bad, 2));
	/* None of this has left a table. */
	EXPECT_EQ(-ENXIO, unreg(self->r));
	EXPECT_EQ(0, reg(self->r, iov, 4));
	EXPECT_EQ(-EBUSY, reg(self->r, iov, 4));
	EXPECT_EQ(-EBUSY, reg(self->r, iov, 0));
	EXPECT_EQ(10, WRITE(self->a, 10, 0, 3));
	EXPECT_EQ(-EFAULT, WRITE(self->a, 10, 0, 1));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_UNREGISTER_BUFFERS, iov, 0));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_UNREGISTER_BUFFERS, NULL, 1));
	EXPECT_EQ(0, unreg(self->r));
	EXPECT_EQ(-ENXIO, unreg(self->r));
	EXPECT_EQ(0, reg(self->r, many, 16384));
	EXPECT_EQ(0, unreg(self->r));
	/* Memory that may not be written cannot be pinned. */
	ASSERT_EQ(0, mprotect(self->b, SIZE, PROT_READ));
	EXPECT_EQ(-EFAULT, reg(self->r, self->iov, 2));
	EXPECT_EQ(0, reg(self->r, self->iov, 1));
}

TEST_F(fixedbuf, sparse)
{
	struct io_uring_rsrc_register arg = { .nr = 3, .flags = IORING_RSRC_REGISTER_SPARSE };
	uint64_t tags[3] = { 1, 2, 3 };

	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_BUFFERS2, &arg, 31));
	EXPECT_EQ(-EFAULT, ring_register(self->r, IORING_REGISTER_BUFFERS2, NULL, 32));
	arg.resv2 = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_BUFFERS2, &arg, 32));
	EXPECT_EQ(-EINVAL, reg2(self->r, NULL, NULL, 3, 2));
	EXPECT_EQ(-EINVAL, reg2(self->r, NULL, NULL, 0, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(-EINVAL, reg2(self->r, self->iov, NULL, 2, IORING_RSRC_REGISTER_SPARSE));
	/* There is nothing yet that could have a tag. */
	EXPECT_EQ(-EINVAL, reg2(self->r, NULL, tags, 3, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(-EINVAL, reg2(self->r, NULL, NULL, 16385, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(0, reg2(self->r, NULL, NULL, 3, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(-EFAULT, WRITE(self->a, 10, 0, 0));
	EXPECT_EQ(-EBUSY, reg2(self->r, NULL, NULL, 3, IORING_RSRC_REGISTER_SPARSE));
	EXPECT_EQ(2, update(self->r, 1, self->iov, NULL, 2));
	EXPECT_EQ(-EFAULT, WRITE(self->a, 10, 0, 0));
	EXPECT_EQ(10, WRITE(self->a, 10, 0, 1));
	EXPECT_EQ(10, READ(self->b, 10, 0, 2));
	EXPECT_EQ(0, memcmp(self->a, self->b, 10));
	EXPECT_EQ(0, unreg(self->r));
	/* Without the flag and without an array it is the same. */
	EXPECT_EQ(0, reg2(self->r, NULL, NULL, 3, 0));
}

TEST_F(fixedbuf, updating)
{
	struct io_uring_rsrc_update2 arg = { .nr = 1, .data = (unsigned long)self->iov };
	struct iovec none = { NULL, 0 }, mixed[3] = { self->iov[1], { NULL, 10 }, self->iov[0] };

	EXPECT_EQ(-ENXIO, update(self->r, 0, self->iov, NULL, 1));
	ASSERT_EQ(0, reg(self->r, self->iov, 2));
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_BUFFERS_UPDATE, &arg, 1));
	EXPECT_EQ(-EFAULT, ring_register(self->r, IORING_REGISTER_BUFFERS_UPDATE, NULL,
					 sizeof(arg)));
	arg.resv = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_BUFFERS_UPDATE, &arg,
					 sizeof(arg)));
	arg.resv = 0;
	arg.resv2 = 1;
	EXPECT_EQ(-EINVAL, ring_register(self->r, IORING_REGISTER_BUFFERS_UPDATE, &arg,
					 sizeof(arg)));
	EXPECT_EQ(-EINVAL, update(self->r, 0, self->iov, NULL, 0));
	EXPECT_EQ(-EINVAL, update(self->r, 1, self->iov, NULL, 2));
	EXPECT_EQ(-EINVAL, update(self->r, 2, self->iov, NULL, 1));
	EXPECT_EQ(-EOVERFLOW, update(self->r, UINT32_MAX, self->iov, NULL, 1));
	EXPECT_EQ(-EFAULT, update(self->r, 0, NULL, NULL, 1));
	EXPECT_EQ(-EFAULT, update(self->r, 0, self->iov, (void *)8, 1));
	/* What was done before an error stays done. */
	EXPECT_EQ(1, update(self->r, 0, mixed, NULL, 2));
	EXPECT_EQ(10, WRITE(self->b, 10, 0, 0));
	EXPECT_EQ(10, WRITE(self->b, 10, 0, 1));
	EXPECT_EQ(-EFAULT, update(self->r, 1, mixed + 1, NULL, 1));
	EXPECT_EQ(10, WRITE(self->b, 10, 0, 1));
	EXPECT_EQ(1, update(self->r, 1, &none, NULL, 1));
	EXPECT_EQ(-EFAULT, WRITE(self->b, 10, 0, 1));
	EXPECT_EQ(2, update(self->r, 0, self->iov, NULL, 2));
	EXPECT_EQ(10, WRITE(self->a, 10, 0, 0));
}

TEST_F(fixedbuf, tags)
{
	struct iovec none = { NULL, 0 };
	uint64_t tags[2] = { 100, 0 }, other[2] = { 200, 201 };

	ASSERT_EQ(0, reg2(self->r, self->iov, tags, 2, 0));
	EXPECT_EQ(0, tag(self->r));
	/* Who goes without being in use is told at once. */
	EXPECT_EQ(2, update(self->r, 0, self->iov, other, 2));
	EXPECT_EQ(100, tag_soon(self->r));
	EXPECT_EQ(0, tag(self->r));
	EXPECT_EQ(-EINVAL, update(self->r, 0, &none, other, 1));
	EXPECT_EQ(0, tag(self->r));
	EXPECT_EQ(1, update(self->r, 0, &none, NULL, 1));
	EXPECT_EQ(200, tag_soon(self->r));
	EXPECT_EQ(10, WRITE(self->b, 10, 0, 1));
	EXPECT_EQ(0, unreg(self->r));
	EXPECT_EQ(201, tag_soon(self->r));
	EXPECT_EQ(0, tag(self->r));
	/* A failed registration has never been there. */
	self->iov[1].iov_base = (void *)4096;
	EXPECT_EQ(-EFAULT, reg2(self->r, self->iov, other, 2, 0));
	EXPECT_EQ(0, tag(self->r));
	EXPECT_EQ(-EFAULT, reg2(self->r, self->iov, (void *)8, 1, 0));
	EXPECT_EQ(0, tag(self->r));
	/* The end of the ring tells nobody. */
	EXPECT_EQ(0, reg2(self->r, self->iov, other, 1, 0));
}

/* A request keeps what it began with; the tag comes when that is done. */
TEST_F(fixedbuf, in_flight)
{
	uint64_t tags[2] = { 100, 101 };
	struct io_uring_cqe cqe;
	int p[2], round;

	ASSERT_EQ(0, pipe(p));
	for (round = 0; round < 3; round++) {
		ASSERT_EQ(0, reg2(self->r, self->iov, tags, 2, 0));
		prep(&self->io, IORING_OP_READ_FIXED, p[0], self->b, 1000, 0)->buf_index = 1;
		ASSERT_EQ(1, ring_submit(self->r, 0));
		usleep(20000);
		if (round) {
			EXPECT_EQ(0, unreg(self->r));
		} else {
			EXPECT_EQ(1, update(self->r, 1, self->iov, NULL, 1));
			EXPECT_EQ(-EFAULT, READ(self->b, 10, 0, 1));
			EXPECT_EQ(0, unreg(self->r));
		}
		EXPECT_EQ(100, tag_soon(self->r));
		EXPECT_EQ(0, tag(self->r));
		/* The mapping goes, the pages stay. */
		if (round == 2)
			munmap(self->b, SIZE);
		ASSERT_EQ(100, write(p[1], self->a, 100));
		ASSERT_EQ(0, ring_enter(self->r, 0, 2, IORING_ENTER_GETEVENTS));
		ASSERT_TRUE(ring_cqe(self->r, &cqe));
		EXPECT_EQ(4711, cqe.user_data);
		EXPECT_EQ(100, cqe.res);
		EXPECT_EQ(101, tag_soon(self->r));
		if (round < 2)
			EXPECT_EQ(0, memcmp(self->a, self->b, 100));
	}
}

TEST_F(fixedbuf, vectors)
{
	struct iovec iov[4] = {
		{ self->a + 100, 1000 }, { self->a, 1 }, { self->a + 4000, 30000 },
		{ self->a + 100, 10 },
	};
	struct iovec in = { self->b + 3, 31011 }, bad[2];
	struct io *io = &self->io;
	int off;

#define READV(iov, nr, index)	\
	with_buffer(io, IORING_OP_READV_FIXED, self->fd, iov, nr, 0, index)
#define WRITEV(iov, nr, index)	\
	with_buffer(io, IORING_OP_WRITEV_FIXED, self->fd, iov, nr, 0, index)
	EXPECT_EQ(-EFAULT, READV(&in, 1, 0));
	ASSERT_EQ(0, reg(self->r, self->iov, 2));
	EXPECT_EQ(31011, WRITEV(iov, 4, 0));
	EXPECT_EQ(31011, READV(&in, 1, 1));
	EXPECT_EQ(0, memcmp(self->b + 3, self->a + 100, 1000));
	EXPECT_EQ(self->a[0], self->b[1003]);
	EXPECT_EQ(0, memcmp(self->b + 1004, self->a + 4000, 30000));
	off = 3 + 31001;
	EXPECT_EQ(0, memcmp(self->b + off, self->a + 100, 10));
	EXPECT_EQ(0, self->b[off + 10]);
	EXPECT_EQ(31011, READV(iov, 4, 0));
	EXPECT_EQ(0, READV(iov, 0, 0));
	EXPECT_EQ(-EFAULT, READV(iov, 4, 1));
	EXPECT_EQ(-EFAULT, READV(iov, 4, 2));
	EXPECT_EQ(-EINVAL, READV(iov, 1025, 0));
	EXPECT_EQ(-EFAULT, READV((void *)8, 1, 0));
	bad[0] = iov[0];
	bad[1] = (struct iovec) { self->a, 0 };
	EXPECT_EQ(-EFAULT, READV(bad, 2, 0));
	bad[1] = (struct iovec) { self->a + SIZE, 1 };
	EXPECT_EQ(-EFAULT, READV(bad, 2, 0));
	bad[1] = (struct iovec) { self->a, -1ul };
	EXPECT_EQ(-EINVAL, WRITEV(bad, 2, 0));
	bad[1] = (struct iovec) { self->a - 1, 10 };
	EXPECT_EQ(-EFAULT, WRITEV(bad, 2, 0));
}

FILES_MAIN
