/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Rings for the tests: the same calls on /dev/rust_uring and on the kernel's
 * own io_uring, so that each test is checked by the latter.
 *
 * All calls return a negative errno on failure.
 */
#ifndef RUST_URING_SELFTEST_URING_H
#define RUST_URING_SELFTEST_URING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/io_uring/query.h>
#include <linux/rust_uring.h>

#ifndef __maybe_unused
#define __maybe_unused __attribute__((unused))
#endif

enum backend {
	DEVICE,		/* /dev/rust_uring, calls issued on the ring */
	NATIVE,		/* the system calls */
};

#define load_acquire(p)		__atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store_release(p, v)	__atomic_store_n(p, v, __ATOMIC_RELEASE)

static __maybe_unused int sys_result(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

/* The device, opened for one call as a redirected program would. */
static __maybe_unused int on_device(unsigned long cmd, void *arg)
{
	int dev = open(RUST_URING_DEVICE, O_RDWR | O_CLOEXEC);
	int ret;

	if (dev < 0)
		return -errno;
	ret = sys_result(ioctl(dev, cmd, arg));
	close(dev);
	return ret;
}

static __maybe_unused int uring_setup(enum backend backend, unsigned int entries,
				      struct io_uring_params *p)
{
	struct rust_uring_setup arg = {
		.entries = entries,
		.params = (unsigned long)p,
	};

	if (backend == NATIVE)
		return sys_result(syscall(__NR_io_uring_setup, entries, p));
	return on_device(RUST_URING_SETUP, &arg);
}

static __maybe_unused int uring_enter_arg(enum backend backend, int fd, unsigned int to_submit,
					  unsigned int min_complete, unsigned int flags,
					  const void *argp, size_t argsz)
{
	struct rust_uring_enter arg = {
		.fd = fd,
		.to_submit = to_submit,
		.min_complete = min_complete,
		.flags = flags,
		.argp = (unsigned long)argp,
		.argsz = argsz,
	};

	if (backend == NATIVE)
		return sys_result(syscall(__NR_io_uring_enter, fd, to_submit, min_complete,
					  flags, argp, argsz));
	/* A registered index is no descriptor to issue an ioctl on. */
	if (flags & IORING_ENTER_REGISTERED_RING)
		return on_device(RUST_URING_ENTER, &arg);
	return sys_result(ioctl(fd, RUST_URING_ENTER, &arg));
}

static __maybe_unused int uring_enter(enum backend backend, int fd, unsigned int to_submit,
				      unsigned int min_complete, unsigned int flags)
{
	return uring_enter_arg(backend, fd, to_submit, min_complete, flags, NULL, 0);
}

static __maybe_unused int uring_register(enum backend backend, int fd, unsigned int opcode,
					 const void *p, unsigned int nr)
{
	struct rust_uring_register arg = {
		.fd = fd,
		.opcode = opcode,
		.arg = (unsigned long)p,
		.nr_args = nr,
	};

	if (backend == NATIVE)
		return sys_result(syscall(__NR_io_uring_register, fd, opcode, p, nr));
	if (fd == -1 || (opcode & IORING_REGISTER_USE_REGISTERED_RING))
		return on_device(RUST_URING_REGISTER, &arg);
	return sys_result(ioctl(fd, RUST_URING_REGISTER, &arg));
}

/* The opcodes that the device has so far. */
static __maybe_unused bool device_has_op(unsigned int opcode)
{
	switch (opcode) {
	case IORING_OP_NOP:
	case IORING_OP_READV:
	case IORING_OP_WRITEV:
	case IORING_OP_FSYNC:
	case IORING_OP_POLL_ADD:
	case IORING_OP_POLL_REMOVE:
	case IORING_OP_READ_FIXED:
	case IORING_OP_WRITE_FIXED:
	case IORING_OP_SYNC_FILE_RANGE:
	case IORING_OP_FALLOCATE:
	case IORING_OP_TIMEOUT:
	case IORING_OP_TIMEOUT_REMOVE:
	case IORING_OP_ASYNC_CANCEL:
	case IORING_OP_LINK_TIMEOUT:
	case IORING_OP_OPENAT:
	case IORING_OP_CLOSE:
	case IORING_OP_FILES_UPDATE:
	case IORING_OP_STATX:
	case IORING_OP_READ:
	case IORING_OP_WRITE:
	case IORING_OP_FADVISE:
	case IORING_OP_OPENAT2:
	case IORING_OP_FIXED_FD_INSTALL:
	case IORING_OP_FTRUNCATE:
	case IORING_OP_READV_FIXED:
	case IORING_OP_WRITEV_FIXED:
	case IORING_OP_PROVIDE_BUFFERS:
	case IORING_OP_REMOVE_BUFFERS:
	case IORING_OP_READ_MULTISHOT:
	case IORING_OP_NOP128:
		return true;
	}
	return false;
}

static __maybe_unused uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* A mapped ring. */
struct ring {
	enum backend backend;
	int fd;
	struct io_uring_params p;
	char *rings;
	size_t rings_size;
	struct io_uring_sqe *sqes;
	size_t sqes_size;
	unsigned int *sq_head, *sq_tail, *sq_flags, *sq_dropped, *sq_array;
	unsigned int *cq_head, *cq_tail, *cq_flags, *cq_overflow;
	struct io_uring_cqe *cqes;
	unsigned int sqe_tail;	/* SQEs filled in, not yet shown to the kernel */
};

static __maybe_unused unsigned int sqe_shift(const struct ring *r)
{
	return !!(r->p.flags & IORING_SETUP_SQE128);
}

static __maybe_unused unsigned int cqe_shift(const struct ring *r)
{
	return !!(r->p.flags & IORING_SETUP_CQE32);
}

/* Where things lie, once r->rings and r->sqes are there. */
static __maybe_unused void ring_layout(struct ring *r)
{
	struct io_uring_params *p = &r->p;

	r->sq_head = (void *)(r->rings + p->sq_off.head);
	r->sq_tail = (void *)(r->rings + p->sq_off.tail);
	r->sq_flags = (void *)(r->rings + p->sq_off.flags);
	r->sq_dropped = (void *)(r->rings + p->sq_off.dropped);
	r->sq_array = p->flags & IORING_SETUP_NO_SQARRAY ? NULL :
		(void *)(r->rings + p->sq_off.array);
	r->cq_head = (void *)(r->rings + p->cq_off.head);
	r->cq_tail = (void *)(r->rings + p->cq_off.tail);
	r->cq_flags = (void *)(r->rings + p->cq_off.flags);
	r->cq_overflow = (void *)(r->rings + p->cq_off.overflow);
	r->cqes = (void *)(r->rings + p->cq_off.cqes);
	r->sqe_tail = *r->sq_tail;
}

/* The sizes in bytes that the kernel allocates for these parameters. */
static __maybe_unused void ring_sizes(struct ring *r)
{
	struct io_uring_params *p = &r->p;

	r->rings_size = p->cq_off.cqes +
		(p->cq_entries * sizeof(struct io_uring_cqe) << cqe_shift(r));
	if (!(p->flags & IORING_SETUP_NO_SQARRAY))
		r->rings_size = p->sq_off.array + p->sq_entries * sizeof(unsigned int);
	r->sqes_size = p->sq_entries * sizeof(struct io_uring_sqe) << sqe_shift(r);
}

static __maybe_unused int ring_map(struct ring *r)
{
	ring_sizes(r);
	r->rings = mmap(NULL, r->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			r->fd, IORING_OFF_SQ_RING);
	if (r->rings == MAP_FAILED)
		return -errno;
	r->sqes = mmap(NULL, r->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
		       r->fd, IORING_OFF_SQES);
	if (r->sqes == MAP_FAILED)
		return -errno;
	ring_layout(r);
	return 0;
}

/* Sets up and maps a ring with r->p as parameters. */
static __maybe_unused int ring_init_params(struct ring *r, enum backend backend,
					   unsigned int entries)
{
	r->backend = backend;
	r->fd = uring_setup(backend, entries, &r->p);
	if (r->fd < 0)
		return r->fd;
	return ring_map(r);
}

/* Short, so that there are not threads that look for work on all CPUs. */
#define SQ_IDLE_MS	5

static __maybe_unused int ring_init(struct ring *r, enum backend backend, unsigned int entries,
				    unsigned int flags)
{
	memset(r, 0, sizeof(*r));
	r->p.flags = flags;
	if (flags & IORING_SETUP_SQPOLL)
		r->p.sq_thread_idle = SQ_IDLE_MS;
	return ring_init_params(r, backend, entries);
}

static __maybe_unused void ring_unmap(struct ring *r)
{
	munmap(r->rings, r->rings_size);
	munmap(r->sqes, r->sqes_size);
}

static __maybe_unused void ring_exit(struct ring *r)
{
	ring_unmap(r);
	close(r->fd);
}

/* The next SQE, zeroed; NULL when the SQ is full. */
static __maybe_unused struct io_uring_sqe *ring_sqe(struct ring *r)
{
	unsigned int mask = r->p.sq_entries - 1;
	struct io_uring_sqe *sqe;
	unsigned int slot;

	if (r->sqe_tail - load_acquire(r->sq_head) >= r->p.sq_entries)
		return NULL;
	slot = r->sqe_tail++ & mask;
	if (r->sq_array)
		r->sq_array[slot] = slot;
	sqe = &r->sqes[slot << sqe_shift(r)];
	memset(sqe, 0, sizeof(*sqe) << sqe_shift(r));
	return sqe;
}

static __maybe_unused struct io_uring_sqe *ring_nop(struct ring *r, uint64_t user_data)
{
	struct io_uring_sqe *sqe = ring_sqe(r);

	if (sqe) {
		sqe->opcode = IORING_OP_NOP;
		sqe->user_data = user_data;
	}
	return sqe;
}

/* SQEs that are filled in and not yet submitted; shows them to the kernel. */
static __maybe_unused unsigned int ring_flush(struct ring *r)
{
	unsigned int nr = r->sqe_tail - *r->sq_tail;

	store_release(r->sq_tail, r->sqe_tail);
	return nr;
}

/* Whether it is the kernel's thread that submits. */
static __maybe_unused bool ring_is_polled(const struct ring *r)
{
	return r->p.flags & IORING_SETUP_SQPOLL;
}

/* Wakes the thread if it asks for that. */
static __maybe_unused int ring_wake(struct ring *r)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!(load_acquire(r->sq_flags) & IORING_SQ_NEED_WAKEUP))
		return 0;
	return uring_enter(r->backend, r->fd, 0, 0, IORING_ENTER_SQ_WAKEUP);
}

