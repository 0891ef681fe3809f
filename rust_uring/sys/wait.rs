// SPDX-License-Identifier: GPL-2.0

//! Wait queues, with a filter that the waker applies and keyed wakeups for poll.
//!
//! C header: [`include/linux/wait.h`](srctree/include/linux/wait.h)

use crate::sys::{
    ffi,
    task::{
        self,
        Deadline, //
    }, //
};
use core::{
    ffi::c_void,
    marker::PhantomData, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::LockClassKey,
    types::Opaque, //
};

/// A `wait_queue_head`.
///
/// # Invariants
///
/// `head` is initialised and pinned.
#[pin_data]
pub(crate) struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
}

// SAFETY: A wait queue may be used from any context; it has its own lock.
unsafe impl Send for WaitQueue {}
// SAFETY: As for `Send`.
unsafe impl Sync for WaitQueue {}

/// What a filter sees is looked at by wakers of any context, so it must be shareable.
pub(crate) type Filter<'a> = &'a (dyn Fn() -> bool + Sync);

/// An entry on the sleeper's stack; gone from the queue before [`WaitQueue::sleep`] returns.
struct Entry<'a> {
    entry: Opaque<bindings::wait_queue_entry>,
    filter: Filter<'a>,
}

impl WaitQueue {
    /// Initialises an empty queue.
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // INVARIANT: Initialised in place.
            head <- Opaque::ffi_init(|slot: *mut bindings::wait_queue_head| {
                // SAFETY: `slot` is valid and pinned; name and key are static.
                unsafe { bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr()) }
            }),
        })
    }

    /// The C structure, for callbacks of the kernel.
    pub(super) fn as_raw(&self) -> *mut bindings::wait_queue_head {
        self.head.get()
    }

    /// Wakes `exclusive` sleepers (0: all) whose filter agrees, and every poller.
    ///
    /// The key says `EPOLLIN`, and that it comes from a ring, so that a ring that polls itself
    /// notices. Returns how many exclusive sleepers were woken. Context: any, but not within a
    /// wakeup of this same queue.
    pub(crate) fn wake(&self, exclusive: i32) -> i32 {
        let key = (ffi::URING_EPOLLIN | ffi::URING_EPOLL_WAKE) as usize;
        // SAFETY: The queue is initialised by the invariants. The key is a mask, not a pointer.
        unsafe {
            bindings::__wake_up(
                self.head.get(),
                ffi::URING_TASK_NORMAL,
                exclusive,
                core::ptr::without_provenance_mut::<c_void>(key).cast(),
            )
        }
    }

    /// Wakes every poller: what it polls is gone. Context: any, but not within a wakeup of this same
    /// queue.
    pub(crate) fn hang_up(&self) {
        let key = (ffi::URING_EPOLLHUP | ffi::URING_EPOLLIN) as usize;
        // SAFETY: As in `wake`.
        unsafe {
            bindings::__wake_up(
                self.head.get(),
                ffi::URING_TASK_NORMAL,
                0,
                core::ptr::without_provenance_mut::<c_void>(key).cast(),
            )
        };
    }

    /// Whether anybody is in the queue, with a full barrier before the look.
    pub(crate) fn has_sleeper(&self) -> bool {
        // SAFETY: The queue is initialised by the invariants.
        unsafe { ffi::uring_wq_has_sleeper(self.head.get()) }
    }

    /// Sleeps interruptibly, one turn: until a wakeup that passes `filter`, a signal, or the
    /// deadline.
    ///
    /// `ready` is asked once when the entry is in the queue; if it says yes there is no sleep. It
    /// must not sleep itself. `filter` runs in the waker's context, with interrupts off.
    ///
    /// Returns whether the deadline passed. Context: may sleep.
    pub(crate) fn sleep(
        &self,
        filter: Filter<'_>,
        ready: impl FnOnce() -> bool,
        deadline: Option<Deadline>,
    ) -> bool {
        let entry = Entry {
            entry: Opaque::new(bindings::wait_queue_entry {
                func: Some(wake_filtered),
                private: task::current_raw().cast(),
                ..Default::default()
            }),
            filter,
        };
        // SAFETY: The entry does not move until it is off the queue, and its list head is
        // initialised before it is used.
        unsafe {
            let list = &raw mut (*entry.entry.get()).entry;
            (*list).next = list;
            (*list).prev = list;
            bindings::prepare_to_wait_exclusive(
                self.head.get(),
                entry.entry.get(),
                ffi::URING_TASK_INTERRUPTIBLE as c_int,
            );
        }
        let timed_out = !ready() && task::schedule_until(deadline);
        // SAFETY: Takes off the queue what was put there, unless the waker did so already; sets the
        // task running.
        unsafe { bindings::finish_wait(self.head.get(), entry.entry.get()) };
        timed_out
    }
}

/// The waker's side of [`WaitQueue::sleep`]. Context: the queue's lock is held, interrupts are off.
///
/// # Safety
///
/// `entry` is that of an [`Entry`].
unsafe extern "C" fn wake_filtered(
    entry: *mut bindings::wait_queue_entry,
    mode: c_uint,
    flags: c_int,
    key: *mut kernel::ffi::c_void,
) -> c_int {
    let opaque = Opaque::cast_from(entry).cast_mut();
    // SAFETY: `entry` is that field of an `Entry`, which is still in the queue.
    let filter = unsafe { (*kernel::container_of!(opaque, Entry<'_>, entry)).filter };
    if !filter() {
        return 0;
    }
    // SAFETY: Passed on as we got it.
    unsafe { bindings::autoremove_wake_function(entry, mode, flags, key) }
}

/// One call of `poll()` on a file, or on something else that lives for `'a`.
pub(crate) struct PollCall<'a> {
    file: *mut bindings::file,
    table: *mut bindings::poll_table_struct,
    _source: PhantomData<fn(&'a WaitQueue)>,
}

impl<'a> PollCall<'a> {
    /// Wraps what `f_op->poll` gets.
    ///
    /// # Safety
    ///
    /// `table` is null or valid as long as the result is used. If it adds entries to queues they leave
    /// them before what lives for `'a` is gone. `file` is what the table's function wants.
    pub(super) unsafe fn new(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> Self {
        Self {
            file,
            table,
            _source: PhantomData,
        }
    }

    /// Adds the caller to `queue`. Implies a full barrier.
    pub(crate) fn wait_on(&self, queue: &'a WaitQueue) {
        // SAFETY: The table is null or valid by the contract of `new`, and so the queue lives as long
        // as the entries are in it.
        unsafe { bindings::poll_wait(self.file, queue.as_raw(), self.table) }
    }

    /// Asks a file.
    pub(crate) fn ask(&self, file: &'a kernel::fs::File) -> u32 {
        // SAFETY: The file is open. The queues of a file live as long as it, or are freed as
        // `POLLFREE` says.
        unsafe { ffi::uring_poll_file(file.as_ptr(), self.table) }
    }
}
