//! Domains: the list, a new one, one's names and status, and its end.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use cube_wire::record::DomainStatus;
use cube_wire::{DomainId, Operation, OperationSet};
use uuid::Uuid;

use super::confirm::Confirm;
use super::error::{UiError, UiResult, go};
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::{Asked, Pager};
use super::shell::Member;
use super::view::{Badge, When};
use crate::app::domains::NewDomain;
use crate::app::{App, AppError};
use crate::store::Page;
use crate::store::domains::{DomainChange, DomainFilter, DomainRow};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/ui/domains", get(list))
        .route("/ui/domains/new", get(ask).post(create))
        .route("/ui/domains/{id}", get(view).post(save))
        .route("/ui/domains/{id}/status", post(set_status))
        .route("/ui/domains/{id}/delete", get(ask_delete).post(delete))
}

/// What is at the head of all pages of one domain.
pub(super) struct Place {
    pub(super) id: String,
    pub(super) name: String,
    /// The segment of its paths: alias or identifier.
    pub(super) path: String,
    pub(super) status: Badge,
    pub(super) tab: &'static str,
    pub(super) superadmin: bool,
    allowed: OperationSet,
}

impl Place {
    /// The domain of a path.
    ///
    /// # Errors
    /// Not found, also for what is no identifier and where the visitor has no right of any kind.
    pub(super) async fn of(member: &Member, id: &str, tab: &'static str) -> UiResult<(Self, DomainRow)> {
        let id = DomainId(id.parse::<Uuid>().map_err(|_| AppError::NotFound("domain"))?);
        let allowed = member.app.standing(member.who(), id).await?.allowed;
        let filter = DomainFilter { id: Some(id), ..DomainFilter::default() };
        let found = member.app.list_domains(member.who(), filter, Page { offset: 0, limit: 1 }).await?;
        let row = found.rows.into_iter().next().ok_or(AppError::NotFound("domain"))?;
        let place = Self {
            id: row.id.to_string(),
            name: row.name.clone(),
            path: path_of(&row),
            status: status_badge(row.status),
            tab,
            superadmin: member.who().superadmin,
            allowed,
        };
        Ok((place, row))
    }

    /// Whether the visitor may do this in the domain; a name that is no operation allows nothing.
    pub(super) fn may(&self, operation: &str) -> bool {
        Operation::from_name(operation).is_some_and(|operation| self.allowed.contains(operation))
    }
}

pub(super) const fn status_badge(status: DomainStatus) -> Badge {
    match status {
        DomainStatus::Enabled => Badge { tone: "good", text: "Enabled" },
        DomainStatus::Disabled => Badge { tone: "warn", text: "Disabled" },
        DomainStatus::Freezed => Badge { tone: "bad", text: "Frozen" },
    }
}

pub(super) fn path_of(row: &DomainRow) -> String {
    row.alias.clone().unwrap_or_else(|| row.id.to_string())
}

struct Row {
    id: String,
    name: String,
    path: String,
    status: Badge,
    created: When,
}

#[derive(Template)]
#[template(path = "domains.html")]
struct Domains {
    frame: Frame,
    name: String,
    rows: Vec<Row>,
    pager: Pager,
}

async fn list(member: Member, asked: Asked) -> UiResult {
    let name = asked.written("name").map(str::to_owned);
    let filter = DomainFilter { name: name.clone(), ..DomainFilter::default() };
    let listed = member.app.list_domains(member.who(), filter, asked.page()).await?;
    let rows = listed.rows.into_iter().map(|row| Row {
        id: row.id.to_string(),
        path: path_of(&row),
        name: row.name,
        status: status_badge(row.status),
        created: When::new(row.created_at),
    });
    Ok(show(&Domains {
        frame: member.frame(Section::Domains, "Domains"),
        name: name.unwrap_or_default(),
        rows: rows.collect(),
        pager: asked.pager(listed.total),
    }))
}

#[derive(Template)]
#[template(path = "domain_new.html")]
struct DomainNew {
    frame: Frame,
    form: Form,
}

async fn ask(member: Member) -> UiResult {
    Ok(show(&DomainNew { frame: member.frame(Section::Domains, "New domain"), form: Form::default() }))
}

async fn create(member: Member, mut form: Form) -> UiResult {
    let new = NewDomain { name: form.text("name"), alias: form.written("alias"), ..NewDomain::default() };
    match member.app.create_domain(member.who(), &member.asker, new).await {
        Ok(row) => Ok(go(&format!("/ui/domains/{}?done=created", row.id))),
        Err(error) => {
            let status = form.fail(alias_named(error))?;
            Ok(page(status, &DomainNew { frame: member.frame(Section::Domains, "New domain"), form }))
        }
    }
}

