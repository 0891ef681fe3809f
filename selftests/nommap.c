// SPDX-License-Identifier: GPL-2.0
/* NO_MMAP and REGISTERED_FD_ONLY: rings in memory of the caller, and rings without descriptor. */
#include "uring.h"
#include "kselftest_harness.h"

#define PAGE	4096ul
#define HUGE	(2ul << 20)

/*
 * The memory is a file in memory, mapped twice: what is done to the ring's
 * mapping does not hide what the kernel writes.
 */
FIXTURE(nommap) {
	struct ring r;
	int memfd;
	char *area;	/* the ring's memory: 16 pages, and 16 for the SQEs */
	char *mirror;
};

BACKEND_VARIANTS(nommap);

FIXTURE_SETUP(nommap)
{
	memset(&self->r, 0, sizeof(self->r));
	self->r.fd = -1;
	self->memfd = memfd_create("rings", MFD_CLOEXEC);
	ASSERT_LE(0, self->memfd);
	ASSERT_EQ(0, ftruncate(self->memfd, 32 * PAGE));
	self->area = mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->memfd, 0);
	self->mirror = mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->memfd, 0);
	ASSERT_NE(MAP_FAILED, self->area);
	ASSERT_NE(MAP_FAILED, self->mirror);
	self->r.rings = self->area;
	self->r.sqes = (void *)(self->area + 16 * PAGE);
}

FIXTURE_TEARDOWN(nommap)
{
	if (self->r.fd >= 0)
		close(self->r.fd);
	munmap(self->area, 32 * PAGE);
	munmap(self->mirror, 32 * PAGE);
	close(self->memfd);
}

/* The same ring as seen through the other mapping. */
static void see_mirror(struct ring *r, char *mirror)
{
	r->rings = mirror;
	r->sqes = (void *)(mirror + 16 * PAGE);
	ring_layout(r);
}

static void works(struct __test_metadata *_metadata, struct ring *r)
{
	struct io_uring_cqe cqe;
	int i, round;

	for (round = 0; round < 10; round++) {
		for (i = 0; i < 4; i++)
			ASSERT_NE(NULL, ring_nop(r, 10 * round + i));
		ASSERT_EQ(4, ring_submit(r, 4));
		for (i = 0; i < 4; i++) {
			ASSERT_TRUE(ring_cqe(r, &cqe));
			EXPECT_EQ(10 * round + i, cqe.user_data);
			EXPECT_EQ(0, cqe.res);
		}
		ASSERT_FALSE(ring_cqe(r, &cqe));
	}
}

TEST_F(nommap, works)
{
	ASSERT_EQ(0, ring_init_user(&self->r, variant->backend, 8, 0));
	works(_metadata, &self->r);
	/* The addresses come back as they were. */
	EXPECT_EQ((unsigned long)self->area, self->r.p.cq_off.user_addr);
	EXPECT_EQ((unsigned long)self->area + 16 * PAGE, self->r.p.sq_off.user_addr);
}

TEST_F(nommap, works_over_many_pages)
{
	struct io_uring_cqe cqe;
	int i, round;

	/* 256 CQEs of 32 bytes are more than two pages, so are 128 SQEs of 128 bytes. */
	ASSERT_EQ(0, ring_init_user(&self->r, variant->backend, 128,
				    IORING_SETUP_SQE128 | IORING_SETUP_CQE32));
	for (round = 0; round < 4; round++) {
		ASSERT_EQ(128, ring_nops(&self->r, 128, 1000 * round));
		for (i = 0; i < 128; i++) {
			ASSERT_TRUE(ring_cqe(&self->r, &cqe));
			ASSERT_EQ(1000 * round + i, cqe.user_data);
		}
	}
}

TEST_F(nommap, works_on_anonymous_memory)
{
	self->r.rings = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->r.rings);
	self->r.sqes = (void *)(self->r.rings + PAGE);
	ASSERT_EQ(0, ring_init_user(&self->r, variant->backend, 8, 0));
	works(_metadata, &self->r);
	munmap(self->r.rings, 2 * PAGE);
}

