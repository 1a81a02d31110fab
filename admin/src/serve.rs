//! `cube-admin serve`: everything that runs until a signal ends it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::app::{App, replicas};
use crate::listener::{Listener, Peer};
use crate::ops::Shown;
use crate::settings::{ListenerSettings, Settings};
use crate::store::Store;
use crate::{feed, http, ops, secrets, upkeep};

/// How long answers in progress may take to end once a signal has come.
const GRACE: Duration = Duration::from_secs(5);

/// Opens the state and serves until SIGTERM or SIGINT.
///
/// # Errors
/// The state directory, the database or an address cannot be used.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let settings = Arc::new(settings);
    let app = open(Arc::clone(&settings)).await?;
    let mut shown = Vec::new();
    let api = bind("api", &settings.api, &mut shown).await?;
    let feed = bind("feed", &settings.feed, &mut shown).await?;
    let ops = Listener::bind(settings.ops, None).await;
    let ops = ops.with_context(|| format!("cannot listen on {}", settings.ops))?;
    let (end, ended) = watch::channel(false);
    tokio::spawn(async move {
        if until_signal().await.is_ok() {
            end.send_replace(true);
        }
    });
    println!(r#"{{"event":"ready","api":"{}","feed":"{}","ops":"{}"}}"#, api.url()?, feed.url()?, ops.url()?);
    tokio::spawn(upkeep::keep_up(app.clone()));
    tokio::spawn(replicas::follow(app.clone()));
    // Feeds never end by themselves: the process ends them.
    let service = feed::router(app.clone()).into_make_service_with_connect_info::<Peer>();
    tokio::spawn(axum::serve(feed, service).into_future());
    tokio::spawn(axum::serve(ops, ops::router(app.clone(), shown).into_make_service()).into_future());
    let service = http::router(app.clone()).into_make_service_with_connect_info::<Peer>();
    let serving = axum::serve(api, service).with_graceful_shutdown(told_to_end(ended.clone()));
    let mut deadline = ended;
    tokio::select! {
        result = serving => result.context("the API ended")?,
        () = async { told_to_end_once(&mut deadline).await; tokio::time::sleep(GRACE).await } => {
            tracing::warn!("answers that were still in progress are cut");
        }
    }
    app.store.close().await;
    Ok(())
}

/// Opens the state directory: its database and the fleet's key; makes what is missing.
///
/// # Errors
/// It cannot be used.
pub async fn open(settings: Arc<Settings>) -> anyhow::Result<App> {
    std::fs::create_dir_all(&settings.state_dir)
        .with_context(|| format!("state.directory {}", settings.state_dir.display()))?;
    let fleet_key = secrets::fleet_key(&settings.fleet_key_file)?;
    let database = settings.database();
    let store = Store::open(&database).await.with_context(|| format!("database {database}"))?;
    Ok(App::new(store, settings, fleet_key).await?)
}

async fn bind(
    name: &'static str,
    settings: &ListenerSettings,
    shown: &mut Vec<Shown>,
) -> anyhow::Result<Listener> {
    let tls = settings.tls.as_ref().map(|files| files.follow()).transpose();
    let tls = tls.with_context(|| format!("{name}.tls"))?;
    shown.extend(tls.clone().map(|terms| (name, terms)));
    let address = settings.address;
    Listener::bind(address, tls).await.with_context(|| format!("cannot listen on {address}"))
}

async fn until_signal() -> std::io::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

async fn told_to_end(mut ended: watch::Receiver<bool>) {
    told_to_end_once(&mut ended).await;
}

async fn told_to_end_once(ended: &mut watch::Receiver<bool>) {
    // The sender only goes when the process does.
    let _ = ended.wait_for(|ended| *ended).await;
}
