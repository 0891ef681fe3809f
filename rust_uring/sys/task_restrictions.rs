// SPDX-License-Identifier: GPL-2.0

//! What the current task may do with io_uring at all: `current->io_uring_restrict`, which the core
//! inherits on fork and applies to native rings.
//!
//! C header: [`include/linux/io_uring_types.h`](srctree/include/linux/io_uring_types.h)

use crate::sys::ffi;
use kernel::{
    error::to_result,
    prelude::*, //
};

/// The lists: bit maps by opcode, and masks of SQE flags.
pub(crate) use ffi::uring_restrictions as Table;

/// Whether the task has any.
pub(crate) fn present() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_task_restricted() }
}

/// `EACCES` unless the task has given up gaining privileges, or may administrate.
pub(crate) fn may_restrict() -> Result {
    // SAFETY: No requirements.
    if unsafe { ffi::uring_task_may_restrict() } {
        Ok(())
    } else {
        Err(EACCES)
    }
}

/// A copy of the task's lists; it tells if there are filter programs as well.
pub(crate) fn current() -> Option<Table> {
    let mut table = Table::default();
    // SAFETY: `table` is valid for the write.
    unsafe { ffi::uring_task_restrictions(&mut table) }.then_some(table)
}

/// Gives the task its lists; it has none yet. `ENOMEM`.
pub(crate) fn install(table: &Table) -> Result {
    // SAFETY: `table` is valid for the read.
    to_result(unsafe { ffi::uring_restrict_task(table) })
}
