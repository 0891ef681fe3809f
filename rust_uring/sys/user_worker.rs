// SPDX-License-Identifier: GPL-2.0

//! Threads of the calling process that run kernel code only.
//!
//! They share its memory, its descriptors, its root and working directory, its limits and its control
//! group, are seen as threads of it, and die with it.
//!
//! C header: [`include/linux/sched/vhost_task.h`](srctree/include/linux/sched/vhost_task.h)

use crate::sys::{
    atomic::Atomic,
    fd_table::FdTable,
    ffi,
    thread::{
        Job,
        Thread, //
    }, //
};
use core::ptr::NonNull;
use kernel::{
    error::from_err_ptr,
    new_spinlock,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Arc,
        Completion,
        SpinLock, //
    },
    task::Task, //
};

/// Whether the kernel has such threads.
pub(crate) fn available() -> bool {
    // SAFETY: No requirements.
    unsafe { ffi::uring_have_user_workers() }
}

/// Whether a process has only threads left that are made here.
pub(crate) fn only_these_left(task: &Task) -> bool {
    // SAFETY: The task is valid.
    unsafe { ffi::uring_only_workers_left(task.as_ptr()) }
}

/// What a thread has.
#[pin_data]
struct Life<J> {
    job: Arc<J>,
    /// The descriptors that it is to share with who makes it.
    #[pin]
    fds: SpinLock<Option<FdTable>>,
    /// It has taken them.
    #[pin]
    begun: Completion,
    has_begun: Atomic<bool>,
}

impl<J: Job> Life<J> {
    fn new(job: Arc<J>) -> Result<Arc<Self>> {
        // A task without descriptors makes a thread without.
        let fds = FdTable::share().ok();
        Arc::pin_init(
            pin_init!(Self {
                job,
                fds <- new_spinlock!(fds, "Life::fds"),
                begun <- Completion::new(),
                has_begun: Atomic::new(false),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The thread is here, maybe for the first time. Does not sleep.
    #[inline]
    fn begin(&self) {
        if !self.has_begun.load(Relaxed) {
            self.begin_first();
        }
    }

    #[cold]
    fn begin_first(&self) {
        let fds = self.fds.lock().take();
        if let Some(fds) = fds {
            fds.keep();
        }
        self.has_begun.store(true, Relaxed);
        self.begun.complete_all();
    }
}

/// A thread. Dropping it stops it, and waits until it is done.
///
/// # Invariants
///
/// `thread` was created and started; it uses `life`, which is kept until it has stopped.
pub(crate) struct UserWorker<J> {
    thread: NonNull<ffi::vhost_task>,
    life: Arc<Life<J>>,
}

// SAFETY: A thread may be woken and stopped by any other.
unsafe impl<J: Job> Send for UserWorker<J> {}
// SAFETY: As for `Send`.
unsafe impl<J: Job> Sync for UserWorker<J> {}

impl<J: Job> UserWorker<J> {
    /// Starts a thread of the current process; 15 bytes of the name are seen. `EAGAIN` or `ENOMEM` as
    /// for `clone(2)`, `EINTR` if the process is killed; `EOPNOTSUPP` if the kernel has none.
    ///
    /// The thread shares the descriptors of the current task until it ends: see [`FdTable::share`].
    pub(crate) fn spawn(job: Arc<J>, name: &CStr) -> Result<Self> {
        let life = Life::new(job)?;
        let data = Arc::as_ptr(&life).cast_mut().cast();
        // SAFETY: `life` is kept until the thread has stopped. The name is copied.
        let thread = from_err_ptr(unsafe {
            ffi::uring_worker_create(Some(work::<J>), Some(killed::<J>), data, name.as_char_ptr())
        })?;
        let thread = NonNull::new(thread).ok_or(ENOMEM)?;
        // SAFETY: Just created.
        unsafe { ffi::uring_worker_start(thread.as_ptr()) };
        // INVARIANT: As was just done.
        Ok(Self { thread, life })
    }
}

impl<J: Job> Thread<J> for UserWorker<J> {
    fn job(&self) -> &Arc<J> {
        &self.life.job
    }

    fn wake(&self) {
        // SAFETY: Not stopped yet.
        unsafe { ffi::uring_worker_wake(self.thread.as_ptr()) };
    }

    fn kill(&self) {
        // The kernel does: it is a thread of the process.
    }
}

impl<J> Drop for UserWorker<J> {
    fn drop(&mut self) {
        // A thread that is stopped before it begins would leave its descriptors to us, and if its process
        // is gone we could not close them. Sooner or later it runs.
        self.life.begun.wait_for_completion();
        // SAFETY: Not stopped yet; waits until the thread is gone.
        unsafe { ffi::uring_worker_stop(self.thread.as_ptr()) };
    }
}

/// # Safety
///
/// `data` is the life of a [`UserWorker<J>`].
unsafe extern "C" fn work<J: Job>(data: *mut kernel::ffi::c_void) -> bool {
    // SAFETY: Kept until the thread has stopped.
    let life = unsafe { &*data.cast::<Life<J>>() };
    life.begin();
    life.job.work()
}

/// # Safety
///
/// As for [`work`].
unsafe extern "C" fn killed<J: Job>(data: *mut kernel::ffi::c_void) {
    // SAFETY: As for `work`.
    let life = unsafe { &*data.cast::<Life<J>>() };
    life.begin();
    life.job.killed()
}
