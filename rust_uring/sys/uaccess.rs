// SPDX-License-Identifier: GPL-2.0

//! Structures from and to user space, at addresses that user space names as 64-bit numbers.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h)

use crate::sys::{
    abi_types as c,
    ffi,
    task, //
};
use core::mem::{
    size_of,
    MaybeUninit, //
};
use kernel::{
    prelude::*,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// A structure of the ABI: plain data.
///
/// # Safety
///
/// Every bit pattern is a value of the type, it has no padding and no interior mutability.
pub(crate) unsafe trait Pod: Copy + 'static {}

macro_rules! pod {
    ($($ty:ty),* $(,)?) => {$(
        // SAFETY: A C structure of integers whose padding is spelled out as fields.
        unsafe impl Pod for $ty {}
    )*};
}

pod!(
    u8,
    u32,
    i32,
    u64,
    [u32; 2],
    [u64; 2],
    [u64; 8],
    crate::abi::Sqe,
    crate::abi::SqeHead,
    crate::abi::SqeAddresses,
    crate::abi::SqeOptions,
    crate::abi::SqeNames,
    crate::abi::SqeRest,
    c::__kernel_timespec,
    c::io_uring_attr_pi,
    c::io_uring_buf,
    c::io_uring_buf_reg,
    c::io_uring_buf_status,
    c::io_uring_clock_register,
    c::io_uring_sync_cancel_reg,
    c::io_uring_clone_buffers,
    c::io_uring_getevents_arg,
    c::io_uring_mem_region_reg,
    c::io_uring_params,
    c::io_uring_probe_op,
    c::io_uring_query_hdr,
    c::io_uring_query_opcode,
    c::io_uring_query_scq,
    c::io_uring_reg_wait,
    c::io_uring_region_desc,
    c::io_uring_rsrc_register,
    c::io_uring_rsrc_update,
    c::io_uring_rsrc_update2,
    c::rust_uring_enter,
    c::rust_uring_register,
    c::rust_uring_release,
    c::rust_uring_setup,
    c::open_how,
    c::statx,
);

/// A user address out of a 64-bit field; on a 64-bit kernel none is cut off.
fn user_ptr(addr: u64) -> UserPtr {
    UserPtr::from_addr(addr as usize)
}

/// Up to where addresses are in user space on every machine, 0 if that is not known.
const SURELY_USER_END: u64 = if cfg!(all(target_arch = "x86_64", not(CONFIG_UML))) {
    // With four levels of page tables.
    (1 << 47) - kernel::page::PAGE_SIZE as u64
} else {
    0
};

/// Whether a range is in user space; it need not be there. Stands for `access_ok()`.
#[inline(always)]
pub(crate) fn is_user(addr: u64, len: usize) -> bool {
    let last = SURELY_USER_END.checked_sub(len as u64);
    last.is_some_and(|last| addr <= last) || is_user_here(addr, len)
}

/// The same on this machine.
#[cold]
fn is_user_here(addr: u64, len: usize) -> bool {
    // SAFETY: Only compares the addresses.
    unsafe { ffi::uring_access_ok(addr, len) }
}

/// Copies a `T` from user space.
///
/// Context: may sleep. `EFAULT` when any byte cannot be read.
pub(crate) fn read<T: Pod>(addr: u64) -> Result<T> {
    let mut value = MaybeUninit::<T>::uninit();
    let len = size_of::<T>();
    // SAFETY: The slice covers exactly `value`; `MaybeUninit<u8>` may hold anything.
    let bytes = unsafe {
        core::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<MaybeUninit<u8>>(), len)
    };
    UserSlice::new(user_ptr(addr), len)
        .reader()
        .read_raw(bytes)?;
    // SAFETY: All bytes were written, and any bit pattern is a `T` by the contract of `Pod`.
    Ok(unsafe { value.assume_init() })
}

/// Copies a `T` to user space.
///
/// Context: may sleep. `EFAULT` when any byte cannot be written.
pub(crate) fn write<T: Pod>(addr: u64, value: &T) -> Result {
    let len = size_of::<T>();
    // SAFETY: A `Pod` has no padding, so all its bytes are initialised.
    let bytes =
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast::<u8>(), len) };
    UserSlice::new(user_ptr(addr), len)
        .writer()
        .write_slice(bytes)
}

/// Copies `bytes.len()` bytes from user space.
///
/// Context: may sleep. `EFAULT` when any byte cannot be read.
pub(crate) fn read_bytes(addr: u64, bytes: &mut [u8]) -> Result {
    UserSlice::new(user_ptr(addr), bytes.len())
        .reader()
        .read_slice(bytes)
}

/// Copies `bytes` to user space.
///
/// Context: may sleep. `EFAULT` when any byte cannot be written.
pub(crate) fn write_bytes(addr: u64, bytes: &[u8]) -> Result {
    UserSlice::new(user_ptr(addr), bytes.len())
        .writer()
        .write_slice(bytes)
}

/// The bytes of a structure, to be cut to what the caller asked for.
pub(crate) fn bytes_of<T: Pod>(value: &T) -> &[u8] {
    // SAFETY: A `Pod` has no padding, so all its bytes are initialised, and it cannot change while
    // it is borrowed.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }
}

/// A structure of zeroes.
pub(crate) fn zeroed<T: Pod>() -> T {
    // SAFETY: All zeroes is a bit pattern, and any bit pattern is a `T`.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// The `i`th element of an array of `struct iovec`: address and length.
///
/// Context: may sleep. `EFAULT`.
pub(crate) fn read_iovec(array: u64, i: u32) -> Result<[u64; 2]> {
    if task::in_compat_syscall() {
        let word: u64 = read(array.wrapping_add(u64::from(i) * 8))?;
        return Ok([word & 0xffff_ffff, word >> 32]);
    }
    read(array.wrapping_add(u64::from(i) * 16))
}

/// Copies a structure that may be longer or shorter in the caller's version of the ABI.
///
/// `len` is the caller's length: bytes that it lacks are zero, bytes that it has beyond ours must
/// be zero. Stands for `copy_struct_from_user()`.
///
/// Context: may sleep. `EFAULT`, or `E2BIG` when something unknown is set.
pub(crate) fn read_sized<T: Pod>(addr: u64, len: usize) -> Result<T> {
    let own = size_of::<T>();
    if len == own {
        return read(addr);
    }
    let mut value = zeroed::<T>();
    // SAFETY: The slice covers exactly `value`, whose every byte may be anything.
    let bytes = unsafe {
        core::slice::from_raw_parts_mut(core::ptr::from_mut(&mut value).cast::<u8>(), own)
    };
    let common = core::cmp::min(len, own);
    let Some(head) = bytes.get_mut(..common) else {
        return Err(EINVAL);
    };
    read_bytes(addr, head)?;
    for offset in common..len {
        if read::<u8>(addr.wrapping_add(offset as u64))? != 0 {
            return Err(E2BIG);
        }
    }
    Ok(value)
}
