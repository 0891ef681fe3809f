// SPDX-License-Identifier: GPL-2.0

//! Where a thread runs, and how much it has run.
//!
//! C headers: [`include/linux/sched.h`](srctree/include/linux/sched.h),
//! [`include/linux/sched/cputime.h`](srctree/include/linux/sched/cputime.h)

use crate::sys::ffi;
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    seq_file::SeqFile,
    task::Task, //
};

/// Whether the current task may run on a CPU, if it chooses to. `EINVAL` if not, `ENOMEM`.
pub(crate) fn check_allowed(cpu: u32) -> Result {
    // SAFETY: No requirements.
    to_result(unsafe { ffi::uring_cpu_allowed(cpu) })
}

/// From now on the current thread runs on this CPU. `EINVAL` if it cannot. Context: may sleep.
pub(crate) fn bind(cpu: u32) -> Result {
    // SAFETY: No requirements but the context.
    to_result(unsafe { ffi::uring_bind_cpu(cpu) })
}

/// A thread that was made by one that is bound to a CPU is not bound itself: it runs wherever its
/// process may. Context: may sleep.
pub(crate) fn unbind() {
    // SAFETY: No requirements but the context.
    unsafe { ffi::uring_unbind_cpu() };
}

/// The CPU on which a task runs, or ran last.
pub(crate) fn of(task: &Task) -> u32 {
    // SAFETY: The task is valid.
    unsafe { ffi::uring_task_cpu(task.as_ptr()) }
}

/// CPU time that a task has spent in the kernel, in microseconds.
pub(crate) fn system_time(task: &Task) -> u64 {
    // SAFETY: The task is valid.
    unsafe { ffi::uring_stime_us(task.as_ptr()) }
}

/// The number of a task, as those who read this file of `/proc` know it; 0 if they do not.
pub(crate) fn pid_shown(m: &SeqFile, task: &Task) -> i32 {
    let m = core::ptr::from_ref(m)
        .cast_mut()
        .cast::<bindings::seq_file>();
    // SAFETY: `SeqFile` is a transparent wrapper of a `seq_file`, which is that of a file in `/proc`
    // while it is shown; the task is valid.
    unsafe { ffi::uring_pid_shown(m, task.as_ptr()) }
}
