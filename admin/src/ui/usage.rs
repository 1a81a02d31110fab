//! Usage: what requests add up to, as numbers, charts and a file. Everything is read from sums, never from single requests.

use askama::Template;
use axum::Router;
use axum::routing::get;
use cube_wire::{DomainId, PatId, UserId};
use uuid::Uuid;

use super::audit::download;
use super::chart::{Bar, Chart};
use super::error::UiResult;
use super::form::Form;
use super::frame::{Frame, Section, page, show};
use super::list::{Asked, Pager};
use super::people;
use super::permissions::domain_choices;
use super::shell::Member;
use super::view::{Choice, grouped, shortened, stamp};
use crate::app::App;
use crate::clock::Moment;
use crate::store::Page;
use crate::store::pats::PatFilter;
use crate::store::usage::{Group, GroupBy, Sum, UsageFilter};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/ui/usage", get(view)).route("/ui/usage.csv", get(export))
}

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Longest period that is shown by the hour.
const HOURS_MS_MAX: i64 = 7 * DAY_MS;

/// Periods to choose from: word, label, length.
const PERIODS: [(&str, &str, i64); 4] = [
    ("24h", "Last 24 hours", DAY_MS),
    ("7d", "Last 7 days", 7 * DAY_MS),
    ("30d", "Last 30 days", 30 * DAY_MS),
    ("90d", "Last 90 days", 90 * DAY_MS),
];
const GROUPS: [(&str, &str, GroupBy); 6] = [
    ("model", "Model", GroupBy::Model),
    ("domain", "Domain", GroupBy::Domain),
    ("user", "User", GroupBy::User),
    ("pat", "PAT", GroupBy::Pat),
    ("day", "Day", GroupBy::Day),
    ("hour", "Hour", GroupBy::Hour),
];
/// Rows of a file at most.
const CSV_ROWS_MAX: i64 = 100_000;

/// What is asked for.
struct Wanted {
    filter: UsageFilter,
    group_by: GroupBy,
    /// Hours were asked for and are days: the period is too long for them.
    too_long: bool,
    /// Columns of the charts: each an hour or a day.
    step_ms: i64,
    from: i64,
}

fn wanted(asked: &Asked) -> Wanted {
    let length =
        PERIODS.iter().find(|(word, ..)| *word == asked.value("period")).map_or(DAY_MS, |(.., ms)| *ms);
    let step_ms = if length > DAY_MS { DAY_MS } else { HOUR_MS };
    let group = GROUPS.iter().find(|(word, ..)| *word == asked.value("by"));
    let group_by = group.map_or(GroupBy::Model, |(.., by)| *by);
    // A thousand hours are no table for anybody, and the coarser sums cannot tell them.
    let too_long = group_by == GroupBy::Hour && length > HOURS_MS_MAX;
    let end = Moment::now().0.div_euclid(step_ms) * step_ms + step_ms;
    let from = end - length;
    Wanted {
        filter: UsageFilter {
            from: Some(Moment(from)),
            to: None,
            domain: asked.parsed("domain"),
            user: asked.parsed("user"),
            pat: asked.parsed("pat"),
            model: asked.written("model").map(str::to_owned),
            // What a proxy passed on to these pages is no use of a model.
            in_domains: true,
        },
        group_by: if too_long { GroupBy::Day } else { group_by },
        too_long,
        step_ms,
        from,
    }
}

/// A row of the table, each number as text.
struct Row {
    name: String,
    requests: String,
    errors: String,
    error_share: String,
    prompt_tokens: String,
    completion_tokens: String,
    first_byte: String,
}

fn row_of(name: String, sum: &Sum) -> Row {
    let share = |part: i64, whole: i64| (part as f64) * 100.0 / (whole.max(1) as f64);
    Row {
        name,
        requests: grouped(sum.requests),
        errors: grouped(sum.errors),
        error_share: format!("{:.1} %", share(sum.errors, sum.requests)),
        prompt_tokens: grouped(sum.prompt_tokens),
        completion_tokens: grouped(sum.completion_tokens),
        first_byte: match sum.first_bytes {
            0 => "–".to_owned(),
            count => format!("{} ms", grouped(sum.first_byte_us / count / 1000)),
        },
    }
}

