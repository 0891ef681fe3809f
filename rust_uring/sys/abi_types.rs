// SPDX-License-Identifier: GPL-2.0

//! The C side of the ABI as bindgen sees it: types and constants of the UAPI headers.

#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::cast_lossless,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    improper_ctypes
)]

include!(concat!(env!("RUST_URING_OBJ"), "/abi_generated.rs"));
