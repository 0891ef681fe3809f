// SPDX-License-Identifier: GPL-2.0

//! Descriptors: `OPENAT`, `OPENAT2`, `CLOSE`, `FIXED_FD_INSTALL`, `FILES_UPDATE`, and `STATX`, which
//! names files in the same way.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        op,
        OpenHow,
        Sqe, //
    },
    ctx::{
        Ctx,
        State, //
    },
    files,
    op::{
        Issued,
        Op,
        Run, //
    },
    request::{
        ReqBox,
        ReqFile,
        Request, //
    },
    span::Span,
    sys::{
        abi_types as c,
        file,
        path::{
            self,
            Path, //
        },
        ring_file,
        uaccess, //
    }, //
};
use kernel::{
    bindings,
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

/// `IORING_FILE_INDEX_ALLOC`: we choose the slot.
const ALLOC: u32 = !0;

/// An open that has not happened yet.
pub(crate) struct Open {
    path: Path,
    /// Looked at when the file is to be opened, see [`check`].
    how: OpenHow,
    /// Slot of the file table, one more than its index; `ALLOC`; or 0 for a descriptor.
    slot: u32,
}

/// A `statx(2)`.
pub(crate) struct Statx {
    path: Path,
    flags: u32,
    mask: u32,
    buffer: u64,
}

/// What is done at once by the submitter, because it is about its descriptors or the ring's table.
#[derive(Clone, Copy)]
pub(crate) enum Descriptor {
    /// Closes a descriptor.
    Close(i32),
    /// Empties a slot.
    CloseSlot(u32),
    /// Gives the registered file a descriptor, with these flags.
    Install(u32),
    /// Offset, user address and number of files.
    Update(u32, u64, u32),
}

/// Finds the directory of a path: where the SQE says, if the path does not begin at the root. `EBADF`.
pub(crate) fn assign_directory(req: &mut Request, fd: i32) -> Result {
    let root = match &req.op {
        Op::Open(open) => open.path.is_absolute() && !open.resolves(c::RESOLVE_IN_ROOT),
        Op::Statx(statx) => statx.path.is_absolute(),
        _ => return Ok(()),
    };
    if fd != bindings::AT_FDCWD && !root {
        req.file = ReqFile::Normal(path::fget(fd)?);
    }
    Ok(())
}

/// `OPENAT` and `OPENAT2`. `EBADF` with a registered file, `EINVAL`, `EFAULT`, `ENOENT`,
/// `ENAMETOOLONG`, `E2BIG`. Flags that do not fit are found when the file is to be opened.
pub(crate) fn prep_open(sqe: &Sqe, fixed: bool) -> Result<Op> {
    let how = if sqe.opcode == op::OPENAT2 {
        let len = sqe.len as usize;
        // The first version of the structure.
        if len < size_of::<OpenHow>() {
            return Err(EINVAL);
        }
        uaccess::read_sized(sqe.off, len)?
    } else {
        let mut how: OpenHow = uaccess::zeroed();
        how.flags = u64::from(sqe.op_flags & bindings::VALID_OPEN_FLAGS);
        if has(&how, bindings::O_PATH) {
            how.flags &= u64::from(PATH_FLAGS);
        }
        if has(&how, bindings::O_CREAT | O_TMPFILE) {
            how.mode = u64::from(sqe.len) & 0o7777;
        }
        how
    };
    if sqe.buf_index != 0 {
        return Err(EINVAL);
    }
    if fixed {
        return Err(EBADF);
    }
    let path = Path::from_user(sqe.addr, false)?;
    if sqe.file_index != 0 && has(&how, bindings::O_CLOEXEC) {
        return Err(EINVAL);
    }
    let open = Open {
        path,
        how,
        slot: sqe.file_index,
    };
    Ok(Op::Open(KBox::new(open, GFP_KERNEL_ACCOUNT)?))
}

/// Whether one of these `O_*` flags is set.
fn has(how: &OpenHow, flags: u32) -> bool {
    how.flags & u64::from(flags) != 0
}

/// Whether the parts of it fit together: `EINVAL`. `EAGAIN` for what caches alone never can do.
///
/// Stands for `build_open_flags()`, but for `OPENAT2_REGULAR` with `O_CREAT`: a module can look at what
/// is there before it is opened, and not while it is created.
fn check(how: &OpenHow) -> Result {
    let (create, dir) = (has(how, bindings::O_CREAT), has(how, bindings::O_DIRECTORY));
    let tmpfile = has(how, O_TMPFILE);
    let known = if has(how, bindings::O_PATH) {
        u64::from(PATH_FLAGS)
    } else if create || dir {
        u64::from(bindings::VALID_OPEN_FLAGS)
    } else {
        u64::from(bindings::VALID_OPEN_FLAGS) | REGULAR
    };
    let modes = if create || tmpfile { 0o7777 } else { 0 };
    let scopes = u64::from(c::RESOLVE_BENEATH | c::RESOLVE_IN_ROOT);
    if how.flags & !known != 0
        || how.mode & !modes != 0
        || how.resolve & !u64::from(RESOLVE) != 0
        || how.resolve & scopes == scopes
        || create && dir
        || tmpfile && !(dir && has(how, bindings::O_ACCMODE))
    {
        return Err(EINVAL);
    }
    let changes = create || tmpfile || has(how, bindings::O_TRUNC);
    if changes && how.resolve & u64::from(c::RESOLVE_CACHED) != 0 {
        return Err(EAGAIN);
    }
    Ok(())
}

/// What `O_PATH` goes together with.
const PATH_FLAGS: u32 = bindings::O_PATH
    | bindings::O_DIRECTORY
    | bindings::O_NOFOLLOW
    | bindings::O_CLOEXEC
    | bindings::O_EMPTYPATH;

/// `OPENAT2_REGULAR`.
const REGULAR: u64 = 1 << 32;

/// All that restrict how a path is resolved.
const RESOLVE: u32 = c::RESOLVE_NO_XDEV
    | c::RESOLVE_NO_MAGICLINKS
    | c::RESOLVE_NO_SYMLINKS
    | c::RESOLVE_BENEATH
    | c::RESOLVE_IN_ROOT
    | c::RESOLVE_CACHED;

/// `__O_TMPFILE`; the other bit of `O_TMPFILE` asks for a directory.
const O_TMPFILE: u32 = bindings::__O_TMPFILE;

/// `STATX`. `EBADF` with a registered file, `EINVAL`, `EFAULT`, `ENOENT`, `ENAMETOOLONG`.
pub(crate) fn prep_statx(sqe: &Sqe, fixed: bool) -> Result<Op> {
    if sqe.buf_index != 0 || sqe.file_index != 0 {
        return Err(EINVAL);
    }
    if fixed {
        return Err(EBADF);
    }
    let empty_ok = sqe.op_flags & bindings::AT_EMPTY_PATH != 0;
    let path = Path::from_user(sqe.addr, empty_ok)?;
    let statx = Statx {
        path,
        flags: sqe.op_flags,
        mask: sqe.len,
        buffer: sqe.off,
    };
    Ok(Op::Statx(KBox::new(statx, GFP_KERNEL_ACCOUNT)?))
}

/// `CLOSE`, `FIXED_FD_INSTALL` and `FILES_UPDATE`. `EINVAL`, `EBADF` for a registered file where none is
/// meant or the other way round, `EPERM` for an install with other credentials.
pub(crate) fn prep_descriptor(req: &Request, sqe: &Sqe, fixed: bool) -> Result<Op> {
    let clean = sqe.off == 0 && sqe.addr == 0 && sqe.len == 0 && sqe.buf_index == 0;
    let what = match sqe.opcode {
        op::CLOSE => {
            if !clean || sqe.op_flags != 0 {
                return Err(EINVAL);
            }
            if fixed {
                return Err(EBADF);
            }
            match (sqe.file_index, sqe.fd) {
                (0, fd) => Descriptor::Close(fd),
                (slot, 0) => Descriptor::CloseSlot(slot),
                _ => return Err(EINVAL),
            }
        }
        op::FIXED_FD_INSTALL => {
            if !clean || sqe.file_index != 0 || sqe.addr3 != 0 {
                return Err(EINVAL);
            }
            if !fixed {
                return Err(EBADF);
            }
            if sqe.op_flags & !c::IORING_FIXED_FD_NO_CLOEXEC != 0 {
                return Err(EINVAL);
            }
            if req.creds.is_some() {
                return Err(EPERM);
            }
            let keep = sqe.op_flags & c::IORING_FIXED_FD_NO_CLOEXEC != 0;
            Descriptor::Install(if keep { 0 } else { bindings::O_CLOEXEC })
        }
        _ => {
            if fixed || sqe.op_flags != 0 || sqe.file_index != 0 || sqe.len == 0 {
                return Err(EINVAL);
            }
            // CAST: The lower half, as natively.
            Descriptor::Update(sqe.off as u32, sqe.addr, sqe.len)
        }
    };
    Ok(Op::Descriptor(what))
}

impl Statx {
    /// The user memory that the result goes to.
    pub(crate) fn span(&self) -> Span {
        // CAST: Widening.
        Span::new(self.buffer, size_of::<bindings::statx>() as u64)
    }
}

impl Descriptor {
    /// Whether it is about a slot only, and no descriptor.
    pub(crate) fn is_slot(&self) -> bool {
        matches!(self, Self::CloseSlot(_))
    }

    /// The user memory that it reads and writes, if it does.
    pub(crate) fn span(&self) -> Option<Span> {
        match *self {
            Self::Update(_, fds, nr) => {
                Some(Span::new(fds, u64::from(nr) * size_of::<i32>() as u64))
            }
            Self::Close(_) | Self::CloseSlot(_) | Self::Install(_) => None,
        }
    }
}

impl Open {
    /// Opens the file; `at_once` or not at all. Context: may sleep.
    fn open(&self, dir: Option<&File>, at_once: bool) -> Result<ARef<File>> {
        check(&self.how)?;
        path::open(dir, &self.path, &self.how, at_once)
    }

    /// Whether this `RESOLVE_*` flag is set.
    fn resolves(&self, flag: u32) -> bool {
        self.how.resolve & u64::from(flag) != 0
    }

    /// The flags of its descriptor.
    fn fd_flags(&self) -> u32 {
        if has(&self.how, bindings::O_CLOEXEC) {
            bindings::O_CLOEXEC
        } else {
            0
        }
    }

    fn slot(&self) -> Option<u32> {
        (self.slot != ALLOC).then_some(self.slot)
    }
}

/// An open by its submitter: only if that does not have to wait.
pub(crate) fn issue_open(ctx: &Ctx, state: &mut State, mut req: ReqBox) -> Issued {
    let Op::Open(open) = &req.op else {
        return Issued::Done(req);
    };
    let dir = req.file.get();
    let changes = bindings::O_CREAT | bindings::O_TRUNC | O_TMPFILE;
    if has(&open.how, changes) || !path::is_cached(dir, &open.path, open.how.resolve) {
        return Issued::Block(req);
    }
    let _creds = req.creds.as_ref().map(crate::sys::cred::Overridden::new);
    let file = open.open(dir, true);
    let patient = !has(&open.how, bindings::O_NONBLOCK) && !open.resolves(c::RESOLVE_CACHED);
    if patient && matches!(file, Err(err) if err == EAGAIN) {
        return Issued::Block(req);
    }
    let result = file.and_then(|file| match open.slot {
        0 => path::install(file, open.fd_flags()),
        _ => files::install(ctx, state, file, open.slot()),
    });
    req.set_result(result.unwrap_or_else(|err| err.to_errno()), 0);
    Issued::Done(req)
}

/// The same if nobody else can do it: waits for what is not cached, and not for leases or for the other end
/// of a pipe. Context: may sleep, in the submitter.
pub(crate) fn run_here(ctx: &Ctx, state: &mut State, mut req: ReqBox) -> ReqBox {
    let dir = req.file.get();
    let result = match &req.op {
        Op::Statx(s) => path::statx(dir, &s.path, s.flags, s.mask, s.buffer).map(|()| 0),
        Op::Open(open) => open.open(dir, true).and_then(|file| match open.slot {
            0 => path::install(file, open.fd_flags()),
            _ => files::install(ctx, state, file, open.slot()),
        }),
        _ => Err(EINVAL),
    };
    req.set_result(result.unwrap_or_else(|err| err.to_errno()), 0);
    req
}

/// An open or a `statx(2)` by a worker.
pub(crate) fn run(mut req: ReqBox) -> Run {
    let dir = req.file.get();
    let result = match &req.op {
        Op::Statx(s) => path::statx(dir, &s.path, s.flags, s.mask, s.buffer).map(|()| 0),
        Op::Open(open) => open.open(dir, false).and_then(|file| match open.slot {
            0 => path::install(file, open.fd_flags()),
            _ => {
                let ctx = &req.ctx;
                files::install(ctx, &mut ctx.state.lock(), file, open.slot())
            }
        }),
        _ => Err(EINVAL),
    };
    req.set_result(result.unwrap_or_else(|err| err.to_errno()), 0);
    Run::Done(req)
}

/// What is about descriptors and slots. Context: may sleep, in the submitter.
pub(crate) fn issue_descriptor(
    ctx: &Ctx,
    state: &mut State,
    what: Descriptor,
    mut req: ReqBox,
) -> Issued {
    let result = match what {
        Descriptor::Close(fd) => close(fd),
        Descriptor::CloseSlot(slot) => files::remove(ctx, state, slot.wrapping_sub(1)).map(|()| 0),
        Descriptor::Install(flags) => match req.file.get() {
            Some(file) => path::receive(file, flags),
            None => Err(EBADF),
        },
        Descriptor::Update(ALLOC, fds, nr) => files::update_free(ctx, state, fds, nr),
        Descriptor::Update(offset, fds, nr) => files::update(ctx, state, offset, fds, 0, nr),
    };
    req.set_result(result.unwrap_or_else(|err| err.to_errno()), 0);
    Issued::Done(req)
}

/// The same in a worker, which shares the descriptors of who submitted it. Context: may sleep.
pub(crate) fn run_descriptor(what: Descriptor, mut req: ReqBox) -> Run {
    let ctx = req.ctx.clone();
    let mut state = ctx.state.lock();
    if let (Descriptor::Close(fd), Some(tie)) = (what, &req.tie) {
        let result = close_for_other(&mut state, fd, tie.pool);
        req.set_result(result.map_or_else(|err| err.to_errno(), |()| 0), 0);
        return Run::Done(req);
    }
    match issue_descriptor(&ctx, &mut state, what, req) {
        Issued::Done(req) | Issued::DoneLater(req) | Issued::Block(req) => Run::Done(req),
        Issued::Gone => Run::Gone,
    }
}

/// Closes a descriptor in a worker. `EBADF`, `ENOMEM`.
///
/// The process may still be in the call on the ring that made its first worker, and has no reference of
/// its own to the file of that call. So the file is held until the process is seen in a call on the ring:
/// then it is in no other one.
fn close_for_other(state: &mut State, fd: i32, pool: u8) -> Result {
    let held = path::fget(fd)?;
    if ring_file::data::<crate::ctx::Ring>(&held).is_some() {
        return Err(EBADF);
    }
    state.closed.reserve(1, GFP_KERNEL_ACCOUNT)?;
    let result = path::close(fd);
    // There is room by the reservation above.
    let _ = state.closed.push_within_capacity((pool, held));
    result
}

/// Closes a descriptor, unless it is a ring. `EBADF`.
fn close(fd: i32) -> Result<i32> {
    let held = path::fget(fd)?;
    if ring_file::data::<crate::ctx::Ring>(&held).is_some() {
        return Err(EBADF);
    }
    let result = path::close(fd).map(|()| 0);
    file::put(held);
    result
}
