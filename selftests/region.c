// SPDX-License-Identifier: GPL-2.0
/* IORING_REGISTER_MEM_REGION: memory that application and kernel share. */
#include "uring.h"
#include <sys/resource.h>
#include "kselftest_harness.h"

#define PAGE	4096ul

FIXTURE(region) {
	struct ring r;
	char *memory;	/* 16 pages */
};

RING_VARIANTS(region);

FIXTURE_SETUP(region)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
	self->memory = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
}

FIXTURE_TEARDOWN(region)
{
	munmap(self->memory, 16 * PAGE);
	ring_exit(&self->r);
}

static int add(struct ring *r, struct io_uring_region_desc *desc, uint64_t flags)
{
	struct io_uring_mem_region_reg reg = {
		.region_uptr = (unsigned long)desc,
		.flags = flags,
	};

	return ring_register(r, IORING_REGISTER_MEM_REGION, &reg, 1);
}

static int add_size(struct ring *r, uint64_t size)
{
	struct io_uring_region_desc desc = { .size = size };

	return add(r, &desc, 0);
}

static void *map(struct ring *r, size_t size, uint64_t offset)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, offset);
}

TEST_F(region, kernel_memory)
{
	struct io_uring_region_desc desc = { .size = 3 * PAGE };
	char *p;
	size_t i;

	EXPECT_EQ(MAP_FAILED, map(&self->r, PAGE, 0x20000000));
	EXPECT_EQ(EINVAL, errno);
	ASSERT_EQ(0, add(&self->r, &desc, 0));
	EXPECT_EQ(0x20000000, desc.mmap_offset);
	EXPECT_EQ(3 * PAGE, desc.size);
	EXPECT_EQ(0, desc.user_addr);
	EXPECT_EQ(0, desc.id);
	EXPECT_EQ(-EBUSY, add(&self->r, &desc, 0));

	p = map(&self->r, 3 * PAGE, desc.mmap_offset);
	ASSERT_NE(MAP_FAILED, p);
	for (i = 0; i < 3 * PAGE; i++)
		ASSERT_EQ(0, p[i]);
	memset(p, 0x5a, 3 * PAGE);
	ASSERT_EQ(0, munmap(p, 3 * PAGE));
	/* A second mapping is of the same memory. */
	p = map(&self->r, 3 * PAGE, desc.mmap_offset);
	ASSERT_NE(MAP_FAILED, p);
	for (i = 0; i < 3 * PAGE; i += 64)
		ASSERT_EQ(0x5a, p[i]);
	ASSERT_EQ(0, munmap(p, 3 * PAGE));
}

TEST_F(region, maps)
{
	struct io_uring_region_desc desc = { .size = 2 * PAGE };
	char *p;

	ASSERT_EQ(0, add(&self->r, &desc, 0));
	/* All of it or nothing. */
	EXPECT_EQ(MAP_FAILED, map(&self->r, PAGE, desc.mmap_offset));
	EXPECT_EQ(EFAULT, errno);
	p = map(&self->r, 4 * PAGE, desc.mmap_offset);
	ASSERT_NE(MAP_FAILED, p);
	p[2 * PAGE - 1] = 1;
	munmap(p, 4 * PAGE);
	/* What follows within the same range is the same region, not a part of it. */
	p = map(&self->r, 2 * PAGE, desc.mmap_offset + PAGE);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_EQ(1, p[2 * PAGE - 1]);
	munmap(p, 2 * PAGE);
	/* Where it is to be is not for the application to say. */
	EXPECT_EQ(MAP_FAILED, mmap(self->memory, 2 * PAGE, PROT_READ, MAP_SHARED, self->r.fd,
				   desc.mmap_offset));
	EXPECT_EQ(EINVAL, errno);
}

/* A mapping outlives the ring. */
TEST_F(region, mapping_stays)
{
	struct io_uring_region_desc desc = { .size = 2 * PAGE };
	struct ring r;
	char *p;

	ASSERT_EQ(0, ring_init(&r, variant->backend, 8, variant->flags));
	ASSERT_EQ(0, add(&r, &desc, 0));
	p = map(&r, 2 * PAGE, desc.mmap_offset);
	ASSERT_NE(MAP_FAILED, p);
	p[PAGE] = 7;
	ring_exit(&r);
	EXPECT_EQ(7, p[PAGE]);
	p[0] = 8;
	munmap(p, 2 * PAGE);
}

