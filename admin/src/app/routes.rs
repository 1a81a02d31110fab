//! Routing rules: requests that go elsewhere than their model's deployment. Only for superadmins.
//!
//! Source: Cube AI's `/api/routes`, with its documented status codes.

use cube_wire::record::{Condition, Matcher, shown};
use cube_wire::{DomainId, Operation};
use sha2::{Digest as _, Sha256};

use super::deployments::{IMPLICIT_PREFIX, NAME_LEN_MAX, check_url, new_deployment};
use super::{App, AppError, Asker, Principal};
use crate::clock::Moment;
use crate::store::deployments::{self, DeploymentRow, EndpointRow};
use crate::store::routes::{self, RouteRow};
use crate::store::{Listed, Page, WriteTx, domains};

/// Rules of the system, which nobody changes by the API.
const PROTECTED: [&str; 2] = ["attestation", "health"];
const ROUTES_MAX: i64 = 5_000;
const ROUTE_NAME_LEN_MAX: usize = 255;
const PRIORITY_MAX: u16 = 1_000;
const MATCHERS_MAX: usize = 32;
const FIELD_LEN_MAX: usize = 256;
/// What proxies take at most: a rule that they refuse would keep everything after it out of force.
const PATTERN_LEN_MAX: usize = 4_096;
const EVENT_TYPE_LEN_MAX: usize = 255;
const REGEX_BYTES_MAX: usize = 1 << 20;
const REGEX_CACHE_BYTES_MAX: usize = 256 << 10;
/// Longest prefix to take off, in bytes.
const PREFIX_LEN_MAX: usize = 1_024;

/// All of a rule as it is to be.
#[derive(Clone, Debug)]
pub struct NewRoute {
    /// See [`RouteRow`].
    pub name: String,
    /// See [`RouteRow`].
    pub domain: Option<DomainId>,
    /// See [`RouteRow`]; either this or `deployment`.
    pub target_url: Option<String>,
    /// See [`RouteRow`]; either this or `target_url`.
    pub deployment: Option<String>,
    /// See [`RouteRow`].
    pub matchers: Vec<Matcher>,
    /// See [`RouteRow`].
    pub priority: u16,
    /// See [`RouteRow`].
    pub default_rule: bool,
    /// See [`RouteRow`].
    pub strip_prefix: String,
    /// See [`RouteRow`].
    pub operation: Option<String>,
    /// See [`RouteRow`].
    pub event_type: String,
    /// See [`RouteRow`].
    pub enabled: bool,
}

impl App {
    /// Adds a rule.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], also for names of the system's rules; [`AppError::Invalid`]; [`AppError::NotFound`] for the domain and the
    /// deployment; [`AppError::Conflict`] for a name that is taken and for a second default rule.
    pub async fn create_route(
        &self,
        principal: &Principal,
        asker: &Asker,
        new: NewRoute,
    ) -> Result<RouteRow, AppError> {
        principal.as_superadmin()?;
        let route = prepare(new, Moment::now())?;
        let mut tx = self.store.begin().await?;
        if routes::count(tx.connection()).await? >= ROUTES_MAX {
            return Err(AppError::Conflict(format!("there are at most {ROUTES_MAX} routes")));
        }
        if routes::find(tx.connection(), &route.name).await?.is_some() {
            return Err(AppError::Conflict("`name` is taken".to_owned()));
        }
        check_names(&mut tx, &route).await?;
        put_target(&mut tx, &route).await?;
        routes::insert(&mut tx, &route).await?;
        audit(&mut tx, principal, asker, "route.create", &route);
        tx.commit().await?;
        Ok(route)
    }

