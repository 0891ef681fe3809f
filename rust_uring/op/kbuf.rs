// SPDX-License-Identifier: GPL-2.0

//! `PROVIDE_BUFFERS` and `REMOVE_BUFFERS`: groups of buffers that are put together by SQEs.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        op,
        Sqe, //
    },
    ctx::State,
    kbuf::Buf,
    op::{
        Issued,
        Op, //
    },
    request::{
        ReqBox,
        Request, //
    },
    sys::uaccess, //
};
use kernel::prelude::*;

/// How many buffers a group can have.
const MAX_BUFS: u32 = 1 << 16;

/// What is done to a group.
#[derive(Clone, Copy)]
pub(crate) struct Manage {
    group: u16,
    /// How many buffers.
    nr: u32,
    /// The first of those that are added; `None` to take some out.
    first: Option<Buf>,
}

/// `EINVAL`, `E2BIG`, `EOVERFLOW`, `EFAULT`.
pub(crate) fn prep(sqe: &Sqe) -> Result<Op> {
    let provide = sqe.opcode == op::PROVIDE_BUFFERS;
    let unused = provide || sqe.addr == 0 && sqe.len == 0 && sqe.off == 0;
    if sqe.op_flags != 0 || sqe.file_index != 0 || !unused {
        return Err(EINVAL);
    }
    let nr = u32::try_from(sqe.fd)
        .ok()
        .filter(|nr| (1..=MAX_BUFS).contains(nr))
        .ok_or(if provide { E2BIG } else { EINVAL })?;
    let first = if provide {
        Some(first_of(sqe, nr)?)
    } else {
        None
    };
    Ok(Op::Manage(Manage {
        group: sqe.buf_index,
        nr,
        first,
    }))
}

/// The first one of `nr` buffers that are one behind the other.
fn first_of(sqe: &Sqe, nr: u32) -> Result<Buf> {
    if sqe.len == 0 {
        return Err(EINVAL);
    }
    // CAST: Widening.
    let size = (sqe.len as usize)
        .checked_mul(nr as usize)
        .ok_or(EOVERFLOW)?;
    sqe.addr.checked_add(size as u64).ok_or(EOVERFLOW)?;
    if !uaccess::is_user(sqe.addr, size) {
        return Err(EFAULT);
    }
    let bid = u16::try_from(sqe.off).map_err(|_| E2BIG)?;
    if u32::from(bid) + nr > MAX_BUFS {
        return Err(EINVAL);
    }
    Ok(Buf {
        addr: sqe.addr,
        len: sqe.len,
        bid,
    })
}

/// Does it, and sets the result: how many were taken out, or 0. See [`crate::kbuf::Groups`] for errors.
pub(crate) fn run(state: &mut State, what: Manage, req: &mut Request) {
    let result = match what.first {
        Some(first) => state.kbufs.provide(what.group, first, what.nr).map(|()| 0),
        // CAST: At most as many as a group can have.
        None => state.kbufs.remove(what.group, what.nr).map(|nr| nr as i32),
    };
    req.set_result(result.unwrap_or_else(|err| err.to_errno()), 0);
}

/// The same in the submitter.
pub(crate) fn issue(state: &mut State, what: Manage, mut req: ReqBox) -> Issued {
    run(state, what, &mut req);
    Issued::Done(req)
}
