// SPDX-License-Identifier: GPL-2.0

//! What has to be known about a file that requests are made on.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/ioprio.h`](srctree/include/linux/ioprio.h)

use crate::sys::ffi;
use kernel::{
    bindings,
    error::to_result,
    fs::File,
    prelude::*,
    seq_file::SeqFile,
    sync::aref::ARef, //
};

/// Whether a file belongs to the kernel's own io_uring.
pub(crate) fn is_native_ring(file: &File) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_is_native_ring(file.as_ptr()) }
}

/// Whether [`is_native_ring`] or [`is_signalfd`].
pub(crate) fn is_native_ring_or_signalfd(file: &File) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_is_native_ring_or_signalfd(file.as_ptr()) }
}

/// Descriptors that the current task may have (`RLIMIT_NOFILE`).
pub(crate) fn nofile_limit() -> usize {
    // SAFETY: No requirements.
    unsafe { ffi::uring_nofile_limit() }
}

#[inline]
fn mode(file: &File) -> u32 {
    // SAFETY: The file is open; the mode does not change.
    unsafe { (*file.as_ptr()).f_mode }
}

/// What kind of file it is (`S_IF*`).
#[inline]
fn kind(file: &File) -> u32 {
    // SAFETY: The file is open, so it has its inode, whose kind does not change. The other bits may, so it
    // is read once.
    let mode = unsafe { (&raw const (*(*file.as_ptr()).f_inode).i_mode).read_volatile() };
    u32::from(mode) & bindings::S_IFMT
}

/// Whether it was opened for reading.
#[inline]
pub(crate) fn is_readable(file: &File) -> bool {
    mode(file) & ffi::URING_FMODE_READ != 0
}

/// Whether it was opened for writing.
#[inline]
pub(crate) fn is_writable(file: &File) -> bool {
    mode(file) & ffi::URING_FMODE_WRITE != 0
}

/// Whether it is one of a device that takes protection information.
pub(crate) fn has_metadata(file: &File) -> bool {
    mode(file) & ffi::URING_FMODE_HAS_METADATA != 0
}

/// Writes the file's path, with white space and backslashes escaped. Stands for `seq_file_path()`.
pub(crate) fn show_path(m: &SeqFile, file: &File) {
    let m = core::ptr::from_ref(m)
        .cast_mut()
        .cast::<bindings::seq_file>();
    // SAFETY: `SeqFile` is a transparent wrapper of a `seq_file`, which is ours while it is shown; the
    // file is open.
    unsafe { bindings::seq_file_path(m, file.as_ptr(), c" \t\n\\".as_char_ptr()) };
}

/// Whether it is a regular file.
#[inline]
pub(crate) fn is_reg(file: &File) -> bool {
    kind(file) == bindings::S_IFREG
}

/// Whether it is a block device.
#[inline]
pub(crate) fn is_blk(file: &File) -> bool {
    kind(file) == bindings::S_IFBLK
}

/// Whether it has no position.
#[inline]
pub(crate) fn is_stream(file: &File) -> bool {
    mode(file) & ffi::URING_FMODE_STREAM != 0
}

/// Whether it can say when it is ready.
pub(crate) fn can_poll(file: &File) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_can_poll(file.as_ptr()) }
}

/// Whether what it tells, and gives, depends on who asks.
pub(crate) fn is_signalfd(file: &File) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_is_signalfd(file.as_ptr()) }
}

/// Whether reading it, or writing, depends on who does it.
pub(crate) fn asks_who(file: &File, write: bool) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_asks_who(file.as_ptr(), write) }
}

/// Whether it is an eventfd or an inotify queue: who reads and writes these does not matter.
pub(crate) fn is_counter(file: &File) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_is_counter(file.as_ptr()) }
}

/// Whether it is a block device, or a regular file to which nothing but the credentials matters of the one who
/// reads and writes it.
pub(crate) fn is_storage(file: &File) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_is_storage(file.as_ptr()) }
}

/// Whether it can be read, or written, with flags for just this transfer.
pub(crate) fn has_iter(file: &File, write: bool) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_has_iter(file.as_ptr(), write) }
}

/// Whether it is a pipe.
pub(crate) fn is_fifo(file: &File) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_is_fifo(file.as_ptr()) }
}

/// Whether it is a socket of the `AF_UNIX` family.
#[inline]
pub(crate) fn is_unix_socket(file: &File) -> bool {
    // SAFETY: The file is open.
    kind(file) == bindings::S_IFSOCK && unsafe { ffi::uring_file_is_unix_socket(file.as_ptr()) }
}

/// Whether it is ready now, for reading or for writing.
pub(crate) fn is_ready(file: &File, write: bool) -> bool {
    let mask = if write {
        ffi::URING_EPOLLOUT
    } else {
        ffi::URING_EPOLLIN
    };
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_polls(file.as_ptr(), mask) }
}