/* Waits until the thread has taken everything that it was shown, which it does in finite time. */
static __maybe_unused int ring_consumed(struct ring *r)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 60000000000ull;

	while (load_acquire(r->sq_head) != *r->sq_tail) {
		int ret = ring_wake(r);

		if (ret < 0)
			return ret;
		if (now_ns(CLOCK_MONOTONIC) > limit)
			return -ETIME;
		usleep(50);
	}
	return 0;
}

/*
 * On all kinds of rings what was to be submitted has been when this returns. (A
 * thread does not know numbers: it takes all that there is.)
 */
static __maybe_unused int ring_enter(struct ring *r, unsigned int to_submit,
				     unsigned int min_complete, unsigned int flags)
{
	int ret;

	if (!to_submit || !ring_is_polled(r))
		return uring_enter(r->backend, r->fd, to_submit, min_complete, flags);
	ret = uring_enter(r->backend, r->fd, to_submit, 0,
			  (flags & ~IORING_ENTER_GETEVENTS) | IORING_ENTER_SQ_WAKEUP);
	if (ret >= 0 && ring_consumed(r))
		return -ETIME;
	if (ret >= 0 && (flags & IORING_ENTER_GETEVENTS))
		uring_enter(r->backend, r->fd, 0, min_complete, flags);
	return ret;
}

