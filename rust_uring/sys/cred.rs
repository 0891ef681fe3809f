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
