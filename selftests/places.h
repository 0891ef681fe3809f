/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One request in each of the places where one can be: how it gets there, and
 * what lets it go on. It has the user data TARGET; those that it takes to get it
 * there have others.
 */
#ifndef RUST_URING_SELFTEST_PLACES_H
#define RUST_URING_SELFTEST_PLACES_H

/* So that a transfer can be met while it is under way. */
#define NULLB_DELAY	"200000000"
#include "cqes.h"
#include <sys/socket.h>

#define TARGET	1
#define OTHER	2
#define ACTION	3
#define LATE	(600 * SEC)
#define PAGE	4096

/* What the requests of one ring wait for. */
struct scene {
	struct io io;
	int p[2];		/* is empty */
	int q[2];		/* is full */
	int disk;
	char fifo[64];
	char *memory;
	unsigned int got;	/* bits of user data */
	int res[8];
};

static struct io_uring_sqe *put(struct scene *s, int op, int fd, unsigned int len,
				uint64_t user_data)
{
	struct io_uring_sqe *sqe = prep(&s->io, op, fd, s->memory, len, 0);

	sqe->user_data = user_data;
	return sqe;
}

static void put_limit(struct scene *s)
{
	put(s, IORING_OP_READ, s->p[0], 1, OTHER)->flags |= IOSQE_IO_LINK;
	timer(&s->io.r, TARGET, LATE, 0, 0)->opcode = IORING_OP_LINK_TIMEOUT;
}

static void put_timer(struct scene *s)
{
	timer(&s->io.r, TARGET, LATE, 0, 0);
}

static void put_counter(struct scene *s)
{
	timer(&s->io.r, TARGET, LATE, 0, 100);
}

static void put_in_chain(struct scene *s)
{
	put(s, IORING_OP_READ, s->p[0], 1, OTHER)->flags |= IOSQE_IO_LINK;
	ring_nop(&s->io.r, TARGET);
}

static void put_behind_all(struct scene *s)
{
	put(s, IORING_OP_READ, s->p[0], 1, OTHER);
	ring_nop(&s->io.r, TARGET)->flags = IOSQE_IO_DRAIN;
}

static void put_poll(struct scene *s)
{
	struct io_uring_sqe *sqe = put(s, IORING_OP_POLL_ADD, s->p[0], 0, TARGET);

	sqe->addr = 0;
	sqe->poll32_events = POLLIN;
}

static void put_read(struct scene *s)
{
	put(s, IORING_OP_READ, s->p[0], 1, TARGET);
}

static void put_write(struct scene *s)
{
	put(s, IORING_OP_WRITE, s->q[1], PAGE, TARGET);
}

static void put_read_from_worker(struct scene *s)
{
	put(s, IORING_OP_READ, s->p[0], 1, TARGET)->flags |= IOSQE_ASYNC;
}

static void put_open(struct scene *s, uint64_t user_data)
{
	struct io_uring_sqe *sqe = put(s, IORING_OP_OPENAT, AT_FDCWD, 0, user_data);

	sqe->addr = (unsigned long)s->fifo;
	sqe->open_flags = O_RDONLY;
	sqe->file_index = user_data;
	sqe->flags |= IOSQE_ASYNC;
}

static void put_running(struct scene *s)
{
	put_open(s, TARGET);
}

static void put_queued(struct scene *s)
{
	unsigned int limits[2] = { 1, 1 };

	ring_register(&s->io.r, IORING_REGISTER_IOWQ_MAX_WORKERS, limits, 2);
	put_open(s, OTHER);
	put_open(s, TARGET);
}

static void put_transfer(struct scene *s)
{
	put(s, IORING_OP_READ, s->disk, PAGE, TARGET);
}

static void let_time_come(struct scene *s)
{
	struct io_uring_sqe *sqe = ring_sqe(&s->io.r);

	sqe->opcode = IORING_OP_TIMEOUT_REMOVE;
	sqe->addr = TARGET;
	sqe->off = 1000000;
	sqe->timeout_flags = IORING_TIMEOUT_UPDATE | IORING_TIMEOUT_IMMEDIATE_ARG;
	sqe->user_data = ACTION;
}

static void let_limit_come(struct scene *s)
{
	let_time_come(s);
	s->io.r.sqes[(s->io.r.sqe_tail - 1) & (s->io.r.p.sq_entries - 1)].timeout_flags |=
		IORING_LINK_TIMEOUT_UPDATE;
}

static void post_hundred(struct scene *s)
{
	int i;

	for (i = 0; i < 100; i++)
		ring_nop(&s->io.r, ACTION);
}

static void write_pipe(struct scene *s)
{
	if (write(s->p[1], "x", 1) != 1)
		abort();
}

static void read_pipe(struct scene *s)
{
	char junk[PAGE];

	if (read(s->q[0], junk, PAGE) != PAGE)
		abort();
}

