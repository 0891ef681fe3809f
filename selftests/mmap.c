// SPDX-License-Identifier: GPL-2.0
/* Mapping a ring: offsets, sizes, protections, addresses, and how long the memory lives. */
#include "uring.h"
#include <setjmp.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define PAGE	4096ul

/* Rings of two pages (header, 256 CQEs, 64 indices), and 64 SQEs, which are one. */
FIXTURE(mmap) {
	struct ring r;
};

BACKEND_VARIANTS(mmap);

FIXTURE_SETUP(mmap)
{
	memset(&self->r, 0, sizeof(self->r));
	self->r.backend = variant->backend;
	self->r.p.flags = IORING_SETUP_CQSIZE;
	self->r.p.cq_entries = 256;
	self->r.fd = uring_setup(variant->backend, 64, &self->r.p);
	ASSERT_LE(0, self->r.fd);
	ring_sizes(&self->r);
	ASSERT_EQ(2, (self->r.rings_size + PAGE - 1) / PAGE);
	ASSERT_EQ(PAGE, self->r.sqes_size);
}

FIXTURE_TEARDOWN(mmap)
{
	close(self->r.fd);
}

static sigjmp_buf fault;

static void on_fault(int sig)
{
	siglongjmp(fault, sig);
}

/* The signal that reading, or with @write writing, at @p brings; 0 for none. */
static int touch(unsigned int *p, bool write)
{
	struct sigaction act = { .sa_handler = on_fault };
	int sig;

	sigaction(SIGSEGV, &act, NULL);
	sigaction(SIGBUS, &act, NULL);
	sig = sigsetjmp(fault, 1);
	if (sig)
		return sig;
	if (write)
		__atomic_fetch_or(p, 0, __ATOMIC_RELAXED);
	else
		__atomic_load_n(p, __ATOMIC_RELAXED);
	return 0;
}

/* Maps and tells the errno, or 0. */
static int map(void **p, void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	*p = mmap(addr, len, prot, flags, fd, offset);
	return *p == MAP_FAILED ? -errno : 0;
}

TEST_F(mmap, one_memory_at_both_offsets)
{
	struct ring *r = &self->r;
	unsigned int *sq, *cq;

	/* IORING_FEAT_SINGLE_MMAP: either offset gives all of it. */
	sq = mmap(NULL, r->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		  IORING_OFF_SQ_RING);
	cq = mmap(NULL, r->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		  IORING_OFF_CQ_RING);
	ASSERT_NE(MAP_FAILED, sq);
	ASSERT_NE(MAP_FAILED, cq);
	EXPECT_EQ(0, memcmp(sq, cq, r->rings_size));
	sq[r->p.cq_off.flags / 4] = 0x1234;
	sq[r->rings_size / 4 - 1] = 0x5678;
	EXPECT_EQ(0x1234, cq[r->p.cq_off.flags / 4]);
	EXPECT_EQ(0x5678, cq[r->rings_size / 4 - 1]);
	munmap(sq, r->rings_size);
	munmap(cq, r->rings_size);
}

