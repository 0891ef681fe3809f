// SPDX-License-Identifier: GPL-2.0
/* Setup: which flags go together, sizes, params in and out, bad pointers, the descriptor. */
#include "uring.h"
#include <sys/resource.h>
#include <sys/stat.h>
#include "kselftest_harness.h"

#define DEFER	(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN)

/* Memory for NO_MMAP: enough for all rings of these tests. */
#define USER_SIZE	0x10000

FIXTURE(setup) {
	struct io_uring_params p;
	char *user;
	int free_fd;
};

BACKEND_VARIANTS(setup);

FIXTURE_SETUP(setup)
{
	memset(&self->p, 0, sizeof(self->p));
	self->user = mmap(NULL, 2 * USER_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->user);
	self->free_fd = lowest_fd();
}

FIXTURE_TEARDOWN(setup)
{
	/* No test leaves a descriptor behind. */
	EXPECT_EQ(self->free_fd, lowest_fd());
	munmap(self->user, 2 * USER_SIZE);
}

/* Sets up a ring and closes it. Returns 0 or the error. */
static int try_setup(enum backend backend, unsigned int entries, struct io_uring_params *p)
{
	int fd = uring_setup(backend, entries, p);

	if (fd < 0)
		return fd;
	if (p->flags & IORING_SETUP_REGISTERED_FD_ONLY) {
		struct io_uring_rsrc_update index = { .offset = fd };

		return uring_register(backend, fd, IORING_UNREGISTER_RING_FDS |
				      IORING_REGISTER_USE_REGISTERED_RING, &index, 1) == 1 ?
			0 : -ESTALE;
	}
	close(fd);
	return 0;
}

static void user_memory(struct io_uring_params *p, char *user)
{
	p->cq_off.user_addr = (unsigned long)user;
	p->sq_off.user_addr = (unsigned long)user + USER_SIZE;
}

TEST_F(setup, each_flag)
{
	/* What another flag needs is in "with"; the last column is the device's answer. */
	static const struct {
		unsigned int flag, with;
		int native, device;
	} flags[] = {
		/* Their own issues bring these; until then they are refused as by an old kernel. */
		{ IORING_SETUP_IOPOLL, 0, 0, 0 },
		{ IORING_SETUP_SQPOLL, 0, 0, 0 },
		{ IORING_SETUP_SQ_AFF, 0, -EINVAL, -EINVAL },
		{ IORING_SETUP_SQ_AFF, IORING_SETUP_SQPOLL, 0, 0 },
		{ IORING_SETUP_HYBRID_IOPOLL, 0, -EINVAL, -EINVAL },
		{ IORING_SETUP_HYBRID_IOPOLL, IORING_SETUP_IOPOLL, 0, 0 },
		/* wq_fd is 0 here, no ring. */
		{ IORING_SETUP_ATTACH_WQ, 0, -EINVAL, -EINVAL },
		{ IORING_SETUP_CQSIZE, 0, 0, 0 },
		{ IORING_SETUP_CLAMP, 0, 0, 0 },
		{ IORING_SETUP_R_DISABLED, 0, 0, 0 },
		{ IORING_SETUP_SUBMIT_ALL, 0, 0, 0 },
		{ IORING_SETUP_COOP_TASKRUN, 0, 0, 0 },
		{ IORING_SETUP_TASKRUN_FLAG, 0, -EINVAL, -EINVAL },
		{ IORING_SETUP_TASKRUN_FLAG, IORING_SETUP_COOP_TASKRUN, 0, 0 },
		{ IORING_SETUP_TASKRUN_FLAG, DEFER, 0, 0 },
		{ IORING_SETUP_SQE128, 0, 0, 0 },
		{ IORING_SETUP_CQE32, 0, 0, 0 },
		{ IORING_SETUP_SINGLE_ISSUER, 0, 0, 0 },
		{ IORING_SETUP_DEFER_TASKRUN, 0, -EINVAL, -EINVAL },
		{ IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_SINGLE_ISSUER, 0, 0 },
		{ IORING_SETUP_NO_MMAP, 0, 0, 0 },
		{ IORING_SETUP_REGISTERED_FD_ONLY, 0, -EINVAL, -EINVAL },
		{ IORING_SETUP_REGISTERED_FD_ONLY, IORING_SETUP_NO_MMAP, 0, 0 },
		{ IORING_SETUP_NO_SQARRAY, 0, 0, 0 },
		{ IORING_SETUP_CQE_MIXED, 0, 0, 0 },
		{ IORING_SETUP_SQE_MIXED, 0, 0, 0 },
		{ IORING_SETUP_SQ_REWIND, 0, -EINVAL, -EINVAL },
		{ IORING_SETUP_SQ_REWIND, IORING_SETUP_NO_SQARRAY, 0, 0 },
		/* Either alone is fine, both are not. */
		{ IORING_SETUP_CQE32, IORING_SETUP_CQE_MIXED, -EINVAL, -EINVAL },
		{ IORING_SETUP_SQE128, IORING_SETUP_SQE_MIXED, -EINVAL, -EINVAL },
		{ IORING_SETUP_SQPOLL, IORING_SETUP_COOP_TASKRUN, -EINVAL, -EINVAL },
		{ IORING_SETUP_SQPOLL, DEFER, -EINVAL, -EINVAL },
		{ IORING_SETUP_SQPOLL, IORING_SETUP_SQ_REWIND | IORING_SETUP_NO_SQARRAY,
			-EINVAL, -EINVAL },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		struct io_uring_params p = {
			.flags = flags[i].flag | flags[i].with,
			.cq_entries = 16,
		};
		int want = variant->backend == NATIVE ? flags[i].native : flags[i].device;

		if (p.flags & IORING_SETUP_NO_MMAP)
			user_memory(&p, self->user);
		EXPECT_EQ(want, try_setup(variant->backend, 8, &p)) {
			TH_LOG("flags 0x%x", flags[i].flag | flags[i].with);
		}
	}
	for (i = 21; i < 32; i++) {
		struct io_uring_params p = { .flags = 1u << i };

		EXPECT_EQ(-EINVAL, try_setup(variant->backend, 8, &p)) {
			TH_LOG("unknown flag %u", i);
		}
	}
}

