// SPDX-License-Identifier: GPL-2.0
/*
 * What was acknowledged survives a crash of the machine; see scripts/crash.sh.
 *
 *   crash write DIR		writes records, and says of which ones it knows that they are safe
 *   crash check DIR FILE	looks for those that the lines in FILE tell of
 *
 * Several processes write, each through one backend and in one way, to a file of its own. The
 * records of one that asks for nothing to be made safe have to be gone: else the crash was none.
 */
#include "uring.h"
#include <sys/stat.h>
#include <sys/wait.h>

#define RECORD	4096
#define DEPTH	4
#define MAX	1000000

enum how { FSYNC, DATASYNC, DSYNC, DIRECT, NOTHING };

static const struct way {
	const char *name;
	enum backend backend;
	enum how how;
} ways[] = {
	{ "device-fsync", DEVICE, FSYNC }, { "native-fsync", NATIVE, FSYNC },
	{ "device-datasync", DEVICE, DATASYNC }, { "native-datasync", NATIVE, DATASYNC },
	{ "device-dsync", DEVICE, DSYNC }, { "native-dsync", NATIVE, DSYNC },
	{ "device-direct", DEVICE, DIRECT }, { "native-direct", NATIVE, DIRECT },
	{ "device-nothing", DEVICE, NOTHING },
};

#define WAYS	(sizeof(ways) / sizeof(ways[0]))

static void fail(const char *name, const char *what, int res)
{
	printf("# %s: %s: %d\n", name, what, res);
	fflush(stdout);
	_exit(1);
}

/* Each record of each file has a content of its own. */
static void fill_record(char *p, unsigned int way, unsigned int nr)
{
	unsigned int i, seed = nr * 2654435761u + way * 40503u + 1;

	for (i = 0; i < RECORD; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = seed >> 16;
	}
}

static void open_path(char *path, size_t size, const char *dir, const char *name)
{
	snprintf(path, size, "%s/%s", dir, name);
}

/* Writes a few records at a time, and says which ones when all of them are safe. */
static void write_records(const char *dir, unsigned int way)
{
	const struct way *w = &ways[way];
	unsigned int nr, i, made, flags = w->how == DIRECT ? O_DIRECT : 0;
	bool synced = w->how == FSYNC || w->how == DATASYNC;
	struct io_uring_cqe cqe;
	struct io_uring_sqe *sqe;
	char path[256], *buf;
	struct ring r;
	int fd, ret;

	open_path(path, sizeof(path), dir, w->name);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0600);
	ret = fd < 0 ? -errno : ring_init(&r, w->backend, 2 * DEPTH, 0);
	if (ret || posix_memalign((void **)&buf, RECORD, DEPTH * RECORD))
		fail(w->name, "setup", ret);
	for (nr = 0; nr < MAX; nr += DEPTH) {
		char line[128];
		int len;

		for (i = 0, made = 0; i < DEPTH; i++) {
			fill_record(buf + i * RECORD, way, nr + i);
			sqe = ring_sqe(&r);
			sqe->opcode = IORING_OP_WRITE;
			sqe->fd = fd;
			sqe->addr = (unsigned long)(buf + i * RECORD);
			sqe->len = RECORD;
			sqe->off = (uint64_t)(nr + i) * RECORD;
			sqe->user_data = RECORD;
			if (w->how == DSYNC || w->how == DIRECT)
				sqe->rw_flags = RWF_DSYNC;
			if (synced)
				sqe->flags = IOSQE_IO_LINK;
			made++;
		}
		if (synced) {
			sqe = ring_sqe(&r);
			sqe->opcode = IORING_OP_FSYNC;
			sqe->fd = fd;
			sqe->fsync_flags = w->how == DATASYNC ? IORING_FSYNC_DATASYNC : 0;
			made++;
		}
		ret = ring_submit(&r, made);
		if (ret != made)
			fail(w->name, "submit", ret);
		for (i = 0; i < made; i++) {
			if (!ring_ready(&r))
				ring_enter(&r, 0, 1, IORING_ENTER_GETEVENTS);
			if (!ring_cqe(&r, &cqe) || cqe.res != (int)cqe.user_data)
				fail(w->name, "result", cqe.res);
		}
		len = snprintf(line, sizeof(line), "safe %s %u\n", w->name, nr + DEPTH);
		if (write(STDOUT_FILENO, line, len) != len)
			_exit(1);
		/* Something is there to be lost, and not the whole of the memory. */
		if (w->how == NOTHING)
			usleep(100000);
	}
	_exit(0);
}

static int write_all(const char *dir)
{
	unsigned int i;

	for (i = 0; i < WAYS; i++)
		if (!fork())
			write_records(dir, i);
	/* They go on until the machine does not. */
	for (i = 0; i < WAYS; i++)
		wait(NULL);
	return 1;
}

/* How many records of a way are there from the beginning, of those that are to be. */
static unsigned int records(const char *dir, unsigned int way, unsigned int want)
{
	char path[256], is[RECORD], should[RECORD];
	unsigned int nr = 0;
	int fd;

	open_path(path, sizeof(path), dir, ways[way].name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	for (nr = 0; nr < want; nr++) {
		fill_record(should, way, nr);
		if (pread(fd, is, RECORD, (off_t)nr * RECORD) != RECORD ||
		    memcmp(is, should, RECORD))
			break;
	}
	close(fd);
	return nr;
}

static int check_all(const char *dir, const char *told)
{
	unsigned int i, nr, safe[WAYS] = {}, failed = 0;
	FILE *file = fopen(told, "r");
	char line[256], name[64];

	if (!file)
		return 1;
	while (fgets(line, sizeof(line), file)) {
		const char *at = strstr(line, "safe ");

		if (!at || sscanf(at, "safe %63s %u", name, &nr) != 2 || !strchr(at, '\n'))
			continue;
		for (i = 0; i < WAYS; i++)
			if (!strcmp(name, ways[i].name) && nr > safe[i])
				safe[i] = nr;
	}
	fclose(file);
	printf("TAP version 13\n1..%zu\n", WAYS);
	for (i = 0; i < WAYS; i++) {
		unsigned int there = records(dir, i, safe[i]);
		bool ok = safe[i] && (ways[i].how == NOTHING ? there < safe[i] : there == safe[i]);

		printf("# %s: %u records were said to be written, %u are there\n", ways[i].name,
		       safe[i], there);
		printf("%s %u crash.%s\n", ok ? "ok" : "not ok", i + 1, ways[i].name);
		failed += !ok;
	}
	return !!failed;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "write"))
		return write_all(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "check"))
		return check_all(argv[2], argv[3]);
	fprintf(stderr, "usage: crash write DIR | crash check DIR FILE\n");
	return 2;
}
