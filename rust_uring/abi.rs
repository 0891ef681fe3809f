// SPDX-License-Identifier: GPL-2.0

//! What user space sees: structures, flags and numbers of the io_uring ABI.
//!
//! The types and constants are generated from [`include/uapi/linux/io_uring.h`] and from our own
//! `include/uapi/linux/rust_uring.h`; this file gives them the names and types that the module
//! works with. [`Sqe`] is written by hand (in `abi/entry.rs`), because the unions of the C structure cannot be read
//! safely; the asserts below hold it to the C layout.
//!
//! [`include/uapi/linux/io_uring.h`]: srctree/include/uapi/linux/io_uring.h

#![forbid(unsafe_code)]

mod entry;

pub(crate) use entry::{
    Sqe,
    SqeAddresses,
    SqeHead,
    SqeNames,
    SqeOptions,
    SqeRest, //
};

use crate::sys::abi_types as c;
use core::mem::offset_of;
use kernel::prelude::*;

pub(crate) use c::{
    io_uring_buf as BufEntry,
    io_uring_buf_reg as BufReg,
    io_uring_buf_status as BufStatus,
    io_uring_clock_register as ClockRegister,
    io_uring_clone_buffers as CloneBuffers,
    io_uring_getevents_arg as GeteventsArg,
    io_uring_mem_region_reg as MemRegionReg,
    io_uring_params as Params,
    io_uring_probe_op as ProbeOp,
    io_uring_query_hdr as QueryHdr,
    io_uring_query_opcode as QueryOpcode,
    io_uring_query_scq as QueryScq,
    io_uring_reg_wait as RegWait,
    io_uring_region_desc as RegionDesc,
    io_uring_rsrc_register as RsrcRegister,
    io_uring_rsrc_update as RsrcUpdate,
    io_uring_rsrc_update2 as RsrcUpdate2,
    io_uring_sync_cancel_reg as SyncCancel,
    open_how as OpenHow,
    rust_uring_enter as EnterArg,
    rust_uring_register as RegisterArg,
    rust_uring_release as ReleaseArg,
    rust_uring_setup as SetupArg, //
};

/// Size of an SQE slot in bytes; rings with `SQE128` use two for each entry.
pub(crate) const SQE_SIZE: usize = 64;

/// Size of a CQE slot in bytes; `CQE32` rings use two for each entry.
pub(crate) const CQE_SIZE: usize = 16;

static_assert!(size_of::<c::io_uring_sqe>() == SQE_SIZE);
static_assert!(size_of::<c::io_uring_cqe>() == CQE_SIZE);

/// Offsets in `struct io_rings`, the header of the ring memory. They are ABI through
/// `struct io_uring_params`.
pub(crate) mod rings {
    use crate::sys::abi_types::{io_rings, io_uring};
    use core::mem::offset_of;

    /// The kernel's side of the SQ.
    pub(crate) const SQ_HEAD: usize = offset_of!(io_rings, sq) + offset_of!(io_uring, head);
    /// The application's side of the SQ.
    pub(crate) const SQ_TAIL: usize = offset_of!(io_rings, sq) + offset_of!(io_uring, tail);
    /// The application's side of the CQ.
    pub(crate) const CQ_HEAD: usize = offset_of!(io_rings, cq) + offset_of!(io_uring, head);
    /// The kernel's side of the CQ.
    pub(crate) const CQ_TAIL: usize = offset_of!(io_rings, cq) + offset_of!(io_uring, tail);
    /// Copy of the SQ mask for the application.
    pub(crate) const SQ_MASK: usize = offset_of!(io_rings, sq_ring_mask);
    /// Copy of the CQ mask for the application.
    pub(crate) const CQ_MASK: usize = offset_of!(io_rings, cq_ring_mask);
    /// Copy of the SQ size for the application.
    pub(crate) const SQ_ENTRIES: usize = offset_of!(io_rings, sq_ring_entries);
    /// Copy of the CQ size for the application.
    pub(crate) const CQ_ENTRIES: usize = offset_of!(io_rings, cq_ring_entries);
    /// Number of SQEs skipped because their index was invalid.
    pub(crate) const SQ_DROPPED: usize = offset_of!(io_rings, sq_dropped);
    /// `IORING_SQ_*`, written by the kernel.
    pub(crate) const SQ_FLAGS: usize = offset_of!(io_rings, sq_flags);
    /// `IORING_CQ_*`, written by the application.
    pub(crate) const CQ_FLAGS: usize = offset_of!(io_rings, cq_flags);
    /// Number of CQEs lost.
    pub(crate) const CQ_OVERFLOW: usize = offset_of!(io_rings, cq_overflow);
    /// The CQEs follow the header.
    pub(crate) const CQES: usize = offset_of!(io_rings, cqes);
    /// Alignment of the header and of the SQ array, `SMP_CACHE_BYTES`.
    pub(crate) const ALIGN: usize = align_of::<io_rings>();
    /// Size of the header.
    pub(crate) const SIZE: usize = size_of::<io_rings>();
}

