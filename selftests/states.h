/* SPDX-License-Identifier: GPL-2.0 */
/* What a process can be in the middle of with rings when it is killed. */
#ifndef RUST_URING_SELFTEST_STATES_H
#define RUST_URING_SELFTEST_STATES_H

#include "stress.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#define DEFER	(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
#define PAGE	4096

/* One process, which is to die. */
struct victim {
	enum backend backend;
	struct dice dice;
	int ready;		/* where it tells that it is in its state */
	struct ring *others;	/* rings that it shares with all */
	unsigned int nr_others;
};

/* It should have been killed instead. */
#define MUST(cond)	do { if (!(cond)) _exit(__LINE__ & 127 ?: 1); } while (0)

static void ready(struct victim *v)
{
	MUST(write(v->ready, "x", 1) == 1);
}

static void make(struct victim *v, struct ring *r, unsigned int flags)
{
	int ret;

	/* While another thread executes a program there is no thread to be had. */
	while ((ret = ring_init(r, v->backend, 8, flags)) == -EAGAIN)
		usleep(1000);
	MUST(!ret);
}

static void wait_forever(struct victim *v, int fd, unsigned int flags)
{
	ready(v);
	uring_enter(v->backend, fd, 0, 1, IORING_ENTER_GETEVENTS | flags);
	MUST(0);
}

static void waits(struct victim *v)
{
	struct ring r;

	make(v, &r, 0);
	wait_forever(v, r.fd, 0);
}

static void waits_deferring(struct victim *v)
{
	struct ring r;

	make(v, &r, DEFER);
	wait_forever(v, r.fd, 0);
}

/* The registration is all that it has of the ring. */
static void waits_registered(struct victim *v)
{
	struct io_uring_rsrc_update up = { .offset = -1U };
	struct ring r;

	make(v, &r, dice(&v->dice, 2) ? DEFER : 0);
	up.data = r.fd;
	MUST(ring_register(&r, IORING_REGISTER_RING_FDS, &up, 1) == 1);
	ring_exit(&r);
	wait_forever(v, up.offset, IORING_ENTER_REGISTERED_RING);
}

static void waits_in_user_memory(struct victim *v)
{
	struct ring r = { .rings_size = PAGE, .sqes_size = PAGE };

	r.rings = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(r.rings != MAP_FAILED);
	r.sqes = (void *)(r.rings + PAGE);
	MUST(!ring_init_user(&r, v->backend, 8, dice(&v->dice, 2) ? DEFER : 0));
	MUST(ring_nops(&r, 4, 0) == 4);
	ring_seen(&r, 4);
	wait_forever(v, r.fd, 0);
}

static void waits_with_region(struct victim *v)
{
	bool user = dice(&v->dice, 2);
	struct io_uring_region_desc desc = {
		.size = 2 * PAGE, .flags = user ? IORING_MEM_REGION_TYPE_USER : 0,
	};
	struct io_uring_mem_region_reg reg = {
		.region_uptr = (unsigned long)&desc, .flags = IORING_MEM_REGION_REG_WAIT_ARG,
	};
	struct io_uring_reg_wait *args;
	struct ring r;

	make(v, &r, IORING_SETUP_R_DISABLED);
	args = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (user)
		desc.user_addr = (unsigned long)args;
	MUST(!ring_register(&r, IORING_REGISTER_MEM_REGION, &reg, 1));
	MUST(!ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	if (!user)
		args = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd,
			    desc.mmap_offset);
	MUST(args != MAP_FAILED);
	args[1] = (struct io_uring_reg_wait) {
		.ts.tv_nsec = 1000000, .flags = IORING_REG_WAIT_TS,
	};
	ready(v);
	for (;;)
		MUST(uring_enter_arg(v->backend, r.fd, 0, 1,
				     IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG |
				     IORING_ENTER_EXT_ARG_REG, (void *)sizeof(*args),
				     sizeof(*args)) == -ETIME);
}

static void submits(struct victim *v)
{
	struct ring r;

	make(v, &r, random_setup(&v->dice) & ~(IORING_SETUP_CQSIZE | IORING_SETUP_SQ_REWIND));
	ready(v);
	for (;;) {
		int ret = ring_nops(&r, 1 + dice(&v->dice, 8), 0);

		/* With CQEs on the overflow list it is for the application to enter. */
		MUST(ret >= 0 || ret == -EAGAIN || ret == -ENOSPC);
		if (!dice(&v->dice, 4))
			ring_seen(&r, ring_ready(&r));
		if (!dice(&v->dice, 16))
			ring_enter(&r, 0, 0, IORING_ENTER_GETEVENTS);
	}
}

