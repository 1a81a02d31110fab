//! The soak as a program: prints its summary as JSON, and fails if something did not hold.
#![forbid(unsafe_code)]

use clap::Parser as _;
use cube_loadtest::{launch, soak};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    launch::become_child_if_asked()?;
    let summary = soak::run(&soak::Options::parse())?;
    println!("{}", serde_json::to_string_pretty(&summary)?);
    for check in summary.checks.iter().filter(|check| !check.held) {
        eprintln!("does not hold: {}: {}", check.check, check.saw);
    }
    Ok(if summary.held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
