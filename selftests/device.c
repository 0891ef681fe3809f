// SPDX-License-Identifier: GPL-2.0
/* The device alone: its ioctls, their structures, and which descriptor a call is about. */
#include "uring.h"
#include "kselftest_harness.h"

/* A command with another number or size; the type and direction stay. */
#define CMD(nr, size)	_IOC(_IOC_WRITE, RUST_URING_MAGIC, nr, size)

/* Longer than any structure the module knows. */
struct longer {
	union {
		struct rust_uring_setup setup;
		struct rust_uring_enter enter;
		struct rust_uring_register reg;
	};
	char more[4000];
};

FIXTURE(device) {
	struct ring r;
	int dev, other, native;
};

FIXTURE_SETUP(device)
{
	struct io_uring_params p = {};

	self->dev = open(RUST_URING_DEVICE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->dev);
	ASSERT_EQ(0, ring_init(&self->r, DEVICE, 8, 0));
	self->other = uring_setup(DEVICE, 8, &p);
	ASSERT_LE(0, self->other);
	memset(&p, 0, sizeof(p));
	self->native = uring_setup(NATIVE, 8, &p);
	ASSERT_LE(0, self->native);
}

FIXTURE_TEARDOWN(device)
{
	ring_exit(&self->r);
	close(self->dev);
	close(self->other);
	close(self->native);
}

static int call(int fd, unsigned long cmd, void *arg)
{
	return sys_result(ioctl(fd, cmd, arg));
}

TEST_F(device, is_only_for_ioctls)
{
	char c;
	int ro;

	EXPECT_EQ(-EINVAL, sys_result(read(self->dev, &c, 1)));
	EXPECT_EQ(-EINVAL, sys_result(write(self->dev, &c, 1)));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, self->dev, 0));
	EXPECT_EQ(ENODEV, errno);
	/* The permission to open it is all that is asked for. */
	ro = open(RUST_URING_DEVICE, O_RDONLY);
	ASSERT_LE(0, ro);
	EXPECT_EQ(0, call(ro, RUST_URING_ENTER, &(struct rust_uring_enter){ .fd = self->r.fd }));
	close(ro);
}

TEST_F(device, commands)
{
	struct longer arg = {};
	int i, fds[2] = { self->dev, self->r.fd };

	for (i = 0; i < 2; i++) {
		/* Another type, another number. */
		EXPECT_EQ(-ENOTTY, call(fds[i], _IOW('U', 0, struct rust_uring_setup), &arg));
		EXPECT_EQ(-ENOTTY, call(fds[i], _IOW(RUST_URING_MAGIC + 1, 1,
						     struct rust_uring_enter), &arg));
		EXPECT_EQ(-ENOTTY, call(fds[i], CMD(4, sizeof(struct rust_uring_enter)), &arg));
		EXPECT_EQ(-ENOTTY, call(fds[i], CMD(255, sizeof(struct rust_uring_enter)), &arg));
		EXPECT_EQ(-ENOTTY, call(fds[i], 0, &arg));
		EXPECT_EQ(-ENOTTY, call(fds[i], UINT32_MAX, &arg));
	}
	/* What is for the other kind of descriptor. */
	EXPECT_EQ(-ENOTTY, call(self->r.fd, RUST_URING_SETUP, &arg.setup));
	EXPECT_EQ(-ENOTTY, call(self->dev, RUST_URING_ENTER_PACKED, NULL));
	/* And native rings know nothing of all this. */
	EXPECT_EQ(-ENOTTY, call(self->native, RUST_URING_ENTER, &arg.enter));
}

/* How each of the three takes longer, shorter and missing structures. */
static void structures(struct __test_metadata *_metadata, int fd, unsigned int nr, size_t size,
		       struct longer *arg, int good)
{
	size_t longer[] = { size + 1, size + 8, sizeof(*arg) };
	char *bytes = (char *)arg, *edge;
	unsigned int i;
	int ret;

