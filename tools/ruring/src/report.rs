// SPDX-License-Identifier: GPL-2.0

//! What programs with the redirect tell: counters and records. The layouts are those of the redirect's report.rs.

use anyhow::{
    ensure,
    Context,
    Result, //
};
use rust_uring::names;
use std::{
    ffi::CString,
    fs::{
        self,
        File, //
    },
    io::{
        self,
        BufWriter,
        Read,
        Write, //
    },
    os::unix::ffi::OsStrExt,
    path::{
        Path,
        PathBuf, //
    },
    thread::JoinHandle, //
};

/// The counters, as they lie in the file.
#[derive(Debug, Default, PartialEq)]
struct Counters {
    /// By call, then by way: function, trap.
    calls: [[u64; 2]; 3],
    errors: [u64; 3],
    native: [u64; 3],
    submitted: u64,
    kept: u64,
    programs: u64,
    statics: u64,
    lost: u64,
}

/// Words of the counters.
const WORDS: usize = 17;

impl Counters {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let words: Vec<u64> = bytes
            .chunks_exact(8)
            .map(|word| word.try_into().map(u64::from_ne_bytes))
            .collect::<Result<_, _>>()
            .ok()?;
        let &[a, b, c, d, e, f, e0, e1, e2, n0, n1, n2, submitted, kept, programs, statics, lost] =
            words.first_chunk::<WORDS>()?;
        Some(Self {
            calls: [[a, b], [c, d], [e, f]],
            errors: [e0, e1, e2],
            native: [n0, n1, n2],
            submitted,
            kept,
            programs,
            statics,
            lost,
        })
    }

    fn show(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{:10} {:>12} {:>12} {:>10} {:>10}",
            "ruring:", "by function", "by trap", "errors", "native"
        )?;
        for (i, name) in CALLS.iter().enumerate() {
            let [function, trap] = self.calls[i];
            writeln!(
                out,
                "{name:10} {function:>12} {trap:>12} {:>10} {:>10}",
                self.errors[i], self.native[i]
            )?;
        }
        writeln!(
            out,
            "{} SQEs; {} programs, {} of them static; {} other calls trapped",
            self.submitted, self.programs, self.statics, self.kept
        )?;
        if self.lost > 0 {
            writeln!(out, "{} records of --trace were lost", self.lost)?;
        }
        Ok(())
    }
}

const CALLS: [&str; 3] = ["setup", "enter", "register"];

/// Size of a record.
const RECORD: usize = 128;

/// One call.
#[derive(Debug, Default)]
struct Record {
    begin: u64,
    took: u64,
    args: [u64; 6],
    result: i64,
    pid: i32,
    tid: i32,
    call: u8,
    via: u8,
    native: bool,
    params: [u32; 6],
}

impl Record {
    fn parse(bytes: &[u8; RECORD]) -> Self {
        let u64_at = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u32_at = |at: usize| u32::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        Self {
            begin: u64_at(0),
            took: u64_at(8),
            args: std::array::from_fn(|i| u64_at(16 + 8 * i)),
            result: u64_at(64) as i64,
            pid: u32_at(72) as i32,
            tid: u32_at(76) as i32,
            call: bytes[80],
            via: bytes[81],
            native: bytes[82] != 0,
            params: std::array::from_fn(|i| u32_at(88 + 4 * i)),
        }
    }

    /// The call as one would write it.
    fn call(&self) -> String {
        let [a, b, c, d, e, f] = self.args;
        let fd = a as i32;
        match self.call {
            0 if self.result >= 0 => {
                let [sq, cq, flags, _, _, features] = self.params;
                format!(
                    "io_uring_setup({}, {{flags={}, sq_entries={sq}, cq_entries={cq}, features={}}})",
                    a as u32,
                    names::flags(names::SETUP, flags.into()),
                    names::flags(names::FEATURES, features.into()),
                )
            }
            0 => format!("io_uring_setup({}, {b:#x})", a as u32),
            1 => format!(
                "io_uring_enter({fd}, {}, {}, {}, {}, {f})",
                b as u32,
                c as u32,
                names::flags(names::ENTER, d & 0xffff_ffff),
                pointer(e),
            ),
            _ => {
                const USE_REGISTERED_RING: u64 = 1 << 31;
                let opcode = b & 0xffff_ffff & !USE_REGISTERED_RING;
                let name = names::REGISTER
                    .get(opcode as usize)
                    .map_or_else(|| format!("{opcode}"), |name| (*name).to_string());
                let by = if b & USE_REGISTERED_RING != 0 {
                    "|USE_REGISTERED_RING"
                } else {
                    ""
                };
                format!(
                    "io_uring_register({fd}, {name}{by}, {}, {})",
                    pointer(c),
                    d as u32
                )
            }
        }
    }

    fn show(&self, start: u64) -> String {
        let result = if self.result < 0 {
            let err = io::Error::from_raw_os_error(-self.result as i32).to_string();
            let text = err.split(" (os error").next().unwrap_or_default();
            format!("{} ({text})", self.result)
        } else {
            self.result.to_string()
        };
        let way = match (self.native, self.via) {
            (false, 0) => "function",
            (false, _) => "trap",
            (true, 0) => "native, function",
            (true, _) => "native, trap",
        };
        let who = if self.pid == self.tid {
            self.pid.to_string()
        } else {
            format!("{}/{}", self.pid, self.tid)
        };
        let time = self.begin.saturating_sub(start) as f64 / 1e9;
        format!(
            "{time:11.6} {who:>7} {} = {result} <{way}, {:.1} us>",
            self.call(),
            self.took as f64 / 1e3
        )
    }
}

