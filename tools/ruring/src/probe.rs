// SPDX-License-Identifier: GPL-2.0

//! `ruring probe`: what there is of io_uring here and natively.
//!
//! Everything is asked for, or tried out; nothing is concluded from a version.

mod ask;

use crate::table::Table;
use anyhow::{
    Context,
    Result, //
};
use rust_uring::{
    abi::{
        self,
        setup,
        Params, //
    },
    names,
    Backend, //
};
use serde::Serialize;
use std::{
    io,
    os::fd::{
        AsRawFd,
        OwnedFd, //
    },
    path::PathBuf,
    process::ExitCode,
    ptr, //
};

#[derive(clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// Only what is missing here
    #[arg(long, conflicts_with = "json")]
    missing: bool,
    /// Compare with what the documentation says, and print KTAP
    #[arg(long, conflicts_with_all = ["json", "missing"])]
    check: bool,
    /// The device
    #[arg(long, value_name = "PATH", default_value = rust_uring::DEVICE)]
    device: PathBuf,
}

/// One flag or opcode.
#[derive(Serialize)]
struct Item {
    name: &'static str,
    number: usize,
    /// `None` if that backend is not there.
    rust_uring: Option<bool>,
    native: Option<bool>,
    /// What the documentation says about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip)]
    promised: bool,
}

#[derive(Serialize)]
struct Section {
    title: &'static str,
    items: Vec<Item>,
}

/// What one backend has.
struct Found {
    setup: Vec<bool>,
    features: Vec<bool>,
    enter: Vec<bool>,
    sqe: Vec<bool>,
    ops: Vec<bool>,
    register: Vec<bool>,
}

/// A ring of these flags, and what became of its parameters.
fn ring(
    backend: &Backend,
    flags: u32,
    change: impl FnOnce(&mut Params),
) -> io::Result<(OwnedFd, Params)> {
    let mut params = Params {
        flags,
        ..Params::default()
    };
    change(&mut params);
    // SAFETY: Rings with NO_MMAP are given memory that stays.
    let fd = unsafe { backend.setup(4, &mut params)? };
    Ok((fd, params))
}

/// Whether rings can have this flag. It is tried with whatever else it needs.
fn has_setup_flag(backend: &Backend, flag: u32) -> bool {
    let with = match flag {
        setup::SQ_AFF => setup::SQPOLL,
        setup::TASKRUN_FLAG => setup::COOP_TASKRUN,
        setup::DEFER_TASKRUN => setup::SINGLE_ISSUER,
        setup::HYBRID_IOPOLL => setup::IOPOLL,
        setup::REGISTERED_FD_ONLY => setup::NO_MMAP,
        setup::SQ_REWIND => setup::NO_SQARRAY,
        _ => 0,
    };
    if (flag | with) & setup::NO_MMAP != 0 {
        return has_no_mmap(backend, flag | with);
    }
    let attach_to = match flag {
        setup::ATTACH_WQ => match ring(backend, 0, |_| {}) {
            Ok(ring) => Some(ring.0),
            Err(_) => return false,
        },
        _ => None,
    };
    let result = ring(backend, flag | with, |params| {
        if flag == setup::CQSIZE {
            params.cq_entries = 64;
        }
        if let Some(ring) = &attach_to {
            params.wq_fd = ring.as_raw_fd() as u32;
        }
    });
    result.is_ok()
}

