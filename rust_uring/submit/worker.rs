// SPDX-License-Identifier: GPL-2.0

//! Requests that a worker goes on with: what is kept for that, and to whom they go.

#![forbid(unsafe_code)]

use crate::{
    complete,
    ctx::{
        Ctx,
        State, //
    },
    link,
    request::{
        After,
        ReqBox,
        Request, //
    },
    sys::{
        cred,
        task, //
    },
    worker::{
        Pool,
        PoolUser, //
    }, //
};

/// Whether the current task may issue what a process with that pool has submitted.
pub(super) fn is_of_this_process(ctx: &Ctx, state: &State, pool: u8) -> bool {
    let user = state.pools.get(usize::from(pool).wrapping_sub(1));
    user.is_some_and(|user| user.pool().is_current()) && ctx.is_submitting()
}

/// Issues a request for the first time in a worker of the process that it is from.
#[cold]
pub(super) fn start_in_worker(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    let (pool, creds) = match &req.tie {
        Some(tie) => (tie.pool, tie.creds.clone()),
        None => (0, None),
    };
    req.pool = pool;
    if req.creds.is_none() {
        req.creds = creds;
    }
    let limit = link::limit(ctx, state, &mut req);
    // The worker finds the file.
    req.after = After::Issue;
    punt_back(ctx, state, req);
    if let Some((limit, when)) = limit {
        limit.timer.start(when);
    }
}

/// Makes sure that the current process has a worker that others can hand its requests to. Returns the
/// number by which a request knows the pool, 0 if there is none. Context: may sleep.
#[inline]
pub(crate) fn keep_pool(ctx: &Ctx, state: &mut State) -> u8 {
    match state.submitting.and_then(|now| now.pool) {
        Some(number) => number,
        None => keep_pool_now(ctx, state),
    }
}

pub(super) fn keep_pool_now(ctx: &Ctx, state: &mut State) -> u8 {
    let number = match state.pool(ctx) {
        Ok((index, pool)) if Pool::keep_worker(&pool) => pool_number(index),
        _ => 0,
    };
    if let Some(now) = &mut state.submitting {
        now.pool = Some(number);
    }
    number
}

/// The number by which a request knows a pool of the ring; 0 if there is none.
pub(crate) fn pool_number(index: usize) -> u8 {
    // Beyond 255 processes at one ring there is no number for it.
    u8::try_from(index + 1).unwrap_or(0)
}

/// Prepares for a request to go on in the background and then to need a worker after all: it is not
/// its submitter who finds out, so that one's process and credentials are kept, and a worker is kept
/// ready. Returns whether that is to be had; if not the request ends with `ECANCELED` in that case.
///
/// The pool has the credentials of most requests, see [`recall_creds`].
#[inline(always)]
pub(crate) fn may_come_back(ctx: &Ctx, state: &mut State, req: &mut Request) -> bool {
    let known = state.submitting.and_then(|now| now.known);
    match known.filter(|_| req.creds.is_none()) {
        Some(number) => {
            req.pool = number;
            true
        }
        None => keep_submitter(ctx, state, req),
    }
}

/// The part of [`may_come_back`] that is needed once for each submission.
#[inline(never)]
fn keep_submitter(ctx: &Ctx, state: &mut State, req: &mut Request) -> bool {
    if task::is_kernel_thread() {
        return req.pool != 0;
    }
    req.pool = keep_pool(ctx, state);
    if req.creds.is_none() && keep_creds(state, req) {
        if let Some(now) = &mut state.submitting {
            now.known = Some(req.pool);
        }
    }
    req.pool != 0
}

/// Keeps the current task's credentials for a request that has none and knows its pool. Returns whether it
/// is the pool that has them.
pub(crate) fn keep_creds(state: &State, req: &mut Request) -> bool {
    let user = state.pools.get(usize::from(req.pool).wrapping_sub(1));
    let creds = user.and_then(PoolUser::creds);
    let known = creds.is_some_and(cred::are_current);
    if !known {
        req.creds = cred::current().ok();
    }
    known
}

/// Gives a request that came back the credentials that its pool kept for it.
#[cold]
pub(crate) fn recall_creds(state: &State, req: &mut Request) {
    if req.creds.is_none() {
        let user = state.pools.get(usize::from(req.pool).wrapping_sub(1));
        req.creds = user.and_then(PoolUser::creds).cloned();
    }
}

/// Hands a request that came back to the workers of the process that it is from, whoever finds it.
#[cold]
pub(crate) fn punt_back(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    recall_creds(state, &mut req);
    let index = usize::from(req.pool).wrapping_sub(1);
    let result = match state.pools.get(index) {
        Some(user) => Pool::submit(user.pool(), req),
        None => Err(req),
    };
    if let Err(req) = result {
        complete::cancelled(ctx, state, req);
    }
}
