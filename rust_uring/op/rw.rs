// SPDX-License-Identifier: GPL-2.0

//! Reads and writes: `READ`, `WRITE`, the vectored ones, and those with registered buffers.
//!
//! A transfer is tried without blocking first. What would block goes to a worker; direct I/O goes on
//! in the background and completes from interrupt context.

#![forbid(unsafe_code)]

mod prep;

pub(crate) use prep::{
    prep,
    Rw, //
};

use crate::{
    abi::SetupFlag,
    complete,
    ctx::State,
    op::{
        Op,
        Run, //
    },
    poll,
    request::{
        After,
        ReqBox,
        Request, //
    },
    sys::{
        file,
        iocb::{
            self,
            Iocb,
            Pi,
            Setup,
            Started,
            Transfer, //
        },
        iter::Iter,
        mpsc::Linked,
        pinned::PinnedBuffer, //
    }, //
};
use kernel::{
    fs::File,
    prelude::*,
    sync::atomic::Relaxed, //
};
use prep::check_pi;

/// A transfer in the background came to this result: decides what is to be done with its request.
/// Context: any, also hard interrupt.
pub(crate) fn settle(req: &mut Request, result: isize) {
    if let Op::Rw(rw) = &req.op {
        if rw.is_whole(result) {
            // CAST: It is a length.
            return req.set_result(result as i32, 0);
        }
    }
    let busy = result == EAGAIN.to_errno() as isize;
    let again = if req.ctx.polls() {
        // Polled requests never wait for a free slot of the device.
        busy
    } else {
        // What a worker has started was allowed to wait.
        !req.from_worker && (busy || result == EOPNOTSUPP.to_errno() as isize)
    };
    let file = req.file.get();
    let nowait = matches!(&req.op, Op::Rw(rw) if rw.is_nowait());
    if again && !nowait && file.is_some_and(|f| file::is_reg(f) || file::is_blk(f)) {
        req.after = After::Punt;
    } else if let Op::Rw(rw) = &req.op {
        let (total, short) = (rw.total(result), rw.is_short(result));
        let flags = rw.flags();
        req.set_result(total, flags);
        req.failed |= short;
    }
}

impl Transfer for Request {
    fn iocb(&self) -> &Iocb<Self> {
        &self.iocb
    }

    fn pi(&self) -> Option<&Pi> {
        match &self.op {
            Op::Rw(rw) => rw.pi.as_deref(),
            _ => None,
        }
    }

    /// Context: any, also hard interrupt.
    fn done(mut this: KBox<Linked<Self>>, result: isize) {
        settle(&mut this, result);
        complete::push_home(this, true);
    }

    /// Context: any, also hard interrupt.
    fn again(mut this: KBox<Linked<Self>>) {
        this.after = After::Retry;
        complete::push_home(this, false);
    }
}

/// Marks a request as done with this result.
fn over(mut req: ReqBox, res: isize) -> Run {
    if let Op::Rw(rw) = &req.op {
        let (total, short) = (rw.total(res), rw.is_short(res));
        req.set_result(total, 0);
        req.failed |= short;
    }
    Run::Done(req)
}

/// Marks a request as done that the file was not asked to do.
#[cold]
fn refused(req: ReqBox, err: Error) -> Run {
    over(req, err.to_errno() as isize)
}

/// What a try without blocking would have to know.
#[inline]
fn would_block(file: &File, write: bool, direct: bool) -> bool {
    if !(file::supports_nowait(file) || file::can_poll(file) && file::is_ready(file, write)) {
        return true;
    }
    // Not all filesystems can write to the page cache without blocking.
    write && !direct && file::is_reg(file) && !file::async_write(file)
}

/// What a transfer does that would have to wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It comes back as `Run::Block`.
    Never,
    /// If it waits for a page of the page cache, it comes back through the completion list when that
    /// is there; else as `Run::Block`.
    Page,
    /// It waits.
    Here,
}

/// Whether a read that would block can wait for a page of the page cache instead of being blocked.
/// After a [`run`] that said so.
pub(crate) fn waits_for_page(req: &Request) -> bool {
    let Some(file) = req.file.get() else {
        return false;
    };
    file::supports_nowait(file) && req.iocb.waits_for_page()
}

/// Goes on with such a read for as long as pages are there at once.
pub(crate) fn run_by_page(mut req: ReqBox, buffer: Option<&PinnedBuffer>) -> Run {
    loop {
        let before = done(&req);
        req = match run(req, buffer, Wait::Page) {
            Run::Block(req) if done(&req) != before => req,
            run => return run,
        };
    }
}

/// Bytes that earlier tries transferred.
fn done(req: &Request) -> usize {
    match &req.op {
        Op::Rw(rw) => rw.done(),
        _ => 0,
    }
}

