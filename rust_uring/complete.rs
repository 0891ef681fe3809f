// SPDX-License-Identifier: GPL-2.0

//! From results to CQEs.
//!
//! Who holds `uring_lock` posts directly and publishes once for a whole batch. Everybody else (an
//! interrupt, a wakeup, another ring) pushes the finished request to the ring's completion list.
//! That list is run by the task that waits for CQEs; by the submitter when it enters, or by the thread
//! that submits instead; or, if nobody waits and the ring does not defer its completions, by its submitter on
//! the way out of the kernel where that can be arranged, else by a kernel thread.

#![forbid(unsafe_code)]

mod push;

pub(crate) use push::{
    push,
    push_home,
    push_home_woken, //
};

use crate::{
    abi::{
        self,
        SetupFlag, //
    },
    buffers,
    cq::Posted,
    ctx::{
        Ctx,
        State,
        CHECK_LOST,
        CHECK_OVERFLOW, //
    },
    drain,
    eventfd,
    link,
    op::{
        self,
        Op, //
    },
    poll,
    request::{
        After,
        ReqBox,
        ReqFile,
        Request, //
    },
    retry,
    ring::Cqe,
    rsrc,
    submit,
    sys::{
        file,
        task,
        trace,
        workqueue, //
    },
    timeout, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// Writes one CQE, or keeps or loses it. Not visible before [`publish`].
#[inline(always)]
pub(crate) fn post(ctx: &Ctx, state: &mut State, cqe: &Cqe, extra: &[u64; 2]) -> Posted {
    let rings = &state.rings;
    let posted = state.cq.post(rings, cqe, extra);
    if posted == Posted::Ring {
        trace::complete(ctx, || (cqe.user_data, cqe.res, cqe.flags));
    } else {
        overflowed(ctx, state, cqe, posted);
    }
    posted
}

/// Writes one CQE of a request that has more to come, if there is room in the ring.
pub(crate) fn post_if_room(ctx: &Ctx, state: &mut State, cqe: &Cqe) -> bool {
    let posted = state.cq.post_if_room(&state.rings, cqe);
    if posted {
        trace::complete(ctx, || (cqe.user_data, cqe.res, cqe.flags));
    }
    posted
}

#[cold]
fn overflowed(ctx: &Ctx, state: &mut State, cqe: &Cqe, posted: Posted) {
    trace::overflow(ctx, || (cqe.user_data, cqe.res, cqe.flags));
    let bit = if posted == Posted::Lost {
        CHECK_LOST
    } else {
        CHECK_OVERFLOW
    };
    ctx.set_check(state, bit);
    // No CQE will show up, but those who wait have to look at the list.
    if state.waiters != 0 {
        ctx.cq_wait.wake(0);
    }
    if ctx.polled.load(Relaxed) {
        wake_pollers(ctx);
    }
}

/// A request is done: its CQE is written and it goes back to the cache.
#[inline(always)]
pub(crate) fn finish(ctx: &Ctx, state: &mut State, req: ReqBox) {
    // A failure is always told.
    let told = !req.skips() || req.failed;
    if told {
        post(ctx, state, &req.cqe, &req.extra);
    }
    if !req.holds_nothing() {
        retire_full(ctx, state, req, told);
    } else if req.tie.is_some() {
        retire_tied(ctx, state, req);
    } else {
        state.cache.put(req);
    }
}

/// A request is done, and completes when the current batch is over, as natively what is put off to the
/// return to user space.
pub(crate) fn finish_soon(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    req.after = After::Complete;
    if ctx.defers() {
        push(ctx, req, false);
    } else {
        state.local.push(req);
    }
}

/// A request did not run because of another one's failure.
#[cold]
pub(crate) fn finish_cancelled(ctx: &Ctx, state: &mut State, req: ReqBox) {
    if !req.skips() {
        post(ctx, state, &req.cqe, &req.extra);
    }
    retire(ctx, state, req);
}

/// A request will not be done.
#[cold]
pub(crate) fn cancelled(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    req.set_error(ECANCELED);
    finish(ctx, state, req);
}

/// Gives back what a request holds, and the request itself.
fn retire(ctx: &Ctx, state: &mut State, req: ReqBox) {
    retire_full(ctx, state, req, false);
}

/// The same; `told`: the request came to its own end, and had a CQE.
#[inline(never)]
fn retire_full(ctx: &Ctx, state: &mut State, mut req: ReqBox, told: bool) {
    match &req.op {
        Op::Rw(rw) => {
            if let (true, Some(file)) = (rw.was_tried(), req.file.get()) {
                file::notify(file, rw.is_write());
            }
            if rw.owns_nothing() {
                req.set_op(Op::Idle);
            } else {
                req.op = Op::Idle;
            }
        }
        Op::Message => {
            // Its sender made it; the cache does not count it.
            ctx.messages.fetch_sub(1, Relaxed);
            return;
        }
        Op::Timeout(_) | Op::LinkTimeout(_) => give_back_timer(state, &mut req, told),
        Op::Poll(_) => req.set_op(Op::Idle),
        _ => req.op = Op::Idle,
    }
    match req.take_file() {
        ReqFile::Normal(file) => drop(file),
        ReqFile::None => {}
        ReqFile::Fixed(node) => drop(rsrc::put(ctx, state, node)),
        ReqFile::Ring(pollers) => drop(pollers),
    }
    if let Some(node) = req.buffer.take() {
        buffers::put(ctx, state, node);
    }
    req.pool = 0;
    req.waits = 0;
    if req.has_company() {
        return retire_with_company(ctx, state, req);
    }
    state.cache.put(req);
}

/// The part of [`retire_full`] for a request that others had to do with.
#[inline(never)]
fn retire_with_company(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    if req.armed.is_some() {
        poll::forget(state, &mut req);
    }
    req.creds = None;
    retire_tied(ctx, state, req);
}

/// The same for one that holds nothing but its tie, if that.
#[inline(never)]
fn retire_tied(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    if let Some(tie) = req.tie.take() {
        link::completed(ctx, state, &req, tie);
    }
    state.cache.put(req);
}

/// A timeout is done: what it waited with is kept for the next one.
#[inline(never)]
fn give_back_timer(state: &mut State, req: &mut Request, told: bool) {
    if told && matches!(req.op, Op::Timeout(_)) {
        state.timers.posted();
    }
    if let Op::Timeout(timeout) | Op::LinkTimeout(timeout) =
        core::mem::replace(&mut req.op, Op::Idle)
    {
        state.timers.put_free(timeout.armed);
    }
}

/// The end of a batch: does what it has left, until nothing is left, and publishes.
///
/// The caller may run completions. Context: may sleep.
#[inline]
pub(crate) fn settle(ctx: &Ctx, state: &mut State) {
    if !state.closed.is_empty() {
        state.let_go_of_closed();
    }
    if !state.local.is_empty() || state.drain.is_active() {
        run_local(ctx, state);
    }
    publish(ctx, state);
    if state.timers.count() {
        settle_counted(ctx, state);
    }
}

/// The same in a worker, whose credentials are those of the request that it runs and of no other: what
/// there is to be done is left to whoever runs the completion list.
pub(crate) fn settle_in_worker(ctx: &Ctx, state: &mut State) {
    if ctx.defers() {
        // Nothing is done there but what the submitter does.
        return settle(ctx, state);
    }
    while let Some(req) = state.local.pop() {
        push(ctx, req, false);
    }
    publish(ctx, state);
    if state.drain.is_active() || state.timers.count() {
        workqueue::queue::<_, 0>(&ctx.globals.queue, ctx);
    }
}

/// CQEs that are visible now may end timeouts.
#[cold]
fn settle_counted(ctx: &Ctx, state: &mut State) {
    while timeout::look_at_counted(ctx, state) && !state.local.is_empty() {
        run_local(ctx, state);
        publish(ctx, state);
    }
}

/// Shows the application what was posted, and tells those who wait for it.
#[inline]
pub(crate) fn publish(ctx: &Ctx, state: &mut State) {
    if !state.cq.publish(&state.rings) {
        return;
    }
    if state.waiters != 0 {
        ctx.cq_wait.wake(0);
    }
    if ctx.polled.load(Relaxed) {
        wake_pollers(ctx);
    }
    if let Some(eventfd) = &state.eventfd {
        eventfd::cqe_posted(ctx, eventfd, &state.rings, state.from_worker);
        state.from_worker = false;
    }
}

/// Wakes those who poll the ring's descriptor.
#[cold]
pub(crate) fn wake_pollers(ctx: &Ctx) {
    if ctx.pollers.queue.has_sleeper() {
        ctx.pollers.queue.wake(0);
    }
}

/// Posts a CQE that belongs to no request, and publishes it. Returns where it went.
pub(crate) fn post_alone(ctx: &Ctx, state: &mut State, cqe: &Cqe) -> Posted {
    let posted = post(ctx, state, cqe, &[0; 2]);
    publish(ctx, state);
    posted
}

/// How many completions of a deferring ring one call runs at least, if there are as many.
pub(crate) const BATCH: u32 = 20;

/// Runs the completion list: posts what is in it and publishes.
///
/// In a ring that defers, up to `max` of them: an application that asks for few CQEs is not to pay
/// for all that others send it meanwhile. In other rings all that is there now.
///
/// The caller may run completions (see [`crate::ctx::RingCtx::may_run`]), or is a kernel thread of
/// a ring that does not defer. Context: may sleep.
pub(crate) fn run(ctx: &Ctx, state: &mut State, max: u32) {
    if ctx.has_completions() {
        if ctx.flags.contains(SetupFlag::TaskrunFlag) {
            state.rings.sq_flags().clear(abi::sq_flags::TASKRUN);
        }
        if ctx.defers() {
            run_some(ctx, state, max);
        } else {
            let mut batch = ctx.inbox.take();
            while let Some(req) = batch.pop() {
                run_one(ctx, state, req);
            }
        }
    }
    settle(ctx, state);
}

/// Runs the completion list of a ring that defers in place of its submitter, who is gone. What was to be
/// done by that one is not done any more. The caller settles. Context: may sleep, in a kernel thread.
#[cold]
pub(crate) fn run_for_the_dead(ctx: &Ctx, state: &mut State) {
    loop {
        if state.backlog.is_empty() {
            state.backlog = ctx.inbox.take();
        }
        let Some(mut req) = state.backlog.pop() else {
            break;
        };
        match req.after {
            After::Complete | After::Expired | After::Poll => run_one(ctx, state, req),
            After::Punt | After::Retry | After::Issue => {
                req.back_from_background();
                cancelled(ctx, state, req);
            }
        }
    }
    ctx.has_backlog.store(false, Relaxed);
}

/// Up to `max` completions, those first that were left over the last time.
fn run_some(ctx: &Ctx, state: &mut State, max: u32) {
    for _ in 0..max {
        if state.backlog.is_empty() {
            state.backlog = ctx.inbox.take();
        }
        let Some(req) = state.backlog.pop() else {
            break;
        };
        run_one(ctx, state, req);
    }
    ctx.has_backlog.store(!state.backlog.is_empty(), Relaxed);
    if ctx.flags.contains(SetupFlag::TaskrunFlag) && ctx.has_completions() {
        state.rings.sq_flags().set(abi::sq_flags::TASKRUN);
    }
}

/// Completes a request, or sees to what else is to be done with it.
#[inline(always)]
pub(crate) fn run_one(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    req.back_from_background();
    if req.after != After::Complete {
        return go_on(ctx, state, req);
    }
    state.from_worker |= req.from_worker;
    req.from_worker = false;
    finish(ctx, state, req);
}

/// Sees to a request that is not done yet. Has no frame of its own: what it calls is not inlined.
#[inline(never)]
fn go_on(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    match core::mem::replace(&mut req.after, After::Complete) {
        After::Complete => finish_late(ctx, state, req),
        After::Punt => submit::punt_back(ctx, state, req),
        After::Retry => submit::retry(ctx, state, req),
        After::Issue => submit::start_later(ctx, state, req),
        After::Expired => op::timeout::expired(ctx, state, req),
        After::Poll => poll::woken(ctx, state, req),
    }
}

#[cold]
fn finish_late(ctx: &Ctx, state: &mut State, req: ReqBox) {
    finish(ctx, state, req);
}

/// Does what a batch has left for its end, and what comes of that.
#[cold]
fn run_local(ctx: &Ctx, state: &mut State) {
    loop {
        while let Some(mut req) = state.local.pop() {
            // What waited for others is the most of it by far.
            if req.after == After::Issue {
                req.after = After::Complete;
                submit::start_later(ctx, state, req);
            } else {
                run_one(ctx, state, req);
            }
        }
        if state.drain.is_active() {
            drain::after_batch(ctx, state);
        }
        if state.local.is_empty() {
            break;
        }
    }
}

/// The kernel thread's part: runs the list unless that is the submitter's to do, tells those who
/// began to poll while CQEs were being posted, and pays an owed eventfd signal.
pub(crate) fn run_in_worker(ctx: &Ctx) {
    {
        let state = &mut *ctx.state.lock();
        state.is_running = true;
        if !ctx.defers() {
            run(ctx, state, u32::MAX);
        }
        if !state.strays.is_empty() {
            retry::run_strays(ctx, state);
            settle(ctx, state);
        }
        state.is_running = false;
    }
    wake_late_pollers(ctx);
    eventfd::pay_owed(ctx);
}

/// The submitter's part, on its way out of the kernel.
pub(crate) fn run_in_submitter(ctx: &Ctx) {
    if task::is_exiting() || ctx.is_dying() {
        // Nothing is done for it any more.
        workqueue::queue::<_, 0>(&ctx.globals.queue, ctx);
        return;
    }
    if ctx.has_completions() {
        run(ctx, &mut ctx.state.lock(), u32::MAX);
        wake_late_pollers(ctx);
    }
}

/// Tells those who began to poll while CQEs were being posted.
#[inline]
fn wake_late_pollers(ctx: &Ctx) {
    if ctx.polled.load(Relaxed) {
        wake_pollers_if_readable(ctx);
    }
}

/// Some believe a wakeup and do not look again, so there must be a reason for it.
#[cold]
fn wake_pollers_if_readable(ctx: &Ctx) {
    if ctx.is_readable() {
        wake_pollers(ctx);
    }
}

/// Moves what is on the overflow list into the ring, as far as there is room.
#[inline]
pub(crate) fn flush_overflow(ctx: &Ctx, state: &mut State) {
    if !state.cq.overflowed().is_empty() {
        flush_overflow_now(ctx, state);
    }
}

#[cold]
fn flush_overflow_now(ctx: &Ctx, state: &mut State) {
    let rings = state.rings.clone();
    if state.cq.flush_overflow(&rings) {
        ctx.clear_check(state, CHECK_OVERFLOW);
    }
    publish(ctx, state);
}

/// Takes every request out of the place where it is. The ring is dying: no CQE will be read.
pub(crate) fn cancel_all(ctx: &Ctx, state: &mut State) {
    while let Some(woken) = state.polls.disarm_first() {
        if let Some(req) = woken {
            retire(ctx, state, req);
        }
    }
    while let Some(req) = state.strays.pop() {
        retire(ctx, state, req);
    }
    while let Some(req) = state.backlog.pop() {
        retire(ctx, state, req);
    }
    let mut batch = ctx.inbox.take();
    while let Some(req) = batch.pop() {
        retire(ctx, state, req);
    }
    while let Some(req) = state.local.pop().or_else(|| state.drain.pop()) {
        retire(ctx, state, req);
    }
    while let Some(req) = timeout::take_any(state) {
        retire(ctx, state, req);
    }
    state.timers.clear();
}
