use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::*;

#[test]
fn a_snapshot_is_found_again_by_every_name() {
    let tables = tables(&base());
    let demo = tables.domain(b"demo").unwrap();
    assert_eq!(tables.domain(DOMAIN.as_bytes()), Some(demo));
    assert_eq!(tables.domain(DOMAIN.to_uppercase().as_bytes()), Some(demo));
    let entry = tables.domain_entry(demo);
    assert_eq!((entry.id.to_string().as_str(), entry.alias.as_deref()), (DOMAIN, Some("demo")));
    for absent in [
        &b""[..],
        b"Demo",
        b"demo ",
        b"dem",
        b"demo\0",
        &[b'a'; 36],
        &[b'a'; 37],
        b"\xff",
        &DOMAIN.as_bytes()[..35],
    ] {
        assert_eq!(tables.domain(absent), None, "{absent:?}");
    }
    // Other spellings of a UUID are not the name of a domain: what authorises and what routes read it alike.
    for spelling in [DOMAIN.replace('-', ""), format!("{{{DOMAIN}}}"), format!("urn:uuid:{DOMAIN}")] {
        assert_eq!(tables.domain(spelling.as_bytes()), None, "{spelling}");
    }
    let counts = Counts { pats: 0, users: 1, domains: 2, models: 2, clusters: 1, ..Counts::default() };
    assert_eq!((tables.counts(), tables.is_empty(), Tables::empty().is_empty()), (counts, false, true));
}

