// SPDX-License-Identifier: GPL-2.0
/* The tracepoints of the module fire, once for each event and with its values. */
#include "uring.h"
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "kselftest_harness.h"

#define TRACEFS		"/sys/kernel/tracing"
#define INSTANCE	TRACEFS "/instances/rust_uring_selftest"
#define MAX_LINES	64

static const char *const events[] = { "uring_create", "uring_submit", "uring_complete",
	"uring_overflow", "uring_wait" };

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		ret = -errno;
	close(fd);
	return ret;
}

static int enable_event(const char *event, bool on)
{
	char path[256];

	snprintf(path, sizeof(path), INSTANCE "/events/rust_uring/%s/enable", event);
	return write_file(path, on ? "1" : "0");
}

/* What was traced: everything behind the time stamp. */
struct trace {
	char lines[MAX_LINES][256];
	int nr;
};

FIXTURE(trace) { struct trace t; };

FIXTURE_SETUP(trace)
{
	char pid[16];

	mount("tracefs", TRACEFS, "tracefs", 0, NULL);
	rmdir(INSTANCE);
	ASSERT_EQ(0, mkdir(INSTANCE, 0700));
	snprintf(pid, sizeof(pid), "%d", getpid());
	ASSERT_EQ(0, write_file(INSTANCE "/set_event_pid", pid));
	ASSERT_EQ(0, write_file(INSTANCE "/events/rust_uring/enable", "1"));
	ASSERT_EQ(0, write_file(INSTANCE "/trace", ""));
}

FIXTURE_TEARDOWN(trace)
{
	write_file(INSTANCE "/events/rust_uring/enable", "0");
	rmdir(INSTANCE);
}

/* Reads the trace and clears it. */
static void read_trace(struct trace *t)
{
	FILE *f = fopen(INSTANCE "/trace", "r");
	char line[512], *event;

	memset(t, 0, sizeof(*t));
	while (f && t->nr < MAX_LINES && fgets(line, sizeof(line), f)) {
		event = strstr(line, ": uring_");
		if (line[0] == '#' || !event)
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(t->lines[t->nr++], sizeof(t->lines[0]), "%.*s",
			 (int)sizeof(t->lines[0]) - 1, event + 2);
	}
	if (f)
		fclose(f);
	write_file(INSTANCE "/trace", "");
}

/* Whether line @i is the event with these values; the ring goes to or is compared with @ring. */
static bool is_event(struct trace *t, int i, char *ring, const char *event, const char *format, ...)
{
	char expected[256], name[64], pointer[64], values[160];
	va_list args;
	int at = 0;

	printf("# line %d: %s\n", i, t->lines[i]);
	if (i >= t->nr)
		return false;
	va_start(args, format);
	vsnprintf(expected, sizeof(expected), format, args);
	va_end(args);
	if (sscanf(t->lines[i], "%63[^:]: ring %63[^,], %n", name, pointer, &at) < 2 || !at)
		return false;
	snprintf(values, sizeof(values), "%.159s", t->lines[i] + at);
	if (!*ring)
		snprintf(ring, sizeof(pointer), "%s", pointer);
	return !strcmp(name, event) && !strcmp(pointer, ring) && !strcmp(values, expected);
}

#define EXPECT_EVENT(i, ring, event, ...)				\
	EXPECT_TRUE(is_event(&self->t, i, ring, event, __VA_ARGS__))

