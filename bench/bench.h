/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a row of the benchmark is, and the calls that rows are made of.
 *
 * A row runs the same code with the same SQEs on the device and natively. Only
 * the three calls differ, each in the form that costs a client least.
 */
#ifndef RUST_URING_BENCH_H
#define RUST_URING_BENCH_H

#include "../selftests/uring.h"

#define PAGE		4096u
/* Pages of the files and of the buffer that rows transfer. */
#define PAGES		128u

/* In which kinds of runs a row has a place. */
enum {
	/* One CPU, counted instructions. */
	COUNT = 1,
	/* Real time. */
	TIME = 2,
	/* Two CPUs or many requests: real time, of which only the ratio counts. */
	SCALE = 4,
};

/* What a row does in a special way. */
enum {
	FIXED_FILE = 1,
	FIXED_BUFFER = 2,
	REGISTERED_RING = 4,
	/* It has no ring: it is run once, as a measure of other things. */
	CONTROL = 8,
	/* It leaves work behind that belongs to it. */
	LASTING = 16,
};

struct job;

struct row {
	const char *name;
	/* The highest ratio that is good enough; 0 if none is asked for. */
	double bar;
	unsigned int runs;
	/* Requests in one turn. */
	unsigned int batch;
	/* It is measured for so many times as long as others, if not 0. */
	unsigned int times;
	unsigned int setup;
	unsigned int what;
	int opcode;
	unsigned int sqe_flags;
	/* The file that it is about, in the folder of files. */
	const char *file;
	/* -EINVAL and -EOPNOTSUPP: that backend does not have it. */
	int (*start)(struct job *j);
	void (*turns)(struct job *j, unsigned long n);
	void (*stop)(struct job *j);
};

/* A row on one backend. */
struct job {
	const struct row *row;
	enum backend backend;
	struct ring r;
	/* What enter names the ring by. */
	int ring_fd;
	unsigned int enter_flags;
	/* SQEs are copies of this; the i-th of a batch is so many bytes further in the file. */
	struct io_uring_sqe sqe;
	unsigned int stride;
	/* What every request is to result in. */
	int expect;
	int device, fd, event, quiet;
	char *buffer;
	unsigned long calls;
	/* A result that was not expected. */
	int wrong;
	/* For rows with several rings. */
	struct job *sub;
	unsigned int nr_sub;
	void *own;
};

extern const struct row rows[];
extern const unsigned int nr_rows;
extern const char *files_dir;

static inline void job_init(struct job *j, const struct row *row, enum backend backend)
{
	*j = (struct job){
		.row = row,
		.backend = backend,
		.device = -1,
		.fd = -1,
		.event = -1,
		.quiet = -1,
		.r.fd = -1,
	};
}

/* System calls without the library around them. */
#ifdef __x86_64__
static inline long raw3(long nr, long a, long b, long c)
{
	long ret;

	asm volatile("syscall" : "=a" (ret)
		     : "0" (nr), "D" (a), "S" (b), "d" (c)
		     : "rcx", "r11", "memory");
	return ret;
}

static inline long raw6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	long ret;

	asm volatile("syscall" : "=a" (ret)
		     : "0" (nr), "D" (a), "S" (b), "d" (c), "r" (r10), "r" (r8), "r" (r9)
		     : "rcx", "r11", "memory");
	return ret;
}
#else
#define raw3(nr, a, b, c)		sys_result(syscall(nr, a, b, c))
#define raw6(nr, a, b, c, d, e, f)	sys_result(syscall(nr, a, b, c, d, e, f))
#endif

/* One more system call of the job. */
#define counted(j, call)	((j)->calls++, (call))

/* What a call that did not do all of it says, or else the first request. */
static inline int short_call(const struct job *j, long ret)
{
	const struct ring *r = &j->r;
	unsigned int head = *r->cq_head;

	if (ret < 0)
		return ret;
	if (load_acquire(r->cq_tail) != head && r->cqes[head & (r->p.cq_entries - 1)].res < 0)
		return r->cqes[head & (r->p.cq_entries - 1)].res;
	return -EIO;
}

/* On the device, which stays open: a registered index is no descriptor. */
static inline long enter_registered(struct job *j, unsigned int nr, unsigned int wait,
				    unsigned int flags)
{
	struct rust_uring_enter arg = {
		.fd = j->ring_fd,
		.to_submit = nr,
		.min_complete = wait,
		.flags = flags | j->enter_flags,
	};

	return counted(j, raw3(__NR_ioctl, j->device, RUST_URING_ENTER, (long)&arg));
}

static inline void enter(struct job *j, unsigned int nr, unsigned int wait, unsigned int flags)
{
	long ret;

	if (j->backend == NATIVE)
		ret = counted(j, raw6(__NR_io_uring_enter, j->ring_fd, nr, wait,
				      flags | j->enter_flags, 0, 0));
	else if (j->enter_flags)
		ret = enter_registered(j, nr, wait, flags);
	else
		ret = counted(j, raw6(__NR_fadvise64, j->ring_fd, RUST_URING_PACK(nr, wait, flags),
				      0, RUST_URING_ADVICE_ENTER, 0, 0));
	if (ret != nr)
		j->wrong = short_call(j, ret);
}

/* Fills in the next SQE. */
static inline struct io_uring_sqe *fill_one(struct job *j, unsigned int i)
{
	struct ring *r = &j->r;
	struct io_uring_sqe *sqe = &r->sqes[r->sqe_tail++ & (r->p.sq_entries - 1)];

	*sqe = j->sqe;
	sqe->user_data = i;
	sqe->off += i * j->stride;
	sqe->addr += i * j->stride;
	return sqe;
}

static inline void fill(struct job *j, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		fill_one(j, i);
}

/* Shows the kernel what is filled in. */
static inline void flush(struct job *j)
{
	store_release(j->r.sq_tail, j->r.sqe_tail);
}

/* Takes so many CQEs, and waits for those that are not there yet. */
static inline void reap(struct job *j, unsigned int nr)
{
	struct ring *r = &j->r;
	unsigned int i, head = *r->cq_head;

	while (load_acquire(r->cq_tail) - head < nr && !j->wrong)
		enter(j, 0, nr, IORING_ENTER_GETEVENTS);
	for (i = 0; i < nr; i++) {
		const struct io_uring_cqe *cqe = &r->cqes[(head + i) & (r->p.cq_entries - 1)];

		if (cqe->res != j->expect)
			j->wrong = cqe->res < 0 ? cqe->res : -EIO;
	}
	store_release(r->cq_head, head + nr);
}

#endif
