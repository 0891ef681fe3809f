// SPDX-License-Identifier: GPL-2.0

//! Threads that do pieces of work when there are any: what is the same whoever the threads are of.
//!
//! There are two kinds: see [`user_worker`](crate::sys::user_worker) and
//! [`kernel_worker`](crate::sys::kernel_worker).

use crate::sys::ffi;
use kernel::{
    sync::{
        aref::ARef,
        Arc,
        SetOnce, //
    },
    task::Task, //
};

/// A thread. Dropping it stops it, and waits until it is done.
pub(crate) trait Thread<J: Job>: Send + Sync {
    /// What it does.
    fn job(&self) -> &Arc<J>;

    /// Wakes it after work was added. Context: any.
    fn wake(&self);

    /// Its process is gone: ends what it waits for, as far as a deadly signal does. Context: any.
    fn kill(&self);
}

/// What a thread does.
pub(crate) trait Job: Send + Sync + 'static {
    /// Does one piece of work. Returns false if there was none: then the thread sleeps until it is
    /// woken.
    ///
    /// Is called with the task state set to interruptible; has to call [`awake`] before it does
    /// anything that can sleep. Who adds work wakes the thread afterwards.
    fn work(&self) -> bool;

    /// The process was killed, and the thread goes with it. Context: may sleep.
    fn killed(&self);
}

/// Ends the state in which [`Job::work`] is called.
pub(crate) fn awake() {
    // SAFETY: No requirements.
    unsafe { ffi::uring_set_task_running() };
}

/// Forgets an interruption that came for a piece of work that is over.
pub(crate) fn forget_interrupt() {
    // SAFETY: No requirements.
    unsafe { ffi::uring_clear_notify() };
}

/// Interrupts what a thread of ours waits for. Context: any.
pub(crate) fn interrupt(task: &SetOnce<ARef<Task>>) {
    if let Some(task) = task.as_ref() {
        // SAFETY: The task is valid.
        unsafe { ffi::uring_interrupt_task(task.as_ptr()) };
    }
}
