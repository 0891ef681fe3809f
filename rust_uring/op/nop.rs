// SPDX-License-Identifier: GPL-2.0

//! `NOP` and `NOP128`: nothing, in all the ways a request can complete.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        nop, //
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
    sqe::SqeStart,
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
pub(crate) fn prep(state: &State, req: &mut Request, sqe: &SqeStart) -> Result<Nop> {
    let flags = sqe.options.op_flags;
    if flags & !nop::INJECT_RESULT != 0 {
        check_more(state, req, sqe)?;
    }
    Ok(Nop {
        flags,
        // CAST: The field is unsigned, the result is what its bits say.
        result: if flags & nop::INJECT_RESULT != 0 {
            sqe.options.len as i32
        } else {
            0
        },
    })
}

/// The part of [`prep`] for flags that make more than nothing of it.
#[cold]
fn check_more(state: &State, req: &mut Request, sqe: &SqeStart) -> Result {
    let flags = sqe.options.op_flags;
    if flags & !nop::ALL != 0 {
        return Err(EINVAL);
    }
    if flags & nop::CQE32 != 0 {
        if !state.cq.takes_big() {
            return Err(EINVAL);
        }
        let words = sqe.addresses(&state.rings);
        req.extra = [words.off, words.addr];
    }
    Ok(())
}

impl Nop {
    /// Whether it makes no difference which process issues it.
    pub(crate) fn is_independent(&self, req: &Request) -> bool {
        self.flags & nop::FILE == 0 || self.has_fixed_file(req)
    }

    /// Whether the file is a registered one, which can be said in two ways.
    fn has_fixed_file(&self, req: &Request) -> bool {
        self.flags & nop::FIXED_FILE != 0 || req.head.flags & abi::sqe::FIXED_FILE != 0
    }
}

/// Completes at once.
#[inline(always)]
pub(crate) fn issue(state: &mut State, op: Nop, mut req: ReqBox) -> Issued {
    if op.flags & !nop::INJECT_RESULT != 0 {
        run(state, op, &mut req);
        if op.flags & nop::TW != 0 {
            return Issued::DoneLater(req);
        }
    } else {
        req.set_result(op.result, 0);
    }
    Issued::Done(req)
}

/// Sets the result.
#[inline(never)]
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
        let fixed = op.has_fixed_file(req);
        if submit::assign_file(state, req, req.head.fd, fixed).is_err() {
            return EBADF.to_errno();
        }
    }
    if op.flags & nop::FIXED_BUFFER != 0 && rw::assign_buffer(state, req, req.buf_index).is_err() {
        return EFAULT.to_errno();
    }
    res
}