kernel::impl_flags!(
    /// `io_uring_params.flags`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct SetupFlags(u32);

    /// One of `IORING_SETUP_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum SetupFlag {
        /// Completions are found by polling the device.
        Iopoll = c::IORING_SETUP_IOPOLL,
        /// A kernel thread submits.
        Sqpoll = c::IORING_SETUP_SQPOLL,
        /// That thread stays on one CPU.
        SqAff = c::IORING_SETUP_SQ_AFF,
        /// The application chooses the CQ's size.
        CqSize = c::IORING_SETUP_CQSIZE,
        /// Sizes that are too large become the largest.
        Clamp = c::IORING_SETUP_CLAMP,
        /// Share the SQPOLL thread of another ring.
        AttachWq = c::IORING_SETUP_ATTACH_WQ,
        /// Start disabled, so that restrictions can be registered.
        RDisabled = c::IORING_SETUP_R_DISABLED,
        /// Go on submitting after an SQE that is in error.
        SubmitAll = c::IORING_SETUP_SUBMIT_ALL,
        /// Completions need not interrupt the submitter.
        CoopTaskrun = c::IORING_SETUP_COOP_TASKRUN,
        /// Show in `IORING_SQ_TASKRUN` that completions wait to be run.
        TaskrunFlag = c::IORING_SETUP_TASKRUN_FLAG,
        /// All SQEs have 128 bytes.
        Sqe128 = c::IORING_SETUP_SQE128,
        /// All CQEs have 32 bytes.
        Cqe32 = c::IORING_SETUP_CQE32,
        /// Only one task submits.
        SingleIssuer = c::IORING_SETUP_SINGLE_ISSUER,
        /// Completions run when that task enters to wait, and only then.
        DeferTaskrun = c::IORING_SETUP_DEFER_TASKRUN,
        /// The application provides the memory of the rings.
        NoMmap = c::IORING_SETUP_NO_MMAP,
        /// The ring has a registered index and no descriptor.
        RegisteredFdOnly = c::IORING_SETUP_REGISTERED_FD_ONLY,
        /// SQEs are taken in order, there is no index array.
        NoSqArray = c::IORING_SETUP_NO_SQARRAY,
        /// Sleep before polling.
        HybridIopoll = c::IORING_SETUP_HYBRID_IOPOLL,
        /// CQEs have 16 or 32 bytes.
        CqeMixed = c::IORING_SETUP_CQE_MIXED,
        /// SQEs have 64 or 128 bytes.
        SqeMixed = c::IORING_SETUP_SQE_MIXED,
        /// Every submission starts at the first SQE; the SQ's head and tail are not used.
        SqRewind = c::IORING_SETUP_SQ_REWIND,
    }
);

impl SetupFlags {
    /// Flags that are there: what `IORING_REGISTER_QUERY` tells.
    pub(crate) const SUPPORTED: u32 = Self::all_bits();

    /// Accepts what is supported. `EINVAL` for anything else.
    pub(crate) fn from_user(bits: u32) -> Result<Self> {
        if bits & !Self::SUPPORTED != 0 {
            return Err(EINVAL);
        }
        Ok(Self(bits))
    }

    /// Flags out of the module's own mouth.
    pub(crate) const fn from_known(bits: u32) -> Self {
        Self(bits & Self::all_bits())
    }
}

