// SPDX-License-Identifier: GPL-2.0

//! From SQEs to requests.

#![forbid(unsafe_code)]

mod assign;
mod worker;

pub(crate) use assign::{
    assign_early,
    assign_file,
    assign_in_worker, //
};
pub(crate) use worker::{
    keep_creds,
    keep_pool,
    may_come_back,
    pool_number,
    punt_back,
    recall_creds, //
};

use assign::{
    assign,
    assign_for_poll,
    assign_for_transfer, //
};
use worker::{
    is_of_this_process,
    start_in_worker, //
};

use crate::{
    abi::{
        self,
        SetupFlag,
        SqeHead, //
    },
    complete,
    ctx::{
        Ctx,
        State,
        Submitting, //
    },
    departed,
    drain,
    link,
    op::{
        self,
        identity,
        nop,
        rw,
        Issued,
        Op,
        OpInfo, //
    },
    poll,
    request::{
        ReqBox,
        Request, //
    },
    ring::sq_pending,
    sqe::SqeStart,
    sys::{
        cred,
        plug,
        task,
        trace, //
    },
    worker::Pool, //
};
use kernel::prelude::*;

/// With more SQEs than that, transfers are collected for the device: as natively, for fewer it is not
/// worth it.
const PLUG_ABOVE: u32 = 2;

/// Consumes up to `nr` SQEs. Returns how many.
///
/// An SQE that is in error is consumed too: it gets a CQE with the error, and the submission ends
/// there unless the ring has `SUBMIT_ALL`. `EAGAIN` if there is no memory for a single request.
///
/// Context: may sleep; the current task may submit.
#[inline]
pub(crate) fn submit(ctx: &Ctx, state: &mut State, nr: u32) -> Result<u32> {
    if state.plugs && nr > PLUG_ABOVE {
        plug::during(nr, || submit_batch(ctx, state, nr))
    } else {
        submit_batch(ctx, state, nr)
    }
}

#[inline(never)]
fn submit_batch(ctx: &Ctx, state: &mut State, nr: u32) -> Result<u32> {
    let rewind = ctx.flags.contains(SetupFlag::SqRewind);
    let available = if rewind {
        state.rings.sq_entries
    } else {
        let tail = state.rings.sq_tail().load_acquire();
        sq_pending(tail, state.sq_head, state.rings.sq_entries)
    };
    let entries = available.min(nr);
    if entries == 0 {
        return Ok(0);
    }

    ctx.attend(state);
    state.submitting = Some(Submitting::default());
    let submit_all = ctx.flags.contains(SetupFlag::SubmitAll);
    let wanted = OpInfo::wanted(ctx.polls());
    let mut plain = is_plain(state);
    let mut left = entries;
    let mut starved = false;
    while left != 0 {
        let Ok(req) = state.cache.take(ctx) else {
            starved = true;
            break;
        };
        let pos = state.sq_head;
        state.sq_head = pos.wrapping_add(1);
        let Some(slot) = state.rings.sqe_slot(pos) else {
            count_dropped(state);
            state.cache.put(req);
            break;
        };
        let sqe = SqeStart::read(&state.rings, slot);
        let info = op::info(sqe.head.opcode).filter(|info| plain && info.is(wanted));
        let ok = if let Some(info) = info.filter(|_| sqe.is_plain()) {
            submit_plain(ctx, state, req, &sqe, info)
        } else {
            let (ok, more) = submit_with_care(ctx, state, req, &sqe, left);
            left -= more;
            plain = is_plain(state);
            ok
        };
        left -= 1;
        if !ok && !submit_all {
            break;
        }
    }

    if state.chain.is_some() {
        link::end(ctx, state);
    }
    ctx.stop_attending(state);
    if !ctx.defers() && !ctx.inbox.is_empty() {
        // What could not be done without blocking needs a worker of this process.
        complete::run(ctx, state, u32::MAX);
    }
    complete::settle(ctx, state);
    state.submitting = None;

    // Only now may the application write to the entries again.
    if rewind {
        state.sq_head = 0;
    } else {
        state.rings.sq_head().store_release(state.sq_head);
    }
    let done = entries - left;
    if done == 0 && starved {
        return Err(EAGAIN);
    }
    Ok(done)
}

