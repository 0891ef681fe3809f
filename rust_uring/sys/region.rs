// SPDX-License-Identifier: GPL-2.0

//! Memory that is shared with user space: allocated by us, or pinned pages of the caller.
//!
//! User space can change every byte at any time. So nothing here gives out references: words are
//! loaded and stored one by one with their ordering, structures are copied, and every access is
//! checked against the size.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h); `io_uring/memmap.c`

use crate::sys::{
    atomic::Atomic,
    ffi,
    uaccess::Pod, //
};
use core::{
    mem::{
        size_of,
        MaybeUninit, //
    },
    ptr::{
        null_mut,
        NonNull, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    mm::virt::VmaNew,
    page::{
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::atomic::{
        Acquire,
        Relaxed,
        Release, //
    }, //
};

/// Where the pages come from, and so how they go.
enum Backing {
    /// One compound allocation; the head page.
    Compound(NonNull<bindings::page>),
    /// Too large for that: `vmalloc` memory.
    Vmalloc(VVec<u8>),
    /// Pages of the caller, pinned for long; `true` if they had to be mapped one after another.
    Pinned(KVVec<*mut bindings::page>, bool),
}

/// A run of whole pages that the kernel sees at `base`.
///
/// # Invariants
///
/// - `base` is valid for reads and writes of `len` bytes, a multiple of the page size and not zero,
///   as long as `backing` is not dropped. It is page aligned.
pub(crate) struct Region {
    base: NonNull<u8>,
    len: usize,
    backing: Backing,
}

// SAFETY: Memory that user space writes at will is accessed with volatile operations only; there is
// nothing thread-bound about it.
unsafe impl Send for Region {}
// SAFETY: As for `Send`.
unsafe impl Sync for Region {}

impl Region {
    /// Allocates `len` bytes (a multiple of the page size) of zeroes, charged to the memory cgroup.
    ///
    /// Context: may sleep. `ENOMEM`, `EINVAL` for a wrong length.
    pub(crate) fn new_kernel(len: usize) -> Result<Self> {
        if len == 0 || len % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        let order = (len >> PAGE_SHIFT).next_power_of_two().trailing_zeros();
        // SAFETY: No requirements.
        if let Some(page) = NonNull::new(unsafe { ffi::uring_alloc_pages(order) }) {
            // SAFETY: The pages were allocated without `__GFP_HIGHMEM`, so they are mapped.
            let base = unsafe { ffi::uring_page_address(page.as_ptr()) }.cast::<u8>();
            // INVARIANT: The allocation has at least `len` bytes, and starts at a page.
            return Ok(Self {
                base: NonNull::new(base).ok_or(ENOMEM)?,
                len,
                backing: Backing::Compound(page),
            });
        }
        Self::new_scattered(len)
    }

    /// The same, but never with more pages than are used.
    pub(crate) fn new_scattered(len: usize) -> Result<Self> {
        if len == 0 || len % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        let mut memory = VVec::<u8>::zeroed(len, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?;
        let base = NonNull::new(memory.as_mut_ptr()).ok_or(ENOMEM)?;
        // INVARIANT: `vmalloc` memory begins at a page and has `len` bytes.
        Ok(Self {
            base,
            len,
            backing: Backing::Vmalloc(memory),
        })
    }

    /// Pins `len` bytes of the caller's memory at `addr`, both multiples of the page size.
    ///
    /// Context: may sleep. `EFAULT` when they are not all there and writable, `EINVAL` for a wrong
    /// address or length, `EOVERFLOW` if it is too long, `ENOMEM`.
    pub(crate) fn new_user(addr: u64, len: usize) -> Result<Self> {
        let addr = usize::try_from(addr)?;
        if len == 0 || (len | addr) % PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        addr.checked_add(len).ok_or(EOVERFLOW)?;
        let nr = len >> PAGE_SHIFT;
        let nr_int = c_int::try_from(nr).map_err(|_| EOVERFLOW)?;
        if nr > c_int::MAX as usize / size_of::<*mut bindings::page>() {
            return Err(EOVERFLOW);
        }
        let flags = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;
        let mut pages = KVVec::<*mut bindings::page>::with_capacity(nr, flags)?;
        // SAFETY: There is room for `nr` pointers.
        let pinned = unsafe {
            bindings::pin_user_pages_fast(
                addr,
                nr_int,
                bindings::FOLL_WRITE | bindings::FOLL_LONGTERM,
                pages.as_mut_ptr(),
            )
        };
        if pinned != nr_int {
            if pinned > 0 {
                // SAFETY: That many were pinned. CAST: Positive.
                unsafe { bindings::unpin_user_pages(pages.as_mut_ptr(), pinned as usize) };
            }
            return Err(if pinned < 0 {
                Error::from_errno(pinned)
            } else {
                EFAULT
            });
        }
        // SAFETY: The pointers were just written.
        unsafe { pages.inc_len(nr) };

        // SAFETY: These are `nr` valid pages. CAST: Checked above.
        let linear = unsafe { ffi::uring_pages_linear(pages.as_mut_ptr(), nr_int as u32) };
        let base = match pages.first() {
            // SAFETY: As before; the pages are mapped in one piece.
            Some(&first) if linear => unsafe { ffi::uring_page_address(first) },
            // SAFETY: As before.
            _ => unsafe { ffi::uring_vmap(pages.as_mut_ptr(), nr_int as u32) },
        };
        let Some(base) = NonNull::new(base.cast::<u8>()) else {
            // SAFETY: All of them were pinned.
            unsafe { bindings::unpin_user_pages(pages.as_mut_ptr(), nr) };
            return Err(ENOMEM);
        };
        // INVARIANT: `nr` pages one after another, pinned until `drop`.
        Ok(Self {
            base,
            len,
            backing: Backing::Pinned(pages, !linear),
        })
    }

    /// Where it begins.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether it is memory of the caller, which cannot be mapped again.
    pub(crate) fn is_user(&self) -> bool {
        matches!(self.backing, Backing::Pinned(..))
    }

    /// Pages that the allocation really takes, which may be more than are used.
    pub(crate) fn allocated_pages(&self) -> usize {
        match self.backing {
            Backing::Compound(_) => (self.len >> PAGE_SHIFT).next_power_of_two(),
            _ => self.len >> PAGE_SHIFT,
        }
    }

    /// Maps the region from its beginning, `limit` pages of it at the most.
    ///
    /// `EFAULT` when the area is smaller than that; what is larger stays unmapped. `EINVAL` for
    /// memory of the caller.
    pub(crate) fn mmap(&self, vma: &VmaNew, limit: usize) -> Result {
        if self.is_user() {
            return Err(EINVAL);
        }
        let nr = core::cmp::min(self.len >> PAGE_SHIFT, limit);
        if nr > (vma.end() - vma.start()) >> PAGE_SHIFT {
            return Err(EFAULT);
        }
        // SAFETY: The area is being set up: nobody else sees it yet.
        unsafe { ffi::uring_vma_set_flags(vma.as_ptr(), ffi::URING_VM_DONTEXPAND) };

        const BATCH: usize = 32;
        let mut done = 0;
        while done < nr {
            let mut pages = [null_mut(); BATCH];
            let count = core::cmp::min(BATCH, nr - done);
            for (i, slot) in pages.iter_mut().take(count).enumerate() {
                *slot = self.page(done + i);
            }
            let mut left = count;
            // SAFETY: The pages are ours, and the area has room for them by the check above. The
            // mapping takes its own references.
            to_result(unsafe {
                bindings::vm_insert_pages(
                    vma.as_ptr(),
                    vma.start() + (done << PAGE_SHIFT),
                    pages.as_mut_ptr(),
                    &mut left,
                )
            })?;
            done += count;
        }
        Ok(())
    }

    /// The page with number `nr`, which is below `len >> PAGE_SHIFT`.
    fn page(&self, nr: usize) -> *mut bindings::page {
        match &self.backing {
            // SAFETY: The allocation has that many pages.
            Backing::Compound(head) => unsafe { ffi::uring_page_at(head.as_ptr(), nr) },
            Backing::Vmalloc(memory) => {
                let addr = memory.as_ptr().wrapping_add(nr << PAGE_SHIFT);
                // SAFETY: An address within the allocation.
                unsafe { bindings::vmalloc_to_page(addr.cast()) }
            }
            Backing::Pinned(pages, _) => pages.get(nr).copied().unwrap_or(null_mut()),
        }
    }

    /// The address of `size` bytes at `offset`, if they are inside and aligned to `align`.
    #[inline(always)]
    fn at(&self, offset: usize, size: usize, align: usize) -> Option<*mut u8> {
        if offset % align != 0 || size > self.len || offset > self.len - size {
            return None;
        }
        // SAFETY: Inside by the check, and `base` is valid for `len` bytes.
        Some(unsafe { self.base.as_ptr().add(offset) })
    }

    /// The 32-bit word at a constant offset in the first page.
    #[inline(always)]
    pub(crate) fn header<const OFFSET: usize>(&self) -> Word<'_> {
        const { assert!(OFFSET % 4 == 0 && OFFSET + 4 <= PAGE_SIZE) };
        // SAFETY: Inside the first page, which is there by the invariants, and aligned.
        let ptr = unsafe { self.base.as_ptr().add(OFFSET) };
        Word(ptr.cast(), core::marker::PhantomData)
    }

    /// The 32-bit word at `offset`. Out of bounds it is `None`.
    #[inline(always)]
    pub(crate) fn word(&self, offset: usize) -> Option<Word<'_>> {
        let ptr = self.at(offset, 4, 4)?;
        Some(Word(ptr.cast(), core::marker::PhantomData))
    }

    /// The address of the `index`th `T` behind the constant offset `FIRST`, if it is inside.
    #[inline(always)]
    fn element<T: Pod, const FIRST: usize>(&self, index: usize) -> Option<*mut T> {
        const {
            assert!(FIRST % align_of::<T>() == 0 && FIRST <= PAGE_SIZE);
            assert!(align_of::<T>() <= PAGE_SIZE && size_of::<T>() != 0);
        }
        // The region has at least a page.
        if index >= self.len.wrapping_sub(FIRST) / size_of::<T>() {
            return None;
        }
        // SAFETY: Inside by the check, and `base` is valid for `len` bytes. It is aligned to pages, and
        // a size is a multiple of the alignment.
        Some(unsafe { self.base.as_ptr().add(FIRST).cast::<T>().add(index) })
    }

    /// Copies out the `index`th `T` behind the constant offset `FIRST`; each byte is read once. Out of
    /// bounds it is `None`.
    #[inline(always)]
    pub(crate) fn read_element<T: Pod, const FIRST: usize>(&self, index: usize) -> Option<T> {
        const { assert!(size_of::<T>() % size_of::<u64>() == 0 && align_of::<T>() >= align_of::<u64>()) };
        let ptr = self.element::<T, FIRST>(index)?.cast::<u64>();
        let mut value = MaybeUninit::<T>::uninit();
        for i in 0..size_of::<T>() / size_of::<u64>() {
            // SAFETY: Both are valid, aligned, and that many words long. User space may write at the
            // same time, which is why the access is volatile.
            unsafe {
                value
                    .as_mut_ptr()
                    .cast::<u64>()
                    .add(i)
                    .write(ptr.add(i).read_volatile())
            };
        }
        // SAFETY: All of it was written, and any bytes are a `T`.
        Some(unsafe { value.assume_init() })
    }

    /// Copies in the `index`th `T` behind the constant offset `FIRST`, if it is within bounds.
    #[inline(always)]
    pub(crate) fn write_element<T: Pod, const FIRST: usize>(&self, index: usize, value: &T) {
        if let Some(ptr) = self.element::<T, FIRST>(index) {
            // SAFETY: Valid and aligned; see `read_element`.
            unsafe { ptr.write_volatile(*value) };
        }
    }

    /// Copies a structure out; each byte is read once. Out of bounds it is `None`.
    #[inline(always)]
    pub(crate) fn read<T: Pod>(&self, offset: usize) -> Option<T> {
        let ptr = self.at(offset, size_of::<T>(), align_of::<T>())?;
        // SAFETY: Valid and aligned by the check; any bytes are a `T`. User space may write at the
        // same time, which is why the access is volatile.
        Some(unsafe { ptr.cast::<T>().read_volatile() })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        match &mut self.backing {
            // SAFETY: Our reference; mappings have their own.
            Backing::Compound(page) => unsafe { ffi::uring_put_page(page.as_ptr()) },
            Backing::Vmalloc(_) => {}
            Backing::Pinned(pages, mapped) => {
                if *mapped {
                    // SAFETY: From `vmap`.
                    unsafe { ffi::uring_vunmap(self.base.as_ptr().cast()) };
                }
                // SAFETY: All of them were pinned by us.
                unsafe { bindings::unpin_user_pages(pages.as_mut_ptr(), pages.len()) };
            }
        }
    }
}

/// A 32-bit word in shared memory.
///
/// # Invariants
///
/// Valid and aligned for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Word<'a>(*mut u32, core::marker::PhantomData<&'a Region>);

impl Word<'_> {
    #[inline(always)]
    fn atomic(&self) -> &Atomic<u32> {
        // SAFETY: Valid by the invariants. The kernel accesses it with atomic operations only.
        unsafe { Atomic::from_ptr(self.0) }
    }

    /// `READ_ONCE()`
    #[inline(always)]
    pub(crate) fn load(self) -> u32 {
        self.atomic().load(Relaxed)
    }

    /// `smp_load_acquire()`
    #[inline(always)]
    pub(crate) fn load_acquire(self) -> u32 {
        self.atomic().load(Acquire)
    }

    /// `WRITE_ONCE()`
    #[inline(always)]
    pub(crate) fn store(self, value: u32) {
        self.atomic().store(value, Relaxed)
    }

    /// `smp_store_release()`
    #[inline(always)]
    pub(crate) fn store_release(self, value: u32) {
        self.atomic().store(value, Release)
    }
}

impl Word<'_> {
    /// Sets bits, atomically against other contexts of the kernel.
    pub(crate) fn set(self, bits: u32) {
        // SAFETY: Valid by the invariants; `atomic_t` is a 32-bit word. CAST: Same bits.
        unsafe { bindings::atomic_or(bits as c_int, self.0.cast()) }
    }

    /// Clears bits, atomically against other contexts of the kernel.
    pub(crate) fn clear(self, bits: u32) {
        // SAFETY: As for `set`.
        unsafe { bindings::atomic_andnot(bits as c_int, self.0.cast()) }
    }
}
