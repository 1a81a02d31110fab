//! Answer: what the proxy answers from its tables: the models that a caller may use in a domain.

use std::fmt::Write as _;

use super::authorize::Permit;
use crate::operations::Answer;
use crate::tables::ModelIx;

/// The body of an answer from the tables, or `None` if the operation is the upstream's to answer.
pub(crate) fn answer(permit: &Permit) -> Option<String> {
    let visible = || permit.tables().models_of(permit.domain()).filter(|&m| permit.rights().may_see(m));
    let mut body = String::new();
    match permit.endpoint().answer {
        Answer::Upstream => return None,
        Answer::ModelsList => {
            body.push_str(r#"{"object":"list","data":["#);
            separated(&mut body, visible(), |body, model| openai_model(body, permit, model));
            body.push_str("]}");
        }
        Answer::ModelsGet => openai_model(&mut body, permit, permit.model()?),
        Answer::TagsList => {
            body.push_str(r#"{"models":["#);
            separated(&mut body, visible(), |body, model| ollama_model(body, permit, model));
            body.push_str("]}");
        }
    }
    Some(body)
}

fn separated(
    body: &mut String,
    models: impl Iterator<Item = ModelIx>,
    mut write: impl FnMut(&mut String, ModelIx),
) {
    for (index, model) in models.enumerate() {
        if index > 0 {
            body.push(',');
        }
        write(body, model);
    }
}

fn openai_model(body: &mut String, permit: &Permit, model: ModelIx) {
    let entry = permit.tables().model_entry(model);
    let owner = permit.tables().domain_entry(permit.domain()).id;
    // Writing to a String cannot fail.
    let _ = write!(
        body,
        r#"{{"id":{},"object":"model","created":{},"owned_by":"{owner}"}}"#,
        json_text(&entry.name),
        entry.created
    );
}

fn ollama_model(body: &mut String, permit: &Permit, model: ModelIx) {
    let entry = permit.tables().model_entry(model);
    let name = json_text(&entry.name);
    let _ = write!(
        body,
        r#"{{"name":{name},"model":{name},"modified_at":"{}","size":0,"digest":"","details":{{}}}}"#,
        rfc3339(entry.created)
    );
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Unix seconds as RFC 3339 in UTC (civil-from-days).
fn rfc3339(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_time_reads_as_a_date() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(rfc3339(1_795_305_600), "2026-11-22T00:00:00Z");
    }
}
