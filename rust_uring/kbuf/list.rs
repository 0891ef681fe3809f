// SPDX-License-Identifier: GPL-2.0

//! A group of buffers that was put together by SQEs (`PROVIDE_BUFFERS`).
//!
//! It is kept in one array that is used in a circle, so that providing a buffer again that was used
//! allocates nothing.

#![forbid(unsafe_code)]

use crate::sys::iter::MAX_RW_COUNT;
use kernel::prelude::*;

/// How many buffers a group has at most: as many as there are numbers for them.
const MAX_BUFS: usize = 1 << 16;

/// One buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Buf {
    /// User address.
    pub(crate) addr: u64,
    /// Bytes.
    pub(crate) len: u32,
    /// Its number.
    pub(crate) bid: u16,
}

/// A list of buffers.
pub(super) struct BufList {
    /// Its length is zero or a power of two.
    slots: KVVec<Buf>,
    /// Where the first one is.
    first: usize,
    /// How many there are, not more than slots.
    len: usize,
}

impl BufList {
    /// An empty list.
    pub(super) const fn new() -> Self {
        Self {
            slots: KVVec::new(),
            first: 0,
            len: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slot of the `i`th one.
    fn slot(&self, i: usize) -> usize {
        self.first.wrapping_add(i) & self.slots.len().wrapping_sub(1)
    }

    /// Makes room for `more`. `ENOMEM`
    fn reserve(&mut self, more: usize) -> Result {
        let want = self.len + more;
        if want <= self.slots.len() {
            return Ok(());
        }
        let mut slots =
            KVVec::from_elem(Buf::default(), want.next_power_of_two(), GFP_KERNEL_ACCOUNT)?;
        for i in 0..self.len {
            if let (Some(to), Some(from)) = (slots.get_mut(i), self.slots.get(self.slot(i))) {
                *to = *from;
            }
        }
        self.slots = slots;
        self.first = 0;
        Ok(())
    }

    /// See [`super::Groups::provide`].
    pub(super) fn add(&mut self, first: Buf, nr: u32) -> Result {
        let room = MAX_BUFS.saturating_sub(self.len);
        if room == 0 {
            return Err(EOVERFLOW);
        }
        // CAST: Widening.
        let nr = room.min(nr as usize);
        self.reserve(nr)?;
        let step = u64::from(first.len);
        let mut buf = Buf {
            len: u32::try_from(MAX_RW_COUNT).map_or(first.len, |max| first.len.min(max)),
            ..first
        };
        for _ in 0..nr {
            let slot = self.slot(self.len);
            let Some(slot) = self.slots.get_mut(slot) else {
                break;
            };
            *slot = buf;
            self.len += 1;
            buf.addr = buf.addr.wrapping_add(step);
            buf.bid = buf.bid.wrapping_add(1);
        }
        Ok(())
    }

    /// Takes the first one out.
    pub(super) fn pop(&mut self) -> Option<Buf> {
        if self.len == 0 {
            return None;
        }
        let buf = self.slots.get(self.first).copied()?;
        self.first = self.slot(1);
        self.len -= 1;
        Some(buf)
    }

    /// Puts one to the beginning. Returns whether there was memory for it.
    pub(super) fn put_back(&mut self, buf: Buf) -> bool {
        if self.reserve(1).is_err() {
            return false;
        }
        self.first = self.slot(usize::MAX);
        self.len += 1;
        if let Some(slot) = self.slots.get_mut(self.first) {
            *slot = buf;
        }
        true
    }

    /// Takes up to `nr` from the beginning. Returns how many.
    pub(super) fn remove(&mut self, nr: u32) -> u32 {
        // CAST: Widening; and not more than it was.
        let nr = self.len.min(nr as usize);
        self.first = self.slot(nr);
        self.len -= nr;
        if self.len == 0 {
            *self = Self::new();
        }
        nr as u32
    }
}

#[kunit_tests(rust_uring_buf_list)]
mod tests {
    use super::*;

    fn buf(bid: u16) -> Buf {
        Buf {
            addr: 0x1000 + u64::from(bid) * 16,
            len: 16,
            bid,
        }
    }

    #[test]
    fn first_in_first_out() -> Result {
        let mut list = BufList::new();
        assert!(list.pop().is_none());
        list.add(buf(0), 5)?;
        for bid in 0..3 {
            assert_eq!(list.pop(), Some(buf(bid)));
        }
        // Around the end, and then into a larger array.
        list.add(buf(5), 6)?;
        list.add(buf(11), 20)?;
        for bid in 3..31 {
            assert_eq!(list.pop(), Some(buf(bid)));
        }
        assert!(list.is_empty() && list.pop().is_none());
        Ok(())
    }

    #[test]
    fn what_is_put_back_comes_first() -> Result {
        let mut list = BufList::new();
        list.add(buf(0), 4)?;
        let first = list.pop().ok_or(EINVAL)?;
        list.add(buf(4), 1)?;
        assert!(list.put_back(first));
        for bid in 0..5 {
            assert_eq!(list.pop(), Some(buf(bid)));
        }
        assert!(BufList::new().put_back(first));
        Ok(())
    }

    #[test]
    fn no_more_than_there_are_numbers() -> Result {
        let mut list = BufList::new();
        list.add(buf(0), 65_000)?;
        list.add(buf(0), 1000)?;
        assert_eq!(list.len, MAX_BUFS);
        assert_eq!(list.add(buf(0), 1), Err(EOVERFLOW));
        assert_eq!(list.remove(65_535), 65_535);
        assert_eq!(list.pop(), Some(buf(535)));
        assert_eq!(list.remove(7), 0);
        Ok(())
    }
}
