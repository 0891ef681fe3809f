// SPDX-License-Identifier: GPL-2.0

//! `io_uring_enter(2)`: submit, then wait.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        EnterFlag,
        EnterFlags,
        GeteventsArg,
        RegWait,
        SetupFlag, //
    },
    complete,
    ctx::{
        Ctx,
        State,
        CHECK_LOST, //
    },
    iopoll,
    sqpoll,
    submit,
    sys::{
        abi_types as c,
        task,
        uaccess, //
    },
    time,
    wait::{
        self,
        Restart,
        WaitFor, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Relaxed,
        lock::{
            mutex::MutexBackend,
            Guard, //
        }, //
    }, //
};

/// The arguments of one call, without the ring.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// SQEs to consume.
    pub(crate) to_submit: u32,
    /// CQEs to wait for.
    pub(crate) min_complete: u32,
    /// `IORING_ENTER_*`
    pub(crate) flags: EnterFlags,
    /// Signal mask, or what the flags say.
    pub(crate) argp: u64,
    /// Size of that.
    pub(crate) argsz: u64,
}

impl Call {
    /// What tells this call from others of the same task.
    ///
    /// If it submits, where the SQ ends belongs to it: a call that a signal handler has jumped out
    /// of never comes back, and the next one that looks the same has SQEs of its own.
    fn identity(&self, state: &State) -> [u64; 4] {
        let tail = if self.to_submit != 0 {
            state.rings.sq_tail().load()
        } else {
            0
        };
        [
            u64::from(self.to_submit) | u64::from(self.min_complete) << 32,
            u64::from(u32::from(self.flags)),
            self.argp,
            u64::from(tail),
        ]
    }
}

/// Submits and waits. Returns the number of SQEs consumed.
///
/// An error of the wait is told only if nothing was submitted. `EBADFD` for a ring that is not
/// enabled, `EEXIST` for a task that may not submit; else see [`submit::submit`] and [`wait::wait`].
/// Context: may sleep.
pub(crate) fn enter(ctx: &Ctx, call: &Call) -> Result<u32> {
    if ctx.is_disabled() {
        return Err(EBADFD);
    }
    if ctx.flags.contains(SetupFlag::Sqpoll) {
        return enter_offloaded(ctx, call);
    }
    let getevents = call.flags.contains(EnterFlag::Getevents);
    let mut submitted = 0;
    let mut resumed = None;
    if call.to_submit != 0 {
        if !ctx.may_submit() {
            return Err(EEXIST);
        }
        let mut state = ctx.state.lock();
        resumed = take_restart(ctx, &mut state, call);
        submitted = match resumed {
            Some(restart) => restart.submitted,
            None => submit::submit(ctx, &mut state, call.to_submit)?,
        };
        if submitted != call.to_submit {
            return Ok(submitted);
        }
        if getevents && ctx.polls() {
            return poll_for_events(ctx, state, call, submitted);
        }
        if getevents && ctx.defers() {
            complete::run(ctx, &mut state, call.min_complete.max(complete::BATCH));
        }
        if getevents && submitted != 0 && wait::is_satisfied(ctx, &state, call.min_complete) {
            // Whatever is wrong with the rest of the arguments, it would not be told any more.
            return Ok(submitted);
        }
    }
    if !getevents {
        return Ok(submitted);
    }
    if ctx.polls() {
        return poll_for_events(ctx, ctx.state.lock(), call, submitted);
    }
    if call.to_submit == 0 && ctx.restarting.load(Relaxed) {
        resumed = take_restart(ctx, &mut ctx.state.lock(), call);
    }
    let result = wait_for_events(ctx, call, submitted, resumed);
    match result {
        Err(err) if submitted == 0 || err == ERESTARTNOINTR => Err(err),
        _ => Ok(submitted),
    }
}

/// The second half of an `enter` of a ring that polls: no timeout, no signal mask, as natively.
///
/// `EINVAL` and `EFAULT` for the arguments; else see [`iopoll::wait`].
#[cold]
fn poll_for_events<'a>(
    ctx: &'a Ctx,
    state: Guard<'a, State, MutexBackend>,
    call: &Call,
    submitted: u32,
) -> Result<u32> {
    let result = check_arg(call).and_then(|()| iopoll::wait(ctx, state, call.min_complete));
    match result {
        Err(err) if submitted == 0 => {
            if err == EBADR {
                // The application knows now, and is fine with it.
                ctx.clear_check(&mut ctx.state.lock(), CHECK_LOST);
            }
            Err(err)
        }
        _ => Ok(submitted),
    }
}

/// Whether there is an argument of the right size. `EINVAL`, `EFAULT`.
fn check_arg(call: &Call) -> Result {
    if !call.flags.contains(EnterFlag::ExtArg) {
        return Ok(());
    }
    if call.flags.contains(EnterFlag::ExtArgReg) || call.argsz != size_of::<GeteventsArg>() as u64 {
        return Err(EINVAL);
    }
    uaccess::read::<GeteventsArg>(call.argp).map(|_| ())
}