kernel::impl_flags!(
    /// The flags of `io_uring_enter(2)`.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct EnterFlags(u32);

    /// One of `IORING_ENTER_*`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum EnterFlag {
        /// Wait for CQEs.
        Getevents = c::IORING_ENTER_GETEVENTS,
        /// Wake the SQPOLL thread.
        SqWakeup = c::IORING_ENTER_SQ_WAKEUP,
        /// Wait for room in the SQ of an SQPOLL ring.
        SqWait = c::IORING_ENTER_SQ_WAIT,
        /// `argp` is a `struct io_uring_getevents_arg`.
        ExtArg = c::IORING_ENTER_EXT_ARG,
        /// `fd` is a registered index.
        RegisteredRing = c::IORING_ENTER_REGISTERED_RING,
        /// The timeout is absolute.
        AbsTimer = c::IORING_ENTER_ABS_TIMER,
        /// `argp` is an offset into the registered wait region.
        ExtArgReg = c::IORING_ENTER_EXT_ARG_REG,
        /// Waiting does not count as waiting for I/O.
        NoIowait = c::IORING_ENTER_NO_IOWAIT,
    }
);

impl EnterFlags {
    /// Accepts what is known. `EINVAL` for anything else.
    pub(crate) fn from_user(bits: u32) -> Result<Self> {
        if bits & !Self::all_bits() != 0 {
            return Err(EINVAL);
        }
        Ok(Self(bits))
    }
}

/// `IOSQE_*`, the flags that every SQE can have.
pub(crate) mod sqe {
    pub(crate) const FIXED_FILE: u8 = 1 << 0;
    pub(crate) const IO_DRAIN: u8 = 1 << 1;
    pub(crate) const IO_LINK: u8 = 1 << 2;
    pub(crate) const IO_HARDLINK: u8 = 1 << 3;
    pub(crate) const ASYNC: u8 = 1 << 4;
    pub(crate) const BUFFER_SELECT: u8 = 1 << 5;
    pub(crate) const CQE_SKIP_SUCCESS: u8 = 1 << 6;

    /// The next request is linked to it.
    pub(crate) const LINKS: u8 = IO_LINK | IO_HARDLINK;

    /// Flags that are there.
    pub(crate) const SUPPORTED: u8 =
        FIXED_FILE | IO_DRAIN | LINKS | ASYNC | BUFFER_SELECT | CQE_SKIP_SUCCESS;
}

static_assert!(sqe::FIXED_FILE as u32 == 1 << c::io_uring_sqe_flags_bit_IOSQE_FIXED_FILE_BIT);
static_assert!(sqe::IO_DRAIN as u32 == 1 << c::io_uring_sqe_flags_bit_IOSQE_IO_DRAIN_BIT);
static_assert!(sqe::IO_LINK as u32 == 1 << c::io_uring_sqe_flags_bit_IOSQE_IO_LINK_BIT);
static_assert!(sqe::IO_HARDLINK as u32 == 1 << c::io_uring_sqe_flags_bit_IOSQE_IO_HARDLINK_BIT);
static_assert!(sqe::ASYNC as u32 == 1 << c::io_uring_sqe_flags_bit_IOSQE_ASYNC_BIT);
static_assert!(sqe::BUFFER_SELECT as u32 == 1 << c::io_uring_sqe_flags_bit_IOSQE_BUFFER_SELECT_BIT);
static_assert!(
    sqe::CQE_SKIP_SUCCESS as u32 == 1 << c::io_uring_sqe_flags_bit_IOSQE_CQE_SKIP_SUCCESS_BIT
);

/// `IORING_CQE_F_*`.
pub(crate) mod cqe {
    use crate::sys::abi_types as c;

    /// The upper half of the flags is the number of a provided buffer.
    pub(crate) const BUFFER: u32 = c::IORING_CQE_F_BUFFER;
    /// More CQEs of the same request will come.
    pub(crate) const MORE: u32 = c::IORING_CQE_F_MORE;
    /// More of the same buffer will be used.
    pub(crate) const BUF_MORE: u32 = c::IORING_CQE_F_BUF_MORE;
    /// Where the number of the buffer begins.
    pub(crate) const BUFFER_SHIFT: u32 = c::IORING_CQE_BUFFER_SHIFT;
    /// A filler that the application must skip.
    pub(crate) const SKIP: u32 = c::IORING_CQE_F_SKIP;
    /// A 32-byte CQE in a ring with CQEs of both sizes.
    pub(crate) const BIG: u32 = c::IORING_CQE_F_32;
}

