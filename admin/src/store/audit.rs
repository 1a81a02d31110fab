//! The audit log: management actions, and proxied requests as their proxies told them, in one order of time.

use cube_wire::feed::UsageRecord;
use uuid::Uuid;

use super::{Store, StoreError, from_json};
use crate::clock::Moment;
use crate::store::sql::{Connection, QueryBuilder, Row, query};

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// In this domain; `None`: in all, and outside of them.
    pub domain: Option<Uuid>,
    /// Only management actions, or only requests.
    pub kind: Option<Kind>,
    /// From this moment on.
    pub from: Option<Moment>,
    /// Before this moment.
    pub to: Option<Moment>,
    /// By this user.
    pub user: Option<Uuid>,
    /// With this PAT.
    pub pat: Option<Uuid>,
    /// Events that come after this one in the list.
    pub after: Option<Cursor>,
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody managed something.
    Action,
    /// A request went through a proxy, or was refused there.
    Request,
}

/// Where an event stands in the list: its time, and a text that orders events of one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// When.
    pub at: Moment,
    /// What orders events of one moment.
    pub tie: String,
}

/// An event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Where it stands.
    pub cursor: Cursor,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// A management action.
    Action(Box<Action>),
    /// A proxied request.
    Request {
        /// The proxy that told of it.
        node: String,
        /// What it told.
        record: Box<UsageRecord>,
    },
}

/// With what somebody showed who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Username and password.
    Password,
    /// A login of ours: its access token, or a session.
    Login,
    /// A PAT.
    Pat,
    /// An API key.
    ApiKey,
    /// A token of the external issuer.
    ExternalToken,
    /// A shell on cube-admin's own machine.
    Local,
}

impl Credential {
    const ALL: [Self; 6] =
        [Self::Password, Self::Login, Self::Pat, Self::ApiKey, Self::ExternalToken, Self::Local];

    /// As it is stored, and as the API says it: add, never rename.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Login => "login",
            Self::Pat => "pat",
            Self::ApiKey => "api_key",
            Self::ExternalToken => "external_token",
            Self::Local => "local",
        }
    }

    /// With what somebody came to a proxy, which takes PATs and access tokens of logins.
    #[must_use]
    pub fn of_request(record: &UsageRecord) -> Option<Self> {
        record.user.map(|_| if record.pat.is_some() { Self::Pat } else { Self::Login })
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|credential| credential.name() == name)
    }
}

/// A management action.
#[derive(Clone, Debug)]
pub struct Action {
    /// Who.
    pub user: Option<Uuid>,
    /// What showed that; `None`: nothing did, or the entry is from before this was kept.
    pub credential: Option<Credential>,
    /// With which PAT.
    pub pat: Option<Uuid>,
    /// With which API key.
    pub key: Option<Uuid>,
    /// What was done.
    pub action: String,
    /// Where.
    pub domain: Option<Uuid>,
    /// To what kind of thing.
    pub entity_type: String,
    /// To which.
    pub entity_id: String,
    /// `ok`, or why not.
    pub outcome: String,
    /// The request's name.
    pub request_id: String,
    /// From where.
    pub client_ip: Option<String>,
    /// More.
    pub details: serde_json::Value,
}

/// Events that match, newest first, `limit` at most.
///
/// # Errors
/// The database failed.
pub async fn list(
    connection: &mut Connection,
    filter: &AuditFilter,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::new();
    if filter.kind != Some(Kind::Request) {
        events.extend(actions(connection, filter, limit).await?);
    }
    if filter.kind != Some(Kind::Action) {
        events.extend(requests(connection, filter, limit).await?);
    }
    events.sort_by(|one, other| {
        let order = |event: &Event| (event.cursor.at, event.cursor.tie.clone());
        order(other).cmp(&order(one))
    });
    events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(events)
}

