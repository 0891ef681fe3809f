// SPDX-License-Identifier: GPL-2.0

//! A ring with its memory.

use crate::{
    abi::{
        self,
        Cqe,
        Params,
        Sqe, //
    },
    calls::Backend, //
};
use std::{
    ffi::c_void,
    io,
    os::fd::{
        AsFd,
        AsRawFd,
        BorrowedFd,
        OwnedFd,
        RawFd, //
    },
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        fence,
        AtomicU32,
        Ordering, //
    }, //
};

/// What a ring is to be like.
#[derive(Clone, Debug)]
pub struct Builder {
    entries: u32,
    params: Params,
}

impl Builder {
    /// A ring with room for so many SQEs (a power of two, else the next one is taken).
    pub fn new(entries: u32) -> Self {
        Self {
            entries,
            params: Params::default(),
        }
    }

    /// Adds flags of [`abi::setup`]. Not those that change where the ring's memory is, or how large its entries
    /// are: [`Self::build`] refuses `NO_MMAP`, `REGISTERED_FD_ONLY`, `SQE128`, `CQE32`, `SQE_MIXED`, `CQE_MIXED` and
    /// `SQ_REWIND`.
    pub fn flags(mut self, flags: u32) -> Self {
        self.params.flags |= flags;
        self
    }

    /// Room for so many CQEs instead of twice that of the SQ.
    pub fn cq_entries(mut self, entries: u32) -> Self {
        self.params.flags |= abi::setup::CQSIZE;
        self.params.cq_entries = entries;
        self
    }

    /// With `SQPOLL`: milliseconds after which the thread sleeps.
    pub fn sq_thread_idle(mut self, milliseconds: u32) -> Self {
        self.params.sq_thread_idle = milliseconds;
        self
    }

    /// Makes the ring. `InvalidInput` for flags that this type cannot work with.
    pub fn build(self, backend: Backend) -> io::Result<Ring> {
        let refused = abi::setup::NO_MMAP
            | abi::setup::REGISTERED_FD_ONLY
            | abi::setup::SQE128
            | abi::setup::CQE32
            | abi::setup::SQE_MIXED
            | abi::setup::CQE_MIXED
            | abi::setup::SQ_REWIND;
        if self.params.flags & refused != 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut params = self.params;
        params.flags |= abi::setup::NO_SQARRAY;
        // SAFETY: The memory of the ring is its own.
        let fd = match unsafe { backend.setup(self.entries, &mut params) } {
            // An older kernel has rings with an array only.
            Err(err) if err.raw_os_error() == Some(libc::EINVAL) => {
                params = self.params;
                // SAFETY: As above.
                unsafe { backend.setup(self.entries, &mut params)? }
            }
            other => other?,
        };
        Ring::map(backend, fd, params)
    }
}

/// Shared memory.
struct Mapping {
    at: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(fd: &OwnedFd, len: usize, offset: i64) -> io::Result<Self> {
        // SAFETY: A new mapping.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd.as_raw_fd(),
                offset,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // A mapping is never at 0.
            at: NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?,
            len,
        })
    }

    /// A word that the kernel uses, too.
    fn word(&self, offset: u32) -> *const AtomicU32 {
        assert!(offset as usize + 4 <= self.len && offset % 4 == 0);
        // SAFETY: Within the mapping.
        unsafe { self.at.as_ptr().add(offset as usize).cast() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: Who has pointers into it goes with it.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}

/// A ring: its descriptor, SQ and CQ.
///
/// Everything but putting SQEs in is safe. Closing a ring cancels what is under way, but does not wait for it: the
/// contract of [`Ring::push`] goes on until the CQE is there.
pub struct Ring {
    rings: Mapping,
    sqes: Mapping,
    params: Params,
    /// SQEs put in; the kernel is told when they are submitted.
    tail: u32,
    fd: OwnedFd,
    backend: Backend,
}

// SAFETY: The pointers are to memory that belongs to the ring. (A ring with SINGLE_ISSUER refuses other threads by
// itself.)
unsafe impl Send for Ring {}

/// Why an SQE was not taken: the SQ is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the submission queue is full")
    }
}

