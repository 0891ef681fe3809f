// SPDX-License-Identifier: GPL-2.0

//! What a thread of the kernel can do for a process, and what is left to the process itself.
//!
//! Such a thread has the memory, the credentials and the limits that a request needs. It is still another
//! task: in other namespaces, with another root, without the process' descriptors, and shown as the one
//! who acts. So it is given what does not ask. What asks, and ends by itself, the submitter does, and waits
//! for it. The rest is refused.

#![forbid(unsafe_code)]

use crate::{
    abi::sqe,
    buffers,
    ctx::{
        Ctx,
        State, //
    },
    op::{
        open,
        rw,
        select,
        sync,
        Issued,
        Op,
        Run, //
    },
    request::{
        ReqBox,
        Request, //
    },
    retry,
    sys::{
        cred,
        file, //
    }, //
};
use kernel::prelude::*;

fn is_reg(req: &Request) -> bool {
    req.file.get().is_some_and(file::is_reg)
}

/// Whether a thread of the kernel can do it.
pub(crate) fn is_open_to_all(req: &Request) -> bool {
    let storage = |req: &Request| req.file.get().is_some_and(file::is_storage);
    match &req.op {
        Op::Rw(_) if storage(req) => true,
        Op::Rw(_) if is_reg(req) => false,
        Op::Rw(_) => !retry::needs_process(req) || req.file.get().is_some_and(file::is_counter),
        // There are policies that look at the task. What is no regular file has nothing to be done.
        Op::Sync(sync) => !is_reg(req) || storage(req) && !sync.is_truncate(),
        Op::Open(_) | Op::Statx(_) => false,
        Op::Descriptor(what) => what.is_slot(),
        Op::Poll(_) => !req.file.get().is_some_and(file::is_signalfd),
        Op::Nop(_) | Op::Cancel(_) | Op::Manage(_) | Op::PollRemove(_) => true,
        Op::Timeout(_) | Op::LinkTimeout(_) | Op::TimeoutChange(_) => true,
        Op::Message | Op::Idle => true,
    }
}

/// Whether to try it in the submitter first although a worker is asked for (`IOSQE_ASYNC`): it can wait for its
/// file there, and nowhere else.
pub(crate) fn is_better_tried(req: &Request) -> bool {
    matches!(req.op, Op::Rw(_)) && !is_reg(req) && !is_open_to_all(req)
}

/// Does in the submitter what nobody else can do. `EOPNOTSUPP` for what may wait for ever: nobody can end it
/// there. Context: may sleep.
pub(crate) fn run_here(ctx: &Ctx, state: &mut State, mut req: ReqBox) -> Issued {
    let _creds = req.creds.as_ref().map(cred::Overridden::new);
    match &req.op {
        Op::Open(_) | Op::Statx(_) => Issued::Done(open::run_here(ctx, state, req)),
        Op::Sync(_) => sync::run(req).issued(state),
        Op::Rw(_) if ends_by_itself(&req) => match transfer(ctx, state, req) {
            Run::Block(mut req) => {
                req.set_error(EAGAIN);
                Issued::Done(req)
            }
            run => run.issued(state),
        },
        _ => {
            req.set_error(EOPNOTSUPP);
            Issued::Done(req)
        }
    }
}

/// Whether a transfer that the submitter waits for ends without anybody's doing, as far as can be known.
fn ends_by_itself(req: &Request) -> bool {
    let write = matches!(&req.op, Op::Rw(rw) if rw.is_write());
    let ready = |file| !file::can_poll(file) || file::is_ready(file, write);
    is_reg(req) || req.file.get().is_some_and(ready)
}

/// The buffer is held beside the request, as in [`super::transfer`].
fn transfer(ctx: &Ctx, state: &mut State, req: ReqBox) -> Run {
    if req.head.flags & sqe::BUFFER_SELECT != 0 {
        return select::run_here(state, req);
    }
    let held = req
        .buffer
        .as_ref()
        .and_then(|node| node.get(&mut state.key));
    let run = rw::run(
        req,
        held.as_ref().map(|node| &node.value.memory),
        rw::Wait::Here,
    );
    if let Some(node) = held {
        buffers::put(ctx, state, node);
    }
    run
}
