//! Finds the programs, and builds them first unless told not to.

use super::Options;
use crate::world::Programs;
use anyhow::{Context as _, Result, bail};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

/// Builds what is needed, with the profile that we were built with, and says where it is.
pub(super) fn programs(options: &Options) -> Result<Programs> {
    let us = std::env::current_exe().context("cannot find our own program")?;
    let beside = us.parent().context("our own program has no directory")?;
    let directory = options.bin_dir.clone().unwrap_or_else(|| beside.to_owned());
    if !options.no_build && options.bin_dir.is_none() {
        build(beside, options)?;
    }
    let programs = Programs::in_directory(&directory);
    let needed =
        [Some(&programs.admin), Some(&programs.proxy), options.upstream.is_none().then_some(&programs.mock)];
    for program in needed.into_iter().flatten() {
        if !program.is_file() {
            bail!("{} is not there; run without --no-build and --bin-dir to build it", program.display());
        }
    }
    Ok(programs)
}

/// One build each, so that each program gets exactly the features it gets when built alone, and nothing is built twice.
fn build(beside: &Path, options: &Options) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let profile: &[&str] = match beside.file_name().and_then(|name| name.to_str()) {
        Some("release") => &["--release"],
        Some("debug") | None => &[],
        Some(other) => &["--profile", other],
    };
    let mut wanted = vec![("cube-proxy", "cube-proxy"), ("cube-admin", "cube-admin")];
    if options.upstream.is_none() {
        wanted.push(("cube-loadtest", "cube-mock"));
    }
    for (package, program) in wanted {
        let mut command = Command::new(&cargo);
        command.arg("build").args(profile).args(["-p", package, "--bin", program]);
        if options.json {
            command.arg("--quiet");
        }
        // Its progress goes to standard error; standard output is ours.
        let status = command.stdin(Stdio::null()).status().context("cannot run cargo")?;
        if !status.success() {
            bail!("{package} does not build");
        }
    }
    Ok(())
}
