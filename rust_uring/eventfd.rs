// SPDX-License-Identifier: GPL-2.0

//! The eventfd that is signalled when there are new CQEs.

#![forbid(unsafe_code)]

use crate::{
    abi,
    ctx::{
        Ctx,
        State, //
    },
    ring::Rings,
    sys::{
        eventfd::EventFd,
        uaccess,
        workqueue, //
    }, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Full,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// A registered eventfd.
pub(crate) struct RingEventFd {
    fd: EventFd,
    /// Only completions that come from a worker signal it (`IORING_REGISTER_EVENTFD_ASYNC`).
    only_async: bool,
}

/// `IORING_REGISTER_EVENTFD` and `_ASYNC`: `arg` points to the descriptor.
///
/// `EBUSY` if there is one already, `EFAULT`, `EBADF`, `EINVAL` if it is no eventfd.
pub(crate) fn register(ctx: &Ctx, state: &mut State, arg: u64, only_async: bool) -> Result<i32> {
    if state.eventfd.is_some() {
        return Err(EBUSY);
    }
    let fd = EventFd::from_fd(uaccess::read::<i32>(arg)?)?;
    let eventfd = Arc::new(RingEventFd { fd, only_async }, GFP_KERNEL)?;
    state.eventfd = Some(eventfd.clone());
    drop(ctx.eventfd.replace(Some(eventfd)));
    Ok(0)
}

/// `IORING_UNREGISTER_EVENTFD`. `ENXIO` if there is none.
pub(crate) fn unregister(ctx: &Ctx, state: &mut State) -> Result<i32> {
    state.eventfd.take().ok_or(ENXIO)?;
    drop(ctx.eventfd.replace(None));
    Ok(0)
}

impl RingEventFd {
    fn signal(&self, ctx: &Ctx) {
        if !self.fd.signal() {
            // We are called from within a signal of an eventfd. Do it from a clean context.
            ctx.eventfd_owed.store(true, Relaxed);
            workqueue::queue::<_, 0>(&ctx.globals.queue, ctx);
        }
    }
}

/// New CQEs are visible; `from_worker` if one of them is that of a request that a worker ran.
#[cold]
pub(crate) fn cqe_posted(ctx: &Ctx, eventfd: &RingEventFd, rings: &Rings, from_worker: bool) {
    if eventfd.only_async && !from_worker || rings.cq_flags().load() & abi::CQ_EVENTFD_DISABLED != 0
    {
        return;
    }
    eventfd.signal(ctx);
}

/// Completions wait to be run in a ring that defers them. With `later`, the signal is owed; returns
/// whether it is. Context: any.
pub(crate) fn work_queued(ctx: &Ctx, later: bool) -> bool {
    let disabled = ctx
        .rings
        .read(|rings| rings.is_none_or(|r| r.cq_flags().load() & abi::CQ_EVENTFD_DISABLED != 0));
    if disabled {
        return false;
    }
    ctx.eventfd.read(|eventfd| {
        let Some(eventfd) = eventfd.filter(|e| !e.only_async) else {
            return false;
        };
        if later {
            ctx.eventfd_owed.store(true, Relaxed);
        } else {
            eventfd.signal(ctx);
        }
        later
    })
}

/// Gives a signal that could not be given where it arose. Context: may sleep.
pub(crate) fn pay_owed(ctx: &Ctx) {
    if ctx.eventfd_owed.xchg(false, Full) {
        ctx.eventfd.read(|eventfd| {
            if let Some(eventfd) = eventfd {
                // Not within a signal here, so it cannot be refused.
                eventfd.fd.signal();
            }
        });
    }
}
