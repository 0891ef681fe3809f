// SPDX-License-Identifier: GPL-2.0

//! Waiting until something that can be polled is ready, without a thread.
//!
//! What waits is a box (a request). It is in the [`Slot`] of an [`Armed`], which has entries in up to
//! two wait queues. A wakeup takes the box out and hands it on; so does who wants it back. All `Armed`
//! that are in use are known to a [`Polls`], and only who has that borrowed mutably puts entries into
//! queues and takes them out again.
//!
//! Wakeups that find no box in the slot are counted, so that none is lost while the box is elsewhere:
//! [`Polls::wait`] gives it back at once then.
//!
//! C headers: [`include/linux/poll.h`](srctree/include/linux/poll.h),
//! [`include/linux/wait.h`](srctree/include/linux/wait.h)

use crate::sys::{
    atomic::Atomic,
    ffi,
    index::{
        Index,
        Indexed,
        Links, //
    },
    mpsc::Linked,
    slot::Slot,
    wait::PollCall, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    ptr::null_mut, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        ArcBorrow, //
    },
    types::Opaque, //
};

/// What is polled.
pub(crate) trait Source: Send + Sync + 'static {
    /// What is ready now; says to `call` where wakeups come from. It may be as many queues as it
    /// likes; more than two are an error for who waits. Context: may sleep.
    fn poll<'a>(&'a self, call: &PollCall<'a>) -> u32;
}

/// What waits.
pub(crate) trait Waiter: Send + Sized + 'static {
    /// What it waits for.
    type Source: Source;

    /// What it waits with, if it has that.
    fn armed(&self) -> Option<&Armed<Self>>;

    /// A wakeup came. `mask` says what is ready, if the waker tells; else it is 0.
    ///
    /// Context: interrupts are off and the lock of the queue is held: it may be a queue of anything,
    /// so nothing may be done that can end in a wakeup of others who poll.
    fn woken(this: KBox<Linked<Self>>, mask: u32);
}

/// An entry in a wait queue.
///
/// # Invariants
///
/// If `head` is not null the entry is in that queue, or is about to be taken off it by the one who
/// holds the queue's lock.
struct Entry {
    entry: Opaque<bindings::wait_queue_entry>,
    head: Atomic<*mut bindings::wait_queue_head>,
}

impl Entry {
    fn new() -> Self {
        Self {
            entry: Opaque::zeroed(),
            head: Atomic::new(null_mut()),
        }
    }

    /// Leaves the queue. After this no wakeup runs on the entry. Context: any.
    #[inline]
    fn leave(&self) {
        // As in `uring_poll_dequeue`: pairs with the release in `leave_locked`. It is in no queue, and nobody
        // puts it into one meanwhile: that takes the `Polls`, which our caller has.
        if self.head.load(Acquire).is_null() {
            return;
        }
        // SAFETY: By the invariants; a queue that goes away does so under RCU, after its wakeup with
        // `POLLFREE` has made `head` null.
        unsafe { ffi::uring_poll_dequeue(self.head.as_ptr(), self.entry.get()) };
    }

    /// Leaves the queue from within a wakeup. The caller may not touch the entry, nor the [`Armed`]
    /// that it is in, afterwards: both may be gone.
    ///
    /// # Safety
    ///
    /// The entry is in a queue whose lock is held.
    unsafe fn leave_locked(&self) {
        // SAFETY: By the contract.
        unsafe { ffi::uring_poll_unlink(self.entry.get()) };
        // Whoever sees this does not take the lock that we hold.
        self.head.store(null_mut(), Release);
    }
}