impl std::error::Error for Full {}

impl Ring {
    fn map(backend: Backend, fd: OwnedFd, params: Params) -> io::Result<Self> {
        let cq = params.cq_off.cqes as usize + params.cq_entries as usize * size_of::<Cqe>();
        let array = params.sq_off.array as usize + params.sq_entries as usize * size_of::<u32>();
        let has_array = params.flags & abi::setup::NO_SQARRAY == 0;
        let rings = Mapping::new(
            &fd,
            if has_array { cq.max(array) } else { cq },
            abi::offset::RINGS,
        )?;
        let len = params.sq_entries as usize * size_of::<Sqe>();
        let sqes = Mapping::new(&fd, len, abi::offset::SQES)?;
        if has_array {
            for i in 0..params.sq_entries {
                // SAFETY: Words of the mapping.
                unsafe { (*rings.word(params.sq_off.array + 4 * i)).store(i, Ordering::Relaxed) };
            }
        }
        let mut ring = Self {
            rings,
            sqes,
            params,
            tail: 0,
            fd,
            backend,
        };
        ring.tail = ring.word(params.sq_off.tail).load(Ordering::Relaxed);
        Ok(ring)
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: It is in the mapping, which lives as long as we do.
        unsafe { &*self.rings.word(offset) }
    }

    /// What the kernel made of the parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Where it comes from.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// How many SQEs there is room for.
    pub fn room(&self) -> u32 {
        let head = self.word(self.params.sq_off.head).load(Ordering::Acquire);
        self.params.sq_entries - self.tail.wrapping_sub(head)
    }

    /// Puts an SQE in. It is submitted with the next [`Self::submit`]; with `SQPOLL` maybe earlier.
    ///
    /// # Safety
    ///
    /// What the SQE points to is valid, and used by nobody else where the kernel writes, until its CQE is there.
    /// So are the descriptors that it names (or their loss is what is wanted).
    pub unsafe fn push(&mut self, sqe: &Sqe) -> Result<(), Full> {
        if self.room() == 0 {
            return Err(Full);
        }
        let index = self.tail & (self.params.sq_entries - 1);
        // SAFETY: Below the number of entries, and the kernel does not read it before it is told of it.
        unsafe {
            self.sqes
                .at
                .as_ptr()
                .cast::<Sqe>()
                .add(index as usize)
                .write(*sqe)
        };
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// Submits what was put in. Returns how many SQEs were taken.
    pub fn submit(&mut self) -> io::Result<u32> {
        self.submit_and_wait(0)
    }

    /// Submits what was put in, and waits until there are so many CQEs.
    pub fn submit_and_wait(&mut self, nr: u32) -> io::Result<u32> {
        let word = self.word(self.params.sq_off.tail);
        word.store(self.tail, Ordering::Release);
        let head = self.word(self.params.sq_off.head).load(Ordering::Acquire);
        let to_submit = self.tail.wrapping_sub(head);
        let mut flags = if nr > 0 { abi::enter::GETEVENTS } else { 0 };
        if self.params.flags & abi::setup::SQPOLL != 0 {
            // The tail is out before we look whether the thread sleeps.
            fence(Ordering::SeqCst);
            let sq_flags = self.word(self.params.sq_off.flags).load(Ordering::Relaxed);
            if sq_flags & abi::SQ_NEED_WAKEUP != 0 {
                flags |= abi::enter::SQ_WAKEUP;
            }
            if flags == 0 {
                return Ok(to_submit);
            }
        }
        // SAFETY: No further argument; what the SQEs point to was promised to `push`.
        unsafe {
            self.backend
                .enter(self.fd.as_fd(), to_submit, nr, flags, ptr::null(), 0)
        }
    }

    /// Takes the first CQE out, if there is one.
    pub fn cqe(&mut self) -> Option<Cqe> {
        let head = self.word(self.params.cq_off.head).load(Ordering::Relaxed);
        let tail = self.word(self.params.cq_off.tail).load(Ordering::Acquire);
        if head == tail {
            return None;
        }
        let index = (head & (self.params.cq_entries - 1)) as usize;
        // SAFETY: Below the number of entries, and the kernel leaves it alone until the head has moved.
        let cqe = unsafe {
            let cqes = self.rings.at.as_ptr().add(self.params.cq_off.cqes as usize);
            cqes.cast::<Cqe>().add(index).read()
        };
        self.word(self.params.cq_off.head)
            .store(head.wrapping_add(1), Ordering::Release);
        Some(cqe)
    }

    /// All CQEs that are there, taken out one by one.
    pub fn cqes(&mut self) -> impl Iterator<Item = Cqe> + '_ {
        std::iter::from_fn(|| self.cqe())
    }

