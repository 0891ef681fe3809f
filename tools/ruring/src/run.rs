// SPDX-License-Identifier: GPL-2.0

//! `ruring run`: starts a program with the redirect in it.

use crate::{
    elf::{
        self,
        Kind, //
    },
    inject::{
        self,
        c_string, //
    },
    report::Report, //
};
use anyhow::{
    bail,
    Context,
    Result, //
};
use std::{
    ffi::{
        OsStr,
        OsString, //
    },
    io,
    os::unix::ffi::{
        OsStrExt,
        OsStringExt, //
    },
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode,
    ptr,
    sync::atomic::{
        AtomicI32,
        Ordering, //
    }, //
};

#[derive(clap::Args)]
pub struct Args {
    /// Use the kernel's io_uring where there is no device
    #[arg(long)]
    native_fallback: bool,
    /// Redirect nothing: use the kernel's io_uring, with --trace or --stats
    #[arg(long, conflicts_with = "native_fallback")]
    native: bool,
    /// Show every call, as strace does
    #[arg(long)]
    trace: bool,
    /// Where --trace writes to, instead of standard error
    #[arg(long, value_name = "FILE", requires = "trace")]
    output: Option<PathBuf>,
    /// Count calls, and show the numbers at the end
    #[arg(long)]
    stats: bool,
    /// The device
    #[arg(long, value_name = "PATH", default_value = rust_uring::DEVICE)]
    device: PathBuf,
    /// The program and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PROGRAM"
    )]
    command: Vec<OsString>,
}

/// The object that is loaded into programs.
const OBJECT: &str = "libruring_redirect.so";

/// Beside ruring, or where "make tools-install" puts it.
fn find_object() -> Result<PathBuf> {
    let own = std::env::current_exe().context("where ruring is")?;
    let folder = own.parent().unwrap_or(Path::new("/"));
    [
        folder.join(OBJECT),
        folder.join("../lib/ruring").join(OBJECT),
    ]
    .into_iter()
    .find_map(|path| path.canonicalize().ok())
    .with_context(|| {
        format!(
            "{OBJECT} is neither in {} nor in ../lib/ruring",
            folder.display()
        )
    })
}

/// As execvp(3) finds programs.
fn find_program(name: &OsStr) -> io::Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Ok(name.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| {
            let file_name = c_string(file.clone());
            // SAFETY: A C string.
            file.is_file() && unsafe { libc::access(file_name.as_ptr(), libc::X_OK) } == 0
        })
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
}

/// The value of `RURING`; the redirect's config.rs reads it.
fn config(args: &Args, object: &Path, report: Option<&Report>) -> Result<OsString> {
    let mode = match args {
        Args { native: true, .. } => "native",
        Args {
            native_fallback: true,
            ..
        } => "fallback",
        _ => "device",
    };
    let device = std::path::absolute(&args.device)?;
    let tool = std::env::current_exe()?;
    let mut value = OsString::new();
    let mut add = |key: &str, text: &OsStr| -> Result<()> {
        let forbidden = |b: &u8| matches!(b, b'\n' | b':' | b' ');
        if key != "mode" && text.as_bytes().iter().any(forbidden) {
            bail!(
                "{}: a path with a space, a colon or a newline cannot be handed on",
                text.to_string_lossy()
            );
        }
        value.push(key);
        value.push("=");
        value.push(text);
        value.push("\n");
        Ok(())
    };
    add("mode", mode.as_ref())?;
    add("device", device.as_ref())?;
    add("preload", object.as_ref())?;
    add("tool", tool.as_ref())?;
    if let Some(report) = report {
        add("report", report.counters_path().as_ref())?;
        if args.trace {
            add("trace", report.pipe_path().as_ref())?;
        }
    }
    Ok(value)
}

/// The value of a key in the value of `RURING`.
pub fn config_value(config: &OsStr, key: &str) -> Option<OsString> {
    config.as_bytes().split(|b| *b == b'\n').find_map(|line| {
        let value = line.strip_prefix(key.as_bytes())?.strip_prefix(b"=")?;
        Some(OsString::from_vec(value.to_vec()))
    })
}

/// The exit status of a program that cannot be executed, as in shells.
pub fn exec_failure(err: &io::Error) -> ExitCode {
    ExitCode::from(if err.raw_os_error() == Some(libc::ENOENT) {
        127
    } else {
        126
    })
}

