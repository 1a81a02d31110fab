//! Roles of domains: what their members may do.
//!
//! Whatever changes what somebody may do touches that user's grant: the work is proportional to the members of the role.

use cube_wire::{DomainId, Key, UserId};
use uuid::Uuid;

use super::{Listed, Page, StoreError, WriteTx, changed, like_pattern};
use crate::clock::Moment;
use crate::store::sql::{Connection, QueryBuilder, Row, query, query_scalar};

/// A role as stored.
#[derive(Clone, Debug)]
pub struct RoleRow {
    /// `domain_…`.
    pub id: String,
    /// Where it holds.
    pub domain: DomainId,
    /// Unique in its domain.
    pub name: String,
    /// The role `admin` that every domain has: holds every action and stays as it is.
    pub builtin: bool,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: Moment,
    /// Who changed it last.
    pub updated_by: Option<UserId>,
    /// When.
    pub updated_at: Moment,
}

/// A member of a domain, and the roles that make one of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// At least one.
    pub roles: Vec<RoleRow>,
}

const UNIQUE: &[(&str, &str)] = &[("roles.domain_id, roles.name", "role_name")];

/// Adds a role without members.
///
/// # Errors
/// [`StoreError::Taken`] for the name.
pub async fn insert(tx: &mut WriteTx, role: &RoleRow, actions: &[&str]) -> Result<(), StoreError> {
    query(
        "INSERT INTO roles (id, domain_id, name, builtin, created_by, created_at, updated_by, updated_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&role.id)
    .bind(role.domain.0)
    .bind(&role.name)
    .bind(role.builtin)
    .bind(role.created_by.map(|id| id.0))
    .bind(role.created_at)
    .bind(role.updated_by.map(|id| id.0))
    .bind(role.updated_at)
    .execute(tx.connection())
    .await
    .map_err(|error| StoreError::taken(error, UNIQUE))?;
    add_actions(tx, role, actions).await
}

/// A role of this domain.
///
/// # Errors
/// The database failed.
pub async fn find(
    connection: &mut Connection,
    domain: DomainId,
    id: &str,
) -> Result<Option<RoleRow>, StoreError> {
    let row = query("SELECT * FROM roles WHERE domain_id = ? AND id = ?").bind(domain.0).bind(id);
    Ok(row.fetch_optional(connection).await?.map(|row| row_of(&row)))
}

/// The roles of a domain by name, the built-in one first.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut Connection,
    domain: DomainId,
    name: Option<&str>,
    page: Page,
) -> Result<Listed<RoleRow>, StoreError> {
    let pattern = like_pattern(name.unwrap_or_default());
    let total = query_scalar(r"SELECT COUNT(*) FROM roles WHERE domain_id = ? AND name LIKE ? ESCAPE '\'")
        .bind(domain.0)
        .bind(&pattern)
        .fetch_one(&mut *connection)
        .await?;
    let rows = query(
        r"SELECT * FROM roles WHERE domain_id = ? AND name LIKE ? ESCAPE '\'
          ORDER BY builtin DESC, name LIMIT ? OFFSET ?",
    )
    .bind(domain.0)
    .bind(&pattern)
    .bind(page.limit)
    .bind(page.offset)
    .fetch_all(connection)
    .await?;
    Ok(Listed { total, rows: rows.iter().map(row_of).collect() })
}

/// How many roles a domain has.
///
/// # Errors
/// The database failed.
pub async fn count(connection: &mut Connection, domain: DomainId) -> Result<i64, StoreError> {
    let count = query_scalar("SELECT COUNT(*) FROM roles WHERE domain_id = ?").bind(domain.0);
    Ok(count.fetch_one(connection).await?)
}

/// Gives a role another name.
///
/// # Errors
/// [`StoreError::Taken`] for the name.
pub async fn rename(
    tx: &mut WriteTx,
    role: &RoleRow,
    name: &str,
    by: UserId,
    now: Moment,
) -> Result<(), StoreError> {
    query("UPDATE roles SET name = ?, updated_by = ?, updated_at = ? WHERE id = ?")
        .bind(name)
        .bind(by.0)
        .bind(now)
        .bind(&role.id)
        .execute(tx.connection())
        .await
        .map_err(|error| StoreError::taken(error, UNIQUE))?;
    Ok(())
}

/// Deletes a role; its members may no longer do what it let them.
///
/// # Errors
/// The database failed.
pub async fn delete(tx: &mut WriteTx, role: &RoleRow) -> Result<(), StoreError> {
    touch_members(tx, role).await?;
    query("DELETE FROM roles WHERE id = ?").bind(&role.id).execute(tx.connection()).await?;
    Ok(())
}

/// What a role's members may do, by name.
///
/// # Errors
/// The database failed.
pub async fn actions(connection: &mut Connection, role: &RoleRow) -> Result<Vec<String>, StoreError> {
    let actions = query_scalar("SELECT action FROM role_actions WHERE role_id = ? ORDER BY action");
    Ok(actions.bind(&role.id).fetch_all(connection).await?)
}

