// SPDX-License-Identifier: GPL-2.0

//! `IORING_REGISTER_SEND_MSG_RING`: a CQE for somebody else's ring, without having one.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        Sqe, //
    },
    complete,
    cq::Posted,
    ctx::{
        Ctx,
        Ring, //
    },
    globals::Globals,
    op::Op,
    request::Request,
    ring::Cqe,
    sys::{
        abi_types as c,
        mpsc::Linked,
        ring_file,
        uaccess, //
    }, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// Posts a message; `arg` is the user address of an SQE with opcode `MSG_RING`.
///
/// `EINVAL`, `EFAULT`, `EBADF`, `EBADFD` for what is no ring of ours or not enabled, `EOVERFLOW` if the
/// CQE was lost or too many wait there already, `ENOMEM`.
pub(super) fn send(_globals: &Globals, arg: u64) -> Result<i32> {
    let sqe: Sqe = uaccess::read(arg)?;
    if sqe.flags != 0 || sqe.opcode != abi::op::MSG_RING {
        return Err(EINVAL);
    }
    let known = c::IORING_MSG_RING_CQE_SKIP | c::IORING_MSG_RING_FLAGS_PASS;
    if sqe.buf_index != 0 || sqe.personality != 0 || sqe.op_flags & !known != 0 {
        return Err(EINVAL);
    }
    // The command is the field's lower half, as natively.
    if sqe.addr as u32 != c::io_uring_msg_ring_flags_IORING_MSG_DATA {
        return Err(EINVAL);
    }
    // CAST: A negative descriptor is one that does not exist.
    let file = ring_file::fget(sqe.fd as u32)?;
    let ring = ring_file::data::<Ring>(&file).ok_or(EBADFD)?;
    data(&ring.ctx, &sqe)?;
    Ok(0)
}

/// `IORING_MSG_DATA`
fn data(ctx: &Ctx, sqe: &Sqe) -> Result {
    let pass = sqe.op_flags & c::IORING_MSG_RING_FLAGS_PASS != 0;
    if sqe.addr3 as u32 != 0 || sqe.op_flags & !c::IORING_MSG_RING_FLAGS_PASS != 0 {
        return Err(EINVAL);
    }
    if !pass && sqe.file_index != 0 {
        return Err(EINVAL);
    }
    if ctx.is_disabled() {
        return Err(EBADFD);
    }
    let cqe = Cqe {
        user_data: sqe.off,
        // CAST: Same bits.
        res: sqe.len as i32,
        flags: if pass { sqe.file_index } else { 0 },
    };
    if cqe.flags & abi::cqe::BIG != 0 && !ctx.takes_big() {
        return Err(EINVAL);
    }
    if ctx.defers() {
        // It may have as many of them as it could have CQEs.
        let entries = ctx.rings.read(|rings| rings.map_or(0, |r| r.cq_entries));
        let limit = (entries as usize).saturating_add(ctx.globals.limits.overflow);
        if ctx.messages.load(Relaxed) as usize >= limit {
            return Err(EOVERFLOW);
        }
        let mut message = Request::new(ctx.get());
        message.cqe = cqe;
        message.op = Op::Message;
        let message = Linked::new(message, GFP_KERNEL_ACCOUNT)?;
        ctx.messages.fetch_add(1, Relaxed);
        complete::push(ctx, message, true);
        return Ok(());
    }
    let mut state = ctx.state.lock();
    match complete::post_alone(ctx, &mut state, &cqe) {
        Posted::Lost => Err(EOVERFLOW),
        Posted::Ring | Posted::Overflow => Ok(()),
    }
}
