// SPDX-License-Identifier: GPL-2.0

//! What a ring may be used for, and what a task may do with rings.

#![forbid(unsafe_code)]

use crate::{
    abi,
    sys::{
        abi_types as c,
        task_restrictions::{
            self,
            Table, //
        },
        uaccess, //
    }, //
};
use kernel::prelude::*;

/// Most entries that one registration can have.
const MAX_ENTRIES: u32 = c::io_uring_register_restriction_op_IORING_RESTRICTION_LAST
    + abi::reg::LAST
    + abi::op::LAST as u32;

/// Allow-lists of a ring.
pub(crate) struct Restrictions {
    table: Table,
    /// They come from the task that created the ring, so they hold from the start.
    inherited: bool,
}

impl Restrictions {
    /// What the current task passes on to a ring that it creates.
    ///
    /// `EPERM` if the task has filter programs that the module cannot run.
    pub(crate) fn inherit() -> Result<Self> {
        let table = task_restrictions::current();
        if table.as_ref().is_some_and(|t| t.filters != 0) {
            return Err(EPERM);
        }
        Ok(Self {
            inherited: table.as_ref().is_some_and(|t| t.reg_registered != 0),
            table: table.unwrap_or_default(),
        })
    }

    /// `IORING_REGISTER_RESTRICTIONS` on a ring that is not enabled yet.
    ///
    /// `EBUSY` if there are some, `EINVAL` for an unknown entry, `EFAULT`.
    pub(crate) fn register(&mut self, arg: u64, nr: u32) -> Result<i32> {
        if self.table.op_registered != 0 || self.table.reg_registered != 0 {
            return Err(EBUSY);
        }
        self.table = parse(arg, nr)?;
        Ok(0)
    }

    /// `EACCES` if a register operation is not on the list. A ring that is not enabled yet is exempt
    /// from its own list, so that it can be set up.
    pub(crate) fn check_register(&self, opcode: u32, disabled: bool) -> Result {
        if self.table.reg_registered == 0 || disabled && !self.inherited {
            return Ok(());
        }
        allowed(&self.table, opcode)
    }

    /// Whether there are none for SQEs.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.table.op_registered == 0
    }

    /// `EACCES` if an SQE's opcode or flags are not on the list.
    #[inline]
    pub(crate) fn check_sqe(&self, opcode: u8, flags: u8) -> Result {
        if self.table.op_registered == 0 {
            return Ok(());
        }
        let word = self
            .table
            .sqe_op
            .get(usize::from(opcode) / 64)
            .copied()
            .unwrap_or(0);
        let (required, may) = (self.table.flags_required, self.table.flags_allowed);
        if word & 1 << (opcode % 64) == 0
            || flags & required != required
            || flags & !(may | required) != 0
        {
            return Err(EACCES);
        }
        Ok(())
    }
}

fn allowed(table: &Table, opcode: u32) -> Result {
    if opcode < 64 && table.register_op & 1 << opcode != 0 {
        Ok(())
    } else {
        Err(EACCES)
    }
}

/// `IORING_REGISTER_RESTRICTIONS` without a ring: for the task itself, its children, and all rings
/// that they create, native ones too.
///
/// `EPERM` if it has some, `EACCES` unless it has given up gaining privileges or may administrate,
/// `EINVAL`, `EFAULT`, `ENOMEM`.
pub(crate) fn register_for_task(arg: u64, nr: u32) -> Result<i32> {
    if task_restrictions::present() {
        return Err(EPERM);
    }
    task_restrictions::may_restrict()?;
    if nr != 1 {
        return Err(EINVAL);
    }
    // struct io_uring_task_restriction: flags, nr_res, resv[3], restrictions[]
    let head: [u64; 2] = uaccess::read(arg)?;
    let first = head.first().copied().unwrap_or(0);
    let (flags, entries) = (first as u16, (first >> 16) as u16);
    let reserved = first >> 32 != 0 || head.get(1).copied().unwrap_or(0) != 0;
    if flags != 0 || reserved {
        return Err(EINVAL);
    }
    let table = parse(
        arg.wrapping_add(size_of::<[u64; 2]>() as u64),
        u32::from(entries),
    )?;
    task_restrictions::install(&table)?;
    Ok(0)
}

/// `EACCES` if the current task may not do a register operation that takes no ring.
pub(crate) fn check_task(opcode: u32) -> Result {
    match task_restrictions::current() {
        Some(table) if table.reg_registered != 0 => allowed(&table, opcode),
        _ => Ok(()),
    }
}

/// Reads `nr` times `struct io_uring_restriction`.
fn parse(arg: u64, nr: u32) -> Result<Table> {
    if arg == 0 || nr > MAX_ENTRIES {
        return Err(EINVAL);
    }
    let mut table = Table::default();
    let mut addr = arg;
    for _ in 0..nr {
        // u16 opcode, u8 value, u8 resv, u32 resv2[3]
        let entry: [u64; 2] = uaccess::read(addr)?;
        addr = addr.wrapping_add(size_of::<[u64; 2]>() as u64);
        let word = entry.first().copied().unwrap_or(0);
        let (opcode, value) = (u32::from(word as u16), (word >> 16) as u8);
        match opcode {
            c::io_uring_register_restriction_op_IORING_RESTRICTION_REGISTER_OP => {
                if u32::from(value) >= abi::reg::LAST {
                    return Err(EINVAL);
                }
                table.register_op |= 1 << value;
                table.reg_registered = 1;
            }
            c::io_uring_register_restriction_op_IORING_RESTRICTION_SQE_OP => {
                if value >= abi::op::LAST {
                    return Err(EINVAL);
                }
                if let Some(word) = table.sqe_op.get_mut(usize::from(value) / 64) {
                    *word |= 1 << (value % 64);
                }
                table.op_registered = 1;
            }
            c::io_uring_register_restriction_op_IORING_RESTRICTION_SQE_FLAGS_ALLOWED => {
                table.flags_allowed = value;
                table.op_registered = 1;
            }
            c::io_uring_register_restriction_op_IORING_RESTRICTION_SQE_FLAGS_REQUIRED => {
                table.flags_required = value;
                table.op_registered = 1;
            }
            _ => return Err(EINVAL),
        }
    }
    if nr == 0 {
        // An empty list allows nothing.
        table.op_registered = 1;
        table.reg_registered = 1;
    }
    Ok(table)
}
