// SPDX-License-Identifier: GPL-2.0

//! The place where a request waits until a file is ready.
//!
//! Two kinds wait here: those that ask for just that (`POLL_ADD`, see [`crate::op::poll`]), and those
//! that would block and are tried again later. In both cases the request is in the slot of its
//! [`Armed`], which [`State::polls`] knows from when it is armed until the request has been dealt with.
//! A wakeup takes the request out and pushes it to the completion list, without a lock.

#![forbid(unsafe_code)]

use crate::{
    complete,
    ctx::{
        Ctx,
        Ring,
        State, //
    },
    departed,
    op::{
        self,
        Issued,
        Op, //
    },
    pollers::Pollers,
    request::{
        After,
        ReqBox,
        ReqFile,
        Request, //
    },
    retry,
    submit,
    sys::{
        file,
        poll::{
            mask,
            Armed,
            Arming,
            Source,
            Waiter, //
        },
        ring_file,
        task,
        wait::PollCall, //
    }, //
};
use kernel::{
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        ArcBorrow, //
    }, //
};

/// What a request polls.
pub(crate) enum Watched {
    /// A file, held so that its queues are there.
    File(ARef<File>),
    /// A ring.
    Ring(Arc<Pollers>),
}

impl Source for Watched {
    fn poll<'a>(&'a self, call: &PollCall<'a>) -> u32 {
        match self {
            Self::File(file) => call.ask(file),
            Self::Ring(pollers) => pollers.poll(call),
        }
    }
}

impl Waiter for Request {
    type Source = Watched;

    fn armed(&self) -> Option<&Armed<Self>> {
        self.armed.as_deref()
    }

    fn woken(mut this: ReqBox, mask: u32) {
        // CAST: Same bits.
        this.cqe.res = mask as i32;
        this.after = After::Poll;
        // Of those who wait exclusively not all are woken, so each one has to be dealt with.
        let lazy = !matches!(&this.op, Op::Poll(poll) if poll.is_exclusive());
        complete::push_home_woken(this, lazy);
    }
}

/// What the request polls. `EBADF` if there is nothing, `ENOMEM`.
fn watched(state: &mut State, req: &Request) -> Result<Watched> {
    match &req.file {
        ReqFile::Ring(pollers) => Ok(Watched::Ring(pollers.clone())),
        other => {
            let file = other.get().ok_or(EBADF)?;
            departed::watch(state, req, file)?;
            Ok(Watched::File(ARef::from(file)))
        }
    }
}

/// Makes a request that polls a ring hold what does not keep the ring.
#[inline]
pub(crate) fn let_go_of_ring(req: &mut Request) {
    let ReqFile::Normal(file) = &req.file else {
        return;
    };
    if let Some(ring) = ring_file::data::<Ring>(file) {
        req.file = ReqFile::Ring(ring.ctx.pollers.clone());
    }
}

/// Starts to poll for a request, which stays with the caller until [`wait`].
pub(crate) fn arm(state: &mut State, req: &mut Request, events: u32) -> Arming {
    let source = match watched(state, req) {
        Ok(source) => source,
        Err(err) => return Arming::Not(0, err),
    };
    let armed = match &mut req.armed {
        Some(armed) => &*armed,
        none => match Armed::new() {
            Ok(armed) => none.insert(armed),
            Err(err) => return Arming::Not(0, err),
        },
    };
    let tag = u32::from(req.head.opcode);
    state
        .polls
        .arm(armed, req.cqe.user_data, tag, source, events)
}

/// Leaves the request to the next wakeup. Gives it back if that came already.
pub(crate) fn wait(state: &State, req: ReqBox) -> Option<ReqBox> {
    state.polls.wait(req)
}

/// What is ready of what the request waits for.
fn look(state: &State, req: &Request) -> u32 {
    let armed = req.armed.as_ref();
    armed.map_or(0, |armed| state.polls.look(armed))
}

/// Stops polling for a request that is in the caller's hands.
pub(crate) fn forget(state: &mut State, req: &mut Request) {
    req.waits = 0;
    disarm(state, req);
}

fn disarm(state: &mut State, req: &Request) {
    if let Some(armed) = req.armed.as_ref().filter(|armed| armed.is_armed()) {
        // The box is not in there: the caller has it.
        drop(state.polls.disarm(armed));
    }
}

/// What a look for a request finds.
pub(crate) enum Found {
    /// The request: it polls no more, and is the caller's.
    Taken(ReqBox),
    /// A wakeup came first: it will end by itself.
    Woken,
    /// None.
    Nothing,
}

/// Takes the request out that was armed last with this user data and opcode.
pub(crate) fn take(state: &mut State, user_data: u64, opcode: u8) -> Found {
    let wanted = |armed: &Armed<Request>| armed.tag() == u32::from(opcode);
    let Some(armed) = state.polls.newest(user_data, wanted) else {
        return Found::Nothing;
    };
    match armed.take() {
        Some(req) => {
            drop(state.polls.disarm(&armed));
            Found::Taken(req)
        }
        None => Found::Woken,
    }
}

/// Takes a request out that is `wanted`, of those with this user data or of all. Those that were woken
/// are not looked at: they end by themselves.
pub(crate) fn take_one(
    state: &mut State,
    user_data: Option<u64>,
    wanted: impl Fn(&Request) -> bool,
) -> Option<ReqBox> {
    let polls = &state.polls;
    let look = |armed: ArcBorrow<'_, Armed<Request>>| {
        let req = armed.take()?;
        if wanted(&req) {
            return Some((Arc::from(armed), req));
        }
        if let Some(mut req) = polls.wait(req) {
            // A wakeup came while it was being looked at.
            req.cqe.res = 0;
            req.after = After::Poll;
            complete::push_home(req, false);
        }
        None
    };
    let (armed, req): (Arc<_>, _) = match user_data {
        Some(user_data) => polls.iter_newest(user_data).find_map(look),
        None => polls.iter().find_map(look),
    }?;
    drop(state.polls.disarm(&armed));
    Some(req)
}

