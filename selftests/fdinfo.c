// SPDX-License-Identifier: GPL-2.0
/* fdinfo: the same lines as of a native ring in the same state, and the device's own. */
#include "uring.h"
#include "kselftest_harness.h"

#define TEXT	16384

/* The device's lines begin so; natively there are none. */
static const char *const own[] = { "SetupFlags:", "Requests:", "Overflow:", "UserRings:" };

FIXTURE(fdinfo) {
	struct ring r[2];	/* by backend, in the same state */
	char *text[2];
	char *own;
};

FIXTURE_SETUP(fdinfo)
{
	int i;

	for (i = 0; i < 2; i++) {
		self->r[i].fd = -1;
		self->text[i] = malloc(TEXT);
		ASSERT_NE(NULL, self->text[i]);
	}
	self->own = malloc(TEXT);
	ASSERT_NE(NULL, self->own);
}

FIXTURE_TEARDOWN(fdinfo)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (self->r[i].fd >= 0)
			ring_exit(&self->r[i]);
		free(self->text[i]);
	}
	free(self->own);
}

static bool is_own(const char *line)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(own); i++)
		if (!strncmp(line, own[i], strlen(own[i])))
			return true;
	return false;
}

/* What io_uring tells of a descriptor, without what is told of every file. */
static int show(int fd, char *text, char *ours)
{
	char path[32], line[1024];
	bool ring = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	*text = 0;
	*ours = 0;
	while (fgets(line, sizeof(line), f)) {
		char *to = is_own(line) ? ours : text;

		ring = ring || !strncmp(line, "SqMask:", 7);
		if (ring && strlen(to) + strlen(line) < TEXT)
			memcpy(to + strlen(to), line, strlen(line) + 1);
	}
	fclose(f);
	return 0;
}

#define BOTH(entries, cq, flags_) do {						\
	int b_;									\
										\
	for (b_ = 0; b_ < 2; b_++) {						\
		memset(&self->r[b_], 0, sizeof(self->r[b_]));			\
		self->r[b_].p.flags = (flags_) | IORING_SETUP_CQSIZE;		\
		self->r[b_].p.cq_entries = cq;					\
		ASSERT_EQ(0, ring_init_params(&self->r[b_], b_, entries));	\
	}									\
} while (0)

#define for_both(r_)	for ((r_) = self->r; (r_) < self->r + 2; (r_)++)

/* Both are the same, line by line. */
#define SAME() do {								\
	char ours_[TEXT];							\
										\
	ASSERT_EQ(0, show(self->r[DEVICE].fd, self->text[0], self->own));	\
	ASSERT_EQ(0, show(self->r[NATIVE].fd, self->text[1], ours_));		\
	EXPECT_STREQ("", ours_);						\
	EXPECT_STREQ(self->text[1], self->text[0]);				\
} while (0)

/* ... and this is in it. */
#define HAS(line)	EXPECT_NE(NULL, strstr(self->text[0], line))
#define HAS_NOT(line)	EXPECT_EQ(NULL, strstr(self->text[0], line))

TEST_F(fdinfo, new_ring)
{
	static const char *const keys[] = {
		"SqMask:\t0x7\n", "SqHead:\t0\n", "SqTail:\t0\n", "CachedSqHead:\t0\n",
		"CqMask:\t0xf\n", "CqHead:\t0\n", "CqTail:\t0\n", "CachedCqTail:\t0\n",
		"SQEs:\t0\n", "CQEs:\t0\n", "SqThread:\t-1\n", "SqThreadCpu:\t-1\n",
		"SqTotalTime:\t0\n", "SqWorkTime:\t0\n", "UserFiles:\t0\n", "UserBufs:\t0\n",
		"PollList:\n", "CqOverflowList:\n", "NAPI:\tdisabled\n",
	};
	unsigned int i;

	BOTH(8, 16, 0);
	SAME();
	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		HAS(keys[i]) {
			TH_LOG("%s", keys[i]);
		}
	}
}

TEST_F(fdinfo, disabled_ring)
{
	BOTH(1, 1, IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER);
	SAME();
	HAS("SqMask:\t0x0\n");
}

