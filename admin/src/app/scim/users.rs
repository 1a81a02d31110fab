//! Users by SCIM.

use cube_wire::UserId;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::resources::{Done, Meta, Provisioned};
use super::{ScimFault, version_of};
use crate::app::AppError;
use crate::app::users::{check_text, email_is_valid, username_is_valid};
use crate::clock::Moment;
use crate::scim::resource::{Document, Wanted};
use crate::scim::schema::{ResourceType, USERS};
use crate::scim::{ScimError, ScimType};
use crate::store::scim::Search;
use crate::store::scim::users::{self as rows, GroupOfUser, ScimUserRow};
use crate::store::{Connection, Listed, StoreError, WriteTx, logins, users};

/// Longest username that is made of a provider's name, in bytes; the rest is for what tells it apart.
const USERNAME_STEM_MAX: usize = 24;

impl Provisioned for ScimUserRow {
    const TYPE: &'static ResourceType = &USERS;
    const ENTITY: &'static str = "user";

    /// The user can act as soon as somebody gives rights: by a role, or by mapping one of the user's groups.
    async fn insert(tx: &mut WriteTx, document: Document) -> Result<(Self, Done), ScimFault> {
        let now = Moment::now();
        let mut user = Self {
            id: UserId(Uuid::new_v4()),
            user_name: String::new(),
            external_id: None,
            first_name: String::new(),
            last_name: String::new(),
            email: None,
            enabled: true,
            more: Map::new(),
            created_at: now,
            updated_at: now,
        };
        take(&mut user, document)?;
        if rows::name_is_taken(tx.connection(), &user.user_name).await? {
            return Err(ScimError::new(ScimType::Uniqueness, "userName is taken").into());
        }
        let username = username_for(tx, &user).await?;
        rows::insert(tx, &user, &username).await?;
        let details = json!({ "userName": user.user_name, "username": username });
        Ok((user, Done { action: "user.create", details }))
    }

    async fn find(connection: &mut Connection, id: Uuid) -> Result<Option<Self>, StoreError> {
        rows::find(connection, UserId(id)).await
    }

    async fn list(connection: &mut Connection, search: &Search) -> Result<Listed<Self>, StoreError> {
        rows::list(connection, search).await
    }

    fn meta(&self) -> Meta {
        Meta {
            id: self.id.0,
            created: self.created_at,
            last_modified: self.updated_at,
            version: version_of(&Value::Object(document(self)).to_string()),
        }
    }

    async fn document(&self, _connection: &mut Connection) -> Result<Document, StoreError> {
        Ok(document(self))
    }

    async fn attributes(
        &self,
        connection: &mut Connection,
        wanted: &Wanted,
        base: &str,
    ) -> Result<Document, StoreError> {
        let mut attributes = document(self);
        let groups = match wanted.may_have("groups") {
            true => rows::groups_of(connection, self.id).await?,
            false => Vec::new(),
        };
        if !groups.is_empty() {
            let group = |group: &GroupOfUser| {
                json!({ "value": group.id, "$ref": format!("{base}/Groups/{}", group.id),
                    "display": group.display_name, "type": "direct" })
            };
            attributes.insert("groups".to_owned(), groups.iter().map(group).collect());
        }
        Ok(attributes)
    }

    /// Without `active` the user stays as enabled as it is.
    async fn change(
        self,
        tx: &mut WriteTx,
        was: &Document,
        mut document: Document,
    ) -> Result<(Self, Option<Done>), ScimFault> {
        document.entry("active").or_insert_with(|| self.enabled.into());
        if document == *was {
            return Ok((self, None));
        }
        let mut after = self.clone();
        take(&mut after, document)?;
        after.updated_at = Moment::now();
        if self.enabled && !after.enabled {
            keep_a_superadmin(tx, self.id).await?;
            logins::revoke_all(tx, self.id, after.updated_at).await?;
        }
        rows::replace(tx, &self, &after).await?;
        let action = match (self.enabled, after.enabled) {
            (true, false) => "user.disable",
            (false, true) => "user.enable",
            (true, true) | (false, false) => "user.update",
        };
        let details = json!({ "userName": after.user_name });
        Ok((after, Some(Done { action, details })))
    }

    /// With all PATs and roles.
    async fn delete(self, tx: &mut WriteTx) -> Result<Done, ScimFault> {
        keep_a_superadmin(tx, self.id).await?;
        users::delete(tx, self.id).await?;
        Ok(Done { action: "user.delete", details: json!({ "userName": self.user_name }) })
    }
}

/// Refuses to do without this user if there is no other superadmin.
async fn keep_a_superadmin(tx: &mut WriteTx, without: UserId) -> Result<(), ScimFault> {
    match users::has_superadmin(tx.connection(), Some(without)).await? {
        true => Ok(()),
        false => Err(AppError::Conflict("this is the last superadmin".to_owned()).into()),
    }
}

