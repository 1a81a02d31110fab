//! A world's directory: who is in it (`demo.json`), the settings of both programs, their state and logs. A temporary one, removed at
//! the end, unless the caller names one; then its PATs stay the same from run to run.

use super::seed::Cast;
use crate::tables::write_private;
use anyhow::{Context as _, Result, bail};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The directory, and who is in it if it was filled before.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) directory: PathBuf,
    temporary: bool,
}

/// Addresses that the programs are told to listen on.
pub(crate) struct Addresses {
    pub(crate) data: SocketAddr,
    pub(crate) ops: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) feed: SocketAddr,
    pub(crate) admin_ops: SocketAddr,
}

impl State {
    /// Makes the directory, or opens the one that `--state` names.
    pub(crate) fn open(named: Option<&Path>) -> Result<Self> {
        let (directory, temporary) = match named {
            Some(directory) => (std::path::absolute(directory)?, false),
            None => (std::env::temp_dir().join(format!("cube-demo-{}", std::process::id())), true),
        };
        std::fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Self { directory, temporary })
    }

    /// Who is in a directory that was filled before.
    pub(crate) fn cast(&self) -> Result<Option<Cast>> {
        let file = self.directory.join("demo.json");
        match std::fs::read(&file) {
            Ok(text) => {
                let cast = serde_json::from_slice(&text);
                Ok(Some(cast.with_context(|| format!("{} is not what the demo wrote", file.display()))?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if self.admin_state().join("cube-admin.sqlite").exists() {
                    bail!("{} was filled only in part; remove it", self.directory.display());
                }
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Remembers who is in it.
    pub(crate) fn remember(&self, cast: &Cast) -> Result<()> {
        write_private(&self.directory.join("demo.json"), &serde_json::to_vec_pretty(cast)?)
    }

    fn admin_state(&self) -> PathBuf {
        self.directory.join("admin")
    }

    /// Writes admin's settings, and `more` of them; gives their file.
    pub(crate) fn write_admin_settings(&self, addresses: &Addresses, more: &str) -> Result<PathBuf> {
        let directory = quoted(&self.admin_state())?;
        let text = format!(
            "# Written by the demo; overwritten by its next run.\n[api]\naddress = \"{}\"\n\n[feed]\naddress = \"{}\"\n\n[ops]\naddress = \"{}\"\n\n[state]\ndirectory = {directory}\n{more}",
            addresses.admin, addresses.feed, addresses.admin_ops
        );
        self.write("admin.toml", &text)
    }

    /// Writes the proxy's settings; gives their file. Draining is short: Ctrl-C should end the demo.
    /// `tls`: further sections of them.
    pub(crate) fn write_proxy_settings(
        &self,
        addresses: &Addresses,
        cores: Option<usize>,
        tls: &str,
    ) -> Result<PathBuf> {
        let Addresses { data, ops, admin, feed, admin_ops: _ } = addresses;
        let cores = cores.map_or_else(String::new, |count| format!("[cores]\ncount = {count}\n\n"));
        let key = quoted(&self.admin_state().join("fleet.key"))?;
        let state = quoted(&self.directory.join("proxy"))?;
        let text = format!(
            "# Written by the demo; overwritten by its next run.\n[listener]\naddress = \"{data}\"\nadmin_origin = \"http://{admin}\"\n\n[ops]\naddress = \"{ops}\"\n\n{cores}[admin]\nfeed = \"http://{feed}\"\nfleet_key_file = {key}\nstate_dir = {state}\nnode = \"demo\"\n\n[drain]\nmin_s = 0.0\ndeadline_s = 1.0\n\n{tls}"
        );
        self.write("proxy.toml", &text)
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.directory.join(name);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// Removes the directory if it is a temporary one.
    pub(crate) fn discard(&self) {
        if self.temporary {
            // What cannot be removed lies in the system's temporary directory, readable only by its owner.
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// A path as TOML writes it: JSON's strings are TOML's basic strings.
fn quoted(path: &Path) -> Result<String> {
    Ok(serde_json::to_string(path.to_str().context("the state directory is not UTF-8")?)?)
}
