// SPDX-License-Identifier: GPL-2.0

//! Programs that are executed. The filter stays over them, so the handler has to come with them: through their
//! environment, or, when they are linked statically, by `ruring`, which puts it into them.
//!
//! This may run in a child that shares its parent's memory (vfork), on a small stack.

use crate::{
    config::{
        self,
        Config, //
    },
    raw::{
        self,
        nr,
        sys,
        COOKIE, //
    },
    report, //
};
use core::ptr;

/// What a program is, as far as it matters here.
#[derive(PartialEq)]
enum Kind {
    /// A program for this machine without an interpreter: nothing is preloaded into it.
    Static,
    /// Everything else, which also is what cannot be read, or does not exist.
    Other,
}

/// Longest path, with the NUL.
const PATH_MAX: usize = 4096;

/// How deep scripts are interpreted by scripts.
const DEPTH: u32 = 4;

fn pread<T>(fd: isize, to: &mut T, offset: usize) -> usize {
    // SAFETY: The kernel writes within it, and any bytes are good for what it is used for here.
    let ret = unsafe { sys!(nr::PREAD64, fd, to as *mut T, size_of::<T>(), offset) };
    usize::try_from(ret).unwrap_or(0)
}

/// Whether the file has no `PT_INTERP`, and is a program.
fn kind(path: *const u8, depth: u32) -> Kind {
    let fd = raw::open(path, 0);
    if fd < 0 {
        return Kind::Other;
    }
    let kind = kind_of_file(fd, depth);
    // SAFETY: The descriptor is ours.
    unsafe { sys!(nr::CLOSE, fd) };
    kind
}

fn kind_of_file(fd: isize, depth: u32) -> Kind {
    const PT_INTERP: u32 = 3;
    let mut head = [0u8; 64];
    let len = pread(fd, &mut head, 0);
    if head.starts_with(b"#!") && depth > 0 {
        let mut line = [0u8; 256];
        let len = pread(fd, &mut line, 2);
        let line = line.get_mut(..len.min(255)).unwrap_or(&mut []);
        let begin = line
            .iter()
            .position(|b| !matches!(b, b' ' | b'\t'))
            .unwrap_or(0);
        let interpreter = line.get_mut(begin..).unwrap_or(&mut []);
        if let Some(end) = interpreter
            .iter()
            .position(|b| matches!(b, b' ' | b'\t' | b'\n' | 0))
        {
            interpreter[end] = 0;
            return kind(interpreter.as_ptr(), depth - 1);
        }
        return Kind::Other;
    }
    // A 64-bit little-endian program for x86-64, ET_EXEC or ET_DYN.
    let u16_at = |i: usize| u16::from_le_bytes([head[i], head[i + 1]]);
    let is_ours = len == 64
        && head.starts_with(b"\x7fELF\x02\x01")
        && matches!(u16_at(16), 2 | 3)
        && u16_at(18) == 62
        && u16_at(54) as usize == size_of::<[u32; 14]>();
    if !is_ours {
        return Kind::Other;
    }
    let mut offset = u64::from_le_bytes([
        head[32], head[33], head[34], head[35], head[36], head[37], head[38], head[39],
    ]) as usize;
    for _ in 0..u16_at(56).min(256) {
        let mut phdr = [0u32; 14];
        if pread(fd, &mut phdr, offset) != size_of_val(&phdr) || phdr[0] == PT_INTERP {
            return Kind::Other;
        }
        offset = offset.wrapping_add(size_of_val(&phdr));
    }
    Kind::Static
}

/// What an environment has of ours.
struct Env {
    len: usize,
    variable: bool,
    /// Where `LD_PRELOAD` is.
    preload: Option<usize>,
    /// Whether it names this object.
    preloaded: bool,
}