	for (i = 0; i < size; i++)
		ASSERT_EQ(-EINVAL, call(fd, CMD(nr, i), arg));
	for (i = 0; i < ARRAY_SIZE(longer); i++) {
		ret = call(fd, CMD(nr, longer[i]), arg);
		if (good < 0) {
			/* A descriptor. */
			EXPECT_LE(3, ret);
			close(ret);
		} else {
			EXPECT_EQ(good, ret);
		}
		/* A later version may have a meaning for it. */
		bytes[longer[i] - 1] = 1;
		EXPECT_EQ(-E2BIG, call(fd, CMD(nr, longer[i]), arg));
		bytes[longer[i] - 1] = 0;
		bytes[size] = 0x80;
		EXPECT_EQ(-E2BIG, call(fd, CMD(nr, longer[i]), arg));
		bytes[size] = 0;
	}
	EXPECT_EQ(-EFAULT, call(fd, CMD(nr, size), NULL));
	EXPECT_EQ(-EFAULT, call(fd, CMD(nr, size), (void *)0xffff888000000000));
	/* The known part is there, the rest is not. */
	edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, edge);
	ASSERT_EQ(0, munmap(edge + 4096, 4096));
	memcpy(edge + 4096 - size, arg, size);
	EXPECT_EQ(-EFAULT, call(fd, CMD(nr, size + 8), edge + 4096 - size));
	EXPECT_EQ(-EFAULT, call(fd, CMD(nr, size), edge + 4096 - size + 1));
	munmap(edge, 4096);
}

TEST_F(device, setup_structure)
{
	struct io_uring_params p = {};
	struct longer arg = { .setup = { .entries = 4, .params = (unsigned long)&p } };

	EXPECT_EQ(16, sizeof(arg.setup));
	structures(_metadata, self->dev, 0, sizeof(arg.setup), &arg, -1);
	EXPECT_EQ(4, p.sq_entries);
	arg.setup.resv = 1;
	EXPECT_EQ(-EINVAL, call(self->dev, RUST_URING_SETUP, &arg));
	arg.setup.resv = 1u << 31;
	EXPECT_EQ(-EINVAL, call(self->dev, RUST_URING_SETUP, &arg));
}

TEST_F(device, enter_structure)
{
	struct longer arg = { .enter = { .fd = self->r.fd } };

	EXPECT_EQ(32, sizeof(arg.enter));
	structures(_metadata, self->dev, 1, sizeof(arg.enter), &arg, 0);
	structures(_metadata, self->r.fd, 1, sizeof(arg.enter), &arg, 0);
}

TEST_F(device, register_structure)
{
	struct {
		struct io_uring_probe probe;
		struct io_uring_probe_op ops[4];
	} probe = {};
	struct longer arg = {
		.reg = {
			.fd = self->r.fd,
			.opcode = IORING_REGISTER_CLOCK,
			.arg = (unsigned long)&(struct io_uring_clock_register){
				.clockid = CLOCK_MONOTONIC },
		},
	};

	EXPECT_EQ(24, sizeof(arg.reg));
	structures(_metadata, self->dev, 2, sizeof(arg.reg), &arg, 0);
	structures(_metadata, self->r.fd, 2, sizeof(arg.reg), &arg, 0);
	arg.reg.opcode = IORING_REGISTER_PROBE;
	arg.reg.arg = (unsigned long)&probe;
	arg.reg.nr_args = 4;
	EXPECT_EQ(0, call(self->dev, RUST_URING_REGISTER, &arg));
	arg.reg.resv = 1;
	EXPECT_EQ(-EINVAL, call(self->dev, RUST_URING_REGISTER, &arg));
	EXPECT_EQ(-EINVAL, call(self->r.fd, RUST_URING_REGISTER, &arg));
}

TEST_F(device, descriptors)
{
	int path = open("/", O_PATH), gone = dup(0), copy = dup(self->r.fd);
	const struct {
		const char *what;
		int fd, on_device, on_ring;
	} fds[] = {
		{ "the ring", self->r.fd, 0, 0 },
		{ "another descriptor of it", copy, 0, 0 },
		{ "-1", -1, -EBADF, 0 },
		{ "-2", -2, -EBADF, -EBADF },
		{ "another ring", self->other, 0, -EINVAL },
		{ "a native ring", self->native, -EOPNOTSUPP, -EINVAL },
		{ "the device", self->dev, -EOPNOTSUPP, -EINVAL },
		{ "a file", 0, -EOPNOTSUPP, -EINVAL },
		{ "a closed one", gone, -EBADF, -EBADF },
		{ "a path", path, -EBADF, -EBADF },
		{ "one that was never open", 100000, -EBADF, -EBADF },
	};
	unsigned int i;

	close(gone);
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		struct io_uring_clock_register clock = { .clockid = CLOCK_MONOTONIC };
		struct rust_uring_enter enter = { .fd = fds[i].fd };
		struct rust_uring_register reg = {
			.fd = fds[i].fd,
			.opcode = IORING_REGISTER_CLOCK,
			.arg = (unsigned long)&clock,
		};

		EXPECT_EQ(fds[i].on_device, call(self->dev, RUST_URING_ENTER, &enter)) {
			TH_LOG("%s", fds[i].what);
		}
		EXPECT_EQ(fds[i].on_ring, call(self->r.fd, RUST_URING_ENTER, &enter)) {
			TH_LOG("%s", fds[i].what);
		}
		/* -1 on the device is for what takes no ring, and this does. */
		EXPECT_EQ(fds[i].fd == -1 ? -EINVAL : fds[i].on_device,
			  call(self->dev, RUST_URING_REGISTER, &reg)) {
			TH_LOG("%s", fds[i].what);
		}
		EXPECT_EQ(fds[i].on_ring, call(self->r.fd, RUST_URING_REGISTER, &reg)) {
			TH_LOG("%s", fds[i].what);
		}
	}
	close(path);
	close(copy);
}

