// SPDX-License-Identifier: GPL-2.0

//! Files whose operations are ours: the anonymous-inode file behind a ring descriptor.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/anon_inodes.h`](srctree/include/linux/anon_inodes.h)

use crate::{
    sys::{
        ffi,
        wait::PollCall, //
    },
    LocalModule, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{
        from_err_ptr,
        from_result, //
    },
    fs::File,
    mm::virt::VmaNew,
    module::this_module,
    prelude::*,
    seq_file::SeqFile,
    sync::aref::ARef, //
};

/// What the file does. All calls but `release` come with the file held open.
pub(crate) trait RingFile: Send + Sync + Sized + 'static {
    /// Name of the inode in `/proc/<pid>/fd`.
    const NAME: &'static CStr;

    /// `ioctl(2)`; `compat` for a 32-bit caller. Context: may sleep.
    fn ioctl(&self, file: &File, cmd: u32, arg: usize) -> Result<isize>;

    /// `fadvise64(2)`: what it returns, or `None` for advice that is not ours. Context: may sleep.
    fn advise(&self, offset: i64, len: i64, advice: i32) -> Option<Result<i32>>;

    /// `poll(2)` and `epoll_wait(2)`: what is ready now. Context: must not take a lock that is held
    /// while a file is polled.
    fn poll<'a>(&'a self, call: &PollCall<'a>) -> u32;

    /// `mmap(2)` at byte offset `offset`. Context: holds the caller's `mmap_lock`.
    fn mmap(&self, vma: &VmaNew, offset: u64) -> Result;

    /// Whether something can be mapped at byte offset `offset`. Context: as for `mmap`.
    fn can_mmap(&self, offset: u64) -> Result;

    /// One descriptor of the file is closed. Context: may sleep, but the process may be dying.
    fn flush(&self);

    /// `/proc/<pid>/fdinfo/<fd>`. Context: may sleep.
    fn show_fdinfo(&self, m: &SeqFile);

    /// The last reference is gone. Context: may sleep, in any task.
    fn release(this: Pin<KBox<Self>>);
}

/// The one table of operations for files with `T` behind them.
///
/// Not inlined, so that there is one table and its address names the type.
#[inline(never)]
fn operations<T: RingFile>() -> &'static bindings::file_operations {
    struct Table<T>(core::marker::PhantomData<T>);

    impl<T: RingFile> Table<T> {
        const OPS: bindings::file_operations = bindings::file_operations {
            owner: this_module::<LocalModule>().as_ptr(),
            release: Some(release::<T>),
            flush: Some(flush::<T>),
            poll: Some(poll::<T>),
            unlocked_ioctl: Some(ioctl::<T>),
            compat_ioctl: bindings::compat_ptr_ioctl,
            fadvise: Some(fadvise::<T>),
            mmap: Some(mmap::<T>),
            get_unmapped_area: Some(get_unmapped_area::<T>),
            show_fdinfo: Some(show_fdinfo::<T>),
            ..pin_init::zeroed()
        };
    }

    &Table::<T>::OPS
}

/// Creates a file with `data` behind it. The caller gives it a descriptor, or keeps it.
///
/// Context: may sleep. `ENFILE`, `ENOMEM`, or what the security module says; `data` is released then
/// as if the file had been closed.
pub(crate) fn create<T: RingFile>(data: Pin<KBox<T>>) -> Result<ARef<File>> {
    // SAFETY: It is not moved: only its address is handed on, until `release`.
    let data = KBox::into_raw(unsafe { Pin::into_inner_unchecked(data) });
    // SAFETY: The table is static, the name too. The file owns `data` from now on if there is one.
    let file = from_err_ptr(unsafe {
        ffi::anon_inode_create_getfile(
            T::NAME.as_char_ptr(),
            operations::<T>(),
            data.cast(),
            (bindings::O_RDWR | bindings::O_CLOEXEC) as c_int,
            core::ptr::null(),
        )
    });
    match file {
        Ok(file) => {
            let file = NonNull::new(file.cast::<File>()).ok_or(ENFILE)?;
            // SAFETY: A counted reference to a file that nobody else has yet.
            Ok(unsafe { ARef::from_raw(file) })
        }
        Err(err) => {
            // SAFETY: No file took it, so it is still ours, and it was pinned.
            T::release(unsafe { Pin::new_unchecked(KBox::from_raw(data)) });
            Err(err)
        }
    }
}

/// What is behind `file`, if it is a file of this kind.
#[inline]
pub(crate) fn data<T: RingFile>(file: &File) -> Option<&T> {
    let file = file.as_ptr();
    // SAFETY: `f_op` does not change while the file is open.
    if !core::ptr::eq(unsafe { (*file).f_op }, operations::<T>()) {
        return None;
    }
    // SAFETY: With these operations `private_data` comes from `create`, and stays until the last
    // reference is gone.
    Some(unsafe { &*(*file).private_data.cast::<T>() })
}

