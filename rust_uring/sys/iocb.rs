// SPDX-License-Identifier: GPL-2.0

//! Reading and writing files, at once or in the background.
//!
//! A transfer that goes on in the background owns the box that its [`Iocb`] is in; the completion gets
//! it back.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::sys::{
    atomic::Atomic,
    ffi,
    iopoll::Polled,
    iter::Iter,
    mpsc::Linked,
    task::Clock, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ptr::{
        null,
        null_mut, //
    }, //
};
use kernel::{
    bindings,
    error::to_result,
    fs::File,
    prelude::*,
    sync::atomic::{
        Acquire,
        Relaxed,
        Release, //
    },
    types::Opaque, //
};

/// A value whose transfer can complete in the background.
pub(crate) trait Transfer: Sized + Send {
    /// Its control block.
    fn iocb(&self) -> &Iocb<Self>;

    /// Protection information that goes with the data, for files that
    /// [`file::has_metadata`](crate::sys::file::has_metadata) is true of.
    fn pi(&self) -> Option<&Pi>;

    /// The transfer is over. Context: any, also hard interrupt.
    fn done(this: KBox<Linked<Self>>, result: isize);

    /// The page that a read waits for is there: it has to be started again. Context: any, also hard
    /// interrupt.
    fn again(this: KBox<Linked<Self>>);
}

/// The control block of a transfer.
///
/// # Invariants
///
/// While a transfer is under way `owner` is the box that this is in; else it is null.
pub(crate) struct Iocb<T> {
    kiocb: Opaque<bindings::kiocb>,
    owner: UnsafeCell<*mut Linked<T>>,
    /// For reads that wait for a page.
    page: Option<KBox<Opaque<ffi::uring_page_wait>>>,
    /// For polled transfers: the result, or [`NO_RESULT`].
    polled: Atomic<i64>,
    /// For polled transfers: when it was started, in nanoseconds of `CLOCK_MONOTONIC`; negative if that
    /// was slept for.
    started: Atomic<i64>,
    _owner: PhantomData<fn(T)>,
}

/// Not done yet.
const NO_RESULT: i64 = i64::MIN;

// SAFETY: Owned by one context at a time, like the box that it is in.
unsafe impl<T: Send> Send for Iocb<T> {}
// SAFETY: All methods that change something are called by the owner of the box.
unsafe impl<T: Send> Sync for Iocb<T> {}

/// How a transfer is to be done.
pub(crate) struct Setup {
    /// Whether data goes to the file.
    pub(crate) write: bool,
    /// Whether the position means something.
    pub(crate) has_pos: bool,
}

/// Protection information (`struct uio_meta`): what goes to the device or comes from it beside the
/// data.
pub(crate) struct Pi {
    /// What the device is to check: `IO_INTEGRITY_CHK_*`.
    pub(crate) flags: u16,
    /// The application tag.
    pub(crate) app_tag: u16,
    /// The first reference tag.
    pub(crate) seed: u64,
    /// User address.
    pub(crate) addr: u64,
    /// Length in bytes.
    pub(crate) len: u32,
}

/// How a transfer went.
pub(crate) enum Started<T> {
    /// It is over, with this result.
    Over(KBox<Linked<T>>, isize),
    /// It goes on in the background, and has the box.
    UnderWay,
    /// It goes on in the background, and has to be polled for.
    Polled(Polled<T>),
}

impl<T: Transfer> Iocb<T> {
    /// A control block that is not in use.
    pub(crate) const fn new() -> Self {
        Self {
            kiocb: Opaque::zeroed(),
            owner: UnsafeCell::new(null_mut()),
            page: None,
            polled: Atomic::new(NO_RESULT),
            started: Atomic::new(0),
            _owner: PhantomData,
        }
    }

    /// Sets what is the same for each try: the position in the file, the I/O priority, the write stream.
    #[inline]
    pub(crate) fn describe(&mut self, pos: i64, ioprio: u16, stream: u8) {
        let kiocb = self.kiocb.get();
        // SAFETY: Ours, initialised, and not under way.
        let kiocb = unsafe { &mut *kiocb };
        kiocb.ki_pos = pos;
        kiocb.ki_ioprio = ioprio;
        kiocb.ki_write_stream = stream;
    }

