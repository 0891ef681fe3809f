// SPDX-License-Identifier: GPL-2.0

//! Reads and writes: `READ`, `WRITE`, the vectored ones, and those with registered buffers.
//!
//! A transfer is tried without blocking first. What would block goes to a worker; direct I/O goes on
//! in the background and completes from interrupt context.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        op,
        SetupFlag,
        Sqe, //
    },
    complete,
    ctx::State,
    kbuf::{
        Choice,
        Chosen,
        Held, //
    },
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
    span::Span,
    sys::{
        abi_types as c,
        file,
        iocb::{
            self,
            Iocb,
            Pi,
            Setup,
            Started,
            Transfer, //
        },
        iter::{
            self,
            Iter,
            Segments,
            MAX_RW_COUNT, //
        },
        mpsc::Linked,
        pinned::{
            Gathered,
            PinnedBuffer, //
        },
        uaccess, //
    }, //
};
use kernel::{
    fs::File,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc, //
    }, //
};

/// Where the data is.
#[derive(Clone)]
enum Memory {
    /// In one piece.
    User,
    /// In pieces.
    Vector(Arc<Segments>),
    /// In a provided buffer, which is chosen when there is data.
    Chosen(Choice),
    /// In a registered buffer, in one piece.
    Fixed,
    /// In a registered buffer, in pieces that were not looked for yet.
    FixedPieces(Arc<KVVec<(u64, usize)>>),
    /// In a registered buffer, in pieces.
    FixedVector(Arc<Gathered>),
}

/// What has to be kept while the pieces are gone through.
enum Pieces {
    /// There is just one.
    One,
    User(Arc<Segments>),
    Fixed(Arc<Gathered>),
}

impl Memory {
    #[inline]
    fn pieces(&self) -> Pieces {
        match self {
            Self::Vector(segments) => Pieces::User(segments.clone()),
            Self::FixedVector(gathered) => Pieces::Fixed(gathered.clone()),
            // The pieces were looked for before.
            Self::User | Self::Chosen(_) | Self::Fixed | Self::FixedPieces(_) => Pieces::One,
        }
    }
}

/// A read or a write. Position, I/O priority and write stream are in its [`Iocb`].
pub(crate) struct Rw {
    addr: u64,
    len: usize,
    /// Bytes transferred by earlier tries.
    done: u32,
    memory: Memory,
    flags: u32,
    write: bool,
    /// The file's own position is meant, if it has one.
    own_pos: bool,
    /// The file was asked to do it.
    tried: bool,
    /// Protection information of the whole.
    pi: Option<KBox<Pi>>,
}

/// `EINVAL`, `EPERM` for an I/O priority that is not allowed; `EFAULT`, `ENOMEM` for a vector.
#[inline]
pub(crate) fn prep(state: &mut State, iocb: &mut Iocb<Request>, sqe: &Sqe) -> Result<Rw> {
    let write = matches!(
        sqe.opcode,
        op::WRITE | op::WRITEV | op::WRITE_FIXED | op::WRITEV_FIXED
    );
    let ioprio = if sqe.ioprio != 0 {
        file::check_ioprio(sqe.ioprio)?;
        sqe.ioprio
    } else {
        state.ioprio()
    };
    let pi = match sqe.pad2 {
        0 => None,
        mask if mask == u64::from(c::IORING_RW_ATTR_FLAG_PI) => {
            Some(KBox::new(prep_pi(sqe.addr3, write)?, GFP_KERNEL_ACCOUNT)?)
        }
        _ => return Err(EINVAL),
    };
    // CAST: Widening; more than `MAX_RW_COUNT` is never transferred at once.
    let mut len = sqe.len as usize;
    let memory = match sqe.opcode {
        _ if sqe.flags & abi::sqe::BUFFER_SELECT != 0 => {
            len = asked(sqe)?;
            Memory::Chosen(Choice {
                group: sqe.buf_index,
                multishot: sqe.opcode == op::READ_MULTISHOT,
                held: Held::No,
            })
        }
        op::READ_MULTISHOT => return Err(EINVAL),
        op::READV | op::WRITEV => {
            let segments = Segments::import(sqe.addr, sqe.len)?;
            len = segments.len();
            Memory::Vector(Arc::new(segments, GFP_KERNEL_ACCOUNT)?)
        }
        op::READ_FIXED | op::WRITE_FIXED => Memory::Fixed,
        op::READV_FIXED | op::WRITEV_FIXED => {
            let pieces = iter::read_pieces(sqe.addr, sqe.len)?;
            Memory::FixedPieces(Arc::new(pieces, GFP_KERNEL_ACCOUNT)?)
        }
        _ => {
            len = len.min(MAX_RW_COUNT);
            if !uaccess::is_user(sqe.addr, len) {
                return Err(EFAULT);
            }
            Memory::User
        }
    };
    // CAST: Same bits; and the lowest byte of the field.
    iocb.describe(sqe.off as i64, ioprio, sqe.file_index as u8);
    Ok(Rw {
        addr: sqe.addr,
        len,
        done: 0,
        memory,
        flags: sqe.op_flags,
        write,
        own_pos: sqe.off == u64::MAX,
        tried: false,
        pi,
    })
}

