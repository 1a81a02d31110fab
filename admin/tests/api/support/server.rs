//! One cube-admin process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::database::Database;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cube-admin");
/// The first superadmin of every test.
pub(crate) const ADMIN: (&str, &str) = ("admin", "correct horse battery");

/// A running cube-admin; it ends, and its state goes, with this value.
pub(crate) struct Server {
    process: Child,
    state: PathBuf,
    database: Database,
    /// `http://127.0.0.1:…`
    pub(crate) api: String,
    /// `http://127.0.0.1:…`
    pub(crate) feed: String,
    /// The same of its ops listener.
    pub(crate) ops: String,
    /// The superadmin's access token.
    pub(crate) admin: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON; `null` if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    /// The body, if the status is as expected.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }

    /// The error's code, if the status is as expected and the body has the form that all errors have.
    #[track_caller]
    pub(crate) fn expect_error(&self, status: u16) -> String {
        let body = self.expect(status);
        assert!(body["message"].is_string() && body["error"] == body["message"], "{}", self.text);
        body["code"].as_str().expect("a code").to_owned()
    }
}

impl Server {
    /// Starts one with the default settings.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one with more settings (TOML; not the addresses).
    pub(crate) fn start_with(settings: &str) -> Self {
        Self::start_on(Database::new(), settings)
    }

    /// Starts one on a file, whatever others are on.
    pub(crate) fn start_on_file() -> Self {
        Self::start_on(Database::File, "")
    }

    fn start_on(database: Database, settings: &str) -> Self {
        let state = new_state(settings);
        let mut making =
            command(&state, &database, &["user", "create", "--superadmin", "--username", ADMIN.0]);
        let mut making = making.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        let mut input = making.stdin.take().expect("piped");
        writeln!(input, "{}", ADMIN.1).expect("it reads the password");
        drop(input);
        assert!(making.wait().expect("it ends").success(), "no first superadmin");
        let (process, [api, feed, ops]) = spawn(&state, &database);
        let mut server = Self { process, state, database, api, feed, ops, admin: String::new() };
        server.admin = server.log_in(ADMIN.0, ADMIN.1);
        server
    }

    /// Another one on the same database, with a state directory of its own and the same fleet key. Only where that is on a server.
    pub(crate) fn replica(&self) -> Self {
        let state = new_state("");
        std::fs::copy(self.state.join("fleet.key"), state.join("fleet.key")).expect("a key");
        let database = self.database.again();
        let (process, [api, feed, ops]) = spawn(&state, &database);
        Self { process, state, database, api, feed, ops, admin: self.admin.clone() }
    }

    /// Ends it, takes its file into a new database of the tests' server, and starts it again on that. Returns what the command said.
    pub(crate) fn move_to_server(&mut self) -> String {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
        self.database = Database::new();
        let said = self.run_import().expect("it is imported");
        (self.process, [self.api, self.feed, self.ops]) = spawn(&self.state, &self.database);
        said
    }

    /// Takes the file of the state directory into the database: what the command said, or why not.
    pub(crate) fn run_import(&self) -> Result<String, String> {
        let file = self.state.join("cube-admin.sqlite");
        let mut import =
            command(&self.state, &self.database, &["import", "--from", file.to_str().expect("text")]);
        let output = import.stderr(Stdio::piped()).output().expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// The directory with database and fleet key.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// Kills it without a word and starts it again, on other ports.
    pub(crate) fn kill_and_restart(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
        (self.process, [self.api, self.feed, self.ops]) = spawn(&self.state, &self.database);
    }

    /// Every file of the state directory, one after the other: the database with its log, and the program's log.
    pub(crate) fn whole_state(&self) -> Vec<u8> {
        let files = std::fs::read_dir(&self.state).expect("the state is there");
        let paths = files.map(|file| file.expect("a file").path()).filter(|path| path.is_file());
        let mut whole: Vec<u8> = paths.flat_map(|path| std::fs::read(path).expect("readable")).collect();
        whole.extend(self.database.everything(&self.state));
        whole
    }

    /// The first column, a text, of every row that the database has for a query.
    pub(crate) fn texts(&self, query: &str) -> Vec<String> {
        self.database.texts(&self.state, query)
    }

    /// Which history of changes the database is in, as the feed says in its first line.
    pub(crate) fn epoch(&self) -> String {
        let url = format!("{}/feed/v1/tables?node=asking", self.feed);
        let request = ureq::get(url).header("authorization", format!("Bearer {}", node_token(self)));
        let mut reader = BufReader::new(request.call().expect("the feed opens").into_body().into_reader());
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        match cube_wire::feed::Frame::from_line(line.as_bytes()) {
            Some(Ok(cube_wire::feed::Frame::Snapshot { epoch, .. })) => epoch,
            other => panic!("not a snapshot: {other:?}"),
        }
    }

    /// The records that a new proxy would get.
    pub(crate) fn snapshot(&self) -> Vec<Value> {
        use cube_wire::feed::Frame;
        let url = format!("{}/feed/v1/tables?node=asking", self.feed);
        let request = ureq::get(url).header("authorization", format!("Bearer {}", node_token(self)));
        let reader = BufReader::new(request.call().expect("the feed opens").into_body().into_reader());
        let mut lines = reader.lines().map(|line| line.expect("a line"));
        lines.next().expect("a heading");
        let records = lines.take_while(|line| Frame::from_line(line.as_bytes()).is_none());
        records.map(|line| serde_json::from_str(&line).expect("JSON")).collect()
    }

    /// An access token.
    #[track_caller]
    pub(crate) fn log_in(&self, username: &str, password: &str) -> String {
        let login = json!({ "username": username, "password": password });
        let tokens = self.call("POST", "/users/tokens/issue", "", Some(&login)).expect(201);
        tokens["access_token"].as_str().expect("a token").to_owned()
    }

    /// Adds a user with the password `password of NAME`; returns the identifier and an access token.
    #[track_caller]
    pub(crate) fn add_user(&self, username: &str) -> (String, String) {
        let secret = format!("password of {username}");
        let user = json!({ "credentials": { "username": username, "secret": secret } });
        let user = self.call("POST", "/users", &self.admin, Some(&user)).expect(201);
        (user["id"].as_str().expect("an id").to_owned(), self.log_in(username, &secret))
    }

    /// As the superadmin.
    pub(crate) fn admin_call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call(method, path, &self.admin, body)
    }

