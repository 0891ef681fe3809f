// SPDX-License-Identifier: GPL-2.0

//! Provided buffers: groups of memory of which a request takes a piece when there is data for it.
//!
//! A group is a ring in shared memory that the application fills ([`ring`]), or a list that it adds to
//! with SQEs ([`list`]). What a request has taken is plain data in the request ([`Choice`]): no request
//! refers to a group, so groups can go at any time.

#![forbid(unsafe_code)]

mod list;
mod ring;

use crate::{
    abi::{
        buf_ring,
        cqe,
        BufReg,
        BufStatus, //
    },
    ctx::{
        Ctx,
        State, //
    },
    sys::{
        region::Region,
        uaccess, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::Arc, //
};
use list::BufList;
use ring::BufRing;

pub(crate) use list::Buf;

/// Entries that a ring may have at most: one more, and full could not be told from empty.
const MAX_RING_ENTRIES: u32 = 1 << 15;

/// A group of buffers.
enum Group {
    Ring(BufRing),
    List(BufList),
}

/// The groups of a ring.
pub(crate) struct Groups {
    by_id: RBTree<u16, Group>,
}

/// The memory of those groups that a ring has in shared memory, for `mmap(2)`.
pub(crate) type Regions = RBTree<u16, Arc<Region>>;

/// What a request has of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing.
    No,
    /// The first one of a ring, which is not used up yet: others can take it as well. So it is only
    /// while the lock is held.
    First {
        /// The buffer's number.
        bid: u16,
    },
    /// One that a ring had.
    Used {
        /// The buffer's number.
        bid: u16,
        /// The rest of it will be used again.
        more: bool,
    },
    /// One that a list had.
    Listed {
        /// The buffer's number.
        bid: u16,
        /// Its size in bytes, for when it is put back.
        len: u32,
    },
}

/// What a request that lets us choose its buffer has to know.
#[derive(Clone, Copy)]
pub(crate) struct Choice {
    /// The group.
    pub(crate) group: u16,
    /// It goes on after a buffer was filled.
    pub(crate) multishot: bool,
    /// What it has now.
    pub(crate) held: Held,
}

impl Choice {
    /// Whether it has a buffer that was taken out of a list.
    pub(crate) fn is_listed(&self) -> bool {
        matches!(self.held, Held::Listed { .. })
    }

    /// The flags of the CQE: which buffer it is.
    pub(crate) fn flags(&self) -> u32 {
        let (bid, more) = match self.held {
            Held::No => return 0,
            Held::Used { bid, more } => (bid, more),
            Held::First { bid } | Held::Listed { bid, .. } => (bid, false),
        };
        let more = if more { cqe::BUF_MORE } else { 0 };
        u32::from(bid) << cqe::BUFFER_SHIFT | cqe::BUFFER | more
    }
}

/// A buffer that was chosen.
pub(crate) struct Chosen {
    /// User address.
    pub(crate) addr: u64,
    /// Bytes.
    pub(crate) len: usize,
    /// What the request has of it.
    pub(crate) held: Held,
}

impl Groups {
    /// None.
    pub(crate) fn new() -> Self {
        Self {
            by_id: RBTree::new(),
        }
    }

    /// Chooses the next buffer of a group for `len` bytes, or as many as it has if that is 0.
    ///
    /// `use_up`: the request goes out of the caller's hands before it is known how much it uses.
    pub(crate) fn choose(&mut self, group: u16, len: usize, use_up: bool) -> Option<Chosen> {
        match self.by_id.get_mut(&group)? {
            Group::Ring(ring) => ring.choose(len, use_up),
            Group::List(list) => {
                let buf = list.pop()?;
                Some(Chosen {
                    addr: buf.addr,
                    len: limit(len, buf.len),
                    held: Held::Listed {
                        bid: buf.bid,
                        len: buf.len,
                    },
                })
            }
        }
    }

    /// `len` bytes of a chosen buffer are used.
    pub(crate) fn commit(&mut self, choice: &mut Choice, len: usize) {
        if let Held::First { bid } = choice.held {
            let more = match self.by_id.get_mut(&choice.group) {
                Some(Group::Ring(ring)) => !ring.commit(len),
                _ => false,
            };
            choice.held = Held::Used { bid, more };
        }
    }

    /// A chosen buffer is used, nobody knows how much of it.
    pub(crate) fn use_up(&mut self, choice: Choice) {
        if let (Held::First { .. }, Some(Group::Ring(ring))) =
            (choice.held, self.by_id.get_mut(&choice.group))
        {
            ring.skip();
        }
    }

    /// Puts a buffer back that was chosen at `addr` and is not used. Stays where it is if that is not
    /// possible; one whose group is gone or is another one is forgotten.
    pub(crate) fn put_back(&mut self, choice: &mut Choice, addr: u64) {
        match choice.held {
            Held::Listed { bid, len } => {
                if let Some(Group::List(list)) = self.by_id.get_mut(&choice.group) {
                    if !list.put_back(Buf { addr, len, bid }) {
                        return;
                    }
                }
            }
            Held::First { .. } | Held::No => {}
            Held::Used { .. } => return,
        }
        choice.held = Held::No;
    }

