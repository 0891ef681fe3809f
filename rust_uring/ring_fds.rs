// SPDX-License-Identifier: GPL-2.0

//! Registered rings: each thread can keep rings under small numbers, and name them by those.
//!
//! The core keeps such a table in the task. A module cannot, so there is one map for all threads,
//! and a watch that tells when a thread is gone. A thread that executes another program loses its
//! table at its next use, or when the descriptors marked close-on-exec are closed.

#![forbid(unsafe_code)]

use crate::{
    abi::RsrcUpdate,
    ctx::Ring,
    exits::{
        AfterExit,
        Watcher, //
    },
    globals::Globals,
    sys::{
        exit_watch::ExitWatch,
        nospec,
        ring_file,
        task,
        uaccess, //
    }, //
};
use kernel::{
    fs::File,
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{
        aref::ARef,
        Arc,
        Mutex, //
    }, //
};

/// Rings that a thread can have registered.
pub(crate) const MAX: usize = 16;

/// The table of one thread.
struct Table {
    files: [Option<ARef<File>>; MAX],
    exec_id: u32,
    watch: Pin<KBox<ExitWatch<Watcher<Reaper>>>>,
}

/// All tables, by the task's key.
#[pin_data]
pub(crate) struct RingFds {
    #[pin]
    tables: Mutex<RBTree<usize, KBox<Table>>>,
}

/// Frees the tables of threads that are gone.
struct Reaper;

impl AfterExit for Reaper {
    fn look(&self, globals: &Globals) {
        globals.ring_fds.forget(|_, table| table.watch.gone());
    }
}

impl RingFds {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            tables <- new_mutex!(RBTree::new(), "RingFds::tables"),
        })
    }

    fn take(&self, which: impl Fn(usize, &Table) -> bool) -> Option<KBox<Table>> {
        let mut tables = self.tables.lock();
        let key = tables
            .iter()
            .find(|(key, table)| which(**key, table))
            .map(|(key, _)| *key)?;
        tables.remove(&key)
    }

    /// Drops tables, outside of the lock: that closes files.
    fn forget(&self, which: impl Fn(usize, &Table) -> bool) {
        while let Some(table) = self.take(&which) {
            drop(table);
        }
    }

    /// Drops every table. A thread that unregistered all it had keeps its empty table until it
    /// exits; without this the watch would outlive the module.
    pub(crate) fn forget_all(&self) {
        self.forget(|_, _| true);
    }

    /// The file under number `index` of the current thread.
    ///
    /// `EINVAL` if the thread has no table or the number is too large, `EBADF` if nothing is there.
    pub(crate) fn get(&self, index: u32) -> Result<ARef<File>> {
        let index = nospec::bounded(index as usize, MAX).ok_or(EINVAL)?;
        let mut tables = self.tables.lock();
        let stale = match tables.get(&task::current_key()) {
            None => return Err(EINVAL),
            Some(t) if t.is_current() => {
                let file = t.files.get(index).and_then(|f| f.as_ref());
                return file.cloned().ok_or(EBADF);
            }
            Some(_) => tables.remove(&task::current_key()),
        };
        drop(tables);
        drop(stale);
        Err(EINVAL)
    }

    /// The current thread is about to execute another program.
    ///
    /// If it is not its process's first thread it has taken over that one's id just now, and so the
    /// watch for the first thread's end, which is past: that one's table goes as well.
    pub(crate) fn forget_program(&self) {
        let current = task::current_key();
        self.forget(|key, table| key == current || table.watch.has_current_id());
    }

    /// Puts a file into the current thread's table, at a free number of `range`. Returns the number.
    ///
    /// `EBUSY` if there is none, `ENOMEM`. The file must be a ring.
    pub(crate) fn add(
        &self,
        globals: &Arc<Globals>,
        file: ARef<File>,
        range: core::ops::Range<usize>,
    ) -> Result<i32> {
        let key = task::current_key();
        let mut new = None;
        let mut stale = None;
        let mut tables = self.tables.lock();
        if tables.get(&key).is_none_or(|t| !t.is_current()) {
            stale = tables.remove(&key);
            drop(tables);
            new = Some(Table::new(globals)?);
            tables = self.tables.lock();
        }
        if let Some(table) = new {
            // Only this thread adds a table under its own key.
            tables.try_create_and_insert(key, table, GFP_KERNEL_ACCOUNT)?;
        }
        let table = tables.get_mut(&key).ok_or(ENOMEM)?;
        let result = table.insert(file, range);
        drop(tables);
        drop(stale);
        result
    }

    /// Takes a file out of the current thread's table.
    fn remove(&self, index: usize) {
        let mut tables = self.tables.lock();
        let file = tables
            .get_mut(&task::current_key())
            .filter(|t| t.is_current())
            .and_then(|t| t.files.get_mut(index))
            .and_then(Option::take);
        drop(tables);
        drop(file);
    }
}

