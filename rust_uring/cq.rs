// SPDX-License-Identifier: GPL-2.0

//! The completion queue, and what happens when it is full.
//!
//! All of it is protected by `uring_lock`: completions of other contexts come in through the ring's
//! completion list (see [`crate::complete`]) and are posted by whoever runs that list.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        SetupFlag,
        SetupFlags, //
    },
    ring::{
        cq_queued,
        Cqe,
        Rings, //
    },
    sys::mpsc::{
        Fifo,
        Linked, //
    }, //
};
use kernel::prelude::*;

/// A CQE that found the ring full.
pub(crate) struct Overflow {
    pub(crate) cqe: Cqe,
    extra: [u64; 2],
}

/// Where a CQE went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// Into the ring.
    Ring,
    /// To the overflow list; the application gets it when it has made room and enters.
    Overflow,
    /// Nowhere: no memory, or too many on that list. Counted in `cq_overflow`.
    Lost,
}

/// The kernel's side of a CQ.
pub(crate) struct Cq {
    /// Position of the next CQE; published by [`Cq::publish`].
    tail: u32,
    /// What was published last.
    published: u32,
    /// Up to which position CQEs can be written before anything has to be looked at: the application's
    /// head, the overflow list, the size of the CQE. In rings with CQEs of 32 bytes always the next one.
    limit: u32,
    /// CQEs of two sizes.
    mixed: bool,
    /// All CQEs have 32 bytes.
    big: bool,
    overflow: Fifo<Overflow>,
    /// How long that list may get.
    overflow_limit: usize,
}

impl Cq {
    pub(crate) fn new(flags: SetupFlags, overflow_limit: usize) -> Self {
        Self {
            tail: 0,
            published: 0,
            limit: 0,
            mixed: flags.contains(SetupFlag::CqeMixed),
            big: flags.contains(SetupFlag::Cqe32),
            overflow: Fifo::new(),
            overflow_limit,
        }
    }

    /// Position of the next CQE.
    pub(crate) fn tail(&self) -> u32 {
        self.tail
    }

    /// The tail that the application can see.
    pub(crate) fn published(&self) -> u32 {
        self.published
    }

    /// Whether a CQE can have 32 bytes.
    pub(crate) fn takes_big(&self) -> bool {
        self.mixed || self.big
    }

    /// The flag that marks a 32-byte CQE in this ring.
    pub(crate) fn big_flag(&self) -> u32 {
        if self.mixed {
            abi::cqe::BIG
        } else {
            0
        }
    }

    /// CQEs on the overflow list.
    pub(crate) fn overflowed(&self) -> &Fifo<Overflow> {
        &self.overflow
    }

    /// How long the overflow list may get.
    pub(crate) fn overflow_limit(&self) -> usize {
        self.overflow_limit
    }

    /// After the ring's memory was replaced: look at the head again.
    pub(crate) fn forget_room(&mut self) {
        self.limit = self.tail;
    }

    /// Writes a CQE into the ring, or keeps it for later.
    ///
    /// While there is something on the overflow list, everything goes there: the order of CQEs is
    /// part of the interface. Context: may sleep.
    #[inline(always)]
    pub(crate) fn post(&mut self, rings: &Rings, cqe: &Cqe, extra: &[u64; 2]) -> Posted {
        if self.tail == self.limit {
            return self.post_with_care(rings, cqe, extra);
        }
        rings.write_cqe(self.tail, cqe);
        self.tail = self.tail.wrapping_add(1);
        Posted::Ring
    }

    #[inline(never)]
    fn post_with_care(&mut self, rings: &Rings, cqe: &Cqe, extra: &[u64; 2]) -> Posted {
        if self.overflow.is_empty() && self.place(rings, cqe, extra) {
            return Posted::Ring;
        }
        self.keep(rings, cqe, extra)
    }

    /// Writes a CQE into the ring if that is possible now. Returns whether it was. Context: may sleep.
    pub(crate) fn post_if_room(&mut self, rings: &Rings, cqe: &Cqe) -> bool {
        self.overflow.is_empty() && self.place(rings, cqe, &[0; 2])
    }

    /// Writes a CQE of any size into the ring if there is room.
    fn place(&mut self, rings: &Rings, cqe: &Cqe, extra: &[u64; 2]) -> bool {
        let two_slots = self.mixed && cqe.flags & abi::cqe::BIG != 0;
        let need = 1 + u32::from(two_slots);
        let Some(room) = self.make_room(rings, need) else {
            return false;
        };
        rings.write_cqe(self.tail, cqe);
        if two_slots || self.big {
            rings.write_cqe_extra(self.tail, extra);
        }
        self.tail = self.tail.wrapping_add(need);
        self.limit = self.tail;
        if !self.takes_big() {
            self.limit = self.tail.wrapping_add(room).wrapping_sub(need);
        }
        true
    }

    /// Looks how far the application has got. Returns the number of free slots if there are `need`, and
    /// if two are asked for, these follow each other: the last slot of the ring gets a filler otherwise.
    fn make_room(&mut self, rings: &Rings, need: u32) -> Option<u32> {
        let queued = cq_queued(self.tail, rings.cq_head().load(), rings.cq_entries);
        let mut room = rings.cq_entries.wrapping_sub(queued);
        let slot = self.tail & rings.cq_entries.wrapping_sub(1);
        if need == 2 && slot.wrapping_add(1) == rings.cq_entries && room != 0 {
            let filler = Cqe {
                flags: abi::cqe::SKIP,
                ..Cqe::default()
            };
            rings.write_cqe(self.tail, &filler);
            self.tail = self.tail.wrapping_add(1);
            self.limit = self.tail;
            room = room.wrapping_sub(1);
        }
        (room >= need).then_some(room)
    }

    /// Puts a CQE on the overflow list.
    #[cold]
    fn keep(&mut self, rings: &Rings, cqe: &Cqe, extra: &[u64; 2]) -> Posted {
        let entry = Overflow {
            cqe: *cqe,
            extra: *extra,
        };
        let entry = if self.overflow.len() < self.overflow_limit {
            Linked::new(entry, GFP_KERNEL_ACCOUNT)
        } else {
            Err(ENOMEM)
        };
        match entry {
            Ok(entry) => {
                if self.overflow.is_empty() {
                    rings.sq_flags().set(abi::sq_flags::CQ_OVERFLOW);
                }
                self.overflow.push(entry);
                Posted::Overflow
            }
            Err(_) => {
                let lost = rings.cq_overflow();
                lost.store(lost.load().wrapping_add(1));
                Posted::Lost
            }
        }
    }

    /// Moves as much as possible from the overflow list into the ring. Returns whether the list is
    /// empty now.
    pub(crate) fn flush_overflow(&mut self, rings: &Rings) -> bool {
        loop {
            let first = self.overflow.iter().next().map(|o| (o.cqe, o.extra));
            let Some((cqe, extra)) = first else { break };
            if !self.place(rings, &cqe, &extra) {
                return false;
            }
            drop(self.overflow.pop());
        }
        rings.sq_flags().clear(abi::sq_flags::CQ_OVERFLOW);
        true
    }

    /// Drops the overflow list: nobody will ever read it.
    pub(crate) fn drop_overflow(&mut self) {
        while self.overflow.pop().is_some() {}
    }

    /// Shows the application what was written. Returns whether there is anything new.
    #[inline]
    pub(crate) fn publish(&mut self, rings: &Rings) -> bool {
        if self.tail == self.published {
            return false;
        }
        self.published = self.tail;
        rings.cq_tail().store_release(self.tail);
        true
    }
}
