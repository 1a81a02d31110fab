//! What an endpoint's URL and its credential may look like: the same for admin, which stores them, and for proxies, which use them.

/// An endpoint's URL, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointUrl<'a> {
    /// `https`: the connection is sealed, and the server must prove that it is `host`.
    pub tls: bool,
    /// `host[:port]` as written: the value of the `Host` field.
    pub authority: &'a str,
    /// The name or the address, without brackets.
    pub host: &'a str,
    /// 80 if none is written; 443 with TLS.
    pub port: u16,
    /// What goes in front of every path: empty, or `/…` without a `/` at its end.
    pub base_path: &'a str,
}

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

impl<'a> EndpointUrl<'a> {
    /// Takes `http://host[:port][/base]`, or the same with `https`, apart.
    ///
    /// # Errors
    /// What is wrong with it, as half a sentence.
    pub fn parse(url: &'a str) -> Result<Self, &'static str> {
        let (tls, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://").ok_or("it must begin with http:// or https://")?),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err("a user or password in the URL; use `credential`");
        }
        let (host, port) = split_port(authority, tls)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if let Some(host) = bracketed {
            host.parse::<std::net::Ipv6Addr>()
                .map_err(|_| "the address in brackets is not an IPv6 address")?;
        } else if host.is_empty() || host.len() > 253 || !host.bytes().all(is_host_byte) {
            return Err("the host is neither a name nor an address");
        }
        let base_path = path.trim_end_matches('/');
        let harmless = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'\\' | b'%');
        if !base_path.bytes().all(harmless) {
            return Err("the base path has a character that a base path cannot have");
        }
        if base_path.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
            return Err("the base path has an empty or dot segment");
        }
        Ok(Self { tls, authority, host: bracketed.unwrap_or(host), port, base_path })
    }
}

const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// Host, in brackets if it was, and port of an authority; 80 if there is no port, 443 with `tls`.
///
/// # Errors
/// What is wrong with the port, as half a sentence.
pub fn split_port(authority: &str, tls: bool) -> Result<(&str, u16), &'static str> {
    let host_end = authority.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = authority[host_end..].find(':') else {
        return Ok((authority, if tls { HTTPS_PORT } else { HTTP_PORT }));
    };
    let (host, port) = authority.split_at(host_end + colon);
    let digits = &port[1..];
    let port =
        digits.parse::<u16>().ok().filter(|port| *port != 0 && digits.bytes().all(|b| b.is_ascii_digit()));
    Ok((host, port.ok_or("the port is not a number from 1 to 65535")?))
}

/// Field names that would change what the message means or where it ends.
const NOT_CREDENTIALS: [&str; 10] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

/// Checks the header field that authenticates us to an endpoint.
///
/// * Returns the field's name in lower case and its value without blanks around it.
///
/// # Errors
/// What is wrong with it, as half a sentence that repeats neither.
pub fn check_credential<'v>(header: &str, value: &'v str) -> Result<(String, &'v str), &'static str> {
    let name = header.to_ascii_lowercase();
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name_byte) {
        return Err("the credential's `header` is not the name of a header field");
    }
    if NOT_CREDENTIALS.contains(&&*name) {
        return Err("the credential's `header` is a field that the proxy writes itself");
    }
    let value = value.trim_matches([' ', '\t']);
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t'))
    {
        return Err("the credential's `value` is empty or has characters that a header field cannot have");
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        for (url, authority, host, port, base_path) in [
            ("http://h:8000", "h:8000", "h", 8000, ""),
            ("http://h", "h", "h", 80, ""),
            ("http://10.0.0.1:1/", "10.0.0.1:1", "10.0.0.1", 1, ""),
            ("http://[::1]:11434/a/b/", "[::1]:11434", "::1", 11434, "/a/b"),
            ("http://[::1]", "[::1]", "::1", 80, ""),
            ("http://a_b.c-d.example:65535/v", "a_b.c-d.example:65535", "a_b.c-d.example", 65535, "/v"),
        ] {
            let whole = EndpointUrl { tls: false, authority, host, port, base_path };
            assert_eq!(EndpointUrl::parse(url), Ok(whole), "{url}");
            let sealed = url.replace("http:", "https:");
            let port = if authority.ends_with(&format!(":{port}")) { port } else { 443 };
            assert_eq!(EndpointUrl::parse(&sealed), Ok(EndpointUrl { tls: true, port, ..whole }), "{sealed}");
        }
    }

    #[test]
    fn a_url_that_could_mean_something_else_is_refused() {
        for url in [
            "",
            "h:1",
            "ftp://h",
            "https:/h",
            "HTTPS://h",
            "http://",
            "http:///x",
            "http://h:",
            "http://h:0",
            "http://h:65536",
            "http://h:+1",
            "http://h:1x",
            "http://u:p@h",
            "http://h:1:2",
            "http://[::1",
            "http://[x]",
            "http://[::1]x",
            "http://h/?q",
            "http://h/#f",
            "http://h/a b",
            "http://h/../x",
            "http://h/./x",
            "http://h//x",
            "http://h/%2e",
            "http://h\r\nx: y",
            "http://hé",
            "http://h/\u{7f}",
            "http://h?x",
        ] {
            assert!(EndpointUrl::parse(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn a_credential_is_one_whole_header_field() {
        assert_eq!(check_credential("X-Key", " a b\t"), Ok(("x-key".to_owned(), "a b")));
        for (header, value) in
            [("", "x"), ("a b", "x"), ("Host", "x"), ("x", ""), ("x", "a\r\nb: c"), ("x", "é")]
        {
            assert!(check_credential(header, value).is_err(), "{header:?}: {value:?}");
        }
    }
}
