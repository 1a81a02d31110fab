//! Authenticate: credential → [`Caller`], before a single byte of the body is read.
//!
//! # Cost
//! One SHA-256 of the credential and one look into this core's cache (`benches/pat_check.rs`). Credentials that are malformed
//! are refused before anything is hashed.

use std::rc::Rc;

use super::exchange::Exchange;
use super::refuse::Refusal;
use crate::http1::Known;
use crate::local::Adopted;
use crate::tables::{Identity, Rules, Tables};

/// Proof that a request carries a good credential. It holds the tables that said so: every later stage of this request decides
/// with the same ones.
pub(crate) struct Caller {
    identity: Identity,
    tables: Rc<Adopted>,
}

impl Caller {
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    pub(crate) fn rules(&self) -> &Rules {
        self.tables.rules()
    }
}

/// Checks the request's credential against the tables of now.
///
/// # Errors
/// [`Refusal::NotReady`] before the first tables; [`Refusal::CredentialMissing`]; [`Refusal::CredentialInvalid`] for everything
/// else that is wrong with it, the reason going to the record only.
pub(crate) fn authenticate(ex: &mut Exchange<'_>) -> Result<Caller, Refusal> {
    let tables = ex.local.tables();
    if tables.is_empty() {
        return Err(Refusal::NotReady);
    }
    let credential = credential(ex)?;
    let (now, from) = (ex.local.clock.unix_s(), ex.account.client());
    match ex.local.verifier().verify(&tables, credential, now, from) {
        Ok(identity) => {
            ex.account.caller(&identity);
            Ok(Caller { identity, tables })
        }
        Err(fault) => {
            ex.account.credential_fault(fault);
            Err(Refusal::CredentialInvalid)
        }
    }
}

/// `Authorization: Bearer` (any case, RFC 9110 §11.1) before `X-API-Key`.
fn credential<'a>(ex: &'a Exchange<'_>) -> Result<&'a [u8], Refusal> {
    if let Some(value) = ex.field(Known::Authorization) {
        let (scheme, rest) = value.split_at_checked(7).ok_or(Refusal::CredentialInvalid)?;
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return Err(Refusal::CredentialInvalid);
        }
        return Ok(rest.trim_ascii_start());
    }
    match ex.field(Known::XApiKey) {
        Some(key) if !key.is_empty() => Ok(key),
        Some(_) | None => Err(Refusal::CredentialMissing),
    }
}
