// SPDX-License-Identifier: GPL-2.0

//! What is done to a file as a whole, or a range of it: `FSYNC`, `SYNC_FILE_RANGE`, `FALLOCATE`,
//! `FTRUNCATE`, `FADVISE`.

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
    /// Offset, length and flags.
    Range(i64, i64, u32),
    /// Mode, offset and length.
    Fallocate(i32, i64, i64),
    /// The new length.
    Truncate(i64),
    /// Offset, length and advice.
    Advise(i64, i64, i32),
}

/// `EINVAL`
pub(crate) fn prep(sqe: &Sqe) -> Result<Sync> {
    if sqe.buf_index != 0 || sqe.file_index != 0 {
        return Err(EINVAL);
    }
    // CAST: Same bits, here and below.
    let offset = sqe.off as i64;
    match sqe.opcode {
        op::FALLOCATE if sqe.op_flags != 0 => Err(EINVAL),
        op::FALLOCATE => Ok(Sync::Fallocate(sqe.len as i32, offset, sqe.addr as i64)),
        op::FTRUNCATE => {
            if sqe.op_flags != 0 || sqe.addr != 0 || sqe.len != 0 || sqe.addr3 != 0 {
                return Err(EINVAL);
            }
            Ok(Sync::Truncate(offset))
        }
        op::FADVISE => {
            let len = if sqe.addr != 0 {
                sqe.addr as i64
            } else {
                i64::from(sqe.len)
            };
            Ok(Sync::Advise(offset, len, sqe.op_flags as i32))
        }
        _ if sqe.addr != 0 => Err(EINVAL),
        op::SYNC_FILE_RANGE => Ok(Sync::Range(offset, i64::from(sqe.len), sqe.op_flags)),
        _ => {
            if sqe.op_flags & !c::IORING_FSYNC_DATASYNC != 0 || offset < 0 {
                return Err(EINVAL);
            }
            let end = offset.wrapping_add(i64::from(sqe.len));
            let end = if end > 0 { end } else { i64::MAX };
            Ok(Sync::Fsync(offset, end, sqe.op_flags != 0))
        }
    }
}

impl Sync {
    /// Whether it changes the length.
    pub(crate) fn is_truncate(&self) -> bool {
        matches!(self, Self::Truncate(_))
    }

    /// Whether it is never worth a try in the submitter: only some advice is.
    pub(crate) fn blocks(&self) -> bool {
        !matches!(
            self,
            Self::Advise(_, _, advice) if matches!(
                *advice as u32,
                c::POSIX_FADV_NORMAL | c::POSIX_FADV_RANDOM | c::POSIX_FADV_SEQUENTIAL
            )
        )
    }
}

/// Context: may sleep.
pub(crate) fn run(mut req: ReqBox) -> Run {
    let result = match (req.file.get(), &req.op) {
        (Some(file), Op::Sync(what)) => match *what {
            Sync::Fsync(start, end, data) => file::fsync(file, start, end, data),
            Sync::Range(offset, len, flags) => file::sync_range(file, offset, len, flags),
            Sync::Truncate(len) => file::truncate(file, len),
            Sync::Advise(offset, len, advice) => file::fadvise(file, offset, len, advice),
            Sync::Fallocate(mode, offset, len) => {
                file::fallocate(file, mode, offset, len).inspect(|()| file::notify(file, true))
            }
        },
        _ => Err(EBADF),
    };
    req.set_result(result.map_or_else(|err| err.to_errno(), |()| 0), 0);
    Run::Done(req)
}
