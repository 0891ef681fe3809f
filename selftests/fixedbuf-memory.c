// SPDX-License-Identifier: GPL-2.0
/* What registered buffers cost: RLIMIT_MEMLOCK, VmPin, and how huge pages are counted and used. */
#include "files.h"
#include "kselftest_harness.h"

#define PAGES	256	/* the limit */
#define ROOM	(PAGES + 64)
#define HUGE	(2ul << 20)

FIXTURE(fixedbuf_memory) {
	struct io io;
	struct ring *r;
	char *mem;
	uid_t uid;
};

BACKEND_VARIANTS(fixedbuf_memory);

static void set_memlock(unsigned long pages)
{
	struct rlimit limit = { pages * 4096, RLIM_INFINITY };

	if (setrlimit(RLIMIT_MEMLOCK, &limit))
		abort();
}

/* Each test is a user of its own, who owes nothing. */
FIXTURE_SETUP(fixedbuf_memory)
{
	self->uid = 100000 + getpid();
	self->mem = pages(ROOM * 4096);
	self->r = &self->io.r;
	set_memlock(PAGES);
	ASSERT_EQ(0, chmod(RUST_URING_DEVICE, 0666));
	ASSERT_EQ(0, setresuid(self->uid, self->uid, 0));
	ASSERT_EQ(0, io_init(&self->io, variant->backend, 8, 0, 0));
}

FIXTURE_TEARDOWN(fixedbuf_memory)
{
	ring_exit(self->r);
}

static int reg(struct ring *r, void *mem, unsigned long nr)
{
	struct iovec iov = { mem, nr * 4096 };

	return ring_register(r, IORING_REGISTER_BUFFERS, &iov, 1);
}

static int unreg(struct ring *r)
{
	return ring_register(r, IORING_UNREGISTER_BUFFERS, NULL, 0);
}

static int update(struct ring *r, unsigned int off, void *mem, unsigned long nr)
{
	struct iovec iov = { mem, nr * 4096 };
	struct io_uring_rsrc_update2 arg = {
		.offset = off, .nr = 1, .data = (unsigned long)&iov,
	};

	return ring_register(r, IORING_REGISTER_BUFFERS_UPDATE, &arg, sizeof(arg));
}

static int sparse(struct ring *r, unsigned int nr)
{
	struct io_uring_rsrc_register arg = { .nr = nr, .flags = IORING_RSRC_REGISTER_SPARSE };

	return ring_register(r, IORING_REGISTER_BUFFERS2, &arg, sizeof(arg));
}

/* Pages that the user may still lock: as many as one buffer can have. */
static unsigned long room(struct ring *r, void *mem)
{
	unsigned long nr = ROOM;

	while (nr && reg(r, mem, nr) == -ENOMEM)
		nr--;
	unreg(r);
	return nr;
}

/* Pinned memory of the process, in pages. */
static long pinned(void)
{
	char line[128];
	long kb = -1;
	FILE *f = fopen("/proc/self/status", "re");

	while (kb < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "VmPin: %ld kB", &kb);
	fclose(f);
	return kb / 4;
}

TEST_F(fixedbuf_memory, limit)
{
	unsigned long nr = room(self->r, self->mem);

	/* The ring itself may cost something, but not that much. */
	ASSERT_LT(PAGES / 2, nr);
	ASSERT_GE(PAGES, nr);
	EXPECT_EQ(-ENOMEM, reg(self->r, self->mem, nr + 1));
	EXPECT_EQ(0, reg(self->r, self->mem, nr));
	EXPECT_EQ(0, unreg(self->r));
	/* All of it came back, also after failures. */
	EXPECT_EQ(-ENOMEM, reg(self->r, self->mem, nr + 1));
	EXPECT_EQ(-EFAULT, reg(self->r, (void *)4096, nr));
	EXPECT_EQ(nr, room(self->r, self->mem));
	/* The limit counts at the time of the call. */
	EXPECT_EQ(0, reg(self->r, self->mem, nr));
	set_memlock(0);
	EXPECT_EQ(0, unreg(self->r));
	EXPECT_EQ(-ENOMEM, reg(self->r, self->mem, 1));
	set_memlock(PAGES + 1);
	EXPECT_EQ(nr + 1, room(self->r, self->mem));
	set_memlock(PAGES);
}

