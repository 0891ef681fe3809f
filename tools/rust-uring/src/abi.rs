// SPDX-License-Identifier: GPL-2.0

//! What `<linux/io_uring.h>` and `<linux/rust_uring.h>` lay out, as far as it is used here.

use libc::c_ulong;

/// `struct io_sqring_offsets`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct SqOffsets {
    pub head: u32,
    pub tail: u32,
    pub ring_mask: u32,
    pub ring_entries: u32,
    pub flags: u32,
    pub dropped: u32,
    pub array: u32,
    pub resv1: u32,
    pub user_addr: u64,
}

/// `struct io_cqring_offsets`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct CqOffsets {
    pub head: u32,
    pub tail: u32,
    pub ring_mask: u32,
    pub ring_entries: u32,
    pub overflow: u32,
    pub cqes: u32,
    pub flags: u32,
    pub resv1: u32,
    pub user_addr: u64,
}

/// `struct io_uring_params`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Params {
    pub sq_entries: u32,
    pub cq_entries: u32,
    pub flags: u32,
    pub sq_thread_cpu: u32,
    pub sq_thread_idle: u32,
    pub features: u32,
    pub wq_fd: u32,
    pub resv: [u32; 3],
    pub sq_off: SqOffsets,
    pub cq_off: CqOffsets,
}

/// `struct io_uring_sqe`, with one name for each of its unions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Sqe {
    /// One of [`op`].
    pub opcode: u8,
    /// `IOSQE_*`
    pub flags: u8,
    /// Priority, or flags of some opcodes.
    pub ioprio: u16,
    /// A descriptor, or a slot with `IOSQE_FIXED_FILE`.
    pub fd: i32,
    /// Offset, `addr2`, and others.
    pub off: u64,
    /// A user address, and others.
    pub addr: u64,
    /// Length at that address.
    pub len: u32,
    /// `rw_flags` and all others of that union.
    pub op_flags: u32,
    /// Comes back in the CQE.
    pub user_data: u64,
    /// Registered buffer, or group of provided buffers.
    pub buf_index: u16,
    /// Personality.
    pub personality: u16,
    /// `splice_fd_in`, `file_index`, and others.
    pub file_index: u32,
    /// `addr3`
    pub addr3: u64,
    /// Zero for most opcodes.
    pub pad: u64,
}

/// `struct io_uring_cqe`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cqe {
    /// Of the SQE.
    pub user_data: u64,
    /// The result; negative: an error.
    pub res: i32,
    /// `IORING_CQE_F_*`
    pub flags: u32,
}

impl Cqe {
    /// The result, or the error.
    pub fn result(&self) -> std::io::Result<u32> {
        u32::try_from(self.res).map_err(|_| std::io::Error::from_raw_os_error(-self.res))
    }
}

const _: () = {
    assert!(size_of::<Params>() == 120);
    assert!(size_of::<Sqe>() == 64);
    assert!(size_of::<Cqe>() == 16);
};

/// Some of `IORING_OP_*`; all others are in [`crate::names::OPS`].
#[allow(missing_docs)]
pub mod op {
    pub const NOP: u8 = 0;
    pub const READV: u8 = 1;
    pub const WRITEV: u8 = 2;
    pub const FSYNC: u8 = 3;
    pub const READ_FIXED: u8 = 4;
    pub const WRITE_FIXED: u8 = 5;
    pub const OPENAT: u8 = 18;
    pub const CLOSE: u8 = 19;
    pub const READ: u8 = 22;
    pub const WRITE: u8 = 23;
}

/// `IORING_SETUP_*`
#[allow(missing_docs)]
pub mod setup {
    pub const IOPOLL: u32 = 1 << 0;
    pub const SQPOLL: u32 = 1 << 1;
    pub const SQ_AFF: u32 = 1 << 2;
    pub const CQSIZE: u32 = 1 << 3;
    pub const CLAMP: u32 = 1 << 4;
    pub const ATTACH_WQ: u32 = 1 << 5;
    pub const R_DISABLED: u32 = 1 << 6;
    pub const SUBMIT_ALL: u32 = 1 << 7;
    pub const COOP_TASKRUN: u32 = 1 << 8;
    pub const TASKRUN_FLAG: u32 = 1 << 9;
    pub const SQE128: u32 = 1 << 10;
    pub const CQE32: u32 = 1 << 11;
    pub const SINGLE_ISSUER: u32 = 1 << 12;
    pub const DEFER_TASKRUN: u32 = 1 << 13;
    pub const NO_MMAP: u32 = 1 << 14;
    pub const REGISTERED_FD_ONLY: u32 = 1 << 15;
    pub const NO_SQARRAY: u32 = 1 << 16;
    pub const HYBRID_IOPOLL: u32 = 1 << 17;
    pub const CQE_MIXED: u32 = 1 << 18;
    pub const SQE_MIXED: u32 = 1 << 19;
    pub const SQ_REWIND: u32 = 1 << 20;
}

