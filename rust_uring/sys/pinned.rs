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
/// - `segments` cover `len` bytes from `addr` on. All but the first and the last have
///   `1 << folio_shift` bytes.
/// - Each segment is in one folio, and owns a pin for each page that it has bytes of.
pub(crate) struct PinnedBuffer {
    addr: u64,
    len: usize,
    folio_shift: u32,
    /// Where in its folio the first segment begins.
    offset: u32,
    segments: Segments,
    /// No other buffer has, or had, this number.
    id: u64,
}

/// The segments of a buffer. Most buffers are small, and then it is one, for which nothing is allocated.
enum Segments {
    One(bindings::bio_vec),
    Many(KVVec<bindings::bio_vec>),
}

impl Segments {
    #[inline(always)]
    fn as_slice(&self) -> &[bindings::bio_vec] {
        match self {
            Self::One(segment) => core::slice::from_ref(segment),
            Self::Many(segments) => segments,
        }
    }
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

/// Room for the pages of a buffer while it is made. Who makes many of them uses it again.
pub(crate) struct Scratch(KVVec<*mut bindings::page>);

impl Scratch {
    /// Allocates nothing yet.
    pub(crate) const fn new() -> Self {
        Self(KVVec::new())
    }
}

/// Pages of a buffer that is being made.
///
/// # Invariants
///
/// Each of them is pinned once.
struct Pins<'a>(&'a mut KVVec<*mut bindings::page>);

impl<'a> Pins<'a> {
    /// Pins the pages that `len` bytes at `addr` are in. `EFAULT`, `EOVERFLOW`, `ENOMEM`.
    fn new(addr: usize, len: usize, Scratch(pages): &'a mut Scratch) -> Result<Self> {
        let end = addr.checked_add(len).ok_or(EOVERFLOW)?;
        let end = end.checked_add(PAGE_SIZE - 1).ok_or(EOVERFLOW)? >> PAGE_SHIFT;
        let nr = end - (addr >> PAGE_SHIFT);
        let nr_int = c_int::try_from(nr).map_err(|_| EOVERFLOW)?;
        pages.clear();
        pages.reserve(nr, user_sized())?;
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
        // INVARIANT: Just pinned.
        let pins = Self(pages);
        if pinned != nr_int {
            return Err(EFAULT);
        }
        Ok(pins)
    }

    /// Whether the pages are whole folios of one size, but for the beginning and the end. Returns
    /// the shift of that size, and where in its folio the first page is.
    fn folios(&mut self) -> Option<(u32, usize)> {
        if self.0.len() == 1 {
            return None;
        }
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

    /// The segments of a buffer of `len` bytes that begins `offset` bytes into its first folio, all folios being
    /// of `1 << shift` bytes. They own the pins from then on. `ENOMEM`.
    fn into_segments(self, offset: usize, len: usize, shift: u32) -> Result<Segments> {
        // All positions are counted from the beginning of the first folio.
        let all = offset + len;
        let segment = |i: usize| {
            let (begin, end) = (offset.max(i << shift), all.min((i + 1) << shift));
            let page = (begin >> PAGE_SHIFT) - (offset >> PAGE_SHIFT);
            let &page = self.0.get(page).ok_or(EFAULT)?;
            let inside = begin & ((1 << shift) - 1);
            Ok::<_, Error>(bindings::bio_vec {
                // SAFETY: The page is in a folio of that size, whose first page is that many before.
                bv_page: unsafe {
                    ffi::uring_page_at(page, 0usize.wrapping_sub(inside >> PAGE_SHIFT))
                },
                // CAST: At most the size of a folio.
                bv_len: (end - begin) as u32,
                bv_offset: inside as u32,
            })
        };
        let nr = all.div_ceil(1 << shift);
        let segments = if nr == 1 {
            Segments::One(segment(0)?)
        } else {
            let mut segments = KVVec::with_capacity(nr, user_sized())?;
            for i in 0..nr {
                segments.push(segment(i)?, GFP_KERNEL_ACCOUNT)?;
            }
            Segments::Many(segments)
        };
        core::mem::forget(self);
        Ok(segments)
    }
}

impl Drop for Pins<'_> {
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
    pub(crate) fn new(addr: u64, len: u64, scratch: &mut Scratch) -> Result<Self> {
        if len == 0 {
            return Err(EFAULT);
        }
        if len > MAX_LEN {
            return Err(EINVAL);
        }
        let (start, len) = (usize::try_from(addr)?, usize::try_from(len)?);
        let rounded = len.checked_add(PAGE_SIZE - 1).ok_or(EOVERFLOW)? & PAGE_MASK;
        start.checked_add(rounded).ok_or(EOVERFLOW)?;
        let mut pins = Pins::new(start, len, scratch)?;
        let (folio_shift, first) = pins.folios().unwrap_or((PAGE_SHIFT as u32, 0));
        let offset = (start & !PAGE_MASK) + (first << PAGE_SHIFT);
        // INVARIANT: By `into_segments`.
        Ok(Self {
            addr,
            len,
            folio_shift,
            // CAST: Less than the size of a folio.
            offset: offset as u32,
            segments: pins.into_segments(offset, len, folio_shift)?,
            id: LAST_ID.fetch_add(1, Relaxed),
        })
    }

    /// The memory that the buffer keeps from being used otherwise: for each single page, and for each
    /// large folio once, its number and its size in pages.
    pub(crate) fn folios(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut seen = 0;
        self.segments.as_slice().iter().filter_map(move |segment| {
            let mut pages = 0;
            // SAFETY: The page is pinned, so valid.
            let head = unsafe { ffi::uring_page_folio(segment.bv_page, &mut pages) }.addr();
            if pages > 1 && head == seen {
                return None;
            }
            seen = head;
            Some((head, pages))
        })
    }

    /// The segments from the one on that byte `start` is in, enough of them for `len` bytes; and where
    /// in the first one it is. The bytes must be in the buffer.
    #[inline]
    pub(super) fn seek(&self, start: usize, len: usize) -> (&[bindings::bio_vec], usize) {
        match &self.segments {
            Segments::One(segment) => (core::slice::from_ref(segment), start),
            Segments::Many(segments) => self.seek_among(segments, start, len),
        }
    }

    #[inline]
    fn seek_among<'a>(
        &self,
        segments: &'a [bindings::bio_vec],
        start: usize,
        len: usize,
    ) -> (&'a [bindings::bio_vec], usize) {
        let shift = self.folio_shift;
        let mask = 1usize.wrapping_shl(shift).wrapping_sub(1);
        // Counted from the beginning of the first folio, all segments but the first begin at a multiple of the
        // size. CAST: Widening.
        let at = start.wrapping_add(self.offset as usize);
        let (skip, inside) = (at.wrapping_shr(shift), at & mask);
        let Some(rest) = segments.get(skip..) else {
            return (&[], 0);
        };
        let count = inside
            .wrapping_add(len)
            .wrapping_add(mask)
            .wrapping_shr(shift);
        (
            rest.get(..count).unwrap_or(rest),
            if skip == 0 { start } else { inside },
        )
    }

    /// Where it is in the application, and how long it is.
    pub(crate) fn range(&self) -> (u64, usize) {
        (self.addr, self.len)
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        for segment in self.segments.as_slice() {
            // CAST: Widening.
            let begin = segment.bv_offset as usize & !PAGE_MASK;
            let pages = (begin + segment.bv_len as usize).div_ceil(PAGE_SIZE);
            // SAFETY: So many pins are owned by the segment, and its pages are in one folio.
            unsafe { ffi::uring_unpin_in_folio(segment.bv_page, pages) };
        }
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
