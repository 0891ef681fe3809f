// SPDX-License-Identifier: GPL-2.0
/*
 * Rings of provided buffers whose memory somebody writes to while they are used:
 * entries, lengths, addresses of all kinds, the tail. Reads may fail, and find any
 * buffer, but only what the entries say is written to, nothing hangs, and an honest
 * group beside it works.
 *
 *	STRESS=seconds kbuf-tamper
 */
#include "kbuf.h"
#include "stress.h"
#include <pthread.h>
#include "kselftest_harness.h"

#define NR	8
#define SIZE	128
#define ARENA	(16 * PAGE)

struct hostile {
	struct group g;
	char *arena;		/* whatever may be written to */
	char *hole;		/* where there is nothing */
	unsigned int seed;
	bool stop;
};

static unsigned int next(unsigned int *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return *seed >> 8;
}

static void *scribble(void *arg)
{
	struct hostile *h = arg;
	unsigned int seed = h->seed;

	while (!__atomic_load_n(&h->stop, __ATOMIC_RELAXED)) {
		volatile struct io_uring_buf *buf = &h->g.ring->bufs[next(&seed) % NR];
		const uint64_t addrs[] = {
			(unsigned long)h->arena + next(&seed) % (ARENA / 2),
			(unsigned long)h->hole, 0, 1ull << 63, ~0ull, ~0ull << 20, 8, 1ull << 47,
		};
		const uint32_t lens[] = { next(&seed) % (ARENA / 2), 0, 1, SIZE, 2 };

		switch (next(&seed) % 8) {
		case 0:
			h->g.ring->tail = next(&seed);
			break;
		case 1:
			h->g.ring->tail++;
			break;
		case 2:
			buf->bid = next(&seed);
			break;
		case 3:
		case 4:
			/* Such a length is not for all addresses. */
			buf->len = 0;
			buf->addr = addrs[next(&seed) % 8];
			break;
		case 5:
			buf->addr = addrs[0];
			break;
		default:
			buf->len = lens[next(&seed) % 5];
			break;
		}
	}
	return NULL;
}

FIXTURE(kbuf_tamper) {
	struct io io;
	struct ring *r;
	struct group honest;
	struct hostile h[2];
	int p[2];
};

RING_VARIANTS(kbuf_tamper);

