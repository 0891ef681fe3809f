// SPDX-License-Identifier: GPL-2.0

//! `/dev/rust_uring` and the ring files: from file operations to the three calls.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        ioctl,
        EnterArg,
        EnterFlag,
        EnterFlags,
        RegisterArg,
        SetupArg, //
    },
    ctx::{
        Ctx,
        Ring, //
    },
    enter,
    fdinfo,
    globals::Globals,
    register,
    setup,
    sys::{
        device::Device,
        ring_file::{
            self,
            RingFile, //
        },
        task,
        uaccess,
        wait::PollCall, //
    }, //
};
use kernel::{
    fs::File,
    ioctl::{
        _IOC_NR,
        _IOC_SIZE,
        _IOC_TYPE, //
    },
    mm::virt::VmaNew,
    page::PAGE_SHIFT,
    prelude::*,
    seq_file::SeqFile,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

/// The device: rings are set up here, and named by descriptor or registered index.
pub(crate) struct UringDevice {
    pub(crate) globals: Arc<Globals>,
}

impl Device for UringDevice {
    const NAME: &'static CStr = c"rust_uring";

    fn ioctl(&self, file: &File, cmd: u32, arg: usize) -> Result<isize> {
        // A ring's thread that is set up by this call can close any descriptor, also this one.
        let _held = (_IOC_NR(cmd) == ioctl::SETUP).then(|| ARef::from(file));
        dispatch(&self.globals, None, cmd, arg)
    }
}

/// The argument of a call, in the caller's version. `ENOTTY` if it is not ours, `EINVAL` if it is
/// shorter than the first version.
fn argument<T: uaccess::Pod>(cmd: u32, arg: usize) -> Result<T> {
    let size = _IOC_SIZE(cmd);
    if size < size_of::<T>() {
        return Err(EINVAL);
    }
    uaccess::read_sized(arg as u64, size)
}

/// One ioctl. `ring` is the ring it was issued on, if it was not the device.
#[inline]
fn dispatch(
    globals: &Arc<Globals>,
    ring: Option<(&Ring, &File)>,
    cmd: u32,
    arg: usize,
) -> Result<isize> {
    if _IOC_TYPE(cmd) != ioctl::MAGIC {
        return Err(ENOTTY);
    }
    match (_IOC_NR(cmd), ring) {
        (ioctl::ENTER_PACKED, Some((ring, _))) => {
            // The word of a 32-bit program has no room for it.
            if task::in_compat_syscall() {
                return Err(EINVAL);
            }
            Ok(enter_packed(&ring.ctx, arg as u64)? as isize)
        }
        (ioctl::ENTER, _) => do_enter(globals, ring, &argument(cmd, arg)?),
        (ioctl::REGISTER, _) => do_register(globals, ring, &argument(cmd, arg)?),
        (ioctl::SETUP, None) => {
            let setup: SetupArg = argument(cmd, arg)?;
            if setup.resv != 0 {
                return Err(EINVAL);
            }
            Ok(setup::setup(globals, setup.entries, setup.params)? as isize)
        }
        _ => Err(ENOTTY),
    }
}

/// The plain form of ENTER: everything is in one word.
#[inline]
fn enter_packed(ctx: &Ctx, word: u64) -> Result<u32> {
    const MASK: u64 = (1 << 24) - 1;
    let flags = EnterFlags::from_user((word >> 48) as u32)?;
    let plain = EnterFlag::Getevents
        | EnterFlag::SqWakeup
        | EnterFlag::SqWait
        | EnterFlags::from(EnterFlag::NoIowait);
    if !plain.contains_all(flags) {
        return Err(EINVAL);
    }
    let call = enter::Call {
        // CAST: 24 bits each.
        to_submit: (word & MASK) as u32,
        min_complete: (word >> 24 & MASK) as u32,
        flags,
        argp: 0,
        argsz: 0,
    };
    enter::enter(ctx, &call)
}

/// A ring that a call names, held for the time of the call.
enum Named<'a> {
    /// The one that the ioctl was issued on.
    This(&'a Ring),
    /// Another one.
    Other(ARef<File>),
}

impl Named<'_> {
    /// `EOPNOTSUPP` if it is no ring of ours.
    fn ctx(&self) -> Result<&Ctx> {
        match self {
            Named::This(ring) => Ok(&ring.ctx),
            Named::Other(file) => Ok(&ring_file::data::<Ring>(file).ok_or(EOPNOTSUPP)?.ctx),
        }
    }
}

/// Finds the ring that a call names. `EBADF`, `EINVAL`.
fn named<'a>(
    globals: &Globals,
    ring: Option<(&'a Ring, &File)>,
    fd: i32,
    registered: bool,
) -> Result<Named<'a>> {
    // CAST: A negative descriptor is one that does not exist, a negative index is too large.
    if registered {
        return Ok(Named::Other(globals.ring_fds.get(fd as u32)?));
    }
    match ring {
        Some((ring, _)) if fd == -1 => Ok(Named::This(ring)),
        Some((ring, this)) => {
            let file = ring_file::fget(fd as u32)?;
            if !core::ptr::eq(file.as_ptr(), this.as_ptr()) {
                return Err(EINVAL);
            }
            Ok(Named::This(ring))
        }
        None => Ok(Named::Other(ring_file::fget(fd as u32)?)),
    }
}

