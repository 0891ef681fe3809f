// SPDX-License-Identifier: GPL-2.0

//! Taking requests out of the places where they wait, by what they are.
//!
//! Each place is looked through for the request; whoever takes it out of there owns it, and ends it with
//! `ECANCELED`. One that a worker runs just now cannot be taken: the worker is interrupted.

#![forbid(unsafe_code)]

use crate::{
    abi::op,
    complete,
    ctx::{
        Ctx,
        State, //
    },
    poll,
    request::Request,
    span::Span,
    sys::{
        abi_types as c,
        task, //
    },
    timeout,
    worker, //
};
use kernel::{
    fs::File,
    prelude::*, //
};

/// Which requests are meant.
#[derive(Clone, Copy)]
pub(crate) struct Match {
    user_data: Option<u64>,
    opcode: Option<u8>,
    /// A number that tells the file from others; whoever made this holds it.
    file: Option<usize>,
    /// They use memory of this range.
    memory: Option<Span>,
    /// All of them and not only one.
    pub(crate) all: bool,
}

/// What tells one file from all others while it is held.
pub(crate) fn file_key(file: &File) -> usize {
    core::ptr::from_ref(file).addr()
}

impl Match {
    /// The one with this user data.
    pub(crate) const fn user_data(user_data: u64) -> Self {
        Self {
            user_data: Some(user_data),
            opcode: None,
            file: None,
            memory: None,
            all: false,
        }
    }

    /// All that use memory of this range.
    pub(crate) const fn memory(span: Span) -> Self {
        Self {
            user_data: None,
            opcode: None,
            file: None,
            memory: Some(span),
            all: true,
        }
    }

    /// What `IORING_ASYNC_CANCEL_*` say.
    pub(crate) fn new(flags: u32, user_data: u64, opcode: u8, file: Option<&File>) -> Self {
        let has = |flag| flags & flag != 0;
        let any = has(c::IORING_ASYNC_CANCEL_ANY);
        let others = c::IORING_ASYNC_CANCEL_FD | c::IORING_ASYNC_CANCEL_OP;
        let by_user_data = has(c::IORING_ASYNC_CANCEL_USERDATA) || !has(others);
        Self {
            user_data: (by_user_data && !any).then_some(user_data),
            opcode: has(c::IORING_ASYNC_CANCEL_OP).then_some(opcode),
            file: file.map(file_key),
            memory: None,
            all: any || has(c::IORING_ASYNC_CANCEL_ALL),
        }
    }

    /// Whether a request with these is meant.
    pub(crate) fn fits(&self, user_data: u64, opcode: u8, file: usize, span: Option<Span>) -> bool {
        let memory = |want: Span| span.is_some_and(|span| span.overlaps(&want));
        self.memory.is_none_or(memory)
            && self.user_data.is_none_or(|want| want == user_data)
            && self.opcode.is_none_or(|want| want == opcode)
            && self.file.is_none_or(|want| want == file)
    }

    /// Whether this one is meant.
    pub(crate) fn fits_request(&self, req: &Request) -> bool {
        let file = req.file.get().map_or(0, file_key);
        self.fits(req.cqe.user_data, req.head.opcode, file, req.span())
    }
}

/// Takes out what is meant, and ends it. Returns how many were found if all are meant, else 0.
///
/// `ENOENT` if there is none; `EALREADY` if it is running, and was interrupted, or is about to end.
/// As natively, what one process' workers have counts as one, and does not count if the process is the
/// calling one and some of it is running. Context: may sleep.
pub(crate) fn cancel(ctx: &Ctx, state: &mut State, what: &Match) -> Result<i32> {
    let mut nr = 0;
    let mut running = false;
    let place = state.pools.iter().find(|user| user.pool().is_current());
    let ours = place.map(|user| user.pool().clone());
    if let Some(pool) = &ours {
        match pool.cancel(ctx, what) {
            worker::Found::Nothing => {}
            worker::Found::Waiting if !what.all => return Ok(0),
            worker::Found::Waiting => nr += 1,
            worker::Found::Running => running = true,
        }
    }
    loop {
        match cancel_waiting(ctx, state, what) {
            Err(err) if err == ENOENT => break,
            _ if what.all => nr += 1,
            result => return result.map(|()| 0),
        }
        task::cond_resched();
    }
    // The workers of other processes that share the ring.
    for user in state.pools.iter() {
        if user.pool().is_current() {
            continue;
        }
        match user.pool().cancel(ctx, what) {
            worker::Found::Nothing => {}
            _ if what.all => nr += 1,
            worker::Found::Waiting => return Ok(0),
            worker::Found::Running => return Err(EALREADY),
        }
    }
    if what.all {
        return Ok(nr);
    }
    Err(if running { EALREADY } else { ENOENT })
}

/// Takes one request out that waits without a thread.
fn cancel_waiting(ctx: &Ctx, state: &mut State, what: &Match) -> Result {
    match cancel_poll(ctx, state, what) {
        Err(err) if err == ENOENT => {}
        result => return result,
    }
    if what.file.is_some() {
        // A time belongs to no file.
        return Err(ENOENT);
    }
    cancel_timeout(ctx, state, what)
}

/// Takes one request out that waits for a file. `ENOENT`. One that was woken just now is told to end when
/// it is looked at.
fn cancel_poll(ctx: &Ctx, state: &mut State, what: &Match) -> Result {
    if let Some(mut req) = poll::take_one(state, what.user_data, |req| what.fits_request(req)) {
        req.set_error(ECANCELED);
        complete::finish_soon(ctx, state, req);
        return Ok(());
    }
    let user_data = what.user_data.ok_or(ENOENT)?;
    let ended = poll::end_woken(state, user_data, |opcode| {
        what.fits(user_data, opcode, 0, None)
    });
    if ended {
        Ok(())
    } else {
        Err(ENOENT)
    }
}

/// Takes one request out that waits for a time. `ENOENT`; `EALREADY` if that has just come.
pub(crate) fn cancel_timeout(ctx: &Ctx, state: &mut State, what: &Match) -> Result {
    let found = match what.user_data {
        Some(user_data) => timeout::find(state, user_data),
        None => timeout::find_by(state, |_| true),
    };
    let armed = found
        .filter(|_| what.fits(what.user_data.unwrap_or(0), op::TIMEOUT, 0, None))
        .ok_or(ENOENT)?;
    let Some(mut req) = timeout::take(state, &armed) else {
        if what.all {
            // It ends by itself, and is not to be found again.
            timeout::forget(state, &armed);
        }
        return Err(EALREADY);
    };
    req.set_result(ECANCELED.to_errno(), 0);
    complete::finish_soon(ctx, state, req);
    Ok(())
}
