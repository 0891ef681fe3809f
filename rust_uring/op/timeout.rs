// SPDX-License-Identifier: GPL-2.0

//! `TIMEOUT`, `TIMEOUT_REMOVE` and `LINK_TIMEOUT`.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        op,
        sqe as flag,
        Sqe, //
    },
    cancel::{
        self,
        Match, //
    },
    complete,
    ctx::{
        Ctx,
        State, //
    },
    link,
    op::{
        Issued,
        Op, //
    },
    request::ReqBox,
    ring::Cqe,
    sys::{
        abi_types as c,
        task::Clock,
        timer::When, //
    },
    time,
    timeout::{
        self,
        Armed, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};

/// A request that waits for a time.
pub(crate) struct Timeout {
    /// What it waits with.
    pub(crate) armed: Arc<Armed>,
    pub(crate) when: When,
    flags: u32,
    /// So many CQEs end it, too; or how often it is to repeat, 0 for ever.
    off: u32,
    /// Of another request's timeout: that one's user data.
    pub(crate) of: u64,
}

/// What is to be done with another timeout.
#[derive(Clone, Copy)]
pub(crate) struct Change {
    /// That one's user data.
    user_data: u64,
    flags: u32,
    time: i64,
}

const CLOCKS: u32 = c::IORING_TIMEOUT_BOOTTIME | c::IORING_TIMEOUT_REALTIME;
const UPDATES: u32 = c::IORING_TIMEOUT_UPDATE | c::IORING_LINK_TIMEOUT_UPDATE;

fn clock(flags: u32) -> Clock {
    match flags & CLOCKS {
        c::IORING_TIMEOUT_BOOTTIME => Clock::Boottime,
        c::IORING_TIMEOUT_REALTIME => Clock::Realtime,
        _ => Clock::Monotonic,
    }
}

/// The time that `arg` says, or is. `EINVAL`, `EFAULT`.
fn read_time(arg: u64, flags: u32) -> Result<i64> {
    if flags & c::IORING_TIMEOUT_IMMEDIATE_ARG != 0 {
        return i64::try_from(arg).map_err(|_| EINVAL);
    }
    let ts = time::read(arg)?;
    if ts.tv_sec < 0 || ts.tv_nsec < 0 {
        return Err(EINVAL);
    }
    Ok(time::nanoseconds(&ts))
}

/// In the caller's time namespace to begin with.
fn when(clock: Clock, absolute: bool, time: i64) -> When {
    When {
        clock,
        absolute,
        time: if absolute { clock.to_host(time) } else { time },
    }
}

/// `TIMEOUT` and `LINK_TIMEOUT`. `EINVAL`, `EFAULT`, `ENOMEM`.
pub(crate) fn prep(state: &mut State, sqe: &Sqe) -> Result<Op> {
    let linked = sqe.opcode == op::LINK_TIMEOUT;
    // CAST: The lower half, as natively.
    let off = sqe.off as u32;
    if sqe.addr3 != 0 || sqe.pad2 != 0 || sqe.buf_index != 0 || sqe.len != 1 || sqe.file_index != 0
    {
        return Err(EINVAL);
    }
    let flags = sqe.op_flags;
    let both = c::IORING_TIMEOUT_MULTISHOT | c::IORING_TIMEOUT_ABS;
    let known = both | CLOCKS | c::IORING_TIMEOUT_ETIME_SUCCESS | c::IORING_TIMEOUT_IMMEDIATE_ARG;
    if off != 0 && linked || flags & !known != 0 || flags & CLOCKS == CLOCKS || flags & both == both
    {
        return Err(EINVAL);
    }
    let time = read_time(sqe.addr, flags)?;
    if linked && !link::can_be_timed(state) {
        return Err(EINVAL);
    }
    let timeout = Timeout {
        armed: state.timers.take_free()?,
        when: when(clock(flags), flags & c::IORING_TIMEOUT_ABS != 0, time),
        flags,
        off,
        of: 0,
    };
    Ok(if linked {
        Op::LinkTimeout(timeout)
    } else {
        Op::Timeout(timeout)
    })
}

/// `TIMEOUT_REMOVE`. `EINVAL`, `EFAULT`.
pub(crate) fn prep_change(sqe: &Sqe) -> Result<Op> {
    if sqe.flags & (flag::FIXED_FILE | flag::BUFFER_SELECT) != 0
        || sqe.addr3 != 0
        || sqe.pad2 != 0
        || sqe.buf_index != 0
        || sqe.len != 0
        || sqe.file_index != 0
    {
        return Err(EINVAL);
    }
    let flags = sqe.op_flags;
    let mut time = 0;
    if flags & UPDATES != 0 {
        let known = UPDATES | c::IORING_TIMEOUT_ABS | c::IORING_TIMEOUT_IMMEDIATE_ARG;
        if flags & CLOCKS == CLOCKS || flags & !known != 0 {
            return Err(EINVAL);
        }
        time = read_time(sqe.off, flags)?;
    } else if flags != 0 {
        return Err(EINVAL);
    }
    Ok(Op::TimeoutChange(Change {
        user_data: sqe.addr,
        flags,
        time,
    }))
}

