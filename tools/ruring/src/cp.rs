// SPDX-License-Identifier: GPL-2.0

//! `ruring cp`: copies files and trees of files, many pieces at a time.
//!
//! Data goes through registered buffers; reads and writes of all files are under way together.

use anyhow::{
    bail,
    ensure,
    Context,
    Result, //
};
use rust_uring::{
    abi::{
        op,
        setup,
        Cqe,
        Sqe, //
    },
    Backend,
    Builder,
    Ring, //
};
use std::{
    collections::VecDeque,
    fs::{
        self,
        File, //
    },
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{
            symlink,
            DirBuilderExt,
            FileTypeExt,
            OpenOptionsExt,
            PermissionsExt, //
        }, //
    },
    path::{
        Path,
        PathBuf, //
    },
    process::ExitCode,
    rc::Rc,
    time::Instant, //
};

#[derive(clap::Args)]
pub struct Args {
    /// Copy folders and what is in them
    #[arg(short, long)]
    recursive: bool,
    /// Through the kernel's own io_uring
    #[arg(long)]
    native: bool,
    /// Write it all to the disk in the end
    #[arg(long)]
    sync: bool,
    /// Tell how long it took
    #[arg(short, long)]
    verbose: bool,
    /// Pieces under way
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    depth: u32,
    /// Their size, in KiB
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(4..=4096))]
    piece: u32,
    /// What to copy
    #[arg(required = true)]
    from: Vec<PathBuf>,
    /// Where to: a folder, or the name of the copy
    to: PathBuf,
}

/// A file that is copied. Closed when its last piece is there.
struct Pair {
    path: PathBuf,
    from: File,
    to: File,
    permissions: fs::Permissions,
}

impl Drop for Pair {
    fn drop(&mut self) {
        if let Err(err) = self.to.set_permissions(self.permissions.clone()) {
            eprintln!("ruring: {}: {err}", self.path.display());
        }
    }
}

/// A piece under way, in the buffer of the same number.
struct Piece {
    pair: Rc<Pair>,
    offset: u64,
    len: u32,
    /// So much of it is read, or written.
    done: u32,
    writing: bool,
}

struct Copier {
    ring: Ring,
    /// Memory of all pieces. The kernel reads and writes it: it is never looked at here.
    memory: Box<[u8]>,
    piece: u32,
    pieces: Vec<Option<Piece>>,
    /// Pieces with nothing to do.
    free: Vec<usize>,
    /// Pieces to submit, when the SQ has room.
    ready: VecDeque<usize>,
    bytes: u64,
    files: u64,
}

impl Copier {
    fn new(args: &Args) -> Result<Self> {
        let backend = if args.native {
            Backend::Native
        } else {
            Backend::device().context(rust_uring::DEVICE)?
        };
        let builder = Builder::new(args.depth)
            .flags(setup::SUBMIT_ALL | setup::SINGLE_ISSUER | setup::DEFER_TASKRUN)
            .cq_entries(args.depth.next_power_of_two());
        let ring = builder.build(backend).context("setting up the ring")?;
        let piece = args.piece << 10;
        let mut memory = vec![0; args.depth as usize * piece as usize].into_boxed_slice();
        let buffer = libc::iovec {
            iov_base: memory.as_mut_ptr().cast(),
            iov_len: memory.len(),
        };
        // SAFETY: The ring is dropped when nothing is under way, and nobody else uses the memory.
        unsafe { ring.register_buffers(&[buffer]) }.context("registering buffers")?;
        Ok(Self {
            ring,
            memory,
            piece,
            pieces: (0..args.depth).map(|_| None).collect(),
            free: (0..args.depth as usize).collect(),
            ready: VecDeque::new(),
            bytes: 0,
            files: 0,
        })
    }

