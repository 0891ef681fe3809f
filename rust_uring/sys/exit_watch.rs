// SPDX-License-Identifier: GPL-2.0

//! Learning that a thread, or a process, is gone.
//!
//! The kernel has no hook for modules in its exit path, but it wakes those who poll a pidfd: an
//! entry in that queue of the thread's `struct pid` is woken when the thread exits.
//!
//! C header: [`include/linux/pid.h`](srctree/include/linux/pid.h)

use crate::sys::{
    atomic::Atomic,
    ffi, //
};
use core::ptr::NonNull;
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Release, //
        },
        Arc, //
    },
    types::Opaque, //
};

/// Who wants to know.
pub(crate) trait OnExit: Send + Sync {
    /// A watched thread is gone. Context: interrupts off, the task list is locked: may only queue
    /// work.
    fn thread_exited(this: &Arc<Self>);
}

/// A watch on one thread.
///
/// # Invariants
///
/// `entry` is in the exit queue of `pid`, which is a counted reference.
#[pin_data(PinnedDrop)]
pub(crate) struct ExitWatch<T: OnExit> {
    #[pin]
    entry: Opaque<bindings::wait_queue_entry>,
    pid: NonNull<bindings::pid>,
    gone: Atomic<bool>,
    listener: Arc<T>,
}

// SAFETY: The watch is not bound to a thread: the queue has its own lock.
unsafe impl<T: OnExit> Send for ExitWatch<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: OnExit> Sync for ExitWatch<T> {}

impl<T: OnExit> ExitWatch<T> {
    /// Watches the current thread. `ENOMEM`.
    pub(crate) fn current(listener: Arc<T>) -> Result<Pin<KBox<Self>>> {
        // SAFETY: No requirements; returns a counted reference.
        Self::new(unsafe { ffi::uring_current_pid() }, listener)
    }

    /// Watches the current process: its first thread, after whose end others may go on, and its last.
    /// `ENOMEM`.
    pub(crate) fn process(listener: Arc<T>) -> Result<Pin<KBox<Self>>> {
        // SAFETY: No requirements; returns a counted reference.
        Self::new(unsafe { ffi::uring_current_tgid() }, listener)
    }

    /// Takes over a counted reference.
    fn new(pid: *mut bindings::pid, listener: Arc<T>) -> Result<Pin<KBox<Self>>> {
        let pid = NonNull::new(pid).ok_or(ESRCH)?;
        let watch = KBox::pin_init(
            pin_init!(Self {
                entry: Opaque::new(bindings::wait_queue_entry {
                    func: Some(wake::<T>),
                    ..Default::default()
                }),
                pid,
                gone: Atomic::new(false),
                listener,
            }),
            GFP_KERNEL_ACCOUNT,
        );
        match watch {
            Ok(watch) => {
                // SAFETY: The queue lives as long as `pid`; the entry stays where it is until `drop`
                // takes it off.
                unsafe {
                    bindings::add_wait_queue(ffi::uring_exit_queue(pid.as_ptr()), watch.entry.get())
                };
                Ok(watch)
            }
            Err(err) => {
                // SAFETY: The reference taken above.
                unsafe { bindings::put_pid(pid.as_ptr()) };
                Err(err)
            }
        }
    }

    /// Whether no thread is left of the process that is watched.
    pub(crate) fn process_gone(&self) -> bool {
        // SAFETY: The pid is ours by the invariants.
        unsafe { ffi::uring_process_gone(self.pid.as_ptr()) }
    }

    /// Whether the current process is the one that is watched.
    pub(crate) fn is_current_process(&self) -> bool {
        // SAFETY: The pid is ours by the invariants; it is only compared.
        unsafe { ffi::uring_is_current_tgid(self.pid.as_ptr()) }
    }

    /// Whether the thread is gone.
    pub(crate) fn gone(&self) -> bool {
        self.gone.load(Acquire)
    }

    /// Whether the current thread has the id that the watched one had when the watch began. That
    /// does not make it the same one: the first thread's id passes to the thread that executes
    /// another program.
    pub(crate) fn has_current_id(&self) -> bool {
        // SAFETY: The pid is ours by the invariants; it is only compared.
        unsafe { ffi::uring_is_current_pid(self.pid.as_ptr()) }
    }
}

#[pinned_drop]
impl<T: OnExit> PinnedDrop for ExitWatch<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: In the queue by the invariants. After this no wakeup runs on the entry any more.
        unsafe {
            bindings::remove_wait_queue(ffi::uring_exit_queue(self.pid.as_ptr()), self.entry.get());
            bindings::put_pid(self.pid.as_ptr());
        }
    }
}

/// # Safety
///
/// `entry` is that of an [`ExitWatch<T>`] in a queue.
unsafe extern "C" fn wake<T: OnExit>(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    _key: *mut kernel::ffi::c_void,
) -> c_int {
    let opaque = Opaque::cast_from(entry).cast_mut();
    // SAFETY: That field of a watch, which cannot go before it is off the queue.
    let watch = unsafe { &*kernel::container_of!(opaque, ExitWatch<T>, entry) };
    watch.gone.store(true, Release);
    T::thread_exited(&watch.listener);
    0
}
