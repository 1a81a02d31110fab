use super::*;

const DOMAIN: &str = r#"{"kind":"domain","id":"00000000-0000-0000-0000-000000000001","status":"enabled"}"#;

#[test]
fn a_record_is_written_as_it_is_read() {
    let lines = [
        r#"{"kind":"snapshot","generation":7}"#,
        r#"{"kind":"cluster","id":"gpu","dialect":"openai","endpoints":[{"url":"http://h:1"},{"url":"http://h:2/x","weight":3,"credential":{"header":"x-key","value":"s"}}],"connect_timeout_ms":1,"head_timeout_ms":2,"idle_timeout_ms":3,"total_timeout_ms":0}"#,
        r#"{"kind":"domain","id":"00000000-0000-0000-0000-000000000001","alias":"demo","status":"freezed"}"#,
        r#"{"kind":"model","domain":"00000000-0000-0000-0000-000000000001","name":"m","cluster":"gpu","upstream_model":"n","created":5}"#,
        r#"{"kind":"user","id":"00000000-0000-0000-0000-000000000002","status":"disabled","superadmin":true}"#,
        r#"{"kind":"grant","user":"00000000-0000-0000-0000-000000000002","domain":"00000000-0000-0000-0000-000000000001","operations":["llm_read","client_read"]}"#,
        r#"{"kind":"pat","id":"00000000-0000-0000-0000-000000000003","user":"00000000-0000-0000-0000-000000000002","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","expires_at":9,"not_before":1,"revoked":true,"full_access":true,"scopes":[{"entity_type":"models","domain_id":"00000000-0000-0000-0000-000000000001","entity_id":"*","operation":"llm_read"}]}"#,
    ];
    for line in lines {
        let record = Record::from_line(line.as_bytes()).unwrap().unwrap();
        assert_eq!(record.to_line(), line);
    }
}

#[test]
fn unknown_fields_are_ignored_and_field_order_does_not_matter() {
    let reordered = br#"{"later":{"x":[1]},"status":"enabled","id":"00000000-0000-0000-0000-000000000001","kind":"domain"}"#;
    assert_eq!(Record::from_line(reordered).unwrap(), Record::from_line(DOMAIN.as_bytes()).unwrap());
}

#[test]
fn an_unknown_kind_is_an_error_unless_the_line_says_it_may_be_left_out() {
    assert!(
        matches!(Record::from_line(br#"{"kind":"quota"}"#), Err(RecordError::UnknownKind(kind)) if kind == "quota")
    );
    assert!(matches!(Record::from_line(br#"{"kind":"quota","optional":true}"#), Ok(None)));
    assert!(matches!(Record::from_line(b"{}"), Err(RecordError::NoKind)));
}

#[test]
fn a_line_that_says_two_things_is_an_error() {
    for line in [
        r#"{"kind":"user","kind":"pat","id":"00000000-0000-0000-0000-000000000002","status":"disabled"}"#,
        r#"{"kind":"user","id":"00000000-0000-0000-0000-000000000002","status":"disabled","status":"enabled"}"#,
        r#"{"kind":"snapshot"} {"kind":"snapshot"}"#,
        r#"{"kind":"pat","id":"00000000-0000-0000-0000-000000000002","user":"00000000-0000-0000-0000-000000000002","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","kind":"pat"}"#,
        r#"{"kind":"pat","id":"00000000-0000-0000-0000-000000000002","user":"00000000-0000-0000-0000-000000000002","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","k\u0069nd":"user"}"#,
    ] {
        assert!(Record::from_line(line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
fn aliases_follow_the_route_syntax_and_never_look_like_a_uuid() {
    for good in ["a", "demo", "Team-1_x", &"a".repeat(36)] {
        assert!(alias_is_valid(good), "{good}");
    }
    for bad in [
        "",
        "1a",
        "-a",
        "a--b",
        "a__b",
        "a.b",
        "a/b",
        "ä",
        "a b",
        &"a".repeat(37),
        "abcdef01-2345-6789-abcd-ef0123456789",
        "abcdef0123456789abcdef0123456789",
    ] {
        assert!(!alias_is_valid(bad), "{bad}");
    }
}

#[test]
fn debug_output_does_not_show_an_endpoints_credential() {
    let credential = CredentialRecord {
        header: "authorization".into(),
        value: "Bearer hidden".into(),
        sealed: String::new(),
    };
    assert!(!format!("{credential:?}").contains("hidden"));
}

/// Somebody will put a key where an object belongs, and then post the log.
#[test]
fn an_error_never_repeats_a_value() {
    for line in [
        r#"{"kind":"cluster","id":"c","dialect":"openai","endpoints":[{"url":"http://h","credential":"Bearer hidden"}]}"#,
        r#"{"kind":"cluster","id":"c","dialect":"hidden","endpoints":[]}"#,
        r#"{"kind":"cluster","id":"c","dialect":"openai","endpoints":"hidden, expected hidden"}"#,
        r#"{"kind":"user","id":"hidden","status":"enabled"}"#,
        r#"{"kind":"pat","id":"pat_hidden","user":"00000000-0000-0000-0000-000000000002","digest":"sha256:00"}"#,
        r#"{"kind":"pat","id":"00000000-0000-0000-0000-000000000002","user":"00000000-0000-0000-0000-000000000002","digest":"pat_hidden"}"#,
    ] {
        let error = Record::from_line(line.as_bytes()).unwrap_err().to_string();
        assert!(!error.contains("hidden"), "{line}: {error}");
        assert!(error.contains("(column "), "{line}: {error}");
    }
    let error = Record::from_line(br#"{"kind":"domain","status":"enabled"}"#).unwrap_err().to_string();
    assert_eq!(error, "missing field `id` (column 36)");
}

#[test]
fn what_is_shown_of_a_text_is_short_and_has_no_control_characters() {
    assert_eq!(shown("größe"), "größe");
    assert_eq!(shown("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
    assert!(shown(&"x".repeat(1_000_000)).len() < 100);
}
