// SPDX-License-Identifier: GPL-2.0

//! The table of descriptors of a process, shared with a thread that the kernel made without one.
//!
//! C header: [`include/linux/fdtable.h`](srctree/include/linux/fdtable.h)

use crate::sys::ffi;
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*, //
};

/// A share in a table.
///
/// # Invariants
///
/// A counted reference. Whoever it was taken from shares the table still, unless a thread of ours has
/// the reference by then.
pub(crate) struct FdTable(NonNull<bindings::files_struct>);

// SAFETY: A table may be used and counted by any task.
unsafe impl Send for FdTable {}

impl FdTable {
    /// A share in the table of the current task. `EBADF` for a task that has none.
    ///
    /// From now on the kernel counts the files that the task uses in a system call: another thread might
    /// close them. The file of *this* call is not counted if the task was alone with its table: whoever
    /// closes it meanwhile has to hold it until the call is over.
    pub(crate) fn share() -> Result<Self> {
        // SAFETY: No requirements; returns a counted reference or null.
        let files = unsafe { ffi::uring_share_files() };
        // INVARIANT: As above; the current task has the table.
        Ok(Self(NonNull::new(files).ok_or(EBADF)?))
    }

    /// Makes it the table of the current thread, which has none, until the thread exits.
    pub(crate) fn keep(self) {
        // SAFETY: The reference is ours, and given up if the thread takes it.
        if unsafe { ffi::uring_keep_files(self.0.as_ptr()) } {
            core::mem::forget(self);
        }
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        // SAFETY: The reference is ours, and not the last one by the invariants.
        unsafe { ffi::uring_unshare_files(self.0.as_ptr()) };
    }
}

/// What tells the table of the current task from others for as long as somebody uses it; 0 for none.
pub(crate) fn current_id() -> usize {
    // SAFETY: No requirements.
    unsafe { ffi::uring_files_id() }
}
