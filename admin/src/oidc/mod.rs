//! OpenID Connect, as a relying party and as a resource server: tokens of one external issuer, which the settings name.
//!
//! | file | holds |
//! |---|---|
//! | [`keys`] | the issuer's public keys (JWK sets), and the signatures that are taken |
//! | [`token`] | whether a token is the issuer's, for us and good now; knows no network and no clock |
//! | [`provider`] | the issuer itself: discovery, and keys that are fetched and kept |
//! | [`exchange`] | codes for tokens, and what else the issuer knows of a user |
//! | [`fetch`] | one request to the issuer, bounded in time and size |
//!
//! Our own access tokens are not these: see [`cube_wire::jwt`].

pub mod exchange;
pub mod fetch;
pub mod keys;
pub mod provider;
pub mod token;

/// Where the issuer sends browsers back to, behind our origin.
pub const CALLBACK_PATH: &str = "/ui/oidc/callback";
