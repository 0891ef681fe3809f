/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Requests that wait in all places, and what ends them, at once and at random:
 * what they wait for, cancellation of all kinds, the end of the ring, the end
 * of the process. Each request has one CQE that is its last, and one that it
 * could have.
 */
#ifndef RUST_URING_SELFTEST_STORM_H
#define RUST_URING_SELFTEST_STORM_H

#define NULLB_DEPTH	"16"
#include "files.h"
#include "stress.h"
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define FDS	9
#define SLOTS	48
#define ATTACK	0x100000000ull
#define STORM_BLOCK	4096

/* Where requests wait. */
enum kind {
	POLLS, POLLS_OFTEN, READS, WRITES, OPENS, TRANSFERS,
	TIMES, REPEATS, COUNTS,
	NR_KINDS,
	/* In a chain, behind one of those; behind all others. */
	LIMITS, FOLLOWS, DRAINS,
};

/* What takes them out. */
enum attack {
	BY_USER_DATA, BY_FD, BY_SLOT, BY_OPCODE, BY_ALL_OF_IT, ANYTHING,
	POLL_REMOVES, POLL_CHANGES, TIME_REMOVES, TIME_CHANGES, LIMIT_CHANGES,
	NR_ATTACKS,
};

struct storm {
	struct ring r;
	enum backend backend;
	unsigned int flags;
	unsigned int kinds, attacks;		/* bits of the two above */
	struct dice d;
	/* Both ends of pipes and sockets, and eventfds; and two that are full. */
	int read[FDS], write[FDS], full[2], filled[2];
	int disk;
	char fifo[64];
	char *memory;
	volatile bool over, calm, cancels;
	const char *waker_failed;
	/* The books. */
	struct {
		bool pending;
		enum kind kind;
	} slots[SLOTS];
	bool attacks_pending[SLOTS];
	unsigned int drains;
	unsigned long ends, events, found, missed;
};

/* STRESS is for all tests on the device; natively it is to be shown that they are right. */
static __maybe_unused uint64_t storm_end(enum backend backend, unsigned int tests)
{
	const char *stress = getenv("STRESS");
	uint64_t ns = 2 * SEC;

	if (stress && backend == DEVICE)
		ns = strtoul(stress, NULL, 0) * SEC / tests / 3;
	return now_ns(CLOCK_MONOTONIC) + ns;
}

/* Whether it is, and everything has happened by then that is to happen. */
static __maybe_unused bool storm_over(const struct storm *s, uint64_t end)
{
	return stress_over(end) &&
	       ((s->ends && s->events && s->found) || stress_over(end + 60 * SEC));
}

static ssize_t put_now(int fd, const void *from, size_t len)
{
	struct iovec iov = { (void *)from, len };

	return pwritev2(fd, &iov, 1, -1, RWF_NOWAIT);
}

static ssize_t get_now(int fd, void *to, size_t len)
{
	struct iovec iov = { to, len };

	return preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
}

static bool sync_cancel_any(struct storm *s)
{
	struct io_uring_sync_cancel_reg reg = {
		.flags = IORING_ASYNC_CANCEL_ANY, .timeout = { .tv_nsec = 1000000 },
	};
	int ret = ring_register(&s->r, IORING_REGISTER_SYNC_CANCEL, &reg, 1);

	return ret >= 0 || ret == -ENOENT || ret == -ETIME || ret == -EINTR;
}

