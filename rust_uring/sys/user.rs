// SPDX-License-Identifier: GPL-2.0

//! Memory that counts against `RLIMIT_MEMLOCK` of a user.
//!
//! C header: [`include/linux/sched/user.h`](srctree/include/linux/sched/user.h)

use crate::sys::ffi;
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    sync::Arc, //
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

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: The reference is ours by the invariants.
        unsafe { bindings::free_uid(self.0.as_ptr()) };
    }
}

/// Pages that are charged to a user for as long as this lives.
pub(crate) struct Charge {
    user: Arc<User>,
    pages: usize,
}

impl Charge {
    /// Charges `pages` pages. `ENOMEM` when that exceeds the limit of the current task.
    pub(crate) fn new(user: &Arc<User>, pages: usize) -> Result<Self> {
        // SAFETY: The user is valid by its invariants.
        kernel::error::to_result(unsafe { ffi::uring_account_pages(user.0.as_ptr(), pages) })?;
        Ok(Self {
            user: user.clone(),
            pages,
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        // SAFETY: The user is valid by its invariants, and these pages were charged to it.
        unsafe { ffi::uring_unaccount_pages(self.user.0.as_ptr(), self.pages) };
    }
}
