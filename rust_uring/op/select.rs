// SPDX-License-Identifier: GPL-2.0

//! Reads whose buffer is chosen when there is data (`IOSQE_BUFFER_SELECT`), and `READ_MULTISHOT`.
//!
//! A buffer of a ring is looked at before a try, and used up only when that has come to a result. A request
//! that goes out of our hands meanwhile (to a worker, or into the background) uses it up before, and
//! keeps it to the end: so it is with files that cannot be polled. One of a list is taken out and kept.

#![forbid(unsafe_code)]

use crate::{
    abi::cqe,
    complete,
    ctx::{
        Ctx,
        State, //
    },
    kbuf::{
        Choice,
        Groups,
        Held, //
    },
    op::{
        self,
        rw,
        Issued,
        Op,
        Run, //
    },
    poll,
    request::{
        After,
        ReqBox,
        Request, //
    },
    ring::Cqe,
    submit,
    sys::{
        file,
        task, //
    }, //
};
use kernel::prelude::*;

/// Whether it reads as often as there is data.
pub(crate) fn is_multishot(req: &Request) -> bool {
    matches!(&req.op, Op::Rw(rw) if rw.choice().is_some_and(|choice| choice.multishot))
}

/// Chooses a buffer, unless the request has one. `ENOBUFS`
///
/// `use_up`: it is on its way out of our hands.
fn choose(groups: &mut Groups, req: &mut Request, use_up: bool) -> Result {
    let can_poll = req.file.get().is_some_and(file::can_poll);
    let Op::Rw(rw) = &mut req.op else {
        return Ok(());
    };
    let Some(choice) = rw.choice().filter(|choice| choice.held == Held::No) else {
        return Ok(());
    };
    let chosen = groups
        .choose(choice.group, rw.wanted(), use_up || !can_poll)
        .ok_or(ENOBUFS)?;
    let missing = chosen.addr == 0;
    rw.take_buffer(chosen);
    if missing {
        return Err(ENOBUFS);
    }
    Ok(())
}

/// A try has come to this: the buffer is used, or others can have it.
fn settle(groups: &mut Groups, req: &mut Request) {
    // A failure is negative.
    let used = usize::try_from(req.cqe.res);
    let Some((choice, addr)) = choice_mut(&mut req.op) else {
        return;
    };
    match used {
        Ok(used) => groups.commit(choice, used),
        // One of a list is lost with the request, as natively.
        Err(_) if !choice.is_listed() => groups.put_back(choice, addr),
        Err(_) => {}
    }
    req.cqe.flags = choice.flags();
}

/// It is no good with this buffer, or none.
fn fail(groups: &mut Groups, mut req: ReqBox, err: Error) -> ReqBox {
    req.set_result(err.to_errno(), 0);
    settle(groups, &mut req);
    req
}

/// Sees to the buffer of a request that has to wait.
fn wait(groups: &mut Groups, req: &mut Request) {
    let Op::Rw(rw) = &mut req.op else { return };
    let begun = rw.has_begun();
    let len = rw.wanted();
    let Some((choice, addr)) = rw.choice_mut() else {
        return;
    };
    if begun {
        // There is something in it already.
        groups.commit(choice, len);
    } else if choice.multishot || !choice.is_listed() {
        groups.put_back(choice, addr);
    }
    if choice.multishot && choice.held == Held::No {
        // The next one may be larger.
        rw.forget_buffer();
    }
}

/// Reads into a buffer that is chosen now, or was before.
#[cold]
pub(crate) fn issue(ctx: &Ctx, state: &mut State, mut req: ReqBox) -> Issued {
    if is_multishot(&req) {
        return issue_multishot(ctx, state, req);
    }
    if let Err(err) = choose(&mut state.kbufs, &mut req, false) {
        return Issued::Done(fail(&mut state.kbufs, req, err));
    }
    match transfer(ctx, state, req) {
        Run::Done(mut req) => {
            settle(&mut state.kbufs, &mut req);
            Issued::Done(req)
        }
        Run::Block(mut req) => {
            wait(&mut state.kbufs, &mut req);
            Issued::Block(req)
        }
        run => run.issued(state),
    }
}

/// Tries the transfer. If it goes on by itself its buffer is used up.
fn transfer(ctx: &Ctx, state: &mut State, req: ReqBox) -> Run {
    let choice = choice_of(&req);
    let run = op::transfer(ctx, state, req);
    if let (Run::Gone | Run::Polled(_), Some(choice)) = (&run, choice) {
        state.kbufs.use_up(choice);
    }
    run
}

fn choice_of(req: &Request) -> Option<Choice> {
    match &req.op {
        Op::Rw(rw) => rw.choice().copied(),
        _ => None,
    }
}

/// The choice and the address of what was chosen.
fn choice_mut(op: &mut Op) -> Option<(&mut Choice, u64)> {
    match op {
        Op::Rw(rw) => rw.choice_mut(),
        _ => None,
    }
}

