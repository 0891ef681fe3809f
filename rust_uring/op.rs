// SPDX-License-Identifier: GPL-2.0

//! The opcodes: one entry each in one table, one file for each family.
//!
//! `prep` turns an SQE into an [`Op`] and checks everything that can be checked without doing it.
//! `issue` does it.

#![forbid(unsafe_code)]

pub(crate) mod cancel;
pub(crate) mod identity;
pub(crate) mod kbuf;
pub(crate) mod nop;
pub(crate) mod open;
pub(crate) mod poll;
pub(crate) mod rw;
pub(crate) mod select;
pub(crate) mod sync;
pub(crate) mod timeout;

use crate::{
    abi,
    ctx::{
        Ctx,
        State, //
    },
    request::{
        After,
        ReqBox,
        Request, //
    },
    sqe::SqeStart,
    submit,
    sys::{
        cred,
        file,
        iopoll::Polled,
        locked_rc::Key,
        pinned::PinnedBuffer,
        poll::mask,
        task, //
    }, //
};
use core::num::NonZero;
use kernel::{
    prelude::*,
    sync::aref::ARef, //
};

/// What a request is to do, as far as it is known after `prep`.
///
/// Which one is in a byte of its own, and not in what is left over in one of them: it is looked at often.
#[repr(u8)]
pub(crate) enum Op {
    /// Nothing, or nothing any more.
    Idle,
    /// The CQE of another ring's message: no SQE asked for it.
    Message,
    /// `NOP` and `NOP128`
    Nop(nop::Nop),
    /// `POLL_ADD`
    Poll(poll::PollAdd),
    /// `POLL_REMOVE`
    PollRemove(poll::PollRemove),
    /// Reads and writes
    Rw(rw::Rw),
    /// What is done to a file as a whole
    Sync(sync::Sync),
    /// `OPENAT` and `OPENAT2`
    Open(KBox<open::Open>),
    /// `STATX`
    Statx(KBox<open::Statx>),
    /// What is about descriptors and slots
    Descriptor(open::Descriptor),
    /// `PROVIDE_BUFFERS` and `REMOVE_BUFFERS`
    Manage(kbuf::Manage),
    /// `TIMEOUT`
    Timeout(timeout::Timeout),
    /// `LINK_TIMEOUT`
    LinkTimeout(timeout::Timeout),
    /// `TIMEOUT_REMOVE`
    TimeoutChange(timeout::Change),
    /// `ASYNC_CANCEL`
    Cancel(cancel::Cancel),
}

/// What became of a request that was tried.
pub(crate) enum Run {
    /// Its result is set.
    Done(ReqBox),
    /// It would block.
    Block(ReqBox),
    /// It goes on by itself, and has to be polled for.
    Polled(Polled<Request>),
    /// It goes on by itself: somebody else owns it now.
    Gone,
}

/// What became of a request that was issued by its submitter.
pub(crate) enum Issued {
    /// Its result is set.
    Done(ReqBox),
    /// Its result is set, but it is to be posted as work that comes from elsewhere would be.
    DoneLater(ReqBox),
    /// It would block: it is for a worker.
    Block(ReqBox),
    /// Somebody else owns it now.
    Gone,
}

impl Run {
    /// In the submitter, which sees to what has to be polled for.
    #[inline]
    fn issued(self, state: &mut State) -> Issued {
        match self {
            Self::Done(req) => Issued::Done(req),
            Self::Block(req) => Issued::Block(req),
            Self::Polled(polled) => {
                state.poll_list.add(polled);
                Issued::Gone
            }
            Self::Gone => Issued::Gone,
        }
    }
}

/// What is to be known about an opcode before its SQE is looked at more closely: bits, of which it has one at
/// least.
#[derive(Clone, Copy)]
pub(crate) struct OpInfo(NonZero<u8>);