/// # Safety
///
/// As for the system call: NULL, or an array of C strings that ends with NULL.
unsafe fn look(envp: *const *const u8, config: &Config) -> Env {
    let mut env = Env {
        len: 0,
        variable: false,
        preload: None,
        preloaded: false,
    };
    if envp.is_null() {
        return env;
    }
    // SAFETY: Nothing is read beyond the NULL.
    unsafe {
        while !(*envp.add(env.len)).is_null() {
            let entry = raw::bytes(*envp.add(env.len));
            if entry.starts_with(b"RURING=") {
                env.variable = true;
            } else if let Some(list) = entry.strip_prefix(b"LD_PRELOAD=") {
                env.preload = Some(env.len);
                let ours = config.preload.as_bytes();
                env.preloaded = list
                    .split(|b| matches!(b, b':' | b' '))
                    .any(|object| object == ours);
            }
            env.len += 1;
        }
    }
    env
}

/// Memory that lasts until the program is executed, or that did not happen.
///
/// In a child that shares its parent's memory it stays with the parent. That is a page or so for each program that
/// is executed in that way with an environment without us, or is static.
struct Scratch {
    at: usize,
    len: usize,
    used: usize,
}

impl Scratch {
    fn new(len: usize) -> Option<Self> {
        const PROT_READ_WRITE: usize = 3;
        const MAP_PRIVATE_ANONYMOUS: usize = 0x22;
        // SAFETY: New memory.
        let at = unsafe {
            sys!(
                nr::MMAP,
                0,
                len,
                PROT_READ_WRITE,
                MAP_PRIVATE_ANONYMOUS,
                -1isize,
                0
            )
        };
        (at > 0).then_some(Self {
            at: at as usize,
            len,
            used: 0,
        })
    }

    /// An array of so many pointers, all NULL. It must fit.
    fn pointers(&mut self, nr: usize) -> *mut *const u8 {
        let at = self.at + self.used;
        self.used += nr * size_of::<usize>();
        at as *mut *const u8
    }

    /// A C string of these parts. It must fit.
    fn string(&mut self, parts: &[&[u8]]) -> *const u8 {
        let at = (self.at + self.used) as *mut u8;
        let mut len = 0;
        for byte in parts.iter().flat_map(|part| part.iter()) {
            // SAFETY: Within the memory, as the caller has reckoned.
            unsafe { *at.add(len) = *byte };
            len += 1;
        }
        self.used += len + 1;
        at
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: Nobody has pointers into it any more.
        unsafe { sys!(nr::MUNMAP, self.at, self.len) };
    }
}

/// `execve(2)` and `execveat(2)` of the program.
pub(crate) fn exec(number: usize, args: &[usize; 6]) -> isize {
    let pass = |args: &[usize; 6]| {
        let sixth = (COOKIE as usize) << 32;
        // SAFETY: It is the program's call.
        unsafe { sys!(number, args[0], args[1], args[2], args[3], args[4], sixth) }
    };
    let Some(config) = config::get() else {
        return pass(args);
    };
    // execve: path, argv, envp; execveat: fd, path, argv, envp, flags.
    let first = if number == nr::EXECVE { 0 } else { 1 };
    let (path, argv, envp) = (args[first], args[first + 1], args[first + 2]);
    if path == 0 {
        return pass(args);
    }
    // SAFETY: As far as the program's pointers are good. With bad ones it gets SIGSEGV instead of EFAULT.
    unsafe {
        let env = look(envp as *const *const u8, config);
        let by_tool = number == nr::EXECVE && is_static(path as *const u8, config);
        if env.variable && env.preloaded && !by_tool {
            return pass(args);
        }
        let args_len = if by_tool {
            count(argv as *const *const u8)
        } else {
            0
        };
        let old_preload = env.preload.map_or(&b""[..], |at| {
            raw::bytes(*(envp as *const *const u8).add(at))
                .get(11..)
                .unwrap_or(b"")
        });
        let size = (env.len + args_len + 8) * size_of::<usize>()
            + config.ld_preload.as_bytes().len()
            + old_preload.len()
            + PATH_MAX
            + 64;
        let Some(mut scratch) = Scratch::new(size) else {
            return pass(args);
        };
        let new_env = new_env(
            &mut scratch,
            config,
            &env,
            envp as *const *const u8,
            old_preload,
        );
        let mut args = *args;
        args[first + 2] = new_env as usize;
        if by_tool {
            report::count_static();
            args[0] = config.tool.as_ptr() as usize;
            args[1] = tool_argv(
                &mut scratch,
                config,
                path as *const u8,
                argv as *const *const u8,
            ) as usize;
        }
        pass(&args)
    }
}