TEST_F(fixedbuf_memory, limit_of_many)
{
	unsigned long nr = room(self->r, self->mem), i;
	struct ring other;

	ASSERT_EQ(0, sparse(self->r, ROOM));
	for (i = 0; i < nr; i++)
		ASSERT_EQ(1, update(self->r, i, self->mem + 4096 * i, 1));
	EXPECT_EQ(-ENOMEM, update(self->r, nr, self->mem, 1));
	/* The old one is paid for until the new one is there. */
	EXPECT_EQ(-ENOMEM, update(self->r, 0, self->mem, 1));
	EXPECT_EQ(1, update(self->r, 0, NULL, 0));
	EXPECT_EQ(1, update(self->r, nr, self->mem, 1));
	EXPECT_EQ(-ENOMEM, update(self->r, 0, self->mem, 1));
	/* It is the user who pays, whichever the ring. */
	EXPECT_EQ(0, unreg(self->r));
	ASSERT_EQ(0, reg(self->r, self->mem, nr - 20));
	ASSERT_EQ(0, ring_init(&other, variant->backend, 8, 0));
	EXPECT_EQ(-ENOMEM, reg(&other, self->mem, 21));
	EXPECT_EQ(0, unreg(self->r));
	EXPECT_EQ(0, reg(&other, self->mem, 21));
	/* A page that is only touched counts as a whole one. */
	EXPECT_EQ(0, unreg(&other));
	EXPECT_EQ(-ENOMEM, reg(&other, self->mem + 4095, nr));
	ring_exit(&other);
}

TEST_F(fixedbuf_memory, limit_in_flight)
{
	unsigned long nr = room(self->r, self->mem);
	int p[2];

	ASSERT_EQ(0, pipe(p));
	ASSERT_EQ(0, reg(self->r, self->mem, nr));
	prep(&self->io, IORING_OP_READ_FIXED, p[0], self->mem, 10, 0);
	ASSERT_EQ(1, ring_submit(self->r, 0));
	EXPECT_EQ(0, unreg(self->r));
	EXPECT_EQ(-ENOMEM, reg(self->r, self->mem, 1));
	ASSERT_EQ(10, write(p[1], "0123456789", 10));
	EXPECT_EQ(10, wait_result(&self->io));
	EXPECT_EQ(nr, room(self->r, self->mem));
}

TEST_F(fixedbuf_memory, pinned)
{
	long before = pinned();
	struct ring other;

	ASSERT_LE(0, before);
	ASSERT_EQ(0, reg(self->r, self->mem, 10));
	EXPECT_EQ(before + 10, pinned());
	EXPECT_EQ(0, unreg(self->r));
	EXPECT_EQ(before, pinned());
	ASSERT_EQ(0, sparse(self->r, 3));
	EXPECT_EQ(before, pinned());
	EXPECT_EQ(1, update(self->r, 2, self->mem, 7));
	EXPECT_EQ(1, update(self->r, 1, self->mem + 4095, 1));
	EXPECT_EQ(before + 9, pinned());
	EXPECT_EQ(1, update(self->r, 2, NULL, 0));
	EXPECT_EQ(before + 2, pinned());
	EXPECT_EQ(-ENOMEM, update(self->r, 2, self->mem, PAGES));
	EXPECT_EQ(before + 2, pinned());
	EXPECT_EQ(0, unreg(self->r));
	EXPECT_EQ(before, pinned());
	/* Who may lock as much as he likes is not counted. */
	ASSERT_EQ(0, setresuid(0, 0, 0));
	ASSERT_EQ(0, ring_init(&other, variant->backend, 8, 0));
	before = pinned();
	set_memlock(1);
	ASSERT_EQ(0, reg(&other, self->mem, 10));
	EXPECT_EQ(before, pinned());
	EXPECT_EQ(0, unreg(&other));
	EXPECT_EQ(before, pinned());
	ring_exit(&other);
}

