// SPDX-License-Identifier: GPL-2.0

//! The current task: its state, its signals, its sleep.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/sched/signal.h`](srctree/include/linux/sched/signal.h)

use crate::sys::ffi;
use kernel::{
    bindings,
    mm::Mm,
    prelude::*,
    sync::aref::ARef,
    task::Task, //
};

/// The clocks that a time can be measured with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// `CLOCK_MONOTONIC`
    Monotonic,
    /// `CLOCK_BOOTTIME`
    Boottime,
    /// `CLOCK_REALTIME`
    Realtime,
}

impl Clock {
    /// The clock of this number, if it is one that waits for CQEs can be measured with.
    pub(crate) fn from_user(id: u32) -> Option<Self> {
        match id {
            bindings::CLOCK_MONOTONIC => Some(Self::Monotonic),
            bindings::CLOCK_BOOTTIME => Some(Self::Boottime),
            _ => None,
        }
    }

    pub(super) fn id(self) -> c_int {
        // CAST: The numbers are small.
        match self {
            Self::Monotonic => bindings::CLOCK_MONOTONIC as c_int,
            Self::Boottime => bindings::CLOCK_BOOTTIME as c_int,
            Self::Realtime => bindings::CLOCK_REALTIME as c_int,
        }
    }

    /// The time now, in nanoseconds. Context: any.
    pub(crate) fn now(self) -> i64 {
        // SAFETY: No requirements.
        unsafe { ffi::uring_ktime_get(self.id()) }
    }

    /// An absolute time of the caller's time namespace, in the host's terms.
    pub(crate) fn to_host(self, time: i64) -> i64 {
        // SAFETY: No requirements.
        unsafe { ffi::uring_timens_to_host(self.id(), time) }
    }
}

/// A point in time to sleep until: nanoseconds of a clock.
#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    /// On which clock.
    pub(crate) clock: Clock,
    /// When.
    pub(crate) at: i64,
}

/// The current `task_struct`.
#[inline]
pub(crate) fn current_raw() -> *mut bindings::task_struct {
    Task::current_raw()
}

/// A counted reference to the current task.
pub(crate) fn current() -> ARef<Task> {
    ARef::from(&**kernel::current!())
}

/// A counted reference to the current task's address space, which may be empty one day. `EFAULT` for
/// a task that has none.
pub(crate) fn current_mm() -> Result<ARef<Mm>> {
    let task = kernel::current!();
    let mm = task.mm().ok_or(EFAULT)?;
    Ok(ARef::<Mm>::from(&**mm))
}

/// Whether it is the current task's address space.
pub(crate) fn is_current_mm(mm: &Mm) -> bool {
    let task = kernel::current!();
    task.mm().is_some_and(|m| core::ptr::eq::<Mm>(&**m, mm))
}

/// Whether the current task is a thread of the kernel's, whatever memory it may have borrowed.
pub(crate) fn is_kernel_thread() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_is_kthread() }
}

/// Whether the current task is in a system call of its own: it is no thread that only runs kernel code,
/// be it of a process.
#[inline]
pub(crate) fn is_user_thread() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_is_user_thread() }
}

/// While it lives, the current kernel thread has the memory of a process, and what it allocates is
/// charged to that.
///
/// # Invariants
///
/// The current thread has borrowed `mm`, and charges to `memcg`, which is counted.
pub(crate) struct BorrowedMm {
    mm: ARef<Mm>,
    memcg: *mut bindings::mem_cgroup,
}

impl BorrowedMm {
    /// Borrows it. `None` if the process is gone, or the current task is no kernel thread that has
    /// none. Context: may sleep.
    pub(crate) fn new(mm: &Mm) -> Option<Self> {
        if !is_kernel_thread() || kernel::current!().mm().is_some() {
            return None;
        }
        let mut memcg = core::ptr::null_mut();
        // SAFETY: A kernel thread without memory of its own; the reference keeps the `mm_struct`.
        if !unsafe { ffi::uring_borrow_mm(mm.as_raw(), &mut memcg) } {
            return None;
        }
        // INVARIANT: As was just done; the raw pointer keeps it in this thread.
        Some(Self {
            mm: ARef::from(mm),
            memcg,
        })
    }
}

impl Drop for BorrowedMm {
    fn drop(&mut self) {
        // SAFETY: Borrowed in `new` by this thread.
        unsafe { ffi::uring_return_mm(self.mm.as_raw(), self.memcg) };
    }
}

/// Whether `task` is the current one.
#[inline]
pub(crate) fn is_current(task: &Task) -> bool {
    core::ptr::eq(task.as_ptr(), Task::current_raw())
}

/// A number that tells the current task from all others while a reference to it is held.
pub(crate) fn current_key() -> usize {
    current_raw().addr()
}

