// SPDX-License-Identifier: GPL-2.0

//! Writes files to standard output, reading one piece ahead: `cat FILE...`.

use rust_uring::{
    abi::{
        op,
        Sqe, //
    },
    Backend,
    Builder,
    Ring, //
};
use std::{
    error::Error,
    fs::File,
    io::{
        self,
        Write, //
    },
    os::fd::AsRawFd, //
};

const PIECE: usize = 64 << 10;

/// Asks for the piece at this offset.
fn read(
    ring: &mut Ring,
    file: &File,
    buffer: &mut [u8],
    offset: u64,
) -> Result<(), Box<dyn Error>> {
    let sqe = Sqe {
        opcode: op::READ,
        fd: file.as_raw_fd(),
        addr: buffer.as_mut_ptr() as u64,
        len: buffer.len() as u32,
        off: offset,
        ..Sqe::default()
    };
    // SAFETY: `cat` waits for the CQE before it touches the buffer or lets it go, and leaves by error with nothing
    // under way only.
    unsafe { ring.push(&sqe)? };
    ring.submit()?;
    Ok(())
}

fn cat(ring: &mut Ring, file: &File) -> Result<(), Box<dyn Error>> {
    let mut buffers = [vec![0; PIECE], vec![0; PIECE]];
    let mut offset = 0;
    let mut current = 0;
    read(ring, file, &mut buffers[0], 0)?;
    loop {
        let cqe = loop {
            match ring.cqe() {
                Some(cqe) => break cqe,
                None => ring.submit_and_wait(1)?,
            };
        };
        let len = cqe.result()? as usize;
        if len == 0 {
            return Ok(());
        }
        offset += len as u64;
        let ready = current;
        current = 1 - current;
        read(ring, file, &mut buffers[current], offset)?;
        let written = io::stdout().write_all(&buffers[ready][..len]);
        if let Err(err) = written {
            while ring.cqe().is_none() {
                ring.submit_and_wait(1)?;
            }
            return Err(err.into());
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut ring = Builder::new(2).build(Backend::device()?)?;
    for path in std::env::args_os().skip(1) {
        cat(&mut ring, &File::open(&path)?)?;
    }
    Ok(())
}
