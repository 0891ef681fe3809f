// SPDX-License-Identifier: GPL-2.0

//! System calls without a C library, and the little that is written in assembly.

use core::arch::{
    asm,
    global_asm, //
};

/// Numbers of system calls on x86-64.
pub(crate) mod nr {
    pub(crate) const WRITE: usize = 1;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const POLL: usize = 7;
    pub(crate) const MMAP: usize = 9;
    pub(crate) const MUNMAP: usize = 11;
    pub(crate) const RT_SIGACTION: usize = 13;
    pub(crate) const RT_SIGPROCMASK: usize = 14;
    pub(crate) const IOCTL: usize = 16;
    pub(crate) const PREAD64: usize = 17;
    pub(crate) const ACCESS: usize = 21;
    pub(crate) const GETPID: usize = 39;
    pub(crate) const EXECVE: usize = 59;
    pub(crate) const FCNTL: usize = 72;
    pub(crate) const READLINK: usize = 89;
    pub(crate) const PRCTL: usize = 157;
    pub(crate) const GETTID: usize = 186;
    pub(crate) const CLOCK_GETTIME: usize = 228;
    pub(crate) const EXIT_GROUP: usize = 231;
    pub(crate) const TGKILL: usize = 234;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const SECCOMP: usize = 317;
    pub(crate) const EXECVEAT: usize = 322;
    pub(crate) const URING_SETUP: usize = 425;
    pub(crate) const URING_ENTER: usize = 426;
    pub(crate) const URING_REGISTER: usize = 427;
    pub(crate) const CLONE3: usize = 435;
}

/// Errors, as the kernel numbers them.
pub(crate) mod errno {
    pub(crate) const EPERM: isize = 1;
    pub(crate) const ENOENT: isize = 2;
    pub(crate) const ENXIO: isize = 6;
    pub(crate) const EBADF: isize = 9;
    pub(crate) const EAGAIN: isize = 11;
    pub(crate) const EACCES: isize = 13;
    pub(crate) const ENODEV: isize = 19;
    pub(crate) const EINVAL: isize = 22;
    pub(crate) const ENOTTY: isize = 25;
    pub(crate) const ENOSYS: isize = 38;
    pub(crate) const EOPNOTSUPP: isize = 95;
}

/// What our own calls carry where the kernel does not look, so that our filter lets them pass: the
/// upper half of an argument that is an `int`, or the sixth argument of a call that has fewer.
pub(crate) const COOKIE: u32 = 0x7275_7267;

/// An `int` argument with the cookie above it.
#[inline]
pub(crate) fn marked(int: usize) -> usize {
    (COOKIE as usize) << 32 | (int & 0xffff_ffff)
}

/// A system call; a negative result is an error.
///
/// # Safety
///
/// That of the call.
#[inline]
pub(crate) unsafe fn call(nr: usize, args: [usize; 6]) -> isize {
    let ret: isize;
    // SAFETY: The registers are those of the system call convention; the rest is the caller's.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") nr as isize => ret,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    ret
}

/// Fills up with zeroes.
#[inline]
pub(crate) fn six<const N: usize>(args: [usize; N]) -> [usize; 6] {
    let mut all = [0; 6];
    for (to, from) in all.iter_mut().zip(args) {
        *to = from;
    }
    all
}

/// [`call`] with fewer arguments.
macro_rules! sys {
    ($nr:expr $(, $arg:expr)* $(,)?) => {
        $crate::raw::call($nr, $crate::raw::six([$($arg as usize),*]))
    };
}
pub(crate) use sys;

