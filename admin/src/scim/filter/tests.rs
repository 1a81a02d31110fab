use proptest::prelude::*;

use super::*;

/// What a filter is written as in full.
fn written(text: &str) -> String {
    parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

/// The examples of RFC 7644 §3.4.2.2 (figure 2), and how the documents of identity providers write theirs.
#[test]
fn filters_of_the_rfc_and_of_identity_providers_are_read() {
    for text in [
        r#"userName eq "bjensen""#,
        r#"name.familyName co "O'Malley""#,
        r#"userName sw "J""#,
        r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J""#,
        "title pr",
        r#"meta.lastModified gt "2011-05-13T04:42:34Z""#,
        r#"title pr and userType eq "Employee""#,
        r#"title pr or userType eq "Intern""#,
        r#"schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User""#,
        r#"userType eq "Employee" and (emails co "example.com" or emails.value co "example.org")"#,
        r#"userType ne "Employee" and not (emails co "example.com" or emails.value co "example.org")"#,
        r#"userType eq "Employee" and emails[type eq "work" and value co "@example.com"]"#,
        r#"emails[type eq "work" and value co "@example.com"] or ims[type eq "xmpp" and value co "@foo.com"]"#,
        r#"urn:cube:params:1.0:UserAttribute:cloud_region eq "eu-1""#,
        "active eq true",
        "a le -1.5",
        r#"a eq "\"\\ ä 日""#,
    ] {
        assert_eq!(written(text), text);
    }
    assert_eq!(written(r#"USERNAME EQ "x" AND NOT(Title PR)"#), r#"USERNAME eq "x" and not (Title pr)"#);
    assert_eq!(written("  ( a pr )  "), "a pr");
    assert_eq!(written("active eq True"), "active eq true");
    assert_eq!(written("notes pr and not pr"), "notes pr and not pr");
}

#[test]
fn and_binds_closer_than_or() {
    assert_eq!(written("a pr or b pr and c pr"), "a pr or (b pr and c pr)");
    assert_eq!(written("(a pr or b pr) and c pr"), "(a pr or b pr) and c pr");
    assert_eq!(written("not (a pr) and b pr or c pr"), "(not (a pr) and b pr) or c pr");
}

#[test]
fn what_is_no_filter_is_refused_with_what_was_expected() {
    for text in [
        "",
        " ",
        "a",
        "a eq",
        "eq \"x\"",
        "a eq x",
        "a eq \"x",
        "a eq \"x\" and",
        "and a pr",
        "a pr b pr",
        "(a pr",
        "a pr)",
        "a[b pr",
        "a[] pr",
        "not a pr or",
        "not (",
        "a xx \"y\"",
        "a.b.c pr",
        "a eq {}",
        "a eq [1]",
        "a eq 1e999",
        "1a pr",
        "a..b pr",
        ":a pr",
        "a: pr",
        "http://x:a pr",
        "a\tpr",
        "a pr;",
        "a eq \"\\x\"",
        "a[b pr].c pr",
        "ä pr",
        "a eq \"\u{1}\"",
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.kind, ScimType::InvalidFilter, "{text}");
        assert!(error.detail.len() < 200, "{error}");
    }
}

#[test]
fn what_is_too_deep_too_long_or_too_much_is_refused() {
    let nested = |depth: usize| format!("{}a pr{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(DEPTH_MAX)).is_ok());
    assert!(parse(&nested(DEPTH_MAX + 1)).is_err());
    assert!(parse(&nested(2_000)).is_err());
    assert!(parse(&"not (".repeat(800)).is_err());
    assert!(parse(&"a[".repeat(2_000)).is_err());
    let many = |terms: usize| vec!["a pr"; terms].join(" or ");
    assert!(parse(&many(TERMS_MAX)).is_ok());
    assert!(parse(&many(TERMS_MAX + 1)).is_err());
    let long = |len: usize| format!("a eq \"{}\"", "x".repeat(len - 7));
    assert!(parse(&long(FILTER_LEN_MAX)).is_ok());
    assert!(parse(&long(FILTER_LEN_MAX + 1)).is_err());
}

#[test]
fn paths_of_patches_are_read() {
    let path = |text: &str| parse_path(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let emails = path(r#"emails[type eq "work" and primary eq true].value"#);
    assert_eq!((emails.attribute.to_string(), emails.sub.as_deref()), ("emails".to_owned(), Some("value")));
    assert_eq!(emails.selection.unwrap().to_string(), r#"type eq "work" and primary eq true"#);
    let plain = path("name.givenName");
    assert_eq!((plain.attribute.sub.as_deref(), plain.selection), (Some("givenName"), None));
    let manager = path("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value");
    assert_eq!((&*manager.attribute.name, manager.attribute.sub.as_deref()), ("manager", Some("value")));
    for text in
        ["", "a.", "a[", "a[b pr", "a[b pr]c", "a[b pr].", "a b", "a[b pr].c.d", "a[b pr][c pr]", "members[]"]
    {
        assert!(parse_path(text).is_err(), "{text}");
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z$_][a-zA-Z0-9_$-]{0,6}".prop_filter("a word of the grammar", |name| {
        !["not", "and", "or", "pr"].iter().any(|word| word.eq_ignore_ascii_case(name))
    })
}

fn attribute() -> impl Strategy<Value = AttrPath> {
    let schema = proptest::option::of("urn:[a-z]{1,4}:[a-z0-9.]{1,5}");
    (schema, name(), proptest::option::of(name())).prop_map(|(schema, name, sub)| AttrPath {
        schema,
        name,
        sub,
    })
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Boolean),
        (-1e9..1e9).prop_map(Literal::Number),
        ".{0,12}".prop_map(Literal::Text),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    use Comparison::{
        Contains, EndsWith, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual, StartsWith,
    };
    let all = [Equal, NotEqual, Contains, StartsWith, EndsWith, Greater, GreaterOrEqual, Less, LessOrEqual];
    let comparison = proptest::sample::select(all.to_vec());
    let leaf = prop_oneof![
        attribute().prop_map(Filter::Present),
        (attribute(), comparison, literal()).prop_map(|(name, how, what)| Filter::Compare(name, how, what)),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let several = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several.clone().prop_map(Filter::And),
            several.prop_map(Filter::Or),
            inner.clone().prop_map(|inner| Filter::Not(Box::new(inner))),
            (attribute(), inner).prop_map(|(name, inner)| Filter::Some(name, Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(filter in filter()) {
        let text = filter.to_string();
        if text.len() <= FILTER_LEN_MAX {
            prop_assert_eq!(parse(&text), Ok(filter), "{}", text);
        }
    }

    #[test]
    fn no_text_breaks_the_parser(text in ".{0,200}") {
        let _ = (parse(&text), parse_path(&text), parse_attribute(&text));
    }

    #[test]
    fn no_heap_of_the_grammar_s_own_signs_breaks_the_parser(
        parts in proptest::collection::vec(
            proptest::sample::select(vec!["(", ")", "[", "]", "not", "and", "or", "pr", "eq", "a", "a.b", "\"x\"", "1", " ", ".", ":"]),
            0..60,
        ),
    ) {
        let text = parts.join(" ");
        if let Ok(filter) = parse(&text) {
            prop_assert_eq!(parse(&filter.to_string()), Ok(filter));
        }
    }
}
