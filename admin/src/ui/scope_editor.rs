//! Putting scopes together: entity type, domain, entity, operations, Add; as often as one likes. Each step is the form itself sent again,
//! so it works without script; what was added so far travels along in hidden fields.

use cube_wire::{DomainId, OperationSet};

use super::error::UiResult;
use super::form::Form;
use super::shell::Member;
use super::view::{Choice, operation_help, operation_label};
use crate::app::scopes::{NewScope, USER_OPERATIONS};
use crate::app::{AppError, Principal};
use crate::store::Page;
use crate::store::domains::DomainFilter;

/// Domains and models that a choice shows; whoever has more searches.
const CHOICES: Page = Page { offset: 0, limit: 200 };
/// Hidden field with a scope that was added: `type|domain|operation|entity`, the entity last because it may hold anything.
const FIELD: &str = "scope";

/// One scope that was added.
pub(super) struct Chosen {
    pub(super) encoded: String,
    pub(super) entity_type: String,
    pub(super) domain: String,
    pub(super) entity: String,
    pub(super) operation: String,
}

/// One operation to tick.
pub(super) struct Tick {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) help: &'static str,
    pub(super) on: bool,
}

/// The editor, as its template sees it.
pub(super) struct ScopeEditor {
    pub(super) chosen: Vec<Chosen>,
    pub(super) entity_types: Vec<Choice>,
    pub(super) entity_type: String,
    pub(super) domains: Vec<Choice>,
    pub(super) domain: String,
    /// There are more than are shown.
    pub(super) domains_left: bool,
    pub(super) domain_search: String,
    pub(super) entities: Vec<Choice>,
    pub(super) entity: String,
    /// The entity is written and not chosen.
    pub(super) free_entity: bool,
    pub(super) groups: Vec<(&'static str, Vec<Tick>)>,
    pub(super) error: Option<String>,
}

/// What the visitor pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Show the form again.
    Again,
    /// Do it.
    Done,
}

/// Does what was pressed to the scopes in the form.
pub(super) fn step(form: &mut Form) -> Step {
    let pressed = form.value("step").to_owned();
    if let Some(nth) = pressed.strip_prefix("remove-").and_then(|nth| nth.parse().ok()) {
        form.remove(FIELD, nth);
        return Step::Again;
    }
    match &*pressed {
        "choose" => {
            form.clear("operation");
            form.clear("entity");
            Step::Again
        }
        "add" => {
            add(form);
            Step::Again
        }
        _ => Step::Done,
    }
}

fn add(form: &mut Form) {
    let (entity_type, domain) = (form.text("entity_type"), form.text("domain"));
    let entity = match (&*entity_type, form.text("entity")) {
        ("domains", _) => domain.clone(),
        (_, entity) => entity,
    };
    let domain = if entity_type == "users" { String::new() } else { domain };
    if entity_type != "users" && domain.is_empty() {
        return form.wrong("scope", "Choose a domain first.");
    }
    if entity.is_empty() {
        return form.wrong("scope", "Name the entity; * is every entity.");
    }
    let operations: Vec<String> = form.all("operation").map(str::to_owned).collect();
    if operations.is_empty() {
        return form.wrong("scope", "Tick at least one operation, then press Add scope.");
    }
    for operation in operations {
        let encoded = format!("{entity_type}|{domain}|{operation}|{entity}");
        if !form.has(FIELD, &encoded) {
            form.push(FIELD, encoded);
        }
    }
    form.clear("operation");
}

/// The scopes that were added.
pub(super) fn scopes_of(form: &Form) -> Vec<NewScope> {
    form.all(FIELD).filter_map(decode).collect()
}

fn decode(encoded: &str) -> Option<NewScope> {
    let mut parts = encoded.splitn(4, '|');
    let entity_type = parts.next()?.to_owned();
    let domain = parts.next()?.parse().ok().map(DomainId);
    let operation = parts.next()?.to_owned();
    Some(NewScope { entity_type, domain, operation, entity_id: parts.next()?.to_owned() })
}

/// What a scope's entity type is called.
pub(super) fn type_label(entity_type: &str) -> String {
    operation_label(entity_type)
}

