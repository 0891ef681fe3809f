// SPDX-License-Identifier: GPL-2.0

//! The thread itself, and what it does for each of its rings.

#![forbid(unsafe_code)]

use crate::{
    abi::sq_flags,
    complete,
    ctx::{
        Ctx,
        CtxRef, //
    },
    globals::{
        Globals,
        ThreadSlot, //
    },
    iopoll,
    ring::Rings,
    submit,
    sys::{
        atomic::Atomic,
        cpu,
        cred::{
            self,
            Overridden, //
        },
        task,
        thread::{
            self,
            Job, //
        },
        user_worker::UserWorker,
        workqueue, //
    }, //
};
use kernel::{
    cred::Credential,
    impl_has_work,
    new_condvar,
    new_mutex,
    new_work,
    prelude::*,
    seq_file::SeqFile,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Relaxed,
            Release, //
        },
        barrier::{
            smp_mb,
            Full, //
        },
        Arc,
        CondVar,
        Mutex,
        SetOnce, //
    },
    task::{
        Pid,
        Task, //
    },
    time::{
        msecs_to_jiffies,
        Jiffies, //
    },
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

/// SQEs that one of several rings may have consumed in a round.
const CAP: u32 = 8;

/// A ring, as its thread sees it.
struct Served {
    ctx: CtxRef,
    /// Its memory, which is not replaced: that takes a ring that defers.
    rings: Arc<Rings>,
    /// Credentials of who set it up.
    creds: ARef<Credential>,
    /// How long to look for work, in ticks.
    idle: Jiffies,
    /// How far the SQ is consumed.
    head: u32,
}

/// A thread and the rings that it serves.
#[pin_data]
pub(crate) struct SqThread {
    /// The rings. The thread holds the lock for a round, and takes the rings' locks under it.
    #[pin]
    rings: Mutex<KVec<Served>>,
    /// The longest of their idle times.
    idle: Atomic<Jiffies>,
    /// The thread, once it runs.
    task: SetOnce<ARef<Task>>,
    /// Its process.
    tgid: Pid,
    /// The CPU that it is to run on.
    cpu: Option<u32>,
    /// It has no ring any more, and is to end.
    ending: Atomic<bool>,
    /// It serves nobody any more.
    dead: Atomic<bool>,
    /// CPU time that it has spent with work, in microseconds. Written by the thread.
    work_time: Atomic<u64>,
    /// How its creator learns that it runs.
    #[pin]
    begun: Mutex<bool>,
    #[pin]
    started: CondVar,
    /// What the thread is stopped with.
    #[pin]
    handle: Mutex<Option<UserWorker<Runner>>>,
    /// Stops it.
    #[pin]
    reap: Work<SqThread>,
    counted: ThreadSlot,
}

impl_has_work! {
    impl HasWork<Self> for SqThread { self.reap }
}

/// What runs in the thread.
struct Runner(Arc<SqThread>);

impl SqThread {
    /// A thread of the process `tgid` that is still to be made. `ENOMEM`.
    pub(super) fn new(globals: &Arc<Globals>, tgid: Pid, cpu: Option<u32>) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                rings <- new_mutex!(KVec::new(), "SqThread::rings"),
                idle: Atomic::new(0),
                task: SetOnce::new(),
                tgid,
                cpu,
                ending: Atomic::new(false),
                dead: Atomic::new(false),
                work_time: Atomic::new(0),
                begun <- new_mutex!(false, "SqThread::begun"),
                started <- new_condvar!("SqThread::started"),
                handle <- new_mutex!(None, "SqThread::handle"),
                reap <- new_work!("SqThread::reap"),
                counted: Globals::take_thread(globals),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Adds a ring, `idle` in milliseconds. `ENXIO` if the thread is dead, `EINVAL` for credentials
    /// that cannot be had, `ENOMEM`.
    pub(super) fn attach(self: &Arc<Self>, ctx: &Ctx, idle: u32) -> Result {
        let ring = Served {
            rings: ctx.state.lock().rings.clone(),
            ctx: ctx.get(),
            creds: cred::current()?,
            idle: msecs_to_jiffies(idle),
            head: 0,
        };
        let mut rings = self.rings.lock();
        if self.is_dead() || self.ending.load(Relaxed) {
            return Err(ENXIO);
        }
        rings.push(ring, GFP_KERNEL_ACCOUNT)?;
        self.update_idle(&rings);
        drop(rings);
        ctx.set_sq_thread(self.clone());
        self.wake();
        Ok(())
    }

