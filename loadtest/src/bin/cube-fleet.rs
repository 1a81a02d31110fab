//! The fleet's promises as a program: prints a report as JSON, and fails if one of them did not hold.
#![forbid(unsafe_code)]

use clap::Parser as _;
use cube_loadtest::{fleet, launch};
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    launch::become_child_if_asked()?;
    let (report, held) = fleet::run(&fleet::Options::parse())?;
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
