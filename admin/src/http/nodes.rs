//! `/api/v1/nodes`: the proxies of the fleet.

use axum::Json as Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Caller, Path};
use super::{ApiResult, Errors};
use crate::app::App;
use crate::clock::Moment;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(forget))
}

#[derive(Serialize, ToSchema)]
struct NodeList {
    nodes: Vec<Node>,
}

/// A proxy.
#[derive(Serialize, ToSchema)]
struct Node {
    name: String,
    version: String,
    /// Where it takes requests.
    address: String,
    started_at: Moment,
    first_seen: Moment,
    last_seen: Moment,
    /// Whether it has reported in the last seconds.
    connected: bool,
    draining: bool,
    /// The generation in force on all of its cores.
    generation: u64,
    /// Generations that it has yet to adopt; absent if it holds tables of another epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
    /// Why it refused the last tables; absent if it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    cores: Vec<Core>,
}

#[derive(Serialize, ToSchema)]
struct Core {
    generation: u64,
    driver: String,
    inflight: u64,
}

impl From<crate::app::nodes::Node> for Node {
    fn from(node: crate::app::nodes::Node) -> Self {
        let core = |core: &cube_wire::feed::CoreAdoption| Core {
            generation: core.generation,
            driver: core.driver.clone(),
            inflight: core.inflight,
        };
        Self {
            generation: node.report.adopted(),
            cores: node.report.cores.iter().map(core).collect(),
            name: node.report.node,
            version: node.report.version,
            address: node.report.address,
            started_at: Moment(i64::try_from(node.report.started_ms).unwrap_or(0)),
            first_seen: node.first_seen,
            last_seen: node.last_seen,
            connected: node.connected,
            draining: node.report.draining,
            lag: node.lag,
            refused: Some(node.report.refused).filter(|refused| !refused.is_empty()),
        }
    }
}

/// Proxies, and what they have adopted (superadmins)
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", responses((status = 200, body = NodeList), Errors))]
async fn list(State(app): State<App>, caller: Caller) -> ApiResult<Body<NodeList>> {
    let nodes = app.list_nodes(&caller.principal).await?;
    Ok(Body(NodeList { nodes: nodes.into_iter().map(Node::from).collect() }))
}

/// Forget a proxy that is gone (superadmins)
#[utoipa::path(delete, path = "/api/v1/nodes/{name}", tag = "nodes", params(("name" = String, Path)),
    responses((status = 204), Errors))]
async fn forget(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> ApiResult<StatusCode> {
    app.forget_node(&caller.principal, &caller.asker, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
