// SPDX-License-Identifier: GPL-2.0

//! On which CPUs the workers of a process run (`IORING_REGISTER_IOWQ_AFF`).
//!
//! Without it they run where the thread may that made them.

#![forbid(unsafe_code)]

use crate::{
    sys::{
        affinity::Cpus,
        task, //
    },
    worker::Pool, //
};
use kernel::prelude::*;

impl Pool {
    /// Binds all threads, those there are and those to come, to `cpus`; to those of the current task if
    /// that is `None`.
    ///
    /// `EINVAL` if the current task itself may not use all of them. Context: may sleep.
    pub(crate) fn set_cpus(&self, cpus: Option<Cpus>) -> Result {
        let own = Cpus::of_current()?;
        let cpus = match cpus {
            Some(cpus) if !cpus.is_subset(&own) => return Err(EINVAL),
            Some(cpus) => cpus,
            None => own,
        };
        let threads = &mut *self.threads.lock();
        for thread in threads.list.iter() {
            // One that does not run yet looks when it begins.
            if let Some(task) = thread.job().task.as_ref() {
                // As natively: where there is no such CPU the thread stays where it is.
                let _ = cpus.bind(task);
            }
        }
        threads.cpus = Some(cpus);
        Ok(())
    }

    /// A thread begins. Context: may sleep, in that thread.
    pub(super) fn bind_current(&self) {
        if let Some(cpus) = &self.threads.lock().cpus {
            let _ = cpus.bind(&task::current());
        }
    }
}
