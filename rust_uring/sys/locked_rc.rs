// SPDX-License-Identifier: GPL-2.0

//! Counted references whose counter is not atomic: it changes under a lock only.
//!
//! Each lock holds one [`Key`] among the data that it protects. Whoever has `&mut Key` holds the lock,
//! and may take and give back references that were made with this key. Looking at the value needs
//! no lock.

use crate::sys::atomic::Atomic;
use core::{
    cell::UnsafeCell,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// The right to change counters. Unique, and never cloned.
///
/// # Invariants
///
/// No other key has this number.
pub(crate) struct Key(u64);

static NEXT_KEY: Atomic<u64> = Atomic::new(1);

impl Key {
    /// A key that fits nothing yet.
    pub(crate) fn new() -> Self {
        // INVARIANT: 64 bits are not used up.
        Self(NEXT_KEY.fetch_add(1, Relaxed))
    }
}

struct Inner<T> {
    /// Changed only with `&mut` of the key numbered `key`.
    refs: UnsafeCell<usize>,
    key: u64,
    value: T,
}

/// A counted reference.
///
/// It has to be given back with [`LockedRc::put`]. One that is just dropped leaks its value.
///
/// # Invariants
///
/// Owns one count of the pointee, which is a `KBox<Inner<T>>` in raw form.
pub(crate) struct LockedRc<T>(NonNull<Inner<T>>);

// SAFETY: The value is shared; the counter is changed by the holder of the key only.
unsafe impl<T: Send + Sync> Send for LockedRc<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: Send + Sync> Sync for LockedRc<T> {}

impl<T> LockedRc<T> {
    /// Allocates. `ENOMEM`.
    pub(crate) fn new(key: &mut Key, value: T) -> Result<Self> {
        let inner = Inner {
            refs: UnsafeCell::new(1),
            key: key.0,
            value,
        };
        let inner = KBox::new(inner, GFP_KERNEL_ACCOUNT)?;
        // INVARIANT: The one count that was just set.
        Ok(Self(NonNull::from(KBox::leak(inner))))
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: Our count keeps it.
        unsafe { self.0.as_ref() }
    }

    /// Another reference, or `None` if the key is not the one it was made with.
    #[inline]
    pub(crate) fn get(&self, key: &mut Key) -> Option<Self> {
        let inner = self.inner();
        if inner.key != key.0 {
            return None;
        }
        // SAFETY: `&mut` of the one key that fits: nobody else touches the counter.
        let refs = unsafe { &mut *inner.refs.get() };
        *refs = refs.checked_add(1)?;
        // INVARIANT: The count just taken.
        Some(Self(self.0))
    }

    /// The value, which is there while nobody can use the key to give references back. `None` if the key is not
    /// the one it was made with.
    #[inline]
    pub(crate) fn hold<'k>(&self, key: &'k Key) -> Option<&'k T> {
        // SAFETY: Our count keeps it now. It is freed by `put` only, which takes `&mut` of the one key that
        // fits: that is not to be had for `'k`.
        let inner: &'k Inner<T> = unsafe { self.0.as_ref() };
        (inner.key == key.0).then_some(&inner.value)
    }

    /// Gives the reference back; returns the value if it was the last one.
    ///
    /// With a key that does not fit the reference is leaked.
    #[inline]
    pub(crate) fn put(self, key: &mut Key) -> Option<T> {
        let this = ManuallyDrop::new(self);
        if this.inner().key != key.0 {
            return None;
        }
        // SAFETY: As in `get`.
        let refs = unsafe { &mut *this.inner().refs.get() };
        *refs -= 1;
        if *refs != 0 {
            return None;
        }
        // SAFETY: From `KBox::leak`, and nobody else has a count.
        let inner = unsafe { KBox::from_raw(this.0.as_ptr()) };
        Some(KBox::into_inner(inner).value)
    }
}

impl<T> Deref for LockedRc<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner().value
    }
}