TEST_F(fdinfo, submissions)
{
	struct io_uring_sqe *sqe;
	struct ring *r;

	BOTH(8, 16, 0);
	for_both(r) {
		EXPECT_EQ(3, ring_nops(r, 3, 0));
		ring_nop(r, 10);
		sqe = ring_nop(r, UINT64_MAX);
		sqe->flags = 0xff;
		sqe->fd = -5;
		sqe->off = UINT64_MAX;
		sqe->addr = 0x123456789abcdef0;
		sqe->rw_flags = 0xdeadbeef;
		sqe->buf_index = UINT16_MAX;
		/* Neither an opcode nor an index that there is. */
		ring_nop(r, 11)->opcode = 255;
		ring_nop(r, 12);
		r->sq_array[6] = 8;
		ring_nop(r, 13);
		ring_flush(r);
	}
	SAME();
	HAS("SqHead:\t3\n");
	HAS("SqTail:\t8\n");
	HAS("CachedSqHead:\t3\n");
	HAS("SQEs:\t5\n");
	HAS("    3: opcode:NOP, fd:0, flags:0, off:0, addr:0x0, ");
	HAS("rw_flags:0x0, buf_index:0 user_data:10\n");
	HAS("    4: opcode:NOP, fd:-5, flags:ff, off:18446744073709551615, ");
	HAS("addr:0x123456789abcdef0, rw_flags:0xdeadbeef, ");
	HAS("buf_index:65535 user_data:18446744073709551615\n");
	HAS_NOT("user_data:11\n");
	HAS_NOT("user_data:12\n");
	HAS("user_data:13\n");
	HAS("CQEs:\t3\n");
}

TEST_F(fdinfo, submissions_of_128_bytes)
{
	struct io_uring_sqe *sqe;
	struct ring *r;
	unsigned int i;

	BOTH(4, 4, IORING_SETUP_SQE128 | IORING_SETUP_NO_SQARRAY);
	for_both(r) {
		for (i = 0; i < 4; i++) {
			sqe = ring_nop(r, 100 + i);
			sqe->opcode = i % 2 ? IORING_OP_NOP128 : IORING_OP_NOP;
			memset(sqe + 1, 0x11 * (i + 1), sizeof(*sqe));
		}
		ring_flush(r);
	}
	SAME();
	HAS("    1: opcode:NOP128, fd:0, flags:0, off:0, addr:0x0, ");
	HAS("user_data:101, e0:0x2222222222222222, ");
	HAS("user_data:100, e0:0x1111111111111111, ");
	HAS(", e7:0x4444444444444444\n");
}

TEST_F(fdinfo, submissions_of_both_sizes)
{
	struct ring *r;

	BOTH(8, 8, IORING_SETUP_SQE_MIXED);
	for_both(r) {
		ring_nop(r, 100);
		ring_nop(r, 101)->opcode = IORING_OP_NOP128;
		memset(ring_sqe(r), 0x33, sizeof(*r->sqes));
		ring_flush(r);
	}
	SAME();
	HAS("    0: opcode:NOP, ");
	HAS("    1: opcode:NOP128, ");
	HAS("user_data:101, e0:0x3333333333333333, ");
	HAS_NOT("    2: opcode");
	/* Natively the one after it is passed over, which is a mistake. */
	for_both(r) {
		ring_nop(r, 103);
		ring_flush(r);
	}
	ASSERT_EQ(0, show(self->r[DEVICE].fd, self->text[0], self->own));
	HAS("    3: opcode:NOP, ");
	/* One that wraps. */
	for_both(r) {
		store_release(r->sq_tail, *r->sq_head);
		r->sqe_tail = *r->sq_tail;
		r->sqes[7].opcode = IORING_OP_NOP128;
		r->sq_array[0] = 7;
		store_release(r->sq_tail, 2);
	}
	SAME();
	HAS("    7: corrupted sqe, wrapping 128B entry\n");
}

TEST_F(fdinfo, big_submission_in_a_plain_ring)
{
	struct ring *r;

	BOTH(8, 8, 0);
	for_both(r) {
		ring_nop(r, 1);
		ring_nop(r, 2)->opcode = IORING_OP_NOP128;
		ring_nop(r, 3);
		ring_flush(r);
	}
	SAME();
	HAS("    1: invalid sqe, 128B entry on non-mixed sq\n");
	HAS_NOT("user_data:3\n");
}

