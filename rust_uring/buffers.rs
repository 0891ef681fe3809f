// SPDX-License-Identifier: GPL-2.0

//! Registered buffers: memory of the application that is pinned once and named by index.

#![forbid(unsafe_code)]

use crate::{
    abi::CloneBuffers,
    ctx::{
        Ctx,
        State, //
    },
    rsrc::{
        self,
        NodeRef,
        Table, //
    },
    span::Span,
    sys::{
        abi_types as c,
        pinned::{
            PinnedBuffer,
            Scratch, //
        },
        uaccess,
        user::{
            Charge,
            User, //
        }, //
    }, //
};
use kernel::{
    prelude::*,
    rbtree::RBTree,
    sync::Arc, //
};

/// Most buffers that a ring can have.
pub(crate) const MAX: u32 = 1 << 14;

/// A registered buffer. Rings can share it.
pub(crate) struct Buffer {
    /// The memory.
    pub(crate) memory: PinnedBuffer,
    /// None for a user without a limit.
    charges: Option<Charges>,
}

/// What is charged to the user for a buffer.
struct Charges {
    /// Its single pages.
    _single: Charge,
    /// The large folios that it is in, by number.
    large: KVVec<(usize, Arc<Charge>)>,
}

impl Buffer {
    /// The large folios that are charged for it.
    fn large(&self) -> &[(usize, Arc<Charge>)] {
        self.charges.as_ref().map_or(&[], |charges| &charges.large)
    }
}

/// A buffer as the ring's table holds it.
pub(crate) type BufferRef = NodeRef<Arc<Buffer>>;

/// Large folios that buffers of a ring are in, and how many buffers: each folio is charged once.
pub(crate) struct Folios(RBTree<usize, (usize, Arc<Charge>)>);

impl Folios {
    pub(crate) fn new() -> Self {
        Self(RBTree::new())
    }

    /// The charge for a folio: the one that there is, or a new one. `ENOMEM`.
    fn charge(
        &self,
        ctx: &Ctx,
        user: &Arc<User>,
        folio: usize,
        pages: usize,
    ) -> Result<Arc<Charge>> {
        match self.0.get(&folio) {
            Some((_, charge)) => Ok(charge.clone()),
            None => Ok(Arc::new(
                Charge::new(user, Some(&ctx.mm), pages)?,
                GFP_KERNEL_ACCOUNT,
            )?),
        }
    }

    /// A buffer comes into the ring. `ENOMEM`.
    fn add(&mut self, large: &[(usize, Arc<Charge>)]) -> Result {
        for (done, (folio, charge)) in large.iter().enumerate() {
            match self.0.get_mut(folio) {
                Some((count, _)) => *count += 1,
                None => {
                    let entry = (1, charge.clone());
                    if let Err(err) =
                        self.0
                            .try_create_and_insert(*folio, entry, GFP_KERNEL_ACCOUNT)
                    {
                        self.remove(large.get(..done).unwrap_or(&[]));
                        return Err(err);
                    }
                }
            }
        }
        Ok(())
    }

    /// A buffer leaves the ring.
    fn remove(&mut self, large: &[(usize, Arc<Charge>)]) {
        for (folio, _) in large {
            let last = match self.0.get_mut(folio) {
                Some((count, _)) => {
                    *count -= 1;
                    *count == 0
                }
                None => false,
            };
            if last {
                drop(self.0.remove(folio));
            }
        }
    }
}

/// Gives back a reference to a buffer.
#[inline]
pub(crate) fn put(ctx: &Ctx, state: &mut State, node: BufferRef) {
    if let Some(buffer) = rsrc::put(ctx, state, node) {
        state.folios.remove(buffer.large());
    }
}

/// A buffer comes into the ring's table. `ENOMEM`.
fn node(state: &mut State, buffer: Arc<Buffer>, tag: u64) -> Result<BufferRef> {
    state.folios.add(buffer.large())?;
    rsrc::node(&mut state.key, buffer.clone(), tag)
        .inspect_err(|_| state.folios.remove(buffer.large()))
}

