// SPDX-License-Identifier: GPL-2.0

//! Taking requests out of a pool.

#![forbid(unsafe_code)]

use crate::{
    cancel::Match,
    ctx::Ctx,
    request::Request,
    sys::{
        mpsc::Fifo,
        thread, //
    },
    worker::{
        cancelled,
        thread::ring_key,
        Pool, //
    }, //
};
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

impl Pool {
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
            for member in threads.list.iter() {
                if !what.all && found != Found::Nothing {
                    break;
                }
                let worker = member.job();
                let mut now = worker.running.lock();
                if now.ring == key && what.fits(now.user_data, now.opcode, now.file, now.span) {
                    now.cancelled = true;
                    thread::interrupt(&worker.task);
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
        for member in self.threads.lock().list.iter() {
            let worker = member.job();
            let mut current = worker.running.lock();
            if current.ring == key {
                current.cancelled = true;
                thread::interrupt(&worker.task);
                running = true;
            }
        }
        running
    }
}
