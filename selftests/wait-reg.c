// SPDX-License-Identifier: GPL-2.0
/* IORING_ENTER_EXT_ARG_REG: the arguments of a wait are in a registered region. */
#include "uring.h"
#include <limits.h>
#include <pthread.h>
#include "kselftest_harness.h"

#define MS	1000000ull
#define SIZE	8192ul	/* two pages */

FIXTURE(wait_reg) {
	struct ring r;
	struct io_uring_reg_wait *args;
};

FIXTURE_VARIANT(wait_reg) {
	enum backend backend;
	unsigned int flags;
	bool user;	/* the application's own memory */
};

#define DEFER	(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)
FIXTURE_VARIANT_ADD(wait_reg, device) { .backend = DEVICE };
FIXTURE_VARIANT_ADD(wait_reg, native) { .backend = NATIVE };
FIXTURE_VARIANT_ADD(wait_reg, device_user) { .backend = DEVICE, .user = true };
FIXTURE_VARIANT_ADD(wait_reg, native_user) { .backend = NATIVE, .user = true };
FIXTURE_VARIANT_ADD(wait_reg, device_defer) { .backend = DEVICE, .flags = DEFER };
FIXTURE_VARIANT_ADD(wait_reg, native_defer) { .backend = NATIVE, .flags = DEFER };

/* Registers the region; @flags of the registration. Kernel memory is mapped at *@memory. */
static int add_region(struct ring *r, void **memory, bool user, uint64_t flags)
{
	struct io_uring_region_desc desc = {
		.size = SIZE,
		.user_addr = user ? (unsigned long)*memory : 0,
		.flags = user ? IORING_MEM_REGION_TYPE_USER : 0,
	};
	struct io_uring_mem_region_reg reg = {
		.region_uptr = (unsigned long)&desc,
		.flags = flags,
	};
	int ret = ring_register(r, IORING_REGISTER_MEM_REGION, &reg, 1);

	if (ret || user)
		return ret;
	*memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, desc.mmap_offset);
	return *memory == MAP_FAILED ? -errno : 0;
}

FIXTURE_SETUP(wait_reg)
{
	void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8,
			       variant->flags | IORING_SETUP_R_DISABLED));
	ASSERT_EQ(0, add_region(&self->r, &memory, variant->user, IORING_MEM_REGION_REG_WAIT_ARG));
	self->args = memory;
	ASSERT_EQ(0, ring_register(&self->r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
}

FIXTURE_TEARDOWN(wait_reg)
{
	munmap(self->args, SIZE);
	ring_exit(&self->r);
}

static int wait_at(struct ring *r, unsigned int min, unsigned long offset, unsigned int flags)
{
	return uring_enter_arg(r->backend, r->fd, 0, min, flags | IORING_ENTER_GETEVENTS |
			       IORING_ENTER_EXT_ARG | IORING_ENTER_EXT_ARG_REG,
			       (void *)offset, sizeof(struct io_uring_reg_wait));
}

/* Entry @i says: wait so many nanoseconds. */
static void set_time(struct io_uring_reg_wait *arg, uint64_t ns)
{
	memset(arg, 0, sizeof(*arg));
	arg->ts.tv_sec = ns / 1000000000;
	arg->ts.tv_nsec = ns % 1000000000;
	arg->flags = IORING_REG_WAIT_TS;
}

TEST_F(wait_reg, sizes)
{
	unsigned int flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG |
		IORING_ENTER_EXT_ARG_REG;
	size_t sizes[] = { 0, 8, 24, 63, 65, 128, (1ull << 32) + 64 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		EXPECT_EQ(-EINVAL, uring_enter_arg(variant->backend, self->r.fd, 0, 0, flags,
						   NULL, sizes[i]));
		/* Before the offset is looked at. */
		EXPECT_EQ(-EINVAL, uring_enter_arg(variant->backend, self->r.fd, 0, 0, flags,
						   (void *)1, sizes[i]));
	}
	EXPECT_EQ(0, uring_enter_arg(variant->backend, self->r.fd, 0, 0, flags, NULL, 64));
	/* Without GETEVENTS nothing of it matters. */
	EXPECT_EQ(0, uring_enter_arg(variant->backend, self->r.fd, 0, 0,
				     flags & ~IORING_ENTER_GETEVENTS, (void *)1, 3));
}

TEST_F(wait_reg, offsets)
{
	unsigned long bad[] = { 1, 4, 7, 9, SIZE - 63, SIZE - 56, SIZE - 8, SIZE, SIZE + 64,
		LONG_MAX & ~7ul, -64ul, -56ul, -8ul, ULONG_MAX };
	unsigned long i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		EXPECT_EQ(-EFAULT, wait_at(&self->r, 0, bad[i], 0));
	/* The entries need not be a multiple of their own size apart. */
	for (i = 0; i <= SIZE - 64; i += 8)
		ASSERT_EQ(0, wait_at(&self->r, 0, i, 0));
}

/* Each offset is an entry of its own. */
TEST_F(wait_reg, entries)
{
	unsigned int i, last = SIZE / sizeof(*self->args) - 1;

	for (i = 0; i < last; i++)
		self->args[i].flags = ~IORING_REG_WAIT_TS;
	for (i = 0; i < last; i++) {
		EXPECT_EQ(-EINVAL, wait_at(&self->r, 0, i * sizeof(*self->args), 0));
		self->args[i].flags = 0;
		EXPECT_EQ(0, wait_at(&self->r, 0, i * sizeof(*self->args), 0));
	}
	/* For the last one the kernel's guard against speculation goes too far: it is the first. */
	self->args[last].flags = ~0u;
	EXPECT_EQ(variant->backend == NATIVE ? 0 : -EINVAL,
		  wait_at(&self->r, 0, last * sizeof(*self->args), 0));
}

TEST_F(wait_reg, unknown_flags)
{
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		self->args[3].flags = 1u << bit;
		EXPECT_EQ(bit ? -EINVAL : 0, wait_at(&self->r, 0, 3 * 64, 0));
	}
	/* What is reserved is not looked at. */
	memset(&self->args[3], 0xff, sizeof(self->args[3]));
	self->args[3].flags = 0;
	self->args[3].sigmask = 0;
	EXPECT_EQ(0, wait_at(&self->r, 0, 3 * 64, 0));
}

