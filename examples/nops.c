// SPDX-License-Identifier: GPL-2.0
/*
 * The shortest complete user of /dev/rust_uring: sets up a ring, maps it, and
 * pushes NOPs through it.
 *
 *	nops [COUNT [BATCH]]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <linux/io_uring.h>
#include <linux/rust_uring.h>

#define load_acquire(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)

static void die(const char *what)
{
	fprintf(stderr, "nops: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *map(int ring, size_t size, unsigned long long offset)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_POPULATE, ring, offset);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000000;
	unsigned int batch = argc > 2 ? strtoul(argv[2], NULL, 0) : 32;
	struct io_uring_params p = { .flags = IORING_SETUP_NO_SQARRAY };
	struct rust_uring_setup setup = {
		.entries = batch,
		.params = (unsigned long)&p,
	};
	unsigned long submitted = 0, completed = 0, wrong = 0;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned int *sq_tail, *cq_head, *cq_tail, cq_mask, sq_mask;
	struct timespec start, end;
	double seconds;
	int dev, ring;
	char *rings;

	dev = open(RUST_URING_DEVICE, O_RDWR | O_CLOEXEC);
	if (dev < 0)
		die(RUST_URING_DEVICE);
	ring = ioctl(dev, RUST_URING_SETUP, &setup);
	if (ring < 0)
		die("setup");
	close(dev);

	rings = map(ring, p.cq_off.cqes + p.cq_entries * sizeof(*cqes), IORING_OFF_SQ_RING);
	sqes = map(ring, p.sq_entries * sizeof(*sqes), IORING_OFF_SQES);
	sq_tail = (void *)(rings + p.sq_off.tail);
	cq_head = (void *)(rings + p.cq_off.head);
	cq_tail = (void *)(rings + p.cq_off.tail);
	cqes = (void *)(rings + p.cq_off.cqes);
	sq_mask = p.sq_entries - 1;
	cq_mask = p.cq_entries - 1;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (completed < count) {
		unsigned int tail = *sq_tail, head = *cq_head, i, nr = batch;
		long ret;

		if (nr > count - submitted)
			nr = count - submitted;
		for (i = 0; i < nr; i++) {
			struct io_uring_sqe *sqe = &sqes[tail++ & sq_mask];

			memset(sqe, 0, sizeof(*sqe));
			sqe->opcode = IORING_OP_NOP;
			sqe->user_data = submitted + i;
		}
		store_release(sq_tail, tail);
		ret = ioctl(ring, RUST_URING_ENTER_PACKED,
			    RUST_URING_PACK(nr, nr, IORING_ENTER_GETEVENTS));
		if (ret != nr)
			die("enter");
		submitted += nr;
		for (; head != load_acquire(cq_tail); head++) {
			struct io_uring_cqe *cqe = &cqes[head & cq_mask];

			if (cqe->user_data != completed || cqe->res)
				wrong++;
			completed++;
		}
		store_release(cq_head, head);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	close(ring);

	seconds = (end.tv_sec - start.tv_sec) + (end.tv_nsec - start.tv_nsec) / 1e9;
	printf("%lu NOPs, %u at a time: %.2f s, %.0f per second, %lu wrong\n",
	       completed, batch, seconds, completed / seconds, wrong);
	return wrong || completed != count;
}
