//! The side-by-side run as a program.
#![forbid(unsafe_code)]

use clap::Parser as _;
use cube_loadtest::{bench, launch};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    launch::become_child_if_asked()?;
    bench::run(&bench::Options::parse())
}
