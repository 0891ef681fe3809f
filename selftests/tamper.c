// SPDX-License-Identifier: GPL-2.0
/*
 * Everything that a hostile program can do to its ring while the kernel works
 * on it. Each case is a process of its own that does what its seed says; it may
 * get any error, but nothing may hang, nothing may be left over, and an honest
 * neighbour must not notice. What the kernel has to say about it is in its log.
 *
 *	SEED=n STRESS=seconds tamper
 */
#include "odd.h"
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define OPS	100		/* what one case does */

struct attack {
	enum backend backend;
	struct dice dice, scribbles;
	struct ring r;
	struct arena arena;
	/* The scribbler's own mapping of the ring, which stays. */
	volatile uint32_t *words;
	size_t nr_words;
	volatile struct io_uring_sqe *sqes;
	size_t nr_sqes;
	bool safe[256];		/* opcodes that do nothing, or do not exist */
	int event;
	bool stop;
};

static void nothing(int sig)
{
}

static volatile void *map(int fd, size_t size, uint64_t offset)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);

	return p == MAP_FAILED ? NULL : p;
}

static uint8_t opcode(struct attack *a, struct dice *d)
{
	for (;;) {
		uint8_t op = dice(d, 4) ? (dice(d, 2) ? IORING_OP_NOP : IORING_OP_NOP128) :
				dice(d, 256);

		if (a->safe[op])
			return op;
	}
}

/* Words of all kinds all over the ring, and SQEs of which only the opcode is chosen. */
static void *scribble(void *arg)
{
	struct attack *a = arg;
	struct dice *d = &a->scribbles;

	while (!load_acquire(&a->stop)) {
		size_t nr = dice(d, 2) ? 16 : a->nr_words;
		volatile uint64_t *sqe;
		int i;

		a->words[dice(d, nr)] = dice(d, 2) ? odd_number(d) : dice_throw(d);
		sqe = (volatile uint64_t *)&a->sqes[dice(d, a->nr_sqes)];
		for (i = 0; i < 8; i++) {
			uint64_t value = dice(d, 3) ? 0 : odd_word(d, &a->arena);

			/* Opcode, flags, ioprio and descriptor are one word. */
			if (!i)
				value = (value & ~0xffull) | opcode(a, d);
			sqe[i] = value;
		}
		if (!dice(d, 8))
			odd_arena(d, &a->arena);
		if (!dice(d, 64))
			sched_yield();
	}
	return NULL;
}

