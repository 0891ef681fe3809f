// SPDX-License-Identifier: GPL-2.0

//! Static programs: nobody loads an object into them, so ruring does, before their first instruction.
//!
//! The process that becomes the program keeps its number, its parent and its children. A helper of it, which is
//! nobody's child when the program begins, traces it for the moment of execve(2), maps the redirect into it, calls
//! its entry and lets go.

use crate::{
    elf,
    run, //
};
use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use std::{
    ffi::{
        CString,
        OsString, //
    },
    fs::File,
    io::{
        Read,
        Write, //
    },
    mem::MaybeUninit,
    os::{
        fd::{
            FromRawFd,
            OwnedFd, //
        },
        unix::{
            ffi::{
                OsStrExt,
                OsStringExt, //
            },
            fs::FileExt, //
        }, //
    },
    path::PathBuf,
    process::ExitCode,
    ptr, //
};

/// Comes from the redirect, which has the call `execve(path, argv, envp)` of a program before it.
#[derive(clap::Args)]
pub struct Args {
    /// What to execute
    path: PathBuf,
    /// Its arguments, the first being its name
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    argv: Vec<OsString>,
}

/// `ruring static`
pub fn run(args: Args) -> Result<ExitCode> {
    let config = std::env::var_os("RURING")
        .context("the environment has no RURING: this is for ruring itself")?;
    let err = exec(&args.path, args.argv, &config);
    eprintln!("ruring: {}: {err}", args.path.display());
    Ok(run::exec_failure(&err))
}

/// Becomes this program, with the redirect in it. Returns why that did not happen.
pub fn exec(path: &std::path::Path, argv: Vec<OsString>, config: &OsString) -> std::io::Error {
    if let Err(err) = be_traced(config) {
        eprintln!(
            "ruring: {}: the redirect cannot be put into this static program ({err:#}); it ends with SIGSYS if it \
             uses io_uring",
            path.display()
        );
    }
    run::exec(path, argv, config, false)
}

/// Starts the helper, which traces this process when it returns.
fn be_traced(config: &OsString) -> Result<()> {
    let object = run::config_value(config, "preload").context("RURING names no object")?;
    let object = std::fs::read(&object).with_context(|| object.to_string_lossy().into_owned())?;
    // Here rather than in the helper: it has nobody to tell.
    elf::load(&object, 0, ENTRY)?;
    let (mut from, to) = pipe()?;
    // SAFETY: There is one thread, and the children only do what one may do after fork.
    unsafe {
        let tracee = libc::getpid();
        // Where only descendants may be traced.
        libc::prctl(libc::PR_SET_PTRACER, -1isize, 0, 0, 0);
        match libc::fork() {
            -1 => bail!(std::io::Error::last_os_error()),
            0 => {
                if libc::fork() == 0 {
                    drop(from);
                    let ok = helper(tracee, &object, config.as_bytes(), to).is_ok();
                    libc::_exit(i32::from(!ok));
                }
                libc::_exit(0);
            }
            child => {
                drop(to);
                libc::waitpid(child, ptr::null_mut(), 0);
            }
        }
    }
    // The helper says how it went, or ends without a word.
    let mut answer = Vec::new();
    from.read_to_end(&mut answer)?;
    match answer.as_slice() {
        [] => Ok(()),
        text => bail!("{}", String::from_utf8_lossy(text)),
    }
}

fn pipe() -> Result<(File, File)> {
    let mut fds = [0; 2];
    // SAFETY: Two descriptors, which are new.
    unsafe {
        ensure!(
            libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) == 0,
            std::io::Error::last_os_error()
        );
        let [from, to] = fds.map(|fd| OwnedFd::from_raw_fd(fd));
        Ok((from.into(), to.into()))
    }
}

/// What is called in the program: see the redirect.
const ENTRY: &str = "ruring_attach";

/// The helper: attaches, waits for execve, injects, lets go.
fn helper(tracee: libc::pid_t, object: &[u8], config: &[u8], mut to: File) -> Result<()> {
    let seized = Tracee::seize(tracee);
    let tracee = match seized {
        Ok(tracee) => tracee,
        Err(err) => {
            write!(to, "ptrace: {err}")?;
            bail!(err);
        }
    };
    drop(to);
    if !tracee.wait_for_exec()? {
        return Ok(());
    }
    tracee.inject(object, config)
}

/// A process that is traced.
struct Tracee {
    pid: libc::pid_t,
}

/// Fills a register of what runs in the tracee.
const SYSCALL_AND_TRAP: [u8; 3] = [0x0f, 0x05, 0xcc];

/// Bytes below the stack pointer that belong to the program.
const RED_ZONE: u64 = 128;

