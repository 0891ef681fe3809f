// SPDX-License-Identifier: GPL-2.0

//! What waits for a thread, and which files nobody else may write to meanwhile.

#![forbid(unsafe_code)]

use crate::{
    cancel::file_key,
    request::{
        ReqBox,
        Request, //
    },
    sys::mpsc::Fifo,
    worker::{
        cancelled,
        thread::{
            ring_key,
            Running,
            Worker, //
        },
        Class,
        Pool, //
    }, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// The work of one class.
pub(super) struct Queue {
    /// In the order of their submission.
    pub(super) waiting: Fifo<Request>,
    /// Threads that exist.
    pub(super) threads: u32,
    /// Threads that have nothing to do.
    pub(super) idle: u32,
    /// One of those was woken and has not come yet. It finds all that is there by then.
    coming: bool,
    /// Threads that may exist.
    pub(super) limit: u32,
    /// Threads that count as existing and are still to be made, by one that does.
    pub(super) wanted: u32,
}

impl Queue {
    /// Whether an idle thread has to be woken for what waits. If so the caller does it.
    pub(super) fn calls(&mut self) -> bool {
        let calls = self.idle != 0 && !self.coming && !self.waiting.is_empty();
        self.coming |= calls;
        calls
    }

    /// A thread ends that has nothing to do, and maybe was woken just now.
    pub(super) fn lose_idle(&mut self) {
        self.threads -= 1;
        self.idle -= 1;
        self.coming = false;
    }
}

/// What a thread has to do next.
pub(super) enum Next {
    /// This; and if so, wake another one, as there is more.
    Work(ReqBox, bool),
    /// To make a thread that somebody else could not.
    Spawn(Class),
    /// Nothing.
    Nothing,
}

/// What the queue lock protects.
pub(super) struct Queues {
    /// By [`Class`](super::Class).
    pub(super) classes: [Queue; 2],
    /// Inodes that are being written to: work on them waits.
    pub(super) busy_inodes: KVec<usize>,
    /// The process is gone, or the pool is about to go: nothing is taken any more.
    pub(super) closed: bool,
}

impl Queues {
    /// Empty ones. `limits`: how many bounded and unbounded threads there may be.
    pub(super) fn new(limits: [u32; 2]) -> Self {
        let queue = |limit| Queue {
            waiting: Fifo::new(),
            threads: 0,
            idle: 0,
            coming: false,
            limit,
            wanted: 0,
        };
        Self {
            classes: limits.map(queue),
            busy_inodes: KVec::new(),
            closed: false,
        }
    }

    /// The class of a thread that is still to be made.
    fn take_wanted(&mut self) -> Option<Class> {
        let [bounded, unbounded] = &mut self.classes;
        let (queue, class) = if bounded.wanted != 0 {
            (bounded, Class::Bounded)
        } else {
            (unbounded, Class::Unbounded)
        };
        queue.wanted = queue.wanted.checked_sub(1)?;
        Some(class)
    }
}

impl Pool {
    /// The next piece of work for a thread whose file nobody writes to. Marks the file, and the thread as
    /// idle if there is none.
    pub(super) fn next(&self, worker: &Worker) -> Next {
        let queues = &mut *self.queues.lock();
        if let Some(class) = queues.take_wanted() {
            return Next::Spawn(class);
        }
        let Some(queue) = queues.classes.get_mut(worker.class as usize) else {
            return Next::Nothing;
        };
        if worker.retired.load(Relaxed) {
            return Next::Nothing;
        }
        let was_idle = worker.idle.load(Relaxed);
        if was_idle {
            queue.coming = false;
        }
        let busy = &queues.busy_inodes;
        let req = queue
            .waiting
            .take_first(|req| req.hash_key().is_none_or(|key| !busy.contains(&key)));
        match (&req, was_idle) {
            (Some(_), true) => queue.idle -= 1,
            (None, false) => queue.idle += 1,
            _ => {}
        }
        worker.idle.store(req.is_none(), Relaxed);
        let Some(req) = req else {
            return Next::Nothing;
        };
        let more = queue.calls();
        // Who looks for it to cancel it finds it here or there.
        *worker.running.lock() = Running {
            ring: ring_key(&req.ctx),
            user_data: req.cqe.user_data,
            opcode: req.head.opcode,
            file: req.file.get().map_or(0, file_key),
            span: req.span(),
            cancelled: false,
        };
        if let Some(key) = req.hash_key() {
            // Without memory for the mark writes to one file may run at the same time, which is
            // slow and not wrong.
            let _ = queues.busy_inodes.push(key, GFP_ATOMIC);
        }
        Next::Work(req, more)
    }

    /// Takes back what a thread of ours could not finish, unless it is cancelled. Its thread comes for it
    /// again.
    pub(super) fn requeue(&self, worker: &Worker, req: ReqBox) {
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
    pub(super) fn release(&self, key: usize) {
        let mut queues = self.queues.lock();
        let at = queues.busy_inodes.iter().position(|k| *k == key);
        if let Some(at) = at {
            let _ = queues.busy_inodes.remove(at);
        }
    }

    /// The process is gone: what waits will not run.
    pub(super) fn drop_waiting(&self) {
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
