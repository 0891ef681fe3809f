// SPDX-License-Identifier: GPL-2.0

//! Requests that do nothing, as many as one likes: `nops [rust_uring|io_uring [NUMBER]]`.

use rust_uring::{
    abi::{
        op,
        setup,
        Sqe, //
    },
    Backend,
    Builder, //
};
use std::{
    error::Error,
    time::Instant, //
};

const BATCH: u32 = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let native = args.get(1).is_some_and(|way| way == "io_uring");
    let total: u64 = args.get(2).map_or(Ok(100_000), |nr| nr.parse())?;
    let backend = if native {
        Backend::Native
    } else {
        Backend::device()?
    };
    let mut ring = Builder::new(BATCH)
        .flags(setup::SINGLE_ISSUER | setup::DEFER_TASKRUN)
        .build(backend)?;

    let begin = Instant::now();
    let (mut submitted, mut seen) = (0, 0);
    while seen < total {
        while submitted < total {
            let nop = Sqe {
                opcode: op::NOP,
                user_data: submitted,
                ..Sqe::default()
            };
            // SAFETY: It points to nothing.
            if unsafe { ring.push(&nop) }.is_err() {
                break;
            }
            submitted += 1;
        }
        ring.submit_and_wait(1)?;
        for cqe in ring.cqes() {
            assert_eq!((cqe.user_data, cqe.res), (seen, 0));
            seen += 1;
        }
    }
    let each = begin.elapsed().as_nanos() as f64 / total.max(1) as f64;
    println!("{total} requests, {each:.0} ns each");
    Ok(())
}
