// SPDX-License-Identifier: GPL-2.0

//! Threads of the kernel that work for a process.
//!
//! They are no threads of the process: nobody sees them there, no signal reaches them, and `execve(2)` does
//! not wait for them. They have the process' control groups and niceness from their beginning, its memory
//! and limits for the time of one piece of work ([`Lent`]), and never its descriptors, its root and working
//! directory or its namespaces.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use crate::sys::{
    ffi,
    task::{
        self,
        BorrowedMm, //
    },
    thread::{
        self,
        Job,
        Thread, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::from_err_ptr,
    mm::Mm,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    },
    task::Task, //
};

/// A process, as those know it that work for it. Keeps neither its memory nor a thread of it.
pub(crate) struct Process {
    leader: ARef<Task>,
    mm: ARef<Mm>,
}

impl Process {
    /// The current process. `EFAULT` for a task without memory.
    pub(crate) fn current() -> Result<Self> {
        // SAFETY: No requirements; returns a counted reference.
        let leader = unsafe { ffi::uring_get_leader() };
        let leader = NonNull::new(leader.cast::<Task>()).ok_or(ESRCH)?;
        Ok(Self {
            // SAFETY: `Task` is transparent over `struct task_struct`, and the count is ours.
            leader: unsafe { ARef::from_raw(leader) },
            mm: task::current_mm()?,
        })
    }

    /// Whether none of its threads is left, or it has executed another program.
    pub(crate) fn is_gone(&self) -> bool {
        // SAFETY: The references are ours; the memory is only compared.
        unsafe { !ffi::uring_process_has_mm(self.leader.as_ptr(), self.mm.as_raw()) }
    }

    /// Lends its memory and limits to the current thread, one of those that work for it. `None` if the process
    /// is gone. Context: may sleep.
    pub(crate) fn lend(&self) -> Option<Lent> {
        let mm = BorrowedMm::new(&self.mm)?;
        // SAFETY: The reference is ours, and the current task is a kernel thread, whose limits are its own.
        unsafe { ffi::uring_kthread_limits(self.leader.as_ptr()) };
        Some(Lent { _mm: mm })
    }
}

/// While it lives, the current thread has the memory and the limits of a process.
pub(crate) struct Lent {
    _mm: BorrowedMm,
}

/// What a thread has.
struct Life<J> {
    job: Arc<J>,
    process: Arc<Process>,
}

/// A thread. Dropping it stops it, and waits until it is done.
///
/// # Invariants
///
/// `thread` was created and woken, and is counted; it uses `life`, which is kept until it has stopped.
pub(crate) struct KernelWorker<J> {
    thread: NonNull<bindings::task_struct>,
    life: Arc<Life<J>>,
}

// SAFETY: A thread may be woken and stopped by any other.
unsafe impl<J: Job> Send for KernelWorker<J> {}
// SAFETY: As for `Send`.
unsafe impl<J: Job> Sync for KernelWorker<J> {}

impl<J: Job> KernelWorker<J> {
    /// Starts a thread that works for `process`. `ENOMEM`, `EINTR` if the current task is killed. Context: may
    /// sleep.
    pub(crate) fn spawn(job: Arc<J>, process: Arc<Process>) -> Result<Self> {
        let life = Arc::new(Life { job, process }, GFP_KERNEL_ACCOUNT)?;
        let data = Arc::as_ptr(&life).cast_mut().cast();
        // SAFETY: `life` is kept until the thread has stopped; the leader is counted.
        let thread = from_err_ptr(unsafe {
            ffi::uring_kthread_create(Some(run::<J>), data, life.process.leader.as_ptr())
        })?;
        let thread = NonNull::new(thread).ok_or(ENOMEM)?;
        // SAFETY: Just created.
        unsafe { ffi::uring_kthread_wake(thread.as_ptr()) };
        // INVARIANT: As was just done.
        Ok(Self { thread, life })
    }
}

impl<J: Job> Thread<J> for KernelWorker<J> {
    fn job(&self) -> &Arc<J> {
        &self.life.job
    }

    fn wake(&self) {
        // SAFETY: Counted.
        unsafe { ffi::uring_kthread_wake(self.thread.as_ptr()) };
    }

    fn kill(&self) {
        // SAFETY: Counted.
        unsafe { ffi::uring_kthread_kill(self.thread.as_ptr()) };
    }
}

impl<J> Drop for KernelWorker<J> {
    fn drop(&mut self) {
        // SAFETY: Counted, and not stopped yet; waits until the thread is gone, and gives the count back.
        unsafe { ffi::uring_kthread_stop(self.thread.as_ptr()) };
    }
}

/// Whether the current thread, one of the kernel's, is being stopped.
fn should_stop() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_kthread_should_stop() }
}

/// # Safety
///
/// `data` is the life of a [`KernelWorker<J>`], and this its thread.
unsafe extern "C" fn run<J: Job>(data: *mut kernel::ffi::c_void) -> c_int {
    // SAFETY: Kept until the thread has stopped.
    let life = unsafe { &*data.cast::<Life<J>>() };
    // SAFETY: The leader is counted.
    let begun = unsafe { ffi::uring_kthread_begin(life.process.leader.as_ptr()) };
    while !should_stop() {
        // Outside of the control groups of its process it does nothing.
        if begun != 0 || task::fatal_signal_pending() {
            life.job.killed();
            // SAFETY: No requirements.
            unsafe { ffi::uring_kthread_wait_for_stop() };
            continue;
        }
        // What an interruption has left behind would keep it awake. Who interrupts for good stops it.
        thread::forget_interrupt();
        // Who stops it wakes it afterwards.
        task::sleep(|| should_stop() || life.job.work(), None);
    }
    0
}
