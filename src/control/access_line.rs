//! A record as a line of JSON.

use std::net::IpAddr;
use std::time::Duration;

use cube_wire::{DomainId, PatId, UserId};
use serde::Serialize;

use crate::meter::Label;
use crate::record::RequestRecord;

/// The line, field by field. Names are public: add, never rename. What was never learnt is left out.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<DomainId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pat: Option<PatId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_fault: Option<&'a str>,
    attempts: u32,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    ending: &'a str,
    bytes_in: u64,
    bytes_out: u64,
    stream: bool,
    #[serde(skip_serializing_if = "is_zero")]
    events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "is_false")]
    estimated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    duration_ms: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Appends the record as one line, line end included.
pub(super) fn write_line(out: &mut Vec<u8>, record: &RequestRecord) {
    let line = Line {
        time: rfc3339(record.started_unix_ms),
        request_id: record.request_id.as_str(),
        client: record.client,
        method: record.method.as_ref().map(http::Method::as_str),
        path: record.template,
        operation: record.operation.map(|operation| operation.name()),
        domain: record.domain,
        user: record.user,
        pat: record.pat,
        model: record.model.as_deref(),
        cluster: record.cluster.as_deref(),
        endpoint: record.endpoint.as_deref(),
        upstream_fault: record.upstream_fault.as_deref(),
        attempts: record.attempts,
        status: record.status,
        code: record.code,
        ending: record.ending.name(),
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        stream: record.stream,
        events: record.events,
        prompt_tokens: record.prompt_tokens,
        completion_tokens: record.completion_tokens,
        estimated: record.estimated,
        first_byte_ms: record.first_byte.map(milliseconds),
        duration_ms: milliseconds(record.duration),
    };
    serde_json::to_writer(&mut *out, &line)
        .expect("strings and numbers are JSON, and a Vec takes every write");
    out.push(b'\n');
}

/// Milliseconds to the microsecond.
#[allow(clippy::cast_precision_loss, reason = "2^53 µs are 285 years")]
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// Unix time as RFC 3339 in UTC, with milliseconds.
///
/// Source: the days-to-date arithmetic of a calendar whose years begin in March, so that a leap day is the last of its year
/// (400 years are 146,097 days).
fn rfc3339(unix_ms: u64) -> String {
    let (seconds, millisecond) = (unix_ms / 1000, unix_ms % 1000);
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    // 719,468 days from 1 March of year 0 to 1 January 1970.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cube_wire::Operation;

    use super::*;
    use crate::record::{Ending, RequestId};

    fn line_of(record: &RequestRecord) -> String {
        let mut line = Vec::new();
        write_line(&mut line, record);
        String::from_utf8(line).expect("JSON is text")
    }

    #[test]
    fn a_full_record_shows_everything_that_was_learnt() {
        let record = RequestRecord {
            request_id: RequestId::from_caller(b"r-1").expect("harmless"),
            started_unix_ms: 1_795_336_496_007,
            client: Some("192.0.2.1".parse().expect("an address")),
            method: Some(http::Method::POST),
            template: "/v1/chat/completions",
            operation: Some(Operation::LlmChatCompletions),
            domain: Some(DomainId::from_bytes([1; 16])),
            user: Some(UserId::from_bytes([2; 16])),
            pat: Some(PatId::from_bytes([3; 16])),
            model: Some(Arc::from("a \"quoted\"\nname")),
            series: 5,
            cluster: Some(Arc::from("gpu")),
            endpoint: Some(Arc::from("http://10.0.0.1:8000")),
            upstream_fault: Some("UnknownIssuer".into()),
            attempts: 2,
            status: 200,
            code: None,
            bytes_in: 100,
            bytes_out: 2_000,
            stream: true,
            events: 40,
            prompt_tokens: Some(9),
            completion_tokens: Some(38),
            estimated: true,
            first_byte: Some(Duration::from_micros(1_234_567)),
            duration: Duration::from_millis(3_000),
            ending: Ending::UpstreamCut,
        };
        assert_eq!(
            line_of(&record),
            concat!(
                r#"{"time":"2026-11-22T08:34:56.007Z","request_id":"r-1","client":"192.0.2.1","method":"POST","#,
                r#""path":"/v1/chat/completions","operation":"llm_chat_completions","#,
                r#""domain":"01010101-0101-0101-0101-010101010101","user":"02020202-0202-0202-0202-020202020202","#,
                r#""pat":"03030303-0303-0303-0303-030303030303","model":"a \"quoted\"\nname","cluster":"gpu","#,
                r#""endpoint":"http://10.0.0.1:8000","upstream_fault":"UnknownIssuer","attempts":2,"status":200,"ending":"upstream_cut","#,
                r#""bytes_in":100,"bytes_out":2000,"stream":true,"events":40,"prompt_tokens":9,"#,
                r#""completion_tokens":38,"estimated":true,"first_byte_ms":1234.567,"duration_ms":3000.0}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_strangers_record_shows_only_what_there_is() {
        let record = RequestRecord {
            status: 401,
            code: Some("invalid_credential"),
            ending: Ending::Refused,
            ..RequestRecord::default()
        };
        assert_eq!(
            line_of(&record),
            concat!(
                r#"{"time":"1970-01-01T00:00:00.000Z","request_id":"","attempts":0,"status":401,"#,
                r#""code":"invalid_credential","ending":"refused","bytes_in":0,"bytes_out":0,"stream":false,"#,
                r#""duration_ms":0.0}"#,
                "\n"
            )
        );
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (unix_s, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (1_735_689_600, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(unix_s * 1000), date);
        }
    }
}
