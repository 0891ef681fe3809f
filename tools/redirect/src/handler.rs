// SPDX-License-Identifier: GPL-2.0

//! SIGSYS: what the filter traps is answered here, on the stack of the thread that called.
//!
//! The handler must not be lost. A program that sets an action for SIGSYS sets one that we keep and call for what
//! is not ours; SIGSYS is taken out of every mask.

use crate::{
    calls::{
        self,
        Call,
        Via, //
    },
    exec,
    filter::AUDIT_ARCH_X86_64,
    raw::{
        self,
        errno,
        nr,
        sys, //
    },
    report, //
};
use core::sync::atomic::{
    AtomicU64,
    AtomicUsize,
    Ordering::Relaxed, //
};

pub(crate) const SIGSYS: usize = 31;
const SIGURG: usize = 23;

/// SIGSYS in a mask.
const SIGSYS_BIT: u64 = 1 << (SIGSYS - 1);

/// Size of a mask.
const MASK_SIZE: usize = 8;

const SIG_BLOCK: usize = 0;
const SIG_UNBLOCK: usize = 1;

const SA_SIGINFO: usize = 4;
const SA_RESTORER: usize = 0x0400_0000;
const SA_ONSTACK: usize = 0x0800_0000;
const SA_NODEFER: usize = 0x4000_0000;
const SA_RESETHAND: usize = 0x8000_0000;

const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;

/// `si_code` of a signal that seccomp sent.
const SYS_SECCOMP: i32 = 1;

/// What the probe asks for: no descriptor, no opcode, and two words that nobody else uses.
const PROBE: [usize; 2] = [0x7275_7267_7072_6f62, 0x6562_6f72_7067_7572];

/// What the probe gets when it is trapped.
const PROBED: isize = 0x7275;

#[repr(C)]
#[derive(Clone, Copy)]
struct Action {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

#[repr(C)]
struct SigInfo {
    signo: i32,
    errno: i32,
    code: i32,
    _pad: i32,
    /// Of seccomp's: the address of the call; of others the sender.
    call_addr: usize,
    syscall: i32,
    arch: u32,
}

#[repr(C)]
struct UContext {
    flags: u64,
    link: usize,
    stack: [u64; 3],
    regs: [usize; 23],
    fpstate: usize,
    reserved: [u64; 8],
    mask: u64,
}

/// Indices in `regs`.
mod reg {
    pub(super) const R8: usize = 0;
    pub(super) const R9: usize = 1;
    pub(super) const R10: usize = 2;
    pub(super) const RDI: usize = 8;
    pub(super) const RSI: usize = 9;
    pub(super) const RDX: usize = 12;
    pub(super) const RAX: usize = 13;
}

/// The action that the program believes to be that of SIGSYS.
struct Theirs {
    handler: AtomicUsize,
    flags: AtomicUsize,
    restorer: AtomicUsize,
    mask: AtomicU64,
}

static THEIRS: Theirs = Theirs {
    handler: AtomicUsize::new(SIG_DFL),
    flags: AtomicUsize::new(0),
    restorer: AtomicUsize::new(0),
    mask: AtomicU64::new(0),
};

impl Theirs {
    fn get(&self) -> Action {
        Action {
            handler: self.handler.load(Relaxed),
            flags: self.flags.load(Relaxed),
            restorer: self.restorer.load(Relaxed),
            mask: self.mask.load(Relaxed),
        }
    }

