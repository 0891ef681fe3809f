// SPDX-License-Identifier: GPL-2.0
/* REGISTER as such: which opcodes there are, with and without a ring; ENABLE_RINGS. */
#include "uring.h"
#include <pthread.h>
#include "kselftest_harness.h"

#define USE_REGISTERED	IORING_REGISTER_USE_REGISTERED_RING
#define SINGLE		IORING_SETUP_SINGLE_ISSUER
#define DEFER		(SINGLE | IORING_SETUP_DEFER_TASKRUN)

/* What the device has so far. */
static bool on_this_device(unsigned int opcode)
{
	switch (opcode) {
	case IORING_REGISTER_BUFFERS:
	case IORING_UNREGISTER_BUFFERS:
	case IORING_REGISTER_FILES:
	case IORING_UNREGISTER_FILES:
	case IORING_REGISTER_FILES_UPDATE:
	case IORING_REGISTER_FILES2:
	case IORING_REGISTER_FILES_UPDATE2:
	case IORING_REGISTER_BUFFERS2:
	case IORING_REGISTER_BUFFERS_UPDATE:
	case IORING_REGISTER_FILE_ALLOC_RANGE:
	case IORING_REGISTER_CLONE_BUFFERS:
	case IORING_REGISTER_IOWQ_AFF:
	case IORING_UNREGISTER_IOWQ_AFF:
	case IORING_REGISTER_IOWQ_MAX_WORKERS:
	case IORING_REGISTER_EVENTFD:
	case IORING_UNREGISTER_EVENTFD:
	case IORING_REGISTER_EVENTFD_ASYNC:
	case IORING_REGISTER_PROBE:
	case IORING_REGISTER_PERSONALITY:
	case IORING_UNREGISTER_PERSONALITY:
	case IORING_REGISTER_RESTRICTIONS:
	case IORING_REGISTER_ENABLE_RINGS:
	case IORING_REGISTER_RING_FDS:
	case IORING_UNREGISTER_RING_FDS:
	case IORING_REGISTER_CLOCK:
	case IORING_REGISTER_SEND_MSG_RING:
	case IORING_REGISTER_RESIZE_RINGS:
	case IORING_REGISTER_MEM_REGION:
	case IORING_REGISTER_QUERY:
	case IORING_REGISTER_SYNC_CANCEL:
	case IORING_REGISTER_PBUF_RING:
	case IORING_UNREGISTER_PBUF_RING:
	case IORING_REGISTER_PBUF_STATUS:
		return true;
	}
	return false;
}

/* The call as a redirected system call, on the device itself. */
static int register_by_number(enum backend backend, int fd, unsigned int opcode, void *arg,
			      unsigned int nr)
{
	struct rust_uring_register call = {
		.fd = fd,
		.opcode = opcode,
		.arg = (unsigned long)arg,
		.nr_args = nr,
	};

	if (backend == NATIVE)
		return uring_register(NATIVE, fd, opcode, arg, nr);
	return on_device(RUST_URING_REGISTER, &call);
}

FIXTURE(reg) { struct ring r; };
RING_VARIANTS(reg);

FIXTURE_SETUP(reg)
{
	ASSERT_EQ(0, ring_init(&self->r, variant->backend, 8, variant->flags));
}

FIXTURE_TEARDOWN(reg)
{
	ring_exit(&self->r);
}

TEST_F(reg, opcodes_that_do_not_exist)
{
	unsigned int opcodes[] = { IORING_REGISTER_LAST, IORING_REGISTER_LAST + 1, 63, 64, 1000,
		1u << 30, ~USE_REGISTERED, ~0u, USE_REGISTERED | IORING_REGISTER_LAST };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(opcodes); i++) {
		EXPECT_EQ(-EINVAL, ring_register(&self->r, opcodes[i], NULL, 0));
		/* That is found out before anything else. */
		EXPECT_EQ(-EINVAL, register_by_number(variant->backend, -1, opcodes[i], NULL, 0));
		EXPECT_EQ(-EINVAL, register_by_number(variant->backend, -2, opcodes[i], NULL, 0));
		EXPECT_EQ(-EINVAL, register_by_number(variant->backend, 0, opcodes[i], NULL, 0));
	}
}

