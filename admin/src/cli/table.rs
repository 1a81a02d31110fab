//! An answer as a table.

use serde_json::Value;

/// One line for each row of a list (one row for anything else), under the names of the columns.
///
/// * `list`: the member that holds the rows.
/// * `columns`: members; `a.b` is a member of a member. None: every member on a line of its own.
pub(super) fn render(answer: &Value, list: Option<&str>, columns: &[&str]) -> String {
    let rows = list.and_then(|list| answer[list].as_array());
    let rows = rows.map_or_else(|| vec![answer], |rows| rows.iter().collect());
    let mut text = match (answer, columns) {
        (Value::Null, _) => "ok\n".to_owned(),
        (answer, []) => members(answer),
        (_, columns) => grid(&rows, columns),
    };
    if let (Some(total), Some(_)) = (answer["total"].as_u64(), list)
        && total > rows.len() as u64
    {
        text += &format!("{} of {total}; --limit and --offset show others\n", rows.len());
    }
    text
}

fn grid(rows: &[&Value], columns: &[&str]) -> String {
    let heading =
        columns.iter().map(|column| column.rsplit('.').next().unwrap_or(column).to_uppercase()).collect();
    let cell = |row: &Value, column: &&str| shown(column.split('.').fold(row, |value, name| &value[name]));
    let body = rows.iter().map(|row| columns.iter().map(|column| cell(row, column)).collect());
    let lines: Vec<Vec<String>> = std::iter::once(heading).chain(body).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    lines.iter().fold(String::new(), |mut text, line| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
        text
    })
}

fn members(value: &Value) -> String {
    let Some(object) = value.as_object() else { return format!("{}\n", shown(value)) };
    let width = object.keys().map(String::len).max().unwrap_or(0);
    object.iter().map(|(name, value)| format!("{name:<width$}  {}\n", shown(value))).collect()
}

/// A value in one line; without control characters, which could say other things to a terminal.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.iter().all(|value| !value.is_object() && !value.is_array()) => {
            values.iter().map(shown).collect::<Vec<_>>().join(",")
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_stand_under_their_columns_and_nothing_reaches_the_terminal_raw() {
        let answer = json!({ "total": 9, "users": [
            { "id": "1", "credentials": { "username": "ada" }, "tags": ["a", "b"] },
            { "id": "200", "credentials": { "username": "\u{1b}[31m" } } ] });
        let text = render(&answer, Some("users"), &["id", "credentials.username", "tags"]);
        assert_eq!(
            text,
            "ID   USERNAME  TAGS\n1    ada       a,b\n200  \u{fffd}[31m     -\n2 of 9; --limit and --offset show others\n"
        );
        assert_eq!(render(&json!({ "a": 1, "bc": true }), None, &[]), "a   1\nbc  true\n");
        assert_eq!(render(&Value::Null, None, &["id"]), "ok\n");
    }
}
