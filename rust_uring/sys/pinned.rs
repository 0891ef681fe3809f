// SPDX-License-Identifier: GPL-2.0

//! Buffers of the application whose pages are pinned once and used many times.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h); `io_uring/rsrc.c`

use crate::sys::{
    atomic::Atomic,
    ffi, //
};
use kernel::{
    alloc::flags::__GFP_NOWARN,
    bindings,
    page::{
        PAGE_MASK,
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::atomic::Relaxed, //
};

/// A pinned range of user memory.
///
/// # Invariants
///
/// - `bvecs` cover `len` bytes from `addr` on, in pages that `pins` holds. All but the first and the
///   last have `1 << folio_shift` bytes.
pub(crate) struct PinnedBuffer {
    addr: u64,
    len: usize,
    folio_shift: u32,
    bvecs: KVVec<bindings::bio_vec>,
    pins: Pins,
    /// No other buffer has, or had, this number.
    id: u64,
}

/// The last [`PinnedBuffer::id`].
static LAST_ID: Atomic<u64> = Atomic::new(0);

// SAFETY: The pages are pinned; the segments do not change.
unsafe impl Send for PinnedBuffer {}
// SAFETY: As for `Send`.
unsafe impl Sync for PinnedBuffer {}

/// For memory whose size the application chooses: that there is not as much is not to be reported.
fn user_sized() -> kernel::alloc::Flags {
    GFP_KERNEL_ACCOUNT | __GFP_NOWARN
}

/// Pages, each pinned once.
struct Pins(KVVec<*mut bindings::page>);

impl Pins {
    /// Pins the pages that `len` bytes at `addr` are in. `EFAULT`, `EOVERFLOW`, `ENOMEM`.
    fn new(addr: usize, len: usize) -> Result<Self> {
        let end = addr.checked_add(len).ok_or(EOVERFLOW)?;
        let end = end.checked_add(PAGE_SIZE - 1).ok_or(EOVERFLOW)? >> PAGE_SHIFT;
        let nr = end - (addr >> PAGE_SHIFT);
        let nr_int = c_int::try_from(nr).map_err(|_| EOVERFLOW)?;
        let mut pages = KVVec::with_capacity(nr, user_sized())?;
        // SAFETY: There is room for `nr` pointers.
        let pinned = unsafe {
            bindings::pin_user_pages_fast(
                addr,
                nr_int,
                bindings::FOLL_WRITE | bindings::FOLL_LONGTERM,
                pages.as_mut_ptr(),
            )
        };
        if pinned < 0 {
            return Err(Error::from_errno(pinned));
        }
        // SAFETY: That many pointers were written. CAST: Not negative.
        unsafe { pages.inc_len(pinned as usize) };
        let pins = Self(pages);
        if pinned != nr_int {
            return Err(EFAULT);
        }
        Ok(pins)
    }

    /// Whether the pages are whole folios of one size, but for the beginning and the end. Returns
    /// the shift of that size, and where in its folio the first page is.
    fn folios(&mut self) -> Option<(u32, usize)> {
        let (mut shift, mut first) = (0, 0);
        // SAFETY: The pages are pinned, so valid. CAST: Checked when they were pinned.
        let linear = unsafe {
            ffi::uring_pages_in_folios(
                self.0.as_mut_ptr(),
                self.0.len() as u32,
                &mut shift,
                &mut first,
            )
        };
        (linear && shift > PAGE_SHIFT as u32).then_some((shift, first))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        // SAFETY: Each of them is pinned once.
        unsafe { bindings::unpin_user_pages(self.0.as_mut_ptr(), self.0.len()) };
    }
}

/// Largest buffer: 1 TiB.
const MAX_LEN: u64 = 1 << 40;

impl PinnedBuffer {
    /// Pins `len` bytes at user address `addr`.
    ///
    /// Context: may sleep. `EFAULT` for nothing or what is not there, `EINVAL` for too much,
    /// `EOVERFLOW`, `ENOMEM`.
    pub(crate) fn new(addr: u64, len: u64) -> Result<Self> {
        if len == 0 {
            return Err(EFAULT);
        }
        if len > MAX_LEN {
            return Err(EINVAL);
        }
        let (start, len) = (usize::try_from(addr)?, usize::try_from(len)?);
        let rounded = len.checked_add(PAGE_SIZE - 1).ok_or(EOVERFLOW)? & PAGE_MASK;
        start.checked_add(rounded).ok_or(EOVERFLOW)?;
        let mut pins = Pins::new(start, len)?;

        let folios = if pins.0.len() > 1 {
            pins.folios()
        } else {
            None
        };
        let (shift, first) = folios.unwrap_or((PAGE_SHIFT as u32, 0));
        let size = 1usize << shift;
        let mut offset = (start & !PAGE_MASK) + (first << PAGE_SHIFT);
        let segments = (offset + len).div_ceil(size);
        let mut bvecs = KVVec::with_capacity(segments, user_sized())?;
        let mut left = len;
        let mut page = 0;
        while left != 0 {
            let Some(&head) = pins.0.get(page) else {
                return Err(EFAULT);
            };
            let seg = left.min(size - offset);
            let pages_of_seg = ((offset & !PAGE_MASK) + seg).div_ceil(PAGE_SIZE);
            bvecs.push(
                bindings::bio_vec {
                    // SAFETY: `head` is in a folio of that size; its first page is that many before.
                    bv_page: unsafe {
                        ffi::uring_page_at(head, 0usize.wrapping_sub(offset >> PAGE_SHIFT))
                    },
                    // CAST: At most the size of a folio.
                    bv_len: seg as u32,
                    bv_offset: offset as u32,
                },
                GFP_KERNEL_ACCOUNT,
            )?;
            page += pages_of_seg;
            left -= seg;
            offset = 0;
        }
        // INVARIANT: Built above.
        Ok(Self {
            addr,
            len,
            folio_shift: shift,
            bvecs,
            pins,
            id: LAST_ID.fetch_add(1, Relaxed),
        })
    }

    /// The memory that the buffer keeps from being used otherwise: for each single page, and for each
    /// large folio once, its number and its size in pages.
    pub(crate) fn folios(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut seen = 0;
        self.pins.0.iter().filter_map(move |&page| {
            let mut pages = 0;
            // SAFETY: The page is pinned, so valid.
            let head = unsafe { ffi::uring_page_folio(page, &mut pages) }.addr();
            if pages > 1 && head == seen {
                return None;
            }
            seen = head;
            Some((head, pages))
        })
    }

    /// The segments from the one on that byte `start` is in, enough of them for `len` bytes; and where
    /// in the first one it is. The bytes must be in the buffer.
    pub(super) fn seek(&self, start: usize, len: usize) -> (&[bindings::bio_vec], usize) {
        let Some(first) = self.bvecs.first() else {
            return (&[], 0);
        };
        // CAST: Widening.
        let (first_len, first_offset) = (first.bv_len as usize, first.bv_offset as usize);
        let mask = (1usize << self.folio_shift) - 1;
        let (skip, offset) = if start < first_len {
            (0, start)
        } else {
            // All others begin at a folio.
            let rest = start - first_len;
            (1 + (rest >> self.folio_shift), rest & mask)
        };
        let before = if skip == 0 { first_offset } else { 0 };
        let count = (before + offset + len + mask) >> self.folio_shift;
        let segments = self.bvecs.get(skip..).unwrap_or(&[]);
        (
            segments.get(..count.min(segments.len())).unwrap_or(&[]),
            offset,
        )
    }

    /// Where it is in the application, and how long it is.
    pub(crate) fn range(&self) -> (u64, usize) {
        (self.addr, self.len)
    }
}

/// Pieces of one buffer, in the order in which they are to be used.
///
/// # Invariants
///
/// `bvecs` are `len` bytes of the pages of the buffer with the number `of`.
pub(crate) struct Gathered {
    bvecs: KVVec<bindings::bio_vec>,
    len: usize,
    of: u64,
}

// SAFETY: Used only together with the buffer that the pages are of; the segments do not change.
unsafe impl Send for Gathered {}
// SAFETY: As for `Send`.
unsafe impl Sync for Gathered {}

impl Gathered {
    /// `EFAULT` for a piece that is empty or not in the buffer, `EOVERFLOW`, `ENOMEM`.
    pub(crate) fn new(buffer: &PinnedBuffer, pieces: &[(u64, usize)]) -> Result<Self> {
        let mut bvecs = KVVec::new();
        let mut total = 0usize;
        let end = buffer.addr + buffer.len as u64;
        for &(addr, len) in pieces {
            let inside = addr >= buffer.addr
                && addr
                    .checked_add(len as u64)
                    .is_some_and(|piece_end| piece_end <= end);
            if !inside || len == 0 {
                return Err(EFAULT);
            }
            total = total.checked_add(len).ok_or(EOVERFLOW)?;
            let (segments, mut skip) = buffer.seek((addr - buffer.addr) as usize, len);
            let mut left = len;
            for segment in segments {
                // CAST: Widening; and back, not more than it was.
                let take = left.min(segment.bv_len as usize - skip);
                bvecs.push(
                    bindings::bio_vec {
                        bv_page: segment.bv_page,
                        bv_len: take as u32,
                        bv_offset: segment.bv_offset + skip as u32,
                    },
                    GFP_KERNEL_ACCOUNT,
                )?;
                left -= take;
                skip = 0;
                if left == 0 {
                    break;
                }
            }
        }
        // INVARIANT: Each is a part of one of the buffer's own.
        Ok(Self {
            bvecs,
            len: total,
            of: buffer.id,
        })
    }

    /// Bytes in all pieces.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The segments and how many bytes they are; `None` if they are not of this buffer.
    pub(super) fn segments(&self, buffer: &PinnedBuffer) -> Option<(&[bindings::bio_vec], usize)> {
        (buffer.id == self.of).then_some((&self.bvecs, self.len))
    }
}
