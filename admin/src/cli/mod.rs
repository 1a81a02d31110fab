//! `cube-admin user|domain|role|pat|api-key|deployment|model|route|node …`: a client of the HTTP API for people with a shell.
//!
//! Every command is a row of [`spec::RESOURCES`]: a method, a path, what the arguments become, and the columns of the table that is
//! printed. `--json` prints what the API answered instead. The rules are the API's; nothing is checked twice.

mod client;
mod spec;
mod table;

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

use crate::app::users::NewUser;
use client::Client;
use spec::{Kind, Parameter, Place, RESOURCES, Spec};

/// The commands that call the API, for the program's own.
#[must_use]
pub fn commands() -> Vec<Command> {
    let resource = |(name, about, specs): &(&'static str, &'static str, &'static [Spec])| {
        let command =
            Command::new(*name).about(*about).subcommand_required(true).arg_required_else_help(true);
        command.subcommands(specs.iter().map(command_of))
    };
    let login = Command::new("login")
        .about("Log in; the tokens are kept in a file that only its owner reads")
        .arg(Arg::new("username").required(true).help("Username or e-mail address"));
    RESOURCES.iter().map(resource).chain([login]).map(with_connection).collect()
}

/// Whether a command of this name is one of ours.
#[must_use]
pub fn has(name: &str) -> bool {
    name == "login" || RESOURCES.iter().any(|(found, ..)| *found == name)
}

/// The user, without a password, that `user create --superadmin` is to make without the API.
#[must_use]
pub fn first_superadmin(name: &str, matches: &ArgMatches) -> Option<NewUser> {
    let (verb, matches) = matches.subcommand()?;
    if (name, verb) != ("user", "create") || !matches.get_flag("superadmin") {
        return None;
    }
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    Some(NewUser {
        username: text("username")?,
        email: text("email"),
        first_name: text("first-name").unwrap_or_default(),
        last_name: text("last-name").unwrap_or_default(),
        superadmin: true,
        ..NewUser::default()
    })
}

fn with_connection(command: Command) -> Command {
    let global = |arg: Arg| arg.global(true).num_args(1);
    let api = Arg::new("api").long("api").value_name("URL").env("CUBE_ADMIN_API");
    let token =
        Arg::new("token").long("token").value_name("TOKEN").env("CUBE_ADMIN_TOKEN").hide_env_values(true);
    let file = Arg::new("credentials").long("credentials").value_name("FILE").env("CUBE_ADMIN_CREDENTIALS");
    let ca = Arg::new("ca").long("ca").value_name("FILE").env("CUBE_ADMIN_CA");
    let wait = Arg::new("wait").long("wait").value_name("SECONDS");
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).global(true);
    command
        .arg(global(api.help("Where the API is [default: that of the login, else http://127.0.0.1:8081]")))
        .arg(global(token.help("An access token or a PAT, instead of the login's")))
        .arg(global(file.help("Where the login is kept").value_parser(clap::value_parser!(PathBuf))))
        .arg(global(
            ca.help("Who may have signed the API's certificate (PEM) [default: whom the system trusts]")
                .value_parser(clap::value_parser!(PathBuf)),
        ))
        .arg(global(wait.help("Wait until proxies have the change in force, at most so long")))
        .arg(json.help("Print the API's answer"))
}

fn command_of(spec: &Spec) -> Command {
    spec.parameters.iter().fold(Command::new(spec.verb).about(spec.about), |command, parameter| {
        let arg = Arg::new(parameter.name).help(parameter.help).required(parameter.required);
        let arg = match parameter.kind {
            Kind::Flag => arg.long(parameter.name).action(ArgAction::SetTrue),
            Kind::Texts | Kind::Scopes | Kind::Endpoints => {
                arg.long(parameter.name).action(ArgAction::Append)
            }
            Kind::Password => return command,
            Kind::Text | Kind::Number | Kind::Json => match parameter.place {
                Place::Path => arg,
                Place::Query | Place::Body(_) => arg.long(parameter.name).allow_hyphen_values(true),
            },
        };
        command.arg(arg)
    })
}

