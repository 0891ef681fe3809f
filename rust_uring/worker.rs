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

use crate::{
    complete,
    ctx::{
        Ctx,
        RingCtx, //
    },
    globals::Globals,
    op::{
        self,
        Run, //
    },
    request::{
        After,
        ReqBox,
        Request, //
    },
    sys::{
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
    mm::Mm,
    new_mutex,
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        SetOnce,
        SpinLock, //
    },
    task::Task, //
};

/// Kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Ends by itself.
    Bounded = 0,
    /// May wait for ever.
    Unbounded = 1,
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
    threads: Mutex<KVec<UserWorker<Worker>>>,
    /// The process.
    mm: ARef<Mm>,
}

/// One thread.
#[pin_data]
pub(crate) struct Worker {
    pool: Arc<Pool>,
    class: Class,
    /// The thread itself, once it runs.
    task: SetOnce<ARef<Task>>,
    /// The ring of the request that is being run, as a number; 0 if there is none.
    running: Atomic<usize>,
    /// That request is to end as soon as it can.
    cancelled: Atomic<bool>,
    /// Nothing to do.
    idle: Atomic<bool>,
}

impl Pool {
    fn new(mm: ARef<Mm>, bounded: u32, unbounded: u32) -> Result<Arc<Self>> {
        let queue = |limit| Queue {
            waiting: Fifo::new(),
            threads: 0,
            idle: 0,
            limit,
        };
        let queues = Queues {
            classes: [queue(bounded), queue(unbounded)],
            busy_inodes: KVec::new(),
            closed: false,
        };
        Arc::pin_init(
            pin_init!(Self {
                queues <- new_spinlock!(queues, "Pool::queues"),
                threads <- new_mutex!(KVec::new(), "Pool::threads"),
                mm,
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Whether it is the pool of the current process.
    pub(crate) fn is_current(&self) -> bool {
        task::is_current_mm(&self.mm)
    }

    /// Hands a request over. Gives it back if the process is gone, or has no thread and the current
    /// task cannot make one. Context: may sleep.
    pub(crate) fn submit(this: &Arc<Self>, req: ReqBox) -> core::result::Result<(), ReqBox> {
        let class = req.class();
        let may_spawn = this.is_current();
        let spawn = {
            let queues = &mut *this.queues.lock();
            let Some(queue) = queues.classes.get_mut(class as usize) else {
                return Err(req);
            };
            if queues.closed || queue.threads == 0 && !may_spawn {
                return Err(req);
            }
            queue.waiting.push(req);
            // One thread for each piece of work that no idle thread is there for.
            let short = queue.waiting.len() > queue.idle as usize;
            let spawn = may_spawn && short && queue.threads < queue.limit;
            if spawn {
                queue.threads += 1;
            }
            spawn
        };
        if spawn && Self::spawn(this, class).is_err() {
            let mut queues = this.queues.lock();
            if let Some(queue) = queues.classes.get_mut(class as usize) {
                queue.threads -= 1;
                if queue.threads == 0 {
                    // Nobody will come for it.
                    if let Some(req) = queue.waiting.pop() {
                        return Err(req);
                    }
                }
            }
        }
        this.wake_idle(class);
        Ok(())
    }

    fn spawn(this: &Arc<Self>, class: Class) -> Result {
        let worker = Arc::pin_init(
            pin_init!(Worker {
                pool: this.clone(),
                class,
                task: SetOnce::new(),
                running: Atomic::new(0),
                cancelled: Atomic::new(false),
                idle: Atomic::new(false),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        let mut threads = this.threads.lock();
        threads.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let thread = UserWorker::spawn(worker)?;
        // There is room by the reservation above.
        let _ = threads.push_within_capacity(thread);
        Ok(())
    }

    fn wake_idle(&self, class: Class) {
        for thread in self.threads.lock().iter() {
            let worker = thread.job();
            if worker.class == class && worker.idle.load(Relaxed) {
                thread.wake();
                return;
            }
        }
    }

    /// The next piece of work of a class whose file nobody writes to. Marks the file.
    fn next(&self, class: Class) -> Option<ReqBox> {
        let queues = &mut *self.queues.lock();
        let queue = queues.classes.get_mut(class as usize)?;
        let busy = &queues.busy_inodes;
        let req = queue
            .waiting
            .take_first(|req| req.hash_key().is_none_or(|key| !busy.contains(&key)))?;
        if let Some(key) = req.hash_key() {
            // Without memory for the mark writes to one file may run at the same time, which is
            // slow and not wrong.
            let _ = queues.busy_inodes.push(key, GFP_ATOMIC);
        }
        Some(req)
    }

    /// A write to a file is over.
    fn release(&self, key: usize) {
        let mut queues = self.queues.lock();
        let at = queues.busy_inodes.iter().position(|k| *k == key);
        if let Some(at) = at {
            let _ = queues.busy_inodes.remove(at);
        }
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
        for thread in self.threads.lock().iter() {
            let worker = thread.job();
            if worker.running.load(Relaxed) == key {
                worker.cancelled.store(true, Relaxed);
                user_worker::interrupt(&worker.task);
                running = true;
            }
        }
        running
    }

    /// Stops all threads. Context: may sleep, not in one of them.
    fn shut_down(&self) {
        self.queues.lock().closed = true;
        for thread in self.threads.lock().iter() {
            user_worker::interrupt(&thread.job().task);
        }
        self.drop_waiting();
        let threads = core::mem::take(&mut *self.threads.lock());
        drop(threads);
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

/// A number that tells rings apart while they exist.
fn ring_key(ctx: &RingCtx) -> usize {
    core::ptr::from_ref(ctx).addr()
}

/// A request that will not be run.
fn cancelled(mut req: ReqBox) {
    req.set_result(ECANCELED.to_errno(), 0);
    req.after = After::Complete;
    let ctx: Counter<RingCtx> = req.ctx.clone();
    complete::push(&ctx, req, false);
}

impl Worker {
    fn run(&self, mut req: ReqBox) {
        let ctx = req.ctx.clone();
        self.cancelled.store(false, Relaxed);
        self.running.store(ring_key(&ctx), Relaxed);
        let key = req.hash_key();
        req.from_worker = true;
        if ctx.is_dying() {
            cancelled(req);
        } else {
            match op::run_blocking(req) {
                Run::Done(mut req) => {
                    req.after = After::Complete;
                    complete::push(&ctx, req, true);
                }
                // A worker has nowhere to hand it on to.
                Run::Block(mut req) => {
                    req.set_result(EAGAIN.to_errno(), 0);
                    req.after = After::Complete;
                    complete::push(&ctx, req, true);
                }
                Run::Gone => {}
            }
        }
        self.running.store(0, Relaxed);
        user_worker::forget_interrupt();
        if let Some(key) = key {
            self.pool.release(key);
            // Somebody may have been waiting for this file.
            self.pool.wake_idle(self.class);
        }
    }

    fn set_idle(&self, idle: bool) {
        if self.idle.load(Relaxed) == idle {
            return;
        }
        self.idle.store(idle, Relaxed);
        let mut queues = self.pool.queues.lock();
        if let Some(queue) = queues.classes.get_mut(self.class as usize) {
            if idle {
                queue.idle += 1;
            } else {
                queue.idle -= 1;
            }
        }
    }
}

impl Job for Worker {
    fn work(&self) -> bool {
        if self.task.as_ref().is_none() {
            self.task.populate(task::current());
        }
        // Idle before looking: who adds work after the look finds us idle, and wakes us.
        self.set_idle(true);
        let Some(req) = self.pool.next(self.class) else {
            return false;
        };
        user_worker::awake();
        self.set_idle(false);
        self.run(req);
        true
    }

    fn killed(&self) {
        self.pool.drop_waiting();
    }
}

/// A ring's share in the pool of a process that submits to it.
pub(crate) struct PoolUser {
    pool: Arc<Pool>,
    globals: Arc<Globals>,
}

impl PoolUser {
    /// Joins the current process' pool, which is made if there is none. `ENOMEM`, `EOPNOTSUPP` if the
    /// kernel has no threads for it.
    pub(crate) fn join(globals: &Arc<Globals>, bounded: u32) -> Result<Self> {
        if !user_worker::available() {
            return Err(EOPNOTSUPP);
        }
        let unbounded = globals.limits.workers;
        let pool = globals
            .pools
            .join(|mm| Pool::new(mm, bounded.min(unbounded), unbounded))?;
        Ok(Self {
            pool,
            globals: globals.clone(),
        })
    }

    /// The pool.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for PoolUser {
    fn drop(&mut self) {
        if let Some(pool) = self.globals.pools.leave(&self.pool) {
            pool.shut_down();
        }
    }
}

/// The pools of all processes, and how many rings use each.
#[pin_data]
pub(crate) struct Pools {
    #[pin]
    pools: Mutex<KVec<(Arc<Pool>, usize)>>,
}

impl Pools {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            pools <- new_mutex!(KVec::new(), "Pools::pools"),
        })
    }

    fn join(&self, make: impl FnOnce(ARef<Mm>) -> Result<Arc<Pool>>) -> Result<Arc<Pool>> {
        let mm = task::current_mm()?;
        let mut pools = self.pools.lock();
        if let Some((pool, users)) = pools.iter_mut().find(|(pool, _)| pool.is_current()) {
            *users += 1;
            return Ok(pool.clone());
        }
        let pool = make(mm)?;
        pools.push((pool.clone(), 1), GFP_KERNEL_ACCOUNT)?;
        Ok(pool)
    }

    /// Returns the pool if this was its last user.
    fn leave(&self, pool: &Arc<Pool>) -> Option<Arc<Pool>> {
        let mut pools = self.pools.lock();
        let at = pools.iter().position(|(p, _)| Arc::ptr_eq(p, pool))?;
        let (_, users) = pools.get_mut(at)?;
        *users -= 1;
        if *users != 0 {
            return None;
        }
        pools.remove(at).ok().map(|(pool, _)| pool)
    }
}
