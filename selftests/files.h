/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For the tests on files: requests in one line, data that can be recognised,
 * and places to have files in.
 *
 * A program is run with the name of a place: a tmpfs (the default), an ext4
 * in memory, or the block device itself.
 */
#ifndef RUST_URING_SELFTEST_FILES_H
#define RUST_URING_SELFTEST_FILES_H

#include "uring.h"
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* None of the results that a request can have. */
#define NO_RESULT	(-1000000)

/* A ring, and the flags that all SQEs of a test have. */
struct io {
	struct ring r;
	unsigned int sqe_flags;
};

/* Both backends, both kinds of rings, and everything in workers. */
#define IO_VARIANTS(fixture)						\
	FIXTURE_VARIANT(fixture) {					\
		enum backend backend;					\
		unsigned int flags, sqe_flags;				\
	};								\
	FIXTURE_VARIANT_ADD(fixture, device) { .backend = DEVICE };	\
	FIXTURE_VARIANT_ADD(fixture, native) { .backend = NATIVE };	\
	FIXTURE_VARIANT_ADD(fixture, device_async) {			\
		.backend = DEVICE, .sqe_flags = IOSQE_ASYNC };		\
	FIXTURE_VARIANT_ADD(fixture, native_async) {			\
		.backend = NATIVE, .sqe_flags = IOSQE_ASYNC };		\
	FIXTURE_VARIANT_ADD(fixture, device_defer) {			\
		.backend = DEVICE,					\
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };	\
	FIXTURE_VARIANT_ADD(fixture, native_defer) {			\
		.backend = NATIVE,					\
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };	\
	FIXTURE_VARIANT_ADD(fixture, device_sqpoll) {			\
		.backend = DEVICE, .flags = IORING_SETUP_SQPOLL };	\
	FIXTURE_VARIANT_ADD(fixture, native_sqpoll) {			\
		.backend = NATIVE, .flags = IORING_SETUP_SQPOLL }

static __maybe_unused int io_init(struct io *io, enum backend backend, unsigned int entries,
				  unsigned int flags, unsigned int sqe_flags)
{
	io->sqe_flags = sqe_flags;
	return ring_init(&io->r, backend, entries, flags);
}

/* An SQE with what most requests have. */
static __maybe_unused struct io_uring_sqe *prep(struct io *io, int op, int fd, const void *addr,
						unsigned int len, uint64_t off)
{
	struct io_uring_sqe *sqe = ring_sqe(&io->r);

	if (!sqe)
		abort();
	sqe->opcode = op;
	sqe->flags = io->sqe_flags;
	sqe->fd = fd;
	sqe->addr = (unsigned long)addr;
	sqe->len = len;
	sqe->off = off;
	sqe->user_data = 4711;
	return sqe;
}

/* Takes the one CQE that is there or comes, and returns its result. */
static __maybe_unused int wait_result(struct io *io)
{
	struct io_uring_cqe cqe;

	if (!ring_ready(&io->r) && ring_enter(&io->r, 0, 1, IORING_ENTER_GETEVENTS) < 0)
		return NO_RESULT;
	if (!ring_cqe(&io->r, &cqe) || cqe.user_data != 4711 || cqe.flags)
		return NO_RESULT - 1;
	return cqe.res;
}

/* Submits the one request that was prepared, and waits for its result. */
static __maybe_unused int run(struct io *io)
{
	if (ring_submit(&io->r, 1) != 1)
		return NO_RESULT - 2;
	if (ring_ready(&io->r) > 1)
		return NO_RESULT - 3;
	return wait_result(io);
}

/* Prepares, submits, waits. */
static __maybe_unused int one(struct io *io, int op, int fd, const void *addr, unsigned int len,
			      uint64_t off)
{
	prep(io, op, fd, addr, len, off);
	return run(io);
}

/* The tag that was posted, 0 if there is none. */
static __maybe_unused uint64_t tag(struct ring *r)
{
	struct io_uring_cqe cqe;

	ring_enter(r, 0, 0, IORING_ENTER_GETEVENTS);
	if (!ring_cqe(r, &cqe))
		return 0;
	return cqe.res || cqe.flags ? UINT64_MAX : cqe.user_data;
}

/* The same when a request that a worker ran may still hold what the tag is for. */
static __maybe_unused uint64_t tag_soon(struct ring *r)
{
	uint64_t found = 0;
	int i;

	for (i = 0; i < 1000 && !found; i++) {
		found = tag(r);
		if (!found)
			usleep(1000);
	}
	return found;
}

/* Bytes that depend on the seed and on where they are. */
static __maybe_unused void fill(char *p, size_t len, unsigned int seed)
{
	uint64_t state = seed, word = 0;
	size_t i;

	/* Eight bytes at a time: under emulation that is felt. */
	for (i = 0; i < len; i++) {
		if (i % 8 == 0) {
			state = state * 6364136223846793005ull + 1442695040888963407ull;
			word = state ^ state >> 32;
			if (len - i >= 8) {
				memcpy(p + i, &word, 8);
				i += 7;
				continue;
			}
		}
		p[i] = word >> i % 8 * 8;
	}
}