/// The application's index is bad.
#[cold]
fn count_dropped(state: &State) {
    let dropped = state.rings.sq_dropped();
    dropped.store(dropped.load().wrapping_add(1));
}

/// Whether an SQE that asks for nothing special is issued just like that. Of what is looked at here only
/// SQEs that do ask for something make the opposite of a yes.
fn is_plain(state: &State) -> bool {
    state.restrictions.is_empty() && !link::is_special(state) && !state.drain.concerns_next()
}

/// Turns an SQE that asks for nothing special into a request, and issues it. Returns whether the SQE was in
/// order.
#[inline(always)]
fn submit_plain(
    ctx: &Ctx,
    state: &mut State,
    mut req: ReqBox,
    sqe: &SqeStart,
    info: OpInfo,
) -> bool {
    req.take_in(sqe);
    if sqe.head.opcode == abi::op::NOP {
        let nop = match nop::prep(state, &mut req, sqe) {
            Ok(nop) => nop,
            Err(err) => return link::submit(ctx, state, req, Err(err)),
        };
        trace_submit(ctx, &req);
        let issued = nop::issue(state, nop, req);
        see_to(ctx, state, issued);
        return true;
    }
    if info.is_transfer() {
        return submit_transfer(ctx, state, req, sqe);
    }
    if sqe.head.opcode == abi::op::POLL_ADD {
        return submit_poll(ctx, state, req, sqe);
    }
    submit_other(ctx, state, req, sqe)
}

/// The part of [`submit_plain`] for reads and writes.
#[inline(never)]
fn submit_transfer(ctx: &Ctx, state: &mut State, mut req: ReqBox, sqe: &SqeStart) -> bool {
    if let Err(err) = rw::prep(state, &mut req, sqe) {
        return link::submit(ctx, state, req, Err(err));
    }
    trace_submit(ctx, &req);
    let fixed_buffer = matches!(&req.op, Op::Rw(rw) if rw.is_fixed());
    match assign_for_transfer(state, &mut req, fixed_buffer) {
        Ok(()) => {
            let issued = op::issue_transfer(ctx, state, req);
            see_to(ctx, state, issued);
        }
        Err(err) => fail(ctx, state, req, err),
    }
    true
}

/// The part of [`submit_plain`] for `POLL_ADD`.
#[inline(never)]
fn submit_poll(ctx: &Ctx, state: &mut State, mut req: ReqBox, sqe: &SqeStart) -> bool {
    if let Err(err) = op::poll::prep_add(state, &mut req, sqe) {
        return link::submit(ctx, state, req, Err(err));
    }
    trace_submit(ctx, &req);
    match assign_for_poll(state, &mut req) {
        Ok(()) => {
            let issued = op::poll::issue_add(ctx, state, req);
            see_to(ctx, state, issued);
        }
        Err(err) => fail(ctx, state, req, err),
    }
    true
}

/// The part of [`submit_plain`] for everything else.
#[inline(never)]
fn submit_other(ctx: &Ctx, state: &mut State, mut req: ReqBox, sqe: &SqeStart) -> bool {
    if let Err(err) = op::prep_other(state, &mut req, sqe) {
        return link::submit(ctx, state, req, Err(err));
    }
    trace_submit(ctx, &req);
    // That something is not there is no error of the SQE: the submission goes on.
    match assign(state, &mut req) {
        Ok(()) => {
            let issued = op::issue_as_current(ctx, state, req);
            see_to(ctx, state, issued);
        }
        Err(err) => fail(ctx, state, req, err),
    }
    true
}

#[inline(always)]
fn trace_submit(ctx: &Ctx, req: &Request) {
    trace::submit(ctx, || {
        let SqeHead { opcode, flags, .. } = req.head;
        (req.cqe.user_data, opcode, u32::from(flags))
    });
}

