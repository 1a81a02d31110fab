//! Every command that calls the API, as data.

use Kind::{Endpoints, Flag, Json, Number, Password, Scopes, Text, Texts};
use Place::{Body, Path, Query};

/// One command.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) verb: &'static str,
    pub(super) about: &'static str,
    pub(super) method: &'static str,
    /// With `{name}` where a parameter of the path goes.
    pub(super) path: &'static str,
    pub(super) parameters: &'static [Parameter],
    /// The member of the answer that holds rows.
    pub(super) list: Option<&'static str>,
    /// What is printed of each row; nothing: everything.
    pub(super) columns: &'static [&'static str],
}

/// One argument.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) place: Place,
    pub(super) required: bool,
    pub(super) help: &'static str,
}

/// How an argument is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    /// JSON, `@FILE` or `@-`.
    Json,
    /// Several texts.
    Texts,
    Scopes,
    Endpoints,
    /// Not an argument: from the environment or standard input.
    Password,
}

/// Where an argument goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    /// To this JSON pointer; empty: its members are the body's.
    Body(&'static str),
}

const fn at(name: &'static str) -> Parameter {
    Parameter { name, kind: Text, place: Path, required: true, help: "Identifier or name" }
}

const fn query(name: &'static str) -> Parameter {
    Parameter { name, kind: Text, place: Query, required: false, help: "Only those" }
}

const fn need(name: &'static str, kind: Kind, pointer: &'static str, help: &'static str) -> Parameter {
    Parameter { name, kind, place: Body(pointer), required: true, help }
}

const fn may(name: &'static str, kind: Kind, pointer: &'static str, help: &'static str) -> Parameter {
    Parameter { name, kind, place: Body(pointer), required: false, help }
}

macro_rules! spec {
    ($verb:literal, $about:literal, $method:ident $path:literal, [$($parameter:expr),* $(,)?] $(, $list:literal)? ; $($column:literal),*) => {
        Spec {
            verb: $verb,
            about: $about,
            method: stringify!($method),
            path: $path,
            parameters: &[$($parameter),*],
            list: spec!(@ $($list)?),
            columns: &[$($column),*],
        }
    };
    (@) => { None };
    (@ $list:literal) => { Some($list) };
}

/// All resources: name, what it is, and its commands.
pub(super) const RESOURCES: &[(&str, &str, &[Spec])] = &[
    ("user", "Accounts", USER),
    ("domain", "Domains", DOMAIN),
    ("role", "Roles of a domain, their actions and members", ROLE),
    ("pat", "Your own Personal Access Tokens", PAT),
    ("api-key", "Keys for scripts and identity providers (superadmins)", API_KEY),
    ("deployment", "Where models are served (superadmins)", DEPLOYMENT),
    ("model", "Models of a domain", MODEL),
    ("route", "Rules that send requests elsewhere (superadmins)", ROUTE),
    ("node", "Proxies (superadmins)", NODE),
];

const LIMIT: Parameter = Parameter { help: "Rows at most, 1 to 100", ..query("limit") };
const OFFSET: Parameter = Parameter { help: "Rows to skip", ..query("offset") };
const STATUS: Parameter = Parameter { help: "A status, or `all`", ..query("status") };
const NAME: Parameter = need("name", Text, "/name", "Its name");
const JSON: Parameter =
    may("json-body", Json, "", "More members of the request, as JSON, @FILE or @- for standard input");