/// The API calls an alias `route`; on the page it is a path.
fn alias_named(error: AppError) -> AppError {
    if let AppError::Invalid { field: "route", why } = error {
        return AppError::Invalid { field: "alias", why };
    }
    let taken = |text: &str| text.starts_with("route") || text.starts_with("alias");
    match matches!(&error, AppError::Conflict(text) if taken(text)) {
        true => AppError::invalid("alias", "this path is taken; choose another one"),
        false => error,
    }
}

#[derive(Template)]
#[template(path = "domain.html")]
struct DomainPage {
    frame: Frame,
    place: Place,
    form: Form,
    created: When,
    default_deployment: Option<String>,
    origin: Option<String>,
    rights: Vec<String>,
    enabled: bool,
    frozen: bool,
}

async fn domain_page(member: &Member, id: &str, form: Option<Form>) -> UiResult<DomainPage> {
    let (place, row) = Place::of(member, id, "overview").await?;
    let form = form.unwrap_or_else(|| {
        Form::of([("name", row.name.clone()), ("alias", row.alias.clone().unwrap_or_default())])
    });
    Ok(DomainPage {
        frame: member.frame(Section::Domains, row.name.clone()),
        rights: place
            .allowed
            .iter()
            .map(|operation| super::view::operation_label(operation.name()))
            .collect(),
        place,
        form,
        created: When::new(row.created_at),
        default_deployment: row.default_deployment,
        origin: member.origin.proxy.clone(),
        enabled: row.status == DomainStatus::Enabled,
        frozen: row.status == DomainStatus::Freezed,
    })
}

async fn view(member: Member, Path(id): Path<String>) -> UiResult {
    Ok(show(&domain_page(&member, &id, None).await?))
}

async fn save(member: Member, Path(id): Path<String>, mut form: Form) -> UiResult {
    let (_, row) = Place::of(&member, &id, "overview").await?;
    let change = DomainChange {
        name: Some(form.text("name")),
        alias: form.written("alias"),
        ..DomainChange::default()
    };
    match member.app.change_domain(member.who(), &member.asker, row.id, change).await {
        Ok(_) => Ok(go(&format!("/ui/domains/{id}?done=saved"))),
        Err(error) => {
            let status = form.fail(alias_named(error))?;
            Ok(page(status, &domain_page(&member, &id, Some(form)).await?))
        }
    }
}

async fn set_status(member: Member, Path(id): Path<String>, form: Form) -> UiResult {
    let (place, row) = Place::of(&member, &id, "overview").await?;
    let (status, what) = match form.value("status") {
        "enable" => (DomainStatus::Enabled, "Enable"),
        "disable" => (DomainStatus::Disabled, "Disable"),
        "freeze" => (DomainStatus::Freezed, "Freeze"),
        _ => return Err(UiError::from(AppError::invalid("status", "enable, disable or freeze"))),
    };
    if status != DomainStatus::Enabled && form.value("sure") != "yes" {
        let effects = match status {
            DomainStatus::Freezed => vec![
                "Nobody but superadmins may do anything in it.".to_owned(),
                format!("Every request below /proxy/{} is refused, within moments.", place.path),
            ],
            DomainStatus::Enabled | DomainStatus::Disabled => vec![
                "Only its administrators may do anything in it.".to_owned(),
                format!("Requests of all others below /proxy/{} are refused, within moments.", place.path),
            ],
        };
        return Ok(Confirm {
            frame: member.frame(Section::Domains, format!("{what} “{}”?", place.name)),
            effects,
            action: format!("/ui/domains/{id}/status"),
            button: if status == DomainStatus::Freezed { "Freeze domain" } else { "Disable domain" },
            back: format!("/ui/domains/{id}"),
            hidden: vec![("status", form.text("status")), ("sure", "yes".to_owned())],
        }
        .ask());
    }
    member.app.set_domain_status(member.who(), &member.asker, row.id, status).await?;
    Ok(go(&format!("/ui/domains/{id}?done=saved")))
}

async fn ask_delete(member: Member, Path(id): Path<String>) -> UiResult {
    let (place, _) = Place::of(&member, &id, "overview").await?;
    Ok(Confirm {
        frame: member.frame(Section::Domains, format!("Delete “{}”?", place.name)),
        effects: vec![
            "Its roles, invitations, models and routes are gone for good.".to_owned(),
            "PATs lose the scopes that they have in it.".to_owned(),
            format!("Every request below /proxy/{} is answered 404, within moments.", place.path),
            "Its usage and its audit log stay.".to_owned(),
        ],
        action: format!("/ui/domains/{id}/delete"),
        button: "Delete domain",
        back: format!("/ui/domains/{id}"),
        hidden: Vec::new(),
    }
    .ask())
}

async fn delete(member: Member, Path(id): Path<String>) -> UiResult {
    let (_, row) = Place::of(&member, &id, "overview").await?;
    member.app.delete_domain(member.who(), &member.asker, row.id).await?;
    Ok(go("/ui/domains?done=deleted"))
}