TEST_F(trace, all_events)
{
	char ring[64] = "", other[64] = "";
	struct ring r, r2;
	int i;

	/* Setup. */
	memset(&r, 0, sizeof(r));
	r.p.flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
	r.p.cq_entries = 4;
	ASSERT_EQ(0, ring_init_params(&r, DEVICE, 3));
	ASSERT_EQ(0, ring_init(&r2, DEVICE, 8, 0));
	read_trace(&self->t);
	EXPECT_EQ(2, self->t.nr);
	EXPECT_EVENT(0, ring, "uring_create", "fd %d sq size 4, cq size 4, flags 0x%x", r.fd,
		     IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL);
	EXPECT_EVENT(1, other, "uring_create", "fd %d sq size 8, cq size 16, flags 0x0", r2.fd);
	EXPECT_STRNE(ring, other);

	/* Submission and completion. One that is in error completes, but is no request. */
	ring_nop(&r, 0x1234);
	ring_nop(&r, 2)->flags = IOSQE_CQE_SKIP_SUCCESS;
	ring_nop(&r, 3)->opcode = 250;
	ring_nop(&r, ~0ull)->nop_flags = IORING_NOP_INJECT_RESULT;
	r.sqes[3].len = -5;
	ASSERT_EQ(4, ring_submit(&r, 0));
	read_trace(&self->t);
	EXPECT_EQ(6, self->t.nr);
	EXPECT_EVENT(0, ring, "uring_submit", "user_data 0x1234, opcode 0, flags 0x0");
	EXPECT_EVENT(1, ring, "uring_complete", "user_data 0x1234, res 0, cflags 0x0");
	EXPECT_EVENT(2, ring, "uring_submit", "user_data 0x2, opcode 0, flags 0x40");
	EXPECT_EVENT(3, ring, "uring_complete", "user_data 0x3, res -22, cflags 0x0");
	EXPECT_EVENT(4, ring, "uring_submit", "user_data 0xffffffffffffffff, opcode 0, flags 0x0");
	EXPECT_EVENT(5, ring, "uring_complete",
		     "user_data 0xffffffffffffffff, res -5, cflags 0x0");

	/* Waiting: only if there is something to wait for, and for what the CQ can hold. */
	ASSERT_EQ(0, ring_enter(&r, 0, 0, IORING_ENTER_GETEVENTS));
	ASSERT_EQ(0, ring_enter(&r, 0, 3, IORING_ENTER_GETEVENTS));
	read_trace(&self->t);
	EXPECT_EQ(0, self->t.nr);
	for (i = 0; i < 2; i++) {
		struct __kernel_timespec ts = {};
		struct io_uring_getevents_arg arg = { .ts = (unsigned long)&ts };

		ASSERT_EQ(0, uring_enter_arg(DEVICE, r.fd, 0, i ? 100 : 4, IORING_ENTER_GETEVENTS |
					     IORING_ENTER_EXT_ARG, &arg, sizeof(arg)));
	}
	read_trace(&self->t);
	EXPECT_EQ(2, self->t.nr);
	EXPECT_EVENT(0, ring, "uring_wait", "min_events 4");
	EXPECT_EVENT(1, ring, "uring_wait", "min_events 4");

	/* A message, and overflow. */
	ASSERT_EQ(0, send_msg(DEVICE, r.fd, 0x77, 9));
	ASSERT_EQ(0, send_msg(DEVICE, r.fd, 0x78, -9));
	ring_nop(&r2, 5);
	ASSERT_EQ(1, ring_submit(&r2, 1));
	read_trace(&self->t);
	EXPECT_EQ(4, self->t.nr);
	EXPECT_EVENT(0, ring, "uring_complete", "user_data 0x77, res 9, cflags 0x0");
	EXPECT_EVENT(1, ring, "uring_overflow", "user_data 0x78, res -9, cflags 0x0");
	EXPECT_EVENT(2, other, "uring_submit", "user_data 0x5, opcode 0, flags 0x0");
	EXPECT_EVENT(3, other, "uring_complete", "user_data 0x5, res 0, cflags 0x0");
	ring_exit(&r);
	ring_exit(&r2);
}

/* Each can be turned on alone. */
TEST_F(trace, one_at_a_time)
{
	unsigned int i, k;

	for (i = 0; i < 5; i++) {
		struct __kernel_timespec ts = {};
		struct io_uring_getevents_arg arg = { .ts = (unsigned long)&ts };
		char expected[80];
		struct ring r;

		ASSERT_EQ(0, write_file(INSTANCE "/events/rust_uring/enable", "0"));
		ASSERT_EQ(0, enable_event(events[i], true));
		ASSERT_EQ(0, ring_init(&r, DEVICE, 1, 0));
		for (k = 0; k < 3; k++) {
			ring_nop(&r, k);
			ASSERT_EQ(1, ring_submit(&r, 0));
		}
		ring_seen(&r, 2);
		ASSERT_EQ(0, uring_enter_arg(DEVICE, r.fd, 0, 2, IORING_ENTER_GETEVENTS |
					     IORING_ENTER_EXT_ARG, &arg, sizeof(arg)));
		read_trace(&self->t);
		/* Three requests, the third of which finds the CQ of two full. */
		EXPECT_EQ(i == 1 ? 3 : i == 2 ? 2 : 1, self->t.nr);
		for (k = 0; k < self->t.nr; k++) {
			snprintf(expected, sizeof(expected), "%s: ring ", events[i]);
			EXPECT_EQ(0, strncmp(self->t.lines[k], expected, strlen(expected)));
		}
		ring_exit(&r);
	}
	ASSERT_EQ(0, write_file(INSTANCE "/events/rust_uring/enable", "0"));
	for (i = 0; i < 2; i++) {
		struct ring r;

		ASSERT_EQ(0, ring_init(&r, DEVICE, 1, 0));
		ring_nop(&r, 1);
		ASSERT_EQ(1, ring_submit(&r, 1));
		ring_exit(&r);
	}
	read_trace(&self->t);
	EXPECT_EQ(0, self->t.nr);
}

/* Deferred work completes where it is run. */
TEST_F(trace, deferred)
{
	char ring[64] = "";
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, DEVICE, 4,
			       IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN));
	read_trace(&self->t);
	EXPECT_EVENT(0, ring, "uring_create", "fd %d sq size 4, cq size 8, flags 0x%x", r.fd,
		     IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	ring_nop(&r, 1)->nop_flags = IORING_NOP_TW;
	ASSERT_EQ(1, ring_enter(&r, ring_flush(&r), 0, 0));
	read_trace(&self->t);
	EXPECT_EQ(1, self->t.nr);
	EXPECT_EVENT(0, ring, "uring_submit", "user_data 0x1, opcode 0, flags 0x0");
	ASSERT_EQ(0, ring_enter(&r, 0, 1, IORING_ENTER_GETEVENTS));
	read_trace(&self->t);
	EXPECT_EQ(1, self->t.nr);
	EXPECT_EVENT(0, ring, "uring_complete", "user_data 0x1, res 0, cflags 0x0");
	ring_exit(&r);
}

TEST_HARNESS_MAIN
