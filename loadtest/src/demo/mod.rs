//! The demo: builds both programs, starts the sample model server, cube-admin and cube-proxy as processes of their own, fills
//! admin through its API, prints a line to copy, runs until interrupted. In the order of what happens: `build` → `run`;
//! what it runs is a [`crate::world`].

mod build;
mod run;

use std::path::PathBuf;

/// The demo's flags.
#[derive(Clone, Debug, clap::Parser)]
#[command(
    name = "cube-demo",
    version,
    about = "A control plane, a proxy, a model server behind it, and a PAT to try them with."
)]
pub struct Options {
    /// Use this model server instead of the sample one: http://host:port[/base].
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// The upstream's own credential, whole: `Bearer …`.
    #[arg(long, env = "CUBE_DEMO_UPSTREAM_AUTHORIZATION", hide_env_values = true, value_name = "VALUE")]
    pub upstream_authorization: Option<String>,
    /// The model to offer, instead of what the upstream's /v1/models says.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Keep database, settings and PATs in this directory, and use those that are there.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Print one line of JSON once everything is ready, and nothing else.
    #[arg(long)]
    pub json: bool,
    /// Port of the proxy; 0: any free one. Without it 8080, or a free one if that is taken.
    #[arg(long)]
    pub port: Option<u16>,
    /// Port of the proxy with TLS; as `port`, from 8443.
    #[arg(long)]
    pub https_port: Option<u16>,
    /// Port of the proxy's metrics and readiness; as `port`, from 9464.
    #[arg(long)]
    pub ops_port: Option<u16>,
    /// Port of cube-admin; as `port`, from 8081.
    #[arg(long)]
    pub admin_port: Option<u16>,
    /// Port of cube-admin's metrics and readiness; as `port`, from 9465.
    #[arg(long)]
    pub admin_ops_port: Option<u16>,
    /// Threads of the proxy; without it one per CPU.
    #[arg(long)]
    pub cores: Option<usize>,
    /// Microseconds between two words of the sample model server.
    #[arg(long, default_value_t = 40_000)]
    pub pace_us: u64,
    /// Do not build anything: take the programs beside this one.
    #[arg(long)]
    pub no_build: bool,
    /// Do not build anything: take the programs in this directory.
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
}

pub use run::run;

/// The one line that `--json` prints.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Line {
    /// `http://host:port` of the proxy.
    pub origin: String,
    /// `https://localhost:port` of the proxy.
    pub https: String,
    /// The authority that its certificate is signed by: a PEM file.
    pub ca: PathBuf,
    /// `http://host:port` of its metrics and readiness.
    pub ops: String,
    /// `http://host:port` of cube-admin: its API and UI.
    pub admin: String,
    /// `http://host:port` of its metrics and readiness.
    pub admin_ops: String,
    /// The superadmin's name there.
    pub user: String,
    /// And password.
    pub password: String,
    /// The domain's name in paths.
    pub domain: String,
    /// A model of the domain.
    pub model: String,
    /// All models of the domain.
    pub models: Vec<String>,
    /// A PAT that may use them.
    pub pat: String,
    /// PATs that are refused, each in its way.
    pub refused: Refused,
    /// Base URL of the model server.
    pub upstream: String,
    /// Directory of database, settings and PATs.
    pub state: PathBuf,
    /// Process id of the proxy.
    pub proxy_pid: u32,
    /// Process id of cube-admin.
    pub admin_pid: u32,
}

/// PATs for trying out refusals.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Refused {
    /// 401.
    pub revoked: String,
    /// 401.
    pub expired: String,
    /// 403 except for embeddings.
    pub wrong_scope: String,
    /// 404: its owner has rights only in another domain.
    pub wrong_domain: String,
}
