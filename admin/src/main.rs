//! cube-admin: arguments → settings → serve, or a command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser};
use cube_admin::app::nodes::node_name_is_valid;
use cube_admin::app::users::{NewUser, prepare_user};
use cube_admin::listener::issue::{Issued, Purpose, issue};
use cube_admin::settings::Settings;
use cube_admin::store::import::{ImportError, import};
use cube_admin::store::{Store, users};
use cube_admin::{cli, secrets, serve};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Control plane of cube-proxy: users, domains, roles, PATs, deployments, models and routes.
#[derive(Debug, Parser)]
#[command(name = "cube-admin", version)]
struct Arguments {
    #[command(flatten)]
    place: PlaceOptions,
    #[command(subcommand)]
    command: Command,
}

/// Where settings and state are; for the commands that act on them, not on the API.
#[derive(Debug, Args)]
struct PlaceOptions {
    /// The settings file [default: the built-in settings]
    #[arg(long, global = true, value_name = "FILE", env = "CUBE_ADMIN_CONFIG")]
    config: Option<PathBuf>,
    /// The state directory, instead of the one that the settings name
    #[arg(long, global = true, value_name = "DIR", env = "CUBE_ADMIN_STATE")]
    state: Option<PathBuf>,
    /// A PostgreSQL database (`postgres://…`), instead of the one that the settings name. It may hold a password: rather set
    /// CUBE_ADMIN_DATABASE
    #[arg(long, global = true, value_name = "URL", env = "CUBE_ADMIN_DATABASE", hide_env_values = true)]
    database: Option<String>,
}

/// Commands that do not call the API; [`cli`] has the others.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT
    Serve,
    /// Print where the key is that proxies need; make it if there is none
    FleetKey,
    /// Issue a certificate for a proxy, by which the feed knows it (`feed.tls.client_ca`)
    NodeCert {
        /// The node's name: `admin.node` of the proxy
        node: String,
        /// Where NODE.pem, NODE.key and fleet-ca.pem go
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
    /// Issue a certificate for the feed, which proxies check by fleet-ca.pem (`admin.ca`)
    FeedCert {
        /// Host names and addresses by which proxies reach it
        #[arg(required = true)]
        hosts: Vec<String>,
        /// Where HOST.pem, HOST.key and fleet-ca.pem go
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
    /// Fill an empty PostgreSQL database with everything that is in a file: from one cube-admin to several
    ///
    /// The cube-admin of the file must have ended. Its signing keys and the credentials of endpoints open with its own fleet key: copy that
    /// too.
    Import {
        /// The file: cube-admin.sqlite of the other's state directory
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Print the API's description (OpenAPI 3.1)
    Openapi,
    /// Print a script that completes commands in a shell
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("CUBE_ADMIN_LOG").unwrap_or_else(|_| "info".into()),
        )
        .init();
    match run(&command().get_matches()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> clap::Command {
    Arguments::command().subcommands(cli::commands())
}

async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    if let Some((name, of_command)) = matches.subcommand()
        && cli::has(name)
    {
        return match cli::first_superadmin(name, of_command) {
            Some(new) => {
                make_first_superadmin(settings(PlaceOptions::from_arg_matches(matches)?)?, new).await
            }
            None => cli::run(name, of_command),
        };
    }
    let arguments = Arguments::from_arg_matches(matches)?;
    let settings = settings(arguments.place)?;
    match arguments.command {
        Command::Serve => serve::serve(settings).await,
        Command::FleetKey => {
            std::fs::create_dir_all(&settings.state_dir)?;
            secrets::fleet_key(&settings.fleet_key_file)?;
            println!("{}", settings.fleet_key_file.display());
            Ok(())
        }
        Command::NodeCert { node, dir } => {
            anyhow::ensure!(
                node_name_is_valid(&node),
                "a node's name is 1 to 64 of letters, digits, `.`, `_`, `-`"
            );
            show(&issue(&settings.state_dir, Purpose::Node, &[node], &dir)?);
            Ok(())
        }
        Command::FeedCert { hosts, dir } => {
            show(&issue(&settings.state_dir, Purpose::Server, &hosts, &dir)?);
            Ok(())
        }
        Command::Import { from } => import_file(&settings, &from).await,
        Command::Openapi => {
            println!("{}", serde_json::to_string_pretty(&cube_admin::http::openapi())?);
            Ok(())
        }
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut command(), "cube-admin", &mut std::io::stdout());
            Ok(())
        }
    }
}

async fn import_file(settings: &Settings, from: &Path) -> anyhow::Result<()> {
    let database = settings.database();
    anyhow::ensure!(settings.database_server.is_some(), "{}", ImportError::NotAServer);
    let store = Store::open(&database).await.with_context(|| format!("database {database}"))?;
    let copied = import(from, &store).await;
    store.close().await;
    for (table, rows) in copied? {
        println!("{rows:>12}  {table}");
    }
    Ok(())
}

fn show(issued: &Issued) {
    println!(
        "chain = {}\nkey = {}\nca = {}",
        issued.chain.display(),
        issued.key.display(),
        issued.ca.display()
    );
}

fn settings(place: PlaceOptions) -> anyhow::Result<Settings> {
    let mut settings = match &place.config {
        Some(path) => Settings::load(path)?,
        None => Settings::default(),
    };
    if let Some(directory) = place.state {
        settings.use_state_dir(directory);
    }
    if let Some(url) = place.database {
        settings.use_database(&url).map_err(|why| anyhow::anyhow!("--database: {why}"))?;
    }
    Ok(settings)
}

/// In the state directory itself: there is nobody yet who could log in.
async fn make_first_superadmin(settings: Settings, mut new: NewUser) -> anyhow::Result<()> {
    new.password = Some(cli::password()?);
    let app = serve::open(settings.into()).await?;
    let (row, hash) = prepare_user(new).await?;
    let mut tx = app.store.begin().await?;
    anyhow::ensure!(
        !users::has_superadmin(tx.connection(), None).await?,
        "there is a superadmin already; log in and add users by the API"
    );
    users::insert(&mut tx, &row, hash.as_deref()).await?;
    tx.audit(cube_admin::app::users::local_operator().did(
        &Default::default(),
        "user.create",
        "user",
        row.id,
    ));
    tx.commit().await?;
    println!("{}", row.id);
    app.store.close().await;
    Ok(())
}
