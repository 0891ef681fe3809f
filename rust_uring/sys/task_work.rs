// SPDX-License-Identifier: GPL-2.0

//! Work that a task does when it leaves the kernel.
//!
//! Not every kernel has that for modules. Where it is missing [`add`] says so.
//!
//! C header: [`include/linux/task_work.h`](srctree/include/linux/task_work.h)

use crate::sys::{
    atomic::Atomic,
    ffi,
    percpu_ref::{
        Counted,
        Counter, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr::null_mut, //
};
use kernel::{
    bindings,
    sync::atomic::{
        Full,
        Relaxed, //
    },
    task::Task,
    types::Opaque, //
};

/// The right to use task work. There is one for the module; dropped when nothing is added any more and all that
/// was added is done. That may sleep.
pub(crate) struct Provider(());

impl Provider {
    /// Looks whether the kernel has it, if it is wanted at all.
    pub(crate) fn new(wanted: bool) -> Self {
        if wanted {
            // SAFETY: Called once, before anything is added.
            unsafe { ffi::uring_task_work_get() };
        }
        Self(())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // SAFETY: Called once, after `uring_task_work_get` if that was called at all.
        unsafe { ffi::uring_task_work_put() };
    }
}

/// What a [`TaskWork`] does, with the reference that was taken when it was added.
pub(crate) trait RunInTask: Sized + Send + Sync {
    /// The field.
    fn task_work(&self) -> &TaskWork<Self>;

    /// Runs in the task, on its way out of the kernel. Context: may sleep.
    fn run(this: Counter<Self>);
}

/// Something to be done by a task, inside a counted value: added at most once at a time.
///
/// # Invariants
///
/// While it is added `pending` is true, and `this` is what [`Counter::into_raw`] gave. Who sets `pending` may
/// add it.
pub(crate) struct TaskWork<T> {
    head: Opaque<bindings::callback_head>,
    this: Atomic<*mut Counted<T>>,
    pending: Atomic<bool>,
    _type: PhantomData<fn(T)>,
}

// SAFETY: It may be added from any context.
unsafe impl<T: Send + Sync> Send for TaskWork<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: Send + Sync> Sync for TaskWork<T> {}

impl<T> TaskWork<T> {
    /// Something that is not added.
    pub(crate) const fn new() -> Self {
        Self {
            head: Opaque::uninit(),
            this: Atomic::new(null_mut()),
            pending: Atomic::new(false),
            _type: PhantomData,
        }
    }

    /// Whether it is added and has not begun.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Relaxed)
    }
}

/// Lets `task` do the work of `value`, if it is not going to do so already. False if that is not possible: the
/// task is about to end, or the kernel does not have it.
///
/// `interrupt`: at once; else when it leaves the kernel the next time. It is found by
/// [`notify_signal`](crate::sys::task::notify_signal) until then.
///
/// What the caller has published with a full barrier before is seen by the work. Context: any.
#[inline]
pub(crate) fn add<T: RunInTask>(task: &Task, value: &Counted<T>, interrupt: bool) -> bool {
    value.task_work().is_pending() || add_now(task, value, interrupt)
}

fn add_now<T: RunInTask>(task: &Task, value: &Counted<T>, interrupt: bool) -> bool {
    let work = value.task_work();
    if work.pending.xchg(true, Full) {
        return true;
    }
    let this = value.get().into_raw();
    work.this.store(this, Relaxed);
    // SAFETY: Nobody else adds it. The count that was taken keeps it, and the code is there until `Provider` goes.
    let added = unsafe {
        ffi::uring_task_work_add(task.as_ptr(), work.head.get(), Some(run::<T>), interrupt)
    };
    if !added {
        // Who relied on us meanwhile is helped by what the caller does now.
        work.pending.store(false, Relaxed);
        // SAFETY: From above; nobody else has it.
        drop(unsafe { Counter::from_raw(this) });
    }
    added
}

/// What is pending for the current task is done when it leaves the kernel all the same, but interrupts nothing
/// until then.
pub(crate) fn calm() {
    // SAFETY: No requirements.
    unsafe { ffi::uring_task_work_calm() };
}

/// # Safety
///
/// `head` is that of a [`TaskWork`] which was added by [`add`].
unsafe extern "C" fn run<T: RunInTask>(head: *mut bindings::callback_head) {
    let opaque = Opaque::cast_from(head).cast_mut();
    // SAFETY: That field of a `TaskWork<T>`, which the reference taken by `add` keeps alive.
    let work = unsafe { &*kernel::container_of!(opaque, TaskWork<T>, head) };
    let this = work.this.load(Relaxed);
    // Pairs with `is_pending`: who finds it pending has published what the work is to see. INVARIANT: It is not
    // added any more.
    work.pending.xchg(false, Full);
    // SAFETY: From `add`, taken back once for each time that it was added.
    T::run(unsafe { Counter::from_raw(this) });
    // SAFETY: Once for each time that it was added.
    unsafe { ffi::uring_task_work_done() };
}
