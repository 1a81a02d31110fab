//! API keys.

use cube_wire::{DomainId, PatDigest, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Cursor, StoreError, WriteTx, changed, from_json, to_json};
use crate::clock::Moment;
use crate::store::sql::{Connection, QueryBuilder, Row, query, query_scalar};

/// What a key may be used for: a family of entrypoints, to read or to write. Writing includes reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum ApiScope {
    /// `GET /api/v1/deployments…`
    #[serde(rename = "deployments:read")]
    DeploymentsRead,
    /// `/api/v1/deployments…`
    #[serde(rename = "deployments:write")]
    DeploymentsWrite,
    /// `GET /api/v1/domains/{id}/models…`
    #[serde(rename = "models:read")]
    ModelsRead,
    /// `/api/v1/domains/{id}/models…` and `/api/v1/domains/{id}/default-deployment`
    #[serde(rename = "models:write")]
    ModelsWrite,
    /// `GET /api/v1/usage`
    #[serde(rename = "usage:read")]
    UsageRead,
    /// `GET /api/v1/audit`
    #[serde(rename = "audit:read")]
    AuditRead,
    /// `GET /api/v1/nodes`
    #[serde(rename = "nodes:read")]
    NodesRead,
    /// `/api/v1/nodes…`
    #[serde(rename = "nodes:write")]
    NodesWrite,
    /// `GET /api/v1/users…`
    #[serde(rename = "users:read")]
    UsersRead,
    /// `/api/scim/v2/…`: users and groups, whole
    #[serde(rename = "scim")]
    Scim,
}

impl ApiScope {
    /// All there are.
    pub const ALL: [Self; 10] = [
        Self::DeploymentsRead,
        Self::DeploymentsWrite,
        Self::ModelsRead,
        Self::ModelsWrite,
        Self::UsageRead,
        Self::AuditRead,
        Self::NodesRead,
        Self::NodesWrite,
        Self::UsersRead,
        Self::Scim,
    ];

    /// The scope that is written like this.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DeploymentsRead => "deployments:read",
            Self::DeploymentsWrite => "deployments:write",
            Self::ModelsRead => "models:read",
            Self::ModelsWrite => "models:write",
            Self::UsageRead => "usage:read",
            Self::AuditRead => "audit:read",
            Self::NodesRead => "nodes:read",
            Self::NodesWrite => "nodes:write",
            Self::UsersRead => "users:read",
            Self::Scim => "scim",
        }
    }

    /// Whether whoever has this may do what takes `needed`.
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        let writing = match needed {
            Self::DeploymentsRead => Some(Self::DeploymentsWrite),
            Self::ModelsRead => Some(Self::ModelsWrite),
            Self::NodesRead => Some(Self::NodesWrite),
            Self::DeploymentsWrite
            | Self::ModelsWrite
            | Self::UsageRead
            | Self::AuditRead
            | Self::NodesWrite
            | Self::UsersRead
            | Self::Scim => None,
        };
        self == needed || Some(self) == writing
    }

    /// Whether what it opens is in a domain, so that a key that is limited to domains can have it.
    #[must_use]
    pub const fn is_in_domains(self) -> bool {
        match self {
            Self::ModelsRead | Self::ModelsWrite | Self::UsageRead | Self::AuditRead => true,
            Self::DeploymentsRead
            | Self::DeploymentsWrite
            | Self::NodesRead
            | Self::NodesWrite
            | Self::UsersRead
            | Self::Scim => false,
        }
    }
}

/// What a key may do, at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRights {
    /// For which entrypoints it is.
    pub scopes: Vec<ApiScope>,
    /// Only in these domains; `None`: in all of them, and outside.
    pub domains: Option<Vec<DomainId>>,
    /// Only these deployments; `None`: all of them.
    pub deployments: Option<Vec<String>>,
}

/// A key as stored, without its digest.
#[derive(Clone, Debug)]
pub struct ApiKeyRow {
    /// Which.
    pub id: Uuid,
    /// Unique.
    pub name: String,
    /// What it may do.
    pub rights: ApiKeyRights,
    /// For whom it acts.
    pub created_by: UserId,
    /// Since when.
    pub created_at: Moment,
    /// Not good from then on.
    pub expires_at: Moment,
    /// To the minute.
    pub last_used_at: Option<Moment>,
}

