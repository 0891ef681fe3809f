// SPDX-License-Identifier: GPL-2.0

//! SQEs on their way in.
//!
//! User space can write to an SQE at any time, so each byte of it is read once and no more. What is the same
//! for all opcodes is read first; the rest is left to the opcode, which may need little of it.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        Sqe,
        SqeAddresses,
        SqeHead,
        SqeNames,
        SqeOptions,
        SqeRest, //
    },
    ring::Rings, //
};
use zerocopy::transmute;

/// What is looked at of every SQE, and where the rest of it is.
#[derive(Clone, Copy)]
pub(crate) struct SqeStart {
    pub(crate) slot: u32,
    pub(crate) head: SqeHead,
    pub(crate) options: SqeOptions,
    pub(crate) names: SqeNames,
}

impl SqeStart {
    /// Copies the start of the SQE in `slot`.
    #[inline(always)]
    pub(crate) fn read(rings: &Rings, slot: u32) -> Self {
        Self {
            slot,
            head: rings.sqe_part(slot),
            options: rings.sqe_part(slot),
            names: rings.sqe_part(slot),
        }
    }

    /// Whether it asks for nothing but what its opcode does, if need be with a registered file.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        const MORE: u64 = transmute!(SqeHead {
            opcode: 0,
            flags: !abi::sqe::FIXED_FILE,
            ioprio: u16::MAX,
            fd: 0,
        });
        let head: u64 = transmute!(self.head);
        head & MORE == 0 && self.names.personality == 0
    }

    /// Copies the addresses. To be called once, and not with [`Self::whole`].
    #[inline(always)]
    pub(crate) fn addresses(&self, rings: &Rings) -> SqeAddresses {
        rings.sqe_part(self.slot)
    }

    /// Copies the end. To be called once, and not with [`Self::whole`].
    #[inline(always)]
    pub(crate) fn rest(&self, rings: &Rings) -> SqeRest {
        rings.sqe_part(self.slot)
    }

    /// The whole SQE: copies the rest. To be called once.
    #[inline(always)]
    pub(crate) fn whole(&self, rings: &Rings) -> Sqe {
        let Self {
            slot,
            head,
            options,
            names,
        } = *self;
        let SqeAddresses { off, addr } = rings.sqe_part(slot);
        let SqeRest { addr3, pad2 } = rings.sqe_part(slot);
        Sqe {
            opcode: head.opcode,
            flags: head.flags,
            ioprio: head.ioprio,
            fd: head.fd,
            off,
            addr,
            len: options.len,
            op_flags: options.op_flags,
            user_data: names.user_data,
            buf_index: names.buf_index,
            personality: names.personality,
            file_index: names.file_index,
            addr3,
            pad2,
        }
    }
}
