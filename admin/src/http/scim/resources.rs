//! What entrypoints do with a resource, whichever kind it is of. What they are called, and what they take, stands in [`super::users`] and
//! [`super::groups`].

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::extract::{By, Conditions, Id};
use super::{AttributesQuery, ListQuery, ScimFailure, ScimResult, list, one};
use crate::app::App;
use crate::app::scim::Provisioner;
use crate::app::scim::resources::{Edit, Provisioned, Target};

/// Somebody who provisions asks for resources.
pub(super) struct Resources {
    app: App,
    by: Provisioner,
}

impl FromRequestParts<App> for Resources {
    type Rejection = ScimFailure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ScimFailure> {
        let By(by) = By::from_request_parts(parts, app).await?;
        Ok(Self { app: app.clone(), by })
    }
}

impl Resources {
    pub(super) async fn create<R: Provisioned>(self, query: &AttributesQuery, body: &Value) -> ScimResult {
        let wanted = query.read(R::TYPE)?;
        Ok(one(StatusCode::CREATED, self.app.scim_create::<R>(&self.by, body, &wanted).await?))
    }

    pub(super) async fn list<R: Provisioned>(self, query: &ListQuery) -> ScimResult {
        let (wish, wanted) = query.read(R::TYPE)?;
        Ok(list(self.app.scim_list::<R>(&self.by, &wish, &wanted).await?))
    }
}

/// Somebody who provisions asks for the resource that the path names.
pub(super) struct OneResource {
    app: App,
    by: Provisioner,
    id: String,
    conditions: Conditions,
}

impl FromRequestParts<App> for OneResource {
    type Rejection = ScimFailure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ScimFailure> {
        let Resources { app, by } = Resources::from_request_parts(parts, app).await?;
        let Id(id) = Id::from_request_parts(parts, &app).await?;
        let conditions = Conditions::from_request_parts(parts, &app).await?;
        Ok(Self { app, by, id, conditions })
    }
}

impl OneResource {
    fn target(&self) -> Target<'_> {
        Target { id: &self.id, if_match: self.conditions.if_match.as_deref() }
    }

    pub(super) async fn view<R: Provisioned>(self, query: &AttributesQuery) -> ScimResult {
        let wanted = query.read(R::TYPE)?;
        let found = self.app.scim_view::<R>(&self.by, &self.id, &wanted).await?;
        if found.is_known(self.conditions.if_none_match.as_deref()) {
            return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, found.version)]).into_response());
        }
        Ok(one(StatusCode::OK, found))
    }

    pub(super) async fn change<R: Provisioned>(self, query: &AttributesQuery, edit: Edit<'_>) -> ScimResult {
        let wanted = query.read(R::TYPE)?;
        Ok(one(StatusCode::OK, self.app.scim_change::<R>(&self.by, self.target(), edit, &wanted).await?))
    }

    pub(super) async fn delete<R: Provisioned>(self) -> ScimResult<Response> {
        self.app.scim_delete::<R>(&self.by, self.target()).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}
