// SPDX-License-Identifier: GPL-2.0

//! One thread, and what it runs.

#![forbid(unsafe_code)]

use crate::{
    complete,
    ctx::RingCtx,
    iopoll,
    op::{
        self,
        Run, //
    },
    request::{
        After,
        ReqBox, //
    },
    span::Span,
    sys::{
        atomic::Atomic,
        cpu,
        task,
        thread::{
            self,
            Job, //
        }, //
    },
    worker::{
        cancelled,
        queue::Next,
        Class,
        Pool, //
    }, //
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed,
        Arc,
        SetOnce,
        SpinLock, //
    },
    task::Task, //
};

/// One thread.
#[pin_data]
pub(crate) struct Worker {
    pool: Arc<Pool>,
    pub(super) class: Class,
    /// The thread itself, once it runs.
    pub(super) task: SetOnce<ARef<Task>>,
    /// What is being run. The lock is held when the thread is interrupted, so that it is for this
    /// request and no other.
    #[pin]
    pub(super) running: SpinLock<Running>,
    /// Nothing to do. Written under the queue lock.
    pub(super) idle: Atomic<bool>,
    /// It had something to do since idle threads were looked for.
    pub(super) worked: Atomic<bool>,
    /// It has let nobody else run since it had something to do. Only it looks at this.
    restless: Atomic<bool>,
    /// It takes no work any more. Written under the queue lock.
    pub(super) retired: Atomic<bool>,
}

/// What a thread runs.
#[derive(Clone, Copy, Default)]
pub(super) struct Running {
    /// The request's ring, as a number; 0 if there is none.
    pub(super) ring: usize,
    /// What tells the request from others.
    pub(super) user_data: u64,
    pub(super) opcode: u8,
    pub(super) file: usize,
    pub(super) span: Option<Span>,
    /// The request is to end as soon as it can.
    pub(super) cancelled: bool,
}

/// A number that tells rings apart while they exist.
pub(super) fn ring_key(ctx: &RingCtx) -> usize {
    core::ptr::from_ref(ctx).addr()
}

impl Worker {
    /// A thread of `pool` that is yet to begin. `ENOMEM`.
    pub(super) fn new(pool: &Arc<Pool>, class: Class) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                pool: pool.clone(),
                class,
                task: SetOnce::new(),
                running <- new_spinlock!(Running::default(), "Worker::running"),
                idle: Atomic::new(false),
                worked: Atomic::new(true),
                restless: Atomic::new(false),
                retired: Atomic::new(false),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Runs a request that [`Pool::next`] gave us.
    fn run(&self, mut req: ReqBox) {
        self.worked.store(true, Relaxed);
        self.restless.store(true, Relaxed);
        let key = req.hash_key();
        req.from_worker = true;
        let loan = self.pool.crew.lend();
        if loan.is_none() || req.ctx.is_dying() {
            self.over();
            cancelled(req);
        } else {
            // Such a ring has to be there when the request is not ours any more.
            let polling = req.ctx.polls().then(|| req.ctx.clone());
            if let Some(ctx) = &polling {
                iopoll::needs_poller(ctx);
            }
            match op::run_blocking(req) {
                Run::Done(mut req) => {
                    self.over();
                    req.after = After::Complete;
                    complete::push_home(req, false);
                }
                // The process is stopped, or the device has no room for a polled request.
                Run::Block(req) => {
                    task::cond_resched();
                    self.pool.requeue(self, req);
                }
                Run::Polled(polled) => {
                    self.over();
                    if let Some(ctx) = &polling {
                        iopoll::add_from_worker(ctx, polled);
                    }
                }
                Run::Gone => {
                    self.over();
                }
            }
        }
        drop(loan);
        thread::forget_interrupt();
        if let Some(key) = key {
            // What waited for this file is the next that we find.
            self.pool.release(key);
        }
    }

    /// Nothing is left to do. Lets others run before the thread sleeps, but once: who waits for what it did
    /// may have more for it, and to be put to sleep and woken costs more than the work. Returns whether it
    /// was done.
    fn rest(&self) -> bool {
        let restless = self.restless.load(Relaxed);
        if restless {
            self.restless.store(false, Relaxed);
            thread::awake();
            task::yield_now();
        }
        restless
    }

    /// The request is over: it cannot be interrupted any more. Returns whether it was.
    pub(super) fn over(&self) -> bool {
        core::mem::take(&mut *self.running.lock()).cancelled
    }
}

impl Job for Worker {
    fn work(&self) -> bool {
        if self.task.as_ref().is_none() {
            // In this order: see `Pool::set_cpus`.
            self.task.populate(task::current());
            thread::awake();
            if !self.pool.crew.is_kernel() {
                cpu::unbind();
            }
            self.pool.bind_current();
            // Now that it is awake it has to be asked again.
            return true;
        }
        match self.pool.next(self) {
            Next::Work(req, more) => {
                thread::awake();
                if more {
                    // Who added it may have woken only us.
                    self.pool.wake_idle(self.class);
                }
                self.run(req);
            }
            Next::Spawn(class) => {
                thread::awake();
                Pool::spawn_wanted(&self.pool, class);
            }
            Next::Nothing => return self.rest(),
        }
        true
    }

    fn killed(&self) {
        self.pool.drop_waiting();
    }
}
