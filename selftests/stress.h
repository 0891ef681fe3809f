/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For the tests that go on for a while: how long (STRESS=seconds in the
 * environment), by which dice, and what has to be left over in the end: nothing.
 */
#ifndef RUST_URING_SELFTEST_STRESS_H
#define RUST_URING_SELFTEST_STRESS_H

#include "uring.h"

#define SEC	1000000000ull

/* One number out of a file; -1 if it is not there. */
static __maybe_unused long read_number(const char *path, const char *key)
{
	char name[128];
	long value = -1, found;
	FILE *f = fopen(path, "re");

	if (!f)
		return -1;
	if (!key && fscanf(f, "%ld", &found) == 1)
		value = found;
	while (key && fscanf(f, "%127s %ld", name, &found) == 2) {
		if (!strcmp(name, key)) {
			value = found;
			break;
		}
	}
	fclose(f);
	return value;
}

/* Open files of the module: what keeps it from being unloaded. */
static __maybe_unused long module_refs(void)
{
	return read_number("/sys/module/rust_uring/refcnt", NULL);
}

/* Pages that are pinned now, in the whole system. The counters are per CPU until they are told. */
static __maybe_unused long pinned_pages(void)
{
	int fd = open("/proc/sys/vm/stat_refresh", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, "1", 1) != 1)
			perror("stat_refresh");
		close(fd);
	}
	return read_number("/proc/vmstat", "nr_foll_pin_acquired") -
	       read_number("/proc/vmstat", "nr_foll_pin_released");
}

/* Waits until a count falls to what it was. Rings go down in a kernel thread. */
static __maybe_unused bool falls_to(long (*count)(void), long value)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 60 * SEC;

	while (count() > value) {
		if (now_ns(CLOCK_MONOTONIC) > limit)
			return false;
		usleep(10000);
	}
	return true;
}

/* How long a test goes on: so many seconds, unless STRESS says otherwise. */
static __maybe_unused uint64_t stress_end(unsigned int seconds)
{
	const char *stress = getenv("STRESS");

	return now_ns(CLOCK_MONOTONIC) + (stress ? strtoul(stress, NULL, 0) : seconds) * SEC;
}

/* The same for what is compared: the long time is the module's. */
static __maybe_unused uint64_t stress_end_for(enum backend backend, unsigned int seconds)
{
	return backend == DEVICE ? stress_end(seconds) :
	       now_ns(CLOCK_MONOTONIC) + seconds * SEC;
}

static __maybe_unused bool stress_over(uint64_t end)
{
	return now_ns(CLOCK_MONOTONIC) >= end;
}

/* Dice whose throws depend on the seed alone: xorshift64*. */
struct dice {
	uint64_t state;
};

/* SEED in the environment repeats a run. */
static __maybe_unused uint64_t stress_seed(uint64_t usual)
{
	const char *seed = getenv("SEED");

	return seed ? strtoull(seed, NULL, 0) : usual;
}

static __maybe_unused void dice_init(struct dice *d, uint64_t seed)
{
	d->state = (seed + 1) * 0x9e3779b97f4a7c15ull;
	if (!d->state)
		d->state = 1;
}

static __maybe_unused uint64_t dice_throw(struct dice *d)
{
	d->state ^= d->state >> 12;
	d->state ^= d->state << 25;
	d->state ^= d->state >> 27;
	return d->state * 0x2545f4914f6cdd1dull;
}

/* A number below @sides. */
static __maybe_unused unsigned int dice(struct dice *d, unsigned int sides)
{
	return (dice_throw(d) >> 32) % sides;
}

/* The flags of 7.3 that the device takes, in combinations that are legal by themselves. */
static __maybe_unused unsigned int random_setup(struct dice *d)
{
	static const unsigned int any[] = {
		IORING_SETUP_CLAMP, IORING_SETUP_SUBMIT_ALL, IORING_SETUP_COOP_TASKRUN,
		IORING_SETUP_CQSIZE,
	};
	static const unsigned int sqe[] = { 0, IORING_SETUP_SQE128, IORING_SETUP_SQE_MIXED };
	static const unsigned int cqe[] = { 0, IORING_SETUP_CQE32, IORING_SETUP_CQE_MIXED };
	static const unsigned int array[] = {
		0, IORING_SETUP_NO_SQARRAY, IORING_SETUP_NO_SQARRAY | IORING_SETUP_SQ_REWIND,
	};
	static const unsigned int issuer[] = {
		0, IORING_SETUP_SINGLE_ISSUER,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG,
	};
	unsigned int flags, i;

	flags = sqe[dice(d, 3)] | cqe[dice(d, 3)] | array[dice(d, 3)] | issuer[dice(d, 4)];
	for (i = 0; i < sizeof(any) / sizeof(any[0]); i++)
		if (dice(d, 2))
			flags |= any[i];
	return flags;
}

#endif