    /// Copies one thing, and with folders what is in them. What fails ends it all.
    fn copy(&mut self, from: &Path, to: &Path, recursive: bool) -> Result<()> {
        let about = || from.display().to_string();
        let metadata = fs::symlink_metadata(from).with_context(about)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            ensure!(
                recursive,
                "{} is a folder (--recursive copies it)",
                from.display()
            );
            // It has to be writable until what is in it is there.
            let made = fs::DirBuilder::new().mode(0o700).create(to);
            match made {
                Err(err) if err.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(err).with_context(|| to.display().to_string());
                }
                _ => {}
            }
            for entry in fs::read_dir(from).with_context(about)? {
                let name = entry.with_context(about)?.file_name();
                self.copy(&from.join(&name), &to.join(&name), true)?;
            }
            fs::set_permissions(to, metadata.permissions())
                .with_context(|| to.display().to_string())
        } else if kind.is_symlink() {
            let target = fs::read_link(from).with_context(about)?;
            symlink(target, to).with_context(|| to.display().to_string())
        } else if kind.is_file() {
            self.copy_file(from, to)
        } else if kind.is_fifo()
            || kind.is_socket()
            || kind.is_block_device()
            || kind.is_char_device()
        {
            bail!("{} is no file, folder or link", from.display())
        } else {
            Ok(())
        }
    }

    fn copy_file(&mut self, from: &Path, to: &Path) -> Result<()> {
        let source = File::open(from).with_context(|| from.display().to_string())?;
        let metadata = source.metadata()?;
        let target = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(metadata.permissions().mode() & 0o777 | 0o200)
            .open(to)
            .with_context(|| to.display().to_string())?;
        let pair = Rc::new(Pair {
            path: to.to_path_buf(),
            from: source,
            to: target,
            permissions: metadata.permissions(),
        });
        self.files += 1;
        let mut offset = 0;
        while offset < metadata.len() {
            // It is at most a piece.
            let len = u64::from(self.piece).min(metadata.len() - offset) as u32;
            let index = self.free_piece()?;
            self.pieces[index] = Some(Piece {
                pair: Rc::clone(&pair),
                offset,
                len,
                done: 0,
                writing: false,
            });
            self.ready.push_back(index);
            offset += u64::from(len);
        }
        Ok(())
    }

    fn free_piece(&mut self) -> Result<usize> {
        loop {
            if let Some(index) = self.free.pop() {
                return Ok(index);
            }
            self.go_on()?;
        }
    }

    /// Submits what is ready, waits for something, and goes on with it.
    fn go_on(&mut self) -> Result<()> {
        while let Some(index) = self.ready.front().copied() {
            let Some(sqe) = self.sqe(index) else {
                self.ready.pop_front();
                continue;
            };
            // SAFETY: The part of the memory is this piece's until its CQE is there, and so are the files.
            if unsafe { self.ring.push(&sqe) }.is_err() {
                break;
            }
            self.ready.pop_front();
        }
        self.ring.submit_and_wait(1).context("io_uring_enter")?;
        while let Some(cqe) = self.ring.cqe() {
            self.completed(&cqe)?;
        }
        Ok(())
    }

    /// What is to be done of a piece.
    fn sqe(&self, index: usize) -> Option<Sqe> {
        let piece = self.pieces[index].as_ref()?;
        let at = index * self.piece as usize + piece.done as usize;
        let file = if piece.writing {
            &piece.pair.to
        } else {
            &piece.pair.from
        };
        Some(Sqe {
            opcode: if piece.writing {
                op::WRITE_FIXED
            } else {
                op::READ_FIXED
            },
            fd: file.as_raw_fd(),
            off: piece.offset + u64::from(piece.done),
            addr: self.memory.as_ptr() as u64 + at as u64,
            len: piece.len - piece.done,
            user_data: index as u64,
            ..Sqe::default()
        })
    }

    fn completed(&mut self, cqe: &Cqe) -> Result<()> {
        let index = cqe.user_data as usize;
        let slot = self
            .pieces
            .get_mut(index)
            .context("a CQE that nobody asked for")?;
        let piece = slot.as_mut().context("a CQE that nobody asked for")?;
        let nr = match cqe.result() {
            Err(err) if matches!(err.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => 0,
            Err(err) => return Err(err).with_context(|| piece.pair.path.display().to_string()),
            // It has become shorter meanwhile.
            Ok(0) if !piece.writing => {
                piece.len = piece.done;
                0
            }
            Ok(0) => bail!("{}: nothing is written", piece.pair.path.display()),
            Ok(nr) => nr,
        };
        piece.done += nr;
        if piece.writing {
            self.bytes += u64::from(nr);
        }
        if piece.done == piece.len && !piece.writing {
            piece.writing = true;
            piece.done = 0;
        }
        if piece.writing && piece.done == piece.len {
            *slot = None;
            self.free.push(index);
        } else {
            self.ready.push_back(index);
        }
        Ok(())
    }

    /// Waits until nothing is under way.
    fn finish(&mut self) -> Result<()> {
        while self.free.len() < self.pieces.len() {
            self.go_on()?;
        }
        Ok(())
    }
}

/// `ruring cp`
pub fn run(args: &Args) -> Result<ExitCode> {
    let begin = Instant::now();
    let into_folder = args.to.is_dir();
    ensure!(
        into_folder || args.from.len() == 1,
        "{} is no folder",
        args.to.display()
    );
    let mut copier = Copier::new(args)?;
    let mut copied = Ok(());
    for from in &args.from {
        let to = match from.file_name() {
            Some(name) if into_folder => args.to.join(name),
            _ => args.to.clone(),
        };
        copied = copier.copy(from, &to, args.recursive);
        if copied.is_err() {
            break;
        }
    }
    if let Err(err) = copied.and_then(|()| copier.finish()) {
        // The memory is the kernel's as long as anything is under way; the end of the process sees to that.
        eprintln!("ruring: {err:#}");
        std::process::exit(1);
    }
    if args.sync {
        let to = File::open(&args.to)?;
        // SAFETY: No memory is involved.
        let ret = unsafe { libc::syncfs(to.as_raw_fd()) };
        ensure!(ret == 0, io::Error::last_os_error());
    }
    if args.verbose {
        let seconds = begin.elapsed().as_secs_f64();
        println!(
            "{} files, {} MiB: {seconds:.2} s, {:.0} MiB/s",
            copier.files,
            copier.bytes >> 20,
            copier.bytes as f64 / f64::from(1 << 20) / seconds
        );
    }
    Ok(ExitCode::SUCCESS)
}
