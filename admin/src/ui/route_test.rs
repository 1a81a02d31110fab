//! The routes' tester: which rule takes this request, and why.

use askama::Template;
use axum::Router;
use axum::routing::get;
use cube_wire::DomainId;
use uuid::Uuid;

use super::error::UiResult;
use super::form::Form;
use super::frame::{Frame, Section, show};
use super::permissions::domain_choices;
use super::shell::Member;
use super::view::Choice;
use crate::app::App;
use crate::app::explain::{Imagined, describe_condition};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/ui/routes/test", get(ask).post(test))
}

/// What a rule said, for the page.
struct Said {
    name: String,
    to: String,
    general: bool,
    is_default: bool,
    takes: bool,
    unasked: bool,
    conditions: Vec<(String, bool)>,
}

#[derive(Template)]
#[template(path = "route_test.html")]
struct Tester {
    frame: Frame,
    form: Form,
    domains: Vec<Choice>,
    methods: Vec<Choice>,
    /// `None`: nothing was asked yet.
    said: Option<Vec<Said>>,
    taken: Option<String>,
}

async fn tester(member: &Member, form: Form, said: Option<Vec<Said>>) -> UiResult<Tester> {
    let rules = said.iter().flatten();
    let taken = rules.filter(|rule| rule.takes).map(|rule| rule.name.clone()).next();
    Ok(Tester {
        frame: member.frame(Section::Routes, "Which rule takes this request?"),
        form,
        domains: domain_choices(member).await?,
        methods: ["POST", "GET", "DELETE", "PUT", "PATCH"].map(|name| Choice::new(name, name)).to_vec(),
        said,
        taken,
    })
}

async fn ask(member: Member) -> UiResult {
    member.operator()?;
    let body = "{\n  \"model\": \"\",\n  \"messages\": []\n}".to_owned();
    let form = Form::of([
        ("method", "POST".to_owned()),
        ("target", "/v1/chat/completions".to_owned()),
        ("body", body),
    ]);
    Ok(show(&tester(&member, form, None).await?))
}

async fn test(member: Member, mut form: Form) -> UiResult {
    member.operator()?;
    let Ok(domain) = form.text("domain").parse::<Uuid>() else {
        form.wrong("domain", "Choose a domain.");
        return Ok(show(&tester(&member, form, None).await?));
    };
    let target = form.text("target");
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let headers = form.value("headers").lines().filter_map(|line| line.split_once(':'));
    let imagined = Imagined {
        method: form.text("method"),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: headers
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        body: form.value("body").to_owned(),
    };
    let said = member.app.explain_routes(member.who(), DomainId(domain), &imagined).await?;
    let said = said.into_iter().map(|said| Said {
        to: said.rule.target_url.clone().unwrap_or_else(|| said.rule.deployment.clone()),
        general: said.rule.domain.is_none(),
        is_default: said.rule.default_rule,
        takes: said.takes,
        unasked: said.unasked,
        conditions: said
            .conditions
            .iter()
            .map(|(condition, holds)| (describe_condition(condition), *holds))
            .collect(),
        name: said.rule.name,
    });
    let said = said.collect();
    Ok(show(&tester(&member, form, Some(said)).await?))
}
