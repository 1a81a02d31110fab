//! `pat new`: makes a PAT without an admin service.
//!
//! The record goes to standard output, so that `>> tables.ndjson` adds it to the tables. The PAT itself is shown once, on
//! standard error; it is in no file, and nothing can show it again.

use std::io::Write;
use std::time::{Duration, SystemTime};

use cube_wire::pat::{PatIds, mint};
use cube_wire::record::{ANY_ENTITY, EntityType, PatRecord, ScopeRecord};
use cube_wire::{DomainId, OperationName, PatId, Record, UserId, parse_lifetime};

use super::CliError;
use crate::tables::digest_of;

/// What can be done with PATs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum PatCommand {
    /// Make one: its record on standard output, the PAT itself, once, on standard error.
    New(PatNew),
}

/// Arguments of `pat new`.
#[derive(Clone, Debug, clap::Args)]
pub struct PatNew {
    /// Its owner, by the identifier of a user in the tables.
    #[arg(long, value_name = "UUID")]
    pub user: UserId,
    /// Its identifier [default: a random one].
    #[arg(long, value_name = "UUID")]
    pub id: Option<PatId>,
    /// What to call it.
    #[arg(long)]
    pub name: Option<String>,
    /// How long it is valid: 720h, 1h30m, 30d, 1y [default: for ever].
    #[arg(long, value_name = "LIFETIME", value_parser = parse_lifetime)]
    pub expires_in: Option<Duration>,
    /// What it may do, several times: `OPERATION[,OPERATION]@DOMAIN` for a whole domain, with /MODEL for one model, with /* for
    /// every model. DOMAIN is a UUID.
    #[arg(long = "scope", value_name = "SCOPE", value_parser = parse_scope)]
    pub scopes: Vec<Scope>,
    /// It may do whatever its owner may, in every domain.
    #[arg(long)]
    pub full_access: bool,
    /// One line of JSON on standard output instead: {"pat":…,"record":…}.
    #[arg(long)]
    pub json: bool,
}

/// One `--scope`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Vec<ScopeRecord>);

fn parse_scope(text: &str) -> Result<Scope, String> {
    let (operations, entity) =
        text.split_once('@').ok_or("a scope is OPERATION@DOMAIN or OPERATION@DOMAIN/MODEL")?;
    let (domain, model) = match entity.split_once('/') {
        Some((domain, model)) => (domain, Some(model)),
        None => (entity, None),
    };
    let domain: DomainId = domain.parse().map_err(|error| format!("domain `{domain}`: {error}"))?;
    let (entity_type, entity_id) = match model {
        Some("") => return Err("a model has a name; leave the / out for the whole domain".to_owned()),
        Some(model) => (EntityType::Models, model),
        None => (EntityType::Domains, ANY_ENTITY),
    };
    let scope_of = |operation: &str| {
        let operation = OperationName::from(operation);
        if !operation.is_known() {
            return Err(format!("unknown operation `{operation}`"));
        }
        let entity_type = entity_type.clone();
        Ok(ScopeRecord { entity_type, domain_id: Some(domain), entity_id: entity_id.to_owned(), operation })
    };
    operations.split(',').map(scope_of).collect::<Result<_, _>>().map(Scope)
}

impl PatNew {
    pub(super) fn run(&self, out: &mut dyn Write, aside: &mut dyn Write) -> Result<(), CliError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(CliError::Random)?;
        let pat = match self.id {
            Some(id) => id,
            None => random_id()?,
        };
        let secret = mint(PatIds { user: self.user, pat }, &random);
        random.fill(0);
        let record = Record::Pat(PatRecord {
            id: pat,
            user: self.user,
            name: self.name.clone(),
            digest: digest_of(secret.as_bytes()),
            expires_at: self.expires_in.map(|lifetime| now_unix_s() + lifetime.as_secs()),
            not_before: None,
            revoked: false,
            full_access: self.full_access,
            cidrs: Vec::new(),
            previous: None,
            scopes: self.scopes.iter().flat_map(|scope| scope.0.clone()).collect(),
        });
        if self.json {
            // A PAT has no character that JSON would write otherwise.
            writeln!(out, r#"{{"pat":"{}","record":{}}}"#, secret.expose(), record.to_line())?;
            return Ok(());
        }
        writeln!(out, "{}", record.to_line())?;
        out.flush()?;
        writeln!(aside, "{}", secret.expose())?;
        writeln!(aside, "Keep it: this is the only time it is shown. The line above goes into the tables.")?;
        if self.scopes.is_empty() && !self.full_access {
            writeln!(aside, "It has no scope and can do nothing; give it --scope or --full-access.")?;
        }
        Ok(())
    }
}