static void has_pending_work(struct victim *v)
{
	struct ring r;
	int i;

	make(v, &r, DEFER);
	for (i = 0; i < 20; i++)
		MUST(!send_msg(v->backend, r.fd, i, 0));
	ready(v);
	pause();
}

static void has_overflow(struct victim *v)
{
	struct ring r;
	int i;

	make(v, &r, dice(&v->dice, 2) ? DEFER : 0);
	for (i = 0; i < 5; i++)
		MUST(ring_nops(&r, 8, 0) == 8);
	MUST(load_acquire(r.sq_flags) & IORING_SQ_CQ_OVERFLOW);
	ready(v);
	pause();
}

static void has_eventfd(struct victim *v)
{
	int event = eventfd(0, EFD_CLOEXEC);
	struct ring r;

	make(v, &r, dice(&v->dice, 2) ? DEFER : 0);
	MUST(!ring_register(&r, IORING_REGISTER_EVENTFD, &event, 1));
	MUST(ring_nops(&r, 1, 0) == 1);
	MUST(read(event, &(uint64_t) { 0 }, 8) == 8);
	ring_seen(&r, 1);
	close(event);
	wait_forever(v, r.fd, 0);
}

static void sets_up(struct victim *v)
{
	ready(v);
	for (;;) {
		struct io_uring_params p = { .flags = random_setup(&v->dice), .cq_entries = 64 };
		int fd = uring_setup(v->backend, 1 + dice(&v->dice, 64), &p);

		/* A ring of one entry takes no entries of two sizes. */
		MUST(fd >= 0 || fd == -EOVERFLOW || fd == -EINVAL || fd == -EMFILE);
		if (dice(&v->dice, 20))
			close(fd);
	}
}

static void resizes(struct victim *v)
{
	struct ring r;

	make(v, &r, DEFER);
	ready(v);
	for (;;) {
		struct io_uring_params p = {
			.sq_entries = 1 << dice(&v->dice, 8), .flags = IORING_SETUP_CQSIZE,
			.cq_entries = 256,
		};

		MUST(!ring_register(&r, IORING_REGISTER_RESIZE_RINGS, &p, 1));
	}
}

static void polls(struct victim *v)
{
	struct pollfd pfd = { .events = POLLIN };
	struct ring r;

	make(v, &r, dice(&v->dice, 2) ? DEFER : 0);
	pfd.fd = r.fd;
	ready(v);
	poll(&pfd, 1, -1);
	MUST(0);
}

static void polls_in_epoll(struct victim *v)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct ring r;

	make(v, &r, dice(&v->dice, 2) ? DEFER : 0);
	MUST(!epoll_ctl(ep, EPOLL_CTL_ADD, r.fd, &ev));
	ready(v);
	epoll_wait(ep, &ev, 1, -1);
	MUST(0);
}

static void sends_messages(struct victim *v)
{
	struct ring r;

	make(v, &r, dice(&v->dice, 2) ? DEFER : 0);
	ready(v);
	for (;;) {
		unsigned int to = dice(&v->dice, v->nr_others + 1);
		int fd = to ? v->others[to - 1].fd : r.fd;
		int ret = send_msg(v->backend, fd, 1, 2);

		/* Nobody reads them, so in the end there is no room. */
		MUST(!ret || ret == -EOVERFLOW || ret == -ENOMEM);
		if (!dice(&v->dice, 64)) {
			ring_enter(&r, 0, 0, IORING_ENTER_GETEVENTS);
			ring_seen(&r, ring_ready(&r));
		}
	}
}

static void registers(struct victim *v)
{
	char zero[1024] = {};
	struct ring r;

	make(v, &r, dice(&v->dice, 2) ? DEFER : 0);
	ready(v);
	for (;;) {
		struct io_uring_rsrc_update up = { .offset = -1U, .data = r.fd };
		struct io_uring_clock_register clock = { .clockid = CLOCK_BOOTTIME };
		int event, ret = 0;

		switch (dice(&v->dice, 5)) {
		case 0:
			ret = ring_register(&r, IORING_REGISTER_PERSONALITY, NULL, 0);
			if (ret > 0 && dice(&v->dice, 2))
				ret = ring_register(&r, IORING_UNREGISTER_PERSONALITY, NULL, ret);
			break;
		case 1:
			event = eventfd(0, EFD_CLOEXEC);
			ring_register(&r, IORING_REGISTER_EVENTFD, &event, 1);
			close(event);
			ret = ring_register(&r, IORING_UNREGISTER_EVENTFD, NULL, 0);
			break;
		case 2:
			ret = ring_register(&r, IORING_REGISTER_RING_FDS, &up, 1);
			up.data = 0;
			if (ret == 1 && dice(&v->dice, 8))
				ret = ring_register(&r, IORING_UNREGISTER_RING_FDS, &up, 1);
			else if (ret == -EBUSY)
				ret = 0;
			break;
		case 3:
			memset(zero, 0, sizeof(zero));
			ret = ring_register(&r, IORING_REGISTER_PROBE, zero, 64);
			break;
		case 4:
			ret = ring_register(&r, IORING_REGISTER_CLOCK, &clock, 0);
			break;
		}
		MUST(ret >= 0);
	}
}

