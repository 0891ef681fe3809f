// SPDX-License-Identifier: GPL-2.0
/* Setup, enter and the other calls on a ring, each with every allocation and copy failing. */
#include "fault.h"

/* Not uring_setup(): opening the device is not what is to fail. */
static int setup_with(struct scene *s, unsigned int entries, unsigned int flags)
{
	struct rust_uring_setup arg = { .entries = entries, .params = (unsigned long)&s->p };

	s->p = (struct io_uring_params) { .flags = flags };
	s->p.cq_off.user_addr = (unsigned long)s->memory;
	s->p.sq_off.user_addr = (unsigned long)s->memory + 8 * PAGE;
	if (!(flags & IORING_SETUP_NO_MMAP)) {
		s->p.cq_off.user_addr = 0;
		s->p.sq_off.user_addr = 0;
	}
	if (s->backend == NATIVE)
		return uring_setup(NATIVE, entries, &s->p);
	return sys_result(ioctl(s->dev, RUST_URING_SETUP, &arg));
}

/* The descriptor varies, the success does not. */
static int setup_plain(struct scene *s)
{
	return setup_with(s, 8, 0);
}

static int setup_large(struct scene *s)
{
	return setup_with(s, 4096, IORING_SETUP_SQE128 | IORING_SETUP_CQE32);
}

static int setup_defer(struct scene *s)
{
	return setup_with(s, 8, DEFER | IORING_SETUP_NO_SQARRAY | IORING_SETUP_R_DISABLED);
}

static int setup_no_mmap(struct scene *s)
{
	return setup_with(s, 64, DEFER | IORING_SETUP_NO_MMAP);
}

static int setup_registered(struct scene *s)
{
	return setup_with(s, 8, IORING_SETUP_NO_MMAP | IORING_SETUP_REGISTERED_FD_ONLY);
}

static int close_it(struct scene *s, int ret)
{
	return ret >= 0 ? sys_result(close(ret)) : 0;
}

static int unregister_it(struct scene *s, int ret)
{
	struct io_uring_rsrc_update up = { .offset = ret };

	if (ret < 0)
		return 0;
	return uring_register(s->backend, ret,
			      IORING_UNREGISTER_RING_FDS | IORING_REGISTER_USE_REGISTERED_RING,
			      &up, 1) - 1;
}

TEST_F_TIMEOUT(fault, in_setup, 300)
{
	static const struct op ops[] = {
		{ .name = "setup", .call = setup_plain, .want = A_DESCRIPTOR, .after = close_it },
		{ .name = "setup, large", .call = setup_large, .want = A_DESCRIPTOR,
		  .after = close_it },
		{ .name = "setup, deferring", .call = setup_defer, .want = A_DESCRIPTOR,
		  .after = close_it },
		{ .name = "setup, in memory of ours", .call = setup_no_mmap, .want = A_DESCRIPTOR,
		  .after = close_it },
		{ .name = "setup, without a descriptor", .call = setup_registered,
		  .after = unregister_it },
	};
	unsigned int i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		EXPECT_TRUE(try_all(self->nth, variant->backend, &ops[i]));
}

static int map_rings(struct scene *s)
{
	char *p = mmap(NULL, s->r.rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, s->r.fd,
		       IORING_OFF_SQ_RING);

	if (p == MAP_FAILED)
		return -errno;
	return munmap(p, s->r.rings_size);
}

static int look_at_it(struct scene *s)
{
	struct pollfd pfd = { .fd = s->r.fd, .events = POLLOUT };

	return sys_result(poll(&pfd, 1, 0));
}

static int add_to_epoll(struct scene *s)
{
	struct epoll_event ev = { .events = EPOLLIN };

	return sys_result(epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->r.fd, &ev));
}

static int del_from_epoll(struct scene *s, int ret)
{
	return ret ? 0 : epoll_ctl(s->epoll, EPOLL_CTL_DEL, s->r.fd, NULL);
}

TEST_F_TIMEOUT(fault, in_file_operations, 300)
{
	static const struct op ops[] = {
		{ .name = "mmap", .call = map_rings },
		{ .name = "poll", .call = look_at_it, .want = 1 },
		{ .name = "poll for the first time", .call = look_at_it, .want = 1, .fresh = true },
		{ .name = "epoll", .call = add_to_epoll, .after = del_from_epoll },
	};
	unsigned int i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		EXPECT_TRUE(try_all(self->nth, variant->backend, &ops[i]));
}

static int eight_nops(struct scene *s)
{
	int i;

	for (i = 0; i < 8; i++)
		if (!ring_nop(&s->r, i))
			return -ENOSPC;
	ring_flush(&s->r);
	return 0;
}

static int submit_eight(struct scene *s)
{
	return ring_enter(&s->r, 8, 0, 0);
}

/* What was not consumed is still there, and goes its way now. */
static int submit_rest(struct scene *s, int ret)
{
	if (ret < 8 && ring_enter(&s->r, 8, 0, 0) != 8 - (ret > 0 ? ret : 0))
		return -EIO;
	return drain(s, 8);
}

/* The CQ is full, so each takes memory of its own or is lost. */
static int sixteen_before(struct scene *s)
{
	if (ring_nops(&s->r, 8, 0) != 8 || ring_nops(&s->r, 8, 0) != 8)
		return -EIO;
	return eight_nops(s);
}