/// Does what one of [`commands`] says.
///
/// # Errors
/// The API refused, or cannot be reached.
pub fn run(name: &str, matches: &ArgMatches) -> anyhow::Result<()> {
    let mut client = Client::new(
        matches.get_one::<PathBuf>("credentials").cloned(),
        matches.get_one::<String>("api").cloned(),
        matches.get_one::<String>("token").cloned(),
        matches.get_one::<PathBuf>("ca").map(PathBuf::as_path),
    )?;
    if name == "login" {
        let username = matches.get_one::<String>("username").context("a username")?;
        let file = client.log_in(username, &password()?)?;
        println!("logged in; tokens are in {}", file.display());
        return Ok(());
    }
    let specs = RESOURCES.iter().find(|(found, ..)| *found == name).map(|(.., specs)| *specs);
    let (verb, matches) = matches.subcommand().context("which command?")?;
    let spec =
        specs.and_then(|specs| specs.iter().find(|spec| spec.verb == verb)).context("no such command")?;
    client.wait = matches.get_one::<String>("wait").cloned();
    let (path, body) = request_of(spec, matches)?;
    let answer = client.call(spec.method, &path, body.as_ref())?;
    if matches.get_flag("json") {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        print!("{}", table::render(&answer, spec.list, spec.columns));
        if let Some(secret) = answer["secret"].as_str() {
            print!("{}", secret_note(client.api(), secret));
        }
        if let Some(token) = answer["token"].as_str() {
            println!("\nThe API key; it is not shown again:\n\n  {token}");
        }
    }
    Ok(())
}

/// What is said beside a PAT's plain text, which is shown this once.
fn secret_note(api: &str, secret: &str) -> String {
    format!(
        "\nThe PAT; it is not shown again:\n\n  {secret}\n\nTry it:\n\n  curl -H 'Authorization: Bearer {secret}' {api}/users/profile\n"
    )
}

/// The path with its query, and the body.
fn request_of(spec: &Spec, matches: &ArgMatches) -> anyhow::Result<(String, Option<Value>)> {
    let mut path = spec.path.to_owned();
    let (mut query, mut body) = (String::new(), Value::Object(Map::new()));
    for parameter in spec.parameters {
        let Some(value) = value_of(parameter, matches)? else { continue };
        let text = || value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match parameter.place {
            Place::Path => path = path.replace(&format!("{{{}}}", parameter.name), &escaped(&text())),
            Place::Query => {
                query.push(if query.is_empty() { '?' } else { '&' });
                query += &format!("{}={}", parameter.name, escaped(&text()));
            }
            Place::Body("") => merge(&mut body, value),
            Place::Body(pointer) => put(&mut body, pointer, value),
        }
    }
    let sends = spec.parameters.iter().any(|parameter| matches!(parameter.place, Place::Body(_)));
    Ok((path + &query, sends.then_some(body)))
}

fn value_of(parameter: &Parameter, matches: &ArgMatches) -> anyhow::Result<Option<Value>> {
    let text = || matches.get_one::<String>(parameter.name);
    let texts = || matches.get_many::<String>(parameter.name).map(|texts| texts.collect::<Vec<_>>());
    Ok(match parameter.kind {
        Kind::Text => text().map(|text| json!(text)),
        Kind::Number => match text() {
            Some(text) => Some(json!(text.parse::<u64>().with_context(|| format!("--{}", parameter.name))?)),
            None => None,
        },
        Kind::Flag => matches.get_flag(parameter.name).then_some(json!(true)),
        Kind::Json => text().map(|text| json_of(text)).transpose()?,
        Kind::Texts => texts().map(|texts| json!(texts)),
        Kind::Scopes => texts().map(|texts| collect(&texts, scope_of)).transpose()?,
        Kind::Endpoints => texts().map(|texts| collect(&texts, |text| Ok(endpoint_of(text)))).transpose()?,
        Kind::Password => Some(json!(password()?)),
    })
}

fn collect(texts: &[&String], read: impl Fn(&str) -> anyhow::Result<Value>) -> anyhow::Result<Value> {
    Ok(Value::Array(texts.iter().map(|text| read(text)).collect::<Result<_, _>>()?))
}

/// JSON, or `@FILE` with it, or `@-` for standard input.
fn json_of(text: &str) -> anyhow::Result<Value> {
    let text = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some("-") => std::io::read_to_string(std::io::stdin())?,
        Some(file) => std::fs::read_to_string(file).with_context(|| file.to_owned())?,
    };
    Ok(serde_json::from_str(&text)?)
}

