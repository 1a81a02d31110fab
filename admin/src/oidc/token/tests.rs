use std::sync::LazyLock;

use proptest::prelude::*;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use super::*;
use crate::oidc::keys::parse_set;

static PAIR: LazyLock<Ed25519KeyPair> = LazyLock::new(|| {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
});

fn keys() -> Vec<PublicKey> {
    let x = base64url::encode(PAIR.public_key().as_ref());
    let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] });
    parse_set(set.to_string().as_bytes()).unwrap()
}

fn signed(head: &Value, claims: &Value) -> String {
    let part = |value: &Value| base64url::encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(head), part(claims));
    let signature = base64url::encode(PAIR.sign(text.as_bytes()).as_ref());
    format!("{text}.{signature}")
}

const NOW: u64 = 1_000_000;

fn expected(purpose: Purpose<'_>) -> Expected<'_> {
    Expected { issuer: "https://id", algorithms: &Algorithm::USUAL, skew_s: 60, now: NOW, purpose }
}

fn head() -> Value {
    json!({ "alg": "EdDSA", "kid": "k", "typ": "JWT" })
}

fn access() -> Value {
    json!({ "iss": "https://id", "aud": ["x", "api"], "sub": "ada", "exp": NOW + 300, "iat": NOW, "scope": "a b" })
}

fn identity() -> Value {
    json!({ "iss": "https://id", "aud": "us", "sub": "ada", "exp": NOW + 300, "iat": NOW, "nonce": "n" })
}

fn with(mut base: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            drop(base.as_object_mut().unwrap().remove(name));
        } else {
            base[name] = value.clone();
        }
    }
    base
}

fn of_access(head: &Value, claims: &Value) -> Result<Claims, TokenFault> {
    let audiences = ["api".to_owned()];
    verify(&signed(head, claims), &keys(), expected(Purpose::Access { audiences: &audiences }))
}

fn of_sign_in(claims: &Value) -> Result<Claims, TokenFault> {
    let purpose = Purpose::SignIn { client: "us", nonce: "n", access_token: Some("a") };
    verify(&signed(&head(), claims), &keys(), expected(purpose))
}

#[test]
fn an_access_token_is_good_for_what_it_says_and_no_longer() {
    let claims = of_access(&head(), &access()).unwrap();
    assert_eq!((&*claims.subject, claims.scopes()), ("ada", vec!["a", "b"]));
    for (change, fault) in [
        (json!({ "iss": "https://id/" }), TokenFault::Issuer),
        (json!({ "iss": null }), TokenFault::Issuer),
        (json!({ "aud": "other" }), TokenFault::Audience),
        (json!({ "aud": ["api2", 7] }), TokenFault::Audience),
        (json!({ "aud": null }), TokenFault::Audience),
        (json!({ "exp": NOW - 60 }), TokenFault::Expired),
        (json!({ "exp": null }), TokenFault::Expired),
        (json!({ "exp": "2000000" }), TokenFault::Expired),
        (json!({ "nbf": NOW + 61 }), TokenFault::NotYet),
        (json!({ "iat": NOW + 61 }), TokenFault::NotYet),
        (json!({ "iat": true }), TokenFault::NotYet),
        (json!({ "sub": null }), TokenFault::Subject),
        (json!({ "sub": "" }), TokenFault::Subject),
        (json!({ "sub": "x".repeat(256) }), TokenFault::Subject),
        (json!({ "nonce": "n" }), TokenFault::Purpose),
        (json!({ "at_hash": "x" }), TokenFault::Purpose),
        (json!({ "typ": "ID" }), TokenFault::Purpose),
        (json!({ "token_use": "id" }), TokenFault::Purpose),
    ] {
        assert_eq!(of_access(&head(), &with(access(), &change)).err(), Some(fault), "{change}");
    }
    for good in [
        json!({ "aud": "api" }),
        json!({ "exp": NOW - 59 }),
        json!({ "exp": NOW as f64 + 0.5 }),
        json!({ "nbf": NOW + 60, "iat": null }),
        json!({ "typ": "Bearer", "token_use": "access" }),
    ] {
        assert!(of_access(&head(), &with(access(), &good)).is_ok(), "{good}");
    }
}

#[test]
fn a_head_chooses_nothing() {
    for (change, fault) in [
        (json!({ "alg": "none" }), TokenFault::Algorithm),
        (json!({ "alg": "HS256" }), TokenFault::Algorithm),
        (json!({ "alg": "eddsa" }), TokenFault::Algorithm),
        (json!({ "alg": "ES256" }), TokenFault::Algorithm),
        (json!({ "alg": "RS512" }), TokenFault::Algorithm),
        (json!({ "alg": null }), TokenFault::Malformed),
        (json!({ "kid": "other" }), TokenFault::UnknownKey),
        (json!({ "kid": 7 }), TokenFault::Malformed),
        (json!({ "crit": ["b64"], "b64": false }), TokenFault::Malformed),
        (json!({ "typ": "logout+jwt" }), TokenFault::Purpose),
    ] {
        assert_eq!(of_access(&with(head(), &change), &access()).err(), Some(fault), "{change}");
    }
    for good in [json!({ "kid": null }), json!({ "typ": null }), json!({ "typ": "application/AT+JWT" })] {
        assert!(of_access(&with(head(), &good), &access()).is_ok(), "{good}");
    }
}

#[test]
fn an_id_token_is_for_us_and_the_answer_to_what_we_asked() {
    let hash = Algorithm::EdDsa.half_hash("a");
    for good in [json!({}), json!({ "azp": "us", "aud": ["us", "api"] }), json!({ "at_hash": hash })] {
        assert!(of_sign_in(&with(identity(), &good)).is_ok(), "{good}");
    }
    for (change, fault) in [
        (json!({ "nonce": "m" }), TokenFault::Nonce),
        (json!({ "nonce": null }), TokenFault::Nonce),
        (json!({ "aud": "api" }), TokenFault::Audience),
        (json!({ "aud": ["us", "api"] }), TokenFault::Audience),
        (json!({ "azp": "api" }), TokenFault::Audience),
        (json!({ "at_hash": "x" }), TokenFault::Hash),
        (json!({ "exp": NOW - 60 }), TokenFault::Expired),
        (json!({ "iss": "https://other" }), TokenFault::Issuer),
    ] {
        assert_eq!(of_sign_in(&with(identity(), &change)).err(), Some(fault), "{change}");
    }
}

#[test]
fn what_has_not_the_form_of_a_token_is_none() {
    let audiences = ["api".to_owned()];
    let expected = expected(Purpose::Access { audiences: &audiences });
    let good = signed(&head(), &access());
    let padded = format!("{good}=");
    let four = format!("{good}.x");
    let long = format!("{good}{}", "A".repeat(TOKEN_LEN_MAX));
    for bad in ["", ".", "..", "a.b.c", &padded, &four, &long, good.rsplit_once('.').unwrap().0] {
        assert_eq!(verify(bad, &keys(), expected).err(), Some(TokenFault::Malformed), "{bad}");
    }
}

#[test]
fn no_token_passes_with_any_one_byte_changed() {
    let audiences = ["api".to_owned()];
    let expected = expected(Purpose::Access { audiences: &audiences });
    let good = signed(&head(), &access());
    assert!(verify(&good, &keys(), expected).is_ok());
    proptest!(|(at in 0..good.len(), byte in 0x20_u8..0x7f)| {
        let mut changed = good.clone().into_bytes();
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        let changed = String::from_utf8(changed).unwrap();
        prop_assert!(verify(&changed, &keys(), expected).is_err(), "{}", changed);
    });
}