impl Table {
    fn new(globals: &Arc<Globals>) -> Result<KBox<Self>> {
        let table = Self {
            files: [const { None }; MAX],
            exec_id: task::exec_id(),
            watch: ExitWatch::current(Watcher::new(globals, Reaper)?)?,
        };
        Ok(KBox::new(table, GFP_KERNEL_ACCOUNT)?)
    }

    /// Whether it was made by this thread, in the program that it runs now: the address of a task
    /// is used again when the task is gone, and its id can pass to another task before that.
    fn is_current(&self) -> bool {
        !self.watch.gone() && self.watch.has_current_id() && self.exec_id == task::exec_id()
    }

    fn insert(&mut self, file: ARef<File>, range: core::ops::Range<usize>) -> Result<i32> {
        for index in range {
            if let Some(slot @ None) = self.files.get_mut(index) {
                *slot = Some(file);
                // CAST: Below `MAX`.
                return Ok(index as i32);
            }
        }
        Err(EBUSY)
    }
}

/// `IORING_REGISTER_RING_FDS`: `nr` times `struct io_uring_rsrc_update` with the descriptor in
/// `data` and the number, or -1 for any, in `offset`; that field tells the number afterwards.
///
/// Returns how many were done, or the first one's error: `EINVAL`, `EBADF`, `EOPNOTSUPP` for what is
/// no ring, `EBUSY`, `EFAULT`, `ENOMEM`.
pub(crate) fn register(globals: &Arc<Globals>, arg: u64, nr: u32) -> Result<i32> {
    each(arg, nr, |addr, mut update| {
        if update.resv != 0 {
            return Err(EINVAL);
        }
        let range = match update.offset {
            u32::MAX => 0..MAX,
            offset if offset as usize >= MAX => return Err(EINVAL),
            offset => offset as usize..offset as usize + 1,
        };
        // CAST: As natively the upper half is not looked at.
        let file = ring_file::fget(update.data as u32)?;
        if ring_file::data::<Ring>(&file).is_none() {
            return Err(EOPNOTSUPP);
        }
        let index = globals.ring_fds.add(globals, file, range)?;
        // CAST: Below `MAX`.
        update.offset = index as u32;
        uaccess::write(addr, &update).inspect_err(|_| globals.ring_fds.remove(index as usize))
    })
}

/// `IORING_UNREGISTER_RING_FDS`. Returns how many were done, or the first one's error.
pub(crate) fn unregister(globals: &Globals, arg: u64, nr: u32) -> Result<i32> {
    each(arg, nr, |_, update| {
        if update.resv != 0 || update.data != 0 || update.offset as usize >= MAX {
            return Err(EINVAL);
        }
        globals.ring_fds.remove(update.offset as usize);
        Ok(())
    })
}

fn each(arg: u64, nr: u32, mut f: impl FnMut(u64, RsrcUpdate) -> Result) -> Result<i32> {
    if nr == 0 || nr as usize > MAX {
        return Err(EINVAL);
    }
    let mut addr = arg;
    for done in 0..nr {
        let result = uaccess::read::<RsrcUpdate>(addr).and_then(|update| f(addr, update));
        if let Err(err) = result {
            // CAST: At most `MAX`.
            return if done > 0 { Ok(done as i32) } else { Err(err) };
        }
        addr = addr.wrapping_add(size_of::<RsrcUpdate>() as u64);
    }
    // CAST: At most `MAX`.
    Ok(nr as i32)
}
