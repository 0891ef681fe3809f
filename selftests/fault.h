/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls whose every allocation, and every copy from or to user space, fails
 * once: the n-th of the calling task, for all n. What they answer then has to be an
 * error that says so, or what they always answer; nothing may be left behind; and
 * the same call has to work afterwards.
 */
#ifndef RUST_URING_SELFTEST_FAULT_H
#define RUST_URING_SELFTEST_FAULT_H

#include "stress.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include "kselftest_harness.h"

#define PAGE		4096
#define DEFER		(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

/* Any result that is not negative. */
#define A_DESCRIPTOR	INT32_MAX

/* What there is to make calls on. */
struct scene {
	enum backend backend;
	int dev, event, epoll, file;
	char *memory;		/* 16 pages */
	struct io_uring_params p;
	struct ring r;
	unsigned int lost;	/* CQEs that the ring had lost before */
};

/* A call. */
struct op {
	const char *name;
	int (*call)(struct scene *s);
	int want;
	unsigned int flags;	/* of the ring */
	bool fresh;		/* a ring that nothing was done with yet */
	int (*before)(struct scene *s);		/* 0 when it is prepared */
	int (*after)(struct scene *s, int ret);	/* 0 when all is as it was before */
};

static __maybe_unused bool scene_init(struct scene *s, enum backend backend, unsigned int flags)
{
	memset(s, 0, sizeof(*s));
	s->backend = backend;
	s->dev = open(RUST_URING_DEVICE, O_RDWR | O_CLOEXEC);
	s->event = eventfd(0, EFD_CLOEXEC);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	s->memory = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (s->dev < 0 || s->event < 0 || s->epoll < 0 || s->memory == MAP_FAILED)
		return false;
	if (s->file < 0 || write(s->file, s->memory, PAGE) != PAGE)
		return false;
	return !ring_init(&s->r, backend, 8, flags);
}

static __maybe_unused void scene_exit(struct scene *s)
{
	ring_exit(&s->r);
	munmap(s->memory, 16 * PAGE);
	close(s->file);
	close(s->epoll);
	close(s->event);
	close(s->dev);
}

/* Takes so many CQEs; those that were lost for want of memory are counted by the ring. */
static __maybe_unused int drain(struct scene *s, unsigned int nr)
{
	struct io_uring_cqe cqe;
	unsigned int i, seen = 0, lost = 0;

	for (i = 0; i < 5000; i++) {
		while (ring_cqe(&s->r, &cqe))
			seen++;
		lost = *s->r.cq_overflow - s->lost;
		if (seen + lost >= nr)
			break;
		ring_enter(&s->r, 0, 0, IORING_ENTER_GETEVENTS);
		if (i > 10)
			usleep(1000);
	}
	s->lost += lost;
	if (seen + lost != nr)
		printf("# %u CQEs and %u lost instead of %u\n", seen, lost, nr);
	return seen + lost == nr ? 0 : -EIO;
}

static __maybe_unused bool as_wanted(const struct op *op, int ret)
{
	return op->want == A_DESCRIPTOR ? ret >= 0 : ret == op->want;
}

/* What may come of a call that lacked something. Of several things some may have been done. */
static __maybe_unused bool is_legal(const struct op *op, int ret)
{
	switch (ret) {
	case -ENOMEM:
	case -EFAULT:
	case -EAGAIN:
	case -EBADR:
		return true;
	}
	return ret >= 0 && ret < op->want;
}

/* One call with its n-th chance to fail taken. Returns 1 if it came to that, 0 if not, or -1. */
static __maybe_unused int try_nth(int nth, struct scene *s, const struct op *op, unsigned int n)
{
	char text[16] = "";
	int ret, left;

	if (op->before && op->before(s)) {
		printf("# %s: cannot be prepared\n", op->name);
		return -1;
	}
	snprintf(text, sizeof(text), "%u", n);
	if (pwrite(nth, text, strlen(text), 0) < 0)
		return -1;
	ret = op->call(s);
	memset(text, 0, sizeof(text));
	/* What is left over may hit the copies of these calls, too. */
	left = pread(nth, text, sizeof(text) - 1, 0) < 0 ? 1 : atoi(text);
	while (pwrite(nth, "0", 1, 0) < 0)
		;
	if (!as_wanted(op, ret) && (left || !n || !is_legal(op, ret))) {
		printf("# %s: %d when number %u failed%s\n", op->name, ret, n,
		       left ? ", which it did not" : "");
		return -1;
	}
	if (op->after && op->after(s, ret)) {
		printf("# %s: something is left after %d when number %u failed\n", op->name, ret,
		       n);
		return -1;
	}
	return !left && n;
}

static __maybe_unused bool try_all(int nth, enum backend backend, const struct op *op)
{
	struct scene s;
	unsigned int n;
	int fired = 1;

	for (n = 1; fired > 0 && n < 5000; n++) {
		if ((n == 1 || op->fresh) && !scene_init(&s, backend, op->flags))
			return false;
		fired = try_nth(nth, &s, op, n);
		/* And now without. */
		if (fired > 0 && !op->fresh && try_nth(nth, &s, op, 0) < 0)
			fired = -1;
		if (op->fresh)
			scene_exit(&s);
	}
	if (!op->fresh)
		scene_exit(&s);
	printf("# %s: %u failures\n", op->name, n - 2);
	return !fired;
}

static __maybe_unused bool knob(const char *name, const char *value)
{
	char path[128];
	int fd, ret;

	snprintf(path, sizeof(path), "/sys/kernel/debug/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ret = fd < 0 ? -1 : write(fd, value, strlen(value));
	close(fd);
	return ret > 0;
}

/* All allocations and copies can fail, and nobody writes about it. */
static __maybe_unused bool faults_possible(void)
{
	return knob("failslab/ignore-gfp-wait", "N") && knob("failslab/verbose", "0") &&
	       knob("fail_page_alloc/ignore-gfp-wait", "N") &&
	       knob("fail_page_alloc/ignore-gfp-highmem", "N") &&
	       knob("fail_page_alloc/min-order", "0") && knob("fail_page_alloc/verbose", "0") &&
	       knob("fail_usercopy/verbose", "0");
}

FIXTURE(fault) {
	int nth;
};

BACKEND_VARIANTS(fault);

FIXTURE_SETUP(fault)
{
	if (!faults_possible())
		SKIP(return, "the kernel has no fault injection");
	self->nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->nth);
}

FIXTURE_TEARDOWN(fault)
{
	close(self->nth);
}

#endif
