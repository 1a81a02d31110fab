//! Groups by SCIM.

use std::collections::BTreeSet;

use cube_wire::UserId;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Found, Provisioner, ScimFault, Wish, check_version, id_of, may_provision, search, version_of};
use crate::app::users::check_text;
use crate::app::{App, AppError};
use crate::clock::Moment;
use crate::scim::resource::{Document, Wanted, read, schemas};
use crate::scim::schema::GROUPS;
use crate::scim::{ScimError, ScimType, patch, shown};
use crate::store::scim::groups::{self as rows, GroupRow, MemberRow};
use crate::store::{AuditEntry, Connection};

impl App {
    /// Adds a group.
    ///
    /// # Errors
    /// [`ScimFault`]; [`ScimType::Uniqueness`] for a name that is taken.
    pub async fn scim_create_group(
        &self,
        provisioner: &Provisioner,
        body: &Value,
        wanted: &Wanted,
    ) -> Result<(Value, String), ScimFault> {
        may_provision(provisioner)?;
        let now = Moment::now();
        let mut group = GroupRow {
            id: Uuid::new_v4(),
            display_name: String::new(),
            external_id: None,
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        let members = take(&mut group, &read(&GROUPS, body)?)?;
        let mut tx = self.store.begin().await?;
        rows::insert(&mut tx, &group).await?;
        rows::change_members(&mut tx, group.id, &members, &BTreeSet::new()).await?;
        let details = json!({ "displayName": group.display_name, "added": members.len() });
        let done = provisioner.principal.did(&provisioner.asker, "group.create", "group", group.id);
        tx.audit(AuditEntry { details, ..done });
        let whole = whole(tx.connection(), &group, wanted, &provisioner.base).await?;
        tx.commit().await?;
        Ok((whole, version(&group)))
    }

    /// One group.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub async fn scim_view_group(
        &self,
        provisioner: &Provisioner,
        id: &str,
        wanted: &Wanted,
    ) -> Result<(Value, String), ScimFault> {
        may_provision(provisioner)?;
        let mut connection = self.store.read().await?;
        let group = find(&mut connection, id_of(id, "Group")?).await?;
        let whole = whole(&mut connection, &group, wanted, &provisioner.base).await?;
        Ok((whole, version(&group)))
    }

    /// Groups that fit. Members are only looked up if they are wanted.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub async fn scim_list_groups(
        &self,
        provisioner: &Provisioner,
        wish: &Wish,
        wanted: &Wanted,
    ) -> Result<Found, ScimFault> {
        may_provision(provisioner)?;
        let (search, start_index) = search(&GROUPS, wish)?;
        let mut connection = self.store.read().await?;
        let listed = rows::list(&mut connection, &search).await?;
        let mut resources = Vec::with_capacity(listed.rows.len());
        for group in &listed.rows {
            resources.push(whole(&mut connection, group, wanted, &provisioner.base).await?);
        }
        Ok(Found { total: listed.total, start_index, resources })
    }

    /// Replaces a group: its names and all of its members.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub async fn scim_replace_group(
        &self,
        provisioner: &Provisioner,
        id: &str,
        if_match: Option<&str>,
        body: &Value,
        wanted: &Wanted,
    ) -> Result<(Value, String), ScimFault> {
        let edit = |document: &mut Document| {
            *document = read(&GROUPS, body)?;
            Ok(())
        };
        self.scim_change_group(provisioner, id, if_match, edit, wanted).await
    }

    /// Does what a PATCH says, all of it or nothing.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub async fn scim_patch_group(
        &self,
        provisioner: &Provisioner,
        id: &str,
        if_match: Option<&str>,
        body: &Value,
        wanted: &Wanted,
    ) -> Result<(Value, String), ScimFault> {
        let edit = |document: &mut Document| patch::apply(&GROUPS, document, body);
        self.scim_change_group(provisioner, id, if_match, edit, wanted).await
    }

    async fn scim_change_group(
        &self,
        provisioner: &Provisioner,
        id: &str,
        if_match: Option<&str>,
        edit: impl FnOnce(&mut Document) -> Result<(), ScimError>,
        wanted: &Wanted,
    ) -> Result<(Value, String), ScimFault> {
        may_provision(provisioner)?;
        let mut tx = self.store.begin().await?;
        let before = find(tx.connection(), id_of(id, "Group")?).await?;
        check_version(if_match, &version(&before))?;
        let members = rows::members(tx.connection(), before.id).await?;
        let mut document = document(&before, &members);
        edit(&mut document)?;
        let mut after = before.clone();
        let wished = take(&mut after, &document)?;
        let present: BTreeSet<UserId> = members.iter().map(|member| member.user).collect();
        let added: BTreeSet<UserId> = wished.difference(&present).copied().collect();
        let removed: BTreeSet<UserId> = present.difference(&wished).copied().collect();
        let renamed = before.display_name != after.display_name || before.external_id != after.external_id;
        let changed = renamed || !added.is_empty() || !removed.is_empty();
        if changed {
            after.updated_at = Moment::now();
            after.revision += 1;
            rows::replace(&mut tx, &after).await?;
            rows::change_members(&mut tx, after.id, &added, &removed).await?;
            let details =
                json!({ "displayName": after.display_name, "added": added.len(), "removed": removed.len() });
            let done = provisioner.principal.did(&provisioner.asker, "group.update", "group", after.id);
            tx.audit(AuditEntry { details, ..done });
        }
        let whole = whole(tx.connection(), &after, wanted, &provisioner.base).await?;
        if changed {
            tx.commit().await?;
        }
        Ok((whole, version(&after)))
    }

    /// Deletes a group. Its members stay, without the roles that they had by it.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub async fn scim_delete_group(
        &self,
        provisioner: &Provisioner,
        id: &str,
        if_match: Option<&str>,
    ) -> Result<(), ScimFault> {
        may_provision(provisioner)?;
        let mut tx = self.store.begin().await?;
        let group = find(tx.connection(), id_of(id, "Group")?).await?;
        check_version(if_match, &version(&group))?;
        rows::delete(&mut tx, group.id).await?;
        let details = json!({ "displayName": group.display_name });
        let done = provisioner.principal.did(&provisioner.asker, "group.delete", "group", group.id);
        tx.audit(AuditEntry { details, ..done });
        tx.commit().await?;
        Ok(())
    }
}