/// `OPERATION@DOMAIN`, `OPERATION@DOMAIN/MODEL`, `users:OPERATION[/USER]`, or a JSON object as the API takes it.
fn scope_of(text: &str) -> anyhow::Result<Value> {
    if text.starts_with('{') {
        return Ok(serde_json::from_str(text)?);
    }
    if let Some(rest) = text.strip_prefix("users:") {
        let (operation, user) = rest.split_once('/').unwrap_or((rest, "*"));
        return Ok(json!({ "entity_type": "users", "entity_id": user, "operation": operation }));
    }
    let Some((operation, place)) = text.split_once('@') else {
        bail!("`{text}` is no scope: OPERATION@DOMAIN, OPERATION@DOMAIN/MODEL, users:OPERATION or JSON");
    };
    let (entity_type, (domain, entity)) = match place.split_once('/') {
        None => ("domains", (place, "*")),
        Some(place) => ("models", place),
    };
    Ok(
        json!({ "entity_type": entity_type, "domain_id": domain, "entity_id": entity, "operation": operation }),
    )
}

/// `URL`, or `URL,WEIGHT`.
fn endpoint_of(text: &str) -> Value {
    match text.rsplit_once(',').and_then(|(url, weight)| Some((url, weight.parse::<u32>().ok()?))) {
        Some((url, weight)) => json!({ "url": url, "weight": weight }),
        None => json!({ "url": text }),
    }
}

/// Puts `value` where a JSON pointer says, and makes the objects on the way.
fn put(body: &mut Value, pointer: &str, value: Value) {
    let mut at = body;
    for name in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[name];
    }
    *at = value;
}

fn merge(body: &mut Value, value: Value) {
    match (body, value) {
        (Value::Object(body), Value::Object(more)) => body.extend(more),
        (body, value) => *body = value,
    }
}

/// Everything that is not harmless in every part of a URL, as `%XX`.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            _ => escaped += &format!("%{byte:02X}"),
        }
        escaped
    })
}

/// A password: `CUBE_ADMIN_PASSWORD`, else the first line of standard input. Never an argument: those are seen by everybody on the machine.
///
/// # Errors
/// Standard input cannot be read.
pub fn password() -> anyhow::Result<String> {
    if let Ok(password) = std::env::var("CUBE_ADMIN_PASSWORD") {
        return Ok(password);
    }
    if std::io::stdin().is_terminal() {
        eprint!("password (it is shown): ");
    }
    let mut line = Vec::new();
    for byte in std::io::stdin().lock().bytes() {
        match byte? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    let line = String::from_utf8(line).context("the password is not UTF-8")?;
    Ok(line.trim_end_matches('\r').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_well_formed_and_fills_its_path() {
        Command::new("test").subcommands(commands()).debug_assert();
        for (name, _, specs) in RESOURCES {
            for spec in *specs {
                let places =
                    spec.parameters.iter().filter(|parameter| matches!(parameter.place, Place::Path));
                let filled = places.fold(spec.path.to_owned(), |path, parameter| {
                    assert!(parameter.required && path.contains(&format!("{{{}}}", parameter.name)));
                    path.replace(&format!("{{{}}}", parameter.name), "")
                });
                assert!(!filled.contains('{'), "{name} {}: {filled}", spec.verb);
            }
        }
    }

    #[test]
    fn scopes_are_written_shortly_and_models_may_have_colons_and_slashes() {
        let scope = |text| scope_of(text).unwrap();
        assert_eq!(scope("llm_read@d")["entity_type"], "domains");
        let model = scope("llm_chat_completions@d/meta/llama3:1b");
        assert_eq!((&model["domain_id"], &model["entity_id"]), (&json!("d"), &json!("meta/llama3:1b")));
        assert_eq!(scope("users:read")["entity_id"], "*");
        assert_eq!(scope("users:read/u")["entity_id"], "u");
        assert_eq!(scope(r#"{"entity_type":"clients"}"#)["entity_type"], "clients");
        assert!(scope_of("read").is_err());
    }

    #[test]
    fn what_goes_into_a_url_is_escaped() {
        assert_eq!(escaped("a/b c?ä"), "a%2Fb%20c%3F%C3%A4");
        let mut body = json!({});
        put(&mut body, "/credentials/username", json!("ada"));
        assert_eq!(body, json!({ "credentials": { "username": "ada" } }));
    }
}
