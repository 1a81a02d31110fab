//! Where another service is found: `http://host:port` or `https://host:port`, and nothing behind it.

use std::fmt;
use std::str::FromStr;

/// An origin that we connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `https`: it must prove that it is `host`.
    pub tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl FromStr for Origin {
    type Err = &'static str;

    /// # Errors
    /// What is wrong with it, as half a sentence.
    fn from_str(url: &str) -> Result<Self, &'static str> {
        let (tls, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://").ok_or("it must begin with http:// or https://")?),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority.rsplit_once(':').ok_or("it needs a port, as http://127.0.0.1:8082")?;
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| *port != 0 && digits);
        let port = port.ok_or("the port is not a number from 1 to 65535")?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => {
                address.parse::<std::net::Ipv6Addr>().map_err(|_| "no IPv6 address in the brackets")?;
                address
            }
            None if is_name(host) => host,
            None => return Err("the host is neither a name nor an address"),
        };
        Ok(Self { tls, host: host.to_owned(), port })
    }
}

fn is_name(host: &str) -> bool {
    (1..=253).contains(&host.len())
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

impl Origin {
    /// Host and port as the `host` field has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_as_it_is_written() {
        for url in ["http://127.0.0.1:8082", "http://admin.example:1", "http://[::1]:65535", "https://a:1"] {
            assert_eq!(url.parse::<Origin>().expect(url).to_string(), url);
        }
        let with_slash: Origin = "http://a:1/".parse().expect("an empty path");
        assert_eq!(with_slash.to_string(), "http://a:1");
    }

    #[test]
    fn what_is_more_or_less_than_an_origin_is_refused() {
        for url in [
            "",
            "a:1",
            "https:/a:1",
            "http://a",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://:1",
            "http://a b:1",
            "http://u@a:1",
            "http://a:1/x",
            "http://a:1//",
            "http://[x]:1",
            "http://a:1?x",
            "http://::1:1",
        ] {
            assert!(url.parse::<Origin>().is_err(), "{url}");
        }
    }
}
