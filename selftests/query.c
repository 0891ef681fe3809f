// SPDX-License-Identifier: GPL-2.0
/* IORING_REGISTER_QUERY: all answers, lists of queries, and what is wrong with them. */
#include "uring.h"
#include "kselftest_harness.h"

/* What the device knows; the kernel knows zero-copy receive, too. */
static bool known(enum backend backend, unsigned int op)
{
	return op == IO_URING_QUERY_OPCODES || op == IO_URING_QUERY_SCQ ||
		(backend == NATIVE && op < __IO_URING_QUERY_MAX);
}

FIXTURE(query) {
	struct ring r;
	int fd;		/* of the calls, -1 for no ring */
};

FIXTURE_VARIANT(query) {
	enum backend backend;
	bool blind;
};

FIXTURE_VARIANT_ADD(query, device) { .backend = DEVICE };
FIXTURE_VARIANT_ADD(query, native) { .backend = NATIVE };
FIXTURE_VARIANT_ADD(query, device_blind) { .backend = DEVICE, .blind = true };
FIXTURE_VARIANT_ADD(query, native_blind) { .backend = NATIVE, .blind = true };

FIXTURE_SETUP(query)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, 0));
	self->fd = variant->blind ? -1 : self->r.fd;
}

FIXTURE_TEARDOWN(query)
{
	ring_exit(&self->r);
}

static int query(enum backend backend, int fd, void *list)
{
	return uring_register(backend, fd, IORING_REGISTER_QUERY, list, 0);
}

static struct io_uring_query_hdr entry(unsigned int op, void *data, unsigned int size)
{
	return (struct io_uring_query_hdr) {
		.query_data = (unsigned long)data,
		.query_op = op,
		.size = size,
	};
}

TEST_F(query, opcodes)
{
	struct io_uring_query_opcode data = {};
	struct io_uring_query_hdr hdr = entry(IO_URING_QUERY_OPCODES, &data, sizeof(data));
	unsigned int bit;

	ASSERT_EQ(0, query(variant->backend, self->fd, &hdr));
	EXPECT_EQ(0, hdr.result);
	EXPECT_EQ(sizeof(data), hdr.size);
	EXPECT_EQ(IORING_OP_LAST, data.nr_request_opcodes);
	EXPECT_EQ(IORING_REGISTER_LAST, data.nr_register_opcodes);
	EXPECT_EQ(self->r.p.features, data.feature_flags);
	/* The device has no ZCRX_EVENT, the last one. */
	EXPECT_EQ(variant->backend == NATIVE ? 4 : 3, data.nr_query_opcodes);
	EXPECT_EQ(0, data.__pad);
	/* What is not told does not work. */
	for (bit = 0; bit < 32; bit++) {
		struct io_uring_params p = { .flags = 1u << bit };

		if (!(data.ring_setup_flags & 1u << bit))
			EXPECT_EQ(-EINVAL, uring_setup(variant->backend, 4, &p));
		if (!(data.enter_flags & 1u << bit))
			EXPECT_EQ(-EINVAL, ring_enter(&self->r, 0, 0, 1u << bit));
	}
	EXPECT_EQ(0, data.ring_setup_flags >> 21);
	EXPECT_EQ(0xff, data.enter_flags);
	for (bit = 0; bit < 8; bit++) {
		struct io_uring_cqe cqe;

		if (data.sqe_flags & 1u << bit)
			continue;
		ring_nop(&self->r, 1)->flags = 1u << bit;
		ASSERT_EQ(1, ring_submit(&self->r, 1));
		ASSERT_TRUE(ring_cqe(&self->r, &cqe));
		EXPECT_EQ(-EINVAL, cqe.res);
	}
	EXPECT_EQ(0x7f, data.sqe_flags);
}

TEST_F(query, header_of_the_rings)
{
	struct io_uring_query_scq data = {};
	struct io_uring_query_hdr hdr = entry(IO_URING_QUERY_SCQ, &data, sizeof(data));

	ASSERT_EQ(0, query(variant->backend, self->fd, &hdr));
	EXPECT_EQ(0, hdr.result);
	EXPECT_EQ(sizeof(data), hdr.size);
	EXPECT_EQ(self->r.p.cq_off.cqes, data.hdr_size);
	EXPECT_EQ(64, data.hdr_alignment);
}

/* As much as fits is told, and what is longer than the answer becomes zero. */
TEST_F(query, sizes)
{
	struct io_uring_query_opcode full, part;
	unsigned char room[4096];
	struct io_uring_query_hdr hdr = entry(0, &full, sizeof(full));
	unsigned int size, i;

	ASSERT_EQ(0, query(variant->backend, self->fd, &hdr));
	for (size = 1; size < sizeof(full); size++) {
		memset(&part, 0x55, sizeof(part));
		hdr = entry(0, &part, size);
		ASSERT_EQ(0, query(variant->backend, self->fd, &hdr));
		EXPECT_EQ(0, hdr.result);
		EXPECT_EQ(size, hdr.size);
		EXPECT_EQ(0, memcmp(&part, &full, size));
		for (i = size; i < sizeof(part); i++)
			EXPECT_EQ(0x55, ((unsigned char *)&part)[i]);
	}
	for (size = sizeof(full); size <= sizeof(room); size += 17) {
		memset(room, 0x55, sizeof(room));
		hdr = entry(0, room, size);
		ASSERT_EQ(0, query(variant->backend, self->fd, &hdr));
		EXPECT_EQ(sizeof(full), hdr.size);
		EXPECT_EQ(0, memcmp(room, &full, sizeof(full)));
		for (i = sizeof(full); i < size; i++)
			ASSERT_EQ(0, room[i]);
		for (; i < sizeof(room); i++)
			ASSERT_EQ(0x55, room[i]);
	}
	hdr = entry(0, room, sizeof(room));
	EXPECT_EQ(0, query(variant->backend, self->fd, &hdr));
	EXPECT_EQ(sizeof(full), hdr.size);
	hdr = entry(0, room, sizeof(room) + 1);
	EXPECT_EQ(-E2BIG, query(variant->backend, self->fd, &hdr));
	hdr = entry(0, room, ~0u);
	EXPECT_EQ(-E2BIG, query(variant->backend, self->fd, &hdr));
}

