// SPDX-License-Identifier: GPL-2.0

//! Shared ownership that is counted per CPU until its end is near.
//!
//! [`Root`] is the one owner that decides about the end; [`Counted::get`] hands out [`Counter`]s,
//! each of which keeps the value alive. Dropping the root waits until the last of them is gone, so
//! none can ever dangle.
//!
//! C header: [`include/linux/percpu-refcount.h`](srctree/include/linux/percpu-refcount.h)

use crate::sys::ffi;
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    new_spinlock,
    prelude::*,
    sync::{
        Arc,
        SpinLock, //
    },
    types::Opaque, //
};

/// A value together with its per-CPU counter.
///
/// # Invariants
///
/// - Exists only inside a [`Root`]; `refs` is initialised and `zero` is completed when, after
///   [`Root::kill`], the counter reaches zero.
#[pin_data]
pub(crate) struct Counted<T> {
    #[pin]
    refs: Opaque<bindings::percpu_ref>,
    #[pin]
    zero: Opaque<bindings::completion>,
    #[pin]
    value: T,
}

// SAFETY: The counter and the completion may be used from any context.
unsafe impl<T: Send> Send for Counted<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: Sync> Sync for Counted<T> {}

impl<T> Counted<T> {
    /// Takes a reference. Context: any.
    pub(crate) fn get(&self) -> Counter<T> {
        // SAFETY: `refs` is initialised by the invariants, and `self` shows that it is not zero yet
        // or that the root still exists.
        unsafe { ffi::uring_percpu_ref_get(self.refs.get()) };
        // INVARIANT: The reference just taken.
        Counter(NonNull::from(self))
    }

    /// Whether [`Root::kill`] was called: the value is about to go away. Context: any.
    #[inline]
    pub(crate) fn is_dying(&self) -> bool {
        // SAFETY: `refs` is initialised by the invariants. Others may write to the field: it is read in
        // one piece.
        let word = unsafe { (&raw const (*self.refs.get()).percpu_count_ptr).read_volatile() };
        word & IS_DEAD != 0
    }
}

impl<T> Deref for Counted<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

/// The bit of `percpu_count_ptr` that is set when the counter is killed. CAST: Widening.
const IS_DEAD: c_ulong = bindings::__PERCPU_REF_DEAD as c_ulong;

/// A reference that keeps the value alive.
///
/// # Invariants
///
/// Owns one count of the `percpu_ref` in the pointee.
pub(crate) struct Counter<T>(NonNull<Counted<T>>);

// SAFETY: A `Counter` is a shared reference that also may be the one to drop the last count; what
// is dropped then is nothing but the count.
unsafe impl<T: Send + Sync> Send for Counter<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: Send + Sync> Sync for Counter<T> {}

impl<T> Deref for Counter<T> {
    type Target = Counted<T>;

    #[inline(always)]
    fn deref(&self) -> &Counted<T> {
        // SAFETY: The count keeps the value alive by the invariants: the root waits for it.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Clone for Counter<T> {
    fn clone(&self) -> Self {
        self.get()
    }
}

impl<T> Counter<T> {
    /// Turns the reference into a pointer that a C callback gets.
    pub(super) fn into_raw(self) -> *mut Counted<T> {
        let ptr = self.0.as_ptr();
        core::mem::forget(self);
        ptr
    }

    /// Takes back what [`Self::into_raw`] gave.
    ///
    /// # Safety
    ///
    /// `ptr` comes from [`Self::into_raw`] and is taken back once.
    pub(super) unsafe fn from_raw(ptr: *mut Counted<T>) -> Self {
        // SAFETY: It was not null in `into_raw`. INVARIANT: The count was left in place there.
        Self(unsafe { NonNull::new_unchecked(ptr) })
    }
}

impl<T> Drop for Counter<T> {
    fn drop(&mut self) {
        // SAFETY: The count is ours by the invariants. The value may be gone right after.
        unsafe { ffi::uring_percpu_ref_put(self.0.as_ref().refs.get()) };
    }
}

/// A way to a counted value that does not keep it.
///
/// # Invariants
///
/// `target` is null, or a value whose [`Root`] was not killed: that makes it null first.
#[pin_data]
pub(crate) struct Weak<T> {
    #[pin]
    target: SpinLock<*const Counted<T>>,
}

// SAFETY: What is handed out are `Counter`s.
unsafe impl<T: Send + Sync> Send for Weak<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: Send + Sync> Sync for Weak<T> {}

impl<T> Weak<T> {
    /// One that leads to nothing yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            target <- new_spinlock!(core::ptr::null(), "Weak::target"),
        })
    }

    /// A reference, unless the value is about to go away. Context: interrupts are on.
    pub(crate) fn get(&self) -> Option<Counter<T>> {
        let target = self.target.lock();
        // SAFETY: By the invariants the root is there for as long as the lock is held.
        unsafe { target.as_ref() }.map(Counted::get)
    }
}