/// Charges the user for pinned memory. `ENOMEM` also for the limit of locked memory.
fn charge(ctx: &Ctx, state: &State, user: &Arc<User>, memory: &PinnedBuffer) -> Result<Charges> {
    let mut single = 0;
    let mut large = KVVec::new();
    for (folio, pages) in memory.folios() {
        if pages == 1 {
            single += 1;
        } else {
            let charge = state.folios.charge(ctx, user, folio, pages)?;
            large.push((folio, charge), GFP_KERNEL_ACCOUNT)?;
        }
    }
    Ok(Charges {
        _single: Charge::new(user, Some(&ctx.mm), single)?,
        large,
    })
}

/// Pins the buffer of an iovec. `None` for an empty one.
///
/// `EFAULT`, `EINVAL`, `EOVERFLOW`, `ENOMEM` also for the limit of locked memory.
fn pin(
    ctx: &Ctx,
    state: &mut State,
    scratch: &mut Scratch,
    addr: u64,
    len: u64,
    tag: u64,
) -> Result<Option<BufferRef>> {
    if addr == 0 {
        if len != 0 {
            return Err(EFAULT);
        }
        // Nothing that could have a tag.
        return if tag != 0 { Err(EINVAL) } else { Ok(None) };
    }
    let memory = PinnedBuffer::new(addr, len, scratch)?;
    let charges = match &ctx.user {
        Some(user) => Some(charge(ctx, state, user, &memory)?),
        None => None,
    };
    let buffer = Buffer { memory, charges };
    let buffer = Arc::new(buffer, GFP_KERNEL_ACCOUNT)?;
    Ok(Some(node(state, buffer, tag)?))
}

/// The `i`th iovec and tag of the arrays at `iovs` and `tags`; none if there is no array.
fn element(iovs: u64, tags: u64, i: u32) -> Result<(u64, u64, u64)> {
    let [addr, len]: [u64; 2] = if iovs == 0 {
        [0; 2]
    } else {
        uaccess::read_iovec(iovs, i)?
    };
    // CAST: As natively, a length is a signed number.
    if (len as i64) < 0 {
        return Err(EINVAL);
    }
    let tag = if tags == 0 {
        0
    } else {
        uaccess::read(tags.wrapping_add(u64::from(i) * size_of::<u64>() as u64))?
    };
    Ok((addr, len, tag))
}

/// `IORING_REGISTER_BUFFERS` and `BUFFERS2`: `iovs` is an array of `nr` iovecs, or 0 for a table of
/// empty slots; `tags` an array of tags, or 0.
///
/// `EBUSY` if there is a table, `EINVAL`, `EFAULT`, `EOVERFLOW`, `ENOMEM`.
pub(crate) fn register(ctx: &Ctx, state: &mut State, iovs: u64, tags: u64, nr: u32) -> Result<i32> {
    if state.buffers.len() != 0 {
        return Err(EBUSY);
    }
    if nr == 0 || nr > MAX {
        return Err(EINVAL);
    }
    state.buffers = Table::new(nr as usize)?;
    let mut scratch = Scratch::new();
    let mut fill = || {
        for i in 0..nr {
            let (addr, len, tag) = element(iovs, tags, i)?;
            let node = pin(ctx, state, &mut scratch, addr, len, tag)?;
            state.buffers.replace(i as usize, node);
        }
        Ok(0)
    };
    let result = fill();
    if result.is_err() {
        state.buffers.forget_tags();
        drop_all(ctx, state);
    }
    result
}

/// `IORING_UNREGISTER_BUFFERS`. `ENXIO` if there is no table.
pub(crate) fn unregister(ctx: &Ctx, state: &mut State) -> Result<i32> {
    if state.buffers.len() == 0 {
        return Err(ENXIO);
    }
    drop_all(ctx, state);
    Ok(0)
}

/// Empties the table and forgets it.
pub(crate) fn drop_all(ctx: &Ctx, state: &mut State) {
    let table = core::mem::replace(&mut state.buffers, Table::none());
    empty(ctx, state, table);
}

/// Takes those out of the table that have some of this memory.
pub(crate) fn release(ctx: &Ctx, state: &mut State, memory: Span) {
    for index in 0..state.buffers.len() {
        let has = |node: &BufferRef| {
            let (addr, len) = node.value.memory.range();
            // CAST: Widening.
            Span::new(addr, len as u64).overlaps(&memory)
        };
        if state.buffers.get(index).is_some_and(has) {
            if let Some(node) = state.buffers.replace(index, None) {
                put(ctx, state, node);
            }
        }
    }
}

