//! Users by SCIM.

use cube_wire::UserId;
use serde_json::{Map, Value, json};

use super::{Found, Provisioner, ScimFault, Wish, check_version, id_of, may_provision, search, version_of};
use crate::app::users::{check_text, email_is_valid, username_is_valid};
use crate::app::{App, AppError};
use crate::clock::Moment;
use crate::scim::resource::{Document, Wanted, check_required, read, schemas};
use crate::scim::schema::USERS;
use crate::scim::{ScimError, ScimType, patch};
use crate::store::scim::users::{self as rows, GroupOfUser, ScimUserRow};
use crate::store::{AuditEntry, Connection, StoreError, WriteTx, logins, users};

/// Longest username that is made of a provider's name, in bytes; the rest is for what tells it apart.
const USERNAME_STEM_MAX: usize = 24;

impl App {
    /// Adds a user, who can act as soon as somebody gives rights: by a role, or by mapping one of the user's groups.
    ///
    /// # Errors
    /// [`ScimFault`]; [`ScimType::Uniqueness`] for a name or an address that is taken.
    pub async fn scim_create_user(
        &self,
        provisioner: &Provisioner,
        body: &Value,
        wanted: &Wanted,
    ) -> Result<(Value, String), ScimFault> {
        may_provision(provisioner)?;
        let now = Moment::now();
        let mut user = ScimUserRow {
            id: UserId(uuid::Uuid::new_v4()),
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
        take(&mut user, read(&USERS, body)?)?;
        let mut tx = self.store.begin().await?;
        if rows::name_is_taken(tx.connection(), &user.user_name).await? {
            return Err(ScimError::new(ScimType::Uniqueness, "userName is taken").into());
        }
        let username = username_for(&mut tx, &user).await?;
        rows::insert(&mut tx, &user, &username).await?;
        let details = json!({ "userName": user.user_name, "username": username });
        let done = provisioner.principal.did(&provisioner.asker, "user.create", "user", user.id);
        tx.audit(AuditEntry { details, ..done });
        tx.commit().await?;
        Ok((wanted.cut(resource(&user, &[], &provisioner.base)), version(&user)))
    }

    /// One user.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub async fn scim_view_user(
        &self,
        provisioner: &Provisioner,
        id: &str,
        wanted: &Wanted,
    ) -> Result<(Value, String), ScimFault> {
        may_provision(provisioner)?;
        let mut connection = self.store.read().await?;
        let user = find(&mut connection, UserId(id_of(id, "User")?)).await?;
        let whole = whole(&mut connection, &user, wanted, &provisioner.base).await?;
        Ok((whole, version(&user)))
    }