    /// Takes a ring away. Context: may sleep until the end of a round.
    pub(super) fn detach(&self, ctx: &Ctx) {
        let mut rings = self.rings.lock();
        let at = rings
            .iter()
            .position(|ring| core::ptr::eq::<Ctx>(&*ring.ctx, ctx));
        let ring = at.and_then(|at| rings.remove(at).ok());
        self.update_idle(&rings);
        if rings.is_empty() {
            self.ending.store(true, Release);
        }
        drop(rings);
        drop(ring);
        self.wake();
    }

    fn update_idle(&self, rings: &[Served]) {
        let idle = rings.iter().map(|ring| ring.idle).max();
        self.idle.store(idle.unwrap_or(0), Relaxed);
    }

    /// Makes the thread, and waits until it runs unless a signal comes in between. `EAGAIN`, `ENOMEM`.
    pub(super) fn start(this: &Arc<Self>) -> Result {
        let name = CString::try_from_fmt(fmt!("iou-sqp-{}", kernel::current!().pid()))?;
        let thread = Arc::new(Runner(this.clone()), GFP_KERNEL_ACCOUNT)?;
        {
            // Held so that who stops it finds it.
            let mut handle = this.handle.lock();
            *handle = Some(UserWorker::spawn(thread, &name)?);
        }
        let mut begun = this.begun.lock();
        while !*begun {
            if this.started.wait_interruptible_freezable(&mut begun) {
                break;
            }
        }
        Ok(())
    }

    /// The thread is dead: its process was killed, or executes another program.
    #[inline]
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Acquire)
    }

    /// Whether the current task may run completions: it is the thread, or there is none any more.
    pub(crate) fn leaves_completions(&self) -> bool {
        self.is_dead()
            || self
                .task
                .as_ref()
                .is_some_and(|task| task::is_current(task))
    }

    /// Whether the thread has begun.
    pub(super) fn is_running(&self) -> bool {
        self.task.as_ref().is_some()
    }

    /// Wakes the thread if it sleeps. Returns false if it is dead.
    ///
    /// A thread that does not run yet looks at everything when it does; hence the barrier. Context: any.
    pub(crate) fn wake(&self) -> bool {
        smp_mb(Full);
        if self.is_dead() {
            return false;
        }
        if let Some(task) = self.task.as_ref() {
            task.wake_up();
        }
        true
    }

    /// Its process.
    pub(super) fn tgid(&self) -> Pid {
        self.tgid
    }

    /// What fdinfo shows: its number, its CPU, its CPU time and that which it has spent with work, in
    /// microseconds.
    pub(super) fn describe(&self, m: &SeqFile) -> Option<(i32, i32, u64, u64)> {
        let task = self.task.as_ref()?;
        // CAST: There are less CPUs than that.
        let on = cpu::of(task) as i32;
        let work = self.work_time.load(Relaxed);
        Some((cpu::pid_shown(m, task), on, cpu::system_time(task), work))
    }

    fn globals(&self) -> &Arc<Globals> {
        self.counted.globals()
    }

    /// Lets the thread be stopped and forgotten by a kernel thread. Context: any.
    fn reap(self: &Arc<Self>) {
        // If that is queued already it has yet to run.
        let _ = self.globals().queue.enqueue(self.clone());
    }

    /// The thread's first steps. Context: may sleep, in the thread.
    fn begin(&self) {
        if self.is_running() {
            return;
        }
        let mut begun = self.begun.lock();
        if let Some(cpu) = self.cpu {
            // If the CPU has gone since, it runs where its creator does.
            let _ = cpu::bind(cpu);
        }
        self.task.populate(task::current());
        *begun = true;
        self.started.notify_all();
    }

    /// Serves each ring once. Returns whether there was anything to do.
    fn round(&self) -> bool {
        let mut rings = self.rings.lock();
        let cap = if rings.len() > 1 { CAP } else { u32::MAX };
        let mut since = None;
        let mut busy = false;
        for ring in rings.iter_mut() {
            if ring.has_work() {
                since.get_or_insert_with(|| self.system_time());
                busy |= ring.serve(cap);
            }
        }
        if let Some(since) = since {
            let spent = self.system_time().saturating_sub(since);
            let sum = self.work_time.load(Relaxed).wrapping_add(spent);
            self.work_time.store(sum, Relaxed);
        }
        busy
    }

    fn system_time(&self) -> u64 {
        self.task.as_ref().map_or(0, |task| cpu::system_time(task))
    }

    /// Tells the applications that they have to wake us, and sleeps until somebody does.
    fn sleep(&self) {
        let rings = self.rings.lock();
        task::sleep(
            move || {
                for ring in rings.iter() {
                    ring.rings.sq_flags().set(sq_flags::NEED_WAKEUP);
                }
                // Pairs with the one in the application, before it looks at the flag.
                smp_mb(Full);
                // The lock goes before we sleep.
                self.ending.load(Relaxed) || rings.iter().any(Served::has_work)
            },
            None,
        );
        for ring in self.rings.lock().iter() {
            ring.rings.sq_flags().clear(sq_flags::NEED_WAKEUP);
        }
    }

    /// Serves the rings until the thread has something else to do.
    fn serve(&self, mut idle_at: usize) {
        loop {
            if task::owes_work() || task::interrupted() || self.ending.load(Acquire) {
                return;
            }
            let busy = self.round();
            let now = task::jiffies();
            if busy {
                idle_at = now.wrapping_add(self.idle.load(Relaxed));
            } else if is_after(now, idle_at) {
                self.sleep();
                idle_at = task::jiffies().wrapping_add(self.idle.load(Relaxed));
            }
            task::cond_resched();
        }
    }

    /// Nobody submits for the rings from now on.
    fn die(&self) {
        self.dead.store(true, Release);
        // Pairs with the barrier of those who tell us something: they see that we are dead, or we see
        // what they have.
        smp_mb(Full);
        for ring in self.rings.lock().iter() {
            ring.rings.sq_flags().set(sq_flags::NEED_WAKEUP);
            ring.ctx.sq_wait.wake(0);
            workqueue::queue::<_, 0>(&self.globals().queue, &ring.ctx);
            if ring.ctx.polling.load(Relaxed) {
                iopoll::needs_poller(&ring.ctx);
            }
        }
    }
}

