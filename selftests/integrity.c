// SPDX-License-Identifier: GPL-2.0
/*
 * Reads and writes of all kinds at random places, by several processes with rings
 * of their own on one file: everything read is what was written last.
 *
 *	SEED=n STRESS=seconds integrity [tmpfs|ext4|block]
 *
 * Each process has a part of the file, next to the others', and a copy of what is to be in it.
 */
#include "files.h"
#include "stress.h"
#include <sys/prctl.h>
#include "kselftest_harness.h"

#define PROCESSES	3
#define PART		(256 << 10)
#define DEPTH		16
#define BUFFER		(32 << 10)	/* the largest transfer */
#define SECTOR		512

FIXTURE(integrity) {
	char *model;		/* what is to be in the file, shared by all */
	int buffered, direct;
};

RING_VARIANTS(integrity);

/* The same file, opened anew. */
static int again(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_CLOEXEC | flags);
}

FIXTURE_SETUP(integrity)
{
	self->model = mmap(NULL, PROCESSES * PART, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->model);
	self->buffered = new_file(0, PROCESSES * PART);
	ASSERT_LE(0, self->buffered);
	ASSERT_EQ(PROCESSES * PART, pwrite(self->buffered, self->model, PROCESSES * PART, 0));
	self->direct = again(self->buffered, O_DIRECT);
	ASSERT_LE(0, self->direct);
}

FIXTURE_TEARDOWN(integrity)
{
	close(self->direct);
	close(self->buffered);
	munmap(self->model, PROCESSES * PART);
}

/* One transfer that is under way. */
struct transfer {
	unsigned int pos, len;
	bool write;
	struct iovec iov[3];
};

struct worker {
	struct io io;
	struct dice d;
	const int *fds;		/* buffered, direct */
	char *model, *buffers;	/* of this process */
	unsigned int base;	/* where its part begins in the file */
	bool direct;		/* the page cache is bypassed */
	struct transfer all[DEPTH];
	unsigned int nr;
	unsigned long *done;	/* transfers that were looked at, of this process */
};

static bool is_free(struct worker *w, unsigned int pos, unsigned int len)
{
	unsigned int i;

	for (i = 0; i < w->nr; i++)
		if (pos < w->all[i].pos + w->all[i].len && w->all[i].pos < pos + len)
			return false;
	return true;
}

/* Prepares a transfer of some kind, with a buffer of its own. */
static void start(struct worker *w)
{
	static const int ops[3][2] = {
		{ IORING_OP_READ, IORING_OP_WRITE },
		{ IORING_OP_READV, IORING_OP_WRITEV },
		{ IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED },
	};
	bool direct = w->direct, fixed_file = dice(&w->d, 2);
	unsigned int unit = direct ? SECTOR : 1, kind = dice(&w->d, 3), len, pos, i, cut;
	struct transfer *t = &w->all[w->nr];
	char *buf = w->buffers + w->nr * BUFFER;
	struct io_uring_sqe *sqe;

	len = (1 + dice(&w->d, BUFFER / unit)) * unit;
	pos = dice(&w->d, (PART - len) / unit + 1) * unit;
	if (!is_free(w, pos, len))
		return;
	*t = (struct transfer) { .pos = pos, .len = len, .write = dice(&w->d, 2) };
	if (t->write)
		fill(buf, len, dice_throw(&w->d));
	else
		memset(buf, 0x5a, len);
	sqe = prep(&w->io, ops[kind][t->write], fixed_file ? direct : w->fds[direct], buf, len,
		   w->base + pos);
	sqe->user_data = w->nr;
	sqe->flags = (fixed_file ? IOSQE_FIXED_FILE : 0) | (dice(&w->d, 4) ? 0 : IOSQE_ASYNC);
	if (kind == 1) {
		for (i = 0, cut = 0; i < 3; i++) {
			unsigned int more = dice(&w->d, (len - cut) / unit) * unit;
			unsigned int end = i == 2 ? len : cut + more;

			t->iov[i] = (struct iovec) { buf + cut, end - cut };
			cut = end;
		}
		sqe->addr = (unsigned long)t->iov;
		sqe->len = 3;
	}
	w->nr++;
}

