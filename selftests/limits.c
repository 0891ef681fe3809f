// SPDX-License-Identifier: GPL-2.0
/*
 * Limits on the device: rings of a user, requests and overflown CQEs of a ring. With the
 * module's defaults they are out of reach; params.sh runs this with small ones.
 */
#include "uring.h"
#include <sys/wait.h>
#include "kselftest_harness.h"

#define SMALL	64u	/* limits above this are not tested */

FIXTURE(limits) {
	struct ring r;
};

FIXTURE_SETUP(limits)
{
	unsigned int i;

	/* Earlier rings may still be on their way down. */
	for (i = 0; i < 1000; i++) {
		if (!ring_init(&self->r, DEVICE, 128, IORING_SETUP_SINGLE_ISSUER |
			       IORING_SETUP_DEFER_TASKRUN))
			return;
		usleep(10000);
	}
	ASSERT_LT(i, 1000);
}

FIXTURE_TEARDOWN(limits)
{
	ring_exit(&self->r);
}

/* The number with index @nr of a line of fdinfo. */
static unsigned int number(struct ring *r, const char *key, unsigned int nr)
{
	char path[32], line[1024];
	unsigned int value = UINT32_MAX;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", r->fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *at = line;
		unsigned int i;

		if (strncmp(line, key, strlen(key)))
			continue;
		for (i = 0; i <= nr; i++) {
			at += strcspn(at, "0123456789");
			value = strtoul(at, &at, 10);
		}
	}
	if (f)
		fclose(f);
	return value;
}

/* Waits until this ring is the only one of its user. */
static void alone(struct __test_metadata *_metadata, struct ring *r)
{
	unsigned int i;

	for (i = 0; i < 1000 && number(r, "UserRings:", 0) != 1; i++)
		usleep(10000);
	ASSERT_EQ(1, number(r, "UserRings:", 0));
}

static int one_more(void)
{
	struct io_uring_params p = {};

	return uring_setup(DEVICE, 1, &p);
}

TEST_F(limits, rings)
{
	unsigned int limit = number(&self->r, "UserRings:", 1), i;
	int fds[SMALL], status;
	pid_t pid;

	if (limit > SMALL)
		SKIP(return, "max_rings is %u", limit);
	ASSERT_LT(1, limit);
	alone(_metadata, &self->r);
	for (i = 1; i < limit; i++) {
		fds[i] = one_more();
		ASSERT_LE(0, fds[i]);
	}
	EXPECT_EQ(limit, number(&self->r, "UserRings:", 0));
	EXPECT_EQ(-EMFILE, one_more());
	/* A user's processes share, another user has rings of their own. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(one_more() != -EMFILE ||
		      (!getuid() && (setuid(4711) || one_more() < 0)));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	/* Failed setups take nothing. */
	for (i = 0; i < 10; i++)
		EXPECT_EQ(-EINVAL, uring_setup(DEVICE, 0, &self->r.p));
	close(fds[1]);
	for (i = 0; i < 1000; i++) {
		fds[1] = one_more();
		if (fds[1] != -EMFILE)
			break;
		usleep(10000);
	}
	EXPECT_LE(0, fds[1]);
	EXPECT_EQ(-EMFILE, one_more());
	for (i = 1; i < limit; i++)
		close(fds[i]);
	alone(_metadata, &self->r);
}

TEST_F(limits, requests)
{
	unsigned int limit = number(&self->r, "Requests:", 1), i, round, left, now;
	struct ring *r = &self->r;

	if (limit > SMALL)
		SKIP(return, "max_requests is %u", limit);
	for (round = 0; round < 3; round++) {
		/* Work that waits for the submitter. */
		for (i = 0; i < limit + 3; i++)
			ring_nop(r, i)->nop_flags = IORING_NOP_TW;
		EXPECT_EQ(limit, ring_enter(r, ring_flush(r), 0, 0));
		EXPECT_EQ(limit, number(r, "Requests:", 0));
		EXPECT_EQ(limit, number(r, "Requests:", 2));
		EXPECT_EQ(-EAGAIN, ring_enter(r, 3, 0, 0));
		EXPECT_EQ(-EAGAIN, ring_enter(r, 1, 1, IORING_ENTER_GETEVENTS));
		EXPECT_EQ((round + 1) * limit + 3 * round, *r->sq_head);
		/* The application has to take some back first. */
		for (left = 3; left; left -= now) {
			now = limit < left ? limit : left;
			EXPECT_EQ(0, ring_enter(r, 0, limit, IORING_ENTER_GETEVENTS));
			ASSERT_EQ(now, ring_enter(r, left, 0, 0));
		}
		EXPECT_EQ(0, ring_enter(r, 0, limit + 3, IORING_ENTER_GETEVENTS));
		for (i = 0; i < limit + 3; i++) {
			struct io_uring_cqe cqe = {};

			EXPECT_TRUE(ring_cqe(r, &cqe));
			EXPECT_EQ(i, cqe.user_data);
		}
	}
	/* What completes at once never comes near the limit. */
	EXPECT_EQ(100, ring_nops(r, 100, 0));
	EXPECT_EQ(100, ring_ready(r));
}

