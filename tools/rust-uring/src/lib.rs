// SPDX-License-Identifier: GPL-2.0

//! io_uring through `/dev/rust_uring`.
//!
//! [`Backend`] is the three calls, of the device or of the kernel's own io_uring: with the same arguments and the
//! same meaning, so that a library that makes the system calls itself needs to change little. [`Ring`] is
//! a ring with its memory.
//!
//! ```no_run
//! use rust_uring::{abi::{op, Sqe}, Backend, Builder};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut ring = Builder::new(8).build(Backend::device()?)?;
//! let nop = Sqe { opcode: op::NOP, user_data: 1, ..Sqe::default() };
//! // SAFETY: It points to nothing.
//! unsafe { ring.push(&nop)? };
//! ring.submit_and_wait(1)?;
//! assert_eq!(ring.cqe().map(|cqe| cqe.res), Some(0));
//! # Ok(())
//! # }
//! ```

pub mod abi;
mod calls;
pub mod names;
mod ring;

pub use calls::{
    Backend,
    DEVICE, //
};
pub use ring::{
    Builder,
    Full,
    Ring, //
};