    /// Prepares a try on `file`, with these `RWF_*`. `EOPNOTSUPP` or `EINVAL` for flags that do not fit.
    #[inline]
    pub(crate) fn prepare(&mut self, file: &File, flags: u32, write: bool) -> Result {
        // SAFETY: Ours, initialised, and not under way.
        let kiocb = unsafe { &mut *self.kiocb.get() };
        kiocb.ki_filp = file.as_ptr();
        kiocb.ki_complete = Some(complete::<T>);
        kiocb.private = null_mut();
        kiocb.ki_waitq = null_mut();
        // SAFETY: The file is open. Whoever changes its flags meanwhile, they are read once.
        let of_file = unsafe { (&raw const (*file.as_ptr()).f_iocb_flags).read_volatile() };
        // CAST: Same bits.
        kiocb.ki_flags = of_file as c_int;
        if flags == 0 {
            return Ok(());
        }
        // CAST: Same bits.
        // SAFETY: As before. The file is only used while the owner of the box holds it.
        to_result(unsafe { ffi::uring_kiocb_set_flags(kiocb, flags as c_int, write) })
    }

    #[inline]
    fn flag(&self, flag: c_int) -> bool {
        // SAFETY: `prepare` was called.
        unsafe { (*self.kiocb.get()).ki_flags & flag != 0 }
    }

    /// Whether the page cache is bypassed. After [`Self::prepare`].
    pub(crate) fn is_direct(&self) -> bool {
        self.flag(ffi::URING_IOCB_DIRECT)
    }

    /// Whether blocking is not wanted at all. After [`Self::prepare`].
    pub(crate) fn is_nowait(&self) -> bool {
        self.flag(ffi::URING_IOCB_NOWAIT)
    }

    /// Whether completions are to be polled for. After [`Self::prepare`].
    pub(crate) fn is_hipri(&self) -> bool {
        self.flag(ffi::URING_IOCB_HIPRI)
    }

    /// Sets whether blocking is allowed. After [`Self::prepare`].
    pub(crate) fn set_nowait(&mut self, nowait: bool) {
        // SAFETY: `prepare` was called, and the transfer is not under way.
        let flags = unsafe { &mut (*self.kiocb.get()).ki_flags };
        if nowait {
            *flags |= ffi::URING_IOCB_NOWAIT;
        } else {
            *flags &= !ffi::URING_IOCB_NOWAIT;
        }
    }

    /// Whether a read that would block for a page of the page cache can be told when that is there.
    /// After [`Self::prepare`].
    pub(crate) fn waits_for_page(&self) -> bool {
        // SAFETY: `prepare` was called.
        unsafe { ffi::uring_kiocb_waits_for_page(self.kiocb.get()) }
    }

    /// Asks for completions to be polled for: a transfer that is under way is [`Started::Polled`]. After
    /// [`Self::prepare`]. `timed`: the time is kept. `EOPNOTSUPP` if the file cannot do it.
    pub(crate) fn set_polled(&mut self, timed: bool) -> Result {
        if !self.is_direct() {
            return Err(EOPNOTSUPP);
        }
        // SAFETY: `prepare` was called, and the transfer is not under way.
        let kiocb = unsafe { &mut *self.kiocb.get() };
        // SAFETY: The file is open. Each has operations, which stay.
        if unsafe { (*(*kiocb.ki_filp).f_op).iopoll }.is_none() {
            return Err(EOPNOTSUPP);
        }
        kiocb.ki_flags |= ffi::URING_IOCB_HIPRI;
        kiocb.ki_complete = Some(complete_polled::<T>);
        self.polled.store(NO_RESULT, Relaxed);
        if timed {
            self.started.store(Clock::Monotonic.now(), Relaxed);
        }
        Ok(())
    }

    /// The result of a polled transfer, when it is done.
    pub(super) fn polled_result(&self) -> Option<isize> {
        // Pairs with the completion: who sees the result owns everything else, too.
        let result = self.polled.load(Acquire);
        // CAST: It was one.
        (result != NO_RESULT).then_some(result as isize)
    }

    /// When a polled transfer was started, in nanoseconds of `CLOCK_MONOTONIC`.
    pub(crate) fn started(&self) -> i64 {
        self.started.load(Relaxed).wrapping_abs()
    }