    /// Users that fit.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub async fn scim_list_users(
        &self,
        provisioner: &Provisioner,
        wish: &Wish,
        wanted: &Wanted,
    ) -> Result<Found, ScimFault> {
        may_provision(provisioner)?;
        let (search, start_index) = search(&USERS, wish)?;
        let mut connection = self.store.read().await?;
        let listed = rows::list(&mut connection, &search).await?;
        let mut resources = Vec::with_capacity(listed.rows.len());
        for user in &listed.rows {
            resources.push(whole(&mut connection, user, wanted, &provisioner.base).await?);
        }
        Ok(Found { total: listed.total, start_index, resources })
    }

    /// Replaces what the provider says of a user. Without `active` the user stays as enabled as it is.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub async fn scim_replace_user(
        &self,
        provisioner: &Provisioner,
        id: &str,
        if_match: Option<&str>,
        body: &Value,
        wanted: &Wanted,
    ) -> Result<(Value, String), ScimFault> {
        let edit = |document: &mut Document| {
            *document = read(&USERS, body)?;
            Ok(())
        };
        self.scim_change_user(provisioner, id, if_match, edit, wanted).await
    }

    /// Does what a PATCH says, all of it or nothing.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub async fn scim_patch_user(
        &self,
        provisioner: &Provisioner,
        id: &str,
        if_match: Option<&str>,
        body: &Value,
        wanted: &Wanted,
    ) -> Result<(Value, String), ScimFault> {
        let edit = |document: &mut Document| patch::apply(&USERS, document, body);
        self.scim_change_user(provisioner, id, if_match, edit, wanted).await
    }

    async fn scim_change_user(
        &self,
        provisioner: &Provisioner,
        id: &str,
        if_match: Option<&str>,
        edit: impl FnOnce(&mut Document) -> Result<(), ScimError>,
        wanted: &Wanted,
    ) -> Result<(Value, String), ScimFault> {
        may_provision(provisioner)?;
        let id = UserId(id_of(id, "User")?);
        let mut tx = self.store.begin().await?;
        let before = find(tx.connection(), id).await?;
        check_version(if_match, &version(&before))?;
        let mut document = document(&before);
        let was = document.clone();
        edit(&mut document)?;
        check_required(&USERS, &document)?;
        document.entry("active").or_insert_with(|| before.enabled.into());
        let mut after = before.clone();
        let changed = document != was;
        if changed {
            take(&mut after, document)?;
            after.updated_at = Moment::now();
            if before.enabled && !after.enabled {
                if !users::has_superadmin(tx.connection(), Some(id)).await? {
                    return Err(AppError::Conflict("this is the last superadmin".to_owned()).into());
                }
                logins::revoke_all(&mut tx, id, after.updated_at).await?;
            }
            rows::replace(&mut tx, &before, &after).await?;
            let action = match (before.enabled, after.enabled) {
                (true, false) => "user.disable",
                (false, true) => "user.enable",
                (true, true) | (false, false) => "user.update",
            };
            let details = json!({ "userName": after.user_name });
            let done = provisioner.principal.did(&provisioner.asker, action, "user", id);
            tx.audit(AuditEntry { details, ..done });
        }
        let whole = whole(tx.connection(), &after, wanted, &provisioner.base).await?;
        if changed {
            tx.commit().await?;
        }
        Ok((whole, version(&after)))
    }

    /// Deletes a user with all PATs and roles.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub async fn scim_delete_user(
        &self,
        provisioner: &Provisioner,
        id: &str,
        if_match: Option<&str>,
    ) -> Result<(), ScimFault> {
        may_provision(provisioner)?;
        let id = UserId(id_of(id, "User")?);
        let mut tx = self.store.begin().await?;
        let user = find(tx.connection(), id).await?;
        check_version(if_match, &version(&user))?;
        if !users::has_superadmin(tx.connection(), Some(id)).await? {
            return Err(AppError::Conflict("this is the last superadmin".to_owned()).into());
        }
        users::delete(&mut tx, id).await?;
        let details = json!({ "userName": user.user_name });
        let done = provisioner.principal.did(&provisioner.asker, "user.delete", "user", id);
        tx.audit(AuditEntry { details, ..done });
        tx.commit().await?;
        Ok(())
    }
}

async fn find(connection: &mut Connection, id: UserId) -> Result<ScimUserRow, ScimFault> {
    rows::find(connection, id).await?.ok_or_else(|| AppError::NotFound("User").into())
}

async fn whole(
    connection: &mut Connection,
    user: &ScimUserRow,
    wanted: &Wanted,
    base: &str,
) -> Result<Value, ScimFault> {
    let groups = match wanted.may_have("groups") {
        true => rows::groups_of(connection, user.id).await?,
        false => Vec::new(),
    };
    Ok(wanted.cut(resource(user, &groups, base)))
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

fn version(user: &ScimUserRow) -> String {
    version_of(&Value::Object(document(user)).to_string())
}

fn resource(user: &ScimUserRow, groups: &[GroupOfUser], base: &str) -> Value {
    let document = document(user);
    let schemas = schemas(&USERS, &document);
    let mut resource = Value::Object(document);
    resource["schemas"] = schemas;
    resource["id"] = user.id.to_string().into();
    if !groups.is_empty() {
        let group = |group: &GroupOfUser| {
            json!({ "value": group.id, "$ref": format!("{base}/Groups/{}", group.id), "display": group.display_name,
                "type": "direct" })
        };
        resource["groups"] = groups.iter().map(group).collect();
    }
    resource["meta"] = json!({
        "resourceType": "User",
        "created": user.created_at,
        "lastModified": user.updated_at,
        "location": format!("{base}/Users/{}", user.id),
        "version": version(user),
    });
    resource
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