TEST_F(mmap, fresh_memory)
{
	static const struct {
		unsigned int entries, flags;
	} rings[] = {
		{ 1, 0 }, { 4, 0 }, { 128, 0 }, { 2048, 0 },
		{ 64, IORING_SETUP_SQE128 | IORING_SETUP_CQE32 },
		{ 64, IORING_SETUP_NO_SQARRAY },
		{ 64, IORING_SETUP_SQE_MIXED | IORING_SETUP_CQE_MIXED },
	};
	unsigned int i, j, nonzero;

	for (i = 0; i < ARRAY_SIZE(rings); i++) {
		unsigned int *words;
		struct ring r;
		size_t size;

		ASSERT_EQ(0, ring_init(&r, variant->backend, rings[i].entries, rings[i].flags));
		words = (unsigned int *)r.rings;
		EXPECT_EQ(0, *r.sq_head);
		EXPECT_EQ(0, *r.sq_tail);
		EXPECT_EQ(0, *r.cq_head);
		EXPECT_EQ(0, *r.cq_tail);
		EXPECT_EQ(0, *r.sq_flags);
		EXPECT_EQ(0, *r.cq_flags);
		EXPECT_EQ(0, *r.sq_dropped);
		EXPECT_EQ(0, *r.cq_overflow);
		EXPECT_EQ(r.p.sq_entries - 1, words[r.p.sq_off.ring_mask / 4]);
		EXPECT_EQ(r.p.cq_entries - 1, words[r.p.cq_off.ring_mask / 4]);
		EXPECT_EQ(r.p.sq_entries, words[r.p.sq_off.ring_entries / 4]);
		EXPECT_EQ(r.p.cq_entries, words[r.p.cq_off.ring_entries / 4]);
		/* All the rest of the pages is zero: masks of one entry are, too. */
		size = (r.rings_size + PAGE - 1) & -PAGE;
		for (j = 0, nonzero = 0; j < size / 4; j++)
			nonzero += words[j] != 0;
		EXPECT_EQ(3 + (rings[i].entries > 1), nonzero);
		size = (r.sqes_size + PAGE - 1) & -PAGE;
		words = (unsigned int *)r.sqes;
		for (j = 0, nonzero = 0; j < size / 4; j++)
			nonzero += words[j] != 0;
		EXPECT_EQ(0, nonzero);
		ring_exit(&r);
	}
}

TEST_F(mmap, sizes)
{
	struct ring *r = &self->r;
	void *p;

	/* Rings: a part will do. */
	ASSERT_EQ(0, map(&p, NULL, PAGE, PROT_READ, MAP_SHARED, r->fd, IORING_OFF_SQ_RING));
	EXPECT_EQ(64, *(unsigned int *)(p + r->p.sq_off.ring_entries));
	munmap(p, PAGE);
	ASSERT_EQ(0, map(&p, NULL, 1, PROT_READ, MAP_SHARED, r->fd, IORING_OFF_CQ_RING));
	EXPECT_EQ(256, *(unsigned int *)(p + r->p.cq_off.ring_entries));
	munmap(p, 1);
	/* Behind what there is, there is nothing. */
	ASSERT_EQ(0, map(&p, NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
			 IORING_OFF_SQ_RING));
	EXPECT_EQ(0, touch(p + 2 * PAGE - 4, true));
	EXPECT_EQ(SIGBUS, touch(p + 2 * PAGE, false));
	EXPECT_EQ(SIGBUS, touch(p + 3 * PAGE, true));
	munmap(p, 4 * PAGE);
	ASSERT_EQ(0, map(&p, NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
			 IORING_OFF_SQES));
	EXPECT_EQ(0, touch(p + PAGE - 4, true));
	EXPECT_EQ(SIGBUS, touch(p + PAGE, false));
	munmap(p, 3 * PAGE);
	EXPECT_EQ(-EINVAL, map(&p, NULL, 0, PROT_READ, MAP_SHARED, r->fd, IORING_OFF_SQES));
	EXPECT_EQ(-ENOMEM, map(&p, NULL, 1ul << 62, PROT_READ, MAP_SHARED, r->fd,
			       IORING_OFF_SQES));
}

TEST_F(mmap, sqes_must_be_mapped_whole)
{
	struct ring r = { .backend = variant->backend };
	void *p;

	/* 128 SQEs are two pages. */
	r.fd = uring_setup(variant->backend, 128, &r.p);
	ASSERT_LE(0, r.fd);
	EXPECT_EQ(-EFAULT, map(&p, NULL, PAGE, PROT_READ, MAP_SHARED, r.fd, IORING_OFF_SQES));
	EXPECT_EQ(-EFAULT, map(&p, NULL, 64, PROT_READ, MAP_SHARED, r.fd, IORING_OFF_SQES));
	ASSERT_EQ(0, map(&p, NULL, PAGE + 1, PROT_READ, MAP_SHARED, r.fd, IORING_OFF_SQES));
	EXPECT_EQ(0, touch(p + PAGE, false));
	munmap(p, 2 * PAGE);
	close(r.fd);
}

