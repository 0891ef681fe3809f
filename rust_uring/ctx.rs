// SPDX-License-Identifier: GPL-2.0

//! A ring: what each lock protects, and how it lives and dies.
//!
//! # Locks
//!
//! `uring_lock` (here [`RingCtx::state`]) > `mmap_lock` ([`RingCtx::mappings`]). Wakeups and
//! completions of other contexts take neither: they push to [`RingCtx::inbox`] and wake.
//!
//! # Life
//!
//! The ring file owns a [`Ring`], which owns the counted [`RingCtx`]. Each request that exists holds
//! a reference. When the file is released, the `Ring` becomes a work item that takes everything out
//! of the places where requests can be, until the last reference is gone.

#![forbid(unsafe_code)]

mod life;
mod runner;
mod state;

pub(crate) use life::Ring;
pub(crate) use state::{
    State,
    Submitting, //
};

use crate::{
    abi::{
        SetupFlag,
        SetupFlags, //
    },
    eventfd::RingEventFd,
    globals::{
        Globals,
        RingSlot, //
    },
    iopoll,
    kbuf::Regions,
    pollers::Pollers,
    request::Request,
    restriction::Restrictions,
    ring::Rings,
    sqpoll::SqThread,
    sys::{
        atomic::Atomic,
        mpsc::Inbox,
        percpu_ref::{
            Counted,
            Counter, //
        },
        rcu_cell::RcuCell,
        region::Region,
        task::{
            self,
            Clock, //
        },
        task_work::TaskWork,
        user::{
            Charge,
            User, //
        },
        wait::WaitQueue,
        workqueue, //
    }, //
};
use kernel::{
    c_str,
    mm::Mm,
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex,
        SetOnce, //
    },
    task::Task, //
};

/// A ring that is alive for as long as this is borrowed.
pub(crate) type Ctx = Counted<RingCtx>;
/// A reference that keeps a ring alive.
pub(crate) type CtxRef = Counter<RingCtx>;

/// What `mmap(2)` finds; protected by `mmap_lock`.
pub(crate) struct Mappings {
    /// The memory of the rings.
    pub(crate) rings: Arc<Rings>,
    /// The region of `IORING_REGISTER_MEM_REGION`.
    pub(crate) param: Option<Arc<ParamRegion>>,
    /// Rings of provided buffers.
    pub(crate) kbufs: Regions,
}

/// The region of `IORING_REGISTER_MEM_REGION` and what it is charged to.
pub(crate) struct ParamRegion {
    /// The memory.
    pub(crate) region: Region,
    pub(crate) _charges: [Option<Charge>; 2],
}

/// CQEs are on the overflow list.
pub(crate) const CHECK_OVERFLOW: u32 = 1 << 0;
/// CQEs were lost, and no wait has reported it yet.
pub(crate) const CHECK_LOST: u32 = 1 << 1;

/// Nobody counts completions down, see [`RingCtx::wait_nr`].
pub(crate) const WAIT_NR_NONE: i32 = -1;

/// A ring.
#[pin_data]
pub(crate) struct RingCtx {
    /// How the ring was set up.
    pub(crate) flags: SetupFlags,
    /// The ring was set up with `R_DISABLED` and is not enabled yet.
    disabled: Atomic<bool>,
    /// The only task that may submit, for rings with `SINGLE_ISSUER`; else the first that did.
    submitter: SetOnce<ARef<Task>>,
    /// Others have submitted, too.
    shared: Atomic<bool>,
    /// Somebody is submitting, and looks at the completion list afterwards. Written under `uring_lock`.
    attended: Atomic<bool>,

    #[pin]
    pub(crate) state: Mutex<State>,
    #[pin]
    pub(crate) mappings: Mutex<Mappings>,

