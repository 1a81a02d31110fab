//! Nodes: the proxies of the fleet, for superadmins.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};

use super::confirm::Confirm;
use super::error::{UiResult, go};
use super::frame::{Frame, Section, show};
use super::shell::Member;
use super::view::{Badge, When};
use crate::app::App;
use crate::app::nodes::Node;
use crate::clock::Moment;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/ui/nodes", get(list)).route("/ui/nodes/{name}/forget", post(forget).get(ask_forget))
}

struct Core {
    generation: u64,
    driver: String,
    inflight: u64,
}

struct Row {
    name: String,
    version: String,
    address: String,
    state: Badge,
    connected: bool,
    generation: u64,
    /// In words.
    lag: String,
    behind: bool,
    refused: String,
    inflight: u64,
    cores: Vec<Core>,
    started: When,
    last_seen: When,
}

#[derive(Template)]
#[template(path = "nodes.html")]
struct Nodes {
    frame: Frame,
    rows: Vec<Row>,
}

fn row_of(node: Node) -> Row {
    let report = node.report;
    let cores = report.cores.iter().map(|core| Core {
        generation: core.generation,
        driver: core.driver.clone(),
        inflight: core.inflight,
    });
    Row {
        generation: report.adopted(),
        inflight: report.cores.iter().map(|core| core.inflight).sum(),
        cores: cores.collect(),
        state: match (node.connected, report.draining) {
            (true, false) => Badge { tone: "good", text: "Connected" },
            (true, true) => Badge { tone: "warn", text: "Draining" },
            (false, _) => Badge { tone: "bad", text: "Away" },
        },
        connected: node.connected,
        lag: match node.lag {
            Some(0) => "up to date".to_owned(),
            Some(1) => "1 generation behind".to_owned(),
            Some(count) => format!("{count} generations behind"),
            None => "of another epoch".to_owned(),
        },
        behind: node.lag != Some(0),
        started: When::new(Moment(i64::try_from(report.started_ms).unwrap_or(0))),
        last_seen: When::new(node.last_seen),
        name: report.node,
        version: report.version,
        address: report.address,
        refused: report.refused,
    }
}

async fn list(member: Member) -> UiResult {
    let nodes = member.app.list_nodes(member.who()).await?;
    let rows = nodes.into_iter().map(row_of).collect();
    Ok(show(&Nodes { frame: member.frame(Section::Nodes, "Nodes"), rows }))
}

async fn ask_forget(member: Member, Path(name): Path<String>) -> UiResult {
    member.operator()?;
    // Names of nodes are letters, digits, `.`, `_` and `-`; what is not one is nowhere in the list.
    if !crate::app::nodes::node_name_is_valid(&name) {
        return Err(crate::app::AppError::NotFound("node").into());
    }
    Ok(Confirm {
        frame: member.frame(Section::Nodes, format!("Forget “{name}”?")),
        effects: vec![
            "It is taken off the list. Usage that it reported stays.".to_owned(),
            "It comes back by itself if it reports again.".to_owned(),
        ],
        action: format!("/ui/nodes/{name}/forget"),
        button: "Forget node",
        back: "/ui/nodes".to_owned(),
        hidden: Vec::new(),
    }
    .ask())
}

async fn forget(member: Member, Path(name): Path<String>) -> UiResult {
    member.app.forget_node(member.who(), &member.asker, &name).await?;
    Ok(go("/ui/nodes?done=done"))
}
