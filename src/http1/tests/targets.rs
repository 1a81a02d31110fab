//! Paths: one spelling, or none.

use super::super::{ProxyPath, TargetError, decode_segment};

fn split_proxy_path(path: &[u8]) -> Result<ProxyPath<'_>, TargetError> {
    super::super::split_proxy_path(path, b"/v1/models/")
}

#[test]
fn a_proxy_path_is_its_domain_and_the_rest() {
    let split = |path: &'static str| {
        let ProxyPath { domain, rest } = split_proxy_path(path.as_bytes()).unwrap();
        (std::str::from_utf8(domain).unwrap(), std::str::from_utf8(rest).unwrap())
    };
    assert_eq!(split("/proxy/demo/v1/chat/completions"), ("demo", "/v1/chat/completions"));
    assert_eq!(split("/proxy/demo"), ("demo", ""));
    assert_eq!(split("/proxy/demo/"), ("demo", "/"));
    assert_eq!(split("/proxy/a.b_c-d~e/v1/models/llama3:8b"), ("a.b_c-d~e", "/v1/models/llama3:8b"));
    assert_eq!(split("/proxy/d/v1/models/a%20b"), ("d", "/v1/models/a%20b"));
    assert_eq!(split("/proxy/d/v1/.../..a/a.."), ("d", "/v1/.../..a/a.."));
    assert_eq!(
        split("/proxy/0f8fad5b-d9cb-469f-a165-70867728950e/x"),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", "/x")
    );
}

#[test]
fn other_paths_are_not_ours() {
    for path in
        ["", "*", "/", "/proxy", "/proxy/", "/Proxy/demo/v1", "/proxyx/demo", "/health", "/x/proxy/demo/v1"]
    {
        assert_eq!(split_proxy_path(path.as_bytes()), Err(TargetError::NotProxy), "{path}");
    }
}

#[test]
fn a_path_with_two_readings_is_refused() {
    let rests = [
        "/..",
        "/../x",
        "/x/..",
        "/x/../y",
        "/./x",
        "/x/.",
        "//",
        "//x",
        "/x//y",
        "/%2f",
        "/%2F",
        "/x%2Fy",
        "/%5c",
        "/%5C",
        "/%2e",
        "/%2E%2e/x",
        "/.%2e/x",
        "/%00",
        "/%0a",
        "/%1f",
        "/%7f",
        "/%25",
        "/%252f",
        "/%",
        "/%2",
        "/%zz",
        "/%+1",
        "/x\\y",
        "/x;y",
        "/..;/x",
        "/x|y",
        "/x\"y",
        "/<x>",
        "/{x}",
        "/x^y",
        "/x`y",
        "/x?y",
    ];
    for rest in rests {
        let path = format!("/proxy/demo{rest}");
        assert_eq!(split_proxy_path(path.as_bytes()), Err(TargetError::BadPath), "{path}");
        let path = format!("/elsewhere{rest}");
        assert_eq!(split_proxy_path(path.as_bytes()), Err(TargetError::BadPath), "{path}");
    }
    for path in ["proxy/demo", "/proxy//v1", "/proxy/../v1", "/proxy/./v1", "//proxy/demo", "/\u{e9}"] {
        assert_eq!(split_proxy_path(path.as_bytes()), Err(TargetError::BadPath), "{path}");
    }
}

/// Clients encode the `/` of a model's name. It is one in the name only, and parts segments there as a plain one does.
#[test]
fn an_encoded_slash_is_accepted_in_the_name_of_a_model_only() {
    for name in ["org%2Fname", "org%2fname:8b", "a/b%2Fc", "a%2Fb/c", "org%2F"] {
        let path = format!("/proxy/demo/v1/models/{name}");
        let rest = format!("/v1/models/{name}");
        let split = split_proxy_path(path.as_bytes()).map(|parts| parts.rest);
        assert_eq!(split, Ok(rest.as_bytes()), "{path}");
    }
    for path in [
        "/proxy/demo/v1/models/%2Fname",
        "/proxy/demo/v1/models/org%2F%2Fname",
        "/proxy/demo/v1/models/org%2F/name",
        "/proxy/demo/v1/models/org/%2Fname",
        "/proxy/demo/v1/models/org%2F..",
        "/proxy/demo/v1/models/org%2F..%2Fname",
        "/proxy/demo/v1/models/..%2Fname",
        "/proxy/demo/v1/models/.%2Fname",
        "/proxy/demo/v1/models/org%2F%2e%2e",
        "/proxy/demo/v1/models/org%252Fname",
        "/proxy/demo/v1/models/org%5Cname",
        "/proxy/demo/v1/models%2Fname",
        "/proxy/demo/v1%2Fmodels/name",
        "/proxy/demo%2Fv1/models/name",
        "/proxy%2Fdemo/v1/models/name",
        "/proxy/demo/x/v1/models/org%2Fname",
        "/v1/models/org%2Fname",
    ] {
        assert_eq!(split_proxy_path(path.as_bytes()), Err(TargetError::BadPath), "{path}");
    }
}

#[test]
fn a_domain_segment_means_itself() {
    for domain in ["a%62", "a:b", "a@b", "a;b", "a,b", "a+b", "a=b", "a!"] {
        let path = format!("/proxy/{domain}/v1/models");
        assert_eq!(split_proxy_path(path.as_bytes()), Err(TargetError::BadPath), "{path}");
    }
}

#[test]
fn a_segment_is_decoded_once_and_only_where_it_changes_no_meaning() {
    let mut out = [0; 16];
    assert_eq!(decode_segment(b"llama3%3A8b", &mut out), Some(&b"llama3:8b"[..]));
    assert_eq!(decode_segment(b"caf%c3%A9", &mut out), Some("café".as_bytes()));
    assert_eq!(decode_segment(b"", &mut out), Some(&b""[..]));
    assert_eq!(decode_segment(b"org%2Fname%2f8b", &mut out), Some(&b"org/name/8b"[..]));
    for raw in [&b"%2e"[..], b"%25", b"%00", b"%", b"%4", b"%4g", b"01234567890123456"] {
        assert_eq!(decode_segment(raw, &mut out), None, "{raw:?}");
    }
}