static void open_fifo(struct scene *s)
{
	int tries, fd = -1;

	/* Until somebody is there to read, two of them one after the other. */
	for (tries = 0; tries < 10000 && fd < 0; tries++) {
		fd = open(s->fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		usleep(fd < 0 ? 1000 : 100000);
	}
	close(fd);
}

static void open_fifo_twice(struct scene *s)
{
	open_fifo(s);
	open_fifo(s);
}

static void nothing(struct scene *s)
{
}

/* By what a cancellation can find a request. */
enum by { BY_USER_DATA, BY_FILE, BY_OPCODE, BY_ANYTHING, NR_BY };

#define ALL_BY	((1u << NR_BY) - 1)

static const struct spot {
	const char *name;
	void (*put)(struct scene *s);
	void (*finish)(struct scene *s);
	int res;			/* when it is finished */
	int opcode;
	unsigned int found;		/* bits of enum by */
	bool in_worker, on_disk, holds_up;
	bool woken;			/* just now: nobody finds it there */
} places[] = {
	{ "a timer", put_timer, let_time_come, -ETIME, IORING_OP_TIMEOUT,
	  .found = ALL_BY & ~(1u << BY_FILE) },
	{ "a timer that CQEs end", put_counter, post_hundred, 0, IORING_OP_TIMEOUT,
	  .found = ALL_BY & ~(1u << BY_FILE) },
	/* By its file, or in any case, that is found which it limits. */
	{ "the timer of another one", put_limit, let_limit_come, -ETIME, IORING_OP_LINK_TIMEOUT,
	  .found = 1u << BY_FILE | 1u << BY_ANYTHING },
	{ "a chain", put_in_chain, write_pipe, 0, IORING_OP_NOP,
	  .found = 1u << BY_FILE | 1u << BY_ANYTHING },
	{ "behind all others", put_behind_all, write_pipe, 0, IORING_OP_NOP, .holds_up = true },
	{ "an armed poll", put_poll, write_pipe, POLLIN, IORING_OP_POLL_ADD, .found = ALL_BY },
	{ "a read's armed poll", put_read, write_pipe, 1, IORING_OP_READ, .found = ALL_BY },
	{ "a write's armed poll", put_write, read_pipe, PAGE, IORING_OP_WRITE, .found = ALL_BY },
	{ "a poll that a worker has armed", put_read_from_worker, write_pipe, 1, IORING_OP_READ,
	  .found = ALL_BY, .in_worker = true },
	{ "a worker's hands", put_running, open_fifo, 0, IORING_OP_OPENAT,
	  .found = ALL_BY & ~(1u << BY_FILE), .in_worker = true },
	{ "a pool's queue", put_queued, open_fifo_twice, 0, IORING_OP_OPENAT,
	  .found = ALL_BY & ~(1u << BY_FILE), .in_worker = true },
	/* In a ring that defers they stay there; elsewhere somebody comes for them. */
	{ "the completion list", put_poll, nothing, POLLIN, IORING_OP_POLL_ADD, .woken = true },
	{ "the list of what is to be tried again", put_read, nothing, 1, IORING_OP_READ,
	  .woken = true },
	{ "a disk", put_transfer, nothing, PAGE, IORING_OP_READ, .on_disk = true },
};

#define NR_PLACES	ARRAY_SIZE(places)

static bool scene_files(struct scene *s)
{
	static unsigned int nr;
	char junk[PAGE] = {};

	memset(s, 0, sizeof(*s));
	if (pipe2(s->p, O_CLOEXEC) || pipe2(s->q, O_CLOEXEC | O_NONBLOCK))
		return false;
	while (write(s->q[1], junk, PAGE) > 0)
		;
	fcntl(s->q[1], F_SETFL, 0);
	snprintf(s->fifo, sizeof(s->fifo), "%s/places.%d.%u", files_dir, getpid(), nr++);
	s->disk = place == BLOCK ? open(block_path, O_RDWR | O_DIRECT | O_CLOEXEC) : -1;
	s->memory = pages(PAGE);
	return !mkfifo(s->fifo, 0600);
}

/* Puts a request into a place, and waits until it is there. What is opened goes with the ring. */
static bool scene_begin(struct scene *s, const struct spot *at)
{
	int none[2] = { -1, -1 };

	if (ring_register(&s->io.r, IORING_REGISTER_FILES, none, 2))
		return false;
	at->put(s);
	if (ring_submit(&s->io.r, 0) < 1)
		return false;
	if (at->in_worker)
		usleep(50000);
	if (ring_ready(&s->io.r))
		return false;
	if (at->woken)
		write_pipe(s);
	return true;
}

static void scene_end(struct scene *s)
{
	int i;

	for (i = 0; i < 2; i++) {
		close(s->p[i]);
		close(s->q[i]);
	}
	close(s->disk);
	unlink(s->fifo);
	munmap(s->memory, PAGE);
}

/* Waits for the CQE with this user data. */
static int scene_result(struct scene *s, unsigned int user_data)
{
	struct io_uring_cqe cqe;

	while (!(s->got & 1u << user_data)) {
		if (!next_cqe(&s->io.r, &cqe) || cqe.user_data > ACTION)
			return NO_RESULT;
		/* Once, but for what is done a hundred times. */
		if (cqe.user_data != ACTION && (s->got & 1u << cqe.user_data))
			return NO_RESULT - 1;
		s->got |= 1u << cqe.user_data;
		s->res[cqe.user_data] = cqe.res;
	}
	return s->res[user_data];
}

/* Nobody holds the files that the requests had, within ten seconds. Closes our side of them. */
static const char *scene_is_over(struct scene *s)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 10 * SEC;
	char junk[PAGE];
	int fd;

	signal(SIGPIPE, SIG_IGN);
	close(s->p[0]);
	close(s->q[1]);
	s->p[0] = -1;
	s->q[1] = -1;
	fcntl(s->p[1], F_SETFL, O_NONBLOCK);
	while (now_ns(CLOCK_MONOTONIC) < limit) {
		ssize_t ret = write(s->p[1], "x", 1);

		usleep(1000);
		if (ret > 0 || (ret < 0 && errno == EAGAIN))
			continue;
		while (read(s->q[0], junk, PAGE) > 0)
			;
		if (read(s->q[0], junk, PAGE))
			continue;
		fd = open(s->fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 && errno == ENXIO)
			return NULL;
		close(fd);
	}
	return "a file is held";
}

#endif
