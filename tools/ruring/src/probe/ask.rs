// SPDX-License-Identifier: GPL-2.0

//! Which register opcodes and which flags of enter there are. Each is called with what it takes, or refuses in its
//! own words: an opcode or a flag that does not exist gives `EINVAL`.

use rust_uring::{
    abi::{
        enter,
        register,
        setup, //
    },
    names,
    Backend, //
};
use std::{
    io,
    os::fd::{
        AsFd,
        AsRawFd,
        FromRawFd,
        OwnedFd, //
    },
    ptr, //
};

/// The argument of a call.
enum Arg {
    Null,
    /// An address where nothing is. For what wants much, but wants to read it first: `EFAULT`.
    Unreadable,
    /// These words in the beginning, then zeroes.
    Words(Vec<u64>),
}

/// What is at hand for arguments.
struct Things {
    /// The ring.
    ring: u64,
    eventfd: u64,
    /// Two pages of zeroes.
    memory: u64,
    /// A personality of the ring.
    personality: u32,
}

/// What to ask, and `nr_args`.
fn question(name: &str, things: &Things) -> (Arg, u32) {
    use Arg::{
        Null,
        Unreadable,
        Words, //
    };
    // -1 as a `__u32`.
    const NONE: u64 = 0xffff_ffff;
    match name {
        // struct iovec
        "BUFFERS" => (Words(vec![things.memory, 4096]), 1),
        "FILES" => (Words(vec![NONE]), 1),
        "EVENTFD" | "EVENTFD_ASYNC" => (Words(vec![things.eventfd]), 1),
        "PROBE" => (Words(vec![]), 8),
        // Nothing is registered that could be updated: another error.
        "FILES_UPDATE" => (Words(vec![0, things.memory]), 1),
        // offset, resv; data; tags; nr
        "FILES_UPDATE2" | "BUFFERS_UPDATE" => (Words(vec![0, things.memory, 0, 1]), 32),
        // nr, IORING_RSRC_REGISTER_SPARSE
        "FILES2" | "BUFFERS2" => (Words(vec![1 | 1 << 32]), 32),
        "UNREGISTER_PERSONALITY" => (Null, things.personality),
        // IORING_RESTRICTION_REGISTER_OP of the first opcode
        "RESTRICTIONS" => (Words(vec![]), 1),
        "IOWQ_AFF" => (Words(vec![1]), 8),
        "IOWQ_MAX_WORKERS" => (Words(vec![]), 2),
        // At any offset; the ring.
        "RING_FDS" => (Words(vec![NONE, things.ring]), 1),
        "UNREGISTER_RING_FDS" => (Words(vec![]), 1),
        // ring_entries, bgid, IOU_PBUF_RING_MMAP
        "PBUF_RING" => (Words(vec![0, 4 | 1 << 48]), 1),
        // No descriptor, IORING_ASYNC_CANCEL_ANY, no timeout: there is nothing to cancel.
        "SYNC_CANCEL" => (Words(vec![0, NONE | 4 << 32, u64::MAX, u64::MAX]), 1),
        "CLONE_BUFFERS" => (Words(vec![things.ring]), 1),
        // sq_entries, cq_entries
        "RESIZE_RINGS" => (Words(vec![4 | 8 << 32]), 1),
        // An SQE: IORING_OP_MSG_RING to the ring
        "SEND_MSG_RING" => (Words(vec![40 | things.ring << 32]), 1),
        "UNREGISTER_PBUF_RING" | "PBUF_STATUS" | "NAPI" | "UNREGISTER_NAPI" => (Words(vec![]), 1),
        "CLOCK" => (Words(vec![libc::CLOCK_MONOTONIC as u64]), 0),
        "FILE_ALLOC_RANGE" => (Words(vec![]), 0),
        "MEM_REGION" | "ZCRX_IFQ" | "BPF_FILTER" => (Unreadable, 1),
        "ZCRX_CTRL" => (Unreadable, 0),
        // An empty list of queries, and what takes nothing.
        _ => (Null, 0),
    }
}

