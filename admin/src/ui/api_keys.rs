//! API keys, for superadmins: the list, a new one, one key, its end. Who may is what [`crate::app::api_keys`] says.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use cube_wire::DomainId;
use uuid::Uuid;

use super::confirm::Confirm;
use super::duration::{Durations, duration_of};
use super::error::{UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::{Asked, ROWS};
use super::people;
use super::permissions::domain_choices;
use super::shell::Member;
use super::view::{Badge, Choice, When, count_of};
use crate::app::api_keys::{IssuedApiKey, NewApiKey};
use crate::app::{App, AppError};
use crate::clock::Moment;
use crate::store::Cursor;
use crate::store::Page;
use crate::store::api_keys::{ApiKeyRights, ApiKeyRow, ApiScope};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/api-keys", get(list))
        .route("/ui/api-keys/new", get(ask).post(create))
        .route("/ui/api-keys/{id}", get(view))
        .route("/ui/api-keys/{id}/revoke", get(ask_revoke).post(revoke))
}

/// Domains and deployments to tick, each at most.
const CHOICES_MAX: i64 = 200;

struct Row {
    id: Uuid,
    name: String,
    status: Badge,
    scopes: Vec<&'static str>,
    /// What it is limited to, in a few words; empty: nothing.
    limits: String,
    maker: String,
    created: When,
    last_used: Option<When>,
    expires: When,
}

fn row_of(row: &ApiKeyRow, maker: String) -> Row {
    let counted = |count: Option<usize>, one, many| {
        count.map(|count| count_of(i64::try_from(count).unwrap_or(i64::MAX), one, many))
    };
    let limits = [
        counted(row.rights.domains.as_ref().map(Vec::len), "domain", "domains"),
        counted(row.rights.deployments.as_ref().map(Vec::len), "deployment", "deployments"),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    Row {
        id: row.id,
        name: row.name.clone(),
        status: match row.expires_at > Moment::now() {
            true => Badge { tone: "good", text: "Active" },
            false => Badge { tone: "quiet", text: "Expired" },
        },
        scopes: row.rights.scopes.iter().map(|scope| scope.name()).collect(),
        limits: if limits.is_empty() { String::new() } else { format!("only {}", limits.join(", ")) },
        maker,
        created: When::new(row.created_at),
        last_used: When::maybe(row.last_used_at),
        expires: When::new(row.expires_at),
    }
}

#[derive(Template)]
#[template(path = "api_keys.html")]
struct ApiKeys {
    frame: Frame,
    rows: Vec<Row>,
    next: Option<String>,
    newest: bool,
}

async fn list(member: Member, asked: Asked) -> UiResult {
    let after = Cursor::of_text(asked.value("after"));
    let rows = member.app.list_api_keys(member.who(), after, ROWS).await?;
    let next = rows
        .last()
        .filter(|_| rows.len() as i64 == ROWS)
        .map(|row| asked.with(&[("after", &row.cursor().to_string())]));
    let named = people::named(&member, rows, |row| row.created_by).await?;
    Ok(show(&ApiKeys {
        frame: member.frame(Section::ApiKeys, "API keys"),
        rows: named.into_iter().map(|(row, maker)| row_of(&row, maker)).collect(),
        next,
        newest: after.is_none(),
    }))
}

/// What a scope opens, in a few words.
const fn help_of(scope: ApiScope) -> &'static str {
    match scope {
        ApiScope::DeploymentsRead => "See deployments, their endpoints and how they do",
        ApiScope::DeploymentsWrite => "Make, change and remove deployments",
        ApiScope::ModelsRead => "See the models of domains",
        ApiScope::ModelsWrite => "Change what models domains offer",
        ApiScope::UsageRead => "Read what was used",
        ApiScope::AuditRead => "Read who did what",
        ApiScope::NodesRead => "See proxies and how far they are",
        ApiScope::NodesWrite => "Drain and forget proxies",
        ApiScope::UsersRead => "See users",
        ApiScope::Scim => "Keep users and groups in step: for an identity provider",
    }
}