TEST_F(wait_reg, timeouts)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	set_time(&self->args[5], 30 * MS);
	EXPECT_EQ(-ETIME, wait_at(&self->r, 1, 5 * 64, 0));
	EXPECT_LE(30 * MS, now_ns(CLOCK_MONOTONIC) - start);
	set_time(&self->args[5], 0);
	EXPECT_EQ(-ETIME, wait_at(&self->r, 1, 5 * 64, 0));

	start = now_ns(CLOCK_MONOTONIC);
	set_time(&self->args[6], start + 30 * MS);
	EXPECT_EQ(-ETIME, wait_at(&self->r, 1, 6 * 64, IORING_ENTER_ABS_TIMER));
	EXPECT_LE(30 * MS, now_ns(CLOCK_MONOTONIC) - start);
	EXPECT_EQ(-ETIME, wait_at(&self->r, 1, 6 * 64, IORING_ENTER_ABS_TIMER));

	ring_nop(&self->r, 1);
	ASSERT_EQ(1, ring_submit(&self->r, 1));
	EXPECT_EQ(0, wait_at(&self->r, 2, 6 * 64, IORING_ENTER_ABS_TIMER));
	EXPECT_EQ(0, wait_at(&self->r, 1, 5 * 64, 0));
}

TEST_F(wait_reg, min_wait)
{
	uint64_t start = now_ns(CLOCK_MONOTONIC);

	self->args[0].min_wait_usec = 20000;
	EXPECT_EQ(-ETIME, wait_at(&self->r, 2, 0, 0));
	EXPECT_LE(20 * MS, now_ns(CLOCK_MONOTONIC) - start);
	start = now_ns(CLOCK_MONOTONIC);
	set_time(&self->args[0], 50 * MS);
	self->args[0].min_wait_usec = 10000;
	EXPECT_EQ(-ETIME, wait_at(&self->r, 2, 0, 0));
	EXPECT_LE(50 * MS, now_ns(CLOCK_MONOTONIC) - start);
	ring_nop(&self->r, 1);
	ASSERT_EQ(1, ring_submit(&self->r, 1));
	set_time(&self->args[0], 3600 * 1000 * MS);
	self->args[0].min_wait_usec = 10000;
	EXPECT_EQ(0, wait_at(&self->r, 2, 0, 0));
}

