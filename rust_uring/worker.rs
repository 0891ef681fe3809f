// SPDX-License-Identifier: GPL-2.0

//! The threads that run what would block.
//!
//! Each process has a pool. Its threads belong to the process (see [`crate::sys::user_worker`]), so a
//! request runs with the memory, the limits and the file system view of the one that submitted it;
//! only the credentials are put in place. Work on regular files and block devices is *bounded*: it
//! ends by itself, so few threads do. All other work may wait for ever, and has more.
//!
//! Buffered writes to one file are done one after another, by whatever thread.

#![forbid(unsafe_code)]

mod affinity;
mod pools;

pub(crate) use pools::{
    PoolUser,
    Pools, //
};

use crate::{
    cancel::{
        file_key,
        Match, //
    },
    complete,
    ctx::{
        Ctx,
        RingCtx, //
    },
    globals::Globals,
    iopoll,
    op::{
        self,
        Run, //
    },
    request::{
        After,
        ReqBox,
        Request, //
    },
    span::Span,
    sys::{
        affinity::Cpus,
        cpu,
        fd_table,
        mpsc::Fifo,
        percpu_ref::Counter,
        task,
        user_worker::{
            self,
            Job,
            UserWorker, //
        }, //
    },
};
use kernel::{
    impl_has_hr_timer,
    impl_has_work,
    mm::Mm,
    new_mutex,
    new_spinlock,
    new_work,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        ArcBorrow,
        Mutex,
        SetOnce,
        SpinLock, //
    },
    task::{
        Pid,
        Task, //
    },
    time::{
        delay::fsleep,
        hrtimer::{
            ArcHrTimerHandle,
            HrTimer,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerPointer,
            HrTimerRestart,
            RelativeMode, //
        },
        Delta,
        Monotonic, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

/// Kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Ends by itself.
    Bounded = 0,
    /// May wait for ever.
    Unbounded = 1,
}

/// What a look for requests to be cancelled finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// None.
    Nothing,
    /// They had not begun.
    Waiting,
    /// At least one of them runs.
    Running,
}

/// The work of one class.
struct Queue {
    waiting: Fifo<Request>,
    /// Threads that exist.
    threads: u32,
    /// Threads that have nothing to do.
    idle: u32,
    /// Threads that may exist.
    limit: u32,
    /// Threads that count as existing and are still to be made, by one that does.
    wanted: u32,
}

/// What the queue lock protects.
struct Queues {
    classes: [Queue; 2],
    /// Inodes that are being written to: work on them waits.
    busy_inodes: KVec<usize>,
    /// The process is gone, or the pool is about to go: nothing is taken any more.
    closed: bool,
}

/// The threads of one process.
#[pin_data]
pub(crate) struct Pool {
    #[pin]
    queues: SpinLock<Queues>,
    #[pin]
    threads: Mutex<Threads>,
    /// Looks for threads that have had nothing to do for a while.
    #[pin]
    timer: HrTimer<Pool>,
    /// Stops them.
    #[pin]
    reap: Work<Pool>,
    /// The last thread for bounded work is not retired.
    keeps_worker: Atomic<bool>,
    /// The process: its memory, its number, and its descriptors as [`fd_table::current_id`] tells them.
    mm: ARef<Mm>,
    tgid: Pid,
    fds: usize,
    globals: Arc<Globals>,
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Pool {
        mode: RelativeMode<Monotonic>, field: self.timer
    }
}

impl_has_work! {
    impl HasWork<Self> for Pool { self.reap }
}

/// What the thread lock protects.
#[derive(Default)]
struct Threads {
    list: KVec<UserWorker<Worker>>,
    /// The timer, while there are threads.
    timer: Option<ArcHrTimerHandle<Pool>>,
    /// Where they are to run, if that was said.
    cpus: Option<Cpus>,
}

/// How often idle threads are looked for. Who has had nothing to do since the last look is stopped.
const IDLE: Delta = Delta::from_secs(5);

/// How often a thread that cannot be made is tried again, and after what time more each time.
const TRIES: i64 = 3;
const TRY_AGAIN: Delta = Delta::from_millis(5);

/// One thread.
#[pin_data]
pub(crate) struct Worker {
    pool: Arc<Pool>,
    class: Class,
    /// The thread itself, once it runs.
    task: SetOnce<ARef<Task>>,
    /// What is being run. The lock is held when the thread is interrupted, so that it is for this
    /// request and no other.
    #[pin]
    running: SpinLock<Running>,
    /// Nothing to do. Written under the queue lock.
    idle: Atomic<bool>,
    /// It had something to do since idle threads were looked for.
    worked: Atomic<bool>,
    /// It takes no work any more. Written under the queue lock.
    retired: Atomic<bool>,
}