FIXTURE_SETUP(kbuf_tamper)
{
	int i;

	ASSERT_EQ(0, io_init(&self->io, variant->backend, 64, variant->flags, 0));
	self->r = &self->io.r;
	ASSERT_EQ(0, pipe2(self->p, O_CLOEXEC));
	ASSERT_EQ(0, group_init(&self->honest, self->r, 0, NR, SIZE, 0));
	for (i = 0; i < 2; i++) {
		struct hostile *h = &self->h[i];

		ASSERT_EQ(0, group_init(&h->g, self->r, 1 + i, NR, SIZE,
					(i ? IOU_PBUF_RING_INC : 0) | IOU_PBUF_RING_MMAP));
		/* What is behind the arena cannot be used, however far an address is moved on. */
		h->arena = mmap(NULL, 1 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		ASSERT_NE(MAP_FAILED, h->arena);
		ASSERT_EQ(0, mprotect(h->arena, ARENA, PROT_READ | PROT_WRITE));
		h->hole = h->arena + ARENA;
		h->seed = 1 + i;
	}
}

FIXTURE_TEARDOWN(kbuf_tamper)
{
	ring_exit(self->r);
}

static bool legal(const struct io_uring_cqe *cqe)
{
	switch (cqe->res) {
	case -EFAULT:
	case -ENOBUFS:
	case -ECANCELED:
		return true;
	}
	return cqe->res >= 0 && cqe->res <= ARENA / 2;
}

TEST_F_TIMEOUT(kbuf_tamper, entries, 300)
{
	uint64_t end = stress_end(3);
	unsigned int seed = 77, rounds = 0, full = 0, failed = 0, i;
	static char data[4 * SIZE];
	int file = new_file(0, PAGE);
	pthread_t threads[2];

	fcntl(self->p[0], F_SETFL, O_NONBLOCK);
	fcntl(self->p[1], F_SETFL, O_NONBLOCK);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, scribble, &self->h[i]));
	while (!stress_over(end)) {
		struct io_uring_cqe cqe;
		unsigned int nr = 8, left;

		while (write(self->p[1], data, sizeof(data)) == (int)sizeof(data))
			;
		for (i = 0; i < nr; i++) {
			struct io_uring_sqe *sqe;
			int group = 1 + next(&seed) % 2;

			sqe = select_read(&self->io, self->p[0], next(&seed) % 3 * 50, -1, group);
			sqe->user_data = 1;
			switch (next(&seed) % 4) {
			case 0:
				sqe->opcode = IORING_OP_READ_MULTISHOT;
				sqe->len = 0;
				break;
			case 1:
				sqe->fd = file;
				sqe->off = 0;
				break;
			case 2:
				sqe->flags |= IOSQE_ASYNC;
				break;
			}
		}
		ASSERT_EQ((int)nr, ring_submit(self->r, 0));
		usleep(next(&seed) % 200);
		/* What still waits goes. */
		prep(&self->io, IORING_OP_ASYNC_CANCEL, -1, NULL, 0, 0)->cancel_flags =
			IORING_ASYNC_CANCEL_ANY;
		ASSERT_EQ(1, ring_submit(self->r, 0));
		left = nr + 1;
		while (left) {
			ASSERT_TRUE(soon(self->r, &cqe));
			if (cqe.user_data == 1) {
				EXPECT_TRUE(legal(&cqe))
					TH_LOG("%d", cqe.res);
				full += cqe.res > 0;
				failed += cqe.res < 0;
			}
			left -= !(cqe.flags & IORING_CQE_F_MORE);
			if (!left || ring_ready(self->r))
				continue;
			/* One may have come back after the cancellation. */
			prep(&self->io, IORING_OP_ASYNC_CANCEL, -1, NULL, 0, 0)->cancel_flags =
				IORING_ASYNC_CANCEL_ANY;
			ASSERT_EQ(1, ring_submit(self->r, 0));
			left++;
		}
		/* The honest one. */
		while (read(self->p[0], data, sizeof(data)) > 0)
			;
		ASSERT_EQ(5, write(self->p[1], "hello", 5));
		group_fill(&self->honest, rounds % NR, 1);
		select_read(&self->io, self->p[0], 0, -1, 0);
		EXPECT_RUN(5, buffer(rounds % NR));
		ASSERT_EQ(0, memcmp(group_buf(&self->honest, rounds % NR), "hello", 5));
		rounds++;
		memset(data, 0, sizeof(data));
	}
	for (i = 0; i < 2; i++) {
		__atomic_store_n(&self->h[i].stop, true, __ATOMIC_RELAXED);
		pthread_join(threads[i], NULL);
		EXPECT_LE(0, pbuf_head(self->r, 1 + i));
	}
	EXPECT_LT(0, full);
	EXPECT_LT(0, failed);
	TH_LOG("%u rounds, %u buffers filled, %u failures", rounds, full, failed);
}

/* Groups come and go while requests wait for their buffers. */
TEST_F_TIMEOUT(kbuf_tamper, groups_come_and_go, 300)
{
	uint64_t end = stress_end(2);
	unsigned int seed = 5, full = 0, failed = 0;

	fcntl(self->p[1], F_SETFL, O_NONBLOCK);
	while (!stress_over(end)) {
		struct io_uring_cqe cqe;
		unsigned int bgid = 40 + next(&seed) % 4;

		switch (next(&seed) % 7) {
		case 0:
			pbuf_register(self->r, bgid, NR, self->honest.ring, 0);
			break;
		case 1:
			pbuf_unregister(self->r, bgid);
			break;
		case 2:
			provide(&self->io, bgid, self->honest.memory, SIZE, 3, 0);
			break;
		case 3:
			take_out(&self->io, bgid, 5);
			break;
		case 4:
			/* All of them have the entries. */
			group_fill(&self->honest, next(&seed) % NR, 1);
			break;
		case 5:
			if (write(self->p[1], "x", 1) != 1)
				ASSERT_EQ(EAGAIN, errno);
			break;
		default:
			select_read(&self->io, self->p[0], 0, -1, bgid)->flags |=
				next(&seed) % 2 ? IOSQE_ASYNC : 0;
			break;
		}
		if (self->r->sqe_tail != *self->r->sq_tail)
			ASSERT_EQ(1, ring_submit(self->r, 0));
		while (ring_cqe(self->r, &cqe)) {
			full += cqe.res > 0 && cqe.flags;
			failed += cqe.res < 0;
			EXPECT_LE(cqe.res, SIZE);
		}
	}
	EXPECT_LT(0, full);
	EXPECT_LT(0, failed);
}

FILES_MAIN