/// How much is asked for of a buffer that is yet to be chosen; 0 for all that it has. `EINVAL`, `EFAULT`.
#[cold]
fn asked(sqe: &Sqe) -> Result<usize> {
    match sqe.opcode {
        op::READV if sqe.len != 1 => Err(EINVAL),
        op::READV => {
            let pieces = iter::read_pieces(sqe.addr, 1)?;
            let len = pieces.first().map_or(0, |(_, len)| *len);
            // CAST: What does not fit is cut off, as natively.
            Ok(len as u32 as usize)
        }
        op::READ_MULTISHOT if sqe.addr != 0 || sqe.len != 0 => Err(EINVAL),
        // CAST: Widening.
        _ => Ok(sqe.len as usize),
    }
}

/// The protection information that is described at user address `attr`. `EFAULT`, `EINVAL`.
fn prep_pi(attr: u64, write: bool) -> Result<Pi> {
    let attr = uaccess::read::<c::io_uring_attr_pi>(attr)?;
    if attr.rsvd != 0 {
        return Err(EINVAL);
    }
    // CAST: Widening.
    let _ = Iter::user(write, attr.addr, attr.len as usize)?;
    Ok(Pi {
        flags: attr.flags,
        app_tag: attr.app_tag,
        seed: attr.seed,
        addr: attr.addr,
        len: attr.len,
    })
}

/// Whether it can be used with this file, through which the page cache has to be bypassed. `EINVAL`,
/// `EOPNOTSUPP`.
fn check_pi(file: &File) -> Result {
    if !file::has_metadata(file) {
        return Err(EINVAL);
    }
    if file.flags() & kernel::fs::file::flags::O_DIRECT == 0 {
        return Err(EOPNOTSUPP);
    }
    Ok(())
}

impl Rw {
    /// Whether a registered buffer is used.
    pub(crate) fn is_fixed(&self) -> bool {
        !matches!(
            self.memory,
            Memory::User | Memory::Vector(_) | Memory::Chosen(_)
        )
    }

    /// What is to be known about a buffer that is chosen.
    pub(crate) fn choice(&self) -> Option<&Choice> {
        match &self.memory {
            Memory::Chosen(choice) => Some(choice),
            _ => None,
        }
    }

    /// The same, and where the buffer is that was chosen.
    pub(crate) fn choice_mut(&mut self) -> Option<(&mut Choice, u64)> {
        match &mut self.memory {
            Memory::Chosen(choice) => Some((choice, self.addr)),
            _ => None,
        }
    }

    /// The flags of the CQE.
    pub(crate) fn flags(&self) -> u32 {
        self.choice().map_or(0, Choice::flags)
    }