/// A ring in memory of ours, which is mapped as long as we live.
fn has_no_mmap(backend: &Backend, flags: u32) -> bool {
    const SIZE: usize = 64 << 10;
    let mut params = Params {
        flags,
        ..Params::default()
    };
    // SAFETY: New memory, which stays. A registered index is no descriptor and is not closed as one.
    unsafe {
        let memory = libc::mmap(
            ptr::null_mut(),
            SIZE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if memory == libc::MAP_FAILED {
            return false;
        }
        params.cq_off.user_addr = memory as u64;
        params.sq_off.user_addr = memory as u64 + SIZE as u64 / 2;
        match backend.setup(4, &mut params) {
            Ok(index) if flags & setup::REGISTERED_FD_ONLY != 0 => {
                std::mem::forget(index);
                true
            }
            other => other.is_ok(),
        }
    }
}

/// Bits as a list.
fn bits(word: u64, nr: usize) -> Vec<bool> {
    (0..nr).map(|bit| word & 1 << bit != 0).collect()
}

/// Which flags SQEs can have: a NOP is submitted with each.
fn sqe_flags(backend: Backend) -> Result<Vec<bool>> {
    let mut ring = rust_uring::Builder::new(4).build(backend)?;
    ring.register_files(&[2])?;
    let mut found = Vec::new();
    for bit in 0..names::SQE.len() {
        let flag = 1u8 << bit;
        let mut sqe = abi::Sqe {
            opcode: abi::op::NOP,
            flags: flag,
            ..abi::Sqe::default()
        };
        // What a NOP does not take: a buffer is for a read, and is missing.
        if flag == abi::sqe::BUFFER_SELECT {
            sqe.opcode = abi::op::READ;
            sqe.fd = 0;
            sqe.len = 1;
        }
        // SAFETY: It points to nothing.
        unsafe { ring.push(&sqe)? };
        ring.submit()?;
        let cqe = loop {
            match ring.cqe() {
                Some(cqe) => break Some(cqe),
                None if flag == abi::sqe::CQE_SKIP_SUCCESS => break None,
                None => ring.submit_and_wait(1)?,
            };
        };
        found.push(cqe.is_none_or(|cqe| !matches!(-cqe.res, libc::EINVAL | libc::EOPNOTSUPP)));
    }
    Ok(found)
}

impl Found {
    fn new(open: impl Fn() -> io::Result<Backend>) -> Result<Self> {
        let backend = open()?;
        let (_, params) = ring(&backend, 0, |_| {})?;
        let probe = rust_uring::Builder::new(1).build(open()?)?.probe()?;
        Ok(Self {
            setup: (0..names::SETUP.len())
                .map(|bit| has_setup_flag(&backend, 1 << bit))
                .collect(),
            features: bits(params.features.into(), names::FEATURES.len()),
            enter: (0..names::ENTER.len())
                .map(|bit| ask::has_enter_flag(&backend, 1 << bit))
                .collect::<io::Result<_>>()?,
            sqe: sqe_flags(open()?)?,
            ops: (0..names::OPS.len())
                .map(|op| probe.get(op).copied().unwrap_or(false))
                .collect(),
            register: (0..names::REGISTER.len())
                .map(|op| ask::has_register(&backend, op))
                .collect(),
        })
    }
}

fn section(
    title: &'static str,
    names: &[&'static str],
    ours: Option<&Vec<bool>>,
    native: Option<&Vec<bool>>,
) -> Section {
    let table = Table::of(title);
    let items = names.iter().enumerate().map(|(number, &name)| Item {
        name,
        number,
        rust_uring: ours.map(|found| found[number]),
        native: native.map(|found| found[number]),
        note: table.about(name).map(String::from),
        promised: table.promises(name),
    });
    Section {
        title,
        items: items.collect(),
    }
}

/// `ruring probe`
pub fn run(args: &Args) -> Result<ExitCode> {
    let ours = match Backend::device_at(&args.device) {
        Ok(_) => {
            Some(Found::new(|| Backend::device_at(&args.device)).context("probing the device")?)
        }
        Err(err) if args.check => return Err(err).context(args.device.display().to_string()),
        Err(err) => {
            eprintln!("ruring: {}: {err}", args.device.display());
            None
        }
    };
    let native = match Found::new(|| Ok(Backend::Native)) {
        Ok(found) => Some(found),
        Err(err) => {
            eprintln!("ruring: native io_uring: {err:#}");
            None
        }
    };
    macro_rules! section {
        ($title:expr, $names:expr, $field:ident) => {
            section(
                $title,
                $names,
                ours.as_ref().map(|f| &f.$field),
                native.as_ref().map(|f| &f.$field),
            )
        };
    }
    let sections = [
        section!("Setup flags", names::SETUP, setup),
        section!("Features", names::FEATURES, features),
        section!("Enter flags", names::ENTER, enter),
        section!("SQE flags", names::SQE, sqe),
        section!("Opcodes", names::OPS, ops),
        section!("Register opcodes", names::REGISTER, register),
    ];
    if args.json {
        println!("{}", serde_json::to_string_pretty(&sections)?);
    } else if args.check {
        return Ok(check(&sections));
    } else {
        show(&sections, args.missing);
    }
    Ok(ExitCode::SUCCESS)
}

fn show(sections: &[Section], only_missing: bool) {
    let word = |has: Option<bool>| match has {
        Some(true) => "yes",
        Some(false) => "-",
        None => "?",
    };
    for section in sections {
        let items: Vec<&Item> = section
            .items
            .iter()
            .filter(|item| !only_missing || item.rust_uring != Some(true))
            .collect();
        if items.is_empty() {
            continue;
        }
        println!("{:28} {:>10} {:>7}", section.title, "rust_uring", "native");
        for item in items {
            let missing = item.rust_uring == Some(false);
            let note = if missing {
                item.note.as_deref().unwrap_or("")
            } else {
                ""
            };
            let line = format!(
                "  {:26} {:>10} {:>7}  {note}",
                item.name,
                word(item.rust_uring),
                word(item.native)
            );
            println!("{}", line.trim_end());
        }
    }
}

/// Whether the documentation says what is there; as KTAP.
fn check(sections: &[Section]) -> ExitCode {
    println!("TAP version 13\n1..{}", sections.len());
    let mut failed = false;
    for (i, section) in sections.iter().enumerate() {
        let mut ok = true;
        for item in &section.items {
            let has = item.rust_uring == Some(true);
            if has != item.promised {
                ok = false;
                let (here, there) = if has {
                    ("is there", "is not")
                } else {
                    ("is not there", "is")
                };
                println!(
                    "# {} {here}, and {there} in Documentation/abi.rst",
                    item.name
                );
            }
            if has && item.native == Some(false) {
                ok = false;
                println!(
                    "# {} is there, but not natively: the probe does not know how to ask",
                    item.name
                );
            }
        }
        failed |= !ok;
        let verdict = if ok { "ok" } else { "not ok" };
        println!("{verdict} {} {}", i + 1, section.title);
    }
    ExitCode::from(u8::from(failed))
}