static void submit(struct attack *a)
{
	struct __kernel_timespec ts = { .tv_nsec = dice(&a->dice, 2000000) };
	struct io_uring_getevents_arg arg = { .ts = (unsigned long)&ts };

	uring_enter_arg(a->backend, a->r.fd, dice(&a->dice, 20), dice(&a->dice, 20),
			IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
}

static void enter(struct attack *a)
{
	static const size_t sizes[] = {
		0, 8, sizeof(struct io_uring_getevents_arg), sizeof(struct io_uring_reg_wait), 1,
	};
	struct dice *d = &a->dice;
	unsigned int flags = dice(d, 2) ? dice(d, 1 << 8) : odd_number(d);

	uring_enter_arg(a->backend, dice(d, 8) ? a->r.fd : (int)odd_number(d), odd_number(d),
			odd_number(d), flags, odd_pointer(d, &a->arena),
			dice(d, 8) ? sizes[dice(d, 5)] : odd_number(d));
}

static void any_register(struct attack *a)
{
	struct dice *d = &a->dice;
	unsigned int op = dice(d, 8) ? dice(d, IORING_REGISTER_LAST + 2) : odd_number(d);

	odd_arena(d, &a->arena);
	uring_register(a->backend, dice(d, 6) ? a->r.fd : -1, op, odd_pointer(d, &a->arena),
		       dice(d, 2) ? dice(d, 4) : odd_number(d));
}

static void some_register(struct attack *a)
{
	struct dice *d = &a->dice;
	struct io_uring_params p = {
		.flags = dice(d, 4) ? IORING_SETUP_CQSIZE : odd_number(d),
		.sq_entries = 1 << dice(d, 8), .cq_entries = 1 << dice(d, 9),
	};
	struct io_uring_region_desc desc = {
		.size = (1 + dice(d, ARENA_PAGES)) * PAGE,
		.user_addr = dice(d, 2) ? (unsigned long)a->arena.base : 0,
	};
	struct io_uring_mem_region_reg reg = { .region_uptr = (unsigned long)&desc };
	struct io_uring_rsrc_update up = { .offset = -1U, .data = a->r.fd };

	desc.flags = desc.user_addr ? IORING_MEM_REGION_TYPE_USER : 0;
	switch (dice(d, 8)) {
	case 0:
	case 1:
		ring_register(&a->r, IORING_REGISTER_RESIZE_RINGS, &p, 1);
		break;
	case 2:
		ring_register(&a->r, IORING_REGISTER_MEM_REGION, &reg, 1);
		break;
	case 3:
		ring_register(&a->r, IORING_REGISTER_EVENTFD + 3 * dice(d, 2), &a->event, 1);
		break;
	case 4:
		ring_register(&a->r, IORING_UNREGISTER_EVENTFD, NULL, 0);
		break;
	case 5:
		ring_register(&a->r, IORING_REGISTER_RING_FDS, &up, 1);
		break;
	case 6:
		ring_register(&a->r, IORING_REGISTER_PERSONALITY, NULL, 0);
		break;
	case 7:
		send_msg(a->backend, dice(d, 4) ? a->r.fd : (int)odd_number(d), 1, 2);
		break;
	}
}

static void look(struct attack *a)
{
	struct pollfd pfd = { .fd = a->r.fd, .events = POLLIN | POLLOUT };
	char text[4096], path[64];
	int fd;

	poll(&pfd, 1, 0);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", a->r.fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && read(fd, text, sizeof(text)) > 0)
		;
	close(fd);
}

/* Other mappings of the ring come and go, whole or not. */
static void remap(struct attack *a)
{
	static const uint64_t offsets[] = {
		IORING_OFF_SQ_RING, IORING_OFF_CQ_RING, IORING_OFF_SQES, 0x20000000,
		IORING_OFF_PBUF_RING, 0x4000, IORING_OFF_SQES + PAGE,
	};
	struct dice *d = &a->dice;
	size_t size = (1 + dice(d, 8)) * PAGE;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, dice(d, 4) ? MAP_SHARED : MAP_PRIVATE,
		       a->r.fd, offsets[dice(d, 7)]);

	if (a->arena.ring_pages)
		munmap(a->arena.ring, a->arena.ring_pages * PAGE);
	a->arena.ring_pages = 0;
	if (p == MAP_FAILED)
		return;
	if (!dice(d, 4))
		madvise(p, size, MADV_DONTNEED);
	if (!dice(d, 4))
		mprotect(p, size, PROT_READ);
	if (!dice(d, 4))
		mprotect(p + dice(d, size / PAGE) * PAGE, PAGE, PROT_NONE);
	/* Now and then the arguments of calls are in the ring itself. */
	a->arena.ring = p;
	a->arena.ring_pages = size / PAGE;
}

static void *close_it(void *arg)
{
	close((long)arg);
	return NULL;
}

/* The descriptor goes away in the middle of a call. */
static void closed_meanwhile(struct attack *a)
{
	struct ring saved = a->r;
	pthread_t thread;

	a->r.fd = dup(a->r.fd);
	if (pthread_create(&thread, NULL, close_it, (void *)(long)a->r.fd)) {
		close(a->r.fd);
	} else {
		submit(a);
		pthread_join(thread, NULL);
	}
	a->r.fd = saved.fd;
}

static void other_ring(struct attack *a)
{
	struct dice *d = &a->dice;
	struct io_uring_params *p = (void *)a->arena.base;
	int fd;

	odd_arena(d, &a->arena);
	if (dice(d, 2))
		*p = (struct io_uring_params) {
			.flags = random_setup(d) | (dice(d, 2) ? IORING_SETUP_NO_MMAP : 0),
			.cq_entries = odd_number(d),
			.sq_off.user_addr = (unsigned long)odd_pointer(d, &a->arena),
			.cq_off.user_addr = (unsigned long)odd_pointer(d, &a->arena),
		};
	/* A thread that polls is not what is to be tried natively. */
	if (a->backend == NATIVE)
		p->flags &= ~IORING_SETUP_SQPOLL;
	fd = uring_setup(a->backend, odd_number(d), dice(d, 4) ? p : odd_pointer(d, &a->arena));
	if (fd > a->r.fd)
		close(fd);
}

