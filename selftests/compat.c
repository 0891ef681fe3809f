// SPDX-License-Identifier: GPL-2.0
/* Calls of 32-bit programs, made by a 64-bit one through the old system call gate. */
#include "uring.h"
#include <setjmp.h>
#include "kselftest_harness.h"

/* Numbers of the 32-bit table; those of io_uring are the same in all tables. */
#define COMPAT_IOCTL	54

static sigjmp_buf no_gate;

static void on_fault(int sig)
{
	siglongjmp(no_gate, sig);
}

/* All arguments are 32 bits wide. Negative errnos come back as they are. */
static int gate(unsigned int nr, unsigned int a, unsigned int b, unsigned int c, unsigned int d,
		unsigned int e, unsigned int f)
{
	unsigned long last = f;
	int ret;

	asm volatile("xchg %%rbp, %[last]; int $0x80; xchg %%rbp, %[last]"
		     : "=a"(ret), [last] "+r"(last)
		     : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
		     : "memory");
	return ret;
}

/* Like a program with 32-bit pointers. */
struct program {
	struct ring r;
	int dev;
	char *low;	/* a page that its pointers reach */
};

FIXTURE(compat) {
	struct program p;
};

BACKEND_VARIANTS(compat);

static unsigned int ptr(void *p)
{
	return (unsigned long)p;
}

static int setup32(struct program *prog, enum backend backend, unsigned int entries)
{
	struct rust_uring_setup *arg = (void *)prog->low;
	struct io_uring_params *p = (void *)(prog->low + 256);
	int fd;

	memset(p, 0, sizeof(*p));
	*arg = (struct rust_uring_setup){ .entries = entries, .params = ptr(p) };
	if (backend == NATIVE)
		fd = gate(__NR_io_uring_setup, entries, ptr(p), 0, 0, 0, 0);
	else
		fd = gate(COMPAT_IOCTL, prog->dev, RUST_URING_SETUP, ptr(arg), 0, 0, 0);
	prog->r.p = *p;
	return fd;
}

/* @argp is a pointer below 4 GB. */
static int enter32(struct program *prog, unsigned int to_submit, unsigned int min_complete,
		   unsigned int flags, void *argp, size_t argsz)
{
	struct rust_uring_enter *arg = (void *)prog->low;

	if (prog->r.backend == NATIVE)
		return gate(__NR_io_uring_enter, prog->r.fd, to_submit, min_complete, flags,
			    ptr(argp), argsz);
	*arg = (struct rust_uring_enter){
		.fd = -1, .to_submit = to_submit, .min_complete = min_complete, .flags = flags,
		.argp = ptr(argp), .argsz = argsz,
	};
	return gate(COMPAT_IOCTL, prog->r.fd, RUST_URING_ENTER, ptr(arg), 0, 0, 0);
}

static int register32(struct program *prog, unsigned int opcode, void *p, unsigned int nr)
{
	struct rust_uring_register *arg = (void *)prog->low;

	if (prog->r.backend == NATIVE)
		return gate(__NR_io_uring_register, prog->r.fd, opcode, ptr(p), nr, 0, 0);
	*arg = (struct rust_uring_register){
		.fd = -1, .opcode = opcode, .arg = ptr(p), .nr_args = nr,
	};
	return gate(COMPAT_IOCTL, prog->r.fd, RUST_URING_REGISTER, ptr(arg), 0, 0, 0);
}

FIXTURE_SETUP(compat)
{
	struct sigaction act = { .sa_handler = on_fault }, old;

	sigaction(SIGSEGV, &act, &old);
	if (sigsetjmp(no_gate, 1) || gate(__NR_io_uring_enter, 0, 0, 0, 1u << 31, 0, 0) != -EINVAL)
		SKIP(return, "this kernel runs no 32-bit programs");
	sigaction(SIGSEGV, &old, NULL);
	memset(&self->p.r, 0, sizeof(self->p.r));
	self->p.dev = open(RUST_URING_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->p.dev);
	self->p.low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, self->p.low);
	self->p.r.backend = variant->backend;
	self->p.r.fd = setup32(&self->p, variant->backend, 8);
	ASSERT_LE(0, self->p.r.fd);
	ASSERT_EQ(0, ring_map(&self->p.r));
}

FIXTURE_TEARDOWN(compat)
{
	ring_exit(&self->p.r);
	munmap(self->p.low, 4096);
	close(self->p.dev);
}

