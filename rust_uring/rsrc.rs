// SPDX-License-Identifier: GPL-2.0

//! Registered resources: nodes that a table and the requests in flight share.
//!
//! A node is replaced or unregistered at any time; it goes when the last request that uses it is
//! done. If it has a tag, that is told by a CQE.

#![forbid(unsafe_code)]

use crate::{
    complete,
    ctx::{
        Ctx,
        State, //
    },
    ring::Cqe,
    sys::{
        atomic::Atomic,
        locked_rc::{
            Key,
            LockedRc, //
        },
        nospec, //
    }, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// A resource and its tag.
pub(crate) struct Node<T> {
    /// What was registered.
    pub(crate) value: T,
    /// `user_data` of the CQE that tells its end, or 0.
    tag: Atomic<u64>,
}

/// A reference to a resource; given back with [`put`].
pub(crate) type NodeRef<T> = LockedRc<Node<T>>;

/// A table of resources, with holes.
pub(crate) struct Table<T>(KVVec<Option<NodeRef<T>>>);

impl<T> Table<T> {
    /// No table.
    pub(crate) const fn none() -> Self {
        Self(KVVec::new())
    }

    /// A table of `nr` empty slots. `ENOMEM`.
    pub(crate) fn new(nr: usize) -> Result<Self> {
        let mut slots = KVVec::with_capacity(nr, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..nr {
            slots.push(None, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(Self(slots))
    }

    /// Slots. Zero means that there is no table.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Looks at a slot.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&NodeRef<T>> {
        let index = nospec::bounded(index, self.0.len())?;
        self.0.get(index)?.as_ref()
    }

    /// Puts something into a slot, or nothing; returns what was there.
    pub(crate) fn replace(&mut self, index: usize, node: Option<NodeRef<T>>) -> Option<NodeRef<T>> {
        match self.0.get_mut(index) {
            Some(slot) => core::mem::replace(slot, node),
            None => node,
        }
    }

    /// Nobody is to be told about the end of what is in the table.
    pub(crate) fn forget_tags(&self) {
        for node in self.0.iter().flatten() {
            node.tag.store(0, Relaxed);
        }
    }
}

/// Makes a node. `ENOMEM`.
pub(crate) fn node<T>(key: &mut Key, value: T, tag: u64) -> Result<NodeRef<T>> {
    let tag = Atomic::new(tag);
    LockedRc::new(key, Node { value, tag })
}

/// Gives a reference back. With the last one the resource goes, and its tag is posted.
#[inline]
pub(crate) fn put<T>(ctx: &Ctx, state: &mut State, node: NodeRef<T>) -> Option<T> {
    let node = node.put(&mut state.key)?;
    let tag = node.tag.load(Relaxed);
    if tag != 0 {
        post_tag(ctx, state, tag);
    }
    Some(node.value)
}

#[cold]
fn post_tag(ctx: &Ctx, state: &mut State, tag: u64) {
    let cqe = Cqe {
        user_data: tag,
        ..Cqe::default()
    };
    complete::post_alone(ctx, state, &cqe);
}
