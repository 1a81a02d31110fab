//! README's first command: a proxy, a model server behind it, a PAT, and a line to copy.
#![forbid(unsafe_code)]

use clap::Parser as _;
use cube_loadtest::{demo, launch};

fn main() -> anyhow::Result<()> {
    launch::become_child_if_asked()?;
    demo::run(&demo::Options::parse())
}