async fn find(connection: &mut Connection, id: Uuid) -> Result<GroupRow, ScimFault> {
    rows::find(connection, id).await?.ok_or_else(|| AppError::NotFound("Group").into())
}

async fn whole(
    connection: &mut Connection,
    group: &GroupRow,
    wanted: &Wanted,
    base: &str,
) -> Result<Value, ScimFault> {
    let members = match wanted.may_have("members") {
        true => rows::members(connection, group.id).await?,
        false => Vec::new(),
    };
    Ok(wanted.cut(resource(group, &members, wanted.names("members"), base)))
}

fn document(group: &GroupRow, members: &[MemberRow]) -> Document {
    let mut document = Document::new();
    document.insert("displayName".to_owned(), group.display_name.clone().into());
    if let Some(external_id) = &group.external_id {
        document.insert("externalId".to_owned(), external_id.clone().into());
    }
    if !members.is_empty() {
        let member = |member: &MemberRow| json!({ "value": member.user.to_string() });
        document.insert("members".to_owned(), members.iter().map(member).collect());
    }
    document
}

/// Puts a document's names into the row; the members that it names.
fn take(group: &mut GroupRow, document: &Document) -> Result<BTreeSet<UserId>, ScimFault> {
    let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    group.display_name = text("displayName").unwrap_or_default();
    group.external_id = text("externalId");
    check_text("displayName", &group.display_name)?;
    let members = document.get("members").and_then(Value::as_array).into_iter().flatten();
    members.map(member_of).collect()
}

fn member_of(member: &Value) -> Result<UserId, ScimFault> {
    let invalid = |text: String| ScimFault::from(ScimError::new(ScimType::InvalidValue, text));
    if member["type"].as_str().is_some_and(|kind| !kind.eq_ignore_ascii_case("User")) {
        return Err(invalid("members: only users are members of groups".to_owned()));
    }
    let id = member["value"].as_str().unwrap_or_default();
    id.parse().map_err(|_| invalid(format!("members: `{}` is no user", shown(id))))
}

fn version(group: &GroupRow) -> String {
    version_of(&format!("{}/{}", group.id, group.revision))
}

fn resource(group: &GroupRow, members: &[MemberRow], with_names: bool, base: &str) -> Value {
    let document = document(group, &[]);
    let schemas = schemas(&GROUPS, &document);
    let mut resource = Value::Object(document);
    resource["schemas"] = schemas;
    resource["id"] = group.id.to_string().into();
    if !members.is_empty() {
        let member = |member: &MemberRow| {
            let mut value = json!({ "value": member.user.to_string(), "type": "User",
                "$ref": format!("{base}/Users/{}", member.user) });
            if with_names {
                value["display"] = member.user_name.clone().into();
            }
            value
        };
        resource["members"] = members.iter().map(member).collect();
    }
    resource["meta"] = json!({
        "resourceType": "Group",
        "created": group.created_at,
        "lastModified": group.updated_at,
        "location": format!("{base}/Groups/{}", group.id),
        "version": version(group),
    });
    resource
}