    /// The memory of the rings, for those who hold no lock.
    pub(crate) rings: RcuCell<Rings>,
    /// `CHECK_*`: what a waiting task has to look at. Written under `uring_lock`.
    pub(crate) check: Atomic<u32>,
    /// Completions of other contexts, to be posted by whoever runs the list.
    pub(crate) inbox: Inbox<Request>,
    /// [`State::backlog`] is not empty.
    pub(crate) has_backlog: Atomic<bool>,
    /// Requests whose transfer goes on by itself, or may. Those that come back count until they are
    /// taken out of the completion list.
    pub(crate) in_background: Atomic<u32>,
    /// There may be transfers to poll for, beside those that the thread which submits knows of.
    pub(crate) polling: Atomic<bool>,
    /// Messages of other rings that this one, which defers, has not made CQEs of.
    pub(crate) messages: Atomic<u32>,
    /// For rings with `DEFER_TASKRUN`: how many completions the sleeping submitter waits for. Who
    /// counts it down to zero wakes it.
    pub(crate) wait_nr: Atomic<i32>,
    /// Tasks that wait for CQEs.
    #[pin]
    pub(crate) cq_wait: WaitQueue,
    /// Those who poll the ring.
    pub(crate) pollers: Arc<Pollers>,
    /// Somebody has polled the descriptor, ever.
    pub(crate) polled: Atomic<bool>,
    /// The eventfd, for those who hold no lock.
    pub(crate) eventfd: RcuCell<RingEventFd>,
    /// A signal of the eventfd is owed, see [`complete`].
    pub(crate) eventfd_owed: Atomic<bool>,
    /// The thread that submits, for rings with `SQPOLL`.
    sq_thread: SetOnce<Arc<SqThread>>,
    /// Tasks that wait for room in the SQ of such a ring.
    #[pin]
    pub(crate) sq_wait: WaitQueue,
    /// The registered wait arguments of `IORING_ENTER_EXT_ARG_REG`.
    pub(crate) wait_args: SetOnce<Arc<ParamRegion>>,

    /// Timeouts in `enter` are on `CLOCK_BOOTTIME`.
    boottime: Atomic<bool>,
    /// [`State::restarts`] is not empty.
    pub(crate) restarting: Atomic<bool>,

    /// Whom pinned memory is charged to; `None` for those who may lock any amount.
    pub(crate) user: Option<Arc<User>>,
    /// The address space that pinned memory is shown with. It may be empty already.
    pub(crate) mm: ARef<Mm>,
    /// The module.
    pub(crate) globals: Arc<Globals>,
    /// The ring's place in its user's share.
    slot: RingSlot,

    /// Runs the completion list when no task waits.
    #[pin]
    runner: workqueue::Task<RingCtx>,
    /// The same, in the task that submits.
    in_submitter: TaskWork<RingCtx>,
    /// Polls when nobody else does.
    #[pin]
    poller: workqueue::Task<RingCtx, { iopoll::POLLER }>,
}

impl RingCtx {
    /// A ring with this memory. `submitter` is set for rings that are bound to a task from the start.
    pub(crate) fn new(
        flags: SetupFlags,
        rings: Arc<Rings>,
        restrictions: Restrictions,
        user: Option<Arc<User>>,
        mm: ARef<Mm>,
        globals: Arc<Globals>,
        slot: RingSlot,
    ) -> impl PinInit<Self, Error> {
        let limits = globals.limits;
        let submitter = SetOnce::new();
        let disabled = flags.contains(SetupFlag::RDisabled);
        if flags.contains(SetupFlag::SingleIssuer) && !disabled {
            submitter.populate(task::current());
        }
        let state = State::new(flags, rings.clone(), restrictions, &limits);
        let mappings = Mappings {
            rings: rings.clone(),
            param: None,
            kbufs: Regions::new(),
        };
        try_pin_init!(Self {
            flags,
            disabled: Atomic::new(disabled),
            submitter,
            shared: Atomic::new(false),
            attended: Atomic::new(false),
            state <- new_mutex!(state, "RingCtx::uring_lock"),
            mappings <- new_mutex!(mappings, "RingCtx::mmap_lock"),
            rings: RcuCell::new(Some(rings)),
            check: Atomic::new(0),
            inbox: Inbox::new(),
            has_backlog: Atomic::new(false),
            in_background: Atomic::new(0),
            polling: Atomic::new(false),
            messages: Atomic::new(0),
            wait_nr: Atomic::new(WAIT_NR_NONE),
            cq_wait <- WaitQueue::new(c_str!("RingCtx::cq_wait"), static_lock_class!()),
            pollers: Pollers::new()?,
            polled: Atomic::new(false),
            eventfd: RcuCell::new(None),
            eventfd_owed: Atomic::new(false),
            sq_thread: SetOnce::new(),
            sq_wait <- WaitQueue::new(c_str!("RingCtx::sq_wait"), static_lock_class!()),
            wait_args: SetOnce::new(),
            boottime: Atomic::new(false),
            restarting: Atomic::new(false),
            user,
            mm,
            globals,
            slot,
            runner <- workqueue::Task::new(c_str!("RingCtx::runner"), static_lock_class!()),
            in_submitter: TaskWork::new(),
            poller <- workqueue::Task::new(c_str!("RingCtx::poller"), static_lock_class!()),
        }? Error)
    }

