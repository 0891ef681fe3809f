// SPDX-License-Identifier: GPL-2.0

//! Times as applications tell them.

#![forbid(unsafe_code)]

use crate::sys::{
    abi_types as c,
    task,
    uaccess, //
};
use kernel::prelude::*;

/// Reads a `struct __kernel_timespec` at a user address, as `get_timespec64()` does. `EFAULT`.
pub(crate) fn read(addr: u64) -> Result<c::__kernel_timespec> {
    let mut ts: c::__kernel_timespec = uaccess::read(addr)?;
    if task::in_compat_syscall() {
        // A 32-bit program may leave the upper half of the field unset.
        ts.tv_nsec &= 0xffff_ffff;
    }
    Ok(ts)
}

/// Its nanoseconds, as `timespec64_to_ktime()` has them.
pub(crate) fn nanoseconds(ts: &c::__kernel_timespec) -> i64 {
    ts.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(ts.tv_nsec)
}
