//! Explanations: what would be decided, and which row says so. Decided by the code that decides, for one question.

use cube_wire::matching::{Matcher, Seen};
use cube_wire::record::{Condition, DomainStatus, EntityType, Matcher as MatcherRecord, ScopeRecord};
use cube_wire::{DomainId, Key, Operation, OperationSet, PatId, Record};

use super::authorize::rights;
use super::pats::NO_PAT;
use super::{App, AppError, Principal, Via};
use crate::clock::Moment;
use crate::store::routes::RouteRow;
use crate::store::{Page, derive, domains, models, pats, roles, routes};

/// A question about one operation.
#[derive(Clone, Debug)]
pub struct Question {
    /// With which of the principal's PATs; `None`: with the session's own access token.
    pub pat: Option<PatId>,
    /// Where.
    pub domain: DomainId,
    /// What.
    pub operation: Operation,
    /// On which model; `None`: on the domain as a whole.
    pub model: Option<String>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether it lets the request pass.
    pub holds: bool,
    /// What was looked at.
    pub what: &'static str,
    /// What it says.
    pub says: String,
}

/// What would be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would be let through.
    Allowed,
    /// The credential is not good: 401.
    BadCredential,
    /// Not allowed: 403.
    Forbidden,
    /// No such domain or model, as far as this credential may know: 404.
    NotFound,
}

/// What a proxy could see of a request that somebody thinks of.
#[derive(Clone, Debug, Default)]
pub struct Imagined {
    /// The method.
    pub method: String,
    /// The path after `/proxy/{domain}`.
    pub path: String,
    /// Without `?`.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: String,
}

impl Seen for Imagined {
    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn header(&self, name: &str) -> &[u8] {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map_or(&[], |(_, value)| value.as_bytes())
    }

    fn query(&self) -> &[u8] {
        self.query.as_bytes()
    }
}

/// What one rule says of a request.
#[derive(Clone, Debug)]
pub struct RuleSaid {
    /// The rule.
    pub rule: RouteRow,
    /// Its conditions, and whether each holds.
    pub conditions: Vec<(MatcherRecord, bool)>,
    /// It takes the request.
    pub takes: bool,
    /// It was not asked: another one took the request before.
    pub unasked: bool,
}

impl App {
    /// Whether this operation would be let through, and what says so. About the principal's own PATs only.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] for a PAT; [`AppError::NotFound`] for a PAT or a domain that is not there for the principal.
    pub async fn explain_permission(
        &self,
        principal: &Principal,
        question: &Question,
    ) -> Result<(Verdict, Vec<Look>), AppError> {
        principal.without_pat()?;
        let mut connection = self.store.read().await?;
        let mut looks = Vec::new();
        // Whoever has no right in the domain learns nothing of it here either.
        rights(&mut connection, principal, question.domain).await?;
        let mut asking = principal.clone();
        let mut good = true;
        if let Some(id) = question.pat {
            let row = pats::find(&mut connection, principal.user, id).await?.ok_or(NO_PAT)?;
            let Some(Record::Pat(record)) = derive::record(&mut connection, &Key::Pat(id)).await? else {
                return Err(NO_PAT);
            };
            good = row.status(Moment::now()) == pats::PatStatus::Active;
            looks.push(Look {
                holds: good,
                what: "PAT",
                says: match (row.status(Moment::now()), row.cidrs.is_empty()) {
                    (pats::PatStatus::Active, true) => "it is active".to_owned(),
                    (pats::PatStatus::Active, false) => {
                        format!("it is active, from these addresses: {}", row.cidrs.join(", "))
                    }
                    (pats::PatStatus::Revoked, _) => "it is revoked".to_owned(),
                    (pats::PatStatus::Expired, _) => "it has expired".to_owned(),
                },
            });
            asking.via = Via::Pat { id, full_access: record.full_access, scopes: record.scopes };
        }
        looks.push(self.look_at_roles(&mut connection, principal, question).await?);
        looks.push(look_at_gate(&mut connection, principal, question).await?);
        looks.extend(look_at_scopes(&asking, question));
        let decided = match rights(&mut connection, &asking, question.domain).await {
            Ok(rights) => match &question.model {
                Some(model) if rights.allows_on(question.operation, model) => Verdict::Allowed,
                None if rights.allows(question.operation) => Verdict::Allowed,
                Some(_) | None => Verdict::Forbidden,
            },
            Err(AppError::NotFound(_)) => Verdict::NotFound,
            Err(error) => return Err(error),
        };
        let mut verdict = if good { decided } else { Verdict::BadCredential };
        if let Some(name) = &question.model {
            let served = models::find(&mut connection, question.domain, name).await?;
            let served = served.map(|model| model.served_by);
            looks.push(Look {
                holds: matches!(&served, Some(Some(_))),
                what: "Model",
                says: match &served {
                    Some(Some(deployment)) => format!("`{name}` is served by the deployment `{deployment}`"),
                    Some(None) => format!("`{name}` is in the domain, but served nowhere"),
                    None => format!("there is no `{name}` in the domain; a routing rule may take it"),
                },
            });
            if verdict == Verdict::Allowed && !matches!(served, Some(Some(_))) {
                verdict = Verdict::NotFound;
            }
        }
        Ok((verdict, looks))
    }

