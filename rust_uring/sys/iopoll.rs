// SPDX-License-Identifier: GPL-2.0

//! Transfers whose completion is found by polling the device.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h) (`f_op->iopoll`),
//! [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h) (`struct io_comp_batch`)

use crate::sys::{
    ffi,
    iocb::{
        Iocb,
        Transfer, //
    },
    mpsc::{
        Fifo,
        Linked, //
    }, //
};
use kernel::{
    bindings,
    prelude::*, //
};

/// A transfer that is under way and has to be polled for. It is to be put into a [`PollList`]: one that
/// is just dropped leaks its box.
///
/// # Invariants
///
/// The box's [`Iocb`] was started as a polled one; the box is not freed before it is done.
#[must_use]
pub(crate) struct Polled<T>(*mut Linked<T>);

// SAFETY: Owns its box.
unsafe impl<T: Send> Send for Polled<T> {}

impl<T: Transfer> Polled<T> {
    /// # Safety
    ///
    /// `this` is from `KBox::into_raw`, and its transfer was started as a polled one.
    pub(super) unsafe fn from_raw(this: *mut Linked<T>) -> Self {
        // INVARIANT: By the requirements.
        Self(this)
    }
}

/// How long to poll.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spin {
    /// One look.
    Once,
    /// Until something is found, or another task is to run.
    Found,
}

/// Transfers that are under way, in the order in which they were started.
///
/// # Invariants
///
/// Each box in the list is as in [`Polled`]. It leaves the list only when its transfer is done.
pub(crate) struct PollList<T: Transfer> {
    list: Fifo<T>,
    /// They are on several files, so maybe on several devices.
    several: bool,
}

impl<T: Transfer> PollList<T> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            list: Fifo::new(),
            several: false,
        }
    }

    /// Whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds one.
    pub(crate) fn add(&mut self, polled: Polled<T>) {
        // SAFETY: From `KBox::into_raw`, by the type's invariants.
        let this = unsafe { KBox::from_raw(polled.0) };
        let first = self.list.iter().next();
        self.several =
            first.is_some_and(|first| self.several || first.iocb().file() != this.iocb().file());
        // INVARIANT: Of a `Polled`.
        self.list.push(this);
    }

    /// Looks for completions, and takes those out that are done.
    ///
    /// `around` is called for each transfer that has to be polled for, with the function that does it.
    /// `owner` is what drivers may tell pollers by. The device's error. Context: may sleep.
    pub(crate) fn poll<O>(
        &mut self,
        owner: &O,
        spin: Spin,
        mut around: impl FnMut(&Iocb<T>, &mut dyn FnMut() -> Result<bool>) -> Result<bool>,
    ) -> Result<Done<T>> {
        let mut flags = if spin == Spin::Once || self.several {
            bindings::BLK_POLL_ONESHOT
        } else {
            0
        };
        let mut batch = Batch::new(owner);
        for transfer in self.list.iter() {
            let iocb = transfer.iocb();
            if iocb.polled_result().is_some() {
                break;
            }
            if around(iocb, &mut || batch.poll(iocb, flags))? {
                flags |= bindings::BLK_POLL_ONESHOT;
            }
            if batch.has_some() || iocb.polled_result().is_some() {
                break;
            }
        }
        drop(batch);
        let mut done = Fifo::new();
        let mut left = Fifo::new();
        while let Some(this) = self.list.pop() {
            if this.iocb().polled_result().is_some() {
                done.push(this);
            } else {
                left.push(this);
            }
        }
        // INVARIANT: What is done left the list.
        self.list = left;
        Ok(Done(done))
    }
}

impl<T: Transfer> Drop for PollList<T> {
    fn drop(&mut self) {
        // Somebody still writes to what is under way, so it cannot be freed.
        while let Some(this) = self.list.pop() {
            let _ = KBox::into_raw(this);
        }
    }
}

/// Transfers that are done.
///
/// # Invariants
///
/// The boxes are no longer used by anybody else.
pub(crate) struct Done<T: Transfer>(Fifo<T>);

impl<T: Transfer> Done<T> {
    /// The next one, and its result.
    pub(crate) fn pop(&mut self) -> Option<(KBox<Linked<T>>, isize)> {
        let this = self.0.pop()?;
        let result = this.iocb().polled_result()?;
        Some((this, result))
    }
}

/// Completions that are gathered while polling and delivered together, when this is dropped.
struct Batch(bindings::io_comp_batch);

impl Batch {
    fn new<O>(owner: &O) -> Self {
        Self(bindings::io_comp_batch {
            poll_ctx: core::ptr::from_ref(owner).cast_mut().cast(),
            ..pin_init::zeroed()
        })
    }

    /// Polls for a transfer that is under way. Whether something was found.
    fn poll<T: Transfer>(&mut self, iocb: &Iocb<T>, flags: u32) -> Result<bool> {
        // SAFETY: The transfer was started as a polled one and is not given back before it is done.
        let found = unsafe { ffi::uring_kiocb_iopoll(iocb.as_raw(), &mut self.0, flags) };
        if found < 0 {
            return Err(Error::from_errno(found));
        }
        Ok(found != 0)
    }

    fn has_some(&self) -> bool {
        !self.0.req_list.head.is_null()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let (true, Some(complete)) = (self.has_some(), self.0.complete) {
            // SAFETY: Set by the driver that has put something in.
            unsafe { complete(&mut self.0) };
        }
    }
}
