// SPDX-License-Identifier: GPL-2.0

//! `IORING_REGISTER_SYNC_CANCEL`: cancels, and waits until what was running is over.

#![forbid(unsafe_code)]

use crate::{
    abi::SyncCancel,
    cancel::{
        self,
        Match, //
    },
    ctx::{
        Ctx,
        State, //
    },
    op::cancel::FLAGS,
    sys::{
        abi_types as c,
        ring_file,
        task::{
            Clock,
            Deadline, //
        },
        uaccess, //
    },
    time,
    wait, //
};
use kernel::{
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

/// The argument, and the file if it names one by descriptor.
struct Call {
    arg: SyncCancel,
    file: Option<ARef<File>>,
}

impl Call {
    /// `EFAULT`, `EINVAL`, `EBADF`.
    fn read(addr: u64) -> Result<Self> {
        let arg: SyncCancel = uaccess::read(addr)?;
        if arg.flags & !FLAGS != 0 || arg.pad != [0; 7] || arg.pad2 != [0; 3] {
            return Err(EINVAL);
        }
        let by_fd = arg.flags & c::IORING_ASYNC_CANCEL_FD != 0;
        let fixed = arg.flags & c::IORING_ASYNC_CANCEL_FD_FIXED != 0;
        let file = if by_fd && !fixed {
            // CAST: A negative descriptor is one that does not exist.
            Some(ring_file::fget(arg.fd as u32)?)
        } else {
            None
        };
        Ok(Self { arg, file })
    }

    /// One try. What is in a slot may be another file each time.
    fn cancel(&self, ctx: &Ctx, state: &mut State) -> Result<i32> {
        let arg = &self.arg;
        let by_slot = arg.flags & c::IORING_ASYNC_CANCEL_FD != 0 && self.file.is_none();
        let what = |file| Match::new(arg.flags, arg.addr, arg.opcode, file);
        let what = if by_slot {
            // CAST: A negative index is too large.
            let node = state.files.get(arg.fd as u32 as usize).ok_or(EBADF)?;
            what(Some(&node.value))
        } else {
            what(self.file.as_deref())
        };
        cancel::cancel(ctx, state, &what)
    }
}

/// Cancels what the `struct io_uring_sync_cancel_reg` at `addr` says, and waits for what cannot be taken
/// out. Returns how many were found if all were meant.
///
/// `ENOENT` if there was none, `ETIME`, `EINTR`, `EINVAL`, `EFAULT`, `EBADF`. Context: may sleep.
pub(crate) fn sync_cancel(ctx: &Ctx, addr: u64) -> Result<i32> {
    let call = Call::read(addr)?;
    let result = {
        let mut state = ctx.state.lock();
        let result = call.cancel(ctx, &mut state);
        crate::complete::settle(ctx, &mut state);
        result
    };
    if result != Err(EALREADY) {
        return result;
    }
    let ts = &call.arg.timeout;
    let clock = Clock::Monotonic;
    let deadline = (ts.tv_sec != -1 || ts.tv_nsec != -1).then(|| Deadline {
        clock,
        at: time::nanoseconds(ts).saturating_add(clock.now()),
    });
    let result = wait::until(ctx, deadline, |state| match call.cancel(ctx, state) {
        Err(err) if err == EALREADY => None,
        result => Some(result),
    });
    match result {
        Err(err) if err == ENOENT => Ok(0),
        Ok(_) => Ok(0),
        err => err,
    }
}