/// Whether the current task is in the middle of `execve(2)`.
pub(crate) fn in_execve() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_in_execve() }
}

/// A number that changes when the current task executes another program.
pub(crate) fn exec_id() -> u32 {
    // SAFETY: No requirements.
    unsafe { ffi::uring_exec_id() }
}

/// Whether the current system call is one of a 32-bit program.
pub(crate) fn in_compat_syscall() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_in_compat_syscall() }
}

/// Whether a signal waits to be delivered to the current task.
pub(crate) fn sigpending() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_sigpending() }
}

/// Whether work of another subsystem waits for the current task to leave the kernel.
pub(crate) fn notify_signal() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_notify_signal() }
}

/// Whether the current task is on its way out: it will not return to user space.
pub(crate) fn is_exiting() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_is_exiting() }
}

/// Whether another task is to run on this CPU.
pub(crate) fn need_resched() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_need_resched() }
}

/// Whether anything of the two waits.
#[inline]
pub(crate) fn interrupted() -> bool {
    kernel::current!().signal_pending()
}

/// For threads that the kernel runs in a loop (see [`crate::sys::user_worker`]): whether there is work
/// that was put off until the current task leaves the kernel, such as closing files. Then the loop
/// is to do it, and the thread has to return to it.
pub(crate) fn owes_work() -> bool {
    // SAFETY: No requirements.
    unsafe {
        let owes = ffi::uring_task_work_pending();
        if owes {
            ffi::uring_notify_self();
        }
        owes
    }
}

/// The time in ticks of the kernel.
#[inline]
pub(crate) fn jiffies() -> usize {
    // SAFETY: No requirements.
    unsafe { ffi::uring_jiffies() }
}

/// Whether the current task is being killed.
pub(crate) fn fatal_signal_pending() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_fatal_signal_pending() }
}

/// Lets others run when it is time to. Context: may sleep.
pub(crate) fn cond_resched() {
    // SAFETY: No requirements but the context.
    unsafe { ffi::uring_cond_resched() }
}

/// Lets others run that want to, without sleeping. Context: may sleep.
pub(crate) fn yield_now() {
    // SAFETY: No requirements but the context.
    unsafe { bindings::schedule() }
}

/// Sleeps in the state that is set; returns whether `deadline` passed.
pub(super) fn schedule_until(deadline: Option<Deadline>) -> bool {
    let (timed, at, clock) = match deadline {
        Some(d) => (true, d.at, d.clock.id()),
        None => (false, 0, 0),
    };
    // SAFETY: No requirements but the context; the state is set by our callers.
    unsafe { ffi::uring_schedule(timed, at, clock) == 0 }
}

/// Sleeps interruptibly, one turn, without a wait queue: until somebody wakes the task, a signal, or
/// the deadline.
///
/// `ready` is asked once with the task state already set; if it says yes there is no sleep. It must
/// not sleep itself. Returns whether the deadline passed. Context: may sleep.
pub(crate) fn sleep(ready: impl FnOnce() -> bool, deadline: Option<Deadline>) -> bool {
    // SAFETY: The state is set back below, by the scheduler or by us.
    unsafe { ffi::uring_set_task_interruptible() };
    let timed_out = !ready() && schedule_until(deadline);
    // SAFETY: No requirements.
    unsafe { ffi::uring_set_task_running() };
    timed_out
}

/// While it lives, sleeping counts as waiting for I/O.
pub(crate) struct Iowait(bool);

impl Iowait {
    /// Sets `current->in_iowait`.
    pub(crate) fn enter() -> Self {
        // SAFETY: No requirements: the bit belongs to the current task.
        Self(unsafe { ffi::uring_swap_iowait(true) })
    }
}

impl Drop for Iowait {
    fn drop(&mut self) {
        // SAFETY: No requirements: the bit belongs to the current task.
        unsafe { ffi::uring_swap_iowait(self.0) };
    }
}

/// A signal mask for the time of a wait.
pub(crate) struct Sigmask(());

impl Sigmask {
    /// Blocks the signals of the set at user address `addr` of `size` bytes, as `ppoll(2)` does.
    ///
    /// Context: may sleep. `EINVAL` for a wrong size, `EFAULT`.
    pub(crate) fn set(addr: u64, size: usize) -> Result<Self> {
        // SAFETY: `addr` is only used with the user-access functions.
        kernel::error::to_result(unsafe { ffi::uring_set_sigmask(addr, size) })?;
        Ok(Self(()))
    }

    /// Puts the old mask back; when a signal interrupted the wait that happens only after the
    /// signal's delivery.
    pub(crate) fn restore(self, interrupted: bool) {
        // SAFETY: The mask was set by `set`.
        unsafe { ffi::uring_restore_sigmask(interrupted) }
    }
}
