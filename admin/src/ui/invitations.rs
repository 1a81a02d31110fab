//! Invitations: those into a domain, and one's own.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use cube_wire::{DomainId, UserId};
use uuid::Uuid;

use super::domains::Place;
use super::error::{UiError, UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::{Asked, Pager};
use super::members::role_choices;
use super::people;
use super::shell::Member;
use super::view::{Badge, Choice, When};
use crate::app::{App, AppError};
use crate::store::invitations::{InvitationRow, InvitationState};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/domains/{id}/invitations", get(list).post(invite))
        .route("/ui/domains/{id}/invitations/take-back", post(take_back))
        .route("/ui/invitations", get(own).post(answer))
}

struct Row {
    user: String,
    name: String,
    domain: String,
    domain_name: String,
    role: String,
    state: Badge,
    open: bool,
    created: When,
}

fn row_of(row: InvitationRow, name: String) -> Row {
    let state = row.state();
    Row {
        user: row.invitee.to_string(),
        name,
        domain: row.domain.to_string(),
        domain_name: row.domain_name,
        role: row.role_name,
        open: state == InvitationState::Pending,
        state: match state {
            InvitationState::Pending => Badge { tone: "warn", text: "Open" },
            InvitationState::Accepted => Badge { tone: "good", text: "Accepted" },
            InvitationState::Rejected => Badge { tone: "quiet", text: "Declined" },
        },
        created: When::new(row.created_at),
    }
}

#[derive(Template)]
#[template(path = "invitations.html")]
struct Invitations {
    frame: Frame,
    place: Place,
    form: Form,
    rows: Vec<Row>,
    roles: Vec<Choice>,
    pager: Pager,
}

async fn invitations(member: &Member, id: &str, asked: &Asked, form: Form) -> UiResult<Invitations> {
    let (place, domain) = Place::of(member, id, "invitations").await?;
    let listed = member.app.domain_invitations(member.who(), domain.id, None, asked.page()).await?;
    let named = people::named(member, listed.rows, |row| row.invitee).await?;
    Ok(Invitations {
        frame: member.frame(Section::Domains, format!("Invitations to {}", place.name)),
        roles: role_choices(member, &place).await?,
        place,
        form,
        rows: named.into_iter().map(|(row, name)| row_of(row, name)).collect(),
        pager: asked.pager(listed.total),
    })
}

async fn list(member: Member, Path(id): Path<String>, asked: Asked) -> UiResult {
    Ok(show(&invitations(&member, &id, &asked, Form::default()).await?))
}

async fn invite(member: Member, Path(id): Path<String>, asked: Asked, mut form: Form) -> UiResult {
    let (_, domain) = Place::of(&member, &id, "invitations").await?;
    let role = form.text("role");
    let again = form.value("again") == "yes";
    let invited = async {
        let user = people::find(&member, &form.text("user")).await?;
        member.app.invite(member.who(), &member.asker, domain.id, (user, &role), again).await
    };
    match invited.await {
        Ok(_) => Ok(go(&format!("/ui/domains/{id}/invitations?done=saved"))),
        Err(error) => {
            let invited = matches!(&error, AppError::Conflict(text) if text.contains("`resend`"));
            let error = match invited {
                true => {
                    AppError::invalid("user", "invited already; tick “Invite again” to make the offer anew")
                }
                false => error,
            };
            let status = form.fail(error)?;
            Ok(page(status, &invitations(&member, &id, &asked, form).await?))
        }
    }
}

async fn take_back(member: Member, Path(id): Path<String>, form: Form) -> UiResult {
    let (_, domain) = Place::of(&member, &id, "invitations").await?;
    let user = form.text("user").parse::<Uuid>().map_err(|_| AppError::NotFound("invitation"))?;
    member.app.delete_invitation(member.who(), &member.asker, domain.id, UserId(user)).await?;
    Ok(go(&format!("/ui/domains/{id}/invitations?done=deleted")))
}

#[derive(Template)]
#[template(path = "own_invitations.html")]
struct Own {
    frame: Frame,
    rows: Vec<Row>,
    pager: Pager,
}

async fn own(member: Member, asked: Asked) -> UiResult {
    let listed = member.app.own_invitations(member.who(), None, asked.page()).await?;
    let rows = listed.rows.into_iter().map(|row| row_of(row, String::new())).collect();
    let frame = member.frame(Section::Invitations, "Invitations");
    Ok(show(&Own { frame, rows, pager: asked.pager(listed.total) }))
}

async fn answer(member: Member, form: Form) -> UiResult {
    let domain = form.text("domain").parse::<Uuid>().map_err(|_| AppError::NotFound("invitation"))?;
    let domain = DomainId(domain);
    match form.value("answer") {
        "accept" => {
            member.app.accept_invitation(member.who(), &member.asker, domain).await?;
            Ok(go(&format!("/ui/domains/{domain}?done=joined")))
        }
        "decline" => {
            member.app.reject_invitation(member.who(), &member.asker, domain).await?;
            Ok(go("/ui/invitations?done=declined"))
        }
        _ => Err(UiError::from(AppError::invalid("answer", "accept or decline"))),
    }
}
