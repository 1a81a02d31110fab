//! How long do the PAT entrypoints take with a million PATs in the database?
//!
//! Fills a state directory through the store (if it is empty), serves the API on a port of its own, and calls it like a client would.
//! Prints one line for each entrypoint: median, 99th percentile and longest time. `docs/PERFORMANCE.md` has the numbers.
//!
//! ```sh
//! cargo run --release -p cube-admin --example pat_scale -- STATE_DIRECTORY [USERS [PATS_OF_EACH]]
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cube_admin::app::App;
use cube_admin::app::users::{NewUser, prepare_user};
use cube_admin::clock::Moment;
use cube_admin::settings::Settings;
use cube_admin::store::pats::PatRow;
use cube_admin::store::scopes::ScopeRow;
use cube_admin::store::{pats, scopes, users};
use cube_admin::{http, secrets, serve};
use cube_wire::{PatId, UserId};
use serde_json::{Value, json};
use uuid::Uuid;

/// Users that log in and call; one in every so many of all.
const CALLERS: usize = 20;
/// Calls of each entrypoint by each caller.
const CALLS: usize = 25;
/// Users whose rows are written in one transaction.
const USERS_AT_ONCE: usize = 100;
const PASSWORD: &str = "password of everybody";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().context("which state directory?")?);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (user_count, pats_of_each) = (number(10_000)?, number(100)?);
    let mut settings = Settings::default();
    settings.use_state_dir(directory);
    settings.pats.per_user_max = 10_000;
    let app = serve::open(settings.into()).await?;
    fill(&app, user_count, pats_of_each).await?;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let api = format!("http://{}", listener.local_addr()?);
    let service = http::router(app).into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        result = async { axum::serve(listener, service).await } => Ok(result?),
        result = tokio::task::spawn_blocking(move || measure(&api, user_count)) => result?,
    }
}

fn username(number: usize) -> String {
    format!("user{number}")
}

async fn fill(app: &App, user_count: usize, pats_of_each: usize) -> anyhow::Result<()> {
    if users::has_superadmin(&mut app.store.read().await?, None).await? {
        eprintln!("the directory is filled already");
        return Ok(());
    }
    let started = Instant::now();
    let new = NewUser { username: "x".to_owned(), password: Some(PASSWORD.to_owned()), ..NewUser::default() };
    let (prototype, hash) = prepare_user(new).await?;
    let numbers: Vec<usize> = (0..user_count).collect();
    for some in numbers.chunks(USERS_AT_ONCE) {
        let mut tx = app.store.begin().await?;
        for &number in some {
            let (id, username) = (UserId(Uuid::new_v4()), username(number));
            let row = users::UserRow { id, username, superadmin: number == 0, ..prototype.clone() };
            users::insert(&mut tx, &row, hash.as_deref()).await?;
            for pat in 0..pats_of_each {
                let row = pat_row(id, number, pat);
                pats::insert(&mut tx, &row, secrets::pat_digest(row.id.as_bytes())).await?;
                scopes::insert(&mut tx, &scope_row(row.id)).await?;
            }
        }
        tx.commit().await?;
    }
    eprintln!("filled in {:.1?}", started.elapsed());
    Ok(())
}

/// One in ten is revoked in effect: its time is over.
fn pat_row(user: UserId, number: usize, pat: usize) -> PatRow {
    let now = Moment::now();
    let expired = pat % 10 == 9;
    let lifetime = Duration::from_secs(30 * 86_400);
    PatRow {
        id: PatId(Uuid::new_v4()),
        user,
        name: format!("pipeline {number} step {pat}"),
        description: "made to fill the database".to_owned(),
        full_access: false,
        cidrs: Vec::new(),
        issued_at: now,
        expires_at: Some(if expired { now } else { now.after(lifetime) }),
        updated_at: now,
        last_used_at: None,
        revoked_at: None,
        previous_until: None,
    }
}

fn scope_row(pat: PatId) -> ScopeRow {
    ScopeRow {
        id: Uuid::now_v7(),
        pat,
        entity_type: "users".to_owned(),
        domain: None,
        entity_id: "*".to_owned(),
        operation: "read".to_owned(),
    }
}

