// SPDX-License-Identifier: GPL-2.0
/*
 * liburing: a program on Debian's liburing, which makes its system calls inline.
 * Copies a file by linked, fixed and vectored requests as far as there are such,
 * and looks at what arrived. Says which kind of ring it had.
 *
 *	liburing FROM TO
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH	8
#define CHUNK	(16 << 10)

static struct io_uring ring;
static char *buffers[DEPTH];

static int wait_one(void)
{
	struct io_uring_cqe *cqe;
	int ret = io_uring_wait_cqe(&ring, &cqe);

	if (ret)
		errx(1, "wait: %s", strerror(-ret));
	ret = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	return ret;
}

static void must(const char *what, int ret)
{
	if (ret < 0)
		errx(1, "%s: %s", what, strerror(-ret));
}

/* Reads or writes so many chunks from this offset on; the last may be short. */
static void transfer(bool write, off_t offset, off_t size, unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
		off_t at = offset + (off_t)i * CHUNK;
		unsigned int len = size - at < CHUNK ? size - at : CHUNK;

		if (!sqe)
			errx(1, "the SQ is full");
		/* Registered files 0 and 1, registered buffers for every other chunk. */
		if (write && i & 1)
			io_uring_prep_write_fixed(sqe, 1, buffers[i], len, at, i);
		else if (write)
			io_uring_prep_write(sqe, 1, buffers[i], len, at);
		else if (i & 1)
			io_uring_prep_read_fixed(sqe, 0, buffers[i], len, at, i);
		else
			io_uring_prep_read(sqe, 0, buffers[i], len, at);
		sqe->flags |= IOSQE_FIXED_FILE;
	}
	must("submit", io_uring_submit_and_wait(&ring, nr));
	for (i = 0; i < nr; i++)
		must(write ? "write" : "read", wait_one());
}

int main(int argc, char **argv)
{
	struct iovec iov[DEPTH];
	struct io_uring_probe *probe;
	char path[32], link[64] = "";
	struct stat st;
	int files[2];
	off_t offset;
	unsigned int i;

	if (argc != 3)
		errx(2, "usage: liburing FROM TO");
	files[0] = open(argv[1], O_RDONLY);
	files[1] = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (files[0] < 0 || files[1] < 0 || fstat(files[0], &st))
		err(1, "%s, %s", argv[1], argv[2]);
	must("setup", io_uring_queue_init(DEPTH, &ring, 0));
	must("register the ring", io_uring_register_ring_fd(&ring));
	probe = io_uring_get_probe_ring(&ring);
	if (!probe || !io_uring_opcode_supported(probe, IORING_OP_READ))
		errx(1, "there is no READ");
	io_uring_free_probe(probe);
	for (i = 0; i < DEPTH; i++) {
		buffers[i] = aligned_alloc(4096, CHUNK);
		iov[i] = (struct iovec) { .iov_base = buffers[i], .iov_len = CHUNK };
	}
	must("register buffers", io_uring_register_buffers(&ring, iov, DEPTH));
	must("register files", io_uring_register_files(&ring, files, 2));

	for (offset = 0; offset < st.st_size; offset += (off_t)DEPTH * CHUNK) {
		unsigned int nr = DEPTH;

		if (st.st_size - offset < (off_t)DEPTH * CHUNK)
			nr = (st.st_size - offset + CHUNK - 1) / CHUNK;
		transfer(false, offset, st.st_size, nr);
		transfer(true, offset, st.st_size, nr);
	}
	io_uring_prep_fsync(io_uring_get_sqe(&ring), files[1], IORING_FSYNC_DATASYNC);
	must("submit", io_uring_submit(&ring));
	must("fsync", wait_one());

	snprintf(path, sizeof(path), "/proc/self/fd/%d", ring.ring_fd);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		err(1, "%s", path);
	puts(link);
	io_uring_queue_exit(&ring);
	return 0;
}
