// SPDX-License-Identifier: GPL-2.0

//! `ruring`: runs programs on `/dev/rust_uring`, and shows what there is.

mod cp;
mod elf;
mod inject;
mod probe;
mod report;
mod rings;
mod run;
mod table;

use clap::{
    Parser,
    Subcommand, //
};
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a program with its io_uring calls redirected to the device
    Run(run::Args),
    /// Show what the module has of io_uring, beside the kernel's own
    Probe(probe::Args),
    /// Show all rings of the module that there are
    Rings(rings::Args),
    /// Copy files and trees of files through a ring
    Cp(cp::Args),
    /// Start a static program with the redirect in it (programs that are executed come here)
    #[command(hide = true)]
    Static(inject::Args),
}

/// What went wrong in ruring itself, as in env(1) and timeout(1).
const OWN_FAILURE: u8 = 125;

fn main() -> ExitCode {
    // Rust's runtime ignores it, and what we become would go on doing so.
    // SAFETY: No handler is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let result = match Args::parse().command {
        Command::Run(args) => run::run(args),
        Command::Probe(args) => probe::run(&args),
        Command::Rings(args) => rings::run(&args),
        Command::Cp(args) => cp::run(&args),
        Command::Static(args) => inject::run(args),
    };
    result.unwrap_or_else(|err| {
        eprintln!("ruring: {err:#}");
        ExitCode::from(OWN_FAILURE)
    })
}