/* Makes happen what requests wait for, and takes it away again. */
static __maybe_unused void *waker(void *arg)
{
	static char junk[STORM_BLOCK];
	uint64_t one = 1;
	struct storm *s = arg;
	struct dice d;

	dice_init(&d, stress_seed(7));
	while (!s->over) {
		int i = dice(&d, FDS), fd;
		ssize_t ret = 0;

		switch (dice(&d, 12)) {
		case 0:
		case 1:
		case 2:
			/* All of it. */
			ret = get_now(s->read[i], junk, sizeof(junk));
			break;
		case 3:
			ret = get_now(s->filled[i % 2], junk, sizeof(junk));
			break;
		case 4:
			fd = open(s->fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
			if (fd < 0 && errno != ENXIO)
				ret = -1;
			close(fd);
			break;
		case 5:
			if (s->cancels && !dice(&d, 8) && !sync_cancel_any(s))
				s->waker_failed = "the other thread's cancellation";
			break;
		default:
			/* An eventfd cannot be asked not to block, and never does. */
			ret = i % 3 == 2 ? write(s->write[i], &one, 8) :
				put_now(s->write[i], &one, 8);
		}
		if (ret < 0 && errno != EAGAIN)
			s->waker_failed = "the other thread";
		if (s->calm)
			usleep(1000);
		else if (!dice(&d, 64))
			usleep(dice(&d, 500));
	}
	return NULL;
}

static int storm_files(struct storm *s)
{
	static char junk[STORM_BLOCK];
	int i, p[2];

	for (i = 0; i < FDS; i++) {
		if (i % 3 == 2) {
			p[0] = eventfd(0, EFD_CLOEXEC);
			p[1] = dup(p[0]);
		} else if (i % 3 ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) :
			   pipe2(p, O_CLOEXEC)) {
			return -errno;
		}
		s->read[i] = p[0];
		s->write[i] = p[1];
	}
	for (i = 0; i < 2; i++) {
		if (i ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) :
		    pipe2(p, O_CLOEXEC))
			return -errno;
		s->filled[i] = p[0];
		s->full[i] = p[1];
		while (put_now(p[1], junk, sizeof(junk)) > 0)
			;
	}
	snprintf(s->fifo, sizeof(s->fifo), "%s/storm.%d", files_dir, getpid());
	if (mkfifo(s->fifo, 0600))
		return -errno;
	s->disk = place == BLOCK ? open(block_path, O_RDWR | O_DIRECT | O_CLOEXEC) : -1;
	s->memory = pages(SLOTS * STORM_BLOCK);
	return 0;
}

static __maybe_unused void storm_files_close(struct storm *s)
{
	int i;

	for (i = 0; i < FDS; i++) {
		close(s->read[i]);
		close(s->write[i]);
	}
	for (i = 0; i < 2; i++) {
		close(s->full[i]);
		close(s->filled[i]);
	}
	close(s->disk);
	unlink(s->fifo);
	munmap(s->memory, SLOTS * STORM_BLOCK);
}

/*
 * A ring with our files registered but for UNIX sockets, and room for those that
 * requests open; and few workers.
 */
static int storm_ring(struct storm *s)
{
	unsigned int limits[2] = { 3, 3 };
	int files[FDS + SLOTS], i, ret;

	memset(files, 0xff, sizeof(files));
	for (i = 0; i < FDS; i++)
		if (i % 3 != 1)
			files[i] = s->read[i];
	memset(s->slots, 0, sizeof(s->slots));
	memset(s->attacks_pending, 0, sizeof(s->attacks_pending));
	s->drains = 0;
	/* There is no thread to be had while another one executes a program, or is being made. */
	while ((ret = ring_init(&s->r, s->backend, 64, s->flags)) == -EAGAIN)
		usleep(1000);
	return ret ?: ring_register(&s->r, IORING_REGISTER_FILES, files, FDS + SLOTS) ?:
		ring_register(&s->r, IORING_REGISTER_IOWQ_MAX_WORKERS, limits, 2);
}

static bool could_be(enum kind kind, int res)
{
	if (res == -ECANCELED)
		return true;
	switch (kind) {
	case POLLS:
	case POLLS_OFTEN:
		return res > 0;
	case READS:
	case WRITES:
		return res > 0 || res == -EINTR;
	case OPENS:
		return !res || res == -EINTR;
	case TRANSFERS:
		return res == STORM_BLOCK || res == -EINTR;
	case TIMES:
	case REPEATS:
		return res == -ETIME;
	case COUNTS:
		return res == -ETIME || !res;
	case LIMITS:
		return res == -ETIME || res == -EALREADY || res == -ENOENT;
	default:
		return !res;
	}
}

