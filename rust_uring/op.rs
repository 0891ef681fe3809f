// SPDX-License-Identifier: GPL-2.0

//! The opcodes: one entry each in one table, one file for each family.
//!
//! `prep` turns an SQE into an [`Op`] and checks everything that can be checked without doing it.
//! `issue` does it.

#![forbid(unsafe_code)]

pub(crate) mod nop;

use crate::{
    abi::{
        self,
        Sqe, //
    },
    ctx::{
        Ctx,
        State, //
    },
    request::Request, //
};
use kernel::prelude::*;

/// What a request is to do, as far as it is known after `prep`.
pub(crate) enum Op {
    /// Nothing: the request is in the cache.
    Idle,
    /// `NOP` and `NOP128`
    Nop(nop::Nop),
    /// A message of another ring: the CQE is all there is to it.
    Message,
}

/// What became of a request that was issued.
pub(crate) enum Issued {
    /// Its result is set.
    Done,
    /// Its result is set, but it is to be posted as work that comes from elsewhere would be.
    DoneLater,
}

/// What is to be known about an opcode before its SQE is looked at more closely.
#[derive(Clone, Copy)]
pub(crate) struct OpInfo {
    /// Its SQE has 128 bytes.
    pub(crate) is_128: bool,
    /// It takes `ioprio`.
    pub(crate) ioprio: bool,
    /// It can take a provided buffer.
    pub(crate) buffer_select: bool,
}

/// The table. `None` for opcodes that the module does not have (yet).
pub(crate) const fn info(opcode: u8) -> Option<OpInfo> {
    const PLAIN: OpInfo = OpInfo {
        is_128: false,
        ioprio: false,
        buffer_select: false,
    };
    match opcode {
        abi::op::NOP => Some(PLAIN),
        abi::op::NOP128 => Some(OpInfo {
            is_128: true,
            ..PLAIN
        }),
        _ => None,
    }
}

/// The opcode's name, as native fdinfo shows it. `"INVALID"` for what is not there.
pub(crate) const fn name(opcode: u8) -> &'static str {
    match opcode {
        abi::op::NOP => "NOP",
        abi::op::NOP128 => "NOP128",
        _ => "INVALID",
    }
}

/// Checks an SQE and keeps what it says. `EINVAL` and what else the opcode's own file tells.
#[inline]
pub(crate) fn prep(state: &State, sqe: &Sqe) -> Result<Op> {
    match sqe.opcode {
        abi::op::NOP | abi::op::NOP128 => Ok(Op::Nop(nop::prep(state, sqe)?)),
        _ => Err(EINVAL),
    }
}

/// Does what the request asks for, without blocking.
#[inline]
pub(crate) fn issue(ctx: &Ctx, state: &mut State, req: &mut Request) -> Issued {
    match req.op {
        Op::Nop(nop) => nop::issue(ctx, state, req, nop),
        // The result is set by whoever made it.
        Op::Message | Op::Idle => Issued::Done,
    }
}