static void maps(struct victim *v)
{
	struct ring r;

	make(v, &r, 0);
	ready(v);
	for (;;) {
		ring_unmap(&r);
		MUST(!ring_map(&r));
		*r.sqes = (struct io_uring_sqe) {};
	}
}

/* Everybody at one ring: whoever waits is woken by those who submit, or not. */
static void shares(struct victim *v)
{
	struct __kernel_timespec ts = { .tv_nsec = 1000000 };
	struct io_uring_getevents_arg arg = { .ts = (unsigned long)&ts };
	struct ring *r = &v->others[0];

	ready(v);
	for (;;) {
		__atomic_add_fetch(r->sq_tail, dice(&v->dice, 2), __ATOMIC_RELEASE);
		uring_enter_arg(v->backend, r->fd, 1, 1 + dice(&v->dice, 4),
				IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
		store_release(r->cq_head, load_acquire(r->cq_tail));
	}
}

/* As many workers as there are reads wait for a pipe that nobody writes to. */
static void reads_in_workers(struct victim *v)
{
	unsigned int flags = dice(&v->dice, 2) ? IOSQE_ASYNC : 0;
	struct ring r;
	int p[2], i;

	make(v, &r, dice(&v->dice, 2) ? DEFER : 0);
	MUST(!pipe2(p, O_CLOEXEC));
	for (i = 0; i < 8; i++) {
		struct io_uring_sqe *sqe = ring_nop(&r, i);

		sqe->opcode = IORING_OP_READ;
		sqe->flags = flags;
		sqe->fd = p[0];
		sqe->addr = (unsigned long)r.sqes;
		sqe->len = 8;
	}
	MUST(ring_submit(&r, 0) == 8);
	wait_forever(v, r.fd, 0);
}

/* Files and buffers come and go while requests that workers run use them. */
static void uses_resources(struct victim *v)
{
	char *memory = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct iovec iov = { memory, 16 * PAGE };
	struct ring r;

	make(v, &r, dice(&v->dice, 2) ? DEFER : 0);
	MUST(memory != MAP_FAILED && file >= 0);
	ready(v);
	for (;;) {
		unsigned int i, nr = 1 + dice(&v->dice, 8);

		MUST(!ring_register(&r, IORING_REGISTER_BUFFERS, &iov, 1));
		MUST(!ring_register(&r, IORING_REGISTER_FILES, &file, 1));
		for (i = 0; i < nr; i++) {
			struct io_uring_sqe *sqe = ring_nop(&r, i);

			sqe->opcode = dice(&v->dice, 2) ? IORING_OP_READ_FIXED :
				IORING_OP_WRITE_FIXED;
			sqe->flags = IOSQE_FIXED_FILE | (dice(&v->dice, 2) ? IOSQE_ASYNC : 0);
			sqe->addr = (unsigned long)memory;
			sqe->len = 1 + dice(&v->dice, 16 * PAGE);
		}
		MUST(ring_submit(&r, dice(&v->dice, nr)) == nr);
		MUST(!ring_register(&r, IORING_UNREGISTER_BUFFERS, NULL, 0));
		MUST(!ring_register(&r, IORING_UNREGISTER_FILES, NULL, 0));
		MUST(ring_enter(&r, 0, nr, IORING_ENTER_GETEVENTS) >= 0);
		ring_seen(&r, ring_ready(&r));
	}
}

static void *thread_waits(void *arg)
{
	struct ring *r = arg;

	for (;;)
		ring_enter(r, 0, 3, IORING_ENTER_GETEVENTS);
	return NULL;
}

static void has_threads(struct victim *v)
{
	pthread_t thread;
	struct ring r;
	int i;

	make(v, &r, 0);
	for (i = 0; i < 3; i++)
		MUST(!pthread_create(&thread, NULL, thread_waits, &r));
	ready(v);
	for (;;) {
		ring_nops(&r, 3, 0);
		ring_seen(&r, ring_ready(&r));
	}
}

/* Its thread has something to do all the time, or only now and then. */
static void submits_by_thread(struct victim *v)
{
	unsigned int often = dice(&v->dice, 2) ? 1 : 4000;
	struct ring r;

	make(v, &r, IORING_SETUP_SQPOLL);
	ready(v);
	for (;;) {
		while (ring_nop(&r, 0))
			;
		ring_flush(&r);
		MUST(ring_wake(&r) >= 0);
		ring_seen(&r, ring_ready(&r));
		usleep(dice(&v->dice, often * SQ_IDLE_MS));
	}
}

/* One thread for several rings, which come and go, some of them with the shared one behind them. */
static void shares_a_thread(struct victim *v)
{
	struct ring rings[4] = {};
	unsigned int i;

	for (i = 0; i < 4; i++) {
		rings[i].p.flags = IORING_SETUP_SQPOLL | (i ? IORING_SETUP_ATTACH_WQ : 0);
		rings[i].p.wq_fd = i ? rings[0].fd : 0;
		rings[i].p.sq_thread_idle = SQ_IDLE_MS;
		while (ring_init_params(&rings[i], v->backend, 8) == -EAGAIN)
			usleep(1000);
		MUST(rings[i].fd >= 0);
	}
	ready(v);
	for (;;) {
		struct ring *r = &rings[dice(&v->dice, 4)];

		ring_nop(r, 1);
		MUST(ring_enter(r, ring_flush(r), 0, 0) == 1);
		ring_seen(r, ring_ready(r));
		if (dice(&v->dice, 8) || r == &rings[0])
			continue;
		ring_exit(r);
		memset(r, 0, sizeof(*r));
		r->p.flags = IORING_SETUP_SQPOLL | IORING_SETUP_ATTACH_WQ;
		r->p.wq_fd = rings[0].fd;
		r->p.sq_thread_idle = SQ_IDLE_MS;
		MUST(!ring_init_params(r, v->backend, 8));
	}
}

/* What the thread has submitted, workers of its making wait for. */
static void reads_by_thread(struct victim *v)
{
	struct ring r;
	int p[2], i;

	make(v, &r, IORING_SETUP_SQPOLL);
	MUST(!pipe2(p, O_CLOEXEC));
	for (i = 0; i < 8; i++) {
		struct io_uring_sqe *sqe = ring_nop(&r, i);

		sqe->opcode = IORING_OP_READ;
		sqe->flags = dice(&v->dice, 2) ? IOSQE_ASYNC : 0;
		sqe->fd = p[0];
		sqe->addr = (unsigned long)r.sqes;
		sqe->len = 8;
	}
	MUST(ring_submit(&r, 0) == 8);
	ready(v);
	/* When another thread executes a program no worker can be made, and requests may end. */
	for (;;) {
		ring_enter(&r, 0, 1, IORING_ENTER_GETEVENTS);
		ring_seen(&r, ring_ready(&r));
	}
}

/* Threads come and go. */
static void sets_up_threads(struct victim *v)
{
	struct ring r;

	ready(v);
	for (;;) {
		make(v, &r, IORING_SETUP_SQPOLL);
		if (dice(&v->dice, 2)) {
			ring_nop(&r, 0);
			MUST(ring_enter(&r, ring_flush(&r), 0, 0) == 1);
		}
		ring_exit(&r);
	}
}

static const struct state {
	const char *name;
	void (*enter)(struct victim *v);
	bool sleeps;		/* for good, when it is there */
} states[] = {
	{ "waits", waits, true },
	{ "waits, the ring defers", waits_deferring, true },
	{ "waits, the ring is registered", waits_registered, true },
	{ "waits, the ring is in user memory", waits_in_user_memory, true },
	{ "waits again and again, arguments registered", waits_with_region, false },
	{ "submits", submits, false },
	{ "has work pending", has_pending_work, true },
	{ "has CQEs on the overflow list", has_overflow, true },
	{ "has an eventfd registered", has_eventfd, true },
	{ "sets up rings", sets_up, false },
	{ "resizes", resizes, false },
	{ "polls", polls, true },
	{ "polls in epoll", polls_in_epoll, true },
	{ "sends messages", sends_messages, false },
	{ "registers", registers, false },
	{ "maps and unmaps", maps, false },
	{ "shares a ring", shares, false },
	{ "has threads", has_threads, false },
	{ "reads in workers", reads_in_workers, true },
	{ "uses files and buffers", uses_resources, false },
	{ "submits by a thread", submits_by_thread, false },
	{ "shares a thread", shares_a_thread, false },
	{ "reads by a thread", reads_by_thread, false },
	{ "sets up threads", sets_up_threads, false },
};

#define NR_STATES	(sizeof(states) / sizeof(states[0]))

#endif
