// SPDX-License-Identifier: GPL-2.0

//! Credentials and what they permit.
//!
//! C header: [`include/linux/cred.h`](srctree/include/linux/cred.h)

use crate::sys::ffi;
use core::ptr::NonNull;
use kernel::{
    bindings,
    cred::Credential,
    prelude::*,
    sync::aref::ARef, //
};

/// The credentials of the current task.
pub(crate) fn current() -> Result<ARef<Credential>> {
    // SAFETY: No requirements; returns a counted reference.
    let cred = unsafe { ffi::uring_get_cred() }.cast_mut();
    let cred = NonNull::new(cred.cast::<Credential>()).ok_or(EINVAL)?;
    // SAFETY: `Credential` is transparent over `struct cred`, and the count is ours.
    Ok(unsafe { ARef::from_raw(cred) })
}

/// Whether the current task acts with `cred`.
pub(crate) fn are_current(cred: &ARef<Credential>) -> bool {
    // SAFETY: No requirements; the pointer is only compared.
    let current = unsafe { ffi::uring_peek_cred() };
    core::ptr::eq(current, cred.as_ptr())
}

/// Whether the current task has `CAP_SYS_ADMIN`.
pub(crate) fn capable_sys_admin() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_capable(bindings::CAP_SYS_ADMIN as c_int) }
}

/// Whether the current task has `CAP_IPC_LOCK`; not audited.
pub(crate) fn capable_ipc_lock() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_capable_noaudit(bindings::CAP_IPC_LOCK as c_int) }
}

/// Whether the current task is in group `gid` of the initial user namespace.
pub(crate) fn in_group(gid: i32) -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_in_group(gid) }
}

/// While it lives, the current task acts with other credentials.
pub(crate) struct Overridden {
    old: *const bindings::cred,
    _new: ARef<Credential>,
}

impl Overridden {
    /// The same, unless the current task acts with them anyway.
    pub(crate) fn unless_current(cred: &ARef<Credential>) -> Option<Self> {
        (!are_current(cred)).then(|| Self::new(cred))
    }

    /// Puts `cred` in place, which is held until the end.
    pub(crate) fn new(cred: &ARef<Credential>) -> Self {
        // SAFETY: The reference is kept as long as they are in place.
        let old = unsafe { ffi::uring_override_creds(cred.as_ptr()) };
        Self {
            old,
            _new: cred.clone(),
        }
    }
}

impl Drop for Overridden {
    fn drop(&mut self) {
        // SAFETY: What was there before; it is not bound to another task since a raw pointer keeps
        // this from being sent.
        unsafe { ffi::uring_revert_creds(self.old) };
    }
}
