// SPDX-License-Identifier: GPL-2.0

//! How threads end: those that have nothing to do, one by one; all of them with their process.

#![forbid(unsafe_code)]

use crate::{
    sys::thread,
    worker::{
        thread::Worker,
        Class,
        Pool, //
    }, //
};
use kernel::{
    impl_has_hr_timer,
    impl_has_work,
    sync::{
        atomic::Relaxed,
        Arc,
        ArcBorrow, //
    },
    time::{
        hrtimer::{
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerRestart,
            RelativeMode, //
        },
        Delta,
        Monotonic, //
    },
    workqueue::WorkItem, //
};

/// How often idle threads are looked for. Who has had nothing to do since the last look is stopped.
pub(super) const IDLE: Delta = Delta::from_secs(5);

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Pool {
        mode: RelativeMode<Monotonic>, field: self.timer
    }
}

impl_has_work! {
    impl HasWork<Self> for Pool { self.reap }
}

impl Pool {
    /// Whether none of the process' threads is left but ours.
    fn is_abandoned(&self) -> bool {
        let threads = self.threads.lock();
        let mut workers = threads.list.iter().map(|member| member.job());
        let begun = workers.find(|worker| worker.task.as_ref().is_some());
        self.crew.is_abandoned(begun.map(|worker| &**worker))
    }

    /// Whether the process of a pool of the kernel's threads is gone. Takes no lock.
    pub(super) fn is_orphan(&self) -> bool {
        self.crew.is_kernel() && self.crew.is_abandoned(None)
    }

    /// The process is gone: whatever the threads do for it ends. Context: may sleep, not in one of them.
    pub(super) fn end_with_process(&self) {
        self.queues.lock().closed = true;
        for member in self.threads.lock().list.iter() {
            member.kill();
        }
        self.shut_down();
    }

    /// Stops all threads. Context: may sleep, not in one of them.
    pub(super) fn shut_down(&self) {
        self.queues.lock().closed = true;
        for member in self.threads.lock().list.iter() {
            thread::interrupt(&member.job().task);
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
        queue.lose_idle();
        true
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
            return this.end_with_process();
        }
        loop {
            // Stopped after the lock is released: a thread on its way out may need it.
            let (thread, timer) = {
                let threads = &mut *this.threads.lock();
                let idle = threads.list.iter();
                let Some(at) = idle
                    .map(|member| member.job())
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
