// SPDX-License-Identifier: GPL-2.0

//! `FSYNC` and `FALLOCATE`: they always block.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        op,
        Sqe, //
    },
    op::{
        Op,
        Run, //
    },
    request::ReqBox,
    sys::{
        abi_types as c,
        file, //
    }, //
};
use kernel::prelude::*;

/// What is to be done.
#[derive(Clone, Copy)]
pub(crate) enum Sync {
    /// Writes a range to the storage; from, to, and whether data is enough.
    Fsync(i64, i64, bool),
    /// Mode, offset and length.
    Fallocate(i32, i64, i64),
}

/// `EINVAL`
pub(crate) fn prep(sqe: &Sqe) -> Result<Sync> {
    if sqe.buf_index != 0 || sqe.file_index != 0 {
        return Err(EINVAL);
    }
    // CAST: Same bits, here and below.
    let offset = sqe.off as i64;
    if sqe.opcode == op::FALLOCATE {
        if sqe.op_flags != 0 {
            return Err(EINVAL);
        }
        return Ok(Sync::Fallocate(sqe.len as i32, offset, sqe.addr as i64));
    }
    if sqe.addr != 0 || sqe.op_flags & !c::IORING_FSYNC_DATASYNC != 0 || offset < 0 {
        return Err(EINVAL);
    }
    let end = offset.wrapping_add(i64::from(sqe.len));
    let end = if end > 0 { end } else { i64::MAX };
    Ok(Sync::Fsync(offset, end, sqe.op_flags != 0))
}

/// Context: may sleep.
pub(crate) fn run(mut req: ReqBox) -> Run {
    let result = match (req.file.get(), &req.op) {
        (Some(file), Op::Sync(Sync::Fsync(start, end, data))) => {
            file::fsync(file, *start, *end, *data)
        }
        (Some(file), Op::Sync(Sync::Fallocate(mode, offset, len))) => {
            file::fallocate(file, *mode, *offset, *len).inspect(|()| file::notify(file, true))
        }
        _ => Err(EBADF),
    };
    req.set_result(result.map_or_else(|err| err.to_errno(), |()| 0), 0);
    Run::Done(req)
}