/// The file of descriptor `fd` of the current task. `EBADF`.
pub(crate) fn fget(fd: u32) -> Result<ARef<File>> {
    let file = kernel::fs::LocalFile::fget(fd)?;
    // SAFETY: We are in an ioctl on a file without a position lock, so no `fdget_pos` is active in
    // this system call.
    Ok(unsafe { kernel::fs::LocalFile::assume_no_fdget_pos(file) })
}

/// # Safety
///
/// `file` is open and has `T` behind it, for as long as the result is used.
unsafe fn borrow<'a, T>(file: *mut bindings::file) -> &'a T {
    // SAFETY: By the contract; `create` put it there.
    unsafe { &*(*file).private_data.cast::<T>() }
}

/// `f_op->release`
///
/// # Safety
///
/// Called by the VFS for a file made by [`create`] with `T` behind it.
unsafe extern "C" fn release<T: RingFile>(
    _inode: *mut bindings::inode,
    file: *mut bindings::file,
) -> c_int {
    // SAFETY: Called once for a file of `create`; its data was pinned there.
    T::release(unsafe { Pin::new_unchecked(KBox::from_raw((*file).private_data.cast::<T>())) });
    0
}

/// `f_op->flush`
///
/// # Safety
///
/// Called by the VFS for a file made by [`create`] with `T` behind it.
unsafe extern "C" fn flush<T: RingFile>(
    file: *mut bindings::file,
    _owner: bindings::fl_owner_t,
) -> c_int {
    // SAFETY: The file is open.
    unsafe { borrow::<T>(file) }.flush();
    0
}

/// `f_op->poll`
///
/// # Safety
///
/// Called by the VFS for a file made by [`create`] with `T` behind it.
unsafe extern "C" fn poll<T: RingFile>(
    file: *mut bindings::file,
    table: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // SAFETY: The file is open; the table is null or valid for the call, and entries that it makes go
    // before the file's data does.
    unsafe { borrow::<T>(file).poll(&PollCall::new(file, table)) }
}

/// `f_op->unlocked_ioctl`
///
/// # Safety
///
/// Called by the VFS for a file made by [`create`] with `T` behind it.
unsafe extern "C" fn ioctl<T: RingFile>(
    file: *mut bindings::file,
    cmd: c_uint,
    arg: c_ulong,
) -> c_long {
    // SAFETY: The file is open.
    match unsafe { borrow::<T>(file).ioctl(File::from_raw_file(file), cmd, arg) } {
        Ok(value) => value,
        Err(err) => err.to_errno() as c_long,
    }
}

/// `f_op->fadvise`
///
/// # Safety
///
/// Called by the VFS for a file made by [`create`] with `T` behind it.
unsafe extern "C" fn fadvise<T: RingFile>(
    file: *mut bindings::file,
    offset: bindings::loff_t,
    len: bindings::loff_t,
    advice: c_int,
) -> c_int {
    // SAFETY: The file is open.
    match unsafe { borrow::<T>(file) }.advise(offset, len, advice) {
        Some(Ok(value)) => value,
        Some(Err(err)) => err.to_errno(),
        // SAFETY: The file is open; it is what the VFS does for files without an operation.
        None => unsafe { bindings::generic_fadvise(file, offset, len, advice) },
    }
}

/// `f_op->mmap`
///
/// # Safety
///
/// Called by the VFS for a file made by [`create`] with `T` behind it.
unsafe extern "C" fn mmap<T: RingFile>(
    file: *mut bindings::file,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    // SAFETY: The file is open; the area is being set up.
    let (this, vma) = unsafe { (borrow::<T>(file), VmaNew::from_raw(vma)) };
    // SAFETY: The area is valid.
    let offset = (unsafe { (*vma.as_ptr()).vm_pgoff } as u64) << kernel::page::PAGE_SHIFT;
    from_result(|| this.mmap(vma, offset).map(|()| 0))
}

/// `f_op->get_unmapped_area`
///
/// # Safety
///
/// Called by the VFS for a file made by [`create`] with `T` behind it.
unsafe extern "C" fn get_unmapped_area<T: RingFile>(
    file: *mut bindings::file,
    addr: c_ulong,
    len: c_ulong,
    pgoff: c_ulong,
    flags: c_ulong,
) -> c_ulong {
    // SAFETY: The file is open.
    let this = unsafe { borrow::<T>(file) };
    let check = if addr != 0 {
        // The kernel chooses the address, as for a native ring.
        Err(EINVAL)
    } else {
        this.can_mmap((pgoff as u64) << kernel::page::PAGE_SHIFT)
    };
    match check {
        // SAFETY: No requirements but the context, which is that of `mmap(2)`.
        Ok(()) => unsafe { ffi::uring_get_unmapped_area(len, flags) },
        // CAST: Errors are the highest addresses.
        Err(err) => err.to_errno() as isize as c_ulong,
    }
}

/// `f_op->show_fdinfo`
///
/// # Safety
///
/// Called by the VFS for a file made by [`create`] with `T` behind it.
unsafe extern "C" fn show_fdinfo<T: RingFile>(
    m: *mut bindings::seq_file,
    file: *mut bindings::file,
) {
    // SAFETY: The file is open; `m` is ours for the call.
    unsafe { borrow::<T>(file).show_fdinfo(SeqFile::from_raw(m)) }
}
