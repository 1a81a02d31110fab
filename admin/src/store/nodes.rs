//! Nodes of the fleet, as they were last heard of.

use cube_wire::feed::NodeReport;

use super::{Store, StoreError, WriteTx, from_json, replicas, to_json};
use crate::clock::Moment;
use crate::store::sql::{Connection, Row, query};

/// A node.
#[derive(Clone, Debug)]
pub struct NodeRow {
    /// Its name.
    pub name: String,
    /// Since when it is known.
    pub first_seen: Moment,
    /// When it was last written down.
    pub last_seen: Moment,
    /// What it said then.
    pub report: NodeReport,
}

/// Every node.
///
/// # Errors
/// The database failed.
pub async fn all(connection: &mut Connection) -> Result<Vec<NodeRow>, StoreError> {
    let rows = query("SELECT * FROM nodes ORDER BY name").fetch_all(connection).await?;
    rows.iter().map(row_of).collect()
}

/// One node.
///
/// # Errors
/// The database failed.
pub async fn find(connection: &mut Connection, name: &str) -> Result<Option<NodeRow>, StoreError> {
    let row = query("SELECT * FROM nodes WHERE name = ?").bind(name).fetch_optional(connection).await?;
    row.as_ref().map(row_of).transpose()
}

fn row_of(row: &Row) -> Result<NodeRow, StoreError> {
    Ok(NodeRow {
        name: row.get("name"),
        first_seen: row.get("first_seen"),
        last_seen: row.get("last_seen"),
        report: from_json(&row.get::<String>("report"))?,
    })
}

/// Forgets a node.
///
/// # Errors
/// The database failed.
pub async fn delete(tx: &mut WriteTx, name: &str) -> Result<(), StoreError> {
    query("DELETE FROM nodes WHERE name = ?").bind(name).execute(tx.connection()).await?;
    replicas::tell_node(tx.connection(), name).await
}

impl Store {
    /// Writes down what a node said, and tells other replicas. No change of anything that is audited or published.
    ///
    /// # Errors
    /// The database failed.
    pub async fn write_node(&self, node: &NodeRow) -> Result<(), StoreError> {
        let mut connection = self.writer().await?;
        query(
            "INSERT INTO nodes (name, first_seen, last_seen, report) VALUES (?, ?, ?, ?) \
             ON CONFLICT (name) DO UPDATE SET last_seen = excluded.last_seen, report = excluded.report",
        )
        .bind(&node.name)
        .bind(node.first_seen)
        .bind(node.last_seen)
        .bind(to_json(&node.report))
        .execute(&mut connection)
        .await?;
        replicas::tell_node(&mut connection, &node.name).await
    }
}
