//! cube-admin: arguments → settings → serve, or a command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use cube_admin::app::users::{NewUser, prepare_user};
use cube_admin::serve;
use cube_admin::settings::Settings;
use cube_admin::store::users;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Control plane of cube-proxy: users, domains, roles, PATs, deployments, models and routes.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The settings file [default: the built-in settings]
    #[arg(long, global = true, value_name = "FILE", env = "CUBE_ADMIN_CONFIG")]
    config: Option<PathBuf>,
    /// The state directory, instead of the one that the settings name
    #[arg(long, global = true, value_name = "DIR", env = "CUBE_ADMIN_STATE")]
    state: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT
    Serve,
    /// Make the first superadmin, in the state directory itself; the password is read from standard input
    Bootstrap {
        /// The username
        #[arg(long)]
        username: String,
        /// The e-mail address
        #[arg(long)]
        email: Option<String>,
    },
    /// Print the API's description (OpenAPI 3.1)
    Openapi,
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
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut settings = match &arguments.config {
        Some(path) => Settings::load(path)?,
        None => Settings::default(),
    };
    if let Some(directory) = arguments.state {
        settings.use_state_dir(directory);
    }
    match arguments.command {
        Command::Serve => serve::serve(settings).await,
        Command::Bootstrap { username, email } => bootstrap(settings, username, email).await,
        Command::Openapi => {
            println!("{}", serde_json::to_string_pretty(&cube_admin::http::openapi())?);
            Ok(())
        }
    }
}

async fn bootstrap(settings: Settings, username: String, email: Option<String>) -> anyhow::Result<()> {
    let mut password = String::new();
    std::io::stdin().read_line(&mut password)?;
    let password = Some(password.trim_end_matches(['\r', '\n']).to_owned());
    let app = serve::open(settings.into()).await?;
    let new = NewUser { username, email, password, superadmin: true, ..NewUser::default() };
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
