// SPDX-License-Identifier: GPL-2.0

//! The end of a ring: what the ring file owns, and what happens when it is released.

#![forbid(unsafe_code)]

use super::RingCtx;
use crate::{
    buffers,
    complete,
    files,
    iopoll,
    sqpoll,
    sys::percpu_ref::Root, //
};
use kernel::{
    impl_has_work,
    new_work,
    prelude::*,
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

/// What the ring file owns.
#[pin_data]
pub(crate) struct Ring {
    #[pin]
    exit: Work<Ring>,
    /// The ring.
    pub(crate) ctx: Root<RingCtx>,
}

impl_has_work! {
    impl HasWork<Self> for Ring { self.exit }
}

impl Ring {
    /// Puts a ring together. `ENOMEM`.
    pub(crate) fn new(ctx: impl PinInit<RingCtx, Error>) -> Result<Pin<KBox<Self>>> {
        let mut ctx = Root::new(ctx)?;
        let weak = ctx.pollers.ring().clone();
        ctx.set_weak(weak);
        KBox::pin_init(
            pin_init!(Self {
                exit <- new_work!("Ring::exit"),
                ctx,
            }),
            GFP_KERNEL,
        )
    }

    /// The ring is not used any more: takes it down, in a kernel thread.
    ///
    /// Context: may sleep, but not for long: it may be the file's last close in a dying process.
    pub(crate) fn retire(this: Pin<KBox<Self>>) {
        this.ctx.kill();
        let globals = this.ctx.globals.clone();
        globals.queue.enqueue(this);
    }
}

impl WorkItem for Ring {
    type Pointer = Pin<KBox<Self>>;

    /// Empties every place where a request can be, until the last one is back.
    fn run(this: Pin<KBox<Self>>) {
        this.ctx.pollers.queue.hang_up();
        // A twentieth of a second, as natively.
        let interval = kernel::time::msecs_to_jiffies(50);
        sqpoll::detach(&this.ctx);
        loop {
            {
                let mut state = this.ctx.state.lock();
                for user in state.pools.iter() {
                    user.pool().cancel_ring(&this.ctx);
                }
                iopoll::reap_all(&this.ctx, &mut state);
                complete::cancel_all(&this.ctx, &mut state);
                files::drop_all(&this.ctx, &mut state);
                buffers::drop_all(&this.ctx, &mut state);
                state.cq.drop_overflow();
                state.cache.clear();
            }
            if this.ctx.wait_zero(interval) {
                break;
            }
        }
        // Field by field the rest goes with `this`.
    }
}
