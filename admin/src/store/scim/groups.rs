//! Groups, their members, and the roles that these have by being members.

use std::collections::BTreeSet;

use cube_wire::{DomainId, Key, UserId};
use uuid::Uuid;

use super::Search;
use crate::clock::Moment;
use crate::store::sql::{Connection, QueryBuilder, Row, query, query_scalar};
use crate::store::{Cursor, Listed, Page, StoreError, WriteTx, like_pattern};

/// A group.
#[derive(Clone, Debug)]
pub struct GroupRow {
    /// Which.
    pub id: Uuid,
    /// Unique, whatever its case.
    pub display_name: String,
    /// The provider's identifier.
    pub external_id: Option<String>,
    /// How often it or its members changed.
    pub revision: i64,
    /// Since when.
    pub created_at: Moment,
    /// Last change.
    pub updated_at: Moment,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub struct MemberRow {
    /// Who.
    pub user: UserId,
    /// What the provider calls the user.
    pub user_name: String,
}

/// A group as lists show it.
#[derive(Clone, Debug)]
pub struct GroupSummary {
    /// The group.
    pub row: GroupRow,
    /// How many users are in it.
    pub members: i64,
    /// How many roles it brings.
    pub roles: i64,
}

/// A role that the members of a group have.
#[derive(Clone, Debug)]
pub struct MappingRow {
    /// Which.
    pub id: Uuid,
    /// Whose members.
    pub group: Uuid,
    /// That group's name.
    pub group_name: String,
    /// The role's domain.
    pub domain: DomainId,
    /// The role.
    pub role: String,
    /// The role's name.
    pub role_name: String,
    /// Since when.
    pub created_at: Moment,
}

impl MappingRow {
    /// Its place in [`list_mappings_after`].
    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        Cursor { at: self.created_at, id: self.id }
    }
}

const UNIQUE: &[(&str, &str)] = &[
    ("scim_groups.display_name", "displayName"),
    ("scim_group_roles.group_id", "the mapping of this group to this role"),
];