    /// How much is asked for, or was of the buffer that was chosen last.
    pub(crate) fn wanted(&self) -> usize {
        self.len
    }

    /// This is where the data goes to.
    pub(crate) fn take_buffer(&mut self, chosen: Chosen) {
        if let Memory::Chosen(choice) = &mut self.memory {
            choice.held = chosen.held;
            self.addr = chosen.addr;
            self.len = chosen.len.min(MAX_RW_COUNT);
        }
    }

    /// The next buffer is another one, of whatever size.
    pub(crate) fn forget_buffer(&mut self) {
        if let Memory::Chosen(choice) = &mut self.memory {
            choice.held = Held::No;
            self.len = 0;
        }
    }

    /// Whether nothing has to be given back with it.
    #[inline]
    pub(crate) fn owns_nothing(&self) -> bool {
        matches!(self.memory, Memory::User | Memory::Fixed) && self.pi.is_none()
    }

    /// Whether earlier tries have done something.
    pub(crate) fn has_begun(&self) -> bool {
        self.done != 0
    }

    /// Finds the pieces in the buffer, if it is about pieces and that was not done yet.
    ///
    /// `EFAULT` for what is not in the buffer, `EINVAL` for too much, `EOVERFLOW`, `ENOMEM`.
    fn gather(&mut self, buffer: Option<&PinnedBuffer>) -> Result {
        if let Memory::FixedPieces(pieces) = &self.memory {
            let gathered = Gathered::new(buffer.ok_or(EFAULT)?, pieces)?;
            self.len = gathered.len();
            if self.len > MAX_RW_COUNT {
                return Err(EINVAL);
            }
            self.memory = Memory::FixedVector(Arc::new(gathered, GFP_KERNEL_ACCOUNT)?);
        }
        Ok(())
    }

    /// The user memory that it is about: a range that has all of it.
    pub(crate) fn span(&self) -> Span {
        let data = match &self.memory {
            // CAST: Widening.
            Memory::User | Memory::Fixed => Span::new(self.addr, self.len as u64),
            // Nobody knows yet.
            Memory::Chosen(choice) if choice.multishot || choice.held == Held::No => Span::ALL,
            Memory::Chosen(_) => Span::new(self.addr, self.len as u64),
            Memory::Vector(segments) => Span::around(segments.iter()),
            Memory::FixedPieces(pieces) => Span::around(pieces.iter().copied()),
            // They are known as parts of the buffer only.
            Memory::FixedVector(_) => Span::ALL,
        };
        match &self.pi {
            // CAST: Widening.
            Some(pi) => data.with(&Span::new(pi.addr, u64::from(pi.len))),
            None => data,
        }
    }

    /// Bytes that earlier tries transferred.
    fn done(&self) -> usize {
        // CAST: Widening.
        self.done as usize
    }

    /// Bytes that are still to be transferred.
    fn left(&self) -> usize {
        self.len - self.done()
    }

    /// Whether data goes to the file.
    pub(crate) fn is_write(&self) -> bool {
        self.write
    }

    /// Whether the file was asked to do it. Those who watch it are told then, as natively, whatever
    /// came of it.
    pub(crate) fn was_tried(&self) -> bool {
        self.tried
    }

    /// Whether a try with this result did less than it was to do. That is no success, whatever the
    /// application sees.
    fn is_short(&self, res: isize) -> bool {
        usize::try_from(res) != Ok(self.left())
    }

    /// The result of the whole: what earlier tries did counts.
    fn total(&self, res: isize) -> i32 {
        // CAST: `MAX_RW_COUNT` fits.
        match self.done() as isize {
            0 => res as i32,
            done if res < 0 => done as i32,
            done => (done + res) as i32,
        }
    }
}