static void *send_when_asleep(void *arg)
{
	struct ring *r = arg;

	/* The thread that is not this one. */
	wait_asleep(getpid());
	send_msg(r->backend, r->fd, 1, 1);
	return NULL;
}

/* Without the flag the time is not one. */
TEST_F(wait_reg, no_timeout)
{
	pthread_t thread;

	set_time(&self->args[2], 1);
	self->args[2].flags = 0;
	ASSERT_EQ(0, pthread_create(&thread, NULL, send_when_asleep, &self->r));
	EXPECT_EQ(0, wait_at(&self->r, 1, 2 * 64, 0));
	EXPECT_EQ(1, ring_ready(&self->r));
	ASSERT_EQ(0, pthread_join(thread, NULL));
}

static volatile int handled;

static void on_signal(int sig)
{
	handled++;
}

TEST_F(wait_reg, sigmask)
{
	uint64_t none = 0, usr1 = 1ull << (SIGUSR1 - 1);
	sigset_t set, now;

	signal(SIGUSR1, on_signal);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	set_time(&self->args[1], 10 * MS);
	/* It stays blocked. */
	self->args[1].sigmask = (unsigned long)&usr1;
	self->args[1].sigmask_sz = 8;
	EXPECT_EQ(-ETIME, wait_at(&self->r, 1, 64, 0));
	EXPECT_EQ(0, handled);
	/* The mask itself is the application's memory, and it has a size. */
	self->args[1].sigmask = 8;
	EXPECT_EQ(-EFAULT, wait_at(&self->r, 1, 64, 0));
	self->args[1].sigmask = (unsigned long)&none;
	self->args[1].sigmask_sz = 4;
	EXPECT_EQ(-EINVAL, wait_at(&self->r, 1, 64, 0));
	EXPECT_EQ(0, handled);
	self->args[1].sigmask_sz = 8;
	EXPECT_EQ(-EINTR, wait_at(&self->r, 1, 64, 0));
	EXPECT_EQ(1, handled);
	sigprocmask(SIG_SETMASK, NULL, &now);
	EXPECT_TRUE(sigismember(&now, SIGUSR1));
}

/* Without EXT_ARG the other flag means nothing: it is a signal mask. */
TEST_F(wait_reg, needs_ext_arg)
{
	unsigned int flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG_REG;

	EXPECT_EQ(-EFAULT, uring_enter_arg(variant->backend, self->r.fd, 0, 1, flags, (void *)64,
					   8));
	EXPECT_EQ(-EINVAL, uring_enter_arg(variant->backend, self->r.fd, 0, 1, flags, (void *)64,
					   64));
}

TEST_F(wait_reg, submit_count_wins)
{
	unsigned int flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG |
		IORING_ENTER_EXT_ARG_REG;

	ring_nop(&self->r, 1);
	EXPECT_EQ(1, uring_enter_arg(variant->backend, self->r.fd, ring_flush(&self->r), 2, flags,
				     (void *)1, 64));
	EXPECT_EQ(1, ring_ready(&self->r));
}

/* A ring without a region, with one that is for something else, and one that is enabled. */
TEST_F(wait_reg, no_wait_region)
{
	void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct ring r;

	ASSERT_NE(MAP_FAILED, memory);
	ASSERT_EQ(0, ring_init(&r, variant->backend, 4, variant->flags));
	EXPECT_EQ(-EFAULT, wait_at(&r, 0, 0, 0));
	EXPECT_EQ(-EINVAL, add_region(&r, &memory, variant->user, IORING_MEM_REGION_REG_WAIT_ARG));
	EXPECT_EQ(0, add_region(&r, &memory, variant->user, 0));
	EXPECT_EQ(-EFAULT, wait_at(&r, 0, 0, 0));
	ring_exit(&r);
	munmap(memory, SIZE);
}

/* The region is there as long as the ring: its mapping can go. */
TEST_F(wait_reg, unmapped)
{
	set_time(&self->args[4], 1 * MS);
	ASSERT_EQ(0, munmap(self->args, SIZE));
	EXPECT_EQ(-ETIME, wait_at(&self->r, 1, 4 * 64, 0));
}

TEST_HARNESS_MAIN
