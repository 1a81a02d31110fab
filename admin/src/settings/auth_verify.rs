//! `[auth_verify]`: for whom callbacks are answered, and by which rules.

use cube_wire::Operation;
use cube_wire::cidr::Cidr;
use http::Method;
use serde::Deserialize;

use super::Problems;

/// Answering the callbacks of other proxies.
#[derive(Clone, Debug)]
pub struct AuthVerify {
    /// Peers that may ask.
    pub allow_from: Vec<Cidr>,
    /// For paths that are not below `/proxy/`; the first that fits decides.
    pub rules: Vec<VerifyRule>,
}

/// What some requests need.
#[derive(Clone, Debug)]
pub struct VerifyRule {
    /// Empty: any.
    pub methods: Vec<Method>,
    /// Which paths.
    pub path: PathPattern,
    /// What they need.
    pub needs: Needs,
}

/// What a request needs.
#[derive(Clone, Debug)]
pub enum Needs {
    /// A good credential.
    Anybody,
    /// A right in a domain.
    Right {
        /// Which right.
        operation: Operation,
        /// The domain's identifier or route.
        domain: String,
    },
}

/// A pattern of paths, segment by segment.
#[derive(Clone, Debug)]
pub struct PathPattern {
    /// `None`: one segment, whatever it is.
    segments: Vec<Option<String>>,
    /// More may follow.
    open: bool,
}

impl PathPattern {
    /// Reads `/a/*/b` or `/a/**`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix('/').ok_or("it must begin with /")?;
        if !rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"%?#\\;".contains(&byte)) {
            return Err(
                "only visible ASCII without % ? # \\ and ;: it is compared with what a path reads decoded",
            );
        }
        let mut segments: Vec<&str> = if rest.is_empty() { Vec::new() } else { rest.split('/').collect() };
        let open = segments.last() == Some(&"**");
        if open {
            segments.pop();
        }
        if segments.iter().any(|segment| matches!(*segment, "" | "." | ".." | "**")) {
            return Err("an empty or dot segment, or ** before the end");
        }
        let of = |segment: &str| (segment != "*").then(|| segment.to_owned());
        Ok(Self { segments: segments.into_iter().map(of).collect(), open })
    }

    /// Whether it describes a path. `segments`: decoded; a `/` at the end makes no segment.
    #[must_use]
    pub fn fits(&self, segments: &[Vec<u8>]) -> bool {
        let long_enough =
            segments.len() == self.segments.len() || (self.open && segments.len() > self.segments.len());
        let pairs = self.segments.iter().zip(segments);
        long_enough
            && pairs
                .into_iter()
                .all(|(wanted, is)| wanted.as_ref().is_none_or(|wanted| wanted.as_bytes() == is))
    }
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuthVerifySection {
    allow_from: Option<Vec<String>>,
    rules: Vec<RuleSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSection {
    #[serde(default)]
    methods: Vec<String>,
    path: String,
    operation: Option<String>,
    domain: Option<String>,
}

impl AuthVerifySection {
    pub(super) fn check(self, problems: &mut Problems) -> AuthVerify {
        let allow_from = problems.cidrs("auth_verify.allow_from", self.allow_from);
        let mut rules = Vec::new();
        for (index, rule) in self.rules.into_iter().enumerate() {
            match rule.check() {
                Ok(rule) => rules.push(rule),
                Err(why) => problems.0.push(format!("auth_verify.rules[{index}]: {why}")),
            }
        }
        AuthVerify { allow_from, rules }
    }
}

impl RuleSection {
    fn check(self) -> Result<VerifyRule, String> {
        let path = PathPattern::parse(&self.path).map_err(|why| format!("path `{}`: {why}", self.path))?;
        if path.segments.first() == Some(&Some("proxy".to_owned())) {
            return Err("paths below /proxy/ are decided by rights in their domain".to_owned());
        }
        let mut methods = Vec::new();
        for name in self.methods {
            let standard = name.bytes().all(|byte| byte.is_ascii_uppercase());
            match name.parse() {
                Ok(method) if standard => methods.push(method),
                Ok(_) | Err(_) => return Err(format!("`{name}` is no method; they are written in capitals")),
            }
        }
        let needs = match (self.operation, self.domain) {
            (None, None) => Needs::Anybody,
            (Some(name), Some(domain)) => Needs::Right {
                operation: Operation::from_name(&name)
                    .ok_or_else(|| format!("there is no operation `{name}`"))?,
                domain,
            },
            (Some(_), None) | (None, Some(_)) => {
                return Err("`operation` and `domain` are given together or not at all".to_owned());
            }
        };
        Ok(VerifyRule { methods, path, needs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Settings, SettingsError};

    fn fits(pattern: &str, path: &str) -> bool {
        let rest = path.trim_matches('/');
        let segments: Vec<Vec<u8>> = if rest.is_empty() {
            Vec::new()
        } else {
            rest.split('/').map(|s| s.as_bytes().to_vec()).collect()
        };
        PathPattern::parse(pattern).expect(pattern).fits(&segments)
    }

    #[test]
    fn patterns_fit_whole_segments() {
        for (pattern, path, expected) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/a", "/a", true),
            ("/a", "/a/", true),
            ("/a", "/ab", false),
            ("/a/*", "/a/b", true),
            ("/a/*", "/a", false),
            ("/a/*", "/a/b/c", false),
            ("/a/*/c", "/a/b/c", true),
            ("/a/**", "/a", true),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/ab", false),
            ("/**", "/", true),
            ("/**", "/x/y", true),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
        for pattern in ["", "a", "/a//b", "/a/../b", "/**/a", "/a%20b", "/a?b", "/é"] {
            assert!(PathPattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_wrong_rule_is_named_with_its_place() {
        let rule = |text: &str| format!("[[auth_verify.rules]]\n{text}\n");
        for (text, why) in [
            ("path = 'a'", "begin with /"),
            ("path = '/proxy/**'", "rights in their domain"),
            ("path = '/a'\nmethods = ['get']", "no method"),
            ("path = '/a'\noperation = 'llm_read'", "together"),
            ("path = '/a'\ndomain = 'x'", "together"),
            ("path = '/a'\noperation = 'fly'\ndomain = 'x'", "no operation"),
        ] {
            let text = rule("path = '/good'") + &rule(text);
            let Err(SettingsError::Values(problems)) = Settings::from_toml(&text) else { panic!("{text}") };
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(
                problems[0].starts_with("auth_verify.rules[1]: ") && problems[0].contains(why),
                "{problems:?}"
            );
        }
    }
}
