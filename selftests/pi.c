// SPDX-License-Identifier: GPL-2.0
/*
 * Protection information (IORING_RW_ATTR_FLAG_PI) on a disk that stores and checks it: eight
 * bytes for each sector, with a checksum of the data, a tag of ours, and the sector's number.
 */
#include "files.h"
#include <arpa/inet.h>
#include <glob.h>
#include "kselftest_harness.h"

#define SECTOR	512
#define MOST	2048		/* sectors of the largest transfer */
#define TAG	0x1234

#define CHK_GUARD	1	/* IO_INTEGRITY_CHK_* */
#define CHK_REFTAG	2
#define CHECKS		(CHK_GUARD | CHK_REFTAG)

struct tuple {
	uint16_t guard, app;
	uint32_t ref;
};

static char disk[64];

FIXTURE(pi) {
	struct io io;
	int fd, buffered;
	char *data, *in;
	struct tuple *pi, *pi_in;
	struct io_uring_attr_pi attr;
};

IO_VARIANTS(pi);

FIXTURE_SETUP(pi)
{
	struct iovec iov[2];

	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, variant->flags,
			     variant->sqe_flags));
	self->fd = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	self->buffered = open(disk, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	ASSERT_LE(0, self->buffered);
	self->data = pages(MOST * SECTOR);
	self->in = pages(MOST * SECTOR);
	self->pi = (void *)pages(MOST * sizeof(struct tuple));
	self->pi_in = (void *)pages(MOST * sizeof(struct tuple));
	iov[0] = (struct iovec) { self->data, MOST * SECTOR };
	iov[1] = (struct iovec) { self->in, MOST * SECTOR };
	ASSERT_EQ(0, ring_register(&self->io.r, IORING_REGISTER_BUFFERS, iov, 2));
}

FIXTURE_TEARDOWN(pi)
{
	ring_exit(&self->io.r);
	close(self->fd);
	close(self->buffered);
}

/* The checksum of T10: polynomial 0x8bb7. */
static uint16_t checksum(const unsigned char *data)
{
	uint16_t crc = 0;
	int i, bit;

	for (i = 0; i < SECTOR; i++) {
		crc ^= data[i] << 8;
		for (bit = 0; bit < 8; bit++)
			crc = crc & 0x8000 ? crc << 1 ^ 0x8bb7 : crc << 1;
	}
	return crc;
}

static void protect(struct tuple *pi, const char *data, unsigned int sector, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		pi[i] = (struct tuple) {
			htons(checksum((const void *)(data + i * SECTOR))), htons(TAG),
			htonl(sector + i),
		};
}

static struct io_uring_sqe *prep_pi(struct io *io, int op, int fd, const void *addr,
				    unsigned int len, unsigned int sector,
				    struct io_uring_attr_pi *attr)
{
	struct io_uring_sqe *sqe = prep(io, op, fd, addr, len, (uint64_t)sector * SECTOR);

	sqe->attr_type_mask = IORING_RW_ATTR_FLAG_PI;
	sqe->attr_ptr = (unsigned long)attr;
	return sqe;
}

static struct io_uring_attr_pi attr_of(const struct tuple *pi, unsigned int sector,
				       unsigned int nr)
{
	return (struct io_uring_attr_pi) {
		.flags = CHECKS, .app_tag = TAG, .len = nr * sizeof(*pi),
		.addr = (unsigned long)pi, .seed = sector,
	};
}

#define PREP(op, fd, addr, nr, sector)	\
	prep_pi(&self->io, op, fd, addr, (nr) * SECTOR, sector, &self->attr)

/* The vectored ones get it in one piece all the same. */
static void transfer(struct _test_data_pi *self, int op, const struct iovec *iov,
		     unsigned int sector, unsigned int buffer)
{
	bool vector = op == IORING_OP_READV || op == IORING_OP_WRITEV ||
		      op == IORING_OP_READV_FIXED || op == IORING_OP_WRITEV_FIXED;
	struct io_uring_sqe *sqe = prep_pi(&self->io, op, self->fd, vector ? (void *)iov :
					   iov->iov_base, vector ? 1 : iov->iov_len, sector,
					   &self->attr);

	if (op != IORING_OP_READ && op != IORING_OP_WRITE && op != IORING_OP_READV &&
	    op != IORING_OP_WRITEV)
		sqe->buf_index = buffer;
}

