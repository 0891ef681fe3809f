// SPDX-License-Identifier: GPL-2.0

//! A group of buffers in shared memory: the application writes entries and moves the tail on, we move
//! the head.
//!
//! The application can write everything there at any time. The head and the size are ours; an entry is
//! read once before it is used, and the tail only tells whether there is one.

#![forbid(unsafe_code)]

use super::{
    limit,
    Chosen,
    Held, //
};
use crate::{
    abi::{
        buf_ring,
        BufEntry, //
    },
    sys::{
        region::Region,
        uaccess, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// Bytes of an entry.
pub(super) const ENTRY_SIZE: usize = size_of::<BufEntry>();

/// Words of 64 bits in an entry; the first one is the address.
const ENTRY_WORDS: usize = ENTRY_SIZE / size_of::<u64>();

/// A ring of buffers.
pub(super) struct BufRing {
    memory: Arc<Region>,
    /// The next entry to be used; counts on for ever.
    head: u16,
    /// One less than the number of entries.
    mask: u16,
    /// Buffers are used up bit by bit (`IOU_PBUF_RING_INC`).
    bitwise: bool,
    /// A buffer of which no more than this is left is used up.
    dregs: u32,
}

impl BufRing {
    /// An empty ring in `memory`, which has room for the entries, a power of two.
    pub(super) fn new(memory: Arc<Region>, entries: u32, bitwise: bool, min_left: u32) -> Self {
        Self {
            memory,
            head: 0,
            // CAST: At most `MAX_RING_ENTRIES`.
            mask: (entries - 1) as u16,
            bitwise,
            dregs: min_left.saturating_sub(1),
        }
    }

    /// How far it is used up.
    pub(super) fn head(&self) -> u16 {
        self.head
    }

    /// How far the application has filled it.
    fn tail(&self) -> u16 {
        let word = self.memory.header::<{ buf_ring::TAIL_WORD }>();
        let [_, _, first, second] = word.load_acquire().to_ne_bytes();
        u16::from_ne_bytes([first, second])
    }

    /// The entry at the head.
    fn index(&self) -> usize {
        usize::from(self.head & self.mask)
    }

    /// See [`super::Groups::choose`].
    pub(super) fn choose(&mut self, len: usize, use_up: bool) -> Option<Chosen> {
        if self.tail() == self.head {
            return None;
        }
        let entry: BufEntry = self.memory.read_element::<_, 0>(self.index())?;
        let len = limit(len, entry.len);
        if !uaccess::is_user(entry.addr, len) {
            return None;
        }
        let bid = entry.bid;
        let held = if use_up {
            let more = !self.commit(len);
            Held::Used { bid, more }
        } else {
            Held::First { bid }
        };
        Some(Chosen {
            addr: entry.addr,
            len,
            held,
        })
    }

    /// The first buffer is used up, whatever is left of it.
    pub(super) fn skip(&mut self) {
        self.head = self.head.wrapping_add(1);
    }

    /// `len` bytes are used. Returns whether the buffer is used up.
    pub(super) fn commit(&mut self, len: usize) -> bool {
        if !self.bitwise {
            self.skip();
            return true;
        }
        let mut left = len;
        // More than once around would be up to somebody who fills it meanwhile.
        for _ in 0..=self.mask {
            if left == 0 {
                break;
            }
            let index = self.index();
            let Some(entry) = self.memory.read_element::<BufEntry, 0>(index) else {
                return true;
            };
            let Some(size) = self.memory.word(index * ENTRY_SIZE + buf_ring::LEN) else {
                return true;
            };
            // CAST: Widening; and not more than the entry has.
            let now = left.min(entry.len as usize) as u32;
            let rest = entry.len - now;
            // An entry may have become empty since it was chosen.
            if rest > self.dregs || now == 0 {
                let addr = entry.addr.wrapping_add(u64::from(now));
                self.memory
                    .write_element::<u64, 0>(index * ENTRY_WORDS, &addr);
                size.store(rest);
                return false;
            }
            size.store(0);
            self.skip();
            left -= now as usize;
        }
        // Of nothing that was read nothing is used up.
        len != 0
    }
}
