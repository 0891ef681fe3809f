// SPDX-License-Identifier: GPL-2.0

//! `io_uring_setup(2)`: parameters to a ring.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        Params,
        SetupFlag,
        SetupFlags, //
    },
    ctx::{
        Ring,
        RingCtx, //
    },
    globals::{
        Globals,
        Limits, //
    },
    restriction::Restrictions,
    ring::{
        Layout,
        Rings, //
    },
    ring_fds,
    sqpoll,
    sys::{
        cred,
        ring_file,
        task,
        trace,
        uaccess,
        user::User,
        user_worker, //
    }, //
};
use kernel::{
    fs::file::FileDescriptorReservation,
    prelude::*,
    sync::Arc, //
};

/// Checks the flags against each other. `EINVAL`.
///
/// Stands for `io_uring_sanitise_params()`, for the flags that the module has.
fn check_flags(flags: SetupFlags) -> Result {
    let has = |flag| flags.contains(flag);
    let by_submitter = SetupFlag::CoopTaskrun | SetupFlag::TaskrunFlag | SetupFlag::DeferTaskrun;
    let bad = has(SetupFlag::SqRewind)
        && (!has(SetupFlag::NoSqArray) || has(SetupFlag::Sqpoll))
        || has(SetupFlag::Sqpoll) && flags.contains_any(by_submitter)
        // Without a descriptor there is nothing to map.
        || has(SetupFlag::RegisteredFdOnly) && !has(SetupFlag::NoMmap)
        || has(SetupFlag::TaskrunFlag)
            && !has(SetupFlag::CoopTaskrun)
            && !has(SetupFlag::DeferTaskrun)
        || has(SetupFlag::HybridIopoll) && !has(SetupFlag::Iopoll)
        || has(SetupFlag::DeferTaskrun) && !has(SetupFlag::SingleIssuer)
        || has(SetupFlag::Cqe32) && has(SetupFlag::CqeMixed)
        || has(SetupFlag::Sqe128) && has(SetupFlag::SqeMixed);
    if bad {
        Err(EINVAL)
    } else {
        Ok(())
    }
}

/// The size of a ring after rounding. `EINVAL` for none or too many.
fn round(entries: u32, max: u32, clamp: bool) -> Result<u32> {
    if entries == 0 || entries > max && !clamp {
        return Err(EINVAL);
    }
    // At most `max`, a power of two.
    Ok(entries.min(max).next_power_of_two())
}

/// Settles flags and sizes, and tells where things lie. `p.sq_entries` is what was asked for.
///
/// `EINVAL`, `EOVERFLOW`. Stands for `io_prepare_config()`.
pub(crate) fn prepare(p: &mut Params, flags: SetupFlags) -> Result<Layout> {
    check_flags(flags)?;
    let clamp = flags.contains(SetupFlag::Clamp);
    p.sq_entries = round(p.sq_entries, abi::MAX_ENTRIES, clamp)?;
    p.cq_entries = if flags.contains(SetupFlag::CqSize) {
        round(p.cq_entries, abi::MAX_CQ_ENTRIES, clamp)?
    } else {
        2 * p.sq_entries
    };
    if p.cq_entries < p.sq_entries {
        return Err(EINVAL);
    }
    let layout = Layout::new(flags, p.sq_entries, p.cq_entries)?;
    layout.describe(flags, p);
    Ok(layout)
}