/* Submits everything and waits for so many CQEs. */
static __maybe_unused int ring_submit(struct ring *r, unsigned int wait)
{
	return ring_enter(r, ring_flush(r), wait, IORING_ENTER_GETEVENTS);
}

static __maybe_unused int ring_register(struct ring *r, unsigned int opcode, const void *arg,
					unsigned int nr)
{
	return uring_register(r->backend, r->fd, opcode, arg, nr);
}

/* CQEs that can be read. */
static __maybe_unused unsigned int ring_ready(struct ring *r)
{
	return load_acquire(r->cq_tail) - *r->cq_head;
}

/* The first CQE, or NULL. */
static __maybe_unused struct io_uring_cqe *ring_peek(struct ring *r)
{
	unsigned int head = *r->cq_head;

	if (head == load_acquire(r->cq_tail))
		return NULL;
	return &r->cqes[(head & (r->p.cq_entries - 1)) << cqe_shift(r)];
}

static __maybe_unused void ring_seen(struct ring *r, unsigned int nr)
{
	store_release(r->cq_head, *r->cq_head + nr);
}

/* Takes the first CQE; a filler is skipped. Returns false if there is none. */
static __maybe_unused bool ring_cqe(struct ring *r, struct io_uring_cqe *cqe)
{
	struct io_uring_cqe *first;

	while ((first = ring_peek(r))) {
		unsigned int slots = 1;
		bool filler = first->flags & IORING_CQE_F_SKIP;

		memcpy(cqe, first, sizeof(*cqe));
		if ((r->p.flags & IORING_SETUP_CQE_MIXED) && (first->flags & IORING_CQE_F_32))
			slots = 2;
		ring_seen(r, slots);
		if (!filler)
			return true;
	}
	return false;
}

