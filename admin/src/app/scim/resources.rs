//! What becomes of a resource, told once for users and groups: added, seen, listed, changed, deleted. What they differ in is
//! [`Provisioned`].

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Found, Provisioner, ScimFault, Wish, check_version, id_of, may_provision, names_version, search,
};
use crate::app::{App, AppError};
use crate::clock::Moment;
use crate::scim::patch;
use crate::scim::resource::{Document, Wanted, check_required, read, schemas};
use crate::scim::schema::ResourceType;
use crate::store::scim::Search;
use crate::store::{AuditEntry, Connection, Listed, StoreError, WriteTx};

/// What identity providers keep in step with their own: a user or a group, as it lies in the store.
pub(crate) trait Provisioned: Sized {
    /// Its attributes, and where it is.
    const TYPE: &'static ResourceType;
    /// What the audit log calls it.
    const ENTITY: &'static str;

    /// Adds one that says what the document says. Whatever its type requires is in there.
    async fn insert(tx: &mut WriteTx, document: Document) -> Result<(Self, Done), ScimFault>;

    /// The one with this identifier.
    async fn find(connection: &mut Connection, id: Uuid) -> Result<Option<Self>, StoreError>;

    /// Those that fit.
    async fn list(connection: &mut Connection, search: &Search) -> Result<Listed<Self>, StoreError>;

    /// What we say of it ourselves.
    fn meta(&self) -> Meta;

    /// Its attributes as callers write them: what a PATCH changes.
    async fn document(&self, connection: &mut Connection) -> Result<Document, StoreError>;

    /// Its attributes as answers have them. What is not wanted need not be looked up.
    async fn attributes(
        &self,
        connection: &mut Connection,
        wanted: &Wanted,
        base: &str,
    ) -> Result<Document, StoreError>;

    /// Makes it say what `document` says, where that is not what it `was`; nothing is done if that is so already.
    async fn change(
        self,
        tx: &mut WriteTx,
        was: &Document,
        document: Document,
    ) -> Result<(Self, Option<Done>), ScimFault>;

    /// Deletes it.
    async fn delete(self, tx: &mut WriteTx) -> Result<Done, ScimFault>;
}

/// What was done with a resource, for the audit log.
#[derive(Debug)]
pub(crate) struct Done {
    pub(super) action: &'static str,
    pub(super) details: Value,
}

/// What we say of a resource ourselves (RFC 7643 §3.1).
#[derive(Debug)]
pub(crate) struct Meta {
    pub(super) id: Uuid,
    pub(super) created: Moment,
    pub(super) last_modified: Moment,
    /// An ETag.
    pub(super) version: String,
}

/// One resource.
#[derive(Debug)]
pub(crate) struct One {
    /// What is wanted of it.
    pub(crate) resource: Value,
    /// Its ETag.
    pub(crate) version: String,
}

impl One {
    /// Whether an `If-None-Match` says that whoever asks has it already.
    pub(crate) fn is_known(&self, if_none_match: Option<&str>) -> bool {
        if_none_match.is_some_and(|etags| names_version(etags, &self.version))
    }
}

/// Which resource is meant, and what the caller believes of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'r> {
    /// As it stands in the path.
    pub(crate) id: &'r str,
    /// Versions that it may have; `None`: any.
    pub(crate) if_match: Option<&'r str>,
}

/// What is to become of a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edit<'b> {
    /// It says what this body says, and nothing else (PUT).
    Replace(&'b Value),
    /// What this body says is done to it, all of it or nothing (PATCH).
    Patch(&'b Value),
}

impl Edit<'_> {
    fn of(self, kind: &'static ResourceType, was: &Document) -> Result<Document, ScimFault> {
        let document = match self {
            Self::Replace(body) => read(kind, body)?,
            Self::Patch(body) => {
                let mut document = was.clone();
                patch::apply(kind, &mut document, body)?;
                document
            }
        };
        check_required(kind, &document)?;
        Ok(document)
    }
}

impl App {
    /// Adds a resource.
    ///
    /// # Errors
    /// [`ScimFault`]; `uniqueness` for a name or an address that is taken.
    pub(crate) async fn scim_create<R: Provisioned>(
        &self,
        provisioner: &Provisioner,
        body: &Value,
        wanted: &Wanted,
    ) -> Result<One, ScimFault> {
        may_provision(provisioner)?;
        let document = read(R::TYPE, body)?;
        let mut tx = self.store.begin().await?;
        let (made, done) = R::insert(&mut tx, document).await?;
        note::<R>(&mut tx, provisioner, made.meta().id, done);
        let one = one(tx.connection(), &made, provisioner, wanted).await?;
        tx.commit().await?;
        Ok(one)
    }

