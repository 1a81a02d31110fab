//! The first page: where one stands, and the way to what is done most.

use askama::Template;

use super::error::UiResult;
use super::frame::{Frame, Section, show};
use super::shell::Member;
use crate::store::Page;
use crate::store::domains::DomainFilter;
use crate::store::invitations::InvitationState;
use crate::store::pats::{PatFilter, PatStatus};

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    first_name: String,
    pats: i64,
    domains: Vec<(String, String, String)>,
    domains_total: i64,
    invitations: i64,
}

pub(super) async fn show_page(member: Member) -> UiResult {
    let (app, who) = (&member.app, member.who());
    let few = Page { offset: 0, limit: 6 };
    let active = PatFilter { status: Some(PatStatus::Active), ..PatFilter::default() };
    let pats = app.list_pats(who, &active, Page { offset: 0, limit: 1 }).await?.total;
    let domains = app.list_domains(who, DomainFilter::default(), few).await?;
    let invitations = app.own_invitations(who, Some(InvitationState::Pending), few).await?.total;
    let user = &member.session.user;
    let first_name = if user.first_name.is_empty() { &user.username } else { &user.first_name };
    let domains_total = domains.total;
    let shown = domains.rows.into_iter().map(|row| {
        let path = row.alias.clone().unwrap_or_else(|| row.id.to_string());
        (row.id.to_string(), row.name, path)
    });
    Ok(show(&Home {
        frame: member.frame(Section::Home, "Overview"),
        first_name: first_name.clone(),
        pats,
        domains: shown.collect(),
        domains_total,
        invitations,
    }))
}