/// What a thread runs.
#[derive(Clone, Copy, Default)]
struct Running {
    /// The request's ring, as a number; 0 if there is none.
    ring: usize,
    /// What tells the request from others.
    user_data: u64,
    opcode: u8,
    file: usize,
    span: Option<Span>,
    /// The request is to end as soon as it can.
    cancelled: bool,
}

impl Pool {
    /// `limits`: how many bounded and unbounded threads there may be.
    fn new(mm: ARef<Mm>, globals: &Arc<Globals>, limits: [u32; 2]) -> Result<Arc<Self>> {
        let queue = |limit| Queue {
            waiting: Fifo::new(),
            threads: 0,
            idle: 0,
            limit,
            wanted: 0,
        };
        let queues = Queues {
            classes: limits.map(queue),
            busy_inodes: KVec::new(),
            closed: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                queues <- new_spinlock!(queues, "Pool::queues"),
                threads <- new_mutex!(Threads::default(), "Pool::threads"),
                timer <- HrTimer::new(),
                reap <- new_work!("Pool::reap"),
                keeps_worker: Atomic::new(false),
                mm,
                tgid: kernel::current!().tgid(),
                fds: fd_table::current_id(),
                globals: globals.clone(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Whether it is the pool of the current process; of one whose memory the current task has borrowed, if
    /// that is a kernel thread.
    ///
    /// Threads of a process that do not share their descriptors have pools of their own.
    pub(crate) fn is_current(&self) -> bool {
        let same = || self.tgid == kernel::current!().tgid() && self.fds == fd_table::current_id();
        task::is_current_mm(&self.mm) && (task::is_kernel_thread() || same())
    }

    /// Hands a request over. Gives it back if the process is gone, or has no thread at all and the
    /// current task cannot make one. Context: may sleep.
    pub(crate) fn submit(this: &Arc<Self>, req: ReqBox) -> core::result::Result<(), ReqBox> {
        let class = req.class();
        let may_spawn = this.may_spawn();
        let spawn = {
            let queues = &mut *this.queues.lock();
            let nobody = !may_spawn && queues.classes.iter().all(|q| q.threads == q.wanted);
            let Some(queue) = queues.classes.get_mut(class as usize) else {
                return Err(req);
            };
            if queues.closed || nobody {
                return Err(req);
            }
            queue.waiting.push(req);
            // One thread for each piece of work that no idle thread is there for.
            let short = queue.waiting.len() > queue.idle as usize;
            let spawn = short && queue.threads < queue.limit;
            if spawn {
                queue.threads += 1;
                queue.wanted += u32::from(!may_spawn);
            }
            spawn
        };
        if spawn && !may_spawn {
            this.wake_idle(Class::Bounded);
        } else if spawn && Self::spawn(this, class).is_err() {
            this.give_up_thread(class);
        }
        this.wake_idle(class);
        Ok(())
    }

    /// Makes a thread that somebody else could not. Whether there was one to be made. Called by a thread
    /// of ours, which may have to end its waiting for it.
    fn spawn_wanted(this: &Arc<Self>) -> bool {
        let class = {
            let mut queues = this.queues.lock();
            let [bounded, unbounded] = &mut queues.classes;
            if bounded.wanted != 0 {
                bounded.wanted -= 1;
                Class::Bounded
            } else if unbounded.wanted != 0 {
                unbounded.wanted -= 1;
                Class::Unbounded
            } else {
                return false;
            }
        };
        user_worker::awake();
        if Self::spawn(this, class).is_err() {
            this.give_up_thread(class);
        }
        true
    }

    /// Makes sure that there is a thread for bounded work from now on, even if the process is not there
    /// to make one. Called by the process itself. Context: may sleep.
    pub(crate) fn keep_worker(this: &Arc<Self>) -> bool {
        if this.keeps_worker.load(Relaxed) {
            return true;
        }
        let class = Class::Bounded;
        let spawn = {
            let queues = &mut *this.queues.lock();
            let Some(queue) = queues.classes.get_mut(class as usize) else {
                return false;
            };
            let spawn = queue.threads == 0;
            if spawn && !this.may_spawn() {
                return false;
            }
            // Under the lock with which threads are retired.
            this.keeps_worker.store(true, Relaxed);
            if spawn {
                queue.threads += 1;
            }
            spawn
        };
        if spawn && Self::spawn(this, class).is_err() {
            this.keeps_worker.store(false, Relaxed);
            this.give_up_thread(class);
            return false;
        }
        true
    }

    /// Whether the current task can make a thread: it is of the process, and not a kernel thread that
    /// has borrowed its memory.
    fn may_spawn(&self) -> bool {
        user_worker::available() && self.is_current() && !task::is_kernel_thread()
    }

    /// The process' memory.
    pub(crate) fn mm(&self) -> &Mm {
        &self.mm
    }

    /// A thread could not be made. If it was the only one, nobody comes for what waits.
    #[cold]
    fn give_up_thread(&self, class: Class) {
        let mut lost = Fifo::new();
        {
            let mut queues = self.queues.lock();
            let Some(queue) = queues.classes.get_mut(class as usize) else {
                return;
            };
            queue.threads -= 1;
            if queue.threads == 0 {
                core::mem::swap(&mut lost, &mut queue.waiting);
            }
        }
        while let Some(req) = lost.pop() {
            cancelled(req);
        }
    }

    fn spawn(this: &Arc<Self>, class: Class) -> Result {
        let worker = Arc::pin_init(
            pin_init!(Worker {
                pool: this.clone(),
                class,
                task: SetOnce::new(),
                running <- new_spinlock!(Running::default(), "Worker::running"),
                idle: Atomic::new(false),
                worked: Atomic::new(true),
                retired: Atomic::new(false),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let threads = &mut *this.threads.lock();
        threads.list.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let thread = Self::spawn_stubbornly(&worker)?;
        // There is room by the reservation above.
        let _ = threads.list.push_within_capacity(thread);
        threads
            .timer
            .get_or_insert_with(|| this.clone().start(IDLE));
        Ok(())
    }

    /// Natively, too, it is tried a few times: another thread that is about to execute a program may be in
    /// the way, or a limit.
    fn spawn_stubbornly(worker: &Arc<Worker>) -> Result<UserWorker<Worker>> {
        let mut tries = 0;
        loop {
            match UserWorker::spawn(worker.clone(), c"rust_uring-wrk") {
                Err(err) if tries < TRIES && (err == EAGAIN || err == ERESTARTNOINTR) => {
                    tries += 1;
                    fsleep(TRY_AGAIN * tries);
                }
                result => return result,
            }
        }
    }

    fn wake_idle(&self, class: Class) {
        for thread in self.threads.lock().list.iter() {
            let worker = thread.job();
            if worker.class == class && worker.idle.load(Relaxed) {
                thread.wake();
                return;
            }
        }
    }

    /// The next piece of work for a thread whose file nobody writes to, and whether there is more.
    /// Marks the file, and the thread as idle if there is none.
    fn next(&self, worker: &Worker) -> Option<(ReqBox, bool)> {
        let queues = &mut *self.queues.lock();
        if worker.retired.load(Relaxed) {
            return None;
        }
        let queue = queues.classes.get_mut(worker.class as usize)?;
        let busy = &queues.busy_inodes;
        let req = queue
            .waiting
            .take_first(|req| req.hash_key().is_none_or(|key| !busy.contains(&key)));
        let was_idle = worker.idle.load(Relaxed);
        match (&req, was_idle) {
            (Some(_), true) => queue.idle -= 1,
            (None, false) => queue.idle += 1,
            _ => {}
        }
        worker.idle.store(req.is_none(), Relaxed);
        let req = req?;
        // Who looks for it to cancel it finds it here or there.
        *worker.running.lock() = Running {
            ring: ring_key(&req.ctx),
            user_data: req.cqe.user_data,
            opcode: req.opcode,
            file: req.file.get().map_or(0, file_key),
            span: req.span(),
            cancelled: false,
        };
        if let Some(key) = req.hash_key() {
            // Without memory for the mark writes to one file may run at the same time, which is
            // slow and not wrong.
            let _ = queues.busy_inodes.push(key, GFP_ATOMIC);
        }
        Some((req, !queue.waiting.is_empty()))
    }

    /// Takes back what a thread of ours could not finish, unless it is cancelled. Its thread comes for it
    /// again.
    fn requeue(&self, worker: &Worker, req: ReqBox) {
        let mut queues = self.queues.lock();
        let closed = queues.closed;
        // Who looks for it finds it here or there.
        let ends = worker.over() || closed;
        match queues.classes.get_mut(req.class() as usize) {
            Some(queue) if !ends => queue.waiting.push(req),
            _ => {
                drop(queues);
                cancelled(req);
            }
        }
    }

    /// A write to a file is over.
    fn release(&self, key: usize) {
        let mut queues = self.queues.lock();
        let at = queues.busy_inodes.iter().position(|k| *k == key);
        if let Some(at) = at {
            let _ = queues.busy_inodes.remove(at);
        }
    }

    /// Ends what `what` means of the requests that `ctx` has here: what waits is taken out, what runs is
    /// interrupted. Natively what waits is looked at first, and that is enough if only one is meant.
    pub(crate) fn cancel(&self, ctx: &Ctx, what: &Match) -> Found {
        let key = ring_key(ctx);
        let mut found = Found::Nothing;
        let mut taken = Fifo::new();
        {
            let threads = self.threads.lock();
            // Both under one lock, so that a request that goes from one to the other is not missed.
            let mut queues = self.queues.lock();
            let wanted = |req: &Request| ring_key(&req.ctx) == key && what.fits_request(req);
            for queue in &mut queues.classes {
                while what.all || taken.is_empty() {
                    let Some(req) = queue.waiting.take_first(wanted) else {
                        break;
                    };
                    found = Found::Waiting;
                    taken.push(req);
                }
            }
            for thread in threads.list.iter() {
                if !what.all && found != Found::Nothing {
                    break;
                }
                let worker = thread.job();
                let mut now = worker.running.lock();
                if now.ring == key && what.fits(now.user_data, now.opcode, now.file, now.span) {
                    now.cancelled = true;
                    user_worker::interrupt(&worker.task);
                    found = Found::Running;
                }
            }
        }
        while let Some(req) = taken.pop() {
            cancelled(req);
        }
        found
    }

    /// Ends everything that `ctx` has here: what waits is taken out, what runs is interrupted.
    /// Returns whether something still runs.
    pub(crate) fn cancel_ring(&self, ctx: &Ctx) -> bool {
        let key = ring_key(ctx);
        loop {
            let req = {
                let mut queues = self.queues.lock();
                let of_ring = |req: &Request| ring_key(&req.ctx) == key;
                queues
                    .classes
                    .iter_mut()
                    .find_map(|q| q.waiting.take_first(of_ring))
            };
            match req {
                Some(req) => cancelled(req),
                None => break,
            }
        }
        let mut running = false;
        for thread in self.threads.lock().list.iter() {
            let worker = thread.job();
            let mut current = worker.running.lock();
            if current.ring == key {
                current.cancelled = true;
                user_worker::interrupt(&worker.task);
                running = true;
            }
        }
        running
    }

    /// Whether none of the process' threads is left but ours.
    fn is_abandoned(&self) -> bool {
        let threads = self.threads.lock();
        let task = threads
            .list
            .iter()
            .find_map(|thread| thread.job().task.as_ref());
        task.is_some_and(|task| user_worker::only_these_left(task))
    }

    /// Stops all threads. Context: may sleep, not in one of them.
    fn shut_down(&self) {
        self.queues.lock().closed = true;
        for thread in self.threads.lock().list.iter() {
            user_worker::interrupt(&thread.job().task);
        }
        self.drop_waiting();
        let (threads, timer) = {
            let mut threads = self.threads.lock();
            (core::mem::take(&mut threads.list), threads.timer.take())
        };
        drop(timer);
        drop(threads);
    }

    /// Whether the thread has been idle since the last look. Then it is retired: it counts no more.
    fn retire_if_idle(&self, worker: &Worker) -> bool {
        if worker.worked.load(Relaxed) {
            worker.worked.store(false, Relaxed);
            return false;
        }
        let mut queues = self.queues.lock();
        let Some(queue) = queues.classes.get_mut(worker.class as usize) else {
            return false;
        };
        // Work that waits counts on every thread that is idle.
        if !worker.idle.load(Relaxed) || !queue.waiting.is_empty() {
            return false;
        }
        if worker.class == Class::Bounded
            && queue.threads - queue.wanted == 1
            && self.keeps_worker.load(Relaxed)
        {
            return false;
        }
        worker.retired.store(true, Relaxed);
        queue.threads -= 1;
        queue.idle -= 1;
        true
    }

    /// The process is gone: what waits will not run.
    fn drop_waiting(&self) {
        loop {
            let req = {
                let mut queues = self.queues.lock();
                queues.closed = true;
                queues.classes.iter_mut().find_map(|q| q.waiting.pop())
            };
            match req {
                Some(req) => cancelled(req),
                None => break,
            }
        }
    }

    /// Sets how many threads there may be, bounded and unbounded; 0 leaves it. Returns what it was.
    /// Threads that there are already stay.
    pub(crate) fn set_limits(&self, new: [u32; 2]) -> [u32; 2] {
        let mut queues = self.queues.lock();
        let mut old = [0; 2];
        for ((queue, new), old) in queues.classes.iter_mut().zip(new).zip(&mut old) {
            *old = queue.limit;
            if new != 0 {
                queue.limit = new;
            }
        }
        old
    }
}

impl HrTimerCallback for Pool {
    type Pointer<'a> = Arc<Self>;

    fn run(this: ArcBorrow<'_, Self>, mut ctx: HrTimerCallbackContext<'_, Self>) -> HrTimerRestart {
        let _ = this.globals.queue.enqueue(Arc::from(this));
        ctx.forward_now(IDLE);
        HrTimerRestart::Restart
    }
}

impl WorkItem for Pool {
    type Pointer = Arc<Self>;

    /// Stops idle threads, and the timer with the last one. All of them if the threads that had work for
    /// them have ended one by one: they must not keep the process.
    fn run(this: Arc<Self>) {
        if this.is_abandoned() {
            return this.shut_down();
        }
        loop {
            // Stopped after the lock is released: a thread on its way out may need it.
            let (thread, timer) = {
                let threads = &mut *this.threads.lock();
                let idle = threads.list.iter();
                let Some(at) = idle
                    .map(UserWorker::job)
                    .position(|worker| this.retire_if_idle(worker))
                else {
                    break;
                };
                let thread = threads.list.remove(at);
                let last = threads.list.is_empty();
                (thread, threads.timer.take_if(|_| last))
            };
            drop(timer);
            drop(thread);
        }
    }
}

/// A number that tells rings apart while they exist.
fn ring_key(ctx: &RingCtx) -> usize {
    core::ptr::from_ref(ctx).addr()
}

/// A request that will not be run.
fn cancelled(mut req: ReqBox) {
    req.set_error(ECANCELED);
    req.after = After::Complete;
    let ctx: Counter<RingCtx> = req.ctx.clone();
    complete::push(&ctx, req, false);
}

impl Worker {
    /// Runs a request that [`Pool::next`] gave us.
    fn run(&self, mut req: ReqBox) {
        let ctx = req.ctx.clone();
        self.worked.store(true, Relaxed);
        let key = req.hash_key();
        req.from_worker = true;
        if ctx.is_dying() {
            self.over();
            cancelled(req);
        } else {
            if ctx.polls() {
                iopoll::needs_poller(&ctx);
            }
            match op::run_blocking(req) {
                Run::Done(mut req) => {
                    self.over();
                    req.after = After::Complete;
                    complete::push(&ctx, req, false);
                }
                // The process is stopped, or the device has no room for a polled request.
                Run::Block(req) => {
                    task::cond_resched();
                    self.pool.requeue(self, req);
                }
                Run::Polled(polled) => {
                    self.over();
                    iopoll::add_from_worker(&ctx, polled);
                }
                Run::Gone => {
                    self.over();
                }
            }
        }
        user_worker::forget_interrupt();
        if let Some(key) = key {
            self.pool.release(key);
            // Somebody may have been waiting for this file.
            self.pool.wake_idle(self.class);
        }
    }

    /// The request is over: it cannot be interrupted any more. Returns whether it was.
    fn over(&self) -> bool {
        core::mem::take(&mut *self.running.lock()).cancelled
    }
}

impl Job for Worker {
    fn work(&self) -> bool {
        if self.task.as_ref().is_none() {
            // In this order: see `Pool::set_cpus`.
            self.task.populate(task::current());
            user_worker::awake();
            cpu::unbind();
            self.pool.bind_current();
            // Now that it is awake it has to be asked again.
            return true;
        }
        if Pool::spawn_wanted(&self.pool) {
            return true;
        }
        let Some((req, more)) = self.pool.next(self) else {
            return false;
        };
        user_worker::awake();
        if more {
            // Who added it may have woken only us.
            self.pool.wake_idle(self.class);
        }
        self.run(req);
        true
    }

    fn killed(&self) {
        self.pool.drop_waiting();
    }
}