/// Becomes a program, with the redirect in its environment if that is wanted. Returns why that did not happen.
pub fn exec(path: &Path, argv: Vec<OsString>, config: &OsStr, preload: bool) -> io::Error {
    let mut env: Vec<OsString> = std::env::vars_os()
        .filter(|(name, _)| name != "RURING" && !(preload && name == "LD_PRELOAD"))
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            name
        })
        .collect();
    let variable = |name: &str, value: &OsStr| {
        let mut variable = OsString::from(name);
        variable.push("=");
        variable.push(value);
        variable
    };
    env.push(variable("RURING", config));
    if preload {
        let mut list = config_value(config, "preload").unwrap_or_default();
        if let Some(others) = std::env::var_os("LD_PRELOAD") {
            list.push(":");
            list.push(others);
        }
        env.push(variable("LD_PRELOAD", &list));
    }
    let strings = |all: Vec<OsString>| all.into_iter().map(c_string).collect::<Vec<_>>();
    let (path, argv, env) = (c_string(path), strings(argv), strings(env));
    let pointers = |all: &[std::ffi::CString]| {
        all.iter()
            .map(|s| s.as_ptr())
            .chain([ptr::null()])
            .collect::<Vec<_>>()
    };
    // The sixth argument lets the call pass the filter, when that is over ruring itself; see the redirect's exec.rs.
    const COOKIE: usize = 0x7275_7267 << 32;
    // SAFETY: C strings, and arrays of them that end with NULL.
    unsafe {
        libc::syscall(
            libc::SYS_execve,
            path.as_ptr(),
            pointers(&argv).as_ptr(),
            pointers(&env).as_ptr(),
            0usize,
            0usize,
            COOKIE,
        );
    }
    io::Error::last_os_error()
}

/// Becomes the program. Returns only if that fails.
fn start(path: &Path, argv: Vec<OsString>, config: &OsString) -> Result<ExitCode> {
    let kind = match elf::kind(path) {
        Ok(kind) => kind,
        // What cannot be read may be executed all the same, or the kernel says why not.
        Err(_) => Kind::Dynamic,
    };
    let err = match kind {
        Kind::Dynamic => exec(path, argv, config, true),
        Kind::Static => {
            // Programs that it executes find the object in the environment.
            inject::exec(path, argv, config)
        }
        Kind::Foreign => {
            eprintln!(
                "ruring: {}: not a program for x86-64: it is not redirected",
                path.display()
            );
            exec(path, argv, config, false)
        }
    };
    eprintln!("ruring: {}: {err}", path.display());
    Ok(exec_failure(&err))
}

/// `ruring run`
pub fn run(args: Args) -> Result<ExitCode> {
    let object = find_object()?;
    if !args.native && !args.native_fallback {
        rust_uring::Backend::device_at(&args.device).with_context(|| {
            format!(
                "{} (is the module loaded, and may you use it? --native-fallback goes on without)",
                args.device.display()
            )
        })?;
    }
    let path = match find_program(&args.command[0]) {
        Ok(path) => path,
        Err(err) => {
            eprintln!("ruring: {}: {err}", args.command[0].to_string_lossy());
            return Ok(exec_failure(&err));
        }
    };
    let report = match args.trace || args.stats {
        true => Some(Report::new()?),
        false => None,
    };
    let config = config(&args, &object, report.as_ref())?;
    match report {
        None => start(&path, args.command, &config),
        Some(report) => watch(&args, report, &path, &config),
    }
}

/// The program, for the signal handler.
static CHILD: AtomicI32 = AtomicI32::new(0);

extern "C" fn hand_on(signal: i32) {
    // SAFETY: No memory is involved.
    unsafe { libc::kill(CHILD.load(Ordering::Relaxed), signal) };
}

/// Runs the program as a child and tells what it does.
fn watch(args: &Args, report: Report, path: &Path, config: &OsString) -> Result<ExitCode> {
    let collector = args
        .trace
        .then(|| report.collect(args.output.as_deref()))
        .transpose()?;
    // SAFETY: The child does what ruring would do without a report; its other thread is not needed for that, and
    // the C library keeps memory allocation usable after fork.
    let child = unsafe { libc::fork() };
    match child {
        -1 => bail!(io::Error::last_os_error()),
        0 => {
            let code = start(path, args.command.clone(), config);
            let failed = code.is_err() || code.is_ok_and(|code| code == ExitCode::from(126));
            // SAFETY: Nothing of ours is left to be done.
            unsafe { libc::_exit(if failed { 126 } else { 127 }) };
        }
        _ => {}
    }
    CHILD.store(child, Ordering::Relaxed);
    // SAFETY: The handler only sends a signal. What a terminal sends goes to the program, too, and is its business.
    unsafe {
        for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
            libc::signal(signal, hand_on as *const () as libc::sighandler_t);
        }
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGQUIT, libc::SIG_IGN);
    }
    let mut status = 0;
    // SAFETY: A status.
    while unsafe { libc::waitpid(child, &mut status, 0) } < 0 {
        let err = io::Error::last_os_error();
        if err.kind() != io::ErrorKind::Interrupted {
            bail!(err);
        }
    }
    if let Some(collector) = collector {
        collector.finish()?;
    }
    if args.stats {
        report.show()?;
    }
    drop(report);
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        // SAFETY: We end as the program did.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return Ok(ExitCode::from(128 + signal as u8));
    }
    Ok(ExitCode::from(libc::WEXITSTATUS(status) as u8))
}