/* Books one CQE; tells what is wrong with it. */
static const char *book(struct storm *s, const struct io_uring_cqe *cqe)
{
	unsigned int slot = cqe->user_data & 0xffff;
	enum kind kind;

	if (slot >= SLOTS)
		return "nobody's CQE";
	if (cqe->user_data & ATTACK) {
		if (!s->attacks_pending[slot])
			return "a second CQE of an attack";
		s->attacks_pending[slot] = false;
		if (cqe->res >= 0)
			s->found++;
		else if (cqe->res == -ENOENT || cqe->res == -EALREADY || cqe->res == -ECANCELED)
			s->missed++;
		else
			return "an attack that failed";
		return NULL;
	}
	if (!s->slots[slot].pending)
		return "a CQE of a request that is over";
	kind = s->slots[slot].kind;
	if (!could_be(kind, cqe->res))
		return "a result that it cannot have";
	if (cqe->flags & IORING_CQE_F_MORE) {
		if (kind != POLLS_OFTEN && kind != REPEATS)
			return "more of what comes once";
		s->events++;
		return NULL;
	}
	s->slots[slot].pending = false;
	s->drains -= kind == DRAINS;
	s->ends++;
	return NULL;
}

static const char *book_all(struct storm *s)
{
	const char *wrong = NULL;
	struct io_uring_cqe cqe;

	while (!wrong && ring_cqe(&s->r, &cqe)) {
		wrong = book(s, &cqe);
		if (wrong)
			printf("# user data %llx, kind %d, result %d, flags %x\n", cqe.user_data,
			       s->slots[cqe.user_data % SLOTS].kind, cqe.res, cqe.flags);
	}
	return wrong;
}

/* A slot that is free; SLOTS if none is found. */
static unsigned int free_slot(struct storm *s)
{
	unsigned int tries, slot;

	for (tries = 0; tries < 8; tries++) {
		slot = dice(&s->d, SLOTS);
		if (!s->slots[slot].pending)
			return slot;
	}
	return SLOTS;
}

/* An SQE for a request that is from now on in the books. */
static struct io_uring_sqe *take_sqe(struct storm *s, unsigned int slot, enum kind kind)
{
	struct io_uring_sqe *sqe = ring_sqe(&s->r);

	sqe->user_data = slot;
	s->slots[slot].pending = true;
	s->slots[slot].kind = kind;
	s->drains += kind == DRAINS;
	return sqe;
}

/* Some are over at once, some soon, some never. */
static void set_time(struct storm *s, struct io_uring_sqe *sqe)
{
	static const unsigned int spans[] = { 1, 100000, 2000000, 2000000000 };

	sqe->addr = dice(&s->d, spans[dice(&s->d, 4)]);
	sqe->len = 1;
	sqe->timeout_flags = IORING_TIMEOUT_IMMEDIATE_ARG;
	if (dice(&s->d, 2))
		sqe->timeout_flags |= IORING_TIMEOUT_ETIME_SUCCESS;
}

static void set_request(struct storm *s, struct io_uring_sqe *sqe, enum kind kind,
			unsigned int slot)
{
	unsigned int file = dice(&s->d, FDS);
	bool fixed = file % 3 != 1 && dice(&s->d, 2);

	sqe->fd = fixed ? file : s->read[file];
	sqe->flags = fixed ? IOSQE_FIXED_FILE : 0;
	sqe->addr = (unsigned long)(s->memory + slot * STORM_BLOCK);
	switch (kind) {
	case POLLS:
	case POLLS_OFTEN:
		sqe->opcode = IORING_OP_POLL_ADD;
		sqe->addr = 0;
		sqe->poll32_events = dice(&s->d, 4) ? POLLIN : POLLPRI;
		sqe->len = kind == POLLS_OFTEN ? IORING_POLL_ADD_MULTI : 0;
		break;
	case READS:
		sqe->opcode = IORING_OP_READ;
		sqe->len = 8;
		sqe->off = -1;
		break;
	case WRITES:
		sqe->opcode = IORING_OP_WRITE;
		sqe->fd = s->full[dice(&s->d, 2)];
		sqe->flags = 0;
		sqe->len = STORM_BLOCK;
		sqe->off = -1;
		break;
	case OPENS:
		sqe->opcode = IORING_OP_OPENAT;
		sqe->fd = AT_FDCWD;
		sqe->addr = (unsigned long)s->fifo;
		sqe->flags = IOSQE_ASYNC;
		sqe->file_index = FDS + slot + 1;
		break;
	case TRANSFERS:
		sqe->opcode = dice(&s->d, 2) ? IORING_OP_READ : IORING_OP_WRITE;
		sqe->fd = s->disk;
		sqe->flags = 0;
		sqe->len = STORM_BLOCK;
		sqe->off = dice(&s->d, 1024) * STORM_BLOCK;
		break;
	default:
		sqe->opcode = IORING_OP_TIMEOUT;
		sqe->fd = -1;
		sqe->flags = 0;
		set_time(s, sqe);
		if (kind == COUNTS)
			sqe->off = 1 + dice(&s->d, 16);
		if (kind == REPEATS) {
			sqe->timeout_flags |= IORING_TIMEOUT_MULTISHOT;
			sqe->addr += 100000;
			sqe->off = dice(&s->d, 4);
		}
	}
	if (!dice(&s->d, 8))
		sqe->flags |= IOSQE_ASYNC;
}