TEST_F(region, user_memory)
{
	struct io_uring_region_desc desc = {
		.size = 16 * PAGE,
		.user_addr = (unsigned long)self->memory,
		.flags = IORING_MEM_REGION_TYPE_USER,
	};

	ASSERT_EQ(0, add(&self->r, &desc, 0));
	EXPECT_EQ(0, desc.mmap_offset);
	EXPECT_EQ(-EBUSY, add(&self->r, &desc, 0));
	/* It has its place already. */
	EXPECT_EQ(MAP_FAILED, map(&self->r, 16 * PAGE, 0x20000000));
	EXPECT_EQ(EINVAL, errno);
}

TEST_F(region, errors_of_the_registration)
{
	struct io_uring_region_desc desc = { .size = PAGE };
	struct io_uring_mem_region_reg reg = { .region_uptr = (unsigned long)&desc };
	int i;

	EXPECT_EQ(-EFAULT, ring_register(&self->r, IORING_REGISTER_MEM_REGION, (void *)8, 1));
	reg.region_uptr = 8;
	EXPECT_EQ(-EFAULT, ring_register(&self->r, IORING_REGISTER_MEM_REGION, &reg, 1));
	for (i = 0; i < 2; i++) {
		memset(&reg, 0, sizeof(reg));
		reg.region_uptr = (unsigned long)&desc;
		reg.__resv[i] = 1;
		EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_MEM_REGION, &reg, 1));
	}
	for (i = 1; i < 64; i++)
		EXPECT_EQ(-EINVAL, add(&self->r, &desc, 1ull << i));
	/* Nobody may wait yet when the region for waits is registered. */
	EXPECT_EQ(-EINVAL, add(&self->r, &desc, IORING_MEM_REGION_REG_WAIT_ARG));
	/* The region's address cannot be told: it is let go. */
	memcpy(self->memory, &desc, sizeof(desc));
	ASSERT_EQ(0, mprotect(self->memory, PAGE, PROT_READ));
	EXPECT_EQ(-EFAULT, add(&self->r, (void *)self->memory, 0));
	EXPECT_EQ(MAP_FAILED, map(&self->r, PAGE, 0x20000000));
	EXPECT_EQ(0, add(&self->r, &desc, 0));
}

TEST_F(region, errors_of_the_description)
{
	unsigned long addr = (unsigned long)self->memory;
	struct io_uring_region_desc good = {
		.size = PAGE,
		.user_addr = addr,
		.flags = IORING_MEM_REGION_TYPE_USER,
	};
	struct io_uring_region_desc d;
	int i;

#define TRY(error, change)					\
	do {							\
		d = good;					\
		change;						\
		EXPECT_EQ(error, add(&self->r, &d, 0));		\
	} while (0)
	for (i = 0; i < 4; i++)
		TRY(-EINVAL, d.__resv[i] = 1);
	for (i = 1; i < 32; i++)
		TRY(-EINVAL, d.flags |= 1u << i);
	TRY(-EFAULT, d.flags = 0);
	TRY(-EFAULT, d.user_addr = 0);
	TRY(-EINVAL, d.size = 0);
	TRY(-EINVAL, d.mmap_offset = 0x20000000);
	TRY(-EINVAL, d.id = 1);
	TRY(-E2BIG, d.size = 1ull << 43);
	TRY(-E2BIG, d.size = ~0ull);
	TRY(-EINVAL, d.size = PAGE + 1);
	TRY(-EINVAL, d.size = 64);
	TRY(-EINVAL, d.user_addr = addr + 64);
	TRY(-EOVERFLOW, d.size = 1ull << 41);
	TRY(-EOVERFLOW, d.user_addr = -PAGE);
	TRY(-EOVERFLOW, (d.user_addr = -PAGE, d.size = 2 * PAGE));
	/* Not the application's, not there, not to be written. */
	TRY(-EFAULT, d.user_addr = 0xffff888000000000);
	TRY(-EFAULT, d.user_addr = 1ull << 46);
	ASSERT_EQ(0, mprotect(self->memory + PAGE, PAGE, PROT_READ));
	TRY(-EFAULT, d.user_addr = addr + PAGE);
	TRY(-EFAULT, d.size = 2 * PAGE);
	ASSERT_EQ(0, munmap(self->memory + 15 * PAGE, PAGE));
	TRY(-EFAULT, (d.user_addr = addr + 14 * PAGE, d.size = 2 * PAGE));
	/* More than there is. */
	d = (struct io_uring_region_desc) { .size = 1ull << 42 };
	EXPECT_EQ(-ENOMEM, add(&self->r, &d, 0));
	/* Nothing is left of all that. */
	TRY(0, (void)0);
#undef TRY
}

TEST_F(region, large)
{
	/* More than one allocation of the buddy allocator can be. */
	struct io_uring_region_desc desc = { .size = 5 << 20 };
	char *p;

	ASSERT_EQ(0, add(&self->r, &desc, 0));
	p = map(&self->r, desc.size, desc.mmap_offset);
	ASSERT_NE(MAP_FAILED, p);
	p[0] = 1;
	p[desc.size - 1] = 1;
	munmap(p, desc.size);
}