/* Errors of one query are told in it, and the list goes on. */
TEST_F(query, errors_of_an_entry)
{
	unsigned char data[64];
	struct io_uring_query_hdr bad[5], last = entry(IO_URING_QUERY_SCQ, data, 16);
	int i;

	bad[0] = entry(__IO_URING_QUERY_MAX, data, 48);
	bad[1] = entry(~0u, data, 0);
	bad[2] = entry(IO_URING_QUERY_SCQ, data, 0);
	bad[3] = entry(IO_URING_QUERY_SCQ, data, 16);
	bad[3].result = 1;
	bad[4] = entry(IO_URING_QUERY_SCQ, data, 16);
	bad[4].__resv[2] = 1;
	for (i = 0; i < 5; i++) {
		unsigned int size = bad[i].size, k;

		memset(data, 0x55, sizeof(data));
		bad[i].next_entry = (unsigned long)&last;
		last = entry(IO_URING_QUERY_SCQ, data + 48, 16);
		ASSERT_EQ(0, query(variant->backend, self->fd, &bad[i]));
		EXPECT_EQ(i < 2 ? -EOPNOTSUPP : -EINVAL, bad[i].result);
		EXPECT_EQ(0, bad[i].size);
		for (k = 0; k < size; k++)
			EXPECT_EQ(0, data[k]);
		EXPECT_EQ(0, last.result);
		EXPECT_EQ(16, last.size);
	}
}

TEST_F(query, all_operations)
{
	unsigned char data[64];
	unsigned int op;

	for (op = 0; op < 32; op++) {
		struct io_uring_query_hdr hdr = entry(op, data, sizeof(data));

		memset(data, 0, sizeof(data));
		ASSERT_EQ(0, query(variant->backend, self->fd, &hdr));
		EXPECT_EQ(known(variant->backend, op) ? 0 : -EOPNOTSUPP, hdr.result);
		EXPECT_EQ(known(variant->backend, op), hdr.size > 0);
	}
}

TEST_F(query, errors_of_the_call)
{
	struct io_uring_query_scq data;
	struct io_uring_query_hdr hdr = entry(IO_URING_QUERY_SCQ, &data, sizeof(data)), saved;
	char *ro = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	EXPECT_EQ(-EINVAL, uring_register(variant->backend, self->fd, IORING_REGISTER_QUERY,
					  &hdr, 1));
	EXPECT_EQ(0, query(variant->backend, self->fd, NULL));
	EXPECT_EQ(-EFAULT, query(variant->backend, self->fd, (void *)8));
	EXPECT_EQ(-EFAULT, query(variant->backend, self->fd, (void *)0xffff888000000000));
	saved = hdr;
	hdr.query_data = 8;
	EXPECT_EQ(-EFAULT, query(variant->backend, self->fd, &hdr));
	hdr = saved;
	hdr.next_entry = 8;
	EXPECT_EQ(-EFAULT, query(variant->backend, self->fd, &hdr));
	/* The first one was answered. */
	EXPECT_EQ(sizeof(data), hdr.size);
	/* The data, or the entry itself, cannot be written. */
	hdr = saved;
	hdr.query_data = (unsigned long)ro;
	EXPECT_EQ(-EFAULT, query(variant->backend, self->fd, &hdr));
	EXPECT_EQ(-EFAULT, query(variant->backend, self->fd, ro));
	/* An unknown one without data. */
	hdr = entry(77, NULL, 0);
	EXPECT_EQ(0, query(variant->backend, self->fd, &hdr));
	EXPECT_EQ(-EOPNOTSUPP, hdr.result);
	munmap(ro, 4096);
}

/* A list has fewer than 1000 entries; a circle has more. */
TEST_F(query, length)
{
	static struct io_uring_query_hdr list[1001];
	struct io_uring_query_scq data;
	unsigned int len[] = { 1, 2, 999, 1000, 1001 }, i, k;

	for (i = 0; i < 5; i++) {
		for (k = 0; k < len[i]; k++) {
			list[k] = entry(IO_URING_QUERY_SCQ, &data, sizeof(data));
			list[k].next_entry = k + 1 < len[i] ? (unsigned long)&list[k + 1] : 0;
		}
		EXPECT_EQ(len[i] < 1000 ? 0 : -ERANGE, query(variant->backend, self->fd, list));
		for (k = 0; k < len[i]; k++)
			EXPECT_EQ(k < 1000 ? 16 : sizeof(data), list[k].size);
	}
	list[0] = entry(IO_URING_QUERY_SCQ, &data, sizeof(data));
	list[0].next_entry = (unsigned long)&list[0];
	EXPECT_EQ(-ERANGE, query(variant->backend, self->fd, list));
	list[0] = entry(IO_URING_QUERY_SCQ, &data, sizeof(data));
	list[0].next_entry = (unsigned long)&list[1];
	list[1] = list[0];
	list[1].next_entry = (unsigned long)&list[0];
	EXPECT_EQ(-ERANGE, query(variant->backend, self->fd, list));
}

TEST_HARNESS_MAIN
