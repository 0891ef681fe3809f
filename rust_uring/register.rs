// SPDX-License-Identifier: GPL-2.0

//! `io_uring_register(2)`: one table from opcode to handler.

#![forbid(unsafe_code)]

mod cancel;
mod msg;
mod probe;
mod query;
mod region;
mod release;
mod resize;
mod rsrc;

use crate::{
    abi::{
        reg,
        SetupFlag, //
    },
    buffers,
    ctx::{
        Ctx,
        State, //
    },
    eventfd,
    files,
    globals::Globals,
    kbuf,
    register::rsrc::Kind,
    restriction,
    ring_fds,
    sqpoll,
    sys::{
        affinity::Cpus,
        task::Clock,
        uaccess, //
    }, //
};
use kernel::prelude::*;

/// The arguments of one call, without the ring.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// `IORING_REGISTER_*`, without the modifier.
    pub(crate) opcode: u32,
    /// User address, or 0.
    pub(crate) arg: u64,
    /// Number of things at that address.
    pub(crate) nr_args: u32,
}

impl Call {
    /// For operations on an address and exactly so many things. `EINVAL`.
    fn array(&self, nr: u32) -> Result<u64> {
        if self.arg == 0 || self.nr_args != nr {
            return Err(EINVAL);
        }
        Ok(self.arg)
    }

