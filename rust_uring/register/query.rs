// SPDX-License-Identifier: GPL-2.0

//! `IORING_REGISTER_QUERY`: what there is, without trying it out.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        EnterFlags,
        QueryHdr,
        QueryOpcode,
        QueryScq,
        SetupFlags, //
    },
    globals::Limits,
    register::Call,
    setup,
    sys::{
        abi_types as c,
        task,
        uaccess, //
    }, //
};
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// Entries in one list, which may be a circle.
const MAX_ENTRIES: u32 = 1000;

/// Size of the largest answer that io_uring of 7.3 has.
const MAX_ANSWER: usize = size_of::<c::io_uring_query_opcode>();

/// Answers a list of queries. `EINVAL`, `EFAULT`, `E2BIG`, `ERANGE` for too many, `EINTR` when the
/// task is killed.
pub(super) fn query(limits: &Limits, call: &Call) -> Result<i32> {
    if call.nr_args != 0 {
        return Err(EINVAL);
    }
    let mut addr = call.arg;
    let mut nr = 0;
    while addr != 0 {
        addr = answer(limits, addr)?;
        nr += 1;
        if nr >= MAX_ENTRIES {
            return Err(ERANGE);
        }
        if task::fatal_signal_pending() {
            return Err(EINTR);
        }
        task::cond_resched();
    }
    Ok(0)
}

/// Answers one query. Returns the address of the next.
fn answer(limits: &Limits, addr: u64) -> Result<u64> {
    let mut hdr: QueryHdr = uaccess::read(addr)?;
    let room = hdr.size as usize;
    if room > PAGE_SIZE {
        return Err(E2BIG);
    }
    let mut copy = [0u8; MAX_ANSWER];
    let opcodes = opcodes(limits);
    let scq = scq();
    let result: Result<&[u8]> = match hdr.query_op {
        c::IO_URING_QUERY_OPCODES | c::IO_URING_QUERY_SCQ => {
            if hdr.__resv != [0; 3] || hdr.result != 0 || room == 0 {
                Err(EINVAL)
            } else {
                // What the caller has there must be readable, as natively.
                let seen = copy.get_mut(..room.min(MAX_ANSWER)).ok_or(EINVAL)?;
                uaccess::read_bytes(hdr.query_data, seen)?;
                if hdr.query_op == c::IO_URING_QUERY_OPCODES {
                    Ok(uaccess::bytes_of(&opcodes))
                } else {
                    Ok(uaccess::bytes_of(&scq))
                }
            }
        }
        _ => Err(EOPNOTSUPP),
    };
    let bytes = match result {
        Ok(bytes) => {
            hdr.result = 0;
            bytes
        }
        Err(err) => {
            hdr.result = err.to_errno();
            &[]
        }
    };
    // As much as fits; what is beyond the answer becomes zero.
    let bytes = bytes.get(..bytes.len().min(room)).unwrap_or(&[]);
    uaccess::write_bytes(hdr.query_data, bytes)?;
    const ZERO: [u8; 64] = [0; 64];
    let mut at = bytes.len();
    while at < room {
        let part = ZERO.get(..ZERO.len().min(room - at)).unwrap_or(&[]);
        uaccess::write_bytes(hdr.query_data.wrapping_add(at as u64), part)?;
        at += part.len();
    }
    // CAST: At most a page.
    hdr.size = bytes.len() as u32;
    uaccess::write(addr, &hdr)?;
    Ok(hdr.next_entry)
}

/// `IO_URING_QUERY_OPCODES`
fn opcodes(limits: &Limits) -> QueryOpcode {
    QueryOpcode {
        nr_request_opcodes: u32::from(abi::op::LAST),
        nr_register_opcodes: abi::reg::LAST,
        feature_flags: u64::from(setup::features(limits)),
        ring_setup_flags: u64::from(SetupFlags::SUPPORTED),
        enter_flags: u64::from(EnterFlags::all_bits()),
        sqe_flags: u64::from(abi::sqe::SUPPORTED),
        nr_query_opcodes: c::IO_URING_QUERY_SCQ + 1,
        __pad: 0,
    }
}

/// `IO_URING_QUERY_SCQ`: for those who bring the memory of the rings.
fn scq() -> QueryScq {
    QueryScq {
        hdr_size: abi::rings::SIZE as u64,
        hdr_alignment: abi::rings::ALIGN as u64,
    }
}