    /// `PROVIDE_BUFFERS`: adds `nr` buffers of `first.len` bytes, one behind the other, whose numbers
    /// count up. Fewer if the group would get too large.
    ///
    /// `EOVERFLOW` if it is already, `EINVAL` if the group is a ring, `ENOMEM`.
    pub(crate) fn provide(&mut self, group: u16, first: Buf, nr: u32) -> Result {
        match self.by_id.get_mut(&group) {
            Some(Group::Ring(_)) => Err(EINVAL),
            Some(Group::List(list)) => list.add(first, nr),
            None => {
                let mut list = BufList::new();
                list.add(first, nr)?;
                self.by_id
                    .try_create_and_insert(group, Group::List(list), GFP_KERNEL_ACCOUNT)?;
                Ok(())
            }
        }
    }

    /// `REMOVE_BUFFERS`: takes up to `nr` out. Returns how many. `ENOENT`, `EINVAL` if it is a ring.
    pub(crate) fn remove(&mut self, group: u16, nr: u32) -> Result<u32> {
        match self.by_id.get_mut(&group) {
            None => Err(ENOENT),
            Some(Group::Ring(_)) => Err(EINVAL),
            Some(Group::List(list)) => Ok(list.remove(nr)),
        }
    }
}

/// So many bytes of a buffer of this size are asked for; 0 for all.
fn limit(len: usize, size: u32) -> usize {
    // CAST: Widening.
    let size = size as usize;
    if len == 0 {
        size
    } else {
        len.min(size)
    }
}

/// `IORING_REGISTER_PBUF_RING`: a group that is a ring in shared memory.
///
/// `EEXIST` if there is such a group, `EINVAL`, `EFAULT`, `EOVERFLOW`, `ENOMEM`. Context: may sleep.
pub(crate) fn register(ctx: &Ctx, state: &mut State, arg: u64) -> Result<i32> {
    let reg: BufReg = uaccess::read(arg)?;
    let known = buf_ring::MMAP | buf_ring::INC;
    if reg.resv != [0; 5] || reg.flags & !known != 0 {
        return Err(EINVAL);
    }
    let entries = reg.ring_entries;
    if !entries.is_power_of_two() || entries > MAX_RING_ENTRIES {
        return Err(EINVAL);
    }
    let bitwise = reg.flags & buf_ring::INC != 0;
    if !bitwise && reg.min_left != 0 {
        return Err(EINVAL);
    }
    match state.kbufs.by_id.get(&reg.bgid) {
        Some(Group::List(list)) if list.is_empty() => drop(state.kbufs.by_id.remove(&reg.bgid)),
        Some(_) => return Err(EEXIST),
        None => {}
    }
    // CAST: Widening.
    let len = (entries as usize * ring::ENTRY_SIZE).next_multiple_of(PAGE_SIZE);
    let region = if reg.flags & buf_ring::MMAP != 0 {
        Region::new_kernel(len)?
    } else if reg.ring_addr == 0 {
        return Err(EFAULT);
    } else {
        Region::new_user(reg.ring_addr, len)?
    };
    let region = Arc::new(region, GFP_KERNEL_ACCOUNT)?;
    let ring = BufRing::new(region.clone(), entries, bitwise, reg.min_left);
    // Both or none.
    let group = RBTreeNode::new(reg.bgid, Group::Ring(ring), GFP_KERNEL_ACCOUNT)?;
    let mapping = RBTreeNode::new(reg.bgid, region, GFP_KERNEL_ACCOUNT)?;
    state.kbufs.by_id.insert(group);
    ctx.mappings.lock().kbufs.insert(mapping);
    Ok(0)
}

/// `IORING_UNREGISTER_PBUF_RING`. `ENOENT`; `EINVAL` also for a list; `EFAULT`.
pub(crate) fn unregister(ctx: &Ctx, state: &mut State, arg: u64) -> Result<i32> {
    let reg: BufReg = uaccess::read(arg)?;
    if reg.resv != [0; 5] || reg.flags != 0 {
        return Err(EINVAL);
    }
    match state.kbufs.by_id.get(&reg.bgid) {
        Some(Group::Ring(_)) => {}
        Some(Group::List(_)) => return Err(EINVAL),
        None => return Err(ENOENT),
    }
    let group = state.kbufs.by_id.remove(&reg.bgid);
    let mapping = ctx.mappings.lock().kbufs.remove(&reg.bgid);
    // Outside of the lock: the last one frees the memory.
    drop((group, mapping));
    Ok(0)
}

/// `IORING_REGISTER_PBUF_STATUS`: how far a ring is used up. `ENOENT`; `EINVAL` also for a list; `EFAULT`.
pub(crate) fn status(state: &State, arg: u64) -> Result<i32> {
    let mut status: BufStatus = uaccess::read(arg)?;
    if status.resv != [0; 8] {
        return Err(EINVAL);
    }
    let group = u16::try_from(status.buf_group).map_err(|_| ENOENT)?;
    match state.kbufs.by_id.get(&group) {
        Some(Group::Ring(ring)) => status.head = u32::from(ring.head()),
        Some(Group::List(_)) => return Err(EINVAL),
        None => return Err(ENOENT),
    }
    uaccess::write(arg, &status)?;
    Ok(0)
}
