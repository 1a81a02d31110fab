//! Who a user is at the identity provider: on the user's page; set by hand, and taken away.

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use cube_wire::UserId;

use super::confirm::Confirm;
use super::error::{UiResult, go};
use super::form::Form;
use super::frame::{Section, page};
use super::shell::Member;
use super::users::{Sent, find, user_page};
use super::view::name_of;
use crate::app::{App, AppError};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/users/{id}/link", post(set))
        .route("/ui/users/{id}/unlink", get(ask_remove).post(remove))
}

/// Who a user is at the identity provider.
pub(super) struct Link {
    pub(super) issuer: String,
    /// What it calls the user; `None`: nothing yet.
    pub(super) subject: Option<String>,
}

impl Link {
    /// `None`: there is no identity provider.
    pub(super) async fn of(member: &Member, user: UserId) -> UiResult<Option<Self>> {
        let Some(issuer) = member.app.issuer() else { return Ok(None) };
        let subject = match member.app.view_link(member.who(), user).await {
            Ok((_, subject)) => Some(subject),
            Err(AppError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Some(Self { issuer: issuer.to_owned(), subject }))
    }
}

async fn set(member: Member, Path(id): Path<String>, mut form: Form) -> UiResult {
    let row = find(&member, &id).await?;
    let linked = member.app.set_link(member.who(), &member.asker, row.id, &form.text("subject")).await;
    match linked {
        Ok(()) => Ok(go(&format!("/ui/users/{id}?done=saved"))),
        Err(error) => {
            let taken = matches!(error, AppError::Conflict(_));
            let error = match taken {
                true => AppError::invalid("subject", "this is another user’s; take it from them first"),
                false => error,
            };
            let status = form.fail(error)?;
            let sent = Sent { link: Some(form), ..Sent::default() };
            Ok(page(status, &user_page(&member, row, sent).await?))
        }
    }
}

async fn ask_remove(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    let (issuer, subject) = member.app.view_link(member.who(), row.id).await?;
    let mut effects = vec![
        format!(
            "Whoever is “{subject}” at {issuer} is not them any more: no sign-in from there, and no access token."
        ),
        "Sessions that are open stay. Disabling the user ends them.".to_owned(),
    ];
    if member.app.links_by_email() && !row.superadmin {
        effects.push(
            "They are linked again when they come with a verified e-mail address that is this user’s."
                .to_owned(),
        );
    }
    Ok(Confirm {
        frame: member.frame(Section::Users, format!("Remove the link of {}?", name_of(&row))),
        effects,
        action: format!("/ui/users/{id}/unlink"),
        button: "Remove link",
        back: format!("/ui/users/{id}"),
        hidden: Vec::new(),
    }
    .ask())
}

async fn remove(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    member.app.remove_link(member.who(), &member.asker, row.id).await?;
    Ok(go(&format!("/ui/users/{id}?done=saved")))
}
