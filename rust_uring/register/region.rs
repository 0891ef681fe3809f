// SPDX-License-Identifier: GPL-2.0

//! `IORING_REGISTER_MEM_REGION`: memory for arguments, so that they need not be copied in.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        MemRegionReg,
        RegionDesc, //
    },
    ctx::{
        Ctx,
        ParamRegion, //
    },
    sys::{
        abi_types as c,
        region::Region,
        uaccess,
        user::Charge, //
    }, //
};
use kernel::{
    page::PAGE_SHIFT,
    prelude::*,
    sync::Arc, //
};

/// Registers the ring's one region. `EBUSY` if there is one, `EINVAL`, `EFAULT`, `E2BIG`, `EOVERFLOW`,
/// `ENOMEM` also for the limit of locked memory.
pub(super) fn register(ctx: &Ctx, arg: u64) -> Result<i32> {
    if ctx.mappings.lock().param.is_some() {
        return Err(EBUSY);
    }
    let reg: MemRegionReg = uaccess::read(arg)?;
    let mut desc: RegionDesc = uaccess::read(reg.region_uptr)?;
    let wait_arg = u64::from(c::IORING_MEM_REGION_REG_WAIT_ARG);
    if reg.__resv != [0; 2] || reg.flags & !wait_arg != 0 {
        return Err(EINVAL);
    }
    // Nobody waits in a ring that is not enabled, so nobody has to be told.
    if reg.flags & wait_arg != 0 && !ctx.is_disabled() {
        return Err(EINVAL);
    }
    let region = create(ctx, &mut desc)?;
    uaccess::write(reg.region_uptr, &desc)?;
    let region = Arc::new(region, GFP_KERNEL_ACCOUNT)?;
    if reg.flags & wait_arg != 0 {
        ctx.wait_args.populate(region.clone());
    }
    ctx.mappings.lock().param = Some(region);
    Ok(0)
}

/// Stands for `io_create_region()`.
fn create(ctx: &Ctx, desc: &mut RegionDesc) -> Result<ParamRegion> {
    let user_memory = desc.flags & c::IORING_MEM_REGION_TYPE_USER != 0;
    if desc.__resv != [0; 4] || desc.flags & !c::IORING_MEM_REGION_TYPE_USER != 0 {
        return Err(EINVAL);
    }
    if user_memory != (desc.user_addr != 0) {
        return Err(EFAULT);
    }
    if desc.size == 0 || desc.mmap_offset != 0 || desc.id != 0 {
        return Err(EINVAL);
    }
    if desc.size >> PAGE_SHIFT > i32::MAX as u64 {
        return Err(E2BIG);
    }
    let page_mask = (1 << PAGE_SHIFT) - 1;
    if (desc.user_addr | desc.size) & page_mask != 0 {
        return Err(EINVAL);
    }
    desc.user_addr.checked_add(desc.size).ok_or(EOVERFLOW)?;
    let len = usize::try_from(desc.size)?;
    let charge = |pages| {
        ctx.user
            .as_ref()
            .map(|user| Charge::new(user, None, pages))
            .transpose()
    };
    let paid = charge(len >> PAGE_SHIFT)?;
    if user_memory {
        return Ok(ParamRegion {
            region: Region::new_user(desc.user_addr, len)?,
            _charges: [paid, None],
        });
    }
    let mut region = Region::new_kernel(len)?;
    let rounded = region.allocated_pages().saturating_sub(len >> PAGE_SHIFT);
    let more = match rounded {
        0 => None,
        _ => charge(rounded).or_else(|_| {
            // It does fit, if no page is wasted.
            region = Region::new_scattered(len)?;
            Ok::<_, Error>(None)
        })?,
    };
    desc.mmap_offset = abi::mmap::PARAM_REGION;
    Ok(ParamRegion {
        region,
        _charges: [paid, more],
    })
}
