// SPDX-License-Identifier: GPL-2.0

//! A request: what an SQE asked for, owned by one place at a time.
//!
//! There is no second reference to a request. Whoever holds the [`ReqBox`] decides what happens next
//! and hands it on: to the completion list of its ring, or back to the ring's cache.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        sqe as flag,
        SqeHead, //
    },
    buffers::BufferRef,
    ctx::{
        Ctx,
        CtxRef, //
    },
    files::FileRef,
    link::Tie,
    op::Op,
    pollers::Pollers,
    ring::Cqe,
    span::Span,
    sqe::SqeStart,
    sys::{
        file,
        iocb::Iocb,
        mpsc::{
            Chain,
            Linked, //
        },
        poll::Armed, //
    },
    worker::Class, //
};
use kernel::{
    cred::Credential,
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed,
        Arc, //
    }, //
};

/// A request, boxed so that it can be in a list.
pub(crate) type ReqBox = KBox<Linked<Request>>;

/// The file that a request is made on, held until it is done.
pub(crate) enum ReqFile {
    /// None.
    None,
    /// One of the submitter's descriptors.
    Normal(ARef<File>),
    /// A registered one.
    Fixed(FileRef),
    /// A ring that is polled, and not held.
    Ring(Arc<Pollers>),
}

impl ReqFile {
    /// The file.
    #[inline]
    pub(crate) fn get(&self) -> Option<&File> {
        match self {
            Self::None => None,
            Self::Normal(file) => Some(file),
            Self::Fixed(node) => Some(&node.value),
            Self::Ring(_) => None,
        }
    }
}

/// What is to be done with a request that comes out of the completion list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// Its result is set.
    Complete,
    /// It could not be done without blocking.
    Punt,
    /// What it waited for is there: it is to be tried again.
    Retry,
    /// What had to be done before it is done: it is to be issued for the first time.
    Issue,
    /// The time that it waited for has come.
    Expired,
    /// What it polls may be ready.
    Poll,
}

/// What one SQE asked for.
pub(crate) struct Request {
    /// The completion: user data from the start, the rest when it is known.
    pub(crate) cqe: Cqe,
    /// The second half of a 32-byte completion.
    pub(crate) extra: [u64; 2],
    /// What the SQE asked for, its `IOSQE_*`, and the descriptor or the index of the registered file.
    pub(crate) head: SqeHead,
    /// Index of the registered buffer.
    pub(crate) buf_index: u16,
    /// Its result is no success: what is linked to it is not to run. [`Self::set_result`] says so for
    /// errors.
    pub(crate) failed: bool,
    /// It is counted in [`RingCtx::in_background`](crate::ctx::RingCtx::in_background).
    pub(crate) in_background: bool,
    /// It was run by a worker.
    pub(crate) from_worker: bool,
    /// The submitter's pool, one more than its index in the ring's list, if the request may come back
    /// from elsewhere and need a worker then; else 0.
    pub(crate) pool: u8,
    /// How often it has waited for its file.
    pub(crate) waits: u8,
    /// What the completion list is to do with it.
    pub(crate) after: After,
    /// The ring: held so that it is there while the request is.
    pub(crate) ctx: CtxRef,
    /// The file.
    pub(crate) file: ReqFile,
    /// What it waits with if it polls; kept for the next one who uses the request.
    pub(crate) armed: Option<Arc<Armed<Request>>>,
    /// The registered buffer.
    pub(crate) buffer: Option<BufferRef>,
    /// Other credentials than the submitter's own, or the submitter's if it is not the one who runs
    /// the request.
    pub(crate) creds: Option<ARef<Credential>>,
    /// What other requests have to do with it.
    pub(crate) tie: Option<KBox<Tie>>,
    /// What is to be done.
    pub(crate) op: Op,
    /// For transfers.
    pub(crate) iocb: Iocb<Request>,
}

// Four cache lines are the limit; each opcode has to make do with its share.
static_assert!(size_of::<Linked<Request>>() <= 256);