/* Waits 10 ms for a CQE. */
static int wait_a_little(struct ring *r, unsigned int nr)
{
	struct __kernel_timespec ts = { .tv_nsec = 10000000 };
	struct io_uring_getevents_arg arg = { .ts = (unsigned long)&ts };

	return uring_enter_arg(r->backend, r->fd, 0, nr, IORING_ENTER_GETEVENTS |
			       IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
}

/* A CQ of 4 that is full, a full overflow list, and 3 CQEs that found no place. */
static void lose(struct __test_metadata *_metadata, struct ring *r, unsigned int limit)
{
	unsigned int i;
	int ret;

	/* Earlier rings may still be on their way down. */
	for (i = 0; i < 1000; i++) {
		memset(r, 0, sizeof(*r));
		r->p.flags = IORING_SETUP_CQSIZE;
		r->p.cq_entries = 4;
		ret = ring_init_params(r, DEVICE, 4);
		if (ret != -EMFILE)
			break;
		usleep(10000);
	}
	ASSERT_EQ(0, ret);
	for (i = 0; i < 4 + limit + 3; i++)
		ASSERT_EQ(1, ring_nops(r, 1, i));
	EXPECT_EQ(4, ring_ready(r));
	EXPECT_EQ(3, *r->cq_overflow);
	EXPECT_EQ(limit, number(r, "Overflow:", 0));
	EXPECT_EQ(IORING_SQ_CQ_OVERFLOW, *r->sq_flags);
}

TEST_F(limits, overflow)
{
	unsigned int limit = number(&self->r, "Overflow:", 1), i;
	struct io_uring_cqe cqe;
	struct ring r;

	if (limit > SMALL)
		SKIP(return, "max_overflow is %u", limit);
	lose(_metadata, &r, limit);
	/* As long as there are CQEs, nobody hears of it. */
	EXPECT_EQ(0, wait_a_little(&r, 1));
	EXPECT_EQ(0, wait_a_little(&r, 4));
	for (i = 0; i < 4 + limit; i++) {
		if (!ring_ready(&r))
			EXPECT_EQ(0, wait_a_little(&r, 1));
		ASSERT_TRUE(ring_cqe(&r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
	}
	EXPECT_EQ(0, *r.sq_flags);
	/* Who waits for what is gone is told once. */
	EXPECT_EQ(0, wait_a_little(&r, 0));
	EXPECT_EQ(-EBADR, wait_a_little(&r, 1));
	EXPECT_EQ(-ETIME, wait_a_little(&r, 1));
	EXPECT_EQ(3, *r.cq_overflow);
	/* Then all is well again. */
	EXPECT_EQ(4, ring_nops(&r, 4, 0));
	EXPECT_EQ(0, wait_a_little(&r, 4));
	EXPECT_EQ(4, ring_ready(&r));
	EXPECT_EQ(3, *r.cq_overflow);
	ring_exit(&r);
}

TEST_F(limits, overflow_is_told_when_nothing_else_is)
{
	unsigned int limit = number(&self->r, "Overflow:", 1);
	struct io_uring_cqe cqe;
	struct ring r;

	if (limit > SMALL)
		SKIP(return, "max_overflow is %u", limit);
	lose(_metadata, &r, limit);
	while (ring_ready(&r) || !wait_a_little(&r, 1))
		ASSERT_TRUE(ring_cqe(&r, &cqe));
	/* That was the one time; lose some more. */
	EXPECT_EQ(-ETIME, wait_a_little(&r, 1));
	ring_exit(&r);

	lose(_metadata, &r, limit);
	while (*r.sq_flags) {
		ring_seen(&r, ring_ready(&r));
		EXPECT_EQ(0, ring_enter(&r, 0, 0, IORING_ENTER_GETEVENTS));
	}
	/* One CQE is there, two are waited for: that one is the answer. */
	ring_seen(&r, ring_ready(&r) - 1);
	EXPECT_EQ(0, wait_a_little(&r, 2));
	ring_seen(&r, 1);
	/* A submission was successful: that is. */
	ring_nop(&r, 1)->flags = IOSQE_CQE_SKIP_SUCCESS;
	EXPECT_EQ(1, ring_submit(&r, 1));
	EXPECT_EQ(-EBADR, wait_a_little(&r, 1));
	EXPECT_EQ(-ETIME, wait_a_little(&r, 1));
	ring_exit(&r);
}

/* Messages that a deferring ring has not run yet are what CQ and list could hold. */
TEST_F(limits, messages)
{
	unsigned int limit = number(&self->r, "Overflow:", 1), i, round;
	struct io_uring_cqe cqe;
	struct ring r = {
		.p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			   IORING_SETUP_CQSIZE,
		.p.cq_entries = 4,
	};

	if (limit > SMALL)
		SKIP(return, "max_overflow is %u", limit);
	alone(_metadata, &self->r);
	ASSERT_EQ(0, ring_init_params(&r, DEVICE, 4));
	for (round = 0; round < 2; round++) {
		for (i = 0; i < 4 + limit; i++)
			ASSERT_EQ(0, send_msg(DEVICE, r.fd, i, 0));
		EXPECT_EQ(-EOVERFLOW, send_msg(DEVICE, r.fd, i, 0));
		EXPECT_EQ(-EOVERFLOW, send_msg(DEVICE, r.fd, i, 0));
		for (i = 0; i < 4 + limit; i++) {
			if (!ring_ready(&r))
				EXPECT_EQ(0, wait_a_little(&r, 1));
			ASSERT_TRUE(ring_cqe(&r, &cqe));
			EXPECT_EQ(i, cqe.user_data);
		}
		EXPECT_EQ(-ETIME, wait_a_little(&r, 1));
		EXPECT_EQ(0, *r.cq_overflow);
	}
	ring_exit(&r);
}

TEST_HARNESS_MAIN