FIXTURE(memlock) { int unused; };
BACKEND_VARIANTS(memlock);

FIXTURE_SETUP(memlock)
{
}

FIXTURE_TEARDOWN(memlock)
{
}

static int limit(unsigned long pages)
{
	struct rlimit rlim = { .rlim_cur = pages * PAGE, .rlim_max = 64 * PAGE };

	return setrlimit(RLIMIT_MEMLOCK, &rlim);
}

/* The memory of a ring that is gone comes back after a while. */
static int add_in_time(struct ring *r, uint64_t size)
{
	int i, ret = 0;

	for (i = 0; i < 2000; i++) {
		ret = add_size(r, size);
		if (ret != -ENOMEM)
			break;
		usleep(10000);
	}
	return ret;
}

TEST_F(memlock, counts)
{
	struct ring a, b;

	ASSERT_EQ(0, limit(5));
	ASSERT_EQ(0, drop_privileges(200000 + getpid()));
	/* The rings themselves do not count. */
	ASSERT_EQ(0, ring_init(&a, variant->backend, 1024, 0));
	ASSERT_EQ(0, ring_init(&b, variant->backend, 1024, 0));
	EXPECT_EQ(-ENOMEM, add_size(&a, 6 * PAGE));
	EXPECT_EQ(-ENOMEM, add_size(&a, 8 * PAGE));
	EXPECT_EQ(-ENOMEM, add_size(&a, 1ull << 40));
	EXPECT_EQ(0, add_size(&a, 2 * PAGE));
	/* What one ring has the other cannot have. */
	EXPECT_EQ(-ENOMEM, add_size(&b, 4 * PAGE));
	EXPECT_EQ(0, add_size(&b, 2 * PAGE));
	ring_exit(&a);
	ring_exit(&b);
	ASSERT_EQ(0, ring_init(&a, variant->backend, 8, 0));
	EXPECT_EQ(0, add_in_time(&a, 4 * PAGE));
	ring_exit(&a);
}

/* An odd number of pages: exactly what was asked for, if there is no more. */
TEST_F(memlock, exactly)
{
	struct ring r;

	ASSERT_EQ(0, limit(5));
	ASSERT_EQ(0, drop_privileges(200000 + getpid()));
	ASSERT_EQ(0, ring_init(&r, variant->backend, 8, 0));
	EXPECT_EQ(-ENOMEM, add_size(&r, 6 * PAGE));
	EXPECT_EQ(0, add_size(&r, 5 * PAGE));
	ring_exit(&r);
	/* And all of that comes back. */
	ASSERT_EQ(0, ring_init(&r, variant->backend, 8, 0));
	EXPECT_EQ(0, add_in_time(&r, 5 * PAGE));
	ring_exit(&r);
}

TEST_F(memlock, user_memory)
{
	char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_uring_region_desc desc = {
		.user_addr = (unsigned long)p,
		.flags = IORING_MEM_REGION_TYPE_USER,
	};
	struct ring a, b;

	ASSERT_EQ(0, limit(5));
	ASSERT_EQ(0, drop_privileges(200000 + getpid()));
	ASSERT_EQ(0, ring_init(&a, variant->backend, 8, 0));
	ASSERT_EQ(0, ring_init(&b, variant->backend, 8, 0));
	desc.size = 6 * PAGE;
	EXPECT_EQ(-ENOMEM, add(&a, &desc, 0));
	/* A failure charges nothing. */
	ASSERT_EQ(0, mprotect(p + 4 * PAGE, PAGE, PROT_READ));
	desc.size = 5 * PAGE;
	EXPECT_EQ(-EFAULT, add(&a, &desc, 0));
	EXPECT_EQ(-EFAULT, add(&a, &desc, 0));
	ASSERT_EQ(0, mprotect(p + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, add(&a, &desc, 0));
	desc.size = PAGE;
	EXPECT_EQ(-ENOMEM, add(&b, &desc, 0));
	ring_exit(&a);
	EXPECT_EQ(0, add_in_time(&b, PAGE));
	ring_exit(&b);
	munmap(p, 8 * PAGE);
}

/* Whoever may lock any amount of memory has no limit. */
TEST_F(memlock, privileged)
{
	struct ring r;

	ASSERT_EQ(0, limit(1));
	ASSERT_EQ(0, ring_init(&r, variant->backend, 8, 0));
	EXPECT_EQ(0, add_size(&r, 16 * PAGE));
	ring_exit(&r);
}

TEST_HARNESS_MAIN
