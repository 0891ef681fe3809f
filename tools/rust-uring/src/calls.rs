// SPDX-License-Identifier: GPL-2.0

//! The three calls, of the device and of the kernel's own io_uring.

use crate::abi::{
    self,
    EnterArg,
    Params,
    RegisterArg,
    SetupArg, //
};
use std::{
    ffi::c_void,
    fs::{
        File,
        OpenOptions, //
    },
    io,
    os::fd::{
        AsFd,
        AsRawFd,
        BorrowedFd,
        FromRawFd,
        OwnedFd,
        RawFd, //
    },
    path::Path,
    ptr, //
};

/// Where the device is.
pub const DEVICE: &str = "/dev/rust_uring";

/// Where rings come from: the device, or the kernel's own io_uring. All calls take the arguments of the three
/// system calls and mean the same.
#[derive(Debug)]
pub enum Backend {
    /// The device, open. It is needed as long as calls are made that name no ring, or a registered one; rings
    /// live without it.
    Device(File),
    /// `io_uring_setup(2)` and so on.
    Native,
}

fn check(ret: i64) -> io::Result<u32> {
    u32::try_from(ret).map_err(|_| io::Error::last_os_error())
}

impl Backend {
    /// Opens [`DEVICE`].
    pub fn device() -> io::Result<Self> {
        Self::device_at(DEVICE)
    }

    /// Opens the device by another path.
    pub fn device_at(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::Device(
            OpenOptions::new().read(true).write(true).open(path)?,
        ))
    }

    /// `io_uring_setup(2)`. The ring's mappings are the caller's business; [`crate::Ring`] does it all.
    ///
    /// # Safety
    ///
    /// With `NO_MMAP` in its flags `params` holds addresses of memory that the ring will use.
    pub unsafe fn setup(&self, entries: u32, params: &mut Params) -> io::Result<OwnedFd> {
        let params: *mut Params = params;
        let ret = match self {
            Self::Device(device) => {
                let arg = SetupArg {
                    entries,
                    resv: 0,
                    params: params as u64,
                };
                // SAFETY: The structure is that of the ioctl, and the parameters are there.
                unsafe { libc::ioctl(device.as_raw_fd(), abi::SETUP, &arg) }.into()
            }
            // SAFETY: As above.
            Self::Native => unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, params) },
        };
        let fd = check(ret)?;
        // SAFETY: The descriptor is new.
        Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }

    /// `io_uring_enter(2)` on a ring of this backend. Returns the number of SQEs that were taken.
    ///
    /// The shortest form that serves is used: without `argp` the device needs no structure.
    ///
    /// # Safety
    ///
    /// `argp` is what the flags say, `argsz` bytes long. What the SQEs point to is there for as long as their
    /// requests take.
    #[inline]
    pub unsafe fn enter(
        &self,
        ring: BorrowedFd<'_>,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
        argp: *const c_void,
        argsz: usize,
    ) -> io::Result<u32> {
        let fd = ring.as_raw_fd();
        // SAFETY: The caller's.
        let ret: i64 = unsafe {
            match self {
                Self::Device(_) => {
                    let plain = flags & !abi::PACK_FLAGS == 0 && argp.is_null();
                    if plain && to_submit.max(min_complete) < abi::PACK_LIMIT {
                        let word = u64::from(to_submit)
                            | u64::from(min_complete) << 24
                            | u64::from(flags) << 48;
                        libc::ioctl(fd, abi::ENTER_PACKED, word).into()
                    } else {
                        let arg = EnterArg {
                            fd,
                            to_submit,
                            min_complete,
                            flags,
                            argp: argp as u64,
                            argsz: argsz as u64,
                        };
                        libc::ioctl(fd, abi::ENTER, &arg).into()
                    }
                }
                Self::Native => libc::syscall(
                    libc::SYS_io_uring_enter,
                    fd,
                    to_submit,
                    min_complete,
                    flags,
                    argp,
                    argsz,
                ),
            }
        };
        check(ret)
    }

    /// `io_uring_enter(2)` on a ring that this thread has registered, by its index, without `argp`.
    ///
    /// # Safety
    ///
    /// What the SQEs point to is there for as long as their requests take.
    pub unsafe fn enter_registered(
        &self,
        index: u32,
        to_submit: u32,
        min_complete: u32,
        flags: u32,
    ) -> io::Result<u32> {
        let arg = EnterArg {
            fd: index as i32,
            to_submit,
            min_complete,
            flags: flags | abi::enter::REGISTERED_RING,
            argp: 0,
            argsz: 0,
        };
        // SAFETY: The caller's.
        let ret: i64 = unsafe {
            match self {
                Self::Device(device) => {
                    libc::ioctl(device.as_raw_fd(), abi::ENTER, &raw const arg).into()
                }
                Self::Native => libc::syscall(
                    libc::SYS_io_uring_enter,
                    index,
                    to_submit,
                    min_complete,
                    arg.flags,
                    ptr::null::<c_void>(),
                    0usize,
                ),
            }
        };
        check(ret)
    }

    /// `io_uring_register(2)`. `ring` is `None` for what takes no ring.
    ///
    /// # Safety
    ///
    /// `arg` is what the opcode says, and what is registered stays as the opcode wants it.
    pub unsafe fn register(
        &self,
        ring: Option<BorrowedFd<'_>>,
        opcode: u32,
        arg: *const c_void,
        nr_args: u32,
    ) -> io::Result<u32> {
        let fd = ring.map_or(-1, |ring| ring.as_raw_fd());
        // SAFETY: The caller's.
        let ret: i64 = unsafe {
            match self {
                Self::Device(device) => {
                    let arg = RegisterArg {
                        fd,
                        opcode,
                        arg: arg as u64,
                        nr_args,
                        resv: 0,
                    };
                    let on = if ring.is_some() {
                        fd
                    } else {
                        device.as_fd().as_raw_fd()
                    };
                    libc::ioctl(on, abi::REGISTER, &arg).into()
                }
                Self::Native => {
                    libc::syscall(libc::SYS_io_uring_register, fd, opcode, arg, nr_args)
                }
            }
        };
        check(ret)
    }
}
