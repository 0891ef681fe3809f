// SPDX-License-Identifier: GPL-2.0

//! Owned boxes in singly linked lists, and a list that any context can push to without a lock.
//!
//! A [`Linked<T>`] is in one list at a time because the list owns its box.
//!
//! C header: [`include/linux/llist.h`](srctree/include/linux/llist.h)

use crate::sys::atomic::Atomic;
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::null_mut, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Full,
        Relaxed, //
    }, //
};

/// A value that can be in a list.
pub(crate) struct Linked<T> {
    /// Written only by the list that owns the box.
    next: UnsafeCell<*mut Linked<T>>,
    value: T,
}

// SAFETY: `next` is only touched by the list that owns the box.
unsafe impl<T: Send> Send for Linked<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: Sync> Sync for Linked<T> {}

impl<T> Linked<T> {
    /// Allocates. `ENOMEM`.
    pub(crate) fn new(value: T, flags: kernel::alloc::Flags) -> Result<KBox<Self>> {
        let next = UnsafeCell::new(null_mut());
        Ok(KBox::new(Self { next, value }, flags)?)
    }
}

impl<T> Deref for Linked<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Linked<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// A list of owned boxes; last in, first out.
///
/// # Invariants
///
/// `head` is null or the raw form of a box that the list owns; so is each `next` behind it.
pub(crate) struct Chain<T> {
    head: *mut Linked<T>,
    _owns: PhantomData<KBox<Linked<T>>>,
}

// SAFETY: The list owns its boxes.
unsafe impl<T: Send> Send for Chain<T> {}
// SAFETY: A shared list gives no access to its boxes.
unsafe impl<T: Send> Sync for Chain<T> {}

impl<T> Chain<T> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            head: null_mut(),
            _owns: PhantomData,
        }
    }

    /// Puts a box at the front.
    #[inline]
    pub(crate) fn push(&mut self, node: KBox<Linked<T>>) {
        let node = KBox::into_raw(node);
        // SAFETY: We own the box. INVARIANT: The old head stays owned, through its new predecessor.
        unsafe { *(*node).next.get() = self.head };
        self.head = node;
    }

    /// Takes the box at the front.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<KBox<Linked<T>>> {
        if self.head.is_null() {
            return None;
        }
        // SAFETY: A box of ours by the invariants.
        let node = unsafe { KBox::from_raw(self.head) };
        // SAFETY: As before. INVARIANT: The list goes on with what is behind it.
        self.head = unsafe { *node.next.get() };
        Some(node)
    }

    /// Whether there is nothing in it.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// The value at the front.
    #[inline]
    pub(crate) fn first(&self) -> Option<&T> {
        // SAFETY: Null or a box of the list, which is borrowed.
        unsafe { self.head.as_ref() }.map(|node| &node.value)
    }

    /// Looks at the values, first to last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let mut next = self.head;
        core::iter::from_fn(move || {
            // SAFETY: Null or a box of the list, which is borrowed.
            let node = unsafe { next.as_ref() }?;
            // SAFETY: As before; the list does not change while it is borrowed.
            next = unsafe { *node.next.get() };
            Some(&node.value)
        })
    }

    /// The same boxes in the opposite order.
    fn reversed(mut self) -> Self {
        let mut out = Self::new();
        while let Some(node) = self.pop() {
            out.push(node);
        }
        out
    }
}

impl<T> Drop for Chain<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

/// A list of owned boxes; first in, first out.
///
/// # Invariants
///
/// As for [`Chain`]; `last` is the last box if there is one.
pub(crate) struct Fifo<T> {
    chain: Chain<T>,
    last: *mut Linked<T>,
    len: usize,
}

// SAFETY: The list owns its boxes.
unsafe impl<T: Send> Send for Fifo<T> {}
// SAFETY: A shared list gives out shared references only.
unsafe impl<T: Send + Sync> Sync for Fifo<T> {}