    /// For operations that take nothing. `EINVAL`.
    fn nothing(&self) -> Result {
        if self.arg != 0 || self.nr_args != 0 {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// For operations that look at the number only. `EINVAL`.
    fn number(&self, nr: u32) -> Result<u64> {
        if self.nr_args != nr {
            return Err(EINVAL);
        }
        Ok(self.arg)
    }
}

/// Does a register operation on a ring.
///
/// `EEXIST` for a task that may not, `EACCES` if the ring's restrictions do not allow it, `EINVAL` for
/// an opcode that the module does not have; else see the handlers. Context: may sleep.
pub(crate) fn register(ctx: &Ctx, call: &Call) -> Result<i32> {
    let mut guard = ctx.state.lock();
    // A ring that is not enabled yet is bound to nobody.
    if ctx.submitter().is_some() && !ctx.may_submit() {
        return Err(EEXIST);
    }
    guard
        .restrictions
        .check_register(call.opcode, ctx.is_disabled())?;
    if call.opcode == reg::CLONE_BUFFERS {
        drop(guard);
        return rsrc::clone_buffers(ctx, call.array(1)?);
    }
    if call.opcode == reg::RELEASE {
        drop(guard);
        return release::release(ctx, call.array(1)?);
    }
    if call.opcode == reg::SYNC_CANCEL {
        drop(guard);
        return cancel::sync_cancel(ctx, call.array(1)?);
    }
    handle(ctx, &mut guard, call)
}

/// The table.
fn handle(ctx: &Ctx, state: &mut State, call: &Call) -> Result<i32> {
    match call.opcode {
        reg::BUFFERS if call.arg == 0 => Err(EFAULT),
        reg::BUFFERS => buffers::register(ctx, state, call.arg, 0, call.nr_args),
        reg::BUFFERS2 => rsrc::register(ctx, state, call, Kind::Buffers),
        reg::BUFFERS_UPDATE => rsrc::update(ctx, state, call, Kind::Buffers),
        reg::UNREGISTER_BUFFERS => {
            call.nothing()?;
            buffers::unregister(ctx, state)
        }
        reg::FILES if call.arg == 0 => Err(EFAULT),
        reg::FILES => files::register(ctx, state, call.arg, 0, call.nr_args),
        reg::FILES2 => rsrc::register(ctx, state, call, Kind::Files),
        reg::FILES_UPDATE => rsrc::update_files(ctx, state, call),
        reg::FILES_UPDATE2 => rsrc::update(ctx, state, call, Kind::Files),
        reg::UNREGISTER_FILES => {
            call.nothing()?;
            files::unregister(ctx, state)
        }
        reg::FILE_ALLOC_RANGE => files::alloc_range(state, call.array(0)?),
        reg::EVENTFD => eventfd::register(ctx, state, call.number(1)?, false),
        reg::EVENTFD_ASYNC => eventfd::register(ctx, state, call.number(1)?, true),
        reg::UNREGISTER_EVENTFD => {
            call.nothing()?;
            eventfd::unregister(ctx, state)
        }
        reg::PROBE => probe::probe(call),
        reg::PERSONALITY => {
            call.nothing()?;
            state.personalities.register()
        }
        reg::UNREGISTER_PERSONALITY if call.arg != 0 => Err(EINVAL),
        reg::UNREGISTER_PERSONALITY => state.personalities.unregister(call.nr_args),
        reg::RESTRICTIONS if !ctx.is_disabled() => Err(EBADFD),
        reg::RESTRICTIONS => state.restrictions.register(call.arg, call.nr_args),
        reg::ENABLE_RINGS => {
            call.nothing()?;
            if !ctx.is_disabled() {
                return Err(EBADFD);
            }
            ctx.enable();
            if let Some(thread) = ctx.sq_thread() {
                thread.wake();
            }
            Ok(0)
        }
        reg::RING_FDS => ring_fds::register(&ctx.globals, call.arg, call.nr_args),
        reg::UNREGISTER_RING_FDS => ring_fds::unregister(&ctx.globals, call.arg, call.nr_args),
        reg::CLOCK => clock(ctx, call),
        reg::RESIZE_RINGS => resize::resize(ctx, state, call.array(1)?),
        reg::MEM_REGION => region::register(ctx, call.array(1)?),
        reg::QUERY => query::query(&ctx.globals.limits, call),
        reg::PBUF_RING => kbuf::register(ctx, state, call.array(1)?),
        reg::UNREGISTER_PBUF_RING => kbuf::unregister(ctx, state, call.array(1)?),
        reg::PBUF_STATUS => kbuf::status(state, call.array(1)?),
        reg::IOWQ_AFF if call.arg == 0 || call.nr_args == 0 => Err(EINVAL),
        reg::IOWQ_AFF => affinity(ctx, state, Some(Cpus::read(call.arg, call.nr_args)?)),
        reg::UNREGISTER_IOWQ_AFF => {
            call.nothing()?;
            affinity(ctx, state, None)
        }
        reg::IOWQ_MAX_WORKERS => max_workers(ctx, state, call),
        _ => Err(EINVAL),
    }
}

/// Does a register operation that takes no ring. `EINVAL` for all others.
pub(crate) fn register_blind(globals: &Globals, call: &Call) -> Result<i32> {
    restriction::check_task(call.opcode)?;
    match call.opcode {
        reg::SEND_MSG_RING => msg::send(globals, call.array(1)?),
        reg::QUERY => query::query(&globals.limits, call),
        reg::RESTRICTIONS => restriction::register_for_task(call.arg, call.nr_args),
        _ => Err(EINVAL),
    }
}

/// `IORING_REGISTER_CLOCK`: the clock of timeouts in `enter`. `EINVAL`, `EFAULT`.
fn clock(ctx: &Ctx, call: &Call) -> Result<i32> {
    let arg: crate::abi::ClockRegister = uaccess::read(call.array(0)?)?;
    if arg.__resv != [0; 3] {
        return Err(EINVAL);
    }
    ctx.set_clock(Clock::from_user(arg.clockid).ok_or(EINVAL)?);
    Ok(0)
}

/// `IORING_REGISTER_IOWQ_AFF`: on which CPUs the calling process' workers run; with `None` on those that
/// the caller may use. `EINVAL` for others than those, `ENOMEM`.
fn affinity(ctx: &Ctx, state: &mut State, cpus: Option<Cpus>) -> Result<i32> {
    state.pool(ctx)?.1.set_cpus(cpus)?;
    Ok(0)
}

/// `IORING_REGISTER_IOWQ_MAX_WORKERS`: sets how many bounded and unbounded workers the calling process
/// may have, 0 to leave it; tells how many it was. In a ring with a thread that submits it is that
/// one's process, and zeroes if the thread is dead. `EINVAL`, `EFAULT`, `ENOMEM`.
fn max_workers(ctx: &Ctx, state: &mut State, call: &Call) -> Result<i32> {
    let arg = call.array(2)?;
    let new: [u32; 2] = uaccess::read(arg)?;
    if new.iter().any(|nr| i32::try_from(*nr).is_err()) {
        return Err(EINVAL);
    }
    let ceiling = ctx.globals.limits.workers;
    let pool = if ctx.flags.contains(SetupFlag::Sqpoll) {
        sqpoll::pool(ctx, state)
    } else {
        Some(state.pool(ctx)?.1)
    };
    let old = pool.map_or([0; 2], |pool| {
        pool.set_limits(new.map(|nr| nr.min(ceiling)))
    });
    uaccess::write(arg, &old)?;
    Ok(0)
}