TEST_F(setup, shares_workers)
{
	struct io_uring_params other = { .flags = IORING_SETUP_ATTACH_WQ };
	int fd = uring_setup(variant->backend, 8, &self->p);

	ASSERT_LE(0, fd);
	other.wq_fd = fd;
	EXPECT_EQ(0, try_setup(variant->backend, 8, &other));
	close(fd);
}

TEST_F(setup, sizes)
{
	static const struct {
		unsigned int entries, cq_entries, flags;
		int ret;
		unsigned int sq, cq;
	} sizes[] = {
		{ 0, 0, 0, -EINVAL, 0, 0 },
		{ 0, 0, IORING_SETUP_CLAMP, -EINVAL, 0, 0 },
		{ 1, 0, 0, 0, 1, 2 },
		{ 2, 0, 0, 0, 2, 4 },
		{ 3, 0, 0, 0, 4, 8 },
		{ 8, 0, 0, 0, 8, 16 },
		{ 9, 0, 0, 0, 16, 32 },
		{ 1025, 0, 0, 0, 2048, 4096 },
		{ 32767, 0, 0, 0, 32768, 65536 },
		{ 32768, 0, 0, 0, 32768, 65536 },
		{ 32769, 0, 0, -EINVAL, 0, 0 },
		{ 32769, 0, IORING_SETUP_CLAMP, 0, 32768, 65536 },
		{ UINT32_MAX, 0, 0, -EINVAL, 0, 0 },
		{ UINT32_MAX, 0, IORING_SETUP_CLAMP, 0, 32768, 65536 },
		{ 1u << 31, 0, IORING_SETUP_CLAMP, 0, 32768, 65536 },
		{ 5, 0, IORING_SETUP_CLAMP, 0, 8, 16 },
		/* cq_entries counts only with its flag. */
		{ 8, 100, 0, 0, 8, 16 },
		{ 8, 0, IORING_SETUP_CQSIZE, -EINVAL, 0, 0 },
		{ 8, 0, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, -EINVAL, 0, 0 },
		{ 8, 1, IORING_SETUP_CQSIZE, -EINVAL, 0, 0 },
		{ 8, 4, IORING_SETUP_CQSIZE, -EINVAL, 0, 0 },
		{ 8, 5, IORING_SETUP_CQSIZE, 0, 8, 8 },
		{ 8, 8, IORING_SETUP_CQSIZE, 0, 8, 8 },
		{ 5, 7, IORING_SETUP_CQSIZE, 0, 8, 8 },
		{ 8, 9, IORING_SETUP_CQSIZE, 0, 8, 16 },
		{ 1, 1, IORING_SETUP_CQSIZE, 0, 1, 1 },
		{ 1, 4096, IORING_SETUP_CQSIZE, 0, 1, 4096 },
		{ 1, 65535, IORING_SETUP_CQSIZE, 0, 1, 65536 },
		{ 1, 65536, IORING_SETUP_CQSIZE, 0, 1, 65536 },
		{ 1, 65537, IORING_SETUP_CQSIZE, -EINVAL, 0, 0 },
		{ 1, 65537, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, 0, 1, 65536 },
		{ 1, UINT32_MAX, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, 0, 1, 65536 },
		{ 32768, 32768, IORING_SETUP_CQSIZE, 0, 32768, 32768 },
		{ 65536, 32768, IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP, 0, 32768, 32768 },
		/* An entry that takes two slots has to fit. */
		{ 1, 1, IORING_SETUP_CQSIZE | IORING_SETUP_CQE_MIXED, -EOVERFLOW, 0, 0 },
		{ 1, 0, IORING_SETUP_CQE_MIXED, 0, 1, 2 },
		{ 1, 0, IORING_SETUP_SQE_MIXED, -EOVERFLOW, 0, 0 },
		{ 2, 0, IORING_SETUP_SQE_MIXED, 0, 2, 4 },
		{ 32768, 0, IORING_SETUP_SQE128 | IORING_SETUP_CQE32, 0, 32768, 65536 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct io_uring_params p = {
			.flags = sizes[i].flags,
			.cq_entries = sizes[i].cq_entries,
		};

		EXPECT_EQ(sizes[i].ret, try_setup(variant->backend, sizes[i].entries, &p)) {
			TH_LOG("%u, %u, 0x%x", sizes[i].entries, sizes[i].cq_entries,
			       sizes[i].flags);
		}
		if (sizes[i].ret)
			continue;
		EXPECT_EQ(sizes[i].sq, p.sq_entries);
		EXPECT_EQ(sizes[i].cq, p.cq_entries);
	}
}

TEST_F(setup, reserved_words_are_zero)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(self->p.resv); i++) {
		memset(&self->p, 0, sizeof(self->p));
		self->p.resv[i] = 1u << (11 * i);
		EXPECT_EQ(-EINVAL, try_setup(variant->backend, 8, &self->p));
		EXPECT_EQ(0, self->p.features);
	}
}