    /// Marks a polled transfer as slept for. Whether it was not before.
    pub(crate) fn mark_slept(&self) -> bool {
        let started = self.started.load(Relaxed);
        self.started.store(-started.wrapping_abs(), Relaxed);
        started > 0
    }

    /// A number that tells the file from others, while the transfer is under way.
    pub(super) fn file(&self) -> usize {
        // SAFETY: `prepare` was called; the field does not change.
        unsafe { (*self.kiocb.get()).ki_filp }.addr()
    }

    /// The C structure.
    pub(super) fn as_raw(&self) -> *mut bindings::kiocb {
        self.kiocb.get()
    }

    /// Asks for that: the next [`start`] does not block, and if it is under way then
    /// [`Transfer::again`] will be called. After [`Self::prepare`]. `ENOMEM`.
    pub(crate) fn wait_for_page(&mut self) -> Result {
        let page = match self.page.take() {
            Some(page) => page,
            None => KBox::new(Opaque::uninit(), GFP_KERNEL_ACCOUNT)?,
        };
        let page = self.page.insert(page);
        // SAFETY: `prepare` was called. What waits is ours, and is in no queue: a transfer that waits
        // owns the box that `self` is in, and the entry is taken out before that is given back.
        unsafe {
            ffi::uring_kiocb_wait_for_page(self.kiocb.get(), page.get(), Some(unlocked::<T>));
        }
        Ok(())
    }

    /// The position, which is behind the data after a transfer.
    #[inline]
    pub(crate) fn pos(&self) -> i64 {
        // SAFETY: Initialised, and not under way.
        unsafe { (*self.kiocb.get()).ki_pos }
    }

    /// Sets the position.
    pub(crate) fn set_pos(&mut self, pos: i64) {
        // SAFETY: As for `pos`.
        unsafe { (*self.kiocb.get()).ki_pos = pos };
    }
}

/// Starts the transfer that `this` was prepared for.
///
/// Context: may sleep, unless it was set not to. `file` is the one it was prepared for, and is held by
/// `this` until the end. Fails also with what the range, security modules and watchers say.
pub(crate) fn start<T: Transfer>(
    this: KBox<Linked<T>>,
    iter: &mut Iter<'_>,
    setup: &Setup,
) -> Started<T> {
    let this = KBox::into_raw(this);
    // SAFETY: The box is ours.
    let iocb = unsafe { (**this).iocb() };
    let place = core::ptr::from_ref(iocb).addr().wrapping_sub(this.addr());
    if place >= size_of::<Linked<T>>() {
        // The completion would give back another box than this.
        // SAFETY: Just taken apart.
        return Started::Over(unsafe { KBox::from_raw(this) }, EINVAL.to_errno() as isize);
    }
    let kiocb = iocb.kiocb.get();
    // INVARIANT: The transfer may begin.
    // SAFETY: `owner` is ours to write until then.
    unsafe { *iocb.owner.get() = this };
    let polled = iocb.is_hipri();
    let meta = Opaque::<bindings::uio_meta>::uninit();
    // SAFETY: The box is ours.
    if let Some(pi) = unsafe { (**this).pi() } {
        // Whoever starts it looks at `meta`, and nobody after that: by then it is in the bios.
        // SAFETY: `prepare` was called; `meta` is ours, and stays until the transfer has been started.
        let ret = unsafe {
            ffi::uring_kiocb_set_meta(
                kiocb,
                meta.get(),
                pi.flags,
                pi.app_tag,
                pi.seed,
                pi.addr,
                pi.len as usize,
                setup.write,
            )
        };
        if ret != 0 {
            // SAFETY: Not under way: the box is ours again. INVARIANT: So is `owner`.
            unsafe { *iocb.owner.get() = null_mut() };
            // SAFETY: As before.
            return Started::Over(unsafe { KBox::from_raw(this) }, ret as isize);
        }
    }
    // SAFETY: `prepare` was called; the file is held; the iterator is valid for the call.
    let result = unsafe { ask(kiocb, iter, setup) };
    if result == -(bindings::EIOCBQUEUED as isize) {
        if polled {
            // SAFETY: From above; started as what it is. Its completion does not give it back.
            return Started::Polled(unsafe { Polled::from_raw(this) });
        }
        return Started::UnderWay;
    }
    // SAFETY: Not under way: the box is ours again. INVARIANT: So is `owner`.
    unsafe { *iocb.owner.get() = null_mut() };
    // SAFETY: As before.
    Started::Over(unsafe { KBox::from_raw(this) }, result)
}

