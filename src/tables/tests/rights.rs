use super::*;

const OTHER_USER: &str = "00000000-0000-4000-8000-000000000002";

/// Tables with one PAT of `USER`, number 1, with these scopes, and who that is.
fn caller(lines: &[String], scoped: &[(&str, &str, &str, &str)]) -> (Tables, Identity) {
    let secret = secret(USER, 1);
    let mut lines = lines.to_vec();
    lines.push(pat_line(&secret, &scopes(scoped)));
    let tables = tables(&lines);
    let who = verify(&tables, &secret).unwrap();
    (tables, who)
}

fn full_access(lines: &[String]) -> (Tables, Identity) {
    let secret = secret(USER, 1);
    let mut lines = lines.to_vec();
    lines.push(pat_line(&secret, r#","full_access":true"#));
    let tables = tables(&lines);
    let who = verify(&tables, &secret).unwrap();
    (tables, who)
}

/// The base, with another line in the place of the one that begins so.
fn base_but(front: &str, line: &str) -> Vec<String> {
    let mut lines = base();
    let place = lines.iter().position(|line| line.starts_with(front)).unwrap();
    lines[place] = line.to_owned();
    lines
}

const GRANT_FRONT: &str = r#"{"kind":"grant""#;

fn everything() -> Vec<&'static str> {
    Operation::ALL.iter().map(|operation| operation.name()).collect()
}

/// Goal: only what is written is allowed. Method: the whole matrix. For each operation, a PAT with that one scope, in each
/// form of scope, whose owner may do everything; then every operation is asked for, in both domains, on every model.
#[test]
fn a_scope_allows_exactly_its_operation_on_exactly_its_entity() {
    let mut lines = base_but(GRANT_FRONT, &grant_line(USER, DOMAIN, &everything()));
    lines.push(grant_line(USER, OTHER_DOMAIN, &everything()));
    lines.push(model_line(OTHER_DOMAIN, "large"));
    for &scoped in Operation::ALL {
        for (entity_type, entity_id) in
            [("domains", DOMAIN), ("domains", "*"), ("models", "*"), ("models", "large"), ("groups", "*")]
        {
            let (tables, who) = caller(&lines, &[(entity_type, DOMAIN, entity_id, scoped.name())]);
            let (domain, other) = (tables.domain(b"demo").unwrap(), tables.domain(b"other").unwrap());
            let (rights, elsewhere) = (tables.rights(&who, domain), tables.rights(&who, other));
            let large = tables.model(domain, b"large").unwrap();
            let small = tables.model(domain, b"small").unwrap();
            let other_large = tables.model(other, b"large").unwrap();
            let on_domain = entity_type == "domains";
            for &asked in Operation::ALL {
                let same = asked == scoped;
                let case = format!("{scoped} on {entity_type} {entity_id}, asked for {asked}");
                assert_eq!(rights.allows(asked), same && on_domain, "{case}");
                let on_large = same && entity_type != "groups";
                assert_eq!(rights.allows_on(asked, large), on_large, "{case}");
                assert_eq!(rights.allows_on(asked, small), on_large && entity_id != "large", "{case}");
                assert_eq!(rights.allows_somewhere(asked), on_large, "{case}");
                assert!(!elsewhere.allows(asked) && !elsewhere.allows_on(asked, other_large), "{case}");
                assert!(!rights.allows_on(asked, other_large), "{case}: a model of another domain");
            }
            assert_eq!(rights.any, entity_type != "groups");
            assert!(!elsewhere.any);
        }
    }
}

/// Goal: a scope never widens what its owner may do. Method: the other half of the matrix: a PAT with every scope, whose
/// owner holds one action.
#[test]
fn a_role_allows_exactly_its_actions_and_what_they_imply() {
    let all: Vec<_> = everything().into_iter().map(|name| ("domains", DOMAIN, "*", name)).collect();
    for &held in Operation::ALL {
        let lines = base_but(GRANT_FRONT, &grant_line(USER, DOMAIN, &[held.name()]));
        let (tables, who) = caller(&lines, &all);
        let rights = tables.rights(&who, tables.domain(b"demo").unwrap());
        assert_eq!(rights.domain, OperationSet::of(&[held]).with_implied(), "{held}");
    }
}

#[test]
fn several_scopes_add_up_on_each_entity_apart() {
    let lines = base_but(GRANT_FRONT, &grant_line(USER, DOMAIN, &everything()));
    let (tables, who) = caller(
        &lines,
        &[
            ("domains", DOMAIN, "*", "llm_read"),
            ("domains", DOMAIN, DOMAIN, "llm_rerank"),
            ("models", DOMAIN, "*", "llm_embeddings"),
            ("models", DOMAIN, "large", "llm_chat_completions"),
            ("models", DOMAIN, "large", "llm_completions"),
            ("models", DOMAIN, "not there yet", "llm_scoring"),
            ("domains", OTHER_DOMAIN, "*", "llm_delete"),
        ],
    );
    let domain = tables.domain(b"demo").unwrap();
    let rights = tables.rights(&who, domain);
    let [large, small] = [b"large", b"small"].map(|name| tables.model(domain, name).unwrap());
    let whole = OperationSet::of(&[Operation::LlmRead, Operation::LlmRerank]);
    let every = whole.union(OperationSet::of(&[Operation::LlmEmbeddings]));
    let chat = OperationSet::of(&[Operation::LlmChatCompletions, Operation::LlmCompletions]);
    assert_eq!((rights.domain, rights.on(small), rights.on(large)), (whole, every, every.union(chat)));
    assert!(rights.allows_somewhere(Operation::LlmScoring) && !rights.allows_somewhere(Operation::LlmDelete));
    assert!(tables.model(domain, b"not there yet").is_none(), "a scope makes no model");
}

#[test]
fn a_pat_without_scopes_can_do_nothing_and_sees_no_domain_even_if_its_owner_is_superadmin() {
    let superadmin = user_line(USER, r#","status":"enabled","superadmin":true"#);
    for lines in [base(), base_but(r#"{"kind":"user""#, &superadmin)] {
        let (tables, who) = caller(&lines, &[]);
        let rights = tables.rights(&who, tables.domain(b"demo").unwrap());
        assert!(rights.domain.is_empty() && !rights.any);
    }
}

#[test]
fn a_pat_with_full_access_acts_as_its_owner_and_only_where_the_owner_has_a_role() {
    let (tables, who) = full_access(&base());
    let rights = tables.rights(&who, tables.domain(b"demo").unwrap());
    let role = [Operation::Read, Operation::LlmRead, Operation::LlmChatCompletions]
        .into_iter()
        .collect::<OperationSet>();
    assert_eq!((rights.domain, rights.any), (role.with_implied(), true));
    let elsewhere = tables.rights(&who, tables.domain(b"other").unwrap());
    assert!(elsewhere.domain.is_empty() && !elsewhere.any);
}

#[test]
fn a_superadmin_needs_no_role_and_is_still_narrowed_by_scopes() {
    let lines = base_but(r#"{"kind":"user""#, &user_line(USER, r#","status":"enabled","superadmin":true"#));
    let (tables, who) = caller(&lines, &[("domains", OTHER_DOMAIN, "*", "llm_delete")]);
    let other = tables.rights(&who, tables.domain(b"other").unwrap());
    assert!(other.is_superadmin() && other.any);
    assert_eq!(other.domain, OperationSet::of(&[Operation::LlmDelete]));
    assert!(!tables.rights(&who, tables.domain(b"demo").unwrap()).any);
    let (tables, who) = full_access(&lines);
    for alias in [&b"demo"[..], b"other"] {
        assert_eq!(tables.rights(&who, tables.domain(alias).unwrap()).domain, OperationSet::ALL);
    }
}

/// Enabled: members. Disabled: whoever holds the whole `admin` set, or superadmins. Freezed: superadmins.
#[test]
fn a_domains_status_is_a_gate_before_every_right() {
    let member = grant_line(USER, DOMAIN, &["read", "llm_read"]);
    let mut admin = OperationSet::ADMIN.iter().map(Operation::name).collect::<Vec<_>>();
    let nearly_admin = grant_line(USER, DOMAIN, &[&admin[1..], &["llm_read"]].concat());
    admin.push("llm_read");
    let admin = grant_line(USER, DOMAIN, &admin);
    let plain = user_line(USER, r#","status":"enabled""#);
    let superadmin = user_line(USER, r#","status":"enabled","superadmin":true"#);
    for (grant, user, [enabled, disabled, freezed]) in [
        (&member, &plain, [true, false, false]),
        (&nearly_admin, &plain, [true, false, false]),
        (&admin, &plain, [true, true, false]),
        (&member, &superadmin, [true, true, true]),
    ] {
        for (status, allowed) in [("enabled", enabled), ("disabled", disabled), ("freezed", freezed)] {
            let mut lines = base_but(GRANT_FRONT, grant);
            lines[1] = domain_line(DOMAIN, "demo", status);
            lines[5].clone_from(user);
            let (tables, who) = caller(
                &lines,
                &[
                    ("domains", DOMAIN, "*", "llm_read"),
                    ("models", DOMAIN, "large", "llm_read"),
                    ("models", DOMAIN, "*", "llm_read"),
                ],
            );
            let domain = tables.domain(b"demo").unwrap();
            let rights = tables.rights(&who, domain);
            let large = tables.model(domain, b"large").unwrap();
            assert_eq!(rights.allows(Operation::LlmRead), allowed, "{status}: {grant}");
            assert_eq!(rights.allows_on(Operation::LlmRead, large), allowed, "{status}: {grant}");
            assert_eq!(rights.may_see(large), allowed, "{status}: {grant}");
            assert!(rights.any, "whoever has a scope there is told 403, not 404");
        }
    }
}

#[test]
fn a_model_is_seen_by_whoever_may_use_it_in_any_way() {
    let lines =
        base_but(GRANT_FRONT, &grant_line(USER, DOMAIN, &["read", "llm_embeddings", "llm_view_role_users"]));
    let (tables, who) = caller(
        &lines,
        &[
            ("models", DOMAIN, "large", "llm_embeddings"),
            ("models", DOMAIN, "small", "llm_chat_completions"),
            ("domains", DOMAIN, "*", "read"),
            ("domains", DOMAIN, "*", "llm_view_role_users"),
        ],
    );
    let domain = tables.domain(b"demo").unwrap();
    let rights = tables.rights(&who, domain);
    let seen: Vec<_> = tables.models_of(domain).map(|model| rights.may_see(model)).collect();
    assert_eq!(seen, [true, false], "large: scope and role; small: scope without role");
}

#[test]
fn a_role_that_is_taken_away_and_given_back_acts_at_once_and_the_caller_still_knows_the_domain() {
    let (before, who) = caller(&base(), &[("domains", DOMAIN, "*", "llm_chat_completions")]);
    let chat = |tables: &Tables| {
        let rights = tables.rights(&who, tables.domain(b"demo").unwrap());
        (rights.allows(Operation::LlmChatCompletions), rights.any)
    };
    let key = Key::Grant(USER.parse().unwrap(), DOMAIN.parse().unwrap());
    let without = with(&before, &[Change::Remove(key)]);
    let narrowed = with(&before, &[put(&grant_line(USER, DOMAIN, &["llm_read"]))]);
    let back = with(&without, &[put(&grant_line(USER, DOMAIN, &["llm_chat_completions"]))]);
    // The identity is of the tables before, as for a request that began when they were in force.
    assert_eq!(
        [chat(&before), chat(&without), chat(&narrowed), chat(&back)],
        [(true, true), (false, true), (false, true), (true, true)]
    );
}

#[test]
fn who_was_verified_against_older_tables_loses_all_rights_with_the_pat_or_its_owner() {
    let (before, who) = caller(&base(), &[("domains", DOMAIN, "*", "llm_chat_completions")]);
    let revoked = pat_line(
        &secret(USER, 1),
        &(r#","revoked":true"#.to_owned() + &scopes(&[("domains", DOMAIN, "*", "llm_chat_completions")])),
    );
    for change in [
        put(&revoked),
        put(&user_line(USER, r#","status":"disabled""#)),
        Change::Remove(Key::Pat(who.pat.unwrap())),
    ] {
        let after = with(&before, std::slice::from_ref(&change));
        let rights = after.rights(&who, after.domain(b"demo").unwrap());
        assert!(!rights.any && rights.domain.is_empty(), "{change:?}");
    }
}

#[test]
fn names_of_entities_that_cube_has_not_are_kept_and_never_act() {
    let lines =
        base_but(GRANT_FRONT, &grant_line(USER, DOMAIN, &["client_read", "create_groups", "llm_read"]));
    let (tables, who) = caller(
        &lines,
        &[
            ("domains", DOMAIN, "*", "create_clients"),
            ("clients", DOMAIN, "*", "view"),
            ("datasets", DOMAIN, "x", "anything"),
        ],
    );
    let rights = tables.rights(&who, tables.domain(b"demo").unwrap());
    assert!(rights.domain.is_empty() && rights.any);
}

#[test]
fn one_users_rights_are_not_anothers() {
    let mut lines = base();
    lines.push(user_line(OTHER_USER, r#","status":"enabled""#));
    let theirs = secret(OTHER_USER, 2);
    lines.push(pat_line(&theirs, &scopes(&[("domains", DOMAIN, "*", "llm_chat_completions")])));
    let tables = tables(&lines);
    let who = verify(&tables, &theirs).unwrap();
    assert!(tables.rights(&who, tables.domain(b"demo").unwrap()).domain.is_empty());
}