/// What a box waits with. Made once, and used again and again.
///
/// # Invariants
///
/// - While it is in a [`Polls`] its entries may be in queues of `source`, which is there as long as
///   that; otherwise they are in none.
/// - `source` is touched only by who has that [`Polls`] borrowed, mutably to write it. There is none while it
///   is in no [`Polls`].
#[pin_data]
pub(crate) struct Armed<T: Waiter> {
    links: Links<Self>,
    /// Who takes the box out of here owns it.
    waiting: Slot<T>,
    /// What is waited for, and how.
    events: Atomic<u32>,
    /// A number of the owner's choice.
    tag: Atomic<u32>,
    /// Wakeups since they were counted the last time.
    wakes: Atomic<u32>,
    /// A wakeup came from a ring.
    from_ring: Atomic<bool>,
    /// The queue went away, or somebody wants an end of it.
    ended: Atomic<bool>,
    entries: [Entry; 2],
    source: UnsafeCell<Option<T::Source>>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: The entries are used under the locks of their queues, the source as the invariants say.
unsafe impl<T: Waiter> Send for Armed<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: Waiter> Sync for Armed<T> {}

impl<T: Waiter> Indexed for Armed<T> {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl<T: Waiter> Armed<T> {
    /// Allocates one that waits for nothing. `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let armed = pin_init!(Self {
            links: Links::new(),
            waiting: Slot::new(),
            events: Atomic::new(0),
            tag: Atomic::new(0),
            wakes: Atomic::new(0),
            from_ring: Atomic::new(false),
            ended: Atomic::new(false),
            entries: [Entry::new(), Entry::new()],
            source: UnsafeCell::new(None),
            _pin: PhantomPinned,
        });
        Arc::pin_init(armed, GFP_KERNEL_ACCOUNT)
    }

    /// Takes the box out, if no wakeup did. Context: any.
    pub(crate) fn take(&self) -> Option<KBox<Linked<T>>> {
        self.waiting.take()
    }

    /// Whether a wakeup, or somebody else, has taken the box just now. Certain only if it is not armed
    /// meanwhile.
    pub(crate) fn is_away(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The number that it was armed with.
    pub(crate) fn tag(&self) -> u32 {
        self.tag.load(Relaxed)
    }

    /// What is waited for, and how.
    pub(crate) fn events(&self) -> u32 {
        self.events.load(Relaxed)
    }

    /// Whether the first event is to be the last one. It is, too, if it came from a ring: telling
    /// about it may make the next one.
    pub(crate) fn is_oneshot(&self) -> bool {
        self.events() & mask::ONESHOT != 0 || self.from_ring.load(Relaxed)
    }

    /// Wakeups since the last call. What made them is visible afterwards.
    pub(crate) fn count_wakes(&self) -> u32 {
        self.wakes.xchg(0, Full)
    }

    /// Counts a wakeup that the owner of the box makes itself.
    pub(crate) fn count_wake(&self) {
        self.wakes.fetch_add(1, Full);
    }

    /// Makes [`Self::has_ended`] true: for a box that was woken already and is on its way.
    pub(crate) fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// Whether nothing will come any more, or nobody wants it.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// Whether it is in a [`Polls`].
    pub(crate) fn is_armed(&self) -> bool {
        self.links.is_linked()
    }
}

/// A call of `poll` that puts entries into queues.
struct Table<T: Waiter> {
    table: Opaque<bindings::poll_table_struct>,
    armed: *const Armed<T>,
    /// The queues of the entries that are in use.
    heads: [*mut bindings::wait_queue_head; 2],
    used: usize,
    error: bool,
}

/// All that are armed.
pub(crate) struct Polls<T: Waiter> {
    index: Index<Armed<T>>,
}

/// How arming went.
pub(crate) enum Arming {
    /// Wakeups come from now on; this is what is ready already.
    Armed(u32),
    /// There will be no wakeups; this is what is ready, and why. `EINVAL` if there is nothing to wait
    /// for, or too much; `ENOMEM`.
    Not(u32, Error),
}

impl<T: Waiter> Polls<T> {
    /// None.
    pub(crate) fn new() -> Self {
        Self {
            index: Index::new(),
        }
    }

    /// Puts entries into the queues of `source`, and looks what is ready. `key` and `tag` are for
    /// those who look for it. The box stays with the caller until [`Self::wait`].
    ///
    /// Context: may sleep.
    pub(crate) fn arm(
        &mut self,
        armed: &Arc<Armed<T>>,
        key: u64,
        tag: u32,
        source: T::Source,
        events: u32,
    ) -> Arming {
        if self.index.insert(key, armed.clone()).is_err() {
            return Arming::Not(0, ENOMEM);
        }
        armed.events.store(events, Relaxed);
        armed.tag.store(tag, Relaxed);
        armed.wakes.store(0, Relaxed);
        armed.from_ring.store(false, Relaxed);
        armed.ended.store(false, Relaxed);
        // SAFETY: It was in no index, so nobody else had a right to the source; now that is ours, by
        // `&mut self`.
        let place = unsafe { &mut *armed.source.get() };
        // INVARIANT: In here, and no entry is in a queue yet. There was none, so nothing has to be dropped.
        core::mem::forget(place.replace(source));
        let mut table = Table::<T> {
            table: Opaque::new(bindings::poll_table_struct {
                _qproc: Some(enqueue::<T>),
                _key: events,
            }),
            armed: &raw const **armed,
            heads: [null_mut(); 2],
            used: 0,
            error: false,
        };
        let table_ptr = &raw mut table;
        // SAFETY: The table is valid, is part of a `Table<T>`, and is used by nobody else meanwhile.
        // What `source` adds lives as long as `source`, which is as long as the entries are in there.
        let call =
            unsafe { PollCall::new(null_mut(), Opaque::cast_into(&raw const (*table_ptr).table)) };
        let ready = place.as_ref().map_or(0, |source| source.poll(&call)) & events;
        if table.error || table.used == 0 {
            self.disarm(armed);
            return Arming::Not(ready, EINVAL);
        }
        Arming::Armed(ready)
    }

