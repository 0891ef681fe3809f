// SPDX-License-Identifier: GPL-2.0

//! Registered files: a table of files that SQEs name by index.

#![forbid(unsafe_code)]

use crate::{
    ctx::{
        Ctx,
        Ring,
        State, //
    },
    rsrc::{
        self,
        NodeRef,
        Table, //
    },
    sys::{
        file,
        ring_file,
        uaccess, //
    }, //
};
use core::ops::Range;
use kernel::{
    bitmap::BitmapVec,
    fs::File,
    prelude::*,
    sync::aref::ARef, //
};

/// Most slots that a table can have.
const MAX: usize = 1 << 20;

/// In an update: leave the slot as it is.
const SKIP: i32 = -2;

/// A registered file.
pub(crate) type FileRef = NodeRef<ARef<File>>;

/// The ring's table of files.
pub(crate) struct FileTable {
    table: Table<ARef<File>>,
    /// Slots that are taken.
    taken: Option<BitmapVec>,
    /// Where slots are chosen by us.
    range: Range<usize>,
    /// Where to look for the next one.
    hint: usize,
}

impl FileTable {
    /// No table.
    pub(crate) const fn none() -> Self {
        Self {
            table: Table::none(),
            taken: None,
            range: 0..0,
            hint: 0,
        }
    }

    /// Slots.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Looks at a slot.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&FileRef> {
        self.table.get(index)
    }

    /// A free slot of the range. `ENFILE`.
    fn free_slot(&mut self) -> Result<usize> {
        let taken = self.taken.as_ref().ok_or(ENFILE)?;
        if !self.range.contains(&self.hint) {
            self.hint = self.range.start;
        }
        let from = |start| {
            taken
                .next_zero_bit(start)
                .filter(|i| self.range.contains(i))
        };
        from(self.hint)
            .or_else(|| from(self.range.start))
            .ok_or(ENFILE)
    }

    fn mark(&mut self, index: usize, is_taken: bool) {
        if let Some(taken) = self.taken.as_mut() {
            if is_taken {
                taken.set_bit(index);
            } else {
                taken.clear_bit(index);
            }
        }
        self.hint = if is_taken { index + 1 } else { index };
    }
}

/// Whether a file may be in a table. Rings may not: they would keep each other alive. A UNIX socket
/// can carry a ring, and the kernel's collector of such circles does not know our tables; so they may
/// only if the administrator says so.
fn check(ctx: &Ctx, file: &File) -> Result {
    if ring_file::data::<Ring>(file).is_some()
        || file::is_native_ring(file)
        || !ctx.globals.limits.unix_files && file::is_unix_socket(file)
    {
        return Err(EBADF);
    }
    Ok(())
}

/// Takes what is in a slot out of it.
fn clear(ctx: &Ctx, state: &mut State, index: usize) -> bool {
    let Some(node) = state.files.table.replace(index, None) else {
        return false;
    };
    state.files.mark(index, false);
    drop(rsrc::put(ctx, state, node));
    true
}

/// Puts a file into a slot that is there. Where one takes another's place the next free slot is
/// looked for where it was.
fn set(ctx: &Ctx, state: &mut State, index: usize, file: ARef<File>, tag: u64) -> Result {
    let node = rsrc::node(&mut state.key, file, tag)?;
    match state.files.table.replace(index, Some(node)) {
        Some(old) => drop(rsrc::put(ctx, state, old)),
        None => state.files.mark(index, true),
    }
    Ok(())
}

/// Puts a file into slot `slot - 1`, or with `None` into a free one, whose index is returned (0
/// otherwise).
///
/// `EBADF` for a ring, `ENXIO` without a table, `EINVAL` for no such slot, `ENFILE`, `ENOMEM`.
pub(crate) fn install(
    ctx: &Ctx,
    state: &mut State,
    file: ARef<File>,
    slot: Option<u32>,
) -> Result<i32> {
    let index = match slot {
        // CAST: Widening. Zero would be no slot at all, and is too large here.
        Some(slot) => slot.wrapping_sub(1) as usize,
        None => state.files.free_slot()?,
    };
    check(ctx, &file)?;
    if state.files.len() == 0 {
        return Err(ENXIO);
    }
    if index >= state.files.len() {
        return Err(EINVAL);
    }
    set(ctx, state, index, file, 0)?;
    // CAST: At most `MAX`.
    Ok(if slot.is_none() { index as i32 } else { 0 })
}

/// Empties a slot. `ENXIO` without a table, `EINVAL` for no such slot, `EBADF` for an empty one.
pub(crate) fn remove(ctx: &Ctx, state: &mut State, index: u32) -> Result {
    if state.files.len() == 0 {
        return Err(ENXIO);
    }
    if index as usize >= state.files.len() {
        return Err(EINVAL);
    }
    if clear(ctx, state, index as usize) {
        Ok(())
    } else {
        Err(EBADF)
    }
}

/// The `i`th of an array of `T` in user space, or `T`'s zero if there is no array.
fn element<T: uaccess::Pod>(array: u64, i: u32) -> Result<T> {
    if array == 0 {
        return Ok(uaccess::zeroed());
    }
    uaccess::read(array.wrapping_add(u64::from(i) * size_of::<T>() as u64))
}

