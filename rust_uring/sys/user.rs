// SPDX-License-Identifier: GPL-2.0

//! Memory that counts against `RLIMIT_MEMLOCK` of a user.
//!
//! C header: [`include/linux/sched/user.h`](srctree/include/linux/sched/user.h)

use crate::sys::ffi;
use core::ptr::NonNull;
use kernel::{
    bindings,
    mm::Mm,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// A user whose locked memory is counted.
///
/// # Invariants
///
/// Owns a reference to the `user_struct`.
pub(crate) struct User(NonNull<bindings::user_struct>);

// SAFETY: A `user_struct` is shared between tasks; what we touch in it is atomic.
unsafe impl Send for User {}
// SAFETY: As for `Send`.
unsafe impl Sync for User {}

impl User {
    /// The user of the current task.
    pub(crate) fn current() -> Result<Self> {
        // SAFETY: No requirements; returns a counted reference.
        let user = unsafe { ffi::uring_get_user() };
        // INVARIANT: The reference just taken.
        Ok(Self(NonNull::new(user).ok_or(EINVAL)?))
    }
}

impl User {
    /// Whether both are the same user.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: The reference is ours by the invariants.
        unsafe { bindings::free_uid(self.0.as_ptr()) };
    }
}

/// Pages that are charged to a user, and shown with a process if they are pinned pages of it, for as
/// long as this lives.
pub(crate) struct Charge {
    user: Arc<User>,
    mm: Option<ARef<Mm>>,
    pages: usize,
}

impl Charge {
    /// Charges `pages` pages; `mm` if they are pinned. `ENOMEM` when that exceeds the limit of the
    /// current task.
    pub(crate) fn new(user: &Arc<User>, mm: Option<&ARef<Mm>>, pages: usize) -> Result<Self> {
        // SAFETY: The user is valid by its invariants.
        kernel::error::to_result(unsafe { ffi::uring_account_pages(user.0.as_ptr(), pages) })?;
        if let Some(mm) = mm {
            // SAFETY: The reference keeps it. CAST: Less than there is memory.
            unsafe { ffi::uring_account_pinned(mm.as_raw(), pages as isize) };
        }
        Ok(Self {
            user: user.clone(),
            mm: mm.cloned(),
            pages,
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // SAFETY: The user is valid by its invariants, and these pages were charged to it.
        unsafe { ffi::uring_unaccount_pages(self.user.0.as_ptr(), self.pages) };
        if let Some(mm) = &self.mm {
            // SAFETY: As in `new`.
            unsafe { ffi::uring_account_pinned(mm.as_raw(), -(self.pages as isize)) };
        }
    }
}
