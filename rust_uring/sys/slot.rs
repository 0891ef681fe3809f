// SPDX-License-Identifier: GPL-2.0

//! A cell that owns at most one box, which whoever comes first takes out.
//!
//! This is how it is decided who owns a request that waits for something. What the request waits with
//! (a wait entry, a timer) is shared: the ring knows it, and so does the queue or the timer base. The
//! request itself is in the slot of it. A wakeup, an expiry, a cancellation and the ring's end all do
//! the same thing, [`Slot::take`], and the one that gets the box owns the request. For the others
//! there is nothing left to do.

use crate::sys::{
    atomic::Atomic,
    mpsc::Linked, //
};
use core::{
    marker::PhantomData,
    ptr::null_mut, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Full, //
    }, //
};

/// At most one owned box.
///
/// # Invariants
///
/// `ptr` is null or the raw form of a box that the slot owns.
pub(crate) struct Slot<T> {
    ptr: Atomic<*mut Linked<T>>,
    _owns: PhantomData<KBox<Linked<T>>>,
}

// SAFETY: Boxes go in on one side and come out on another.
unsafe impl<T: Send> Send for Slot<T> {}
// SAFETY: As for `Send`; a shared slot gives no access to the box while it is in there.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> Slot<T> {
    /// An empty slot.
    pub(crate) const fn new() -> Self {
        Self {
            ptr: Atomic::new(null_mut()),
            _owns: PhantomData,
        }
    }

    /// Puts a box in, and gives back the one that was there.
    ///
    /// A full barrier: what was written before is seen by whoever takes the box; and if the box is
    /// still there after something else was looked at, then who changes that and takes afterwards
    /// finds it. Context: any.
    pub(crate) fn put(&self, node: KBox<Linked<T>>) -> Option<KBox<Linked<T>>> {
        self.exchange(KBox::into_raw(node))
    }

    /// Takes the box out, if nobody else did.
    ///
    /// A full barrier, whether there was one or not. Context: any.
    #[inline]
    pub(crate) fn take(&self) -> Option<KBox<Linked<T>>> {
        self.exchange(null_mut())
    }

    #[inline]
    fn exchange(&self, new: *mut Linked<T>) -> Option<KBox<Linked<T>>> {
        // INVARIANT: `new` is null or a box that was given up for it.
        let old = self.ptr.xchg(new, Full);
        if old.is_null() {
            return None;
        }
        // SAFETY: The slot owned it, and has forgotten it in the same step.
        Some(unsafe { KBox::from_raw(old) })
    }

    /// Whether there is nothing in it just now.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ptr.load(Acquire).is_null()
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

#[kunit_tests(rust_uring_slot)]
mod tests {
    use super::*;
    use kernel::{
        sync::{
            atomic::Relaxed,
            Arc,
            Completion, //
        },
        workqueue, //
    };

    /// Counts how many of it there are.
    struct Counted(Arc<Atomic<i32>>);

    impl Counted {
        fn boxed(count: &Arc<Atomic<i32>>) -> Result<KBox<Linked<Self>>> {
            count.fetch_add(1, Relaxed);
            Linked::new(Self(count.clone()), GFP_KERNEL)
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Relaxed);
        }
    }

    #[test]
    fn one_box_goes_in_and_out() -> Result {
        let count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let slot = Slot::new();
        assert!(slot.is_empty());
        assert!(slot.take().is_none());
        assert!(slot.put(Counted::boxed(&count)?).is_none());
        assert!(!slot.is_empty());
        let first = slot.put(Counted::boxed(&count)?);
        assert!(first.is_some());
        drop(first);
        assert_eq!(count.load(Relaxed), 1);
        assert!(slot.take().is_some());
        assert!(slot.is_empty());
        assert_eq!(count.load(Relaxed), 0);
        // What is still there goes with the slot.
        assert!(slot.put(Counted::boxed(&count)?).is_none());
        drop(slot);
        assert_eq!(count.load(Relaxed), 0);
        Ok(())
    }

    /// What takers fight for.
    #[pin_data]
    struct Fight {
        slots: KVec<Slot<Counted>>,
        taken: Atomic<i32>,
        running: Atomic<i32>,
        #[pin]
        over: Completion,
    }

    const TAKERS: i32 = 4;
    const SLOTS: i32 = 4000;

    #[test]
    fn each_box_is_taken_once() -> Result {
        let count = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let mut slots = KVec::new();
        for _ in 0..SLOTS {
            let slot = Slot::new();
            let _ = slot.put(Counted::boxed(&count)?);
            slots.push(slot, GFP_KERNEL)?;
        }
        let fight = Arc::pin_init(
            pin_init!(Fight {
                slots,
                taken: Atomic::new(0),
                running: Atomic::new(TAKERS),
                over <- Completion::new(),
            }),
            GFP_KERNEL,
        )?;
        for _ in 0..TAKERS {
            let fight = fight.clone();
            workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
                for slot in &fight.slots {
                    if slot.take().is_some() {
                        fight.taken.fetch_add(1, Relaxed);
                    }
                }
                if fight.running.fetch_sub(1, Full) == 1 {
                    fight.over.complete_all();
                }
            })?;
        }
        fight.over.wait_for_completion();
        assert_eq!(fight.taken.load(Relaxed), SLOTS);
        assert_eq!(count.load(Relaxed), 0);
        Ok(())
    }
}
