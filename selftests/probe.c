// SPDX-License-Identifier: GPL-2.0
/* IORING_REGISTER_PROBE: it tells the truth about every opcode. */
#include "uring.h"
#include "kselftest_harness.h"

struct probe {
	struct io_uring_probe head;
	struct io_uring_probe_op ops[256];
};

FIXTURE(probe) {
	struct ring r;
	struct probe p;
};

RING_VARIANTS(probe);

FIXTURE_SETUP(probe)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8,
			       variant->flags | IORING_SETUP_SQE128));
}

FIXTURE_TEARDOWN(probe)
{
	ring_exit(&self->r);
}

static int probe(struct ring *r, struct probe *p, unsigned int nr)
{
	memset(p, 0, sizeof(*p));
	return ring_register(r, IORING_REGISTER_PROBE, p, nr);
}

/*
 * The result of an SQE that is all zeroes but for opcode, descriptor, and user data, so that it is
 * not taken for another one.
 */
static int try_opcode(struct ring *r, unsigned int opcode)
{
	struct io_uring_sqe *sqe = ring_sqe(r);
	struct io_uring_cqe cqe;

	sqe->opcode = opcode;
	sqe->fd = -1;
	sqe->user_data = 1;
	if (ring_submit(r, 1) != 1 || !ring_cqe(r, &cqe))
		return -1000;
	return cqe.res;
}

TEST_F(probe, describes_itself)
{
	unsigned int i;

	ASSERT_EQ(0, probe(&self->r, &self->p, 256));
	EXPECT_EQ(IORING_OP_LAST - 1, self->p.head.last_op);
	EXPECT_EQ(IORING_OP_LAST, self->p.head.ops_len);
	EXPECT_EQ(0, self->p.head.resv);
	for (i = 0; i < 3; i++)
		EXPECT_EQ(0, self->p.head.resv2[i]);
	for (i = 0; i < IORING_OP_LAST; i++) {
		EXPECT_EQ(i, self->p.ops[i].op);
		EXPECT_EQ(0, self->p.ops[i].flags & ~IO_URING_OP_SUPPORTED);
		EXPECT_EQ(0, self->p.ops[i].resv);
		EXPECT_EQ(0, self->p.ops[i].resv2);
	}
	for (; i < 256; i++)
		EXPECT_EQ(0, memcmp(&self->p.ops[i], &(struct io_uring_probe_op){}, 8));
}

/* What is not supported is EINVAL, and what there is works. */
TEST_F(probe, tells_the_truth)
{
	unsigned int i, supported = 0;
	struct ring other;

	ASSERT_EQ(0, ring_init(&other, NATIVE, 8, variant->flags | IORING_SETUP_SQE128));
	ASSERT_EQ(0, probe(&self->r, &self->p, 256));
	for (i = 0; i < IORING_OP_LAST; i++) {
		if (!(self->p.ops[i].flags & IO_URING_OP_SUPPORTED)) {
			EXPECT_EQ(-EINVAL, try_opcode(&self->r, i));
			continue;
		}
		supported++;
		if (variant->backend == NATIVE)
			continue;
		/* What it needs is missing, which is found out as it is natively. */
		EXPECT_TRUE(device_has_op(i)) TH_LOG("opcode %u", i);
		EXPECT_EQ(try_opcode(&other, i), try_opcode(&self->r, i)) TH_LOG("opcode %u", i);
	}
	ring_exit(&other);
	for (; i < 256; i++)
		EXPECT_EQ(-EINVAL, try_opcode(&self->r, i));
	EXPECT_TRUE(self->p.ops[IORING_OP_NOP].flags & IO_URING_OP_SUPPORTED);
	EXPECT_TRUE(self->p.ops[IORING_OP_NOP128].flags & IO_URING_OP_SUPPORTED);
	if (variant->backend == DEVICE) {
		for (i = 0; i < IORING_OP_LAST; i++)
			supported -= device_has_op(i);
		EXPECT_EQ(0, supported);
	}
}

TEST_F(probe, as_many_as_asked_for)
{
	unsigned int nr[] = { 0, 1, 7, IORING_OP_LAST - 1, IORING_OP_LAST, IORING_OP_LAST + 1,
		255 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(nr); i++) {
		unsigned int len = nr[i] < IORING_OP_LAST ? nr[i] : IORING_OP_LAST;
		unsigned int k;

		memset(&self->p, 0, sizeof(self->p));
		/* What is beyond is neither read nor written. */
		memset(&self->p.ops[len], 0xee, sizeof(self->p.ops[0]));
		ASSERT_EQ(0, ring_register(&self->r, IORING_REGISTER_PROBE, &self->p, nr[i]));
		EXPECT_EQ(IORING_OP_LAST - 1, self->p.head.last_op);
		EXPECT_EQ(len, self->p.head.ops_len);
		for (k = 0; k < len; k++)
			EXPECT_EQ(k, self->p.ops[k].op);
		EXPECT_EQ(0xee, self->p.ops[len].op);
		EXPECT_EQ(0xeeee, self->p.ops[len].flags);
	}
}

TEST_F(probe, errors)
{
	unsigned char *bytes = (unsigned char *)&self->p;
	size_t size = sizeof(struct io_uring_probe) + 10 * sizeof(struct io_uring_probe_op), i;
	long page = sysconf(_SC_PAGESIZE);
	char *end;

	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_PROBE, NULL, 0));
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_PROBE, NULL, 10));
	EXPECT_EQ(-EINVAL, probe(&self->r, &self->p, 257));
	EXPECT_EQ(-EINVAL, probe(&self->r, &self->p, ~0u));
	/* Every byte must be zero, and stays as it is if one is not. */
	for (i = 0; i < size; i++) {
		memset(&self->p, 0, sizeof(self->p));
		bytes[i] = 1;
		EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_PROBE, &self->p, 10));
		bytes[i] = 0;
		EXPECT_EQ(0, memcmp(&self->p, &(struct probe){}, sizeof(self->p)));
	}

	end = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, end);
	end += page;
	ASSERT_EQ(0, mprotect(end, page, PROT_NONE));
	EXPECT_EQ(0, ring_register(&self->r, IORING_REGISTER_PROBE, end - size, 10));
	memset(end - size, 0, size);
	EXPECT_EQ(-EFAULT, ring_register(&self->r, IORING_REGISTER_PROBE, end - size, 11));
	EXPECT_EQ(-EFAULT, ring_register(&self->r, IORING_REGISTER_PROBE, end, 0));
	/* Read-only memory, with something wrong in it or not. */
	ASSERT_EQ(0, mprotect(end - page, page, PROT_READ));
	EXPECT_EQ(-EFAULT, ring_register(&self->r, IORING_REGISTER_PROBE, end - size, 10));
}

TEST_HARNESS_MAIN