/// Waits until it is ready for reading or for writing, or has failed. `EINTR` if the thread has
/// something else to do first. Context: may sleep.
pub(crate) fn wait_ready(file: &File, write: bool) -> Result {
    let mask = if write {
        ffi::URING_EPOLLOUT | ffi::URING_EPOLLWRNORM
    } else {
        ffi::URING_EPOLLIN | ffi::URING_EPOLLRDNORM
    };
    // SAFETY: The file is open.
    to_result(unsafe { ffi::uring_file_wait_ready(file.as_ptr(), mask) })
}

/// Lets go of a file, in a thread that never returns to user space: if it was the last reference the
/// file is closed at once. Context: may sleep.
pub(crate) fn put_now(file: ARef<File>) {
    let file = ARef::into_raw(file);
    // SAFETY: The reference is ours, and given up here.
    unsafe { bindings::__fput_sync(file.as_ptr().cast()) };
}

/// Lets go of a file, as [`put_now`] where that is called for. Context: may sleep.
pub(crate) fn put(file: ARef<File>) {
    // SAFETY: No requirements.
    if unsafe { ffi::uring_is_user_worker() } {
        put_now(file);
    }
}

/// Whether the page cache is bypassed (`O_DIRECT`).
#[inline]
pub(crate) fn is_direct(file: &File) -> bool {
    file.flags() & kernel::fs::file::flags::O_DIRECT != 0
}

/// Whether it was opened or set not to block (`O_NONBLOCK`).
#[inline]
pub(crate) fn is_nonblocking(file: &File) -> bool {
    file.flags() & kernel::fs::file::flags::O_NONBLOCK != 0
}

/// Whether it can be told not to block.
#[inline]
pub(crate) fn supports_nowait(file: &File) -> bool {
    is_nonblocking(file) || mode(file) & ffi::URING_FMODE_NOWAIT != 0
}

/// Whether it can take buffered writes without blocking.
pub(crate) fn async_write(file: &File) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_async_write(file.as_ptr()) }
}

/// Whether several direct writes to it can run at the same time.
pub(crate) fn parallel_writes(file: &File) -> bool {
    // SAFETY: The file is open.
    unsafe { ffi::uring_file_parallel_dio(file.as_ptr()) }
}

/// A number that tells the file's inode from others, while the file is open.
pub(crate) fn inode_key(file: &File) -> usize {
    // SAFETY: The file is open.
    unsafe { (*file.as_ptr()).f_inode }.addr()
}

/// Its own position. Not locked, as natively.
#[inline]
pub(crate) fn pos(file: &File) -> i64 {
    // SAFETY: The file is open; read once, whoever changes it.
    unsafe { (&raw const (*file.as_ptr()).f_pos).read_volatile() }
}

/// Sets its own position. Not locked, as natively.
#[inline]
pub(crate) fn set_pos(file: &File, pos: i64) {
    // SAFETY: As for `pos`.
    unsafe { (&raw mut (*file.as_ptr()).f_pos).write_volatile(pos) }
}

/// Tells those who watch the file that it was read or written.
pub(crate) fn notify(file: &File, write: bool) {
    // SAFETY: The file is open.
    unsafe {
        if write {
            ffi::uring_fsnotify_modify(file.as_ptr())
        } else {
            ffi::uring_fsnotify_access(file.as_ptr())
        }
    }
}

/// Whether the current task may use this I/O priority. `EPERM`, `EINVAL`.
pub(crate) fn check_ioprio(ioprio: u16) -> Result {
    // SAFETY: No requirements.
    to_result(unsafe { ffi::uring_check_ioprio(c_int::from(ioprio)) })
}

/// The current task's I/O priority.
pub(crate) fn current_ioprio() -> u16 {
    // SAFETY: No requirements.
    unsafe { ffi::uring_current_ioprio() }
}

/// Writes what is dirty in a range of the file to its storage. Context: may sleep.
pub(crate) fn fsync(file: &File, start: i64, end: i64, data_only: bool) -> Result {
    // SAFETY: The file is open.
    to_result(unsafe {
        bindings::vfs_fsync_range(file.as_ptr(), start, end, c_int::from(data_only))
    })
}

/// `sync_file_range(2)`. Context: may sleep.
pub(crate) fn sync_range(file: &File, offset: i64, len: i64, flags: u32) -> Result {
    // SAFETY: The file is open.
    to_result(unsafe { ffi::uring_sync_file_range(file.as_ptr(), offset, len, flags) })
}

/// `ftruncate(2)`. Context: may sleep.
pub(crate) fn truncate(file: &File, len: i64) -> Result {
    // SAFETY: The file is open.
    to_result(unsafe { ffi::uring_ftruncate(file.as_ptr(), len) })
}

/// `posix_fadvise(2)`. Context: may sleep.
pub(crate) fn fadvise(file: &File, offset: i64, len: i64, advice: i32) -> Result {
    // SAFETY: The file is open.
    to_result(unsafe { bindings::vfs_fadvise(file.as_ptr(), offset, len, advice) })
}

/// `fallocate(2)`. Context: may sleep.
pub(crate) fn fallocate(file: &File, mode: i32, offset: i64, len: i64) -> Result {
    // SAFETY: The file is open.
    to_result(unsafe { bindings::vfs_fallocate(file.as_ptr(), mode, offset, len) })
}
