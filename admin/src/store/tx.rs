//! The one way to change anything.
//!
//! A [`WriteTx`] collects, beside the rows that its caller changes, the audit entries and the keys of what proxies must hear of. Its
//! commit derives the records of those keys from the rows as they then are and writes them to the change log as one generation, and to
//! the table of what is published, in the same transaction. So a crash at any point leaves all of a change or nothing of it, and what the feed says always follows
//! from the rows.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Instant;

use cube_wire::feed::ChangeLine;
use cube_wire::{DomainId, Key, PatId, UserId};
use tokio::sync::watch;
use uuid::Uuid;

use super::audit::Credential;
use super::{StoreError, derive, published, replicas};
use crate::clock::Moment;
use crate::figures::Changes;
use crate::store::sql::{Connection, query, query_scalar};

/// One management action, as it is remembered. Never contains a secret.
#[derive(Clone, Debug, Default)]
pub struct AuditEntry {
    /// Who acted; nobody, if nobody was known yet (a failed login).
    pub actor_user: Option<UserId>,
    /// What showed that; nothing, if nobody was known yet or nobody acted (a key that was due).
    pub credential: Option<Credential>,
    /// With which PAT.
    pub actor_pat: Option<PatId>,
    /// With which API key.
    pub actor_key: Option<Uuid>,
    /// What was done: `pat.revoke`.
    pub action: &'static str,
    /// In which domain.
    pub domain: Option<DomainId>,
    /// What kind of thing it was done to.
    pub entity_type: &'static str,
    /// To which one.
    pub entity_id: String,
    /// `ok`, or why not.
    pub outcome: &'static str,
    /// The request's name.
    pub request_id: String,
    /// The caller's address.
    pub client_ip: Option<String>,
    /// More, as a JSON object.
    pub details: serde_json::Value,
}

/// What a commit did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The generation that carries the change to the proxies; `None`: they need not hear of it.
    pub generation: Option<u64>,
}

tokio::task_local! {
    /// The newest generation that the work inside [`noting_generation`] has committed.
    static COMMITTED: Cell<Option<u64>>;
}

/// Does some work, and tells the newest generation that it committed: for whoever wants to wait until proxies have adopted it, without
/// every function on the way handing it through.
pub async fn noting_generation<W: Future>(work: W) -> (W::Output, Option<u64>) {
    COMMITTED
        .scope(Cell::new(None), async {
            let result = work.await;
            (result, COMMITTED.with(Cell::get))
        })
        .await
}

/// A change in progress. Dropped without a commit, it never happened.
#[derive(Debug)]
pub struct WriteTx {
    inner: Connection,
    touched: BTreeSet<Key>,
    audit: Vec<AuditEntry>,
    newest: watch::Sender<u64>,
    began: Instant,
    changes: Changes,
}

impl WriteTx {
    pub(super) fn new(inner: Connection, newest: watch::Sender<u64>, changes: Changes) -> Self {
        Self { inner, touched: BTreeSet::new(), audit: Vec::new(), newest, began: Instant::now(), changes }
    }

    /// The connection, for functions that only read.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.inner
    }

    /// Notes that proxies must hear how this is after the change.
    pub fn touch(&mut self, key: Key) {
        self.touched.insert(key);
    }

    /// Notes an audit entry.
    pub fn audit(&mut self, entry: AuditEntry) {
        self.audit.push(entry);
    }

    /// Writes audit and change log, and makes everything permanent.
    ///
    /// # Errors
    /// The database failed; nothing has happened.
    pub async fn commit(mut self) -> Result<Committed, StoreError> {
        let now = Moment::now();
        for entry in std::mem::take(&mut self.audit) {
            insert_audit(&mut self.inner, now, &entry).await?;
        }
        let touched = std::mem::take(&mut self.touched);
        let generation = match touched.is_empty() {
            true => None,
            false => Some(self.log(now, &touched).await?),
        };
        let Self { inner, newest, began, changes, .. } = self;
        inner.commit().await?;
        changes.committed(began.elapsed());
        if let Some(generation) = generation {
            let _ = COMMITTED.try_with(|committed| committed.set(committed.get().max(Some(generation))));
            super::note(&newest, generation);
        }
        Ok(Committed { generation })
    }

    async fn log(&mut self, now: Moment, touched: &BTreeSet<Key>) -> Result<u64, StoreError> {
        let generation: i64 =
            query_scalar("UPDATE feed_state SET generation = generation + 1 RETURNING generation")
                .fetch_one(&mut self.inner)
                .await?;
        for (position, key) in (0_i64..).zip(touched) {
            let record = derive::record(&mut self.inner, key).await?;
            let line = record.map(|record| record.to_line());
            published::put(&mut self.inner, key, line.as_deref()).await?;
            let line = line.unwrap_or_else(|| ChangeLine::Remove(key.clone()).to_line());
            query("INSERT INTO change_log (generation, position, at_ms, line) VALUES (?, ?, ?, ?)")
                .bind(generation)
                .bind(position)
                .bind(now)
                .bind(line)
                .execute(&mut self.inner)
                .await?;
        }
        let generation =
            u64::try_from(generation).map_err(|_| StoreError::Damaged("a negative generation".to_owned()))?;
        let keys_changed = touched.iter().any(|key| matches!(key, Key::Key(_)));
        replicas::tell_commit(&mut self.inner, generation, keys_changed).await?;
        Ok(generation)
    }
}

async fn insert_audit(
    connection: &mut Connection,
    now: Moment,
    entry: &AuditEntry,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO audit (at_ms, actor_user, actor_credential, actor_pat, actor_key, action, domain_id, entity_type, entity_id, outcome, request_id,
         client_ip, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(now)
    .bind(entry.actor_user.map(|id| id.0))
    .bind(entry.credential.map(Credential::name))
    .bind(entry.actor_pat.map(|id| id.0))
    .bind(entry.actor_key)
    .bind(entry.action)
    .bind(entry.domain.map(|id| id.0))
    .bind(entry.entity_type)
    .bind(&entry.entity_id)
    .bind(entry.outcome)
    .bind(&entry.request_id)
    .bind(&entry.client_ip)
    .bind(if entry.details.is_null() { "{}".to_owned() } else { entry.details.to_string() })
    .execute(connection)
    .await?;
    Ok(())
}
