//! Pieces that templates show: times, names, badges, choices.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock::Moment;
use crate::store::users::UserRow;

/// A point in time, for people and for programs.
pub(super) struct When {
    /// RFC 3339.
    pub(super) iso: String,
    /// `22 Nov 2026, 14:35 UTC`.
    pub(super) text: String,
    /// `3 minutes ago`, `in 2 days`.
    pub(super) relative: String,
}

impl When {
    pub(super) fn new(moment: Moment) -> Self {
        Self {
            iso: moment.to_string(),
            text: stamp(moment, "%-d %b %Y, %H:%M UTC"),
            relative: relative(moment),
        }
    }

    pub(super) fn maybe(moment: Option<Moment>) -> Option<Self> {
        moment.map(Self::new)
    }
}

/// A moment by a pattern of `strftime`, in UTC.
pub(super) fn stamp(moment: Moment, pattern: &str) -> String {
    match Timestamp::from_millisecond(moment.0) {
        Ok(time) => time.to_zoned(TimeZone::UTC).strftime(pattern).to_string(),
        Err(_) => moment.to_string(),
    }
}

/// How long ago, or from now, in the largest unit that fits.
fn relative(moment: Moment) -> String {
    let distance_s = (moment.0 - Moment::now().0) / 1000;
    let units =
        [(86_400 * 365, "year"), (86_400 * 30, "month"), (86_400, "day"), (3_600, "hour"), (60, "minute")];
    let (size, unit) = (distance_s.unsigned_abs(), distance_s);
    // The unit is the largest that fits; what is left over is rounded.
    let fitting = units.iter().find(|(length, _)| size >= *length);
    let Some((count, name)) = fitting.map(|(length, name)| ((size + length / 2) / length, name)) else {
        return if unit > 0 { "in less than a minute".to_owned() } else { "just now".to_owned() };
    };
    let plural = if count == 1 { "" } else { "s" };
    if unit > 0 { format!("in {count} {name}{plural}") } else { format!("{count} {name}{plural} ago") }
}

/// A short word with a colour that says the same.
#[derive(Clone, Copy)]
pub(super) struct Badge {
    /// `good`, `bad`, `warn` or `quiet`.
    pub(super) tone: &'static str,
    pub(super) text: &'static str,
}

/// One option of a choice.
#[derive(Clone)]
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
}

impl Choice {
    pub(super) fn new(value: impl Into<String>, label: impl Into<String>) -> Self {
        Self { value: value.into(), label: label.into() }
    }
}

/// What to call a user.
pub(super) fn name_of(user: &UserRow) -> String {
    let full = format!("{} {}", user.first_name, user.last_name);
    match full.trim() {
        "" => user.username.clone(),
        full => full.to_owned(),
    }
}

/// The name of an operation as people read it: `LLM Chat Completions`.
pub(super) fn operation_label(name: &str) -> String {
    let words = name.split('_').map(|word| match word {
        "llm" => "LLM".to_owned(),
        word => {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
        }
    });
    words.collect::<Vec<String>>().join(" ")
}

/// What an operation allows, in a sentence. Source: the table of the PAT guide.
pub(super) fn operation_help(name: &str) -> &'static str {
    match name {
        "read" => "View resource information",
        "update" => "Modify existing resources",
        "delete" => "Remove resources",
        "enable" => "Enable a disabled resource",
        "disable" => "Disable a resource",
        "list" => "See the resource in lists",
        "manage_role" => "Manage role permissions",
        "add_role_users" => "Add users to a role",
        "remove_role_users" => "Remove users from a role",
        "view_role_users" => "View users assigned to a role",
        "send_invitation" => "Invite users",
        "list_domain_invitation" => "View invitations",
        "delete_invitation" => "Take invitations back",
        "llm_create" => "Create a new LLM configuration",
        "llm_update" => "Modify an existing LLM configuration",
        "llm_read" => "View LLM configuration and list models",
        "llm_delete" => "Remove an LLM configuration",
        "llm_chat_completions" => "Generate chat responses from an LLM",
        "llm_completions" => "Generate text completions",
        "llm_embeddings" => "Generate vector embeddings",
        "llm_transcription" => "Convert audio to text",
        "llm_translation" => "Translate text",
        "llm_utility" => "Tokenize and other utilities",
        "llm_pooling" => "Pool token embeddings",
        "llm_classification" => "Classify text",
        "llm_scoring" => "Score pairs of texts",
        "llm_rerank" => "Rank documents for a query",
        "audit_log_read" => "View the audit log",
        "audit_log_export" => "Take the audit log away",
        _ => "",
    }
}

/// `1 scope`, `2 scopes`.
pub(super) fn count_of(count: i64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// A number with a thin gap every three digits.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// A number that has to fit into little room: in millions from a hundred of them on.
pub(super) fn shortened(number: i64) -> String {
    match number {
        ..100_000_000 => grouped(number),
        _ => format!("{}\u{202f}M", grouped(number / 1_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_written_for_people() {
        assert_eq!(When::new(Moment(1_795_358_100_000)).text, "22 Nov 2026, 14:35 UTC");
        let now = Moment::now().0;
        for (moment, text) in [
            (now, "just now"),
            (now - 61_000, "1 minute ago"),
            (now - 3 * 3_600_000 - 1, "3 hours ago"),
            (now + 2 * 86_400_000 + 5_000, "in 2 days"),
            (now - 800 * 86_400_000, "2 years ago"),
        ] {
            assert_eq!(relative(Moment(moment)), text);
        }
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(shortened(99_999_999), grouped(99_999_999));
        assert_eq!(shortened(5_098_416_648), "5\u{202f}098\u{202f}M");
        assert_eq!(count_of(1, "scope", "scopes"), "1 scope");
        assert_eq!(operation_label("llm_chat_completions"), "LLM Chat Completions");
        assert_eq!(operation_label("add_role_users"), "Add Role Users");
    }
}