    /// Puts the box to where a wakeup takes it from.
    ///
    /// Gives it back if there is something to be looked at already, or it is not armed.
    pub(crate) fn wait(&self, node: KBox<Linked<T>>) -> Option<KBox<Linked<T>>> {
        // Borrowed from here, as the box goes.
        let Some(armed) = node.armed().and_then(|armed| self.index.get(armed)) else {
            return Some(node);
        };
        let other = armed.waiting.put(node);
        // The barrier in `put` and the one in `wake` see to it that either we see the wakeup, or the
        // wakeup finds the box.
        if armed.wakes.load(Relaxed) != 0 || armed.has_ended() {
            return armed.take();
        }
        other
    }

    /// Looks what is ready now.
    pub(crate) fn look(&self, armed: &Armed<T>) -> u32 {
        if self.index.get(armed).is_none() {
            return 0;
        }
        // SAFETY: In here, and nobody writes while `self` is borrowed.
        let Some(source) = (unsafe { &*armed.source.get() }) else {
            return 0;
        };
        let events = armed.events();
        let mut table = bindings::poll_table_struct {
            _qproc: None,
            _key: events,
        };
        // SAFETY: The table is valid, and adds nothing to any queue.
        source.poll(&unsafe { PollCall::new(null_mut(), &raw mut table) }) & events
    }

    /// Takes the entries out of the queues. Gives back the box if it was waiting.
    ///
    /// Afterwards no wakeup comes, and what was polled is let go. Context: may sleep.
    pub(crate) fn disarm(&mut self, armed: &Armed<T>) -> Option<KBox<Linked<T>>> {
        self.index.get(armed)?;
        for entry in &armed.entries {
            entry.leave();
        }
        // SAFETY: In here, and we are borrowed mutably. INVARIANT: No entry is in a queue any more.
        drop(unsafe { (*armed.source.get()).take() });
        self.index.remove(armed)?;
        // Nobody else takes it now but who has looked it up before, and that one owns it then.
        armed.take()
    }

    /// Disarms the one that was armed first. `None` if there is none; else its box, if it was waiting.
    pub(crate) fn disarm_first(&mut self) -> Option<Option<KBox<Linked<T>>>> {
        let first = self.index.iter().next()?;
        let armed = self.index.arc(first)?;
        Some(self.disarm(&armed))
    }

    /// The one with this key that was armed last, and is `wanted`.
    pub(crate) fn newest(
        &self,
        key: u64,
        wanted: impl Fn(&Armed<T>) -> bool,
    ) -> Option<Arc<Armed<T>>> {
        let found = self.index.newest(key).find(|armed| wanted(armed))?;
        self.index.arc(found)
    }

    /// Those with this key, beginning with the one that was armed last.
    pub(crate) fn iter_newest(&self, key: u64) -> impl Iterator<Item = ArcBorrow<'_, Armed<T>>> {
        self.index
            .newest(key)
            .filter_map(|armed| self.index.get(armed))
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ArcBorrow<'_, Armed<T>>> {
        self.index.iter().filter_map(|armed| self.index.get(armed))
    }
}

impl<T: Waiter> Drop for Polls<T> {
    fn drop(&mut self) {
        while self.disarm_first().is_some() {}
    }
}

/// The bits of `EPOLL*`.
pub(crate) mod mask {
    use crate::sys::ffi;

    /// Something to read.
    pub(crate) const IN: u32 = ffi::URING_EPOLLIN | ffi::URING_EPOLLRDNORM;
    /// Room to write.
    pub(crate) const OUT: u32 = ffi::URING_EPOLLOUT | ffi::URING_EPOLLWRNORM;
    /// Something urgent.
    pub(crate) const PRI: u32 = ffi::URING_EPOLLPRI;
    /// What everybody wants to know.
    pub(crate) const ALWAYS: u32 =
        ffi::URING_EPOLLERR | ffi::URING_EPOLLHUP | ffi::URING_EPOLLNVAL | ffi::URING_EPOLLRDHUP;
    /// The other side is gone.
    pub(crate) const HUP: u32 = ffi::URING_EPOLLHUP;
    /// An error.
    pub(crate) const ERR: u32 = ffi::URING_EPOLLERR;
    /// What is ready already counts as an event.
    pub(crate) const EDGE: u32 = ffi::URING_EPOLLET;
    /// One event, no more.
    pub(crate) const ONESHOT: u32 = ffi::URING_EPOLLONESHOT;
    /// Not all who wait have to be woken.
    pub(crate) const EXCLUSIVE: u32 = ffi::URING_EPOLLEXCLUSIVE;
}