/// Whether there is this register opcode.
pub fn has_register(backend: &Backend, opcode: usize) -> bool {
    const PERSONALITY: u32 = 9;
    // Each of these flags is wanted by some opcode, and refused by none.
    let flags = setup::R_DISABLED | setup::SINGLE_ISSUER | setup::DEFER_TASKRUN | setup::CQE32;
    let Ok((ring, _)) = super::ring(backend, flags, |_| {}) else {
        return false;
    };
    // SAFETY: It takes no memory.
    let eventfd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if eventfd < 0 {
        return false;
    }
    // SAFETY: It is new.
    let eventfd = unsafe { OwnedFd::from_raw_fd(eventfd) };
    let memory = vec![0u64; 1024];
    // SAFETY: It takes no memory.
    let personality = unsafe { backend.register(Some(ring.as_fd()), PERSONALITY, ptr::null(), 0) };
    let things = Things {
        ring: ring.as_raw_fd() as u64,
        eventfd: eventfd.as_raw_fd() as u64,
        memory: memory.as_ptr() as u64,
        personality: personality.unwrap_or(1),
    };
    let name = names::REGISTER[opcode];
    let (arg, nr) = question(name, &things);
    // Room for whatever opcodes read and write.
    let mut words = vec![0u64; 512];
    let arg = match arg {
        Arg::Null => ptr::null(),
        Arg::Unreadable => ptr::without_provenance(1),
        Arg::Words(first) => {
            words[..first.len()].copy_from_slice(&first);
            words.as_mut_ptr().cast_const().cast()
        }
    };
    // Messages come from nowhere.
    let on = (name != "SEND_MSG_RING").then_some(ring.as_fd());
    // SAFETY: There is room for everything, and it stays until the ring is gone.
    let result = unsafe { backend.register(on, opcode as u32, arg, nr) };
    drop(ring);
    drop(memory);
    !result.is_err_and(|err| err.raw_os_error() == Some(libc::EINVAL))
}

/// Whether enter can have this flag.
pub fn has_enter_flag(backend: &Backend, flag: u32) -> io::Result<bool> {
    /// `sizeof(struct io_uring_getevents_arg)`
    const ARG: usize = 24;
    /// `sizeof(struct io_uring_reg_wait)`
    const REG_WAIT: usize = 64;
    let (ring, _) = super::ring(backend, 0, |_| {})?;
    let zeroes = [0u64; 8];
    let argument: *const std::ffi::c_void = zeroes.as_ptr().cast();
    // SAFETY: Nothing is submitted; the arguments are zeroes, and the kernel reads no more than their size.
    let result = unsafe {
        let with = |flags: u32, arg, size| backend.enter(ring.as_fd(), 0, 0, flags, arg, size);
        match flag {
            enter::EXT_ARG => with(enter::GETEVENTS | flag, argument, ARG),
            enter::ABS_TIMER => with(enter::GETEVENTS | enter::EXT_ARG | flag, argument, ARG),
            // Nothing is registered to wait with: another error.
            enter::EXT_ARG_REG => with(
                enter::GETEVENTS | enter::EXT_ARG | flag,
                ptr::null(),
                REG_WAIT,
            ),
            enter::REGISTERED_RING => {
                // struct io_uring_rsrc_update: at any offset, which is told; the ring.
                let mut update = [0xffff_ffff, ring.as_raw_fd() as u64];
                let update = update.as_mut_ptr();
                let on = Some(ring.as_fd());
                match backend.register(on, register::RING_FDS, update.cast_const().cast(), 1) {
                    Ok(_) => backend.enter_registered(update.read() as u32, 0, 0, 0),
                    Err(err) => Err(err),
                }
            }
            _ => with(flag, ptr::null(), 0),
        }
    };
    Ok(!result.is_err_and(|err| err.raw_os_error() == Some(libc::EINVAL)))
}
