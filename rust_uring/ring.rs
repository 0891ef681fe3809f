// SPDX-License-Identifier: GPL-2.0

//! The shared rings: where things lie in the memory, and the arithmetic of the indices.
//!
//! Indices run freely and wrap around at 32 bits; the slot is what the mask leaves. Sizes and masks
//! that the kernel relies on are kept in kernel memory, the copies in the shared header are for the
//! application alone.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        Params,
        SetupFlag,
        SetupFlags,
        Sqe,
        SqeAddresses,
        SqeHead,
        SqeNames,
        SqeOptions,
        SqeRest, //
    },
    sys::{
        entries::Entries,
        region::{
            Region,
            Word, //
        }, //
    }, //
};
use core::mem::offset_of;
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    sync::Arc, //
};

/// Number of SQEs that can be consumed: what the application published beyond `head`, bounded by the
/// ring's size whatever it wrote.
pub(crate) fn sq_pending(tail: u32, head: u32, entries: u32) -> u32 {
    tail.wrapping_sub(head).min(entries)
}

/// Number of CQEs that the application has not consumed yet, bounded by the ring's size whatever it
/// wrote. A head ahead of the tail counts as an empty ring.
pub(crate) fn cq_queued(tail: u32, head: u32, entries: u32) -> u32 {
    let diff = tail.wrapping_sub(head);
    if diff > i32::MAX as u32 {
        0
    } else {
        diff.min(entries)
    }
}

/// Rounds up to a multiple of `align`, a power of two. `None` on overflow.
fn align_up(value: usize, align: usize) -> Option<usize> {
    Some(value.checked_add(align - 1)? & !(align - 1))
}

/// Sizes in bytes of the two areas of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Header, CQEs and the SQ array.
    pub(crate) rings_size: usize,
    /// The SQEs.
    pub(crate) sqes_size: usize,
    /// Offset of the SQ array in the first area, if there is one.
    pub(crate) sq_array: Option<usize>,
}

impl Layout {
    /// Computes where things lie. `EOVERFLOW` when that is not possible.
    ///
    /// Stands for `rings_size()` of `io_uring/io_uring.c`.
    pub(crate) fn new(flags: SetupFlags, sq_entries: u32, cq_entries: u32) -> Result<Self> {
        let (sq, cq) = (sq_entries as usize, cq_entries as usize);
        if flags.contains(SetupFlag::CqeMixed) && cq < 2
            || flags.contains(SetupFlag::SqeMixed) && sq < 2
        {
            return Err(EOVERFLOW);
        }
        let sqe_size = abi::SQE_SIZE << u32::from(flags.contains(SetupFlag::Sqe128));
        let sqes_size = sqe_size.checked_mul(sq).ok_or(EOVERFLOW)?;

        // As natively, `CQE32` doubles header and CQEs together.
        let mut end = abi::CQE_SIZE
            .checked_mul(cq)
            .and_then(|size| size.checked_add(abi::rings::SIZE))
            .ok_or(EOVERFLOW)?;
        if flags.contains(SetupFlag::Cqe32) {
            end = end.checked_mul(2).ok_or(EOVERFLOW)?;
        }
        let mut end = align_up(end, abi::rings::ALIGN).ok_or(EOVERFLOW)?;
        let mut sq_array = None;
        if !flags.contains(SetupFlag::NoSqArray) {
            sq_array = Some(end);
            end = sq
                .checked_mul(size_of::<u32>())
                .and_then(|size| size.checked_add(end))
                .ok_or(EOVERFLOW)?;
        }
        Ok(Self {
            rings_size: end,
            sqes_size,
            sq_array,
        })
    }

    /// Tells the application where things lie.
    pub(crate) fn describe(&self, flags: SetupFlags, p: &mut Params) {
        p.sq_off.head = abi::rings::SQ_HEAD as u32;
        p.sq_off.tail = abi::rings::SQ_TAIL as u32;
        p.sq_off.ring_mask = abi::rings::SQ_MASK as u32;
        p.sq_off.ring_entries = abi::rings::SQ_ENTRIES as u32;
        p.sq_off.flags = abi::rings::SQ_FLAGS as u32;
        p.sq_off.dropped = abi::rings::SQ_DROPPED as u32;
        p.sq_off.resv1 = 0;
        p.cq_off.head = abi::rings::CQ_HEAD as u32;
        p.cq_off.tail = abi::rings::CQ_TAIL as u32;
        p.cq_off.ring_mask = abi::rings::CQ_MASK as u32;
        p.cq_off.ring_entries = abi::rings::CQ_ENTRIES as u32;
        p.cq_off.overflow = abi::rings::CQ_OVERFLOW as u32;
        p.cq_off.cqes = abi::rings::CQES as u32;
        p.cq_off.flags = abi::rings::CQ_FLAGS as u32;
        p.cq_off.resv1 = 0;
        if !flags.contains(SetupFlag::NoMmap) {
            p.sq_off.user_addr = 0;
            p.cq_off.user_addr = 0;
        }
        if let Some(offset) = self.sq_array {
            // CAST: At most 2 * 64 Ki CQEs of 32 bytes lie before it.
            p.sq_off.array = offset as u32;
        }
    }
}

