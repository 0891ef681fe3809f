// SPDX-License-Identifier: GPL-2.0
/*
 * cost: what a call costs. Run it natively and by "ruring run": an enter with
 * nothing to do, inline and through syscall(3), and a call that is none of ours.
 *
 *	cost [CALLS]
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/io_uring.h>

static long inline_call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	long ret;

	asm volatile("syscall" : "=a"(ret)
		     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return ret;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e9 + ts.tv_nsec;
}

/* The best of a hundred: others use the machine, too. */
static void measure(const char *what, unsigned long calls, bool function, long nr, int ring)
{
	double best = 0;
	unsigned long i;
	int round;

	for (round = 0; round < 100; round++) {
		double begin = now(), each;

		for (i = 0; i < calls; i++) {
			long ret = function ? syscall(nr, ring, 0, 0, 0, 0, 0) :
					      inline_call(nr, ring, 0, 0, 0, 0, 0);

			if (ret < 0)
				errx(1, "%s: %ld", what, ret);
		}
		each = (now() - begin) / calls;
		if (!round || each < best)
			best = each;
	}
	printf("%-40s %8.0f ns\n", what, best);
}

int main(int argc, char **argv)
{
	unsigned long calls = argc > 1 ? strtoul(argv[1], NULL, 0) : 2000;
	struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER };
	int ring = syscall(__NR_io_uring_setup, 8, &p);

	if (ring < 0)
		err(1, "io_uring_setup");
	measure("io_uring_enter through syscall(3)", calls, true, __NR_io_uring_enter, ring);
	measure("io_uring_enter, inline", calls, false, __NR_io_uring_enter, ring);
	measure("getppid, inline", calls, false, __NR_getppid, 0);
	return 0;
}