/// Orders actions of one moment as they were made, behind requests.
const ACTION_TIE: &str = "printf('a%019d', id)";
/// Orders requests of one moment.
const REQUEST_TIE: &str = "'r' || node || '/' || boot || printf('/%019d', seq)";

async fn actions(
    connection: &mut Connection,
    filter: &AuditFilter,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let mut query = QueryBuilder::new("SELECT *, ");
    query.push(ACTION_TIE).push(" AS tie FROM audit WHERE TRUE");
    push_filter(&mut query, filter, "actor_user", "actor_pat", ACTION_TIE);
    query.push(" ORDER BY at_ms DESC, id DESC LIMIT ").push_bind(limit);
    let rows = query.build().fetch_all(connection).await?;
    let event_of = |row: &Row| {
        let (pat, key): (Option<Uuid>, Option<Uuid>) = (row.get("actor_pat"), row.get("actor_key"));
        let named = pat.map(|_| Credential::Pat).or(key.map(|_| Credential::ApiKey));
        let kept: Option<String> = row.get("actor_credential");
        let action = Action {
            user: row.get("actor_user"),
            credential: kept.and_then(|kept| Credential::from_name(&kept)).or(named),
            pat,
            key,
            action: row.get("action"),
            domain: row.get("domain_id"),
            entity_type: row.get("entity_type"),
            entity_id: row.get("entity_id"),
            outcome: row.get("outcome"),
            request_id: row.get("request_id"),
            client_ip: row.get("client_ip"),
            details: from_json(&row.get::<String>("details"))?,
        };
        Ok(Event {
            cursor: Cursor { at: row.get("at_ms"), tie: row.get("tie") },
            what: What::Action(Box::new(action)),
        })
    };
    rows.iter().map(event_of).collect()
}

async fn requests(
    connection: &mut Connection,
    filter: &AuditFilter,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let mut query = QueryBuilder::new("SELECT at_ms, node, record, ");
    query.push(REQUEST_TIE).push(" AS tie FROM usage WHERE TRUE");
    push_filter(&mut query, filter, "user_id", "pat_id", REQUEST_TIE);
    query.push(" ORDER BY at_ms DESC, tie DESC LIMIT ").push_bind(limit);
    let rows = query.build().fetch_all(connection).await?;
    let event_of = |row: &Row| {
        let record = Box::new(from_json(&row.get::<String>("record"))?);
        let what = What::Request { node: row.get("node"), record };
        Ok(Event { cursor: Cursor { at: row.get("at_ms"), tie: row.get("tie") }, what })
    };
    rows.iter().map(event_of).collect()
}

fn push_filter(
    query: &mut QueryBuilder,
    filter: &AuditFilter,
    user_column: &'static str,
    pat_column: &'static str,
    tie: &'static str,
) {
    if let Some(from) = filter.from {
        query.push(" AND at_ms >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(" AND at_ms < ").push_bind(to);
    }
    // By the index of what is narrowest; a `+` keeps SQLite from the others.
    let narrowest = [filter.pat.is_some(), filter.user.is_some(), filter.domain.is_some()];
    let narrowest = narrowest.iter().position(|given| *given);
    let columns = [(pat_column, filter.pat), (user_column, filter.user), ("domain_id", filter.domain)];
    for (nth, (column, id)) in columns.into_iter().enumerate() {
        if let Some(id) = id {
            query.push(if narrowest == Some(nth) { " AND " } else { " AND +" });
            query.push(column).push(" = ").push_bind(id);
        }
    }
    if let Some(after) = &filter.after {
        query.push(" AND (at_ms, ").push(tie).push(") < (").push_bind(after.at).push(", ");
        query.push_bind(after.tie.clone()).push(")");
    }
}

impl Store {
    /// Forgets management actions before `before`, a bounded number at once; returns how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn prune_audit(&self, before: Moment) -> Result<u64, StoreError> {
        let pruned = query("DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at_ms < ? LIMIT 5000)");
        Ok(pruned.bind(before).execute(&mut self.writer().await?).await?)
    }
}