fn random_id() -> Result<PatId, CliError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(CliError::Random)?;
    Ok(PatId(uuid::Builder::from_random_bytes(random).into_uuid()))
}

fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Command;
    use crate::tables::{NoResolver, Operation, OperationSet, Tables, Verifier};

    #[derive(Parser)]
    struct Arguments {
        #[command(subcommand)]
        command: Command,
    }

    const USER: &str = "00000000-0000-4000-8000-000000000001";
    const DOMAIN: &str = "00000000-0000-4000-8000-00000000000d";

    fn run(arguments: &[&str]) -> (String, String) {
        let arguments = ["cube-proxy", "pat", "new", "--user", USER].iter().chain(arguments);
        let (mut out, mut aside) = (Vec::new(), Vec::new());
        Arguments::try_parse_from(arguments).unwrap().command.run(&mut out, &mut aside).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(aside).unwrap())
    }

    /// What the tables make of a minted PAT: what it may do in the domain, and on the model `m`.
    fn rights_of(record: &str, pat: &str) -> (OperationSet, OperationSet) {
        let lines = format!(
            r#"{{"kind":"cluster","id":"c","dialect":"openai","endpoints":[{{"url":"http://127.0.0.1:1"}}]}}
{{"kind":"domain","id":"{DOMAIN}","status":"enabled"}}
{{"kind":"model","domain":"{DOMAIN}","name":"m","cluster":"c"}}
{{"kind":"user","id":"{USER}","status":"enabled"}}
{{"kind":"grant","user":"{USER}","domain":"{DOMAIN}","operations":["llm_read","llm_embeddings"]}}
{record}"#
        );
        let records = cube_wire::read_records(lines.as_bytes()).map(|(line, record)| (line, record.unwrap()));
        let tables = Tables::compile(records, 1, &mut NoResolver).unwrap();
        let who = Verifier::new(1)
            .verify(&tables, pat.as_bytes(), now_unix_s(), std::net::Ipv4Addr::LOCALHOST.into())
            .unwrap();
        let domain = tables.domain(DOMAIN.as_bytes()).unwrap();
        let rights = tables.rights(&who, domain);
        (rights.domain, rights.on(tables.model(domain, b"m").unwrap()))
    }

    #[test]
    fn a_minted_pat_works_with_the_record_that_was_printed_beside_it() {
        let scope = format!("llm_read,llm_chat_completions@{DOMAIN}");
        let model_scope = format!("llm_embeddings@{DOMAIN}/m");
        let (record, aside) =
            run(&["--scope", &scope, "--scope", &model_scope, "--expires-in", "30d", "--name", "ci"]);
        let pat = aside.lines().next().unwrap();
        assert!(!record.contains(pat) && record.contains(r#""name":"ci""#) && record.contains("expires_at"));
        let read = OperationSet::of(&[Operation::LlmRead]);
        let both = OperationSet::of(&[Operation::LlmRead, Operation::LlmEmbeddings]);
        assert_eq!(rights_of(&record, pat), (read, both));
    }

    #[test]
    fn as_json_everything_is_one_line_on_standard_output() {
        let (out, aside) = run(&["--full-access", "--json"]);
        assert_eq!((out.lines().count(), aside.as_str()), (1, ""));
        let line: serde_json::Value = serde_json::from_str(&out).unwrap();
        let all = OperationSet::of(&[Operation::LlmRead, Operation::LlmEmbeddings]);
        assert_eq!(rights_of(&line["record"].to_string(), line["pat"].as_str().unwrap()), (all, all));
    }

    #[test]
    fn two_pats_are_never_the_same() {
        assert_ne!(run(&[]).1.lines().next(), run(&[]).1.lines().next());
    }

    #[test]
    fn a_scope_that_would_never_hold_is_refused_when_it_is_written() {
        for scope in
            ["llm_read", "@", "llm_read@demo", &format!("execute@{DOMAIN}"), &format!("llm_read@{DOMAIN}/")]
        {
            assert!(parse_scope(scope).is_err(), "{scope}");
        }
        let scope = parse_scope(&format!("llm_read@{DOMAIN}/org/model")).unwrap();
        assert_eq!(
            (scope.0[0].entity_id.as_str(), &scope.0[0].entity_type),
            ("org/model", &EntityType::Models)
        );
    }
}