/* One batch. Returns whether all was right. */
static bool batch(struct worker *w)
{
	unsigned int tries = 1 + dice(&w->d, DEPTH), i;
	struct io_uring_cqe cqe;

	w->nr = 0;
	while (tries-- && w->nr < DEPTH)
		start(w);
	if (ring_submit(&w->io.r, w->nr) != w->nr)
		return false;
	for (i = 0; i < w->nr; i++) {
		struct transfer *t;
		char *buf;

		while (!ring_cqe(&w->io.r, &cqe))
			ring_enter(&w->io.r, 0, 1, IORING_ENTER_GETEVENTS);
		t = &w->all[cqe.user_data];
		buf = w->buffers + cqe.user_data * BUFFER;
		if (cqe.res != t->len) {
			printf("# %d instead of %u\n", cqe.res, t->len);
			return false;
		}
		if (t->write)
			memcpy(w->model + t->pos, buf, t->len);
		if (!t->write && memcmp(w->model + t->pos, buf, t->len)) {
			printf("# wrong data in %u bytes at %u\n", t->len, t->pos);
			return false;
		}
		++*w->done;
	}
	return true;
}

/* Through the page cache or around it. At the same time, in one folio, there is no telling. */
enum way { BUFFERED, AROUND, IN_TURN };

static void run_process(enum backend backend, unsigned int flags, enum way way, const int *fds,
			char *model, unsigned long *done, unsigned int nr, uint64_t seed,
			uint64_t end)
{
	static struct worker w;
	struct iovec iov;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	w = (struct worker) {
		.fds = fds, .model = model + nr * PART, .base = nr * PART,
		.buffers = pages(DEPTH * BUFFER), .done = &done[nr],
	};
	iov = (struct iovec) { w.buffers, DEPTH * BUFFER };
	dice_init(&w.d, seed + nr);
	if (io_init(&w.io, backend, DEPTH, flags, 0) ||
	    ring_register(&w.io.r, IORING_REGISTER_BUFFERS, &iov, 1) ||
	    ring_register(&w.io.r, IORING_REGISTER_FILES, fds, 2))
		_exit(2);
	while (!stress_over(end)) {
		w.direct = way == IN_TURN ? dice(&w.d, 2) : way == AROUND;
		if (!batch(&w))
			_exit(1);
	}
	_exit(0);
}

static void hold(struct __test_metadata *_metadata, int buffered, int direct, char *model,
		 enum backend backend, unsigned int flags, enum way way)
{
	uint64_t seed = stress_seed(42), end = stress_end(2);
	int fds[2] = { buffered, direct }, nr = way == IN_TURN ? 1 : PROCESSES, i, status;
	char *is = pages(PROCESSES * PART);
	unsigned long *done, all = 0;
	pid_t pids[PROCESSES];

	TH_LOG("seed %llu", (unsigned long long)seed);
	done = mmap(NULL, PROCESSES * sizeof(*done), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, done);
	for (i = 0; i < nr; i++) {
		pids[i] = fork();
		if (!pids[i])
			run_process(backend, flags, way, fds, model, done, i, seed, end);
	}
	for (i = 0; i < nr; i++) {
		ASSERT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_NE(0, done[i]);
		all += done[i];
	}
	TH_LOG("%lu transfers", all);
	ASSERT_EQ(PROCESSES * PART, pread(buffered, is, PROCESSES * PART, 0));
	EXPECT_EQ(0, memcmp(is, model, PROCESSES * PART));
	munmap(is, PROCESSES * PART);
	munmap(done, PROCESSES * sizeof(*done));
}

#define HOLD(way)	hold(_metadata, self->buffered, self->direct, self->model,	\
			     variant->backend, variant->flags, way)

TEST_F_TIMEOUT(integrity, buffered, 100000)
{
	HOLD(BUFFERED);
}

TEST_F_TIMEOUT(integrity, direct, 100000)
{
	HOLD(AROUND);
}

TEST_F_TIMEOUT(integrity, in_turn, 100000)
{
	HOLD(IN_TURN);
}

FILES_MAIN
