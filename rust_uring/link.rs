// SPDX-License-Identifier: GPL-2.0

//! Chains: requests that run one after another (`IOSQE_IO_LINK`, `IOSQE_IO_HARDLINK`).
//!
//! The first request of a chain owns the others, in its [`Tie`]. When it is done the tie goes on to the
//! next one, which is issued then; after a failure all others are cancelled instead. So a request of a
//! chain is in one place like any other: in the hands of the one before it.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        op,
        sqe, //
    },
    complete,
    ctx::{
        Ctx,
        State, //
    },
    drain,
    op::Op,
    request::{
        After,
        ReqBox,
        Request, //
    },
    submit,
    sys::{
        cred,
        mpsc::{
            Chain,
            Fifo, //
        },
        timer::When, //
    },
    timeout::{
        self,
        Armed, //
    }, //
};
use kernel::{
    cred::Credential,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed,
        Arc, //
    },
};

/// What other requests have to do with one, and what is needed to issue a request later.
pub(crate) struct Tie {
    /// What runs after it, in order.
    pub(crate) links: Chain<Request>,
    /// The credentials of who submitted it, at that time.
    pub(crate) creds: Option<ARef<Credential>>,
    /// When: see [`Released`](crate::release::Released).
    pub(crate) born: u64,
    /// That one's pool: see [`Request::pool`].
    pub(crate) pool: u8,
    /// It waits, or waited, until all before it were done (`IOSQE_IO_DRAIN`).
    pub(crate) drain: bool,
    /// It waited so, and nothing runs beside it.
    pub(crate) alone: bool,
    /// Its timeout, which is taken out of the chain when it is issued.
    limit: Option<Arc<Armed>>,
}

impl Tie {
    /// For a request of the current task. `ENOMEM`. Context: may sleep.
    pub(crate) fn new(ctx: &Ctx, state: &mut State) -> Result<KBox<Self>> {
        // In a ring that defers nobody else ever issues anything.
        let (creds, pool) = if ctx.defers() {
            (None, 0)
        } else {
            (cred::current().ok(), submit::keep_pool(ctx, state))
        };
        let tie = Self {
            links: Chain::new(),
            born: state.released.now(),
            creds,
            pool,
            drain: false,
            alone: false,
            limit: None,
        };
        match state.spare_tie.take() {
            Some(mut spare) => {
                *spare = tie;
                Ok(spare)
            }
            None => Ok(KBox::new(tie, GFP_KERNEL_ACCOUNT)?),
        }
    }

    /// Requests of the chain, with the one that holds this.
    pub(crate) fn len(&self) -> u32 {
        // CAST: Not more than there are requests.
        1 + self.links.iter().count() as u32
    }
}

/// A chain that is being put together.
pub(crate) struct Assembly {
    pub(crate) head: ReqBox,
    rest: Fifo<Request>,
}

impl Assembly {
    /// The request that was added last.
    fn last(&self) -> &Request {
        self.rest.last().unwrap_or(&self.head)
    }
}

/// Whether the SQE that is being looked at can be the timeout of the one before it.
pub(crate) fn can_be_timed(state: &State) -> bool {
    let last = state.chain.as_ref().map(|chain| chain.last().head.opcode);
    last.is_some_and(|opcode| opcode != op::LINK_TIMEOUT)
}

/// Whether what is submitted next cannot simply be issued, whatever it is: it is part of a chain, or has to
/// do with a drain.
#[inline]
pub(crate) fn is_special(state: &State) -> bool {
    state.chain.is_some() || state.drain.is_active()
}

/// Whether a request asks for that itself.
#[inline]
pub(crate) fn asks_for_others(req: &Request) -> bool {
    req.head.flags & (sqe::LINKS | sqe::IO_DRAIN) != 0
}

/// Takes in one request of a submission that is not to be issued simply, or whose SQE was in error
/// (`result`). Returns whether the submission goes on.
#[inline(never)]
pub(crate) fn submit(ctx: &Ctx, state: &mut State, mut req: ReqBox, result: Result) -> bool {
    match result {
        Ok(()) => submit::assign_early(ctx, &mut req),
        Err(err) => fail(state, &mut req, err),
    }
    if req.head.flags & sqe::LINKS != 0 {
        match &mut state.chain {
            Some(chain) => chain.rest.push(req),
            None => {
                state.chain = Some(Assembly {
                    head: req,
                    rest: Fifo::new(),
                });
            }
        }
        return true;
    }
    match state.chain.take() {
        None => queue(ctx, state, req),
        Some(mut chain) => {
            chain.rest.push(req);
            close(ctx, state, chain);
        }
    }
    result.is_ok()
}

/// An SQE was in error. The chain is put together to its end all the same, and fails as a whole.
#[cold]
fn fail(state: &mut State, req: &mut Request, err: Error) {
    req.op = Op::Idle;
    req.extra = [0; 2];
    req.set_result(err.to_errno(), 0);
    if let Some(chain) = &mut state.chain {
        if !chain.head.failed {
            chain.head.set_result(ECANCELED.to_errno(), 0);
        }
    }
}

/// The submission is over: a chain that is still open ends here.
#[cold]
pub(crate) fn end(ctx: &Ctx, state: &mut State) {
    if let Some(chain) = state.chain.take() {
        close(ctx, state, chain);
    }
}

