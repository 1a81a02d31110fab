use super::*;

/// The base and PATs 0 to 4,999.
fn many() -> Tables {
    let mut lines = base();
    lines.extend((0..5_000).map(|number| pat_line(&secret(USER, number), "")));
    tables(&lines)
}

fn refused(tables: &Tables, changes: &[Change]) -> String {
    listed(&tables.with(changes, 2, &mut NoResolver).expect_err("this change is wrong"))
}

fn pat_key(number: u128) -> Key {
    Key::Pat(PatId::from_bytes(number.to_be_bytes()))
}

fn domain_key(id: &str) -> Key {
    Key::Domain(id.parse().unwrap())
}

/// Goal: one PAT of many is cheap to change. Method: count the shards that the new tables do not share with the old ones.
#[test]
fn changing_one_pat_copies_its_shard_and_its_owners_and_shares_all_others() {
    let before = many();
    for (change, apart) in [
        (put(&pat_line(&secret(USER, 77), r#","revoked":true"#)), (1, 1)),
        (put(&pat_line(&secret(USER, 9_999), "")), (1, 1)),
        (Change::Remove(pat_key(77)), (1, 1)),
        (put(&grant_line(USER, OTHER_DOMAIN, &["read"])), (0, 1)),
        (put(&domain_line(DOMAIN, "demo", "disabled")), (0, 0)),
        (put(CLUSTER_LINE), (0, 0)),
        (put(&model_line(DOMAIN, "third")), (0, 0)),
    ] {
        let after = with(&before, std::slice::from_ref(&change));
        assert_eq!(
            (after.pats.shards_apart(&before.pats), after.users.shards_apart(&before.users)),
            apart,
            "{change:?}"
        );
    }
    let none = with(&before, &[]);
    assert_eq!(none.pats.shards_apart(&before.pats), 0);
}

#[test]
fn the_tables_before_a_change_stay_as_they_were() {
    let before = many();
    let after =
        with(&before, &[Change::Remove(pat_key(77)), put(&domain_line(DOMAIN, "renamed", "freezed"))]);
    assert!(verify(&before, &secret(USER, 77)).is_ok() && verify(&after, &secret(USER, 77)).is_err());
    assert!(verify(&after, &secret(USER, 78)).is_ok());
    assert!(before.domain(b"demo").is_some() && before.domain(b"renamed").is_none());
    assert!(after.domain(b"demo").is_none() && after.domain(b"renamed").is_some());
    assert_eq!((before.counts().pats, after.counts().pats), (5_000, 4_999));
    assert_eq!((before.generation(), after.generation()), (1, 2));
}

#[test]
fn a_change_with_any_fault_changes_nothing_and_names_every_fault() {
    let before = tables(&base());
    let stranger = "00000000-0000-4000-8000-0000000000ff";
    let found = refused(
        &before,
        &[
            put(&pat_line(&secret(USER, 1), "")),
            put(&pat_line(&secret(stranger, 2), "")),
            put(&model_line(stranger, "m").replace("gpu", "cpu")),
            Change::Remove(Key::Cluster("gpu".into())),
            Change::Remove(domain_key(DOMAIN)),
            Change::Remove(Key::User(USER.parse().unwrap())),
        ],
    );
    let lines: Vec<_> = found.lines().map(|problem| &problem[..6]).collect();
    // The first PAT loses its owner to the last change, so it is at fault too; the model names two things in vain.
    assert_eq!(lines, ["line 1", "line 2", "line 3", "line 3", "line 4", "line 5", "line 6"], "{found}");
    assert!(found.contains("cluster `gpu` cannot be removed: 2 other records name it"), "{found}");
    assert!(
        found.contains(
            "domain 00000000-0000-4000-8000-00000000000d cannot be removed: 3 other records name it"
        ),
        "{found}"
    );
    assert!(before.domain(b"demo").is_some() && before.counts().clusters == 1);
}

#[test]
fn what_is_named_can_go_together_with_what_names_it_in_any_order() {
    let mut lines = base();
    lines.push(pat_line(
        &secret(USER, 1),
        &scopes(&[("models", DOMAIN, "large", "llm_read"), ("domains", DOMAIN, "*", "read")]),
    ));
    let before = tables(&lines);
    let model = |name: &str| Change::Remove(Key::Model(DOMAIN.parse().unwrap(), name.into()));
    let mut changes = vec![
        Change::Remove(domain_key(DOMAIN)),
        Change::Remove(Key::User(USER.parse().unwrap())),
        Change::Remove(Key::Cluster("gpu".into())),
        Change::Remove(Key::Grant(USER.parse().unwrap(), DOMAIN.parse().unwrap())),
        Change::Remove(pat_key(1)),
        model("large"),
        model("small"),
    ];
    for _ in 0..2 {
        let after = with(&before, &changes);
        assert_eq!(after.counts(), Counts { domains: 1, ..Counts::default() });
        assert!(after.domain(b"demo").is_none() && after.domain(DOMAIN.as_bytes()).is_none());
        changes.reverse();
    }
}

#[test]
fn two_domains_can_exchange_their_aliases_in_one_change() {
    let before = tables(&base());
    let after = with(
        &before,
        &[put(&domain_line(DOMAIN, "other", "enabled")), put(&domain_line(OTHER_DOMAIN, "demo", "enabled"))],
    );
    assert_eq!(after.domain(b"other"), after.domain(DOMAIN.as_bytes()));
    assert_eq!(after.domain(b"demo"), after.domain(OTHER_DOMAIN.as_bytes()));
    let found = refused(&before, &[put(&domain_line(DOMAIN, "other", "enabled"))]);
    assert!(
        found.contains("alias `other` belongs to domain 00000000-0000-4000-8000-0000000000d2"),
        "{found}"
    );
}

#[test]
fn of_two_changes_to_one_thing_the_later_one_holds() {
    let before = tables(&base());
    let line = |rest| put(&pat_line(&secret(USER, 1), rest));
    let after = with(&before, &[line(r#","revoked":true"#), line("")]);
    assert!(verify(&after, &secret(USER, 1)).is_ok());
    let after = with(&before, &[line(""), Change::Remove(pat_key(1))]);
    assert_eq!(
        (verify(&after, &secret(USER, 1)), after.counts()),
        (Err(CredentialFault::Unknown), before.counts())
    );
    let after = with(
        &before,
        &[Change::Remove(domain_key(OTHER_DOMAIN)), put(&domain_line(OTHER_DOMAIN, "third", "enabled"))],
    );
    assert!(after.domain(b"third").is_some() && after.domain(b"other").is_none());
    // Something named only by a change that another one takes back leaves nothing behind.
    let stranger = "00000000-0000-4000-8000-0000000000ff";
    let after = with(
        &before,
        &[
            put(&model_line(stranger, "m").replace("gpu", "cpu")),
            Change::Remove(Key::Model(stranger.parse().unwrap(), "m".into())),
        ],
    );
    assert_eq!((after.counts(), after.domain(stranger.as_bytes())), (before.counts(), None));
}

#[test]
fn removing_what_is_not_there_changes_nothing() {
    let before = tables(&base());
    let stranger = "00000000-0000-4000-8000-0000000000ff";
    let after = with(
        &before,
        &[
            Change::Remove(domain_key(stranger)),
            Change::Remove(Key::User(stranger.parse().unwrap())),
            Change::Remove(pat_key(1)),
            Change::Remove(Key::Cluster("x".into())),
            Change::Remove(Key::Model(DOMAIN.parse().unwrap(), "x".into())),
            Change::Remove(Key::Grant(stranger.parse().unwrap(), DOMAIN.parse().unwrap())),
        ],
    );
    assert_eq!(after.counts(), before.counts());
}

#[test]
fn changes_have_no_heading() {
    let found = refused(&tables(&base()), &[put(r#"{"kind":"snapshot","generation":2}"#)]);
    assert!(found.contains("`snapshot` can only be the first record of a file"), "{found}");
}

/// Goal: a domain that comes and goes leaves no slot behind, and its successor inherits nothing. Method: many of them, one
/// after the other, each with a model, a grant and a scoped PAT.
#[test]
fn a_domain_that_takes_the_place_of_another_inherits_nothing_from_it() {
    let mut tables = tables(&base());
    for round in 0..200_u128 {
        let domain = uuid::Uuid::from_u128(0xd000 + round).to_string();
        let cluster = format!("cluster-{round}");
        let line = pat_line(
            &secret(USER, round),
            &scopes(&[("models", &domain, "m", "llm_read"), ("models", &domain, "n", "llm_read")]),
        );
        tables = with(
            &tables,
            &[
                put(&line),
                put(&CLUSTER_LINE.replace("gpu", &cluster)),
                put(&domain_line(&domain, &format!("alias-{round}"), "enabled")),
                put(&grant_line(USER, &domain, &["llm_read"])),
            ],
        );
        let index = tables.domain(domain.as_bytes()).unwrap();
        assert_eq!(tables.models_of(index).count(), 0);
        tables = with(&tables, &[put(&model_line(&domain, "m").replace("gpu", &cluster))]);
        let who = verify(&tables, &secret(USER, round)).unwrap();
        let rights = tables.rights(&who, index);
        assert!(rights.allows_on(Operation::LlmRead, tables.model(index, b"m").unwrap()));
        tables = with(
            &tables,
            &[
                Change::Remove(domain_key(&domain)),
                Change::Remove(Key::Cluster(cluster.as_str().into())),
                Change::Remove(Key::Grant(USER.parse().unwrap(), domain.parse().unwrap())),
                Change::Remove(Key::Model(domain.parse().unwrap(), "m".into())),
                Change::Remove(pat_key(round)),
            ],
        );
    }
    assert_eq!(
        (tables.domains.iter().count(), tables.clusters.iter().count()),
        (3, 2),
        "slots are used again"
    );
}

#[test]
fn a_scope_on_a_model_holds_when_the_model_goes_and_comes_back() {
    let secret = secret(USER, 1);
    let mut lines = base();
    lines.push(pat_line(&secret, &scopes(&[("models", DOMAIN, "large", "llm_read")])));
    let before = tables(&lines);
    let key = Key::Model(DOMAIN.parse().unwrap(), "large".into());
    let without = with(&before, &[Change::Remove(key), put(&model_line(DOMAIN, "another"))]);
    let domain = without.domain(b"demo").unwrap();
    let who = verify(&without, &secret).unwrap();
    assert!(without.model(domain, b"large").is_none());
    for model in without.models_of(domain) {
        assert!(!without.rights(&who, domain).may_see(model), "another model must not inherit the scope");
    }
    let back = with(&without, &[put(&model_line(DOMAIN, "large"))]);
    let large = back.model(domain, b"large").unwrap();
    assert!(back.rights(&verify(&back, &secret).unwrap(), domain).allows_on(Operation::LlmRead, large));
}

fn domain_with_default(cluster: &str) -> String {
    domain_line(DOMAIN, "demo", "enabled").replace('}', &format!(r#","default_cluster":"{cluster}"}}"#))
}

#[test]
fn a_domains_default_cluster_is_a_reference_like_any_other() {
    let mut lines = base();
    lines[1] = domain_with_default("nowhere");
    assert!(problems(&lines).contains("line 2: cluster `nowhere` is not defined"));

    let spare = CLUSTER_LINE.replace("gpu", "spare");
    lines[1] = domain_with_default("spare");
    lines.push(spare);
    let before = tables(&lines);
    let default = |tables: &Tables| {
        let entry = tables.domain_entry(tables.domain(b"demo").unwrap());
        entry.default_cluster.map(|cluster| tables.cluster(cluster).id.to_string())
    };
    assert_eq!(default(&before).as_deref(), Some("spare"));
    let gone = Change::Remove(Key::Cluster("spare".into()));
    let found = refused(&before, std::slice::from_ref(&gone));
    assert!(found.contains("cluster `spare` cannot be removed: 1 other records name it"), "{found}");
    let after = with(&before, &[gone, put(&domain_line(DOMAIN, "demo", "enabled"))]);
    assert_eq!((default(&after), after.counts().clusters), (None, 1));
}