TEST_F(mmap, offsets)
{
	/* Bits 27 to 31 say what is meant, all others mean nothing. */
	static const struct {
		unsigned long offset;
		int ret;
		bool rings;
	} offsets[] = {
		{ 0, 0, true },
		{ PAGE, 0, true },
		{ 0x7fff000, 0, true },
		{ IORING_OFF_CQ_RING, 0, true },
		{ IORING_OFF_CQ_RING + 5 * PAGE, 0, true },
		{ IORING_OFF_SQES, 0, false },
		{ IORING_OFF_SQES + PAGE, 0, false },
		{ 0x100000000, 0, true },
		{ 0x110000000, 0, false },
		{ 0x7ffffffff0000000 & ~0xf8000000ul, 0, true },
		{ 0x18000000, -EINVAL, false },
		{ 0x20000000, -EINVAL, false },		/* the registered region */
		{ 0x28000000, -EINVAL, false },
		{ 0x30000000, -EINVAL, false },		/* zero-copy receive */
		{ 0x40000000, -EINVAL, false },
		{ IORING_OFF_PBUF_RING, -EINVAL, false },
		{ IORING_OFF_PBUF_RING | 1 << IORING_OFF_PBUF_SHIFT, -EINVAL, false },
		{ 0xf8000000, -EINVAL, false },
		/* These never get to the file. */
		{ 1, -EINVAL, false },
		{ IORING_OFF_SQES + 64, -EINVAL, false },
	};
	unsigned int i;
	void *p;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		EXPECT_EQ(offsets[i].ret, map(&p, NULL, PAGE, PROT_READ, MAP_SHARED, self->r.fd,
					      offsets[i].offset)) {
			TH_LOG("offset 0x%lx", offsets[i].offset);
		}
		if (p == MAP_FAILED)
			continue;
		EXPECT_EQ(offsets[i].rings ? 64 : 0,
			  *(unsigned int *)(p + self->r.p.sq_off.ring_entries)) {
			TH_LOG("offset 0x%lx", offsets[i].offset);
		}
		munmap(p, PAGE);
	}
}

