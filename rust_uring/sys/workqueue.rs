// SPDX-License-Identifier: GPL-2.0

//! A work queue of our own, and work items that carry a [`Counter`].
//!
//! The module's own queue is what makes unloading safe: destroying it waits for what runs on it.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::sys::{
    ffi,
    percpu_ref::{
        Counted,
        Counter, //
    }, //
};
use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::LockClassKey,
    types::Opaque,
    workqueue::Queue, //
};

/// # Invariants
///
/// Owns the `workqueue_struct`.
pub(crate) struct OwnedQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: A workqueue may be used from any context.
unsafe impl Send for OwnedQueue {}
// SAFETY: As for `Send`.
unsafe impl Sync for OwnedQueue {}

impl OwnedQueue {
    /// Creates an unbound queue. `ENOMEM`.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The format takes one string, which is passed.
        let wq = unsafe {
            bindings::alloc_workqueue_noprof(
                c"%s".as_char_ptr(),
                ffi::URING_WQ_UNBOUND,
                0,
                name.as_char_ptr(),
            )
        };
        // INVARIANT: Just created.
        Ok(Self(NonNull::new(wq).ok_or(ENOMEM)?))
    }

    /// Waits until everything that was queued, also by what runs, is done. Context: may sleep.
    pub(crate) fn drain(&self) {
        // SAFETY: The queue is ours.
        unsafe { bindings::drain_workqueue(self.0.as_ptr()) };
    }
}

impl Deref for OwnedQueue {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        // SAFETY: The queue is ours and lives as long as `self`.
        unsafe { Queue::from_raw(self.0.as_ptr()) }
    }
}

impl Drop for OwnedQueue {
    fn drop(&mut self) {
        // SAFETY: The queue is ours; this waits for all of its work.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

/// What a [`Task`] does, with the reference that was taken when it was queued. `ID` tells those of one
/// value apart.
pub(crate) trait Run<const ID: u64 = 0>: Sized + Send + Sync {
    /// The field.
    fn task(&self) -> &Task<Self, ID>;

    /// Runs in a kernel thread. Context: may sleep.
    fn run(this: Counter<Self>);
}

/// A work item inside a counted value: queued at most once at a time.
///
/// # Invariants
///
/// `work` is initialised, and while it is queued `this` is what [`Counter::into_raw`] gave.
#[pin_data]
pub(crate) struct Task<T, const ID: u64 = 0> {
    #[pin]
    work: Opaque<bindings::work_struct>,
    this: crate::sys::atomic::Atomic<*mut Counted<T>>,
    _type: PhantomData<fn(T)>,
}

// SAFETY: A work item may be queued from any context.
unsafe impl<T: Send + Sync, const ID: u64> Send for Task<T, ID> {}
// SAFETY: As for `Send`.
unsafe impl<T: Send + Sync, const ID: u64> Sync for Task<T, ID> {}

impl<T: Run<ID>, const ID: u64> Task<T, ID> {
    /// Initialises a work item.
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            work <- Opaque::ffi_init(|slot: *mut bindings::work_struct| {
                // SAFETY: `slot` is valid and pinned; name and key are static.
                unsafe {
                    bindings::init_work_with_key(
                        slot,
                        Some(run::<T, ID>),
                        false,
                        name.as_char_ptr(),
                        key.as_ptr(),
                    )
                }
            }),
            this: crate::sys::atomic::Atomic::new(core::ptr::null_mut()),
            _type: PhantomData,
        })
    }
}

/// Queues the task of `value`, unless it is queued already. Context: any.
pub(crate) fn queue<T: Run<ID>, const ID: u64>(queue: &OwnedQueue, value: &Counted<T>) {
    let task = value.task();
    let this = value.get().into_raw();
    // The same pointer each time, so it does not matter who writes it.
    task.this.store(this, kernel::sync::atomic::Relaxed);
    // SAFETY: The work item is initialised; the count that was taken keeps it alive.
    let queued = unsafe {
        bindings::queue_work_on(
            bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
            queue.0.as_ptr(),
            task.work.get(),
        )
    };
    if !queued {
        // SAFETY: It stays queued with the reference of whoever queued it; this one is given back.
        drop(unsafe { Counter::from_raw(this) });
    }
}

/// # Safety
///
/// `work` is that of a [`Task`] which was queued by [`queue`].
unsafe extern "C" fn run<T: Run<ID>, const ID: u64>(work: *mut bindings::work_struct) {
    let opaque = Opaque::cast_from(work).cast_mut();
    // SAFETY: `work` is that field of a `Task<T, ID>`, which the reference taken by `queue` keeps alive.
    let this = unsafe {
        (*kernel::container_of!(opaque, Task<T, ID>, work))
            .this
            .load(kernel::sync::atomic::Relaxed)
    };
    // SAFETY: From `queue`, taken back once for each time that the item was queued.
    T::run(unsafe { Counter::from_raw(this) });
}
