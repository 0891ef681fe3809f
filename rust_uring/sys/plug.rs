// SPDX-License-Identifier: GPL-2.0

//! Handing requests to block devices in batches.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use crate::sys::ffi;
use kernel::{
    bindings,
    types::Opaque, //
};

/// Does `work`. What it starts on block devices, about `nr` transfers, is collected and handed to them
/// at the end, or when the task sleeps in between.
///
/// Context: may sleep.
pub(crate) fn during<T>(nr: u32, work: impl FnOnce() -> T) -> T {
    let plug = Opaque::<bindings::blk_plug>::uninit();
    // SAFETY: Initialises the plug, which the task knows from now on. It stays where it is, and is taken
    // back below.
    unsafe { ffi::uring_plug_start(plug.get(), nr) };
    let result = work();
    // SAFETY: Started above, by this task.
    unsafe { bindings::blk_finish_plug(plug.get()) };
    result
}
