// SPDX-License-Identifier: GPL-2.0

//! Rows of entries in memory that is shared with user space: those of an SQ, of a CQ, and the array of
//! indices between them.
//!
//! As there is a power of two of them a position is always inside, whatever it is, and also when the
//! processor runs ahead of a check: it wraps around.

use crate::sys::{
    region::Region,
    uaccess::Pod, //
};
use core::{
    marker::PhantomData,
    mem::{
        size_of,
        MaybeUninit, //
    },
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// A power of two of entries, each of them a power of two of bytes that begins with a `T`.
///
/// # Invariants
///
/// - `base` is valid for reads and writes of `(mask + 1) << shift` bytes as long as `_region`.
/// - It is aligned for `T` and for `u64`, or for `u32` if that is all there is in a `T`; a `T` fits into
///   an entry.
pub(crate) struct Entries<T: Pod> {
    base: NonNull<u8>,
    mask: u32,
    shift: u32,
    _region: Arc<Region>,
    _entries: PhantomData<T>,
}

// SAFETY: Memory that user space writes at will, accessed with volatile operations only.
unsafe impl<T: Pod> Send for Entries<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: Pod> Sync for Entries<T> {}

impl<T: Pod> Entries<T> {
    /// The `nr` entries of `size_of::<T>() << more` bytes at `offset` of a region. `EINVAL` if they are not
    /// in there, or it is no power of two.
    pub(crate) fn new(region: &Arc<Region>, offset: usize, nr: u32, more: u32) -> Result<Self> {
        const {
            assert!(size_of::<T>().is_power_of_two() && align_of::<T>() <= size_of::<T>());
            assert!(size_of::<T>() % size_of::<u64>() == 0 || size_of::<T>() == size_of::<u32>());
        }
        if !nr.is_power_of_two()
            || more > 1
            || offset % size_of::<T>().min(size_of::<[u64; 2]>()) != 0
        {
            return Err(EINVAL);
        }
        let shift = size_of::<T>().trailing_zeros() + more;
        let end = (nr as usize)
            .checked_mul(1 << shift)
            .and_then(|size| size.checked_add(offset));
        if end.is_none_or(|end| end > region.len()) {
            return Err(EINVAL);
        }
        // SAFETY: Inside by the check. INVARIANT: So is everything up to `end`; the region begins at a
        // page, so the alignment is that of the offset, which was checked.
        let base = unsafe { region.base().add(offset) };
        Ok(Self {
            base,
            mask: nr - 1,
            shift,
            _region: region.clone(),
            _entries: PhantomData,
        })
    }

    /// Where the `n`th `U` of the entry at a position is.
    #[inline(always)]
    fn at<U>(&self, pos: u32) -> *mut U {
        let offset = ((pos & self.mask) as usize).wrapping_shl(self.shift);
        // SAFETY: At most `mask << shift`, which does not overflow.
        unsafe { self.base.as_ptr().add(offset).cast() }
    }

    /// The position of the last one, all of whose bits are ones.
    #[inline(always)]
    pub(crate) fn last(&self) -> u32 {
        self.mask
    }

    /// How many `T` fit into an entry, as a power of two.
    #[inline]
    pub(crate) fn more(&self) -> u32 {
        self.shift - size_of::<T>().trailing_zeros()
    }

    /// Copies out the `U` at a constant offset of the entry at a position; each byte is read once.
    #[inline(always)]
    pub(crate) fn part<U: Pod, const OFFSET: usize>(&self, pos: u32) -> U {
        const {
            assert!(OFFSET % size_of::<u64>() == 0 && OFFSET + size_of::<U>() <= size_of::<T>());
            assert!(size_of::<U>() % size_of::<u64>() == 0 && align_of::<U>() <= size_of::<u64>());
        }
        // SAFETY: Inside of the entry by the check.
        unsafe { copy_out(self.at::<u8>(pos).add(OFFSET).cast()) }
    }

    /// Copies out the `n`th `T` of the entry at a position, the first one if there is none.
    pub(crate) fn nth(&self, pos: u32, n: u32) -> T {
        let n = n & ((1 << self.more()) - 1);
        // SAFETY: So many of them fit into the entry.
        unsafe { copy_out(self.at::<T>(pos).add(n as usize)) }
    }

    /// Copies in the `n`th `T` of the entry at a position, if there is one.
    pub(crate) fn set_nth(&self, pos: u32, n: u32, value: &T) {
        if n >> self.more() == 0 {
            // SAFETY: So many of them fit into the entry.
            unsafe { copy_in(self.at::<T>(pos).add(n as usize), value) };
        }
    }

    /// Copies in the first `T` of the entry at a position.
    #[inline(always)]
    pub(crate) fn set(&self, pos: u32, value: &T) {
        // SAFETY: It fits into the entry.
        unsafe { copy_in(self.at(pos), value) };
    }
}

impl Entries<u32> {
    /// `READ_ONCE()` of the entry at a position.
    #[inline(always)]
    pub(crate) fn load(&self, pos: u32) -> u32 {
        // SAFETY: An aligned word that is there; user space may write at the same time.
        unsafe { self.at::<u32>(pos).read_volatile() }
    }

    /// `WRITE_ONCE()` of the entry at a position.
    pub(crate) fn store(&self, pos: u32, value: u32) {
        // SAFETY: As for `load`.
        unsafe { self.at::<u32>(pos).write_volatile(value) }
    }
}

/// Copies a value out of shared memory, word by word.
///
/// # Safety
///
/// `from` is valid for reads, aligned for `u64`, and `T` is made of such words.
#[inline(always)]
unsafe fn copy_out<T: Pod>(from: *mut T) -> T {
    const { assert!(size_of::<T>() % size_of::<u64>() == 0) };
    let mut value = MaybeUninit::<T>::uninit();
    for i in 0..size_of::<T>() / size_of::<u64>() {
        // SAFETY: Both have that many words. User space may write at the same time, which is why the
        // access is volatile.
        unsafe {
            let word = from.cast::<u64>().add(i).read_volatile();
            value
                .as_mut_ptr()
                .cast::<u64>()
                .add(i)
                .write_unaligned(word);
        }
    }
    // SAFETY: All of it was written, and any bytes are a `T`.
    unsafe { value.assume_init() }
}

/// Copies a value into shared memory, word by word.
///
/// # Safety
///
/// `to` is valid for writes, aligned for `u64`, and `T` is made of such words.
#[inline(always)]
unsafe fn copy_in<T: Pod>(to: *mut T, value: &T) {
    const { assert!(size_of::<T>() % size_of::<u64>() == 0) };
    for i in 0..size_of::<T>() / size_of::<u64>() {
        // SAFETY: As for `copy_out`.
        unsafe {
            let word = core::ptr::from_ref(value)
                .cast::<u64>()
                .add(i)
                .read_unaligned();
            to.cast::<u64>().add(i).write_volatile(word);
        }
    }
}

#[kunit_tests(rust_uring_entries)]
mod tests {
    use super::*;
    use kernel::page::PAGE_SIZE;

    fn region() -> Result<Arc<Region>> {
        Ok(Arc::new(Region::new_kernel(PAGE_SIZE)?, GFP_KERNEL)?)
    }

    #[test]
    fn what_is_not_inside_is_refused() -> Result {
        let region = region()?;
        let nr = (PAGE_SIZE / size_of::<[u64; 2]>()) as u32;
        assert!(Entries::<[u64; 2]>::new(&region, 0, nr, 0).is_ok());
        assert!(Entries::<[u64; 2]>::new(&region, 16, nr / 2, 0).is_ok());
        assert!(Entries::<[u64; 2]>::new(&region, 16, nr, 0).is_err());
        assert!(Entries::<[u64; 2]>::new(&region, 0, nr, 1).is_err());
        assert!(Entries::<[u64; 2]>::new(&region, 0, nr * 2, 0).is_err());
        assert!(Entries::<[u64; 2]>::new(&region, 8, 1, 0).is_err());
        assert!(Entries::<[u64; 2]>::new(&region, 0, 3, 0).is_err());
        assert!(Entries::<[u64; 2]>::new(&region, 0, 0, 0).is_err());
        assert!(Entries::<[u64; 2]>::new(&region, usize::MAX - 15, 1, 0).is_err());
        Ok(())
    }

    #[test]
    fn positions_wrap() -> Result {
        let region = region()?;
        let entries = Entries::<[u64; 2]>::new(&region, 64, 4, 1)?;
        assert_eq!(entries.last(), 3);
        entries.set(u32::MAX, &[1, 2]);
        entries.set_nth(7, 1, &[3, 4]);
        entries.set_nth(7, 2, &[5, 6]);
        assert_eq!(entries.nth(3, 0), [1, 2]);
        assert_eq!(entries.nth(3, 1), [3, 4]);
        assert_eq!(entries.part::<u64, 8>(11), 2);
        assert_eq!(entries.nth(4, 0), [0, 0]);
        // Where they are in the memory.
        let words = Entries::<u32>::new(&region, 0, 64, 0)?;
        assert_eq!(words.load((64 + 3 * 32) / 4), 1);
        words.store(64 + (64 + 3 * 32) / 4, 9);
        assert_eq!(entries.nth(3, 0), [9, 2]);
        Ok(())
    }
}