impl OpInfo {
    const PLAIN: u8 = 1;
    const IS_128: u8 = 1 << 1;
    const IOPRIO: u8 = 1 << 2;
    const POLLED: u8 = 1 << 3;
    const BUFFER_SELECT: u8 = 1 << 4;
    const NEEDS_FILE: u8 = 1 << 5;
    const STAYS: u8 = 1 << 6;
    const TRANSFER: u8 = 1 << 7;

    #[inline(always)]
    fn has(self, bit: u8) -> bool {
        self.0.get() & bit != 0
    }

    /// What is [wanted](Self::is) of an opcode whose SQE has nothing special about it, in a ring that polls for
    /// completions or another one.
    pub(crate) fn wanted(polls: bool) -> u8 {
        Self::PLAIN | if polls { Self::POLLED } else { 0 }
    }

    /// Whether it is all that is `wanted`.
    #[inline(always)]
    pub(crate) fn is(self, wanted: u8) -> bool {
        self.0.get() & wanted == wanted
    }

    /// Its SQE has 128 bytes.
    #[inline(always)]
    pub(crate) fn is_128(self) -> bool {
        self.has(Self::IS_128)
    }

    /// It takes `ioprio`.
    pub(crate) fn ioprio(self) -> bool {
        self.has(Self::IOPRIO)
    }

    /// It can be used in rings that poll for completions.
    pub(crate) fn polled(self) -> bool {
        self.has(Self::POLLED)
    }

    /// It can take a provided buffer.
    pub(crate) fn buffer_select(self) -> bool {
        self.has(Self::BUFFER_SELECT)
    }

    /// It is about the file that `fd` names.
    pub(crate) fn needs_file(self) -> bool {
        self.has(Self::NEEDS_FILE)
    }

    /// It is a read or a write.
    #[inline(always)]
    pub(crate) fn is_transfer(self) -> bool {
        self.has(Self::TRANSFER)
    }

    /// It is about the submitter's descriptors: it is never given to a worker.
    pub(crate) fn stays(self) -> bool {
        self.has(Self::STAYS)
    }
}

/// What is known about an opcode. `None` for those that the module does not have (yet).
#[inline(always)]
pub(crate) fn info(opcode: u8) -> Option<OpInfo> {
    static TABLE: [Option<OpInfo>; 1 << u8::BITS] = {
        let mut table = [None; 1 << u8::BITS];
        let mut opcode = 0;
        while opcode < table.len() {
            // CAST: It is one of 256 numbers.
            table[opcode] = match NonZero::new(describe(opcode as u8)) {
                Some(bits) => Some(OpInfo(bits)),
                None => None,
            };
            opcode += 1;
        }
        table
    };
    *TABLE.get(usize::from(opcode))?
}

/// The bits of an opcode's [`OpInfo`]; 0 if it is not there.
const fn describe(opcode: u8) -> u8 {
    const PLAIN: u8 = OpInfo::PLAIN;
    const FILE: u8 = OpInfo::PLAIN | OpInfo::NEEDS_FILE;
    const RW: u8 = FILE | OpInfo::TRANSFER | OpInfo::IOPRIO | OpInfo::POLLED;
    match opcode {
        abi::op::NOP => PLAIN | OpInfo::POLLED,
        abi::op::NOP128 => OpInfo::POLLED | OpInfo::IS_128,
        abi::op::READ | abi::op::READV => RW | OpInfo::BUFFER_SELECT,
        abi::op::WRITE
        | abi::op::WRITEV
        | abi::op::READ_FIXED
        | abi::op::WRITE_FIXED
        | abi::op::READV_FIXED
        | abi::op::WRITEV_FIXED => RW,
        abi::op::READ_MULTISHOT => FILE | OpInfo::TRANSFER | OpInfo::BUFFER_SELECT,
        abi::op::FSYNC
        | abi::op::SYNC_FILE_RANGE
        | abi::op::FALLOCATE
        | abi::op::FTRUNCATE
        | abi::op::FADVISE => FILE,
        abi::op::FIXED_FD_INSTALL | abi::op::POLL_ADD => FILE | OpInfo::STAYS,
        abi::op::CLOSE | abi::op::POLL_REMOVE => PLAIN | OpInfo::STAYS,
        abi::op::FILES_UPDATE | abi::op::PROVIDE_BUFFERS | abi::op::REMOVE_BUFFERS => {
            PLAIN | OpInfo::STAYS | OpInfo::POLLED
        }
        abi::op::OPENAT | abi::op::OPENAT2 | abi::op::STATX => PLAIN,
        abi::op::TIMEOUT
        | abi::op::TIMEOUT_REMOVE
        | abi::op::LINK_TIMEOUT
        | abi::op::ASYNC_CANCEL => PLAIN | OpInfo::STAYS,
        _ => 0,
    }
}