/// Reads for as long as there is data, a CQE each time. How often is limited by the room in the CQ, since
/// the application does not see the CQEs before.
fn issue_multishot(ctx: &Ctx, state: &mut State, mut req: ReqBox) -> Issued {
    if !req.file.get().is_some_and(file::can_poll) {
        req.set_result(EBADFD.to_errno(), 0);
        return Issued::Done(req);
    }
    loop {
        if let Err(err) = choose(&mut state.kbufs, &mut req, false) {
            return Issued::Done(fail_multishot(&mut state.kbufs, req, err.to_errno()));
        }
        req = match transfer(ctx, state, req) {
            Run::Done(req) => req,
            Run::Block(mut req) => {
                wait(&mut state.kbufs, &mut req);
                return Issued::Block(req);
            }
            run => return run.issued(state),
        };
        let res = req.cqe.res;
        if res <= 0 {
            return Issued::Done(fail_multishot(&mut state.kbufs, req, res));
        }
        settle(&mut state.kbufs, &mut req);
        let flags = req.cqe.flags;
        let cqe = Cqe {
            user_data: req.cqe.user_data,
            res,
            flags: flags | cqe::MORE,
        };
        if !complete::post_if_room(ctx, state, &cqe) {
            req.set_result(res, flags);
            return Issued::Done(req);
        }
        // It has not waited in vain.
        req.waits = req.waits.min(1);
        let mut nowait = false;
        if let Op::Rw(rw) = &mut req.op {
            rw.forget_buffer();
            nowait = rw.is_nowait();
        }
        if nowait {
            req.set_result(EAGAIN.to_errno(), 0);
            return Issued::Done(req);
        }
        task::cond_resched();
        // No buffer is looked for in vain: there may be none.
        if !req
            .file
            .get()
            .is_some_and(|file| file::is_ready(file, false))
        {
            return Issued::Block(req);
        }
    }
}

/// It ends, and others can have the buffer.
fn fail_multishot(groups: &mut Groups, mut req: ReqBox, res: i32) -> ReqBox {
    let flags = choice_mut(&mut req.op).map_or(0, |(choice, addr)| {
        groups.put_back(choice, addr);
        choice.flags()
    });
    req.set_result(res, flags);
    req
}

/// One that the submitter waits for; it is for once only. Context: may sleep.
pub(crate) fn run_here(state: &mut State, mut req: ReqBox) -> Run {
    if let Some((choice, _)) = choice_mut(&mut req.op) {
        choice.multishot = false;
    }
    if let Err(err) = choose(&mut state.kbufs, &mut req, true) {
        req.set_error(err);
        return Run::Done(req);
    }
    match rw::run(req, None, rw::Wait::Here) {
        Run::Done(mut req) => {
            req.cqe.flags = choice_of(&req).map_or(0, |choice| choice.flags());
            Run::Done(req)
        }
        run => run,
    }
}

/// The same in a worker. `after`: what it was sent for. Context: may sleep.
pub(crate) fn run_in_worker(mut req: ReqBox, after: After) -> Run {
    if is_multishot(&req) {
        req = match multishot_in_worker(req, after) {
            Ok(req) => req,
            Err(run) => return run,
        };
    }
    let chosen = {
        let ctx = req.ctx.clone();
        let state = &mut *ctx.state.lock();
        choose(&mut state.kbufs, &mut req, true)
    };
    if let Err(err) = chosen {
        req.set_error(err);
        return Run::Done(req);
    }
    match op::transfer_in_worker(req) {
        Run::Done(mut req) => {
            req.cqe.flags = choice_of(&req).map_or(0, |choice| choice.flags());
            Run::Done(req)
        }
        run => run,
    }
}

/// Only those who may post CQEs can do it more than once. Gives the request back if it is for once only.
fn multishot_in_worker(mut req: ReqBox, after: After) -> core::result::Result<ReqBox, Run> {
    let ctx = req.ctx.clone();
    if after == After::Poll && !ctx.defers() {
        // A thread of its process was wanted, no more.
        let state = &mut *ctx.state.lock();
        submit::issue_again(&ctx, state, req);
        complete::settle_in_worker(&ctx, state);
        return Err(Run::Gone);
    }
    let Some(file) = req.file.get().filter(|file| file::can_poll(file)) else {
        req.set_error(EBADFD);
        return Err(Run::Done(req));
    };
    if !file::supports_nowait(file) && !file::is_nonblocking(file) {
        if let Some((choice, _)) = choice_mut(&mut req.op) {
            choice.multishot = false;
        }
        return Ok(req);
    }
    match poll::instead_of_blocking_in_worker(req) {
        Ok(()) => Err(Run::Gone),
        Err((mut req, true)) => {
            req.after = After::Poll;
            complete::push(&ctx, req, false);
            Err(Run::Gone)
        }
        Err((mut req, false)) => {
            req.set_error(ECANCELED);
            Err(Run::Done(req))
        }
    }
}
