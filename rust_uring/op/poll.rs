// SPDX-License-Identifier: GPL-2.0

//! `POLL_ADD` and `POLL_REMOVE`.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        op,
        poll as flag,
        Sqe,
        SqeAddresses, //
    },
    complete,
    ctx::{
        Ctx,
        State, //
    },
    op::{
        Issued,
        Op,
        Run, //
    },
    poll::{
        self,
        Found, //
    },
    request::{
        After,
        ReqBox,
        Request, //
    },
    retry,
    ring::Cqe,
    sqe::SqeStart,
    submit,
    sys::{
        file,
        poll::{
            from_user,
            mask,
            to_user,
            Arming, //
        }, //
    }, //
};
use kernel::prelude::*;

/// `POLL_ADD`: what is waited for, and how.
#[derive(Clone, Copy)]
pub(crate) struct PollAdd {
    events: u32,
    /// What the file tells depends on who asks.
    asks_who: bool,
}

impl PollAdd {
    /// Not all who wait with this have to be woken.
    pub(crate) fn is_exclusive(self) -> bool {
        self.events & mask::EXCLUSIVE != 0
    }
}

/// `POLL_REMOVE`: which one, and what it is to become instead.
#[derive(Clone, Copy)]
pub(crate) struct PollRemove {
    user_data: u64,
    new_user_data: Option<u64>,
    new_events: Option<u32>,
}

/// The events that an SQE with these flags asks for.
#[inline]
fn events(mut events: u32, flags: u32) -> u32 {
    if cfg!(target_endian = "big") {
        events = events.rotate_left(16);
    }
    if flags & flag::ADD_MULTI == 0 {
        events |= mask::ONESHOT;
    }
    if flags & flag::ADD_LEVEL == 0 {
        events |= mask::EDGE;
    }
    from_user(events) | events & (mask::EXCLUSIVE | mask::ONESHOT | mask::EDGE)
}

/// Makes the request one that polls. `EINVAL`
#[inline]
pub(crate) fn prep_add(state: &State, req: &mut Request, sqe: &SqeStart) -> Result {
    let SqeAddresses { off, addr } = sqe.addresses(&state.rings);
    if sqe.names.buf_index != 0 || off != 0 || addr != 0 {
        return Err(EINVAL);
    }
    let flags = sqe.options.len;
    if flags & !flag::ADD_MULTI != 0 {
        return Err(EINVAL);
    }
    // Without a CQE for success there would be none that says that there are more.
    if flags & flag::ADD_MULTI != 0 && sqe.head.flags & abi::sqe::CQE_SKIP_SUCCESS != 0 {
        return Err(EINVAL);
    }
    req.set_op(Op::Poll(PollAdd {
        events: events(sqe.options.op_flags, flags),
        asks_who: false,
    }));
    Ok(())
}

/// Sees what there is about the file that is to be polled.
///
/// A ring of the kernel's own would keep ours while that keeps it, and cannot be held in another way:
/// `EBADF`, as for registered files.
#[inline]
pub(crate) fn look_at_file(req: &mut Request) -> Result {
    if req.file.get().is_some_and(file::is_native_ring_or_signalfd) {
        look_closer(req)
    } else {
        poll::let_go_of_ring(req);
        Ok(())
    }
}

#[cold]
fn look_closer(req: &mut Request) -> Result {
    if req.file.get().is_some_and(file::is_native_ring) {
        return Err(EBADF);
    }
    if let Op::Poll(poll) = &mut req.op {
        // A signalfd.
        poll.asks_who = true;
    }
    Ok(())
}

/// `EINVAL`
pub(crate) fn prep_remove(sqe: &Sqe) -> Result<PollRemove> {
    if sqe.buf_index != 0 || sqe.file_index != 0 {
        return Err(EINVAL);
    }
    let flags = sqe.len;
    let known = flag::UPDATE_EVENTS | flag::UPDATE_USER_DATA | flag::ADD_MULTI;
    // The last one means nothing without an update.
    if flags & !known != 0 || flags == flag::ADD_MULTI {
        return Err(EINVAL);
    }
    let updates_user_data = flags & flag::UPDATE_USER_DATA != 0;
    if !updates_user_data && sqe.off != 0 {
        return Err(EINVAL);
    }
    let updates_events = flags & flag::UPDATE_EVENTS != 0;
    if !updates_events && sqe.op_flags != 0 {
        return Err(EINVAL);
    }
    Ok(PollRemove {
        user_data: sqe.addr,
        new_user_data: updates_user_data.then_some(sqe.off),
        new_events: updates_events.then(|| events(sqe.op_flags, flags)),
    })
}

