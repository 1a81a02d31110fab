//! The tables of a test: who exists, what they may do, which model is served where. Written as the NDJSON lines
//! an operator would write, so that wrong ones can be written too.

use std::cell::Cell;

use cube_wire::pat::mint;
use cube_wire::{PatDigest, PatId, PatIds, UserId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Route alias of the domain that [`World::serving`] makes.
pub(crate) const DOMAIN: &str = "acme";
/// The model that [`World::serving`] makes.
pub(crate) const MODEL: &str = "tiny";

/// Every operation that a PAT can be scoped to on the inference paths.
pub(crate) const OPERATIONS: [&str; 14] = [
    "llm_read",
    "llm_chat_completions",
    "llm_completions",
    "llm_embeddings",
    "llm_transcription",
    "llm_translation",
    "llm_utility",
    "llm_pooling",
    "llm_classification",
    "llm_scoring",
    "llm_rerank",
    "llm_create",
    "llm_update",
    "llm_delete",
];

thread_local! {
    /// Ids are counted, not drawn: a failing test fails with the same ids again.
    static NEXT_ID: Cell<u128> = const { Cell::new(0x1000) };
}

/// A fresh id.
pub(crate) fn id() -> Uuid {
    let number = NEXT_ID.get() + 1;
    NEXT_ID.set(number);
    Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0000 + number)
}

/// A PAT as its owner holds it.
#[derive(Clone, Debug)]
pub(crate) struct Pat {
    pub(crate) id: Uuid,
    pub(crate) user: Uuid,
    pub(crate) secret: String,
    pub(crate) digest: String,
}

impl Pat {
    pub(crate) fn mint(user: Uuid) -> Self {
        Self::mint_as(user, id())
    }

    /// The same PAT after a reset.
    pub(crate) fn with_new_secret(&self) -> Self {
        Self::mint_as(self.user, self.id)
    }

    fn mint_as(user: Uuid, pat: Uuid) -> Self {
        let mut random = [0; 32];
        getrandom::fill(&mut random).unwrap();
        let secret = mint(
            PatIds { user: UserId::from_bytes(user.into_bytes()), pat: PatId::from_bytes(pat.into_bytes()) },
            &random,
        );
        let secret = secret.expose().to_owned();
        let digest = PatDigest(Sha256::digest(secret.as_bytes()).into()).to_string();
        Self { id: pat, user, secret, digest }
    }

    /// The header line that presents it.
    pub(crate) fn line(&self) -> String {
        format!("authorization: Bearer {}\r\n", self.secret)
    }

    /// Its record, without any scope and without an expiry.
    pub(crate) fn record(&self) -> Value {
        json!({"kind": "pat", "id": self.id, "user": self.user, "digest": self.digest, "scopes": []})
    }
}

/// Table lines under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) records: Vec<Value>,
    /// Lines that no JSON value could be, written after the records.
    pub(crate) raw_lines: Vec<String>,
}

/// A world with one domain, one model, one user with every right in it, and a PAT with every scope.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) domain: Uuid,
    pub(crate) user: Uuid,
    pub(crate) pat: Pat,
}

impl World {
    /// The smallest useful world: [`MODEL`] in [`DOMAIN`], served by the cluster `main` at `url`.
    pub(crate) fn serving(url: &str) -> (Self, Tenant) {
        let mut world = Self::default();
        world.cluster("main", url);
        let tenant = world.tenant(DOMAIN);
        world.model(tenant.domain, MODEL, "main");
        (world, tenant)
    }

    /// A cluster of one endpoint in the OpenAI dialect.
    pub(crate) fn cluster(&mut self, id: &str, url: &str) -> &mut Value {
        self.put(json!({"kind": "cluster", "id": id, "dialect": "openai", "endpoints": [{"url": url}]}))
    }

    /// A domain with one member who holds every inference right there, and that member's PAT with every scope.
    pub(crate) fn tenant(&mut self, alias: &str) -> Tenant {
        let domain = self.domain(alias);
        let user = self.user();
        self.grant(user, domain, &OPERATIONS);
        let pat = self.scoped_pat(user, &domain_scopes(domain, &OPERATIONS));
        Tenant { domain, user, pat }
    }

    pub(crate) fn domain(&mut self, alias: &str) -> Uuid {
        let domain = id();
        self.put(json!({"kind": "domain", "id": domain, "alias": alias, "status": "enabled"}));
        domain
    }

    pub(crate) fn model(&mut self, domain: Uuid, name: &str, cluster: &str) -> &mut Value {
        self.put(json!({"kind": "model", "domain": domain, "name": name, "cluster": cluster}))
    }

    pub(crate) fn user(&mut self) -> Uuid {
        let user = id();
        self.put(json!({"kind": "user", "id": user, "status": "enabled"}));
        user
    }

    pub(crate) fn grant(&mut self, user: Uuid, domain: Uuid, operations: &[&str]) {
        self.put(json!({"kind": "grant", "user": user, "domain": domain, "operations": operations}));
    }

    pub(crate) fn scoped_pat(&mut self, user: Uuid, scopes: &[Value]) -> Pat {
        let pat = Pat::mint(user);
        self.put(pat.record())["scopes"] = scopes.into();
        pat
    }

    /// The record of `kind` with this id, to be changed.
    pub(crate) fn record(&mut self, kind: &str, id: impl serde::Serialize) -> &mut Value {
        let id = serde_json::to_value(id).unwrap();
        self.records
            .iter_mut()
            .find(|record| record["kind"] == kind && record["id"] == id)
            .expect("the record")
    }

    pub(crate) fn put(&mut self, record: Value) -> &mut Value {
        self.records.push(record);
        self.records.last_mut().expect("just pushed")
    }

    pub(crate) fn lines(&self) -> String {
        let records = self.records.iter().map(Value::to_string);
        records.chain(self.raw_lines.iter().cloned()).map(|line| line + "\n").collect()
    }
}

/// Scopes for `operations` on the whole of `domain`.
pub(crate) fn domain_scopes(domain: Uuid, operations: &[&str]) -> Vec<Value> {
    scopes("domains", domain, &domain.to_string(), operations)
}

/// Scopes for `operations` on one model of `domain`, or on every one: `*`.
pub(crate) fn model_scopes(domain: Uuid, model: &str, operations: &[&str]) -> Vec<Value> {
    scopes("models", domain, model, operations)
}

fn scopes(of: &str, domain: Uuid, entity: &str, operations: &[&str]) -> Vec<Value> {
    let scope = json!({"entity_type": of, "domain_id": domain, "entity_id": entity});
    let with = |operation: &&str| {
        let mut scope = scope.clone();
        scope["operation"] = (*operation).into();
        scope
    };
    operations.iter().map(with).collect()
}
