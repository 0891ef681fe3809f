// SPDX-License-Identifier: GPL-2.0

//! The object that `ruring run` puts into a program, so that its io_uring calls go to `/dev/rust_uring`.
//!
//! It stands on its own: no C library, no allocation, no thread-local storage, no locks. So all of it can run in a
//! signal handler, between vfork and exec, and in a static program. In a dynamic program it is preloaded, and
//! `begin` is its constructor; in a static one `ruring` maps it and calls `ruring_attach`.
//!
//! Calls come in two ways: through `syscall(3)`, which this object replaces, and through a seccomp filter and
//! SIGSYS. The first costs next to nothing, the second about two microseconds.

#![no_std]
#![no_builtins]

mod calls;
mod config;
mod exec;
mod filter;
mod handler;
mod raw;
mod report;

use calls::{
    Call,
    Via, //
};
use raw::{
    nr,
    sys, //
};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    raw::complain(&[b"ruring: the redirect has a bug and ends the program\n"]);
    loop {
        // SAFETY: It ends the process.
        unsafe { sys!(nr::EXIT_GROUP, 125) };
    }
}

/// Puts handler and filter in place. Without them the program goes on with native io_uring, and is told.
fn start() {
    let Some(config) = config::get() else {
        return;
    };
    report::init(config);
    let mut ret = handler::install(false);
    if ret >= 0 && !handler::is_filtered() {
        ret = filter::install();
    }
    if ret < 0 {
        raw::complain(&[
            b"ruring: no seccomp filter: only calls through syscall(3) are redirected\n",
        ]);
    }
}

/// The constructor. Those of other objects, and the program itself, run afterwards.
extern "C" fn begin(argc: i32, argv: *const *const u8, envp: *const *const u8) {
    // The GNU C library hands these to constructors, others do not.
    // SAFETY: Only what is an array of so many arguments and a NULL is taken for one.
    let envp = unsafe {
        let sane = (1..1 << 20).contains(&argc) && argv.is_aligned() && argv as usize > 1 << 16;
        if sane && envp == argv.add(argc as usize + 1) {
            envp
        } else {
            core::ptr::null()
        }
    };
    // SAFETY: NULL or the environment.
    let loaded = match unsafe { config::find(envp) } {
        Some(value) => config::load(value),
        None if envp.is_null() => config::load_from_proc(),
        None => false,
    };
    if loaded {
        start();
    }
}

#[used]
#[link_section = ".init_array"]
static BEGIN: extern "C" fn(i32, *const *const u8, *const *const u8) = begin;

/// Begins in a static program: `ruring` calls it, before the program's first instruction.
///
/// # Safety
///
/// `value` has `len` bytes: that of `RURING`.
#[no_mangle]
pub unsafe extern "C" fn ruring_attach(value: *const u8, len: usize) -> usize {
    // SAFETY: As promised.
    if !config::load(unsafe { core::slice::from_raw_parts(value, len) }) {
        return 1;
    }
    start();
    0
}

/// `syscall(3)`: the three calls are answered, all others passed on.
///
/// # Safety
///
/// That of the call.
#[no_mangle]
pub unsafe extern "C" fn syscall(
    number: usize,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    let args = [a, b, c, d, e, f];
    if let nr::URING_SETUP..=nr::URING_REGISTER = number {
        if let Some(call) = Call::new(number, args) {
            return raw::to_libc(calls::answer(&call, Via::Function));
        }
    }
    // SAFETY: The caller's.
    raw::to_libc(unsafe { raw::call(number, args) })
}

/// `sigprocmask(3)` without a trap.
///
/// # Safety
///
/// That of the call.
#[no_mangle]
pub unsafe extern "C" fn sigprocmask(how: i32, set: *const u64, old: *mut u64) -> i32 {
    // SAFETY: The caller's.
    raw::to_libc(unsafe { mask(how, set, old) }) as i32
}

/// `pthread_sigmask(3)` without a trap.
///
/// # Safety
///
/// That of the call.
#[no_mangle]
pub unsafe extern "C" fn pthread_sigmask(how: i32, set: *const u64, old: *mut u64) -> i32 {
    // SAFETY: The caller's.
    -unsafe { mask(how, set, old) } as i32
}

/// What both do: the C library's own signals, 32 and 33, are not blocked.
unsafe fn mask(how: i32, set: *const u64, old: *mut u64) -> isize {
    const LIBRARY: u64 = 3 << 31;
    let how = how as u32 as usize;
    // SAFETY: The caller's.
    unsafe {
        if set.is_null() {
            handler::change_mask(how, set, old)
        } else {
            let wanted = *set & !LIBRARY;
            handler::change_mask(how, &wanted, old)
        }
    }
}