/* Calls that only the device has. */
static void odd_ioctl(struct attack *a)
{
	struct dice *d = &a->dice;
	int dev = dice(d, 2) ? open(RUST_URING_DEVICE, O_RDWR | O_CLOEXEC) : dup(a->r.fd);

	odd_arena(d, &a->arena);
	if (a->backend == DEVICE)
		ioctl(dev, _IOC(dice(d, 4), RUST_URING_MAGIC, dice(d, 6), dice(d, 128)),
		      dice(d, 2) ? (uint64_t)odd_pointer(d, &a->arena) :
		      RUST_URING_PACK(dice(d, 20), 0, dice(d, 16)));
	close(dev);
}

static void operate(struct attack *a)
{
	static void (* const ops[])(struct attack *a) = {
		submit, submit, submit, enter, enter, any_register, some_register, some_register,
		look, remap, closed_meanwhile, other_ring, odd_ioctl,
	};

	ops[dice(&a->dice, sizeof(ops) / sizeof(ops[0]))](a);
}

/* A child shares the ring, and goes on with it. */
static void split(struct attack *a)
{
	pid_t pid = fork();
	int i;

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dice_init(&a->dice, dice_throw(&a->dice));
		for (i = 0; i < OPS / 4; i++)
			operate(a);
		_exit(0);
	}
	if (pid < 0)
		return;
	if (!dice(&a->dice, 2))
		kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int probe(struct attack *a)
{
	struct {
		struct io_uring_probe head;
		struct io_uring_probe_op ops[256];
	} probe = {};
	int i, ret = ring_register(&a->r, IORING_REGISTER_PROBE, &probe, 256);

	for (i = 0; i < 256; i++)
		a->safe[i] = i == IORING_OP_NOP || i == IORING_OP_NOP128 ||
			     i > probe.head.last_op ||
			     !(probe.ops[i].flags & IO_URING_OP_SUPPORTED);
	return ret;
}

