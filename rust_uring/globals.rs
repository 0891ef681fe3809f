// SPDX-License-Identifier: GPL-2.0

//! What there is once for the whole module: its limits, its work queue, who has how many rings, and
//! the registered rings of each thread.

#![forbid(unsafe_code)]

use crate::{
    ring_fds::RingFds,
    sys::{
        cred,
        workqueue::OwnedQueue, //
    },
    worker::Pools, //
};
use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{
        Arc,
        CondVar,
        Mutex, //
    }, //
};

/// Limits that the administrator sets when the module is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Rings that one user may have.
    pub(crate) rings_per_user: u32,
    /// Requests that one ring may have.
    pub(crate) requests: u32,
    /// Workers of each class that one process may have.
    pub(crate) workers: u32,
    /// CQEs that the overflow list of one ring may hold.
    pub(crate) overflow: usize,
    /// Threads of the kernel do what would block, and not threads of the process.
    pub(crate) kernel_workers: bool,
    /// UNIX sockets may be registered.
    pub(crate) unix_files: bool,
}

/// Who may set up rings: as the sysctls `io_uring_disabled` and `io_uring_group` for native ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    /// 0: everybody who can open the device; 1: `CAP_SYS_ADMIN` or the group; 2: nobody.
    pub(crate) disabled: u32,
    /// The group, or -1.
    pub(crate) group: i32,
}

impl Gate {
    /// `EPERM` if the current task may not set up a ring.
    pub(crate) fn check(&self) -> Result {
        let allowed = match self.disabled {
            0 => true,
            1 => cred::capable_sys_admin() || self.group >= 0 && cred::in_group(self.group),
            _ => false,
        };
        if allowed {
            Ok(())
        } else {
            Err(EPERM)
        }
    }
}

/// The module's own state.
#[pin_data]
pub(crate) struct Globals {
    pub(crate) limits: Limits,
    pub(crate) gate: Gate,
    /// Where rings are taken down and completion lists are run.
    pub(crate) queue: OwnedQueue,
    /// Workers of processes.
    #[pin]
    pub(crate) pools: Pools,
    /// Registered rings of threads.
    #[pin]
    pub(crate) ring_fds: RingFds,
    /// Rings of each user, by user id.
    #[pin]
    rings: Mutex<RBTree<u32, u32>>,
    /// Threads that submit for rings.
    #[pin]
    threads: Mutex<usize>,
    /// The last ring of a user is gone, or the last of those threads.
    #[pin]
    ring_gone: CondVar,
}

impl Globals {
    /// `ENOMEM`.
    pub(crate) fn new(limits: Limits, gate: Gate) -> Result<Arc<Self>> {
        let queue = OwnedQueue::new(c"rust_uring")?;
        Arc::pin_init(
            pin_init!(Self {
                limits,
                gate,
                queue,
                pools <- Pools::new(),
                ring_fds <- RingFds::new(),
                rings <- new_mutex!(RBTree::new(), "Globals::rings"),
                threads <- new_mutex!(0, "Globals::threads"),
                ring_gone <- new_condvar!("Globals::ring_gone"),
            }),
            GFP_KERNEL,
        )
    }

    /// Takes one of the current user's share of rings. `EMFILE` when it is used up.
    pub(crate) fn take_slot(this: &Arc<Self>) -> Result<RingSlot> {
        let uid = kernel::current!().uid().into_raw().val;
        let mut rings = this.rings.lock();
        let limit = this.limits.rings_per_user;
        match rings.get_mut(&uid) {
            Some(count) if *count >= limit => return Err(EMFILE),
            Some(count) => *count += 1,
            None if limit == 0 => return Err(EMFILE),
            None => drop(rings.try_create_and_insert(uid, 1, GFP_KERNEL)?),
        }
        Ok(RingSlot {
            globals: this.clone(),
            uid,
        })
    }

    /// Waits until no ring is left, no thread, and nothing that they do. Context: may sleep, as long as it takes;
    /// nobody can set up rings any more.
    pub(crate) fn wait_for_rings(&self) {
        let mut rings = self.rings.lock();
        while !rings.is_empty() {
            self.ring_gone.wait(&mut rings);
        }
        drop(rings);
        // A thread that is stopped by a signal outlives its rings.
        let mut threads = self.threads.lock();
        while *threads != 0 {
            self.ring_gone.wait(&mut threads);
        }
        drop(threads);
        // The last one may still be in its last function.
        self.queue.drain();
    }

    /// Counts a thread that submits for rings, until the result is dropped.
    pub(crate) fn take_thread(this: &Arc<Self>) -> ThreadSlot {
        *this.threads.lock() += 1;
        ThreadSlot(this.clone())
    }

    /// Rings that the user has.
    pub(crate) fn rings_of(&self, slot: &RingSlot) -> u32 {
        self.rings.lock().get(&slot.uid).copied().unwrap_or(0)
    }
}

/// One of the threads that submit for rings.
pub(crate) struct ThreadSlot(Arc<Globals>);

impl ThreadSlot {
    /// The module's own state.
    pub(crate) fn globals(&self) -> &Arc<Globals> {
        &self.0
    }
}

impl Drop for ThreadSlot {
    fn drop(&mut self) {
        let mut threads = self.0.threads.lock();
        *threads -= 1;
        if *threads == 0 {
            self.0.ring_gone.notify_all();
        }
    }
}

/// A ring's place in its user's share.
pub(crate) struct RingSlot {
    globals: Arc<Globals>,
    uid: u32,
}

impl Drop for RingSlot {
    fn drop(&mut self) {
        let mut rings = self.globals.rings.lock();
        let left = match rings.get_mut(&self.uid) {
            Some(count) => {
                *count = count.saturating_sub(1);
                *count
            }
            None => return,
        };
        if left == 0 {
            let _ = rings.remove(&self.uid);
            self.globals.ring_gone.notify_all();
        }
    }
}