TEST_F(setup, sq_entries_in_params_is_output)
{
	self->p.sq_entries = 0xdead;
	EXPECT_EQ(0, try_setup(variant->backend, 4, &self->p));
	EXPECT_EQ(4, self->p.sq_entries);
}

TEST_F(setup, features)
{
	/* All that 7.3 has, and those that the device's documentation lists. */
	unsigned int native = (IORING_FEAT_NO_IOWAIT << 1) - 1;
	unsigned int device = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
		IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP |
		IORING_FEAT_REG_REG_RING | IORING_FEAT_MIN_TIMEOUT | IORING_FEAT_RW_CUR_POS |
		IORING_FEAT_CUR_PERSONALITY | IORING_FEAT_RSRC_TAGS | IORING_FEAT_NATIVE_WORKERS |
		IORING_FEAT_LINKED_FILE | IORING_FEAT_FAST_POLL | IORING_FEAT_POLL_32BITS |
		IORING_FEAT_SQPOLL_NONFIXED | IORING_FEAT_RW_ATTR | IORING_FEAT_NO_IOWAIT;

	self->p.features = UINT32_MAX;
	EXPECT_EQ(0, try_setup(variant->backend, 4, &self->p));
	EXPECT_EQ(variant->backend == NATIVE ? native : device, self->p.features);
}

