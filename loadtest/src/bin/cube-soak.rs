//! The soak as a program.
#![forbid(unsafe_code)]

use clap::Parser as _;
use cube_loadtest::{launch, soak};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    launch::become_child_if_asked()?;
    let all_held = soak::run(&soak::Options::parse())?;
    Ok(if all_held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