TEST_F(compat, layout_is_the_same)
{
	struct io_uring_params p = {};
	int fd = uring_setup(variant->backend, 8, &p);

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, memcmp(&p, &self->p.r.p, sizeof(p)));
	close(fd);
}

TEST_F(compat, works)
{
	struct io_uring_cqe cqe;
	int i;

	for (i = 0; i < 5; i++)
		ring_nop(&self->p.r, i);
	EXPECT_EQ(5, enter32(&self->p, ring_flush(&self->p.r), 5, IORING_ENTER_GETEVENTS, NULL, 0));
	for (i = 0; i < 5; i++) {
		ASSERT_TRUE(ring_cqe(&self->p.r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
	}
	/* And the 64-bit way, on the same ring. */
	ring_nop(&self->p.r, 7);
	EXPECT_EQ(1, ring_submit(&self->p.r, 1));
	ASSERT_TRUE(ring_cqe(&self->p.r, &cqe));
	EXPECT_EQ(7, cqe.user_data);
}

TEST_F(compat, bad_calls)
{
	EXPECT_EQ(-EINVAL, setup32(&self->p, variant->backend, 0));
	EXPECT_EQ(-EINVAL, enter32(&self->p, 0, 0, 1u << 31, NULL, 0));
	EXPECT_EQ(-EINVAL, register32(&self->p, IORING_REGISTER_LAST, NULL, 0));
	EXPECT_EQ(-EFAULT, enter32(&self->p, 0, 1, IORING_ENTER_GETEVENTS |
				   IORING_ENTER_EXT_ARG, NULL,
				   sizeof(struct io_uring_getevents_arg)));
}

TEST_F(compat, timeout)
{
	struct io_uring_getevents_arg *arg = (void *)(self->p.low + 512);
	struct __kernel_timespec *ts = (void *)(self->p.low + 1024);
	uint64_t begin = now_ns(CLOCK_MONOTONIC);

	arg->ts = ptr(ts);
	/* A 32-bit program may leave garbage above the nanoseconds. */
	ts->tv_sec = 0;
	ts->tv_nsec = 0x7777777700000000 | 20000000;
	EXPECT_EQ(-ETIME, enter32(&self->p, 0, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
				  arg, sizeof(*arg)));
	EXPECT_LE(20000000, now_ns(CLOCK_MONOTONIC) - begin);
}

TEST_F(compat, signal_mask)
{
	uint32_t *mask = (void *)(self->p.low + 512);

	/* As long as that of a 64-bit program. */
	mask[0] = UINT32_MAX;
	mask[1] = UINT32_MAX;
	ring_nop(&self->p.r, 1);
	EXPECT_EQ(1, enter32(&self->p, ring_flush(&self->p.r), 1, IORING_ENTER_GETEVENTS, mask,
			     8));
	ring_seen(&self->p.r, 1);
	EXPECT_EQ(-EINVAL, enter32(&self->p, 0, 1, IORING_ENTER_GETEVENTS, mask, 4));
}

TEST_F(compat, registers)
{
	struct io_uring_probe *probe = (void *)(self->p.low + 512);
	struct io_uring_clock_register *clock = (void *)(self->p.low + 2048);

	EXPECT_EQ(0, register32(&self->p, IORING_REGISTER_PROBE, probe, 8));
	EXPECT_EQ(IORING_OP_LAST - 1, probe->last_op);
	EXPECT_EQ(8, probe->ops_len);
	EXPECT_EQ(IO_URING_OP_SUPPORTED, probe->ops[0].flags);
	clock->clockid = CLOCK_BOOTTIME;
	EXPECT_EQ(0, register32(&self->p, IORING_REGISTER_CLOCK, clock, 0));
	EXPECT_EQ(1, register32(&self->p, IORING_REGISTER_PERSONALITY, NULL, 0));
}

TEST_F(compat, no_packed_enter)
{
	/* Its word does not fit. Native rings know no ioctl at all. */
	ring_nop(&self->p.r, 1);
	ring_flush(&self->p.r);
	EXPECT_EQ(variant->backend == NATIVE ? -ENOTTY : -EINVAL,
		  gate(COMPAT_IOCTL, self->p.r.fd, RUST_URING_ENTER_PACKED, 1, 0, 0, 0));
	EXPECT_EQ(0, *self->p.r.sq_head);
}

TEST_HARNESS_MAIN