/// Adds a group without members.
///
/// # Errors
/// [`StoreError::Taken`] for the name.
pub async fn insert(tx: &mut WriteTx, group: &GroupRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO scim_groups (id, display_name, external_id, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(group.id)
    .bind(&group.display_name)
    .bind(&group.external_id)
    .bind(group.created_at)
    .bind(group.updated_at)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    Ok(())
}

/// Changes a group's names, and counts the revision on.
///
/// # Errors
/// [`StoreError::Taken`] for the name.
pub async fn replace(tx: &mut WriteTx, group: &GroupRow) -> Result<(), StoreError> {
    query(
        "UPDATE scim_groups SET display_name = ?, external_id = ?, updated_at = ?, revision = revision + 1 WHERE id = ?",
    )
    .bind(&group.display_name)
    .bind(&group.external_id)
    .bind(group.updated_at)
    .bind(group.id)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    Ok(())
}

/// The group with this identifier.
///
/// # Errors
/// The database failed.
pub async fn find(connection: &mut Connection, id: Uuid) -> Result<Option<GroupRow>, StoreError> {
    let row = query("SELECT * FROM scim_groups WHERE id = ?").bind(id).fetch_optional(connection).await?;
    Ok(row.as_ref().map(row_of))
}

/// Groups that fit.
///
/// # Errors
/// The database failed.
pub async fn list(connection: &mut Connection, search: &Search) -> Result<Listed<GroupRow>, StoreError> {
    let Listed { total, rows } = search.rows(connection, "scim_groups").await?;
    Ok(Listed { total, rows: rows.iter().map(row_of).collect() })
}

/// Groups by name, with what is in them; only those with `part` in their name.
///
/// # Errors
/// The database failed.
pub async fn browse(
    connection: &mut Connection,
    part: Option<&str>,
    page: Page,
) -> Result<Listed<GroupSummary>, StoreError> {
    let filter = |query: &mut QueryBuilder| {
        if let Some(part) = part {
            query.push(" WHERE display_name LIKE ").push_bind(like_pattern(part)).push(" ESCAPE '\\'");
        }
    };
    let mut count = QueryBuilder::new("SELECT COUNT(*) FROM scim_groups");
    filter(&mut count);
    let total = count.build_query_scalar().fetch_one(&mut *connection).await?;
    let mut query = QueryBuilder::new(
        "SELECT *, (SELECT COUNT(*) FROM scim_group_members WHERE group_id = g.id) AS members,
         (SELECT COUNT(*) FROM scim_group_roles WHERE group_id = g.id) AS roles FROM scim_groups g",
    );
    filter(&mut query);
    query.push(" ORDER BY display_name LIMIT ").push_bind(page.limit);
    query.push(" OFFSET ").push_bind(page.offset);
    let rows = query.build().fetch_all(connection).await?;
    let summary =
        |row: &Row| GroupSummary { row: row_of(row), members: row.get("members"), roles: row.get("roles") };
    Ok(Listed { total, rows: rows.iter().map(summary).collect() })
}

/// Part of a group's members, in the order of their identifiers.
///
/// # Errors
/// The database failed.
pub async fn list_members(
    connection: &mut Connection,
    id: Uuid,
    page: Page,
) -> Result<Listed<UserId>, StoreError> {
    let total = query_scalar("SELECT COUNT(*) FROM scim_group_members WHERE group_id = ?");
    let total = total.bind(id).fetch_one(&mut *connection).await?;
    let rows: Vec<Uuid> = query_scalar(
        "SELECT user_id FROM scim_group_members WHERE group_id = ? ORDER BY user_id LIMIT ? OFFSET ?",
    )
    .bind(id)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_all(connection)
    .await?;
    Ok(Listed { total, rows: rows.into_iter().map(UserId).collect() })
}

/// The members of a group, in the order of their identifiers.
///
/// # Errors
/// The database failed.
pub async fn members(connection: &mut Connection, id: Uuid) -> Result<Vec<MemberRow>, StoreError> {
    let rows = query(
        "SELECT u.id, COALESCE(u.scim_user_name, u.username) AS name FROM scim_group_members m
         JOIN users u ON u.id = m.user_id WHERE m.group_id = ? ORDER BY m.user_id",
    );
    let rows = rows.bind(id).fetch_all(connection).await?;
    let member = |row: &Row| MemberRow { user: UserId(row.get("id")), user_name: row.get("name") };
    Ok(rows.iter().map(member).collect())
}

/// Puts users into a group and takes others out, with the roles that the group is mapped to. The users to put in exist.
///
/// # Errors
/// [`StoreError::Gone`] for a user who does not exist.
pub async fn change_members(
    tx: &mut WriteTx,
    group: Uuid,
    add: &BTreeSet<UserId>,
    remove: &BTreeSet<UserId>,
) -> Result<(), StoreError> {
    for user in add {
        query("INSERT INTO scim_group_members (group_id, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(group)
            .bind(user.0)
            .execute(tx.connection())
            .await?;
    }
    for user in remove {
        query("DELETE FROM scim_group_members WHERE group_id = ? AND user_id = ?")
            .bind(group)
            .bind(user.0)
            .execute(tx.connection())
            .await?;
    }
    for (role, domain) in roles_of(tx.connection(), group).await? {
        for user in add.iter().chain(remove) {
            settle(tx, &role, domain, *user).await?;
        }
    }
    Ok(())
}

/// Deletes a group. Its members stay, without the roles that it gave them.
///
/// # Errors
/// The database failed.
pub async fn delete(tx: &mut WriteTx, group: Uuid) -> Result<(), StoreError> {
    let members = member_ids(tx.connection(), group).await?;
    let roles = roles_of(tx.connection(), group).await?;
    query("DELETE FROM scim_groups WHERE id = ?").bind(group).execute(tx.connection()).await?;
    for (role, domain) in roles {
        for user in &members {
            settle(tx, &role, domain, *user).await?;
        }
    }
    Ok(())
}

/// Gives a role to whoever is in a group.
///
/// # Errors
/// [`StoreError::Taken`]: it is so already.
pub async fn map(tx: &mut WriteTx, mapping: &MappingRow, by: UserId) -> Result<(), StoreError> {
    query(
        "INSERT INTO scim_group_roles (id, group_id, role_id, created_by, created_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(mapping.id)
    .bind(mapping.group)
    .bind(&mapping.role)
    .bind(by.0)
    .bind(mapping.created_at)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    settle_all(tx, mapping).await
}

/// Takes a role from whoever has it only by being in a group.
///
/// # Errors
/// The database failed.
pub async fn unmap(tx: &mut WriteTx, mapping: &MappingRow) -> Result<(), StoreError> {
    query("DELETE FROM scim_group_roles WHERE id = ?").bind(mapping.id).execute(tx.connection()).await?;
    settle_all(tx, mapping).await
}

const MAPPINGS: &str = "SELECT m.id, m.group_id, m.role_id, m.created_at, g.display_name, r.name, r.domain_id
    FROM scim_group_roles m JOIN scim_groups g ON g.id = m.group_id JOIN roles r ON r.id = m.role_id";

/// One mapping.
///
/// # Errors
/// The database failed.
pub async fn find_mapping(connection: &mut Connection, id: Uuid) -> Result<Option<MappingRow>, StoreError> {
    let mut query = QueryBuilder::new(MAPPINGS);
    query.push(" WHERE m.id = ").push_bind(id);
    Ok(query.build().fetch_optional(connection).await?.as_ref().map(mapping_of))
}

/// Mappings, by the group's name; only those of `group`, if one is named.
///
/// # Errors
/// The database failed.
pub async fn list_mappings(
    connection: &mut Connection,
    group: Option<Uuid>,
    page: Page,
) -> Result<Listed<MappingRow>, StoreError> {
    let filter = |query: &mut QueryBuilder| {
        if let Some(group) = group {
            query.push(" WHERE m.group_id = ").push_bind(group);
        }
    };
    let mut count = QueryBuilder::new("SELECT COUNT(*) FROM scim_group_roles m");
    filter(&mut count);
    let total = count.build_query_scalar().fetch_one(&mut *connection).await?;
    let mut query = QueryBuilder::new(MAPPINGS);
    filter(&mut query);
    query.push(" ORDER BY g.display_name, r.name, m.id LIMIT ").push_bind(page.limit);
    query.push(" OFFSET ").push_bind(page.offset);
    let rows = query.build().fetch_all(connection).await?;
    Ok(Listed { total, rows: rows.iter().map(mapping_of).collect() })
}

/// All mappings, oldest first: those that come after `after`, `limit` at most.
///
/// # Errors
/// The database failed.
pub async fn list_mappings_after(
    connection: &mut Connection,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<MappingRow>, StoreError> {
    let mut query = QueryBuilder::new(MAPPINGS);
    if let Some(after) = after {
        query.push(" WHERE (m.created_at, m.id) > (").push_bind(after.at);
        query.push(", ").push_bind(after.id).push(")");
    }
    query.push(" ORDER BY m.created_at, m.id LIMIT ").push_bind(limit);
    Ok(query.build().fetch_all(connection).await?.iter().map(mapping_of).collect())
}

async fn settle_all(tx: &mut WriteTx, mapping: &MappingRow) -> Result<(), StoreError> {
    for user in member_ids(tx.connection(), mapping.group).await? {
        settle(tx, &mapping.role, mapping.domain, user).await?;
    }
    Ok(())
}

async fn member_ids(connection: &mut Connection, group: Uuid) -> Result<Vec<UserId>, StoreError> {
    let ids: Vec<Uuid> = query_scalar("SELECT user_id FROM scim_group_members WHERE group_id = ?")
        .bind(group)
        .fetch_all(connection)
        .await?;
    Ok(ids.into_iter().map(UserId).collect())
}

async fn roles_of(connection: &mut Connection, group: Uuid) -> Result<Vec<(String, DomainId)>, StoreError> {
    let rows = query(
        "SELECT r.id, r.domain_id FROM scim_group_roles m JOIN roles r ON r.id = m.role_id WHERE m.group_id = ?",
    );
    let rows = rows.bind(group).fetch_all(connection).await?;
    Ok(rows.iter().map(|row| (row.get("id"), DomainId(row.get("domain_id")))).collect())
}

/// Makes a user a member of a role if some group says so, and no member any more if none does and nobody gave it.
async fn settle(tx: &mut WriteTx, role: &str, domain: DomainId, user: UserId) -> Result<(), StoreError> {
    for statement in [
        "INSERT INTO role_members (role_id, user_id, given) SELECT ?1, ?2, FALSE WHERE EXISTS (
         SELECT 1 FROM scim_group_roles m JOIN scim_group_members g ON g.group_id = m.group_id
         WHERE m.role_id = ?1 AND g.user_id = ?2) ON CONFLICT DO NOTHING",
        "DELETE FROM role_members WHERE role_id = ?1 AND user_id = ?2 AND given = FALSE AND NOT EXISTS (
         SELECT 1 FROM scim_group_roles m JOIN scim_group_members g ON g.group_id = m.group_id
         WHERE m.role_id = ?1 AND g.user_id = ?2)",
    ] {
        query(statement).bind(role).bind(user.0).execute(tx.connection()).await?;
    }
    tx.touch(Key::Grant(user, domain));
    Ok(())
}

fn row_of(row: &Row) -> GroupRow {
    GroupRow {
        id: row.get("id"),
        display_name: row.get("display_name"),
        external_id: row.get("external_id"),
        revision: row.get("revision"),
        created_at: row.get("created_at"),
        updated_at: row.get("updated_at"),
    }
}

fn mapping_of(row: &Row) -> MappingRow {
    MappingRow {
        id: row.get("id"),
        group: row.get("group_id"),
        group_name: row.get("display_name"),
        domain: DomainId(row.get("domain_id")),
        role: row.get("role_id"),
        role_name: row.get("name"),
        created_at: row.get("created_at"),
    }
}