/// What the two functions below let through. On most architectures that is all they do.
const SAME: u32 = ffi::URING_POLL_SAME;

/// The kernel's bits of what an application asks for.
#[inline]
pub(crate) fn from_user(events: u32) -> u32 {
    if SAME <= 0xffff {
        return events & SAME;
    }
    // SAFETY: No requirements.
    unsafe { ffi::uring_demangle_poll(events) }
}

/// What an application is told.
#[inline]
pub(crate) fn to_user(events: u32) -> u32 {
    if SAME <= 0xffff {
        return events & SAME;
    }
    // SAFETY: No requirements.
    unsafe { ffi::uring_mangle_poll(events) }
}

/// `poll_table::_qproc`: puts the next entry into `head`.
///
/// # Safety
///
/// `table` is that of a [`Table<T>`] of [`Polls::arm`]; `head` stays as [`Entry::leave`] needs it.
unsafe extern "C" fn enqueue<T: Waiter>(
    _file: *mut bindings::file,
    head: *mut bindings::wait_queue_head,
    table: *mut bindings::poll_table_struct,
) {
    let opaque = Opaque::cast_from(table).cast_mut();
    // SAFETY: That field of a `Table<T>`, by the contract.
    let table = unsafe { &mut *kernel::container_of!(opaque, Table<T>, table) };
    // SAFETY: `arm` holds a reference.
    let armed = unsafe { &*table.armed };
    if table.heads.iter().take(table.used).any(|h| *h == head) {
        return;
    }
    let Some(entry) = armed.entries.get(table.used) else {
        table.error = true;
        return;
    };
    // There are as many of them as entries.
    if let Some(seen) = table.heads.get_mut(table.used) {
        *seen = head;
    }
    table.used += 1;
    // INVARIANT: It is in the queue right away; wakeups that come before we return see it so.
    entry.head.store(head, Relaxed);
    // SAFETY: The entry is in no queue, and stays where it is; `arm` has taken it for its own.
    unsafe {
        ffi::uring_poll_enqueue(
            head,
            entry.entry.get(),
            Some(wake::<T>),
            table.armed.cast_mut().cast(),
            armed.events() & mask::EXCLUSIVE != 0,
        );
    }
}

/// A wakeup. Context: the queue's lock is held, interrupts are off.
///
/// # Safety
///
/// `entry` is that of an [`Entry`] in an [`Armed<T>`] that was put into a queue by [`enqueue`].
unsafe extern "C" fn wake<T: Waiter>(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    key: *mut kernel::ffi::c_void,
) -> c_int {
    // SAFETY: By the contract. It stays until the entry has left the queue, which needs the lock.
    let armed = unsafe { &*(*entry).private.cast::<Armed<T>>() };
    let opaque = Opaque::cast_from(entry).cast_mut();
    // SAFETY: As before.
    let entry = unsafe { &*kernel::container_of!(opaque, Entry, entry) };
    // CAST: A key is a mask, and that has 32 bits.
    let ready = key.addr() as u32;

    if ready & ffi::URING_POLLFREE != 0 {
        armed.ended.store(true, Relaxed);
        armed.wakes.fetch_add(1, Full);
        let node = armed.take();
        // SAFETY: In the queue whose lock is held.
        unsafe { entry.leave_locked() };
        if let Some(node) = node {
            T::woken(node, 0);
        }
        return 1;
    }
    let events = armed.events();
    // What the waker says is not ours.
    if ready != 0 && ready & events & !(mask::ONESHOT | mask::PRI) == 0 {
        return 0;
    }
    if ready & ffi::URING_EPOLL_WAKE != 0 {
        armed.from_ring.store(true, Relaxed);
    }
    // The barrier makes this visible to whoever puts the box in after we did not find it.
    armed.wakes.fetch_add(1, Full);
    if let Some(node) = armed.take() {
        if ready != 0 && armed.is_oneshot() {
            // Saves who comes next the lock.
            // SAFETY: In the queue whose lock is held.
            unsafe { entry.leave_locked() };
        }
        T::woken(node, ready);
    }
    1
}