impl Timeout {
    fn repeats(&self) -> bool {
        self.flags & c::IORING_TIMEOUT_MULTISHOT != 0
    }

    /// How many CQEs end it, if they do.
    pub(crate) fn counts(&self) -> Option<u32> {
        (self.off != 0 && !self.repeats()).then_some(self.off)
    }

    /// Whether this time was the last one.
    fn is_last(&mut self) -> bool {
        if !self.repeats() {
            return true;
        }
        if self.off == 0 {
            return false;
        }
        self.off -= 1;
        self.off == 0
    }
}

/// Arms it.
pub(crate) fn issue(state: &mut State, mut req: ReqBox) -> Issued {
    let Op::Timeout(timeout) = &req.op else {
        return Issued::Done(req);
    };
    let (armed, when, counts) = (timeout.armed.clone(), timeout.when, timeout.counts());
    match timeout::arm(state, req, armed, when, counts) {
        Ok(()) => Issued::Gone,
        Err(back) => {
            req = back;
            req.set_result(ENOMEM.to_errno(), 0);
            Issued::Done(req)
        }
    }
}

/// Takes a timeout out, or changes it. `ENOENT` if there is none, `EALREADY` if its time has just come,
/// `EINVAL` for a point in time for one that repeats.
pub(crate) fn issue_change(
    ctx: &Ctx,
    state: &mut State,
    change: Change,
    mut req: ReqBox,
) -> Issued {
    let result = if change.flags & c::IORING_TIMEOUT_UPDATE == 0 {
        cancel::cancel_timeout(ctx, state, &Match::user_data(change.user_data))
    } else if change.flags & c::IORING_LINK_TIMEOUT_UPDATE == 0 {
        update(state, change)
    } else {
        update_linked(state, change)
    };
    req.set_result(result.map_or_else(|err| err.to_errno(), |()| 0), 0);
    Issued::Done(req)
}

fn update(state: &mut State, change: Change) -> Result {
    let armed = timeout::find(state, change.user_data).ok_or(ENOENT)?;
    let absolute = change.flags & c::IORING_TIMEOUT_ABS != 0;
    let mut req = armed.timer.take().ok_or(EALREADY)?;
    let Op::Timeout(timeout) = &mut req.op else {
        drop(armed.timer.put(req));
        return Err(ENOENT);
    };
    // What repeats is a matter of spans only; it goes on as it was.
    let allowed = !(timeout.repeats() && absolute);
    if allowed {
        timeout.when = when(timeout.when.clock, absolute, change.time);
        if !timeout.repeats() {
            timeout.off = 0;
        }
    }
    let at = timeout.when;
    if allowed {
        timeout::forget(state, &armed);
        // It was there before, so there is memory for it.
        timeout::arm(state, req, armed, at, None).map_err(|_| ENOMEM)
    } else {
        drop(armed.timer.put(req));
        armed.timer.start(at);
        Err(EINVAL)
    }
}

fn update_linked(state: &mut State, change: Change) -> Result {
    let armed = timeout::find_linked(state, change.user_data).ok_or(ENOENT)?;
    let absolute = change.flags & c::IORING_TIMEOUT_ABS != 0;
    let mut req = armed.timer.take().ok_or(EALREADY)?;
    let Op::LinkTimeout(timeout) = &mut req.op else {
        drop(armed.timer.put(req));
        return Err(ENOENT);
    };
    timeout.when = when(timeout.when.clock, absolute, change.time);
    let at = timeout.when;
    drop(armed.timer.put(req));
    armed.timer.start(at);
    Ok(())
}

/// The time of a request has come.
#[inline(never)]
pub(crate) fn expired(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    let user_data = req.cqe.user_data;
    match &mut req.op {
        Op::Timeout(timeout) => {
            let armed = timeout.armed.clone();
            timeout::forget(state, &armed);
            let success = timeout.flags & c::IORING_TIMEOUT_ETIME_SUCCESS != 0;
            if !timeout.is_last() && !ctx.is_dying() {
                let cqe = Cqe {
                    user_data,
                    res: ETIME.to_errno(),
                    flags: c::IORING_CQE_F_MORE,
                };
                if complete::post_if_room(ctx, state, &cqe) {
                    state.timers.posted();
                    return match issue(state, req) {
                        Issued::Gone => {}
                        Issued::Done(req) | Issued::DoneLater(req) | Issued::Block(req) => {
                            complete::finish(ctx, state, req)
                        }
                    };
                }
            }
            req.set_result(ETIME.to_errno(), 0);
            req.failed = !success;
        }
        Op::LinkTimeout(timeout) => {
            let armed = timeout.armed.clone();
            timeout::forget(state, &armed);
            let what = if armed.alone.load(Relaxed) {
                Err(ENOENT)
            } else if ctx.is_dying() {
                Err(ECANCELED)
            } else {
                cancel::cancel(ctx, state, &Match::user_data(timeout.of))
            };
            let result = what.map_or_else(|err| err.to_errno(), |_| ETIME.to_errno());
            req.set_result(result, 0);
        }
        _ => {}
    }
    complete::finish(ctx, state, req);
}