/* One bit of those that are set. */
static unsigned int choose(struct dice *d, unsigned int bits, unsigned int nr)
{
	unsigned int one;

	do
		one = dice(d, nr);
	while (!(bits & 1u << one));
	return one;
}

/* A request, maybe with a timeout of its own, maybe with others behind it. */
static void throw_request(struct storm *s)
{
	enum kind kind = choose(&s->d, s->kinds, NR_KINDS);
	bool once = kind != POLLS_OFTEN && kind != REPEATS;
	struct io_uring_sqe *sqe;
	unsigned int slot, nr;

	slot = free_slot(s);
	if (slot == SLOTS)
		return;
	sqe = take_sqe(s, slot, kind);
	set_request(s, sqe, kind, slot);
	if (once && (s->kinds & 1u << LIMITS) && !dice(&s->d, 3)) {
		slot = free_slot(s);
		if (slot == SLOTS)
			return;
		sqe->flags |= IOSQE_IO_LINK;
		sqe = take_sqe(s, slot, LIMITS);
		sqe->opcode = IORING_OP_LINK_TIMEOUT;
		set_time(s, sqe);
	}
	nr = once && (s->kinds & 1u << FOLLOWS) && !dice(&s->d, 3) ? 1 + dice(&s->d, 2) : 0;
	while (nr--) {
		slot = free_slot(s);
		if (slot == SLOTS)
			return;
		sqe->flags |= dice(&s->d, 4) ? IOSQE_IO_LINK : IOSQE_IO_HARDLINK;
		kind = dice(&s->d, 2) ? FOLLOWS : READS;
		sqe = take_sqe(s, slot, kind);
		if (kind == READS)
			set_request(s, sqe, kind, slot);
	}
	slot = free_slot(s);
	if (slot == SLOTS || !(s->kinds & 1u << DRAINS) || dice(&s->d, 100))
		return;
	sqe = take_sqe(s, slot, DRAINS);
	sqe->flags = IOSQE_IO_DRAIN;
}

