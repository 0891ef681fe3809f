// SPDX-License-Identifier: GPL-2.0

//! Into the completion list, and who is told about it.

#![forbid(unsafe_code)]

use super::wake_pollers;
use crate::{
    abi::{
        self,
        SetupFlag, //
    },
    ctx::{
        Ctx,
        RingCtx,
        WAIT_NR_NONE, //
    },
    eventfd,
    request::ReqBox,
    sqpoll,
    sys::{
        mpsc::Inbox,
        percpu_ref::Counter,
        workqueue, //
    }, //
};
use kernel::sync::atomic::{
    Full,
    Relaxed, //
};

/// Hands a finished request to its ring, from any context and without a lock.
///
/// `ctx` is a reference of the caller's own: the request may be gone as soon as it is pushed. `lazy`
/// completions wake a deferring submitter only when it has as many as it waits for; those that others
/// run after are not.
///
/// Context: any.
pub(crate) fn push(ctx: &Ctx, req: ReqBox, lazy: bool) {
    push_from(ctx, req, lazy, false);
}

/// The same to the request's own ring, which nobody but the request may keep by then.
pub(crate) fn push_home(req: ReqBox, lazy: bool) {
    if let Some((ctx, req)) = push_behind(req) {
        push(&ctx, req, lazy);
    }
}

/// The same, as [`push_woken`].
pub(crate) fn push_home_woken(req: ReqBox, lazy: bool) {
    if let Some((ctx, req)) = push_behind(req) {
        push_woken(&ctx, req, lazy);
    }
}

/// Pushes a request of which nobody has to be told, because others came before it. Gives back any other.
#[inline(always)]
fn push_behind(mut req: ReqBox) -> Option<(Counter<RingCtx>, ReqBox)> {
    if !req.ctx.defers() {
        match Inbox::push_behind(req, |req| &req.ctx.inbox) {
            Ok(()) => return None,
            Err(same) => req = same,
        }
    }
    Some((req.ctx.clone(), req))
}

/// The same as [`push`] for a request that a wakeup of something polled has found.
///
/// That may be a queue in which those wait who poll this ring, or its eventfd: they are woken from
/// elsewhere. Context: any, with the lock of any wait queue held.
fn push_woken(ctx: &Ctx, req: ReqBox, lazy: bool) {
    push_from(ctx, req, lazy, true);
}

#[inline(always)]
fn push_from(ctx: &Ctx, req: ReqBox, lazy: bool, woken: bool) {
    let lazy = lazy && req.tie.is_none();
    let first = ctx.inbox.push(req);
    if ctx.defers() {
        tell_submitter(ctx, first, lazy, woken);
    } else if first {
        tell_runner(ctx);
    }
    // Who was told about the first one takes all that are there by then.
}

/// A deferring ring has a completion; `first`: since the list was taken.
fn tell_submitter(ctx: &Ctx, first: bool, lazy: bool, woken: bool) {
    if first {
        if ctx.flags.contains(SetupFlag::TaskrunFlag) {
            mark_taskrun(ctx);
        }
        // It takes an enter to turn this into CQEs, so whoever waits for CQEs elsewhere is told now.
        let owed = eventfd::work_queued(ctx, woken);
        let polled = ctx.polled.load(Relaxed);
        if polled && !woken {
            wake_pollers(ctx);
        }
        if owed || polled && woken {
            workqueue::queue::<_, 0>(&ctx.globals.queue, ctx);
        }
    }
    wake_submitter(ctx, lazy);
}

/// The completion list of a ring that does not defer has something in it again: sees to it that somebody
/// takes it.
fn tell_runner(ctx: &Ctx) {
    if ctx.flags.contains(SetupFlag::TaskrunFlag) {
        mark_taskrun(ctx);
    }
    if ctx.is_attended() {
        // Who submits is going to run them.
        return;
    }
    if sqpoll::tell(ctx) {
        // Its thread runs them, and wakes those who wait for CQEs.
        return;
    }
    if !(ctx.cq_wait.has_sleeper() && ctx.cq_wait.wake(1) > 0 || RingCtx::interrupt_submitter(ctx))
    {
        workqueue::queue::<_, 0>(&ctx.globals.queue, ctx);
    }
}

/// Sets `IORING_SQ_TASKRUN`. Context: any.
fn mark_taskrun(ctx: &Ctx) {
    ctx.rings.read(|rings| {
        if let Some(rings) = rings {
            rings.sq_flags().set(abi::sq_flags::TASKRUN);
        }
    });
}

/// Wakes the submitter of a deferring ring if it sleeps and this is what it waits for.
///
/// The push before is a full barrier, and so is what the submitter does between arming `wait_nr`
/// and looking at the list: either it sees the list, or we see the count.
fn wake_submitter(ctx: &Ctx, lazy: bool) {
    if ctx.wait_nr.load(Relaxed) <= 0 {
        return;
    }
    if lazy {
        if ctx.wait_nr.fetch_sub(1, Full) != 1 {
            return;
        }
    } else if ctx.wait_nr.xchg(WAIT_NR_NONE, Full) <= 0 {
        // Somebody else was the one to wake it.
        return;
    }
    if let Some(task) = ctx.submitter() {
        task.wake_up();
    }
}
