//! Where a browser believes to be: origin, cookies, TLS. Said by the peer only where the settings trust it.

use axum::http::request::Parts;
use axum::http::{HeaderValue, header};

use crate::app::App;
use crate::http::extract::peer_is_trusted;

/// Our own origin, as the browser sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    /// `host[:port]`.
    authority: String,
    /// Cookies are for TLS only.
    pub(super) secure: bool,
    /// Where the proxies are for this browser: this same origin if the page came through one.
    pub(super) proxy: Option<String>,
}

impl Origin {
    /// Whether a request says that it comes from a page of this origin. Browsers say so in `Origin` whenever a form is sent; what says
    /// nothing is not a browser's form.
    pub(super) fn is_of(&self, parts: &Parts) -> bool {
        let Some(claimed) = field(parts, "origin") else { return false };
        let authority = claimed.split_once("://").map_or("", |(_, authority)| authority);
        // Who terminates TLS before us may not say so: the scheme is compared only where it is known.
        let scheme_holds = !self.secure || claimed.starts_with("https://");
        !authority.is_empty() && authority.eq_ignore_ascii_case(&self.authority) && scheme_holds
    }

    /// Where the browser has this page from: `https://cube.example.org`.
    pub(super) fn url(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }

    /// Whether this page came through a proxy.
    pub(super) fn through_proxy(&self) -> bool {
        let proxy = self.proxy.as_deref().and_then(|proxy| proxy.split_once("://"));
        proxy.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(&self.authority))
    }
}

pub(super) fn own_origin(parts: &Parts, app: &App, secure: bool) -> Origin {
    let trusted = peer_is_trusted(parts, app);
    let forwarded = trusted.then(|| field(parts, "x-forwarded-host")).flatten();
    let host = forwarded.or_else(|| field(parts, "host")).unwrap_or_default();
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte);
    let authority = if host.bytes().all(harmless) { host.to_owned() } else { String::new() };
    let scheme = if secure { "https" } else { "http" };
    let text = format!("{scheme}://{authority}");
    let configured = app.settings.ui.proxy_origin.clone();
    let proxy = configured.or_else(|| forwarded.is_some().then_some(text));
    Origin { authority, secure, proxy }
}

/// Whether the browser's connection is TLS: as a trusted peer says of its own, else as ours is.
pub(super) fn browser_has_tls(parts: &Parts, app: &App) -> bool {
    let said = peer_is_trusted(parts, app).then(|| field(parts, "x-forwarded-proto")).flatten();
    said.map_or(app.settings.api.tls.is_some(), |proto| proto == "https")
}

fn field<'p>(parts: &'p Parts, name: &str) -> Option<&'p str> {
    parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// The name under which a cookie is kept. With `__Host-` no other host of the site can set it, and it never goes over plain HTTP.
fn cookie_name(name: &str, secure: bool) -> String {
    if secure { format!("__Host-{name}") } else { name.to_owned() }
}

/// The value of a cookie; the first one if there are several.
pub(super) fn cookie(parts: &Parts, name: &str, secure: bool) -> Option<String> {
    let name = cookie_name(name, secure);
    let fields = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// The field that lets a browser keep a cookie: until it is closed, or for `max_age_s` (0: away with it).
pub(super) fn set_cookie(name: &str, value: &str, secure: bool, max_age_s: Option<u32>) -> HeaderValue {
    let name = cookie_name(name, secure);
    let mut text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax");
    if secure {
        text.push_str("; Secure");
    }
    if let Some(seconds) = max_age_s {
        text.push_str(&format!("; Max-Age={seconds}"));
    }
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Where to go next, if that is a page of ours. Anything that a browser could read as another origin is not.
pub(super) fn local_target(text: &str) -> Option<&str> {
    let harmless = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>');
    let local = text.starts_with("/ui/") && !text.contains("//") && !text.contains("..");
    (local && text.len() <= 1024 && text.bytes().all(harmless)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_are_a_next_step() {
        for good in ["/ui/", "/ui/pats?status=all&page=2", "/ui/domains/1/models"] {
            assert_eq!(local_target(good), Some(good));
        }
        for bad in [
            "",
            "/",
            "//evil.example/ui/",
            "https://evil.example/ui/",
            "/ui//evil.example",
            "/ui/../x",
            "/ui/\\evil.example",
            "/ui/\r\nSet-Cookie: a=b",
            "ui/",
            "javascript:alert(1)",
            &format!("/ui/{}", "a".repeat(1024)),
        ] {
            assert_eq!(local_target(bad), None, "{bad}");
        }
    }
}