/// Turns any SQE into a request and issues it, if it has not to wait for others. Returns whether the SQE was in
/// order, and how many more entries it took.
#[inline(never)]
fn submit_with_care(
    ctx: &Ctx,
    state: &mut State,
    mut req: ReqBox,
    sqe: &SqeStart,
    left: u32,
) -> (bool, u32) {
    req.take_in(sqe);
    let mut more = 0;
    let result = init(ctx, state, &mut req, sqe, left, &mut more);
    if result.is_ok() {
        trace_submit(ctx, &req);
    }
    let special = link::is_special(state) || link::asks_for_others(&req);
    if result.is_err() || special {
        return (link::submit(ctx, state, req, result), more);
    }
    start(ctx, state, req);
    (true, more)
}

/// Issues a request for the first time, in its submitter.
pub(crate) fn start(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    // That something is not there is no error of the SQE: the submission goes on.
    if let Err(err) = assign(state, &mut req) {
        return fail(ctx, state, req, err);
    }
    if link::is_limited(&req) {
        issue_limited(ctx, state, req);
    } else {
        issue_first(ctx, state, req);
    }
}

/// Issues a request that has a timeout in its chain.
#[cold]
fn issue_limited(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    let limit = link::limit(ctx, state, &mut req);
    issue_first(ctx, state, req);
    if let Some((limit, when)) = limit {
        limit.timer.start(when);
    }
}

/// Issues a request that has all it needs, where the SQE wants it to be.
#[inline(always)]
fn issue_first(ctx: &Ctx, state: &mut State, req: ReqBox) {
    if req.head.flags & abi::sqe::ASYNC == 0 {
        issue(ctx, state, req);
    } else {
        issue_in_worker(ctx, state, req);
    }
}

/// Issues a request that is for a worker from the start, if any of them may have it.
#[inline(never)]
fn issue_in_worker(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    let goes = op::info(req.head.opcode).is_some_and(|info| !info.stays())
        && !(ctx.globals.limits.kernel_workers && identity::is_better_tried(&req));
    if goes {
        op::before_worker(ctx, state, &mut req);
        punt(ctx, state, req);
    } else {
        issue(ctx, state, req);
    }
}

/// Issues a request for the first time that had to wait for others: here, if it is of this process or
/// nothing in it depends on that, or in a worker of its own.
#[inline(never)]
pub(crate) fn start_later(ctx: &Ctx, state: &mut State, req: ReqBox) {
    let (pool, born) = req.tie.as_ref().map_or((0, 0), |tie| (tie.pool, tie.born));
    if ctx.is_dying() || state.released.bars(born, &req) {
        return fail(ctx, state, req, ECANCELED);
    }
    let here = ctx.defers()
        || state.is_submitter_of(pool)
        || is_of_this_process(ctx, state, pool)
        || op::is_independent(&req);
    if here {
        start(ctx, state, req);
    } else {
        start_in_worker(ctx, state, req);
    }
}

/// Does what the request asks for, and sees to what comes of it.
#[inline(always)]
fn issue(ctx: &Ctx, state: &mut State, req: ReqBox) {
    let issued = op::issue(ctx, state, req);
    see_to(ctx, state, issued);
}

/// The same for a request that comes from where it waited.
pub(crate) fn issue_again(ctx: &Ctx, state: &mut State, req: ReqBox) {
    issue(ctx, state, req);
}

/// Sees to what came of a request that was issued.
#[inline(always)]
pub(crate) fn see_to(ctx: &Ctx, state: &mut State, issued: Issued) {
    match issued {
        Issued::Done(req) => complete::finish(ctx, state, req),
        Issued::DoneLater(req) if ctx.defers() => complete::push(ctx, req, false),
        Issued::DoneLater(req) => state.local.push(req),
        Issued::Block(req) => block(ctx, state, req),
        Issued::Gone => {}
    }
}

/// A request would block: it waits for its file, or a worker does it.
#[cold]
fn block(ctx: &Ctx, state: &mut State, req: ReqBox) {
    if let Some(req) = poll::instead_of_blocking(ctx, state, req) {
        punt(ctx, state, req);
    }
}

