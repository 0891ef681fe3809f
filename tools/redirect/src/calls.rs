// SPDX-License-Identifier: GPL-2.0

//! The three calls, as ioctls of the device or of a ring.

use crate::{
    config::{
        self,
        Mode, //
    },
    raw::{
        self,
        errno,
        nr,
        sys, //
    },
    report, //
};
use core::sync::atomic::{
    AtomicIsize,
    AtomicU64,
    Ordering::Relaxed, //
};

/// Which of the three.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
pub(crate) enum Which {
    Setup,
    Enter,
    Register,
}

/// How a call came here.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Via {
    /// `syscall(3)`
    Function,
    /// The filter and SIGSYS
    Trap,
}

/// A call of the program.
pub(crate) struct Call {
    pub(crate) which: Which,
    pub(crate) args: [usize; 6],
}

impl Call {
    /// `None` if the number is that of another system call.
    #[inline]
    pub(crate) fn new(number: usize, args: [usize; 6]) -> Option<Self> {
        let which = match number {
            nr::URING_SETUP => Which::Setup,
            nr::URING_ENTER => Which::Enter,
            nr::URING_REGISTER => Which::Register,
            _ => return None,
        };
        Some(Self { which, args })
    }

    pub(crate) fn is_setup(&self) -> bool {
        self.which == Which::Setup
    }

    pub(crate) fn is_enter(&self) -> bool {
        self.which == Which::Enter
    }
}

const IOC_WRITE: usize = 1 << 30;
const MAGIC: usize = 0xc5 << 8;

#[repr(C)]
struct SetupArg {
    entries: u32,
    resv: u32,
    params: u64,
}

#[repr(C)]
struct EnterArg {
    fd: i32,
    to_submit: u32,
    min_complete: u32,
    flags: u32,
    argp: u64,
    argsz: u64,
}

#[repr(C)]
struct RegisterArg {
    fd: i32,
    opcode: u32,
    arg: u64,
    nr_args: u32,
    resv: u32,
}

const SETUP: usize = IOC_WRITE | MAGIC | size_of::<SetupArg>() << 16;
const ENTER: usize = IOC_WRITE | MAGIC | 1 | size_of::<EnterArg>() << 16;
const REGISTER: usize = IOC_WRITE | MAGIC | 2 | size_of::<RegisterArg>() << 16;
const ENTER_PACKED: usize = MAGIC | 3;

/// `to_submit` and `min_complete` of a packed enter have so many values.
const PACK_LIMIT: usize = 1 << 24;

/// `IORING_ENTER_GETEVENTS`, `SQ_WAKEUP`, `SQ_WAIT` and `NO_IOWAIT`
const PLAIN: usize = 1 | 2 | 4 | 128;

/// `IORING_ENTER_REGISTERED_RING`
const REGISTERED_RING: usize = 16;

/// `IORING_SETUP_REGISTERED_FD_ONLY`
const REGISTERED_FD_ONLY: u32 = 1 << 15;

/// Descriptors that are rings, or were when we saw them last.
static RINGS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

#[inline]
fn is_ring(fd: usize) -> bool {
    RINGS
        .get(fd / 64)
        .is_some_and(|word| word.load(Relaxed) & 1 << (fd % 64) != 0)
}

fn set_ring(fd: usize, is: bool) {
    if let Some(word) = RINGS.get(fd / 64) {
        if is {
            word.fetch_or(1 << (fd % 64), Relaxed);
        } else {
            word.fetch_and(!(1 << (fd % 64)), Relaxed);
        }
    }
}

/// An open descriptor of the device; -1 if there is none yet. It may have been closed by the program, and
/// its number may be something else by now.
static DEVICE: AtomicIsize = AtomicIsize::new(-1);

fn open_device(config: &config::Config) -> isize {
    const O_RDWR: usize = 2;
    let fd = raw::open(config.device.as_ptr(), O_RDWR);
    if fd < 0 {
        return fd;
    }
    let fd = raw::out_of_the_way(fd);
    // Of two threads that open it at once one wins, and the other's stays open unused.
    DEVICE.store(fd, Relaxed);
    fd
}

