// SPDX-License-Identifier: GPL-2.0

//! The crate io-uring: it makes its calls through `syscall(3)`.

use io_uring::{
    opcode,
    squeue,
    types,
    IoUring,
    Probe, //
};
use std::{
    error::Error,
    fs::File,
    io::{
        Read,
        Write, //
    },
    os::fd::AsRawFd, //
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn submit(ring: &mut IoUring, entry: &squeue::Entry) -> Result<i32> {
    // SAFETY: What entries here point to lives until after the wait.
    unsafe { ring.submission().push(entry)? };
    ring.submit_and_wait(1)?;
    let cqe = ring.completion().next().ok_or("there is no CQE")?;
    Ok(cqe.result())
}

fn probe(ring: &mut IoUring) -> Result<()> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    for code in [opcode::Nop::CODE, opcode::Read::CODE, opcode::Write::CODE] {
        assert!(probe.is_supported(code));
    }
    Ok(())
}

fn batch(ring: &mut IoUring) -> Result<()> {
    for round in 0..4u64 {
        for i in 0..8 {
            let nop = opcode::Nop::new().build().user_data(8 * round + i);
            // SAFETY: It points to nothing.
            unsafe { ring.submission().push(&nop)? };
        }
        assert_eq!(ring.submit_and_wait(8)?, 8);
        let seen: Vec<u64> = ring.completion().map(|cqe| cqe.user_data()).collect();
        assert_eq!(seen, (8 * round..8 * round + 8).collect::<Vec<_>>());
    }
    Ok(())
}

fn file(ring: &mut IoUring, path: &str) -> Result<()> {
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    let fd = types::Fd(file.as_raw_fd());
    let out = b"written by the crate";
    let len = out.len() as u32;
    assert_eq!(
        submit(
            ring,
            &opcode::Write::new(fd, out.as_ptr(), len).offset(0).build()
        )?,
        20
    );
    assert_eq!(submit(ring, &opcode::Fsync::new(fd).build())?, 0);
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    assert_eq!(text.as_bytes(), out);
    let mut back = vec![0u8; 64];
    let read = opcode::Read::new(fd, back.as_mut_ptr(), 64)
        .offset(8)
        .build();
    assert_eq!(submit(ring, &read)?, 12);
    assert_eq!(&back[..12], b"by the crate");

    // A registered file and a registered buffer.
    ring.submitter().register_files(&[file.as_raw_fd()])?;
    let buffer = [libc::iovec {
        iov_base: back.as_mut_ptr().cast(),
        iov_len: back.len(),
    }];
    // SAFETY: The buffer lives until it is unregistered.
    unsafe { ring.submitter().register_buffers(&buffer)? };
    file.write_all(b"!")?;
    let fixed = opcode::ReadFixed::new(types::Fixed(0), back.as_mut_ptr(), 64, 0)
        .offset(0)
        .build();
    assert_eq!(submit(ring, &fixed)?, 21);
    assert_eq!(&back[..21], b"written by the crate!");
    ring.submitter().unregister_buffers()?;
    ring.submitter().unregister_files()?;
    Ok(())
}

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).ok_or("usage: io-uring FOLDER")?;
    let mut rings = vec![IoUring::new(8)?];
    rings.push(
        IoUring::builder()
            .setup_cqsize(64)
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(8)?,
    );
    rings.push(
        IoUring::builder()
            .setup_coop_taskrun()
            .setup_submit_all()
            .build(8)?,
    );
    for ring in &mut rings {
        probe(ring)?;
        batch(ring)?;
        file(ring, &format!("{folder}/io-uring"))?;
    }
    let link = std::fs::read_link(format!("/proc/self/fd/{}", rings[0].as_raw_fd()))?;
    println!("{}", link.display());
    Ok(())
}
