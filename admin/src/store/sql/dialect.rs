//! SQLite's words → PostgreSQL's, for what a schema cannot give it.
//!
//! | SQLite | PostgreSQL | because |
//! |---|---|---|
//! | `?`, `?1` | `$1` | |
//! | `x'00'` | `'\x00'::bytea` | its own `x'00'` is a string of bits |
//! | `LIKE` | `COLLATE "C" ILIKE` | SQLite's takes either case of the letters of ASCII |
//! | `COLLATE BINARY` | `COLLATE "C"` | `BINARY` is a word of its own there |
//! | `AND +column` | `AND column` | the `+` keeps SQLite's planner from an index; it plans by statistics |
//!
//! What is between quotes stays as it is. `COLLATE NOCASE` is a collation of the schema, and `json_extract`, `json_each`, `json_type`,
//! `hex`, `instr`, `printf` are functions of it.

/// The statement, as PostgreSQL takes it. Cost: one pass.
pub(super) fn for_postgres(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    let mut bound = 0_usize;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '\'' | '"' => quoted(rest, first),
            '?' => 1 + rest[1..].bytes().take_while(u8::is_ascii_digit).count(),
            _ if first.is_ascii_alphabetic() || first == '_' => word(rest),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(len);
        rest = after;
        match token {
            "?" => {
                bound += 1;
                out.push_str(&format!("${bound}"));
            }
            "LIKE" => out.push_str("COLLATE \"C\" ILIKE"),
            "BINARY" if out.ends_with("COLLATE ") => out.push_str("\"C\""),
            "x" if rest.starts_with('\'') => {
                let (bytes, after) = rest.split_at(quoted(rest, '\''));
                out.push_str(&format!("'\\x{}::bytea", &bytes[1..]));
                rest = after;
            }
            "+" if out.ends_with("AND ") => {}
            _ if first == '?' => {
                out.push('$');
                out.push_str(&token[1..]);
            }
            _ => out.push_str(token),
        }
    }
    out
}

/// Length of what begins with a quote, up to and including the one that ends it. A doubled quote is two such pieces.
fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |end| end + 2)
}

fn word(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

#[cfg(test)]
mod tests {
    use super::for_postgres;

    #[test]
    fn what_postgresql_calls_otherwise_is_put_into_its_words() {
        for (sqlite, postgres) in [
            ("SELECT 1", "SELECT 1"),
            ("a = ? AND b = ?", "a = $1 AND b = $2"),
            ("a = ?2 OR a = ?1 OR b = ?12", "a = $2 OR a = $1 OR b = $12"),
            ("COALESCE(domain_id, x'') = ?", r"COALESCE(domain_id, '\x'::bytea) = $1"),
            ("(?, x'00ff')", r"($1, '\x00ff'::bytea)"),
            (r"name LIKE ? ESCAPE '\'", r#"name COLLATE "C" ILIKE $1 ESCAPE '\'"#),
            ("alias = ? COLLATE BINARY", r#"alias = $1 COLLATE "C""#),
            ("a COLLATE NOCASE = ?", "a COLLATE NOCASE = $1"),
            ("x = 1 AND +user_id = ?", "x = 1 AND user_id = $1"),
            ("a + b", "a + b"),
            ("'? LIKE x'' it''s' || ?", "'? LIKE x'' it''s' || $1"),
            (r#""a?" = 'ä?' AND max > ?"#, r#""a?" = 'ä?' AND max > $1"#),
        ] {
            assert_eq!(for_postgres(sqlite), postgres);
        }
    }
}