impl ScopeEditor {
    /// The editor for what the form has so far: only domains that the visitor sees, and only operations that it has there.
    pub(super) async fn of(member: &Member, form: &Form) -> UiResult<Self> {
        let (app, who) = (&member.app, member.who());
        let search = form.text("domain_search");
        let filter = DomainFilter { name: form.written("domain_search"), ..DomainFilter::default() };
        let listed = app.list_domains(who, filter, CHOICES).await?;
        let mut domains: Vec<Choice> =
            listed.rows.iter().map(|row| Choice::new(row.id.to_string(), &*row.name)).collect();
        domains.sort_by_key(|choice| choice.label.to_lowercase());
        let entity_type = form.written("entity_type").unwrap_or_else(|| "domains".to_owned());
        let mut domain = form.text("domain");
        if !domains.iter().any(|choice| choice.value == domain) {
            domain = domains.first().map(|choice| choice.value.clone()).unwrap_or_default();
        }
        let id = domain.parse().ok().map(DomainId);
        let allowed = match id {
            Some(id) => app.standing(who, id).await?.allowed,
            None => OperationSet::EMPTY,
        };
        let chosen = chosen(form, &domains);
        let entities = match (&*entity_type, id) {
            ("models", Some(id)) => models(member, id).await?,
            _ => Vec::new(),
        };
        Ok(Self {
            chosen,
            entity_types: ["domains", "models", "datasets", "users"]
                .map(|name| Choice::new(name, type_label(name)))
                .to_vec(),
            groups: groups(&entity_type, allowed, who, form),
            free_entity: matches!(&*entity_type, "datasets" | "users"),
            entity: form.written("entity").unwrap_or_else(|| "*".to_owned()),
            entity_type,
            domains_left: listed.total > CHOICES.limit || !search.is_empty(),
            domains,
            domain,
            domain_search: search,
            entities,
            error: form.error("scope").map(str::to_owned),
        })
    }
}

fn chosen(form: &Form, domains: &[Choice]) -> Vec<Chosen> {
    let shown = form.all(FIELD).filter_map(|encoded| {
        let scope = decode(encoded)?;
        let id = scope.domain.map(|id| id.to_string()).unwrap_or_default();
        let domain = domains.iter().find(|choice| choice.value == id).map(|choice| choice.label.clone());
        let entity = match &*scope.entity_id {
            "*" => "Every one".to_owned(),
            entity if entity == id => "The domain itself".to_owned(),
            entity => entity.to_owned(),
        };
        Some(Chosen {
            encoded: encoded.to_owned(),
            entity_type: type_label(&scope.entity_type),
            domain: domain.unwrap_or(id),
            entity,
            operation: operation_label(&scope.operation),
        })
    });
    shown.collect()
}

/// The domain's models, and every one. Whoever may not list them can still say every one.
async fn models(member: &Member, domain: DomainId) -> UiResult<Vec<Choice>> {
    let every = Choice::new("*", "Every model of the domain");
    match member.app.list_models(member.who(), domain, None, CHOICES).await {
        Ok(listed) => {
            let named = listed.rows.into_iter().map(|row| Choice::new(row.name.clone(), row.name));
            Ok(std::iter::once(every).chain(named).collect())
        }
        Err(AppError::Forbidden(_)) => Ok(vec![every]),
        Err(error) => Err(error.into()),
    }
}

fn groups(
    entity_type: &str,
    allowed: OperationSet,
    who: &Principal,
    form: &Form,
) -> Vec<(&'static str, Vec<Tick>)> {
    let tick = |name: &str| Tick {
        label: operation_label(name),
        help: operation_help(name),
        on: form.has("operation", name),
        name: name.to_owned(),
    };
    let of = |wanted: &dyn Fn(&str) -> bool| {
        allowed.iter().map(|operation| operation.name()).filter(|name| wanted(name)).map(tick).collect()
    };
    let groups: Vec<(&'static str, Vec<Tick>)> = match entity_type {
        "models" => vec![("Models", {
            let usable = allowed.intersection(OperationSet::LLM);
            usable.iter().map(|operation| tick(operation.name())).collect()
        })],
        "users" if who.superadmin => vec![("Users", USER_OPERATIONS.iter().map(|name| tick(name)).collect())],
        "users" => vec![("Users", ["read", "update"].iter().map(|name| tick(name)).collect())],
        "datasets" => {
            vec![("Datasets", ["read", "update", "delete"].iter().map(|name| tick(name)).collect())]
        }
        _ => vec![
            ("Models", of(&|name| name.starts_with("llm_"))),
            ("Domain", of(&|name| !name.starts_with("llm_") && !name.starts_with("audit_log_"))),
            ("Audit log", of(&|name| name.starts_with("audit_log_"))),
        ],
    };
    groups.into_iter().filter(|(_, ticks)| !ticks.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_added_one_by_one_and_taken_out_again() {
        let domain = uuid::Uuid::from_u128(7);
        let mut form = Form::of([
            ("entity_type", "models".to_owned()),
            ("domain", domain.to_string()),
            ("entity", "a|b".to_owned()),
            ("step", "add".to_owned()),
        ]);
        assert_eq!(step(&mut form), Step::Again);
        assert!(form.error("scope").is_some(), "no operation is ticked");
        form.push("operation", "llm_read");
        form.push("operation", "llm_rerank");
        assert_eq!(step(&mut form), Step::Again);
        form.push("operation", "llm_read");
        assert_eq!(step(&mut form), Step::Again);
        let scopes = scopes_of(&form);
        assert_eq!(scopes.len(), 2, "the same scope is there once");
        assert_eq!((&*scopes[0].entity_id, scopes[0].domain), ("a|b", Some(DomainId(domain))));
        form.set("step", "remove-0");
        assert_eq!(step(&mut form), Step::Again);
        assert_eq!(scopes_of(&form)[0].operation, "llm_rerank");
        form.set("step", "create");
        assert_eq!(step(&mut form), Step::Done);
    }
}
