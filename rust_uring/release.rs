// SPDX-License-Identifier: GPL-2.0

//! Letting go of user memory: after a [`release`] nothing that was submitted before touches it.
//!
//! Requests that use it are taken out of their places; what cannot be taken (transfers under way, work
//! that runs) is waited for; what is linked to others, and so is in nobody's reach, is barred: it ends when
//! its turn comes. Registered buffers that have a part of it are taken out of the table.

#![forbid(unsafe_code)]

use crate::{
    abi::sqe,
    buffers,
    cancel::Match,
    complete,
    ctx::{
        Ctx,
        State, //
    },
    drain,
    iopoll,
    poll,
    request::{
        ReqBox,
        Request, //
    },
    span::Span,
    sys::task::Deadline,
    wait,
    worker, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// Memory that what was submitted before may not use any more.
pub(crate) struct Released {
    /// How often memory was released.
    number: u64,
    /// The number and the memory of the last ones. The oldest entry may stand for several.
    last: KVec<(u64, Span)>,
}

/// How many are told apart.
const APART: usize = 16;

impl Released {
    /// None.
    pub(crate) const fn new() -> Self {
        Self {
            number: 0,
            last: KVec::new(),
        }
    }

    /// What tells what is submitted now from what was before the next release.
    pub(crate) fn now(&self) -> u64 {
        self.number
    }

    /// Whether a request that was submitted then uses memory that was released since.
    #[inline]
    pub(crate) fn bars(&self, then: u64, req: &Request) -> bool {
        then != self.number && self.bars_memory(then, req)
    }

    /// The part of [`Self::bars`] for a request since whose submission there was a release.
    #[cold]
    fn bars_memory(&self, then: u64, req: &Request) -> bool {
        let Some(span) = req.span() else { return false };
        self.last
            .iter()
            .any(|(number, memory)| *number > then && memory.overlaps(&span))
    }

    /// `ENOMEM`
    fn add(&mut self, span: Span) -> Result {
        if self.last.len() == APART {
            // Two become one that bars all that either would.
            let oldest = self.last.remove(0).map_err(|_| EINVAL)?;
            if let Some(next) = self.last.first_mut() {
                next.1 = next.1.with(&oldest.1);
            }
        }
        self.last
            .push((self.number + 1, span), GFP_KERNEL_ACCOUNT)?;
        self.number += 1;
        Ok(())
    }
}

/// Lets go of memory: when this succeeds, no request that was submitted to the ring before reads or writes
/// it any more, and no registered buffer of the ring has it pinned.
///
/// `ENOMEM`; `ETIME`, `EINTR` if not all was over by then: what was cancelled is, and to try again goes on
/// from there. Context: may sleep, without locks.
pub(crate) fn release(ctx: &Ctx, span: Span, deadline: Option<Deadline>) -> Result<i32> {
    ctx.state.lock().released.add(span)?;
    wait::until(ctx, deadline, |state| {
        is_over(ctx, state, span).then_some(Ok(0))
    })
}

/// Takes out what can be taken out. Returns whether that is all there was.
fn is_over(ctx: &Ctx, state: &mut State, span: Span) -> bool {
    let what = Match::memory(span);
    let wanted = |req: &Request| what.fits_request(req);
    if ctx.polls() {
        iopoll::reap_all(ctx, state);
    }
    while let Some(req) = drain::take_one(state, wanted) {
        end(ctx, state, req);
    }
    while let Some(req) = poll::take_one(state, None, wanted) {
        end(ctx, state, req);
    }
    let mut running = !state.strays.is_empty();
    for user in state.pools.iter() {
        running |= user.pool().cancel(ctx, &what) != worker::Found::Nothing;
    }
    complete::settle(ctx, state);
    let under_way = ctx.in_background.load(Relaxed) != 0 || poll::any_woken(state);
    if running || under_way || ctx.owes_completions() {
        return false;
    }
    buffers::release(ctx, state, span);
    true
}

/// Ends a request, and all that is linked to it.
fn end(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    req.head.flags &= !sqe::IO_HARDLINK;
    req.set_error(ECANCELED);
    complete::finish(ctx, state, req);
}

#[kunit_tests(rust_uring_release)]
mod tests {
    use super::*;

    #[test]
    fn few_entries_stand_for_many() -> Result {
        let mut released = Released::new();
        for i in 0..100 {
            released.add(Span::new(1000 * i, 10))?;
        }
        assert_eq!(released.now(), 100);
        assert_eq!(released.last.len(), APART);
        let is_there = |at| {
            let byte = Span::new(at, 1);
            released.last.iter().any(|(_, span)| span.overlaps(&byte))
        };
        assert!((0..100).all(|i| is_there(1000 * i)));
        assert!(!is_there(99 * 1000 + 10));
        Ok(())
    }
}