/// Sets up a ring of `entries` entries; `params` is the user address of a `struct io_uring_params`.
///
/// Returns its descriptor, or its registered index with `REGISTERED_FD_ONLY`.
///
/// `EPERM` if the gate is closed or the task has filter programs, `EFAULT`, `EINVAL`, `EOVERFLOW`,
/// `ENOMEM`, `EMFILE` also for too many rings of one user, `EBUSY` when no index is free; see also
/// [`sqpoll::offload`].
/// Context: may sleep.
pub(crate) fn setup(globals: &Arc<Globals>, entries: u32, params: u64) -> Result<i32> {
    globals.gate.check()?;
    let mut p: Params = uaccess::read(params)?;
    if p.resv != [0; 3] {
        return Err(EINVAL);
    }
    let flags = SetupFlags::from_user(p.flags)?;
    p.sq_entries = entries;
    let layout = prepare(&mut p, flags)?;

    let slot = Globals::take_slot(globals)?;
    let restrictions = Restrictions::inherit()?;
    let user = if cred::capable_ipc_lock() {
        None
    } else {
        Some(Arc::new(User::current()?, GFP_KERNEL)?)
    };
    let rings = Rings::new(flags, &p, &layout)?;
    let ring = Ring::new(RingCtx::new(
        flags,
        rings,
        restrictions,
        user,
        task::current_mm()?,
        globals.clone(),
        slot,
    ))?;

    if let Err(err) = sqpoll::offload(&ring.ctx, globals, &p, flags) {
        Ring::retire(ring);
        return Err(err);
    }

    p.features = features(&globals.limits);
    if let Err(err) = uaccess::write(params, &p) {
        Ring::retire(ring);
        return Err(err);
    }

    let file = ring_file::create(ring)?;
    // The descriptor comes last: nobody can use or close the ring before this succeeds.
    let fd = if flags.contains(SetupFlag::RegisteredFdOnly) {
        globals
            .ring_fds
            .add(globals, file.clone(), 0..ring_fds::MAX)?
    } else {
        let reserved = FileDescriptorReservation::get_unused_fd_flags(
            kernel::fs::file::flags::O_RDWR | kernel::fs::file::flags::O_CLOEXEC,
        )?;
        // CAST: A descriptor is not negative.
        let fd = reserved.reserved_fd() as i32;
        reserved.fd_install(file.clone());
        fd
    };
    if let Some(ring) = ring_file::data::<Ring>(&file) {
        trace::create(&**ring.ctx, || (fd, p.sq_entries, p.cq_entries, p.flags));
    }
    Ok(fd)
}

#[kunit_tests(rust_uring_setup)]
mod tests {
    use super::*;

    fn params(sq: u32, cq: u32) -> Params {
        Params {
            sq_entries: sq,
            cq_entries: cq,
            ..uaccess::zeroed()
        }
    }

    #[test]
    fn sizes_are_rounded_up() {
        let mut p = params(5, 0);
        assert!(prepare(&mut p, SetupFlags::empty()).is_ok());
        assert_eq!(p.sq_entries, 8);
        assert_eq!(p.cq_entries, 16);
    }

    #[test]
    fn sizes_have_limits() {
        assert_eq!(
            prepare(&mut params(0, 0), SetupFlags::empty()).err(),
            Some(EINVAL)
        );
        let mut p = params(abi::MAX_ENTRIES + 1, 0);
        assert_eq!(prepare(&mut p, SetupFlags::empty()).err(), Some(EINVAL));
        assert!(prepare(&mut p, SetupFlag::Clamp.into()).is_ok());
        assert_eq!(p.sq_entries, abi::MAX_ENTRIES);
    }

    #[test]
    fn cq_is_not_smaller_than_sq() {
        let flags = SetupFlags::from(SetupFlag::CqSize);
        assert_eq!(prepare(&mut params(8, 4), flags).err(), Some(EINVAL));
        assert_eq!(prepare(&mut params(8, 0), flags).err(), Some(EINVAL));
        assert!(prepare(&mut params(8, 8), flags).is_ok());
    }

    #[test]
    fn flags_that_need_others() {
        let refused = [
            SetupFlag::SqRewind.into(),
            SetupFlag::SqRewind | SetupFlag::NoSqArray | SetupFlag::Sqpoll,
            SetupFlag::CoopTaskrun | SetupFlag::Sqpoll,
            SetupFlag::RegisteredFdOnly.into(),
            SetupFlag::TaskrunFlag.into(),
            SetupFlag::DeferTaskrun.into(),
            SetupFlag::Cqe32 | SetupFlag::CqeMixed,
            SetupFlag::Sqe128 | SetupFlag::SqeMixed,
        ];
        for flags in refused {
            assert!(check_flags(flags).is_err());
        }
        assert!(check_flags(SetupFlag::SingleIssuer | SetupFlag::DeferTaskrun).is_ok());
        assert!(check_flags(SetupFlag::SqRewind | SetupFlag::NoSqArray).is_ok());
    }

    #[test]
    fn unknown_flags() {
        assert!(SetupFlags::from_user(1 << 31).is_err());
        assert!(SetupFlags::from_user(SetupFlags::SUPPORTED + 1).is_err());
        assert!(SetupFlags::from_user(SetupFlags::SUPPORTED).is_ok());
    }
}

/// `IORING_FEAT_*` that are there on this kernel.
pub(crate) fn features(limits: &Limits) -> u32 {
    let mut features = abi::FEATURES;
    if !limits.kernel_workers {
        features |= abi::NATIVE_WORKERS | abi::LINKED_FILE;
    }
    if user_worker::available() {
        features |= abi::SQPOLL_NONFIXED;
    }
    features
}