/// A client with one connection that is kept, as clients have.
struct Client {
    agent: ureq::Agent,
    api: String,
    token: String,
}

impl Client {
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.api));
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let request = request.header("content-type", "application/json");
        let request = request.body(body.map(Value::to_string).unwrap_or_default())?;
        let mut response = self.agent.run(request)?;
        let text = response.body_mut().read_to_string()?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

#[derive(Default)]
struct Times(Vec<(&'static str, Vec<Duration>)>);

impl Times {
    fn of<T>(&mut self, what: &'static str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let started = Instant::now();
        let result = work().context(what)?;
        let took = started.elapsed();
        match self.0.iter_mut().find(|(name, _)| *name == what) {
            Some((_, times)) => times.push(took),
            None => self.0.push((what, vec![took])),
        }
        Ok(result)
    }

    fn print(mut self) {
        println!(
            "{:<28} {:>7} {:>10} {:>10} {:>10}",
            "entrypoint", "calls", "median ms", "p99 ms", "longest ms"
        );
        for (what, times) in &mut self.0 {
            times.sort_unstable();
            let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
            println!("{what:<28} {:>7} {:>10.2} {:>10.2} {:>10.2}", times.len(), at(50), at(99), at(100));
        }
    }
}

fn measure(api: &str, user_count: usize) -> anyhow::Result<()> {
    let mut times = Times::default();
    for caller in 0..CALLERS {
        let number = caller * user_count / CALLERS;
        let agent = ureq::Agent::config_builder().allow_non_standard_methods(true).build().into();
        let mut client = Client { agent, api: api.to_owned(), token: String::new() };
        let login = json!({ "username": username(number), "password": PASSWORD });
        let tokens = times.of("log in", || client.call("POST", "/users/tokens/issue", Some(&login)))?;
        client.token = tokens["access_token"].as_str().context("a token")?.to_owned();
        for _ in 0..CALLS {
            one_round(&mut times, &client, &format!("measured {}", Uuid::new_v4()))?;
            if number == 0 {
                times.of("superadmin: list users", || client.call("GET", "/users?limit=100", None))?;
                let search = format!("/users?username=ser{}", user_count / 2);
                times.of("superadmin: search users", || client.call("GET", &search, None))?;
            }
        }
    }
    times.print();
    Ok(())
}

fn one_round(times: &mut Times, client: &Client, name: &str) -> anyhow::Result<()> {
    let call = |method: &str, path: &str, body: Option<Value>| client.call(method, path, body.as_ref());
    let page = times.of("list", || call("GET", "/pats", None))?;
    ensure!(page["total"].as_u64() >= Some(1), "there are PATs: {page}");
    times.of("list all, last page", || call("GET", "/pats?status=all&limit=100&offset=50", None))?;
    let found = times.of("search by name", || call("GET", "/pats?name=STEP%204", None))?;
    ensure!(found["total"].as_u64() >= Some(1), "one is found: {found}");
    let scopes = json!([{ "entity_type": "users", "entity_id": "*", "operation": "read" }]);
    let new = json!({ "name": name, "duration": "30d", "scopes": scopes });
    let made = times.of("create with a scope", || call("POST", "/pats", Some(new)))?;
    let path = format!("/pats/{}", made["id"].as_str().context("an identifier")?);
    times.of("view", || call("GET", &path, None))?;
    times.of("list scopes", || call("GET", &format!("{path}/scope"), None))?;
    let scopes = json!({ "scopes": [{ "entity_type": "users", "entity_id": "*", "operation": "update" }] });
    times.of("add a scope", || call("PATCH", &format!("{path}/scope/add"), Some(scopes)))?;
    let reset = json!({ "duration": "30d", "grace": "1h" });
    times.of("reset the secret", || call("PATCH", &format!("{path}/secret/reset"), Some(reset)))?;
    times.of("revoke", || call("PATCH", &format!("{path}/secret/revoke"), None))?;
    times.of("delete", || call("DELETE", &path, None))?;
    Ok(())
}
