// SPDX-License-Identifier: GPL-2.0
/*
 * Requests in all places, one place after the other, and everything that takes
 * them out: what they wait for, cancellation, the end of the ring, the end of the
 * process, both with the module unloaded behind it.
 */
#include "places.h"
#include <sys/wait.h>

FIXTURE(places) {
	struct scene s;
	long refs;
};

RING_VARIANTS(places);

FIXTURE_SETUP(places)
{
	self->refs = module_refs();
}

FIXTURE_TEARDOWN(places)
{
	if (variant->backend == DEVICE)
		EXPECT_TRUE(falls_to(module_refs, self->refs));
}

/* The place behind this one, of those that there are here; NULL at the end. */
static const struct spot *next_spot(const struct spot *at)
{
	for (at = at ? at + 1 : places; at < places + NR_PLACES; at++)
		if (!at->on_disk || place == BLOCK)
			return at;
	return NULL;
}

#define FOR_ALL_PLACES(at)	for (at = next_spot(NULL); at; at = next_spot(at))

static bool begin(struct scene *s, const struct spot *at, enum backend backend,
		  unsigned int flags)
{
	return scene_files(s) && !io_init(&s->io, backend, 256, flags, 0) && scene_begin(s, at);
}

TEST_F(places, completion)
{
	struct scene *s = &self->s;
	const struct spot *at;

	FOR_ALL_PLACES(at) {
		ASSERT_TRUE(begin(s, at, variant->backend, variant->flags)) TH_LOG("%s", at->name);
		at->finish(s);
		ring_submit(&s->io.r, 0);
		EXPECT_EQ(at->res, scene_result(s, TARGET)) TH_LOG("%s", at->name);
		ring_exit(&s->io.r);
		scene_end(s);
	}
}

/* The file by which it is to be found, or one that has nothing to do with it. */
static int file_of(struct scene *s, const struct spot *at)
{
	return at->opcode == IORING_OP_WRITE ? s->q[1] : at->on_disk ? s->disk : s->p[0];
}

static const unsigned int flags_by[NR_BY] = {
	[BY_USER_DATA] = 0, [BY_FILE] = IORING_ASYNC_CANCEL_FD,
	[BY_OPCODE] = IORING_ASYNC_CANCEL_OP, [BY_ANYTHING] = IORING_ASYNC_CANCEL_ANY,
};

static int cancel(struct scene *s, const struct spot *at, enum by by, unsigned int flags)
{
	struct io_uring_sqe *sqe = ring_sqe(&s->io.r);

	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	sqe->addr = TARGET;
	sqe->fd = file_of(s, at);
	sqe->len = by == BY_OPCODE ? at->opcode : 0;
	sqe->cancel_flags = flags_by[by] | flags;
	sqe->user_data = ACTION;
	ring_submit(&s->io.r, 0);
	return scene_result(s, ACTION);
}

static int cancel_synchronously(struct scene *s, const struct spot *at, enum by by,
				unsigned int flags)
{
	struct io_uring_sync_cancel_reg reg = {
		.addr = TARGET, .fd = file_of(s, at), .flags = flags_by[by] | flags,
		.opcode = by == BY_OPCODE ? at->opcode : 0, .timeout = { -1, -1 },
	};

	return ring_register(&s->io.r, IORING_REGISTER_SYNC_CANCEL, &reg, 1);
}

/* One or all of what is meant, by a request or by a call. */
static const char *check_cancel(struct scene *s, const struct spot *at, enum by by,
				unsigned int flags, bool sync)
{
	bool all = by == BY_ANYTHING || flags;
	int res;

	res = sync ? cancel_synchronously(s, at, by, flags) : cancel(s, at, by, flags);
	if (!(at->found & 1u << by)) {
		if (res != (all ? 0 : -ENOENT))
			return "finds what is not there";
		at->finish(s);
		ring_submit(&s->io.r, 0);
		return scene_result(s, TARGET) == at->res ? NULL : "changes what it did not find";
	}
	/* What a worker runs is interrupted, but does not count; and the call waits for that. */
	if (all ? res != 1 && (res || !at->in_worker) :
	    res && (sync || !at->in_worker || res != -EALREADY))
		return "finds nothing";
	res = scene_result(s, TARGET);
	return res == -ECANCELED || res == -EINTR ? NULL : "has another result";
}

