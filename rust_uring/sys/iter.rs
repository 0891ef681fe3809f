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
///
/// # Invariants
///
/// `iter` is initialised, and what it goes through is there for `'a`, or is user memory.
pub(crate) struct Iter<'a> {
    iter: Opaque<bindings::iov_iter>,
    /// For files that know no iterators: where pinned memory is in the application.
    addr: u64,
    _memory: PhantomData<&'a ()>,
}

// It is made where it is used and set there, as it is large enough for a copy of it to be felt.
impl<'a> Iter<'a> {
    /// No memory.
    #[inline(always)]
    pub(crate) fn empty() -> Self {
        // INVARIANT: Zeroes are no bytes of user memory.
        Self {
            iter: Opaque::zeroed(),
            addr: 0,
            _memory: PhantomData,
        }
    }

    /// Sets it to `len` bytes of user memory at `addr`, at most [`MAX_RW_COUNT`]. `EFAULT` for what is not user
    /// space. Stands for `import_ubuf()`.
    #[inline(always)]
    pub(crate) fn set_user(&mut self, write: bool, addr: u64, len: usize) -> Result {
        if !uaccess::is_user(addr, len) {
            return Err(EFAULT);
        }
        // SAFETY: Ours, and initialised.
        let iter = unsafe { &mut *self.iter.get() };
        // INVARIANT: One piece of user memory.
        // CAST: It is the first of few.
        iter.iter_type = bindings::iter_type_ITER_UBUF as u8;
        iter.data_source = write;
        iter.iov_offset = 0;
        iter.__bindgen_anon_2.nr_segs = 1;
        // SAFETY: Address and length of such memory are where an `iovec` has them.
        let piece = unsafe { iter.__bindgen_anon_1.__ubuf_iovec.as_mut() };
        piece.iov_base = core::ptr::without_provenance_mut(addr as usize);
        piece.iov_len = len;
        self.addr = 0;
        Ok(())
    }

    /// Sets it to user memory in pieces, without the first `done` bytes.
    pub(crate) fn set_segments(&mut self, write: bool, segments: &'a Segments, done: usize) {
        // SAFETY: Initialises the iterator with pieces that are borrowed for `'a`.
        unsafe {
            ffi::uring_iter_iovec(
                self.iter.get(),
                write,
                segments.iov.as_ptr(),
                segments.iov.len(),
                segments.len,
            )
        };
        self.addr = 0;
        self.advance(done);
    }

    /// Sets it to `len` bytes of pinned memory, at user address `addr`. `EFAULT` if they are not all in it.
    #[inline]
    pub(crate) fn set_pinned(
        &mut self,
        write: bool,
        buffer: &'a PinnedBuffer,
        addr: u64,
        len: usize,
    ) -> Result {
        let end = addr.checked_add(len as u64).ok_or(EFAULT)?;
        let (start, size) = buffer.range();
        if addr < start || end > start + size as u64 || len > MAX_RW_COUNT {
            return Err(EFAULT);
        }
        let (bvecs, offset) = buffer.seek((addr - start) as usize, len);
        // SAFETY: The segments are borrowed for `'a` and cover the bytes asked for.
        unsafe { self.set_bvecs(write, bvecs, offset, len) };
        self.addr = addr;
        Ok(())
    }

    /// Sets it to pieces of pinned memory, without the first `done` bytes. `EFAULT` if they are of another
    /// buffer.
    ///
    /// Files that know no iterators will fail with `EFAULT`: they find an address that nobody has.
    pub(crate) fn set_gathered(
        &mut self,
        write: bool,
        buffer: &'a PinnedBuffer,
        gathered: &'a Gathered,
        done: usize,
    ) -> Result {
        let (bvecs, len) = gathered.segments(buffer).ok_or(EFAULT)?;
        // SAFETY: The segments are borrowed for `'a`, as is the buffer that has their pages.
        unsafe { self.set_bvecs(write, bvecs, 0, len) };
        self.addr = 0;
        self.advance(done);
        Ok(())
    }

    /// Stands for `iov_iter_bvec()`.
    ///
    /// # Safety
    ///
    /// The segments are there for `'a`, and have `len` bytes behind `offset`, which is in the first.
    #[inline(always)]
    unsafe fn set_bvecs(
        &mut self,
        write: bool,
        bvecs: &[bindings::bio_vec],
        offset: usize,
        len: usize,
    ) {
        // SAFETY: Ours, and initialised.
        let iter = unsafe { &mut *self.iter.get() };
        // INVARIANT: By the contract.
        // CAST: It is the third of few.
        iter.iter_type = bindings::iter_type_ITER_BVEC as u8;
        iter.data_source = write;
        iter.iov_offset = offset;
        iter.__bindgen_anon_2.nr_segs = bvecs.len() as c_ulong;
        // SAFETY: Nothing of it is used before it is set.
        let pieces = unsafe { iter.__bindgen_anon_1.__bindgen_anon_1.as_mut() };
        pieces.__bindgen_anon_1.bvec = bvecs.as_ptr();
        pieces.count = len;
    }

    /// Goes on to what comes after the first `count` bytes.
    fn advance(&mut self, count: usize) {
        if count != 0 {
            // SAFETY: By the invariants.
            unsafe { bindings::iov_iter_advance(self.iter.get(), count) };
            self.addr = self.addr.wrapping_add(count as u64);
        }
    }

    /// The bytes that it goes through.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        // SAFETY: By the invariants; it is there whatever the pieces are.
        unsafe {
            (*self.iter.get())
                .__bindgen_anon_1
                .__bindgen_anon_1
                .as_ref()
                .count
        }
    }

    /// The C structure, and the address for files that know no iterators.
    #[inline(always)]
    pub(super) fn as_raw(&mut self) -> (*mut bindings::iov_iter, u64) {
        (self.iter.get(), self.addr)
    }
}
