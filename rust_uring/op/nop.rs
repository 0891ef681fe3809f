// SPDX-License-Identifier: GPL-2.0

//! `NOP` and `NOP128`: nothing, in all the ways a request can complete.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        nop,
        Sqe, //
    },
    ctx::State,
    op::{
        rw,
        Issued, //
    },
    request::{
        ReqBox,
        Request, //
    },
    submit, //
};
use kernel::prelude::*;

/// What the SQE asked for.
#[derive(Clone, Copy)]
pub(crate) struct Nop {
    flags: u32,
    result: i32,
}

/// `EINVAL` for unknown flags, and for a 32-byte CQE in a ring that has none.
#[inline]
pub(crate) fn prep(state: &State, req: &mut Request, sqe: &Sqe) -> Result<Nop> {
    let mut flags = sqe.op_flags;
    if flags & !nop::ALL != 0 {
        return Err(EINVAL);
    }
    // There are two ways to say that the file is a registered one.
    if sqe.flags & abi::sqe::FIXED_FILE != 0 {
        flags |= nop::FIXED_FILE;
    }
    if flags & nop::CQE32 != 0 {
        if !state.cq.takes_big() {
            return Err(EINVAL);
        }
        req.extra = [sqe.off, sqe.addr];
    }
    Ok(Nop {
        flags,
        // CAST: The field is unsigned, the result is what its bits say.
        result: if flags & nop::INJECT_RESULT != 0 {
            sqe.len as i32
        } else {
            0
        },
    })
}

impl Nop {
    /// Whether it makes no difference which process issues it.
    pub(crate) fn is_independent(&self) -> bool {
        self.flags & nop::FILE == 0 || self.flags & nop::FIXED_FILE != 0
    }
}

/// Completes at once.
#[inline]
pub(crate) fn issue(state: &mut State, op: Nop, mut req: ReqBox) -> Issued {
    run(state, op, &mut req);
    if op.flags & nop::TW != 0 {
        return Issued::DoneLater(req);
    }
    Issued::Done(req)
}

/// Sets the result.
#[inline]
pub(crate) fn run(state: &mut State, op: Nop, req: &mut Request) {
    let mut res = op.result;
    if op.flags & (nop::FILE | nop::FIXED_BUFFER) != 0 {
        res = resources(state, op, req, res);
    }
    let big = op.flags & nop::CQE32 != 0;
    req.set_result(res, if big { state.cq.big_flag() } else { 0 });
}

/// Takes the file and the buffer that the SQE names.
#[cold]
fn resources(state: &mut State, op: Nop, req: &mut Request, res: i32) -> i32 {
    if op.flags & nop::FILE != 0 {
        let fixed = op.flags & nop::FIXED_FILE != 0;
        if submit::assign_file(state, req, req.fd, fixed).is_err() {
            return EBADF.to_errno();
        }
    }
    if op.flags & nop::FIXED_BUFFER != 0 && rw::assign_buffer(state, req, req.buf_index).is_err() {
        return EFAULT.to_errno();
    }
    res
}
