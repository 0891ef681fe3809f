// SPDX-License-Identifier: GPL-2.0

//! What is to be done when a thread or a process is gone.
//!
//! Who watches is told in a context that allows nothing; so it is done on the module's own queue.

#![forbid(unsafe_code)]

use crate::{
    globals::Globals,
    sys::exit_watch::OnExit, //
};
use kernel::{
    impl_has_work,
    new_work,
    prelude::*,
    sync::Arc,
    workqueue::{
        Work,
        WorkItem, //
    }, //
};

/// What is to be done. Context: may sleep.
pub(crate) trait AfterExit: Send + Sync + 'static {
    /// Does it. May be called once for several exits, so it has to look who is gone.
    fn look(&self, globals: &Globals);
}

/// Does it when that has happened which it watches for.
#[pin_data]
pub(crate) struct Watcher<T> {
    after: T,
    globals: Arc<Globals>,
    #[pin]
    work: Work<Watcher<T>>,
}

impl_has_work! {
    impl{T: AfterExit} HasWork<Self> for Watcher<T> { self.work }
}

impl<T: AfterExit> Watcher<T> {
    /// `ENOMEM`
    pub(crate) fn new(globals: &Arc<Globals>, after: T) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                after,
                globals: globals.clone(),
                work <- new_work!("Watcher::work"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }
}

impl<T: AfterExit> OnExit for Watcher<T> {
    fn thread_exited(this: &Arc<Self>) {
        // If it is queued already it has yet to look.
        let _ = this.globals.queue.enqueue(this.clone());
    }
}

impl<T: AfterExit> WorkItem for Watcher<T> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.after.look(&this.globals);
    }
}