/// The same on a ring with a thread that submits: the call wakes it or waits for it, and returns what
/// it was asked to submit. `EOWNERDEAD` if the thread is gone.
fn enter_offloaded(ctx: &Ctx, call: &Call) -> Result<u32> {
    let Some(thread) = ctx.sq_thread().filter(|thread| !thread.is_dead()) else {
        return Err(Error::from_errno(sqpoll::EOWNERDEAD));
    };
    if call.flags.contains(EnterFlag::SqWakeup) {
        thread.wake();
    }
    if call.flags.contains(EnterFlag::SqWait) {
        sqpoll::wait_for_room(ctx);
    }
    if !call.flags.contains(EnterFlag::Getevents) {
        return Ok(call.to_submit);
    }
    let resumed = if ctx.restarting.load(Relaxed) {
        take_restart(ctx, &mut ctx.state.lock(), call)
    } else {
        None
    };
    match wait_for_events(ctx, call, call.to_submit, resumed) {
        Err(err) if call.to_submit == 0 || err == ERESTARTNOINTR => Err(err),
        _ => Ok(call.to_submit),
    }
}

/// Whether this is a call that comes back, and what it had done.
#[inline(always)]
fn take_restart(ctx: &Ctx, state: &mut State, call: &Call) -> Option<Restart> {
    if !ctx.restarting.load(Relaxed) {
        return None;
    }
    take_this_restart(ctx, state, call)
}

#[cold]
fn take_this_restart(ctx: &Ctx, state: &mut State, call: &Call) -> Option<Restart> {
    let identity = call.identity(state);
    let found = state.restarts.take(task::current_key(), identity);
    ctx.restarting.store(!state.restarts.is_empty(), Relaxed);
    found
}

fn wait_for_events(ctx: &Ctx, call: &Call, submitted: u32, resumed: Option<Restart>) -> Result {
    let what = wait_arg(ctx, call)?;
    let clock = ctx.clock();
    // The clock is read only if it matters.
    let timed = what.timeout.is_some() || what.min_wait != 0;
    let start = match resumed {
        Some(restart) => restart.start,
        None if timed => clock.now(),
        None => 0,
    };
    let result = wait::wait(ctx, &what, clock, start);
    match result {
        Err(err) if err == EBADR && submitted == 0 => {
            // The application knows now, and is fine with it.
            let mut state = ctx.state.lock();
            ctx.clear_check(&mut state, CHECK_LOST);
            result
        }
        // Nothing tells this call from the next one then, should it not come back: it is interrupted.
        Err(err)
            if err == ERESTARTNOINTR
                && call.to_submit != 0
                && ctx.flags.contains(SetupFlag::SqRewind) =>
        {
            Err(EINTR)
        }
        Err(err) if err == ERESTARTNOINTR => {
            let mut state = ctx.state.lock();
            let restart = Restart {
                task: task::current_key(),
                call: call.identity(&state),
                submitted,
                start,
            };
            // Without memory the application sees an interrupted wait.
            state.restarts.push(restart).map_err(|_| EINTR)?;
            ctx.restarting.store(true, Relaxed);
            result
        }
        _ => result,
    }
}

/// What the call wants to wait for. `EINVAL` for a wrong size or flag, `EFAULT`.
fn wait_arg(ctx: &Ctx, call: &Call) -> Result<WaitFor> {
    let mut what = WaitFor {
        events: call.min_complete,
        absolute: call.flags.contains(EnterFlag::AbsTimer),
        iowait: !call.flags.contains(EnterFlag::NoIowait),
        ..WaitFor::default()
    };
    if !call.flags.contains(EnterFlag::ExtArg) {
        what.sigmask = call.argp;
        what.sigmask_size = call.argsz as usize;
        return Ok(what);
    }
    if call.flags.contains(EnterFlag::ExtArgReg) {
        let arg = registered_arg(ctx, call)?;
        if arg.flags & !c::IORING_REG_WAIT_TS != 0 {
            return Err(EINVAL);
        }
        what.min_wait = i64::from(arg.min_wait_usec) * 1000;
        what.sigmask = arg.sigmask;
        what.sigmask_size = arg.sigmask_sz as usize;
        if arg.flags & c::IORING_REG_WAIT_TS != 0 {
            what.timeout = Some(time::nanoseconds(&arg.ts));
        }
        return Ok(what);
    }
    if call.argsz != size_of::<GeteventsArg>() as u64 {
        return Err(EINVAL);
    }
    let arg: GeteventsArg = uaccess::read(call.argp)?;
    what.min_wait = i64::from(arg.min_wait_usec) * 1000;
    what.sigmask = arg.sigmask;
    what.sigmask_size = arg.sigmask_sz as usize;
    if arg.ts != 0 {
        what.timeout = Some(time::nanoseconds(&time::read(arg.ts)?));
    }
    Ok(what)
}

/// The entry of the registered wait region that `argp` is the offset of.
fn registered_arg(ctx: &Ctx, call: &Call) -> Result<RegWait> {
    if call.argsz != size_of::<RegWait>() as u64 {
        return Err(EINVAL);
    }
    let offset = usize::try_from(call.argp).map_err(|_| EFAULT)?;
    let args = ctx.wait_args.as_ref().ok_or(EFAULT)?;
    let len = args.region.len();
    let end = offset.checked_add(size_of::<RegWait>()).ok_or(EFAULT)?;
    if offset % size_of::<usize>() != 0 || end > len {
        return Err(EFAULT);
    }
    let offset = crate::sys::nospec::bounded(offset, len).ok_or(EFAULT)?;
    args.region.read(offset).ok_or(EFAULT)
}