TEST_F(fdinfo, names)
{
	struct ring *r;

	unsigned int opcode;

	BOTH(64, 64, 0);
	for_both(r) {
		for (opcode = 0; opcode < IORING_OP_LAST; opcode++)
			if (device_has_op(opcode))
				ring_nop(r, opcode)->opcode = opcode;
		ring_flush(r);
	}
	SAME();
	HAS("    1: opcode:READV, ");

	/* The device has no name for what it does not have. */
	BOTH(8, 8, 0);
	for_both(r) {
		ring_nop(r, 1)->opcode = IORING_OP_URING_CMD;
		ring_flush(r);
	}
	ASSERT_EQ(0, show(self->r[NATIVE].fd, self->text[0], self->own));
	HAS("    0: opcode:URING_CMD, ");
	ASSERT_EQ(0, show(self->r[DEVICE].fd, self->text[0], self->own));
	HAS("    0: opcode:INVALID, ");
}

TEST_F(fdinfo, completions)
{
	struct io_uring_sqe *sqe;
	struct ring *r;

	BOTH(8, 8, 0);
	for_both(r) {
		EXPECT_EQ(7, ring_nops(r, 7, 0));
		ring_seen(r, 5);
		sqe = ring_nop(r, UINT64_MAX);
		sqe->nop_flags = IORING_NOP_INJECT_RESULT;
		sqe->len = INT32_MIN;
		ring_nop(r, 8);
		EXPECT_EQ(2, ring_enter(r, ring_flush(r), 0, 0));
	}
	SAME();
	HAS("CqHead:\t5\n");
	HAS("CqTail:\t9\n");
	HAS("CachedCqTail:\t9\n");
	HAS("CQEs:\t4\n");
	HAS("    5: user_data:5, res:0, flags:0\n");
	HAS("    7: user_data:18446744073709551615, res:-2147483648, flags:0\n");
	HAS("    0: user_data:8, res:0, flags:0\n");
}

static void big_nop(struct ring *r, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_nop(r, user_data);

	sqe->nop_flags = IORING_NOP_CQE32;
	sqe->off = user_data + 1000;
	sqe->addr = UINT64_MAX;
}

TEST_F(fdinfo, completions_of_32_bytes)
{
	struct ring *r;

	BOTH(4, 4, IORING_SETUP_CQE32);
	for_both(r) {
		big_nop(r, 1);
		ring_nop(r, 2);
		big_nop(r, 3);
		EXPECT_EQ(3, ring_enter(r, ring_flush(r), 0, 0));
	}
	SAME();
	HAS("    0: user_data:1, res:0, flags:0, extra1:1001, extra2:18446744073709551615\n");
	HAS("    1: user_data:2, res:0, flags:0, extra1:0, extra2:0\n");
}

TEST_F(fdinfo, completions_of_both_sizes)
{
	struct ring *r;

	BOTH(8, 8, IORING_SETUP_CQE_MIXED);
	for_both(r) {
		EXPECT_EQ(5, ring_nops(r, 5, 0));
		ring_seen(r, 5);
		ring_nop(r, 5);
		ring_nop(r, 6);
		big_nop(r, 7);
		ring_nop(r, 8);
		EXPECT_EQ(4, ring_enter(r, ring_flush(r), 0, 0));
	}
	SAME();
	HAS("CQEs:\t6\n");
	HAS("    7: user_data:0, res:0, flags:20\n");
	HAS("    0: user_data:7, res:0, flags:8000, extra1:1007, extra2:18446744073709551615\n");
	HAS("    2: user_data:8, res:0, flags:0\n");
	HAS_NOT("    1: user_data");
}

TEST_F(fdinfo, overflown)
{
	struct ring *r;

	BOTH(4, 4, IORING_SETUP_CQE_MIXED);
	for_both(r) {
		EXPECT_EQ(4, ring_nops(r, 4, 0));
		ring_nop(r, 4);
		big_nop(r, 5);
		ring_nop(r, 6)->ioprio = 1;
		EXPECT_EQ(3, ring_enter(r, ring_flush(r), 0, 0));
	}
	SAME();
	HAS("CqOverflowList:\n  user_data=4, res=0, flags=0\n  user_data=5, ");
	HAS("  user_data=5, res=0, flags=8000\n  user_data=6, res=-22, flags=0\nNAPI:");
}