/// Lets a role's members do more.
///
/// # Errors
/// The database failed.
pub async fn add_actions(tx: &mut WriteTx, role: &RoleRow, actions: &[&str]) -> Result<(), StoreError> {
    for action in actions {
        query("INSERT INTO role_actions (role_id, action) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(&role.id)
            .bind(*action)
            .execute(tx.connection())
            .await?;
    }
    touch_members(tx, role).await
}

/// Lets a role's members do less; `None`: nothing any more.
///
/// # Errors
/// The database failed.
pub async fn remove_actions(
    tx: &mut WriteTx,
    role: &RoleRow,
    actions: Option<&[String]>,
) -> Result<(), StoreError> {
    match actions {
        None => {
            query("DELETE FROM role_actions WHERE role_id = ?")
                .bind(&role.id)
                .execute(tx.connection())
                .await?;
        }
        Some(actions) => {
            for action in actions {
                query("DELETE FROM role_actions WHERE role_id = ? AND action = ?")
                    .bind(&role.id)
                    .bind(action)
                    .execute(tx.connection())
                    .await?;
            }
        }
    }
    touch_members(tx, role).await
}

/// A role's members, in the order of their identifiers.
///
/// # Errors
/// The database failed.
pub async fn members(
    connection: &mut Connection,
    role: &RoleRow,
    page: Page,
) -> Result<Listed<UserId>, StoreError> {
    let total = member_count(connection, role).await?;
    let rows: Vec<Uuid> =
        query_scalar("SELECT user_id FROM role_members WHERE role_id = ? ORDER BY user_id LIMIT ? OFFSET ?")
            .bind(&role.id)
            .bind(page.limit)
            .bind(page.offset)
            .fetch_all(connection)
            .await?;
    Ok(Listed { total, rows: rows.into_iter().map(UserId).collect() })
}

/// How many members a role has.
///
/// # Errors
/// The database failed.
pub async fn member_count(connection: &mut Connection, role: &RoleRow) -> Result<i64, StoreError> {
    let count = query_scalar("SELECT COUNT(*) FROM role_members WHERE role_id = ?").bind(&role.id);
    Ok(count.fetch_one(connection).await?)
}

/// Whether the user has this role.
///
/// # Errors
/// The database failed.
pub async fn has_member(
    connection: &mut Connection,
    role: &RoleRow,
    user: UserId,
) -> Result<bool, StoreError> {
    let found = query_scalar("SELECT EXISTS (SELECT 1 FROM role_members WHERE role_id = ? AND user_id = ?)");
    Ok(found.bind(&role.id).bind(user.0).fetch_one(connection).await?)
}

/// Gives a role to a user, who must exist. Whoever had it by a group has it besides from then on.
///
/// # Errors
/// The database failed.
pub async fn add_member(tx: &mut WriteTx, role: &RoleRow, user: UserId) -> Result<(), StoreError> {
    query(
        "INSERT INTO role_members (role_id, user_id) VALUES (?, ?) ON CONFLICT (role_id, user_id) DO UPDATE SET given = TRUE",
    )
    .bind(&role.id)
    .bind(user.0)
    .execute(tx.connection())
    .await?;
    tx.touch(Key::Grant(user, role.domain));
    Ok(())
}

/// Takes a role from a user; whether that user had been given it. Whoever has it by a group too keeps it.
///
/// # Errors
/// The database failed.
pub async fn remove_member(tx: &mut WriteTx, role: &RoleRow, user: UserId) -> Result<bool, StoreError> {
    let result =
        query("UPDATE role_members SET given = FALSE WHERE role_id = ? AND user_id = ? AND given = TRUE")
            .bind(&role.id)
            .bind(user.0)
            .execute(tx.connection())
            .await?;
    if changed(result) {
        forget_ungiven(tx, role.domain).await?;
        tx.touch(Key::Grant(user, role.domain));
    }
    Ok(changed(result))
}

/// Takes a role from everybody but those who have it by a group.
///
/// # Errors
/// The database failed.
pub async fn remove_all_members(tx: &mut WriteTx, role: &RoleRow) -> Result<(), StoreError> {
    touch_members(tx, role).await?;
    query("UPDATE role_members SET given = FALSE WHERE role_id = ?")
        .bind(&role.id)
        .execute(tx.connection())
        .await?;
    forget_ungiven(tx, role.domain).await
}

/// Removes members of the domain's roles to whom nobody gives their role any more: neither somebody nor a group.
async fn forget_ungiven(tx: &mut WriteTx, domain: DomainId) -> Result<(), StoreError> {
    query(
        "DELETE FROM role_members WHERE given = FALSE AND role_id IN (SELECT id FROM roles WHERE domain_id = ?)
         AND NOT EXISTS (SELECT 1 FROM scim_group_roles m JOIN scim_group_members g ON g.group_id = m.group_id
         WHERE m.role_id = role_members.role_id AND g.user_id = role_members.user_id)",
    )
    .bind(domain.0)
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Takes every role of the domain from a user; whether there was one that somebody had given. Those by groups stay.
///
/// # Errors
/// The database failed.
pub async fn remove_from_domain(
    tx: &mut WriteTx,
    domain: DomainId,
    user: UserId,
) -> Result<bool, StoreError> {
    let result = query(
        "UPDATE role_members SET given = FALSE WHERE given = TRUE AND user_id = ?
         AND role_id IN (SELECT id FROM roles WHERE domain_id = ?)",
    )
    .bind(user.0)
    .bind(domain.0)
    .execute(tx.connection())
    .await?;
    if changed(result) {
        forget_ungiven(tx, domain).await?;
        tx.touch(Key::Grant(user, domain));
    }
    Ok(changed(result))
}

/// The built-in role of a domain.
///
/// # Errors
/// The database failed.
pub async fn builtin(connection: &mut Connection, domain: DomainId) -> Result<Option<RoleRow>, StoreError> {
    let row = query("SELECT * FROM roles WHERE domain_id = ? AND builtin = TRUE").bind(domain.0);
    Ok(row.fetch_optional(connection).await?.map(|row| row_of(&row)))
}

/// Everybody who has a role in the domain, with these roles, in the order of the users' identifiers.
///
/// # Errors
/// The database failed.
pub async fn domain_members(
    connection: &mut Connection,
    domain: DomainId,
    page: Page,
) -> Result<Listed<Member>, StoreError> {
    const OF_DOMAIN: &str = "FROM role_members m JOIN roles r ON r.id = m.role_id WHERE r.domain_id = ";
    let mut count = QueryBuilder::new("SELECT COUNT(DISTINCT m.user_id) ");
    count.push(OF_DOMAIN).push_bind(domain.0);
    let total = count.build_query_scalar().fetch_one(&mut *connection).await?;
    let mut query = QueryBuilder::new("SELECT m.user_id, r.* ");
    query.push(OF_DOMAIN).push_bind(domain.0).push(" AND m.user_id IN (SELECT DISTINCT m.user_id ");
    query.push(OF_DOMAIN).push_bind(domain.0).push(" ORDER BY m.user_id LIMIT ").push_bind(page.limit);
    query.push(" OFFSET ").push_bind(page.offset).push(") ORDER BY m.user_id, r.name");
    let rows = query.build().fetch_all(connection).await?;
    let of_user = rows.chunk_by(|one, other| one.get::<Uuid>("user_id") == other.get::<Uuid>("user_id"));
    let members = of_user.map(|rows| Member {
        user: UserId(rows[0].get("user_id")),
        roles: rows.iter().map(row_of).collect(),
    });
    Ok(Listed { total, rows: members.collect() })
}

/// The roles that a user has in a domain, by name.
///
/// # Errors
/// The database failed.
pub async fn of_user(
    connection: &mut Connection,
    domain: DomainId,
    user: UserId,
) -> Result<Vec<RoleRow>, StoreError> {
    let rows = query(
        "SELECT r.* FROM role_members m JOIN roles r ON r.id = m.role_id
         WHERE m.user_id = ? AND r.domain_id = ? ORDER BY r.name",
    )
    .bind(user.0)
    .bind(domain.0)
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(row_of).collect())
}

/// Everything that a user's roles in a domain name, each once.
///
/// # Errors
/// The database failed.
pub async fn actions_of_user(
    connection: &mut Connection,
    domain: DomainId,
    user: UserId,
) -> Result<Vec<String>, StoreError> {
    Ok(query_scalar(
        "SELECT DISTINCT a.action FROM role_members m JOIN roles r ON r.id = m.role_id
         JOIN role_actions a ON a.role_id = r.id WHERE m.user_id = ? AND r.domain_id = ?",
    )
    .bind(user.0)
    .bind(domain.0)
    .fetch_all(connection)
    .await?)
}

async fn touch_members(tx: &mut WriteTx, role: &RoleRow) -> Result<(), StoreError> {
    let members: Vec<Uuid> = query_scalar("SELECT user_id FROM role_members WHERE role_id = ?")
        .bind(&role.id)
        .fetch_all(tx.connection())
        .await?;
    for member in members {
        tx.touch(Key::Grant(UserId(member), role.domain));
    }
    Ok(())
}

fn row_of(row: &Row) -> RoleRow {
    RoleRow {
        id: row.get("id"),
        domain: DomainId(row.get("domain_id")),
        name: row.get("name"),
        builtin: row.get("builtin"),
        created_by: row.get::<Option<Uuid>>("created_by").map(UserId),
        created_at: row.get("created_at"),
        updated_by: row.get::<Option<Uuid>>("updated_by").map(UserId),
        updated_at: row.get("updated_at"),
    }
}
