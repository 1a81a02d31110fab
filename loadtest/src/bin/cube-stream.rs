//! The load client as a program: prints its report as JSON, and fails if a stream was not what it should be.
#![forbid(unsafe_code)]

use clap::Parser as _;
use cube_loadtest::load::{Load, Options};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    cube_loadtest::launch::raise_descriptor_limit()?;
    let report = Load::start(Options::parse())?.wait()?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
