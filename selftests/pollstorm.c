// SPDX-License-Identifier: GPL-2.0
/*
 * Wakeups against removals, updates and the end of the ring: each request ends
 * once, with a CQE that it could have, and none is lost. A few seconds, or STRESS.
 */
#include "stress.h"
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include "kselftest_harness.h"

#define FDS	8
#define SLOTS	48
#define REMOVE	0x100000000ull

FIXTURE(pollstorm) {
	struct ring r;
};

RING_VARIANTS(pollstorm);

FIXTURE_SETUP(pollstorm)
{
}

FIXTURE_TEARDOWN(pollstorm)
{
}

struct storm {
	int read[FDS], write[FDS];
	volatile bool over;
};

/* Wakes those who wait, and takes away what they were woken for. */
static void *waker(void *arg)
{
	struct storm *s = arg;
	struct dice d;
	char c[16];

	dice_init(&d, stress_seed(7));
	while (!s->over) {
		int i = dice(&d, FDS);

		switch (dice(&d, 4)) {
		case 0:
			if (read(s->read[i], c, 8) < 0 && errno != EAGAIN)
				return "read";
			break;
		default:
			/* Enough for an eventfd. */
			if (write(s->write[i], "\1\0\0\0\0\0\0\0", 8) < 0 && errno != EAGAIN)
				return "write";
		}
		if (!dice(&d, 64))
			usleep(dice(&d, 200));
	}
	return NULL;
}

static int storm_files(struct storm *s)
{
	int i, p[2];

	for (i = 0; i < FDS; i++) {
		if (i % 3 == 0) {
			if (pipe2(p, O_CLOEXEC | O_NONBLOCK))
				return -errno;
		} else if (i % 3 == 1) {
			if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p))
				return -errno;
		} else {
			p[0] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
			p[1] = dup(p[0]);
			if (p[0] < 0 || p[1] < 0)
				return -errno;
		}
		s->read[i] = p[0];
		s->write[i] = p[1];
	}
	return 0;
}

static void storm_close(struct storm *s)
{
	int i;

	for (i = 0; i < FDS; i++) {
		close(s->read[i]);
		close(s->write[i]);
	}
}

/* What was submitted and is not over. */
struct books {
	bool polls[SLOTS], often[SLOTS], reads[SLOTS];
	bool removes[SLOTS];
	unsigned long ends, events, removed, missed;
};

/* Books one CQE; tells what is wrong with it. */
static const char *book(struct books *b, const struct io_uring_cqe *cqe)
{
	unsigned int slot = cqe->user_data & 0xffff;

	if (slot >= SLOTS)
		return "nobody's CQE";
	if (cqe->user_data & REMOVE) {
		if (!b->removes[slot])
			return "a second CQE of a removal";
		b->removes[slot] = false;
		if (cqe->res == 0)
			b->removed++;
		else if (cqe->res == -ENOENT || cqe->res == -EALREADY)
			b->missed++;
		else
			return "a removal that failed";
		return NULL;
	}
	if (!b->polls[slot])
		return "a CQE of a request that is over";
	if (cqe->flags & IORING_CQE_F_MORE) {
		if (!b->often[slot] || cqe->res <= 0)
			return "more of what comes once";
		b->events++;
		return NULL;
	}
	if (cqe->res <= 0 && cqe->res != -ECANCELED && cqe->res != -EAGAIN)
		return "a request that failed";
	b->polls[slot] = false;
	b->ends++;
	return NULL;
}

static const char *book_all(struct ring *r, struct books *b)
{
	struct io_uring_cqe cqe;
	const char *wrong = NULL;

	while (!wrong && ring_cqe(r, &cqe))
		wrong = book(b, &cqe);
	return wrong;
}

/* Something for a slot that has nothing; something against one that has. */
static void throw_one(struct ring *r, struct storm *s, struct books *b, struct dice *d, char *in)
{
	unsigned int slot = dice(d, SLOTS);
	struct io_uring_sqe *sqe;

	if (b->polls[slot] && b->removes[slot])
		return;
	sqe = ring_sqe(r);
	if (!sqe)
		return;
	if (!b->polls[slot]) {
		sqe->fd = s->read[dice(d, FDS)];
		sqe->user_data = slot;
		b->polls[slot] = true;
		b->often[slot] = false;
		b->reads[slot] = !dice(d, 4);
		if (b->reads[slot]) {
			sqe->opcode = IORING_OP_READ;
			sqe->addr = (unsigned long)(in + slot * 8);
			sqe->len = 8;
			return;
		}
		sqe->opcode = IORING_OP_POLL_ADD;
		sqe->poll32_events = dice(d, 8) ? POLLIN : POLLPRI;
		b->often[slot] = dice(d, 2);
		sqe->len = b->often[slot] ? IORING_POLL_ADD_MULTI : 0;
		return;
	}
	sqe->opcode = IORING_OP_POLL_REMOVE;
	sqe->addr = slot;
	sqe->user_data = slot | REMOVE;
	b->removes[slot] = true;
	if (!dice(d, 3)) {
		sqe->len = IORING_POLL_UPDATE_EVENTS;
		sqe->poll32_events = dice(d, 2) ? POLLIN : POLLPRI;
	}
}