/// `IORING_SQ_*`, the SQ's flag word.
pub(crate) mod sq_flags {
    use crate::sys::abi_types as c;

    pub(crate) const NEED_WAKEUP: u32 = c::IORING_SQ_NEED_WAKEUP;
    pub(crate) const CQ_OVERFLOW: u32 = c::IORING_SQ_CQ_OVERFLOW;
    pub(crate) const TASKRUN: u32 = c::IORING_SQ_TASKRUN;
}

/// `IORING_CQ_EVENTFD_DISABLED`, the only flag of the CQ's flag word.
pub(crate) const CQ_EVENTFD_DISABLED: u32 = c::IORING_CQ_EVENTFD_DISABLED;

/// `IORING_FEAT_NATIVE_WORKERS`: that workers are threads of the process.
pub(crate) const NATIVE_WORKERS: u32 = c::IORING_FEAT_NATIVE_WORKERS;

/// `IORING_FEAT_LINKED_FILE`: that the file of a request in a chain is looked for when it is its turn.
pub(crate) const LINKED_FILE: u32 = c::IORING_FEAT_LINKED_FILE;

/// `IORING_FEAT_SQPOLL_NONFIXED`: that rings with `SQPOLL` can use ordinary descriptors.
pub(crate) const SQPOLL_NONFIXED: u32 = c::IORING_FEAT_SQPOLL_NONFIXED;

/// `IORING_FEAT_*` that are there on every kernel. Each has a test that would fail if it were not.
pub(crate) const FEATURES: u32 = c::IORING_FEAT_SINGLE_MMAP
    | c::IORING_FEAT_NODROP
    | c::IORING_FEAT_SUBMIT_STABLE
    | c::IORING_FEAT_RW_CUR_POS
    | c::IORING_FEAT_CUR_PERSONALITY
    | c::IORING_FEAT_RSRC_TAGS
    | c::IORING_FEAT_FAST_POLL
    | c::IORING_FEAT_POLL_32BITS
    | c::IORING_FEAT_EXT_ARG
    | c::IORING_FEAT_CQE_SKIP
    | c::IORING_FEAT_REG_REG_RING
    | c::IORING_FEAT_RW_ATTR
    | c::IORING_FEAT_MIN_TIMEOUT
    | c::IORING_FEAT_NO_IOWAIT;

/// Largest SQ, in entries.
pub(crate) const MAX_ENTRIES: u32 = 32768;
/// Largest CQ, in entries.
pub(crate) const MAX_CQ_ENTRIES: u32 = 2 * MAX_ENTRIES;

/// Offsets for `mmap(2)` on a ring.
pub(crate) mod mmap {
    use crate::sys::abi_types as c;

    pub(crate) const SQ_RING: u64 = c::IORING_OFF_SQ_RING as u64;
    pub(crate) const CQ_RING: u64 = c::IORING_OFF_CQ_RING as u64;
    pub(crate) const SQES: u64 = c::IORING_OFF_SQES as u64;
    /// The memory of a group of provided buffers, whose number begins at [`PBUF_SHIFT`].
    pub(crate) const PBUF_RING: u64 = c::IORING_OFF_PBUF_RING as u64;
    pub(crate) const PBUF_SHIFT: u32 = c::IORING_OFF_PBUF_SHIFT;
    /// The region of `IORING_REGISTER_MEM_REGION`; the core has it in `io_uring/memmap.h`.
    pub(crate) const PARAM_REGION: u64 = 0x20000000;
    pub(crate) const MASK: u64 = c::IORING_OFF_MMAP_MASK as u64;
}

/// The numbers of our ioctls; their sizes may grow, so the dispatcher looks at the number alone.
pub(crate) mod ioctl {
    use crate::sys::abi_types as c;