/// `IORING_REGISTER_FILES` and `FILES2`: `fds` is an array of `nr` descriptors, -1 for an empty slot,
/// or 0 for a table of empty slots; `tags` an array of tags, or 0.
///
/// `EBUSY` if there is a table, `EINVAL`, `EMFILE` for too many, `EBADF`, `EFAULT`, `ENOMEM`.
pub(crate) fn register(ctx: &Ctx, state: &mut State, fds: u64, tags: u64, nr: u32) -> Result<i32> {
    if state.files.len() != 0 {
        return Err(EBUSY);
    }
    if nr == 0 {
        return Err(EINVAL);
    }
    let len = nr as usize;
    if len > MAX || len > file::nofile_limit() {
        return Err(EMFILE);
    }
    state.files = FileTable {
        taken: Some(BitmapVec::new(len, GFP_KERNEL_ACCOUNT)?),
        table: Table::new(len)?,
        range: 0..len,
        hint: 0,
    };
    let mut fill = || {
        for i in 0..nr {
            let tag: u64 = element(tags, i)?;
            let fd: i32 = if fds == 0 { -1 } else { element(fds, i)? };
            if fd == -1 {
                if tag != 0 {
                    return Err(EINVAL);
                }
                continue;
            }
            // CAST: A negative descriptor is one that does not exist.
            let file = ring_file::fget(fd as u32)?;
            check(ctx, &file)?;
            set(ctx, state, i as usize, file, tag)?;
        }
        Ok(0)
    };
    let result = fill();
    state.files.hint = 0;
    if result.is_err() {
        state.files.table.forget_tags();
        drop_all(ctx, state);
    }
    result
}

/// `IORING_UNREGISTER_FILES`. `ENXIO` if there is no table.
pub(crate) fn unregister(ctx: &Ctx, state: &mut State) -> Result<i32> {
    if state.files.len() == 0 {
        return Err(ENXIO);
    }
    drop_all(ctx, state);
    Ok(0)
}

/// Empties the table and forgets it.
pub(crate) fn drop_all(ctx: &Ctx, state: &mut State) {
    for index in (0..state.files.len()).rev() {
        clear(ctx, state, index);
    }
    state.files = FileTable::none();
}

/// `IORING_REGISTER_FILES_UPDATE`, `FILES_UPDATE2` and the opcode `FILES_UPDATE`: replaces `nr` slots
/// from `offset` on. -1 empties a slot, -2 leaves it.
///
/// Returns how many were done, or the first one's error. `ENXIO`, `EINVAL`, `EOVERFLOW`, `EFAULT`,
/// `EBADF`, `ENOMEM`.
pub(crate) fn update(
    ctx: &Ctx,
    state: &mut State,
    offset: u32,
    fds: u64,
    tags: u64,
    nr: u32,
) -> Result<i32> {
    let end = offset.checked_add(nr).ok_or(EOVERFLOW)?;
    if state.files.len() == 0 {
        return Err(ENXIO);
    }
    if end as usize > state.files.len() {
        return Err(EINVAL);
    }
    for done in 0..nr {
        let result = update_one(ctx, state, (offset + done) as usize, done, fds, tags);
        if let Err(err) = result {
            // CAST: At most `MAX`.
            return if done > 0 { Ok(done as i32) } else { Err(err) };
        }
    }
    // CAST: At most `MAX`.
    Ok(nr as i32)
}

/// The opcode `FILES_UPDATE` with slots that we choose: their indices are written over the descriptors.
///
/// Returns how many were done, or the first one's error: as [`update`], `ENFILE`.
pub(crate) fn update_free(ctx: &Ctx, state: &mut State, fds: u64, nr: u32) -> Result<i32> {
    if state.files.len() == 0 {
        return Err(ENXIO);
    }
    for done in 0..nr {
        let at = fds.wrapping_add(u64::from(done) * size_of::<i32>() as u64);
        let mut one = || {
            // CAST: A negative descriptor is one that does not exist.
            let file = ring_file::fget(uaccess::read::<i32>(at)? as u32)?;
            let index = install(ctx, state, file, None)?;
            uaccess::write(at, &index).inspect_err(|_| {
                // CAST: Not negative.
                let _ = remove(ctx, state, index as u32);
            })
        };
        if let Err(err) = one() {
            // CAST: At most `MAX`.
            return if done > 0 { Ok(done as i32) } else { Err(err) };
        }
    }
    // CAST: At most `MAX`.
    Ok(nr as i32)
}

fn update_one(ctx: &Ctx, state: &mut State, index: usize, i: u32, fds: u64, tags: u64) -> Result {
    let tag: u64 = element(tags, i)?;
    let fd: i32 = uaccess::read(fds.wrapping_add(u64::from(i) * size_of::<i32>() as u64))?;
    if (fd == SKIP || fd == -1) && tag != 0 {
        return Err(EINVAL);
    }
    if fd == SKIP {
        return Ok(());
    }
    // The old file goes even if there is no new one, as natively.
    clear(ctx, state, index);
    if fd == -1 {
        return Ok(());
    }
    // CAST: A negative descriptor is one that does not exist.
    let file = ring_file::fget(fd as u32)?;
    check(ctx, &file)?;
    set(ctx, state, index, file, tag)
}

/// `IORING_REGISTER_FILE_ALLOC_RANGE`: where we choose slots. `EFAULT`, `EOVERFLOW`, `EINVAL`.
pub(crate) fn alloc_range(state: &mut State, arg: u64) -> Result<i32> {
    // u32 off, u32 len, u64 resv
    let [word, reserved]: [u64; 2] = uaccess::read(arg)?;
    let (off, len) = (word as u32, (word >> 32) as u32);
    let end = off.checked_add(len).ok_or(EOVERFLOW)?;
    if reserved != 0 || end as usize > state.files.len() {
        return Err(EINVAL);
    }
    state.files.range = off as usize..end as usize;
    state.files.hint = off as usize;
    Ok(0)
}
