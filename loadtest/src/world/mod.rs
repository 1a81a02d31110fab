//! A world of real programs: cube-admin and cube-proxy on ports of this machine, filled through the API. What the demo runs, and what
//! the fleet's checks kill and restart.

mod api;
mod seed;
mod state;

use crate::launch::{Child, Launch, Output};
use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) use api::{ADMIN, Api};
pub(crate) use seed::{Cast, new_pat, refresh, scopes, seed};
pub(crate) use state::{Addresses, State};

/// Where the programs are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) admin: PathBuf,
    pub(crate) proxy: PathBuf,
    pub(crate) mock: PathBuf,
}

impl Programs {
    /// Those of one directory.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        let named = |name| directory.join(name);
        Self { admin: named("cube-admin"), proxy: named("cube-proxy"), mock: named("cube-mock") }
    }
}

/// Makes the first superadmin of a new state.
pub(crate) fn create_superadmin(program: &Path, settings: &Path, password: &str) -> Result<()> {
    let status = Command::new(program)
        .arg("--config")
        .arg(settings)
        .args(["user", "create", "--superadmin", "--username", ADMIN])
        .env("CUBE_ADMIN_PASSWORD", password)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot run cube-admin")?;
    if !status.success() {
        bail!("cube-admin cannot make its first user");
    }
    Ok(())
}

/// Starts cube-admin and waits until it listens.
pub(crate) fn start_admin(program: &Path, state: &State, settings: &Path) -> Result<Child> {
    let log = state.directory.join("admin.log");
    let mut child = Launch::new(program)
        .arguments([Path::new("--config"), settings, Path::new("serve")])
        .output(Output::PipedAnd(log.clone()))
        .start()?;
    ready_line(&mut child).with_context(|| {
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        format!("cube-admin is not ready; it says:\n{log}")
    })?;
    Ok(child)
}

/// Starts cube-proxy. It logs to `proxy.log`; when it is ready is the caller's to find out.
pub(crate) fn start_proxy(program: &Path, state: &State, settings: &Path) -> Result<Child> {
    Launch::new(program)
        .arguments([Path::new("--config"), settings])
        .output(Output::File(state.directory.join("proxy.log")))
        .start()
}

/// The one line of JSON that a program prints once it is ready.
pub(crate) fn ready_line(child: &mut Child) -> Result<serde_json::Value> {
    let name = child.name().to_owned();
    let stdout = child.stdout().with_context(|| format!("the output of {name} is not ours"))?;
    let mut text = String::new();
    BufReader::new(stdout).read_line(&mut text)?;
    serde_json::from_str(&text).with_context(|| format!("{name} did not start: {text:?}"))
}
