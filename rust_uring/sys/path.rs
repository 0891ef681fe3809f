// SPDX-License-Identifier: GPL-2.0

//! Opening and looking at files by path; the descriptors of the submitter.
//!
//! C headers: [`include/linux/namei.h`](srctree/include/linux/namei.h),
//! [`include/linux/fdtable.h`](srctree/include/linux/fdtable.h)

use crate::sys::{
    abi_types as c,
    ffi,
    uaccess, //
};
use core::ptr::{
    null_mut,
    NonNull, //
};
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        to_result, //
    },
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

/// Longest path, with the zero at its end (`PATH_MAX`).
const MAX: usize = bindings::PATH_MAX as usize;

/// A path, copied from user space; with a zero at its end.
pub(crate) struct Path(KVec<u8>);

impl Path {
    /// Copies the path at user address `addr`. `EFAULT`, `ENAMETOOLONG`, `ENOMEM`; an empty one is
    /// `ENOENT` unless it is allowed.
    ///
    /// Context: may sleep.
    pub(crate) fn from_user(addr: u64, allow_empty: bool) -> Result<Self> {
        let mut buf = KVec::with_capacity(64, GFP_KERNEL_ACCOUNT)?;
        loop {
            let byte = uaccess::read::<u8>(addr.wrapping_add(buf.len() as u64))?;
            if buf.len() >= MAX {
                return Err(ENAMETOOLONG);
            }
            buf.push(byte, GFP_KERNEL_ACCOUNT)?;
            if byte == 0 {
                break;
            }
        }
        if buf.len() == 1 && !allow_empty {
            return Err(ENOENT);
        }
        Ok(Self(buf))
    }

    /// Whether it begins at the root.
    pub(crate) fn is_absolute(&self) -> bool {
        self.0.first() == Some(&b'/')
    }

    fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }
}

fn dir_ptr(dir: Option<&File>) -> *mut bindings::file {
    dir.map_or(null_mut(), |d| d.as_ptr())
}

/// The file of a descriptor that may have been opened with `O_PATH`. `EBADF`.
pub(crate) fn fget(fd: i32) -> Result<ARef<File>> {
    // CAST: A negative descriptor is one that does not exist.
    // SAFETY: No requirements; returns a counted reference or null.
    let file = unsafe { ffi::uring_fget_path(fd as u32) };
    let file = NonNull::new(file.cast::<File>()).ok_or(EBADF)?;
    // SAFETY: As above. It is only used as a directory, whose position nobody touches.
    Ok(unsafe { ARef::from_raw(file) })
}

/// Whether opening the path would not have to wait for anything, with these `RESOLVE_*` flags.
/// Context: may sleep, shortly.
pub(crate) fn is_cached(dir: Option<&File>, path: &Path, resolve: u64) -> bool {
    // SAFETY: The path ends with a zero; the directory is open.
    unsafe { ffi::uring_path_cached(dir_ptr(dir), path.as_ptr(), resolve) }
}

/// `openat2(2)`, without a descriptor for the result; `how` has been checked. With `at_once` it does not
/// wait for leases or for the other end of a pipe: `EAGAIN`. Context: may sleep.
pub(crate) fn open(
    dir: Option<&File>,
    path: &Path,
    how: &c::open_how,
    at_once: bool,
) -> Result<ARef<File>> {
    // CAST: Checked to have nothing beyond.
    let mode = how.mode as u16;
    // SAFETY: As for `is_cached`; both return a counted reference or an error.
    let file = unsafe {
        if at_once {
            ffi::uring_open_at_once(dir_ptr(dir), path.as_ptr(), how.flags, mode, how.resolve)
        } else {
            ffi::uring_open_at(dir_ptr(dir), path.as_ptr(), how.flags, mode, how.resolve)
        }
    };
    let file = from_err_ptr(file)?;
    let file = NonNull::new(file.cast::<File>()).ok_or(ENOENT)?;
    // SAFETY: As above; nobody else has the file yet.
    Ok(unsafe { ARef::from_raw(file) })
}

/// `statx(2)`, to user address `buffer`. Context: may sleep.
pub(crate) fn statx(dir: Option<&File>, path: &Path, flags: u32, mask: u32, buffer: u64) -> Result {
    let mut out: c::statx = uaccess::zeroed();
    // SAFETY: As for `is_cached`; `out` is valid for the write, and is the kernel's own structure.
    to_result(unsafe {
        ffi::uring_statx_at(
            dir_ptr(dir),
            path.as_ptr(),
            flags,
            mask,
            core::ptr::from_mut(&mut out).cast(),
        )
    })?;
    uaccess::write(buffer, &out)
}

/// Gives a file a descriptor of the current task. `EMFILE`.
pub(crate) fn install(file: ARef<File>, flags: u32) -> Result<i32> {
    let reserved = kernel::fs::file::FileDescriptorReservation::get_unused_fd_flags(flags)?;
    // CAST: A descriptor is not negative.
    let fd = reserved.reserved_fd() as i32;
    reserved.fd_install(file);
    Ok(fd)
}

/// Gives a file that came from elsewhere a descriptor of the current task. `EMFILE`, or what the
/// security module says.
pub(crate) fn receive(file: &File, flags: u32) -> Result<i32> {
    // SAFETY: The file is open. CAST: Same bits.
    let fd = unsafe { bindings::receive_fd(file.as_ptr(), null_mut(), flags) };
    if fd < 0 {
        Err(Error::from_errno(fd))
    } else {
        Ok(fd)
    }
}

/// Closes a descriptor of the current task. `EBADF`, or what closing returns.
pub(crate) fn close(fd: i32) -> Result {
    // CAST: A negative descriptor is one that does not exist.
    // SAFETY: No requirements.
    to_result(unsafe { ffi::close_fd(fd as u32) })
}
