// SPDX-License-Identifier: GPL-2.0

//! A pointer that is read without a lock and replaced now and then.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use crate::sys::atomic::Atomic;
use core::{
    marker::PhantomData,
    ptr::null_mut, //
};
use kernel::{
    bindings,
    sync::{
        atomic::{
            Acquire,
            Full, //
        },
        rcu,
        Arc, //
    }, //
};

/// An optional [`Arc`] behind RCU.
///
/// # Invariants
///
/// `ptr` is null or comes from [`Arc::into_raw`], with the count owned by the cell; a replaced one is
/// released only after a grace period.
pub(crate) struct RcuCell<T> {
    ptr: Atomic<*mut T>,
    _owns: PhantomData<Arc<T>>,
}

// SAFETY: The cell is an `Arc<T>` that any context may look into.
unsafe impl<T: Send + Sync> Send for RcuCell<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: Send + Sync> Sync for RcuCell<T> {}

fn into_raw<T>(value: Option<Arc<T>>) -> *mut T {
    value.map_or(null_mut(), |v| Arc::into_raw(v).cast_mut())
}

impl<T> RcuCell<T> {
    /// A cell with this content.
    pub(crate) fn new(value: Option<Arc<T>>) -> Self {
        // INVARIANT: The count goes from `value` to the cell.
        Self {
            ptr: Atomic::new(into_raw(value)),
            _owns: PhantomData,
        }
    }

    /// Looks at the content, which cannot go away meanwhile.
    ///
    /// `f` must not sleep. Context: any.
    #[inline]
    pub(crate) fn read<R>(&self, f: impl FnOnce(Option<&T>) -> R) -> R {
        let _rcu = rcu::read_lock();
        let ptr = self.ptr.load(Acquire);
        // SAFETY: Null, or kept until the end of this RCU section by the invariants.
        f(unsafe { ptr.as_ref() })
    }

    /// Puts `value` in and returns what was there, once nobody looks at it through the cell.
    ///
    /// Context: may sleep (an expedited grace period).
    pub(crate) fn replace(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        let old = self.ptr.xchg(into_raw(value), Full);
        if old.is_null() {
            return None;
        }
        // SAFETY: No requirements but the context.
        unsafe { bindings::synchronize_rcu_expedited() };
        // SAFETY: From `Arc::into_raw`, and the cell's count is ours now.
        Some(unsafe { Arc::from_raw(old) })
    }
}

impl<T> Drop for RcuCell<T> {
    fn drop(&mut self) {
        let old = self.ptr.load(Acquire);
        if !old.is_null() {
            // SAFETY: From `Arc::into_raw`; nobody can look any more, the cell itself goes.
            drop(unsafe { Arc::from_raw(old) });
        }
    }
}
