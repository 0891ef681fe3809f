// SPDX-License-Identifier: GPL-2.0
/*
 * Copies a tree of files: through /dev/rust_uring, through the kernel's own
 * io_uring, or by read(2) and write(2).
 *
 *	copy rust_uring|io_uring|plain FROM TO
 *
 * The rings are used to the full: files are opened into registered slots,
 * data goes through registered buffers, each read has its write linked to it, and 64
 * such pairs are under way at a time, of one large file or of many small ones.
 */
#define _GNU_SOURCE
#include "ring.h"
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#define DEPTH	64			/* transfers under way */
#define CHUNK	(128 << 10)		/* bytes of each */
#define OPEN	32			/* files under way */

struct file {
	char *from, *to;
	mode_t mode;
	off_t size;
};

/* A file under way. Its slots are 2 * its index, and the next one. */
struct copy {
	const struct file *file;
	off_t next;			/* where the next transfer begins */
	off_t left;			/* bytes that are not written yet */
	unsigned int pending;		/* opens or closes that are under way */
	bool open;
};

/* A transfer: a read, and linked to it a write. */
struct chunk {
	struct copy *copy;
	off_t pos;
	unsigned int len, done;
	unsigned int cut;		/* what a read gave that should have given more */
	bool writing;
};

enum what { CHUNK_READ, CHUNK_WRITTEN, CHUNK_DONE, OPENED, CLOSED };

static const char *from, *to;
static struct file *files;
static size_t nr_files, dirs;
static unsigned long long bytes;
static unsigned long calls;

static struct ring ring;
static struct copy copies[OPEN];
static struct chunk chunks[DEPTH];
static char *memory;

static __u64 tag(enum what what, size_t index)
{
	return (__u64)what << 32 | index;
}

/* Makes directories, and remembers files. */
static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char *there;

	if (asprintf(&there, "%s%s", to, path + strlen(from)) < 0)
		err(1, "memory");
	if (type == FTW_D) {
		if (mkdir(there, (st->st_mode & 07777) | 0700) && errno != EEXIST)
			err(1, "%s", there);
		dirs++;
		free(there);
		return 0;
	}
	if (!S_ISREG(st->st_mode)) {
		free(there);
		return 0;
	}
	if (!(nr_files & (nr_files - 1)))
		files = realloc(files, (nr_files ? 2 * nr_files : 1) * sizeof(*files));
	if (!files)
		err(1, "memory");
	files[nr_files++] = (struct file) { strdup(path), there, st->st_mode & 07777, st->st_size };
	bytes += st->st_size;
	return 0;
}

static void start_file(struct copy *c, const struct file *file)
{
	unsigned int i, index = c - copies;

	*c = (struct copy) { .file = file, .left = file->size, .pending = 2 };
	for (i = 0; i < 2; i++) {
		struct io_uring_sqe *sqe = ring_sqe(&ring, IORING_OP_OPENAT, tag(OPENED, index));

		sqe->fd = AT_FDCWD;
		sqe->addr = (unsigned long)(i ? file->to : file->from);
		sqe->open_flags = i ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY;
		sqe->len = i ? file->mode : 0;
		sqe->file_index = 2 * index + i + 1;
	}
}

static void end_file(struct copy *c)
{
	unsigned int i, index = c - copies;

	c->open = false;
	c->pending = 2;
	for (i = 0; i < 2; i++)
		ring_sqe(&ring, IORING_OP_CLOSE, tag(CLOSED, index))->file_index =
			2 * index + i + 1;
}

/* What is left of a read or of a write. */
static struct io_uring_sqe *transfer(struct chunk *chunk, enum what what)
{
	unsigned int index = chunk - chunks, slot = 2 * (chunk->copy - copies);
	struct io_uring_sqe *sqe;

	sqe = ring_sqe(&ring, chunk->writing ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED,
		       tag(what, index));
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->fd = slot + chunk->writing;
	sqe->addr = (unsigned long)memory + (size_t)index * CHUNK + chunk->done;
	sqe->len = chunk->len - chunk->done;
	sqe->off = chunk->pos + chunk->done;
	sqe->buf_index = 0;
	return sqe;
}

static void start_chunk(struct chunk *chunk, struct copy *c)
{
	off_t left = c->file->size - c->next;

	*chunk = (struct chunk) { .copy = c, .pos = c->next };
	chunk->len = left < CHUNK ? left : CHUNK;
	c->next += chunk->len;
	/* The write begins when the read has succeeded, without us. */
	transfer(chunk, CHUNK_READ)->flags |= IOSQE_IO_LINK;
	chunk->writing = true;
	transfer(chunk, CHUNK_WRITTEN);
}

