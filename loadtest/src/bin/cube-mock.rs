//! The mock model server as a program. Prints `{"address":"127.0.0.1:PORT"}` once it listens.
#![forbid(unsafe_code)]

use clap::Parser;
use cube_loadtest::mock::{Mock, Options};
use std::io::Write as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A model server that answers as told: by these flags, or per request by `x-mock-…` fields of the same names.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> anyhow::Result<()> {
    cube_loadtest::launch::raise_descriptor_limit()?;
    let mock = Mock::start(&Arguments::parse().options)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", serde_json::json!({"address": mock.address().to_string()}))?;
    stdout.flush()?;
    mock.wait()?;
    Ok(())
}
