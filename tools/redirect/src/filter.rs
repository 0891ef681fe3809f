// SPDX-License-Identifier: GPL-2.0

//! The seccomp filter: which system calls come to our signal handler.
//!
//! The three calls of io_uring, and those that could take the handler away: SIGSYS blocked or handled by somebody
//! else, and programs executed. All others pass, and so do ours, which carry [`COOKIE`].
//!
//! `clone3(2)` is missing, as it is in older kernels: with `CLONE_CLEAR_SIGHAND` it makes children without the
//! handler but under the filter, and what it is asked for is in memory, where no filter sees it. C libraries
//! fall back to `clone(2)`.

use crate::{
    handler::SIGSYS,
    raw::{
        errno,
        nr,
        sys,
        COOKIE, //
    }, //
};

#[repr(C)]
struct Insn {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

#[repr(C)]
struct Program {
    len: u16,
    filter: *const Insn,
}

const LOAD: u16 = 0x20;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

const fn load(offset: u32) -> Insn {
    Insn {
        code: LOAD,
        jt: 0,
        jf: 0,
        k: offset,
    }
}

/// At `at`: to `yes` if the condition holds, else to `no`.
const fn jump(at: usize, code: u16, k: u32, yes: usize, no: usize) -> Insn {
    assert!(yes > at && no > at);
    Insn {
        code,
        jt: (yes - at - 1) as u8,
        jf: (no - at - 1) as u8,
        k,
    }
}

const fn ret(k: u32) -> Insn {
    Insn {
        code: RETURN,
        jt: 0,
        jf: 0,
        k,
    }
}

/// Offsets in `struct seccomp_data`.
const NR: u32 = 0;
const ARCH: u32 = 4;
const fn low(arg: u32) -> u32 {
    16 + 8 * arg
}
const fn high(arg: u32) -> u32 {
    low(arg) + 4
}

pub(crate) const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const X32_BIT: u32 = 0x4000_0000;
/// With an error in its lower half.
const ERROR: u32 = 0x0005_0000;
const TRAP: u32 = 0x0003_0000;
const ALLOW: u32 = 0x7fff_0000;
/// `SIG_UNBLOCK`
const UNBLOCK: u32 = 1;

/// Where masks, actions and pointers are looked at, where the cookie is looked for, and how it ends.
const MASK: usize = 12;
const ACTION: usize = 14;
const POINTER: usize = 16;
const FIRST: usize = 20;
const SIXTH: usize = 22;
const TRAPPED: usize = 24;
const ALLOWED: usize = 25;
const MISSING: usize = 26;
const N: usize = 27;

static FILTER: [Insn; N] = [
    load(ARCH),
    jump(1, IF_EQUAL, AUDIT_ARCH_X86_64, 2, ALLOWED),
    load(NR),
    jump(3, IF_AT_LEAST, X32_BIT, ALLOWED, 4),
    jump(4, IF_EQUAL, nr::URING_ENTER as u32, FIRST, 5),
    jump(5, IF_EQUAL, nr::URING_SETUP as u32, FIRST, 6),
    jump(6, IF_EQUAL, nr::URING_REGISTER as u32, FIRST, 7),
    jump(7, IF_EQUAL, nr::EXECVE as u32, SIXTH, 8),
    jump(8, IF_EQUAL, nr::EXECVEAT as u32, SIXTH, 9),
    jump(9, IF_EQUAL, nr::RT_SIGACTION as u32, ACTION, 10),
    jump(10, IF_EQUAL, nr::RT_SIGPROCMASK as u32, MASK, 11),
    jump(11, IF_EQUAL, nr::CLONE3 as u32, MISSING, ALLOWED),
    // MASK: what is unblocked does no harm.
    load(low(0)),
    jump(13, IF_EQUAL, UNBLOCK, ALLOWED, POINTER),
    // ACTION: that of SIGSYS is not the one that the program believes in.
    load(low(0)),
    jump(15, IF_EQUAL, SIGSYS as u32, FIRST, POINTER),
    // POINTER: what is only asked for does no harm. The mask or the action is the second argument.
    load(low(1)),
    jump(17, IF_EQUAL, 0, 18, FIRST),
    load(high(1)),
    jump(19, IF_EQUAL, 0, ALLOWED, FIRST),
    // FIRST: the cookie is above the first argument.
    load(high(0)),
    jump(21, IF_EQUAL, COOKIE, ALLOWED, TRAPPED),
    // SIXTH: the cookie is above the sixth argument.
    load(high(5)),
    jump(23, IF_EQUAL, COOKIE, ALLOWED, TRAPPED),
    // TRAPPED, ALLOWED, MISSING
    ret(TRAP),
    ret(ALLOW),
    ret(ERROR | errno::ENOSYS as u32),
];

/// Puts the filter over all threads. A negative result is an error.
pub(crate) fn install() -> isize {
    const SET_MODE_FILTER: usize = 1;
    const TSYNC: usize = 1;
    const PR_SET_NO_NEW_PRIVS: usize = 38;
    let program = Program {
        len: N as u16,
        filter: FILTER.as_ptr(),
    };
    // SAFETY: The program is as long as it says.
    unsafe {
        let ret = sys!(nr::SECCOMP, SET_MODE_FILTER, TSYNC, &raw const program);
        if ret != -errno::EACCES {
            return ret;
        }
        // Who may not do that may, when it gives up gaining privileges.
        sys!(nr::PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        sys!(nr::SECCOMP, SET_MODE_FILTER, TSYNC, &raw const program)
    }
}