/* Two huge pages, or NULL. */
static char *huge(bool transparent)
{
	char *p;
	FILE *f;

	if (transparent) {
		char *at, line[256];
		unsigned long kb = 0, got = 0;

		p = pages(3 * HUGE);
		at = (char *)(((unsigned long)p + HUGE - 1) & ~(HUGE - 1));
		madvise(at, 2 * HUGE, MADV_HUGEPAGE);
		memset(at, 1, 2 * HUGE);
		f = fopen("/proc/self/smaps", "re");
		while (fgets(line, sizeof(line), f))
			if (sscanf(line, "AnonHugePages: %lu kB", &kb) == 1)
				got += kb;
		fclose(f);
		return got >= 4096 ? at : NULL;
	}
	f = fopen("/proc/sys/vm/nr_hugepages", "we");
	if (!f)
		return NULL;
	fprintf(f, "4\n");
	fclose(f);
	p = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void count_huge(struct __test_metadata *_metadata, struct ring *r, char *p)
{
	long before;

	set_memlock(4 * HUGE / 4096);
	before = pinned();
	/* A byte of it costs all of it, once. */
	ASSERT_EQ(0, sparse(r, 8));
	EXPECT_EQ(1, update(r, 0, p, 1));
	EXPECT_EQ(before + 512, pinned());
	EXPECT_EQ(1, update(r, 1, p + 4096, 2));
	EXPECT_EQ(1, update(r, 2, p, 512));
	EXPECT_EQ(before + 512, pinned());
	EXPECT_EQ(1, update(r, 3, p + HUGE - 4096, 2));
	EXPECT_EQ(before + 1024, pinned());
	EXPECT_EQ(1, update(r, 0, NULL, 0));
	EXPECT_EQ(1, update(r, 1, NULL, 0));
	EXPECT_EQ(1, update(r, 2, NULL, 0));
	EXPECT_EQ(before + 1024, pinned());
	EXPECT_EQ(1, update(r, 3, NULL, 0));
	EXPECT_EQ(before, pinned());
	/* The limit. */
	set_memlock(700);
	EXPECT_EQ(1, update(r, 0, p, 1));
	EXPECT_EQ(1, update(r, 1, p, 2));
	EXPECT_EQ(-ENOMEM, update(r, 2, p, 513));
	EXPECT_EQ(before + 512, pinned());
	EXPECT_EQ(0, unreg(r));
	EXPECT_EQ(before, pinned());
	set_memlock(500);
	EXPECT_EQ(-ENOMEM, reg(r, p, 1));
	EXPECT_EQ(before, pinned());
	set_memlock(4 * HUGE / 4096);
}

static void use_huge(struct __test_metadata *_metadata, struct io *io, char *p)
{
	static const unsigned int at[][2] = {
		{ 0, 100000 }, { 5, 4096 }, { HUGE - 4096, 8192 }, { HUGE - 5, 10 },
		{ HUGE, 4096 }, { 4097, 2 * HUGE - 20000 }, { 2 * HUGE - 8193, 1 },
	};
	char *twin = pages(2 * HUGE);
	unsigned int i, begin, off, len;
	int fd = new_file(0, 0);

	ASSERT_LE(0, fd);
	fill(twin, 2 * HUGE, 3);
	memcpy(p, twin, 2 * HUGE);
	/* From the beginning of a page, from within one, and not up to the end of one. */
	for (begin = 0; begin < 3; begin++) {
		struct iovec iov = { p + 4100 * begin, 2 * HUGE - 8200 };

		ASSERT_EQ(0, ring_register(&io->r, IORING_REGISTER_BUFFERS, &iov, 1));
		for (i = 0; i < ARRAY_SIZE(at); i++) {
			off = at[i][0] + 4100 * begin;
			len = at[i][1];
			if (off + len > 4100 * begin + iov.iov_len) {
				EXPECT_EQ(-EFAULT, one(io, IORING_OP_WRITE_FIXED, fd, p + off, len,
						       0));
				continue;
			}
			ASSERT_EQ(len, one(io, IORING_OP_WRITE_FIXED, fd, p + off, len, 0));
			ASSERT_EQ(len, pread(fd, twin, len, 0));
			EXPECT_EQ(0, memcmp(twin, p + off, len));
			fill(twin, len, i);
			ASSERT_EQ(len, pwrite(fd, twin, len, 0));
			ASSERT_EQ(len, one(io, IORING_OP_READ_FIXED, fd, p + off, len, 0));
			EXPECT_EQ(0, memcmp(twin, p + off, len));
		}
		ASSERT_EQ(0, unreg(&io->r));
	}
	close(fd);
}

TEST_F(fixedbuf_memory, huge_pages)
{
	char *p;

	ASSERT_EQ(0, seteuid(0));
	p = huge(false);
	ASSERT_EQ(0, seteuid(self->uid));
	if (!p)
		SKIP(return, "no huge pages");
	count_huge(_metadata, self->r, p);
	use_huge(_metadata, &self->io, p);
}

TEST_F(fixedbuf_memory, transparent_huge_pages)
{
	char *p = huge(true);

	if (!p)
		SKIP(return, "no transparent huge pages");
	count_huge(_metadata, self->r, p);
	use_huge(_metadata, &self->io, p);
}

FILES_MAIN
