//! Verify: whether somebody may do something elsewhere, as another proxy's callback asks it.
//!
//! Below `/proxy/{domain}/` the decision is a proxy's own: its table of operations, and the rights in the domain. A callback is not shown
//! bodies, so an operation on the model that a body names takes the right on the domain as a whole. For other paths rules decide that
//! the settings hold; without one that fits, nobody may.
//!
//! Paths are taken only if every server reads them alike: whoever asked passes on what it was sent, in whatever spelling.

use cube_wire::operations::{Lookup, ModelSource, NAMES_BELOW, lookup};
use cube_wire::{DomainId, Operation};
use http::Method;

use super::authorize::rights;
use super::{App, AppError, Principal};
use crate::settings::Needs;
use crate::store::domains;

/// What somebody wants to do elsewhere.
#[derive(Clone, Debug)]
pub struct Deed {
    /// The method of the request.
    pub method: String,
    /// Its path, without a query, as it was sent.
    pub path: String,
}

/// What is not one of these was never thought of in a rule for any method.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

const NO: AppError = AppError::Forbidden("not allowed");

impl App {
    /// Whether somebody may do it.
    ///
    /// # Errors
    /// [`AppError::Forbidden`], whatever the reason: what there is and what there is not is none of the asker's business.
    pub async fn verify(&self, principal: &Principal, deed: &Deed) -> Result<(), AppError> {
        let method = METHODS.into_iter().find(|method| method.as_str() == deed.method).ok_or(NO)?;
        let path = deed.path.as_bytes();
        let inside = path.strip_prefix(b"/proxy/");
        let rest = inside.and_then(|inside| Some(&inside[inside.iter().position(|&byte| byte == b'/')?..]));
        let name = rest.and_then(|rest| rest.strip_prefix(NAMES_BELOW)).unwrap_or_default();
        let segments = segments(path, path.len() - name.len()).ok_or(NO)?;
        if segments.first().is_some_and(|first| first.eq_ignore_ascii_case(b"proxy")) {
            let (Some(domain), Some(rest)) = (segments.get(1), rest) else { return Err(NO) };
            let domain = std::str::from_utf8(domain).map_err(|_| NO)?;
            return self.verify_operation(principal, &method, domain, rest).await;
        }
        let fits = |methods: &[Method]| methods.is_empty() || methods.contains(&method);
        let rules = &self.settings.auth_verify.rules;
        let rule = rules.iter().find(|rule| fits(&rule.methods) && rule.path.fits(&segments));
        match rule.map(|rule| &rule.needs) {
            None => Err(NO),
            Some(Needs::Anybody) => Ok(()),
            Some(Needs::Right { operation, domain }) => {
                self.demand(principal, domain, *operation, None).await
            }
        }
    }

    async fn verify_operation(
        &self,
        principal: &Principal,
        method: &Method,
        domain: &str,
        rest: &[u8],
    ) -> Result<(), AppError> {
        let Lookup::Found(endpoint) = lookup(method, rest) else { return Err(NO) };
        if endpoint.superadmin && !principal.superadmin {
            return Err(NO);
        }
        let model = match endpoint.model {
            ModelSource::Body | ModelSource::NotNeeded => None,
            ModelSource::PathTail => {
                let name = endpoint.model_in_path(rest).and_then(decoded).ok_or(NO)?;
                Some(String::from_utf8(name).map_err(|_| NO)?)
            }
        };
        self.demand(principal, domain, endpoint.operation, model.as_deref()).await
    }

    async fn demand(
        &self,
        principal: &Principal,
        domain: &str,
        operation: Operation,
        model: Option<&str>,
    ) -> Result<(), AppError> {
        let mut connection = self.store.read().await?;
        let domain: Option<DomainId> = domains::named(&mut connection, domain).await?;
        let domain = domain.ok_or(NO)?;
        let rights = match rights(&mut connection, principal, domain).await {
            Err(AppError::NotFound(_)) => return Err(NO),
            result => result?,
        };
        let allowed =
            model.map_or_else(|| rights.allows(operation), |model| rights.allows_on(operation, model));
        if allowed { Ok(()) } else { Err(NO) }
    }
}

/// A path's segments, decoded; `None` for a path that two servers could read differently. A `/` at its end makes no segment.
///
/// * `name_start`: from here on the path is a name, in which `%2F` is the `/` that it stands for.
fn segments(path: &[u8], name_start: usize) -> Option<Vec<Vec<u8>>> {
    let rest = path.strip_prefix(b"/")?;
    if !rest.iter().all(|&byte| byte.is_ascii_graphic() && !b"?#\\;\"<>".contains(&byte)) {
        return None;
    }
    let mut segments = Vec::new();
    let mut at = 1;
    for raw in rest.split(|&byte| byte == b'/') {
        let last = at + raw.len() == path.len();
        let segment = decoded(raw)?;
        let slashed = segment.contains(&b'/') && at < name_start;
        if slashed || matches!(&*segment, b"." | b"..") || (segment.is_empty() && !last) {
            return None;
        }
        if !segment.is_empty() {
            segments.push(segment);
        }
        at += raw.len() + 1;
    }
    Some(segments)
}

/// Percent sequences decoded, once; `None` for one that is none, or stands for what changes how a path is read.
fn decoded(raw: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut nibble = || char::from(*bytes.next()?).to_digit(16);
        let byte = u8::try_from(nibble()? << 4 | nibble()?).ok()?;
        if byte.is_ascii_control() || b"\\.%".contains(&byte) {
            return None;
        }
        out.push(byte);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Option<String> {
        let segments = segments(path.as_bytes(), path.len())?;
        Some(segments.iter().map(|segment| String::from_utf8_lossy(segment)).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn a_path_is_read_as_every_server_reads_it_or_not_at_all() {
        for (path, expected) in [
            ("/", ""),
            ("/a", "a"),
            ("/a/", "a"),
            ("/a/b%20c", "a|b c"),
            ("/%61dmin/x", "admin|x"),
            ("/a..b/...", "a..b|..."),
        ] {
            assert_eq!(of(path).as_deref(), Some(expected), "{path}");
        }
        for path in [
            "",
            "a",
            "*",
            "//",
            "/a//b",
            "/./a",
            "/a/..",
            "/%2e/a",
            "/a/%2E%2e",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/a;x",
            "/a?b",
            "/a%00",
            "/a%",
            "/a%zz",
            "/a b",
            "/é",
            "/a%252e",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