const USER: &[Spec] = &[
    spec!("list", "Users that you may see", GET "/users",
        [query("username"), query("email"), query("tag"), STATUS, LIMIT, OFFSET], "users";
        "id", "credentials.username", "email", "role", "status"),
    spec!("view", "One user", GET "/users/{id}", [at("id")];),
    spec!("profile", "Yourself", GET "/users/profile", [];),
    spec!("create", "Add a user; the password from CUBE_ADMIN_PASSWORD or standard input", POST "/users", [
        need("username", Text, "/credentials/username", "The username"),
        may("password", Password, "/credentials/secret", ""),
        may("email", Text, "/email", "The e-mail address"),
        may("first-name", Text, "/first_name", "First name"),
        may("last-name", Text, "/last_name", "Last name"),
        may("tag", Texts, "/tags", "A label"),
        may("role", Text, "/role", "`user` or `admin`"),
        may("superadmin", Flag, "/superadmin", "Make the first superadmin, in the state directory itself"),
    ]; "id", "credentials.username", "email", "role"),
    spec!("update", "Change names or labels", PATCH "/users/{id}", [at("id"),
        may("first-name", Text, "/first_name", "First name"),
        may("last-name", Text, "/last_name", "Last name"),
        may("tag", Texts, "/tags", "A label"), JSON];),
    spec!("role", "Make a superadmin (`admin`), or no longer one (`user`)", PATCH "/users/{id}/role",
        [at("id"), need("role", Text, "/role", "`user` or `admin`")]; "id", "credentials.username", "role"),
    spec!("enable", "Let a user act", POST "/users/{id}/enable", [at("id")];
        "id", "credentials.username", "status"),
    spec!("disable", "Stop a user, with all PATs", POST "/users/{id}/disable", [at("id")];
        "id", "credentials.username", "status"),
    spec!("delete", "Delete a user with all PATs", DELETE "/users/{id}", [at("id")];),
];

const DOMAIN: &[Spec] = &[
    spec!("list", "Domains that you may see", GET "/domains", [query("name"), STATUS, LIMIT, OFFSET], "domains";
        "id", "name", "route", "status"),
    spec!("view", "One domain", GET "/domains/{id}", [at("id")];),
    spec!("create", "Make a domain", POST "/domains", [NAME,
        may("route", Text, "/route", "Its name in paths"), may("tag", Texts, "/tags", "A label"), JSON];
        "id", "name", "route", "status"),
    spec!("update", "Change name or labels", PATCH "/domains/{id}", [at("id"),
        may("name", Text, "/name", "New name"), may("tag", Texts, "/tags", "A label"), JSON];),
    spec!("enable", "Open a domain", POST "/domains/{id}/enable", [at("id")];),
    spec!("disable", "Close a domain for all but its administrators", POST "/domains/{id}/disable", [at("id")];),
    spec!("freeze", "Close a domain for all but superadmins", POST "/domains/{id}/freeze", [at("id")];),
    spec!("delete", "Delete a domain with all that is in it", DELETE "/domains/{id}", [at("id")];),
    spec!("members", "Who has which role", GET "/domains/{id}/roles/members", [at("id"), LIMIT, OFFSET];),
    spec!("default-deployment", "Where models without a deployment are served",
        PUT "/api/v1/domains/{id}/default-deployment",
        [at("id"), need("deployment", Text, "/deployment", "A deployment")];),
    spec!("invite", "Invite a user into a role", POST "/domains/{id}/invitations", [at("id"),
        need("user", Text, "/invitee_user_id", "Whom"), need("role", Text, "/role_id", "Into which role")];),
];

const ACTIONS: Parameter = need("action", Texts, "/actions", "An action, like llm_chat_completions");
const MEMBERS: Parameter = need("member", Texts, "/members", "A user's identifier");

const ROLE: &[Spec] = &[
    spec!("list", "Roles of a domain", GET "/domains/{domain}/roles", [at("domain"), LIMIT, OFFSET], "roles";
        "id", "name"),
    spec!("view", "One role", GET "/domains/{domain}/roles/{role}", [at("domain"), at("role")];),
    spec!("actions", "What a role may allow", GET "/domains/roles/available-actions", [];),
    spec!("create", "Make a role", POST "/domains/{domain}/roles", [at("domain"),
        need("name", Text, "/role_name", "Its name"),
        may("action", Texts, "/optional_actions", "An action that it allows"),
        may("member", Texts, "/optional_members", "A user's identifier")];),
    spec!("rename", "Rename a role", PUT "/domains/{domain}/roles/{role}", [at("domain"), at("role"), NAME];),
    spec!("delete", "Delete a role", DELETE "/domains/{domain}/roles/{role}", [at("domain"), at("role")];),
    spec!("allow", "Add actions", POST "/domains/{domain}/roles/{role}/actions",
        [at("domain"), at("role"), ACTIONS];),
    spec!("forbid", "Remove actions", POST "/domains/{domain}/roles/{role}/actions/delete",
        [at("domain"), at("role"), ACTIONS];),
    spec!("members", "Its members", GET "/domains/{domain}/roles/{role}/members",
        [at("domain"), at("role"), LIMIT, OFFSET];),
    spec!("add-member", "Add members", POST "/domains/{domain}/roles/{role}/members",
        [at("domain"), at("role"), MEMBERS];),
    spec!("remove-member", "Remove members", POST "/domains/{domain}/roles/{role}/members/delete",
        [at("domain"), at("role"), MEMBERS];),
];