#[derive(Template)]
#[template(path = "api_key_new.html")]
struct ApiKeyNew {
    frame: Frame,
    form: Form,
    durations: Durations,
    scopes: Vec<(&'static str, &'static str)>,
    domains: Vec<Choice>,
    more_domains: bool,
    deployments: Vec<String>,
}

async fn editing(member: &Member, form: Form) -> UiResult<ApiKeyNew> {
    let few = Page { offset: 0, limit: CHOICES_MAX };
    let deployments = member.app.list_deployments(member.who(), None, few).await?;
    let domains = domain_choices(member).await?;
    Ok(ApiKeyNew {
        frame: member.frame(Section::ApiKeys, "Create API key"),
        form,
        durations: Durations::up_to(member.app.settings.api_keys.lifetime_max),
        scopes: ApiScope::ALL.iter().map(|scope| (scope.name(), help_of(*scope))).collect(),
        more_domains: domains.len() as i64 == CHOICES_MAX,
        domains,
        deployments: deployments.rows.into_iter().map(|row| row.name).collect(),
    })
}

async fn ask(member: Member, asked: Asked) -> UiResult {
    member.operator()?;
    let mut form = Form::of([("duration", "90d".to_owned())]);
    // Other pages lead here for a key of one kind.
    form.set("scope", asked.value("scope"));
    Ok(show(&editing(&member, form).await?))
}

/// What the form asks for; what is wrong with it stands beside the fields.
fn wanted(form: &mut Form) -> Option<NewApiKey> {
    if form.text("name").is_empty() {
        form.wrong("name", "Give the key a name that tells you later what it is for.");
    }
    let scopes: Vec<ApiScope> = form.all("scope").filter_map(ApiScope::from_name).collect();
    if scopes.is_empty() {
        form.wrong("scopes", "Tick at least one scope.");
    }
    let ids = form.all("domain").map(|id| id.parse().map(DomainId)).collect::<Result<Vec<_>, _>>();
    let Ok(domains) = ids else {
        form.wrong("domains", "Not an id of a domain.");
        return None;
    };
    let deployments: Vec<String> = form.all("deployment").map(str::to_owned).collect();
    let duration = duration_of(form)?;
    let rights = ApiKeyRights {
        scopes,
        domains: Some(domains).filter(|domains| !domains.is_empty()),
        deployments: Some(deployments).filter(|names| !names.is_empty()),
    };
    form.faults().is_empty().then(|| NewApiKey { name: form.text("name"), duration, rights })
}

async fn create(member: Member, mut form: Form) -> UiResult {
    member.operator()?;
    let Some(new) = wanted(&mut form) else {
        return Ok(page(StatusCode::BAD_REQUEST, &editing(&member, form).await?));
    };
    match member.app.create_api_key(member.who(), &member.asker, new).await {
        Ok(issued) => secret_page(&member, issued).await,
        Err(error) => {
            let status = form.fail(error)?;
            Ok(page(status, &editing(&member, form).await?))
        }
    }
}

/// The page that shows a key. It is an answer to a POST and at no address of its own.
#[derive(Template)]
#[template(path = "api_key_secret.html")]
struct Secret {
    frame: Frame,
    id: Uuid,
    name: String,
    secret: String,
    curl: Option<String>,
    no_origin: bool,
    expires: Option<When>,
    old_secret_until: Option<When>,
    /// Where an identity provider finds us, if the key is for one.
    scim: Option<String>,
}

async fn secret_page(member: &Member, issued: IssuedApiKey) -> UiResult<Response> {
    let secret = issued.secret.expose().to_owned();
    let row = issued.row;
    let origin = member.origin.url();
    let path = call_for(member, &row.rights).await?;
    Ok(page(
        StatusCode::CREATED,
        &Secret {
            frame: member.frame(Section::ApiKeys, "Copy your API key now"),
            id: row.id,
            curl: path
                .map(|path| format!("curl '{origin}{path}' \\\n  -H \"Authorization: Bearer {secret}\"")),
            no_origin: false,
            expires: Some(When::new(row.expires_at)),
            old_secret_until: None,
            scim: row.rights.scopes.contains(&ApiScope::Scim).then(|| super::groups::address(member)),
            name: row.name,
            secret,
        },
    ))
}

