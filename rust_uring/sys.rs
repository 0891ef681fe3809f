// SPDX-License-Identifier: GPL-2.0

//! The kernel, made safe: the only place with `unsafe`.
//!
//! Each file wraps one mechanism of the kernel that the `kernel` crate has no abstraction for, with
//! an API that cannot be misused. No policy of io_uring lives here.
//! So `#![forbid(unsafe_code)]`, which every other file has, is not in this one.

pub(crate) mod abi_types;
pub(crate) mod affinity;
pub(crate) mod atomic;
pub(crate) mod cpu;
pub(crate) mod cred;
pub(crate) mod device;
pub(crate) mod entries;
pub(crate) mod eventfd;
pub(crate) mod exit_watch;
pub(crate) mod fd_table;
mod ffi;
pub(crate) mod file;
pub(crate) mod index;
pub(crate) mod iocb;
pub(crate) mod iopoll;
pub(crate) mod iter;
pub(crate) mod kernel_worker;
pub(crate) mod locked_rc;
pub(crate) mod mpsc;
pub(crate) mod nospec;
pub(crate) mod path;
pub(crate) mod percpu_ref;
pub(crate) mod pinned;
pub(crate) mod plug;
pub(crate) mod poll;
pub(crate) mod rcu_cell;
pub(crate) mod region;
pub(crate) mod ring_file;
pub(crate) mod slot;
pub(crate) mod task;
pub(crate) mod task_restrictions;
pub(crate) mod task_work;
pub(crate) mod thread;
pub(crate) mod timer;
pub(crate) mod trace;
pub(crate) mod uaccess;
pub(crate) mod user;
pub(crate) mod user_worker;
pub(crate) mod wait;
pub(crate) mod workqueue;