/// Gives back what is in a table.
fn empty(ctx: &Ctx, state: &mut State, mut table: Table<Arc<Buffer>>) {
    for index in (0..table.len()).rev() {
        if let Some(node) = table.replace(index, None) {
            put(ctx, state, node);
        }
    }
}

/// `IORING_REGISTER_BUFFERS_UPDATE`: replaces `nr` slots from `offset` on.
///
/// Returns how many were done, or the first one's error. `ENXIO`, else as [`register`].
pub(crate) fn update(
    ctx: &Ctx,
    state: &mut State,
    offset: u32,
    iovs: u64,
    tags: u64,
    nr: u32,
) -> Result<i32> {
    let end = offset.checked_add(nr).ok_or(EOVERFLOW)?;
    if state.buffers.len() == 0 {
        return Err(ENXIO);
    }
    if end as usize > state.buffers.len() {
        return Err(EINVAL);
    }
    let mut scratch = Scratch::new();
    for done in 0..nr {
        let mut one = || {
            let [addr, len] = uaccess::read_iovec(iovs, done)?;
            let (_, _, tag) = element(0, tags, done)?;
            let node = pin(ctx, state, &mut scratch, addr, len, tag)?;
            if let Some(old) = state.buffers.replace((offset + done) as usize, node) {
                put(ctx, state, old);
            }
            Ok(())
        };
        if let Err(err) = one() {
            // CAST: At most `MAX`.
            return if done > 0 { Ok(done as i32) } else { Err(err) };
        }
    }
    // CAST: At most `MAX`.
    Ok(nr as i32)
}

/// The buffers that `IORING_REGISTER_CLONE_BUFFERS` takes from its source.
pub(crate) struct Selection(KVVec<Option<Arc<Buffer>>>);

/// What `arg` asks for of a source ring.
///
/// `ENXIO` if it has no table, `EINVAL`, `EOVERFLOW` for a range that it does not have, `ENOMEM`.
pub(crate) fn select(src: &State, arg: &CloneBuffers) -> Result<Selection> {
    // CAST: At most `MAX`.
    let there = src.buffers.len() as u32;
    if there == 0 {
        return Err(ENXIO);
    }
    let nr = if arg.nr == 0 { there } else { arg.nr };
    if nr > there {
        return Err(EINVAL);
    }
    let end = arg.src_off.checked_add(nr).ok_or(EOVERFLOW)?;
    if end > there {
        return Err(EOVERFLOW);
    }
    let mut selection = KVVec::with_capacity(nr as usize, GFP_KERNEL_ACCOUNT)?;
    for index in arg.src_off..end {
        let buffer = src.buffers.get(index as usize);
        selection.push(buffer.map(|n| n.value.clone()), GFP_KERNEL_ACCOUNT)?;
    }
    Ok(Selection(selection))
}

/// `IORING_REGISTER_CLONE_BUFFERS`: shares buffers of another ring, or of this one.
///
/// `EBUSY` if there is a table that is not to be replaced, the error of the selection, `EINVAL`,
/// `EOVERFLOW`, `ENOMEM`.
pub(crate) fn clone(
    ctx: &Ctx,
    state: &mut State,
    selection: Result<Selection>,
    arg: &CloneBuffers,
) -> Result<i32> {
    let replace = arg.flags & c::IORING_REGISTER_DST_REPLACE != 0;
    if state.buffers.len() != 0 && !replace {
        return Err(EBUSY);
    }
    let Selection(selection) = selection?;
    // CAST: At most `MAX`.
    let end = arg
        .dst_off
        .checked_add(selection.len() as u32)
        .ok_or(EOVERFLOW)?;
    if end > MAX {
        return Err(EINVAL);
    }
    let range = arg.dst_off as usize..end as usize;
    let mut table = Table::new(state.buffers.len().max(range.end))?;
    for (index, buffer) in range.clone().zip(selection) {
        let node = match buffer.map(|buffer| node(state, buffer, 0)).transpose() {
            Ok(node) => node,
            Err(err) => {
                empty(ctx, state, table);
                return Err(err);
            }
        };
        table.replace(index, node);
    }
    // What lies outside of the cloned range stays.
    for index in (0..state.buffers.len()).filter(|i| !range.contains(i)) {
        let node = state.buffers.replace(index, None);
        table.replace(index, node);
    }
    let old = core::mem::replace(&mut state.buffers, table);
    empty(ctx, state, old);
    Ok(0)
}
