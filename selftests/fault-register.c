// SPDX-License-Identifier: GPL-2.0
/* Every register opcode, with every allocation and copy failing. */
#include "fault.h"

static int undo(struct scene *s, int ret, unsigned int opcode)
{
	return ret < 0 ? 0 : ring_register(&s->r, opcode, NULL, 0);
}

static int unregister_buffers(struct scene *s, int ret)
{
	return undo(s, ret, IORING_UNREGISTER_BUFFERS);
}

static int unregister_files(struct scene *s, int ret)
{
	return undo(s, ret, IORING_UNREGISTER_FILES);
}

static int unregister_eventfd(struct scene *s, int ret)
{
	return undo(s, ret, IORING_UNREGISTER_EVENTFD);
}

static int buffers(struct scene *s)
{
	struct iovec iov[3] = { { s->memory, 5 * PAGE }, {}, { s->memory + PAGE + 10, 100 } };

	return ring_register(&s->r, IORING_REGISTER_BUFFERS, iov, 3);
}

static int rsrc(struct scene *s, unsigned int opcode, const void *data, unsigned int nr)
{
	static const uint64_t tags[2];
	struct io_uring_rsrc_register arg = {
		.nr = nr, .data = (unsigned long)data, .tags = data ? (unsigned long)tags : 0,
		.flags = data ? 0 : IORING_RSRC_REGISTER_SPARSE,
	};

	return ring_register(&s->r, opcode, &arg, sizeof(arg));
}

static int buffers2(struct scene *s)
{
	struct iovec iov[2] = { { s->memory, PAGE }, { s->memory + PAGE, PAGE } };

	return rsrc(s, IORING_REGISTER_BUFFERS2, iov, 2);
}

static int buffers_sparse(struct scene *s)
{
	return rsrc(s, IORING_REGISTER_BUFFERS2, NULL, 100);
}

static int update2(struct scene *s, unsigned int opcode, const void *data)
{
	static const uint64_t tags[2];
	struct io_uring_rsrc_update2 arg = {
		.nr = 2, .data = (unsigned long)data, .tags = (unsigned long)tags,
	};

	return ring_register(&s->r, opcode, &arg, sizeof(arg));
}

static int buffers_update(struct scene *s)
{
	struct iovec iov[2] = { { s->memory, PAGE }, { s->memory + PAGE, PAGE } };

	return update2(s, IORING_REGISTER_BUFFERS_UPDATE, iov);
}

static int drop_buffers(struct scene *s, int ret)
{
	return ring_register(&s->r, IORING_UNREGISTER_BUFFERS, NULL, 0);
}

static int files(struct scene *s)
{
	int fds[3] = { s->event, -1, s->file };

	return ring_register(&s->r, IORING_REGISTER_FILES, fds, 3);
}

static int files2(struct scene *s)
{
	int fds[2] = { s->event, s->file };

	return rsrc(s, IORING_REGISTER_FILES2, fds, 2);
}

static int files_sparse(struct scene *s)
{
	return rsrc(s, IORING_REGISTER_FILES2, NULL, 100);
}

static int files_update(struct scene *s)
{
	int fds[2] = { s->file, s->event };

	return update2(s, IORING_REGISTER_FILES_UPDATE2, fds);
}

static int drop_files(struct scene *s, int ret)
{
	return ring_register(&s->r, IORING_UNREGISTER_FILES, NULL, 0);
}

static int alloc_range(struct scene *s)
{
	struct io_uring_file_index_range range = { .off = 1, .len = 50 };

	return ring_register(&s->r, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0);
}

/* Onto itself, over what is there. */
static int clone(struct scene *s)
{
	struct io_uring_clone_buffers arg = {
		.src_fd = s->r.fd, .flags = IORING_REGISTER_DST_REPLACE,
	};

	return ring_register(&s->r, IORING_REGISTER_CLONE_BUFFERS, &arg, 1);
}

