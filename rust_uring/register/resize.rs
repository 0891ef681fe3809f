// SPDX-License-Identifier: GPL-2.0

//! `IORING_REGISTER_RESIZE_RINGS`: other sizes for a ring in use.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        Params,
        SetupFlag,
        SetupFlags, //
    },
    ctx::{
        Ctx,
        State, //
    },
    op,
    ring::Rings,
    setup,
    sys::uaccess, //
};
use kernel::prelude::*;

/// What the caller may ask for.
const MAY_SET: SetupFlags =
    SetupFlags::from_known(SetupFlag::CqSize as u32 | SetupFlag::Clamp as u32);

/// What stays as it was set up.
const INHERITED: SetupFlags = SetupFlags::from_known(
    SetupFlag::NoSqArray as u32
        | SetupFlag::Sqe128 as u32
        | SetupFlag::Cqe32 as u32
        | SetupFlag::NoMmap as u32
        | SetupFlag::CqeMixed as u32
        | SetupFlag::SqeMixed as u32,
);

/// Replaces the rings, with what is in them. `arg` is the user address of a `struct io_uring_params`.
///
/// `EINVAL` also for a ring that does not defer its completions, `EFAULT`, `ENOMEM`, `EOVERFLOW` when
/// what is in the rings does not fit.
pub(super) fn resize(ctx: &Ctx, state: &mut State, arg: u64) -> Result<i32> {
    if !ctx.defers() {
        return Err(EINVAL);
    }
    let mut p: Params = uaccess::read(arg)?;
    if p.flags & !u32::from(MAY_SET) != 0 {
        return Err(EINVAL);
    }
    let flags = SetupFlags::from_user(p.flags)? | (ctx.flags & INHERITED);
    p.flags = u32::from(flags);
    let layout = setup::prepare(&mut p, flags)?;
    let new = Rings::new(flags, &p, &layout)?;
    uaccess::write(arg, &p)?;

    let old = state.rings.clone();
    copy_sq(&old, &new, flags)?;
    copy_cq(&old, &new, flags)?;
    new.sq_dropped().store(old.sq_dropped().load());
    new.cq_flags().store(old.cq_flags().load());
    new.cq_overflow().store(old.cq_overflow().load());
    // A flag that is set in the old ring from now on would be missed. One enter too many is the
    // worst that can come of it.
    let missed = abi::sq_flags::TASKRUN | abi::sq_flags::NEED_WAKEUP;
    new.sq_flags().store(old.sq_flags().load() | missed);

    state.cq.forget_room();
    state.rings = new.clone();
    ctx.mappings.lock().rings = new.clone();
    // Returns when nobody looks at the old ones any more; mappings keep their pages.
    drop(ctx.rings.replace(Some(new)));
    Ok(0)
}

/// Copies the SQEs that are not consumed yet. `EOVERFLOW` when they do not fit.
fn copy_sq(old: &Rings, new: &Rings, flags: SetupFlags) -> Result {
    let tail = old.sq_tail().load();
    let head = old.sq_head().load();
    let count = tail.wrapping_sub(head);
    if count > new.sq_entries {
        return Err(EOVERFLOW);
    }
    let (old_last, new_last) = (old.sq_entries - 1, new.sq_entries - 1);
    // The slot of the second half of a 128-byte SQE in a ring with both sizes.
    let mut second = None;
    for i in 0..count {
        let pos = head.wrapping_add(i);
        let dst = pos & new_last;
        let src = match second.take() {
            Some(slot) => {
                new.set_sqe_slot(pos, dst);
                slot
            }
            None => {
                let Some(slot) = old.sqe_slot(pos) else {
                    // A bad index stays one.
                    new.set_sqe_slot(pos, u32::MAX);
                    continue;
                };
                new.set_sqe_slot(pos, dst);
                if flags.contains(SetupFlag::SqeMixed)
                    && i + 1 != count
                    && slot < old_last
                    && op::info(old.read_sqe(slot).opcode).is_some_and(|o| o.is_128())
                {
                    // It must not wrap around.
                    if dst == new_last {
                        return Err(EOVERFLOW);
                    }
                    second = Some(slot + 1);
                }
                slot
            }
        };
        for half in 0..1 + u32::from(old.sqe128()) {
            new.write_sqe_half(dst, half, &old.read_sqe_half(src, half));
        }
    }
    new.sq_head().store(head);
    new.sq_tail().store(tail);
    Ok(())
}

/// Copies the CQEs that are not consumed yet. `EOVERFLOW` when they do not fit.
fn copy_cq(old: &Rings, new: &Rings, flags: SetupFlags) -> Result {
    let tail = old.cq_tail().load();
    let head = old.cq_head().load();
    let count = tail.wrapping_sub(head);
    if count > new.cq_entries {
        return Err(EOVERFLOW);
    }
    let new_last = new.cq_entries - 1;
    let mut second = false;
    for i in 0..count {
        let pos = head.wrapping_add(i);
        let cqe = old.read_cqe(pos);
        if flags.contains(SetupFlag::CqeMixed) {
            if second {
                second = false;
            } else if cqe.flags & abi::cqe::BIG != 0 {
                if pos & new_last == new_last {
                    return Err(EOVERFLOW);
                }
                second = true;
            }
        }
        new.write_cqe(pos, &cqe);
        if old.cqe32() {
            new.write_cqe_extra(pos, &old.read_cqe_extra(pos));
        }
    }
    new.cq_head().store(head);
    new.cq_tail().store(tail);
    Ok(())
}