TEST_F(reg, descriptors)
{
	int file = open("/dev/null", O_RDWR), opcode = IORING_REGISTER_PERSONALITY;
	struct ring other;

	EXPECT_LE(1, register_by_number(variant->backend, self->r.fd, opcode, NULL, 0));
	EXPECT_EQ(-EBADF, register_by_number(variant->backend, -2, opcode, NULL, 0));
	EXPECT_EQ(-EBADF, register_by_number(variant->backend, 4000, opcode, NULL, 0));
	EXPECT_EQ(-EOPNOTSUPP, register_by_number(variant->backend, file, opcode, NULL, 0));
	/* One kind of ring is none for the other. */
	ASSERT_EQ(0, ring_init(&other, variant->backend == NATIVE ? DEVICE : NATIVE, 4, 0));
	EXPECT_EQ(-EOPNOTSUPP, register_by_number(variant->backend, other.fd, opcode, NULL, 0));
	ring_exit(&other);
	close(file);
}

/* Those that the device does not have are refused as by an older kernel, whatever the argument. */
TEST_F(reg, opcodes_of_later_issues)
{
	unsigned int opcode, nr;
	uint64_t words[64] = {};

	for (opcode = 0; opcode < IORING_REGISTER_LAST; opcode++) {
		if (variant->backend == NATIVE || on_this_device(opcode))
			continue;
		for (nr = 0; nr < 3; nr++) {
			EXPECT_EQ(-EINVAL, ring_register(&self->r, opcode, NULL, nr));
			EXPECT_EQ(-EINVAL, ring_register(&self->r, opcode, words, nr));
		}
	}
	/* And this is for those who have no ring. */
	EXPECT_EQ(-EINVAL, ring_register(&self->r, IORING_REGISTER_SEND_MSG_RING, words, 1));
}

/* Arguments that operations without any must not have, and the other way round. */
TEST_F(reg, arguments)
{
	unsigned int none[] = { IORING_UNREGISTER_EVENTFD, IORING_REGISTER_PERSONALITY,
		IORING_REGISTER_ENABLE_RINGS };
	unsigned int one[] = { IORING_REGISTER_RESIZE_RINGS, IORING_REGISTER_MEM_REGION };
	uint64_t words[64] = {};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(none); i++) {
		EXPECT_EQ(-EINVAL, ring_register(&self->r, none[i], words, 0));
		EXPECT_EQ(-EINVAL, ring_register(&self->r, none[i], NULL, 1));
		EXPECT_EQ(-EINVAL, ring_register(&self->r, none[i], words, 1));
	}
	for (i = 0; i < ARRAY_SIZE(one); i++) {
		EXPECT_EQ(-EINVAL, ring_register(&self->r, one[i], NULL, 1));
		EXPECT_EQ(-EINVAL, ring_register(&self->r, one[i], words, 0));
		EXPECT_EQ(-EINVAL, ring_register(&self->r, one[i], words, 2));
	}
}

/* Without a ring: four of them natively, three of which the device has. */
TEST_F(reg, blind)
{
	unsigned int opcode;
	uint64_t words[64] = {};

	for (opcode = 0; opcode < IORING_REGISTER_LAST; opcode++) {
		switch (opcode) {
		case IORING_REGISTER_SEND_MSG_RING:
			EXPECT_EQ(-EINVAL, uring_register(variant->backend, -1, opcode, NULL, 1));
			EXPECT_EQ(-EINVAL, uring_register(variant->backend, -1, opcode, words, 0));
			EXPECT_EQ(-EINVAL, uring_register(variant->backend, -1, opcode, words, 2));
			EXPECT_EQ(-EFAULT, uring_register(variant->backend, -1, opcode, (void *)8,
							  1));
			break;
		case IORING_REGISTER_QUERY:
			EXPECT_EQ(0, uring_register(variant->backend, -1, opcode, NULL, 0));
			break;
		case IORING_REGISTER_RESTRICTIONS:
			EXPECT_EQ(-EINVAL, uring_register(variant->backend, -1, opcode, words, 0));
			break;
		default:
			EXPECT_EQ(-EINVAL, uring_register(variant->backend, -1, opcode, NULL, 0));
			EXPECT_EQ(-EINVAL, uring_register(variant->backend, -1, opcode, words, 0));
		}
	}
	/* -1 is no registered ring either. */
	EXPECT_EQ(-EINVAL, uring_register(variant->backend, -1,
					  IORING_REGISTER_PERSONALITY | USE_REGISTERED, NULL, 0));
	EXPECT_EQ(0, uring_register(variant->backend, -1, IORING_REGISTER_QUERY | USE_REGISTERED,
				    NULL, 0));
}