/// What to call first with these rights.
async fn call_for(member: &Member, rights: &ApiKeyRights) -> UiResult<Option<String>> {
    let domain = match rights.domains.as_ref().and_then(|domains| domains.first()) {
        Some(domain) => Some(domain.to_string()),
        None => domain_choices(member).await?.into_iter().next().map(|choice| choice.value),
    };
    let limited = rights.domains.is_some();
    let in_domain = |path: &str| match (&domain, limited) {
        (Some(domain), true) => format!("{path}&domain={domain}"),
        (Some(_) | None, _) => path.to_owned(),
    };
    Ok(rights.scopes.iter().find_map(|scope| match scope {
        ApiScope::DeploymentsRead | ApiScope::DeploymentsWrite => Some("/api/v1/deployments".to_owned()),
        ApiScope::ModelsRead | ApiScope::ModelsWrite => {
            domain.as_ref().map(|domain| format!("/api/v1/domains/{domain}/models"))
        }
        ApiScope::UsageRead => Some(in_domain("/api/v1/usage?group_by=model")),
        ApiScope::AuditRead => Some(in_domain("/api/v1/audit?first=10")),
        ApiScope::NodesRead | ApiScope::NodesWrite => Some("/api/v1/nodes".to_owned()),
        ApiScope::UsersRead => Some("/api/v1/users?limit=10".to_owned()),
        ApiScope::Scim => Some(format!("{}/Users?count=10", crate::http::SCIM_BASE)),
    }))
}

#[derive(Template)]
#[template(path = "api_key.html")]
struct ApiKeyPage {
    frame: Frame,
    row: Row,
    scopes: Vec<(&'static str, &'static str)>,
    /// Identifier and name of each; empty: not limited.
    domains: Vec<(Uuid, String)>,
    deployments: Vec<String>,
}

/// The key of a path: what is no identifier names nothing.
async fn find(member: &Member, id: &str) -> UiResult<ApiKeyRow> {
    // Not found is for those who may look: to others every key is refused alike.
    member.operator()?;
    let id = id.parse::<Uuid>().map_err(|_| AppError::NotFound("API key"))?;
    Ok(member.app.view_api_key(member.who(), id).await?)
}

async fn view(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    let maker = people::name(&member, row.created_by).await?;
    let mut domains = Vec::new();
    for id in row.rights.domains.iter().flatten() {
        // A domain that is gone leaves its identifier behind.
        let found = member.app.view_domain(member.who(), *id).await;
        domains.push((id.0, found.map_or_else(|_| id.to_string(), |domain| domain.name)));
    }
    Ok(show(&ApiKeyPage {
        frame: member.frame(Section::ApiKeys, row.name.clone()),
        scopes: row.rights.scopes.iter().map(|scope| (scope.name(), help_of(*scope))).collect(),
        domains,
        deployments: row.rights.deployments.clone().unwrap_or_default(),
        row: row_of(&row, maker),
    }))
}

async fn ask_revoke(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    let mut effects =
        vec![format!("Every request with “{}” is refused with 401, from the next one on.", row.name)];
    if let Some(last) = When::maybe(row.last_used_at) {
        effects.push(format!("It was last used {} ({}).", last.relative, last.text));
    }
    if row.rights.scopes.contains(&ApiScope::Scim) {
        effects.push(
            "An identity provider that uses it keeps users and groups in step no more; those that are there stay as they are."
                .to_owned(),
        );
    }
    effects.push("It is gone for good: nothing brings it back but making another one. What it did stays in the audit log.".to_owned());
    Ok(Confirm {
        frame: member.frame(Section::ApiKeys, format!("Revoke “{}”?", row.name)),
        effects,
        action: format!("/ui/api-keys/{id}/revoke"),
        button: "Revoke API key",
        back: format!("/ui/api-keys/{id}"),
        hidden: Vec::new(),
    }
    .ask())
}

async fn revoke(member: Member, Path(id): Path<String>) -> UiResult {
    let row = find(&member, &id).await?;
    member.app.delete_api_key(member.who(), &member.asker, row.id).await?;
    Ok(go("/ui/api-keys?done=revoked"))
}
