/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints of rust_uring: /sys/kernel/tracing/events/rust_uring/ */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM rust_uring

#if !defined(_RUST_URING_EVENTS_H) || defined(TRACE_HEADER_MULTI_READ)
#define _RUST_URING_EVENTS_H

#include <linux/tracepoint.h>

/* A ring was set up: fd is the descriptor, or the registered index. */
TRACE_EVENT(uring_create,
	TP_PROTO(const void *ctx, int fd, u32 sq_entries, u32 cq_entries, u32 flags),
	TP_ARGS(ctx, fd, sq_entries, cq_entries, flags),
	TP_STRUCT__entry(
		__field(const void *, ctx)
		__field(int, fd)
		__field(u32, sq_entries)
		__field(u32, cq_entries)
		__field(u32, flags)
	),
	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->fd = fd;
		__entry->sq_entries = sq_entries;
		__entry->cq_entries = cq_entries;
		__entry->flags = flags;
	),
	TP_printk("ring %p, fd %d sq size %u, cq size %u, flags 0x%x",
		  __entry->ctx, __entry->fd, __entry->sq_entries,
		  __entry->cq_entries, __entry->flags)
);

/* An SQE became a request. */
TRACE_EVENT(uring_submit,
	TP_PROTO(const void *ctx, u64 user_data, u8 opcode, u32 flags),
	TP_ARGS(ctx, user_data, opcode, flags),
	TP_STRUCT__entry(
		__field(const void *, ctx)
		__field(u64, user_data)
		__field(u8, opcode)
		__field(u32, flags)
	),
	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->user_data = user_data;
		__entry->opcode = opcode;
		__entry->flags = flags;
	),
	TP_printk("ring %p, user_data 0x%llx, opcode %u, flags 0x%x",
		  __entry->ctx, __entry->user_data, __entry->opcode, __entry->flags)
);

DECLARE_EVENT_CLASS(uring_cqe,
	TP_PROTO(const void *ctx, u64 user_data, s32 res, u32 cflags),
	TP_ARGS(ctx, user_data, res, cflags),
	TP_STRUCT__entry(
		__field(const void *, ctx)
		__field(u64, user_data)
		__field(s32, res)
		__field(u32, cflags)
	),
	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->user_data = user_data;
		__entry->res = res;
		__entry->cflags = cflags;
	),
	TP_printk("ring %p, user_data 0x%llx, res %d, cflags 0x%x",
		  __entry->ctx, __entry->user_data, __entry->res, __entry->cflags)
);

/* A CQE was written to the CQ. */
DEFINE_EVENT(uring_cqe, uring_complete,
	TP_PROTO(const void *ctx, u64 user_data, s32 res, u32 cflags),
	TP_ARGS(ctx, user_data, res, cflags)
);

/* A CQE found the CQ full: it is kept, or counted as lost. */
DEFINE_EVENT(uring_cqe, uring_overflow,
	TP_PROTO(const void *ctx, u64 user_data, s32 res, u32 cflags),
	TP_ARGS(ctx, user_data, res, cflags)
);

/* A task starts to wait for CQEs. */
TRACE_EVENT(uring_wait,
	TP_PROTO(const void *ctx, u32 min_events),
	TP_ARGS(ctx, min_events),
	TP_STRUCT__entry(
		__field(const void *, ctx)
		__field(u32, min_events)
	),
	TP_fast_assign(
		__entry->ctx = ctx;
		__entry->min_events = min_events;
	),
	TP_printk("ring %p, min_events %u", __entry->ctx, __entry->min_events)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE events
#include <trace/define_trace.h>
