//! What tables promise, from the outside: lines in, verdicts out.

mod change;
mod compile;
mod jwt;
mod rights;
mod routes;
mod same;
mod verify;

use std::net::IpAddr;

use cube_wire::pat::{self, PatIds};
use cube_wire::{PatSecret, read_records};

use super::*;

pub(super) const DOMAIN: &str = "00000000-0000-4000-8000-00000000000d";
pub(super) const OTHER_DOMAIN: &str = "00000000-0000-4000-8000-0000000000d2";
pub(super) const USER: &str = "00000000-0000-4000-8000-000000000001";
pub(super) const NOW: u64 = 1_800_000_000;
/// Where requests come from, unless a test says otherwise.
pub(super) const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// The PAT of this user with this number, in plain text.
pub(super) fn secret(user: &str, pat: u128) -> PatSecret {
    let pat = PatId::from_bytes(pat.to_be_bytes());
    pat::mint(PatIds { user: user.parse().unwrap(), pat }, &[7; 32])
}

pub(super) const CLUSTER_LINE: &str =
    r#"{"kind":"cluster","id":"gpu","dialect":"openai","endpoints":[{"url":"http://127.0.0.1:8000"}]}"#;

pub(super) fn domain_line(id: &str, alias: &str, status: &str) -> String {
    format!(r#"{{"kind":"domain","id":"{id}","alias":"{alias}","status":"{status}"}}"#)
}

pub(super) fn model_line(domain: &str, name: &str) -> String {
    format!(r#"{{"kind":"model","domain":"{domain}","name":"{name}","cluster":"gpu"}}"#)
}

pub(super) fn user_line(id: &str, rest: &str) -> String {
    format!(r#"{{"kind":"user","id":"{id}"{rest}}}"#)
}

pub(super) fn grant_line(user: &str, domain: &str, operations: &[&str]) -> String {
    let operations = serde_json::to_string(operations).unwrap();
    format!(r#"{{"kind":"grant","user":"{user}","domain":"{domain}","operations":{operations}}}"#)
}

pub(super) fn pat_line(secret: &PatSecret, rest: &str) -> String {
    let ids = pat::parse(secret.as_bytes()).unwrap();
    let digest = digest_of(secret.as_bytes());
    format!(r#"{{"kind":"pat","id":"{}","user":"{}","digest":"{digest}"{rest}}}"#, ids.pat, ids.user)
}

/// The field `scopes` of a PAT's line: type, domain, entity, operation.
pub(super) fn scopes(scopes: &[(&str, &str, &str, &str)]) -> String {
    let scopes = scopes.iter().map(|(entity_type, domain, entity_id, operation)| {
        format!(
            r#"{{"entity_type":"{entity_type}","domain_id":"{domain}","entity_id":"{entity_id}","operation":"{operation}"}}"#
        )
    });
    format!(r#","scopes":[{}]"#, scopes.collect::<Vec<_>>().join(","))
}

/// Lines that most tests start from: a cluster, two domains, two models in the first, and a user with a role there.
pub(super) fn base() -> Vec<String> {
    vec![
        CLUSTER_LINE.to_owned(),
        domain_line(DOMAIN, "demo", "enabled"),
        domain_line(OTHER_DOMAIN, "other", "enabled"),
        model_line(DOMAIN, "large"),
        model_line(DOMAIN, "small"),
        user_line(USER, r#","status":"enabled""#),
        grant_line(USER, DOMAIN, &["read", "llm_read", "llm_chat_completions"]),
    ]
}

pub(super) fn records(lines: &[String]) -> Vec<(usize, Record)> {
    let text = lines.join("\n");
    read_records(text.as_bytes()).map(|(line, record)| (line, record.unwrap())).collect()
}

pub(super) fn compile(lines: &[String]) -> Result<Tables, Vec<Problem>> {
    Tables::compile(records(lines), 1, &mut NoResolver)
}

/// Lines that must compile.
pub(super) fn tables(lines: &[String]) -> Tables {
    compile(lines).unwrap_or_else(|problems| panic!("{}", listed(&problems)))
}

/// Lines that must not: their problems, one a line.
pub(super) fn problems(lines: &[String]) -> String {
    listed(&compile(lines).expect_err("these lines are wrong"))
}

pub(super) fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

pub(super) fn put(line: &str) -> Change {
    Change::Put(Record::from_line(line.as_bytes()).unwrap().unwrap())
}

pub(super) fn with(tables: &Tables, changes: &[Change]) -> Tables {
    tables
        .with(changes, tables.generation() + 1, &mut NoResolver)
        .unwrap_or_else(|problems| panic!("{}", listed(&problems)))
}

/// Who the PAT is, by a verifier that remembers nothing.
pub(super) fn verify(tables: &Tables, secret: &PatSecret) -> Result<Identity, CredentialFault> {
    Verifier::new(1).verify(tables, secret.as_bytes(), NOW, FROM)
}