/// `IORING_ENTER_*`
#[allow(missing_docs)]
pub mod enter {
    pub const GETEVENTS: u32 = 1 << 0;
    pub const SQ_WAKEUP: u32 = 1 << 1;
    pub const SQ_WAIT: u32 = 1 << 2;
    pub const EXT_ARG: u32 = 1 << 3;
    pub const REGISTERED_RING: u32 = 1 << 4;
    pub const ABS_TIMER: u32 = 1 << 5;
    pub const EXT_ARG_REG: u32 = 1 << 6;
    pub const NO_IOWAIT: u32 = 1 << 7;
}

/// `IOSQE_*`
#[allow(missing_docs)]
pub mod sqe {
    pub const FIXED_FILE: u8 = 1 << 0;
    pub const IO_DRAIN: u8 = 1 << 1;
    pub const IO_LINK: u8 = 1 << 2;
    pub const IO_HARDLINK: u8 = 1 << 3;
    pub const ASYNC: u8 = 1 << 4;
    pub const BUFFER_SELECT: u8 = 1 << 5;
    pub const CQE_SKIP_SUCCESS: u8 = 1 << 6;
}

/// Some of `IORING_REGISTER_*`; all others are in [`crate::names::REGISTER`].
#[allow(missing_docs)]
pub mod register {
    pub const BUFFERS: u32 = 0;
    pub const UNREGISTER_BUFFERS: u32 = 1;
    pub const FILES: u32 = 2;
    pub const UNREGISTER_FILES: u32 = 3;
    pub const EVENTFD: u32 = 4;
    pub const UNREGISTER_EVENTFD: u32 = 5;
    pub const FILES_UPDATE: u32 = 6;
    pub const PROBE: u32 = 8;
    pub const ENABLE_RINGS: u32 = 12;
    pub const FILES2: u32 = 13;
    pub const RING_FDS: u32 = 20;
    pub const QUERY: u32 = 35;
}

/// Offsets for `mmap(2)`.
pub mod offset {
    /// SQ and CQ.
    pub const RINGS: i64 = 0;
    /// SQEs.
    pub const SQES: i64 = 0x1000_0000;
}

/// In the flags of the SQ: the thread of an `SQPOLL` ring sleeps.
pub const SQ_NEED_WAKEUP: u32 = 1 << 0;

/// `struct rust_uring_setup`
#[repr(C)]
pub(crate) struct SetupArg {
    pub(crate) entries: u32,
    pub(crate) resv: u32,
    pub(crate) params: u64,
}

/// `struct rust_uring_enter`
#[repr(C)]
pub(crate) struct EnterArg {
    pub(crate) fd: i32,
    pub(crate) to_submit: u32,
    pub(crate) min_complete: u32,
    pub(crate) flags: u32,
    pub(crate) argp: u64,
    pub(crate) argsz: u64,
}

/// `struct rust_uring_register`
#[repr(C)]
pub(crate) struct RegisterArg {
    pub(crate) fd: i32,
    pub(crate) opcode: u32,
    pub(crate) arg: u64,
    pub(crate) nr_args: u32,
    pub(crate) resv: u32,
}

const fn iow(nr: c_ulong, size: usize) -> c_ulong {
    1 << 30 | (size as c_ulong) << 16 | 0xc5 << 8 | nr
}

/// `RUST_URING_SETUP`
pub(crate) const SETUP: c_ulong = iow(0, size_of::<SetupArg>());
/// `RUST_URING_ENTER`
pub(crate) const ENTER: c_ulong = iow(1, size_of::<EnterArg>());
/// `RUST_URING_REGISTER`
pub(crate) const REGISTER: c_ulong = iow(2, size_of::<RegisterArg>());
/// `RUST_URING_ENTER_PACKED`
pub(crate) const ENTER_PACKED: c_ulong = 0xc5 << 8 | 3;
/// One more than the largest count of a packed enter.
pub(crate) const PACK_LIMIT: u32 = 1 << 24;
/// The flags of a packed enter.
pub(crate) const PACK_FLAGS: u32 =
    enter::GETEVENTS | enter::SQ_WAKEUP | enter::SQ_WAIT | enter::NO_IOWAIT;
