// SPDX-License-Identifier: GPL-2.0

//! Trying a request again that has waited for its file: where that is done.
//!
//! The best is a task of the process that submitted it: one that waits for CQEs, or enters. In a ring
//! that defers its completions there is no other. In all others the completion list may be run by a
//! kernel thread. That one borrows the memory of the process, and has the request's credentials; it can
//! do whatever does not ask who the current process is, and cannot block. What does goes to a worker.

#![forbid(unsafe_code)]

use crate::{
    complete,
    ctx::{
        Ctx,
        State, //
    },
    op::Op,
    request::{
        After,
        ReqBox,
        Request, //
    },
    submit,
    sys::{
        cred,
        file,
        task::BorrowedMm,
        workqueue, //
    },
    worker::Pool, //
};

/// Whether only a thread of its process can try the request again: because it may block all the same, or
/// depends on who does it.
pub(crate) fn needs_process(req: &Request) -> bool {
    req.file.get().is_some_and(|file| {
        let write = matches!(&req.op, Op::Rw(rw) if rw.is_write());
        !(file::supports_nowait(file) || file::is_fifo(file))
            || !file::has_iter(file, write)
            || file::asks_who(file, write)
    })
}

/// Sees to it that the request can be tried again whoever finds it in the completion list. The current
/// task is of its process. Returns whether that is possible.
pub(crate) fn prepare(ctx: &Ctx, state: &mut State, req: &mut Request) -> bool {
    if !ctx.defers() && needs_process(req) {
        return submit::may_come_back(ctx, state, req);
    }
    if req.pool == 0 {
        let Ok((index, _)) = state.pool(ctx) else {
            return false;
        };
        req.pool = submit::pool_number(index);
    }
    if ctx.defers() {
        // It is always the submitter who does it, unless that has executed another program meanwhile. Then
        // it needs the credentials.
        if req.creds.is_none() {
            submit::keep_creds(state, req);
        }
        return req.pool != 0;
    }
    if req.creds.is_none() {
        req.creds = cred::current().ok();
    }
    req.pool != 0 && req.creds.is_some()
}

/// The pool of the request's process.
fn pool<'a>(state: &'a State, req: &Request) -> Option<&'a Pool> {
    let index = usize::from(req.pool).checked_sub(1)?;
    state.pools.get(index).map(|user| &**user.pool())
}

/// Whether the current task may try the request.
pub(crate) fn is_ours(state: &State, req: &Request) -> bool {
    pool(state, req).is_some_and(Pool::is_current)
}

/// Tries the request again: here, or where it can be.
pub(crate) fn again(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    req.from_worker = false;
    if is_ours(state, &req) {
        return submit::issue_again(ctx, state, req);
    }
    elsewhere(ctx, state, req);
}

/// Leaves the request to those who can try it.
pub(crate) fn elsewhere(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    submit::recall_creds(state, &mut req);
    state.strays.push(req);
    if !state.is_running {
        workqueue::queue::<_, 0>(&ctx.globals.queue, ctx);
    }
}

/// Tries the requests that nobody of their process has come for. Context: a kernel thread.
pub(crate) fn run_strays(ctx: &Ctx, state: &mut State) {
    let mut lent: Option<(u8, BorrowedMm)> = None;
    while let Some(mut req) = state.strays.pop() {
        if needs_process(&req) {
            req.after = After::Poll;
            submit::punt_back(ctx, state, req);
            continue;
        }
        if lent.as_ref().is_none_or(|(index, _)| *index != req.pool) {
            // One at a time.
            drop(lent.take());
            let mm = pool(state, &req).map(|pool| pool.mm());
            lent = mm
                .and_then(BorrowedMm::new)
                .map(|borrowed| (req.pool, borrowed));
        }
        if lent.is_some() {
            submit::issue_again(ctx, state, req);
        } else {
            // The process is gone.
            complete::cancelled(ctx, state, req);
        }
    }
}