/// An ioctl on the device. Without the device: `EPERM` if it may not be opened, else `ENOSYS`.
fn on_device<T>(config: &config::Config, cmd: usize, arg: &T) -> isize {
    let fd = DEVICE.load(Relaxed);
    if fd >= 0 {
        // SAFETY: The structure is that of the ioctl.
        let ret = unsafe { sys!(nr::IOCTL, fd, cmd, arg as *const T) };
        const F_GETFD: usize = 1;
        let gone = match -ret {
            // It is something else now.
            errno::ENOTTY => true,
            // It is closed, unless that is about the descriptor in the argument.
            // SAFETY: No memory is involved.
            errno::EBADF => unsafe { sys!(nr::FCNTL, fd, F_GETFD) < 0 },
            _ => false,
        };
        if !gone {
            return ret;
        }
    }
    match open_device(config) {
        // SAFETY: As above.
        fd if fd >= 0 => unsafe {
            if DEVICE.load(Relaxed) != fd {
                // Somebody else's is the one that is kept; ours is used once.
                let ret = sys!(nr::IOCTL, fd, cmd, arg as *const T);
                sys!(nr::CLOSE, fd);
                return ret;
            }
            sys!(nr::IOCTL, fd, cmd, arg as *const T)
        },
        err => match -err {
            errno::EACCES | errno::EPERM => -errno::EPERM,
            errno::ENOENT | errno::ENXIO | errno::ENODEV => -errno::ENOSYS,
            _ => err,
        },
    }
}

fn setup(config: &config::Config, args: &[usize; 6]) -> isize {
    let arg = SetupArg {
        entries: args[0] as u32,
        resv: 0,
        params: args[1] as u64,
    };
    let ret = on_device(config, SETUP, &arg);
    if ret >= 0 {
        // SAFETY: The call has succeeded, so these are its parameters; the flags are the third word.
        let flags = unsafe { (args[1] as *const u32).add(2).read_unaligned() };
        if flags & REGISTERED_FD_ONLY == 0 {
            set_ring(ret as usize, true);
        }
    }
    ret
}

fn enter(config: &config::Config, args: &[usize; 6]) -> isize {
    let [fd, to_submit, min_complete, flags, argp, argsz] = *args;
    let (fd, flags) = (fd & 0xffff_ffff, flags & 0xffff_ffff);
    let (to_submit, min_complete) = (to_submit & 0xffff_ffff, min_complete & 0xffff_ffff);
    let registered = flags & REGISTERED_RING != 0;
    let arg = EnterArg {
        fd: fd as i32,
        to_submit: to_submit as u32,
        min_complete: min_complete as u32,
        flags: flags as u32,
        argp: argp as u64,
        argsz: argsz as u64,
    };
    if !registered && is_ring(fd) {
        let packed =
            flags & !PLAIN == 0 && argp == 0 && to_submit < PACK_LIMIT && min_complete < PACK_LIMIT;
        // SAFETY: The argument is that of the ioctl.
        let ret = unsafe {
            if packed {
                sys!(
                    nr::IOCTL,
                    fd,
                    ENTER_PACKED,
                    to_submit | min_complete << 24 | flags << 48
                )
            } else {
                sys!(nr::IOCTL, fd, ENTER, &raw const arg)
            }
        };
        // It may be something else by now, which does not know the call. Then the device says so.
        if ret != -errno::ENOTTY && ret != -errno::EINVAL {
            return ret;
        }
        set_ring(fd, false);
    }
    let ret = on_device(config, ENTER, &arg);
    if !registered && ret >= 0 {
        set_ring(fd, true);
    }
    ret
}

fn register(config: &config::Config, args: &[usize; 6]) -> isize {
    let arg = RegisterArg {
        fd: args[0] as i32,
        opcode: args[1] as u32,
        arg: args[2] as u64,
        nr_args: args[3] as u32,
        resv: 0,
    };
    on_device(config, REGISTER, &arg)
}

/// The kernel's own call.
fn native(call: &Call) -> isize {
    let [first, args @ ..] = call.args;
    let number = match call.which {
        Which::Setup => nr::URING_SETUP,
        Which::Enter => nr::URING_ENTER,
        Which::Register => nr::URING_REGISTER,
    };
    // SAFETY: It is the program's own call.
    unsafe {
        sys!(
            number,
            raw::marked(first),
            args[0],
            args[1],
            args[2],
            args[3],
            args[4]
        )
    }
}

/// Answers a call of the program. Returns what the kernel would: a negative result is an error.
#[inline]
pub(crate) fn answer(call: &Call, via: Via) -> isize {
    let Some(config) = config::get() else {
        return native(call);
    };
    let begin = report::now();
    let mut is_native = config.mode == Mode::Native;
    let mut ret = if is_native {
        native(call)
    } else {
        match call.which {
            Which::Setup => setup(config, &call.args),
            Which::Enter => enter(config, &call.args),
            Which::Register => register(config, &call.args),
        }
    };
    if config.mode == Mode::Fallback && (ret == -errno::ENOSYS || ret == -errno::EOPNOTSUPP) {
        // There is no device, or it is not a ring of the device.
        is_native = true;
        ret = native(call);
    }
    report::tell(call, via, is_native, begin, ret);
    ret
}