fn pointer(address: u64) -> String {
    if address == 0 {
        "NULL".into()
    } else {
        format!("{address:#x}")
    }
}

/// Where it is told: a folder of its own with the file and the pipe, which is removed at the end.
pub struct Report {
    folder: PathBuf,
    pipe: File,
}

impl Report {
    pub fn new() -> Result<Self> {
        let base =
            std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let template = CString::new(base.join("ruring.XXXXXX").as_os_str().as_bytes())?.into_raw();
        // SAFETY: A C string that is changed within its length, and is ours again afterwards.
        let (made, template) = unsafe { (libc::mkdtemp(template), CString::from_raw(template)) };
        ensure!(
            !made.is_null(),
            "{}: {}",
            base.display(),
            io::Error::last_os_error()
        );
        let folder = PathBuf::from(std::ffi::OsStr::from_bytes(template.as_bytes()));
        File::create(folder.join("counters"))?.set_len(4096)?;
        let pipe = CString::new(folder.join("pipe").as_os_str().as_bytes())?;
        // SAFETY: A C string.
        let made = unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) };
        ensure!(made == 0, io::Error::last_os_error());
        // For writing, too: that way it never ends, whoever comes and goes.
        let pipe = File::options()
            .read(true)
            .write(true)
            .open(folder.join("pipe"))?;
        Ok(Self { folder, pipe })
    }

    pub fn counters_path(&self) -> PathBuf {
        self.folder.join("counters")
    }

    pub fn pipe_path(&self) -> PathBuf {
        self.folder.join("pipe")
    }

    /// Writes down what comes through the pipe, to a file or to standard error.
    pub fn collect(&self, to: Option<&Path>) -> Result<Collector> {
        let mut pipe = self.pipe.try_clone()?;
        let mut out: Box<dyn Write + Send> = match to {
            Some(path) => Box::new(File::create(path).with_context(|| path.display().to_string())?),
            None => Box::new(io::stderr()),
        };
        let thread = std::thread::spawn(move || -> io::Result<()> {
            let mut bytes = [0; RECORD];
            let mut start = None;
            loop {
                pipe.read_exact(&mut bytes)?;
                let record = Record::parse(&bytes);
                if record.call == LAST {
                    return Ok(());
                }
                let start = *start.get_or_insert(record.begin);
                // One line in one piece: the program may write there, too.
                let mut line = BufWriter::with_capacity(1024, &mut out);
                writeln!(line, "{}", record.show(start))?;
                line.flush()?;
            }
        });
        Ok(Collector {
            thread,
            pipe: self.pipe.try_clone()?,
        })
    }

    pub fn show(&self) -> Result<()> {
        let bytes = fs::read(self.counters_path())?;
        let counters = Counters::parse(&bytes).context("the counters are cut short")?;
        counters.show(&mut io::stderr())?;
        Ok(())
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        // It is below the temporary folder: the worst is that it stays.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The call of a record that is ours: the last one.
const LAST: u8 = 255;

/// The thread that writes records down.
pub struct Collector {
    thread: JoinHandle<io::Result<()>>,
    pipe: File,
}

impl Collector {
    /// Ends it, when everything that is in the pipe by now is written down.
    pub fn finish(mut self) -> Result<()> {
        let mut last = [0; RECORD];
        last[80] = LAST;
        self.pipe.write_all(&last)?;
        match self.thread.join() {
            Ok(result) => Ok(result.context("writing the trace")?),
            Err(_) => anyhow::bail!("the thread that writes the trace has ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(call: u8, args: [u64; 6], result: i64) -> Record {
        Record {
            call,
            args,
            result,
            ..Record::default()
        }
    }

    #[test]
    fn calls_are_decoded() {
        let enter = record(1, [3, 2, 1, 1 | 8, 0, 24], 2);
        assert_eq!(
            enter.call(),
            "io_uring_enter(3, 2, 1, GETEVENTS|EXT_ARG, NULL, 24)"
        );
        let register = record(2, [u64::from(u32::MAX), 1 << 31 | 8, 16, 256, 0, 0], -22);
        assert_eq!(
            register.call(),
            "io_uring_register(-1, PROBE|USE_REGISTERED_RING, 0x10, 256)"
        );
        assert!(register
            .show(0)
            .contains("= -22 (Invalid argument) <function"));
        let mut setup = record(0, [8, 4096, 0, 0, 0, 0], 5);
        setup.params = [8, 16, 1 << 13, 0, 0, 3];
        assert_eq!(
            setup.call(),
            "io_uring_setup(8, {flags=DEFER_TASKRUN, sq_entries=8, cq_entries=16, features=SINGLE_MMAP|NODROP})"
        );
    }

    #[test]
    fn counters_are_in_their_places() {
        let bytes: Vec<u8> = (1..=WORDS as u64).flat_map(u64::to_ne_bytes).collect();
        let counters = Counters::parse(&bytes).unwrap();
        assert_eq!(counters.calls[2], [5, 6]);
        assert_eq!(counters.lost, WORDS as u64);
        assert_eq!(Counters::parse(&bytes[8..]), None);
    }
}
