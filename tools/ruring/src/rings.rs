// SPDX-License-Identifier: GPL-2.0

//! `ruring rings`: the rings that processes have open, from what the kernel shows of their descriptors.

use anyhow::{
    Context,
    Result, //
};
use rust_uring::names;
use serde::Serialize;
use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::ExitCode,
    time::{
        Duration,
        Instant, //
    }, //
};

#[derive(clap::Args)]
pub struct Args {
    /// As JSON
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Again and again, with rates; every so many seconds
    #[arg(long, short, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2")]
    watch: Option<f64>,
    /// With --watch: so many times, instead of until it is interrupted
    #[arg(long, short = 'n', value_name = "NUMBER", requires = "watch")]
    count: Option<u64>,
    /// Those of the kernel's own io_uring, too
    #[arg(long)]
    native: bool,
}

/// A descriptor that is a ring. Processes may have the same one.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Ring {
    pid: u32,
    fd: u32,
    program: String,
    uid: u32,
    native: bool,
    /// Nothing more is known: it was busy when it was looked at.
    busy: bool,
    sq_entries: u32,
    cq_entries: u32,
    /// SQEs that are not submitted, CQEs that are not read.
    sqes: u32,
    cqes: u32,
    /// Position of the SQ and of the CQ, to see them move.
    sq_head: u32,
    cq_tail: u32,
    /// `IORING_SETUP_*`
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u32>,
    /// Requests under way, and the most that there may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<(u32, u32)>,
    /// CQEs that did not fit.
    overflow: u32,
    files: u32,
    buffers: u32,
    /// The thread of an SQPOLL ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    sq_thread: Option<u32>,
    /// Workers of the process.
    workers: usize,
}

impl Ring {
    /// Reads what fdinfo says.
    fn parse(&mut self, text: &str) {
        let mut lines: HashMap<&str, &str> = HashMap::new();
        for line in text.lines() {
            if let Some((key, value)) = line.split_once(':') {
                // Keys are at the beginning of a line, entries of lists are indented.
                if !key.starts_with(' ') {
                    lines.insert(key, value.trim());
                }
            }
        }
        let number = |key: &str| -> Option<u32> {
            let value = lines.get(key)?.split_whitespace().next()?;
            match value.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16).ok(),
                None => value.parse().ok(),
            }
        };
        let get = |key: &str| number(key).unwrap_or(0);
        self.busy = !lines.contains_key("SqMask");
        self.sq_entries = number("SqMask").map_or(0, |mask| mask.wrapping_add(1));
        self.cq_entries = number("CqMask").map_or(0, |mask| mask.wrapping_add(1));
        self.sqes = get("SQEs");
        self.cqes = get("CQEs");
        self.sq_head = get("SqHead");
        self.cq_tail = get("CqTail");
        self.files = get("UserFiles");
        self.buffers = get("UserBufs");
        self.overflow = get("Overflow");
        self.sq_thread = number("SqThread");
        self.flags = number("SetupFlags");
        // "4 of 131072, 1 in use"
        self.requests = lines.get("Requests").and_then(|value| {
            let words: Vec<&str> = value.split_whitespace().collect();
            let limit = words.get(2)?.trim_end_matches(',').parse().ok()?;
            Some((words.get(3)?.parse().ok()?, limit))
        });
    }
}

/// All rings that may be looked at.
fn all(native: bool) -> Result<Vec<Ring>> {
    let mut rings = Vec::new();
    for process in fs::read_dir("/proc").context("/proc")? {
        let process = process?;
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // Processes end, and those of others may not be looked at.
        let _ = of_process(pid, &process.path(), native, &mut rings);
    }
    rings.sort_by_key(|ring| (ring.pid, ring.fd));
    Ok(rings)
}

fn of_process(pid: u32, path: &Path, native: bool, rings: &mut Vec<Ring>) -> Result<()> {
    let before = rings.len();
    for entry in fs::read_dir(path.join("fd"))? {
        let entry = entry?;
        let Ok(link) = fs::read_link(entry.path()) else {
            continue;
        };
        let is_native = link.as_os_str() == "anon_inode:[io_uring]";
        if link.as_os_str() != "anon_inode:[rust_uring]" && !(native && is_native) {
            continue;
        }
        let name = entry.file_name();
        let Some(fd) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let mut ring = Ring {
            pid,
            fd,
            native: is_native,
            ..Ring::default()
        };
        ring.parse(&fs::read_to_string(path.join("fdinfo").join(&name))?);
        rings.push(ring);
    }
    if rings.len() > before {
        let program = fs::read_to_string(path.join("comm"))?.trim().to_string();
        let status = fs::read_to_string(path.join("status"))?;
        let uid = status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next());
        let uid = uid.and_then(|uid| uid.parse().ok()).unwrap_or(0);
        let workers = fs::read_dir(path.join("task"))?
            .filter_map(Result::ok)
            .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
            .filter(|comm| comm.starts_with("iou-wrk") || comm.starts_with("rust_uring-wrk"))
            .count();
        for ring in &mut rings[before..] {
            ring.program.clone_from(&program);
            ring.uid = uid;
            ring.workers = workers;
        }
    }
    Ok(())
}