fn close(ctx: &Ctx, state: &mut State, chain: Assembly) {
    let Assembly { mut head, rest } = chain;
    let links = rest.into_chain();
    match tie(ctx, state, &mut head) {
        Ok(tie) => {
            tie.links = links;
            queue(ctx, state, head);
        }
        Err(err) => {
            head.set_result(err.to_errno(), 0);
            let skip = head.skips();
            complete::finish(ctx, state, head);
            cancel(ctx, state, links, skip);
        }
    }
}

/// The tie of a request that is being submitted; one is made if there is none. `ENOMEM`.
pub(crate) fn tie<'a>(ctx: &Ctx, state: &mut State, req: &'a mut Request) -> Result<&'a mut Tie> {
    if req.tie.is_none() {
        req.tie = Some(Tie::new(ctx, state)?);
    }
    req.tie.as_deref_mut().ok_or(ENOMEM)
}

/// Sees to a request that stands for itself, or is the first of a chain.
fn queue(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    if req.failed {
        // Nothing of the chain runs, however strong the links are.
        req.head.flags &= !sqe::IO_HARDLINK;
        complete::finish(ctx, state, req);
    } else if state.drain.is_active() {
        drain::put_off(ctx, state, req);
    } else {
        submit::start(ctx, state, req);
    }
}

/// Whether there is a timeout in the chain of a request that is about to be issued which is for that request.
#[inline]
pub(crate) fn is_limited(req: &Request) -> bool {
    let next = req.tie.as_ref().and_then(|tie| tie.links.first());
    next.is_some_and(|next| matches!(next.op, Op::LinkTimeout(_)))
}

/// A request is about to be issued: if there is a timeout for it in its chain that gets its own place now.
/// The caller lets the time run afterwards, if the request is not over by then.
#[cold]
pub(crate) fn limit(ctx: &Ctx, state: &mut State, req: &mut Request) -> Option<(Arc<Armed>, When)> {
    if !is_limited(req) {
        return None;
    }
    let tie = req.tie.as_deref_mut()?;
    let mut next = tie.links.pop()?;
    let Op::LinkTimeout(timeout) = &mut next.op else {
        return None;
    };
    timeout.of = req.cqe.user_data;
    let (armed, when) = (timeout.armed.clone(), timeout.when);
    match timeout::arm_linked(state, next, &armed) {
        Ok(()) => {
            tie.limit = Some(armed.clone());
            Some((armed, when))
        }
        Err(mut next) => {
            next.set_result(ENOMEM.to_errno(), 0);
            complete::finish_soon(ctx, state, next);
            None
        }
    }
}

/// Whether there is a timeout for a request with that tie, which is done.
#[inline]
fn has_limit(tie: &Tie) -> bool {
    let first = tie.links.first().map(|next| next.head.opcode);
    tie.limit.is_some() || first == Some(op::LINK_TIMEOUT)
}

/// The request of a timeout is done: the timeout is, too.
#[cold]
fn end_limit(ctx: &Ctx, state: &mut State, tie: &mut Tie) {
    let mut over = None;
    if let Some(armed) = tie.limit.take() {
        over = armed.timer.take();
        if over.is_some() {
            timeout::forget(state, &armed);
        } else {
            // Its time has come just now: it finds nobody any more.
            armed.alone.store(true, Relaxed);
        }
    } else if tie.links.first().is_some_and(|next| !next.failed) {
        // The request was not issued.
        over = tie.links.pop();
    }
    if let Some(mut over) = over {
        over.set_result(ECANCELED.to_errno(), 0);
        complete::finish_soon(ctx, state, over);
    }
}

/// A request with a tie is done.
#[inline(always)]
pub(crate) fn completed(ctx: &Ctx, state: &mut State, req: &Request, mut tie: KBox<Tie>) {
    if tie.alone {
        state.drain.alone_done();
    }
    tie.drain = false;
    tie.alone = false;
    if has_limit(&tie) {
        end_limit(ctx, state, &mut tie);
    }
    let broken = req.failed && req.head.flags & sqe::IO_HARDLINK == 0;
    if broken || ctx.is_dying() {
        let links = core::mem::replace(&mut tie.links, Chain::new());
        cancel(ctx, state, links, req.skips());
    } else if let Some(mut next) = tie.links.pop() {
        next.tie = Some(tie);
        issue_soon(ctx, state, next);
        return;
    }
    // One is kept: chains often come one after another.
    tie.creds = None;
    state.spare_tie = Some(tie);
}

/// Issues a request when the current batch of completions is over.
#[inline]
pub(crate) fn issue_soon(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    req.after = After::Issue;
    if ctx.defers() {
        complete::push(ctx, req, false);
    } else {
        state.local.push(req);
    }
}

/// Ends requests that were to run after one that failed; with `skip` without a word.
#[cold]
fn cancel(ctx: &Ctx, state: &mut State, mut links: Chain<Request>, skip: bool) {
    while let Some(mut req) = links.pop() {
        // One whose own SQE was in error says so.
        if !req.failed {
            req.set_result(ECANCELED.to_errno(), 0);
        }
        req.extra = [0; 2];
        req.set_skips(skip);
        complete::finish_cancelled(ctx, state, req);
    }
}