impl Tracee {
    fn seize(pid: libc::pid_t) -> std::io::Result<Self> {
        let options = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_TRACESYSGOOD;
        // SAFETY: No memory is involved.
        let ret = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, options as usize) };
        if ret < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Self { pid })
    }

    fn request(&self, request: libc::c_uint, data: usize) -> Result<()> {
        // SAFETY: Requests with memory pass memory that fits.
        let ret = unsafe { libc::ptrace(request, self.pid, 0, data) };
        ensure!(ret >= 0, std::io::Error::last_os_error());
        Ok(())
    }

    /// Waits until it stops. `None` if it has ended.
    fn wait(&self) -> Result<Option<i32>> {
        let mut status = 0;
        loop {
            // SAFETY: A status.
            let ret = unsafe { libc::waitpid(self.pid, &mut status, libc::__WALL) };
            if ret == self.pid {
                break;
            }
            let err = std::io::Error::last_os_error();
            ensure!(err.kind() == std::io::ErrorKind::Interrupted, err);
        }
        Ok(libc::WIFSTOPPED(status).then_some(status >> 8))
    }

    /// Waits until the program is there and about to begin. False if that does not happen.
    fn wait_for_exec(&self) -> Result<bool> {
        const EXEC: i32 = libc::SIGTRAP | libc::PTRACE_EVENT_EXEC << 8;
        const SYSCALL: i32 = libc::SIGTRAP | 0x80;
        let mut executed = false;
        while let Some(stop) = self.wait()? {
            match stop {
                EXEC => {
                    executed = true;
                    // Up to the end of the call: only then the registers are the program's.
                    self.request(libc::PTRACE_SYSCALL, 0)?;
                }
                SYSCALL if executed => return Ok(true),
                _ => self.request(libc::PTRACE_CONT, signal_of(stop))?,
            }
        }
        Ok(false)
    }

    fn registers(&self) -> Result<libc::user_regs_struct> {
        let mut regs = MaybeUninit::<libc::user_regs_struct>::uninit();
        self.request(libc::PTRACE_GETREGS, regs.as_mut_ptr() as usize)?;
        // SAFETY: They have been filled in.
        Ok(unsafe { regs.assume_init() })
    }

    fn set_registers(&self, regs: &libc::user_regs_struct) -> Result<()> {
        self.request(libc::PTRACE_SETREGS, ptr::from_ref(regs) as usize)
    }

    /// Lets it run up to the trap, and returns what is in its first register. Signals that come meanwhile are for
    /// later, but for those that the redirect itself asks for.
    fn run(&self, regs: &libc::user_regs_struct, later: &mut Vec<usize>) -> Result<u64> {
        self.set_registers(regs)?;
        let mut signal = 0;
        loop {
            self.request(libc::PTRACE_CONT, signal)?;
            let stop = self.wait()?.context("it has ended")?;
            signal = match stop & 0xff {
                libc::SIGTRAP if stop == libc::SIGTRAP => break,
                libc::SIGSYS => libc::SIGSYS as usize,
                libc::SIGSEGV | libc::SIGBUS | libc::SIGILL => bail!("it crashes"),
                _ => {
                    later.push(signal_of(stop));
                    0
                }
            };
        }
        Ok(self.registers()?.rax)
    }

    /// Puts the object in and calls its entry. The program does not notice, whatever happens.
    fn inject(&self, object: &[u8], config: &[u8]) -> Result<()> {
        let memory = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/{}/mem", self.pid))?;
        let before = self.registers()?;
        // Its first instruction is where a system call and a trap are for a moment.
        let mut code = [0u8; 3];
        memory.read_exact_at(&mut code, before.rip)?;
        memory.write_all_at(&SYSCALL_AND_TRAP, before.rip)?;
        let mut later = Vec::new();
        let result = self.inject_at(&memory, &before, object, config, &mut later);
        memory.write_all_at(&code, before.rip)?;
        self.set_registers(&before)?;
        // SAFETY: It is our tracee.
        unsafe {
            for signal in later.iter().filter(|signal| **signal != 0) {
                libc::kill(self.pid, *signal as i32);
            }
        }
        self.request(libc::PTRACE_DETACH, 0)?;
        result
    }

    fn inject_at(
        &self,
        memory: &File,
        before: &libc::user_regs_struct,
        object: &[u8],
        config: &[u8],
        later: &mut Vec<usize>,
    ) -> Result<()> {
        let mut call = |number: libc::c_long, args: [usize; 4]| -> Result<usize> {
            let mut regs = *before;
            regs.rax = number as u64;
            regs.orig_rax = u64::MAX;
            [regs.rdi, regs.rsi, regs.rdx, regs.r10] = args.map(|arg| arg as u64);
            (regs.r8, regs.r9) = (u64::MAX, 0);
            let ret = self.run(&regs, later)? as i64;
            usize::try_from(ret).map_err(|_| std::io::Error::from_raw_os_error(-ret as i32).into())
        };
        let size = elf::size(object)?;
        let private = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
        let at = call(libc::SYS_mmap, [0, size, libc::PROT_NONE as usize, private])?;
        let image = elf::load(object, at, ENTRY)?;
        // Who traces may write everywhere.
        memory.write_all_at(&image.bytes, at as u64)?;
        for (begin, len, protection) in &image.parts {
            call(
                libc::SYS_mprotect,
                [at + begin, *len, *protection as usize, 0],
            )?;
        }

        // entry(config, length), which returns to the trap.
        let text = (before.rsp - RED_ZONE - config.len() as u64) & !15;
        memory.write_all_at(config, text)?;
        let mut regs = *before;
        regs.rsp = text - 8;
        memory.write_all_at(&(before.rip + 2).to_le_bytes(), regs.rsp)?;
        regs.rip = image.entry as u64;
        regs.orig_rax = u64::MAX;
        (regs.rdi, regs.rsi) = (text, config.len() as u64);
        let ret = self.run(&regs, later)?;
        ensure!(ret == 0, "the redirect refuses");
        Ok(())
    }
}

/// The signal of a stop that is to be delivered; 0 for those that are only told to the tracer.
fn signal_of(stop: i32) -> usize {
    if stop >> 8 == 0 && stop != libc::SIGTRAP {
        stop as usize
    } else {
        0
    }
}

/// A C string of what came from the system.
pub fn c_string(text: impl Into<OsString>) -> CString {
    // There is no NUL in it: it came as a C string.
    CString::new(text.into().into_vec()).unwrap_or_default()
}