    /// Whether completions run only in the submitter's `enter`.
    #[inline]
    pub(crate) fn defers(&self) -> bool {
        self.flags.contains(SetupFlag::DeferTaskrun)
    }

    /// Whether completions are found by polling the device.
    #[inline]
    pub(crate) fn polls(&self) -> bool {
        self.flags.contains(SetupFlag::Iopoll)
    }

    /// The thread that submits, if it is not the application that does.
    #[inline]
    pub(crate) fn sq_thread(&self) -> Option<&Arc<SqThread>> {
        // Most have none, and this is asked often.
        if !self.flags.contains(SetupFlag::Sqpoll) {
            return None;
        }
        self.sq_thread.as_ref()
    }

    /// Binds the ring to its thread, once.
    pub(crate) fn set_sq_thread(&self, thread: Arc<SqThread>) {
        self.sq_thread.populate(thread);
    }

    /// Whether a CQE can have 32 bytes.
    pub(crate) fn takes_big(&self) -> bool {
        let sizes = SetupFlag::Cqe32 | SetupFlag::CqeMixed;
        self.flags.contains_any(sizes)
    }

    /// Whether the ring has to be enabled before it can be used. Orders what follows after it.
    #[inline]
    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled.load(Acquire)
    }

    /// Enables the ring and binds it to the current task if it is to be bound.
    pub(crate) fn enable(&self) {
        if self.flags.contains(SetupFlag::SingleIssuer) {
            self.submitter.populate(task::current());
        }
        self.disabled.store(false, Release);
    }

    /// Clock of the timeouts in `enter`.
    pub(crate) fn clock(&self) -> Clock {
        if self.boottime.load(Relaxed) {
            Clock::Boottime
        } else {
            Clock::Monotonic
        }
    }

    /// Chooses that clock.
    pub(crate) fn set_clock(&self, clock: Clock) {
        self.boottime.store(clock == Clock::Boottime, Relaxed);
    }

    /// Rings that the user of this one has, and how many it may have.
    pub(crate) fn user_rings(&self) -> (u32, u32) {
        (
            self.globals.rings_of(&self.slot),
            self.globals.limits.rings_per_user,
        )
    }

    /// Whether a task that waits for CQEs has something to do even if no CQE comes.
    pub(crate) fn has_work(&self) -> bool {
        self.check.load(Relaxed) & CHECK_OVERFLOW != 0 || self.has_completions()
    }

    /// Whether those who poll the descriptor find CQEs, or would after an `enter`.
    pub(crate) fn is_readable(&self) -> bool {
        self.rings
            .read(|rings| rings.is_some_and(|r| r.cq_ready() != 0))
            || self.has_work()
    }

    /// Sets bits of [`Self::check`]. The caller holds `uring_lock`.
    pub(crate) fn set_check(&self, _state: &mut State, bits: u32) {
        self.check.store(self.check.load(Relaxed) | bits, Relaxed);
    }

    /// Clears bits of [`Self::check`]. The caller holds `uring_lock`.
    pub(crate) fn clear_check(&self, _state: &mut State, bits: u32) {
        self.check.store(self.check.load(Relaxed) & !bits, Relaxed);
    }
}