static __maybe_unused void *pages(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

/* So many bytes with nothing behind them that could be used. */
static __maybe_unused char *before_hole(size_t len)
{
	size_t rounded = (len + 4095) & ~4095ul;
	char *p = pages(rounded + 4096);

	if (mprotect(p + rounded, 4096, PROT_NONE))
		abort();
	return p + rounded - len;
}

enum place { TMPFS, EXT4, BLOCK };

static __maybe_unused enum place place;
static __maybe_unused const char *const files_dir = "/tmp/files";
/* The null_blk that keeps its data in memory; it has 64 MiB. */
static __maybe_unused const char *const block_path = "/dev/uring_files";

/* A new file of the place with room for @size bytes of zeroes, or the device. */
static __maybe_unused int new_file(int flags, size_t size)
{
	static unsigned int nr;
	char path[64];
	int fd;

	if (place == BLOCK)
		return open(block_path, O_RDWR | O_CLOEXEC | flags);
	snprintf(path, sizeof(path), "%s/%d.%u", files_dir, getpid(), nr++);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0600);
	if (fd >= 0 && ftruncate(fd, size))
		abort();
	unlink(path);
	return fd;
}

/* Makes a folder of this test's own in the place, and goes there. Returns 0 or a negative errno. */
static __maybe_unused int own_folder(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s.%d", files_dir, name, getpid());
	return mkdir(path, 0777) || chdir(path) ? -errno : 0;
}

static __maybe_unused void put_file(const char *dir, const char *name, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, strlen(text)) < 0) {
		printf("# %s: %s: %m\n", path, text);
		exit(1);
	}
	close(fd);
}

/* The disk has the name of the directory. */
#define NULLB	"/tmp/config/nullb/uring_files"

#ifndef NULLB_DEPTH
#define NULLB_DEPTH	"4"
#endif

static __maybe_unused void null_blk_remove(void)
{
	int fd = open(NULLB "/power", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "0", 1) < 0)
		printf("# null_blk does not go\n");
	close(fd);
	rmdir(NULLB);
}

/* Completions come from a timer's interrupt, as from a device, and it is soon busy. */
static __maybe_unused void null_blk_add(void)
{
	int tries;

	if (system("modprobe -q configfs; modprobe -q null_blk nr_devices=0"))
		printf("# null_blk is built in\n");
	mkdir("/tmp/config", 0700);
	if (mount("config", "/tmp/config", "configfs", 0, NULL) || mkdir(NULLB, 0700)) {
		printf("# no null_blk: %m\n");
		exit(1);
	}
	put_file(NULLB, "memory_backed", "1");
	put_file(NULLB, "size", "64");
	put_file(NULLB, "blocksize", "512");
	put_file(NULLB, "irqmode", "2");
	put_file(NULLB, "hw_queue_depth", NULLB_DEPTH);
	put_file(NULLB, "poll_queues", "1");
#ifdef NULLB_DELAY
	put_file(NULLB, "completion_nsec", NULLB_DELAY);
#endif
	put_file(NULLB, "power", "1");
	for (tries = 0; tries < 1000 && access(block_path, F_OK); tries++)
		usleep(10000);
}

static pid_t files_owner;

static __maybe_unused void files_gone(void)
{
	if (getpid() != files_owner)
		return;
	umount2(files_dir, MNT_DETACH);
	if (place != TMPFS)
		null_blk_remove();
	if (chdir("/"))
		return;
	umount2("/tmp", MNT_DETACH);
}

/* Makes the place, seen by this program only. */
static __maybe_unused void files_init(const char *name)
{
	char text[128];

	place = !strcmp(name, "ext4") ? EXT4 : !strcmp(name, "block") ? BLOCK : TMPFS;
	if (unshare(CLONE_NEWNS) || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmp", "/tmp", "tmpfs", 0, "mode=1777")) {
		printf("# no place: %m\n");
		exit(1);
	}
	mkdir(files_dir, 0777);
	chmod(files_dir, 0777);
	files_owner = getpid();
	atexit(files_gone);
	if (place == TMPFS)
		return;
	null_blk_add();
	if (place == BLOCK)
		return;
	snprintf(text, sizeof(text), "modprobe -q ext4; mkfs.ext4 -q -F %s && mount -t ext4 %s %s",
		 block_path, block_path, files_dir);
	if (system(text)) {
		printf("# no ext4\n");
		exit(1);
	}
	chmod(files_dir, 0777);
}

/* Instead of TEST_HARNESS_MAIN: the first argument may be a place. */
#define FILES_MAIN							\
int main(int argc, char **argv)						\
{									\
	bool named = argc > 1 && argv[1][0] != '-';			\
									\
	files_init(named ? argv[1] : "tmpfs");				\
	return test_harness_run(argc - named, argv + named);		\
}

#endif
