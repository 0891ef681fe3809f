// SPDX-License-Identifier: GPL-2.0

//! Which process has which pool, and which rings use it.

#![forbid(unsafe_code)]

use crate::{
    globals::Globals,
    sys::{
        cred,
        task, //
    },
    worker::Pool, //
};
use kernel::{
    cred::Credential,
    mm::Mm,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    }, //
};

/// A ring's share in the pool of a process that submits to it.
pub(crate) struct PoolUser {
    pool: Arc<Pool>,
    /// Those of the task that joined, for requests that come back.
    creds: Option<ARef<Credential>>,
    globals: Arc<Globals>,
}

impl PoolUser {
    /// Joins the current process' pool, which is made if there is none. `ENOMEM`.
    pub(crate) fn join(globals: &Arc<Globals>, bounded: u32) -> Result<Self> {
        let unbounded = globals.limits.workers;
        let pool = globals
            .pools
            .join(|mm| Pool::new(mm, globals, [bounded.min(unbounded), unbounded]))?;
        Ok(Self {
            pool,
            creds: cred::current().ok(),
            globals: globals.clone(),
        })
    }

    /// The credentials of the task that joined.
    pub(crate) fn creds(&self) -> Option<&ARef<Credential>> {
        self.creds.as_ref()
    }

    /// The pool.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }
}

impl Drop for PoolUser {
    fn drop(&mut self) {
        if let Some(pool) = self.globals.pools.leave(&self.pool) {
            pool.shut_down();
        }
    }
}

/// The pools of all processes, and how many rings use each.
#[pin_data]
pub(crate) struct Pools {
    #[pin]
    pools: Mutex<KVec<(Arc<Pool>, usize)>>,
}

impl Pools {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            pools <- new_mutex!(KVec::new(), "Pools::pools"),
        })
    }

    fn join(&self, make: impl FnOnce(ARef<Mm>) -> Result<Arc<Pool>>) -> Result<Arc<Pool>> {
        let mm = task::current_mm()?;
        let mut pools = self.pools.lock();
        if let Some((pool, users)) = pools.iter_mut().find(|(pool, _)| pool.is_current()) {
            *users += 1;
            return Ok(pool.clone());
        }
        let pool = make(mm)?;
        pools.push((pool.clone(), 1), GFP_KERNEL_ACCOUNT)?;
        Ok(pool)
    }

    /// Ends the pools of processes that are gone. Rings of theirs that others have keep them. Context: may
    /// sleep.
    pub(super) fn end_orphans(&self) {
        let mut orphans = KVec::new();
        {
            let pools = self.pools.lock();
            for (pool, _) in pools.iter().filter(|(pool, _)| pool.is_orphan()) {
                // Without memory for it the pool's own timer does it.
                let _ = orphans.push(pool.clone(), GFP_KERNEL_ACCOUNT);
            }
        }
        for pool in orphans {
            pool.end_with_process();
        }
    }

    /// Returns the pool if this was its last user.
    fn leave(&self, pool: &Arc<Pool>) -> Option<Arc<Pool>> {
        let mut pools = self.pools.lock();
        let at = pools.iter().position(|(p, _)| Arc::ptr_eq(p, pool))?;
        let (_, users) = pools.get_mut(at)?;
        *users -= 1;
        if *users != 0 {
            return None;
        }
        pools.remove(at).ok().map(|(pool, _)| pool)
    }
}
