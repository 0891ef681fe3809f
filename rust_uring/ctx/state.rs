// SPDX-License-Identifier: GPL-2.0

//! What `uring_lock` protects.

#![forbid(unsafe_code)]

use super::Ctx;
use crate::{
    abi::SetupFlags,
    buffers::{
        Buffer,
        Folios, //
    },
    cq::Cq,
    departed,
    drain::Drain,
    eventfd::RingEventFd,
    files::FileTable,
    globals::Limits,
    iopoll::Fastest,
    kbuf::Groups,
    link::{
        Assembly,
        Tie, //
    },
    personality::Personalities,
    release::Released,
    request::{
        Cache,
        Request, //
    },
    restriction::Restrictions,
    ring::Rings,
    rsrc::Table,
    sys::{
        file,
        iopoll::PollList,
        locked_rc::Key,
        mpsc::{
            Chain,
            Fifo, //
        },
        poll::Polls, //
    },
    timeout::Timers,
    wait::Restarts,
    worker::{
        Pool,
        PoolUser, //
    }, //
};
use kernel::{
    fs::File,
    prelude::*,
    sync::{
        aref::ARef,
        Arc, //
    }, //
};

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
    /// For the next chain.
    pub(crate) spare_tie: Option<KBox<Tie>>,
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
    /// The same, if the pool knows the submitter's credentials.
    pub(crate) known: Option<u8>,
}

impl State {
    /// Nothing has happened yet.
    pub(super) fn new(
        flags: SetupFlags,
        rings: Arc<Rings>,
        restrictions: Restrictions,
        limits: &Limits,
    ) -> Self {
        Self {
            rings,
            sq_head: 0,
            cq: Cq::new(flags, limits.overflow),
            cache: Cache::new(limits.requests),
            local: Fifo::new(),
            plugs: false,
            submitting: None,
            chain: None,
            spare_tie: None,
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
        }
    }

    /// Whether the current task submits just now, for a process that has the pool with that number. There is
    /// no such pool if it is 0.
    #[inline]
    pub(crate) fn is_submitter_of(&self, pool: u8) -> bool {
        pool != 0 && self.submitting.and_then(|now| now.pool) == Some(pool)
    }

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
        let index = self.pool_index(ctx)?;
        let user = self.pools.get(index).ok_or(ENOMEM)?;
        Ok((index, user.pool().clone()))
    }

    /// The index only.
    pub(crate) fn pool_index(&mut self, ctx: &Ctx) -> Result<usize> {
        let mut users = self.pools.iter();
        if let Some(index) = users.position(|user| user.pool().is_current()) {
            return Ok(index);
        }
        // As natively: the queue depth, or four for each CPU, whatever is less.
        let bounded = self.rings.sq_entries.min(4 * kernel::cpu::nr_cpu_ids());
        let user = PoolUser::join(&ctx.globals, bounded)?;
        self.pools.push(user, GFP_KERNEL_ACCOUNT)?;
        Ok(self.pools.len() - 1)
    }
}
