// SPDX-License-Identifier: GPL-2.0

//! Drains: requests that wait until all before them are done (`IOSQE_IO_DRAIN`).
//!
//! From a drain on, everything that is submitted waits in the list of [`Drain`], in order. It is looked
//! through after each batch of completions.

#![forbid(unsafe_code)]

use crate::{
    abi::sqe,
    complete,
    ctx::{
        Ctx,
        State, //
    },
    link,
    request::{
        ReqBox,
        Request, //
    },
    sys::mpsc::Fifo, //
};
use kernel::prelude::*;

/// What waits because of a drain.
pub(crate) struct Drain {
    /// Requests that stand for themselves, and first ones of chains.
    list: Fifo<Request>,
    /// Requests in the list, with all of each chain.
    waiting: u32,
    /// Whatever is submitted goes into the list.
    active: bool,
    /// There was a drain within a chain: what follows the chain waits for all before it, too.
    next: bool,
    /// A CQE was left out once, so that what is before a drain cannot be told any more.
    disabled: bool,
    /// A request from the list that runs alone is done.
    alone_done: bool,
}

impl Drain {
    /// Nothing waits.
    pub(crate) const fn new() -> Self {
        Self {
            list: Fifo::new(),
            waiting: 0,
            active: false,
            next: false,
            disabled: false,
            alone_done: false,
        }
    }

    /// Whether whatever is submitted has to wait, or would have to if it cannot go on at once.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Whether whatever is submitted next has to wait, because of a drain within a chain.
    #[inline]
    pub(crate) fn concerns_next(&self) -> bool {
        self.next
    }

    /// A request that ran alone is done.
    pub(crate) fn alone_done(&mut self) {
        self.alone_done = true;
    }

    /// Whether the first one waits for all before it. `None` if nothing waits.
    fn front_waits(&self) -> Option<bool> {
        self.list.iter().next().map(waits_for_all)
    }

    /// Takes out the first one. The ring is dying.
    pub(crate) fn pop(&mut self) -> Option<ReqBox> {
        let req = self.list.pop()?;
        self.waiting -= length(&req);
        Some(req)
    }
}

/// Requests that a list entry stands for.
fn length(req: &Request) -> u32 {
    req.tie.as_ref().map_or(1, |tie| tie.len())
}

fn waits_for_all(req: &Request) -> bool {
    req.tie.as_ref().is_some_and(|tie| tie.drain)
}

/// Takes out a request that `wanted` agrees to, or a chain of which it agrees to any.
pub(crate) fn take_one(state: &mut State, wanted: impl Fn(&Request) -> bool) -> Option<ReqBox> {
    let any = |req: &Request| {
        let mut links = req.tie.iter().flat_map(|tie| tie.links.iter());
        wanted(req) || links.any(&wanted)
    };
    let req = state.drain.list.take_first(any)?;
    state.drain.waiting -= length(&req);
    Some(req)
}

/// What the flags of an SQE have to do with drains. `EOPNOTSUPP` for a drain after a CQE was left out;
/// `ENOMEM`. Context: may sleep.
#[cold]
pub(crate) fn check(ctx: &Ctx, state: &mut State, req: &mut Request) -> Result {
    if req.head.flags & sqe::CQE_SKIP_SUCCESS != 0 {
        state.drain.disabled = true;
    }
    if req.head.flags & sqe::IO_DRAIN != 0 {
        if state.drain.disabled {
            return Err(EOPNOTSUPP);
        }
        state.drain.active = true;
        link::tie(ctx, state, req)?.drain = true;
        if let Some(mut chain) = state.chain.take() {
            // Requests of a chain run one after another anyway: the first one waits, and what follows
            // the chain.
            let tie = link::tie(ctx, state, &mut chain.head).map(|tie| tie.drain = true);
            state.chain = Some(chain);
            state.drain.next = true;
            tie?;
        }
    }
    if state.drain.next && state.chain.is_none() {
        state.drain.next = false;
        state.drain.active = true;
        link::tie(ctx, state, req)?.drain = true;
    }
    Ok(())
}

/// Whether [`check`] has anything to do.
#[inline]
pub(crate) fn concerns(state: &State, flags: u8) -> bool {
    flags & (sqe::IO_DRAIN | sqe::CQE_SKIP_SUCCESS) != 0 || state.drain.next
}

/// Puts a request, or a chain by its first one, behind all others in the list.
pub(crate) fn put_off(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    if let Err(err) = link::tie(ctx, state, &mut req).map(|_| ()) {
        req.set_result(err.to_errno(), 0);
        return complete::finish(ctx, state, req);
    }
    let drain = waits_for_all(&req);
    state.drain.waiting += length(&req);
    state.drain.list.push(req);
    advance(ctx, state);
    if !drain && state.drain.list.is_empty() {
        state.drain.active = false;
    }
}

/// Lets go on what has waited long enough. Returns whether one of them had waited for all before it.
fn advance(ctx: &Ctx, state: &mut State) -> bool {
    let mut drained = false;
    let mut seen = false;
    let mut first = true;
    while let Some(waits) = state.drain.front_waits() {
        seen |= waits;
        // Requests in use that are not in the list are those before it.
        if (seen || first) && state.cache.in_use() != state.drain.waiting {
            break;
        }
        let Some(mut req) = state.drain.pop() else {
            break;
        };
        first = false;
        if let Some(tie) = req.tie.as_deref_mut().filter(|tie| tie.drain) {
            drained = true;
            // Its end is what is waited for, unless that of its chain is.
            tie.alone = tie.links.is_empty();
        }
        link::issue_soon(ctx, state, req);
    }
    drained
}

/// A batch of completions is over.
#[cold]
pub(crate) fn after_batch(ctx: &Ctx, state: &mut State) {
    let done = core::mem::take(&mut state.drain.alone_done);
    let drained = advance(ctx, state);
    if done && !drained && state.drain.list.is_empty() {
        state.drain.active = false;
    }
}
