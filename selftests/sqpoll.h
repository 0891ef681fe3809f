/* SPDX-License-Identifier: GPL-2.0 */
/* What the tests of threads that submit have in common. */
#ifndef RUST_URING_SELFTEST_SQPOLL_H
#define RUST_URING_SELFTEST_SQPOLL_H

#include "stress.h"
#include <dirent.h>

static __maybe_unused bool read_unsigned(const char *path, unsigned long long *value)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fscanf(f, "%llu", value) == 1;

	if (f)
		fclose(f);
	return ok;
}

/* One line of a ring's fdinfo; INT64_MIN if it is not there. A busy ring shows nothing. */
static __maybe_unused int64_t ring_info(int fd, const char *key)
{
	int tries;

	for (tries = 0; tries < 1000; tries++) {
		char path[64], line[256];
		long long value;
		bool found = false;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
		f = fopen(path, "re");
		while (f && !found && fgets(line, sizeof(line), f))
			found = !strncmp(line, key, strlen(key)) &&
				sscanf(line + strlen(key), ":%lld", &value) == 1;
		if (f)
			fclose(f);
		if (found)
			return value;
		usleep(1000);
	}
	return INT64_MIN;
}

/* The thread of a ring. */
static __maybe_unused pid_t sq_thread(const struct ring *r)
{
	return ring_info(r->fd, "SqThread");
}

/* A ring with a thread that looks for work for so many milliseconds. */
static __maybe_unused int sq_init(struct ring *r, enum backend backend, unsigned int entries,
				  unsigned int flags, unsigned int idle_ms)
{
	memset(r, 0, sizeof(*r));
	r->p.flags = flags | IORING_SETUP_SQPOLL;
	r->p.sq_thread_idle = idle_ms;
	return ring_init_params(r, backend, entries);
}

/* A ring that shares the thread of another one. */
static __maybe_unused int sq_attach(struct ring *r, const struct ring *to, unsigned int entries,
				    unsigned int flags)
{
	memset(r, 0, sizeof(*r));
	r->p.flags = flags | IORING_SETUP_SQPOLL | IORING_SETUP_ATTACH_WQ;
	r->p.sq_thread_idle = SQ_IDLE_MS;
	r->p.wq_fd = to->fd;
	return ring_init_params(r, to->backend, entries);
}

static __maybe_unused bool sq_asleep(const struct ring *r)
{
	return load_acquire(r->sq_flags) & IORING_SQ_NEED_WAKEUP;
}

/* Waits until the thread sleeps, which it says. */
static __maybe_unused bool sq_falls_asleep(const struct ring *r)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 30 * SEC;

	while (!sq_asleep(r)) {
		if (now_ns(CLOCK_MONOTONIC) > limit)
			return false;
		usleep(500);
	}
	/* It says so a moment before. */
	wait_asleep(sq_thread(r));
	return true;
}

/* Waits for so many CQEs without a call to the ring. */
static __maybe_unused bool cqes_come(struct ring *r, unsigned int nr)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 30 * SEC;

	while (ring_ready(r) < nr) {
		if (now_ns(CLOCK_MONOTONIC) > limit)
			return false;
		usleep(200);
	}
	return true;
}

/*
 * CPU time of a thread of ours in nanoseconds; in ticks, if that is all that
 * the kernel counts. @unit: how exact it is.
 */
static __maybe_unused uint64_t thread_runtime(pid_t tid, uint64_t *unit)
{
	const uint64_t tick = SEC / sysconf(_SC_CLK_TCK);
	unsigned long long value, user, system;
	char path[64], text[512], *end;
	ssize_t len = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", tid);
	*unit = 1;
	if (read_unsigned(path, &value))
		return value;
	*unit = tick;
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	text[len < 0 ? 0 : len] = 0;
	end = strrchr(text, ')');
	/* The 14th and the 15th field; the second one has just ended. */
	if (!end || sscanf(end + 2, "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu",
			   &user, &system) != 2)
		return UINT64_MAX;
	return (user + system) * tick;
}

#endif