/// Completes a request that was not issued.
#[cold]
fn fail(ctx: &Ctx, state: &mut State, mut req: ReqBox, err: Error) {
    req.extra = [0; 2];
    req.set_result(err.to_errno(), 0);
    complete::finish(ctx, state, req);
}

/// Checks what is the same for all opcodes, in the order in which io_uring does it, and prepares.
fn init(
    ctx: &Ctx,
    state: &mut State,
    req: &mut Request,
    sqe: &SqeStart,
    left: u32,
    more: &mut u32,
) -> Result {
    let SqeHead {
        opcode,
        flags,
        ioprio,
        ..
    } = sqe.head;
    let info = op::info(opcode).ok_or(EINVAL)?;
    if info.is_128() && !state.rings.sqe128() {
        second_half(ctx, state, sqe.slot, left, more)?;
    }
    if flags != 0 {
        if flags & !abi::sqe::SUPPORTED != 0 {
            return Err(EINVAL);
        }
        if flags & abi::sqe::BUFFER_SELECT != 0 && !info.buffer_select() {
            return Err(EOPNOTSUPP);
        }
    }
    if drain::concerns(state, flags) {
        drain::check(ctx, state, req)?;
    }
    state.restrictions.check_sqe(opcode, flags)?;
    if ioprio != 0 && !info.ioprio() || ctx.polls() && !info.polled() {
        return Err(EINVAL);
    }
    if sqe.names.personality != 0 {
        let creds = state.personalities.get(sqe.names.personality);
        req.creds = Some(creds.ok_or(EINVAL)?);
    }
    op::prep(state, req, sqe)
}

/// A 128-byte SQE in a ring with both sizes takes the following entry too. `EINVAL` where that is
/// not possible.
#[cold]
fn second_half(ctx: &Ctx, state: &mut State, slot: u32, left: u32, more: &mut u32) -> Result {
    let last = state.rings.sq_entries.wrapping_sub(1);
    if !ctx.flags.contains(SetupFlag::SqeMixed) || slot >= last {
        return Err(EINVAL);
    }
    if left >= 2 {
        *more = 1;
    } else {
        // That a thread which submits takes few at a time is nothing to the application.
        let tail = state.rings.sq_tail().load_acquire();
        let more = sq_pending(tail, state.sq_head, state.rings.sq_entries) != 0;
        if !ctx.flags.contains(SetupFlag::Sqpoll) || !more {
            return Err(EINVAL);
        }
    }
    state.sq_head = state.sq_head.wrapping_add(1);
    Ok(())
}

/// Hands a request that its submitter could not do to the workers of the process. Without any it ends
/// with `ECANCELED`.
#[cold]
pub(crate) fn punt(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    if task::is_kernel_thread() {
        return punt_back(ctx, state, req);
    }
    let to_kernel = ctx.globals.limits.kernel_workers;
    if to_kernel && !identity::is_open_to_all(&req) {
        let issued = identity::run_here(ctx, state, req);
        return see_to(ctx, state, issued);
    }
    if req.creds.is_none() {
        req.creds = cred::current().ok();
    }
    let ready = state.pool_index(ctx).and_then(|index| {
        if to_kernel {
            // It is not one of this process who has it from now on.
            req.pool = pool_number(index);
            if let Some(file) = req.file.get() {
                departed::watch(state, &req, file)?;
            }
        }
        Ok(index)
    });
    let result = match ready.ok().and_then(|index| state.pools.get(index)) {
        Some(user) => Pool::submit(user.pool(), req),
        None => Err(req),
    };
    if let Err(req) = result {
        complete::cancelled(ctx, state, req);
    }
}

/// Issues a request again that came back: here, if it is of this process, or in a worker of its own.
#[inline(never)]
pub(crate) fn retry(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    recall_creds(state, &mut req);
    let index = usize::from(req.pool).wrapping_sub(1);
    let pool = state.pools.get(index);
    if pool.is_some_and(|user| user.pool().is_current()) {
        issue(ctx, state, req);
    } else {
        punt_back(ctx, state, req);
    }
}