TEST_F(setup, bad_pointers)
{
	long page = sysconf(_SC_PAGESIZE);
	char *area = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_uring_params *p;

	ASSERT_NE(MAP_FAILED, area);
	EXPECT_EQ(-EFAULT, uring_setup(variant->backend, 8, NULL));
	EXPECT_EQ(-EFAULT, uring_setup(variant->backend, 8, (void *)0xffff888000001000ul));
	EXPECT_EQ(-EFAULT, uring_setup(variant->backend, 8, (void *)-sizeof(*p)));
	EXPECT_EQ(-EFAULT, uring_setup(variant->backend, 8, (void *)(1ul << 63)));
	/* Readable, but the answer cannot be written: the ring is taken down again. */
	p = (void *)area;
	ASSERT_EQ(0, mprotect(area, page, PROT_READ));
	EXPECT_EQ(-EFAULT, uring_setup(variant->backend, 8, p));
	ASSERT_EQ(0, mprotect(area, page, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, p->features);
	/* The error of the arguments comes before that. */
	ASSERT_EQ(0, mprotect(area, page, PROT_READ));
	EXPECT_EQ(-EINVAL, uring_setup(variant->backend, 0, p));
	ASSERT_EQ(0, mprotect(area, page, PROT_READ | PROT_WRITE));
	/* The second half is not there. */
	ASSERT_EQ(0, munmap(area + page, page));
	p = (void *)(area + page - sizeof(*p) / 2);
	EXPECT_EQ(-EFAULT, uring_setup(variant->backend, 8, p));
	/* Just before the edge, and not aligned. */
	p = (void *)(area + page - sizeof(*p));
	EXPECT_EQ(0, try_setup(variant->backend, 8, p));
	memset(area, 0, page);
	p = (void *)(area + 1);
	EXPECT_EQ(0, try_setup(variant->backend, 8, p));
	munmap(area, page);
}

/* Setups that fail late leave no ring behind. */
TEST_F(setup, failed_setups_are_undone)
{
	struct io_uring_params *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
					 -1, 0);
	int i;

	ASSERT_NE(MAP_FAILED, p);
	for (i = 0; i < 100; i++)
		ASSERT_EQ(-EFAULT, uring_setup(variant->backend, 64, p));
	munmap(p, 4096);
}

TEST_F(setup, no_free_descriptor)
{
	int dev = open(RUST_URING_DEVICE, O_RDWR | O_CLOEXEC);
	struct rust_uring_setup arg = { .entries = 8, .params = (unsigned long)&self->p };
	struct rlimit old, none;
	int ret;

	ASSERT_LE(0, dev);
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	none = old;
	none.rlim_cur = lowest_fd();
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &none));
	if (variant->backend == NATIVE)
		ret = uring_setup(NATIVE, 8, &self->p);
	else
		ret = sys_result(ioctl(dev, RUST_URING_SETUP, &arg));
	setrlimit(RLIMIT_NOFILE, &old);
	EXPECT_EQ(-EMFILE, ret);
	close(dev);
}