    /// With a credential (none if empty), and JSON if there is a body.
    pub(crate) fn call(&self, method: &str, path: &str, credential: &str, body: Option<&Value>) -> Answer {
        let mut headers = Vec::new();
        let authorization = format!("Bearer {credential}");
        if !credential.is_empty() {
            headers.push(("authorization", &*authorization));
        }
        let text = body.map(Value::to_string);
        if text.is_some() {
            headers.push(("content-type", "application/json"));
        }
        request(&format!("{}{path}", self.api), method, &headers, text.as_deref().unwrap_or("").as_bytes())
    }

    /// Any request.
    pub(crate) fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        request(&format!("{}{path}", self.api), method, headers, body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

/// A request of any kind; statuses are answers, not errors.
pub(crate) fn request(url: &str, method: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(std::time::Duration::from_secs(60)))
        .allow_non_standard_methods(true)
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.to_vec()).expect("a request");
    let request = agent.configure_request(request).build();
    let mut response = agent.run(request).unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    let headers = response.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned())).collect();
    Answer {
        status: response.status().as_u16(),
        headers,
        text: response.body_mut().read_to_string().expect("text"),
    }
}

/// A directory for the test's state, with settings.
fn new_state(settings: &str) -> PathBuf {
    let state = std::env::temp_dir().join(format!("cube-admin-test-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&state).expect("a directory for the test's state");
    let addresses = "[api]\naddress = \"127.0.0.1:0\"\n[feed]\naddress = \"127.0.0.1:0\"\n[ops]\naddress = \"127.0.0.1:0\"\n";
    std::fs::write(state.join("admin.toml"), format!("{addresses}{settings}")).expect("a settings file");
    state
}

fn command(state: &Path, database: &Database, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.envs(database.url().map(|url| ("CUBE_ADMIN_DATABASE", url)));
    command.arg("--config").arg(state.join("admin.toml")).arg("--state").arg(state).args(arguments);
    command
        .stderr(std::fs::File::options().create(true).append(true).open(state.join("log")).expect("a log"));
    command
}

fn spawn(state: &Path, database: &Database) -> (Child, [String; 3]) {
    let mut process = command(state, database, &["serve"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    let output = process.stdout.take().expect("piped");
    BufReader::new(output).read_line(&mut line).expect("it says when it is ready");
    let log = || std::fs::read_to_string(state.join("log")).unwrap_or_default();
    let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line} {}", log()));
    let address = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
    (process, ["api", "feed", "ops"].map(address))
}

/// What a node of the fleet shows.
pub(crate) fn node_token(server: &Server) -> String {
    let text = std::fs::read_to_string(server.state().join("fleet.key")).expect("a key");
    cube_wire::seal::FleetKey::from_text(&text).expect("a good key").node_token()
}

/// As a node of the fleet.
pub(crate) fn post_to_feed(server: &Server, path: &str, body: &str) -> Answer {
    let authorization = format!("Bearer {}", node_token(server));
    request(&format!("{}{path}", server.feed), "POST", &[("authorization", &authorization)], body.as_bytes())
}
