// SPDX-License-Identifier: GPL-2.0

//! A character device of class misc, with a mode.
//!
//! [`kernel::miscdevice`] can neither set the mode nor hand the registration's own data to `open`.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use crate::LocalModule;
use kernel::{
    bindings,
    error::to_result,
    fs::File,
    module::this_module,
    prelude::*,
    types::Opaque, //
};

/// What the device does.
pub(crate) trait Device: Send + Sync + Sized + 'static {
    /// Name of the device and of its node.
    const NAME: &'static CStr;

    /// `ioctl(2)` on an open file of the device. Context: may sleep.
    fn ioctl(&self, file: &File, cmd: u32, arg: usize) -> Result<isize>;
}

/// A registered device.
///
/// # Invariants
///
/// `misc` is registered.
#[pin_data(PinnedDrop)]
pub(crate) struct Registration<T> {
    #[pin]
    misc: Opaque<bindings::miscdevice>,
    data: T,
}

// SAFETY: The registration is not bound to a thread.
unsafe impl<T: Send> Send for Registration<T> {}
// SAFETY: As for `Send`.
unsafe impl<T: Send + Sync> Sync for Registration<T> {}

impl<T: Device> Registration<T> {
    const OPS: bindings::file_operations = bindings::file_operations {
        owner: this_module::<LocalModule>().as_ptr(),
        unlocked_ioctl: Some(ioctl::<T>),
        compat_ioctl: bindings::compat_ptr_ioctl,
        ..pin_init::zeroed()
    };

    /// Registers the device; its node gets the permission bits of `mode`.
    pub(crate) fn new(data: T, mode: u16) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            data,
            // INVARIANT: Registered here, as the last thing.
            misc <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                let misc = bindings::miscdevice {
                    minor: bindings::MISC_DYNAMIC_MINOR as c_int,
                    name: T::NAME.as_char_ptr(),
                    fops: &Self::OPS,
                    mode,
                    ..pin_init::zeroed()
                };
                // SAFETY: `slot` is valid for this write.
                unsafe { slot.write(misc) };
                // SAFETY: It stays where it is until `drop` deregisters it.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
        })
    }
}

#[pinned_drop]
impl<T> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the invariants.
        unsafe { bindings::misc_deregister(self.misc.get()) };
    }
}

/// `f_op->unlocked_ioctl`
///
/// # Safety
///
/// Called by the VFS for an open file of a [`Registration<T>`].
unsafe extern "C" fn ioctl<T: Device>(
    file: *mut bindings::file,
    cmd: c_uint,
    arg: c_ulong,
) -> c_long {
    // SAFETY: The misc core puts the device into `private_data`. An open file pins the module, so
    // the registration is still there.
    let misc = Opaque::cast_from(unsafe { (*file).private_data }.cast::<bindings::miscdevice>());
    // SAFETY: It is that field of a `Registration<T>`, whose operations these are.
    let this = unsafe { &*kernel::container_of!(misc.cast_mut(), Registration<T>, misc) };
    // SAFETY: The file is open.
    let file = unsafe { File::from_raw_file(file) };
    match this.data.ioctl(file, cmd, arg) {
        Ok(value) => value,
        Err(err) => err.to_errno() as c_long,
    }
}