/* By each of the opcodes, with sizes of one and of many requests of the disk: what was written. */
TEST_F_TIMEOUT(pi, there_and_back, 120)
{
	static const int ops[][2] = {
		{ IORING_OP_WRITE, IORING_OP_READ },
		{ IORING_OP_WRITEV, IORING_OP_READV },
		{ IORING_OP_WRITE_FIXED, IORING_OP_READ_FIXED },
		{ IORING_OP_WRITEV_FIXED, IORING_OP_READV_FIXED },
	};
	static const unsigned int sizes[] = { 1, 8, 100, MOST };
	unsigned int o, s, sector = 0;

	for (o = 0; o < ARRAY_SIZE(ops); o++) {
		for (s = 0; s < ARRAY_SIZE(sizes); s++, sector += 3) {
			unsigned int nr = sizes[s];
			struct iovec iov[2] = {
				{ self->data, nr * SECTOR }, { self->in, nr * SECTOR },
			};

			fill(self->data, nr * SECTOR, sector + 1);
			memset(self->in, 0, nr * SECTOR);
			memset(self->pi_in, 0, nr * sizeof(struct tuple));
			protect(self->pi, self->data, sector, nr);
			self->attr = attr_of(self->pi, sector, nr);
			transfer(self, ops[o][0], &iov[0], sector, 0);
			EXPECT_EQ(nr * SECTOR, run(&self->io)) TH_LOG("%u, %u", o, nr);
			self->attr = attr_of(self->pi_in, sector, nr);
			transfer(self, ops[o][1], &iov[1], sector, 1);
			EXPECT_EQ(nr * SECTOR, run(&self->io)) TH_LOG("%u, %u", o, nr);
			EXPECT_EQ(0, memcmp(self->data, self->in, nr * SECTOR));
			EXPECT_EQ(0, memcmp(self->pi, self->pi_in, nr * sizeof(struct tuple)));
		}
	}
}

/* What the disk checks: a wrong checksum or number is no success, and nothing is written. */
TEST_F(pi, what_is_wrong_is_found)
{
	struct io *io = &self->io;

	fill(self->data, 8 * SECTOR, 1);
	protect(self->pi, self->data, 64, 8);
	self->attr = attr_of(self->pi, 64, 8);
	PREP(IORING_OP_WRITE, self->fd, self->data, 8, 64);
	ASSERT_EQ(8 * SECTOR, run(io));
	memcpy(self->in, self->data, 8 * SECTOR);
	fill(self->data, 8 * SECTOR, 2);
	protect(self->pi, self->data, 64, 8);
	self->pi[5].guard ^= 1;
	PREP(IORING_OP_WRITE, self->fd, self->data, 8, 64);
	EXPECT_EQ(-EILSEQ, run(io));
	protect(self->pi, self->data, 65, 8);
	PREP(IORING_OP_WRITE, self->fd, self->data, 8, 64);
	EXPECT_EQ(-EILSEQ, run(io));
	self->attr = attr_of(self->pi_in, 64, 8);
	PREP(IORING_OP_READ, self->fd, self->data, 8, 64);
	EXPECT_EQ(8 * SECTOR, run(io));
	EXPECT_EQ(0, memcmp(self->in, self->data, 8 * SECTOR));
	EXPECT_EQ(htonl(64), self->pi_in[0].ref);
	EXPECT_EQ(htons(TAG), self->pi_in[7].app);
}

/* It may be anywhere in memory, and more than is needed, but neither less nor nowhere. */
TEST_F(pi, memory)
{
	struct tuple *odd = (void *)((char *)self->pi_in + 1);
	char *hole = before_hole(8);
	struct io *io = &self->io;

	fill(self->data, 8 * SECTOR, 3);
	protect(self->pi, self->data, 128, 8);
	self->attr = attr_of(self->pi, 128, 8);
	self->attr.len = 4096;
	PREP(IORING_OP_WRITE, self->fd, self->data, 8, 128);
	EXPECT_EQ(8 * SECTOR, run(io));
	self->attr = attr_of(odd, 128, 8);
	PREP(IORING_OP_READ, self->fd, self->in, 8, 128);
	EXPECT_EQ(8 * SECTOR, run(io));
	EXPECT_EQ(0, memcmp(odd, self->pi, 8 * sizeof(struct tuple)));
	self->attr.len -= 1;
	PREP(IORING_OP_READ, self->fd, self->in, 8, 128);
	EXPECT_EQ(-EINVAL, run(io));
	self->attr = attr_of((void *)hole, 128, 8);
	PREP(IORING_OP_READ, self->fd, self->in, 8, 128);
	EXPECT_EQ(-EIO, run(io));
	self->attr = attr_of((void *)8, 128, 8);
	PREP(IORING_OP_WRITE, self->fd, self->data, 8, 128);
	EXPECT_EQ(-EIO, run(io));
}

