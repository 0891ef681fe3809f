// SPDX-License-Identifier: GPL-2.0

//! Timers that own a box until they expire or somebody takes it out.
//!
//! C header: [`include/linux/hrtimer.h`](srctree/include/linux/hrtimer.h)

use crate::sys::{
    mpsc::Linked,
    slot::Slot,
    task::Clock, //
};
use kernel::{
    bindings,
    new_spinlock,
    prelude::*,
    sync::SpinLock,
    types::Opaque, //
};

/// A value that can wait for a time.
pub(crate) trait Timed: Sized + Send + 'static {
    /// The time has come. Context: hard interrupt.
    fn expired(this: KBox<Linked<Self>>);
}

/// When a timer expires.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct When {
    /// The clock that it is measured with.
    pub(crate) clock: Clock,
    /// A point in time rather than a span from now on.
    pub(crate) absolute: bool,
    /// Nanoseconds.
    pub(crate) time: i64,
}

/// What is known of an `hrtimer`.
struct Setup {
    /// The clock and the mode that it is set up for.
    clock: Clock,
    mode: bindings::hrtimer_mode,
    /// It is not queued, and its function does not run.
    idle: bool,
}

/// A timer. Whoever gets the box out of `held` owns it: the expiry, or [`Timer::take`].
///
/// # Invariants
///
/// `hrtimer` is initialised, with [`expire`] as its function, and pinned. It is set up again only with
/// `setup` locked and while neither it is queued nor its function runs. `setup` tells the truth.
#[pin_data(PinnedDrop)]
pub(crate) struct Timer<T: Timed> {
    #[pin]
    hrtimer: Opaque<bindings::hrtimer>,
    held: Slot<T>,
    /// For whoever starts or stops it. The expiry does not take the lock, so that one may be waited for.
    #[pin]
    setup: SpinLock<Setup>,
}

// SAFETY: A timer may be started and stopped by any thread; that is serialised by the lock.
unsafe impl<T: Timed> Send for Timer<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: Timed> Sync for Timer<T> {}

impl<T: Timed> Timer<T> {
    /// A timer that is not running.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            hrtimer <- Opaque::ffi_init(|slot: *mut bindings::hrtimer| {
                // INVARIANT: Set up in place.
                // SAFETY: The slot is valid and pinned.
                unsafe {
                    bindings::hrtimer_setup(
                        slot,
                        Some(expire::<T>),
                        Clock::Monotonic.id(),
                        bindings::hrtimer_mode_HRTIMER_MODE_REL,
                    )
                }
            }),
            held: Slot::new(),
            setup <- new_spinlock!(
                Setup {
                    clock: Clock::Monotonic,
                    mode: bindings::hrtimer_mode_HRTIMER_MODE_REL,
                    idle: true,
                },
                "Timer::setup"
            ),
        })
    }

    /// Gives it a box, to be kept until it expires or is taken. The time does not run before
    /// [`Self::start`]. Gives back what was there before. Context: any but interrupts.
    pub(crate) fn put(&self, this: KBox<Linked<T>>) -> Option<KBox<Linked<T>>> {
        self.held.put(this)
    }

    /// Lets the time run, if there is still a box to be kept. Context: any but interrupts.
    pub(crate) fn start(&self, when: When) {
        let mut setup = self.setup.lock();
        if self.held.is_empty() {
            return;
        }
        let mode = if when.absolute {
            bindings::hrtimer_mode_HRTIMER_MODE_ABS
        } else {
            bindings::hrtimer_mode_HRTIMER_MODE_REL
        };
        let timer = self.hrtimer.get();
        if !setup.idle {
            // SAFETY: Initialised by the invariants. Afterwards it is not queued, and its function, which
            // may still have been on its way out from the last time, does not run.
            unsafe { bindings::hrtimer_cancel(timer) };
        }
        if setup.clock != when.clock || setup.mode != mode {
            // INVARIANT: It is idle, and the lock is held.
            // SAFETY: As before.
            unsafe { bindings::hrtimer_setup(timer, Some(expire::<T>), when.clock.id(), mode) };
            (setup.clock, setup.mode) = (when.clock, mode);
        }
        setup.idle = false;
        // SAFETY: Set up for that mode. When it expires we are still there, or we have stopped it in `drop`.
        unsafe { bindings::hrtimer_start_range_ns(timer, when.time, 0, mode) };
    }

    /// Takes the box out and stops the time; `None` if that has come already. Afterwards the expiry has
    /// nothing to do with us any more. Context: any but interrupts.
    pub(crate) fn take(&self) -> Option<KBox<Linked<T>>> {
        let this = self.held.take()?;
        let mut setup = self.setup.lock();
        if !setup.idle {
            // SAFETY: Initialised by the invariants. The function takes no lock that we might hold: it is
            // waited for if it runs, and finds nothing.
            unsafe { bindings::hrtimer_cancel(self.hrtimer.get()) };
            setup.idle = true;
        }
        Some(this)
    }
}

#[pinned_drop]
impl<T: Timed> PinnedDrop for Timer<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Initialised by the invariants. Afterwards nobody uses it.
        unsafe { bindings::hrtimer_cancel(self.hrtimer.get()) };
    }
}

/// Context: hard interrupt.
///
/// # Safety
///
/// `timer` is that of a [`Timer<T>`].
unsafe extern "C" fn expire<T: Timed>(timer: *mut bindings::hrtimer) -> bindings::hrtimer_restart {
    let opaque = Opaque::cast_from(timer).cast_mut();
    // SAFETY: That field of a `Timer<T>`, which stops the timer before it goes.
    let this = unsafe { &*kernel::container_of!(opaque, Timer<T>, hrtimer) };
    if let Some(value) = this.held.take() {
        T::expired(value);
    }
    bindings::hrtimer_restart::HRTIMER_NORESTART
}