TEST_F_TIMEOUT(fault, resources, 600)
{
	static const struct op ops[] = {
		{ .name = "buffers", .call = buffers, .after = unregister_buffers },
		{ .name = "buffers with tags", .call = buffers2, .after = unregister_buffers },
		{ .name = "no buffers", .call = buffers_sparse, .after = unregister_buffers },
		{ .name = "update of buffers", .call = buffers_update, .want = 2,
		  .before = buffers_sparse, .after = drop_buffers },
		{ .name = "clone", .call = clone, .before = buffers, .after = drop_buffers },
		{ .name = "files", .call = files, .after = unregister_files },
		{ .name = "files with tags", .call = files2, .after = unregister_files },
		{ .name = "no files", .call = files_sparse, .after = unregister_files },
		{ .name = "update of files", .call = files_update, .want = 2,
		  .before = files_sparse, .after = drop_files },
		{ .name = "range", .call = alloc_range, .before = files_sparse,
		  .after = drop_files },
	};
	unsigned int i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		EXPECT_TRUE(try_all(self->nth, variant->backend, &ops[i]));
}

static int event(struct scene *s)
{
	return ring_register(&s->r, IORING_REGISTER_EVENTFD, &s->event, 1);
}

static int event_async(struct scene *s)
{
	return ring_register(&s->r, IORING_REGISTER_EVENTFD_ASYNC, &s->event, 1);
}

static int probe(struct scene *s)
{
	memset(s->memory, 0, PAGE);
	return ring_register(&s->r, IORING_REGISTER_PROBE, s->memory, 64);
}

static int query(struct scene *s)
{
	struct io_uring_query_opcode data = {};
	struct io_uring_query_hdr hdr = {
		.query_data = (unsigned long)&data, .size = sizeof(data),
	};

	return ring_register(&s->r, IORING_REGISTER_QUERY, &hdr, 0);
}

static int personality(struct scene *s)
{
	return ring_register(&s->r, IORING_REGISTER_PERSONALITY, NULL, 0);
}

static int drop_personality(struct scene *s, int ret)
{
	return ret < 0 ? 0 : ring_register(&s->r, IORING_UNREGISTER_PERSONALITY, NULL, ret);
}

static int restrictions(struct scene *s)
{
	struct io_uring_restriction res[2] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP,
		  .register_op = IORING_REGISTER_ENABLE_RINGS },
	};

	return ring_register(&s->r, IORING_REGISTER_RESTRICTIONS, res, 2);
}

static int enable(struct scene *s)
{
	return ring_register(&s->r, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int ring_fd(struct scene *s)
{
	struct io_uring_rsrc_update up = { .offset = 3, .data = s->r.fd };

	return ring_register(&s->r, IORING_REGISTER_RING_FDS, &up, 1);
}

static int drop_ring_fd(struct scene *s, int ret)
{
	struct io_uring_rsrc_update up = { .offset = 3 };

	/* It may be there although its index could not be told. */
	return ring_register(&s->r, IORING_UNREGISTER_RING_FDS, &up, 1) < 0;
}

static int set_clock(struct scene *s)
{
	struct io_uring_clock_register reg = { .clockid = CLOCK_BOOTTIME };

	return ring_register(&s->r, IORING_REGISTER_CLOCK, &reg, 0);
}

static int region(struct scene *s)
{
	struct io_uring_region_desc desc = { .size = 2 * PAGE };
	struct io_uring_mem_region_reg reg = {
		.region_uptr = (unsigned long)&desc, .flags = IORING_MEM_REGION_REG_WAIT_ARG,
	};

	return ring_register(&s->r, IORING_REGISTER_MEM_REGION, &reg, 1);
}

static int user_region(struct scene *s)
{
	struct io_uring_region_desc desc = {
		.size = 2 * PAGE, .user_addr = (unsigned long)s->memory,
		.flags = IORING_MEM_REGION_TYPE_USER,
	};
	struct io_uring_mem_region_reg reg = {
		.region_uptr = (unsigned long)&desc, .flags = IORING_MEM_REGION_REG_WAIT_ARG,
	};

	return ring_register(&s->r, IORING_REGISTER_MEM_REGION, &reg, 1);
}

static int resize(struct scene *s)
{
	struct io_uring_params p = { .sq_entries = 64 };

	return ring_register(&s->r, IORING_REGISTER_RESIZE_RINGS, &p, 1);
}

static int workers(struct scene *s)
{
	unsigned int nr[2] = { 0, 0 };

	return ring_register(&s->r, IORING_REGISTER_IOWQ_MAX_WORKERS, nr, 2);
}

static int pbuf_ring(struct scene *s, unsigned int flags)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (unsigned long)s->memory, .ring_entries = 512, .bgid = 3,
		.flags = flags,
	};

	return ring_register(&s->r, IORING_REGISTER_PBUF_RING, &reg, 1);
}

