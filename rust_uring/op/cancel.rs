// SPDX-License-Identifier: GPL-2.0

//! `ASYNC_CANCEL`.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        op,
        sqe as flag,
        Sqe, //
    },
    cancel::{
        self,
        Match, //
    },
    ctx::{
        Ctx,
        State, //
    },
    op::{
        Issued,
        Op, //
    },
    request::{
        ReqBox,
        Request, //
    },
    submit,
    sys::abi_types as c, //
};
use kernel::prelude::*;

/// All flags that there are.
pub(crate) const FLAGS: u32 = c::IORING_ASYNC_CANCEL_ALL
    | c::IORING_ASYNC_CANCEL_FD
    | c::IORING_ASYNC_CANCEL_ANY
    | c::IORING_ASYNC_CANCEL_FD_FIXED
    | c::IORING_ASYNC_CANCEL_USERDATA
    | c::IORING_ASYNC_CANCEL_OP;

/// Which requests are meant.
#[derive(Clone, Copy)]
pub(crate) struct Cancel {
    user_data: u64,
    flags: u32,
    fd: i32,
    opcode: u8,
}

/// `EINVAL`
pub(crate) fn prep(sqe: &Sqe) -> Result<Op> {
    let flags = sqe.op_flags;
    if sqe.flags & flag::BUFFER_SELECT != 0
        || sqe.off != 0
        || sqe.file_index != 0
        || flags & !FLAGS != 0
    {
        return Err(EINVAL);
    }
    let any = flags & c::IORING_ASYNC_CANCEL_ANY != 0;
    let by_opcode = flags & c::IORING_ASYNC_CANCEL_OP != 0;
    if any && (by_opcode || flags & c::IORING_ASYNC_CANCEL_FD != 0) {
        return Err(EINVAL);
    }
    let mut opcode = 0;
    if by_opcode {
        opcode = u8::try_from(sqe.len).map_err(|_| EINVAL)?;
        if opcode >= op::LAST {
            return Err(EINVAL);
        }
    }
    Ok(Op::Cancel(Cancel {
        user_data: sqe.addr,
        flags,
        fd: sqe.fd,
        opcode,
    }))
}

impl Cancel {
    /// Whether it makes no difference which process does it.
    pub(crate) fn is_independent(&self) -> bool {
        self.flags & c::IORING_ASYNC_CANCEL_FD == 0
            || self.flags & c::IORING_ASYNC_CANCEL_FD_FIXED != 0
    }
}

/// Does it.
pub(crate) fn issue(ctx: &Ctx, state: &mut State, what: Cancel, mut req: ReqBox) -> Issued {
    run(ctx, state, what, &mut req);
    Issued::Done(req)
}

/// Does it, and sets the result. Context: may sleep.
pub(crate) fn run(ctx: &Ctx, state: &mut State, what: Cancel, req: &mut Request) {
    let result = find(state, what, req).and_then(|what| cancel::cancel(ctx, state, &what));
    req.set_result(result.unwrap_or_else(|err| err.to_errno()), 0);
}

/// `EBADF`
fn find(state: &mut State, what: Cancel, req: &mut Request) -> Result<Match> {
    if what.flags & c::IORING_ASYNC_CANCEL_FD != 0 {
        let fixed = req.head.flags & flag::FIXED_FILE != 0
            || what.flags & c::IORING_ASYNC_CANCEL_FD_FIXED != 0;
        submit::assign_file(state, req, what.fd, fixed)?;
    }
    Ok(Match::new(
        what.flags,
        what.user_data,
        what.opcode,
        req.file.get(),
    ))
}
