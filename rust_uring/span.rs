// SPDX-License-Identifier: GPL-2.0

//! Ranges of user memory.

#![forbid(unsafe_code)]

use kernel::prelude::*;

/// User addresses from `start` to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: u64,
    end: u64,
}

impl Span {
    /// All of it.
    pub(crate) const ALL: Self = Self {
        start: 0,
        end: u64::MAX,
    };

    /// So many bytes from here on, as far as there are addresses.
    pub(crate) const fn new(start: u64, len: u64) -> Self {
        Self {
            start,
            end: start.saturating_add(len),
        }
    }

    /// Whether they have a byte in common.
    pub(crate) const fn overlaps(&self, other: &Self) -> bool {
        let start = if self.start > other.start {
            self.start
        } else {
            other.start
        };
        start < self.end && start < other.end
    }

    /// The smallest one that has both in it.
    pub(crate) fn with(&self, other: &Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// The smallest one that has all of these in it.
    pub(crate) fn around(pieces: impl Iterator<Item = (u64, usize)>) -> Self {
        pieces
            // CAST: Widening.
            .map(|(addr, len)| Self::new(addr, len as u64))
            .reduce(|all, piece| all.with(&piece))
            .unwrap_or(Self::new(0, 0))
    }
}

#[kunit_tests(rust_uring_span)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps() {
        let middle = Span::new(100, 10);
        assert!(middle.overlaps(&Span::new(109, 1)));
        assert!(middle.overlaps(&Span::new(0, 101)));
        assert!(middle.overlaps(&Span::new(103, 2)));
        assert!(middle.overlaps(&Span::ALL));
        assert!(!middle.overlaps(&Span::new(110, 5)));
        assert!(!middle.overlaps(&Span::new(0, 100)));
        assert!(!middle.overlaps(&Span::new(105, 0)));
        assert!(Span::new(u64::MAX - 1, 10).overlaps(&Span::new(u64::MAX - 1, 1)));
    }

    #[test]
    fn what_is_around() {
        let pieces = [(50, 10), (10, 5), (100, 1)];
        assert_eq!(Span::around(pieces.into_iter()), Span::new(10, 91));
        assert!(!Span::around([].into_iter()).overlaps(&Span::ALL));
    }
}