const DURATION: Parameter = need("duration", Text, "/duration", "How long it is good: 24h, 30d, 1y");
const SCOPE_HELP: &str = "What it may do: OPERATION@DOMAIN, OPERATION@DOMAIN/MODEL, users:OPERATION, or JSON";

const PAT: &[Spec] = &[
    spec!("list", "Your PATs", GET "/pats", [query("name"), STATUS, LIMIT, OFFSET], "pats";
        "id", "name", "status", "expires_at", "last_used_at"),
    spec!("view", "One PAT", GET "/pats/{id}", [at("id")];),
    spec!("create", "Make a PAT, and print it this once", POST "/pats", [NAME, DURATION,
        may("description", Text, "/description", "What it is for"),
        may("scope", Scopes, "/scopes", SCOPE_HELP),
        may("cidr", Texts, "/cidrs", "Addresses that it may be used from"),
        may("full-access", Flag, "/full_access", "Acts as you, without scopes")];
        "id", "name", "expires_at", "full_access"),
    spec!("rename", "Rename a PAT", PATCH "/pats/{id}/name", [at("id"), NAME]; "id", "name"),
    spec!("describe", "Say what a PAT is for", PATCH "/pats/{id}/description",
        [at("id"), need("description", Text, "/description", "What it is for")]; "id", "name", "description"),
    spec!("reset", "Give a PAT another secret, and print it this once", PATCH "/pats/{id}/secret/reset",
        [at("id"), DURATION, may("grace", Text, "/grace", "How long the old secret stays good: 1h")];
        "id", "name", "expires_at", "old_secret_until"),
    spec!("revoke", "End a PAT", PATCH "/pats/{id}/secret/revoke", [at("id")];),
    spec!("delete", "Delete a PAT", DELETE "/pats/{id}", [at("id")];),
    spec!("clear", "Delete all your PATs", DELETE "/pats", [];),
    spec!("scopes", "What a PAT may do", GET "/pats/{id}/scope", [at("id"), LIMIT, OFFSET], "scopes";
        "id", "operation", "entity_type", "entity_id", "domain_id"),
    spec!("add-scope", "Let a PAT do more", PATCH "/pats/{id}/scope/add",
        [at("id"), need("scope", Scopes, "/scopes", SCOPE_HELP)];),
    spec!("remove-scope", "Let a PAT do less", PATCH "/pats/{id}/scope/remove",
        [at("id"), need("scope", Texts, "/scopes_id", "A scope's identifier")];),
    spec!("clear-scopes", "Let a PAT do nothing", DELETE "/pats/{id}/scope", [at("id")];),
];

const API_KEY: &[Spec] = &[
    spec!("list", "All keys", GET "/api/v1/api-keys", [
        Parameter { help: "Rows at most, 1 to 100", ..query("first") },
        Parameter { help: "Rows after this one: `endCursor` of --json", ..query("after") }], "items";
        "id", "name", "scopes", "status", "expires_at", "last_used_at"),
    spec!("view", "One key", GET "/api/v1/api-keys/{id}", [at("id")];),
    spec!("create", "Make a key, and print it this once", POST "/api/v1/api-keys", [NAME, DURATION,
        need("scope", Texts, "/scopes", "What it is for: deployments:read, models:write, usage:read, scim, …"),
        may("domain", Texts, "/domains", "Only in this domain"),
        may("deployment", Texts, "/deployments", "Only this deployment")];
        "id", "name", "scopes", "expires_at"),
    spec!("revoke", "End a key", DELETE "/api/v1/api-keys/{id}", [at("id")];),
];

