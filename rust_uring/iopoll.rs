// SPDX-License-Identifier: GPL-2.0

//! Rings whose completions are found by polling the device (`IORING_SETUP_IOPOLL`).
//!
//! Transfers that are under way are in [`State::poll_list`]. Whoever waits for CQEs, or takes the ring
//! down, polls for them, with `uring_lock` held.
//!
//! A worker may wait, and not be killed meanwhile, until the device has room, that is, until somebody
//! polls; and while it does so its process, which was to poll, may come to its end and wait for it. So
//! when there is a worker a kernel thread sees to it that somebody polls.

#![forbid(unsafe_code)]

use crate::{
    abi::SetupFlag,
    complete,
    ctx::{
        Ctx,
        State,
        CHECK_LOST,
        CHECK_OVERFLOW, //
    },
    op::rw,
    request::{
        ReqBox,
        Request, //
    },
    sqpoll,
    sys::{
        iopoll::{
            Polled,
            Spin, //
        },
        task::{
            self,
            Clock,
            Deadline,
            Iowait, //
        },
        workqueue, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        lock::{
            mutex::MutexBackend,
            Guard, //
        }, //
    },
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// How long transfers take at best, for rings that sleep before they poll
/// (`IORING_SETUP_HYBRID_IOPOLL`). Nanoseconds; `i64::MAX` before the first one.
pub(crate) struct Fastest(i64);

impl Fastest {
    /// Nothing is known.
    pub(crate) const fn new() -> Self {
        Self(i64::MAX)
    }

    /// Sleeps for half of the time that the fastest transfer took. Returns how long that was meant
    /// to be. Context: may sleep.
    fn sleep(&self) -> i64 {
        if self.0 == i64::MAX {
            return 0;
        }
        let half = self.0 / 2;
        let clock = Clock::Monotonic;
        let at = clock.now().saturating_add(half);
        let _iowait = Iowait::enter();
        task::sleep(|| false, Some(Deadline { clock, at }));
        half
    }
}

/// Polls once, and hands what is found to `deliver`. Returns how many there were. The device's error.
///
/// Context: may sleep.
fn poll(
    ctx: &Ctx,
    state: &mut State,
    spin: Spin,
    mut deliver: impl FnMut(&mut State, ReqBox),
) -> Result<u32> {
    let hybrid = ctx.flags.contains(SetupFlag::HybridIopoll);
    let fastest = &mut state.fastest;
    state.poll_turns = state.poll_turns.wrapping_add(1);
    let mut found = state.poll_list.poll(ctx, spin, |iocb, poll| {
        if !hybrid {
            return poll();
        }
        // Each transfer is slept for once.
        let slept = if iocb.mark_slept() {
            fastest.sleep()
        } else {
            0
        };
        let result = poll();
        let time = Clock::Monotonic.now() - iocb.started() - slept;
        fastest.0 = fastest.0.min(time);
        result
    })?;
    let mut nr = 0;
    while let Some((mut req, result)) = found.pop() {
        rw::settle(&mut req, result);
        deliver(state, req);
        nr += 1;
    }
    Ok(nr)
}

/// Polls once, and posts what is found. Returns how many there were. The device's error.
///
/// Context: may sleep.
fn reap(ctx: &Ctx, state: &mut State, spin: Spin) -> Result<u32> {
    let nr = poll(ctx, state, spin, |state, req| {
        complete::run_one(ctx, state, req)
    })?;
    complete::settle(ctx, state);
    Ok(nr)
}

/// Tells `RingCtx::poller` from the other task of a ring.
pub(crate) const POLLER: u64 = 1;

/// Polls once, for the thread that submits. Errors of devices come to light with their transfers.
/// Context: may sleep.
pub(crate) fn reap_some(ctx: &Ctx, state: &mut State) {
    if !state.poll_list.is_empty() {
        let _ = reap(ctx, state, Spin::Once);
    }
}

/// A worker has started a transfer. Context: may sleep.
pub(crate) fn add_from_worker(ctx: &Ctx, polled: Polled<Request>) {
    ctx.state.lock().poll_list.add(polled);
    ctx.polling.store(true, Relaxed);
    needs_poller(ctx);
    sqpoll::tell(ctx);
}

/// Sees to it that somebody polls: a worker is about to start a transfer, or has. Context: any.
pub(crate) fn needs_poller(ctx: &Ctx) {
    workqueue::queue::<_, POLLER>(&ctx.globals.queue, ctx);
}

/// The kernel thread's part: polls when nobody has for a while, until nothing is under way.
///
/// What it finds comes to its ring as completions of other rings do. Context: may sleep.
pub(crate) fn run_in_kthread(ctx: &Ctx) {
    let mut polls = ctx.state.lock().poll_turns;
    // Who takes the ring down polls as well.
    while !ctx.is_dying() {
        fsleep(Delta::from_millis(10));
        let state = &mut *ctx.state.lock();
        if state.poll_list.is_empty() {
            break;
        }
        if state.poll_turns == polls {
            let _ = poll(ctx, state, Spin::Once, |_, req| {
                complete::push(ctx, req, true)
            });
        }
        polls = state.poll_turns;
    }
}

/// Polls until there are `min` CQEs, nothing is under way any more, or something else has to be done.
///
/// Some may be there before: then none is waited for. `EEXIST` for the wrong task, `EBADR` when CQEs
/// were lost, `EINTR`. Context: may sleep.
pub(crate) fn wait<'a>(
    ctx: &'a Ctx,
    mut state: Guard<'a, State, MutexBackend>,
    min: u32,
) -> Result {
    let min = min.min(state.rings.cq_entries);
    if !ctx.may_run() {
        return Err(EEXIST);
    }
    let check = ctx.check.load(Relaxed);
    if check & CHECK_OVERFLOW != 0 {
        complete::flush_overflow(ctx, &mut state);
    }
    if check & CHECK_LOST != 0 {
        return Err(EBADR);
    }
    if state.rings.cq_ready() != 0 {
        return Ok(());
    }
    loop {
        if state.poll_list.is_empty() || ctx.has_completions() {
            complete::run(ctx, &mut state, min.max(complete::BATCH));
            if state.poll_list.is_empty() {
                // A worker may be about to add something.
                drop(state);
                task::cond_resched();
                state = ctx.state.lock();
                complete::run(ctx, &mut state, min.max(complete::BATCH));
            }
            if state.poll_list.is_empty() {
                return Ok(());
            }
        }
        let spin = if min == 0 { Spin::Once } else { Spin::Found };
        reap(ctx, &mut state, spin)?;
        if task::sigpending() {
            return Err(EINTR);
        }
        if state.rings.cq_ready() >= min || task::need_resched() {
            return Ok(());
        }
    }
}

/// Polls for everything that is there now. The ring is dying.
pub(crate) fn reap_all(ctx: &Ctx, state: &mut State) {
    while !state.poll_list.is_empty() && reap(ctx, state, Spin::Once).is_ok_and(|nr| nr != 0) {}
}
