// SPDX-License-Identifier: GPL-2.0
/* IORING_REGISTER_CLOCK: the clock of the timeouts in ENTER, also in a time namespace. */
#include "uring.h"
#include <sched.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define MS	1000000ull

FIXTURE(clock) { struct ring r; };
RING_VARIANTS(clock);

FIXTURE_SETUP(clock)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
}

FIXTURE_TEARDOWN(clock)
{
	ring_exit(&self->r);
}

static int set_clock(struct ring *r, unsigned int id)
{
	struct io_uring_clock_register arg = { .clockid = id };

	return ring_register(r, IORING_REGISTER_CLOCK, &arg, 0);
}

static int wait_until(struct ring *r, unsigned int flags, uint64_t ns)
{
	struct __kernel_timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
	struct io_uring_getevents_arg arg = { .ts = (unsigned long)&ts };

	return uring_enter_arg(r->backend, r->fd, 0, 1,
			       flags | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg,
			       sizeof(arg));
}

TEST_F(clock, errors)
{
	unsigned int ids[] = { CLOCK_REALTIME, CLOCK_PROCESS_CPUTIME_ID, CLOCK_MONOTONIC_RAW,
		CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME_ALARM, CLOCK_TAI, 12, ~0u };
	struct io_uring_clock_register arg = { .clockid = CLOCK_MONOTONIC };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ids); i++)
		EXPECT_EQ(-EINVAL, set_clock(&self->r, ids[i]));
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_CLOCK, &arg, 1));
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_CLOCK, NULL, 0));
	EXPECT_EQ(-EFAULT, ring_register(&self->r, IORING_REGISTER_CLOCK, (void *)8, 0));
	for (i = 0; i < 3; i++) {
		memset(&arg, 0, sizeof(arg));
		arg.clockid = CLOCK_MONOTONIC;
		arg.__resv[i] = 1;
		EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_CLOCK, &arg, 0));
	}
}

TEST_F(clock, relative_and_absolute)
{
	clockid_t ids[] = { CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME };
	size_t i;

	for (i = 0; i < 3; i++) {
		uint64_t start, until;

		ASSERT_EQ(0, set_clock(&self->r, ids[i]));
		start = now_ns(ids[i]);
		EXPECT_EQ(-ETIME, wait_until(&self->r, 0, 20 * MS));
		EXPECT_LE(start + 20 * MS, now_ns(ids[i]));
		until = now_ns(ids[i]) + 20 * MS;
		EXPECT_EQ(-ETIME, wait_until(&self->r, IORING_ENTER_ABS_TIMER, until));
		EXPECT_LE(until, now_ns(ids[i]));
		EXPECT_EQ(-ETIME, wait_until(&self->r, IORING_ENTER_ABS_TIMER, until));
	}
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
	close(fd);
	return ret;
}

/*
 * The two clocks run the same here, so they are set apart by a time namespace,
 * whose times are also what the application means.
 */
TEST_F(clock, time_namespace)
{
	int status;
	pid_t child;

	if (unshare(CLONE_NEWTIME))
		SKIP(return, "no time namespaces");
	ASSERT_EQ(0, write_file("/proc/self/timens_offsets", "monotonic 500000 0\n"));
	ASSERT_EQ(0, write_file("/proc/self/timens_offsets", "boottime 1000000 0\n"));
	child = fork();
	if (!child) {
		clockid_t ids[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME };
		uint64_t until, start;
		struct ring r;
		int i;

		if (now_ns(CLOCK_BOOTTIME) < now_ns(CLOCK_MONOTONIC) + 400000000 * MS)
			_exit(10);
		if (ring_init(&r, variant->backend, 8, variant->flags))
			_exit(11);
		for (i = 0; i < 2; i++) {
			if (set_clock(&r, ids[i]))
				_exit(12);
			start = now_ns(ids[i]);
			if (wait_until(&r, 0, 20 * MS) != -ETIME)
				_exit(13);
			until = now_ns(ids[i]) + 20 * MS;
			if (until < start + 40 * MS)
				_exit(14);
			/* By the other clock, or the host's, this is over or days ahead. */
			if (wait_until(&r, IORING_ENTER_ABS_TIMER, until) != -ETIME)
				_exit(15);
			if (now_ns(ids[i]) < until)
				_exit(16);
		}
		_exit(0);
	}
	ASSERT_LT(0, child);
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, WEXITSTATUS(status));
	EXPECT_TRUE(WIFEXITED(status));
}

TEST_HARNESS_MAIN
