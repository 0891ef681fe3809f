// SPDX-License-Identifier: GPL-2.0

//! The crate tokio-uring: a runtime that polls the ring's descriptor.

use std::{
    error::Error,
    path::Path, //
};
use tokio_uring::{
    buf::{
        fixed::FixedBufRegistry,
        BoundedBuf, //
    },
    fs::{
        File,
        OpenOptions, //
    }, //
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What Debug prints of a directory of descriptors: the link of the one that is a ring.
fn ring_link() -> Result<String> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Ok(link) = std::fs::read_link(entry?.path()) {
            let link = link.display().to_string();
            if link.ends_with("uring]") {
                return Ok(link);
            }
        }
    }
    Err("there is no ring".into())
}

async fn copy(from: &Path, to: &Path) -> Result<u64> {
    let from = File::open(from).await?;
    let to = File::create(to).await?;
    let mut buffer = vec![0; 16 << 10];
    let mut at = 0;
    loop {
        let (result, read) = from.read_at(buffer, at).await;
        let nr = result?;
        if nr == 0 {
            break;
        }
        let (result, slice) = to.write_all_at(read.slice(..nr), at).await;
        result?;
        buffer = slice.into_inner();
        at += nr as u64;
    }
    to.sync_all().await?;
    to.close().await?;
    from.close().await?;
    Ok(at)
}

async fn fixed(path: &Path) -> Result<()> {
    let registry = FixedBufRegistry::new([vec![0; 4096], vec![0; 4096]]);
    registry.register()?;
    let file = OpenOptions::new().read(true).open(path).await?;
    let buffer = registry.check_out(1).ok_or("no buffer")?;
    let (result, buffer) = file.read_fixed_at(buffer, 100).await;
    let nr = result?;
    let wanted = std::fs::read(path)?;
    assert_eq!(buffer[..nr], wanted[100..100 + nr]);
    file.close().await?;
    Ok(())
}

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).ok_or("usage: tokio-uring FOLDER")?;
    let folder = Path::new(&folder);
    let (from, to) = (folder.join("tokio-from"), folder.join("tokio-to"));
    let data: Vec<u8> = (0..300_001u32)
        .map(|i| (i.wrapping_mul(i) >> 7) as u8)
        .collect();
    std::fs::write(&from, &data)?;
    let link = tokio_uring::start(async {
        assert_eq!(copy(&from, &to).await?, 300_001);
        // Many at once.
        let mut tasks = Vec::new();
        for i in 0..20 {
            let (from, to) = (from.clone(), folder.join(format!("tokio-{i}")));
            tasks.push(tokio_uring::spawn(async move {
                copy(&from, &to).await.map_err(|err| err.to_string())
            }));
        }
        for task in tasks {
            assert_eq!(task.await??, 300_001);
        }
        fixed(&from).await?;
        ring_link()
    })?;
    assert!(std::fs::read(&to)? == data);
    for i in 0..20 {
        assert!(std::fs::read(folder.join(format!("tokio-{i}")))? == data);
    }
    println!("{link}");
    Ok(())
}