const DEPLOYMENT: &[Spec] = &[
    spec!("list", "All deployments", GET "/api/v1/deployments", [query("name"), LIMIT, OFFSET], "deployments";
        "name", "dialect", "endpoints"),
    spec!("view", "One deployment", GET "/api/v1/deployments/{name}", [at("name")];),
    spec!("create", "Add a deployment", POST "/api/v1/deployments", [NAME,
        may("dialect", Text, "/dialect", "`openai` or `ollama`"),
        may("endpoint", Endpoints, "/endpoints", "URL, or URL,WEIGHT; with a credential: --json-body"),
        may("description", Text, "/description", "What it is"), JSON]; "name", "dialect", "endpoints"),
    spec!("update", "Change a deployment", PATCH "/api/v1/deployments/{name}", [at("name"),
        may("dialect", Text, "/dialect", "`openai` or `ollama`"),
        may("endpoint", Endpoints, "/endpoints", "URL, or URL,WEIGHT"),
        may("description", Text, "/description", "What it is"), JSON]; "name", "dialect", "endpoints"),
    spec!("delete", "Delete a deployment that nothing uses", DELETE "/api/v1/deployments/{name}", [at("name")];),
];

const MODEL: &[Spec] = &[
    spec!("list", "Models of a domain", GET "/api/v1/domains/{domain}/models", [at("domain"), LIMIT, OFFSET], "models";
        "name", "deployment", "upstream_model"),
    spec!("view", "One model", GET "/api/v1/domains/{domain}/models/{name}", [at("domain"), at("name")];),
    spec!("create", "Offer a model", POST "/api/v1/domains/{domain}/models", [at("domain"), NAME,
        may("deployment", Text, "/deployment", "Where it is served [default: the domain's]"),
        may("upstream-model", Text, "/upstream_model", "What it is called there")];
        "name", "deployment", "upstream_model"),
    spec!("update", "Change where a model is served", PATCH "/api/v1/domains/{domain}/models/{name}",
        [at("domain"), at("name"),
        may("deployment", Text, "/deployment", "Where it is served"),
        may("upstream-model", Text, "/upstream_model", "What it is called there"), JSON];),
    spec!("delete", "Offer a model no more", DELETE "/api/v1/domains/{domain}/models/{name}",
        [at("domain"), at("name")];),
];

const ROUTE: &[Spec] = &[
    spec!("list", "All rules", GET "/api/routes", [LIMIT, OFFSET], "routes";
        "name", "priority", "target_url", "deployment", "enabled"),
    spec!("view", "One rule", GET "/api/routes/{name}", [at("name")];),
    spec!("create", "Add a rule", POST "/api/routes", [NAME,
        may("target-url", Text, "/target_url", "Where it sends requests"),
        may("deployment", Text, "/deployment", "The same, as a deployment"),
        may("domain", Text, "/domain_id", "Only in this domain"),
        may("priority", Number, "/priority", "0 to 1000, higher first"),
        may("operation", Text, "/operation", "What a caller needs"),
        may("strip-prefix", Text, "/strip_prefix", "What is cut off the path"),
        may("matchers", Json, "/matchers", "Its matchers, as JSON, @FILE or @-"),
        may("default-rule", Flag, "/default_rule", "For what nothing else takes"), JSON];
        "name", "priority", "target_url", "deployment"),
    spec!("replace", "Replace a rule", PUT "/api/routes/{name}",
        [at("name"), need("json-body", Json, "", "The whole rule, as JSON, @FILE or @-")];),
    spec!("delete", "Delete a rule", DELETE "/api/routes/{name}", [at("name")];),
];

const NODE: &[Spec] = &[
    spec!("list", "Proxies, and how far each has followed", GET "/api/v1/nodes", [], "nodes";
        "name", "connected", "lag", "version", "address", "last_seen"),
    spec!("forget", "Forget a proxy that is gone", DELETE "/api/v1/nodes/{name}", [at("name")];),
];
