-- The control plane's tables in PostgreSQL 13 or newer: the same tables and columns as in SQLite (`migrations/sqlite`; a test compares
-- them). Identifiers are UUIDs of 16 bytes, times are milliseconds of Unix time, sets of texts are JSON arrays in text.
--
-- A constraint is called as SQLite calls it in its messages, so that the program finds by one name which column is taken.

-- Texts compare byte by byte, as SQLite does it, but for names that are the same in either case.
CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);

-- Where the feed stands. One row.
CREATE TABLE feed_state (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    epoch TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL
);

-- What each generation changed, as the feed's own lines.
CREATE TABLE change_log (
    generation BIGINT NOT NULL,
    position BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    line TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (generation, position)
);

-- Keys of access tokens. The private half is sealed with the fleet key.
CREATE TABLE signing_keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    public_key TEXT COLLATE "C" NOT NULL,
    private_key_sealed TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'retiring')),
    created_at BIGINT NOT NULL,
    retires_at BIGINT
);

-- Users. `scim_user_name`, `external_id` and `scim` are what an identity provider says of them: its name for a user if that is no username of
-- ours, its own identifier, and whatever else (a JSON object; the e-mail address that is `users.email` stands there without its value).
CREATE TABLE users (
    id BYTEA PRIMARY KEY,
    username TEXT COLLATE nocase NOT NULL CONSTRAINT "users.username" UNIQUE,
    email TEXT COLLATE nocase CONSTRAINT "users.email" UNIQUE,
    first_name TEXT COLLATE "C" NOT NULL DEFAULT '',
    last_name TEXT COLLATE "C" NOT NULL DEFAULT '',
    password_hash TEXT COLLATE "C",
    superadmin BOOLEAN NOT NULL DEFAULT FALSE,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('enabled', 'disabled')),
    tags TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    metadata TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    profile_picture TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    scim_user_name TEXT COLLATE nocase,
    external_id TEXT COLLATE "C",
    scim TEXT COLLATE "C" NOT NULL DEFAULT '{}'
);
CREATE INDEX users_by_creation ON users (created_at DESC, id);

-- One row for each login: the refresh token that goes with it.
CREATE TABLE logins (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    -- How often the refresh token was used. Only the newest one is good: an older one that comes back was stolen.
    refreshes BIGINT NOT NULL DEFAULT 0,
    revoked_at BIGINT
);
CREATE INDEX logins_by_user ON logins (user_id);

