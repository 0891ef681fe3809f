// SPDX-License-Identifier: GPL-2.0

//! What `ruring run` wants, from the environment variable `RURING`.
//!
//! It is `key=value` words with a newline behind each: `mode` (`device`, `fallback` or `native`), `device`,
//! `preload` (where this object is), `tool` (where `ruring` is), `report` and `trace` (where counters and
//! records go; see [`crate::report`]).

use crate::raw::nr;
use core::{
    cell::UnsafeCell,
    sync::atomic::{
        AtomicBool,
        Ordering, //
    }, //
};

/// Where calls go.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    /// To the device. Without it there is no io_uring.
    Device,
    /// To the device, and without it to the kernel's io_uring.
    Fallback,
    /// To the kernel's io_uring: nothing is redirected, only counted and recorded.
    Native,
}

/// Longest value of `RURING`, with the name and the NUL.
const MAX: usize = 4096;

/// The name and what is behind it.
const NAME: &[u8] = b"RURING=";

/// The longest path.
const PATH: usize = 1024;

/// A C string of a limited length.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    const EMPTY: Self = Self {
        bytes: [0; N],
        len: 0,
    };

    /// False if it is too long.
    fn set(&mut self, parts: &[&[u8]]) -> bool {
        self.len = 0;
        for byte in parts.iter().flat_map(|part| part.iter()) {
            if self.len + 1 >= N {
                self.len = 0;
                self.bytes[0] = 0;
                return false;
            }
            self.bytes[self.len] = *byte;
            self.len += 1;
        }
        self.bytes[self.len] = 0;
        true
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// What is wanted. Written once, before anybody else looks.
pub(crate) struct Config {
    pub(crate) mode: Mode,
    /// The device.
    pub(crate) device: Text<PATH>,
    /// This object.
    pub(crate) preload: Text<PATH>,
    /// `ruring`, which starts static programs.
    pub(crate) tool: Text<PATH>,
    /// The file with the counters.
    pub(crate) report: Text<PATH>,
    /// The pipe for records.
    pub(crate) trace: Text<PATH>,
    /// The whole variable, for the environment of programs that are executed.
    pub(crate) variable: Text<MAX>,
    /// `LD_PRELOAD=` and this object.
    pub(crate) ld_preload: Text<PATH>,
}

struct Cell(UnsafeCell<Config>);

// SAFETY: Written by `load` only, before `READY` is set; shared and read-only afterwards.
unsafe impl Sync for Cell {}

static CONFIG: Cell = Cell(UnsafeCell::new(Config {
    mode: Mode::Native,
    device: Text::EMPTY,
    preload: Text::EMPTY,
    tool: Text::EMPTY,
    report: Text::EMPTY,
    trace: Text::EMPTY,
    variable: Text::EMPTY,
    ld_preload: Text::EMPTY,
}));

static READY: AtomicBool = AtomicBool::new(false);

/// The configuration, once there is one.
#[inline]
pub(crate) fn get() -> Option<&'static Config> {
    if !READY.load(Ordering::Acquire) {
        return None;
    }
    // SAFETY: Nobody writes to it any more.
    Some(unsafe { &*CONFIG.0.get() })
}

/// Takes the value of the variable. False if it makes no sense, or was taken already.
pub(crate) fn load(value: &[u8]) -> bool {
    if READY.load(Ordering::Acquire) {
        return false;
    }
    // SAFETY: This is the program's only thread so far, and nobody reads before `READY` is set.
    let config = unsafe { &mut *CONFIG.0.get() };
    let mut ok = config.variable.set(&[NAME, value]) && config.device.set(&[b"/dev/rust_uring"]);
    for line in value.split(|b| *b == b'\n') {
        let Some(at) = line.iter().position(|b| *b == b'=') else {
            continue;
        };
        let (key, value) = (
            line.get(..at).unwrap_or(&[]),
            line.get(at + 1..).unwrap_or(&[]),
        );
        ok &= match key {
            b"mode" => {
                config.mode = match value {
                    b"native" => Mode::Native,
                    b"fallback" => Mode::Fallback,
                    _ => Mode::Device,
                };
                true
            }
            b"device" => config.device.set(&[value]),
            b"preload" => {
                config.preload.set(&[value]) && config.ld_preload.set(&[b"LD_PRELOAD=", value])
            }
            b"tool" => config.tool.set(&[value]),
            b"report" => config.report.set(&[value]),
            b"trace" => config.trace.set(&[value]),
            // From a ruring that is newer than this object.
            _ => true,
        };
    }
    if ok {
        READY.store(true, Ordering::Release);
    }
    ok
}

/// Finds the variable in an environment.
///
/// # Safety
///
/// `envp` is NULL, or an array of C strings that ends with NULL and stays.
pub(crate) unsafe fn find(envp: *const *const u8) -> Option<&'static [u8]> {
    if envp.is_null() {
        return None;
    }
    let mut i = 0;
    // SAFETY: As promised, nothing is read beyond the NULL.
    unsafe {
        while !(*envp.add(i)).is_null() {
            let entry = crate::raw::bytes(*envp.add(i));
            if let Some(value) = entry.strip_prefix(NAME) {
                return Some(value);
            }
            i += 1;
        }
    }
    None
}

/// Reads `/proc/self/environ` and calls `load`: for C libraries that do not hand it to constructors.
pub(crate) fn load_from_proc() -> bool {
    const SIZE: usize = 256 << 10;
    const PROT_READ_WRITE: usize = 3;
    const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
    let fd = crate::raw::open(c"/proc/self/environ".as_ptr().cast(), 0);
    if fd < 0 {
        return false;
    }
    let mut found = false;
    // SAFETY: New memory, written by the kernel within its size, and unmapped when nobody looks any more.
    unsafe {
        let memory = crate::raw::sys!(
            nr::MMAP,
            0,
            SIZE,
            PROT_READ_WRITE,
            MAP_PRIVATE_ANONYMOUS,
            -1isize,
            0
        );
        if memory > 0 {
            let mut len = 0;
            loop {
                let nr = crate::raw::sys!(nr::PREAD64, fd, memory as usize + len, SIZE - len, len);
                if nr <= 0 {
                    break;
                }
                len += nr as usize;
            }
            let all = core::slice::from_raw_parts(memory as *const u8, len);
            if let Some(value) = all
                .split(|b| *b == 0)
                .find_map(|entry| entry.strip_prefix(NAME))
            {
                found = load(value);
            }
            crate::raw::sys!(nr::MUNMAP, memory, SIZE);
        }
        crate::raw::sys!(nr::CLOSE, fd);
    }
    found
}