/* In all places, by all that there is. Tells the first thing that is wrong. */
static const char *check_cancels(struct scene *s, enum backend backend, unsigned int ring_flags,
				 unsigned int flags, bool sync)
{
	static char text[200];
	const struct spot *at;
	const char *wrong;
	enum by by;

	FOR_ALL_PLACES(at) {
		/* Natively workers are those of the caller, who is not the thread. */
		if (sync && at->in_worker && backend == NATIVE &&
		    (ring_flags & IORING_SETUP_SQPOLL))
			continue;
		/* What is behind all others has a cancellation behind it. */
		if (at->woken || (at->holds_up && !sync))
			continue;
		for (by = 0; by < (at->holds_up ? BY_FILE : NR_BY); by++) {
			if (!begin(s, at, backend, ring_flags))
				return at->name;
			wrong = check_cancel(s, at, by, flags, sync);
			ring_exit(&s->io.r);
			scene_end(s);
			if (!wrong)
				continue;
			snprintf(text, sizeof(text), "%s, %d: %s: %d, %d", at->name, by, wrong,
				 s->res[ACTION], s->res[TARGET]);
			return text;
		}
	}
	return "";
}

#define CHECK_CANCELS(with, sync)						\
	EXPECT_STREQ("", check_cancels(&self->s, variant->backend, variant->flags, with, sync))

TEST_F(places, cancellation_of_one)
{
	CHECK_CANCELS(0, false);
}

TEST_F(places, cancellation_of_all)
{
	CHECK_CANCELS(IORING_ASYNC_CANCEL_ALL, false);
}

TEST_F(places, synchronous_cancellation_of_one)
{
	CHECK_CANCELS(0, true);
}

TEST_F(places, synchronous_cancellation_of_all)
{
	CHECK_CANCELS(IORING_ASYNC_CANCEL_ALL, true);
}

/* Nothing can take back what a disk does. It ends as if nothing had been. */
TEST_F(places, close)
{
	struct scene *s = &self->s;
	const struct spot *at;
	const char *wrong;

	FOR_ALL_PLACES(at) {
		ASSERT_TRUE(begin(s, at, variant->backend, variant->flags)) TH_LOG("%s", at->name);
		ring_exit(&s->io.r);
		wrong = scene_is_over(s);
		EXPECT_EQ(NULL, wrong) TH_LOG("%s: %s", at->name, wrong);
		scene_end(s);
	}
}

/* In a process that ends so or so. */
static const char *check_end(struct scene *s, const struct spot *at, enum backend backend,
			     unsigned int flags, int signal)
{
	const char *wrong;
	pid_t child;
	int status;

	if (!scene_files(s))
		return "no files";
	child = fork();
	if (!child) {
		if (io_init(&s->io, backend, 256, flags, 0) || !scene_begin(s, at))
			_exit(1);
		if (signal)
			kill(getpid(), signal);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status != signal)
		return "the process did not get there";
	wrong = scene_is_over(s);
	scene_end(s);
	return wrong;
}

TEST_F(places, exit)
{
	const struct spot *at;
	const char *wrong;

	FOR_ALL_PLACES(at) {
		wrong = check_end(&self->s, at, variant->backend, variant->flags, 0);
		EXPECT_EQ(NULL, wrong) TH_LOG("%s: %s", at->name, wrong);
	}
}

TEST_F(places, kill)
{
	const struct spot *at;
	const char *wrong;

	FOR_ALL_PLACES(at) {
		wrong = check_end(&self->s, at, variant->backend, variant->flags, SIGKILL);
		EXPECT_EQ(NULL, wrong) TH_LOG("%s: %s", at->name, wrong);
	}
}

static int unload(void)
{
	return sys_result(syscall(__NR_delete_module, "rust_uring", O_NONBLOCK));
}

static int load(void)
{
	int fd = open(getenv("RUST_URING_KO"), O_RDONLY | O_CLOEXEC);
	int ret = sys_result(syscall(__NR_finit_module, fd, "", 0));

	close(fd);
	return ret;
}

/*
 * The module goes as soon as it can, with a request in each of the places. It
 * comes back with its KUnit tests, which take their time on a slow machine.
 */
TEST_F_TIMEOUT(places, rmmod, 600)
{
	static struct scene scenes[NR_PLACES];
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 240 * SEC;
	const struct spot *at;
	struct scene *s;
	int ret, i;

	if (variant->backend == NATIVE || !getenv("RUST_URING_KO") || self->refs)
		SKIP(return, "there is no module, or it is in use");
	FOR_ALL_PLACES(at)
		ASSERT_TRUE(begin(&scenes[at - places], at, DEVICE, variant->flags));
	EXPECT_EQ(-EAGAIN, unload());
	FOR_ALL_PLACES(at)
		ring_exit(&scenes[at - places].io.r);
	while ((ret = unload()) == -EAGAIN && now_ns(CLOCK_MONOTONIC) < limit)
		usleep(1000);
	EXPECT_EQ(0, ret);
	EXPECT_EQ(0, load());
	for (i = 0; i < 20000 && access(RUST_URING_DEVICE, R_OK | W_OK); i++)
		usleep(1000);
	FOR_ALL_PLACES(at) {
		s = &scenes[at - places];
		EXPECT_EQ(NULL, scene_is_over(s)) TH_LOG("%s", at->name);
		scene_end(s);
	}
}

FILES_MAIN