TEST_F(nommap, works_on_huge_pages)
{
	static const char *const path = "/proc/sys/vm/nr_hugepages";
	char old[32] = "";
	int fd = open(path, O_RDWR);

	if (fd < 0 || read(fd, old, sizeof(old) - 1) <= 0)
		SKIP(return, "no huge pages");
	/* Rings in the first, SQEs right behind: the kernel sees one piece of memory. */
	ASSERT_EQ(1, pwrite(fd, "2", 1, 0));
	self->r.rings = mmap(NULL, HUGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (self->r.rings == MAP_FAILED) {
		close(fd);
		SKIP(return, "no free huge page");
	}
	self->r.sqes = (void *)(self->r.rings + HUGE / 2);
	ASSERT_EQ(0, ring_init_user(&self->r, variant->backend, 256, 0));
	works(_metadata, &self->r);
	ASSERT_EQ(0, munmap(self->r.rings, HUGE));
	close(self->r.fd);
	self->r.fd = -1;
	EXPECT_EQ(strlen(old), pwrite(fd, old, strlen(old), 0));
	close(fd);
}

TEST_F(nommap, header_is_initialised)
{
	struct ring *r = &self->r;
	unsigned int i;

	memset(self->area, 0xa5, 32 * PAGE);
	ASSERT_EQ(0, ring_init_user(r, variant->backend, 8, 0));
	EXPECT_EQ(0, *r->sq_head);
	EXPECT_EQ(0, *r->sq_tail);
	EXPECT_EQ(0, *r->cq_head);
	EXPECT_EQ(0, *r->cq_tail);
	EXPECT_EQ(0, *r->sq_flags);
	EXPECT_EQ(0, *r->cq_flags);
	EXPECT_EQ(0, *r->sq_dropped);
	EXPECT_EQ(0, *r->cq_overflow);
	EXPECT_EQ(7, *(unsigned int *)(r->rings + r->p.sq_off.ring_mask));
	EXPECT_EQ(15, *(unsigned int *)(r->rings + r->p.cq_off.ring_mask));
	EXPECT_EQ(8, *(unsigned int *)(r->rings + r->p.sq_off.ring_entries));
	EXPECT_EQ(16, *(unsigned int *)(r->rings + r->p.cq_off.ring_entries));
	/* The rest is the caller's. */
	for (i = 0; i < 16; i++)
		ASSERT_EQ(0xa5a5a5a5a5a5a5a5, r->cqes[i].user_data);
	for (i = 0; i < 8; i++)
		ASSERT_EQ(0xa5a5a5a5, r->sq_array[i]);
	EXPECT_EQ(0xa5, r->sqes[0].opcode);
	works(_metadata, r);
}

TEST_F(nommap, bad_addresses)
{
	unsigned long good = (unsigned long)self->area;
	char *hole = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long at = (unsigned long)hole;
	int free_fd = lowest_fd();
	const struct {
		unsigned long addr;
		int ret;
	} bad[] = {
		{ 0, -EFAULT },
		{ 1, -EINVAL },
		{ good + 1, -EINVAL },
		{ good + 64, -EINVAL },
		{ good + PAGE / 2, -EINVAL },
		{ at, -EFAULT },			/* unmapped */
		{ at + PAGE, -EFAULT },			/* read-only */
		{ at + 2 * PAGE, -EFAULT },		/* no access */
		{ at + 3 * PAGE, -EFAULT },		/* the second page is unmapped */
		{ 0xffff888000000000, -EFAULT },
		{ 1ul << 62, -EFAULT },
		{ -PAGE, -EFAULT },
		{ -PAGE + 1, -EINVAL },
	};
	unsigned int i;

	ASSERT_NE(MAP_FAILED, hole);
	ASSERT_EQ(0, munmap(hole, PAGE));
	ASSERT_EQ(0, munmap(hole + 4 * PAGE, PAGE));
	ASSERT_EQ(0, mprotect(hole + PAGE, PAGE, PROT_READ));
	ASSERT_EQ(0, mprotect(hole + 2 * PAGE, PAGE, PROT_NONE));
	/* 64 entries of double size: two pages of each. */
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct io_uring_params p = {
			.flags = IORING_SETUP_NO_MMAP | IORING_SETUP_SQE128 |
				IORING_SETUP_CQE32,
			.cq_off.user_addr = bad[i].addr,
			.sq_off.user_addr = good + 16 * PAGE,
		};
		int ret = bad[i].ret;

		/* Two pages from there go beyond the end of all addresses. */
		if (bad[i].addr == -PAGE)
			ret = -EOVERFLOW;
		EXPECT_EQ(ret, uring_setup(variant->backend, 64, &p)) {
			TH_LOG("rings at 0x%lx", bad[i].addr);
		}
		p.cq_off.user_addr = good;
		p.sq_off.user_addr = bad[i].addr;
		EXPECT_EQ(ret, uring_setup(variant->backend, 64, &p)) {
			TH_LOG("SQEs at 0x%lx", bad[i].addr);
		}
		EXPECT_EQ(0, p.features);
	}
	EXPECT_EQ(free_fd, lowest_fd());
	munmap(hole + PAGE, 3 * PAGE);
}