// The compiler turns copies and comparisons into calls of these. They are hidden: the program's own
// are not to be replaced. `rurg_restorer` is where signal handlers return to.
global_asm!(
    ".macro HIDDEN name",
    ".globl \\name",
    ".hidden \\name",
    ".type \\name, @function",
    ".endm",
    ".text",
    "HIDDEN memcpy",
    "memcpy:",
    "    mov rax, rdi",
    "    mov rcx, rdx",
    "    rep movsb",
    "    ret",
    "HIDDEN memmove",
    "memmove:",
    "    mov rax, rdi",
    "    mov rcx, rdx",
    "    lea r8, [rsi + rdx]",
    "    cmp rdi, rsi",
    "    jbe 2f",
    "    cmp rdi, r8",
    "    jae 2f",
    "    std",
    "    lea rdi, [rdi + rcx - 1]",
    "    lea rsi, [rsi + rcx - 1]",
    "    rep movsb",
    "    cld",
    "    ret",
    "2:  rep movsb",
    "    ret",
    "HIDDEN memset",
    "memset:",
    "    mov r8, rdi",
    "    mov eax, esi",
    "    mov rcx, rdx",
    "    rep stosb",
    "    mov rax, r8",
    "    ret",
    "HIDDEN memcmp",
    "memcmp:",
    "    xor eax, eax",
    "    xor ecx, ecx",
    "3:  cmp rcx, rdx",
    "    je 4f",
    "    movzx eax, byte ptr [rdi + rcx]",
    "    movzx r8d, byte ptr [rsi + rcx]",
    "    inc rcx",
    "    sub eax, r8d",
    "    je 3b",
    "4:  ret",
    "HIDDEN bcmp",
    "bcmp:",
    "    jmp memcmp",
    // The core library names it, and nothing unwinds.
    "HIDDEN rust_eh_personality",
    "rust_eh_personality:",
    "    ud2",
    "HIDDEN rurg_restorer",
    "rurg_restorer:",
    "    mov eax, 15",
    "    syscall",
    "    ud2",
    // int *rurg_errno(void): where the C library keeps errno, NULL if there is no C library.
    ".weak __errno_location",
    "HIDDEN rurg_errno",
    "rurg_errno:",
    "    mov rax, [rip + __errno_location@GOTPCREL]",
    "    test rax, rax",
    "    je 5f",
    "    jmp rax",
    "5:  ret",
    // Without this the stack would be made executable.
    ".section .note.GNU-stack,\"\",@progbits",
    ".text",
);

extern "C" {
    fn rurg_errno() -> *mut i32;
    /// Where signal handlers return to.
    pub(crate) fn rurg_restorer();
}

/// A result in the C library's way: -1 and `errno`.
#[inline]
pub(crate) fn to_libc(ret: isize) -> isize {
    if !(-4095..0).contains(&ret) {
        return ret;
    }
    // SAFETY: It takes nothing, and gives the calling thread's errno or NULL.
    let errno = unsafe { rurg_errno() };
    if !errno.is_null() {
        // SAFETY: It is the calling thread's errno.
        unsafe { *errno = -ret as i32 };
    }
    -1
}

/// Bytes of a C string, without the NUL.
///
/// # Safety
///
/// `s` is a C string that stays as it is for `'a`.
pub(crate) unsafe fn bytes<'a>(s: *const u8) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: Nothing is read beyond the NUL.
    unsafe {
        while *s.add(len) != 0 {
            len += 1;
        }
        core::slice::from_raw_parts(s, len)
    }
}

/// Writes to standard error, as far as that goes.
pub(crate) fn complain(parts: &[&[u8]]) {
    for part in parts {
        // SAFETY: The range is readable.
        unsafe { sys!(nr::WRITE, 2, part.as_ptr(), part.len()) };
    }
}

/// Gives a descriptor a high number, out of the way of programs that count on low ones, and makes it
/// close on exec. Closes the old one.
pub(crate) fn out_of_the_way(fd: isize) -> isize {
    const F_DUPFD_CLOEXEC: usize = 1030;
    for low in [900, 200, 60] {
        // SAFETY: No memory is involved.
        let high = unsafe { sys!(nr::FCNTL, fd, F_DUPFD_CLOEXEC, low) };
        if high >= 0 {
            // SAFETY: The descriptor is ours.
            unsafe { sys!(nr::CLOSE, fd) };
            return high;
        }
    }
    fd
}

/// Opens a file by its path (a C string) with `O_CLOEXEC`.
pub(crate) fn open(path: *const u8, flags: usize) -> isize {
    const AT_FDCWD: isize = -100;
    const O_CLOEXEC: usize = 0o2000000;
    // SAFETY: The kernel checks the address.
    unsafe { sys!(nr::OPENAT, AT_FDCWD, path, flags | O_CLOEXEC) }
}