/* Something against one of them, or against all. */
static void throw_attack(struct storm *s)
{
	enum attack attack = choose(&s->d, s->attacks, NR_ATTACKS);
	static const unsigned char opcodes[] = {
		IORING_OP_POLL_ADD, IORING_OP_READ, IORING_OP_WRITE, IORING_OP_OPENAT,
		IORING_OP_TIMEOUT,
	};
	unsigned int slot = dice(&s->d, SLOTS), file = dice(&s->d, FDS);
	struct io_uring_sqe *sqe;

	if (s->attacks_pending[slot] || (attack == ANYTHING && dice(&s->d, 32)))
		return;
	s->attacks_pending[slot] = true;
	sqe = ring_sqe(&s->r);
	sqe->user_data = slot | ATTACK;
	sqe->addr = slot;
	sqe->fd = -1;
	switch (attack) {
	case POLL_REMOVES:
	case POLL_CHANGES:
		sqe->opcode = IORING_OP_POLL_REMOVE;
		if (attack == POLL_CHANGES) {
			sqe->len = IORING_POLL_UPDATE_EVENTS;
			sqe->poll32_events = dice(&s->d, 2) ? POLLIN : POLLPRI;
		}
		return;
	case TIME_REMOVES:
		sqe->opcode = IORING_OP_TIMEOUT_REMOVE;
		return;
	case TIME_CHANGES:
	case LIMIT_CHANGES:
		sqe->opcode = IORING_OP_TIMEOUT_REMOVE;
		set_time(s, sqe);
		sqe->len = 0;
		sqe->off = sqe->addr + 100000;
		sqe->addr = slot;
		sqe->timeout_flags = IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_IMMEDIATE_ARG;
		if (attack == LIMIT_CHANGES)
			sqe->timeout_flags |= IORING_LINK_TIMEOUT_UPDATE;
		return;
	case BY_USER_DATA:
		break;
	case BY_FD:
		sqe->cancel_flags = IORING_ASYNC_CANCEL_FD;
		sqe->fd = dice(&s->d, 4) ? s->read[file] : s->full[file % 2];
		break;
	case BY_SLOT:
		sqe->cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_FD_FIXED;
		sqe->fd = file - file % 3;
		break;
	case BY_OPCODE:
		sqe->cancel_flags = IORING_ASYNC_CANCEL_OP;
		sqe->len = opcodes[dice(&s->d, sizeof(opcodes))];
		break;
	case BY_ALL_OF_IT:
		sqe->cancel_flags = IORING_ASYNC_CANCEL_OP | IORING_ASYNC_CANCEL_USERDATA;
		sqe->len = IORING_OP_READ;
		break;
	default:
		sqe->cancel_flags = IORING_ASYNC_CANCEL_ANY;
	}
	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	if (!dice(&s->d, 4))
		sqe->cancel_flags |= IORING_ASYNC_CANCEL_ALL;
}

/* A few requests, a few attacks, and whatever has come of it. */
static __maybe_unused const char *storm_round(struct storm *s)
{
	int i, n = 1 + dice(&s->d, 6);

	/* Each is five SQEs at most. */
	for (i = 0; i < n; i++) {
		if (s->r.sqe_tail - load_acquire(s->r.sq_head) > 64 - 5)
			return "SQEs that are not taken";
		if (dice(&s->d, 2))
			throw_request(s);
		else
			throw_attack(s);
	}
	ring_enter(&s->r, ring_flush(&s->r), 0, dice(&s->d, 2) ? IORING_ENTER_GETEVENTS : 0);
	/* Attacks do not get past a drain, but for this one. */
	if (s->drains && !dice(&s->d, 8) && !sync_cancel_any(s))
		return "a synchronous cancellation that failed";
	if (!dice(&s->d, 64))
		usleep(dice(&s->d, 1000));
	return book_all(s);
}

/* Takes back what still waits, until nothing is left. */
static __maybe_unused const char *storm_ebbs(struct storm *s)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 60 * SEC;
	struct io_uring_sqe *sqe;
	const char *wrong;

	s->calm = true;
	for (;;) {
		unsigned int i, left = 0;

		ring_enter(&s->r, 0, 0, IORING_ENTER_GETEVENTS);
		wrong = book_all(s);
		if (wrong)
			return wrong;
		for (i = 0; i < SLOTS; i++)
			left += s->slots[i].pending + s->attacks_pending[i];
		if (!left)
			return NULL;
		if (now_ns(CLOCK_MONOTONIC) > limit)
			break;
		if (!s->attacks_pending[0]) {
			sqe = ring_sqe(&s->r);
			sqe->opcode = IORING_OP_ASYNC_CANCEL;
			sqe->cancel_flags = IORING_ASYNC_CANCEL_ANY;
			sqe->user_data = ATTACK;
			s->attacks_pending[0] = true;
			ring_submit(&s->r, 0);
		}
		if (!sync_cancel_any(s))
			return "a synchronous cancellation that failed";
		usleep(1000);
	}
	for (limit = 0; limit < SLOTS; limit++)
		if (s->slots[limit].pending || s->attacks_pending[limit])
			printf("# slot %d: request %d of kind %d, attack %d\n", (int)limit,
			       s->slots[limit].pending, s->slots[limit].kind,
			       s->attacks_pending[limit]);
	return "a request that never ends";
}

