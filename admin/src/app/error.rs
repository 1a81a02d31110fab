//! Why something was not done, in terms that the asker may see.

use crate::store::StoreError;

/// Why something was not done. The text of every variant but [`AppError::Internal`] is for the asker.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No credential, or one that is not good. `what` is for the log; askers all get the same answer.
    #[error("missing or invalid credential")]
    Unauthenticated {
        /// What is wrong with it.
        what: &'static str,
    },
    /// We know who asks, and it is not allowed.
    #[error("{0}")]
    Forbidden(&'static str),
    /// We know which API key or external token asks, and it is not for this (RFC 6750 §3.1, `insufficient_scope`).
    #[error("the credential has no scope `{needed}`")]
    InsufficientScope {
        /// The scope that it would need.
        needed: &'static str,
    },
    /// It does not exist, or the asker may not know that it does.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// A value that cannot be.
    #[error("{field}: {why}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// Well-formed, and cannot be done (the API's answer to scopes that exist already).
    #[error("{0}")]
    Unprocessable(String),
    /// Too often.
    #[error("too many attempts; try again in {retry_after_s} s")]
    Throttled {
        /// When to try again, in seconds.
        retry_after_s: u64,
    },
    /// Somebody whom we need for it does not answer.
    #[error("{0}")]
    Unavailable(&'static str),
    /// Our fault. The text is for the log.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AppError {
    /// A value that cannot be.
    pub fn invalid(field: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { field, why: why.into() }
    }

    /// Something of ours failed.
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }

    /// A stable word for programs and for the audit log.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated { .. } => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::InsufficientScope { .. } => "insufficient_scope",
            Self::NotFound(_) => "not_found",
            Self::Invalid { .. } => "invalid",
            Self::Conflict(_) => "conflict",
            Self::Unprocessable(_) => "unprocessable",
            Self::Throttled { .. } => "throttled",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Taken(what) => Self::Conflict(format!("{what} is taken")),
            StoreError::InUse(what) => Self::Conflict(format!("{what} still use it")),
            StoreError::Gone => Self::NotFound("entity"),
            error @ StoreError::Unstorable => Self::invalid("request", error.to_string()),
            error @ (StoreError::Database(_) | StoreError::Damaged(_) | StoreError::Migrate(_)) => {
                Self::internal(error)
            }
        }
    }
}
