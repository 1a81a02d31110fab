//! A client of cube-admin's API.

use crate::fetch::{self, Answer, Origin};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// The superadmin's name.
pub(crate) const ADMIN: &str = "admin";

/// cube-admin's API, with somebody's credential.
#[derive(Clone)]
pub(crate) struct Api {
    origin: Origin,
    credential: String,
}

impl Api {
    /// Logs in.
    pub(crate) fn log_in(url: &str, username: &str, password: &str) -> Result<Self> {
        let mut api = Self { origin: Origin::parse(url)?, credential: String::new() };
        let login = json!({ "username": username, "password": password });
        let tokens = api.call("POST", "/users/tokens/issue", Some(&login))?;
        text(&tokens, "access_token")?.clone_into(&mut api.credential);
        Ok(api)
    }

    /// One call; anything but a 2xx is an error.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.try_call(method, path, body)?;
        if !(200..300).contains(&answer.0) {
            bail!("{method} {path}: status {}: {}", answer.0, answer.1);
        }
        Ok(answer.1)
    }

    /// One call: status, and the body if it is JSON.
    ///
    /// # Errors
    /// No answer.
    pub(crate) fn try_call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let answer = self.call_with(method, path, "", body)?;
        Ok((answer.status, answer.json().unwrap_or(Value::Null)))
    }

    /// One call with further field lines, each with its CRLF.
    ///
    /// # Errors
    /// No answer.
    pub(crate) fn call_with(
        &self,
        method: &str,
        path: &str,
        fields: &str,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let mut fields = fields.to_owned();
        if !self.credential.is_empty() {
            fields = format!("{fields}authorization: Bearer {}\r\n", self.credential);
        }
        let body = body.map(Value::to_string);
        let authority = &self.origin.authority;
        fetch::call(method, self.origin.address()?, authority, path, &fields, body.as_deref())
    }
}

/// A text of an answer.
pub(crate) fn text<'v>(value: &'v Value, field: &str) -> Result<&'v str> {
    value[field].as_str().with_context(|| format!("cube-admin's answer has no {field}"))
}