    /// Rules in the order in which they are asked.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub async fn list_routes(
        &self,
        principal: &Principal,
        part: Option<&str>,
        domain: Option<DomainId>,
        page: Page,
    ) -> Result<Listed<RouteRow>, AppError> {
        principal.as_superadmin()?;
        Ok(routes::list(&mut self.store.read().await?, part, domain, page).await?)
    }

    /// One rule.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], [`AppError::NotFound`].
    pub async fn view_route(&self, principal: &Principal, name: &str) -> Result<RouteRow, AppError> {
        principal.as_superadmin()?;
        routes::find(&mut self.store.read().await?, name).await?.ok_or(NOT_FOUND)
    }

    /// Replaces all of a rule, its name too.
    ///
    /// # Errors
    /// As [`App::create_route`], and [`AppError::NotFound`] for the rule.
    pub async fn replace_route(
        &self,
        principal: &Principal,
        asker: &Asker,
        name: &str,
        new: NewRoute,
    ) -> Result<RouteRow, AppError> {
        principal.as_superadmin()?;
        not_protected(name)?;
        let mut route = prepare(new, Moment::now())?;
        let mut tx = self.store.begin().await?;
        let before = routes::find(tx.connection(), name).await?.ok_or(NOT_FOUND)?;
        route.created_at = before.created_at;
        if route.name != name && routes::find(tx.connection(), &route.name).await?.is_some() {
            return Err(AppError::Conflict("`name` is taken".to_owned()));
        }
        check_names(&mut tx, &route).await?;
        put_target(&mut tx, &route).await?;
        routes::replace(&mut tx, name, &route).await?;
        if route.deployment != before.deployment {
            drop_target(&mut tx, &before).await?;
        }
        audit(&mut tx, principal, asker, "route.update", &route);
        tx.commit().await?;
        Ok(route)
    }

    /// Deletes a rule.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], also for names of the system's rules; [`AppError::NotFound`].
    pub async fn delete_route(
        &self,
        principal: &Principal,
        asker: &Asker,
        name: &str,
    ) -> Result<(), AppError> {
        principal.as_superadmin()?;
        not_protected(name)?;
        let mut tx = self.store.begin().await?;
        let before = routes::find(tx.connection(), name).await?.ok_or(NOT_FOUND)?;
        routes::delete(&mut tx, name).await?;
        drop_target(&mut tx, &before).await?;
        audit(&mut tx, principal, asker, "route.delete", &before);
        tx.commit().await?;
        Ok(())
    }
}

const NOT_FOUND: AppError = AppError::NotFound("route");

fn audit(tx: &mut WriteTx, principal: &Principal, asker: &Asker, action: &'static str, route: &RouteRow) {
    let mut entry = principal.did(asker, action, "route", &route.name);
    entry.domain = route.domain;
    tx.audit(entry);
}

/// Makes the deployment of a rule that has a URL of its own, or moves it to that URL.
async fn put_target(tx: &mut WriteTx, route: &RouteRow) -> Result<(), AppError> {
    let Some(url) = &route.target_url else { return Ok(()) };
    let endpoint = EndpointRow { url: url.clone(), weight: 1, credential: None };
    let target = DeploymentRow { endpoints: vec![endpoint], ..new_deployment(&route.deployment, true) };
    match deployments::find(tx.connection(), &target.name).await? {
        Some(_) => deployments::replace(tx, &target).await?,
        None => deployments::insert(tx, &target).await?,
    }
    Ok(())
}

/// Deletes the deployment of a rule that had a URL of its own.
async fn drop_target(tx: &mut WriteTx, route: &RouteRow) -> Result<(), AppError> {
    if route.target_url.is_some() {
        deployments::delete(tx, &route.deployment).await?;
    }
    Ok(())
}

/// What a rule names must be there.
async fn check_names(tx: &mut WriteTx, route: &RouteRow) -> Result<(), AppError> {
    if let Some(domain) = route.domain {
        domains::status(tx.connection(), domain).await?.ok_or(AppError::NotFound("domain"))?;
    }
    if route.target_url.is_none() {
        let found = deployments::find(tx.connection(), &route.deployment).await?;
        found.filter(|found| !found.implicit).ok_or(AppError::NotFound("deployment"))?;
    }
    Ok(())
}