/// A transfer in the background came to this result: decides what is to be done with its request.
/// Context: any, also hard interrupt.
pub(crate) fn settle(req: &mut Request, result: isize) {
    let busy = result == EAGAIN.to_errno() as isize;
    let again = if req.ctx.polls() {
        // Polled requests never wait for a free slot of the device.
        busy
    } else {
        // What a worker has started was allowed to wait.
        !req.from_worker && (busy || result == EOPNOTSUPP.to_errno() as isize)
    };
    let file = req.file.get();
    if again && !req.nowait && file.is_some_and(|f| file::is_reg(f) || file::is_blk(f)) {
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

    /// Context: any, also hard interrupt.
    fn done(mut this: KBox<Linked<Self>>, result: isize) {
        settle(&mut this, result);
        let ctx = this.ctx.clone();
        complete::push(&ctx, this, true);
    }

    /// Context: any, also hard interrupt.
    fn again(mut this: KBox<Linked<Self>>) {
        this.after = After::Retry;
        let ctx = this.ctx.clone();
        complete::push(&ctx, this, false);
    }
}

/// Marks a request as done with this result.
#[inline(always)]
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
    // A registered buffer is looked at before what the file allows.
    if let Err(err) = rw.gather(buffer) {
        return refused(req, err);
    }
    let left = rw.left();
    let at = rw.addr.wrapping_add(u64::from(rw.done));
    // What the iterator goes through; the request may be over before the call that uses it returns.
    let pieces = rw.memory.pieces();
    let iter = match (&pieces, buffer) {
        (Pieces::One, None) if !rw.is_fixed() => Iter::user(write, at, left),
        (Pieces::One, Some(buffer)) => Iter::pinned(write, buffer, at, left),
        (Pieces::User(segments), _) => Ok(Iter::segments(write, segments).after(rw.done())),
        (Pieces::Fixed(gathered), Some(buffer)) => {
            Iter::gathered(write, buffer, gathered).map(|iter| iter.after(rw.done()))
        }
        _ => Err(EFAULT),
    };
    let mut iter = match iter {
        Ok(iter) => iter,
        Err(err) => return refused(req, err),
    };
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
    let setup = Setup {
        write,
        has_pos,
        pi: rw.pi.as_deref().copied(),
    };
    let mut prepared = r.iocb.prepare(file, rw.flags, write);
    // A file that cannot be told not to block, and is set so, is not to block anywhere.
    r.nowait = r.iocb.is_nowait() || file::is_nonblocking(file) && !file::supports_nowait(file);
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
        if r.nowait {
            return refused(req, EAGAIN);
        }
        return Run::Block(req);
    }
    let whole = file::is_reg(file) || file::is_blk(file);
    r.iocb.set_nowait(nonblock);
    if wait == Wait::Page && r.iocb.wait_for_page().is_err() {
        return Run::Block(req);
    }
    rw.tried = true;
    // Only what is read from or written to the page cache is always over when this returns.
    let in_background = !whole || r.iocb.is_direct() || wait == Wait::Page;
    if in_background {
        r.in_background = true;
        r.ctx.in_background.fetch_add(1, Relaxed);
    }
    let (mut req, mut res) = match iocb::start(req, &mut iter, &setup) {
        Started::UnderWay => return Run::Gone,
        Started::Polled(polled) => return Run::Polled(polled),
        Started::Over(req, res) => (req, res),
    };

    let r = &mut **req;
    if in_background {
        r.back_from_background();
    }
    let nowait = r.nowait;
    let (Some(file), Op::Rw(rw)) = (r.file.get(), &mut r.op) else {
        return refused(req, EBADF);
    };
    let again = EAGAIN.to_errno() as isize;
    // Some filesystems say that they cannot where they mean that they would have to block.
    if nonblock && res == EOPNOTSUPP.to_errno() as isize {
        res = again;
    }
    if rw.own_pos && has_pos && res > 0 {
        file::set_pos(file, r.iocb.pos());
    }
    // CAST: Only compared when positive.
    let short = res > 0 && (res as usize) < left;
    // What belongs to the rest of the data is not known here.
    let partial = short && whole && !nowait && rw.pi.is_none();
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
