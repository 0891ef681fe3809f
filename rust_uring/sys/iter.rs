// SPDX-License-Identifier: GPL-2.0

//! Where data goes to or comes from: user memory in one piece or many, or pinned memory.
//!
//! C header: [`include/linux/uio.h`](srctree/include/linux/uio.h)

use crate::sys::{
    ffi,
    pinned::{
        Gathered,
        PinnedBuffer, //
    },
    uaccess, //
};
use core::marker::PhantomData;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// Most bytes of one transfer (`MAX_RW_COUNT`).
pub(crate) const MAX_RW_COUNT: usize = ffi::URING_MAX_RW_COUNT as usize;

/// Most pieces of a vector (`UIO_MAXIOV`).
const MAX_SEGMENTS: u32 = bindings::UIO_MAXIOV;

/// A copy of a caller's `struct iovec` array, checked.
///
/// # Invariants
///
/// The pieces are in user space and together not longer than `len`, at most [`MAX_RW_COUNT`].
pub(crate) struct Segments {
    iov: KVVec<bindings::iovec>,
    len: usize,
}

// SAFETY: User addresses, of which nothing follows.
unsafe impl Send for Segments {}
// SAFETY: As for `Send`.
unsafe impl Sync for Segments {}

impl Segments {
    /// Copies `nr` elements at user address `array`.
    ///
    /// Context: may sleep. `EINVAL` for too many or a negative length, `EFAULT`, `ENOMEM`. Stands for
    /// `import_iovec()`.
    pub(crate) fn import(array: u64, nr: u32) -> Result<Self> {
        let pieces = read_pieces(array, nr)?;
        let mut iov = KVVec::with_capacity(pieces.len(), GFP_KERNEL_ACCOUNT)?;
        let mut total = 0;
        for (addr, len) in pieces {
            // One that is alone is cut before it is looked at, as natively.
            let len = if nr == 1 { len.min(MAX_RW_COUNT) } else { len };
            if !uaccess::is_user(addr, len) {
                return Err(EFAULT);
            }
            let len = len.min(MAX_RW_COUNT - total);
            total += len;
            iov.push(
                bindings::iovec {
                    iov_base: core::ptr::without_provenance_mut(addr as usize),
                    iov_len: len,
                },
                GFP_KERNEL_ACCOUNT,
            )?;
        }
        // INVARIANT: Checked piece by piece.
        Ok(Self { iov, len: total })
    }

    /// Bytes in all pieces.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// User addresses and lengths of the pieces.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, usize)> + '_ {
        self.iov
            .iter()
            .map(|iov| (iov.iov_base.addr() as u64, iov.iov_len))
    }
}

/// Copies a caller's `struct iovec` array: addresses, which are not checked, and lengths, which are
/// not negative.
///
/// Context: may sleep. `EINVAL` for too many or a negative length, `EFAULT`, `ENOMEM`. Stands for
/// `iovec_from_user()`.
pub(crate) fn read_pieces(array: u64, nr: u32) -> Result<KVVec<(u64, usize)>> {
    if nr > MAX_SEGMENTS {
        return Err(EINVAL);
    }
    let mut pieces = KVVec::with_capacity(nr as usize, GFP_KERNEL_ACCOUNT)?;
    for i in 0..nr {
        let [addr, len] = uaccess::read_iovec(array, i)?;
        let len = isize::try_from(len).map_err(|_| EINVAL)?;
        pieces.push((addr, len.unsigned_abs()), GFP_KERNEL_ACCOUNT)?;
    }
    Ok(pieces)
}

/// A position in memory that data is moved to or from.
pub(crate) struct Iter<'a> {
    iter: Opaque<bindings::iov_iter>,
    /// For files that know no iterators: where pinned memory is in the application.
    addr: u64,
    _memory: PhantomData<&'a ()>,
}

impl<'a> Iter<'a> {
    fn new(addr: u64) -> Self {
        Self {
            iter: Opaque::uninit(),
            addr,
            _memory: PhantomData,
        }
    }

    /// `len` bytes of user memory at `addr`. `EFAULT` for what is not user space.
    pub(crate) fn user(write: bool, addr: u64, len: usize) -> Result<Self> {
        let this = Self::new(0);
        // SAFETY: Initialises the iterator, or fails.
        to_result(unsafe { ffi::uring_iter_ubuf(this.iter.get(), write, addr, len) })?;
        Ok(this)
    }

    /// User memory in pieces.
    pub(crate) fn segments(write: bool, segments: &'a Segments) -> Self {
        let this = Self::new(0);
        // SAFETY: Initialises the iterator with pieces that are borrowed for `'a`.
        unsafe {
            ffi::uring_iter_iovec(
                this.iter.get(),
                write,
                segments.iov.as_ptr(),
                segments.iov.len(),
                segments.len,
            )
        };
        this
    }

    /// `len` bytes of pinned memory, at user address `addr`. `EFAULT` if they are not all in it.
    pub(crate) fn pinned(
        write: bool,
        buffer: &'a PinnedBuffer,
        addr: u64,
        len: usize,
    ) -> Result<Self> {
        let end = addr.checked_add(len as u64).ok_or(EFAULT)?;
        let (start, size) = buffer.range();
        if addr < start || end > start + size as u64 || len > MAX_RW_COUNT {
            return Err(EFAULT);
        }
        let (bvecs, offset) = buffer.seek((addr - start) as usize, len);
        let this = Self::new(addr);
        // SAFETY: Initialises the iterator with segments that are borrowed for `'a` and cover the
        // bytes asked for.
        unsafe {
            ffi::uring_iter_bvec(
                this.iter.get(),
                write,
                bvecs.as_ptr(),
                bvecs.len(),
                offset,
                len,
            )
        };
        Ok(this)
    }

    /// Pieces of pinned memory. `EFAULT` if they are of another buffer.
    ///
    /// Files that know no iterators will fail with `EFAULT`: they find an address that nobody has.
    pub(crate) fn gathered(
        write: bool,
        buffer: &'a PinnedBuffer,
        gathered: &'a Gathered,
    ) -> Result<Self> {
        let (bvecs, len) = gathered.segments(buffer).ok_or(EFAULT)?;
        let this = Self::new(0);
        // SAFETY: Initialises the iterator with segments that are borrowed for `'a`, as is the buffer
        // that has their pages.
        unsafe {
            ffi::uring_iter_bvec(this.iter.get(), write, bvecs.as_ptr(), bvecs.len(), 0, len)
        };
        Ok(this)
    }

    /// What comes after the first `count` bytes.
    pub(crate) fn after(mut self, count: usize) -> Self {
        // SAFETY: Initialised by the constructors.
        unsafe { bindings::iov_iter_advance(self.iter.get(), count) };
        self.addr = self.addr.wrapping_add(count as u64);
        self
    }

    /// The C structure, and the address for files that know no iterators.
    pub(super) fn as_raw(&mut self) -> (*mut bindings::iov_iter, u64) {
        (self.iter.get(), self.addr)
    }
}