#[test]
fn models_are_found_by_their_exact_name_and_listed_in_order() {
    let mut lines = base();
    for name in ["org/model:7b", "a", "Large", "größe"] {
        lines.push(model_line(DOMAIN, name));
    }
    lines.push(model_line(OTHER_DOMAIN, "elsewhere"));
    lines[4] = model_line(DOMAIN, "small").replace("}", r#","upstream_model":"small-q4","created":7}"#);
    let tables = tables(&lines);
    let domain = tables.domain(b"demo").unwrap();
    let names: Vec<_> = tables.models_of(domain).map(|model| &*tables.model_entry(model).name).collect();
    assert_eq!(names, ["Large", "a", "größe", "large", "org/model:7b", "small"]);
    let small = tables.model_entry(tables.model(domain, b"small").unwrap());
    assert_eq!(
        (small.upstream_model.as_deref(), small.created, &*small.label),
        (Some("small-q4"), 7, "small")
    );
    let large = tables.model_entry(tables.model(domain, b"large").unwrap());
    assert_eq!((large.upstream_model.as_deref(), large.created), (None, 0));
    for absent in [&b""[..], b"LARGE", b"large ", b"elsewhere", b"\xff"] {
        assert_eq!(tables.model(domain, absent), None, "{absent:?}");
    }
}

#[test]
fn a_series_number_is_the_same_in_other_tables_and_another_in_another_domain() {
    let mut lines = base();
    lines.push(model_line(OTHER_DOMAIN, "large"));
    let series = |tables: &Tables, alias: &[u8]| {
        tables.model_entry(tables.model(tables.domain(alias).unwrap(), b"large").unwrap()).series
    };
    let first = tables(&lines);
    lines.reverse();
    let second = tables(&lines);
    assert_eq!(series(&first, b"demo"), series(&second, b"demo"));
    assert_ne!(series(&first, b"demo"), series(&first, b"other"));
}

#[test]
fn clusters_carry_their_timeouts_and_endpoints() {
    let line = r#"{"kind":"cluster","id":"gpu","dialect":"ollama","endpoints":[{"url":"http://10.0.0.1:8000/base/","weight":3,"credential":{"value":"Bearer x"}},{"url":"http://[::1]:1"}],"head_timeout_ms":5,"total_timeout_ms":0}"#;
    let mut lines = base();
    lines[0] = line.to_owned();
    let tables = tables(&lines);
    let model = tables.model(tables.domain(b"demo").unwrap(), b"large").unwrap();
    let cluster = tables.cluster(tables.model_entry(model).cluster);
    assert_eq!((cluster.id.as_str(), cluster.dialect), ("gpu", Dialect::Ollama));
    assert_eq!(
        (cluster.connect_timeout, cluster.head_timeout),
        (Duration::from_secs(3), Duration::from_millis(5))
    );
    assert_eq!((cluster.idle_timeout, cluster.total_timeout), (Duration::from_secs(300), None));
    let [first, second] = &*cluster.endpoints else { panic!("two endpoints") };
    assert_eq!(*first.addrs, ["10.0.0.1:8000".parse::<SocketAddr>().unwrap()]);
    assert_eq!((&*first.authority, &*first.base_path, first.weight), ("10.0.0.1:8000", "/base", 3));
    assert_eq!(&*first.credential.as_ref().unwrap().line, b"authorization: Bearer x\r\n");
    assert!(second.credential.is_none() && second.addrs[0].is_ipv6() && second.base_path.is_empty());
}

#[test]
fn a_host_that_is_not_known_is_reported_and_does_not_keep_the_snapshot_out() {
    struct OnlyA;
    impl Resolve for OnlyA {
        fn resolve(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            let found = || vec![SocketAddr::from(([10, 0, 0, 1], port))];
            (host == "a.example").then(found).ok_or_else(|| io::Error::other("no such host"))
        }
    }
    let mut lines = base();
    lines[0] = CLUSTER_LINE.replace(
        r#"{"url":"http://127.0.0.1:8000"}"#,
        r#"{"url":"http://a.example:1"},{"url":"http://b.example:1"}"#,
    );
    let tables = Tables::compile(records(&lines), 1, &mut OnlyA).unwrap();
    let unresolved: Vec<_> =
        tables.unresolved().map(|(cluster, endpoint)| (cluster.id.as_str(), &*endpoint.url)).collect();
    assert_eq!(unresolved, [("gpu", "http://b.example:1")]);
}

/// Goal: one run names everything. Method: one line for each fault that a single record can have, all in one file; the
/// sentence of each line must be there.
#[test]
fn every_problem_is_reported_with_its_line_in_one_go() {
    let stranger = "00000000-0000-4000-8000-0000000000ff";
    let cases = [
        (CLUSTER_LINE.to_owned(), ""),
        (domain_line(DOMAIN, "demo", "enabled"), ""),
        (user_line(USER, r#","status":"enabled""#), ""),
        (r#"{"kind":"snapshot"}"#.to_owned(), "`snapshot` can only be the first record"),
        (CLUSTER_LINE.to_owned(), "cluster `gpu` is already defined on line 1"),
        (domain_line(DOMAIN, "again", "enabled"), "domain 00000000-0000-4000-8000-00000000000d is already defined on line 2"),
        (user_line(USER, r#","status":"disabled""#), "user 00000000-0000-4000-8000-000000000001 is already defined on line 3"),
        (domain_line(OTHER_DOMAIN, "demo", "enabled"), "alias `demo` belongs to domain 00000000-0000-4000-8000-00000000000d"),
        (domain_line("00000000-0000-4000-8000-0000000000d3", "1st", "enabled"), "`1st` cannot be an alias"),
        (
            domain_line("00000000-0000-4000-8000-0000000000d4", "abcdef01-2345-6789-abcd-ef0123456789", "enabled"),
            "`abcdef01-2345-6789-abcd-ef0123456789` cannot be an alias",
        ),
        (model_line(stranger, "m"), "domain 00000000-0000-4000-8000-0000000000ff is not defined"),
        (model_line(DOMAIN, "m").replace("gpu", "cpu"), "cluster `cpu` is not defined"),
        (model_line(DOMAIN, "n"), ""),
        (model_line(DOMAIN, "n"), "model `n` of domain 00000000-0000-4000-8000-00000000000d is already defined on line 13"),
        (model_line(DOMAIN, ""), "`` cannot be a model's name"),
        (model_line(DOMAIN, &"x".repeat(257)), "cannot be a model's name"),
        (model_line(DOMAIN, "tab\\t"), "cannot be a model's name"),
        (grant_line(stranger, DOMAIN, &["read"]), "user 00000000-0000-4000-8000-0000000000ff is not defined"),
        (grant_line(USER, stranger, &["read"]), "domain 00000000-0000-4000-8000-0000000000ff is not defined"),
        (grant_line(USER, DOMAIN, &["read", "execute"]), "unknown operation `execute`"),
        (pat_line(&secret(USER, 1), ""), ""),
        (pat_line(&secret(USER, 1), ""), "pat 00000000-0000-0000-0000-000000000001 is already defined on line 21"),
        (pat_line(&secret(stranger, 2), ""), "user 00000000-0000-4000-8000-0000000000ff is not defined"),
        (
            pat_line(&secret(USER, 3), &scopes(&[("domains", stranger, "*", "read")])),
            "domain 00000000-0000-4000-8000-0000000000ff is not defined",
        ),
        (pat_line(&secret(USER, 4), &scopes(&[("models", DOMAIN, "n", "write")])), "unknown operation `write`"),
        (
            pat_line(&secret(USER, 5), &scopes(&[("domains", DOMAIN, stranger, "read")])),
            "entity_id `00000000-0000-4000-8000-0000000000ff` is neither `*` nor domain",
        ),
        (
            pat_line(&secret(USER, 6), r#","scopes":[{"entity_type":"domains","entity_id":"*","operation":"read"}]"#),
            "no scope is for all domains",
        ),
        (
            pat_line(&secret(USER, 7), r#","scopes":[{"entity_type":"models","entity_id":"n","operation":"read"}]"#),
            "scope on models: needs a `domain_id`",
        ),
        (pat_line(&secret(USER, 8), &scopes(&[("models", DOMAIN, "", "llm_read")])), "`` cannot be a model's name"),
        (CLUSTER_LINE.replace("\"gpu\"", "\"\""), "`` cannot be a cluster's name"),
        (CLUSTER_LINE.replace("\"gpu\"", "\"c1\"").replace("http:", "ftp:"), "it must begin with http:// or https://"),
        (r#"{"kind":"cluster","id":"c2","dialect":"openai","endpoints":[]}"#.to_owned(), "cluster `c2` has no endpoints"),
        (
            r#"{"kind":"cluster","id":"c3","dialect":"openai","endpoints":[{"url":"http://h:1"},{"url":"http://h:1","weight":0}],"idle_timeout_ms":0}"#.to_owned(),
            "endpoint http://h:1 is there twice",
        ),
        (
            r#"{"kind":"cluster","id":"c4","dialect":"openai","endpoints":[{"url":"http://h:1","credential":{"value":"a\r\nb"}}]}"#.to_owned(),
            "endpoint http://h:1: the credential's `value`",
        ),
    ];
    let lines: Vec<_> = cases.iter().map(|(line, _)| line.clone()).collect();
    let found = problems(&lines);
    for (at, (line, expected)) in cases.iter().enumerate() {
        let prefix = format!("line {}: ", at + 1);
        let here: Vec<_> = found.lines().filter(|problem| problem.starts_with(&prefix)).collect();
        if expected.is_empty() {
            assert!(here.is_empty(), "{line}\n{here:?}");
        } else {
            assert!(here.iter().any(|problem| problem.contains(expected)), "{line}\n{expected}\n{here:?}");
        }
    }
    for expected in ["line 33: endpoint http://h:1: weight 0", "line 33: cluster `c3`: idle_timeout_ms is 0"]
    {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
    let numbers: Vec<usize> = found
        .lines()
        .map(|problem| problem["line ".len()..].split(':').next().unwrap().parse().unwrap())
        .collect();
    assert!(numbers.is_sorted());
}

#[test]
fn a_file_that_is_wrong_on_every_line_is_not_listed_without_end() {
    let lines: Vec<_> =
        (0..PROBLEMS_MAX + 500).map(|number| pat_line(&secret(USER, number as u128), "")).collect();
    let problems = compile(&lines).unwrap_err();
    assert_eq!(problems.len(), PROBLEMS_MAX + 1);
    assert!(problems.last().unwrap().to_string().ends_with("and 500 more problems"));
}

/// What is told about a line goes to a log, where a line break or an escape of a terminal would forge other lines.
#[test]
fn a_problem_is_one_short_line_whatever_the_record_says() {
    let evil = "\\u001b[2J\\nline 1: all is well".to_owned() + &"x".repeat(100_000);
    let lines = [
        domain_line(DOMAIN, &evil, "enabled"),
        model_line(DOMAIN, &evil),
        model_line(DOMAIN, "m").replace("gpu", &evil),
        CLUSTER_LINE.replace("gpu", &evil),
        CLUSTER_LINE.replace("gpu", &evil),
        CLUSTER_LINE.replace("http://127.0.0.1:8000", &evil),
        grant_line(USER, DOMAIN, &["read"]).replace("read", &evil),
        pat_line(
            &secret(USER, 1),
            &scopes(&[("domains", DOMAIN, &evil, "read"), ("models", DOMAIN, &evil, &evil)]),
        ),
    ];
    for problem in compile(&lines).unwrap_err() {
        let text = problem.to_string();
        assert!(text.len() < 500 && !text.contains(char::is_control), "{text:?}");
    }
}

#[test]
fn the_order_of_lines_does_not_matter() {
    let secret = secret(USER, 1);
    let mut lines = base();
    lines.push(pat_line(&secret, &scopes(&[("models", DOMAIN, "large", "llm_chat_completions")])));
    for _ in 0..lines.len() {
        lines.rotate_left(1);
        let tables = tables(&lines);
        let who = verify(&tables, &secret).unwrap();
        let domain = tables.domain(b"demo").unwrap();
        let large = tables.model(domain, b"large").unwrap();
        assert!(tables.rights(&who, domain).allows_on(Operation::LlmChatCompletions, large));
    }
}

#[test]
fn grants_of_one_user_in_one_domain_unite() {
    let secret = secret(USER, 1);
    let mut lines = base();
    lines.push(grant_line(USER, DOMAIN, &["llm_embeddings"]));
    lines.push(pat_line(&secret, r#","full_access":true"#));
    let tables = tables(&lines);
    let who = verify(&tables, &secret).unwrap();
    let rights = tables.rights(&who, tables.domain(b"demo").unwrap());
    assert!(rights.allows(Operation::LlmEmbeddings) && rights.allows(Operation::LlmRead));
}

/// Goal: a PAT costs about 100 bytes. Method: the sizes of everything that grows with the number of PATs, at a number that
/// fills shards as a million would fill them more evenly still.
#[test]
fn a_pat_with_one_scope_takes_at_most_110_bytes() {
    let mut lines = base();
    let line = pat_line(&secret(USER, 0), &scopes(&[("domains", DOMAIN, "*", "llm_read")]));
    let id = "\"00000000-0000-0000-0000-000000000000\"";
    assert!(line.contains(id));
    lines.extend(
        (0..50_000).map(|number| line.replace(id, &format!("\"{}\"", uuid::Uuid::from_u128(number)))),
    );
    let before = tables(&base()).heap_bytes();
    let each = (tables(&lines).heap_bytes() - before) as f64 / 50_000.0;
    println!("{each:.1} bytes");
    assert!(each <= 110.0, "{each} bytes");
}

mod load {
    use super::*;

    fn load(text: &[u8]) -> Result<Tables, LoadError> {
        let path = std::env::temp_dir().join(format!(
            "cube-proxy-load-{}-{:?}.ndjson",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&path, text).unwrap();
        let loaded = Tables::load(&path, 7, &mut NoResolver);
        std::fs::remove_file(&path).unwrap();
        loaded
    }

    #[test]
    fn a_file_gives_the_tables_of_its_lines() {
        let mut lines = base();
        lines.insert(0, "# a comment".to_owned());
        lines.insert(0, r#"{"kind":"snapshot","generation":3}"#.to_owned());
        lines.extend((0..3_000).map(|number| pat_line(&secret(USER, number), "")));
        let tables = load(lines.join("\r\n").as_bytes()).unwrap();
        assert_eq!((tables.generation(), tables.counts().pats), (7, 3_000));
        assert!(verify(&tables, &secret(USER, 2_999)).is_ok());
    }

    #[test]
    fn lines_that_are_no_records_are_listed_with_those_that_are_wrong() {
        let mut lines = base();
        lines.push("nonsense".to_owned());
        lines.push(r#"{"kind":"quota"}"#.to_owned());
        lines.push(r#"{"kind":"quota","optional":true}"#.to_owned());
        lines.push(pat_line(&secret("00000000-0000-4000-8000-0000000000ff", 1), ""));
        let mut text = lines.join("\n").into_bytes();
        text.extend_from_slice(b"\n\xff\xfe\n");
        let LoadError::Wrong(problems) = load(&text).unwrap_err() else { panic!("it opens") };
        let found: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(found, [8, 9, 11, 12], "{}", listed(&problems));
    }

    #[test]
    fn an_empty_file_is_refused() {
        for text in [&b""[..], b"\n\n", b"# nothing\n", b"{\"kind\":\"snapshot\"}\n"] {
            assert!(load(text).unwrap_err().to_string().contains("there are no records"));
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_of_its_own() {
        let error = Tables::load(std::path::Path::new("/nonexistent"), 1, &mut NoResolver).unwrap_err();
        assert!(matches!(error, LoadError::Open(_)));
    }
}
