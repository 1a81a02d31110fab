//! The command line: a client of the same API.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{ADMIN, Server, Value, json, text};

struct Shell<'s> {
    server: &'s Server,
    credentials: PathBuf,
}

impl<'s> Shell<'s> {
    fn new(server: &'s Server) -> Self {
        Self { server, credentials: server.state().join("login").join("credentials.json") }
    }

    /// Output, errors, and whether it worked.
    fn try_run(&self, arguments: &[&str], input: &str) -> (String, String, bool) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cube-admin"));
        command.args(arguments).env("CUBE_ADMIN_API", &self.server.api).env_remove("CUBE_ADMIN_PASSWORD");
        command.env("CUBE_ADMIN_CREDENTIALS", &self.credentials).env_remove("CUBE_ADMIN_TOKEN");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (text(output.stdout), text(output.stderr), output.status.success())
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], input: &str) -> String {
        let (output, errors, worked) = self.try_run(arguments, input);
        assert!(worked, "{arguments:?}: {output}{errors}");
        output
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[arguments, &["--json"]].concat(), "")).expect("JSON")
    }
}

#[test]
fn everything_from_a_login_to_a_revoked_pat_works_from_a_shell() {
    let server = Server::start();
    let shell = Shell::new(&server);
    let (_, errors, worked) = shell.try_run(&["user", "list"], "");
    assert!(!worked && errors.contains("cube-admin login"), "{errors}");
    let (_, errors, worked) = shell.try_run(&["login", ADMIN.0], "wrong password\n");
    assert!(!worked && errors.starts_with("401"), "{errors}");
    shell.run(&["login", ADMIN.0], &format!("{}\n", ADMIN.1));
    let mode = std::fs::metadata(&shell.credentials).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let made = shell.run(&["user", "create", "--username", "ada", "--tag", "eng"], "password of ada\n");
    assert!(made.starts_with("ID ") && made.contains("ada"), "{made}");
    let users = shell.json(&["user", "list", "--username", "ada"]);
    let ada = text(&users["users"][0], "id");
    server.log_in("ada", "password of ada");
    let domain = text(&shell.json(&["domain", "create", "--name", "research", "--route", "research"]), "id");
    let role = ["role", "create", &domain, "--name", "chatters", "--action", "llm_chat_completions"];
    shell.run(&[&role[..], &["--action", "read", "--member", &ada]].concat(), "");
    let roles = shell.run(&["role", "list", &domain], "");
    assert!(roles.contains("admin") && roles.contains("chatters"), "{roles}");

    let scope = format!("llm_chat_completions@{domain}/llama3.2:1b");
    let made = shell.run(&["pat", "create", "--name", "ci", "--duration", "30d", "--scope", &scope], "");
    let secret = made.split_whitespace().find(|word| word.starts_with("pat_")).expect("the PAT").to_owned();
    assert!(made.contains("curl -H"), "{made}");
    server.call("GET", "/users/profile", &secret, None).expect(200);
    let pats = shell.json(&["pat", "list"]);
    let pat = text(&pats["pats"][0], "id");
    let scopes = shell.run(&["pat", "scopes", &pat], "");
    assert!(scopes.contains("llama3.2:1b"), "{scopes}");
    assert_eq!(shell.run(&["pat", "revoke", &pat, "--wait", "1"], ""), "ok\n");
    server.call("GET", "/users/profile", &secret, None).expect_error(401);
    assert!(shell.run(&["pat", "list", "--status", "revoked"], "").contains("ci"));

    let (_, errors, worked) = shell.try_run(&["pat", "view", "a/../b"], "");
    assert!(!worked && errors.starts_with("404"), "{errors}");
    let (_, errors, worked) = shell.try_run(&["user", "list", "--token", &secret], "");
    assert!(!worked && errors.starts_with("401"), "{errors}");
    shell.run(&["node", "list"], "");
}

/// Method: the token that is kept is put in the place of one that is over; the answer of the API is the same to both. So the new one has an hour,
/// however slow the machine is.
#[test]
fn a_login_is_renewed_when_its_access_token_is_refused() {
    let server = Server::start();
    let shell = Shell::new(&server);
    shell.run(&["login", ADMIN.0], &format!("{}\n", ADMIN.1));
    let kept = || -> Value {
        let text = std::fs::read_to_string(&shell.credentials).expect("a login");
        serde_json::from_str(&text).expect("JSON")
    };
    let login = kept();
    let mut over = login.clone();
    over["access_token"] = json!("over");
    std::fs::write(&shell.credentials, over.to_string()).expect("written");
    shell.run(&["user", "profile"], "");
    let renewed = kept();
    assert!(renewed["access_token"] != "over" && renewed["refresh_token"] != login["refresh_token"]);
    // It is used as long as it is good.
    shell.run(&["user", "profile"], "");
    assert_eq!(kept(), renewed);
}