/* Sets up a ring of some kind, in memory of ours or not. */
static int attack_init(struct attack *a)
{
	struct dice *d = &a->dice;
	unsigned int flags = random_setup(d), entries = 2 << dice(d, 6);
	int ret;

	if (arena_init(&a->arena))
		return -1;
	a->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	a->r.p.cq_entries = entries << dice(d, 3);
	if (!dice(d, 4)) {
		a->r.rings_size = 16 * PAGE;
		a->r.sqes_size = 4 * PAGE;
		a->r.rings = mmap(NULL, 20 * PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		a->r.sqes = (void *)(a->r.rings + a->r.rings_size);
		ret = ring_init_user(&a->r, a->backend, entries, flags);
		ring_sizes(&a->r);
		a->words = (void *)a->r.rings;
		a->sqes = a->r.sqes;
	} else {
		a->r.p.flags = flags;
		ret = ring_init_params(&a->r, a->backend, entries);
		if (ret)
			return ret;
		a->words = map(a->r.fd, a->r.rings_size, IORING_OFF_SQ_RING);
		a->sqes = map(a->r.fd, a->r.sqes_size, IORING_OFF_SQES);
		ring_unmap(&a->r);
	}
	if (ret || !a->words || !a->sqes)
		return ret ?: -2;
	a->nr_words = a->r.rings_size / 4;
	a->nr_sqes = a->r.sqes_size / sizeof(*a->sqes);
	return probe(a);
}

/* One case. Waits for good are ended by a timer's signals. */
static int run(enum backend backend, uint64_t seed)
{
	struct itimerspec often = { { .tv_nsec = 5000000 }, { .tv_nsec = 5000000 } };
	struct sigaction sa = { .sa_handler = nothing };
	struct attack a = { .backend = backend };
	pthread_t scribbler;
	timer_t timer;
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dice_init(&a.dice, seed);
	dice_init(&a.scribbles, ~seed);
	if (attack_init(&a))
		return 1;
	sigaction(SIGALRM, &sa, NULL);
	if (pthread_create(&scribbler, NULL, scribble, &a))
		return 2;
	if (timer_create(CLOCK_MONOTONIC, NULL, &timer) || timer_settime(timer, 0, &often, NULL))
		return 3;
	for (i = 0; i < OPS; i++) {
		operate(&a);
		if (!dice(&a.dice, OPS / 2))
			split(&a);
	}
	/* Half of them leave with the scribbler still at it. */
	if (dice(&a.dice, 2)) {
		store_release(&a.stop, true);
		pthread_join(scribbler, NULL);
	}
	return 0;
}

/*
 * Somebody who does everything right meanwhile, in two rings, and looks at
 * every CQE that there is. Ends when the pipe is closed.
 */
static int honest(enum backend backend, int until)
{
	struct pollfd pfd = { .fd = until, .events = POLLIN };
	struct io_uring_cqe cqe;
	struct ring rings[2];
	uint64_t count = 0;
	struct dice d;

	dice_init(&d, 1);
	if (ring_init(&rings[0], backend, 16, 0) ||
	    ring_init(&rings[1], backend, 16, IORING_SETUP_SINGLE_ISSUER |
						IORING_SETUP_DEFER_TASKRUN))
		return 10;
	do {
		struct ring *r = &rings[dice(&d, 2)];
		unsigned int nr = 1 + dice(&d, 16), i;

		for (i = 0; i < nr; i++) {
			struct io_uring_sqe *sqe = ring_nop(r, count + i);

			if (!sqe)
				return 11;
			sqe->nop_flags = IORING_NOP_INJECT_RESULT;
			sqe->len = count ^ i;
		}
		if (ring_submit(r, nr) != nr)
			return 12;
		if (send_msg(backend, r->fd, ~count, 99))
			return 13;
		if (ring_enter(r, 0, nr + 1, IORING_ENTER_GETEVENTS))
			return 14;
		for (i = 0; i < nr; i++)
			if (!ring_cqe(r, &cqe) || cqe.user_data != count + i ||
			    cqe.res != (int)(count ^ i) || cqe.flags)
				return 15;
		if (!ring_cqe(r, &cqe) || cqe.user_data != ~count || cqe.res != 99)
			return 16;
		if (ring_ready(r) || *r->cq_overflow || *r->sq_dropped)
			return 17;
		count += nr;
	} while (poll(&pfd, 1, 0) == 0);
	return count ? 0 : 18;
}

FIXTURE(tamper) {
	long refs, pins;
	int go[2];
	pid_t neighbour;
};

BACKEND_VARIANTS(tamper);

FIXTURE_SETUP(tamper)
{
	self->refs = module_refs();
	self->pins = pinned_pages();
	ASSERT_EQ(0, pipe2(self->go, O_CLOEXEC));
	self->neighbour = fork();
	if (!self->neighbour) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(self->go[1]);
		_exit(honest(variant->backend, self->go[0]));
	}
	close(self->go[0]);
}

FIXTURE_TEARDOWN(tamper)
{
	int status;

	close(self->go[1]);
	EXPECT_EQ(self->neighbour, waitpid(self->neighbour, &status, 0));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_TRUE(falls_to(module_refs, self->refs));
	EXPECT_TRUE(falls_to(pinned_pages, self->pins));
}

TEST_F_TIMEOUT(tamper, with_everything, 100000)
{
	uint64_t seed = stress_seed(1), end = stress_end(5);
	unsigned int cases = 0, killed = 0;

	TH_LOG("the first seed is %llu", (unsigned long long)seed);
	do {
		uint64_t limit = now_ns(CLOCK_MONOTONIC) + 30 * SEC;
		pid_t pid = fork(), ret;
		int status;

		if (!pid)
			_exit(run(variant->backend, seed));
		ASSERT_LT(0, pid);
		/* A signal mask of its own choice can make a case deaf to its timer. */
		while (!(ret = waitpid(pid, &status, WNOHANG)) &&
		       now_ns(CLOCK_MONOTONIC) < limit)
			usleep(1000);
		if (!ret) {
			killed++;
			kill(pid, SIGKILL);
			ret = waitpid(pid, &status, 0);
		} else {
			EXPECT_EQ(0, status) TH_LOG("seed %llu", (unsigned long long)seed);
		}
		ASSERT_EQ(pid, ret);
		cases++;
		seed++;
	} while (!stress_over(end));
	TH_LOG("%u cases, %u of them had to be killed", cases, killed);
}

TEST_HARNESS_MAIN