TEST_F(fdinfo, hostile_indices)
{
	static const unsigned int far[] = { 9, 1u << 31, UINT32_MAX };
	struct ring *r;
	unsigned int i;

	BOTH(8, 8, 0);
	/* Differences are told as they are, lists end where the ring does. */
	for (i = 0; i < ARRAY_SIZE(far); i++) {
		for_both(r) {
			store_release(r->sq_tail, far[i]);
			store_release(r->cq_head, -far[i]);
		}
		SAME();
	}
	HAS("SQEs:\t4294967295\n");
	HAS("CQEs:\t4294967295\n");
}

/* Reads the numbers of one of the device's lines. */
static bool numbers(const char *text, const char *key, unsigned int *value, int nr)
{
	const char *at = strstr(text, key);
	int i;

	for (i = 0; i < nr && at; i++) {
		at += strcspn(at, "0123456789\n");
		if (!isdigit(*at))
			return false;
		value[i] = strtoul(at, (char **)&at, 10);
	}
	return at;
}

TEST_F(fdinfo, requests)
{
	/* Those that exist, their limit, those in use. */
	unsigned int value[3];
	struct ring *r = &self->r[DEVICE];
	int i;

	BOTH(8, 8, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	SAME();
	ASSERT_TRUE(numbers(self->own, "Requests:", value, 3));
	EXPECT_EQ(0, value[0]);
	EXPECT_LT(0, value[1]);
	EXPECT_EQ(0, value[2]);
	for (i = 0; i < 5; i++)
		ring_nop(r, i)->nop_flags = IORING_NOP_TW;
	EXPECT_EQ(5, ring_enter(r, ring_flush(r), 0, 0));
	ASSERT_EQ(0, show(r->fd, self->text[0], self->own));
	ASSERT_TRUE(numbers(self->own, "Requests:", value, 3));
	EXPECT_EQ(5, value[0]);
	EXPECT_EQ(5, value[2]);
	EXPECT_EQ(0, ring_enter(r, 0, 5, IORING_ENTER_GETEVENTS));
	/* Done, and kept for the next ones. */
	ASSERT_EQ(0, show(r->fd, self->text[0], self->own));
	ASSERT_TRUE(numbers(self->own, "Requests:", value, 3));
	EXPECT_EQ(5, value[0]);
	EXPECT_EQ(0, value[2]);
}

TEST_F(fdinfo, overflow_list)
{
	/* CQEs on the list, and how many there may be. */
	unsigned int value[2];
	struct ring *r = &self->r[DEVICE];

	BOTH(4, 4, 0);
	EXPECT_EQ(4, ring_nops(r, 4, 0));
	EXPECT_EQ(3, ring_nops(r, 3, 4));
	ASSERT_EQ(0, show(r->fd, self->text[0], self->own));
	ASSERT_TRUE(numbers(self->own, "Overflow:", value, 2));
	EXPECT_EQ(3, value[0]);
	EXPECT_LT(0, value[1]);
	ring_seen(r, 4);
	EXPECT_EQ(0, ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS));
	ASSERT_EQ(0, show(r->fd, self->text[0], self->own));
	ASSERT_TRUE(numbers(self->own, "Overflow:", value, 2));
	EXPECT_EQ(0, value[0]);
}

TEST_F(fdinfo, rings_of_the_user)
{
	/* Rings of this user, and how many there may be. */
	unsigned int value[2], before, tries;
	struct io_uring_params p = {};
	int i, fds[10];

	BOTH(4, 4, 0);
	SAME();
	ASSERT_TRUE(numbers(self->own, "UserRings:", value, 2));
	before = value[0];
	EXPECT_LE(1, before);
	EXPECT_LE(before, value[1]);
	for (i = 0; i < 10; i++) {
		fds[i] = uring_setup(DEVICE, 4, &p);
		ASSERT_LE(0, fds[i]);
	}
	SAME();
	ASSERT_TRUE(numbers(self->own, "UserRings:", value, 2));
	/* Rings of earlier tests may still be on their way down. */
	EXPECT_LE(11, value[0]);
	EXPECT_GE(before + 10, value[0]);
	for (i = 0; i < 10; i++)
		close(fds[i]);
	/* A kernel thread takes them down. */
	for (tries = 0; tries < 1000; tries++) {
		SAME();
		ASSERT_TRUE(numbers(self->own, "UserRings:", value, 1));
		if (value[0] == 1)
			break;
		usleep(10000);
	}
	EXPECT_EQ(1, value[0]);
}

TEST_HARNESS_MAIN