TEST_F(device, registered_indices)
{
	struct io_uring_rsrc_update update = { .offset = 3, .data = self->other };
	struct rust_uring_enter enter = { .fd = 3, .flags = IORING_ENTER_REGISTERED_RING };

	ASSERT_EQ(1, ring_register(&self->r, IORING_REGISTER_RING_FDS, &update, 1));
	EXPECT_EQ(0, call(self->dev, RUST_URING_ENTER, &enter));
	/* Through any descriptor, as an index says clearly enough what is meant. */
	EXPECT_EQ(0, call(self->r.fd, RUST_URING_ENTER, &enter));
	enter.fd = 4;
	EXPECT_EQ(-EBADF, call(self->dev, RUST_URING_ENTER, &enter));
	EXPECT_EQ(-EBADF, call(self->r.fd, RUST_URING_ENTER, &enter));
	enter.fd = 16;
	EXPECT_EQ(-EINVAL, call(self->dev, RUST_URING_ENTER, &enter));
	enter.fd = -1;
	EXPECT_EQ(-EINVAL, call(self->dev, RUST_URING_ENTER, &enter));
	EXPECT_EQ(-EINVAL, call(self->r.fd, RUST_URING_ENTER, &enter));
}

TEST_F(device, order_of_errors)
{
	/* As natively: unknown flags or opcodes come before bad descriptors. */
	struct rust_uring_enter enter = { .fd = -7, .flags = 1u << 31 };
	struct rust_uring_register reg = { .fd = -7, .opcode = IORING_REGISTER_LAST };

	EXPECT_EQ(-EINVAL, call(self->dev, RUST_URING_ENTER, &enter));
	EXPECT_EQ(-EINVAL, call(self->r.fd, RUST_URING_ENTER, &enter));
	EXPECT_EQ(-EINVAL, call(self->dev, RUST_URING_REGISTER, &reg));
	EXPECT_EQ(-EINVAL, call(self->r.fd, RUST_URING_REGISTER, &reg));
	enter.flags = 0;
	reg.opcode = IORING_REGISTER_PROBE;
	EXPECT_EQ(-EBADF, call(self->dev, RUST_URING_ENTER, &enter));
	EXPECT_EQ(-EBADF, call(self->dev, RUST_URING_REGISTER, &reg));
}

static int packed(int fd, unsigned long to_submit, unsigned long min_complete,
		  unsigned long flags)
{
	return call(fd, RUST_URING_ENTER_PACKED,
		    (void *)RUST_URING_PACK(to_submit, min_complete, flags));
}

TEST_F(device, packed)
{
	struct ring *r = &self->r;
	struct io_uring_cqe cqe;
	int i;

	for (i = 0; i < 5; i++)
		ring_nop(r, i);
	ring_flush(r);
	EXPECT_EQ(0, packed(r->fd, 0, 0, 0));
	EXPECT_EQ(2, packed(r->fd, 2, 0, 0));
	EXPECT_EQ(2, ring_ready(r));
	EXPECT_EQ(3, packed(r->fd, 3, 5, IORING_ENTER_GETEVENTS));
	for (i = 0; i < 5; i++) {
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
	}
	/* As much as fits: no bit of a number runs over into its neighbour. */
	ring_nop(r, 9);
	ring_flush(r);
	EXPECT_EQ(1, packed(r->fd, RUST_URING_PACK_MAX, RUST_URING_PACK_MAX,
			    IORING_ENTER_GETEVENTS));
	ring_seen(r, 1);
	/* Without GETEVENTS nothing waits. */
	EXPECT_EQ(0, packed(r->fd, 0, RUST_URING_PACK_MAX, 0));
	EXPECT_EQ(0, packed(r->fd, 0, 0, IORING_ENTER_GETEVENTS));
}