TEST_F(nommap, addresses_without_the_flag_are_ignored)
{
	struct io_uring_params p = {
		.cq_off.user_addr = (unsigned long)self->area + 1,
		.sq_off.user_addr = 4711,
	};
	int fd = uring_setup(variant->backend, 8, &p);

	ASSERT_LE(0, fd);
	EXPECT_EQ(0, p.cq_off.user_addr);
	EXPECT_EQ(0, p.sq_off.user_addr);
	close(fd);
}

TEST_F(nommap, both_in_the_same_page)
{
	/* A silly thing to ask for, and nobody's harm but the caller's. */
	self->r.sqes = (void *)self->r.rings;
	ASSERT_EQ(0, ring_init_user(&self->r, variant->backend, 8, 0));
	store_release(self->r.sq_tail, 8);
	/* SQE 0 begins with head and tail, which makes NOPs and what is none. */
	EXPECT_LE(0, ring_enter(&self->r, 8, 0, 0));
}

TEST_F(nommap, survives_unmapped_memory)
{
	struct io_uring_cqe cqe;
	int i;

	ASSERT_EQ(0, ring_init_user(&self->r, variant->backend, 8, 0));
	for (i = 0; i < 4; i++)
		ring_nop(&self->r, i);
	ring_flush(&self->r);
	ASSERT_EQ(0, munmap(self->area, 32 * PAGE));
	EXPECT_EQ(4, ring_enter(&self->r, 4, 4, IORING_ENTER_GETEVENTS));
	/* Something else in its place is not the ring. */
	ASSERT_EQ(self->area, mmap(self->area, 32 * PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	store_release(self->r.sq_tail, 8);
	EXPECT_EQ(0, ring_enter(&self->r, 4, 0, 0));
	EXPECT_EQ(0, *self->r.sq_head);
	/* The pages are pinned, the ring goes on in them. */
	see_mirror(&self->r, self->mirror);
	for (i = 0; i < 4; i++) {
		ASSERT_TRUE(ring_cqe(&self->r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
	}
	works(_metadata, &self->r);
}

TEST_F(nommap, survives_read_only_memory)
{
	ASSERT_EQ(0, ring_init_user(&self->r, variant->backend, 8, 0));
	ASSERT_EQ(0, mprotect(self->area, 32 * PAGE, PROT_READ));
	see_mirror(&self->r, self->mirror);
	works(_metadata, &self->r);
}

TEST_F(nommap, survives_truncated_file)
{
	ASSERT_EQ(0, ring_init_user(&self->r, variant->backend, 8, 0));
	ring_nop(&self->r, 1);
	ring_flush(&self->r);
	ASSERT_EQ(0, ftruncate(self->memfd, 0));
	EXPECT_EQ(1, ring_enter(&self->r, 1, 1, IORING_ENTER_GETEVENTS));
}

TEST_F(nommap, cannot_be_mapped)
{
	static const unsigned long offsets[] = {
		IORING_OFF_SQ_RING, IORING_OFF_CQ_RING, IORING_OFF_SQES,
	};
	unsigned int i;

	ASSERT_EQ(0, ring_init_user(&self->r, variant->backend, 8, 0));
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		errno = 0;
		EXPECT_EQ(MAP_FAILED, mmap(NULL, PAGE, PROT_READ, MAP_SHARED, self->r.fd,
					   offsets[i]));
		EXPECT_EQ(EINVAL, errno);
	}
}

TEST_F(nommap, memory_is_let_go)
{
	int i;

	/* Pinned pages do not go with the last mapping, but with the ring. */
	for (i = 0; i < 50; i++) {
		memset(&self->r.p, 0, sizeof(self->r.p));
		ASSERT_EQ(0, ring_init_user(&self->r, variant->backend, 64, 0));
		close(self->r.fd);
	}
	self->r.fd = -1;
	/* Nothing is wrong with the pages afterwards. */
	EXPECT_EQ(0, fallocate(self->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			       32 * PAGE));
}

/* A ring without descriptor: only the index, and only in the thread that made it. */
TEST_F(nommap, registered_only)
{
	struct ring *r = &self->r;
	struct io_uring_rsrc_update update = {};
	struct io_uring_cqe cqe;
	int index, free_fd = lowest_fd();

	ASSERT_EQ(0, ring_init_user(r, variant->backend, 8, IORING_SETUP_REGISTERED_FD_ONLY));
	index = r->fd;
	r->fd = -1;
	EXPECT_EQ(0, index);
	EXPECT_EQ(free_fd, lowest_fd());
	ring_nop(r, 77);
	ring_flush(r);
	EXPECT_EQ(1, uring_enter(r->backend, index, 1, 1, IORING_ENTER_GETEVENTS |
				 IORING_ENTER_REGISTERED_RING));
	ASSERT_TRUE(ring_cqe(r, &cqe));
	EXPECT_EQ(77, cqe.user_data);
	/* It is not descriptor 0. */
	EXPECT_GT(0, uring_enter(r->backend, index, 0, 0, 0));
	/* One that was not given out. */
	EXPECT_EQ(-EBADF, uring_enter(r->backend, 3, 0, 0, IORING_ENTER_REGISTERED_RING));
	update.offset = index;
	EXPECT_EQ(1, uring_register(r->backend, index, IORING_UNREGISTER_RING_FDS |
				    IORING_REGISTER_USE_REGISTERED_RING, &update, 1));
	EXPECT_EQ(-EBADF, uring_enter(r->backend, index, 0, 0, IORING_ENTER_REGISTERED_RING));
}

TEST_F(nommap, registered_only_has_16_places)
{
	struct io_uring_rsrc_update update = {};
	int i;

	for (i = 0; i < 16; i++) {
		memset(&self->r.p, 0, sizeof(self->r.p));
		ASSERT_EQ(0, ring_init_user(&self->r, variant->backend, 8,
					    IORING_SETUP_REGISTERED_FD_ONLY));
		EXPECT_EQ(i, self->r.fd);
	}
	memset(&self->r.p, 0, sizeof(self->r.p));
	EXPECT_EQ(-EBUSY, ring_init_user(&self->r, variant->backend, 8,
					 IORING_SETUP_REGISTERED_FD_ONLY));
	/* A place that becomes free is taken. */
	update.offset = 5;
	EXPECT_EQ(1, uring_register(variant->backend, 7, IORING_UNREGISTER_RING_FDS |
				    IORING_REGISTER_USE_REGISTERED_RING, &update, 1));
	EXPECT_EQ(0, ring_init_user(&self->r, variant->backend, 8,
				    IORING_SETUP_REGISTERED_FD_ONLY));
	EXPECT_EQ(5, self->r.fd);
	self->r.fd = -1;
}

TEST_HARNESS_MAIN