#[derive(Template)]
#[template(path = "usage.html")]
struct Usage {
    frame: Frame,
    form: Form,
    periods: Vec<Choice>,
    groups: Vec<Choice>,
    domains: Vec<Choice>,
    group_label: &'static str,
    total: Row,
    charts: Vec<Chart>,
    rows: Vec<Row>,
    pager: Pager,
    csv: String,
    /// Whose numbers these are.
    whose: &'static str,
    /// Nothing was used.
    nothing: bool,
    /// See [`Wanted`].
    too_long: bool,
}

/// Names for what a table is grouped by.
async fn names_of(member: &Member, groups: &[(Group, Sum)], by: GroupBy) -> UiResult<Vec<String>> {
    let ids = groups.iter().filter_map(|(group, _)| match group {
        Group::Id(id) => *id,
        Group::Time(_) | Group::Model(_) => None,
    });
    let ids: Vec<Uuid> = ids.collect();
    let users = match by {
        GroupBy::User => people::names_of(member, ids.iter().copied().map(UserId)).await?,
        GroupBy::Hour | GroupBy::Day | GroupBy::Domain | GroupBy::Pat | GroupBy::Model => Default::default(),
    };
    let mut names = Vec::new();
    for (group, _) in groups {
        names.push(match (group, by) {
            (Group::Time(at), GroupBy::Hour) => stamp(*at, "%-d %b, %H:%M"),
            (Group::Time(at), _) => stamp(*at, "%a %-d %b %Y"),
            (Group::Model(name), _) if name.is_empty() => "(none)".to_owned(),
            (Group::Model(name), _) => name.clone(),
            (Group::Id(None), GroupBy::Pat) => "(signed in, without a PAT)".to_owned(),
            (Group::Id(None), _) => "(none)".to_owned(),
            (Group::Id(Some(id)), GroupBy::User) => users.get(&UserId(*id)).cloned().unwrap_or_default(),
            (Group::Id(Some(id)), GroupBy::Domain) => {
                let place = super::domains::Place::of(member, &DomainId(*id).to_string(), "").await;
                place.map_or_else(|_| id.to_string(), |(place, _)| place.name)
            }
            (Group::Id(Some(id)), _) => {
                // Names of PATs are their owners' to see.
                let own = PatFilter { id: Some(PatId(*id)), ..PatFilter::default() };
                let found = member.app.list_pats(member.who(), &own, Page { offset: 0, limit: 1 }).await?;
                found.rows.into_iter().next().map_or_else(|| id.to_string(), |row| row.name)
            }
        });
    }
    Ok(names)
}

async fn view(member: Member, asked: Asked) -> UiResult {
    let mut form = Form::default();
    for name in ["period", "by", "domain", "user", "pat", "model"] {
        form.set(name, asked.value(name));
    }
    let wanted = wanted(&asked);
    let (app, who) = (&member.app, member.who());
    let steps = if wanted.step_ms == HOUR_MS { GroupBy::Hour } else { GroupBy::Day };
    let all_steps = Page { offset: 0, limit: 200 };
    let report = async {
        let over_time = app.report_usage(who, steps, wanted.filter.clone(), all_steps).await?;
        let table = app.report_usage(who, wanted.group_by, wanted.filter.clone(), asked.page()).await?;
        Ok((over_time, table))
    };
    let (status, over_time, table) = match report.await {
        Ok((over_time, table)) => (axum::http::StatusCode::OK, over_time.rows, Some(table)),
        Err(error) => (form.fail(error)?, Vec::new(), None),
    };
    let mut total = Sum::default();
    for (_, sum) in &over_time {
        total.add_sum(sum);
    }
    let pager = asked.pager(table.as_ref().map_or(0, |table| table.total));
    let groups = table.map(|table| table.rows).unwrap_or_default();
    let names = names_of(&member, &groups, wanted.group_by).await?;
    let rows = names.into_iter().zip(&groups).map(|(name, (_, sum))| row_of(name, sum)).collect();
    let mut domains = domain_choices(&member).await?;
    let whose = match (member.who().superadmin, &wanted.filter.domain) {
        (_, Some(_)) => "All requests in this domain.",
        (true, None) => "All requests of the fleet.",
        (false, None) => "Your own requests.",
    };
    domains.insert(0, Choice::new("", if member.who().superadmin { "All" } else { "Mine, in all domains" }));
    let template = Usage {
        frame: member.frame(Section::Usage, "Usage"),
        form,
        periods: PERIODS.iter().map(|(word, label, _)| Choice::new(*word, *label)).collect(),
        groups: GROUPS.iter().map(|(word, label, _)| Choice::new(*word, *label)).collect(),
        domains,
        group_label: GROUPS
            .iter()
            .find(|(.., by)| *by == wanted.group_by)
            .map_or("Model", |(_, label, _)| label),
        nothing: total.requests == 0,
        too_long: wanted.too_long,
        total: Row {
            requests: shortened(total.requests),
            errors: shortened(total.errors),
            prompt_tokens: shortened(total.prompt_tokens),
            completion_tokens: shortened(total.completion_tokens),
            ..row_of("Total".to_owned(), &total)
        },
        charts: charts(&wanted, &over_time),
        rows,
        pager,
        csv: format!("/ui/usage.csv{}", asked.with(&[("page", "")])),
        whose,
    };
    Ok(if status.is_success() { show(&template) } else { page(status, &template) })
}