static void *other_thread(void *arg)
{
	struct ring *r = arg;

	return (void *)(long)ring_register(r, IORING_REGISTER_PERSONALITY, NULL, 0);
}

static int in_other_thread(struct ring *r)
{
	pthread_t thread;
	void *ret;

	if (pthread_create(&thread, NULL, other_thread, r) || pthread_join(thread, &ret))
		return -1000;
	return (long)ret;
}

/* A ring that is bound to a task takes registrations from that one only. */
TEST_F(reg, other_thread)
{
	EXPECT_EQ(1, ring_register(&self->r, IORING_REGISTER_PERSONALITY, NULL, 0));
	EXPECT_EQ(variant->flags & SINGLE ? -EEXIST : 2, in_other_thread(&self->r));
}

TEST_F(reg, enable)
{
	unsigned int flags[] = { 0, SINGLE, DEFER };
	struct ring r;
	int i;

	EXPECT_EQ(-EBADFD, ring_register(&self->r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, ring_init(&r, variant->backend, 8,
				       flags[i] | IORING_SETUP_R_DISABLED));
		EXPECT_EQ(-EBADFD, ring_enter(&r, 0, 0, 0));
		EXPECT_EQ(-EINVAL, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, &r, 0));
		EXPECT_EQ(-EINVAL, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 1));
		EXPECT_EQ(-EBADFD, ring_enter(&r, 0, 0, 0));
		/* As long as it is disabled anybody may prepare it. */
		EXPECT_EQ(1, in_other_thread(&r));
		EXPECT_EQ(0, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
		EXPECT_EQ(-EBADFD, ring_register(&r, IORING_REGISTER_ENABLE_RINGS, NULL, 0));
		EXPECT_EQ(flags[i] ? -EEXIST : 2, in_other_thread(&r));
		ring_nop(&r, 1);
		EXPECT_EQ(1, ring_submit(&r, 1));
		ring_exit(&r);
	}
}

static void *enable_thread(void *arg)
{
	struct ring *r = arg;
	int ret = ring_register(r, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	ring_nop(r, 1);
	return (void *)(long)(ret ?: ring_submit(r, 1));
}

/* Whoever enables the ring is the one it is bound to. */
TEST_F(reg, enabled_by_another)
{
	unsigned int flags[] = { 0, SINGLE, DEFER };
	struct ring r;
	int i;

	for (i = 0; i < 3; i++) {
		pthread_t thread;
		void *ret;

		ASSERT_EQ(0, ring_init(&r, variant->backend, 8,
				       flags[i] | IORING_SETUP_R_DISABLED));
		ASSERT_EQ(0, pthread_create(&thread, NULL, enable_thread, &r));
		ASSERT_EQ(0, pthread_join(thread, &ret));
		EXPECT_EQ(1, (long)ret);
		ring_nop(&r, 1);
		EXPECT_EQ(flags[i] ? -EEXIST : 1, ring_enter(&r, ring_flush(&r), 0, 0));
		EXPECT_EQ(flags[i] ? -EEXIST : 1,
			  ring_register(&r, IORING_REGISTER_PERSONALITY, NULL, 0));
		ring_exit(&r);
	}
}

TEST_HARNESS_MAIN