static int submit_rest_of_more(struct scene *s, int ret)
{
	if (ret < 8 && ring_enter(&s->r, 8, 0, 0) != 8 - (ret > 0 ? ret : 0))
		return -EIO;
	return drain(s, 24);
}

static int wait_for_it(struct scene *s)
{
	struct __kernel_timespec ts = { .tv_nsec = 1000 };
	sigset_t mask = {};
	struct io_uring_getevents_arg arg = {
		.ts = (unsigned long)&ts, .sigmask = (unsigned long)&mask, .sigmask_sz = 8,
	};

	return uring_enter_arg(s->backend, s->r.fd, 0, 1,
			       IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof(arg));
}

/* Forty of them are more than the CQ takes; they become CQEs in the call. */
static int forty_messages(struct scene *s)
{
	int i, ret = 0;

	for (i = 0; i < 40 && !ret; i++)
		ret = send_msg(s->backend, s->r.fd, i, 0);
	return ret;
}

static int run_messages(struct scene *s)
{
	return ring_enter(&s->r, 0, 0, IORING_ENTER_GETEVENTS);
}

static int forty_there(struct scene *s, int ret)
{
	return drain(s, 40);
}

static int nop_with_file(struct scene *s)
{
	struct io_uring_sqe *sqe = ring_nop(&s->r, 0);

	sqe->nop_flags = IORING_NOP_FILE | IORING_NOP_TW;
	sqe->fd = s->event;
	ring_flush(&s->r);
	return 0;
}

static int submit_one(struct scene *s)
{
	return ring_enter(&s->r, 1, 0, 0);
}

static int one_there(struct scene *s, int ret)
{
	if (ret < 1 && ring_enter(&s->r, 1, 0, 0) != 1)
		return -EIO;
	return drain(s, 1);
}

static struct io_uring_sqe *request(struct scene *s, unsigned int op, unsigned int flags)
{
	struct io_uring_sqe *sqe = ring_nop(&s->r, 0);

	sqe->opcode = op;
	sqe->fd = s->file;
	sqe->flags = flags;
	sqe->addr = (unsigned long)s->memory;
	sqe->len = PAGE;
	return sqe;
}

static int read_it(struct scene *s)
{
	request(s, IORING_OP_READ, 0);
	ring_flush(&s->r);
	return 0;
}

static int read_in_pieces(struct scene *s)
{
	struct iovec *iov = (void *)(s->memory + 8 * PAGE);
	struct io_uring_sqe *sqe = request(s, IORING_OP_READV, 0);
	int i;

	for (i = 0; i < 20; i++)
		iov[i] = (struct iovec) { s->memory + 100 * i, 100 };
	sqe->addr = (unsigned long)iov;
	sqe->len = 20;
	ring_flush(&s->r);
	return 0;
}

static int write_in_worker(struct scene *s)
{
	request(s, IORING_OP_WRITE, IOSQE_ASYNC);
	ring_flush(&s->r);
	return 0;
}

static int open_it(struct scene *s)
{
	struct io_uring_sqe *sqe = request(s, IORING_OP_OPENAT, 0);

	memcpy(s->memory, "/dev/null", sizeof("/dev/null"));
	sqe->fd = AT_FDCWD;
	sqe->len = 0;
	ring_flush(&s->r);
	return 0;
}

/* A descriptor is closed again; an error is one of those that there may be. */
static int opened(struct scene *s, int ret)
{
	struct io_uring_cqe cqe;
	int i;

	if (ret < 1 && ring_enter(&s->r, 1, 0, 0) != 1)
		return -EIO;
	for (i = 0; i < 5000 && !ring_cqe(&s->r, &cqe); i++) {
		ring_enter(&s->r, 0, 0, IORING_ENTER_GETEVENTS);
		usleep(1000);
	}
	if (i == 5000)
		return -ETIME;
	return cqe.res >= 0 ? close(cqe.res) : cqe.res != -ENOMEM && cqe.res != -EFAULT;
}

TEST_F_TIMEOUT(fault, in_enter, 300)
{
	static const struct op ops[] = {
		{ .name = "the first requests", .call = submit_eight, .want = 8,
		  .before = eight_nops, .after = submit_rest, .fresh = true },
		{ .name = "more requests", .call = submit_eight, .want = 8, .flags = DEFER,
		  .before = eight_nops, .after = submit_rest },
		{ .name = "overflow", .call = submit_eight, .want = 8,
		  .before = sixteen_before, .after = submit_rest_of_more },
		{ .name = "wait", .call = wait_for_it, .want = -ETIME },
		{ .name = "wait, deferring", .call = wait_for_it, .want = -ETIME, .flags = DEFER },
		{ .name = "messages", .call = run_messages, .flags = DEFER,
		  .before = forty_messages, .after = forty_there },
		{ .name = "a file", .call = submit_one, .want = 1,
		  .before = nop_with_file, .after = one_there },
		{ .name = "read", .call = submit_one, .want = 1,
		  .before = read_it, .after = one_there },
		{ .name = "read in pieces", .call = submit_one, .want = 1,
		  .before = read_in_pieces, .after = one_there },
		{ .name = "the first worker", .call = submit_one, .want = 1, .fresh = true,
		  .before = write_in_worker, .after = one_there },
		{ .name = "open", .call = submit_one, .want = 1,
		  .before = open_it, .after = opened },
	};
	unsigned int i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		EXPECT_TRUE(try_all(self->nth, variant->backend, &ops[i]));
}

TEST_HARNESS_MAIN