TEST_F(pi, does_not_fit)
{
	struct io *io = &self->io;

	self->attr = attr_of(self->pi, 0, 8);
	PREP(IORING_OP_READ, self->buffered, self->in, 8, 0);
	EXPECT_EQ(-EOPNOTSUPP, run(io));
	prep_pi(io, IORING_OP_READ, self->fd, self->in, 8 * SECTOR, 0, (void *)8);
	EXPECT_EQ(-EFAULT, run(io));
	self->attr.rsvd = 1;
	PREP(IORING_OP_READ, self->fd, self->in, 8, 0);
	EXPECT_EQ(-EINVAL, run(io));
	self->attr = attr_of((void *)(1ul << 63), 0, 8);
	PREP(IORING_OP_READ, self->fd, self->in, 8, 0);
	EXPECT_EQ(-EFAULT, run(io));
	self->attr = attr_of(self->pi_in, 0, 8);
	self->attr.flags = 0x100;
	PREP(IORING_OP_READ, self->fd, self->in, 8, 0);
	EXPECT_EQ(-EINVAL, run(io));
	self->attr = attr_of(self->pi_in, 0, 8);
	PREP(IORING_OP_READ, self->fd, self->in, 8, 0)->attr_type_mask = 3;
	EXPECT_EQ(-EINVAL, run(io));
	/* Neither of data that is not aligned, nor beyond the end. */
	self->attr = attr_of(self->pi_in, 0, 8);
	prep_pi(io, IORING_OP_READ, self->fd, self->in, 100, 0, &self->attr);
	EXPECT_EQ(-EINVAL, run(io));
	PREP(IORING_OP_READ, self->fd, self->in, 8, 1 << 20);
	EXPECT_EQ(0, run(io));
}

/* Many at a time; the attributes are read when the SQE is. */
TEST_F(pi, many)
{
	unsigned int round, i;

	fill(self->data, 64 * SECTOR, 4);
	protect(self->pi, self->data, 256, 64);
	for (round = 0; round < 50; round++) {
		memset(self->pi_in, 0, 64 * sizeof(struct tuple));
		for (i = 0; i < 8; i++) {
			self->attr = attr_of(self->pi + 8 * i, 256 + 8 * i, 8);
			PREP(IORING_OP_WRITE, self->fd, self->data + 8 * i * SECTOR, 8,
			     256 + 8 * i);
			ASSERT_EQ(1, ring_submit(&self->io.r, 0));
			if (ring_is_polled(&self->io.r))
				ASSERT_EQ(8 * SECTOR, wait_result(&self->io));
			memset(&self->attr, 0xff, sizeof(self->attr));
		}
		for (i = 0; i < 8 && !ring_is_polled(&self->io.r); i++)
			ASSERT_EQ(8 * SECTOR, wait_result(&self->io));
		self->attr = attr_of(self->pi_in, 256, 64);
		PREP(IORING_OP_READ, self->fd, self->in, 64, 256);
		ASSERT_EQ(64 * SECTOR, run(&self->io));
		ASSERT_EQ(0, memcmp(self->pi, self->pi_in, 64 * sizeof(struct tuple)));
	}
}

/* Completions that are polled for do not go with it. */
TEST_F(pi, polled)
{
	struct io io;

	if (variant->flags & IORING_SETUP_SQPOLL)
		SKIP(return, "rings of its own");
	ASSERT_EQ(0, io_init(&io, variant->backend, 8, variant->flags | IORING_SETUP_IOPOLL,
			     variant->sqe_flags));
	self->attr = attr_of(self->pi_in, 0, 8);
	prep_pi(&io, IORING_OP_READ, self->fd, self->in, 8 * SECTOR, 0, &self->attr);
	ASSERT_EQ(1, ring_submit(&io.r, 0));
	/* A worker finds out, and such a ring does not wait for one. */
	while (!ring_ready(&io.r)) {
		ring_enter(&io.r, 0, 1, IORING_ENTER_GETEVENTS);
		usleep(1000);
	}
	EXPECT_EQ(-EOPNOTSUPP, wait_result(&io));
	ring_exit(&io.r);
}

int main(int argc, char **argv)
{
	static const char where[] =
		"/sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*";
	glob_t found;
	int tries, ret;

	if (system("modprobe -q sd_mod; modprobe -q scsi_debug dif=1 dix=1 dev_size_mb=16")) {
		printf("# no scsi_debug\n");
		return 1;
	}
	for (tries = 0; tries < 1000; tries++) {
		if (!glob(where, 0, NULL, &found)) {
			snprintf(disk, sizeof(disk), "/dev/%s",
				 strrchr(found.gl_pathv[0], '/') + 1);
			globfree(&found);
			if (!access(disk, F_OK))
				break;
		}
		usleep(10000);
	}
	ret = test_harness_run(argc, argv);
	if (system("modprobe -q -r scsi_debug"))
		printf("# scsi_debug does not go\n");
	return ret;
}