/* In a process that is killed in the middle of it. */
static __maybe_unused bool storm_kill(struct storm *s)
{
	int status = 0, p[2];
	pid_t pid;
	char c;

	if (pipe2(p, O_CLOEXEC))
		return false;
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(p[0]);
		if (storm_ring(s))
			_exit(1);
		for (;;) {
			if (storm_round(s))
				_exit(2);
			if (!dice(&s->d, 8) && write(p[1], "x", 1) != 1)
				_exit(3);
		}
	}
	close(p[1]);
	if (read(p[0], &c, 1) == 1)
		usleep(dice(&s->d, 5000));
	kill(pid, SIGKILL);
	close(p[0]);
	if (waitpid(pid, &status, 0) != pid)
		return false;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		printf("# status %x\n", status);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/*
 * The three tests of a storm: in one ring; over rings that are closed; over
 * processes that are killed.
 */
#define STORM(name, the_kinds, the_attacks)					\
FIXTURE(name) {									\
	struct storm s;								\
	long refs;								\
	pthread_t thread;							\
};										\
										\
RING_VARIANTS(name);								\
										\
FIXTURE_SETUP(name)								\
{										\
	struct storm *s = &self->s;						\
										\
	self->refs = module_refs();						\
	s->backend = variant->backend;						\
	s->flags = variant->flags;						\
	s->kinds = the_kinds;							\
	s->attacks = the_attacks;						\
	dice_init(&s->d, stress_seed(3));					\
	ASSERT_EQ(0, storm_files(s));						\
	if (s->disk < 0)							\
		s->kinds &= ~(1u << TRANSFERS);					\
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, waker, s));		\
}										\
										\
FIXTURE_TEARDOWN(name)								\
{										\
	self->s.over = true;							\
	ASSERT_EQ(0, pthread_join(self->thread, NULL));				\
	EXPECT_EQ(NULL, self->s.waker_failed) TH_LOG("%s", self->s.waker_failed);\
	storm_files_close(&self->s);						\
	if (variant->backend == DEVICE)						\
		EXPECT_TRUE(falls_to(module_refs, self->refs));			\
}										\
										\
TEST_F_TIMEOUT(name, against_all, 900)						\
{										\
	uint64_t end = storm_end(variant->backend, 3);				\
	const char *wrong = NULL;						\
	unsigned long rounds = 0;						\
	struct storm *s = &self->s;						\
										\
	ASSERT_EQ(0, storm_ring(s));						\
	s->cancels = !(variant->flags & IORING_SETUP_SINGLE_ISSUER);		\
	for (; !wrong && !storm_over(s, end); rounds++)			\
		wrong = storm_round(s);						\
	s->cancels = false;							\
	if (!wrong)								\
		wrong = storm_ebbs(s);						\
	EXPECT_STREQ("", wrong ?: "");						\
	TH_LOG("%lu rounds: %lu requests over, %lu events, %lu found, %lu too late",\
	       rounds, s->ends, s->events, s->found, s->missed);		\
	EXPECT_LT(0, s->ends);							\
	EXPECT_LT(0, s->events);						\
	EXPECT_LT(0, s->found);							\
	ring_exit(&s->r);							\
}										\
										\
TEST_F_TIMEOUT(name, against_close, 900)					\
{										\
	uint64_t end = storm_end(variant->backend, 3);				\
	unsigned long rings = 0;						\
	struct storm *s = &self->s;						\
	int i, n;								\
										\
	for (; !stress_over(end); rings++) {					\
		ASSERT_EQ(0, storm_ring(s));					\
		n = 1 + dice(&s->d, 16);					\
		for (i = 0; i < n; i++)						\
			ASSERT_EQ(NULL, storm_round(s));			\
		if (dice(&s->d, 2))						\
			usleep(dice(&s->d, 1000));				\
		ring_exit(&s->r);						\
	}									\
	TH_LOG("%lu rings", rings);						\
}										\
										\
TEST_F_TIMEOUT(name, against_kill, 900)						\
{										\
	uint64_t end = storm_end(variant->backend, 3);				\
	unsigned long processes = 0;						\
										\
	for (; !stress_over(end); processes++) {				\
		dice_throw(&self->s.d);						\
		ASSERT_TRUE(storm_kill(&self->s));				\
	}									\
	TH_LOG("%lu processes", processes);					\
}										\
										\
FILES_MAIN

#endif