TEST_F(setup, descriptor)
{
	int fd = uring_setup(variant->backend, 8, &self->p);
	char link[64] = "", path[32];
	struct stat st;

	/* The device is open while it makes the descriptor. */
	ASSERT_EQ(self->free_fd + (variant->backend == DEVICE), fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(O_RDWR, fcntl(fd, F_GETFL));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ASSERT_LT(0, readlink(path, link, sizeof(link) - 1));
	EXPECT_STREQ(variant->backend == NATIVE ? "anon_inode:[io_uring]" :
		     "anon_inode:[rust_uring]", link);
	/* It is for mmap, poll and the calls; not for data. */
	EXPECT_EQ(-EINVAL, sys_result(read(fd, link, 1)));
	EXPECT_EQ(-EINVAL, sys_result(write(fd, link, 1)));
	EXPECT_EQ(-ESPIPE, sys_result(lseek(fd, 0, SEEK_SET)));
	EXPECT_EQ(-ESPIPE, sys_result(pread(fd, link, 1, 0)));
	EXPECT_EQ(-EINVAL, sys_result(ftruncate(fd, 0)));
	EXPECT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(0600, st.st_mode & 07777);
	EXPECT_EQ(0, st.st_size);
	/* It cannot be opened a second time. */
	EXPECT_EQ(-ENXIO, sys_result(open(path, O_RDWR)));
	close(fd);
}

/* One setup of each backend with the same parameters. */
static void compare(struct __test_metadata *_metadata, char *user, unsigned int entries,
		    unsigned int cq_entries, unsigned int flags, unsigned int *good)
{
	struct io_uring_params p[2];
	int i, ret[2];

	/* What is not asked for is either answered or left alone. */
	memset(p, 0xa5, sizeof(p));
	for (i = 0; i < 2; i++) {
		p[i].flags = flags;
		p[i].cq_entries = cq_entries;
		memset(p[i].resv, 0, sizeof(p[i].resv));
		if (flags & IORING_SETUP_NO_MMAP)
			user_memory(&p[i], user);
		ret[i] = try_setup(i ? NATIVE : DEVICE, entries, &p[i]);
		p[i].features = 0;
	}
	EXPECT_EQ(ret[1], ret[0]) {
		TH_LOG("%u, %u, 0x%x", entries, cq_entries, flags);
	}
	EXPECT_EQ(0, memcmp(&p[0], &p[1], sizeof(p[0]))) {
		TH_LOG("%u, %u, 0x%x", entries, cq_entries, flags);
	}
	*good += !ret[0];
}

#define IMPLEMENTED	((IORING_SETUP_SQ_REWIND << 1) - 1)

TEST(params_as_natively)
{
	char *user = mmap(NULL, 2 * USER_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static const unsigned int entries[] = { 1, 2, 3, 7, 8, 64, 100, 1000, 4096 };
	unsigned int good = 0, i, j, state = 1;

	ASSERT_NE(MAP_FAILED, user);
	/* Every size with the flags that move things about. */
	for (i = 0; i < ARRAY_SIZE(entries); i++) {
		static const unsigned int flags[] = {
			0, IORING_SETUP_SQE128, IORING_SETUP_CQE32, IORING_SETUP_NO_SQARRAY,
			IORING_SETUP_CQE_MIXED, IORING_SETUP_SQE_MIXED,
			IORING_SETUP_CQE32 | IORING_SETUP_NO_SQARRAY,
		};

		for (j = 0; j < ARRAY_SIZE(flags); j++)
			compare(_metadata, user, entries[i], 0, flags[j], &good);
		compare(_metadata, user, entries[i], 3 * entries[i], IORING_SETUP_CQSIZE, &good);
	}
	EXPECT_EQ(9 * 8 - 1, good);
	/* Every pair of flags. */
	for (i = 0; i < 32; i++)
		for (j = 0; j < i; j++)
			if (IMPLEMENTED & 1u << i && IMPLEMENTED & 1u << j)
				compare(_metadata, user, 4, 8, 1u << i | 1u << j, &good);
	/* Sets of flags in no particular order, always the same ones. */
	good = 0;
	for (i = 0; i < 300; i++) {
		unsigned int flags;

		state = state * 1103515245 + 12345;
		flags = state >> 8 & IMPLEMENTED;
		/* Most sets miss what another flag needs. */
		if (i % 4)
			flags |= IORING_SETUP_NO_SQARRAY | IORING_SETUP_NO_MMAP | DEFER;
		if (i % 16)
			flags &= ~(IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF |
				   IORING_SETUP_ATTACH_WQ);
		if (i % 8 > 2)
			flags &= ~(IORING_SETUP_CQE32 | IORING_SETUP_SQE128);
		compare(_metadata, user, 1 + (state >> 3) % 40, (state >> 5) % 80, flags, &good);
	}
	EXPECT_LT(100, good);
	munmap(user, 2 * USER_SIZE);
}

TEST_HARNESS_MAIN
