//! Groups by SCIM.

use std::collections::BTreeSet;

use cube_wire::UserId;
use serde_json::{Value, json};
use uuid::Uuid;

use super::resources::{Done, Meta, Provisioned};
use super::{ScimFault, version_of};
use crate::app::users::check_text;
use crate::clock::Moment;
use crate::scim::resource::{Document, Wanted};
use crate::scim::schema::{GROUPS, ResourceType};
use crate::scim::{ScimError, ScimType, shown};
use crate::store::scim::Search;
use crate::store::scim::groups::{self as rows, GroupRow, MemberRow};
use crate::store::{Connection, Listed, StoreError, WriteTx};

impl Provisioned for GroupRow {
    const TYPE: &'static ResourceType = &GROUPS;
    const ENTITY: &'static str = "group";

    async fn insert(tx: &mut WriteTx, document: Document) -> Result<(Self, Done), ScimFault> {
        let now = Moment::now();
        let mut group = Self {
            id: Uuid::new_v4(),
            display_name: String::new(),
            external_id: None,
            revision: 1,
            created_at: now,
            updated_at: now,
        };
        take_names(&mut group, &document)?;
        let members = members_of(&document)?;
        rows::insert(tx, &group).await?;
        rows::change_members(tx, group.id, &members, &BTreeSet::new()).await?;
        let details = json!({ "displayName": group.display_name, "added": members.len() });
        Ok((group, Done { action: "group.create", details }))
    }

    async fn find(connection: &mut Connection, id: Uuid) -> Result<Option<Self>, StoreError> {
        rows::find(connection, id).await
    }

    async fn list(connection: &mut Connection, search: &Search) -> Result<Listed<Self>, StoreError> {
        rows::list(connection, search).await
    }

    fn meta(&self) -> Meta {
        Meta {
            id: self.id,
            created: self.created_at,
            last_modified: self.updated_at,
            version: version_of(&format!("{}/{}", self.id, self.revision)),
        }
    }

    async fn document(&self, connection: &mut Connection) -> Result<Document, StoreError> {
        let mut document = names(self);
        let members = rows::members(connection, self.id).await?;
        if !members.is_empty() {
            let member = |member: &MemberRow| json!({ "value": member.user.to_string() });
            document.insert("members".to_owned(), members.iter().map(member).collect());
        }
        Ok(document)
    }

    async fn attributes(
        &self,
        connection: &mut Connection,
        wanted: &Wanted,
        base: &str,
    ) -> Result<Document, StoreError> {
        let mut attributes = names(self);
        let members = match wanted.may_have("members") {
            true => rows::members(connection, self.id).await?,
            false => Vec::new(),
        };
        if !members.is_empty() {
            let with_names = wanted.names("members");
            let member = |member: &MemberRow| {
                let mut value = json!({ "value": member.user.to_string(), "type": "User",
                    "$ref": format!("{base}/Users/{}", member.user) });
                if with_names {
                    value["display"] = member.user_name.clone().into();
                }
                value
            };
            attributes.insert("members".to_owned(), members.iter().map(member).collect());
        }
        Ok(attributes)
    }

    async fn change(
        self,
        tx: &mut WriteTx,
        was: &Document,
        document: Document,
    ) -> Result<(Self, Option<Done>), ScimFault> {
        let mut after = self.clone();
        take_names(&mut after, &document)?;
        let (present, wished) = (members_of(was)?, members_of(&document)?);
        let added: BTreeSet<UserId> = wished.difference(&present).copied().collect();
        let removed: BTreeSet<UserId> = present.difference(&wished).copied().collect();
        let renamed = self.display_name != after.display_name || self.external_id != after.external_id;
        if !renamed && added.is_empty() && removed.is_empty() {
            return Ok((self, None));
        }
        after.updated_at = Moment::now();
        after.revision += 1;
        rows::replace(tx, &after).await?;
        rows::change_members(tx, after.id, &added, &removed).await?;
        let details =
            json!({ "displayName": after.display_name, "added": added.len(), "removed": removed.len() });
        Ok((after, Some(Done { action: "group.update", details })))
    }

    /// Its members stay, without the roles that they had by it.
    async fn delete(self, tx: &mut WriteTx) -> Result<Done, ScimFault> {
        rows::delete(tx, self.id).await?;
        Ok(Done { action: "group.delete", details: json!({ "displayName": self.display_name }) })
    }
}

fn names(group: &GroupRow) -> Document {
    let mut document = Document::new();
    document.insert("displayName".to_owned(), group.display_name.clone().into());
    if let Some(external_id) = &group.external_id {
        document.insert("externalId".to_owned(), external_id.clone().into());
    }
    document
}

fn take_names(group: &mut GroupRow, document: &Document) -> Result<(), ScimFault> {
    let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    group.display_name = text("displayName").unwrap_or_default();
    group.external_id = text("externalId");
    check_text("displayName", &group.display_name)?;
    Ok(())
}

/// The users whom a document names as members.
fn members_of(document: &Document) -> Result<BTreeSet<UserId>, ScimFault> {
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
