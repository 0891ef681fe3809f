// SPDX-License-Identifier: GPL-2.0
/* Processes that are killed in all states of ring use: what they had must be gone, and no more. */
#include "states.h"
#include <dirent.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

#define NR_OTHERS	3

FIXTURE(killed) {
	struct ring others[NR_OTHERS];
	long refs, pins;
};

BACKEND_VARIANTS(killed);

/* One of them is in everybody's hands; the others' messages reach all of them. */
static int make_others(struct ring *others, enum backend backend)
{
	static const unsigned int flags[NR_OTHERS] = { 0, 0, DEFER };
	int i, ret = 0;

	for (i = 0; i < NR_OTHERS && !ret; i++)
		ret = ring_init(&others[i], backend, 8, flags[i]);
	return ret ?: sys_result(madvise(others[1].rings, others[1].rings_size, MADV_DONTFORK));
}

FIXTURE_SETUP(killed)
{
	self->refs = module_refs();
	self->pins = pinned_pages();
	ASSERT_EQ(0, make_others(self->others, variant->backend));
}

/* Without the right to lock any amount, in a process of its own. */
static void limit_locked(unsigned int pages)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct rlimit limit = { pages * PAGE, pages * PAGE };
	struct __user_cap_data_struct data[2];

	MUST(!syscall(__NR_capget, &head, data));
	data[0].effective &= ~(1u << CAP_IPC_LOCK);
	MUST(!syscall(__NR_capset, &head, data));
	MUST(!setrlimit(RLIMIT_MEMLOCK, &limit));
}

/* Whether the user has nothing locked: exactly the limit is to be had. */
static bool nothing_is_charged(enum backend backend)
{
	pid_t child = fork();
	int status;

	if (!child) {
		struct io_uring_region_desc desc = { .size = 16 * PAGE };
		struct io_uring_mem_region_reg reg = { .region_uptr = (unsigned long)&desc };
		struct ring r;

		limit_locked(16);
		MUST(!ring_init(&r, backend, 8, 0));
		MUST(!ring_register(&r, IORING_REGISTER_MEM_REGION, &reg, 1));
		_exit(0);
	}
	return waitpid(child, &status, 0) == child && !status;
}

FIXTURE_TEARDOWN(killed)
{
	int i;

	for (i = 0; i < NR_OTHERS; i++)
		ring_exit(&self->others[i]);
	EXPECT_TRUE(falls_to(module_refs, self->refs));
	EXPECT_TRUE(falls_to(pinned_pages, self->pins));
	/* A ring is gone for its user a moment later than for the module. */
	for (i = 0; i < 1000 && !nothing_is_charged(variant->backend); i++)
		usleep(10000);
	EXPECT_GT(1000, i);
}

/* Starts a process that gets into a state. */
static pid_t start(struct ring *others, enum backend backend, const struct state *state,
		   uint64_t seed)
{
	struct victim v = { .backend = backend, .others = others, .nr_others = NR_OTHERS };
	int fds[2];
	pid_t pid;
	char c;

	if (pipe2(fds, O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		close(fds[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		v.ready = fds[1];
		dice_init(&v.dice, seed);
		limit_locked(512);
		state->enter(&v);
		_exit(1);
	}
	close(fds[1]);
	if (read(fds[0], &c, 1) != 1)
		pid = -1;
	close(fds[0]);
	return pid;
}

/* Kills it. It must not have ended before, and must end now. */
static bool end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid)
		return false;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	printf("# status %x\n", status);
	return false;
}

/*
 * A ring of ours, which the others have under their descriptors, is as good as
 * ever: nothing but our NOP and their messages, and the NOP in finite time.
 */
static int neighbour(struct ring *r, unsigned int i)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 60 * SEC;
	struct io_uring_cqe cqe;

	if (!ring_nop(r, 1000 + i))
		return -ENOSPC;
	if (ring_submit(r, 1) != 1)
		return -EPIPE;
	while (now_ns(CLOCK_MONOTONIC) < limit) {
		while (ring_cqe(r, &cqe)) {
			if (cqe.user_data == 1000 + i)
				return 0;
			if (cqe.user_data != 1 || cqe.res != 2)
				return -EBADMSG;
		}
		/* Their messages may have come first, and may be more than there is room for. */
		if (ring_enter(r, 0, 1, IORING_ENTER_GETEVENTS) < 0)
			return -EIO;
	}
	return -ENOMSG;
}