    /// The ioctl type of all of them.
    pub(crate) const MAGIC: u32 = c::RUST_URING_MAGIC;
    /// `RUST_URING_SETUP`
    pub(crate) const SETUP: u32 = 0;
    /// `RUST_URING_ENTER`
    pub(crate) const ENTER: u32 = 1;
    /// `RUST_URING_REGISTER`
    pub(crate) const REGISTER: u32 = 2;
    /// `RUST_URING_ENTER_PACKED`
    pub(crate) const ENTER_PACKED: u32 = 3;
    /// `RUST_URING_ADVICE_ENTER`, which is none.
    pub(crate) const ADVICE_ENTER: i32 = c::RUST_URING_ADVICE_ENTER as i32;
}

/// `IORING_OP_*` that the module has, and where the table ends.
pub(crate) mod op {
    use crate::sys::abi_types as c;

    pub(crate) const READV: u8 = c::io_uring_op_IORING_OP_READV as u8;
    pub(crate) const WRITEV: u8 = c::io_uring_op_IORING_OP_WRITEV as u8;
    pub(crate) const POLL_ADD: u8 = c::io_uring_op_IORING_OP_POLL_ADD as u8;
    pub(crate) const POLL_REMOVE: u8 = c::io_uring_op_IORING_OP_POLL_REMOVE as u8;
    pub(crate) const FSYNC: u8 = c::io_uring_op_IORING_OP_FSYNC as u8;
    pub(crate) const READ_FIXED: u8 = c::io_uring_op_IORING_OP_READ_FIXED as u8;
    pub(crate) const WRITE_FIXED: u8 = c::io_uring_op_IORING_OP_WRITE_FIXED as u8;
    pub(crate) const READV_FIXED: u8 = c::io_uring_op_IORING_OP_READV_FIXED as u8;
    pub(crate) const WRITEV_FIXED: u8 = c::io_uring_op_IORING_OP_WRITEV_FIXED as u8;
    pub(crate) const FALLOCATE: u8 = c::io_uring_op_IORING_OP_FALLOCATE as u8;
    pub(crate) const SYNC_FILE_RANGE: u8 = c::io_uring_op_IORING_OP_SYNC_FILE_RANGE as u8;
    pub(crate) const TIMEOUT: u8 = c::io_uring_op_IORING_OP_TIMEOUT as u8;
    pub(crate) const TIMEOUT_REMOVE: u8 = c::io_uring_op_IORING_OP_TIMEOUT_REMOVE as u8;
    pub(crate) const ASYNC_CANCEL: u8 = c::io_uring_op_IORING_OP_ASYNC_CANCEL as u8;
    pub(crate) const LINK_TIMEOUT: u8 = c::io_uring_op_IORING_OP_LINK_TIMEOUT as u8;
    pub(crate) const OPENAT: u8 = c::io_uring_op_IORING_OP_OPENAT as u8;
    pub(crate) const CLOSE: u8 = c::io_uring_op_IORING_OP_CLOSE as u8;
    pub(crate) const FILES_UPDATE: u8 = c::io_uring_op_IORING_OP_FILES_UPDATE as u8;
    pub(crate) const STATX: u8 = c::io_uring_op_IORING_OP_STATX as u8;
    pub(crate) const FADVISE: u8 = c::io_uring_op_IORING_OP_FADVISE as u8;
    pub(crate) const OPENAT2: u8 = c::io_uring_op_IORING_OP_OPENAT2 as u8;
    pub(crate) const FIXED_FD_INSTALL: u8 = c::io_uring_op_IORING_OP_FIXED_FD_INSTALL as u8;
    pub(crate) const FTRUNCATE: u8 = c::io_uring_op_IORING_OP_FTRUNCATE as u8;
    pub(crate) const PROVIDE_BUFFERS: u8 = c::io_uring_op_IORING_OP_PROVIDE_BUFFERS as u8;
    pub(crate) const REMOVE_BUFFERS: u8 = c::io_uring_op_IORING_OP_REMOVE_BUFFERS as u8;
    pub(crate) const READ_MULTISHOT: u8 = c::io_uring_op_IORING_OP_READ_MULTISHOT as u8;
    pub(crate) const READ: u8 = c::io_uring_op_IORING_OP_READ as u8;
    pub(crate) const WRITE: u8 = c::io_uring_op_IORING_OP_WRITE as u8;
    pub(crate) const NOP: u8 = c::io_uring_op_IORING_OP_NOP as u8;
    pub(crate) const MSG_RING: u8 = c::io_uring_op_IORING_OP_MSG_RING as u8;
    pub(crate) const NOP128: u8 = c::io_uring_op_IORING_OP_NOP128 as u8;
    /// One more than the last opcode that 7.3 knows.
    pub(crate) const LAST: u8 = c::io_uring_op_IORING_OP_LAST as u8;
}