/// The opcode's name, as native fdinfo shows it. `"INVALID"` for what is not there.
pub(crate) const fn name(opcode: u8) -> &'static str {
    match opcode {
        abi::op::NOP => "NOP",
        abi::op::NOP128 => "NOP128",
        abi::op::READ => "READ",
        abi::op::WRITE => "WRITE",
        abi::op::READV => "READV",
        abi::op::WRITEV => "WRITEV",
        abi::op::READ_FIXED => "READ_FIXED",
        abi::op::WRITE_FIXED => "WRITE_FIXED",
        abi::op::READV_FIXED => "READV_FIXED",
        abi::op::WRITEV_FIXED => "WRITEV_FIXED",
        abi::op::READ_MULTISHOT => "READ_MULTISHOT",
        abi::op::PROVIDE_BUFFERS => "PROVIDE_BUFFERS",
        abi::op::REMOVE_BUFFERS => "REMOVE_BUFFERS",
        abi::op::POLL_ADD => "POLL_ADD",
        abi::op::POLL_REMOVE => "POLL_REMOVE",
        abi::op::FSYNC => "FSYNC",
        abi::op::FALLOCATE => "FALLOCATE",
        abi::op::SYNC_FILE_RANGE => "SYNC_FILE_RANGE",
        abi::op::FTRUNCATE => "FTRUNCATE",
        abi::op::FADVISE => "FADVISE",
        abi::op::OPENAT => "OPENAT",
        abi::op::OPENAT2 => "OPENAT2",
        abi::op::CLOSE => "CLOSE",
        abi::op::STATX => "STATX",
        abi::op::FILES_UPDATE => "FILES_UPDATE",
        abi::op::TIMEOUT => "TIMEOUT",
        abi::op::TIMEOUT_REMOVE => "TIMEOUT_REMOVE",
        abi::op::LINK_TIMEOUT => "LINK_TIMEOUT",
        abi::op::ASYNC_CANCEL => "ASYNC_CANCEL",
        abi::op::FIXED_FD_INSTALL => "FIXED_FD_INSTALL",
        _ => "INVALID",
    }
}

/// Checks an SQE and keeps what it says. `EINVAL` and what else the opcode's own file tells.
#[inline(never)]
pub(crate) fn prep(state: &mut State, req: &mut Request, sqe: &SqeStart) -> Result {
    if let abi::op::NOP | abi::op::NOP128 = sqe.head.opcode {
        let nop = nop::prep(state, req, sqe)?;
        req.set_op(Op::Nop(nop));
        return Ok(());
    }
    if info(sqe.head.opcode).is_some_and(OpInfo::is_transfer) {
        return rw::prep(state, req, sqe);
    }
    prep_other(state, req, sqe)
}

