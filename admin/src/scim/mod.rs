//! SCIM 2.0 (RFC 7643, RFC 7644) without a database and without HTTP: what a resource may hold, what a filter means, what a PATCH does.
//!
//! | file | holds |
//! |---|---|
//! | [`filter`] | the grammar of filters and paths, bounded and in linear time |
//! | [`schema`] | the attributes that there are, and what they are called in a filter, a path or a body |
//! | [`matching`] | whether one value fits a filter: for paths like `emails[type eq "work"]` |
//! | [`resource`] | bodies → what is kept; what is kept → answers with the attributes that were asked for |
//! | [`patch`] | PATCH, with the habits of Entra and Okta |

pub mod filter;
pub mod matching;
pub mod patch;
pub mod resource;
pub mod schema;

/// What is wrong with a SCIM request (RFC 7644 §3.12, table 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScimType {
    /// A filter that is none, or names what there is not.
    InvalidFilter,
    /// More than we do at once.
    TooMany,
    /// Another resource has this value.
    Uniqueness,
    /// What cannot be changed was to be changed.
    Mutability,
    /// A body that is none.
    InvalidSyntax,
    /// A path that is none, or names what there is not.
    InvalidPath,
    /// A path that no value fits.
    NoTarget,
    /// A value that cannot be.
    InvalidValue,
}

impl ScimType {
    /// As it is written in an error.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidFilter => "invalidFilter",
            Self::TooMany => "tooMany",
            Self::Uniqueness => "uniqueness",
            Self::Mutability => "mutability",
            Self::InvalidSyntax => "invalidSyntax",
            Self::InvalidPath => "invalidPath",
            Self::NoTarget => "noTarget",
            Self::InvalidValue => "invalidValue",
        }
    }
}

/// Why a SCIM request was not done, for whoever sent it. Never repeats a value at length.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct ScimError {
    /// For programs.
    pub kind: ScimType,
    /// For people.
    pub detail: String,
}

impl ScimError {
    /// An error of this kind.
    pub fn new(kind: ScimType, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// The beginning of a text that somebody sent, fit to be shown in an error.
#[must_use]
pub fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 40;
    let mut shown: String =
        text.chars().filter(|character| !character.is_control()).take(CHARACTERS_MAX).collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