/// A part of an SQE that is copied on its own.
pub(crate) trait SqePart: Sized {
    /// Copies this part of the SQE in `slot`.
    fn read(sqes: &Entries<Sqe>, slot: u32) -> Self;
}

macro_rules! sqe_parts {
    ($($part:ident from $first:ident;)*) => {$(
        impl SqePart for $part {
            #[inline(always)]
            fn read(sqes: &Entries<Sqe>, slot: u32) -> Self {
                sqes.part::<Self, { offset_of!(Sqe, $first) }>(slot)
            }
        }
    )*};
}

sqe_parts! {
    SqeHead from opcode;
    SqeAddresses from off;
    SqeOptions from len;
    SqeNames from user_data;
    SqeRest from addr3;
}

/// One size and memory of a ring. Resizing replaces the whole.
pub(crate) struct Rings {
    /// Header, CQEs and SQ array.
    pub(crate) ring: Arc<Region>,
    /// The memory of the SQEs.
    pub(crate) sqe_memory: Arc<Region>,
    /// Entries of the SQ, a power of two.
    pub(crate) sq_entries: u32,
    /// Entries of the CQ, a power of two.
    pub(crate) cq_entries: u32,
    /// Which SQE is meant at a position, if that is for the application to say.
    sq_array: Option<Entries<u32>>,
    sqes: Entries<Sqe>,
    cqes: Entries<[u64; 2]>,
}

impl Rings {
    /// Allocates or pins the memory and fills in the header.
    ///
    /// `p` holds the sizes after rounding, and with `NO_MMAP` the addresses.
    ///
    /// Context: may sleep. `ENOMEM`; with `NO_MMAP` also `EFAULT` and `EINVAL`.
    pub(crate) fn new(flags: SetupFlags, p: &Params, layout: &Layout) -> Result<Arc<Self>> {
        let area = |size: usize, user_addr: u64| {
            let size = align_up(size, PAGE_SIZE).ok_or(EOVERFLOW)?;
            if !flags.contains(SetupFlag::NoMmap) {
                return Region::new_kernel(size);
            }
            if user_addr == 0 {
                return Err(EFAULT);
            }
            Region::new_user(user_addr, size)
        };
        let ring = Arc::new(
            area(layout.rings_size, p.cq_off.user_addr)?,
            GFP_KERNEL_ACCOUNT,
        )?;
        let sqe_memory = Arc::new(
            area(layout.sqes_size, p.sq_off.user_addr)?,
            GFP_KERNEL_ACCOUNT,
        )?;
        let sq_array = match layout.sq_array {
            Some(offset) => Some(Entries::new(&ring, offset, p.sq_entries, 0)?),
            None => None,
        };
        let sqe128 = u32::from(flags.contains(SetupFlag::Sqe128));
        let cqe32 = u32::from(flags.contains(SetupFlag::Cqe32));
        let rings = Self {
            sq_entries: p.sq_entries,
            cq_entries: p.cq_entries,
            sq_array,
            sqes: Entries::new(&sqe_memory, 0, p.sq_entries, sqe128)?,
            cqes: Entries::new(&ring, abi::rings::CQES, p.cq_entries, cqe32)?,
            ring,
            sqe_memory,
        };
        if flags.contains(SetupFlag::NoMmap) {
            // Memory of ours is zero already.
            for offset in (0..abi::rings::SIZE).step_by(size_of::<u32>()) {
                if let Some(word) = rings.ring.word(offset) {
                    word.store(0);
                }
            }
        }
        let header = &rings.ring;
        header
            .header::<{ abi::rings::SQ_MASK }>()
            .store(p.sq_entries.wrapping_sub(1));
        header
            .header::<{ abi::rings::CQ_MASK }>()
            .store(p.cq_entries.wrapping_sub(1));
        header
            .header::<{ abi::rings::SQ_ENTRIES }>()
            .store(p.sq_entries);
        header
            .header::<{ abi::rings::CQ_ENTRIES }>()
            .store(p.cq_entries);
        Ok(Arc::new(rings, GFP_KERNEL_ACCOUNT)?)
    }