/// Whether a request was woken and not looked at yet: it is on its way to the completion list, or in it.
pub(crate) fn any_woken(state: &State) -> bool {
    state.polls.iter().any(|armed| armed.is_away())
}

/// Makes all end that were woken and not looked at yet.
pub(crate) fn end_all_woken(state: &State) {
    for armed in state.polls.iter().filter(|armed| armed.is_away()) {
        armed.end();
    }
}

/// Makes a request end that was woken and not looked at yet: the one that was armed last with this user
/// data and a `wanted` opcode. Returns whether there is one.
pub(crate) fn end_woken(state: &State, user_data: u64, wanted: impl Fn(u8) -> bool) -> bool {
    // CAST: The tags are opcodes.
    let wanted = |armed: &Armed<Request>| !armed.has_ended() && wanted(armed.tag() as u8);
    let found = state.polls.newest(user_data, wanted);
    if let Some(armed) = &found {
        armed.end();
    }
    found.is_some()
}

/// How often a request may wait for its file before a thread takes it, as natively: some files say
/// that they are ready and would block after all.
const WAITS: u8 = 127;

/// Whether a request that would block can wait for its file instead.
fn events_of(req: &Request) -> Option<u32> {
    let events = op::poll_events(req)?;
    req.file.get().filter(|file| file::can_poll(file))?;
    Some(events | mask::PRI | mask::ERR | mask::ALWAYS | mask::EDGE | mask::ONESHOT)
}

/// A request would block: it waits for its file, if that is possible. Gives it back if it is for a
/// worker. The current task is of the request's process.
pub(crate) fn instead_of_blocking(ctx: &Ctx, state: &mut State, mut req: ReqBox) -> Option<ReqBox> {
    // A kernel thread cannot make a worker, so there it has to go on.
    // A multishot read is not for once only.
    let enough = req.waits >= WAITS && !task::is_kernel_thread() && !op::select::is_multishot(&req);
    let Some(events) = events_of(&req).filter(|_| !enough) else {
        return Some(req);
    };
    if !retry::prepare(ctx, state, &mut req) {
        return Some(req);
    }
    req.waits = req.waits.saturating_add(1);
    let mut ready = match arm(state, &mut req, events) {
        Arming::Armed(ready) => ready != 0,
        Arming::Not(..) => return Some(req),
    };
    for _ in 0..WAITS {
        if ready {
            let armed = req.armed.clone();
            req = match op::issue(ctx, state, req) {
                Issued::Block(req) => req,
                other => {
                    // It may be in other hands by now.
                    if let Some(armed) = &armed {
                        drop(state.polls.disarm(armed));
                    }
                    submit::see_to(ctx, state, other);
                    return None;
                }
            };
            ready = look(state, &req) != 0;
        }
        if !ready {
            // While it is armed no change is missed.
            req = wait(state, req)?;
            ready = true;
        }
        if let Some(armed) = &req.armed {
            armed.count_wakes();
        }
    }
    if task::is_kernel_thread() || op::select::is_multishot(&req) {
        // There is nobody else to do it. What it waits for is told with a wakeup, if not by this file's
        // own idea of being ready. Others first.
        let mut req = wait(state, req)?;
        disarm(state, &req);
        req.after = After::Poll;
        complete::push(ctx, req, false);
        return None;
    }
    disarm(state, &req);
    Some(req)
}

/// The same for a request that is in the hands of a worker. Does not issue it: gives it back with
/// `true` if it is to be tried again at once. Context: may sleep.
pub(crate) fn instead_of_blocking_in_worker(
    mut req: ReqBox,
) -> core::result::Result<(), (ReqBox, bool)> {
    let Some(events) = events_of(&req).filter(|_| req.waits < WAITS) else {
        return Err((req, false));
    };
    let ctx = req.ctx.clone();
    let state = &mut *ctx.state.lock();
    // Whoever wants an end of it has looked for it among those that wait, with the lock held, before
    // or will do so afterwards.
    if task::notify_signal() || ctx.is_dying() || !retry::prepare(&ctx, state, &mut req) {
        return Err((req, false));
    }
    req.waits += 1;
    match arm(state, &mut req, events) {
        Arming::Armed(0) => {}
        Arming::Armed(_) => {
            disarm(state, &req);
            return Err((req, true));
        }
        Arming::Not(..) => return Err((req, false)),
    }
    match wait(state, req) {
        None => Ok(()),
        Some(req) => {
            disarm(state, &req);
            Err((req, true))
        }
    }
}

/// A request that was waiting was woken, or is to end.
#[inline]
pub(crate) fn woken(ctx: &Ctx, state: &mut State, req: ReqBox) {
    if matches!(&req.op, Op::Poll(_)) {
        op::poll::woken(ctx, state, req);
    } else {
        woken_in_between(ctx, state, req);
    }
}

/// The same for one that would have blocked.
#[inline(never)]
fn woken_in_between(ctx: &Ctx, state: &mut State, mut req: ReqBox) {
    let ended = req.armed.as_ref().is_some_and(|armed| armed.has_ended());
    disarm(state, &req);
    if ended {
        req.set_error(ECANCELED);
        return complete::finish(ctx, state, req);
    }
    retry::again(ctx, state, req);
}
