// SPDX-License-Identifier: GPL-2.0

//! An eventfd to signal.
//!
//! C header: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h)

use crate::sys::ffi;
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    prelude::*, //
};

/// # Invariants
///
/// Owns a reference to the `eventfd_ctx`.
pub(crate) struct EventFd(NonNull<bindings::eventfd_ctx>);

// SAFETY: An eventfd may be signalled from any context.
unsafe impl Send for EventFd {}
// SAFETY: As for `Send`.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// The eventfd behind a descriptor of the current task. `EBADF`; `EINVAL` if it is not one.
    pub(crate) fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: No requirements; returns a counted reference or an error.
        let ctx = from_err_ptr(unsafe { bindings::eventfd_ctx_fdget(fd) })?;
        // INVARIANT: The reference just taken.
        Ok(Self(NonNull::new(ctx).ok_or(EBADF)?))
    }

    /// Adds one to the counter. Returns false, and does nothing, when that would recurse: the
    /// current context is itself in the middle of signalling an eventfd. Context: any.
    pub(crate) fn signal(&self) -> bool {
        // SAFETY: No requirements.
        if !unsafe { ffi::uring_eventfd_signal_allowed() } {
            return false;
        }
        // SAFETY: The reference keeps it alive.
        unsafe { bindings::eventfd_signal_mask(self.0.as_ptr(), ffi::URING_EPOLL_WAKE) };
        true
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: The reference is ours by the invariants.
        unsafe { bindings::eventfd_ctx_put(self.0.as_ptr()) };
    }
}
