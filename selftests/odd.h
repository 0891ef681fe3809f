/* SPDX-License-Identifier: GPL-2.0 */
/* Values and pointers that no kernel likes, thrown by dice. */
#ifndef RUST_URING_SELFTEST_ODD_H
#define RUST_URING_SELFTEST_ODD_H

#include "stress.h"

#define PAGE		4096
#define ARENA_PAGES	8	/* then one to be read only, then nothing */

/* Where the kernel may read and write at will. */
struct arena {
	char *base, *read_only, *unmapped;
	char *ring;		/* the ring itself; its size in pages */
	size_t ring_pages;
};

static __maybe_unused int arena_init(struct arena *a)
{
	size_t size = (ARENA_PAGES + 2) * PAGE;

	a->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (a->base == MAP_FAILED)
		return -errno;
	a->read_only = a->base + ARENA_PAGES * PAGE;
	a->unmapped = a->read_only + PAGE;
	a->ring_pages = 0;
	if (mprotect(a->read_only, PAGE, PROT_READ) || munmap(a->unmapped, PAGE))
		return -errno;
	return 0;
}

/*
 * Sizes are small, or so large that there is no such memory: what lies between
 * would only wake the OOM killer.
 */
static __maybe_unused uint64_t odd_number(struct dice *d)
{
	static const uint64_t numbers[] = {
		0, 1, 2, 3, 7, 8, 0x7f, 0xff, 0x100, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
		0xfffffffe, 0xffffffff, 1ull << 44, 1ull << 62, INT64_MAX, 1ull << 63,
		UINT64_MAX - 4095, UINT64_MAX - 1, UINT64_MAX,
	};

	switch (dice(d, 4)) {
	case 0:
		return dice(d, 300);
	case 1:
		return 1ull << dice(d, 20);
	case 2:
		return (uint64_t)(1 + dice(d, 16)) * PAGE;
	}
	return numbers[dice(d, sizeof(numbers) / sizeof(numbers[0]))];
}

static __maybe_unused void *odd_pointer(struct dice *d, const struct arena *a)
{
	static const uint64_t kernels[] = {
		0xffff888000000000, 0xffffffff81000000, 0xffffffffc0000000, 0xffffffffff600000,
	};
	uint64_t p;

	switch (dice(d, 16)) {
	case 0:
		return NULL;
	case 1:
		return (void *)(uintptr_t)dice(d, PAGE);
	case 2:		/* the direct map, the text, the modules, the fixed map */
		p = kernels[dice(d, 4)];
		return (void *)(p + dice(d, 2 * PAGE));
	case 3:		/* not canonical */
		return (void *)(0x0000800000000000 + ((uint64_t)dice(d, 1 << 16) << 40));
	case 4:
		return (void *)-(uint64_t)dice(d, 2 * PAGE);
	case 5:		/* the last of what is there */
		return a->read_only - dice(d, 64);
	case 6:
		return a->unmapped - dice(d, 64);
	case 7:
		return a->unmapped + dice(d, PAGE);
	case 8:
		return a->read_only + 8 * dice(d, 64);
	case 9:
		if (a->ring_pages)
			return a->ring + 8 * dice(d, a->ring_pages * PAGE / 8);
		break;
	case 10:
		return a->base + dice(d, ARENA_PAGES * PAGE);
	}
	/* Mostly it is one where something can be done. */
	return a->base + 64 * dice(d, ARENA_PAGES * PAGE / 64);
}

/* What a word in the arena may be: a number, or a pointer. */
static __maybe_unused uint64_t odd_word(struct dice *d, const struct arena *a)
{
	switch (dice(d, 4)) {
	case 0:
		return (uintptr_t)odd_pointer(d, a);
	case 1:
		return odd_number(d) | odd_number(d) << 32;
	case 2:
		return odd_number(d);
	}
	return 0;
}

static __maybe_unused void odd_arena(struct dice *d, const struct arena *a)
{
	volatile uint64_t *word = (uint64_t *)a->base + dice(d, (ARENA_PAGES * PAGE - 512) / 8);
	int i;

	for (i = dice(d, 64); i > 0; i--)
		*word++ = odd_word(d, a);
}

#endif
