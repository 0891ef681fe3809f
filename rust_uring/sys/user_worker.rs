// SPDX-License-Identifier: GPL-2.0

//! Threads of the calling process that run kernel code only.
//!
//! They share its memory, its root and working directory, its limits and its control group, are seen
//! as threads of it, and die with it.
//!
//! C header: [`include/linux/sched/vhost_task.h`](srctree/include/linux/sched/vhost_task.h)

use crate::sys::ffi;
use core::ptr::NonNull;
use kernel::{
    error::from_err_ptr,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        SetOnce, //
    },
    task::Task, //
};

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

/// Whether the kernel has such threads.
pub(crate) fn available() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_have_user_workers() }
}

/// A thread. Dropping it stops it, and waits until it is done.
///
/// # Invariants
///
/// `thread` was created and started; it uses `job`, which is kept until it has stopped.
pub(crate) struct UserWorker<J> {
    thread: NonNull<ffi::vhost_task>,
    job: Arc<J>,
}

// SAFETY: A thread may be woken and stopped by any other.
unsafe impl<J: Job> Send for UserWorker<J> {}
// SAFETY: As for `Send`.
unsafe impl<J: Job> Sync for UserWorker<J> {}

impl<J: Job> UserWorker<J> {
    /// Starts a thread of the current process; 15 bytes of the name are seen. `EAGAIN` or `ENOMEM` as
    /// for `clone(2)`; `EOPNOTSUPP` if the kernel has none.
    pub(crate) fn spawn(job: Arc<J>, name: &CStr) -> Result<Self> {
        let data = Arc::as_ptr(&job).cast_mut().cast();
        // SAFETY: `job` is kept until the thread has stopped. The name is copied.
        let thread = from_err_ptr(unsafe {
            ffi::uring_worker_create(Some(work::<J>), Some(killed::<J>), data, name.as_char_ptr())
        })?;
        let thread = NonNull::new(thread).ok_or(ENOMEM)?;
        // SAFETY: Just created.
        unsafe { ffi::uring_worker_start(thread.as_ptr()) };
        Ok(Self { thread, job })
    }

    /// What it does.
    pub(crate) fn job(&self) -> &Arc<J> {
        &self.job
    }

    /// Wakes it after work was added. Context: any.
    pub(crate) fn wake(&self) {
        // SAFETY: Not stopped yet.
        unsafe { ffi::uring_worker_wake(self.thread.as_ptr()) };
    }
}

impl<J> Drop for UserWorker<J> {
    fn drop(&mut self) {
        // SAFETY: Not stopped yet; waits until the thread is gone.
        unsafe { ffi::uring_worker_stop(self.thread.as_ptr()) };
    }
}

/// Interrupts what a thread of ours waits for. Context: any.
pub(crate) fn interrupt(task: &SetOnce<ARef<Task>>) {
    if let Some(task) = task.as_ref() {
        // SAFETY: The task is valid.
        unsafe { ffi::uring_interrupt_task(task.as_ptr()) };
    }
}

/// # Safety
///
/// `data` is the job of a [`UserWorker<J>`].
unsafe extern "C" fn work<J: Job>(data: *mut kernel::ffi::c_void) -> bool {
    // SAFETY: Kept until the thread has stopped.
    unsafe { &*data.cast::<J>() }.work()
}

/// # Safety
///
/// As for [`work`].
unsafe extern "C" fn killed<J: Job>(data: *mut kernel::ffi::c_void) {
    // SAFETY: As for `work`.
    unsafe { &*data.cast::<J>() }.killed()
}