/// Waits until the file is ready; tells at once if it is.
#[inline(always)]
pub(crate) fn issue_add(ctx: &Ctx, state: &mut State, mut req: ReqBox) -> Issued {
    let Op::Poll(poll) = &req.op else {
        return Issued::Done(req);
    };
    let poll = *poll;
    if poll.asks_who && !ctx.defers() {
        // Only somebody of this process can tell what it has.
        submit::may_come_back(ctx, state, &mut req);
    }
    let events = poll.events | mask::ALWAYS;
    let oneshot = events & mask::ONESHOT != 0;
    let ready = match poll::arm(state, &mut req, events) {
        Arming::Armed(ready) => ready,
        // What cannot be waited for may be ready all the same.
        Arming::Not(ready, _) if ready != 0 && events & mask::EDGE != 0 => {
            return done(state, req, ready);
        }
        Arming::Not(_, err) => {
            req.set_result(err.to_errno(), 0);
            return Issued::Done(req);
        }
    };
    if ready != 0 && events & mask::EDGE != 0 {
        if oneshot {
            return done(state, req, ready);
        }
        // As if it had been woken.
        if let Some(armed) = &req.armed {
            armed.count_wake();
        }
        // CAST: Same bits.
        req.cqe.res = ready as i32;
        req.after = After::Poll;
        return Issued::DoneLater(req);
    }
    match poll::wait(state, req) {
        None => Issued::Gone,
        Some(mut req) => {
            req.cqe.res = 0;
            req.after = After::Poll;
            Issued::DoneLater(req)
        }
    }
}

/// It is over: this is what is ready.
fn done(state: &mut State, mut req: ReqBox, ready: u32) -> Issued {
    poll::forget(state, &mut req);
    // CAST: Same bits.
    req.set_result(to_user(ready) as i32, 0);
    Issued::Done(req)
}

/// A request that polls was woken, or is to end.
#[inline(never)]
pub(crate) fn woken(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    loop {
        let (Some(armed), Op::Poll(poll)) = (&req.armed, &req.op) else {
            return complete::cancelled(ctx, state, req);
        };
        let events = poll.events | mask::ALWAYS;
        if armed.has_ended() {
            poll::forget(state, &mut req);
            return complete::cancelled(ctx, state, req);
        }
        if poll.asks_who && !ctx.defers() && !retry::is_ours(state, &req) {
            req.after = After::Poll;
            return submit::punt_back(ctx, state, req);
        }
        // Of one wakeup it is known what it was about. Of more only the first is.
        // CAST: Same bits.
        let mut ready = match armed.count_wakes() {
            1 => req.cqe.res as u32,
            _ => 0,
        };
        if ready == 0 {
            ready = state.polls.look(armed);
        }
        let oneshot = armed.is_oneshot();
        ready &= events;
        if ready != 0 {
            let res = to_user(ready) as i32;
            if oneshot {
                poll::forget(state, &mut req);
                req.set_result(res, 0);
                return complete::finish(ctx, state, req);
            }
            let cqe = Cqe {
                user_data: req.cqe.user_data,
                res,
                flags: abi::cqe::MORE,
            };
            if !complete::post_if_room(ctx, state, &cqe) {
                poll::forget(state, &mut req);
                req.set_result(res, 0);
                return complete::finish(ctx, state, req);
            }
        } else if oneshot {
            // Somebody was quicker. Its entry may be out of the queue.
            poll::forget(state, &mut req);
            return submit::issue_again(ctx, state, req);
        }
        req.cqe.res = 0;
        req = match poll::wait(state, req) {
            Some(req) => req,
            None => return,
        };
    }
}

/// The part of a worker: it is of the request's process. `first`: it is issued for the first time, else
/// it was woken. Context: may sleep.
pub(crate) fn run_in_worker(req: ReqBox, first: bool) -> Run {
    let ctx = req.ctx.clone();
    let state = &mut *ctx.state.lock();
    if first {
        submit::issue_again(&ctx, state, req);
    } else {
        woken(&ctx, state, req);
    }
    complete::settle_in_worker(&ctx, state);
    Run::Gone
}

/// The same for `POLL_REMOVE`.
pub(crate) fn remove_in_worker(what: PollRemove, req: ReqBox) -> Run {
    let ctx = req.ctx.clone();
    let state = &mut *ctx.state.lock();
    let issued = issue_remove(&ctx, state, what, req);
    submit::see_to(&ctx, state, issued);
    complete::settle_in_worker(&ctx, state);
    Run::Gone
}

/// Takes a request out that polls, or makes another one of it.
pub(crate) fn issue_remove(
    ctx: &Ctx,
    state: &mut State,
    what: PollRemove,
    mut req: ReqBox,
) -> Issued {
    let res = match poll::take(state, what.user_data, op::POLL_ADD) {
        Found::Nothing => ENOENT.to_errno(),
        Found::Woken => EALREADY.to_errno(),
        Found::Taken(polling) => {
            update(ctx, state, polling, what);
            0
        }
    };
    req.set_result(res, 0);
    Issued::Done(req)
}

fn update(ctx: &Ctx, state: &mut State, mut req: ReqBox, what: PollRemove) {
    if what.new_events.is_some() || what.new_user_data.is_some() {
        if let Some(user_data) = what.new_user_data {
            req.cqe.user_data = user_data;
        }
        if let Op::Poll(poll) = &mut req.op {
            if let Some(new) = what.new_events {
                // How it waits stays.
                poll.events = poll.events & !0xffff | new & 0xffff;
            }
            return match issue_add(ctx, state, req) {
                Issued::Done(req) => submit::see_to(ctx, state, Issued::DoneLater(req)),
                other => submit::see_to(ctx, state, other),
            };
        }
    }
    req.set_result(ECANCELED.to_errno(), 0);
    submit::see_to(ctx, state, Issued::DoneLater(req));
}
