// SPDX-License-Identifier: GPL-2.0

//! The tracepoints of `events.h`. Disabled ones cost a no-op instruction.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use core::ffi::c_void;

/// What is to be traced is found out only if somebody traces.
///
/// The kernel's `declare_trace!` knows the tracepoints of the kernel itself only.
macro_rules! tracepoints {
    ($($(#[$doc:meta])* $name:ident / $point:ident / $call:ident ($($arg:ident: $ty:ty),*);)*) => {
        #[allow(improper_ctypes)]
        mod c {
            extern "C" {$(
                #[cfg(CONFIG_TRACEPOINTS)]
                pub(super) static $point: kernel::bindings::tracepoint;
                #[cfg(CONFIG_TRACEPOINTS)]
                pub(super) fn $call(ctx: *const core::ffi::c_void, $($arg: $ty),*);
            )*}
        }

        $($(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name<T>(ctx: &T, args: impl FnOnce() -> ($($ty,)*)) {
            #[cfg(CONFIG_TRACEPOINTS)]
            {
                // SAFETY: A static key that the C side defines.
                let enabled = unsafe {
                    kernel::jump_label::static_branch_unlikely!(
                        c::$point, kernel::bindings::tracepoint, key
                    )
                };
                if enabled {
                    let ($($arg,)*) = args();
                    // SAFETY: The pointer is only printed.
                    unsafe { c::$call(core::ptr::from_ref(ctx).cast::<c_void>(), $($arg),*) }
                }
            }
            #[cfg(not(CONFIG_TRACEPOINTS))]
            { let _ = (ctx, args); }
        })*
    };
}

tracepoints! {
    /// A ring was set up.
    create / __tracepoint_uring_create / rust_do_trace_uring_create
        (fd: i32, sq_entries: u32, cq_entries: u32, flags: u32);
    /// An SQE became a request.
    submit / __tracepoint_uring_submit / rust_do_trace_uring_submit
        (user_data: u64, opcode: u8, flags: u32);
    /// A CQE was written.
    complete / __tracepoint_uring_complete / rust_do_trace_uring_complete
        (user_data: u64, res: i32, cflags: u32);
    /// A CQE found no room.
    overflow / __tracepoint_uring_overflow / rust_do_trace_uring_overflow
        (user_data: u64, res: i32, cflags: u32);
    /// A task waits for CQEs.
    wait / __tracepoint_uring_wait / rust_do_trace_uring_wait (min_events: u32);
}