/// Tries the transfer, with what is still to be done.
///
/// `buffer` is the registered buffer, held by the caller until this returns. Context: may sleep.
pub(crate) fn run(mut req: ReqBox, buffer: Option<&PinnedBuffer>, wait: Wait) -> Run {
    let nonblock = wait != Wait::Here;
    let polls = req.ctx.polls();
    let r = &mut **req;
    let (Some(file), Op::Rw(rw)) = (r.file.get(), &mut r.op) else {
        return refused(req, EBADF);
    };
    let write = rw.write;
    // What the iterator goes through; the request may be over before the call that uses it returns.
    let pieces;
    let mut iter = Iter::empty();
    // A registered buffer is looked at before what the file allows.
    let set = if rw.is_simple() {
        iter.set_user(write, rw.at(), rw.left())
    } else {
        match rw.pieces(buffer) {
            Ok(found) => {
                pieces = found;
                rw.set_iter(&mut iter, &pieces, buffer)
            }
            Err(err) => Err(err),
        }
    };
    if let Err(err) = set {
        return refused(req, err);
    }
    let mode_ok = if write {
        file::is_writable(file)
    } else {
        file::is_readable(file)
    };
    if !mode_ok {
        return refused(req, EBADF);
    }
    let has_pos = !rw.own_pos || !file::is_stream(file);
    if rw.own_pos {
        r.iocb.set_pos(if has_pos { file::pos(file) } else { 0 });
    }
    let setup = Setup { write, has_pos };
    let mut prepared = r.iocb.prepare(file, rw.flags, write);
    // A file that cannot be told not to block, and is set so, is not to block anywhere.
    rw.nowait = r.iocb.is_nowait() || file::is_nonblocking(file) && !file::supports_nowait(file);
    if prepared.is_ok() && polls {
        prepared = r
            .iocb
            .set_polled(r.ctx.flags.contains(SetupFlag::HybridIopoll));
    } else if prepared.is_ok() && r.iocb.is_hipri() {
        prepared = Err(EINVAL);
    }
    if prepared.is_ok() && rw.pi.is_some() {
        prepared = check_pi(file);
    }
    if let Err(err) = prepared {
        return refused(req, err);
    }
    if nonblock && would_block(file, write, r.iocb.is_direct()) {
        if rw.nowait {
            return refused(req, EAGAIN);
        }
        return Run::Block(req);
    }
    r.iocb.set_nowait(nonblock);
    if wait == Wait::Page && r.iocb.wait_for_page().is_err() {
        return Run::Block(req);
    }
    rw.tried = true;
    // Only what is read from or written to the page cache is always over when this returns.
    let in_background = r.iocb.is_direct() || wait == Wait::Page || !is_moved_whole(file);
    if in_background {
        r.in_background = true;
        r.ctx.in_background.fetch_add(1, Relaxed);
    }
    let (mut req, res) = match iocb::start(req, &mut iter, &setup) {
        Started::UnderWay => return Run::Gone,
        Started::Polled(polled) => return Run::Polled(polled),
        Started::Over(req, res) => (req, res),
    };

    let r = &mut **req;
    if in_background {
        r.back_from_background();
    }
    if let Op::Rw(rw) = &r.op {
        if rw.is_whole(res) {
            // CAST: It is a length.
            r.set_result(res as i32, 0);
            return Run::Done(req);
        }
    }
    more_or_less(req, res, &setup, wait)
}

/// Whether the file is one of those that transfer all there is, so that what was transferred in part is gone
/// on with.
#[inline(always)]
fn is_moved_whole(file: &File) -> bool {
    file::is_reg(file) || file::is_blk(file)
}

/// Sees to a result that is not all that was asked for, or has to be kept.
#[inline(never)]
fn more_or_less(mut req: ReqBox, mut res: isize, setup: &Setup, wait: Wait) -> Run {
    let nonblock = wait != Wait::Here;
    let polls = req.ctx.polls();
    let r = &mut **req;
    let (Some(file), Op::Rw(rw)) = (r.file.get(), &mut r.op) else {
        return refused(req, EBADF);
    };
    let nowait = rw.nowait;
    let again = EAGAIN.to_errno() as isize;
    // Some filesystems say that they cannot where they mean that they would have to block.
    if nonblock && res == EOPNOTSUPP.to_errno() as isize {
        res = again;
    }
    if rw.own_pos && setup.has_pos && res > 0 {
        file::set_pos(file, r.iocb.pos());
    }
    // CAST: Only compared when positive.
    let short = res > 0 && (res as usize) < rw.left();
    // What belongs to the rest of the data is not known here.
    let partial = short && is_moved_whole(file) && !nowait && rw.pi.is_none();
    // When completions are polled for, nobody waits for a free slot of the device.
    if res == again && (nonblock || polls) && !nowait {
        return Run::Block(req);
    }
    if partial && nonblock && !rw.choice().is_some_and(|choice| choice.multishot) {
        // CAST: Less than `MAX_RW_COUNT`.
        rw.done += res as u32;
        return Run::Block(req);
    }
    over(req, res)
}

/// How often a file may say that it is ready and would block after all.
const TRIES: u32 = 128;

/// Does the transfer in a worker. What can be polled is left to be tried again when it is ready. If that
/// was in vain often enough the thread waits until it is, and tries without blocking, so that a pipe
/// takes as much as it has room for.
///
/// `Run::Block` if the thread has something else to do first. Context: may sleep.
pub(crate) fn run_in_worker(mut req: ReqBox, buffer: Option<&PinnedBuffer>) -> Run {
    for _ in 0..TRIES {
        match req.file.get() {
            Some(file) if file::can_poll(file) && !file::is_reg(file) => {}
            _ => break,
        }
        req = match run(req, buffer, Wait::Never) {
            Run::Block(req) => req,
            run => return run,
        };
        req = match poll::instead_of_blocking_in_worker(req) {
            Ok(()) => return Run::Gone,
            Err((same, true)) => {
                req = same;
                continue;
            }
            Err((same, false)) => same,
        };
        let (Some(file), Op::Rw(rw)) = (req.file.get(), &req.op) else {
            break;
        };
        match file::wait_ready(file, rw.write) {
            Ok(()) => {}
            Err(err) if err == EINTR => return Run::Block(req),
            Err(err) => return refused(req, err),
        }
    }
    run(req, buffer, Wait::Here)
}

/// Finds the registered buffer that the SQE names. `EFAULT` if there is none.
pub(crate) fn assign_buffer(state: &mut State, req: &mut Request, index: u16) -> Result {
    let node = state.buffers.get(usize::from(index)).ok_or(EFAULT)?;
    req.buffer = node.get(&mut state.key);
    Ok(())
}
