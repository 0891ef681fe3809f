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

use crate::{
    abi::{
        SetupFlag,
        SetupFlags, //
    },
    buffers::{
        self,
        Buffer,
        Folios, //
    },
    complete,
    cq::Cq,
    departed,
    drain::Drain,
    eventfd::RingEventFd,
    files::{
        self,
        FileTable, //
    },
    globals::{
        Globals,
        RingSlot, //
    },
    iopoll::{
        self,
        Fastest, //
    },
    kbuf::{
        Groups,
        Regions, //
    },
    link::Assembly,
    personality::Personalities,
    pollers::Pollers,
    release::Released,
    request::{
        Cache,
        Request, //
    },
    restriction::Restrictions,
    ring::Rings,
    rsrc::Table,
    sqpoll::{
        self,
        SqThread, //
    },
    sys::{
        file,
        iopoll::PollList,
        locked_rc::Key,
        mpsc::{
            Chain,
            Fifo,
            Inbox, //
        },
        percpu_ref::{
            Counted,
            Counter,
            Root, //
        },
        poll::Polls,
        rcu_cell::RcuCell,
        region::Region,
        task::{
            self,
            Clock, //
        },
        task_work::{
            self,
            RunInTask,
            TaskWork, //
        },
        user::{
            Charge,
            User, //
        },
        wait::WaitQueue,
        workqueue, //
    },
    timeout::Timers,
    wait::Restarts,
    worker::{
        Pool,
        PoolUser, //
    }, //
};
use kernel::{
    c_str,
    fs::File,
    impl_has_work,
    mm::Mm,
    new_mutex,
    new_work,
    prelude::*,
    static_lock_class,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex,
        SetOnce, //
    },
    task::Task,
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

/// A ring that is alive for as long as this is borrowed.
pub(crate) type Ctx = Counted<RingCtx>;
/// A reference that keeps a ring alive.
pub(crate) type CtxRef = Counter<RingCtx>;

/// Everything that `uring_lock` protects: submission, completion, registration.
pub(crate) struct State {
    /// The memory of the rings; the same as in [`RingCtx::rings`].
    pub(crate) rings: Arc<Rings>,
    /// How far the SQ is consumed.
    pub(crate) sq_head: u32,
    /// The CQ.
    pub(crate) cq: Cq,
    /// Requests that are not in use.
    pub(crate) cache: Cache,
    /// What the batch that is under way leaves for its end: requests that completed in the submitter's
    /// own context but not inline, and those that are to be issued now that others are done.
    pub(crate) local: Fifo<Request>,
    /// Direct I/O was done: batches are collected for the device.
    pub(crate) plugs: bool,
    /// During a submission: what was found out about the submitter.
    pub(crate) submitting: Option<Submitting>,
    /// The chain that is being put together; only during a submission.
    pub(crate) chain: Option<Assembly>,
    /// What waits because of a drain.
    pub(crate) drain: Drain,
    /// Requests that wait for a time.
    pub(crate) timers: Timers,
    /// Files whose descriptors were closed while nobody of their process was there, by the number of the
    /// pool: see [`State::let_go_of_closed`].
    pub(crate) closed: KVec<(u8, ARef<File>)>,
    /// Processes that wait for a UNIX socket.
    pub(crate) waiting: departed::Waiting,
    /// Memory that what was submitted before may not use any more.
    pub(crate) released: Released,
    /// Requests that wait until a file is ready; also those that were woken, until that is dealt with.
    pub(crate) polls: Polls<Request>,
    /// Requests that are to be tried again, which nobody of their process has come for.
    pub(crate) strays: Fifo<Request>,
    /// The runner is at work: it looks at [`State::strays`] before it goes.
    pub(crate) is_running: bool,
    /// Completions that the last call of a deferring ring has left for the next one.
    pub(crate) backlog: Chain<Request>,
    /// One of the CQEs that were posted since the last look is that of a request that a worker ran.
    pub(crate) from_worker: bool,
    /// Tasks that are about to sleep, or sleep, in [`RingCtx::cq_wait`].
    pub(crate) waiters: u32,
    /// Registered credentials.
    pub(crate) personalities: Personalities,
    /// Its share in the workers of the processes that submit to it.
    pub(crate) pools: KVec<PoolUser>,
    /// The right to take and give back references to registered resources.
    pub(crate) key: Key,
    /// Registered files.
    pub(crate) files: FileTable,
    /// Registered buffers.
    pub(crate) buffers: Table<Arc<Buffer>>,
    /// Large folios that they are in.
    pub(crate) folios: Folios,
    /// Provided buffers.
    pub(crate) kbufs: Groups,
    /// What the ring may be used for.
    pub(crate) restrictions: Restrictions,
    /// The eventfd to signal; the same as in [`RingCtx::eventfd`].
    pub(crate) eventfd: Option<Arc<RingEventFd>>,
    /// Transfers whose completion has to be polled for.
    pub(crate) poll_list: PollList<Request>,
    /// How long those take at best.
    pub(crate) fastest: Fastest,
    /// How often was polled.
    pub(crate) poll_turns: u32,
    /// Waits that return to user space for a moment and come back.
    pub(crate) restarts: Restarts,
}

