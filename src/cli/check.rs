//! `check`: settings and tables as the proxy would read them, without serving.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::CliError;
use crate::control::feed::fleet_key;
use crate::settings::{Overrides, Settings};
use crate::tables::{NoResolver, Resolve, SystemResolver, Tables};
use crate::tls::{TermsMaker, client_terms};

/// Arguments of `check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// The settings file [default: the built-in settings].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The tables file [default: the one that the settings name].
    #[arg(long, value_name = "FILE")]
    pub tables: Option<PathBuf>,
    /// Do not look up the names of endpoints.
    #[arg(long)]
    pub offline: bool,
    /// What goes before the settings file.
    #[command(flatten)]
    pub overrides: Overrides,
}

impl Check {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<(), CliError> {
        let mut wrong = Vec::new();
        let settings = Settings::load_with(self.config.as_deref(), &self.overrides);
        let settings = match settings {
            Ok(settings) => {
                write!(out, "# settings in effect\n{}\n", settings.to_toml().trim_end())?;
                settings
            }
            // The tables are checked all the same: one run names everything that is wrong.
            Err(error) => {
                wrong.push(error.into());
                Settings::default()
            }
        };
        if let Some(feed) = &settings.admin.feed {
            match fleet_key(&feed.fleet_key_file) {
                Ok(_) => writeln!(out, "# tables: from the feed of {}", feed.origin)?,
                Err(error) => wrong.push(error.into()),
            }
            if feed.origin.tls
                && let Err(error) = client_terms(&feed.trust)
            {
                wrong.push(error.into());
            }
        }
        match TermsMaker::new(&settings).load(true) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    writeln!(out, "# warning: {warning}")?;
                }
            }
            Err(error) => wrong.push(error.into()),
        }
        match self.tables.as_ref().or(settings.tables.file.as_ref()) {
            Some(path) => {
                if let Err(error) = self.check_tables(path, out)? {
                    wrong.push(error);
                }
            }
            None if settings.admin.feed.is_some() => {}
            None => writeln!(out, "# tables: no file is named")?,
        }
        match wrong.len() {
            0 => Ok(()),
            1 => Err(wrong.remove(0)),
            _ => Err(CliError::Several(wrong)),
        }
    }

    fn check_tables(&self, path: &Path, out: &mut dyn Write) -> Result<Result<(), CliError>, CliError> {
        let resolve: &mut dyn Resolve = if self.offline { &mut NoResolver } else { &mut SystemResolver };
        let tables = match Tables::load(path, 1, resolve) {
            Ok(tables) => tables,
            Err(error) => return Ok(Err(CliError::Tables { path: path.to_owned(), error })),
        };
        let counts = tables.counts();
        writeln!(
            out,
            "# tables: {} pats, {} users, {} domains, {} models, {} clusters, {} routes, {} keys",
            counts.pats,
            counts.users,
            counts.domains,
            counts.models,
            counts.clusters,
            counts.routes,
            counts.keys
        )?;
        for (cluster, endpoint) in tables.unresolved().filter(|_| !self.offline) {
            writeln!(out, "# warning: cluster {}: the host of {} is not known", cluster.id, endpoint.url)?;
        }
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
    }

    fn check(config: Option<PathBuf>, tables: Option<PathBuf>) -> Result<String, CliError> {
        let mut out = Vec::new();
        Check { config, tables, offline: true, overrides: Overrides::default() }.run(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_files_that_we_ship_are_right() {
        let out = check(Some(example("proxy.toml")), Some(example("tables.example.ndjson"))).unwrap();
        assert!(out.contains("[listener]"), "{out}");
        assert!(
            out.contains("# tables: 2 pats, 2 users, 2 domains, 4 models, 2 clusters, 1 routes, 0 keys"),
            "{out}"
        );
    }

    #[test]
    fn what_is_wrong_with_settings_and_with_tables_is_said_in_one_run() {
        let folder = std::env::temp_dir().join(format!("cube-proxy-check-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (config, tables) = (folder.join("proxy.toml"), folder.join("tables.ndjson"));
        std::fs::write(&config, "[listener]\naddres = 1\n").unwrap();
        std::fs::write(&tables, "nonsense\n{\"kind\":\"user\"}\n").unwrap();
        let error = check(Some(config), Some(tables)).unwrap_err().to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        for part in ["addres", "line 1: ", "line 2: "] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }

    #[test]
    fn a_tables_file_that_is_not_there_is_named() {
        let error = check(None, Some(PathBuf::from("/nonexistent/tables.ndjson"))).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/tables.ndjson: cannot open"), "{error}");
    }
}