/// Whether `ruring` has to start it.
unsafe fn is_static(path: *const u8, config: &Config) -> bool {
    const X_OK: usize = 1;
    if config.tool.is_empty() || kind(path, DEPTH) != Kind::Static {
        return false;
    }
    // What may not be executed is for the kernel to refuse.
    // SAFETY: A C string.
    unsafe {
        sys!(nr::ACCESS, path, X_OK) == 0 && sys!(nr::ACCESS, config.tool.as_ptr(), X_OK) == 0
    }
}

/// How many strings there are.
unsafe fn count(strings: *const *const u8) -> usize {
    let mut nr = 0;
    // SAFETY: Nothing is read beyond the NULL.
    unsafe {
        while !strings.is_null() && !(*strings.add(nr)).is_null() {
            nr += 1;
        }
    }
    nr
}

/// The path as `ruring` will find the program: `/proc/self/exe` would be `ruring` then.
unsafe fn resolved(scratch: &mut Scratch, path: *const u8) -> *const u8 {
    // SAFETY: A C string; there is room for a path and its NUL, and what is not written is zero.
    unsafe {
        let bytes = raw::bytes(path);
        if !bytes.starts_with(b"/proc/") || !bytes.ends_with(b"/exe") {
            return path;
        }
        let at = scratch.at + scratch.used;
        let len = sys!(nr::READLINK, path, at, PATH_MAX - 1);
        if len <= 0 {
            return path;
        }
        scratch.used += PATH_MAX;
        at as *const u8
    }
}

/// The environment with ours in it.
unsafe fn new_env(
    scratch: &mut Scratch,
    config: &Config,
    env: &Env,
    envp: *const *const u8,
    old_preload: &[u8],
) -> *const *const u8 {
    let new = scratch.pointers(env.len + 3);
    let mut nr = 0;
    // SAFETY: There is room for all of them, and a NULL behind them.
    unsafe {
        for i in 0..env.len {
            if env.preloaded || env.preload != Some(i) {
                *new.add(nr) = *envp.add(i);
                nr += 1;
            }
        }
        if !env.preloaded {
            let separator: &[u8] = if old_preload.is_empty() { b"" } else { b":" };
            *new.add(nr) = scratch.string(&[config.ld_preload.as_bytes(), separator, old_preload]);
            nr += 1;
        }
        if !env.variable {
            *new.add(nr) = config.variable.as_ptr();
            nr += 1;
        }
        *new.add(nr) = ptr::null();
    }
    new
}

/// `ruring static PATH ARGV...`
unsafe fn tool_argv(
    scratch: &mut Scratch,
    config: &Config,
    path: *const u8,
    argv: *const *const u8,
) -> *const *const u8 {
    // SAFETY: A C string.
    let path = unsafe { resolved(scratch, path) };
    // Strings of the environment are behind the pointers: pointers have to be aligned again.
    scratch.used = scratch.used.next_multiple_of(size_of::<usize>());
    // SAFETY: There is room for all of them, and a NULL behind them.
    unsafe {
        let nr = count(argv);
        let new = scratch.pointers(nr + 5);
        *new = config.tool.as_ptr();
        *new.add(1) = c"static".as_ptr().cast();
        *new.add(2) = c"--".as_ptr().cast();
        *new.add(3) = path;
        for i in 0..nr {
            *new.add(4 + i) = *argv.add(i);
        }
        *new.add(4 + nr) = ptr::null();
        new
    }
}