/// The first of the codes below which no error is that user space may see.
const RESTART_CODES: i32 = -(kernel::bindings::ERESTARTSYS as i32);

/// A request cannot be restarted: others of the same submission are on their way already.
#[cold]
fn fix_restart(res: i32) -> i32 {
    let codes = [
        ERESTARTSYS,
        ERESTARTNOINTR,
        ERESTARTNOHAND,
        ERESTART_RESTARTBLOCK,
    ];
    if codes.iter().any(|code| code.to_errno() == res) {
        EINTR.to_errno()
    } else {
        res
    }
}

impl Request {
    /// A request that asks for nothing yet.
    pub(crate) fn new(ctx: CtxRef) -> Self {
        Self {
            cqe: Cqe::default(),
            extra: [0; 2],
            head: SqeHead::default(),
            buf_index: 0,
            failed: false,
            in_background: false,
            from_worker: false,
            pool: 0,
            waits: 0,
            after: After::Complete,
            ctx,
            file: ReqFile::None,
            armed: None,
            buffer: None,
            creds: None,
            tie: None,
            op: Op::Idle,
            iocb: Iocb::new(),
        }
    }

    /// Keeps what the SQE says that is the same for all opcodes.
    #[inline(always)]
    pub(crate) fn take_in(&mut self, sqe: &SqeStart) {
        self.cqe.user_data = sqe.names.user_data;
        self.head = sqe.head;
        self.buf_index = sqe.names.buf_index;
        self.extra = [0; 2];
        self.failed = false;
    }

    /// Whether no CQE is to be posted if all went well (`IOSQE_CQE_SKIP_SUCCESS`), or after a failure in its
    /// chain.
    #[inline(always)]
    pub(crate) fn skips(&self) -> bool {
        self.head.flags & flag::CQE_SKIP_SUCCESS != 0
    }

    /// Sets whether no CQE is to be posted.
    pub(crate) fn set_skips(&mut self, skips: bool) {
        self.head.flags &= !flag::CQE_SKIP_SUCCESS;
        if skips {
            self.head.flags |= flag::CQE_SKIP_SUCCESS;
        }
    }

    /// Which threads are to run it.
    pub(crate) fn class(&self) -> Class {
        let ends = match (&self.op, self.file.get()) {
            (Op::Open(_) | Op::Statx(_), _) => true,
            (_, Some(file)) => file::is_reg(file) || file::is_blk(file),
            _ => false,
        };
        if ends {
            Class::Bounded
        } else {
            Class::Unbounded
        }
    }

    /// A transfer of it that may have gone on in the background is over, and it is in somebody's hands.
    pub(crate) fn back_from_background(&mut self) {
        if core::mem::replace(&mut self.in_background, false) {
            self.ctx.in_background.fetch_sub(1, Relaxed);
        }
    }

    /// The user memory that it reads or writes from now on: a range that has all of it.
    pub(crate) fn span(&self) -> Option<Span> {
        match &self.op {
            Op::Rw(rw) => Some(rw.span()),
            Op::Statx(statx) => Some(statx.span()),
            Op::Descriptor(what) => what.span(),
            // Their arguments were read when they were submitted.
            Op::Open(_) | Op::Timeout(_) | Op::LinkTimeout(_) | Op::TimeoutChange(_) => None,
            Op::Idle | Op::Message | Op::Nop(_) | Op::Sync(_) | Op::Cancel(_) => None,
            Op::Poll(_) | Op::PollRemove(_) | Op::Manage(_) => None,
        }
    }

    /// The inode that it writes to in a way that is done by one at a time.
    pub(crate) fn hash_key(&self) -> Option<usize> {
        let file = self.file.get()?;
        let Op::Rw(rw) = &self.op else { return None };
        (rw.is_write() && file::is_reg(file) && !file::parallel_writes(file))
            .then(|| file::inode_key(file))
    }

    /// Whether nothing has to be given back when it is done, but for its tie.
    #[inline(always)]
    pub(crate) fn holds_nothing(&self) -> bool {
        matches!(self.op, Op::Nop(_) | Op::Idle)
            && matches!(self.file, ReqFile::None)
            && self.buffer.is_none()
            && self.creds.is_none()
            && self.pool == 0
    }