    fn set(&self, action: &Action) {
        self.handler.store(action.handler, Relaxed);
        self.flags.store(action.flags, Relaxed);
        self.restorer.store(action.restorer, Relaxed);
        self.mask.store(action.mask, Relaxed);
    }
}

/// Makes our handler that of SIGSYS, and lets SIGSYS through. `on_stack`: on the alternate stack, where there is one.
/// A negative result is an error.
pub(crate) fn install(on_stack: bool) -> isize {
    let action = Action {
        handler: handle as *const () as usize,
        // Nothing is masked: a call that waits can be interrupted, and handlers may make calls themselves.
        flags: SA_SIGINFO | SA_RESTORER | SA_NODEFER | if on_stack { SA_ONSTACK } else { 0 },
        restorer: raw::rurg_restorer as *const () as usize,
        mask: 0,
    };
    // SAFETY: The handler is one, and stays.
    unsafe {
        let ret = set_action(SIGSYS, &raw const action, core::ptr::null_mut());
        if ret < 0 {
            return ret;
        }
        set_mask(SIG_UNBLOCK, &SIGSYS_BIT, core::ptr::null_mut())
    }
}

/// Whether our filter is over this thread already: it stays when a program executes another one.
pub(crate) fn is_filtered() -> bool {
    // SAFETY: No descriptor, no opcode: it does nothing.
    unsafe {
        sys!(
            nr::URING_REGISTER,
            -1isize,
            -1isize,
            PROBE[0],
            0,
            0,
            PROBE[1]
        ) == PROBED
    }
}

/// `rt_sigaction(2)`, which passes.
unsafe fn set_action(signal: usize, action: *const Action, old: *mut Action) -> isize {
    // SAFETY: The caller's.
    unsafe {
        sys!(
            nr::RT_SIGACTION,
            raw::marked(signal),
            action,
            old,
            MASK_SIZE
        )
    }
}

/// `rt_sigprocmask(2)`, which passes.
unsafe fn set_mask(how: usize, set: *const u64, old: *mut u64) -> isize {
    // SAFETY: The caller's.
    unsafe { sys!(nr::RT_SIGPROCMASK, raw::marked(how), set, old, MASK_SIZE) }
}

/// `sigprocmask(3)`, but SIGSYS is never blocked. A negative result is an error.
///
/// # Safety
///
/// The pointers are NULL or point to masks.
pub(crate) unsafe fn change_mask(how: usize, set: *const u64, old: *mut u64) -> isize {
    // SAFETY: As promised.
    unsafe {
        if set.is_null() {
            return set_mask(how, set, old);
        }
        let mut wanted = *set;
        if how != SIG_UNBLOCK {
            wanted &= !SIGSYS_BIT;
        }
        set_mask(how, &wanted, old)
    }
}

extern "C" fn handle(signal: i32, info: *mut SigInfo, context: *mut UContext) {
    // SAFETY: The kernel hands us both, and they are ours for as long as we run.
    let (what, context) = unsafe { (&*info, &mut *context) };
    if what.code != SYS_SECCOMP || what.arch != AUDIT_ARCH_X86_64 {
        theirs(signal, info, context);
        return;
    }
    let regs = &context.regs;
    let args = [
        regs[reg::RDI],
        regs[reg::RSI],
        regs[reg::RDX],
        regs[reg::R10],
        regs[reg::R8],
        regs[reg::R9],
    ];
    let number = what.syscall as usize;
    let result = match number {
        nr::URING_REGISTER if [args[2], args[5]] == PROBE => PROBED,
        nr::URING_SETUP | nr::URING_ENTER | nr::URING_REGISTER => match Call::new(number, args) {
            Some(call) => calls::answer(&call, Via::Trap),
            None => -errno::ENOSYS,
        },
        nr::RT_SIGACTION => {
            report::count_kept();
            sigaction(&args)
        }
        nr::RT_SIGPROCMASK => {
            report::count_kept();
            sigprocmask(&args, &mut context.mask)
        }
        nr::EXECVE | nr::EXECVEAT => {
            report::count_kept();
            exec::exec(number, &args)
        }
        _ => {
            // A filter of the program's own.
            theirs(signal, info, context);
            return;
        }
    };
    context.regs[reg::RAX] = result as usize;
}

/// `rt_sigaction(2)` of the program.
fn sigaction(args: &[usize; 6]) -> isize {
    let [signal, action, old, size, ..] = *args;
    let signal = signal & 0xffff_ffff;
    // SAFETY: As far as the program's pointers are good. With bad ones it gets SIGSEGV instead of EFAULT.
    unsafe {
        if size != MASK_SIZE {
            return sys!(nr::RT_SIGACTION, raw::marked(signal), action, old, size);
        }
        let mut wanted = None;
        if action != 0 {
            let mut action = (action as *const Action).read_unaligned();
            action.mask &= !SIGSYS_BIT;
            wanted = Some(action);
        }
        // That is Go, in a program or in a library: what it runs has stacks without room for a signal's frame.
        if signal == SIGURG && wanted.is_some_and(|action| action.flags & SA_ONSTACK != 0) {
            install(true);
        }
        if signal == SIGSYS {
            let before = THEIRS.get();
            if let Some(action) = &wanted {
                THEIRS.set(action);
            }
            if old != 0 {
                (old as *mut Action).write_unaligned(before);
            }
            return 0;
        }
        let wanted = wanted
            .as_ref()
            .map_or(core::ptr::null(), core::ptr::from_ref);
        set_action(signal, wanted, old as *mut Action)
    }
}

/// `rt_sigprocmask(2)` of the program. The mask that it leaves is the one that our return restores.
fn sigprocmask(args: &[usize; 6], context_mask: &mut u64) -> isize {
    let [how, set, old, size, ..] = *args;
    let mut now = 0u64;
    // SAFETY: The program's call, with the kernel looking after its pointers; then the mask that is the result.
    unsafe {
        let ret = sys!(nr::RT_SIGPROCMASK, raw::marked(how), set, old, size);
        if ret < 0 {
            return ret;
        }
        set_mask(SIG_BLOCK, core::ptr::null(), &raw mut now);
    }
    *context_mask = now & !SIGSYS_BIT;
    0
}

/// A SIGSYS that is none of our business goes to the program, as if we were not there.
fn theirs(signal: i32, info: *mut SigInfo, context: &mut UContext) {
    let action = THEIRS.get();
    // SAFETY: The kernel gave it to us.
    let forced = unsafe { (*info).code } == SYS_SECCOMP;
    match action.handler {
        SIG_IGN if !forced => {}
        SIG_DFL | SIG_IGN => die(),
        handler => {
            if action.flags & SA_RESETHAND != 0 {
                THEIRS.handler.store(SIG_DFL, Relaxed);
            }
            // SAFETY: That is what the program said the handler is. Our return restores the mask.
            unsafe {
                set_mask(SIG_BLOCK, &action.mask, core::ptr::null_mut());
                if action.flags & SA_SIGINFO != 0 {
                    let handler: extern "C" fn(i32, *mut SigInfo, *mut UContext) =
                        core::mem::transmute(handler);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(i32) = core::mem::transmute(handler);
                    handler(signal);
                }
            }
            context.mask &= !SIGSYS_BIT;
        }
    }
}

/// Ends the program as SIGSYS does.
fn die() {
    let action = Action {
        handler: SIG_DFL,
        flags: 0,
        restorer: 0,
        mask: 0,
    };
    // SAFETY: No memory but the action is involved.
    unsafe {
        set_action(SIGSYS, &raw const action, core::ptr::null_mut());
        sys!(nr::TGKILL, sys!(nr::GETPID), sys!(nr::GETTID), SIGSYS);
    }
}