/// The part of [`prep`] for all that is neither a NOP nor a transfer.
#[inline(never)]
pub(crate) fn prep_other(state: &mut State, req: &mut Request, sqe: &SqeStart) -> Result {
    if sqe.head.opcode == abi::op::POLL_ADD {
        return poll::prep_add(state, req, sqe);
    }
    let sqe = &sqe.whole(&state.rings);
    let fixed = sqe.flags & abi::sqe::FIXED_FILE != 0;
    match sqe.opcode {
        abi::op::POLL_REMOVE => req.set_op(Op::PollRemove(poll::prep_remove(sqe)?)),
        abi::op::OPENAT | abi::op::OPENAT2 => req.set_op(open::prep_open(sqe, fixed)?),
        abi::op::STATX => req.set_op(open::prep_statx(sqe, fixed)?),
        abi::op::CLOSE | abi::op::FIXED_FD_INSTALL | abi::op::FILES_UPDATE => {
            let op = open::prep_descriptor(req, sqe, fixed)?;
            req.set_op(op);
        }
        abi::op::PROVIDE_BUFFERS | abi::op::REMOVE_BUFFERS => req.set_op(kbuf::prep(sqe)?),
        abi::op::TIMEOUT | abi::op::LINK_TIMEOUT => req.set_op(timeout::prep(state, sqe)?),
        abi::op::TIMEOUT_REMOVE => req.set_op(timeout::prep_change(sqe)?),
        abi::op::ASYNC_CANCEL => req.set_op(cancel::prep(sqe)?),
        _ => req.set_op(Op::Sync(sync::prep(sqe)?)),
    }
    Ok(())
}

/// Does what the request asks for, without blocking.
#[inline(always)]
pub(crate) fn issue(ctx: &Ctx, state: &mut State, req: ReqBox) -> Issued {
    match &req.creds {
        None => issue_as_current(ctx, state, req),
        Some(creds) => {
            let _creds = cred::Overridden::new(creds);
            issue_as_current(ctx, state, req)
        }
    }
}

/// The same, with the credentials of the current task.
#[inline(never)]
pub(crate) fn issue_as_current(ctx: &Ctx, state: &mut State, req: ReqBox) -> Issued {
    match &req.op {
        Op::Nop(nop) => nop::issue(state, *nop, req),
        Op::Rw(_) => issue_rw(ctx, state, req),
        Op::Poll(_) => poll::issue_add(ctx, state, req),
        Op::PollRemove(what) => poll::issue_remove(ctx, state, *what, req),
        Op::Sync(sync) if sync.blocks() => Issued::Block(req),
        Op::Sync(_) => sync::run(req).issued(state),
        Op::Open(_) => open::issue_open(ctx, state, req),
        Op::Statx(_) => Issued::Block(req),
        Op::Descriptor(what) => open::issue_descriptor(ctx, state, *what, req),
        Op::Manage(what) => kbuf::issue(state, *what, req),
        Op::Timeout(_) => timeout::issue(state, req),
        Op::TimeoutChange(change) => timeout::issue_change(ctx, state, *change, req),
        Op::Cancel(what) => cancel::issue(ctx, state, *what, req),
        Op::LinkTimeout(_) | Op::Message | Op::Idle => Issued::Done(req),
    }
}

/// A read or write.
fn issue_rw(ctx: &Ctx, state: &mut State, req: ReqBox) -> Issued {
    if req.head.flags & abi::sqe::BUFFER_SELECT != 0 {
        return select::issue(ctx, state, req);
    }
    issue_transfer(ctx, state, req)
}

/// Tries the transfer, in its submitter.
#[inline(always)]
pub(crate) fn issue_transfer(ctx: &Ctx, state: &mut State, req: ReqBox) -> Issued {
    transfer(ctx, state, req).issued(state)
}

/// Tries the transfer. The buffer is there until this returns, even if the request is over before: it takes
/// the key to give it back.
#[inline(always)]
fn transfer(ctx: &Ctx, state: &mut State, mut req: ReqBox) -> Run {
    if req.file.get().is_some_and(file::is_direct) {
        state.plugs = true;
        submit::may_come_back(ctx, state, &mut req);
    }
    let buffer = held_buffer(&state.key, &req);
    match rw::run(req, buffer, rw::Wait::Never) {
        Run::Block(req) => wait_for_page(ctx, state, req),
        run => run,
    }
}

/// The registered buffer of a request.
#[inline(always)]
fn held_buffer<'k>(key: &'k Key, req: &Request) -> Option<&'k PinnedBuffer> {
    let node = req.buffer.as_ref()?;
    Some(&node.hold(key)?.value.memory)
}