TEST_F(mmap, protections)
{
	int fd = self->r.fd;
	void *p;

	ASSERT_EQ(0, map(&p, NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
	EXPECT_EQ(0, touch(p, false));
	EXPECT_EQ(SIGSEGV, touch(p, true));
	EXPECT_EQ(-EACCES, sys_result(mprotect(p, PAGE, PROT_READ | PROT_EXEC)));
	EXPECT_EQ(0, mprotect(p, PAGE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, touch(p, true));
	EXPECT_EQ(0, mprotect(p, PAGE, PROT_NONE));
	EXPECT_EQ(SIGSEGV, touch(p, false));
	munmap(p, PAGE);
	ASSERT_EQ(0, map(&p, NULL, PAGE, PROT_NONE, MAP_SHARED, fd, IORING_OFF_SQES));
	EXPECT_EQ(SIGSEGV, touch(p, false));
	munmap(p, PAGE);
	ASSERT_EQ(0, map(&p, NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQES));
	EXPECT_EQ(0, touch(p, true));
	munmap(p, PAGE);
	EXPECT_EQ(-EPERM, map(&p, NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0));
	EXPECT_EQ(-EPERM, map(&p, NULL, PAGE, PROT_EXEC, MAP_SHARED, fd, IORING_OFF_SQES));
}

TEST_F(mmap, private)
{
	struct ring *r = &self->r;
	unsigned int *p, *shared;
	void *area;

	/* Allowed, and useless for the application: its writes stay with it. */
	ASSERT_EQ(0, map(&area, NULL, r->rings_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, r->fd,
			 IORING_OFF_SQ_RING));
	p = area;
	ASSERT_EQ(0, map(&area, NULL, r->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
			 IORING_OFF_SQ_RING));
	shared = area;
	EXPECT_EQ(64, p[r->p.sq_off.ring_entries / 4]);
	shared[r->p.cq_off.flags / 4] = 1;
	EXPECT_EQ(1, p[r->p.cq_off.flags / 4]);
	p[r->p.cq_off.flags / 4] = 2;
	EXPECT_EQ(1, shared[r->p.cq_off.flags / 4]);
	EXPECT_EQ(2, p[r->p.cq_off.flags / 4]);
	p[r->p.sq_off.tail / 4] = 3;
	EXPECT_EQ(0, ring_enter(r, 3, 0, 0));
	munmap(p, r->rings_size);
	munmap(shared, r->rings_size);
}

TEST_F(mmap, address_is_the_kernels_choice)
{
	char *room = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	int fd = self->r.fd;
	void *p;

	ASSERT_NE(MAP_FAILED, room);
	*room = 42;
	EXPECT_EQ(-EINVAL, map(&p, room, PAGE, PROT_READ, MAP_SHARED, fd, 0));
	EXPECT_EQ(-EINVAL, map(&p, room, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0));
	EXPECT_EQ(-EINVAL, map(&p, room, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
			       IORING_OFF_SQES));
	EXPECT_EQ(42, *room);
	munmap(room, 4 * PAGE);
	EXPECT_EQ(-EINVAL, map(&p, room, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd,
			       0));
	ASSERT_EQ(0, map(&p, NULL, PAGE, PROT_READ, MAP_SHARED | MAP_32BIT, fd, 0));
	EXPECT_GT(1ul << 32, (unsigned long)p);
	munmap(p, PAGE);
	EXPECT_EQ(-EOPNOTSUPP, map(&p, NULL, PAGE, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd,
				   0));
}

TEST_F(mmap, remap)
{
	struct ring *r = &self->r;
	char *room, *moved;
	void *p;

	ASSERT_EQ(0, map(&p, NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0));
	EXPECT_EQ(MAP_FAILED, mremap(p, 2 * PAGE, 3 * PAGE, MREMAP_MAYMOVE));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(MAP_FAILED, mremap(p, 0, 2 * PAGE, MREMAP_MAYMOVE));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(MAP_FAILED, mremap(p, 2 * PAGE, 2 * PAGE,
				     MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
	EXPECT_EQ(EINVAL, errno);
	/* Not even to where there is room. */
	room = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	moved = mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room);
	EXPECT_EQ(MAP_FAILED, moved);
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, touch(p, true));
	/* Smaller is fine. */
	EXPECT_EQ(p, mremap(p, 2 * PAGE, PAGE, 0));
	EXPECT_EQ(64, *(unsigned int *)(p + r->p.sq_off.ring_entries));
	EXPECT_EQ(SIGSEGV, touch(p + PAGE, false));
	munmap(p, PAGE);
}

TEST_F(mmap, unmapped_while_in_use)
{
	struct ring *r = &self->r;
	struct io_uring_cqe cqe;
	int i;

	ASSERT_EQ(0, ring_map(r));
	for (i = 0; i < 10; i++)
		ring_nop(r, i);
	ring_flush(r);
	ring_unmap(r);
	EXPECT_EQ(10, ring_enter(r, 10, 10, IORING_ENTER_GETEVENTS));
	/* It is all there for who comes back. */
	ASSERT_EQ(0, ring_map(r));
	for (i = 0; i < 10; i++) {
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
	}
	/* The half with the indices. */
	ring_nop(r, 11);
	ASSERT_EQ(0, munmap(r->rings + PAGE, PAGE));
	EXPECT_EQ(1, ring_submit(r, 1));
	ASSERT_TRUE(ring_cqe(r, &cqe));
	EXPECT_EQ(11, cqe.user_data);
	ring_unmap(r);
}

TEST_F(mmap, shared_with_child)
{
	struct ring *r = &self->r;
	struct io_uring_cqe cqe;
	int i, status;
	pid_t pid;

	ASSERT_EQ(0, ring_map(r));
	ring_nop(r, 1);
	EXPECT_EQ(1, ring_submit(r, 1));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		ring_nop(r, 2);
		_exit(!(ring_submit(r, 2) == 1 && ring_ready(r) == 2));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	for (i = 1; i <= 2; i++) {
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
	}
	/* What the child filled in was in the same memory. */
	EXPECT_EQ(2, *r->sq_tail);
	ring_unmap(r);
}

TEST_F(mmap, outlives_descriptor)
{
	struct ring *r = &self->r;
	unsigned int i;

	ASSERT_EQ(0, ring_map(r));
	ring_nop(r, 1);
	EXPECT_EQ(1, ring_submit(r, 1));
	ASSERT_EQ(0, close(r->fd));
	EXPECT_EQ(1, ring_ready(r));
	EXPECT_EQ(1, r->cqes[0].user_data);
	for (i = 0; i < 64; i++)
		r->sqes[i].user_data = i;
	for (i = 0; i < 64; i++)
		EXPECT_EQ(i, r->sqes[i].user_data);
	ring_unmap(r);
	r->fd = open("/dev/null", O_RDWR);	/* for the teardown */
}

/* Pages that somebody else holds on to outlive the ring. */
TEST_F(mmap, pages_outlive_ring)
{
	struct ring *r = &self->r;
	unsigned int i, page[PAGE / 4];
	int fds[2];

	ASSERT_EQ(0, pipe(fds));
	ASSERT_EQ(0, ring_map(r));
	memset(r->sqes, 0x77, PAGE);
	for (i = 0; i < 2; i++) {
		struct iovec iov = { r->rings + i * PAGE, PAGE };

		ASSERT_EQ(PAGE, vmsplice(fds[1], &iov, 1, 0));
	}
	ASSERT_EQ(PAGE, vmsplice(fds[1], &(struct iovec){ r->sqes, PAGE }, 1, 0));
	ring_unmap(r);
	ASSERT_EQ(0, close(r->fd));
	/* The memory of new rings is not that memory. */
	for (i = 0; i < 20; i++) {
		struct ring other;

		ASSERT_EQ(0, ring_init(&other, variant->backend, 64, 0));
		memset(other.sqes, 0x55, PAGE);
		ring_exit(&other);
	}
	ASSERT_EQ(PAGE, read(fds[0], page, PAGE));
	EXPECT_EQ(64, page[r->p.sq_off.ring_entries / 4]);
	ASSERT_EQ(PAGE, read(fds[0], page, PAGE));
	ASSERT_EQ(PAGE, read(fds[0], page, PAGE));
	for (i = 0; i < PAGE / 4; i++)
		ASSERT_EQ(0x77777777, page[i]);
	close(fds[0]);
	close(fds[1]);
	r->fd = open("/dev/null", O_RDWR);	/* for the teardown */
}

/* What /proc/self/smaps says about a mapping: its name and its VmFlags. */
static void describe(void *p, char *text, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512], start[32];
	bool ours = false;

	snprintf(start, sizeof(start), "%lx-", (unsigned long)p);
	*text = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, start, strlen(start))) {
			ours = true;
			snprintf(text, 6, "%.5s", strchr(line, ' '));
		} else if (ours && !strncmp(line, "VmFlags:", 8)) {
			snprintf(text + strlen(text), size - strlen(text), "%.200s", line + 8);
			break;
		}
	}
	if (f)
		fclose(f);
}

TEST(mappings_are_of_the_same_kind)
{
	static const int kinds[] = { MAP_SHARED, MAP_PRIVATE };
	char text[2][256];
	unsigned int i, j, k;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		for (j = 0; j < 2; j++) {
			for (k = 0; k < 2; k++) {
				struct io_uring_params p = {};
				int fd = uring_setup(k ? NATIVE : DEVICE, 8, &p);
				void *area;

				ASSERT_LE(0, fd);
				ASSERT_EQ(0, map(&area, NULL, PAGE, PROT_READ | PROT_WRITE,
						 kinds[i], fd, j ? IORING_OFF_SQES : 0));
				describe(area, text[k], sizeof(text[k]));
				munmap(area, PAGE);
				close(fd);
			}
			EXPECT_LT(20, strlen(text[1]));
			EXPECT_STREQ(text[1], text[0]);
		}
	}
}

TEST_HARNESS_MAIN
