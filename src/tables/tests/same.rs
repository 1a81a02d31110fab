//! A change gives the tables that compiling the changed records gives. This is the whole specification of
//! [`Tables::with`]; a model made of a plain map of lines says what the changed records are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const USERS: u128 = 4;
const DOMAINS: u128 = 3;
const PATS: u128 = 6;

fn id(kind: u128, number: u128) -> String {
    uuid::Uuid::from_u128(kind << 64 | number).to_string()
}

fn user(number: u128) -> String {
    id(1, number)
}

fn domain(number: u128) -> String {
    id(2, number)
}

/// What ends the line of a domain with this default cluster.
fn default_cluster(cluster: &str) -> String {
    if cluster.is_empty() { "}".to_owned() } else { format!(r#","default_cluster":"{cluster}"}}"#) }
}

/// Any record about one of a few things, valid by itself and perhaps naming something that is not there.
fn any_line() -> impl Strategy<Value = String> {
    let operation =
        prop::sample::select(vec!["read", "llm_read", "llm_chat_completions", "manage_role", "client_read"]);
    let model = prop::sample::select(vec!["m", "n", "o"]);
    let scope = (
        prop::sample::select(vec!["domains", "models"]),
        0..DOMAINS,
        model.clone(),
        any::<bool>(),
        operation.clone(),
    );
    let scope = scope.prop_map(|(entity_type, at, model, all, operation)| {
        let entity = if all || entity_type == "domains" { "*" } else { model };
        (entity_type, domain(at), entity, operation)
    });
    prop_oneof![
        3 => (0..PATS, 0..USERS, prop::collection::vec(scope, 0..4), any::<[bool; 3]>()).prop_map(
            |(pat, owner, scoped, [revoked, full_access, noted])| {
                let scoped: Vec<_> = scoped.iter().map(|(t, d, e, o)| (*t, d.as_str(), *e, *o)).collect();
                let notes = if noted {
                    let digest = digest_of(secret(&user(owner), pat + 1).as_bytes());
                    format!(r#","cidrs":["fd00::/8","10.0.0.0/8"],"previous":{{"digest":"{digest}","until":1}}"#)
                } else {
                    String::new()
                };
                let rest =
                    format!(r#","revoked":{revoked},"full_access":{full_access}{notes}{}"#, scopes(&scoped));
                pat_line(&secret(&user(owner), pat), &rest)
            }
        ),
        2 => (0..USERS, any::<[bool; 2]>()).prop_map(|(number, [enabled, superadmin])| {
            let status = if enabled { "enabled" } else { "disabled" };
            user_line(&user(number), &format!(r#","status":"{status}","superadmin":{superadmin}"#))
        }),
        2 => (0..DOMAINS, prop::sample::select(vec!["a", "b", "c"]), prop::sample::select(vec!["enabled", "disabled", "freezed"]), prop::sample::select(vec!["", "gpu", "cpu"]))
            .prop_map(|(number, alias, status, cluster)| {
                domain_line(&domain(number), alias, status).replace('}', &default_cluster(cluster))
            }),
        2 => (0..DOMAINS, model, prop::sample::select(vec!["gpu", "cpu"]))
            .prop_map(|(number, model, cluster)| model_line(&domain(number), model).replace("gpu", cluster)),
        1 => (prop::sample::select(vec!["gpu", "cpu"]), 1..3_u16)
            .prop_map(|(cluster, port)| CLUSTER_LINE.replace("gpu", cluster).replace("8000", &port.to_string())),
        1 => (prop::sample::select(vec!["r", "s"]), 0..=DOMAINS, prop::sample::select(vec!["gpu", "cpu"]), any::<bool>())
            .prop_map(|(name, at, cluster, default_rule)| {
                let at = if at < DOMAINS { format!(r#","domain":"{}""#, domain(at)) } else { String::new() };
                let when = if default_rule {
                    r#","default_rule":true"#
                } else {
                    r#","matchers":[{"condition":"path","pattern":"x","is_regex":true}]"#
                };
                format!(r#"{{"kind":"route","name":"{name}","cluster":"{cluster}"{at}{when}}}"#)
            }),
        1 => prop::sample::select(vec!["k", "l"]).prop_map(|id| {
            format!(r#"{{"kind":"key","id":"{id}","public_key":"{}"}}"#, "A".repeat(43))
        }),
        2 => (0..USERS, 0..DOMAINS, prop::collection::vec(operation, 0..3))
            .prop_map(|(number, at, operations)| grant_line(&user(number), &domain(at), &operations)),
    ]
}

/// A change that makes one of each, so that random records have something to name.
fn everything() -> Vec<(String, bool)> {
    let clusters = ["gpu", "cpu"].map(|cluster| CLUSTER_LINE.replace("gpu", cluster));
    let users = (0..USERS).map(|number| user_line(&user(number), r#","status":"enabled""#));
    let domains = (0..DOMAINS).map(|number| {
        let line = domain_line(&domain(number), "x", "enabled");
        line.replace(r#","alias":"x""#, "")
    });
    clusters.into_iter().chain(users).chain(domains).map(|line| (line, true)).collect()
}

/// Puts a line, or removes what it is about.
fn any_change() -> impl Strategy<Value = (String, bool)> {
    (any_line(), prop::bool::weighted(0.75))
}

fn change_of((line, put_it): &(String, bool)) -> Change {
    let Change::Put(record) = put(line) else { unreachable!("put puts") };
    if *put_it { Change::Put(record) } else { Change::Remove(record.key().unwrap()) }
}

/// The records that are there, as the specification has it: one line a key, but any number of grants said in one batch.
#[derive(Clone, Default)]
struct Model(BTreeMap<Key, Vec<String>>);

impl Model {
    fn apply(&mut self, batch: &[(String, bool)]) {
        let mut said_in_this_batch: Vec<Key> = Vec::new();
        for (line, put_it) in batch {
            let Change::Put(record) = put(line) else { unreachable!("put puts") };
            let key = record.key().unwrap();
            let lines = self.0.entry(key.clone()).or_default();
            if !matches!(key, Key::Grant(..)) || !said_in_this_batch.contains(&key) || !*put_it {
                lines.clear();
            }
            if *put_it {
                lines.push(line.clone());
            }
            said_in_this_batch.push(key);
        }
    }

    fn compile(&self) -> Result<Tables, Vec<Problem>> {
        compile(&self.0.values().flatten().cloned().collect::<Vec<_>>())
    }
}

/// Everything that tables can be asked, as text.
fn answers(tables: &Tables) -> String {
    let mut text = format!("{:?}\n", tables.counts());
    let domains: Vec<_> =
        (0..DOMAINS).filter_map(|number| tables.domain(domain(number).as_bytes())).collect();
    for alias in ["a", "b", "c"] {
        let id = tables.domain(alias.as_bytes()).map(|found| tables.domain_entry(found).id);
        let _ = writeln!(text, "{alias}: {id:?}");
    }
    for &at in &domains {
        let entry = tables.domain_entry(at);
        let default_cluster = entry.default_cluster.map(|cluster| &tables.cluster(cluster).id);
        let _ = writeln!(text, "{} {:?} {:?} {default_cluster:?}", entry.id, entry.alias, entry.status);
        for model in tables.models_of(at) {
            let model = tables.model_entry(model);
            let _ = writeln!(text, "  {} {:?}", model.name, tables.cluster(model.cluster));
        }
    }
    let mut rules: Vec<_> = tables
        .rules()
        .list()
        .iter()
        .map(|rule| {
            // Slots of domains depend on what came before, and so does the order of domains in the list; identifiers do not.
            let at = rule.domain.map(|at| tables.domain_entry(DomainIx(at)).id);
            format!("{} {at:?} {} {:?}\n", rule.name, rule.is_default, tables.cluster(rule.cluster).id)
        })
        .collect();
    rules.sort();
    text.extend(rules);
    for owner in 0..USERS {
        for pat in 0..PATS {
            let secret = secret(&user(owner), pat);
            let who = verify(tables, &secret);
            let _ = writeln!(text, "{pat} of {owner}: {:?}", who.map(|who| (who.user, who.pat)));
            let Ok(who) = who else { continue };
            for &at in &domains {
                let rights = tables.rights(&who, at);
                let on: Vec<_> = tables.models_of(at).map(|model| rights.on(model)).collect();
                let _ = writeln!(text, "  {} {:?} {on:?}", rights.any, rights.domain);
            }
        }
    }
    text
}

proptest! {
    #[test]
    fn a_change_gives_the_tables_that_a_snapshot_of_its_outcome_gives(
        batches in prop::collection::vec(prop::collection::vec(any_change(), 1..12), 1..8),
    ) {
        let (mut model, mut changed) = (Model::default(), Tables::empty());
        // The first batch makes almost everything, so that most of what follows names something that is there.
        for batch in std::iter::once(&everything()).chain(&batches) {
            let mut next = model.clone();
            next.apply(batch);
            let changes: Vec<_> = batch.iter().map(change_of).collect();
            match (next.compile(), changed.with(&changes, 1, &mut NoResolver)) {
                (Ok(compiled), Ok(after)) => {
                    prop_assert_eq!(answers(&compiled), answers(&after));
                    (model, changed) = (next, after);
                }
                // Refused both ways: what was in force stays in force, and the next batch starts from there.
                (Err(_), Err(problems)) => {
                    let places = problems.iter().all(|problem| (1..=batch.len()).contains(&problem.line));
                    prop_assert!(places, "{}", listed(&problems));
                }
                (Ok(_), Err(problems)) => prop_assert!(false, "only the change is refused: {}", listed(&problems)),
                (Err(problems), Ok(_)) => prop_assert!(false, "only the snapshot is refused: {}", listed(&problems)),
            }
        }
    }
}