    /// How many CQEs were dropped, or went through the overflow list.
    pub fn overflow(&self) -> u32 {
        self.word(self.params.cq_off.overflow)
            .load(Ordering::Relaxed)
    }

    /// `io_uring_register(2)`.
    ///
    /// # Safety
    ///
    /// That of [`Backend::register`].
    pub unsafe fn register(
        &self,
        opcode: u32,
        arg: *const c_void,
        nr_args: u32,
    ) -> io::Result<u32> {
        // SAFETY: The caller's.
        unsafe {
            self.backend
                .register(Some(self.fd.as_fd()), opcode, arg, nr_args)
        }
    }

    /// Registers descriptors; -1 leaves a slot empty.
    pub fn register_files(&self, files: &[RawFd]) -> io::Result<()> {
        let nr = u32::try_from(files.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: So many descriptors; the kernel takes references of its own.
        unsafe { self.register(abi::register::FILES, files.as_ptr().cast(), nr)? };
        Ok(())
    }

    /// Registers an eventfd that is signalled with each CQE.
    pub fn register_eventfd(&self, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        let fd = eventfd.as_raw_fd();
        // SAFETY: One descriptor; the kernel takes a reference of its own.
        unsafe { self.register(abi::register::EVENTFD, ptr::from_ref(&fd).cast(), 1)? };
        Ok(())
    }

    /// Registers memory for `READ_FIXED` and `WRITE_FIXED`.
    ///
    /// # Safety
    ///
    /// As long as requests use them, the buffers are used by nobody else where the kernel writes.
    pub unsafe fn register_buffers(&self, buffers: &[libc::iovec]) -> io::Result<()> {
        let nr = u32::try_from(buffers.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: So many buffers, which the kernel pins, and the caller's word for the rest.
        unsafe { self.register(abi::register::BUFFERS, buffers.as_ptr().cast(), nr)? };
        Ok(())
    }

    /// The opcodes that there are, by number.
    pub fn probe(&self) -> io::Result<Vec<bool>> {
        const OPS: usize = 256;
        const SUPPORTED: u16 = 1;
        #[repr(C)]
        #[derive(Clone, Copy, Default)]
        struct Op {
            op: u8,
            resv: u8,
            flags: u16,
            resv2: u32,
        }
        #[repr(C)]
        struct Probe {
            head: [u8; 16],
            ops: [Op; OPS],
        }
        let mut probe = Box::new(Probe {
            head: [0; 16],
            ops: [Op::default(); OPS],
        });
        // SAFETY: Room for all of them.
        unsafe { self.register(abi::register::PROBE, (&raw mut *probe).cast(), OPS as u32)? };
        // The last opcode, and how many there are.
        let len = usize::from(probe.head[1]);
        Ok(probe.ops[..len]
            .iter()
            .map(|op| op.flags & SUPPORTED != 0)
            .collect())
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{
        op,
        setup, //
    };
    use std::{
        io::{
            Read,
            Seek,
            Write, //
        },
        os::fd::AsRawFd, //
    };

    /// A native ring, and one of the device where there is one. None at all where io_uring is off.
    fn rings(build: impl Fn() -> Builder) -> Vec<Ring> {
        let mut backends = vec![Backend::Native];
        backends.extend(Backend::device());
        let mut rings = Vec::new();
        for backend in backends {
            match build().build(backend) {
                Ok(ring) => rings.push(ring),
                Err(err) => eprintln!("no ring here: {err}"),
            }
        }
        rings
    }

    fn nop(user_data: u64) -> Sqe {
        Sqe {
            opcode: op::NOP,
            user_data,
            ..Sqe::default()
        }
    }

    #[test]
    fn nops_come_back_in_order() {
        for mut ring in rings(|| Builder::new(8)) {
            for round in 0..10u64 {
                for i in 0..8 {
                    // SAFETY: It points to nothing.
                    unsafe { ring.push(&nop(8 * round + i)).unwrap() };
                }
                // SAFETY: As above.
                assert_eq!(unsafe { ring.push(&nop(0)) }, Err(Full));
                assert_eq!(ring.submit_and_wait(8).unwrap(), 8);
                assert_eq!(ring.room(), 8);
                let seen: Vec<u64> = ring.cqes().map(|cqe| cqe.user_data).collect();
                assert_eq!(seen, (8 * round..8 * round + 8).collect::<Vec<_>>());
            }
            assert_eq!(ring.cqe(), None);
            assert_eq!(ring.overflow(), 0);
        }
    }

    #[test]
    fn a_write_and_a_read_of_a_registered_file() {
        let builder = || {
            Builder::new(4)
                .cq_entries(64)
                .flags(setup::SINGLE_ISSUER | setup::CLAMP)
        };
        for mut ring in rings(builder) {
            assert_eq!(ring.params().cq_entries, 64);
            let mut file = tempfile();
            ring.register_files(&[-1, file.as_raw_fd()]).unwrap();
            let out = *b"through the ring";
            let mut sqe = Sqe {
                opcode: op::WRITE,
                flags: abi::sqe::FIXED_FILE,
                fd: 1,
                addr: out.as_ptr() as u64,
                len: out.len() as u32,
                ..Sqe::default()
            };
            // SAFETY: The array outlives the wait.
            unsafe { ring.push(&sqe).unwrap() };
            ring.submit_and_wait(1).unwrap();
            assert_eq!(ring.cqe().unwrap().result().unwrap(), 16);
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text.as_bytes(), out);

            sqe.fd = 0;
            // SAFETY: As above.
            unsafe { ring.push(&sqe).unwrap() };
            ring.submit_and_wait(1).unwrap();
            let err = ring.cqe().unwrap().result().unwrap_err();
            assert_eq!(err.raw_os_error(), Some(libc::EBADF));

            file.rewind().unwrap();
            file.write_all(b"THROUGH").unwrap();
            let mut back = [0u8; 16];
            let sqe = Sqe {
                opcode: op::READ,
                addr: back.as_mut_ptr() as u64,
                fd: 1,
                ..sqe
            };
            // SAFETY: As above.
            unsafe { ring.push(&sqe).unwrap() };
            ring.submit_and_wait(1).unwrap();
            assert_eq!(ring.cqe().unwrap().res, 16);
            // SAFETY: The kernel has written there.
            let back = unsafe { (&raw const back).read_volatile() };
            assert_eq!(back, *b"THROUGH the ring");
        }
    }

    #[test]
    fn the_probe_knows_nop() {
        for ring in rings(|| Builder::new(1)) {
            let ops = ring.probe().unwrap();
            assert!(ops[usize::from(op::NOP)]);
            assert!(ops.len() > usize::from(op::WRITE));
        }
    }

    #[test]
    fn layouts_that_do_not_fit_are_refused() {
        let built = Builder::new(1).flags(setup::SQE128).build(Backend::Native);
        assert_eq!(built.err().unwrap().kind(), io::ErrorKind::InvalidInput);
    }

    fn tempfile() -> std::fs::File {
        // SAFETY: A name.
        let fd = unsafe { libc::memfd_create(c"rust-uring".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0);
        // SAFETY: The descriptor is new.
        unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }
    }
}
