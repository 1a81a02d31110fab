//! Commands that do something and end, without serving anybody: `pat new`, `check` and `dev-cert`.
//!
//! Each writes to the writers that it is given and returns what went wrong, so tests call them as `main` does.

mod check;
mod dev_cert;
mod pat;

use std::io::{self, Write};

pub use check::Check;
pub use dev_cert::DevCert;
pub use pat::{PatCommand, PatNew};

use crate::control::feed::FeedError;
use crate::settings::SettingsError;
use crate::tables::LoadError;
use crate::tls::TlsError;

/// What the program does instead of serving.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Personal Access Tokens.
    Pat {
        /// What to do with them.
        #[command(subcommand)]
        command: PatCommand,
    },
    /// Say what is wrong with the settings and the tables, or what they amount to.
    Check(Check),
    /// Make a certificate for development, and the authority that signs it.
    DevCert(DevCert),
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The settings are wrong; all problems are in the text.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The fleet's key cannot be used.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A certificate or a key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A file could not be written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The tables are wrong; all problems are in the text.
    #[error("{}: {error}", path.display())]
    Tables {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        #[source]
        error: LoadError,
    },
    /// More than one of the things that were to be checked is wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<CliError>),
    /// The system has no randomness to give.
    #[error("cannot make a secret: {0}")]
    Random(getrandom::Error),
    /// The output is gone.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

impl Command {
    /// Does it.
    ///
    /// * `out`: what was asked for, fit for a file or a pipe.
    /// * `aside`: what is for the person at the terminal only: a secret, a hint.
    ///
    /// # Errors
    /// [`CliError`]: to be shown, and the exit status of a failure.
    pub fn run(&self, out: &mut dyn Write, aside: &mut dyn Write) -> Result<(), CliError> {
        match self {
            Self::Pat { command: PatCommand::New(new) } => new.run(out, aside),
            Self::Check(check) => check.run(out),
            Self::DevCert(dev_cert) => dev_cert.run(out),
        }
    }
}
