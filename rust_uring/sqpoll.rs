// SPDX-License-Identifier: GPL-2.0

//! The thread that submits instead of the application (`IORING_SETUP_SQPOLL`).
//!
//! It is a thread of the process that set up the ring (see [`crate::sys::user_worker`]): it has its
//! memory and its descriptors, and dies with it. It serves the ring, and those that were attached to
//! it, in rounds: SQEs are consumed, completions are run. When there was nothing to do for a while it
//! says so in `IORING_SQ_NEED_WAKEUP` and sleeps.
//!
//! # Not sleeping through it
//!
//! Who has something for the thread makes it visible, passes a full barrier and wakes the thread. The
//! application does so in an `enter`, which it makes if it sees `NEED_WAKEUP` after a full barrier of
//! its own. The thread marks itself as about to sleep, sets `NEED_WAKEUP`, passes a full barrier, and
//! looks at everything once more.
//!
//! # Life
//!
//! A ring holds its thread, and the thread's list holds the ring until [`detach`], which is the first
//! thing when a ring is taken down. The thread of the last ring is told to end and is not waited for: it
//! may be stopped by a signal. It queues [`SqThread::reap`] when it gets to know, and also when its
//! process is killed.

#![forbid(unsafe_code)]

mod thread;

pub(crate) use thread::SqThread;

use crate::{
    abi::{
        Params,
        SetupFlag,
        SetupFlags, //
    },
    ctx::{
        Ctx,
        Ring,
        State, //
    },
    globals::Globals,
    sys::{
        cpu,
        ring_file,
        task,
        user_worker, //
    },
    worker::Pool, //
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    sync::Arc, //
};

/// Milliseconds without work until the thread sleeps, if the application does not say.
const IDLE: u32 = 1000;

/// The owner of the thread is gone, and the thread with it.
pub(crate) const EOWNERDEAD: i32 = -(kernel::bindings::EOWNERDEAD as i32);

/// Gives a ring its thread, or a share in that of the ring with descriptor `p.wq_fd`. Checks the flags
/// that are about the thread in any case.
///
/// `ENXIO` if there is no such descriptor or its thread is dead, `EINVAL` if it is no ring with a
/// thread, or for a CPU that the thread may not run on; `EAGAIN`, `ENOMEM`. A failure leaves it to
/// [`detach`] to clean up. Context: may sleep, in an ioctl that holds its file.
pub(crate) fn offload(ctx: &Ctx, globals: &Arc<Globals>, p: &Params, flags: SetupFlags) -> Result {
    let attach = flags.contains(SetupFlag::AttachWq);
    if !flags.contains(SetupFlag::Sqpoll) {
        if attach {
            other(p.wq_fd, |_| Ok(()))?;
        }
        if flags.contains(SetupFlag::SqAff) {
            return Err(EINVAL);
        }
        return Ok(());
    }
    if !user_worker::available() {
        return Err(EINVAL);
    }
    let tgid = kernel::current!().tgid();
    let shared = if attach {
        let thread = other(p.wq_fd, |ctx| ctx.sq_thread().cloned().ok_or(EINVAL))?;
        // Another process' thread does not do: the ring gets its own.
        (thread.tgid() == tgid).then_some(thread)
    } else {
        None
    };
    // That it is there from now on tells whose pool of workers is meant.
    ctx.state.lock().pool(ctx)?;
    let idle = if p.sq_thread_idle == 0 {
        IDLE
    } else {
        p.sq_thread_idle
    };
    if let Some(thread) = shared {
        return thread.attach(ctx, idle);
    }
    let cpu = if flags.contains(SetupFlag::SqAff) {
        cpu::check_allowed(p.sq_thread_cpu)?;
        Some(p.sq_thread_cpu)
    } else {
        None
    };
    let thread = SqThread::new(globals, tgid, cpu)?;
    thread.attach(ctx, idle)?;
    SqThread::start(&thread)
}

/// Looks at the ring behind a descriptor. `ENXIO`, `EINVAL` for another kind of file.
fn other<T>(fd: u32, look: impl FnOnce(&Ctx) -> Result<T>) -> Result<T> {
    let file = ring_file::fget(fd).map_err(|_| ENXIO)?;
    look(&ring_file::data::<Ring>(&file).ok_or(EINVAL)?.ctx)
}

/// Takes a ring away from its thread, which does not touch it after this. Context: may sleep until the
/// end of a round.
pub(crate) fn detach(ctx: &Ctx) {
    if let Some(thread) = ctx.sq_thread() {
        thread.detach(ctx);
    }
}

/// Tells the thread of a ring about completions, the first ones since it took the last. Returns false if
/// there is no thread. Context: any, after a full barrier.
#[inline]
pub(crate) fn tell(ctx: &Ctx) -> bool {
    ctx.sq_thread().is_some_and(|thread| thread.wake())
}

/// Waits until the SQ has room, or for a signal (`IORING_ENTER_SQ_WAIT`). Context: may sleep.
pub(crate) fn wait_for_room(ctx: &Ctx) {
    let has_room = || {
        ctx.rings.read(|rings| rings.is_none_or(|r| !r.sq_full()))
            || ctx.sq_thread().is_none_or(|thread| thread.is_dead())
    };
    while !has_room() && !task::interrupted() {
        ctx.sq_wait
            .sleep(&has_room, || has_room() || task::interrupted(), None);
    }
}

/// The pool of the workers that the ring's requests go to: that of the thread's process, whoever asks.
/// `None` if the thread is dead.
pub(crate) fn pool(ctx: &Ctx, state: &State) -> Option<Arc<Pool>> {
    let thread = ctx.sq_thread().filter(|thread| !thread.is_dead())?;
    // Joined first of all.
    let user = state.pools.first().filter(|_| thread.is_running())?;
    Some(user.pool().clone())
}

/// Writes the lines of fdinfo that are about the thread.
pub(crate) fn show(ctx: &Ctx, m: &SeqFile) {
    let thread = ctx.sq_thread().filter(|thread| !thread.is_dead());
    let (pid, on, total, work) = thread
        .and_then(|thread| thread.describe(m))
        .unwrap_or((-1, -1, 0, 0));
    kernel::seq_print!(
        m,
        "SqThread:\t{}\nSqThreadCpu:\t{}\nSqTotalTime:\t{}\nSqWorkTime:\t{}\n",
        pid,
        on,
        total,
        work
    );
}