    async fn look_at_roles(
        &self,
        connection: &mut crate::store::Connection,
        principal: &Principal,
        question: &Question,
    ) -> Result<Look, AppError> {
        let operation = question.operation;
        if principal.superadmin {
            let says = "you are a superadmin, who needs no role".to_owned();
            return Ok(Look { holds: true, what: "Role", says });
        }
        let mut giving = Vec::new();
        let mut had = Vec::new();
        for role in roles::of_user(connection, question.domain, principal.user).await? {
            let actions = roles::actions(connection, &role).await?;
            let acting = actions.iter().filter_map(|action| Operation::from_name(action));
            if acting.collect::<OperationSet>().with_implied().contains(operation) {
                giving.push(format!("`{}`", role.name));
            }
            had.push(format!("`{}`", role.name));
        }
        let says = match giving.is_empty() {
            false => format!("your role {} has the action {operation}", giving.join(", ")),
            true => format!("none of your roles ({}) has the action {operation}", had.join(", ")),
        };
        Ok(Look { holds: !giving.is_empty(), what: "Role", says })
    }

    /// What each rule that sees requests of this domain says of one, in the order in which they are asked. Only for superadmins.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub async fn explain_routes(
        &self,
        principal: &Principal,
        domain: DomainId,
        imagined: &Imagined,
    ) -> Result<Vec<RuleSaid>, AppError> {
        principal.as_superadmin()?;
        let everything = Page { offset: 0, limit: i64::from(i32::MAX) };
        let listed = routes::list(&mut self.store.read().await?, None, None, everything).await?;
        let sees = |rule: &RouteRow| rule.enabled && rule.domain.is_none_or(|of| of == domain);
        let mut rules: Vec<RouteRow> = listed.rows.into_iter().filter(sees).collect();
        rules.sort_by(|one, other| order(one).cmp(&order(other)));
        let mut taken = false;
        let said = rules.into_iter().map(|rule| {
            let conditions: Vec<_> =
                rule.matchers.iter().map(|matcher| (matcher.clone(), holds(matcher, imagined))).collect();
            let takes = !taken && conditions.iter().all(|(_, holds)| *holds);
            let unasked = taken;
            taken |= takes;
            RuleSaid { rule, conditions, takes, unasked }
        });
        Ok(said.collect())
    }
}

/// The order in which a proxy asks rules: see [`cube_wire::record::RouteRecord`].
fn order(rule: &RouteRow) -> (bool, bool, std::cmp::Reverse<u16>, &str) {
    (rule.default_rule, rule.domain.is_none(), std::cmp::Reverse(rule.priority), &rule.name)
}

