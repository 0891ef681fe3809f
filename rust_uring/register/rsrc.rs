// SPDX-License-Identifier: GPL-2.0

//! The register operations on files and buffers that have a structure as argument.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        CloneBuffers,
        RsrcRegister,
        RsrcUpdate,
        RsrcUpdate2, //
    },
    buffers,
    ctx::{
        Ctx,
        Ring,
        State, //
    },
    files,
    register::Call,
    sys::{
        abi_types as c,
        ring_file,
        uaccess, //
    }, //
};
use kernel::prelude::*;

/// What kind of resource an operation is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Registered files.
    Files,
    /// Registered buffers.
    Buffers,
}

/// `FILES2` and `BUFFERS2`: with tags, or a table of empty slots. `nr_args` is the structure's size.
pub(super) fn register(ctx: &Ctx, state: &mut State, call: &Call, kind: Kind) -> Result<i32> {
    if call.nr_args as usize != size_of::<RsrcRegister>() {
        return Err(EINVAL);
    }
    let arg: RsrcRegister = uaccess::read(call.arg)?;
    let sparse = arg.flags & c::IORING_RSRC_REGISTER_SPARSE != 0;
    let unknown = arg.flags & !c::IORING_RSRC_REGISTER_SPARSE != 0;
    if arg.nr == 0 || arg.resv2 != 0 || unknown || sparse && arg.data != 0 {
        return Err(EINVAL);
    }
    match kind {
        Kind::Files => files::register(ctx, state, arg.data, arg.tags, arg.nr),
        Kind::Buffers => buffers::register(ctx, state, arg.data, arg.tags, arg.nr),
    }
}

/// `FILES_UPDATE2` and `BUFFERS_UPDATE`. `nr_args` is the structure's size.
pub(super) fn update(ctx: &Ctx, state: &mut State, call: &Call, kind: Kind) -> Result<i32> {
    if call.nr_args as usize != size_of::<RsrcUpdate2>() {
        return Err(EINVAL);
    }
    let arg: RsrcUpdate2 = uaccess::read(call.arg)?;
    if arg.nr == 0 || arg.resv != 0 || arg.resv2 != 0 {
        return Err(EINVAL);
    }
    match kind {
        Kind::Files => files::update(ctx, state, arg.offset, arg.data, arg.tags, arg.nr),
        Kind::Buffers => buffers::update(ctx, state, arg.offset, arg.data, arg.tags, arg.nr),
    }
}

/// `FILES_UPDATE`, without tags. `nr_args` is the number of files.
pub(super) fn update_files(ctx: &Ctx, state: &mut State, call: &Call) -> Result<i32> {
    if call.nr_args == 0 {
        return Err(EINVAL);
    }
    let arg: RsrcUpdate = uaccess::read(call.arg)?;
    if arg.resv != 0 {
        return Err(EINVAL);
    }
    files::update(ctx, state, arg.offset, arg.data, 0, call.nr_args)
}

/// `CLONE_BUFFERS`. Comes without `uring_lock`: it takes that of the source, then that of this ring.
///
/// `EINVAL` also for rings of different users or processes, `EBADF`, `EOPNOTSUPP` for what is no
/// ring, `EEXIST` if the source is bound to another task; else see [`buffers::clone`].
pub(super) fn clone_buffers(ctx: &Ctx, arg: u64) -> Result<i32> {
    let arg: CloneBuffers = uaccess::read(arg)?;
    let known = c::IORING_REGISTER_SRC_REGISTERED | c::IORING_REGISTER_DST_REPLACE;
    if arg.flags & !known != 0 {
        return Err(EINVAL);
    }
    let replace = arg.flags & c::IORING_REGISTER_DST_REPLACE != 0;
    if !replace && ctx.state.lock().buffers.len() != 0 {
        return Err(EBUSY);
    }
    if arg.pad != [0; 3] {
        return Err(EINVAL);
    }
    let file = if arg.flags & c::IORING_REGISTER_SRC_REGISTERED != 0 {
        ctx.globals.ring_fds.get(arg.src_fd)?
    } else {
        ring_file::fget(arg.src_fd)?
    };
    let src: &Ctx = &ring_file::data::<Ring>(&file).ok_or(EOPNOTSUPP)?.ctx;
    if !core::ptr::eq(src, ctx) && src.submitter().is_some() && !src.may_submit() {
        return Err(EEXIST);
    }
    // What is charged is charged to one user, and shown with one process.
    let one_user = match (&ctx.user, &src.user) {
        (Some(a), Some(b)) => a.is(b),
        (None, None) => true,
        _ => false,
    };
    if !one_user || !core::ptr::eq(&*ctx.mm, &*src.mm) {
        return Err(EINVAL);
    }
    if arg.nr == 0 && (arg.dst_off != 0 || arg.src_off != 0) {
        return Err(EINVAL);
    }
    let selection = buffers::select(&src.state.lock(), &arg);
    buffers::clone(ctx, &mut ctx.state.lock(), selection, &arg)
}