CREATE TABLE deployments (
    name TEXT COLLATE "C" CONSTRAINT "deployments.name" PRIMARY KEY,
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    dialect TEXT COLLATE "C" NOT NULL CHECK (dialect IN ('openai', 'ollama')),
    connect_timeout_ms BIGINT NOT NULL,
    head_timeout_ms BIGINT NOT NULL,
    idle_timeout_ms BIGINT NOT NULL,
    total_timeout_ms BIGINT NOT NULL,
    -- Made for a route's target_url; not shown among deployments.
    implicit BOOLEAN NOT NULL DEFAULT FALSE,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE endpoints (
    deployment TEXT COLLATE "C" NOT NULL REFERENCES deployments (name) ON UPDATE CASCADE ON DELETE CASCADE,
    position BIGINT NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    weight BIGINT NOT NULL,
    credential_header TEXT COLLATE "C",
    credential_sealed TEXT COLLATE "C",
    PRIMARY KEY (deployment, position)
);

CREATE TABLE domains (
    id BYTEA CONSTRAINT "domains.id" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    alias TEXT COLLATE nocase CONSTRAINT "domains.alias" UNIQUE,
    status TEXT COLLATE "C" NOT NULL CHECK (status IN ('enabled', 'disabled', 'freezed')),
    tags TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    metadata TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    default_deployment TEXT COLLATE "C" REFERENCES deployments (name) ON UPDATE CASCADE,
    created_by BYTEA,
    created_at BIGINT NOT NULL,
    updated_by BYTEA,
    updated_at BIGINT NOT NULL
);
CREATE INDEX domains_by_creation ON domains (created_at DESC, id);
CREATE INDEX domains_by_default_deployment ON domains (default_deployment) WHERE default_deployment IS NOT NULL;

CREATE TABLE roles (
    id TEXT COLLATE "C" CONSTRAINT "roles.id" PRIMARY KEY,
    domain_id BYTEA NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    -- The built-in role `admin`: holds every action, cannot be changed or deleted.
    builtin BOOLEAN NOT NULL DEFAULT FALSE,
    created_by BYTEA,
    created_at BIGINT NOT NULL,
    updated_by BYTEA,
    updated_at BIGINT NOT NULL,
    CONSTRAINT "roles.domain_id, roles.name" UNIQUE (domain_id, name)
);

CREATE TABLE role_actions (
    role_id TEXT COLLATE "C" NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    action TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (role_id, action)
);

-- A member of a role was given it, or is in a group that has it, or both.
CREATE TABLE role_members (
    role_id TEXT COLLATE "C" NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    given BOOLEAN NOT NULL DEFAULT TRUE,
    PRIMARY KEY (role_id, user_id)
);
CREATE INDEX role_members_by_user ON role_members (user_id);

CREATE TABLE invitations (
    domain_id BYTEA NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    invitee_user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role_id TEXT COLLATE "C" NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    invited_by BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    confirmed_at BIGINT,
    rejected_at BIGINT,
    PRIMARY KEY (domain_id, invitee_user_id)
);
CREATE INDEX invitations_by_invitee ON invitations (invitee_user_id);

CREATE TABLE models (
    domain_id BYTEA NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    -- NULL: the domain's default deployment.
    deployment TEXT COLLATE "C" REFERENCES deployments (name) ON UPDATE CASCADE,
    upstream_model TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    CONSTRAINT "models.domain_id, models.name" PRIMARY KEY (domain_id, name)
);
CREATE INDEX models_by_deployment ON models (deployment) WHERE deployment IS NOT NULL;

CREATE TABLE routes (
    name TEXT COLLATE "C" CONSTRAINT "routes.name" PRIMARY KEY,
    domain_id BYTEA REFERENCES domains (id) ON DELETE CASCADE,
    -- Either a URL of its own, for which there is an implicit deployment, or a deployment.
    target_url TEXT COLLATE "C",
    deployment TEXT COLLATE "C" NOT NULL REFERENCES deployments (name) ON UPDATE CASCADE,
    matchers TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    priority BIGINT NOT NULL,
    default_rule BOOLEAN NOT NULL DEFAULT FALSE,
    strip_prefix TEXT COLLATE "C" NOT NULL DEFAULT '',
    operation TEXT COLLATE "C",
    event_type TEXT COLLATE "C" NOT NULL DEFAULT '',
    enabled BOOLEAN NOT NULL DEFAULT TRUE,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX routes_default ON routes (COALESCE(domain_id, '\x'::bytea)) WHERE default_rule;
CREATE INDEX routes_by_deployment ON routes (deployment);

CREATE TABLE pats (
    id BYTEA PRIMARY KEY,
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C" NOT NULL DEFAULT '',
    digest BYTEA NOT NULL,
    -- The secret before the last reset, and until when it is good.
    previous_digest BYTEA,
    previous_until BIGINT,
    full_access BOOLEAN NOT NULL DEFAULT FALSE,
    cidrs TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    issued_at BIGINT NOT NULL,
    expires_at BIGINT,
    updated_at BIGINT NOT NULL,
    last_used_at BIGINT,
    revoked_at BIGINT,
    CONSTRAINT "pats.user_id, pats.name" UNIQUE (user_id, name)
);
CREATE INDEX pats_by_user ON pats (user_id, issued_at DESC, id);

CREATE TABLE scopes (
    pat_id BYTEA NOT NULL REFERENCES pats (id) ON DELETE CASCADE,
    id BYTEA NOT NULL CONSTRAINT "scopes.id" UNIQUE,
    entity_type TEXT COLLATE "C" NOT NULL,
    domain_id BYTEA REFERENCES domains (id) ON DELETE CASCADE,
    entity_id TEXT COLLATE "C" NOT NULL,
    operation TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (pat_id, id)
);
CREATE UNIQUE INDEX scopes_once ON scopes (pat_id, entity_type, COALESCE(domain_id, '\x'::bytea), operation, entity_id);
CREATE INDEX scopes_by_domain ON scopes (domain_id) WHERE domain_id IS NOT NULL;

-- Every management action, and who did it, with which credential.
CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor_user BYTEA,
    actor_pat BYTEA,
    action TEXT COLLATE "C" NOT NULL,
    domain_id BYTEA,
    entity_type TEXT COLLATE "C" NOT NULL,
    entity_id TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL DEFAULT '',
    client_ip TEXT COLLATE "C",
    details TEXT COLLATE "C" NOT NULL DEFAULT '{}',
    actor_key BYTEA,
    actor_credential TEXT COLLATE "C"
);
CREATE INDEX audit_by_domain ON audit (domain_id, at_ms);
CREATE INDEX audit_by_time ON audit (at_ms);

-- Every proxied request, as its proxy told it. The key is what makes telling twice harmless.
CREATE TABLE usage (
    node TEXT COLLATE "C" NOT NULL,
    boot TEXT COLLATE "C" NOT NULL,
    seq BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    domain_id BYTEA,
    user_id BYTEA,
    pat_id BYTEA,
    operation TEXT COLLATE "C",
    model TEXT COLLATE "C",
    status BIGINT NOT NULL,
    record TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (node, boot, seq)
);
CREATE INDEX usage_by_time ON usage (at_ms);

-- What `usage` adds up to, for each hour. Absent parts of the key are empty. The tables `usage_by_…` say the same for hours, days and weeks
-- (`step_ms`, counted from the beginning of Unix time), told apart by less.
CREATE TABLE usage_hourly (
    hour_ms BIGINT NOT NULL,
    domain_id BYTEA NOT NULL,
    user_id BYTEA NOT NULL,
    pat_id BYTEA NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    requests BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    first_byte_us BIGINT NOT NULL,
    first_bytes BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    PRIMARY KEY (hour_ms, domain_id, user_id, pat_id, model)
);

CREATE TABLE nodes (
    name TEXT COLLATE "C" PRIMARY KEY,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    report TEXT COLLATE "C" NOT NULL
);

-- API keys: what scripts and identity providers show. Only the digest of a key is kept.
CREATE TABLE api_keys (
    id BYTEA PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL CONSTRAINT "api_keys.name" UNIQUE,
    digest BYTEA NOT NULL,
    scopes TEXT COLLATE "C" NOT NULL,
    -- NULL: not limited to some.
    domains TEXT COLLATE "C",
    deployments TEXT COLLATE "C",
    created_by BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    last_used_at BIGINT
);
CREATE INDEX api_keys_by_creation ON api_keys (created_at DESC, id DESC);
CREATE INDEX api_keys_by_maker ON api_keys (created_by);

-- What proxies hold: one line for each record, as of the newest generation. Every commit that writes the change log writes it too,
-- so that a snapshot is a walk through this table.
CREATE TABLE published (
    -- Kinds in the order of a snapshot: things come before what names them.
    kind BIGINT NOT NULL,
    key BYTEA NOT NULL,
    line TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, key)
);

