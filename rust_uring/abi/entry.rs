// SPDX-License-Identifier: GPL-2.0

//! The SQE, as a whole and in its parts.

#![forbid(unsafe_code)]

use crate::sys::abi_types as c;
use core::mem::offset_of;
use kernel::prelude::*;

/// A submission queue entry, copied out of the ring before anything looks at it.
///
/// One flat field for each union of `struct io_uring_sqe`, under the union's most telling name.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes)]
pub(crate) struct Sqe {
    /// `IORING_OP_*`.
    pub(crate) opcode: u8,
    /// `IOSQE_*`.
    pub(crate) flags: u8,
    /// I/O priority, or flags of the network opcodes.
    pub(crate) ioprio: u16,
    /// File descriptor, or index of a registered file.
    pub(crate) fd: i32,
    /// Offset in the file; also `addr2`, `cmd_op`.
    pub(crate) off: u64,
    /// User address; also `splice_off_in`, `level` and `optname`.
    pub(crate) addr: u64,
    /// Length in bytes, or number of iovecs.
    pub(crate) len: u32,
    /// The opcode's own flags: `rw_flags`, `nop_flags`, `msg_ring_flags` and so on.
    pub(crate) op_flags: u32,
    /// Handed back in the CQE.
    pub(crate) user_data: u64,
    /// Index of a registered buffer, or `buf_group`.
    pub(crate) buf_index: u16,
    /// Credentials to run with, 0 for the caller's own.
    pub(crate) personality: u16,
    /// `splice_fd_in`, `file_index`, `optlen`, `addr_len`, `write_stream`.
    pub(crate) file_index: u32,
    /// `addr3`, `attr_ptr`, `optval`; the command of a 128-byte SQE begins here.
    pub(crate) addr3: u64,
    /// `attr_type_mask`.
    pub(crate) pad2: u64,
}

static_assert!(size_of::<Sqe>() == size_of::<c::io_uring_sqe>());
static_assert!(offset_of!(Sqe, opcode) == offset_of!(c::io_uring_sqe, opcode));
static_assert!(offset_of!(Sqe, flags) == offset_of!(c::io_uring_sqe, flags));
static_assert!(offset_of!(Sqe, ioprio) == offset_of!(c::io_uring_sqe, ioprio));
static_assert!(offset_of!(Sqe, fd) == offset_of!(c::io_uring_sqe, fd));
static_assert!(offset_of!(Sqe, off) == offset_of!(c::io_uring_sqe, __bindgen_anon_1));
static_assert!(offset_of!(Sqe, addr) == offset_of!(c::io_uring_sqe, __bindgen_anon_2));
static_assert!(offset_of!(Sqe, len) == offset_of!(c::io_uring_sqe, len));
static_assert!(offset_of!(Sqe, op_flags) == offset_of!(c::io_uring_sqe, __bindgen_anon_3));
static_assert!(offset_of!(Sqe, user_data) == offset_of!(c::io_uring_sqe, user_data));
static_assert!(offset_of!(Sqe, buf_index) == offset_of!(c::io_uring_sqe, __bindgen_anon_4));
static_assert!(offset_of!(Sqe, personality) == offset_of!(c::io_uring_sqe, personality));
static_assert!(offset_of!(Sqe, file_index) == offset_of!(c::io_uring_sqe, __bindgen_anon_5));
static_assert!(offset_of!(Sqe, addr3) == offset_of!(c::io_uring_sqe, __bindgen_anon_6));

/// The beginning of an SQE.
#[repr(C)]
#[derive(Clone, Copy, Default, FromBytes, IntoBytes)]
pub(crate) struct SqeHead {
    /// See [`Sqe`], here and below.
    pub(crate) opcode: u8,
    pub(crate) flags: u8,
    pub(crate) ioprio: u16,
    pub(crate) fd: i32,
}

/// What follows the [`SqeHead`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes)]
pub(crate) struct SqeAddresses {
    pub(crate) off: u64,
    pub(crate) addr: u64,
}

/// What follows the [`SqeAddresses`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes)]
pub(crate) struct SqeOptions {
    pub(crate) len: u32,
    pub(crate) op_flags: u32,
}

/// What follows the [`SqeOptions`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes)]
pub(crate) struct SqeNames {
    pub(crate) user_data: u64,
    pub(crate) buf_index: u16,
    pub(crate) personality: u16,
    pub(crate) file_index: u32,
}

/// What follows the [`SqeNames`].
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes)]
pub(crate) struct SqeRest {
    pub(crate) addr3: u64,
    pub(crate) pad2: u64,
}

static_assert!(size_of::<SqeHead>() == offset_of!(Sqe, off));
static_assert!(offset_of!(SqeHead, ioprio) == offset_of!(Sqe, ioprio));
static_assert!(offset_of!(Sqe, off) + size_of::<SqeAddresses>() == offset_of!(Sqe, len));
static_assert!(offset_of!(Sqe, len) + size_of::<SqeOptions>() == offset_of!(Sqe, user_data));
static_assert!(offset_of!(Sqe, user_data) + size_of::<SqeNames>() == offset_of!(Sqe, addr3));
static_assert!(offset_of!(Sqe, addr3) + size_of::<SqeRest>() == size_of::<Sqe>());
