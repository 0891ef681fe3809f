// SPDX-License-Identifier: GPL-2.0

//! What a read or write is to do, and what of it is done.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        op,
        SqeAddresses,
        SqeRest, //
    },
    ctx::State,
    kbuf::{
        Choice,
        Chosen,
        Held, //
    },
    op::Op,
    request::Request,
    span::Span,
    sqe::SqeStart,
    sys::{
        abi_types as c,
        file,
        iocb::Pi,
        iter::{
            self,
            Iter,
            Segments,
            MAX_RW_COUNT, //
        },
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
    sync::Arc, //
};

/// Where the data is.
#[derive(Clone)]
pub(super) enum Memory {
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
pub(super) enum Pieces {
    /// There is just one.
    One,
    User(Arc<Segments>),
    Fixed(Arc<Gathered>),
}

/// A read or a write. Position, I/O priority and write stream are in its [`Iocb`].
pub(crate) struct Rw {
    pub(super) addr: u64,
    pub(super) len: usize,
    /// Bytes transferred by earlier tries.
    pub(super) done: u32,
    pub(super) memory: Memory,
    pub(super) flags: u32,
    pub(super) write: bool,
    /// The file's own position is meant, if it has one.
    pub(super) own_pos: bool,
    /// The file was asked to do it.
    pub(super) tried: bool,
    /// It is never to block, not even in a worker.
    pub(super) nowait: bool,
    /// Protection information of the whole.
    pub(super) pi: Option<KBox<Pi>>,
}

/// Makes the request a transfer. `EINVAL`, `EPERM` for an I/O priority that is not allowed; `EFAULT`, `ENOMEM`.
#[inline(always)]
pub(crate) fn prep(state: &mut State, req: &mut Request, sqe: &SqeStart) -> Result {
    let SqeAddresses { off, addr } = sqe.addresses(&state.rings);
    let SqeRest { addr3, pad2 } = sqe.rest(&state.rings);
    let opcode = sqe.head.opcode;
    let write = matches!(
        opcode,
        op::WRITE | op::WRITEV | op::WRITE_FIXED | op::WRITEV_FIXED
    );
    let ioprio = match sqe.head.ioprio {
        0 => state.ioprio(),
        ioprio => {
            file::check_ioprio(ioprio)?;
            ioprio
        }
    };
    let mut pi = None;
    if pad2 != 0 {
        pi = Some(prep_pi(pad2, addr3, write)?);
    }
    // CAST: Widening; more than `MAX_RW_COUNT` is never transferred at once.
    let mut len = sqe.options.len as usize;
    let chooses = sqe.head.flags & abi::sqe::BUFFER_SELECT != 0;
    let memory = match opcode {
        op::READ | op::WRITE if !chooses => {
            len = len.min(MAX_RW_COUNT);
            if !uaccess::is_user(addr, len) {
                return Err(EFAULT);
            }
            Memory::User
        }
        op::READ_FIXED | op::WRITE_FIXED => Memory::Fixed,
        _ if chooses => {
            len = asked(sqe, addr)?;
            Memory::Chosen(Choice {
                group: sqe.names.buf_index,
                multishot: opcode == op::READ_MULTISHOT,
                held: Held::No,
            })
        }
        op::READ_MULTISHOT => return Err(EINVAL),
        _ => prep_pieces(opcode, addr, &mut len)?,
    };
    // CAST: Same bits; and the lowest byte of the field.
    req.iocb
        .describe(off as i64, ioprio, sqe.names.file_index as u8);
    req.set_op(Op::Rw(Rw {
        addr,
        len,
        done: 0,
        memory,
        flags: sqe.options.op_flags,
        write,
        own_pos: off == u64::MAX,
        tried: false,
        nowait: false,
        pi,
    }));
    Ok(())
}

/// The vectored ones: `len` pieces at `addr`; afterwards it is their length, if that is known. `EINVAL`,
/// `EFAULT`, `ENOMEM`.
#[cold]
fn prep_pieces(opcode: u8, addr: u64, len: &mut usize) -> Result<Memory> {
    // CAST: It was one.
    let nr = *len as u32;
    if matches!(opcode, op::READV | op::WRITEV) {
        let segments = Segments::import(addr, nr)?;
        *len = segments.len();
        return Ok(Memory::Vector(Arc::new(segments, GFP_KERNEL_ACCOUNT)?));
    }
    let pieces = iter::read_pieces(addr, nr)?;
    Ok(Memory::FixedPieces(Arc::new(pieces, GFP_KERNEL_ACCOUNT)?))
}

/// How much is asked for of a buffer that is yet to be chosen; 0 for all that it has. `EINVAL`, `EFAULT`.
#[cold]
fn asked(sqe: &SqeStart, addr: u64) -> Result<usize> {
    let len = sqe.options.len;
    match sqe.head.opcode {
        op::READV if len != 1 => Err(EINVAL),
        op::READV => {
            let pieces = iter::read_pieces(addr, 1)?;
            let len = pieces.first().map_or(0, |(_, len)| *len);
            // CAST: What does not fit is cut off, as natively.
            Ok(len as u32 as usize)
        }
        op::READ_MULTISHOT if addr != 0 || len != 0 => Err(EINVAL),
        // CAST: Widening.
        _ => Ok(len as usize),
    }
}

/// The attributes that `mask` says are at user address `attr`. `EFAULT`, `EINVAL`, `ENOMEM`.
#[cold]
fn prep_pi(mask: u64, attr: u64, write: bool) -> Result<KBox<Pi>> {
    if mask != u64::from(c::IORING_RW_ATTR_FLAG_PI) {
        return Err(EINVAL);
    }
    let attr = uaccess::read::<c::io_uring_attr_pi>(attr)?;
    if attr.rsvd != 0 {
        return Err(EINVAL);
    }
    // CAST: Widening.
    let len = (attr.len as usize).min(MAX_RW_COUNT);
    Iter::empty().set_user(write, attr.addr, len)?;
    let pi = Pi {
        flags: attr.flags,
        app_tag: attr.app_tag,
        seed: attr.seed,
        addr: attr.addr,
        len: attr.len,
    };
    Ok(KBox::new(pi, GFP_KERNEL_ACCOUNT)?)
}

/// Whether it can be used with this file, through which the page cache has to be bypassed. `EINVAL`,
/// `EOPNOTSUPP`.
pub(super) fn check_pi(file: &File) -> Result {
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

    /// Whether it is never to block, not even in a worker. Known once it was tried.
    pub(crate) fn is_nowait(&self) -> bool {
        self.nowait
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

    /// Whether it is about user memory in one piece, and no provided buffer.
    #[inline(always)]
    pub(super) fn is_simple(&self) -> bool {
        matches!(self.memory, Memory::User)
    }

    /// What has to be kept while it is used. Finds the pieces in the buffer, if it is about pieces and that
    /// was not done yet.
    ///
    /// `EFAULT` for what is not in the buffer, `EINVAL` for too much, `EOVERFLOW`, `ENOMEM`.
    #[inline]
    pub(super) fn pieces(&mut self, buffer: Option<&PinnedBuffer>) -> Result<Pieces> {
        if let Memory::FixedPieces(_) = &self.memory {
            self.gather(buffer)?;
        }
        Ok(match &self.memory {
            Memory::Vector(segments) => Pieces::User(segments.clone()),
            Memory::FixedVector(gathered) => Pieces::Fixed(gathered.clone()),
            Memory::User | Memory::Chosen(_) | Memory::Fixed | Memory::FixedPieces(_) => {
                Pieces::One
            }
        })
    }

    #[cold]
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

    /// Sets an iterator to what is still to be done. `EFAULT`.
    #[inline]
    pub(super) fn set_iter<'a>(
        &self,
        iter: &mut Iter<'a>,
        pieces: &'a Pieces,
        buffer: Option<&'a PinnedBuffer>,
    ) -> Result {
        match (pieces, buffer) {
            (Pieces::One, None) if !self.is_fixed() => {
                iter.set_user(self.write, self.at(), self.left())
            }
            (Pieces::One, Some(buffer)) => {
                iter.set_pinned(self.write, buffer, self.at(), self.left())
            }
            (Pieces::User(segments), _) => {
                iter.set_segments(self.write, segments, self.done());
                Ok(())
            }
            (Pieces::Fixed(gathered), Some(buffer)) => {
                iter.set_gathered(self.write, buffer, gathered, self.done())
            }
            _ => Err(EFAULT),
        }
    }

    /// Whether this result is all that was asked for, done in one go, and there is nothing to be seen to: the
    /// usual case.
    #[inline(always)]
    pub(super) fn is_whole(&self, result: isize) -> bool {
        let chosen = matches!(self.memory, Memory::Chosen(_));
        // CAST: No negative result is a length.
        result as usize == self.len && self.done == 0 && !self.own_pos && !chosen
    }

    /// Where the next byte goes to or comes from.
    #[inline]
    pub(super) fn at(&self) -> u64 {
        self.addr.wrapping_add(u64::from(self.done))
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
    pub(super) fn done(&self) -> usize {
        // CAST: Widening.
        self.done as usize
    }

    /// Bytes that are still to be transferred.
    pub(super) fn left(&self) -> usize {
        self.len.wrapping_sub(self.done())
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
    pub(super) fn is_short(&self, res: isize) -> bool {
        usize::try_from(res) != Ok(self.left())
    }

    /// The result of the whole: what earlier tries did counts.
    pub(super) fn total(&self, res: isize) -> i32 {
        // CAST: `MAX_RW_COUNT` fits.
        match self.done() as isize {
            0 => res as i32,
            done if res < 0 => done as i32,
            done => (done + res) as i32,
        }
    }
}
