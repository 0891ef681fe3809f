// SPDX-License-Identifier: GPL-2.0

//! On which CPUs threads run.
//!
//! C headers: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h),
//! [`include/linux/sched.h`](srctree/include/linux/sched.h)

use crate::sys::ffi;
use kernel::{
    bindings,
    cpumask::CpumaskVar,
    error::to_result,
    prelude::*,
    task::Task, //
};

/// A set of CPUs. Boxed, because on some kernels the mask itself is not to be moved.
pub(crate) struct Cpus(KBox<CpumaskVar>);

// SAFETY: A bit mask that it owns.
unsafe impl Send for Cpus {}

impl Cpus {
    /// Copies a caller's bit mask of `len` bytes. What is beyond the CPUs that there can be is not
    /// looked at. Context: may sleep. `EFAULT`, `ENOMEM`.
    pub(crate) fn read(addr: u64, len: u32) -> Result<Self> {
        let cpus = KBox::new(CpumaskVar::new_zero(GFP_KERNEL)?, GFP_KERNEL)?;
        // SAFETY: The mask is ours.
        to_result(unsafe { ffi::uring_cpumask_from_user(cpus.as_raw(), addr, len) })?;
        Ok(Self(cpus))
    }

    /// Those that the current task may use. Context: may sleep. `ENOMEM`.
    pub(crate) fn of_current() -> Result<Self> {
        let cpus = KBox::new(CpumaskVar::new_zero(GFP_KERNEL)?, GFP_KERNEL)?;
        // SAFETY: The mask is ours.
        unsafe { ffi::uring_cpumask_of_current(cpus.as_raw()) };
        Ok(Self(cpus))
    }

    /// Whether all of them are in `other`, too.
    pub(crate) fn is_subset(&self, other: &Self) -> bool {
        // SAFETY: Both masks are valid.
        unsafe { ffi::uring_cpumask_subset(self.0.as_raw(), other.0.as_raw()) }
    }

    /// Moves a task to them. `EINVAL` if it can run on none of them. Context: may sleep.
    pub(crate) fn bind(&self, task: &Task) -> Result {
        // SAFETY: Both are valid.
        to_result(unsafe { bindings::set_cpus_allowed_ptr(task.as_ptr(), self.0.as_raw()) })
    }
}
