// SPDX-License-Identifier: GPL-2.0

//! What `ruring run --stats` and `--trace` are told: counters in a file that all processes map, and records in a
//! pipe. `ruring` has the same layouts (`src/report.rs` there).

use crate::{
    calls::{
        Call,
        Via, //
    },
    config,
    raw::{
        self,
        errno,
        nr,
        sys, //
    }, //
};
use core::sync::atomic::{
    AtomicIsize,
    AtomicPtr,
    AtomicU64,
    Ordering::Relaxed, //
};

/// The counters. All processes add to them.
#[repr(C)]
pub(crate) struct Counters {
    /// Calls, by call and way.
    calls: [[AtomicU64; 2]; 3],
    /// Those that failed.
    errors: [AtomicU64; 3],
    /// Those that went to the kernel's io_uring.
    native: [AtomicU64; 3],
    /// SQEs submitted.
    submitted: AtomicU64,
    /// Calls that had to be trapped so that the redirect survives.
    kept: AtomicU64,
    /// Programs that began with the redirect.
    programs: AtomicU64,
    /// Static programs that were handed to `ruring`.
    statics: AtomicU64,
    /// Records that nobody took.
    lost: AtomicU64,
}

/// One call, as it goes through the pipe: 128 bytes, so that it goes in one piece.
#[repr(C)]
pub(crate) struct Record {
    /// When it began, `CLOCK_MONOTONIC`.
    begin: u64,
    /// How long it took, in nanoseconds.
    took: u64,
    args: [u64; 6],
    result: i64,
    pid: i32,
    tid: i32,
    /// 0, 1, 2: setup, enter, register.
    call: u8,
    via: u8,
    native: u8,
    _pad: [u8; 5],
    /// Of a setup that succeeded: `struct io_uring_params` up to `features`.
    params: [u32; 6],
    _pad2: [u8; 16],
}

const _: () = assert!(size_of::<Record>() == 128);

static COUNTERS: AtomicPtr<Counters> = AtomicPtr::new(core::ptr::null_mut());
static PIPE: AtomicIsize = AtomicIsize::new(-1);

const O_RDWR: usize = 2;
const O_NONBLOCK: usize = 0o4000;

fn add(counter: impl Fn(&'static Counters) -> &'static AtomicU64, nr: u64) {
    // SAFETY: NULL, or a mapping that stays.
    if let Some(counters) = unsafe { COUNTERS.load(Relaxed).as_ref() } {
        counter(counters).fetch_add(nr, Relaxed);
    }
}

/// Maps the counters and opens the pipe, as far as they are wanted.
pub(crate) fn init(config: &config::Config) {
    if !config.report.is_empty() {
        let fd = raw::open(config.report.as_ptr(), O_RDWR);
        if fd >= 0 {
            const PROT_READ_WRITE: usize = 3;
            const MAP_SHARED: usize = 1;
            // SAFETY: A new mapping of a file that is as long, and the descriptor is ours.
            unsafe {
                let at = sys!(
                    nr::MMAP,
                    0,
                    size_of::<Counters>(),
                    PROT_READ_WRITE,
                    MAP_SHARED,
                    fd,
                    0
                );
                if at > 0 {
                    COUNTERS.store(at as *mut Counters, Relaxed);
                }
                sys!(nr::CLOSE, fd);
            }
        }
    }
    add(|c| &c.programs, 1);
    open_pipe(config);
}

fn open_pipe(config: &config::Config) {
    if config.trace.is_empty() {
        return;
    }
    // For reading, too: a pipe that nobody reads would kill the program.
    let fd = raw::open(config.trace.as_ptr(), O_RDWR | O_NONBLOCK);
    PIPE.store(if fd < 0 { -1 } else { raw::out_of_the_way(fd) }, Relaxed);
}

pub(crate) fn count_kept() {
    add(|c| &c.kept, 1);
}

pub(crate) fn count_static() {
    add(|c| &c.statics, 1);
}

/// Now, in nanoseconds, if somebody wants to know.
#[inline]
pub(crate) fn now() -> u64 {
    if PIPE.load(Relaxed) < 0 {
        return 0;
    }
    const CLOCK_MONOTONIC: usize = 1;
    let mut ts = [0u64; 2];
    // SAFETY: The kernel writes a timespec.
    unsafe { sys!(nr::CLOCK_GETTIME, CLOCK_MONOTONIC, &raw mut ts) };
    ts[0].wrapping_mul(1_000_000_000).wrapping_add(ts[1])
}

/// Tells of a call that is over.
#[inline]
pub(crate) fn tell(call: &Call, via: Via, native: bool, begin: u64, result: isize) {
    if !COUNTERS.load(Relaxed).is_null() {
        count(call, via, native, result);
    }
    if PIPE.load(Relaxed) >= 0 {
        record(call, via, native, begin, result);
    }
}

fn count(call: &Call, via: Via, native: bool, result: isize) {
    let which = call.which as usize;
    add(|c| &c.calls[which][via as usize], 1);
    if native {
        add(|c| &c.native[which], 1);
    }
    if result < 0 {
        add(|c| &c.errors[which], 1);
    } else if call.is_enter() {
        add(|c| &c.submitted, result as u64);
    }
}

#[cold]
fn record(call: &Call, via: Via, native: bool, begin: u64, result: isize) {
    let mut params = [0u32; 6];
    if call.is_setup() && result >= 0 {
        // SAFETY: The kernel has just written there.
        params = unsafe { (call.args[1] as *const [u32; 6]).read_unaligned() };
    }
    let record = Record {
        begin,
        took: now().wrapping_sub(begin),
        args: call.args.map(|arg| arg as u64),
        result: result as i64,
        // SAFETY: They take nothing.
        pid: unsafe { sys!(nr::GETPID) } as i32,
        // SAFETY: As above.
        tid: unsafe { sys!(nr::GETTID) } as i32,
        call: call.which as u8,
        via: via as u8,
        native: native.into(),
        _pad: [0; 5],
        params,
        _pad2: [0; 16],
    };
    if !send(&record) {
        add(|c| &c.lost, 1);
    }
}

fn send(record: &Record) -> bool {
    const POLLOUT: u64 = 4;
    for _ in 0..8 {
        let fd = PIPE.load(Relaxed);
        // SAFETY: The record is readable.
        let ret = unsafe { sys!(nr::WRITE, fd, record as *const Record, size_of::<Record>()) };
        match -ret {
            _ if ret > 0 => return true,
            errno::EAGAIN => {
                // A moment for whoever reads.
                let mut pollfd = fd as u64 & 0xffff_ffff | POLLOUT << 32;
                // SAFETY: One `struct pollfd`.
                unsafe { sys!(nr::POLL, &raw mut pollfd, 1, 1000) };
            }
            // Programs close what they do not know.
            errno::EBADF => match config::get() {
                Some(config) => open_pipe(config),
                None => return false,
            },
            _ => return false,
        }
    }
    false
}
