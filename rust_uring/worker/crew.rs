// SPDX-License-Identifier: GPL-2.0

//! Whose threads a pool has: those of its process, or the kernel's.

#![forbid(unsafe_code)]

use crate::{
    exits::{
        AfterExit,
        Watcher, //
    },
    globals::Globals,
    sys::{
        exit_watch::ExitWatch,
        kernel_worker::{
            KernelWorker,
            Lent,
            Process, //
        },
        task,
        thread::Thread,
        user_worker::{
            self,
            UserWorker, //
        }, //
    },
    worker::thread::Worker, //
};
use kernel::{
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// How often a thread that cannot be made is tried again, and after what time more each time.
const TRIES: i64 = 3;
const TRY_AGAIN: Delta = Delta::from_millis(5);

/// Whose threads a pool has.
pub(super) enum Crew {
    /// Threads of the process.
    Own,
    /// The kernel's. They have nothing of the process but what is lent to them for one request, and do not end
    /// with it, so somebody has to look.
    Kernel {
        process: Arc<Process>,
        _watch: Pin<KBox<ExitWatch<Watcher<Orphans>>>>,
    },
}

/// Ends the pools of processes that are gone.
pub(super) struct Orphans;

impl AfterExit for Orphans {
    fn look(&self, globals: &Globals) {
        globals.pools.end_orphans();
    }
}

impl Crew {
    /// For the current process. `ENOMEM`
    pub(super) fn new(globals: &Arc<Globals>) -> Result<Self> {
        if !globals.limits.kernel_workers {
            return Ok(Self::Own);
        }
        Ok(Self::Kernel {
            process: Arc::new(Process::current()?, GFP_KERNEL_ACCOUNT)?,
            _watch: ExitWatch::process(Watcher::new(globals, Orphans)?)?,
        })
    }

    /// Whether they are the kernel's.
    pub(super) fn is_kernel(&self) -> bool {
        matches!(self, Self::Kernel { .. })
    }

    /// Whether the current task can make a thread; `ours` tells whether it is of the process.
    pub(super) fn may_spawn(&self, ours: bool) -> bool {
        match self {
            // Not one that has borrowed the memory only.
            Self::Own => ours && !task::is_kernel_thread(),
            Self::Kernel { .. } => true,
        }
    }

    /// Whether the process is gone, or at least whatever of it is not ours. `thread`: one of the threads.
    pub(super) fn is_abandoned(&self, thread: Option<&Worker>) -> bool {
        match self {
            Self::Own => thread
                .and_then(|worker| worker.task.as_ref())
                .is_some_and(|task| user_worker::only_these_left(task)),
            Self::Kernel { process, .. } => process.is_gone(),
        }
    }

    /// What the current thread needs of the process to run a request. `None` if the process is gone.
    pub(super) fn lend(&self) -> Option<Loan> {
        match self {
            Self::Own => Some(Loan(None)),
            Self::Kernel { process, .. } => Some(Loan(Some(process.lend()?))),
        }
    }

    /// Natively, too, it is tried a few times: another thread that is about to execute a program may be in
    /// the way, or a limit.
    pub(super) fn spawn(&self, worker: &Arc<Worker>) -> Result<KBox<dyn Thread<Worker>>> {
        let mut tries = 0;
        loop {
            match self.spawn_once(worker) {
                Err(err) if tries < TRIES && (err == EAGAIN || err == ERESTARTNOINTR) => {
                    tries += 1;
                    fsleep(TRY_AGAIN * tries);
                }
                result => return result,
            }
        }
    }

    /// The room for it comes first: a thread cannot be stopped here.
    fn spawn_once(&self, worker: &Arc<Worker>) -> Result<KBox<dyn Thread<Worker>>> {
        Ok(match self {
            Self::Own => {
                let room = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
                room.write(UserWorker::spawn(worker.clone(), c"rust_uring-wrk")?)
            }
            Self::Kernel { process, .. } => {
                let room = KBox::new_uninit(GFP_KERNEL_ACCOUNT)?;
                room.write(KernelWorker::spawn(worker.clone(), process.clone())?)
            }
        })
    }
}

/// What a thread has of the process while it runs a request.
pub(super) struct Loan(#[expect(dead_code, reason = "given back when it is dropped")] Option<Lent>);