    /// Where the kernel has got to in the SQ.
    #[inline]
    pub(crate) fn sq_head(&self) -> Word<'_> {
        self.ring.header::<{ abi::rings::SQ_HEAD }>()
    }

    /// Where the application has got to in the SQ.
    #[inline]
    pub(crate) fn sq_tail(&self) -> Word<'_> {
        self.ring.header::<{ abi::rings::SQ_TAIL }>()
    }

    /// Where the application has got to in the CQ.
    #[inline]
    pub(crate) fn cq_head(&self) -> Word<'_> {
        self.ring.header::<{ abi::rings::CQ_HEAD }>()
    }

    /// Where the kernel has got to in the CQ, as published.
    #[inline]
    pub(crate) fn cq_tail(&self) -> Word<'_> {
        self.ring.header::<{ abi::rings::CQ_TAIL }>()
    }

    /// `IORING_SQ_*`.
    #[inline]
    pub(crate) fn sq_flags(&self) -> Word<'_> {
        self.ring.header::<{ abi::rings::SQ_FLAGS }>()
    }

    /// `IORING_CQ_*`.
    #[inline]
    pub(crate) fn cq_flags(&self) -> Word<'_> {
        self.ring.header::<{ abi::rings::CQ_FLAGS }>()
    }

    /// SQEs skipped for a bad index.
    pub(crate) fn sq_dropped(&self) -> Word<'_> {
        self.ring.header::<{ abi::rings::SQ_DROPPED }>()
    }

    /// CQEs lost.
    pub(crate) fn cq_overflow(&self) -> Word<'_> {
        self.ring.header::<{ abi::rings::CQ_OVERFLOW }>()
    }

    /// Whether the application has filled the SQ. Racy by nature.
    pub(crate) fn sq_full(&self) -> bool {
        self.sq_tail().load().wrapping_sub(self.sq_head().load()) == self.sq_entries
    }

    /// CQEs that are published and not consumed, as the two words say. Racy by nature.
    #[inline]
    pub(crate) fn cq_ready(&self) -> u32 {
        self.cq_tail().load().wrapping_sub(self.cq_head().load())
    }

    /// The slot that position `pos` of the SQ names: through the array if there is one.
    ///
    /// `None` when the application wrote an index that is out of bounds.
    #[inline(always)]
    pub(crate) fn sqe_slot(&self, pos: u32) -> Option<u32> {
        match &self.sq_array {
            Some(array) => {
                let slot = array.load(pos);
                (slot <= self.sqes.last()).then_some(slot)
            }
            None => Some(pos & self.sqes.last()),
        }
    }

    /// Writes the array entry of position `pos`, if there is an array.
    pub(crate) fn set_sqe_slot(&self, pos: u32, index: u32) {
        if let Some(array) = &self.sq_array {
            array.store(pos, index);
        }
    }

    /// Copies a part of the SQE in `slot`.
    #[inline(always)]
    pub(crate) fn sqe_part<P: SqePart>(&self, slot: u32) -> P {
        P::read(&self.sqes, slot)
    }

    /// Copies the SQE in `slot`.
    pub(crate) fn read_sqe(&self, slot: u32) -> Sqe {
        self.read_sqe_half(slot, 0)
    }

    /// Copies the `half`th 64 bytes of the entry in `slot` (1: the second half of an SQE in a ring whose
    /// SQEs all have 128 bytes).
    pub(crate) fn read_sqe_half(&self, slot: u32, half: u32) -> Sqe {
        self.sqes.nth(slot, half)
    }

    /// Puts back what [`Self::read_sqe_half`] gave, in another ring.
    pub(crate) fn write_sqe_half(&self, slot: u32, half: u32, sqe: &Sqe) {
        self.sqes.set_nth(slot, half, sqe);
    }

    /// The second half of a 128-byte SQE, which in a ring with both sizes is the next slot.
    pub(crate) fn second_half(&self, slot: u32) -> Sqe {
        if self.sqe128() {
            self.sqes.nth(slot, 1)
        } else {
            self.sqes.nth(slot.wrapping_add(1), 0)
        }
    }

    /// Whether each SQE has 128 bytes.
    #[inline]
    pub(crate) fn sqe128(&self) -> bool {
        self.sqes.more() != 0
    }

    /// Whether each CQE has 32 bytes.
    pub(crate) fn cqe32(&self) -> bool {
        self.cqes.more() != 0
    }

    /// Writes the first 16 bytes of the CQE at position `pos`. It counts once the tail is published.
    #[inline(always)]
    pub(crate) fn write_cqe(&self, pos: u32, cqe: &Cqe) {
        self.cqes.set(pos, &cqe.words());
    }

    /// Writes the second 16 bytes, which in a ring with both sizes are the next slot.
    pub(crate) fn write_cqe_extra(&self, pos: u32, extra: &[u64; 2]) {
        if self.cqe32() {
            self.cqes.set_nth(pos, 1, extra);
        } else {
            self.cqes.set(pos.wrapping_add(1), extra);
        }
    }

    /// Reads a CQE back (the application may have changed it).
    pub(crate) fn read_cqe(&self, pos: u32) -> Cqe {
        Cqe::from_words(self.cqes.nth(pos, 0))
    }

    /// Reads the second 16 bytes back.
    pub(crate) fn read_cqe_extra(&self, pos: u32) -> [u64; 2] {
        if self.cqe32() {
            self.cqes.nth(pos, 1)
        } else {
            self.cqes.nth(pos.wrapping_add(1), 0)
        }
    }
}

