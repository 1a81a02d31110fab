//! The relay that looks at nothing, as a program. Prints `{"address":"127.0.0.1:PORT"}` once it listens.
#![forbid(unsafe_code)]

use clap::Parser as _;
use cube_loadtest::relay::{Options, Relay};
use std::io::Write as _;

fn main() -> anyhow::Result<()> {
    let relay = Relay::bind(&Options::parse())?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", serde_json::json!({"address": relay.address().to_string()}))?;
    stdout.flush()?;
    relay.run()?;
    Ok(())
}
