// SPDX-License-Identifier: GPL-2.0

//! `RUST_URING_REGISTER_RELEASE`, an operation of our own: see [`crate::release`].

#![forbid(unsafe_code)]

use crate::{
    abi::ReleaseArg,
    ctx::Ctx,
    release,
    span::Span,
    sys::{
        task::{
            Clock,
            Deadline, //
        },
        uaccess, //
    },
    time, //
};
use kernel::prelude::*;

/// Lets go of the memory that the `struct rust_uring_release` at `addr` says. `EFAULT`, `EINVAL`, and see
/// [`release::release`]. Context: may sleep.
pub(crate) fn release(ctx: &Ctx, addr: u64) -> Result<i32> {
    let arg: ReleaseArg = uaccess::read(addr)?;
    if arg.flags != 0 || arg.resv != 0 || arg.addr.checked_add(arg.len).is_none() {
        return Err(EINVAL);
    }
    let span = match (arg.addr, arg.len) {
        (0, 0) => Span::ALL,
        (_, 0) => return Err(EINVAL),
        (addr, len) => Span::new(addr, len),
    };
    let clock = Clock::Monotonic;
    let ts = &arg.timeout;
    let deadline = (ts.tv_sec != -1 || ts.tv_nsec != -1).then(|| Deadline {
        clock,
        at: time::nanoseconds(ts).saturating_add(clock.now()),
    });
    release::release(ctx, span, deadline)
}