static int advise(int fd, uint64_t word, uint64_t len, int advice)
{
	return sys_result(syscall(__NR_fadvise64, fd, word, len, advice));
}

TEST_F(device, advice)
{
	struct ring *r = &self->r;
	struct io_uring_cqe cqe;
	int native, i;

	for (i = 0; i < 5; i++)
		ring_nop(r, i);
	ring_flush(r);
	EXPECT_EQ(0, advise(r->fd, RUST_URING_PACK(0, 0, 0), 0, RUST_URING_ADVICE_ENTER));
	EXPECT_EQ(-EINVAL, advise(r->fd, RUST_URING_PACK(1, 0, 0), 1, RUST_URING_ADVICE_ENTER));
	EXPECT_EQ(-EINVAL, advise(r->fd, RUST_URING_PACK(1, 0, IORING_ENTER_EXT_ARG), 0,
				  RUST_URING_ADVICE_ENTER));
	EXPECT_EQ(0, ring_ready(r));
	EXPECT_EQ(5, advise(r->fd, RUST_URING_PACK(5, 5, IORING_ENTER_GETEVENTS), 0,
			    RUST_URING_ADVICE_ENTER));
	for (i = 0; i < 5; i++) {
		ASSERT_TRUE(ring_cqe(r, &cqe));
		EXPECT_EQ(i, cqe.user_data);
	}
	/* Only on a ring; and other advice is what it is for a native one. */
	EXPECT_EQ(-EINVAL, advise(self->dev, 0, 0, RUST_URING_ADVICE_ENTER));
	native = syscall(__NR_io_uring_setup, 4, &(struct io_uring_params){});
	ASSERT_LE(0, native);
	for (i = 0; i < 9; i++)
		EXPECT_EQ(advise(native, 0, 0, i), advise(r->fd, 0, 0, i));
	EXPECT_EQ(advise(native, 0, -1, 0), advise(r->fd, 0, -1, 0));
	close(native);
}

TEST_F(device, packed_flags)
{
	static const struct {
		unsigned int flag;
		int ret;
	} flags[] = {
		{ IORING_ENTER_GETEVENTS, 0 },
		{ IORING_ENTER_SQ_WAKEUP, 0 },
		{ IORING_ENTER_SQ_WAIT, 0 },
		{ IORING_ENTER_NO_IOWAIT, 0 },
		{ IORING_ENTER_EXT_ARG, -EINVAL },
		{ IORING_ENTER_REGISTERED_RING, -EINVAL },
		{ IORING_ENTER_ABS_TIMER, -EINVAL },
		{ IORING_ENTER_EXT_ARG_REG, -EINVAL },
		{ IORING_ENTER_EXT_ARG | IORING_ENTER_EXT_ARG_REG, -EINVAL },
		{ 1 << 8, -EINVAL },
		{ 1 << 15, -EINVAL },
		{ 0xffff, -EINVAL },
	};
	unsigned int i;

	ring_nop(&self->r, 1);
	ring_flush(&self->r);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		EXPECT_EQ(flags[i].ret, packed(self->r.fd, 0, 0, flags[i].flag)) {
			TH_LOG("flags 0x%x", flags[i].flag);
		}
		if (flags[i].ret)
			EXPECT_EQ(flags[i].ret, packed(self->r.fd, 1, 0, flags[i].flag));
	}
	EXPECT_EQ(0, *self->r.sq_head);
	EXPECT_EQ(1, packed(self->r.fd, 1, 1, IORING_ENTER_GETEVENTS | IORING_ENTER_NO_IOWAIT |
			    IORING_ENTER_SQ_WAKEUP | IORING_ENTER_SQ_WAIT));
}

TEST_F(device, packed_on_a_disabled_ring)
{
	struct io_uring_params p = { .flags = IORING_SETUP_R_DISABLED };
	int fd = uring_setup(DEVICE, 8, &p);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EBADFD, packed(fd, 0, 0, 0));
	EXPECT_EQ(-EINVAL, packed(fd, 0, 0, IORING_ENTER_EXT_ARG));
	close(fd);
}

TEST_F(device, ring_needs_no_device)
{
	struct ring *r = &self->r;
	struct io_uring_cqe cqe;

	close(self->dev);
	ring_nop(r, 3);
	EXPECT_EQ(1, ring_submit(r, 1));
	ASSERT_TRUE(ring_cqe(r, &cqe));
	EXPECT_EQ(3, cqe.user_data);
	self->dev = open("/dev/null", O_RDWR);	/* for the teardown */
}

TEST_HARNESS_MAIN
