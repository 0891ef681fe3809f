// SPDX-License-Identifier: GPL-2.0

//! What a ring has to find again: a multimap from a number to shared things.
//!
//! The links are in the things themselves, so nothing is allocated for each of them; the table of
//! buckets grows with their number. Adding a thing, taking a given one out and finding one by its
//! number cost the same however many there are; what has the same number does not matter for taking a
//! given one out.
//!
//! A thing is in one index at a time, and the index holds a reference to it meanwhile.

use crate::sys::atomic::Atomic;
use core::{
    cell::UnsafeCell,
    ptr::null, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Relaxed,
            Release, //
        },
        Arc,
        ArcBorrow, //
    }, //
};

/// The part of a thing that an [`Index`] uses.
///
/// # Invariants
///
/// - `owner` is the number of the index that the thing is in, or 0.
/// - `at` is touched only by who has borrowed that index, mutably to write it. It is set from the
///   thing's insertion on.
pub(crate) struct Links<T> {
    owner: Atomic<u64>,
    at: UnsafeCell<At<T>>,
}

/// Where a thing is in an index.
struct At<T> {
    key: u64,
    /// The thing: from [`Arc::into_raw`], with the index' count.
    item: *const T,
    /// Neighbours in the list of all, from the oldest to the newest.
    older: *const Links<T>,
    newer: *const Links<T>,
    /// Neighbours in the bucket, from the oldest to the newest.
    older_here: *const Links<T>,
    newer_here: *const Links<T>,
}

// SAFETY: The pointers are used by the index alone, which is the one that has to be `Send`.
unsafe impl<T> Send for Links<T> {}
// SAFETY: As for `Send`; `at` is touched only by who has the index.
unsafe impl<T> Sync for Links<T> {}

impl<T> Links<T> {
    /// Not in an index.
    pub(crate) const fn new() -> Self {
        Self {
            owner: Atomic::new(0),
            at: UnsafeCell::new(At {
                key: 0,
                item: null(),
                older: null(),
                newer: null(),
                older_here: null(),
                newer_here: null(),
            }),
        }
    }

    /// Whether the thing is in an index just now. Certain only for who has borrowed the index that it
    /// may be in.
    pub(crate) fn is_linked(&self) -> bool {
        self.owner.load(Relaxed) != 0
    }
}

/// A thing that can be in an index.
pub(crate) trait Indexed: Sized {
    /// A field of the thing, always the same one. An index takes no thing whose links are elsewhere.
    fn links(&self) -> &Links<Self>;
}

/// The ends of a list.
struct Ends<T> {
    oldest: *const Links<T>,
    newest: *const Links<T>,
}

impl<T> Ends<T> {
    const EMPTY: Self = Self {
        oldest: null(),
        newest: null(),
    };
}

static NEXT_NUMBER: Atomic<u64> = Atomic::new(1);

/// Buckets that the first thing makes.
const BUCKETS: usize = 16;

/// The multimap.
///
/// # Invariants
///
/// - No other index has `number`.
/// - Each link that is reachable from `all` and `buckets` belongs to a thing that has `number` as its
///   owner and of which the index holds a count; each such thing is in `all` once, and once in the
///   bucket of its key.
/// - The number of buckets is 0 or a power of two, and not 0 if there are things.
/// - A hash that is shifted to the right by `shift` is the number of a bucket, if there are any.
pub(crate) struct Index<T: Indexed> {
    number: u64,
    len: usize,
    all: Ends<T>,
    shift: u32,
    buckets: KVVec<Ends<T>>,
}

// SAFETY: An index is a collection of `Arc<T>`.
unsafe impl<T: Indexed + Send + Sync> Send for Index<T> {}
// SAFETY: A shared index gives out shared references only.
unsafe impl<T: Indexed + Send + Sync> Sync for Index<T> {}

impl<T: Indexed> Index<T> {
    /// An empty index, without memory of its own.
    pub(crate) fn new() -> Self {
        // INVARIANT: 64 bits are not used up.
        Self {
            number: NEXT_NUMBER.fetch_add(1, Relaxed),
            len: 0,
            all: Ends::EMPTY,
            shift: 0,
            buckets: KVVec::new(),
        }
    }

    /// The bucket of a key. Any number if there are none.
    #[inline]
    fn bucket(&self, key: u64) -> usize {
        // The multiplier of `hash_64()` in the kernel; its upper bits are the mixed ones.
        let mixed = key.wrapping_mul(0x61c8_8646_80b5_83eb);
        // CAST: As many bits as there are for the number of buckets.
        mixed.wrapping_shr(self.shift) as usize
    }

