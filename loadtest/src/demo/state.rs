//! The demo's directory: who is in the tables (`demo.json`), the tables, the proxy's settings. A temporary one, removed at
//! the end, unless the caller names one; then its PATs stay the same from run to run.

use super::Options;
use crate::tables::{self, People, Service};
use anyhow::{Context as _, Result};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The directory and who is in its tables.
#[derive(Debug)]
pub(super) struct State {
    pub(super) directory: PathBuf,
    pub(super) people: People,
    temporary: bool,
}

impl State {
    /// Makes the directory, or opens the one that `--state` names.
    pub(super) fn open(options: &Options) -> Result<Self> {
        let (directory, temporary) = match &options.state {
            Some(directory) => (std::path::absolute(directory)?, false),
            None => (std::env::temp_dir().join(format!("cube-demo-{}", std::process::id())), true),
        };
        std::fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let file = directory.join("demo.json");
        let people = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .with_context(|| format!("{} is not what the demo wrote", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let people = People::new()?;
                tables::write_private(&file, &serde_json::to_vec_pretty(&people)?)?;
                people
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        Ok(Self { directory, people, temporary })
    }

    /// Writes tables and settings; gives the settings file.
    pub(super) fn write(
        &self,
        service: &Service,
        address: SocketAddr,
        ops: SocketAddr,
        cores: Option<usize>,
    ) -> Result<PathBuf> {
        let tables_file = self.directory.join("tables.ndjson");
        tables::write(&tables_file, &tables::records(&self.people, service))?;
        let settings = self.directory.join("proxy.toml");
        let text = settings_text(&tables_file, address, ops, cores)?;
        std::fs::write(&settings, text).with_context(|| format!("cannot write {}", settings.display()))?;
        Ok(settings)
    }

    /// Removes the directory if it is a temporary one.
    pub(super) fn discard(&self) {
        if self.temporary {
            // What cannot be removed lies in the system's temporary directory, readable only by its owner.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// What the demo needs to differ from the defaults. Draining is short: Ctrl-C should end the demo.
fn settings_text(
    tables_file: &Path,
    address: SocketAddr,
    ops: SocketAddr,
    cores: Option<usize>,
) -> Result<String> {
    // JSON's strings are TOML's basic strings.
    let file = serde_json::to_string(tables_file.to_str().context("the state directory is not UTF-8")?)?;
    let cores = cores.map_or_else(String::new, |count| format!("\n[cores]\ncount = {count}\n"));
    Ok(format!(
        "# Written by the demo; overwritten by its next run.\n[listener]\naddress = \"{address}\"\n\n[ops]\naddress = \"{ops}\"\n{cores}\n[tables]\nfile = {file}\n\n[drain]\nmin_s = 0.0\ndeadline_s = 1.0\n"
    ))
}