/* Submits so many NOPs, numbered from @first on, and waits for nothing. */
static __maybe_unused int ring_nops(struct ring *r, unsigned int nr, uint64_t first)
{
	while (nr--)
		if (!ring_nop(r, first++))
			return -ENOSPC;
	return ring_enter(r, ring_flush(r), 0, 0);
}

/*
 * Sets up a ring in memory of ours: r->rings and r->sqes, of r->rings_size and
 * r->sqes_size bytes, which the caller has put there.
 */
static __maybe_unused int ring_init_user(struct ring *r, enum backend backend,
					 unsigned int entries, unsigned int flags)
{
	r->backend = backend;
	r->p.flags = flags | IORING_SETUP_NO_MMAP;
	r->p.cq_off.user_addr = (unsigned long)r->rings;
	r->p.sq_off.user_addr = (unsigned long)r->sqes;
	r->fd = uring_setup(backend, entries, &r->p);
	if (r->fd >= 0)
		ring_layout(r);
	return r->fd < 0 ? r->fd : 0;
}

/* The lowest free descriptor: tells whether a call has left one behind. */
static __maybe_unused int lowest_fd(void)
{
	int fd = dup(STDIN_FILENO);

	close(fd);
	return fd;
}

/* Posts a CQE to the ring behind a descriptor, without having a ring. */
static __maybe_unused int send_msg(enum backend backend, int fd, uint64_t user_data, int res)
{
	struct io_uring_sqe sqe = {
		.opcode = IORING_OP_MSG_RING,
		.fd = fd,
		.off = user_data,
		.len = res,
	};

	return uring_register(backend, -1, IORING_REGISTER_SEND_MSG_RING, &sqe, 1);
}

/* What a thread does, a letter as ps(1) shows it; 0 if there is none. */
static __maybe_unused char thread_state(pid_t tid)
{
	char path[64], text[512], *end;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (len <= 0)
		return 0;
	text[len] = 0;
	end = strrchr(text, ')');
	return end ? end[2] : 0;
}

/* Waits until a thread sleeps, or is no more. For one that is about to do that and nothing else. */
static __maybe_unused void wait_asleep(pid_t tid)
{
	char state;

	while ((state = thread_state(tid)) && state != 'S' && state != 'Z')
		usleep(1000);
}

/*
 * Becomes another user, one without rights but that of opening the device:
 * its memory counts against RLIMIT_MEMLOCK, apart from everybody else's.
 */
static __maybe_unused int drop_privileges(uid_t uid)
{
	struct __user_cap_header_struct hdr = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	data[0].permitted = 1u << CAP_DAC_OVERRIDE;
	data[0].effective = data[0].permitted;
	if (prctl(PR_SET_KEEPCAPS, 1) || setresuid(uid, uid, uid))
		return -errno;
	return sys_result(syscall(SYS_capset, &hdr, data));
}

/* Are its workers threads of the kernel, and not of the process? */
static __maybe_unused bool ring_has_kernel_workers(const struct ring *r)
{
	return r->backend == DEVICE && !(r->p.features & IORING_FEAT_NATIVE_WORKERS);
}

/*
 * The fixtures of most tests: one list of backends and kinds of rings.
 * In a file: FIXTURE(ring) with "struct ring r;", then RING_VARIANTS(ring).
 */
#define RING_VARIANTS(fixture)						\
	FIXTURE_VARIANT(fixture) { enum backend backend; unsigned int flags; };	\
	FIXTURE_VARIANT_ADD(fixture, device) { .backend = DEVICE };	\
	FIXTURE_VARIANT_ADD(fixture, native) { .backend = NATIVE };	\
	FIXTURE_VARIANT_ADD(fixture, device_defer) {			\
		.backend = DEVICE,					\
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };	\
	FIXTURE_VARIANT_ADD(fixture, native_defer) {			\
		.backend = NATIVE,					\
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };	\
	FIXTURE_VARIANT_ADD(fixture, device_sqpoll) {			\
		.backend = DEVICE, .flags = IORING_SETUP_SQPOLL };	\
	FIXTURE_VARIANT_ADD(fixture, native_sqpoll) {			\
		.backend = NATIVE, .flags = IORING_SETUP_SQPOLL }

/* For tests that are about what the application's own call does. */
#define SKIP_POLLED(r, why)						\
do {									\
	if (ring_is_polled(r))						\
		SKIP(return, "a thread submits: " why);			\
} while (0)

/* For tests that set up their rings themselves. */
#define BACKEND_VARIANTS(fixture)					\
	FIXTURE_VARIANT(fixture) { enum backend backend; };		\
	FIXTURE_VARIANT_ADD(fixture, device) { .backend = DEVICE };	\
	FIXTURE_VARIANT_ADD(fixture, native) { .backend = NATIVE }

#endif