/// `IORING_POLL_*`.
pub(crate) mod poll {
    use crate::sys::abi_types as c;

    pub(crate) const ADD_MULTI: u32 = c::IORING_POLL_ADD_MULTI;
    pub(crate) const UPDATE_EVENTS: u32 = c::IORING_POLL_UPDATE_EVENTS;
    pub(crate) const UPDATE_USER_DATA: u32 = c::IORING_POLL_UPDATE_USER_DATA;
    pub(crate) const ADD_LEVEL: u32 = c::IORING_POLL_ADD_LEVEL;
}

/// `IORING_NOP_*`.
pub(crate) mod nop {
    use crate::sys::abi_types as c;

    pub(crate) const INJECT_RESULT: u32 = c::IORING_NOP_INJECT_RESULT;
    pub(crate) const FILE: u32 = c::IORING_NOP_FILE;
    pub(crate) const FIXED_FILE: u32 = c::IORING_NOP_FIXED_FILE;
    pub(crate) const FIXED_BUFFER: u32 = c::IORING_NOP_FIXED_BUFFER;
    pub(crate) const TW: u32 = c::IORING_NOP_TW;
    pub(crate) const CQE32: u32 = c::IORING_NOP_CQE32;
    pub(crate) const ALL: u32 = INJECT_RESULT | FILE | FIXED_FILE | FIXED_BUFFER | TW | CQE32;
}

/// `IORING_REGISTER_*` that the module has.
pub(crate) mod reg {
    use crate::sys::abi_types as c;