/// The name of the deployment that a rule's `target_url` gets. Names of rules can be longer than those of deployments; the second
/// colon keeps the digest of a long one apart from a rule that is called like it.
fn implicit_name(route: &str) -> String {
    let name = format!("{IMPLICIT_PREFIX}{route}");
    if name.len() <= NAME_LEN_MAX {
        return name;
    }
    let digest = Sha256::digest(route.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{IMPLICIT_PREFIX}:{hex}")
}

fn not_protected(name: &str) -> Result<(), AppError> {
    if PROTECTED.contains(&name) { Err(AppError::Forbidden("a rule of the system")) } else { Ok(()) }
}

/// A rule from its parts, checked.
fn prepare(new: NewRoute, now: Moment) -> Result<RouteRow, AppError> {
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=ROUTE_NAME_LEN_MAX).contains(&new.name.len()) || !new.name.bytes().all(name_byte) {
        return Err(AppError::invalid("name", "1 to 255 letters, digits, - or _"));
    }
    not_protected(&new.name)?;
    let deployment = match (&new.target_url, new.deployment) {
        (Some(url), None) => {
            check_url("target_url", url)?;
            implicit_name(&new.name)
        }
        (None, Some(deployment)) => deployment,
        (Some(_), Some(_)) | (None, None) => {
            return Err(AppError::invalid("target_url", "either this or `deployment`"));
        }
    };
    if new.priority > PRIORITY_MAX {
        return Err(AppError::invalid("priority", format!("0 to {PRIORITY_MAX}")));
    }
    if new.default_rule != new.matchers.is_empty() {
        return Err(AppError::invalid("matchers", "at least one; a default rule has none"));
    }
    if new.matchers.len() > MATCHERS_MAX {
        return Err(AppError::invalid("matchers", format!("at most {MATCHERS_MAX}")));
    }
    let matchers = new.matchers.into_iter().map(check_matcher).collect::<Result<_, _>>()?;
    check_prefix(&new.strip_prefix)?;
    if let Some(operation) = &new.operation
        && Operation::from_name(operation).is_none()
    {
        return Err(AppError::invalid("operation", format!("there is no operation `{}`", shown(operation))));
    }
    if new.event_type.len() > EVENT_TYPE_LEN_MAX
        || !new.event_type.bytes().all(|byte| byte.is_ascii_graphic())
    {
        let why = format!("at most {EVENT_TYPE_LEN_MAX} visible ASCII characters");
        return Err(AppError::invalid("event_type", why));
    }
    Ok(RouteRow {
        name: new.name,
        domain: new.domain,
        target_url: new.target_url,
        deployment,
        matchers,
        priority: new.priority,
        default_rule: new.default_rule,
        strip_prefix: new.strip_prefix,
        operation: new.operation,
        event_type: new.event_type,
        enabled: new.enabled,
        created_at: now,
        updated_at: now,
    })
}

fn check_prefix(prefix: &str) -> Result<(), AppError> {
    let harmless = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\' | b'%');
    let whole = prefix.is_empty() || prefix.starts_with('/');
    if whole && prefix.len() <= PREFIX_LEN_MAX && prefix.bytes().all(harmless) {
        return Ok(());
    }
    Err(AppError::invalid("strip_prefix", "empty, or / and what a path can have, without % escapes"))
}

/// A matcher in the form in which it is kept: a field only where one is looked at, and `body_regex` always a regular expression.
fn check_matcher(matcher: Matcher) -> Result<Matcher, AppError> {
    let Matcher { condition, mut field, pattern, is_regex } = matcher;
    let wrong = |why: String| Err(AppError::invalid("matchers", why));
    match condition {
        Condition::Header | Condition::QueryParam | Condition::BodyField => {
            if field.is_empty() || field.len() > FIELD_LEN_MAX || field.chars().any(char::is_control) {
                return wrong(format!("`field` is 1 to {FIELD_LEN_MAX} bytes without control characters"));
            }
        }
        Condition::Path | Condition::Method | Condition::BodyRegex => field.clear(),
    }
    if pattern.is_empty() || pattern.len() > PATTERN_LEN_MAX {
        return wrong(format!("`pattern` is 1 to {PATTERN_LEN_MAX} bytes"));
    }
    let is_regex = is_regex || condition == Condition::BodyRegex;
    if is_regex {
        let regex = regex::bytes::RegexBuilder::new(&pattern)
            .size_limit(REGEX_BYTES_MAX)
            .dfa_size_limit(REGEX_CACHE_BYTES_MAX)
            .build();
        if let Err(error) = regex {
            // The crate draws where the fault is, in several lines; the last one says what it is.
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            return wrong(format!("`{}` is no regular expression: {why}", shown(&pattern)));
        }
    }
    Ok(Matcher { condition, field, pattern, is_regex })
}