static int pbuf_user(struct scene *s)
{
	return pbuf_ring(s, 0);
}

static int pbuf_mmap(struct scene *s)
{
	return pbuf_ring(s, IOU_PBUF_RING_MMAP);
}

static int pbuf_unregister(struct scene *s)
{
	struct io_uring_buf_reg reg = { .bgid = 3 };

	return ring_register(&s->r, IORING_UNREGISTER_PBUF_RING, &reg, 1);
}

/* There is one if it was registered, and none else. */
static int drop_pbuf(struct scene *s, int ret)
{
	return pbuf_unregister(s) != (ret ? -ENOENT : 0);
}

static int pbuf_status(struct scene *s)
{
	struct io_uring_buf_status status = { .buf_group = 3 };

	return ring_register(&s->r, IORING_REGISTER_PBUF_STATUS, &status, 1);
}

static int drop_pbuf_after_all(struct scene *s, int ret)
{
	pbuf_unregister(s);
	return 0;
}

static int message(struct scene *s)
{
	return send_msg(s->backend, s->r.fd, 1, 1);
}

static int take_message(struct scene *s, int ret)
{
	return ret < 0 ? 0 : drain(s, 1);
}

TEST_F_TIMEOUT(fault, others, 600)
{
	static const struct op ops[] = {
		{ .name = "eventfd", .call = event, .after = unregister_eventfd },
		{ .name = "eventfd for workers", .call = event_async, .after = unregister_eventfd },
		{ .name = "probe", .call = probe },
		{ .name = "query", .call = query },
		{ .name = "personality", .call = personality, .want = A_DESCRIPTOR,
		  .after = drop_personality },
		{ .name = "restrictions", .call = restrictions, .fresh = true,
		  .flags = IORING_SETUP_R_DISABLED },
		{ .name = "enable", .call = enable, .fresh = true,
		  .flags = IORING_SETUP_R_DISABLED },
		{ .name = "ring fd", .call = ring_fd, .want = 1, .after = drop_ring_fd },
		{ .name = "clock", .call = set_clock },
		{ .name = "region", .call = region, .fresh = true,
		  .flags = IORING_SETUP_R_DISABLED },
		{ .name = "region of ours", .call = user_region, .fresh = true,
		  .flags = IORING_SETUP_R_DISABLED },
		{ .name = "resize", .call = resize, .fresh = true, .flags = DEFER },
		{ .name = "workers", .call = workers },
		{ .name = "ring of buffers", .call = pbuf_user, .after = drop_pbuf },
		{ .name = "ring of buffers to be mapped", .call = pbuf_mmap, .after = drop_pbuf },
		{ .name = "status of buffers", .call = pbuf_status, .before = pbuf_user,
		  .after = drop_pbuf_after_all },
		{ .name = "no ring of buffers", .call = pbuf_unregister, .before = pbuf_user,
		  .after = drop_pbuf_after_all },
		{ .name = "message", .call = message, .after = take_message },
		{ .name = "message, deferring", .call = message, .after = take_message,
		  .flags = DEFER },
	};
	unsigned int i;

	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		EXPECT_TRUE(try_all(self->nth, variant->backend, &ops[i]));
}

TEST_HARNESS_MAIN
