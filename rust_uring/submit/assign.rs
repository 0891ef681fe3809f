// SPDX-License-Identifier: GPL-2.0

//! Finding the file and the registered buffer that an SQE names.

#![forbid(unsafe_code)]

use crate::{
    abi,
    ctx::{
        Ctx,
        Ring,
        State, //
    },
    op::{
        self,
        open,
        rw,
        Op, //
    },
    request::{
        ReqFile,
        Request, //
    },
    sys::{
        file,
        ring_file,
        task, //
    }, //
};
use kernel::prelude::*;

/// What [`start`] would have done before the request is issued, by a worker. `EBADF`, `EFAULT`.
/// Context: may sleep.
pub(crate) fn assign_in_worker(req: &mut Request) -> Result {
    let ctx = req.ctx.clone();
    let mut state = ctx.state.lock();
    if task::is_kernel_thread() {
        assign_without_descriptors(&mut state, req)?;
    } else {
        assign(&mut state, req)?;
    }
    op::before_worker(&ctx, &mut state, req);
    Ok(())
}

/// Finds the file and the registered buffer that the SQE named. `EBADF`, `EFAULT`.
#[inline(always)]
pub(super) fn assign(state: &mut State, req: &mut Request) -> Result {
    match &req.op {
        Op::Nop(_) => Ok(()),
        Op::Rw(rw) => {
            let fixed = rw.is_fixed();
            assign_for_transfer(state, req, fixed)
        }
        _ => assign_for_op(state, req),
    }
}

#[inline(always)]
pub(super) fn assign_for_transfer(
    state: &mut State,
    req: &mut Request,
    fixed_buffer: bool,
) -> Result {
    let fixed_file = req.head.flags & abi::sqe::FIXED_FILE != 0;
    assign_file(state, req, req.head.fd, fixed_file)?;
    if fixed_buffer {
        rw::assign_buffer(state, req, req.buf_index)?;
    }
    Ok(())
}

/// The same for `POLL_ADD`.
#[inline(always)]
pub(super) fn assign_for_poll(state: &mut State, req: &mut Request) -> Result {
    let fixed = req.head.flags & abi::sqe::FIXED_FILE != 0;
    assign_file(state, req, req.head.fd, fixed)?;
    op::poll::look_at_file(req)
}

#[inline(never)]
pub(super) fn assign_for_op(state: &mut State, req: &mut Request) -> Result {
    if op::info(req.head.opcode).is_some_and(|info| info.needs_file()) {
        let fixed = req.head.flags & abi::sqe::FIXED_FILE != 0;
        assign_file(state, req, req.head.fd, fixed)?;
    }
    match &req.op {
        Op::Open(_) | Op::Statx(_) => open::assign_directory(req, req.head.fd),
        Op::Poll(_) => op::poll::look_at_file(req),
        _ => Ok(()),
    }
}

/// The same in a thread that has no descriptors: the file is the one that was there when the request was
/// submitted, see [`assign_early`]. `EOPNOTSUPP` if there was none.
#[cold]
pub(super) fn assign_without_descriptors(state: &mut State, req: &mut Request) -> Result {
    if op::info(req.head.opcode).is_some_and(|info| info.needs_file()) {
        if req.head.flags & abi::sqe::FIXED_FILE != 0 {
            assign_file(state, req, req.head.fd, true)?;
        } else if req.file.get().is_none() {
            return Err(EOPNOTSUPP);
        }
    }
    match &req.op {
        Op::Rw(rw) if rw.is_fixed() => rw::assign_buffer(state, req, req.buf_index),
        Op::Poll(_) => op::poll::look_at_file(req),
        _ => Ok(()),
    }
}

/// A request is submitted that has to wait for others. If a thread of the kernel is to issue it that cannot
/// look for its file, so it is kept from now on; but for files that might keep the ring in turn.
#[inline]
pub(crate) fn assign_early(ctx: &Ctx, req: &mut Request) {
    if ctx.globals.limits.kernel_workers {
        assign_for_kernel_worker(ctx, req);
    }
}

#[cold]
pub(super) fn assign_for_kernel_worker(ctx: &Ctx, req: &mut Request) {
    let later = !ctx.defers() && ctx.sq_thread().is_none();
    let needs_file = op::info(req.head.opcode).is_some_and(|info| info.needs_file());
    if !later || !needs_file || req.head.flags & abi::sqe::FIXED_FILE != 0 {
        return;
    }
    // CAST: A negative descriptor is one that does not exist.
    if let Ok(file) = ring_file::fget(req.head.fd as u32) {
        if ring_file::data::<Ring>(&file).is_none() && !file::is_unix_socket(&file) {
            req.file = ReqFile::Normal(file);
        }
    }
}

/// Finds the file that an SQE names and gives it to the request. `EBADF`.
#[inline]
pub(crate) fn assign_file(state: &mut State, req: &mut Request, fd: i32, fixed: bool) -> Result {
    // CAST: A negative descriptor is one that does not exist, a negative index is too large.
    req.set_file(if fixed {
        let node = state.files.get(fd as u32 as usize).ok_or(EBADF)?;
        ReqFile::Fixed(node.get(&mut state.key).ok_or(EBADF)?)
    } else {
        ReqFile::Normal(ring_file::fget(fd as u32)?)
    });
    Ok(())
}