    /// # Safety
    ///
    /// `links` is one that is reachable from `self`.
    unsafe fn at<'a>(&'a self, links: *const Links<T>) -> &'a At<T> {
        // SAFETY: The thing is kept while it is in the index, which is borrowed, so nobody writes.
        unsafe { &*(*links).at.get() }
    }

    /// Adds a thing, as the newest one, and shows it.
    ///
    /// Gives it back if it is in an index already, or there is no memory for buckets. Context: may
    /// sleep.
    pub(crate) fn insert(&mut self, key: u64, item: Arc<T>) -> core::result::Result<&T, Arc<T>> {
        let links = core::ptr::from_ref(item.links());
        let offset = links
            .addr()
            .wrapping_sub(core::ptr::from_ref::<T>(&item).addr());
        if offset >= size_of::<T>() || !self.grow() {
            return Err(item);
        }
        let owner = &item.links().owner;
        if owner.cmpxchg(0, self.number, Acquire).is_err() {
            return Err(item);
        }
        let item = Arc::into_raw(item);
        let at = At {
            key,
            item,
            older: self.all.newest,
            newer: null(),
            older_here: null(),
            newer_here: null(),
        };
        // SAFETY: The links are a field of the thing, of which we have a count, so they stay. We have
        // just become the owner, and are borrowed mutably.
        unsafe { *(*links).at.get() = at };
        // SAFETY: As before; the newest one is reachable.
        unsafe {
            match self.all.newest.as_ref() {
                None => self.all.oldest = links,
                Some(newest) => (*newest.at.get()).newer = links,
            }
        }
        // INVARIANT: Linked at the end of the list of all, and next in its bucket.
        self.all.newest = links;
        self.len = self.len.wrapping_add(1);
        // SAFETY: In the list of all, and in no bucket.
        unsafe { self.enter_bucket(links) };
        // SAFETY: The index, which stays borrowed, holds a count.
        Ok(unsafe { &*item })
    }

    /// Adds a thing to the bucket of its key.
    ///
    /// # Safety
    ///
    /// `links` is in the list of all, and in no bucket.
    unsafe fn enter_bucket(&mut self, links: *const Links<T>) {
        // SAFETY: Reachable.
        let bucket = self.bucket(unsafe { self.at(links) }.key);
        let Some(bucket) = self.buckets.get_mut(bucket) else {
            return;
        };
        // SAFETY: `links` and what is in the bucket are reachable, and we are borrowed mutably.
        unsafe {
            let at = &mut *(*links).at.get();
            at.newer_here = null();
            at.older_here = bucket.newest;
            match bucket.newest.as_ref() {
                None => bucket.oldest = links,
                Some(newest) => (*newest.at.get()).newer_here = links,
            }
        }
        bucket.newest = links;
    }

    /// Sees to it that there are about as many buckets as things. Returns whether there are any.
    fn grow(&mut self) -> bool {
        let now = self.buckets.len();
        if self.len < now {
            return true;
        }
        let more = if now == 0 { BUCKETS } else { 2 * now };
        let Ok(mut buckets) = KVVec::with_capacity(more, GFP_KERNEL_ACCOUNT) else {
            // With too few it is slow and not wrong.
            return now != 0;
        };
        for _ in 0..more {
            // There is room for so many.
            let _ = buckets.push_within_capacity(Ends::EMPTY);
        }
        self.buckets = buckets;
        // INVARIANT: `more` is a power of two and not 1, so that as many bits are left as it has zeros.
        self.shift = u64::BITS - more.trailing_zeros();
        let mut next = self.all.oldest;
        while !next.is_null() {
            // SAFETY: In the list of all, and in none of the new buckets.
            unsafe { self.enter_bucket(next) };
            // SAFETY: Reachable.
            next = unsafe { self.at(next) }.newer;
        }
        true
    }

    /// Takes a thing out. `None` if it is not in here.
    pub(crate) fn remove(&mut self, item: &T) -> Option<Arc<T>> {
        let links = item.links();
        // If it is ours it was us who wrote that; nobody else makes it so, or makes it other.
        if links.owner.load(Relaxed) != self.number {
            return None;
        }
        // SAFETY: In here, so reachable.
        unsafe { self.unlink(links) }
    }

    /// # Safety
    ///
    /// `links` is one that is reachable from `self`.
    unsafe fn unlink(&mut self, links: *const Links<T>) -> Option<Arc<T>> {
        // SAFETY: Reachable; a copy, because neighbours are written below.
        let (key, item, older, newer, older_here, newer_here) = unsafe {
            let at = self.at(links);
            (
                at.key,
                at.item,
                at.older,
                at.newer,
                at.older_here,
                at.newer_here,
            )
        };
        // SAFETY: Neighbours are null or reachable, and we are borrowed mutably.
        unsafe {
            match older.as_ref() {
                None => self.all.oldest = newer,
                Some(older) => (*older.at.get()).newer = newer,
            }
            match newer.as_ref() {
                None => self.all.newest = older,
                Some(newer) => (*newer.at.get()).older = older,
            }
        }
        let bucket = self.bucket(key);
        let bucket = self.buckets.get_mut(bucket)?;
        // SAFETY: As before.
        unsafe {
            match older_here.as_ref() {
                None => bucket.oldest = newer_here,
                Some(older) => (*older.at.get()).newer_here = newer_here,
            }
            match newer_here.as_ref() {
                None => bucket.newest = older_here,
                Some(newer) => (*newer.at.get()).older_here = older_here,
            }
        }
        self.len = self.len.wrapping_sub(1);
        // INVARIANT: No longer reachable; from here on another index may take it.
        // SAFETY: The count keeps it.
        unsafe { &*links }.owner.store(0, Release);
        // SAFETY: From `Arc::into_raw`; the index' count is given up.
        Some(unsafe { Arc::from_raw(item) })
    }

    /// Takes the oldest one out.
    pub(crate) fn pop(&mut self) -> Option<Arc<T>> {
        let oldest = self.all.oldest;
        if oldest.is_null() {
            return None;
        }
        // SAFETY: Reachable.
        unsafe { self.unlink(oldest) }
    }

    /// Looks at all, from the oldest to the newest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let mut next = self.all.oldest;
        core::iter::from_fn(move || {
            if next.is_null() {
                return None;
            }
            // SAFETY: Reachable, and the index does not change while it is borrowed.
            let at = unsafe { self.at(next) };
            next = at.newer;
            // SAFETY: The index holds a count.
            Some(unsafe { &*at.item })
        })
    }

    /// Looks at those with this key, from the newest to the oldest.
    pub(crate) fn newest(&self, key: u64) -> impl Iterator<Item = &T> {
        let ends = self.buckets.get(self.bucket(key));
        self.in_bucket(key, ends.map_or(null(), |ends| ends.newest), |at| {
            at.older_here
        })
    }

    /// Looks at those with this key, from the oldest to the newest.
    pub(crate) fn oldest(&self, key: u64) -> impl Iterator<Item = &T> {
        let ends = self.buckets.get(self.bucket(key));
        self.in_bucket(key, ends.map_or(null(), |ends| ends.oldest), |at| {
            at.newer_here
        })
    }

    fn in_bucket(
        &self,
        key: u64,
        first: *const Links<T>,
        step: fn(&At<T>) -> *const Links<T>,
    ) -> impl Iterator<Item = &T> {
        let mut next = first;
        core::iter::from_fn(move || loop {
            if next.is_null() {
                return None;
            }
            // SAFETY: Reachable, and the index does not change while it is borrowed.
            let at = unsafe { self.at(next) };
            next = step(at);
            if at.key == key {
                // SAFETY: The index holds a count.
                return Some(unsafe { &*at.item });
            }
        })
    }

    /// A reference of the caller's own to a thing, if it is in here.
    pub(crate) fn arc(&self, item: &T) -> Option<Arc<T>> {
        self.get(item).map(Arc::from)
    }

    /// A reference to a thing, if it is in here.
    pub(crate) fn get(&self, item: &T) -> Option<ArcBorrow<'_, T>> {
        let links = item.links();
        if links.owner.load(Relaxed) != self.number {
            return None;
        }
        // SAFETY: In here, so reachable.
        let raw = unsafe { self.at(links) }.item;
        // SAFETY: From `Arc::into_raw`, and the index' count is there while the index is borrowed.
        Some(unsafe { ArcBorrow::from_raw(raw) })
    }
}

