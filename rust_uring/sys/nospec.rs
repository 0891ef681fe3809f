// SPDX-License-Identifier: GPL-2.0

//! Indices from user space must not be used for speculative loads out of bounds.
//!
//! C header: [`include/linux/nospec.h`](srctree/include/linux/nospec.h)

/// Returns `index` when it is below `size`, else `None`; under misprediction of that very branch
/// the index is 0.
///
/// Stands for `array_index_nospec()` together with the check before it.
#[inline(always)]
pub(crate) fn bounded(index: usize, size: usize) -> Option<usize> {
    if index >= size {
        return None;
    }
    Some(index & mask(index, size))
}

/// All ones when `index < size`, else zero, without a branch.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn mask(index: usize, size: usize) -> usize {
    let mask: usize;
    // SAFETY: Two instructions on registers: the borrow of the compare, spread over the word.
    unsafe {
        core::arch::asm!(
            "cmp {index}, {size}",
            "sbb {mask}, {mask}",
            index = in(reg) index,
            size = in(reg) size,
            mask = lateout(reg) mask,
            options(pure, nomem, nostack),
        )
    };
    mask
}

/// All ones when `index < size`, else zero, without a branch (for sizes below `isize::MAX`).
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn mask(index: usize, size: usize) -> usize {
    // OVERFLOW: Both are below `isize::MAX` for every table there is; the sign of the difference is
    // the answer.
    let diff = core::hint::black_box(index)
        .wrapping_sub(size)
        .cast_signed();
    (diff >> (usize::BITS - 1)).cast_unsigned()
}