    /// Whether something else than its operation, its file and its buffer has to be given back.
    #[inline(always)]
    pub(crate) fn has_company(&self) -> bool {
        self.is_armed() || self.creds.is_some() || self.tie.is_some()
    }

    /// Whether a wakeup may look for it.
    #[inline(always)]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed.as_ref().is_some_and(|armed| armed.is_armed())
    }

    /// Sets what is to be done, in a request that has nothing to do yet or any more.
    #[inline(always)]
    pub(crate) fn set_op(&mut self, op: Op) {
        // Such an operation owns nothing that would have to be dropped.
        core::mem::forget(core::mem::replace(&mut self.op, op));
    }

    /// Sets the file.
    #[inline(always)]
    pub(crate) fn set_file(&mut self, file: ReqFile) {
        if matches!(self.file, ReqFile::None) {
            // The usual case: nothing has to be dropped.
            core::mem::forget(core::mem::replace(&mut self.file, file));
        } else {
            self.file = file;
        }
    }

    /// Takes the file out.
    #[inline(always)]
    pub(crate) fn take_file(&mut self) -> ReqFile {
        core::mem::replace(&mut self.file, ReqFile::None)
    }

    /// Sets the result of a request that goes no further. A provided buffer that it has goes with it, and
    /// the application is told.
    #[cold]
    pub(crate) fn set_error(&mut self, err: Error) {
        let flags = match &self.op {
            Op::Rw(rw) => rw.flags(),
            _ => 0,
        };
        self.set_result(err.to_errno(), flags);
    }

    /// Sets the result. The kernel's internal restart codes mean that a signal came in between.
    #[inline]
    pub(crate) fn set_result(&mut self, res: i32, flags: u32) {
        self.cqe.res = if res <= RESTART_CODES {
            fix_restart(res)
        } else {
            res
        };
        self.failed = res < 0;
        self.cqe.flags = flags;
    }
}

/// Requests of a ring that are not in use, so that submitting allocates nothing in the long run.
pub(crate) struct Cache {
    free: Chain<Request>,
    /// Requests that exist: in use or free.
    allocated: u32,
    /// Those that are in use.
    in_use: u32,
    /// How many may exist.
    limit: u32,
}

impl Cache {
    /// An empty cache that lets `limit` requests exist at a time.
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            free: Chain::new(),
            allocated: 0,
            in_use: 0,
            limit,
        }
    }

    /// Takes a request out, or makes one. `EAGAIN` when the limit or the memory is exhausted.
    #[inline]
    pub(crate) fn take(&mut self, ctx: &Ctx) -> Result<ReqBox> {
        let req = match self.free.pop() {
            Some(req) => req,
            None => self.allocate(ctx)?,
        };
        self.in_use = self.in_use.wrapping_add(1);
        Ok(req)
    }

    #[cold]
    fn allocate(&mut self, ctx: &Ctx) -> Result<ReqBox> {
        if self.allocated >= self.limit {
            return Err(EAGAIN);
        }
        let req = Request::new(ctx.get());
        let req = Linked::new(req, GFP_KERNEL_ACCOUNT).map_err(|_| EAGAIN)?;
        self.allocated += 1;
        Ok(req)
    }

    /// Puts a request back whose work is done.
    #[inline]
    pub(crate) fn put(&mut self, req: ReqBox) {
        self.in_use = self.in_use.wrapping_sub(1);
        self.free.push(req);
    }

    /// Frees what is not in use; each one lets go of the ring.
    pub(crate) fn clear(&mut self) {
        while let Some(req) = self.free.pop() {
            self.allocated -= 1;
            drop(req);
        }
    }

    /// Requests that are in use.
    pub(crate) fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Requests that exist, in use or free; and how many may.
    pub(crate) fn usage(&self) -> (u32, u32) {
        (self.allocated, self.limit)
    }
}