-- How many PATs there are: counting a million rows would take a writer milliseconds for each new one.
CREATE TABLE totals (
    name TEXT COLLATE "C" PRIMARY KEY,
    value BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_by_scim_name ON users (COALESCE(scim_user_name, username));
CREATE INDEX users_by_external_id ON users (external_id) WHERE external_id IS NOT NULL;

CREATE TABLE scim_groups (
    id BYTEA PRIMARY KEY,
    display_name TEXT COLLATE nocase NOT NULL CONSTRAINT "scim_groups.display_name" UNIQUE,
    external_id TEXT COLLATE "C",
    -- How often it or its members changed.
    revision BIGINT NOT NULL DEFAULT 1,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX scim_groups_by_external_id ON scim_groups (external_id) WHERE external_id IS NOT NULL;

CREATE TABLE scim_group_members (
    group_id BYTEA NOT NULL REFERENCES scim_groups (id) ON DELETE CASCADE,
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX scim_group_members_by_user ON scim_group_members (user_id);

-- Which roles the members of a group have.
CREATE TABLE scim_group_roles (
    id BYTEA PRIMARY KEY,
    group_id BYTEA NOT NULL REFERENCES scim_groups (id) ON DELETE CASCADE,
    role_id TEXT COLLATE "C" NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    created_by BYTEA,
    created_at BIGINT NOT NULL,
    CONSTRAINT "scim_group_roles.group_id, scim_group_roles.role_id" UNIQUE (group_id, role_id)
);
CREATE INDEX scim_group_roles_by_role ON scim_group_roles (role_id);

-- Who somebody is to an external issuer. Made when a user is first known there, or by a superadmin.
CREATE TABLE oidc_links (
    issuer TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    user_id BYTEA NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    CONSTRAINT "oidc_links.issuer, oidc_links.subject" PRIMARY KEY (issuer, subject)
);
CREATE UNIQUE INDEX oidc_links_by_user ON oidc_links (user_id, issuer);

CREATE TABLE usage_by_domain (
    step_ms BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    domain_id BYTEA NOT NULL,
    requests BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    first_byte_us BIGINT NOT NULL,
    first_bytes BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    PRIMARY KEY (step_ms, start_ms, domain_id)
);

CREATE TABLE usage_by_model (
    step_ms BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    domain_id BYTEA NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    requests BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    first_byte_us BIGINT NOT NULL,
    first_bytes BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    PRIMARY KEY (step_ms, start_ms, domain_id, model)
);

CREATE TABLE usage_by_pat (
    step_ms BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    domain_id BYTEA NOT NULL,
    user_id BYTEA NOT NULL,
    pat_id BYTEA NOT NULL,
    requests BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    first_byte_us BIGINT NOT NULL,
    first_bytes BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    PRIMARY KEY (step_ms, start_ms, domain_id, user_id, pat_id)
);
CREATE INDEX usage_by_pat_of_user ON usage_by_pat (user_id, step_ms, start_ms);

-- In full detail; hours are in `usage_hourly`.
CREATE TABLE usage_by_all (
    step_ms BIGINT NOT NULL,
    start_ms BIGINT NOT NULL,
    domain_id BYTEA NOT NULL,
    user_id BYTEA NOT NULL,
    pat_id BYTEA NOT NULL,
    model TEXT COLLATE "C" NOT NULL,
    requests BIGINT NOT NULL,
    errors BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    estimated BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    first_byte_us BIGINT NOT NULL,
    first_bytes BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    PRIMARY KEY (step_ms, start_ms, domain_id, user_id, pat_id, model)
);
CREATE INDEX usage_by_all_of_user ON usage_by_all (user_id, step_ms, start_ms);
CREATE INDEX usage_hourly_of_user ON usage_hourly (user_id, hour_ms);
CREATE INDEX usage_of_domain ON usage (domain_id, at_ms);
CREATE INDEX usage_of_user ON usage (user_id, at_ms) WHERE user_id IS NOT NULL;
CREATE INDEX usage_of_pat ON usage (pat_id, at_ms) WHERE pat_id IS NOT NULL;
CREATE INDEX audit_of_user ON audit (actor_user, at_ms);
CREATE INDEX audit_of_pat ON audit (actor_pat, at_ms) WHERE actor_pat IS NOT NULL;

INSERT INTO totals (name, value) VALUES ('pats', 0);
CREATE FUNCTION count_pats() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE totals SET value = value + CASE TG_OP WHEN 'INSERT' THEN 1 ELSE -1 END WHERE name = 'pats';
    RETURN NULL;
END
$$;
CREATE TRIGGER pat_added AFTER INSERT ON pats FOR EACH ROW EXECUTE FUNCTION count_pats();
CREATE TRIGGER pat_removed AFTER DELETE ON pats FOR EACH ROW EXECUTE FUNCTION count_pats();

-- What SQLite has and the statements use. `\u0000` is left out of JSON: no text of PostgreSQL can hold it.
CREATE FUNCTION json_of(doc TEXT) RETURNS JSONB LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN strpos(doc COLLATE "C", '\u0000') = 0 THEN doc
        ELSE regexp_replace(doc, '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g') END::jsonb
$$;
CREATE FUNCTION json_extract(doc TEXT, path TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT jsonb_path_query_first(json_of(doc), path::jsonpath) #>> '{}'
$$;
CREATE FUNCTION json_type(doc TEXT, path TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE jsonb_typeof(found) WHEN 'string' THEN 'text' WHEN 'number' THEN 'real' WHEN 'boolean' THEN found::text
        ELSE jsonb_typeof(found) END
    FROM jsonb_path_query_first(json_of(doc), path::jsonpath) AS found
$$;
CREATE FUNCTION json_each(doc TEXT) RETURNS TABLE (key BIGINT, value TEXT) LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT nth - 1, element #>> '{}' FROM jsonb_array_elements(json_of(doc)) WITH ORDINALITY AS each (element, nth)
$$;
CREATE FUNCTION hex(bytes BYTEA) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT upper(encode(bytes, 'hex'))
$$;
CREATE FUNCTION instr(whole TEXT, part TEXT) RETURNS BIGINT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT strpos(whole COLLATE "C", part COLLATE "C")
$$;
-- From the end if `start` is negative.
CREATE FUNCTION substr(whole TEXT, start BIGINT, length BIGINT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT CASE WHEN start < 0 THEN right(whole, (-start)::int) ELSE substr(whole, start::int, length::int) END
$$;
-- With `%019d` in the format.
CREATE FUNCTION printf(format TEXT, number BIGINT) RETURNS TEXT LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT replace(format, '%019d', lpad(number::text, 19, '0'))
$$;
