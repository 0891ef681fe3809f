// SPDX-License-Identifier: GPL-2.0

//! `IORING_REGISTER_PROBE`: which opcodes there are.

#![forbid(unsafe_code)]

use crate::{
    abi,
    abi::ProbeOp,
    op,
    register::Call,
    sys::{
        abi_types as c,
        uaccess, //
    }, //
};
use kernel::prelude::*;

/// Fills in a `struct io_uring_probe` with room for `nr_args` opcodes, which must be all zero.
///
/// `EINVAL`, `EFAULT`.
pub(super) fn probe(call: &Call) -> Result<i32> {
    if call.arg == 0 || call.nr_args > 256 {
        return Err(EINVAL);
    }
    let nr = call.nr_args.min(u32::from(abi::op::LAST));
    // u8 last_op, u8 ops_len, u16 resv, u32 resv2[3], then the opcodes
    let head: [u64; 2] = uaccess::read(call.arg)?;
    let first = call.arg.wrapping_add(size_of::<[u64; 2]>() as u64);
    let address = |i: u32| first.wrapping_add(u64::from(i) * size_of::<ProbeOp>() as u64);
    let mut zero = head == [0; 2];
    for i in 0..nr {
        zero &= uaccess::read::<u64>(address(i))? == 0;
    }
    if !zero {
        return Err(EINVAL);
    }
    // CAST: At most the number of opcodes, which fits a byte.
    let head = [abi::op::LAST - 1, nr as u8];
    uaccess::write_bytes(call.arg, &head)?;
    for i in 0..nr {
        let opcode = i as u8;
        let supported = op::info(opcode).is_some();
        let entry = ProbeOp {
            op: opcode,
            // CAST: One bit.
            flags: if supported {
                c::IO_URING_OP_SUPPORTED as u16
            } else {
                0
            },
            ..uaccess::zeroed()
        };
        uaccess::write(address(i), &entry)?;
    }
    Ok(0)
}
