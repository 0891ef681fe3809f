// SPDX-License-Identifier: GPL-2.0

//! Credentials that were registered, to be named by SQEs.

#![forbid(unsafe_code)]

use crate::sys::cred;
use kernel::{
    cred::Credential,
    prelude::*,
    rbtree::RBTree,
    sync::aref::ARef, //
};

/// The registered credentials of a ring, by id.
pub(crate) struct Personalities {
    by_id: RBTree<u16, ARef<Credential>>,
    /// Where to look for a free id: they go round before one is used again.
    next: u16,
}

impl Personalities {
    /// No credentials.
    pub(crate) fn new() -> Self {
        Self {
            by_id: RBTree::new(),
            next: 1,
        }
    }

    /// `IORING_REGISTER_PERSONALITY`: the current task's credentials. Returns the id.
    ///
    /// `ENOMEM`, `EBUSY` when all ids are taken.
    pub(crate) fn register(&mut self) -> Result<i32> {
        let cred = cred::current()?;
        for _ in 0..u16::MAX {
            let id = self.next;
            // Zero means "no personality".
            self.next = if id == u16::MAX { 1 } else { id + 1 };
            if self.by_id.get(&id).is_none() {
                self.by_id
                    .try_create_and_insert(id, cred, GFP_KERNEL_ACCOUNT)?;
                return Ok(i32::from(id));
            }
        }
        Err(EBUSY)
    }

    /// `IORING_UNREGISTER_PERSONALITY`. `EINVAL` for an id that is not registered.
    pub(crate) fn unregister(&mut self, id: u32) -> Result<i32> {
        let id = u16::try_from(id).map_err(|_| EINVAL)?;
        self.by_id.remove(&id).map(|_| 0).ok_or(EINVAL)
    }

    /// The credentials of an id.
    pub(crate) fn get(&self, id: u16) -> Option<ARef<Credential>> {
        self.by_id.get(&id).cloned()
    }
}
