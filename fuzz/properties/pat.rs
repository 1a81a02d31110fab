//! Any bytes are a PAT or are not, and what is one has its identifiers in it, in one spelling.

use cube_proxy::tables::{CredentialFault, Tables, Verifier};
use cube_wire::pat::{LEGACY_PAT_LEN, PAT_LEN, PatIds, mint, parse};

/// Fails if a credential of these bytes could crash the parser, or mean two things.
pub(crate) fn check(input: &[u8]) {
    let parsed = parse(input);
    let refused = Verifier::new(1)
        .verify(&Tables::empty(), input, 0, std::net::Ipv4Addr::LOCALHOST.into())
        .expect_err("empty tables know nobody");
    let Ok(ids) = parsed else {
        assert_eq!(refused, CredentialFault::Malformed);
        return;
    };
    assert_eq!(refused, CredentialFault::Unknown);
    match input.len() {
        PAT_LEN => assert_eq!(mint(ids, &[0; 32]).as_bytes()[..48], input[..48], "one spelling"),
        LEGACY_PAT_LEN => {}
        length => panic!("a PAT of {length} bytes"),
    }
    let other = PatIds { user: ids.user, pat: cube_wire::PatId::from_bytes([0; 16]) };
    assert_eq!(parse(mint(other, &[7; 32]).as_bytes()), Ok(other));
}