/// Requests and tokens over time. Steps without any have a place too.
fn charts(wanted: &Wanted, over_time: &[(Group, Sum)]) -> Vec<Chart> {
    let end = Moment::now().0;
    let steps = (0..).map(|nth| wanted.from + nth * wanted.step_ms).take_while(|at| *at <= end);
    let pattern = if wanted.step_ms == HOUR_MS { "%H:%M" } else { "%-d %b" };
    let sums: Vec<(String, Sum)> = steps
        .map(|at| {
            let found = over_time.iter().find(|(group, _)| *group == Group::Time(Moment(at)));
            (stamp(Moment(at), pattern), found.map(|(_, sum)| *sum).unwrap_or_default())
        })
        .collect();
    let bars = |parts: &dyn Fn(&Sum) -> [i64; 2]| -> Vec<Bar> {
        sums.iter().map(|(label, sum)| Bar { label: label.clone(), parts: parts(sum) }).collect()
    };
    vec![
        Chart::new(
            "Requests",
            [("Answered", "one"), ("Errors", "bad")],
            &bars(&|sum| [sum.requests - sum.errors, sum.errors]),
        ),
        Chart::new(
            "Tokens",
            [("Prompt", "one"), ("Completion", "two")],
            &bars(&|sum| [sum.prompt_tokens, sum.completion_tokens]),
        ),
    ]
}

async fn export(member: Member, asked: Asked) -> UiResult {
    let wanted = wanted(&asked);
    let all = Page { offset: 0, limit: CSV_ROWS_MAX };
    let listed = member.app.report_usage(member.who(), wanted.group_by, wanted.filter, all).await?;
    let (word, ..) = GROUPS.iter().find(|(.., by)| *by == wanted.group_by).unwrap_or(&GROUPS[0]);
    let mut text = format!(
        "{word},requests,errors,prompt_tokens,completion_tokens,bytes_in,bytes_out,first_byte_ms_mean,duration_ms_mean\r\n"
    );
    for (group, sum) in listed.rows {
        let name = match group {
            Group::Time(at) => at.to_string(),
            Group::Id(id) => id.map(|id| id.to_string()).unwrap_or_default(),
            Group::Model(name) => csv_text(&name),
        };
        let mean =
            |sum: i64, count: i64| if count == 0 { String::new() } else { (sum / count / 1000).to_string() };
        let Sum { requests, errors, prompt_tokens, completion_tokens, bytes_in, bytes_out, .. } = sum;
        text.push_str(&format!(
            "{name},{requests},{errors},{prompt_tokens},{completion_tokens},{bytes_in},{bytes_out},{},{}\r\n",
            mean(sum.first_byte_us, sum.first_bytes),
            mean(sum.duration_us, requests)
        ));
    }
    Ok(download("text/csv; charset=utf-8", "usage.csv", text.into()))
}

/// A text as RFC 4180 wants it. What a spreadsheet would take for a formula is marked as text.
fn csv_text(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    match text.contains(['"', ',', '\n', '\r']) || formula {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_file_are_neither_columns_nor_formulas() {
        assert_eq!(csv_text("llama-3"), "llama-3");
        assert_eq!(csv_text("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv_text("=1+1"), "\"'=1+1\"");
    }
}