/// Whether tick `a` is after tick `b`.
fn is_after(a: usize, b: usize) -> bool {
    // CAST: The sign of the distance is the answer.
    (b.wrapping_sub(a) as isize) < 0
}

impl WorkItem for SqThread {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let handle = this.handle.lock().take();
        // Waits until the thread is past all that is ours.
        drop(handle);
    }
}

impl Job for Runner {
    fn work(&self) -> bool {
        let thread = &self.0;
        if thread.is_running() && thread.ending.load(Acquire) {
            // Sleeps until it is stopped.
            thread.reap();
            return false;
        }
        thread::awake();
        let mut idle_at = task::jiffies().wrapping_add(thread.idle.load(Relaxed));
        if !thread.is_running() {
            thread.begin();
            // As natively it begins with its sleep, if there is nothing to do yet.
            idle_at = task::jiffies().wrapping_sub(1);
        }
        thread.serve(idle_at);
        true
    }

    fn killed(&self) {
        // Its exit gives the descriptors back.
        self.0.begin();
        self.0.die();
        self.0.reap();
    }
}

impl Served {
    /// Whether there are SQEs or completions, or transfers to poll for.
    #[inline]
    fn has_work(&self) -> bool {
        self.has_sqes() || self.ctx.has_completions() || self.ctx.polling.load(Relaxed)
    }

    /// Whether there are SQEs that may be consumed.
    #[inline]
    fn has_sqes(&self) -> bool {
        self.rings.sq_tail().load_acquire() != self.head
            && !self.ctx.is_disabled()
            && !self.ctx.is_dying()
    }

    /// Polls, consumes up to `cap` SQEs and runs completions. Returns whether anything came of it.
    fn serve(&mut self, cap: u32) -> bool {
        let ctx = &self.ctx;
        let submits = self.has_sqes();
        let mut busy = ctx.has_completions();
        {
            let _creds = Overridden::unless_current(&self.creds);
            let mut state = ctx.state.lock();
            if ctx.polls() {
                iopoll::reap_some(ctx, &mut state);
            }
            if submits {
                busy |= submit::submit(ctx, &mut state, cap).is_ok_and(|done| done != 0);
                self.head = state.sq_head;
            }
            if ctx.has_completions() {
                complete::run(ctx, &mut state, u32::MAX);
            }
            if ctx.polls() {
                let more = !state.poll_list.is_empty();
                ctx.polling.store(more, Relaxed);
                busy |= more;
            }
        }
        if submits && ctx.sq_wait.has_sleeper() {
            ctx.sq_wait.wake(0);
        }
        busy
    }
}

#[kunit_tests(rust_uring_sqpoll)]
mod tests {
    use super::*;

    #[test]
    fn ticks_wrap() {
        assert!(is_after(1, 0));
        assert!(!is_after(0, 0));
        assert!(is_after(1, usize::MAX));
        assert!(!is_after(usize::MAX, 1));
    }
}
