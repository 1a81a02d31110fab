//! Finished requests, as proxies tell them.

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use cube_wire::feed::UsageRecord;
use serde::Deserialize;

use super::check_node;
use crate::app::nodes::node_name_is_valid;
use crate::app::{App, AppError};
use crate::http::ApiResult;
use crate::http::extract::Query;
use crate::listener::Peer;
use crate::store::usage;

/// Records of one transaction: a few milliseconds.
const RECORDS_AT_ONCE: usize = 200;

#[derive(Deserialize)]
pub(super) struct Source {
    node: String,
    boot: String,
}

/// `POST /feed/v1/usage?node=…&boot=…`: 204 once every line is on the disk.
///
/// A line that cannot be read is logged and passed over: refusing it would keep all that wait behind it from ever arriving.
pub(super) async fn store(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Query(source): Query<Source>,
    body: axum::body::Bytes,
) -> ApiResult<StatusCode> {
    check_node(&peer, &source.node)?;
    if !node_name_is_valid(&source.boot) {
        return Err(AppError::invalid("boot", "1 to 64 of letters, digits, `.`, `_`, `-`").into());
    }
    let mut records: Vec<UsageRecord> = Vec::new();
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line) {
            Ok(record) => records.push(record),
            Err(error) => {
                app.figures.usage_unreadable();
                tracing::error!(node = %source.node, %error, "a usage record that cannot be read is lost")
            }
        }
    }
    let mut added = 0;
    // In steps, so that no change of a user has to wait for a thousand records; what a broken-off batch stored is passed over when it
    // comes again.
    for records in records.chunks(RECORDS_AT_ONCE) {
        let mut tx = app.store.begin().await?;
        let stored = usage::add(&mut tx, &source.node, &source.boot, records).await?;
        tx.commit().await?;
        app.figures.usage(stored, records.len() as u64 - stored);
        added += stored;
    }
    tracing::debug!(node = %source.node, told = records.len(), added, "usage");
    Ok(StatusCode::NO_CONTENT)
}
