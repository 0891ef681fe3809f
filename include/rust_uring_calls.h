/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note OR MIT */
/*
 * The three calls of io_uring on /dev/rust_uring, with the arguments and the
 * results of the system calls: -1 and errno on failure.
 *
 * For libraries that make the system calls themselves: where they call
 * io_uring_setup(2) and so on they call these. A ring descriptor is the same
 * thing for mmap(2), poll(2), close(2) and all others.
 *
 *	int dev = rust_uring_open();
 *	int ring = rust_uring_setup(dev, entries, &params);
 *	int nr = rust_uring_enter(dev, ring, to_submit, min_complete, flags, arg, argsz);
 *	int ret = rust_uring_register(dev, ring, opcode, arg, nr_args);
 *
 * The device has to be open for setup, for registered rings (where "ring" is
 * an index), and for register opcodes that take no ring (where it is -1).
 * Otherwise "dev" is not looked at, and can be -1.
 */
#ifndef RUST_URING_CALLS_H
#define RUST_URING_CALLS_H

#include <fcntl.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <linux/io_uring.h>
#include <linux/rust_uring.h>

/* What headers may be too old for: that of Linux 6.1 serves. */
#ifndef IORING_ENTER_NO_IOWAIT
#define IORING_ENTER_NO_IOWAIT	(1U << 7)
#endif

/* The device, or -1: ENOENT without the module, EACCES for those who may not use it. */
static inline int rust_uring_open(void)
{
	return open(RUST_URING_DEVICE, O_RDWR | O_CLOEXEC);
}

/* io_uring_setup(2). */
static inline int rust_uring_setup(int dev, unsigned int entries, struct io_uring_params *p)
{
	struct rust_uring_setup arg = {
		.entries = entries,
		.params = (unsigned long)p,
	};

	return ioctl(dev, RUST_URING_SETUP, &arg);
}

/* io_uring_enter(2), in the shorter form where that serves. */
static inline int rust_uring_enter(int dev, int ring, unsigned int to_submit,
				   unsigned int min_complete, unsigned int flags,
				   const void *argp, size_t argsz)
{
	const unsigned int plain = IORING_ENTER_GETEVENTS | IORING_ENTER_SQ_WAKEUP |
				   IORING_ENTER_SQ_WAIT | IORING_ENTER_NO_IOWAIT;
	struct rust_uring_enter arg = {
		.fd = ring,
		.to_submit = to_submit,
		.min_complete = min_complete,
		.flags = flags,
		.argp = (unsigned long)argp,
		.argsz = argsz,
	};

	if (sizeof(long) == 8 && !argp && !(flags & ~plain) &&
	    to_submit <= RUST_URING_PACK_MAX && min_complete <= RUST_URING_PACK_MAX)
		return ioctl(ring, RUST_URING_ENTER_PACKED,
			     (unsigned long)RUST_URING_PACK(to_submit, min_complete, flags));
	if (flags & IORING_ENTER_REGISTERED_RING)
		return ioctl(dev, RUST_URING_ENTER, &arg);
	return ioctl(ring, RUST_URING_ENTER, &arg);
}

/* io_uring_register(2). */
static inline int rust_uring_register(int dev, int ring, unsigned int opcode, const void *p,
				      unsigned int nr_args)
{
	const unsigned int use_registered_ring = 1U << 31;
	struct rust_uring_register arg = {
		.fd = ring,
		.opcode = opcode,
		.arg = (unsigned long)p,
		.nr_args = nr_args,
	};

	if (ring == -1 || (opcode & use_registered_ring))
		return ioctl(dev, RUST_URING_REGISTER, &arg);
	return ioctl(ring, RUST_URING_REGISTER, &arg);
}

#endif /* RUST_URING_CALLS_H */