fn do_enter(globals: &Globals, ring: Option<(&Ring, &File)>, arg: &EnterArg) -> Result<isize> {
    let flags = EnterFlags::from_user(arg.flags)?;
    let named = named(
        globals,
        ring,
        arg.fd,
        flags.contains(EnterFlag::RegisteredRing),
    )?;
    let call = enter::Call {
        to_submit: arg.to_submit,
        min_complete: arg.min_complete,
        flags,
        argp: arg.argp,
        argsz: arg.argsz,
    };
    Ok(enter::enter(named.ctx()?, &call)? as isize)
}

fn do_register(
    globals: &Arc<Globals>,
    ring: Option<(&Ring, &File)>,
    arg: &RegisterArg,
) -> Result<isize> {
    if arg.resv != 0 {
        return Err(EINVAL);
    }
    let registered = arg.opcode & abi::reg::USE_REGISTERED_RING != 0;
    let call = register::Call {
        opcode: arg.opcode & !abi::reg::USE_REGISTERED_RING,
        arg: arg.arg,
        nr_args: arg.nr_args,
    };
    if call.opcode >= abi::reg::LAST && call.opcode != abi::reg::RELEASE {
        return Err(EINVAL);
    }
    if ring.is_none() && arg.fd == -1 {
        return Ok(register::register_blind(globals, &call)? as isize);
    }
    let named = named(globals, ring, arg.fd, registered)?;
    Ok(register::register(named.ctx()?, &call)? as isize)
}

/// The group of provided buffers whose memory is to be mapped. `EINVAL` for a number that none can have.
fn group(offset: u64) -> Result<u16> {
    let number = (offset & !abi::mmap::MASK) >> abi::mmap::PBUF_SHIFT;
    u16::try_from(number).map_err(|_| EINVAL)
}

impl RingFile for Ring {
    const NAME: &'static CStr = c"[rust_uring]";

    #[inline]
    fn ioctl(&self, file: &File, cmd: u32, arg: usize) -> Result<isize> {
        dispatch(&self.ctx.globals, Some((self, file)), cmd, arg)
    }

    #[inline]
    fn advise(&self, offset: i64, len: i64, advice: i32) -> Option<Result<i32>> {
        // That could also come from a request: then it is advice that nobody knows.
        if advice != ioctl::ADVICE_ENTER || !task::is_user_thread() {
            return None;
        }
        if len != 0 {
            return Some(Err(EINVAL));
        }
        // CAST: Same bits; and never more than 24 bits.
        Some(enter_packed(&self.ctx, offset as u64).map(|submitted| submitted as i32))
    }

    fn poll<'a>(&'a self, call: &PollCall<'a>) -> u32 {
        self.ctx.pollers.poll(call)
    }

    fn mmap(&self, vma: &VmaNew, offset: u64) -> Result {
        let mappings = self.ctx.mappings.lock();
        match offset & abi::mmap::MASK {
            abi::mmap::SQ_RING | abi::mmap::CQ_RING => {
                let rings = mappings.rings.clone();
                drop(mappings);
                rings
                    .ring
                    .mmap(vma, (vma.end() - vma.start()) >> PAGE_SHIFT)
            }
            abi::mmap::SQES => {
                let rings = mappings.rings.clone();
                drop(mappings);
                rings.sqe_memory.mmap(vma, usize::MAX)
            }
            abi::mmap::PARAM_REGION => {
                let param = mappings.param.clone().ok_or(EINVAL)?;
                drop(mappings);
                param.region.mmap(vma, usize::MAX)
            }
            abi::mmap::PBUF_RING => {
                let region = mappings.kbufs.get(&group(offset)?).ok_or(EINVAL)?.clone();
                drop(mappings);
                region.mmap(vma, usize::MAX)
            }
            _ => Err(EINVAL),
        }
    }

    fn can_mmap(&self, offset: u64) -> Result {
        let mappings = self.ctx.mappings.lock();
        let user_memory = match offset & abi::mmap::MASK {
            abi::mmap::SQ_RING | abi::mmap::CQ_RING => mappings.rings.ring.is_user(),
            abi::mmap::SQES => mappings.rings.sqe_memory.is_user(),
            abi::mmap::PARAM_REGION => mappings.param.as_ref().ok_or(EINVAL)?.region.is_user(),
            abi::mmap::PBUF_RING => {
                let region = mappings.kbufs.get(&group(offset)?);
                region.ok_or(EINVAL)?.is_user()
            }
            _ => return Err(EINVAL),
        };
        if user_memory {
            Err(EINVAL)
        } else {
            Ok(())
        }
    }

    fn flush(&self) {
        // A program that executes another one loses its registered rings, as natively.
        if task::in_execve() {
            self.ctx.globals.ring_fds.forget_program();
        }
    }

    fn show_fdinfo(&self, m: &SeqFile) {
        fdinfo::show(&self.ctx, m);
    }

    fn release(this: Pin<KBox<Self>>) {
        Ring::retire(this);
    }
}