#[test]
fn commands_that_need_no_server_work_without_one() {
    let server = Server::start();
    let shell = Shell::new(&server);
    let state = server.state().join("another");
    let state = state.to_str().expect("text");
    let key = shell.run(&["fleet-key", "--state", state], "");
    let made = std::fs::read_to_string(key.trim()).expect("a key");
    assert_eq!(shell.run(&["fleet-key", "--state", state], ""), key);
    assert_eq!(std::fs::read_to_string(key.trim()).expect("a key"), made);
    let first = ["user", "create", "--superadmin", "--username", "root", "--state", state];
    uuid::Uuid::parse_str(shell.run(&first, "a long password\n").trim()).expect("an identifier");
    let (_, errors, worked) = shell.try_run(&first, "a long password\n");
    assert!(!worked && errors.contains("superadmin already"), "{errors}");
    for name in ["bash", "zsh", "fish"] {
        assert!(shell.run(&["completion", name], "").contains("add-scope"));
    }
    let described: Value = serde_json::from_str(&shell.run(&["openapi"], "")).expect("JSON");
    assert!(described["paths"]["/pats/{id}/secret/reset"].is_object());
}

#[test]
fn a_model_gets_a_place_to_be_served_and_a_rule_around_it_from_a_shell() {
    let server = Server::start();
    let shell = Shell::new(&server);
    shell.run(&["login", ADMIN.0], &format!("{}\n", ADMIN.1));
    let domain = text(&shell.json(&["domain", "create", "--name", "research"]), "id");

    let credential = r#"{"endpoints":[{"url":"http://127.0.0.1:9001","credential":{"header":"authorization","value":"Bearer hidden"}}]}"#;
    let made = shell.json(&["deployment", "create", "--name", "gpu", "--json-body", credential]);
    assert_eq!(made["endpoints"][0]["credential_set"], true, "{made}");
    let endpoints = ["--endpoint", "http://127.0.0.1:9002,3", "--endpoint", "http://127.0.0.1:9003"];
    let plain = [&["deployment", "create", "--name", "cpu", "--dialect", "ollama"], &endpoints[..]].concat();
    let made = shell.json(&plain);
    assert_eq!((&made["dialect"], &made["endpoints"][0]["weight"]), (&"ollama".into(), &3.into()), "{made}");
    shell.run(&["deployment", "update", "cpu", "--description", "slow"], "");
    let viewed = shell.json(&["deployment", "view", "cpu"]);
    assert_eq!(
        (&viewed["description"], viewed["endpoints"].as_array().map(Vec::len)),
        (&"slow".into(), Some(2))
    );
    let listed = shell.run(&["deployment", "list"], "");
    assert!(listed.contains("gpu") && listed.contains("cpu") && !listed.contains("hidden"), "{listed}");

    let (_, errors, worked) =
        shell.try_run(&["model", "create", &domain, "--name", "m", "--deployment", "none"], "");
    assert!(!worked && errors.starts_with("404"), "{errors}");
    shell.run(&["domain", "default-deployment", &domain, "--deployment", "cpu"], "");
    shell.run(&["model", "create", &domain, "--name", "org/m:1b", "--upstream-model", "m"], "");
    shell.run(&["model", "update", &domain, "org/m:1b", "--deployment", "gpu"], "");
    let model = shell.json(&["model", "view", &domain, "org/m:1b"]);
    assert_eq!((&model["deployment"], &model["upstream_model"]), (&"gpu".into(), &"m".into()), "{model}");
    assert!(shell.run(&["model", "list", &domain], "").contains("org/m:1b"));

    let matchers = r#"[{"condition":"path","pattern":"/v1/special","is_regex":false}]"#;
    let create = ["route", "create", "--name", "special", "--deployment", "gpu", "--priority", "7"];
    shell.run(
        &[&create[..], &["--domain", &domain, "--operation", "llm_read", "--matchers", "@-"]].concat(),
        matchers,
    );
    let rule = shell.json(&["route", "view", "special"]);
    assert_eq!(
        (&rule["priority"], &rule["matchers"][0]["pattern"]),
        (&7.into(), &"/v1/special".into()),
        "{rule}"
    );
    let (_, errors, worked) = shell.try_run(&["deployment", "delete", "gpu"], "");
    assert!(!worked && errors.starts_with("409"), "{errors}");
    shell.run(
        &[
            "route",
            "replace",
            "special",
            "--json-body",
            r#"{"name":"special","target_url":"http://127.0.0.1:9004","default_rule":true}"#,
        ],
        "",
    );
    assert!(shell.run(&["route", "list"], "").contains("http://127.0.0.1:9004"));

    shell.run(&["route", "delete", "special"], "");
    shell.run(&["model", "delete", &domain, "org/m:1b"], "");
    shell.run(&["deployment", "delete", "gpu"], "");
    let (_, errors, worked) = shell.try_run(&["route", "view", "special"], "");
    assert!(!worked && errors.starts_with("404"), "{errors}");
}

#[test]
fn an_api_key_is_made_listed_and_revoked_from_a_shell() {
    let server = Server::start();
    let shell = Shell::new(&server);
    shell.run(&["login", ADMIN.0], &format!("{}\n", ADMIN.1));
    let make = [
        "api-key",
        "create",
        "--name",
        "ci",
        "--duration",
        "30d",
        "--scope",
        "usage:read",
        "--scope",
        "scim",
    ];
    let made = shell.run(&make, "");
    let key = made.lines().map(str::trim).find(|line| line.starts_with("cak_")).expect("the key").to_owned();
    server.call("GET", "/api/v1/usage", &key, None).expect(200);
    let keys = shell.json(&["api-key", "list"]);
    assert_eq!(keys["items"][0]["name"], "ci");
    assert!(!keys.to_string().contains(&key));
    shell.run(&["api-key", "revoke", &text(&keys["items"][0], "id")], "");
    server.call("GET", "/api/v1/usage", &key, None).expect_error(401);
}