impl ApiKeyRow {
    /// Its place in [`list`].
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        Cursor { at: self.created_at, id: self.id }
    }
}

const UNIQUE: &[(&str, &str)] = &[("api_keys.name", "name")];

/// Adds a key.
///
/// # Errors
/// [`StoreError::Taken`] for the name.
pub async fn insert(tx: &mut WriteTx, key: &ApiKeyRow, digest: PatDigest) -> Result<(), StoreError> {
    query(
        "INSERT INTO api_keys (id, name, digest, scopes, domains, deployments, created_by, created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(key.id)
    .bind(&key.name)
    .bind(&digest.0[..])
    .bind(to_json(&key.rights.scopes))
    .bind(key.rights.domains.as_ref().map(to_json))
    .bind(key.rights.deployments.as_ref().map(to_json))
    .bind(key.created_by.0)
    .bind(key.created_at)
    .bind(key.expires_at)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    Ok(())
}

/// The key with this identifier, and the digest of its plain text.
///
/// # Errors
/// The database failed.
pub async fn find(
    connection: &mut Connection,
    id: Uuid,
) -> Result<Option<(ApiKeyRow, PatDigest)>, StoreError> {
    let row = query("SELECT * FROM api_keys WHERE id = ?").bind(id).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(None) };
    let digest = row.get::<Vec<u8>>("digest").try_into();
    let digest = digest.map_err(|_| StoreError::Damaged("a digest of another length".to_owned()))?;
    Ok(Some((row_of(&row)?, PatDigest(digest))))
}

/// Keys, newest first, `limit` at most.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut Connection,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<ApiKeyRow>, StoreError> {
    let mut query = QueryBuilder::new("SELECT * FROM api_keys");
    if let Some(after) = after {
        query
            .push(" WHERE (created_at, id) < (")
            .push_bind(after.at)
            .push(", ")
            .push_bind(after.id)
            .push(")");
    }
    query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(limit);
    query.build().fetch_all(connection).await?.iter().map(row_of).collect()
}

/// How many keys there are.
///
/// # Errors
/// The database failed.
pub async fn count(connection: &mut Connection) -> Result<i64, StoreError> {
    Ok(query_scalar("SELECT COUNT(*) FROM api_keys").fetch_one(connection).await?)
}

/// Deletes a key; whether there was one.
///
/// # Errors
/// The database failed.
pub async fn delete(tx: &mut WriteTx, id: Uuid) -> Result<bool, StoreError> {
    Ok(changed(query("DELETE FROM api_keys WHERE id = ?").bind(id).execute(tx.connection()).await?))
}

/// Notes that a key was shown.
///
/// # Errors
/// The database failed.
pub async fn note_use(tx: &mut WriteTx, id: Uuid, at: Moment) -> Result<(), StoreError> {
    let result = query("UPDATE api_keys SET last_used_at = ? WHERE id = ?").bind(at).bind(id);
    result.execute(tx.connection()).await?;
    Ok(())
}

fn row_of(row: &Row) -> Result<ApiKeyRow, StoreError> {
    Ok(ApiKeyRow {
        id: row.get("id"),
        name: row.get("name"),
        rights: ApiKeyRights {
            scopes: from_json(&row.get::<String>("scopes"))?,
            domains: row.get::<Option<String>>("domains").map(|text| from_json(&text)).transpose()?,
            deployments: row.get::<Option<String>>("deployments").map(|text| from_json(&text)).transpose()?,
        },
        created_by: UserId(row.get("created_by")),
        created_at: row.get("created_at"),
        expires_at: row.get("expires_at"),
        last_used_at: row.get("last_used_at"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_written_the_same_everywhere_and_writing_includes_reading() {
        for scope in ApiScope::ALL {
            assert_eq!(to_json(&scope), format!("\"{}\"", scope.name()));
            assert_eq!(ApiScope::from_name(scope.name()), Some(scope));
            for needed in ApiScope::ALL {
                let reading = scope.name().strip_suffix("write").map(|family| format!("{family}read"));
                let covers = scope == needed || reading.as_deref() == Some(needed.name());
                assert_eq!(scope.covers(needed), covers, "{} for {}", scope.name(), needed.name());
            }
        }
    }
}