/// A completion queue entry on its way into the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cqe {
    /// What the SQE brought.
    pub(crate) user_data: u64,
    /// The result.
    pub(crate) res: i32,
    /// `IORING_CQE_F_*`.
    pub(crate) flags: u32,
}

impl Cqe {
    /// The entry as two words of memory.
    #[inline]
    fn words(&self) -> [u64; 2] {
        // CAST: Same bits.
        let (res, flags) = (u64::from(self.res as u32), u64::from(self.flags));
        if cfg!(target_endian = "little") {
            [self.user_data, res | flags << 32]
        } else {
            [self.user_data, res << 32 | flags]
        }
    }

    fn from_words([user_data, word]: [u64; 2]) -> Self {
        let (low, high) = (word as u32, (word >> 32) as u32);
        let (res, flags) = if cfg!(target_endian = "little") {
            (low, high)
        } else {
            (high, low)
        };
        Self {
            user_data,
            res: res as i32,
            flags,
        }
    }
}

#[kunit_tests(rust_uring_ring)]
mod tests {
    use super::*;

    #[test]
    fn indices_wrap() {
        assert_eq!(sq_pending(5, 3, 8), 2);
        assert_eq!(sq_pending(1, u32::MAX, 8), 2);
        assert_eq!(cq_queued(1, u32::MAX, 8), 2);
        assert_eq!(cq_queued(0, 0, 8), 0);
    }

    #[test]
    fn hostile_indices_are_bounded() {
        // A tail far ahead, or behind, never yields more than the ring holds.
        assert_eq!(sq_pending(0x8000_0000, 0, 8), 8);
        assert_eq!(sq_pending(0, 1, 8), 8);
        // A head beyond the tail is an empty CQ, not four billion CQEs.
        assert_eq!(cq_queued(0, 1, 8), 0);
        assert_eq!(cq_queued(100, 0, 8), 8);
    }

    #[test]
    fn layout_matches_native() {
        let layout = Layout::new(SetupFlags::empty(), 8, 16).unwrap_or(Layout {
            rings_size: 0,
            sqes_size: 0,
            sq_array: None,
        });
        assert_eq!(layout.sqes_size, 512);
        assert_eq!(layout.sq_array, Some(abi::rings::SIZE + 256));
        assert_eq!(layout.rings_size, abi::rings::SIZE + 256 + 32);
    }

    #[test]
    fn layout_of_big_entries() {
        let flags = SetupFlag::Sqe128 | SetupFlag::Cqe32 | SetupFlag::NoSqArray;
        let layout = Layout::new(flags, 8, 16);
        assert!(layout.is_ok());
        if let Ok(layout) = layout {
            assert_eq!(layout.sqes_size, 1024);
            assert_eq!(layout.sq_array, None);
            assert_eq!(layout.rings_size, 2 * (abi::rings::SIZE + 256));
        }
    }

    #[test]
    fn mixed_sizes_need_two_entries() {
        assert_eq!(
            Layout::new(SetupFlag::CqeMixed.into(), 1, 1).err(),
            Some(EOVERFLOW)
        );
        assert_eq!(
            Layout::new(SetupFlag::SqeMixed.into(), 1, 2).err(),
            Some(EOVERFLOW)
        );
        assert!(Layout::new(SetupFlag::SqeMixed.into(), 2, 2).is_ok());
    }

    #[test]
    fn cqe_words_round_trip() {
        let cqe = Cqe {
            user_data: 0x1234_5678_9abc_def0,
            res: -22,
            flags: 0x8001,
        };
        assert_eq!(Cqe::from_words(cqe.words()), cqe);
    }
}
