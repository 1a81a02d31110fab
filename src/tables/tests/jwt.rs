//! Access tokens: who they are, and what ends them.

use cube_wire::base64url;
use cube_wire::jwt::{Claims, ISSUER, SigningKey, Use};

use super::*;

fn key(id: &str) -> SigningKey {
    SigningKey::generate(id.to_owned()).unwrap().0
}

fn key_line(key: &SigningKey) -> String {
    let public_key = base64url::encode(key.public_key());
    format!(r#"{{"kind":"key","id":"{}","public_key":"{public_key}"}}"#, key.id())
}

fn signed(key: &SigningKey, user: &str, usage: Use) -> String {
    key.sign(&Claims {
        iss: ISSUER.to_owned(),
        sub: user.parse().unwrap(),
        usage,
        iat: NOW - 10,
        exp: NOW + 600,
        jti: "login".to_owned(),
    })
}

/// Tables that know the key, and an access token of [`USER`].
fn start() -> (SigningKey, Tables, String) {
    let key = key("k1");
    let mut lines = base();
    lines.push(key_line(&key));
    let jwt = signed(&key, USER, Use::Access);
    (key, tables(&lines), jwt)
}

fn check(tables: &Tables, jwt: &str) -> Result<Identity, CredentialFault> {
    Verifier::new(1).verify(tables, jwt.as_bytes(), NOW, FROM)
}

#[test]
fn an_access_token_acts_with_all_of_its_owners_rights_and_no_others() {
    let (_, tables, jwt) = start();
    let who = check(&tables, &jwt).unwrap();
    assert_eq!((who.user, who.pat), (USER.parse().unwrap(), None));
    let full = tables.rights(&who, tables.domain(b"demo").unwrap());
    assert!(full.any && full.allows(Operation::LlmChatCompletions) && full.allows(Operation::LlmRead));
    assert!(!full.allows(Operation::LlmEmbeddings), "the role has no such action");
    assert!(!tables.rights(&who, tables.domain(b"other").unwrap()).any, "no role there");
}

#[test]
fn what_is_not_an_access_token_of_ours_is_refused() {
    let (key_1, tables, jwt) = start();
    let stranger = "00000000-0000-4000-8000-0000000000ff";
    for (name, jwt) in [
        ("another use", signed(&key_1, USER, Use::Refresh)),
        ("an unknown key", signed(&key("k2"), USER, Use::Access)),
        ("a forged key", signed(&key("k1"), USER, Use::Access)),
        ("an unknown user", signed(&key_1, stranger, Use::Access)),
        ("a cut signature", jwt[..jwt.len() - 2].to_owned()),
        ("no content", "eyJ..".to_owned()),
    ] {
        assert_eq!(check(&tables, &jwt), Err(CredentialFault::Jwt), "{name}");
    }
    for text in ["eyJ", "eyJ.x", "eyJ.x.y.z"] {
        assert_eq!(check(&tables, text), Err(CredentialFault::Malformed), "{text}");
    }
    assert_eq!(
        Verifier::new(1).verify(&tables, jwt.as_bytes(), NOW + 600, FROM),
        Err(CredentialFault::JwtExpired)
    );
}

#[test]
fn a_remembered_token_expires_on_time() {
    let (_, tables, jwt) = start();
    let mut verifier = Verifier::new(8);
    for (now, expected) in [
        (NOW, Ok(())),
        (NOW + 599, Ok(())),
        (NOW + 600, Err(CredentialFault::JwtExpired)),
        (NOW + 601, Err(CredentialFault::JwtExpired)),
    ] {
        assert_eq!(verifier.verify(&tables, jwt.as_bytes(), now, FROM).map(drop), expected, "{now}");
    }
    assert_eq!((verifier.hits(), verifier.misses()), (3, 1));
}

/// Goal: what ends a token holds at the next request of a core that remembers it. Method: warm, change, ask, change back, ask.
#[test]
fn a_remembered_token_goes_with_its_key_and_its_user() {
    let (key_1, before, jwt) = start();
    let user = |status: &str| put(&user_line(USER, &format!(r#","status":"{status}""#)));
    let stays = put(&key_line(&key_1));
    for (change, back, fault) in [
        (Change::Remove(Key::Key("k1".into())), stays.clone(), CredentialFault::Jwt),
        (put(&key_line(&key("k1"))), stays, CredentialFault::Jwt),
        (user("disabled"), user("enabled"), CredentialFault::UserDisabled),
    ] {
        let mut verifier = Verifier::new(8);
        let mut ask = |tables: &Tables| verifier.verify(tables, jwt.as_bytes(), NOW, FROM).map(drop);
        assert_eq!(ask(&before), Ok(()));
        let after = with(&before, std::slice::from_ref(&change));
        assert_eq!((ask(&after), ask(&after)), (Err(fault), Err(fault)), "{change:?}");
        assert_eq!(ask(&with(&after, &[back])), Ok(()), "{change:?} taken back");
    }
}

#[test]
fn a_change_of_something_else_leaves_a_token_in_force() {
    let (_, before, jwt) = start();
    let after = with(&before, &[put(&grant_line(USER, DOMAIN, &["llm_embeddings"]))]);
    let mut verifier = Verifier::new(8);
    let old = verifier.verify(&before, jwt.as_bytes(), NOW, FROM).unwrap();
    let new = verifier.verify(&after, jwt.as_bytes(), NOW, FROM).unwrap();
    for who in [old, new] {
        let rights = after.rights(&who, after.domain(b"demo").unwrap());
        assert!(rights.allows(Operation::LlmEmbeddings) && !rights.allows(Operation::LlmRead));
    }
}

#[test]
fn a_key_that_could_verify_nothing_is_a_problem() {
    let good = key("k1");
    let mut lines = base();
    lines.push(key_line(&good));
    lines.push(key_line(&good));
    lines.push(key_line(&key("")));
    lines.push(r#"{"kind":"key","id":"short","public_key":"AAAA"}"#.to_owned());
    let said = problems(&lines);
    assert!(said.contains("line 9: key `k1` is already defined on line 8"), "{said}");
    assert!(said.contains("line 10: key ``: its id"), "{said}");
    assert!(said.contains("line 11: key `short`: its public_key is not 32 bytes"), "{said}");
}