TEST_F_TIMEOUT(killed, in_each_state, 200)
{
	unsigned int i;

	for (i = 0; i < NR_STATES; i++) {
		pid_t pid = start(self->others, variant->backend, &states[i], i);

		ASSERT_LT(0, pid) TH_LOG("%s", states[i].name);
		if (states[i].sleeps)
			wait_asleep(pid);
		else
			usleep(20000);
		EXPECT_TRUE(end(pid)) TH_LOG("%s", states[i].name);
		ASSERT_EQ(0, neighbour(&self->others[1], i)) TH_LOG("%s", states[i].name);
	}
}

/* Objects in use of one of the general slab caches. */
struct slab {
	char name[64];
	long objects;
};

/* All of them, after what is free was given back. Returns how many there are. */
static int slabs(struct slab *all, int max)
{
	DIR *dir = opendir("/sys/kernel/slab");
	struct dirent *entry;
	char path[512];
	int nr = 0;

	while (dir && nr < max && (entry = readdir(dir))) {
		int fd;

		if (strncmp(entry->d_name, "kmalloc-", 8))
			continue;
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", entry->d_name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (write(fd, "1", 1) != 1)
			perror(path);
		close(fd);
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/objects", entry->d_name);
		snprintf(all[nr].name, sizeof(all[nr].name), "%.63s", entry->d_name);
		all[nr++].objects = read_number(path, NULL);
	}
	if (dir)
		closedir(dir);
	return nr;
}

/* So many processes, some at a time, die in a state and at a moment that the dice tell. */
static int storm(struct ring *others, enum backend backend, struct dice *d, unsigned int nr)
{
	pid_t pids[8] = {};
	unsigned int i, slot;
	int ret;

	for (i = 0; i < nr + 8; i++) {
		slot = i < nr ? dice(d, 8) : i - nr;
		if (pids[slot] && !end(pids[slot]))
			return -1;
		pids[slot] = 0;
		if (i >= nr)
			continue;
		pids[slot] = start(others, backend, &states[dice(d, NR_STATES)], dice_throw(d));
		if (pids[slot] < 0)
			return -2;
		if (dice(d, 2))
			usleep(dice(d, 3000));
		ret = neighbour(&others[1], i);
		if (ret)
			return ret;
	}
	return 0;
}

TEST_F_TIMEOUT(killed, in_random_states, 3000)
{
	unsigned int nr = getenv("STRESS") ? 1000 : 100, round, i;
	uint64_t seed = stress_seed(4711);
	struct slab before[128] = {}, after[128];
	bool grows = true;
	struct dice d;
	int caches;

	TH_LOG("seed %llu, %u processes", (unsigned long long)seed, nr);
	dice_init(&d, seed);
	/*
	 * An object for each process, or every second one, would be a leak. Other
	 * parts of the kernel give and take as well, but not always more. The first
	 * round, a short one, fills caches for good.
	 */
	for (round = 0; round < 6 && grows; round++) {
		ASSERT_EQ(0, storm(self->others, variant->backend, &d, round ? nr : nr / 5));
		/* Messages that wait in the others are no leak, but look like one. */
		for (i = 0; i < NR_OTHERS; i++)
			ring_exit(&self->others[i]);
		EXPECT_TRUE(falls_to(module_refs, self->refs));
		EXPECT_TRUE(falls_to(pinned_pages, self->pins));
		caches = slabs(after, 128);
		ASSERT_EQ(0, make_others(self->others, variant->backend));
		/* Nothing tells when native rings are gone. */
		if (variant->backend == NATIVE)
			return;
		for (i = 0, grows = !round; i < caches; i++) {
			long more = after[i].objects - before[i].objects;

			if (!round || more < nr / 2)
				continue;
			TH_LOG("%s: %+ld", after[i].name, more);
			grows = true;
		}
		memcpy(before, after, sizeof(before));
	}
	EXPECT_FALSE(grows);
}

TEST_HARNESS_MAIN