fn holds(record: &MatcherRecord, imagined: &Imagined) -> bool {
    // What the database has was compiled when it was written.
    let Some(matcher) = Matcher::compile(record, &mut Vec::new()) else { return false };
    matcher.holds_of_head(imagined) && matcher.holds_of_body(imagined.body.as_bytes())
}

async fn look_at_gate(
    connection: &mut crate::store::Connection,
    principal: &Principal,
    question: &Question,
) -> Result<Look, AppError> {
    let status = domains::status(connection, question.domain).await?.ok_or(AppError::NotFound("domain"))?;
    let as_owner = Principal { via: Via::Login { login: String::new() }, ..principal.clone() };
    let open = !rights(connection, &as_owner, question.domain).await?.all().is_empty();
    let says = match (status, open) {
        (DomainStatus::Enabled, _) => "it is enabled",
        (DomainStatus::Disabled, true) => "it is disabled, and open to you as its administrator",
        (DomainStatus::Disabled, false) => "it is disabled: only its administrators may act",
        (DomainStatus::Freezed, true) => "it is frozen, and open to you as a superadmin",
        (DomainStatus::Freezed, false) => "it is frozen: only superadmins may act",
    };
    let holds = open || status == DomainStatus::Enabled;
    Ok(Look { holds, what: "Domain", says: says.to_owned() })
}

/// The scopes that allow it, or that none does. A session's access token is not narrowed.
fn look_at_scopes(asking: &Principal, question: &Question) -> Option<Look> {
    let Via::Pat { full_access, scopes, .. } = &asking.via else { return None };
    if *full_access {
        let says = "the PAT has full access: no scope narrows it".to_owned();
        return Some(Look { holds: true, what: "Scope", says });
    }
    let fits = |scope: &&ScopeRecord| {
        let entity = match (&scope.entity_type, &question.model) {
            (EntityType::Domains, _) => {
                scope.entity_id == "*" || scope.entity_id == question.domain.to_string()
            }
            (EntityType::Models, Some(model)) => scope.entity_id == "*" || scope.entity_id == *model,
            (EntityType::Models, None) | (EntityType::Other(_), _) => false,
        };
        let operation = question.operation.name();
        scope.domain_id == Some(question.domain) && entity && scope.operation.as_str() == operation
    };
    let rows: Vec<String> = scopes
        .iter()
        .filter(fits)
        .map(|scope| {
            format!("{} on {} `{}`", scope.operation.as_str(), scope.entity_type.as_str(), scope.entity_id)
        })
        .collect();
    let in_domain = scopes.iter().filter(|scope| scope.domain_id == Some(question.domain)).count();
    let says = match (rows.is_empty(), in_domain) {
        (false, _) => format!("the PAT has {}", rows.join("; ")),
        (true, 0) => {
            "the PAT has no scope in this domain at all: it is as if the domain were not there".to_owned()
        }
        (true, count) => {
            format!("none of the PAT's {count} scopes in this domain is for {}", question.operation)
        }
    };
    Some(Look { holds: !rows.is_empty(), what: "Scope", says })
}

/// What a condition looks at, in a few words.
#[must_use]
pub fn describe_condition(record: &MatcherRecord) -> String {
    let MatcherRecord { condition, field, pattern, is_regex } = record;
    let place = match condition {
        Condition::Path => "the path".to_owned(),
        Condition::Method => "the method".to_owned(),
        Condition::Header => format!("the header {field}"),
        Condition::QueryParam => format!("the query parameter {field}"),
        Condition::BodyField => format!("the body's {field}"),
        Condition::BodyRegex => "the body".to_owned(),
    };
    let verb = if *is_regex { "matches" } else { "is" };
    format!("{place} {verb} {pattern}")
}