/// What a ring did since it was looked at before: SQEs and CQEs per second.
type Rates = HashMap<(u32, u32), (f64, f64)>;

fn rates(before: &[Ring], now: &[Ring], seconds: f64) -> Rates {
    let mut rates = Rates::new();
    for ring in now.iter().filter(|ring| !ring.busy) {
        let same = |old: &&Ring| (old.pid, old.fd) == (ring.pid, ring.fd) && !old.busy;
        if let Some(old) = before.iter().find(same) {
            let per_second = |now: u32, old: u32| f64::from(now.wrapping_sub(old)) / seconds;
            let rate = (
                per_second(ring.sq_head, old.sq_head),
                per_second(ring.cq_tail, old.cq_tail),
            );
            rates.insert((ring.pid, ring.fd), rate);
        }
    }
    rates
}

fn show(rings: &[Ring], rates: Option<&Rates>) {
    print!(
        "{:>7} {:>4} {:15} {:>6} {:>11} {:>5} {:>5} {:>8} {:>5} {:>5} {:>4} {:>4}",
        "PID",
        "FD",
        "PROGRAM",
        "UID",
        "SQ/CQ",
        "SQEs",
        "CQEs",
        "REQUESTS",
        "OVER",
        "FILES",
        "BUFS",
        "WRK"
    );
    if rates.is_some() {
        print!(" {:>9} {:>9}", "SQE/s", "CQE/s");
    }
    println!("  FLAGS");
    for ring in rings {
        print!(
            "{:>7} {:>4} {:15} {:>6} ",
            ring.pid, ring.fd, ring.program, ring.uid
        );
        if ring.busy {
            println!("busy");
            continue;
        }
        let requests = ring
            .requests
            .map_or_else(|| "?".into(), |(used, _)| used.to_string());
        print!(
            "{:>11} {:>5} {:>5} {requests:>8} {:>5} {:>5} {:>4} {:>4}",
            format!("{}/{}", ring.sq_entries, ring.cq_entries),
            ring.sqes,
            ring.cqes,
            ring.overflow,
            ring.files,
            ring.buffers,
            ring.workers,
        );
        if let Some(rates) = rates {
            match rates.get(&(ring.pid, ring.fd)) {
                Some((sqes, cqes)) => print!(" {sqes:>9.0} {cqes:>9.0}"),
                None => print!(" {:>9} {:>9}", "", ""),
            }
        }
        let mut flags = ring.flags.map_or_else(String::new, |flags| {
            names::flags(names::SETUP, flags.into())
        });
        if ring.native {
            flags = "(native)".into();
        }
        println!("  {flags}");
    }
}

/// `ruring rings`
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut rings = all(args.native)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rings)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Some(seconds) = args.watch else {
        show(&rings, None);
        return Ok(ExitCode::SUCCESS);
    };
    let pause = Duration::try_from_secs_f64(seconds.max(0.1)).context("that many seconds")?;
    let mut looked = Instant::now();
    let mut left = args.count;
    while left != Some(0) {
        left = left.map(|left| left - 1);
        std::thread::sleep(pause);
        let now = all(args.native)?;
        let rates = rates(&rings, &now, looked.elapsed().as_secs_f64());
        looked = Instant::now();
        // To the upper left, and clear.
        print!("\x1b[H\x1b[2J");
        show(&now, Some(&rates));
        rings = now;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FDINFO: &str =
        "pos:\t0\nflags:\t02000002\nSqMask:\t0x7\nSqHead:\t4294967295\nSqTail:\t1\n\
        CqMask:\t0xf\nCqHead:\t3\nCqTail:\t5\nSQEs:\t2\n    7: opcode:NOP, fd:0\nCQEs:\t2\n\
        SqThread:\t-1\nUserFiles:\t3\nUserBufs:\t1\n    0: 0x7f0000/4096\nSetupFlags:\t0x3000\n\
        Requests:\t8 of 131072, 5 in use\nOverflow:\t1 of 262144\n";

    #[test]
    fn fdinfo_is_read() {
        let mut ring = Ring::default();
        ring.parse(FDINFO);
        assert_eq!((ring.sq_entries, ring.cq_entries), (8, 16));
        assert_eq!(
            (ring.sqes, ring.cqes, ring.files, ring.buffers),
            (2, 2, 3, 1)
        );
        assert_eq!(ring.requests, Some((5, 131072)));
        assert_eq!(ring.flags, Some(0x3000));
        assert_eq!(ring.sq_thread, None);
        assert!(!ring.busy);
        ring.parse("pos:\t0\n");
        assert!(ring.busy);
    }

    #[test]
    fn rates_survive_the_wrap() {
        let ring = |sq_head, cq_tail| Ring {
            sq_head,
            cq_tail,
            ..Ring::default()
        };
        let rates = rates(&[ring(u32::MAX, 10)], &[ring(9, 30)], 2.0);
        assert_eq!(rates.get(&(0, 0)), Some(&(5.0, 10.0)));
    }
}