    /// One resource.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub(crate) async fn scim_view<R: Provisioned>(
        &self,
        provisioner: &Provisioner,
        id: &str,
        wanted: &Wanted,
    ) -> Result<One, ScimFault> {
        may_provision(provisioner)?;
        let id = id_of(id, R::TYPE.name)?;
        let mut connection = self.store.read().await?;
        let found: R = find(&mut connection, id).await?;
        one(&mut connection, &found, provisioner, wanted).await
    }

    /// Resources that fit.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub(crate) async fn scim_list<R: Provisioned>(
        &self,
        provisioner: &Provisioner,
        wish: &Wish,
        wanted: &Wanted,
    ) -> Result<Found, ScimFault> {
        may_provision(provisioner)?;
        let (search, start_index) = search(R::TYPE, wish)?;
        let mut connection = self.store.read().await?;
        let listed = R::list(&mut connection, &search).await?;
        let mut resources = Vec::with_capacity(listed.rows.len());
        for row in &listed.rows {
            resources.push(one(&mut connection, row, provisioner, wanted).await?.resource);
        }
        Ok(Found { total: listed.total, start_index, resources })
    }

    /// Changes a resource, all of it or nothing. What is so already is no change: it leaves the version, and no trace.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub(crate) async fn scim_change<R: Provisioned>(
        &self,
        provisioner: &Provisioner,
        target: Target<'_>,
        edit: Edit<'_>,
        wanted: &Wanted,
    ) -> Result<One, ScimFault> {
        may_provision(provisioner)?;
        let id = id_of(target.id, R::TYPE.name)?;
        let mut tx = self.store.begin().await?;
        let before: R = find(tx.connection(), id).await?;
        check_version(target.if_match, &before.meta().version)?;
        let was = before.document(tx.connection()).await?;
        let document = edit.of(R::TYPE, &was)?;
        let (after, done) = before.change(&mut tx, &was, document).await?;
        let one = one(tx.connection(), &after, provisioner, wanted).await?;
        if let Some(done) = done {
            note::<R>(&mut tx, provisioner, id, done);
            tx.commit().await?;
        }
        Ok(one)
    }

    /// Deletes a resource.
    ///
    /// # Errors
    /// [`ScimFault`].
    pub(crate) async fn scim_delete<R: Provisioned>(
        &self,
        provisioner: &Provisioner,
        target: Target<'_>,
    ) -> Result<(), ScimFault> {
        may_provision(provisioner)?;
        let id = id_of(target.id, R::TYPE.name)?;
        let mut tx = self.store.begin().await?;
        let found: R = find(tx.connection(), id).await?;
        check_version(target.if_match, &found.meta().version)?;
        let done = found.delete(&mut tx).await?;
        note::<R>(&mut tx, provisioner, id, done);
        tx.commit().await?;
        Ok(())
    }
}

async fn find<R: Provisioned>(connection: &mut Connection, id: Uuid) -> Result<R, ScimFault> {
    R::find(connection, id).await?.ok_or_else(|| AppError::NotFound(R::TYPE.name).into())
}

fn note<R: Provisioned>(tx: &mut WriteTx, provisioner: &Provisioner, id: Uuid, done: Done) {
    let entry = provisioner.principal.did(&provisioner.asker, done.action, R::ENTITY, id);
    tx.audit(AuditEntry { details: done.details, ..entry });
}

async fn one<R: Provisioned>(
    connection: &mut Connection,
    row: &R,
    provisioner: &Provisioner,
    wanted: &Wanted,
) -> Result<One, ScimFault> {
    let base = &provisioner.base;
    let Meta { id, created, last_modified, version } = row.meta();
    let mut resource = row.attributes(connection, wanted, base).await?;
    resource.insert("schemas".to_owned(), schemas(R::TYPE, &resource));
    resource.insert("id".to_owned(), id.to_string().into());
    let meta = json!({
        "resourceType": R::TYPE.name,
        "created": created,
        "lastModified": last_modified,
        "location": format!("{base}{}/{id}", R::TYPE.endpoint),
        "version": version,
    });
    resource.insert("meta".to_owned(), meta);
    Ok(One { resource: wanted.cut(Value::Object(resource)), version })
}
