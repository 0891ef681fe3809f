// SPDX-License-Identifier: GPL-2.0

//! What becomes of requests that wait for a UNIX socket when their processes are gone.
//!
//! A ring's descriptor can be on its way in such a socket. A request of that ring which polls that very
//! socket keeps it, and with it the ring, and so itself: when the processes are gone nobody can end it any
//! more, and the kernel's collector of such circles does not know of requests. So a ring watches the
//! processes that wait for a UNIX socket through it. When the last of them is gone these requests end with
//! `ECANCELED`. (Natively requests end with their process, whatever they wait for; and rings do not travel.)

#![forbid(unsafe_code)]

use crate::{
    complete,
    ctx::{
        Ctx,
        RingCtx,
        State, //
    },
    exits::{
        AfterExit,
        Watcher, //
    },
    globals::Globals,
    poll,
    request::Request,
    sys::{
        exit_watch::ExitWatch,
        file,
        percpu_ref::Weak,
        task, //
    }, //
};
use kernel::{
    fs::File,
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// Looks at a ring when a process is gone.
pub(crate) struct Departure(Arc<Weak<RingCtx>>);

impl AfterExit for Departure {
    fn look(&self, _globals: &Globals) {
        if let Some(ctx) = self.0.get() {
            while !look(&ctx, &mut ctx.state.lock()) {
                // A wakeup that is under way has a request.
                fsleep(Delta::from_millis(1));
            }
        }
    }
}

/// The processes that wait for a UNIX socket through a ring.
pub(crate) struct Waiting(KVec<Pin<KBox<ExitWatch<Watcher<Departure>>>>>);

impl Waiting {
    /// None.
    pub(crate) const fn new() -> Self {
        Self(KVec::new())
    }
}

/// Whether the request is one that a process has to be watched for.
fn concerns(req: &Request) -> bool {
    req.file.get().is_some_and(file::is_unix_socket)
}

/// A request is about to wait for `file`. `ENOMEM`. Context: may sleep.
#[inline]
pub(crate) fn watch(state: &mut State, req: &Request, file: &File) -> Result {
    if file::is_unix_socket(file) {
        watch_process(state, req)
    } else {
        Ok(())
    }
}

#[cold]
fn watch_process(state: &mut State, req: &Request) -> Result {
    // A kernel thread does it for a process that was there before.
    if task::is_kernel_thread() {
        return Ok(());
    }
    let watches = &mut state.waiting.0;
    if watches.iter().any(|watch| watch.is_current_process()) {
        return Ok(());
    }
    let departure = Departure(req.ctx.pollers.ring().clone());
    watches.reserve(1, GFP_KERNEL_ACCOUNT)?;
    let watch = ExitWatch::process(Watcher::new(&req.ctx.globals, departure)?)?;
    // There is room by the reservation above.
    let _ = watches.push_within_capacity(watch);
    Ok(())
}

/// Forgets processes that are gone; with the last one its requests end, and those of others that are on
/// their way already. False if it has to be done again.
fn look(ctx: &Ctx, state: &mut State) -> bool {
    let watches = &mut state.waiting.0;
    let some = !watches.is_empty();
    watches.retain(|watch| !watch.process_gone());
    if !some || !watches.is_empty() || ctx.is_dying() {
        return true;
    }
    while let Some(req) = poll::take_one(state, None, concerns) {
        complete::cancelled(ctx, state, req);
    }
    poll::end_all_woken(state);
    if ctx.defers() {
        // Its submitter is gone, so nobody else does it.
        complete::run_for_the_dead(ctx, state);
    }
    complete::settle(ctx, state);
    !ctx.defers() || !poll::any_woken(state)
}
