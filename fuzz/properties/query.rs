//! Any bytes are a query, and what is left of it without some parameters holds none of them and all others.

use cube_proxy::http1::query::{decode_value, parameter, without_parameters};

const NAMES: [&[u8]; 2] = [b"api_key", b"access_token"];

/// Fails if a query of these bytes could keep a parameter that was left out, or lose another.
pub(crate) fn check(input: &[u8]) {
    let mut left = Vec::new();
    without_parameters(input, &NAMES, &mut left);
    for name in NAMES {
        assert_eq!(parameter(&left, name), None, "{}", left.escape_ascii());
    }
    let mut again = Vec::new();
    without_parameters(&left, &NAMES, &mut again);
    assert_eq!(again, left, "what is left is left");
    // What is left stands in the input, part by part and in order.
    let mut parts = input.split(|&byte| byte == b'&');
    if NAMES.iter().all(|name| parameter(input, name).is_none()) {
        assert_eq!(left, input, "nothing to leave out");
    } else if !left.is_empty() {
        for part in left.split(|&byte| byte == b'&') {
            assert!(parts.any(|other| other == part), "{} is new", part.escape_ascii());
        }
    }
    if let Some(value) = NAMES.iter().find_map(|name| parameter(input, name)) {
        let decoded = decode_value(value).unwrap_or_default();
        assert!(decoded.len() <= value.len(), "decoding never adds");
    }
}