impl<T: Indexed> Drop for Index<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

#[kunit_tests(rust_uring_index)]
mod tests {
    use super::*;

    struct Thing {
        number: u64,
        links: Links<Thing>,
        count: Arc<Atomic<i32>>,
    }

    impl Indexed for Thing {
        fn links(&self) -> &Links<Self> {
            &self.links
        }
    }

    impl Drop for Thing {
        fn drop(&mut self) {
            self.count.fetch_sub(1, Relaxed);
        }
    }

    fn thing(number: u64, count: &Arc<Atomic<i32>>) -> Result<Arc<Thing>> {
        count.fetch_add(1, Relaxed);
        let thing = Thing {
            number,
            links: Links::new(),
            count: count.clone(),
        };
        Ok(Arc::new(thing, GFP_KERNEL)?)
    }

    fn counter() -> Result<Arc<Atomic<i32>>> {
        Ok(Arc::new(Atomic::new(0), GFP_KERNEL)?)
    }

    /// The number of the first of an iteration, or the largest one.
    fn first<'a>(mut things: impl Iterator<Item = &'a Thing>) -> u64 {
        things.next().map_or(u64::MAX, |thing| thing.number)
    }

    #[test]
    fn nothing_is_found_in_an_empty_index() {
        let mut index = Index::<Thing>::new();
        assert!(index.iter().next().is_none());
        assert_eq!(first(index.newest(0)), u64::MAX);
        assert_eq!(first(index.oldest(7)), u64::MAX);
        assert_eq!(index.iter().count(), 0);
        assert!(index.pop().is_none());
    }

    #[test]
    fn order_among_equal_keys() -> Result {
        let count = counter()?;
        let mut index = Index::<Thing>::new();
        for number in 0..100 {
            assert!(index.insert(number % 5, thing(number, &count)?).is_ok());
        }
        assert_eq!(index.iter().count(), 100);
        assert_eq!(first(index.newest(3)), 98);
        assert_eq!(first(index.oldest(3)), 3);
        assert_eq!(first(index.newest(3).filter(|t| t.number < 50)), 48);
        assert_eq!(index.newest(3).count(), 20);
        assert_eq!(index.oldest(4).count(), 20);
        assert_eq!(index.newest(5).count(), 0);
        assert!(index.iter().map(|t| t.number).eq(0..100));
        assert_eq!(index.pop().map(|t| t.number), Some(0));
        assert_eq!(first(index.oldest(0)), 5);
        drop(index);
        assert_eq!(count.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn a_thing_is_in_one_index() -> Result {
        let count = counter()?;
        let (mut one, mut other) = (Index::<Thing>::new(), Index::<Thing>::new());
        let it = thing(1, &count)?;
        assert!(!it.links.is_linked());
        assert!(one.remove(&it).is_none());
        assert!(one.insert(10, it.clone()).is_ok());
        assert!(one.insert(10, it.clone()).is_err());
        assert!(other.insert(10, it.clone()).is_err());
        assert!(other.remove(&it).is_none());
        assert!(other.get(&it).is_none());
        assert!(one.get(&it).is_some());
        assert!(it.links.is_linked());
        assert!(one.remove(&it).is_some());
        assert!(one.remove(&it).is_none());
        assert!(other.insert(11, it.clone()).is_ok());
        assert_eq!(first(one.newest(10)), u64::MAX);
        assert_eq!(first(other.newest(11)), 1);
        drop(other);
        assert!(!it.links.is_linked());
        assert_eq!(count.load(Relaxed), 1);
        drop(it);
        assert_eq!(count.load(Relaxed), 0);
        Ok(())
    }

    /// Enough for the buckets to grow several times. Allocating is slow where all of it is checked.
    const MANY: u64 = 4_000;

    /// Adds many, takes every third out, looks for all, and takes the rest out backwards.
    fn many(key: impl Fn(u64) -> u64, alone: bool) -> Result {
        let count = counter()?;
        let mut index = Index::<Thing>::new();
        let mut all = KVVec::with_capacity(4_000, GFP_KERNEL)?;
        for number in 0..MANY {
            let it = thing(number, &count)?;
            assert!(index.insert(key(number), it.clone()).is_ok());
            all.push(it, GFP_KERNEL)?;
        }
        for it in all.iter().filter(|it| it.number % 3 == 0) {
            assert!(index.remove(it).is_some());
        }
        let left = all.iter().filter(|it| it.number % 3 != 0);
        assert!(index.iter().map(|t| t.number).eq(left.map(|t| t.number)));
        if alone {
            for number in 0..MANY {
                let found = index.newest(key(number)).any(|t| t.number == number);
                assert_eq!(found, number % 3 != 0);
            }
        }
        for it in all.iter().rev() {
            assert_eq!(index.remove(it).is_some(), it.number % 3 != 0);
        }
        assert!(index.iter().next().is_none());
        drop(all);
        assert_eq!(count.load(Relaxed), 0);
        Ok(())
    }

    #[test]
    fn many_keys() -> Result {
        many(|number| number.wrapping_mul(0x1_0000_0001), true)
    }

    #[test]
    fn many_addresses() -> Result {
        // What applications like to use as user data.
        many(|number| 0x7f00_0000_0000 + number * 64, true)
    }

    #[test]
    fn one_key() -> Result {
        many(|_| 42, false)
    }
}