/* What came of a transfer. Those that were cut short go on, one after the other. */
static void chunk_done(struct chunk *chunk, enum what what, int res)
{
	const struct file *file = chunk->copy->file;

	if (what == CHUNK_READ && res > 0) {
		chunk->cut = (unsigned int)res < chunk->len ? res : 0;
		return;
	}
	if (what == CHUNK_WRITTEN && res == -ECANCELED && chunk->cut) {
		chunk->writing = false;
		res = chunk->cut;
	}
	if (res <= 0) {
		errno = -res;
		err(1, "%s", what != CHUNK_READ && chunk->writing ? file->to : file->from);
	}
	chunk->done += res;
	if (chunk->done == chunk->len && !chunk->writing) {
		chunk->writing = true;
		chunk->done = 0;
	}
	if (chunk->done < chunk->len) {
		transfer(chunk, CHUNK_DONE);
		return;
	}
	chunk->copy->left -= chunk->len;
	chunk->copy = NULL;
}

static void file_done(struct copy *c, enum what what, int res)
{
	if (res < 0) {
		errno = -res;
		err(1, "%s", c->file->from);
	}
	if (--c->pending)
		return;
	if (what == OPENED)
		c->open = true;
	else
		c->file = NULL;
}

/* Fills the SQ with what can be begun. Returns whether there is anything under way. */
static bool begin(size_t *next_file)
{
	unsigned int i, chunk = 0;
	bool busy = false;

	for (i = 0; i < OPEN; i++) {
		struct copy *c = &copies[i];

		if (!c->file && *next_file < nr_files && ring_room(&ring) >= 2)
			start_file(c, &files[(*next_file)++]);
		while (c->open && c->next < c->file->size && ring_room(&ring) >= 2) {
			while (chunk < DEPTH && chunks[chunk].copy)
				chunk++;
			if (chunk == DEPTH)
				break;
			start_chunk(&chunks[chunk], c);
		}
		if (c->open && !c->left && ring_room(&ring) >= 2)
			end_file(c);
		busy |= !!c->file;
	}
	return busy;
}

static void copy_by_ring(bool native)
{
	struct io_uring_rsrc_register slots = {
		.nr = 2 * OPEN, .flags = IORING_RSRC_REGISTER_SPARSE,
	};
	struct iovec all = { .iov_len = (size_t)DEPTH * CHUNK };
	struct io_uring_cqe cqe;
	size_t next_file = 0;

	memory = mmap(NULL, all.iov_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	if (memory == MAP_FAILED)
		err(1, "memory");
	all.iov_base = memory;
	/* Every open file can be opened or closed while every chunk is under way. */
	ring_init(&ring, native, 2 * DEPTH + 2 * OPEN);
	ring_register(&ring, IORING_REGISTER_BUFFERS, &all, 1);
	ring_register(&ring, IORING_REGISTER_FILES2, &slots, sizeof(slots));

	while (begin(&next_file)) {
		ring_submit_and_wait(&ring);
		while (ring_cqe(&ring, &cqe)) {
			enum what what = cqe.user_data >> 32;
			unsigned int index = cqe.user_data;

			if (what == OPENED || what == CLOSED)
				file_done(&copies[index], what, cqe.res);
			else
				chunk_done(&chunks[index], what, cqe.res);
		}
	}
	calls = ring.enters;
	close(ring.fd);
}

static void copy_plainly(void)
{
	char *buf = malloc(CHUNK);
	size_t i;

	for (i = 0; i < nr_files; i++) {
		int in = open(files[i].from, O_RDONLY | O_CLOEXEC);
		int out = open(files[i].to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			       files[i].mode);
		ssize_t nr, done, ret;

		if (in < 0 || out < 0)
			err(1, "%s", files[i].from);
		calls += 4;
		while ((nr = read(in, buf, CHUNK)) > 0) {
			for (done = 0; done < nr; done += ret) {
				ret = write(out, buf + done, nr - done);
				if (ret < 0)
					err(1, "%s", files[i].to);
				calls++;
			}
			calls++;
		}
		if (nr < 0 || close(in) || close(out))
			err(1, "%s", files[i].from);
		calls++;
	}
	free(buf);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	double begin, end;

	if (argc != 4)
		errx(2, "usage: copy rust_uring|io_uring|plain FROM TO");
	from = argv[2];
	to = argv[3];
	umask(0);
	if (nftw(from, visit, 64, FTW_PHYS))
		err(1, "%s", from);

	begin = seconds();
	if (!strcmp(argv[1], "plain"))
		copy_plainly();
	else if (!strcmp(argv[1], "rust_uring") || !strcmp(argv[1], "io_uring"))
		copy_by_ring(!strcmp(argv[1], "io_uring"));
	else
		errx(2, "there is no way called %s", argv[1]);
	end = seconds();
	printf("%-10s %zu files in %zu folders, %llu MiB: %.2f s, %.0f MiB/s, %lu system calls\n",
	       argv[1], nr_files, dirs, bytes >> 20, end - begin, bytes / 1048576.0 / (end - begin),
	       calls);
	return 0;
}