    pub(crate) const BUFFERS: u32 = c::io_uring_register_op_IORING_REGISTER_BUFFERS;
    pub(crate) const UNREGISTER_BUFFERS: u32 = c::io_uring_register_op_IORING_UNREGISTER_BUFFERS;
    pub(crate) const FILES: u32 = c::io_uring_register_op_IORING_REGISTER_FILES;
    pub(crate) const UNREGISTER_FILES: u32 = c::io_uring_register_op_IORING_UNREGISTER_FILES;
    pub(crate) const FILES_UPDATE: u32 = c::io_uring_register_op_IORING_REGISTER_FILES_UPDATE;
    pub(crate) const FILES2: u32 = c::io_uring_register_op_IORING_REGISTER_FILES2;
    pub(crate) const FILES_UPDATE2: u32 = c::io_uring_register_op_IORING_REGISTER_FILES_UPDATE2;
    pub(crate) const BUFFERS2: u32 = c::io_uring_register_op_IORING_REGISTER_BUFFERS2;
    pub(crate) const BUFFERS_UPDATE: u32 = c::io_uring_register_op_IORING_REGISTER_BUFFERS_UPDATE;
    pub(crate) const FILE_ALLOC_RANGE: u32 =
        c::io_uring_register_op_IORING_REGISTER_FILE_ALLOC_RANGE;
    pub(crate) const RELEASE: u32 = c::RUST_URING_REGISTER_RELEASE;
    pub(crate) const SYNC_CANCEL: u32 = c::io_uring_register_op_IORING_REGISTER_SYNC_CANCEL;
    pub(crate) const CLONE_BUFFERS: u32 = c::io_uring_register_op_IORING_REGISTER_CLONE_BUFFERS;
    pub(crate) const EVENTFD: u32 = c::io_uring_register_op_IORING_REGISTER_EVENTFD;
    pub(crate) const UNREGISTER_EVENTFD: u32 = c::io_uring_register_op_IORING_UNREGISTER_EVENTFD;
    pub(crate) const EVENTFD_ASYNC: u32 = c::io_uring_register_op_IORING_REGISTER_EVENTFD_ASYNC;
    pub(crate) const PROBE: u32 = c::io_uring_register_op_IORING_REGISTER_PROBE;
    pub(crate) const PERSONALITY: u32 = c::io_uring_register_op_IORING_REGISTER_PERSONALITY;
    pub(crate) const UNREGISTER_PERSONALITY: u32 =
        c::io_uring_register_op_IORING_UNREGISTER_PERSONALITY;
    pub(crate) const RESTRICTIONS: u32 = c::io_uring_register_op_IORING_REGISTER_RESTRICTIONS;
    pub(crate) const ENABLE_RINGS: u32 = c::io_uring_register_op_IORING_REGISTER_ENABLE_RINGS;
    pub(crate) const RING_FDS: u32 = c::io_uring_register_op_IORING_REGISTER_RING_FDS;
    pub(crate) const UNREGISTER_RING_FDS: u32 = c::io_uring_register_op_IORING_UNREGISTER_RING_FDS;
    pub(crate) const CLOCK: u32 = c::io_uring_register_op_IORING_REGISTER_CLOCK;
    pub(crate) const SEND_MSG_RING: u32 = c::io_uring_register_op_IORING_REGISTER_SEND_MSG_RING;
    pub(crate) const RESIZE_RINGS: u32 = c::io_uring_register_op_IORING_REGISTER_RESIZE_RINGS;
    pub(crate) const MEM_REGION: u32 = c::io_uring_register_op_IORING_REGISTER_MEM_REGION;
    pub(crate) const QUERY: u32 = c::io_uring_register_op_IORING_REGISTER_QUERY;
    pub(crate) const IOWQ_AFF: u32 = c::io_uring_register_op_IORING_REGISTER_IOWQ_AFF;
    pub(crate) const UNREGISTER_IOWQ_AFF: u32 = c::io_uring_register_op_IORING_UNREGISTER_IOWQ_AFF;
    pub(crate) const IOWQ_MAX_WORKERS: u32 =
        c::io_uring_register_op_IORING_REGISTER_IOWQ_MAX_WORKERS;
    pub(crate) const PBUF_RING: u32 = c::io_uring_register_op_IORING_REGISTER_PBUF_RING;
    pub(crate) const UNREGISTER_PBUF_RING: u32 =
        c::io_uring_register_op_IORING_UNREGISTER_PBUF_RING;
    pub(crate) const PBUF_STATUS: u32 = c::io_uring_register_op_IORING_REGISTER_PBUF_STATUS;
    /// One more than the last opcode that 7.3 knows.
    pub(crate) const LAST: u32 = c::io_uring_register_op_IORING_REGISTER_LAST;
    /// Added to the opcode when `fd` is a registered index.
    pub(crate) const USE_REGISTERED_RING: u32 =
        c::io_uring_register_op_IORING_REGISTER_USE_REGISTERED_RING;
}

/// Of the ring that a group of provided buffers has in shared memory.
pub(crate) mod buf_ring {
    use super::BufEntry;
    use crate::sys::abi_types as c;
    use core::mem::offset_of;

    /// `IOU_PBUF_RING_MMAP`: the memory is the kernel's.
    pub(crate) const MMAP: u16 = c::io_uring_register_pbuf_ring_flags_IOU_PBUF_RING_MMAP as u16;
    /// `IOU_PBUF_RING_INC`: buffers are used up bit by bit.
    pub(crate) const INC: u16 = c::io_uring_register_pbuf_ring_flags_IOU_PBUF_RING_INC as u16;
    /// The 32-bit word whose second half in memory is the tail.
    pub(crate) const TAIL_WORD: usize = offset_of!(BufEntry, bid);
    /// Where an entry has the length.
    pub(crate) const LEN: usize = offset_of!(BufEntry, len);
}

// The first entry's reserved field is the tail, and the address comes first.
static_assert!(offset_of!(BufEntry, resv) == buf_ring::TAIL_WORD + 2);
static_assert!(offset_of!(BufEntry, addr) == 0 && size_of::<BufEntry>() == 16);
