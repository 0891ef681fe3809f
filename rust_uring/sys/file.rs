// SPDX-License-Identifier: GPL-2.0

//! What has to be known about a file that requests are made on.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::sys::ffi;
use kernel::fs::File;

/// Whether a file belongs to the kernel's own io_uring.
pub(crate) fn is_native_ring(file: &File) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_is_native_ring(file.as_ptr()) }
}

/// Whether it is a UNIX socket, which can carry other files.
pub(crate) fn is_unix_socket(file: &File) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_is_unix_socket(file.as_ptr()) }
}

/// Descriptors that the current task may have (`RLIMIT_NOFILE`).
pub(crate) fn nofile_limit() -> usize {
    // SAFETY: No requirements.
    unsafe { ffi::uring_nofile_limit() }
}
