// SPDX-License-Identifier: GPL-2.0

//! The threads that run what would block.
//!
//! Each process has a pool. Its threads belong to the process (see [`crate::sys::user_worker`]), so a
//! request runs with the memory, the limits and the file system view of the one that submitted it;
//! only the credentials are put in place. Where the kernel has no such threads, or these are not wanted,
//! they are the kernel's (see [`crate::sys::kernel_worker`]): memory and limits are lent to them for one
//! request, and what needs more is not for them ([`crate::op::identity`]). Work on regular files and block devices is *bounded*: it
//! ends by itself, so few threads do. All other work may wait for ever, and has more.
//!
//! Buffered writes to one file are done one after another, by whatever thread.

#![forbid(unsafe_code)]

mod affinity;
mod cancel;
mod crew;
mod idle;
mod pools;
mod queue;
mod thread;

pub(crate) use cancel::Found;
pub(crate) use pools::{
    PoolUser,
    Pools, //
};

use crate::{
    complete,
    globals::Globals,
    request::{
        After,
        ReqBox, //
    },
    sys::{
        affinity::Cpus,
        atomic::Atomic,
        fd_table,
        mpsc::Fifo,
        task,
        thread::Thread, //
    },
    worker::{
        crew::Crew,
        idle::IDLE,
        queue::Queues,
        thread::Worker, //
    }, //
};
use kernel::{
    mm::Mm,
    new_mutex,
    new_spinlock,
    new_work,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::Relaxed,
        Arc,
        Mutex,
        SpinLock, //
    },
    task::Pid,
    time::hrtimer::{
        ArcHrTimerHandle,
        HrTimer,
        HrTimerPointer, //
    },
    workqueue::Work, //
};

/// Kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Ends by itself.
    Bounded = 0,
    /// May wait for ever.
    Unbounded = 1,
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
    /// Whose threads it has.
    crew: Crew,
    globals: Arc<Globals>,
}

/// What the thread lock protects.
#[derive(Default)]
struct Threads {
    list: KVec<KBox<dyn Thread<Worker>>>,
    /// The timer, while there are threads.
    timer: Option<ArcHrTimerHandle<Pool>>,
    /// Where they are to run, if that was said.
    cpus: Option<Cpus>,
}

impl Pool {
    /// `limits`: how many bounded and unbounded threads there may be.
    fn new(mm: ARef<Mm>, globals: &Arc<Globals>, limits: [u32; 2]) -> Result<Arc<Self>> {
        let crew = Crew::new(globals)?;
        let threads = Threads {
            // The kernel's run anywhere by themselves.
            cpus: if crew.is_kernel() {
                Some(Cpus::of_current()?)
            } else {
                None
            },
            ..Default::default()
        };
        Arc::pin_init(
            pin_init!(Self {
                queues <- new_spinlock!(Queues::new(limits), "Pool::queues"),
                threads <- new_mutex!(threads, "Pool::threads"),
                timer <- HrTimer::new(),
                reap <- new_work!("Pool::reap"),
                keeps_worker: Atomic::new(false),
                mm,
                tgid: kernel::current!().tgid(),
                fds: fd_table::current_id(),
                crew,
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
    /// current task cannot make one; a thread of the kernel takes nothing without credentials. Context: may
    /// sleep.
    pub(crate) fn submit(this: &Arc<Self>, req: ReqBox) -> core::result::Result<(), ReqBox> {
        if this.crew.is_kernel() && req.creds.is_none() {
            return Err(req);
        }
        let class = req.class();
        let (spawn, wake) = {
            let queues = &mut *this.queues.lock();
            let nobody = queues.classes.iter().all(|q| q.threads == q.wanted) && !this.may_spawn();
            let Some(queue) = queues.classes.get_mut(class as usize) else {
                return Err(req);
            };
            if queues.closed || nobody {
                return Err(req);
            }
            queue.waiting.push(req);
            // One thread for each piece of work that no idle thread is there for.
            let short = queue.waiting.len() > queue.idle as usize;
            let spawn = (short && queue.threads < queue.limit).then(|| this.may_spawn());
            if let Some(ourselves) = spawn {
                queue.threads += 1;
                queue.wanted += u32::from(!ourselves);
            }
            (spawn, queue.calls())
        };
        match spawn {
            Some(true) => {
                if Self::spawn(this, class).is_err() {
                    this.give_up_thread(class);
                }
            }
            Some(false) => this.wake_idle(Class::Bounded),
            None => {}
        }
        if wake {
            this.wake_idle(class);
        }
        Ok(())
    }

    /// Makes a thread that somebody else could not. Context: may sleep, in a thread of ours.
    fn spawn_wanted(this: &Arc<Self>, class: Class) {
        if Self::spawn(this, class).is_err() {
            this.give_up_thread(class);
        }
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

    /// Whether the current task can make a thread.
    fn may_spawn(&self) -> bool {
        self.crew.may_spawn(self.is_current())
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
        let worker = Worker::new(this, class)?;
        let threads = &mut *this.threads.lock();
        threads.list.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let thread = this.crew.spawn(&worker)?;
        // There is room by the reservation above.
        let _ = threads.list.push_within_capacity(thread);
        threads
            .timer
            .get_or_insert_with(|| this.clone().start(IDLE));
        Ok(())
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
}

/// A request that will not be run.
fn cancelled(mut req: ReqBox) {
    req.set_error(ECANCELED);
    req.after = After::Complete;
    complete::push_home(req, false);
}