impl<T> Fifo<T> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            chain: Chain::new(),
            last: null_mut(),
            len: 0,
        }
    }

    /// Puts a box at the end.
    #[inline]
    pub(crate) fn push(&mut self, node: KBox<Linked<T>>) {
        if self.chain.is_empty() {
            self.chain.push(node);
            self.last = self.chain.head;
        } else {
            let node = KBox::into_raw(node);
            // SAFETY: The box is ours.
            unsafe { *(*node).next.get() = null_mut() };
            // SAFETY: The list is not empty, so `last` is a box of the list. INVARIANT: It owns what
            // is behind it.
            unsafe { *(*self.last).next.get() = node };
            self.last = node;
        }
        self.len = self.len.wrapping_add(1);
    }

    /// Takes the box at the front.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<KBox<Linked<T>>> {
        let node = self.chain.pop()?;
        self.len = self.len.wrapping_sub(1);
        Some(node)
    }

    /// Takes the first box whose value is wanted.
    pub(crate) fn take_first(&mut self, wanted: impl Fn(&T) -> bool) -> Option<KBox<Linked<T>>> {
        let mut before: *mut Linked<T> = null_mut();
        let mut at = self.chain.head;
        loop {
            // SAFETY: Null or a box of the list.
            let node = unsafe { at.as_ref() }?;
            // SAFETY: As before.
            let next = unsafe { *node.next.get() };
            if !wanted(&node.value) {
                before = at;
                at = next;
                continue;
            }
            if before.is_null() {
                self.chain.head = next;
            } else {
                // SAFETY: A box of the list.
                unsafe { *(*before).next.get() = next };
            }
            if at == self.last {
                self.last = before;
            }
            self.len -= 1;
            // SAFETY: No longer in the list. INVARIANT: The list goes around it.
            return Some(unsafe { KBox::from_raw(at) });
        }
    }

    /// The same boxes in the same order, as a list that is taken from only.
    pub(crate) fn into_chain(self) -> Chain<T> {
        self.chain
    }

    /// The value at the end.
    pub(crate) fn last(&self) -> Option<&T> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: The list is not empty, so `last` is a box of the list, which is borrowed.
        Some(unsafe { &(*self.last).value })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing in it.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    /// Looks at the values from front to end.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chain.iter()
    }
}

/// A list that any number of contexts push to, and one takes from.
///
/// # Invariants
///
/// As for [`Chain`]; a box in it belongs to the list.
pub(crate) struct Inbox<T> {
    head: Atomic<*mut Linked<T>>,
    _owns: PhantomData<KBox<Linked<T>>>,
}

// SAFETY: Boxes go in on one side and come out on another.
unsafe impl<T: Send> Send for Inbox<T> {}
// SAFETY: As for `Send`; a shared list gives no access to its boxes while they are in it.
unsafe impl<T: Send> Sync for Inbox<T> {}

impl<T> Inbox<T> {
    /// An empty list.
    pub(crate) fn new() -> Self {
        Self {
            head: Atomic::new(null_mut()),
            _owns: PhantomData,
        }
    }

    /// Adds a box; returns whether the list was empty before.
    ///
    /// A full barrier: who then looks whether somebody sleeps sees one that looked at the list
    /// before. Context: any.
    pub(crate) fn push(&self, node: KBox<Linked<T>>) -> bool {
        let node = KBox::into_raw(node);
        let mut head = self.head.load(Relaxed);
        loop {
            // SAFETY: The box is ours until the exchange succeeds.
            unsafe { *(*node).next.get() = head };
            // INVARIANT: On success the list owns the box, and through it all that it owned before.
            match self.head.cmpxchg(head, node, Full) {
                Ok(_) => return head.is_null(),
                Err(now) => head = now,
            }
        }
    }

    /// Adds a box to the list that `list` finds through it, if that has something in it already; gives the
    /// box back if not.
    ///
    /// It may be this box that keeps the list: that is not touched any more once the box is in it. Context:
    /// any.
    #[inline(always)]
    pub(crate) fn push_behind(
        node: KBox<Linked<T>>,
        list: impl FnOnce(&T) -> &Self,
    ) -> core::result::Result<(), KBox<Linked<T>>> {
        let node = KBox::into_raw(node);
        // SAFETY: The box is ours until the exchange succeeds, and what it keeps is there until then.
        let head = &list(unsafe { &(*node).value }).head;
        let mut first = head.load(Relaxed);
        while !first.is_null() {
            // SAFETY: The box is still ours.
            unsafe { *(*node).next.get() = first };
            // INVARIANT: As in `push`.
            match head.cmpxchg(first, node, Full) {
                Ok(_) => return Ok(()),
                Err(now) => first = now,
            }
        }
        // SAFETY: Just taken apart.
        Err(unsafe { KBox::from_raw(node) })
    }

    /// Takes everything, oldest first. Context: any.
    pub(crate) fn take(&self) -> Chain<T> {
        if self.is_empty() {
            return Chain::new();
        }
        let head = self.head.xchg(null_mut(), Full);
        // INVARIANT: What the list owned the chain owns now.
        Chain {
            head,
            _owns: PhantomData,
        }
        .reversed()
    }

    /// Whether there is nothing in it just now.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Acquire).is_null()
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
