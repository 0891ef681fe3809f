/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * io_uring through a character device.
 *
 * The three ioctls mirror io_uring_setup(2), io_uring_enter(2) and
 * io_uring_register(2): same arguments, same results (as the ioctl's return
 * value, or -1 with errno set). All structures they point to are those of
 * <linux/io_uring.h>. Mappings of a ring file have the same offsets.
 *
 * They can be issued
 *  - on the device: .fd names the ring, or holds a registered index with
 *    IORING_ENTER_REGISTERED_RING or IORING_REGISTER_USE_REGISTERED_RING, or
 *    is -1 for the register opcodes that take no ring;
 *  - on a ring: .fd is that same descriptor, or -1 for "this one".
 *
 * SETUP is for the device only; it returns a new ring descriptor.
 *
 * The structures may grow at their end. A longer one than the module knows is
 * accepted when the rest is zero (else E2BIG).
 */
#ifndef _UAPI_LINUX_RUST_URING_H
#define _UAPI_LINUX_RUST_URING_H

#include <linux/ioctl.h>
#include <linux/time_types.h>
#include <linux/types.h>

#define RUST_URING_DEVICE	"/dev/rust_uring"

struct rust_uring_setup {
	__u32		entries;
	__u32		resv;	/* must be zero */
	__aligned_u64	params;	/* struct io_uring_params * */
};

struct rust_uring_enter {
	__s32		fd;
	__u32		to_submit;
	__u32		min_complete;
	__u32		flags;	/* IORING_ENTER_* */
	__aligned_u64	argp;
	__aligned_u64	argsz;
};

struct rust_uring_register {
	__s32		fd;
	__u32		opcode;	/* IORING_REGISTER_* */
	__aligned_u64	arg;
	__u32		nr_args;
	__u32		resv;	/* must be zero */
};

#define RUST_URING_MAGIC	0xC5

#define RUST_URING_SETUP	_IOW(RUST_URING_MAGIC, 0, struct rust_uring_setup)
#define RUST_URING_ENTER	_IOW(RUST_URING_MAGIC, 1, struct rust_uring_enter)
#define RUST_URING_REGISTER	_IOW(RUST_URING_MAGIC, 2, struct rust_uring_register)

/*
 * ENTER without a structure, on a ring: the argument word itself holds
 * to_submit (24 bits), min_complete (24 bits) and the flags (16 bits), of
 * which those are allowed that need no further argument: GETEVENTS,
 * SQ_WAKEUP, SQ_WAIT and NO_IOWAIT. Only for 64-bit callers.
 */
#define RUST_URING_ENTER_PACKED	_IO(RUST_URING_MAGIC, 3)

#define RUST_URING_PACK_MAX	((1UL << 24) - 1)
#define RUST_URING_PACK(to_submit, min_complete, flags)		\
	((__u64)(to_submit) | (__u64)(min_complete) << 24 |	\
	 (__u64)(flags) << 48)

/*
 * The same call by the shortest way into the kernel: fadvise64(2) with a ring's
 * descriptor, the packed word as the offset, a length of 0, and this advice. It
 * returns the number of SQEs consumed. The result is negative on errors, as of
 * any system call (which posix_fadvise(3) hides: call it by its number).
 *
 * ioctl(2) asks the security modules each time, which costs more than the
 * whole of a small request; io_uring_enter(2) does not ask them either. What a
 * program may do was decided when it opened the device.
 */
#define RUST_URING_ADVICE_ENTER	0xC5

/*
 * Register operations that io_uring does not have.
 *
 * RELEASE lets go of memory: after it has returned 0, no request that was
 * submitted to the ring before reads or writes these addresses any more, and no
 * registered buffer of the ring has them pinned (those that overlap are taken
 * out of the table; their tags are posted). Requests that use the memory are
 * cancelled, and waited for; so is direct I/O on other memory that is under way.
 * The memory of the ring itself is not meant.
 *
 * The argument is one struct rust_uring_release. Returns -ETIME when the time is
 * over before all that is done: then the memory may still be in use, and the
 * call can be repeated.
 */
#define RUST_URING_REGISTER_RELEASE	0x10000

struct rust_uring_release {
	__aligned_u64	addr;	/* with a length of 0: 0, for all memory */
	__aligned_u64	len;
	struct __kernel_timespec timeout;	/* -1, -1: none */
	__u32		flags;	/* must be zero */
	__u32		resv;	/* must be zero */
};

#endif /* _UAPI_LINUX_RUST_URING_H */
