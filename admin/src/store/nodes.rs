//! Nodes of the fleet, as they were last heard of.

use cube_wire::feed::NodeReport;
use sqlx::{Row as _, SqliteConnection};

use super::{Store, StoreError, WriteTx, from_json, to_json};
use crate::clock::Moment;

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
pub async fn all(connection: &mut SqliteConnection) -> Result<Vec<NodeRow>, StoreError> {
    let rows = sqlx::query("SELECT * FROM nodes ORDER BY name").fetch_all(connection).await?;
    let row_of = |row: &sqlx::sqlite::SqliteRow| {
        Ok(NodeRow {
            name: row.get("name"),
            first_seen: row.get("first_seen"),
            last_seen: row.get("last_seen"),
            report: from_json(row.get("report"))?,
        })
    };
    rows.iter().map(row_of).collect()
}

/// Forgets a node.
///
/// # Errors
/// The database failed.
pub async fn delete(tx: &mut WriteTx, name: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM nodes WHERE name = ?").bind(name).execute(tx.connection()).await?;
    Ok(())
}

impl Store {
    /// Writes down what a node said. No change of anything that is audited or published.
    ///
    /// # Errors
    /// The database failed.
    pub async fn write_node(&self, node: &NodeRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO nodes (name, first_seen, last_seen, report) VALUES (?, ?, ?, ?) \
             ON CONFLICT (name) DO UPDATE SET last_seen = excluded.last_seen, report = excluded.report",
        )
        .bind(&node.name)
        .bind(node.first_seen)
        .bind(node.last_seen)
        .bind(to_json(&node.report))
        .execute(&self.writer)
        .await?;
        Ok(())
    }
}
