// SPDX-License-Identifier: GPL-2.0

//! Polling a ring: its descriptor, or the ring itself from another ring or its own.
//!
//! A request that polls a ring holds neither its file nor the ring, but this: two rings that poll each
//! other, or one that polls itself, would never be closed otherwise.

#![forbid(unsafe_code)]

use crate::{
    ctx::{
        Ctx,
        RingCtx, //
    },
    sys::{
        percpu_ref::Weak,
        poll::mask,
        wait::{
            PollCall,
            WaitQueue, //
        },
        workqueue, //
    }, //
};
use kernel::{
    c_str,
    prelude::*,
    static_lock_class,
    sync::{
        atomic::Full,
        Arc, //
    }, //
};

/// Those who poll a ring.
#[pin_data]
pub(crate) struct Pollers {
    /// Where they wait.
    #[pin]
    pub(crate) queue: WaitQueue,
    /// The ring, while it is open.
    ring: Arc<Weak<RingCtx>>,
}

impl Pollers {
    /// Nobody. `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let ring = Arc::pin_init(Weak::new(), GFP_KERNEL_ACCOUNT)?;
        let pollers = pin_init!(Self {
            queue <- WaitQueue::new(c_str!("Pollers::queue"), static_lock_class!()),
            ring,
        });
        Arc::pin_init(pollers, GFP_KERNEL_ACCOUNT)
    }

    /// What is to lead to the ring.
    pub(crate) fn ring(&self) -> &Arc<Weak<RingCtx>> {
        &self.ring
    }

    /// Polls the ring. Context: may be called with the lock of another ring held, but takes none.
    pub(crate) fn poll<'a>(&'a self, call: &PollCall<'a>) -> u32 {
        let Some(ctx) = self.ring.get() else {
            return mask::IN | mask::HUP;
        };
        let ctx: &Ctx = &ctx;
        if !ctx.polled.xchg(true, Full) {
            // Whoever posts CQEs just now may not have seen that. Once the lock was free for a
            // moment everybody has; then those who poll already look again.
            workqueue::queue::<_, 0>(&ctx.globals.queue, ctx);
        }
        call.wait_on(&self.queue);
        let (full, ready) = ctx
            .rings
            .read(|rings| rings.map_or((true, 0), |r| (r.sq_full(), r.cq_ready())));
        let mut ready_now = 0;
        if !full {
            ready_now |= mask::OUT;
        }
        // What is on the overflow list is not flushed here: that would take `uring_lock`, which is
        // held while files are polled. Those who come because of it find it when they enter.
        if ready != 0 || ctx.has_work() {
            ready_now |= mask::IN;
        }
        ready_now
    }
}
