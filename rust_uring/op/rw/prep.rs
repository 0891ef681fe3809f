// SPDX-License-Identifier: GPL-2.0

//! What a read or write is to do, and what of it is done.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        op,
        Sqe, //
    },
    ctx::State,
    kbuf::{
        Choice,
        Chosen,
        Held, //
    },
    request::Request,
    span::Span,
    sys::{
        abi_types as c,
        file,
        iocb::{
            Iocb,
            Pi, //
        },
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

impl Memory {
    #[inline]
    pub(super) fn pieces(&self) -> Pieces {
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
        nowait: false,
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

    /// Finds the pieces in the buffer, if it is about pieces and that was not done yet.
    ///
    /// `EFAULT` for what is not in the buffer, `EINVAL` for too much, `EOVERFLOW`, `ENOMEM`.
    pub(super) fn gather(&mut self, buffer: Option<&PinnedBuffer>) -> Result {
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
    pub(super) fn done(&self) -> usize {
        // CAST: Widening.
        self.done as usize
    }

    /// Bytes that are still to be transferred.
    pub(super) fn left(&self) -> usize {
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
