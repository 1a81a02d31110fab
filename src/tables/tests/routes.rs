//! Rules that send requests elsewhere: which one takes a request, and which ones cannot be.

use super::*;
use crate::tables::{Choice, Seen};

/// A request as rules see it.
#[derive(Clone, Copy)]
struct Request {
    path: &'static str,
    method: &'static str,
    header: (&'static str, &'static str),
    query: &'static str,
}

const CHAT: Request = Request {
    path: "/v1/chat/completions",
    method: "POST",
    header: ("x-team", "blue"),
    query: "a=1&b=x%20y&b=2",
};

impl Seen for Request {
    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }
    fn header(&self, name: &str) -> &[u8] {
        if self.header.0 == name { self.header.1.as_bytes() } else { b"" }
    }
    fn query(&self) -> &[u8] {
        self.query.as_bytes()
    }
}

/// A rule's line: name, then whatever fields.
fn route(name: &str, rest: &str) -> String {
    format!(r#"{{"kind":"route","name":"{name}","cluster":"gpu"{rest}}}"#)
}

/// The field `matchers` of one matcher.
fn when(condition: &str, field: &str, pattern: &str, is_regex: bool) -> String {
    format!(
        r#","matchers":[{{"condition":"{condition}","field":"{field}","pattern":{},"is_regex":{is_regex}}}]"#,
        serde_json::Value::from(pattern)
    )
}

fn at_chat() -> String {
    when("path", "", CHAT.path, false)
}

fn in_domain(domain: &str) -> String {
    format!(r#","domain":"{domain}""#)
}

/// The name of the rule that takes the request, "" for none, "?" if the body has to be seen.
fn taken(tables: &Tables, request: &Request, body: Option<&str>) -> String {
    let domain = tables.domain(b"demo").unwrap();
    match tables.rules().choose(domain, request, body.map(str::as_bytes)) {
        Choice::Straight => String::new(),
        Choice::Rule(rule) => tables.rules().get(rule).name.to_string(),
        Choice::NeedsBody => "?".to_owned(),
    }
}

fn tables_of(routes: &[String]) -> Tables {
    let mut lines = base();
    lines.extend_from_slice(routes);
    tables(&lines)
}

#[test]
fn a_matcher_compares_exactly_or_by_an_unanchored_expression() {
    for (condition, field, pattern, is_regex, holds) in [
        ("path", "", "/v1/chat/completions", false, true),
        ("path", "", "/v1/chat", false, false),
        ("path", "", "/chat/", true, true),
        ("path", "", "^/chat", true, false),
        ("method", "", "POST", false, true),
        ("method", "", "post", false, false),
        ("method", "", "(?i)^post$", true, true),
        ("header", "X-Team", "blue", false, true),
        ("header", "x-team", "^b", true, true),
        ("header", "x-other", "blue", false, false),
        ("header", "x-other", "^$", true, true),
        ("query_param", "a", "1", false, true),
        ("query_param", "b", "x y", false, true),
        ("query_param", "b", "^x y$", true, true),
        ("query_param", "b", "2", false, false),
        ("query_param", "c", "^$", true, true),
    ] {
        let tables = tables_of(&[route("r", &when(condition, field, pattern, is_regex))]);
        let expected = if holds { "r" } else { "" };
        assert_eq!(taken(&tables, &CHAT, None), expected, "{condition} {field} {pattern}");
    }
}

#[test]
fn a_body_is_asked_for_only_by_a_rule_whose_head_matches() {
    let both = |path: &str| {
        route(
            "r",
            &format!(
                r#","matchers":[{{"condition":"body_field","field":"options.kind","pattern":"a"}},{{"condition":"path","pattern":"{path}"}}]"#
            ),
        )
    };
    let tables = tables_of(&[both("/elsewhere")]);
    assert_eq!(taken(&tables, &CHAT, None), "");
    let tables = tables_of(&[both(CHAT.path)]);
    assert_eq!(taken(&tables, &CHAT, None), "?");
    for (body, expected) in [
        (r#"{"options":{"kind":"a"}}"#, "r"),
        (r#"{"options":{"kind":"b"}}"#, ""),
        (r#"{"options":"a"}"#, ""),
        ("", ""),
        ("options.kind", ""),
    ] {
        assert_eq!(taken(&tables, &CHAT, Some(body)), expected, "{body}");
    }
    // What is decided before the body would matter is decided without it.
    let before = route("first", &(at_chat() + r#","priority":1"#));
    assert_eq!(taken(&tables_of(&[both(CHAT.path), before]), &CHAT, None), "first");
}

/// A text that is no object is searched for the field's name, and compared as a whole.
#[test]
fn a_body_that_is_no_object_is_compared_as_text() {
    let tables = tables_of(&[route("r", &when("body_field", "kind", "secret", true))]);
    assert_eq!(taken(&tables, &CHAT, Some("kind=secret")), "r");
    assert_eq!(taken(&tables, &CHAT, Some("secret")), "");
    assert_eq!(taken(&tables, &CHAT, Some("kind=other")), "");
    let tables = tables_of(&[route("r", &when("body_regex", "", "(?s)\\{.*secret", false))]);
    assert_eq!(taken(&tables, &CHAT, Some("{\n\"a\":\"a secret\"}")), "r");
    assert_eq!(taken(&tables, &CHAT, Some("{}")), "");
}

#[test]
fn own_rules_come_before_general_ones_then_priority_then_name_and_defaults_last() {
    let own = in_domain(DOMAIN);
    let mut routes = vec![
        route("general-default", r#","default_rule":true"#),
        route("own-default", &format!(r#"{own},"default_rule":true"#)),
        route("general-low", &at_chat()),
        route("general-high", &(at_chat() + r#","priority":1000"#)),
        route("own-b", &(at_chat() + &own)),
        route("own-a", &(at_chat() + &own)),
        route("own-high", &(at_chat() + &own + r#","priority":7"#)),
        route("elsewhere", &(at_chat() + &in_domain(OTHER_DOMAIN) + r#","priority":1000"#)),
    ];
    for expected in
        ["own-high", "own-a", "own-b", "general-high", "general-low", "own-default", "general-default"]
    {
        for _ in 0..2 {
            assert_eq!(taken(&tables_of(&routes), &CHAT, None), expected);
            routes.reverse();
        }
        routes.retain(|line| !line.contains(&format!(r#""{expected}""#)));
    }
    assert_eq!(taken(&tables_of(&routes), &CHAT, None), "");
}

#[test]
fn every_matcher_has_to_hold() {
    let line = route(
        "r",
        r#","matchers":[{"condition":"method","pattern":"POST"},{"condition":"header","field":"x-team","pattern":"red"}]"#,
    );
    let tables = tables_of(&[line]);
    assert_eq!(taken(&tables, &CHAT, None), "");
    assert_eq!(taken(&tables, &Request { header: ("x-team", "red"), ..CHAT }, None), "r");
}

#[test]
fn a_prefix_is_taken_off_at_the_end_of_a_segment_only() {
    let tables = tables_of(&[route("r", &(at_chat() + r#","strip_prefix":"/api/chat/""#))]);
    let rule = &tables.rules().list()[0];
    for (path, left) in [
        ("/api/chat", ""),
        ("/api/chat/x", "/x"),
        ("/api/chatter", "/api/chatter"),
        ("/api", "/api"),
        ("/v1/api/chat", "/v1/api/chat"),
    ] {
        assert_eq!(rule.strip(path.as_bytes()), left.as_bytes(), "{path}");
    }
}

#[test]
fn a_rule_that_cannot_be_is_a_problem() {
    for (rest, said) in [
        ("", "no matchers and is no default rule"),
        (&*(at_chat() + r#","default_rule":true"#), "is a default rule and has matchers"),
        (&*(at_chat() + r#","priority":1001"#), "priority is above 1000"),
        (&*(at_chat() + r#","strip_prefix":"api""#), "strip_prefix"),
        (&*(at_chat() + r#","event_type":"a\r\nb: c""#), "event_type"),
        (&*(at_chat() + r#","operation":"surprise""#), "unknown operation `surprise`"),
        (&*when("path", "", "", false), "pattern is empty"),
        (&*when("header", "", "x", false), "names none"),
        (&*when("body_field", "", "x", false), "names none"),
        (&*when("path", "", "(", true), "`(` is no regular expression: unclosed group"),
        (&*when("body_regex", "", "a{2", false), "no regular expression"),
        (&*when("path", "", r"(\w{500}){500}", true), "no regular expression"),
        (&*(at_chat() + &in_domain("00000000-0000-4000-8000-0000000000ff")), "is not defined"),
        (&*at_chat().replace(r#","matchers"#, r#","cluster":"nowhere","matchers"#), "duplicate field"),
    ] {
        let mut lines = base();
        lines.push(route("r", rest));
        let text = lines.join("\n");
        let read: Result<Vec<_>, _> =
            read_records(text.as_bytes()).map(|(line, record)| record.map(|record| (line, record))).collect();
        let found = match read {
            Ok(records) => listed(&Tables::compile(records, 1, &mut NoResolver).expect_err(rest)),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(said), "{rest}: {found}");
    }
    let mut lines = base();
    lines.push(route("r", &at_chat()).replace("gpu", "nowhere"));
    lines.push(route("bad name", &at_chat()));
    lines.push(route("r", &at_chat()));
    lines.push(route("d1", r#","default_rule":true"#));
    lines.push(route("d2", r#","default_rule":true"#));
    let found = problems(&lines);
    for said in [
        "line 8: cluster `nowhere` is not defined",
        "line 9: route `bad name`: its name",
        "line 10: route `r` is already defined on line 8",
        "line 12: route `d2`: `d1` is the default rule there already",
    ] {
        assert!(found.contains(said), "{found}");
    }
}

#[test]
fn what_a_rule_names_stays_and_goes_with_the_rule() {
    let spare = CLUSTER_LINE.replace("gpu", "spare");
    let mut lines = base();
    lines.push(spare);
    lines.push(route("r", &(at_chat() + &in_domain(DOMAIN))).replace("gpu", "spare"));
    let before = tables(&lines);
    let gone = Change::Remove(Key::Cluster("spare".into()));
    let found = before.with(std::slice::from_ref(&gone), 2, &mut NoResolver).expect_err("still named");
    assert!(listed(&found).contains("1 other records name it"), "{}", listed(&found));
    let after = with(&before, &[gone, Change::Remove(Key::Route("r".into()))]);
    assert_eq!((after.counts().clusters, after.counts().routes), (1, 0));
    let moved = with(&before, &[put(&route("r", &at_chat()))]);
    assert_eq!(taken(&moved, &CHAT, None), "r");
    let two = before.with(
        &[put(&route("d1", r#","default_rule":true"#)), put(&route("d2", r#","default_rule":true"#))],
        2,
        &mut NoResolver,
    );
    assert!(listed(&two.expect_err("two defaults")).contains("line 2: route `d2`"));
}

#[test]
fn a_change_of_something_else_shares_the_rules() {
    let before = tables_of(&[route("r", &at_chat())]);
    let after = with(&before, &[put(&user_line(USER, r#","status":"disabled""#))]);
    assert!(Arc::ptr_eq(before.rules(), after.rules()));
}
