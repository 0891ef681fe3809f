// SPDX-License-Identifier: GPL-2.0

//! `/proc/<pid>/fdinfo/<fd>` of a ring: the same keys as of a native one, and our limits.

#![forbid(unsafe_code)]

use crate::{
    abi::{
        self,
        SetupFlag, //
    },
    ctx::{
        Ctx,
        State, //
    },
    op,
    sqpoll,
    sys::file, //
};
use kernel::{
    seq_file::SeqFile,
    seq_print, //
};

/// Writes everything about a ring, unless it is busy: the lock is only tried, since the lock of the
/// file that is being read is held already.
pub(crate) fn show(ctx: &Ctx, m: &SeqFile) {
    let Some(state) = ctx.state.try_lock() else {
        return;
    };
    show_sq(ctx, &state, m);
    show_cq(ctx, &state, m);
    sqpoll::show(ctx, m);
    show_resources(&state, m);
    seq_print!(m, "PollList:\n");
    for armed in state.polls.iter() {
        seq_print!(m, "  op={}, task_works=0\n", armed.tag());
    }
    seq_print!(m, "CqOverflowList:\n");
    for entry in state.cq.overflowed().iter() {
        let cqe = entry.cqe;
        seq_print!(
            m,
            "  user_data={}, res={}, flags={:x}\n",
            cqe.user_data,
            cqe.res,
            cqe.flags
        );
    }
    seq_print!(m, "NAPI:\tdisabled\n");

    // Ours: the flags of its setup, and what is used of each limit.
    seq_print!(m, "SetupFlags:\t0x{:x}\n", u32::from(ctx.flags));
    let (requests, limit) = state.cache.usage();
    seq_print!(
        m,
        "Requests:\t{} of {}, {} in use\n",
        requests,
        limit,
        state.cache.in_use()
    );
    let overflow = (state.cq.overflowed().len(), state.cq.overflow_limit());
    seq_print!(m, "Overflow:\t{} of {}\n", overflow.0, overflow.1);
    let (rings, limit) = ctx.user_rings();
    seq_print!(m, "UserRings:\t{} of {}\n", rings, limit);
}

fn show_sq(ctx: &Ctx, state: &State, m: &SeqFile) {
    let rings = &state.rings;
    let mask = rings.sq_entries - 1;
    let (head, tail) = (rings.sq_head().load(), rings.sq_tail().load());
    seq_print!(m, "SqMask:\t0x{:x}\n", mask);
    seq_print!(m, "SqHead:\t{}\nSqTail:\t{}\n", head, tail);
    seq_print!(m, "CachedSqHead:\t{}\n", state.sq_head);
    seq_print!(m, "CqMask:\t0x{:x}\n", rings.cq_entries - 1);
    seq_print!(m, "CqHead:\t{}\n", rings.cq_head().load());
    seq_print!(m, "CqTail:\t{}\n", rings.cq_tail().load());
    seq_print!(m, "CachedCqTail:\t{}\n", state.cq.tail());
    let pending = tail.wrapping_sub(head);
    seq_print!(m, "SQEs:\t{}\n", pending);
    let mut i = 0;
    while i < pending.min(rings.sq_entries) {
        let pos = head.wrapping_add(i);
        i += 1;
        let Some(slot) = rings.sqe_slot(pos) else {
            continue;
        };
        let sqe = rings.read_sqe(slot);
        if sqe.opcode >= abi::op::LAST {
            continue;
        }
        let mut big = rings.sqe128();
        if !big && op::info(sqe.opcode).is_some_and(|o| o.is_128()) {
            if !ctx.flags.contains(SetupFlag::SqeMixed) {
                seq_print!(m, "{:5}: invalid sqe, 128B entry on non-mixed sq\n", slot);
                break;
            }
            if slot == mask {
                seq_print!(m, "{:5}: corrupted sqe, wrapping 128B entry\n", slot);
                break;
            }
            i += 1;
            big = true;
        }
        seq_print!(
            m,
            "{:5}: opcode:{}, fd:{}, flags:{:x}, off:{}, addr:0x{:x}, rw_flags:0x{:x}, \
             buf_index:{} user_data:{}",
            slot,
            op::name(sqe.opcode),
            sqe.fd,
            sqe.flags,
            sqe.off,
            sqe.addr,
            sqe.op_flags,
            sqe.buf_index,
            sqe.user_data
        );
        if big {
            let words: [u64; 8] = zerocopy::transmute!(rings.second_half(slot));
            for (j, word) in words.iter().enumerate() {
                seq_print!(m, ", e{}:0x{:x}", j, word);
            }
        }
        seq_print!(m, "\n");
    }
}

fn show_cq(ctx: &Ctx, state: &State, m: &SeqFile) {
    let rings = &state.rings;
    let (head, tail) = (rings.cq_head().load(), rings.cq_tail().load());
    let ready = tail.wrapping_sub(head);
    seq_print!(m, "CQEs:\t{}\n", ready);
    let mut i = 0;
    while i < ready.min(rings.cq_entries) {
        let pos = head.wrapping_add(i);
        i += 1;
        let cqe = rings.read_cqe(pos);
        seq_print!(
            m,
            "{:5}: user_data:{}, res:{}, flags:{:x}",
            pos & (rings.cq_entries - 1),
            cqe.user_data,
            cqe.res,
            cqe.flags
        );
        let two_slots = ctx.flags.contains(SetupFlag::CqeMixed) && cqe.flags & abi::cqe::BIG != 0;
        if rings.cqe32() || two_slots {
            let [extra1, extra2] = rings.read_cqe_extra(pos);
            seq_print!(m, ", extra1:{}, extra2:{}", extra1, extra2);
        }
        seq_print!(m, "\n");
        i += u32::from(two_slots);
    }
}

fn show_resources(state: &State, m: &SeqFile) {
    seq_print!(m, "UserFiles:\t{}\n", state.files.len());
    for index in 0..state.files.len() {
        if let Some(node) = state.files.get(index) {
            seq_print!(m, "{:5}: ", index);
            file::show_path(m, &node.value);
            seq_print!(m, "\n");
        }
    }
    seq_print!(m, "UserBufs:\t{}\n", state.buffers.len());
    for index in 0..state.buffers.len() {
        match state.buffers.get(index) {
            Some(node) => {
                let (addr, len) = node.value.memory.range();
                seq_print!(m, "{:5}: 0x{:x}/{}\n", index, addr, len);
            }
            None => seq_print!(m, "{:5}: <none>\n", index),
        }
    }
}
