/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A ring of /dev/rust_uring or of the kernel's own io_uring, by the same calls.
 * What the two need differently is the three functions here, and nothing else.
 *
 * What fails ends the program.
 */
#ifndef RUST_URING_EXAMPLE_RING_H
#define RUST_URING_EXAMPLE_RING_H

#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <rust_uring_calls.h>

#define load_acquire(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)

struct ring {
	bool native;
	int fd;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	unsigned int *sq_head, *sq_tail, *cq_head, *cq_tail;
	unsigned int entries, cq_mask;
	unsigned int tail;	/* SQEs filled in, not all shown to the kernel yet */
	unsigned long enters;
};

static int ring_setup(bool native, unsigned int entries, struct io_uring_params *p)
{
	int dev, fd;

	if (native)
		return syscall(__NR_io_uring_setup, entries, p);
	dev = rust_uring_open();
	if (dev < 0)
		err(1, RUST_URING_DEVICE);
	fd = rust_uring_setup(dev, entries, p);
	close(dev);
	return fd;
}

static void ring_register(struct ring *r, unsigned int opcode, const void *p, unsigned int nr)
{
	long ret;

	if (r->native)
		ret = syscall(__NR_io_uring_register, r->fd, opcode, p, nr);
	else
		ret = rust_uring_register(-1, r->fd, opcode, p, nr);
	if (ret < 0)
		err(1, "register %u", opcode);
}

/* Submits what is filled in, and waits until there is something to read. */
static void ring_submit_and_wait(struct ring *r)
{
	unsigned int nr = r->tail - *r->sq_tail;
	const unsigned int flags = IORING_ENTER_GETEVENTS;
	long ret;

	store_release(r->sq_tail, r->tail);
	if (r->native)
		ret = syscall(__NR_io_uring_enter, r->fd, nr, 1, flags, NULL, 0);
	else
		ret = rust_uring_enter(-1, r->fd, nr, 1, flags, NULL, 0);
	if (ret != nr)
		err(1, "enter");
	r->enters++;
}

static void ring_init(struct ring *r, bool native, unsigned int entries)
{
	struct io_uring_params p = {
		.flags = IORING_SETUP_NO_SQARRAY | IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL,
	};
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
	size_t size;
	char *rings;

	memset(r, 0, sizeof(*r));
	r->native = native;
	r->fd = ring_setup(native, entries, &p);
	if (r->fd < 0)
		err(1, "setup");
	size = p.cq_off.cqes + p.cq_entries * sizeof(*r->cqes);
	rings = mmap(NULL, size, prot, flags, r->fd, IORING_OFF_SQ_RING);
	size = p.sq_entries * sizeof(*r->sqes);
	r->sqes = mmap(NULL, size, prot, flags, r->fd, IORING_OFF_SQES);
	if (rings == MAP_FAILED || r->sqes == MAP_FAILED)
		err(1, "mmap of the ring");
	r->sq_head = (void *)(rings + p.sq_off.head);
	r->sq_tail = (void *)(rings + p.sq_off.tail);
	r->cq_head = (void *)(rings + p.cq_off.head);
	r->cq_tail = (void *)(rings + p.cq_off.tail);
	r->cqes = (void *)(rings + p.cq_off.cqes);
	r->entries = p.sq_entries;
	r->cq_mask = p.cq_entries - 1;
}

/* SQEs that can be filled in before the next call. */
static unsigned int ring_room(struct ring *r)
{
	return r->entries - (r->tail - load_acquire(r->sq_head));
}

/* The next SQE, zeroed; there must be room. */
static struct io_uring_sqe *ring_sqe(struct ring *r, unsigned int opcode, __u64 user_data)
{
	struct io_uring_sqe *sqe = &r->sqes[r->tail++ & (r->entries - 1)];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->user_data = user_data;
	return sqe;
}

/* Takes the first CQE; false if there is none. */
static bool ring_cqe(struct ring *r, struct io_uring_cqe *cqe)
{
	unsigned int head = *r->cq_head;

	if (head == load_acquire(r->cq_tail))
		return false;
	*cqe = r->cqes[head & r->cq_mask];
	store_release(r->cq_head, head + 1);
	return true;
}

#endif