/* Takes back what still waits, until nothing is left. */
static const char *drain(struct ring *r, struct storm *s, struct books *b)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 60 * SEC;
	const char *wrong;
	unsigned int i;

	ring_submit(r, 0);
	for (;;) {
		unsigned int left = 0, reads = 0;

		/* What was woken is not to be removed any more: it is dealt with first. */
		for (i = 0; i < 8; i++) {
			ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS);
			wrong = book_all(r, b);
			if (wrong)
				return wrong;
		}
		for (i = 0; i < SLOTS; i++) {
			struct io_uring_sqe *sqe;

			left += b->polls[i] + b->removes[i];
			reads += b->polls[i] && b->reads[i];
			if (!b->polls[i] || b->reads[i] || b->removes[i])
				continue;
			sqe = ring_sqe(r);
			if (!sqe)
				break;
			sqe->opcode = IORING_OP_POLL_REMOVE;
			sqe->addr = i;
			sqe->user_data = i | REMOVE;
			b->removes[i] = true;
		}
		if (!left)
			return NULL;
		ring_submit(r, 0);
		/* Reads are no polls: they get something to read. */
		for (i = 0; reads && i < FDS; i++)
			if (write(s->write[i], "\1\0\0\0\0\0\0\0", 8) < 0 && errno != EAGAIN)
				return "write";
		if (now_ns(CLOCK_MONOTONIC) > limit)
			return "a request that never ends";
		usleep(1000);
	}
}

TEST_F_TIMEOUT(pollstorm, wake_against_remove, 900)
{
	struct storm s = {};
	struct books b = {};
	const char *wrong = NULL;
	char in[SLOTS * 8];
	uint64_t end = stress_end(3);
	unsigned long rounds = 0;
	pthread_t thread;
	struct dice d;
	const char *ret;

	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 64, variant->flags));
	ASSERT_EQ(0, storm_files(&s));
	dice_init(&d, stress_seed(3));
	ASSERT_EQ(0, pthread_create(&thread, NULL, waker, &s));
	while (!wrong && !stress_over(end)) {
		int i, n = 1 + dice(&d, 8);

		for (i = 0; i < n; i++)
			throw_one(&self->r, &s, &b, &d, in);
		ring_enter(&self->r, ring_flush(&self->r), 0,
			   dice(&d, 2) ? IORING_ENTER_GETEVENTS : 0);
		wrong = book_all(&self->r, &b);
		rounds++;
	}
	s.over = true;
	ASSERT_EQ(0, pthread_join(thread, (void **)&ret));
	EXPECT_STREQ("", ret ? ret : "");
	if (!wrong)
		wrong = drain(&self->r, &s, &b);
	EXPECT_STREQ("", wrong ? wrong : "");
	TH_LOG("%lu rounds: %lu requests over, %lu events, %lu removed, %lu too late", rounds,
	       b.ends, b.events, b.removed, b.missed);
	EXPECT_LT(0, b.ends);
	EXPECT_LT(0, b.events);
	EXPECT_LT(0, b.removed);
	ring_exit(&self->r);
	storm_close(&s);
}

TEST_F_TIMEOUT(pollstorm, wake_against_close, 900)
{
	long before = module_refs();
	uint64_t end = stress_end(3);
	unsigned long rounds = 0;
	struct storm s = {};
	char in[SLOTS * 8];
	pthread_t thread;
	struct dice d;
	const char *ret;

	ASSERT_EQ(0, storm_files(&s));
	dice_init(&d, stress_seed(5));
	ASSERT_EQ(0, pthread_create(&thread, NULL, waker, &s));
	while (!stress_over(end)) {
		struct books b = {};
		int i;

		ASSERT_EQ(0, ring_init(&self->r, variant->backend, 64, variant->flags));
		for (i = 0; i < SLOTS; i++)
			throw_one(&self->r, &s, &b, &d, in);
		ring_submit(&self->r, 0);
		if (dice(&d, 2))
			usleep(dice(&d, 500));
		ring_exit(&self->r);
		rounds++;
	}
	s.over = true;
	ASSERT_EQ(0, pthread_join(thread, (void **)&ret));
	EXPECT_STREQ("", ret ? ret : "");
	TH_LOG("%lu rings", rounds);
	storm_close(&s);
	if (variant->backend == DEVICE)
		EXPECT_TRUE(falls_to(module_refs, before));
}

TEST_HARNESS_MAIN