/// A transfer would block: it may be that it can wait for the page cache.
#[cold]
fn wait_for_page(ctx: &Ctx, state: &mut State, mut req: ReqBox) -> Run {
    if rw::waits_for_page(&req) && submit::may_come_back(ctx, state, &mut req) {
        let buffer = held_buffer(&state.key, &req);
        rw::run_by_page(req, buffer)
    } else {
        Run::Block(req)
    }
}

/// Whether it makes no difference which process issues the request.
pub(crate) fn is_independent(req: &Request) -> bool {
    let forced = req.head.flags & abi::sqe::ASYNC != 0;
    if forced && info(req.head.opcode).is_some_and(|info| !info.stays()) {
        return false;
    }
    match &req.op {
        Op::Nop(nop) => nop.is_independent(req),
        Op::Cancel(what) => what.is_independent(),
        Op::Timeout(_) | Op::LinkTimeout(_) | Op::TimeoutChange(_) | Op::Manage(_) => true,
        Op::Message | Op::Idle => true,
        _ => false,
    }
}

/// What to wait for if the request would block: that its file is ready for this. `None` for requests that
/// wait for something else.
pub(crate) fn poll_events(req: &Request) -> Option<u32> {
    match &req.op {
        Op::Rw(rw) if rw.is_write() => Some(mask::OUT),
        Op::Rw(_) => Some(mask::IN),
        _ => None,
    }
}

/// What can only be done with the ring's state, of a request that a worker is to run.
#[cold]
pub(crate) fn before_worker(ctx: &Ctx, state: &mut State, req: &mut Request) {
    match req.op {
        Op::Nop(nop) => nop::run(state, nop, req),
        Op::Cancel(what) => cancel::run(ctx, state, what, req),
        Op::Manage(what) => kbuf::run(state, what, req),
        _ => {}
    }
}

/// Does what the request asks for; it may block. For workers.
///
/// `Run::Block` if the thread has something else to do first.
pub(crate) fn run_blocking(mut req: ReqBox) -> Run {
    let after = core::mem::replace(&mut req.after, After::Complete);
    let first = after == After::Issue;
    if first {
        if let Err(err) = submit::assign_in_worker(&mut req) {
            req.set_result(err.to_errno(), 0);
            return Run::Done(req);
        }
    }
    if task::is_kernel_thread() && !identity::is_open_to_all(&req) {
        req.set_error(EOPNOTSUPP);
        return Run::Done(req);
    }
    let _creds = req.creds.as_ref().map(cred::Overridden::new);
    match &req.op {
        Op::Rw(_) if req.head.flags & abi::sqe::BUFFER_SELECT != 0 => {
            select::run_in_worker(req, after)
        }
        Op::Rw(_) => transfer_in_worker(req),
        Op::Poll(_) => poll::run_in_worker(req, first),
        Op::Sync(_) => sync::run(req),
        Op::Open(_) | Op::Statx(_) => open::run(req),
        Op::Descriptor(what) => open::run_descriptor(*what, req),
        Op::Nop(_) | Op::Cancel(_) | Op::Manage(_) => Run::Done(req),
        Op::Message | Op::Idle => Run::Done(req),
        Op::Timeout(_) | Op::LinkTimeout(_) | Op::TimeoutChange(_) => Run::Done(req),
        Op::PollRemove(what) => poll::remove_in_worker(*what, req),
    }
}

/// A read or write in a worker.
fn transfer_in_worker(req: ReqBox) -> Run {
    // The request may be over, and gone, before the call that it was made with returns.
    let file = req.file.get().map(ARef::from);
    let buffer = req.buffer.as_ref().map(|node| node.value.clone());
    let run = rw::run_in_worker(req, buffer.as_ref().map(|b| &b.memory));
    drop(buffer);
    if let Some(file) = file {
        file::put_now(file);
    }
    run
}