/// What is the same for all requests of one submission.
#[derive(Clone, Copy, Default)]
pub(crate) struct Submitting {
    /// The submitter's I/O priority.
    ioprio: Option<u16>,
    /// The number of its pool, which is kept.
    pub(crate) pool: Option<u8>,
}

impl State {
    /// The current task's I/O priority.
    #[inline]
    pub(crate) fn ioprio(&mut self) -> u16 {
        match &mut self.submitting {
            Some(now) => *now.ioprio.get_or_insert_with(file::current_ioprio),
            None => file::current_ioprio(),
        }
    }

    /// Lets go of files that were closed for the current process while it was elsewhere.
    #[cold]
    pub(crate) fn let_go_of_closed(&mut self) {
        let pools = &self.pools;
        let is_current = |number: u8| {
            let user = pools.get(usize::from(number).wrapping_sub(1));
            user.is_some_and(|user| user.pool().is_current())
        };
        self.closed.retain(|(number, _)| !is_current(*number));
    }

    /// The current process' pool of workers, and its index in [`State::pools`], where it stays.
    /// `ENOMEM`, `EOPNOTSUPP`.
    pub(crate) fn pool(&mut self, ctx: &Ctx) -> Result<(usize, Arc<Pool>)> {
        let mut users = self.pools.iter().enumerate();
        if let Some((index, user)) = users.find(|(_, user)| user.pool().is_current()) {
            return Ok((index, user.pool().clone()));
        }
        // As natively: the queue depth, or four for each CPU, whatever is less.
        let bounded = self.rings.sq_entries.min(4 * kernel::cpu::nr_cpu_ids());
        let user = PoolUser::join(&ctx.globals, bounded)?;
        let pool = user.pool().clone();
        self.pools.push(user, GFP_KERNEL_ACCOUNT)?;
        Ok((self.pools.len() - 1, pool))
    }
}

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
        let state = State {
            rings: rings.clone(),
            sq_head: 0,
            cq: Cq::new(flags, limits.overflow),
            cache: Cache::new(limits.requests),
            local: Fifo::new(),
            plugs: false,
            submitting: None,
            chain: None,
            drain: Drain::new(),
            timers: Timers::new(),
            closed: KVec::new(),
            waiting: departed::Waiting::new(),
            released: Released::new(),
            polls: Polls::new(),
            strays: Fifo::new(),
            is_running: false,
            backlog: Chain::new(),
            from_worker: false,
            waiters: 0,
            personalities: Personalities::new(),
            pools: KVec::new(),
            key: Key::new(),
            files: FileTable::none(),
            buffers: Table::none(),
            kbufs: Groups::new(),
            folios: Folios::new(),
            restrictions,
            eventfd: None,
            poll_list: PollList::new(),
            fastest: Fastest::new(),
            poll_turns: 0,
            restarts: Restarts::new(),
        };
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

    /// The task that the ring is bound to.
    #[inline]
    pub(crate) fn submitter(&self) -> Option<&Task> {
        let bound = self.flags.contains(SetupFlag::SingleIssuer);
        self.submitter
            .as_ref()
            .filter(|_| bound)
            .map(|task| &**task)
    }

    /// Whether the task that submits posts CQEs whenever there are some, if there is just one such task: the
    /// ring neither defers them nor has a thread for it.
    #[inline]
    fn is_plain(&self) -> bool {
        let special = SetupFlag::DeferTaskrun | SetupFlag::Sqpoll;
        !self.flags.contains_any(special)
    }

    /// The current task begins to submit: what completes from now on is seen by it at the end.
    #[inline]
    pub(crate) fn attend(&self, _state: &mut State) {
        if !self.is_plain() {
            return;
        }
        match self.submitter.as_ref() {
            Some(task) if task::is_current(task) => {}
            other => self.attend_as_another(other.is_some()),
        }
        self.attended.store(true, Relaxed);
    }

    #[cold]
    fn attend_as_another(&self, has_first: bool) {
        if has_first || !self.submitter.populate(task::current()) {
            self.shared.store(true, Relaxed);
        }
    }

    /// The current task has submitted, and is going to look at the completion list.
    #[inline]
    pub(crate) fn stop_attending(&self, _state: &mut State) {
        if self.is_plain() {
            // A full barrier; pairs with that in `Inbox::push`.
            self.attended.xchg(false, Full);
        }
    }

    /// Whether somebody is going to look at the completion list, after the caller's push. Context: any.
    #[inline]
    pub(crate) fn is_attended(&self) -> bool {
        self.attended.load(Relaxed)
    }

    /// Lets the task that submits run the completion list on its way out of the kernel. False if there is not
    /// just one, or the kernel does not have that. Context: any.
    pub(crate) fn interrupt_submitter(ctx: &Ctx) -> bool {
        if !ctx.is_plain() || ctx.shared.load(Relaxed) {
            return false;
        }
        let at_once = !ctx.flags.contains(SetupFlag::CoopTaskrun);
        let task = ctx.submitter.as_ref();
        task.is_some_and(|task| task_work::add(task, ctx, at_once))
    }

    /// Whether the current task has yet to run the completion list on its way out of the kernel.
    pub(crate) fn is_to_run_here(&self) -> bool {
        self.in_submitter.is_pending()
            && self.submitter.as_ref().is_some_and(|t| task::is_current(t))
    }

    /// Whether the current task may submit and register. Any may if the ring is not bound.
    #[inline]
    pub(crate) fn may_submit(&self) -> bool {
        if !self.flags.contains(SetupFlag::SingleIssuer) {
            return true;
        }
        self.submitter().is_some_and(task::is_current)
    }

    /// Whether the current task may run completions and so wait for them.
    #[inline]
    pub(crate) fn may_run(&self) -> bool {
        !self.defers() || self.submitter().is_some_and(task::is_current)
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

    /// Whether requests can be issued by the current task as by others of its process: in a ring with a
    /// thread that submits, that is the one with the right credentials, as long as it lives.
    #[inline]
    pub(crate) fn is_submitting(&self) -> bool {
        self.sq_thread()
            .is_none_or(|thread| thread.leaves_completions())
    }

    /// Whether there are completions that the current task may run. In a ring with a thread that
    /// submits, none but that thread has its credentials and descriptors.
    #[inline]
    pub(crate) fn has_completions(&self) -> bool {
        self.owes_completions() && self.is_submitting()
    }

    /// Whether there are completions to be run by whomever.
    #[inline]
    pub(crate) fn owes_completions(&self) -> bool {
        !self.inbox.is_empty() || self.has_backlog.load(Relaxed)
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

impl workqueue::Run for RingCtx {
    fn task(&self) -> &workqueue::Task<Self> {
        &self.runner
    }

    fn run(this: CtxRef) {
        complete::run_in_worker(&this);
    }
}

impl RunInTask for RingCtx {
    fn task_work(&self) -> &TaskWork<Self> {
        &self.in_submitter
    }

    fn run(this: CtxRef) {
        complete::run_in_submitter(&this);
    }
}

impl workqueue::Run<{ iopoll::POLLER }> for RingCtx {
    fn task(&self) -> &workqueue::Task<Self, { iopoll::POLLER }> {
        &self.poller
    }

    fn run(this: CtxRef) {
        iopoll::run_in_kthread(&this);
    }
}

/// What the ring file owns.
#[pin_data]
pub(crate) struct Ring {
    #[pin]
    exit: Work<Ring>,
    /// The ring.
    pub(crate) ctx: Root<RingCtx>,
}

impl_has_work! {
    impl HasWork<Self> for Ring { self.exit }
}

impl Ring {
    /// Puts a ring together. `ENOMEM`.
    pub(crate) fn new(ctx: impl PinInit<RingCtx, Error>) -> Result<Pin<KBox<Self>>> {
        let mut ctx = Root::new(ctx)?;
        let weak = ctx.pollers.ring().clone();
        ctx.set_weak(weak);
        KBox::pin_init(
            pin_init!(Self {
                exit <- new_work!("Ring::exit"),
                ctx,
            }),
            GFP_KERNEL,
        )
    }

    /// The ring is not used any more: takes it down, in a kernel thread.
    ///
    /// Context: may sleep, but not for long: it may be the file's last close in a dying process.
    pub(crate) fn retire(this: Pin<KBox<Self>>) {
        this.ctx.kill();
        let globals = this.ctx.globals.clone();
        globals.queue.enqueue(this);
    }
}

impl WorkItem for Ring {
    type Pointer = Pin<KBox<Self>>;

    /// Empties every place where a request can be, until the last one is back.
    fn run(this: Pin<KBox<Self>>) {
        this.ctx.pollers.queue.hang_up();
        // A twentieth of a second, as natively.
        let interval = kernel::time::msecs_to_jiffies(50);
        sqpoll::detach(&this.ctx);
        loop {
            {
                let mut state = this.ctx.state.lock();
                for user in state.pools.iter() {
                    user.pool().cancel_ring(&this.ctx);
                }
                iopoll::reap_all(&this.ctx, &mut state);
                complete::cancel_all(&this.ctx, &mut state);
                files::drop_all(&this.ctx, &mut state);
                buffers::drop_all(&this.ctx, &mut state);
                state.cq.drop_overflow();
                state.cache.clear();
            }
            if this.ctx.wait_zero(interval) {
                break;
            }
        }
        // Field by field the rest goes with `this`.
    }
}
