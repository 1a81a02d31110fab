use std::fmt::Write as _;

use cube_wire::pat::{self, PatIds};
use cube_wire::{Operation, OperationSet, PatId, PatSecret, UserId, read_records};

use super::*;

pub(super) const DOMAIN: &str = "00000000-0000-4000-8000-00000000000d";
pub(super) const OTHER_DOMAIN: &str = "00000000-0000-4000-8000-0000000000d2";
pub(super) const USER: &str = "00000000-0000-4000-8000-000000000001";
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn secret(user: &str, pat: u128) -> PatSecret {
    let pat = PatId::from_bytes(pat.to_be_bytes());
    pat::mint(PatIds { user: user.parse().unwrap(), pat }, &[7; 32])
}

/// Lines that most tests start from: one cluster, two domains, one user with a role in the first.
pub(super) fn base() -> String {
    format!(
        r#"{{"kind":"cluster","id":"gpu","dialect":"openai","endpoints":[{{"url":"http://127.0.0.1:8000"}}]}}
{{"kind":"domain","id":"{DOMAIN}","alias":"demo","status":"enabled"}}
{{"kind":"domain","id":"{OTHER_DOMAIN}","alias":"other","status":"enabled"}}
{{"kind":"model","domain":"{DOMAIN}","name":"large","cluster":"gpu"}}
{{"kind":"model","domain":"{DOMAIN}","name":"small","cluster":"gpu","upstream_model":"small-q4"}}
{{"kind":"user","id":"{USER}","status":"enabled"}}
{{"kind":"grant","user":"{USER}","domain":"{DOMAIN}","operations":["read","llm_read","llm_chat_completions"]}}
"#
    )
}

pub(super) fn pat_line(secret: &PatSecret, rest: &str) -> String {
    let ids = pat::parse(secret.as_bytes()).unwrap();
    let digest = digest_of(secret.as_bytes());
    format!(r#"{{"kind":"pat","id":"{}","user":"{}","digest":"{digest}"{rest}}}"#, ids.pat, ids.user) + "\n"
}

pub(super) fn scope(entity_type: &str, domain: &str, entity_id: &str, operation: &str) -> String {
    format!(
        r#"{{"entity_type":"{entity_type}","domain_id":"{domain}","entity_id":"{entity_id}","operation":"{operation}"}}"#
    )
}

pub(super) fn compile(text: &str) -> Result<Tables, Vec<Problem>> {
    let records = read_records(text.as_bytes()).map(|(line, record)| (line, record.unwrap()));
    Tables::compile(records, 1, &mut NoResolver)
}

pub(super) fn tables(text: &str) -> Tables {
    compile(text).unwrap_or_else(|problems| {
        panic!(
            "{}",
            problems.iter().fold(String::new(), |mut all, problem| {
                let _ = writeln!(all, "{problem}");
                all
            })
        )
    })
}

#[test]
fn a_pat_is_verified_and_may_do_what_scope_and_role_share() {
    let secret = secret(USER, 1);
    let scopes = format!(
        r#","scopes":[{},{}]"#,
        scope("domains", DOMAIN, "*", "llm_chat_completions"),
        scope("domains", DOMAIN, "*", "llm_embeddings")
    );
    let tables = tables(&(base() + &pat_line(&secret, &scopes)));
    let mut verifier = Verifier::new(16);
    let who = verifier.verify(&tables, secret.as_bytes(), NOW).unwrap();
    assert_eq!(
        (who.user, who.pat),
        (USER.parse::<UserId>().unwrap(), PatId::from_bytes(1_u128.to_be_bytes()))
    );
    let domain = tables.domain(b"demo").unwrap();
    let rights = tables.rights(&who, domain);
    assert_eq!(rights.domain, OperationSet::of(&[Operation::LlmChatCompletions]));
    let model = tables.model(domain, b"small").unwrap();
    assert!(rights.any && rights.allows_on(Operation::LlmChatCompletions, model));
    assert!(
        !rights.allows_on(Operation::LlmEmbeddings, model) && !rights.allows_on(Operation::LlmRead, model)
    );
    assert!(!tables.rights(&who, tables.domain(b"other").unwrap()).any);
}