/// A username of cube's own for a provider's name: the same if it can be one, else what is before the `@`, told apart if need be.
pub(in crate::app) async fn username_for(tx: &mut WriteTx, user: &ScimUserRow) -> Result<String, StoreError> {
    if username_is_valid(&user.user_name) {
        return Ok(user.user_name.clone());
    }
    let stem = username_stem(&user.user_name);
    if !rows::name_is_taken(tx.connection(), &stem).await? {
        return Ok(stem);
    }
    let id = user.id.0.simple().to_string();
    Ok(format!("{stem}-{}", &id[..6]))
}

fn username_stem(name: &str) -> String {
    let local = name.split('@').next().unwrap_or_default();
    let mut stem = String::new();
    for character in local.chars().take(USERNAME_STEM_MAX) {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' => stem.push(character),
            _ if stem.is_empty() || stem.ends_with('-') => {}
            _ => stem.push('-'),
        }
    }
    let stem = stem.trim_end_matches('-');
    if stem.is_empty() { "user".to_owned() } else { stem.to_owned() }
}

/// What a provider has said of a user, with what cube knows by itself.
fn document(user: &ScimUserRow) -> Document {
    let mut document = user.more.clone();
    document.insert("userName".to_owned(), user.user_name.clone().into());
    document.insert("active".to_owned(), user.enabled.into());
    if let Some(external_id) = &user.external_id {
        document.insert("externalId".to_owned(), external_id.clone().into());
    }
    let mut name = match document.remove("name") {
        Some(Value::Object(name)) => name,
        Some(_) | None => Map::new(),
    };
    for (part, text) in [("givenName", &user.first_name), ("familyName", &user.last_name)] {
        if !text.is_empty() {
            name.insert(part.to_owned(), text.clone().into());
        }
    }
    if !name.is_empty() {
        document.insert("name".to_owned(), Value::Object(name));
    }
    if let Some(email) = &user.email {
        let ours = json!([{ "type": "work", "primary": true }]);
        let emails = document.entry("emails").or_insert(ours);
        for address in emails.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            address.entry("value").or_insert_with(|| email.clone().into());
        }
    }
    document
}

/// Puts a document where cube keeps it: what cube knows by itself in columns, the rest as it is.
fn take(user: &mut ScimUserRow, mut document: Document) -> Result<(), ScimFault> {
    let mut text = |name: &str| match document.remove(name) {
        Some(Value::String(text)) => Some(text),
        Some(_) | None => None,
    };
    user.user_name = text("userName").unwrap_or_default();
    user.external_id = text("externalId");
    check_text("userName", &user.user_name)?;
    if let Some(Value::Bool(active)) = document.remove("active") {
        user.enabled = active;
    }
    let mut part = |name: &str| {
        let parts = document.get_mut("name").and_then(Value::as_object_mut);
        let text = parts.and_then(|parts| parts.remove(name));
        text.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    user.first_name = part("givenName");
    user.last_name = part("familyName");
    check_text("name.givenName", &user.first_name)?;
    check_text("name.familyName", &user.last_name)?;
    if document.get("name").and_then(Value::as_object).is_some_and(Map::is_empty) {
        document.remove("name");
    }
    user.email = take_email(&mut document)?;
    user.more = document;
    Ok(())
}

/// Takes the user's address out of the list: of the primary one, else of the first.
fn take_email(document: &mut Document) -> Result<Option<String>, ScimFault> {
    let Some(Value::Array(emails)) = document.get_mut("emails") else { return Ok(None) };
    emails.retain(|email| email["value"].is_string());
    let primary = emails.iter().position(|email| email["primary"] == true).unwrap_or(0);
    let taken =
        emails.get_mut(primary).and_then(Value::as_object_mut).and_then(|email| email.remove("value"));
    let Some(Value::String(email)) = taken else {
        document.remove("emails");
        return Ok(None);
    };
    if !email_is_valid(&email) {
        return Err(ScimError::new(ScimType::InvalidValue, "emails: not an e-mail address").into());
    }
    Ok(Some(email))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_username_is_made_of_any_name() {
        for (name, stem) in [
            ("Ada.Lovelace@example.org", "Ada-Lovelace"),
            ("ada__l@x", "ada-l"),
            ("..@x", "user"),
            ("日本@x", "user"),
            ("-a-@x", "a"),
            ("", "user"),
        ] {
            assert_eq!(username_stem(name), stem, "{name}");
            assert!(username_is_valid(&username_stem(name)), "{name}");
        }
        let long = username_stem(&"x".repeat(100));
        assert!(username_is_valid(&format!("{long}-123456")), "{long}");
    }
}