/// The owner of a counted value.
pub(crate) struct Root<T> {
    value: Pin<KBox<Counted<T>>>,
    weak: Option<Arc<Weak<T>>>,
}

impl<T> Root<T> {
    /// Allocates and initialises the value.
    ///
    /// Context: may sleep. `ENOMEM`, or what the initialiser of the value returns.
    pub(crate) fn new<E>(init: impl PinInit<T, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        let counted = KBox::try_pin_init(
            try_pin_init!(Counted {
                zero <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                    // SAFETY: `slot` is valid for this write and pinned.
                    unsafe { bindings::init_completion(slot) }
                }),
                value <- init,
                // The last one: nothing undoes it when another part fails.
                refs <- Opaque::try_ffi_init(|slot: *mut bindings::percpu_ref| {
                    // SAFETY: `slot` is valid and pinned; it is part of a `Counted<T>`.
                    kernel::error::to_result(unsafe {
                        bindings::percpu_ref_init(slot, Some(release::<T>), 0, bindings::GFP_KERNEL)
                    })
                }),
            }? Error),
            GFP_KERNEL,
        )?;
        // INVARIANT: In a `Root`, with `refs` initialised (and one count that is the root's).
        Ok(Self {
            value: counted,
            weak: None,
        })
    }

    /// Makes `weak` lead to the value until [`Root::kill`].
    pub(crate) fn set_weak(&mut self, weak: Arc<Weak<T>>) {
        // INVARIANT: `kill` comes later, because it needs `self` and makes it null again. Should there
        // be another one already it is made null here.
        if let Some(old) = self.weak.take() {
            *old.target.lock() = core::ptr::null();
        }
        *weak.target.lock() = &raw const *self.value;
        self.weak = Some(weak);
    }

    /// Gives up the root's own count. From now on [`Counted::is_dying`] is true and the counter can
    /// reach zero. Call once. Context: any.
    pub(crate) fn kill(&self) {
        if let Some(weak) = &self.weak {
            *weak.target.lock() = core::ptr::null();
        }
        if !self.value.is_dying() {
            // SAFETY: `refs` is initialised and was not killed before: only the root does that, and
            // it has no second owner.
            unsafe { bindings::percpu_ref_kill_and_confirm(self.value.refs.get(), None) };
        }
    }

    /// Waits until all [`Counter`]s are gone, `timeout` jiffies at the most.
    ///
    /// Returns whether they are. Context: may sleep.
    pub(crate) fn wait_zero(&self, timeout: usize) -> bool {
        // SAFETY: `zero` is initialised by the invariants.
        unsafe {
            if bindings::completion_done(self.value.zero.get()) {
                return true;
            }
            bindings::wait_for_completion_interruptible_timeout(self.value.zero.get(), timeout) > 0
        }
    }
}

impl<T> Deref for Root<T> {
    type Target = Counted<T>;

    #[inline(always)]
    fn deref(&self) -> &Counted<T> {
        &self.value
    }
}

impl<T> Drop for Root<T> {
    fn drop(&mut self) {
        self.kill();
        // SAFETY: `zero` is initialised, and after `kill` the counter gets to zero when the last
        // `Counter` is dropped.
        unsafe { bindings::wait_for_completion(self.value.zero.get()) };
        // SAFETY: The counter is at zero and dead; nobody can reach it any more but us.
        unsafe { bindings::percpu_ref_exit(self.value.refs.get()) };
    }
}

/// The counter of a dying value got to zero. Context: any, also softirq.
///
/// # Safety
///
/// Called by the `percpu_ref` inside a `Counted<T>`.
unsafe extern "C" fn release<T>(refs: *mut bindings::percpu_ref) {
    let refs: *mut Opaque<bindings::percpu_ref> = refs.cast();
    // SAFETY: `refs` is that field of a `Counted<T>`.
    let counted = unsafe { kernel::container_of!(refs, Counted<T>, refs) };
    // SAFETY: The root is still there: it waits for what is done here.
    unsafe { bindings::complete_all((*counted).zero.get()) };
}