/// Asks the file to do it. What has to be checked before each try is checked first: the range, security
/// modules, watchers.
///
/// # Safety
///
/// The file of `kiocb` is held, and is to do what the rest of it says.
#[inline(always)]
unsafe fn ask(kiocb: *mut bindings::kiocb, iter: &mut Iter<'_>, setup: &Setup) -> isize {
    // SAFETY: By the contract.
    let file = unsafe { (*kiocb).ki_filp };
    let pos = if setup.has_pos {
        // SAFETY: As before.
        unsafe { &raw const (*kiocb).ki_pos }
    } else {
        null()
    };
    let rw = if setup.write {
        bindings::WRITE
    } else {
        bindings::READ
    };
    // SAFETY: As before. CAST: It is 0 or 1.
    let ret = unsafe { bindings::rw_verify_area(rw as c_int, file, pos, iter.count()) };
    if ret != 0 {
        return ret as isize;
    }
    let (raw, addr) = iter.as_raw();
    if setup.write {
        // SAFETY: As before.
        return unsafe { ffi::uring_kiocb_write(kiocb, raw, addr) };
    }
    // SAFETY: As before. Each file has operations, which stay.
    match unsafe { (*(*file).f_op).read_iter } {
        // SAFETY: As before.
        Some(read_iter) => unsafe { read_iter(kiocb, raw) },
        // SAFETY: As before.
        None => unsafe { ffi::uring_kiocb_read_by_pieces(kiocb, raw, addr) },
    }
}

/// A polled transfer is over. Context: any.
///
/// # Safety
///
/// `kiocb` is that of an [`Iocb`] whose polled transfer is under way; called once.
unsafe extern "C" fn complete_polled<T: Transfer>(kiocb: *mut bindings::kiocb, result: c_long) {
    // SAFETY: The transfer is over; its start is known from the flag.
    unsafe {
        if (*kiocb).ki_flags & bindings::IOCB_WRITE as c_int != 0 {
            ffi::uring_kiocb_end_write(kiocb);
        }
    }
    let opaque = Opaque::cast_from(kiocb).cast_mut();
    // SAFETY: That field of an `Iocb<T>`, which is not freed before it has a result.
    let iocb = unsafe { &*kernel::container_of!(opaque, Iocb<T>, kiocb) };
    // CAST: Both have 64 bits, or it is widened. The last that we do with it.
    iocb.polled.store(result as i64, Release);
}

/// Takes the box back from a transfer that is under way no longer.
///
/// # Safety
///
/// `kiocb` is that of an [`Iocb`] whose transfer was under way; called once.
unsafe fn take_owner<T: Transfer>(kiocb: *mut bindings::kiocb) -> KBox<Linked<T>> {
    let opaque = Opaque::cast_from(kiocb).cast_mut();
    // SAFETY: That field of an `Iocb<T>`.
    let iocb = unsafe { &*kernel::container_of!(opaque, Iocb<T>, kiocb) };
    // SAFETY: The transfer had the box, and gives it back now.
    let owner = unsafe { *iocb.owner.get() };
    // SAFETY: As before.
    unsafe { *iocb.owner.get() = null_mut() };
    // SAFETY: From `KBox::into_raw` in `start`.
    unsafe { KBox::from_raw(owner) }
}

/// A page was unlocked that a read waits for. Context: any.
///
/// # Safety
///
/// As for [`take_owner`].
unsafe extern "C" fn unlocked<T: Transfer>(kiocb: *mut bindings::kiocb) {
    // SAFETY: By the requirements.
    T::again(unsafe { take_owner(kiocb) });
}

/// The transfer is over. Context: any.
///
/// # Safety
///
/// As for [`take_owner`].
unsafe extern "C" fn complete<T: Transfer>(kiocb: *mut bindings::kiocb, result: c_long) {
    // SAFETY: The transfer is over; its start is known from the flag.
    unsafe {
        if (*kiocb).ki_flags & bindings::IOCB_WRITE as c_int != 0 {
            ffi::uring_kiocb_end_write(kiocb);
        }
    }
    // SAFETY: By the requirements.
    T::done(unsafe { take_owner(kiocb) }, result);
}
