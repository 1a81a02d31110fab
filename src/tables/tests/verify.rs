use super::*;

/// Tables with one PAT, number 1, whose line ends like this.
fn with_pat(rest: &str) -> (Tables, PatSecret) {
    let secret = secret(USER, 1);
    let mut lines = base();
    lines.push(pat_line(&secret, rest));
    (tables(&lines), secret)
}

#[test]
fn a_valid_pat_says_who_it_is() {
    let (tables, secret) = with_pat("");
    let who = verify(&tables, &secret).unwrap();
    assert_eq!(who.user, USER.parse().unwrap());
    assert_eq!(who.pat, Some(PatId::from_bytes(1_u128.to_be_bytes())));
}

#[test]
fn each_way_of_being_invalid_is_told_apart_for_the_log() {
    for (rest, fault) in [
        (r#","revoked":true"#, CredentialFault::Revoked),
        (r#","expires_at":1800000000"#, CredentialFault::Expired),
        (r#","expires_at":0"#, CredentialFault::Expired),
        (r#","not_before":1800000001"#, CredentialFault::NotYetValid),
        (r#","not_before":18446744073709551615"#, CredentialFault::NotYetValid),
    ] {
        let (tables, secret) = with_pat(rest);
        assert_eq!(verify(&tables, &secret), Err(fault), "{rest}");
    }
    for rest in [
        r#","expires_at":1800000001"#,
        r#","not_before":1800000000"#,
        r#","expires_at":18446744073709551615"#,
    ] {
        let (tables, secret) = with_pat(rest);
        assert!(verify(&tables, &secret).is_ok(), "{rest}");
    }
}

#[test]
fn another_secret_with_the_same_identifiers_is_unknown() {
    let (tables, good) = with_pat("");
    let ids = pat::parse(good.as_bytes()).unwrap();
    let guessed = pat::mint(ids, &[8; 32]);
    assert_eq!(verify(&tables, &guessed), Err(CredentialFault::Unknown));
    assert_eq!(verify(&tables, &secret(USER, 2)), Err(CredentialFault::Unknown));
    assert_eq!(verify(&Tables::empty(), &good), Err(CredentialFault::Unknown));
}

/// A record that gives a PAT to somebody else than the PAT itself names is a mistake or an attack; neither gets in.
#[test]
fn a_pat_does_not_work_for_another_owner_than_it_names() {
    let other = "00000000-0000-4000-8000-000000000002";
    let secret = secret(USER, 1);
    let mut lines = base();
    lines.push(user_line(other, r#","status":"enabled""#));
    lines
        .push(pat_line(&secret, "").replace(&format!(r#""user":"{USER}""#), &format!(r#""user":"{other}""#)));
    assert_eq!(verify(&tables(&lines), &secret), Err(CredentialFault::Unknown));
}

#[test]
fn garbage_is_malformed_and_leaves_nothing_in_the_cache() {
    let (tables, secret) = with_pat("");
    let mut verifier = Verifier::new(8);
    let good = secret.as_bytes();
    for garbage in [&b""[..], b"pat_", &good[1..], &[b'x'; 97], &[0xff; 149], &[b'a'; 100_000]] {
        assert_eq!(verifier.verify(&tables, garbage, NOW, FROM), Err(CredentialFault::Malformed));
    }
    assert_eq!((verifier.hits(), verifier.misses(), verifier.len()), (0, 0, 0));
}

#[test]
fn a_pat_of_the_older_form_works_like_any_other() {
    let published = "pat_OqKqh/KbRV2qaB6HSAT3htMJ6+lC8kMknmBM6p++9oQ=_-F&M2NiTyNEbnh84MKbpoU57-x6p+m+ZwGeJwn#7+zoX*XbvLYIDr90|Y82GDd2%AhNv&$wo+hcHr==-|7g8q3zqTSVdXTd&b%Jw";
    let user = "3aa2aa87-f29b-455d-aa68-1e874804f786";
    let mut lines = base();
    lines.push(user_line(user, r#","status":"enabled""#));
    lines.push(format!(
        r#"{{"kind":"pat","id":"d309ebe9-42f2-4324-9e60-4cea9fbef684","user":"{user}","digest":"{}"}}"#,
        digest_of(published.as_bytes())
    ));
    let who = Verifier::new(1).verify(&tables(&lines), published.as_bytes(), NOW, FROM).unwrap();
    assert_eq!(who.user.to_string(), user);
}

#[test]
fn the_second_check_of_a_pat_does_not_read_the_tables() {
    let (tables, secret) = with_pat("");
    let mut verifier = Verifier::new(8);
    let first = verifier.verify(&tables, secret.as_bytes(), NOW, FROM);
    assert_eq!(verifier.verify(&tables, secret.as_bytes(), NOW, FROM), first);
    assert_eq!((verifier.hits(), verifier.misses(), verifier.len()), (1, 1, 1));
}

/// Expiry is absolute: neither use nor caching moves it.
#[test]
fn a_cached_pat_expires_on_time_without_any_change_of_the_tables() {
    let (tables, secret) = with_pat(r#","expires_at":1800000010,"not_before":1799999990"#);
    let mut verifier = Verifier::new(8);
    for second in 1_799_999_980..1_800_000_020 {
        let expected = match second {
            ..1_799_999_990 => Err(CredentialFault::NotYetValid),
            1_799_999_990..1_800_000_010 => Ok(()),
            1_800_000_010.. => Err(CredentialFault::Expired),
        };
        assert_eq!(
            verifier.verify(&tables, secret.as_bytes(), second, FROM).map(drop),
            expected,
            "at {second}"
        );
    }
    assert_eq!(verifier.misses(), 1, "all but the first from the cache");
}

/// Goal: what takes a PAT out of force does so on the next request, cached or not. Method: for every such change, verify
/// with a warm cache before, after, and after it is taken back.
#[test]
fn a_change_is_in_force_at_the_next_check_of_a_cached_pat() {
    let (before, secret) = with_pat("");
    let line = |rest| put(&pat_line(&secret, rest));
    let user = |rest: &str| put(&user_line(USER, rest));
    let id = PatId::from_bytes(1_u128.to_be_bytes());
    for (change, fault) in [
        (line(r#","revoked":true"#), CredentialFault::Revoked),
        (line(r#","expires_at":1799999999"#), CredentialFault::Expired),
        (line(r#","not_before":1800000001"#), CredentialFault::NotYetValid),
        (user(r#","status":"disabled""#), CredentialFault::UserDisabled),
        (Change::Remove(Key::Pat(id)), CredentialFault::Unknown),
    ] {
        let mut verifier = Verifier::new(8);
        assert!(verifier.verify(&before, secret.as_bytes(), NOW, FROM).is_ok());
        let after = with(&before, std::slice::from_ref(&change));
        for _ in 0..2 {
            assert_eq!(verifier.verify(&after, secret.as_bytes(), NOW, FROM), Err(fault), "{change:?}");
        }
        let back = with(&after, &[line(""), user(r#","status":"enabled""#)]);
        assert!(verifier.verify(&back, secret.as_bytes(), NOW, FROM).is_ok(), "{change:?} taken back");
    }
}

#[test]
fn a_reset_secret_makes_the_old_one_unknown_and_the_new_one_valid() {
    let (before, old) = with_pat("");
    let new = pat::mint(pat::parse(old.as_bytes()).unwrap(), &[99; 32]);
    let after = with(&before, &[put(&pat_line(&new, ""))]);
    let mut verifier = Verifier::new(8);
    assert!(verifier.verify(&before, old.as_bytes(), NOW, FROM).is_ok());
    assert_eq!(verifier.verify(&after, old.as_bytes(), NOW, FROM), Err(CredentialFault::Unknown));
    assert!(verifier.verify(&after, new.as_bytes(), NOW, FROM).is_ok());
}

/// A reload from a file may give tables the number of the tables before; the cache must not take them for the same.
#[test]
fn tables_with_an_equal_generation_are_still_other_tables() {
    let (before, secret) = with_pat("");
    let (after, _) = with_pat(r#","revoked":true"#);
    assert_eq!(before.generation(), after.generation());
    let mut verifier = Verifier::new(8);
    assert!(verifier.verify(&before, secret.as_bytes(), NOW, FROM).is_ok());
    assert_eq!(verifier.verify(&after, secret.as_bytes(), NOW, FROM), Err(CredentialFault::Revoked));
}

/// Goal: guessing is cheap for us and useless for the guesser. Method: fill the cache, guess a lot, look who is still there.
#[test]
fn guessing_evicts_nobody() {
    let secrets: Vec<_> = (0..8).map(|number| secret(USER, number)).collect();
    let mut lines = base();
    lines.extend(secrets.iter().map(|secret| pat_line(secret, "")));
    let tables = tables(&lines);
    let mut verifier = Verifier::new(64);
    for secret in &secrets {
        assert!(verifier.verify(&tables, secret.as_bytes(), NOW, FROM).is_ok());
    }
    for guess in 1_000..3_000 {
        let wrong = secret(USER, guess);
        assert_eq!(verifier.verify(&tables, wrong.as_bytes(), NOW, FROM), Err(CredentialFault::Unknown));
    }
    let hits = verifier.hits();
    for secret in &secrets {
        assert!(verifier.verify(&tables, secret.as_bytes(), NOW, FROM).is_ok());
    }
    assert_eq!(verifier.hits(), hits + 8);
}

#[test]
fn the_cache_holds_what_it_was_given_room_for() {
    let secrets: Vec<_> = (0..500).map(|number| secret(USER, number)).collect();
    let mut lines = base();
    lines.extend(secrets.iter().map(|secret| pat_line(secret, "")));
    let tables = tables(&lines);
    let mut verifier = Verifier::new(100);
    for _ in 0..3 {
        for secret in &secrets {
            assert!(verifier.verify(&tables, secret.as_bytes(), NOW, FROM).is_ok());
        }
    }
    assert!(verifier.len() <= 100, "{}", verifier.len());
}

/// Goal: a PAT that names addresses works from there and from nowhere else, and a cached verification is no way around it.
/// Method: one verifier, warm, asked from everywhere in turn.
#[test]
fn a_pat_bound_to_addresses_works_from_there_only_cached_or_not() {
    let (tables, secret) = with_pat(r#","cidrs":["192.0.2.0/24","2001:db8::/32"]"#);
    let mut verifier = Verifier::new(8);
    for _ in 0..2 {
        for (address, admitted) in [
            ("192.0.2.77", true),
            ("198.51.100.1", false),
            ("2001:db8::7", true),
            ("2001:db9::7", false),
            ("::ffff:192.0.2.1", true),
            ("127.0.0.1", false),
        ] {
            let verified = verifier.verify(&tables, secret.as_bytes(), NOW, address.parse().unwrap());
            let expected = if admitted { Ok(()) } else { Err(CredentialFault::Address) };
            assert_eq!(verified.map(drop), expected, "{address}");
        }
    }
    assert_eq!((verifier.hits(), verifier.misses()), (11, 1));
}

#[test]
fn ranges_change_nothing_about_what_a_pat_may_do() {
    let scoped = scopes(&[("domains", DOMAIN, "*", "llm_read"), ("models", DOMAIN, "large", "llm_read")]);
    let (plain, secret) = with_pat(&scoped);
    let (bound, _) = with_pat(&format!(r#"{scoped},"cidrs":["127.0.0.0/8"]"#));
    let rights = |tables: &Tables| {
        let who = verify(tables, &secret).unwrap();
        let domains = [DOMAIN, OTHER_DOMAIN].map(|id| tables.domain(id.as_bytes()).unwrap());
        domains.map(|domain| {
            let rights = tables.rights(&who, domain);
            (rights.any, rights.domain, tables.models_of(domain).map(|m| rights.on(m)).collect::<Vec<_>>())
        })
    };
    assert_eq!(rights(&plain), rights(&bound));
}

#[test]
fn a_range_that_is_none_is_a_problem() {
    let secret = secret(USER, 1);
    let mut lines = base();
    lines.push(pat_line(&secret, r#","cidrs":["10.0.0.0/8","10.1.0.0/8","host","::/129"]"#));
    let said = problems(&lines);
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("cidr `10.1.0.0/8`: bits are set behind the prefix"), "{said}");
    let many = vec![r#""10.0.0.0/8""#; 257].join(",");
    lines.pop();
    lines.push(pat_line(&secret, &format!(r#","cidrs":[{many}]"#)));
    assert!(problems(&lines).contains("more than 256 cidrs"));
}

/// The PAT of [`with_pat`], its new secret, and the line of a reset that leaves the old one valid until `until`.
fn reset(until: u64, rest: &str) -> (Tables, PatSecret, PatSecret) {
    let old = secret(USER, 1);
    let new = pat::mint(pat::parse(old.as_bytes()).unwrap(), &[99; 32]);
    let mut lines = base();
    let digest = digest_of(old.as_bytes());
    let previous = format!(r#","previous":{{"digest":"{digest}","until":{until}}}{rest}"#);
    lines.push(pat_line(&new, &previous));
    (tables(&lines), old, new)
}

#[test]
fn a_former_secret_is_valid_until_its_time_and_the_new_one_beyond() {
    let (tables, old, new) = reset(NOW + 10, "");
    let mut verifier = Verifier::new(8);
    for _ in 0..2 {
        let mut at =
            |secret: &PatSecret, now| verifier.verify(&tables, secret.as_bytes(), now, FROM).map(drop);
        assert_eq!(at(&old, NOW + 9), Ok(()));
        assert_eq!(at(&old, NOW + 10), Err(CredentialFault::Expired));
        assert_eq!(at(&new, NOW + 10), Ok(()));
    }
    assert_eq!(verifier.misses(), 2, "both are remembered");
    let third = pat::mint(pat::parse(old.as_bytes()).unwrap(), &[1; 32]);
    assert_eq!(verify(&tables, &third), Err(CredentialFault::Unknown));
}

#[test]
fn what_ends_a_pat_ends_its_former_secret() {
    for (rest, fault) in [
        (r#","revoked":true"#, CredentialFault::Revoked),
        (r#","expires_at":1800000000"#, CredentialFault::Expired),
        (r#","not_before":1800000001"#, CredentialFault::NotYetValid),
        (r#","cidrs":["192.0.2.0/24"]"#, CredentialFault::Address),
    ] {
        let (tables, old, new) = reset(NOW + 10, rest);
        assert_eq!((verify(&tables, &old), verify(&tables, &new)), (Err(fault), Err(fault)), "{rest}");
    }
}
