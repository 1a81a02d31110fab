//! One stream of tables per node.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use cube_wire::feed::{Checksum, Frame, HEARTBEAT_MS};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;

use super::check_node;
use crate::app::App;
use crate::clock::Moment;
use crate::http::ApiResult;
use crate::http::Pieces;
use crate::http::extract::Query;
use crate::listener::Peer;
use crate::store::StoreError;
use crate::store::feed::{Delta, deltas, state};

/// Pieces that wait for a node that reads slowly.
const PIECES: usize = 4;
/// Generations that are read at once while a node catches up.
const GENERATIONS: u64 = 1_000;

#[derive(Deserialize)]
pub(super) struct Wanted {
    node: String,
    #[serde(default)]
    epoch: String,
    since: Option<u64>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the node hung up")]
    Gone,
    #[error("a new epoch has begun")]
    OtherEpoch,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SendError<io::Result<Bytes>>> for Ended {
    fn from(_: SendError<io::Result<Bytes>>) -> Self {
        Self::Gone
    }
}

/// `GET /feed/v1/tables?node=…&epoch=…&since=…`
pub(super) async fn stream(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    check_node(&peer, &wanted.node)?;
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::spawn(async move {
        let _open = app.figures.feed_opened();
        let node = wanted.node.clone();
        tracing::info!(%node, epoch = %wanted.epoch, since = wanted.since, "feed opened");
        match Stream::begin(app, sender, wanted).await {
            Err(Ended::Store(error)) => tracing::error!(%node, %error, "feed broke off"),
            Err(ended) => tracing::info!(%node, reason = %ended, "feed ended"),
            Ok(never) => match never {},
        }
    });
    let media_type = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((media_type, Body::from_stream(Pieces(receiver))).into_response())
}

struct Stream {
    app: App,
    sender: mpsc::Sender<io::Result<Bytes>>,
    epoch: String,
    /// The generation that the node has been told.
    told: u64,
}

impl Stream {
    async fn begin(
        app: App,
        sender: mpsc::Sender<io::Result<Bytes>>,
        wanted: Wanted,
    ) -> Result<std::convert::Infallible, Ended> {
        // Subscribed before anything is read: a commit in between is seen twice rather than never.
        let mut newest = app.store.generations();
        let now = state(&mut app.store.read().await?).await?;
        let mut stream = Self { app, sender, epoch: now.epoch.clone(), told: 0 };
        match wanted.since {
            Some(since) if wanted.epoch == now.epoch && since <= now.generation => stream.told = since,
            Some(since) if wanted.epoch == now.epoch => {
                // The node has seen more of this epoch than there is: the database went back to a backup.
                tracing::error!(node = %wanted.node, since, generation = now.generation,
                    "a node is ahead of the database, which must have been restored: a new epoch begins");
                stream.app.store.begin_epoch().await?;
                stream.snapshot().await?;
            }
            Some(_) | None => stream.snapshot().await?,
        }
        loop {
            stream.catch_up().await?;
            let told = stream.told;
            let news = newest.wait_for(|generation| *generation > told);
            if tokio::time::timeout(Duration::from_millis(HEARTBEAT_MS), news).await.is_err() {
                stream.heartbeat().await?;
            }
        }
    }

    async fn send(&self, piece: String) -> Result<(), Ended> {
        Ok(self.sender.send(Ok(Bytes::from(piece))).await?)
    }

    async fn snapshot(&mut self) -> Result<(), Ended> {
        self.app.figures.feed_snapshot();
        let mut snapshot = self.app.store.snapshot().await?;
        self.epoch.clone_from(&snapshot.state.epoch);
        let at_ms = Moment::now().0.unsigned_abs();
        let generation = snapshot.state.generation;
        self.send(Frame::Snapshot { epoch: self.epoch.clone(), generation, at_ms }.to_line()).await?;
        let mut checksum = Checksum::new();
        while let Some(page) = snapshot.next_page().await? {
            page.lines().for_each(|line| checksum.add(line.as_bytes()));
            self.send(page).await?;
        }
        self.send(checksum.end().to_line()).await?;
        self.told = generation;
        Ok(())
    }

    /// Sends what has been committed since.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        loop {
            let missed = deltas(&mut self.app.store.read().await?, self.told, GENERATIONS).await?;
            let Some(missed) = missed else {
                // The log no longer goes back that far.
                self.snapshot().await?;
                continue;
            };
            if missed.is_empty() {
                return self.pruned_or_current().await;
            }
            let mut piece = String::new();
            for delta in &missed {
                self.append(delta, &mut piece);
            }
            self.send(piece).await?;
        }
    }

    /// Nothing is missed; or everything is, and the log was emptied.
    async fn pruned_or_current(&mut self) -> Result<(), Ended> {
        let now = state(&mut self.app.store.read().await?).await?;
        if now.epoch != self.epoch {
            return Err(Ended::OtherEpoch);
        }
        let behind = now.generation > self.told;
        // A commit between the two reads looks the same, and is in the log.
        if behind
            && deltas(&mut self.app.store.read().await?, self.told, 1).await?.is_none_or(|d| d.is_empty())
        {
            self.snapshot().await?;
        }
        Ok(())
    }

    fn append(&mut self, delta: &Delta, piece: &mut String) {
        let heading = Frame::Delta {
            epoch: self.epoch.clone(),
            base: self.told,
            generation: delta.generation,
            at_ms: delta.at.0.unsigned_abs(),
        };
        piece.push_str(&heading.to_line());
        let mut checksum = Checksum::new();
        for line in &delta.lines {
            checksum.add(line.as_bytes());
            piece.push_str(line);
            piece.push('\n');
        }
        piece.push_str(&checksum.end().to_line());
        self.told = delta.generation;
    }

    async fn heartbeat(&self) -> Result<(), Ended> {
        let now = state(&mut self.app.store.read().await?).await?;
        if now.epoch != self.epoch {
            return Err(Ended::OtherEpoch);
        }
        let at_ms = Moment::now().0.unsigned_abs();
        self.send(Frame::Heartbeat { epoch: now.epoch, generation: now.generation, at_ms }.to_line()).await
    }
}
