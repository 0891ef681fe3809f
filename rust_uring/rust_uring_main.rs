// SPDX-License-Identifier: GPL-2.0

//! io_uring as a module: rings through `/dev/rust_uring`.
//!
//! Start reading at [`device`], which turns file operations into the three calls [`setup`],
//! [`enter`] and [`register`]. How the whole is laid out is told in `Documentation/design.rst`.
//!
//! `#![forbid(unsafe_code)]` is in each file and not here: it would hold for [`sys`] as well.

#![crate_name = "rust_uring"]

mod abi;
mod buffers;
mod cancel;
mod complete;
mod cq;
mod ctx;
mod departed;
mod device;
mod drain;
mod enter;
mod eventfd;
mod exits;
mod fdinfo;
mod files;
mod globals;
mod iopoll;
mod kbuf;
mod link;
mod op;
mod personality;
mod poll;
mod pollers;
mod register;
mod release;
mod request;
mod restriction;
mod retry;
mod ring;
mod ring_fds;
mod rsrc;
mod setup;
mod span;
mod sqe;
mod sqpoll;
mod submit;
mod sys;
mod time;
mod timeout;
mod wait;
mod worker;

use crate::{
    device::UringDevice,
    globals::{
        Gate,
        Globals,
        Limits, //
    },
    sys::{
        device::Registration,
        task_work,
        user_worker, //
    }, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

module! {
    type: RustUring,
    name: "rust_uring",
    authors: ["The rust_uring authors"],
    description: "io_uring through a character device, in Rust",
    license: "GPL",
    params: {
        mode: u16 {
            default: 0o600,
            description: "Permission bits of /dev/rust_uring",
        },
        disabled: u32 {
            default: 0,
            description: "Who may set up rings: 0 all, 1 CAP_SYS_ADMIN or group, 2 nobody",
        },
        group: i32 {
            default: -1,
            description: "Group that may set up rings with disabled=1",
        },
        max_rings: u32 {
            default: 4096,
            description: "Rings that one user may have",
        },
        max_requests: u32 {
            default: 131072,
            description: "Requests that one ring may have",
        },
        max_workers: u32 {
            default: 256,
            description: "Workers of each class that one process may have",
        },
        task_work: u32 {
            default: 1,
            description: "0: a thread of the kernel posts what completes later, and does not interrupt the submitter",
        },
        kernel_workers: u32 {
            default: 0,
            description: "1: threads of the kernel do what would block, and not threads of the process",
        },
        unix_files: u32 {
            default: 0,
            description: "1: UNIX sockets may be registered (a ring that is sent over one registered in it stays for ever)",
        },
        max_overflow: u32 {
            default: 262144,
            description: "CQEs that one ring keeps when its CQ is full",
        },
    },
}

/// The loaded module. The device goes first, so that nobody comes in any more; task work goes when no ring is left.
#[pin_data(PinnedDrop)]
struct RustUring {
    #[pin]
    device: Registration<UringDevice>,
    globals: Arc<Globals>,
    _task_work: task_work::Provider,
}

impl kernel::InPlaceModule for RustUring {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let limits = Limits {
            rings_per_user: module_parameters::max_rings.value(),
            requests: module_parameters::max_requests.value(),
            workers: module_parameters::max_workers.value(),
            // CAST: Widening.
            overflow: module_parameters::max_overflow.value() as usize,
            kernel_workers: module_parameters::kernel_workers.value() != 0
                || !user_worker::available(),
            unix_files: module_parameters::unix_files.value() != 0,
        };
        let gate = Gate {
            disabled: module_parameters::disabled.value(),
            group: module_parameters::group.value(),
        };
        let wanted = module_parameters::task_work.value() != 0;
        let mode = module_parameters::mode.value() & 0o777;
        pin_init::pin_init_scope(move || {
            let globals = Globals::new(limits, gate)?;
            let device = UringDevice {
                globals: globals.clone(),
            };
            Ok(try_pin_init!(Self {
                // Before anybody can come in.
                _task_work: task_work::Provider::new(wanted),
                device <- Registration::new(device, mode),
                globals,
            }? Error))
        })
    }
}

#[pinned_drop]
impl PinnedDrop for RustUring {
    fn drop(self: Pin<&mut Self>) {
        // No file is open any more, but there may be threads with an empty table of rings, and
        // rings may still be on their way down.
        self.globals.ring_fds.forget_all();
        self.globals.wait_for_rings();
    }
}
