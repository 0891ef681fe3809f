// SPDX-License-Identifier: GPL-2.0
/* Unloading: refused while there are rings, and safe at any other moment. The device alone. */
#include "stress.h"
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include "kselftest_harness.h"

static int unload(void)
{
	return sys_result(syscall(__NR_delete_module, "rust_uring", O_NONBLOCK));
}

static int load(void)
{
	int fd = open(getenv("RUST_URING_KO"), O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = sys_result(syscall(__NR_finit_module, fd, "mode=0666", 0));
	close(fd);
	return ret;
}

/* The node appears with the module, but a system may have its own ideas of how soon. */
static bool device_there(void)
{
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + 20 * SEC;

	while (access(RUST_URING_DEVICE, R_OK | W_OK)) {
		if (now_ns(CLOCK_MONOTONIC) > limit)
			return false;
		usleep(1000);
	}
	return true;
}

FIXTURE(unload) {
	bool in_use;
};

FIXTURE_SETUP(unload)
{
	if (!getenv("RUST_URING_KO"))
		SKIP(return, "RUST_URING_KO does not tell which module to load again");
	self->in_use = module_refs();
	if (self->in_use)
		SKIP(return, "the module is in use");
}

FIXTURE_TEARDOWN(unload)
{
	if (module_refs() < 0)
		EXPECT_EQ(0, load());
}

TEST_F(unload, is_refused_while_there_is_a_ring)
{
	struct ring r;
	int dev;

	ASSERT_EQ(0, ring_init(&r, DEVICE, 8, 0));
	EXPECT_EQ(-EAGAIN, unload());
	/* Its mapping alone will do. */
	close(r.fd);
	EXPECT_EQ(-EAGAIN, unload());
	ring_unmap(&r);

	dev = open(RUST_URING_DEVICE, O_RDWR);
	ASSERT_LE(0, dev);
	EXPECT_EQ(-EAGAIN, unload());
	close(dev);
	EXPECT_TRUE(falls_to(module_refs, 0));
	EXPECT_EQ(0, unload());
	EXPECT_EQ(-1, open(RUST_URING_DEVICE, O_RDWR));
	EXPECT_EQ(-ENOENT, unload());
}

/* Registered is as good as open, and a registration alone is enough. */
TEST_F(unload, is_refused_while_a_ring_is_registered)
{
	struct io_uring_rsrc_update up = { .offset = -1U };
	unsigned int op;
	struct ring r;

	ASSERT_EQ(0, ring_init(&r, DEVICE, 8, 0));
	up.data = r.fd;
	ASSERT_EQ(1, ring_register(&r, IORING_REGISTER_RING_FDS, &up, 1));
	ring_exit(&r);
	EXPECT_EQ(-EAGAIN, unload());
	up.data = 0;
	op = IORING_UNREGISTER_RING_FDS | IORING_REGISTER_USE_REGISTERED_RING;
	ASSERT_EQ(1, uring_register(DEVICE, up.offset, op, &up, 1));
	EXPECT_TRUE(falls_to(module_refs, 0));
	EXPECT_EQ(0, unload());
}

static void *had_one_registered(void *arg)
{
	struct io_uring_rsrc_update up = { .offset = -1U };
	int *pipe_fds = arg;
	struct ring r;
	char c;

	if (ring_init(&r, DEVICE, 8, 0))
		return "no ring";
	up.data = r.fd;
	if (ring_register(&r, IORING_REGISTER_RING_FDS, &up, 1) != 1)
		return "not registered";
	up.data = 0;
	if (ring_register(&r, IORING_UNREGISTER_RING_FDS, &up, 1) != 1)
		return "still registered";
	ring_exit(&r);
	if (write(pipe_fds[1], "x", 1) != 1 || read(pipe_fds[2], &c, 1) != 0)
		return "no pipe";
	return NULL;
}

/* A thread once had a ring registered: its end must not look for the module any more. */
TEST_F(unload, before_the_end_of_a_thread_that_had_one_registered)
{
	int i, again;
	char c;

	for (again = 0; again < 2; again++) {
		int fds[4];
		pthread_t threads[8];
		void *ret;

		ASSERT_EQ(0, pipe(fds));
		ASSERT_EQ(0, pipe(fds + 2));
		for (i = 0; i < 8; i++)
			ASSERT_EQ(0, pthread_create(&threads[i], NULL, had_one_registered, fds));
		for (i = 0; i < 8; i++)
			ASSERT_EQ(1, read(fds[0], &c, 1));
		ASSERT_TRUE(falls_to(module_refs, 0));
		ASSERT_EQ(0, unload());
		/* With the module loaded anew they are strangers to it. */
		if (again) {
			ASSERT_EQ(0, load());
			ASSERT_TRUE(device_there());
		}
		close(fds[3]);
		for (i = 0; i < 8; i++) {
			ASSERT_EQ(0, pthread_join(threads[i], &ret));
			ASSERT_EQ(NULL, ret);
		}
		if (!again) {
			ASSERT_EQ(0, load());
			ASSERT_TRUE(device_there());
		}
		for (i = 0; i < 3; i++)
			close(fds[i]);
	}
}

/* Makes rings that leave as much work behind as possible, again and again. */
static void churn(void)
{
	struct ring r;
	int i, event = eventfd(0, 0);

	for (;;) {
		/* Now and then nobody is there, so that the module can go. */
		usleep(2000);
		if (ring_init(&r, DEVICE, 4, 0)) {
			if (r.fd >= 0)
				_exit(1);
			continue;
		}
		ring_register(&r, IORING_REGISTER_EVENTFD, &event, 1);
		for (i = 0; i < 4; i++)
			ring_nops(&r, 4, 0);
		ring_exit(&r);
	}
}

/* While others keep opening the device; what is on its way down is waited for. */
TEST_F_TIMEOUT(unload, in_the_middle_of_everything, 300)
{
	uint64_t end = stress_end(2);
	unsigned int done = 0;
	pid_t children[2];
	int i, ret;

	for (i = 0; i < 2; i++) {
		children[i] = fork();
		if (!children[i])
			churn();
	}
	/* Several times at least, however slow it is; but it need not succeed at any one time. */
	while (!stress_over(end) || done < 3) {
		ret = unload();
		if (!ret) {
			done++;
			ASSERT_EQ(0, load());
			continue;
		}
		ASSERT_EQ(-EAGAIN, ret);
		usleep(100);
	}
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, waitpid(children[i], NULL, WNOHANG));
		kill(children[i], SIGKILL);
		ASSERT_EQ(children[i], waitpid(children[i], NULL, 0));
	}
	EXPECT_TRUE(falls_to(module_refs, 0));
	TH_LOG("unloaded %u times", done);
}

TEST_HARNESS_MAIN
