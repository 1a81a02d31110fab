-- The control plane's tables. Identifiers are UUIDs of 16 bytes, times are milliseconds of Unix time, sets of texts are JSON arrays.

-- Where the feed stands. One row.
CREATE TABLE feed_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch TEXT NOT NULL,
    generation INTEGER NOT NULL
);

-- What each generation changed, as the feed's own lines.
CREATE TABLE change_log (
    generation INTEGER NOT NULL,
    position INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (generation, position)
) WITHOUT ROWID;

-- Keys of access tokens. The private half is sealed with the fleet key.
CREATE TABLE signing_keys (
    id TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    private_key_sealed TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'retiring')),
    created_at INTEGER NOT NULL,
    retires_at INTEGER
);

CREATE TABLE users (
    id BLOB PRIMARY KEY,
    username TEXT NOT NULL COLLATE NOCASE UNIQUE,
    email TEXT COLLATE NOCASE UNIQUE,
    first_name TEXT NOT NULL DEFAULT '',
    last_name TEXT NOT NULL DEFAULT '',
    password_hash TEXT,
    superadmin INTEGER NOT NULL DEFAULT 0,
    status TEXT NOT NULL CHECK (status IN ('enabled', 'disabled')),
    tags TEXT NOT NULL DEFAULT '[]',
    metadata TEXT NOT NULL DEFAULT '{}',
    profile_picture TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX users_by_creation ON users (created_at DESC, id);

-- One row for each login: the refresh token that goes with it.
CREATE TABLE logins (
    id TEXT PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    description TEXT NOT NULL DEFAULT '',
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- How often the refresh token was used. Only the newest one is good: an older one that comes back was stolen.
    refreshes INTEGER NOT NULL DEFAULT 0,
    revoked_at INTEGER
);
CREATE INDEX logins_by_user ON logins (user_id);

CREATE TABLE deployments (
    name TEXT PRIMARY KEY,
    description TEXT NOT NULL DEFAULT '',
    dialect TEXT NOT NULL CHECK (dialect IN ('openai', 'ollama')),
    connect_timeout_ms INTEGER NOT NULL,
    head_timeout_ms INTEGER NOT NULL,
    idle_timeout_ms INTEGER NOT NULL,
    total_timeout_ms INTEGER NOT NULL,
    -- Made for a route's target_url; not shown among deployments.
    implicit INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);

CREATE TABLE endpoints (
    deployment TEXT NOT NULL REFERENCES deployments (name) ON UPDATE CASCADE ON DELETE CASCADE,
    position INTEGER NOT NULL,
    url TEXT NOT NULL,
    weight INTEGER NOT NULL,
    credential_header TEXT,
    credential_sealed TEXT,
    PRIMARY KEY (deployment, position)
) WITHOUT ROWID;

CREATE TABLE domains (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    alias TEXT COLLATE NOCASE UNIQUE,
    status TEXT NOT NULL CHECK (status IN ('enabled', 'disabled', 'freezed')),
    tags TEXT NOT NULL DEFAULT '[]',
    metadata TEXT NOT NULL DEFAULT '{}',
    default_deployment TEXT REFERENCES deployments (name) ON UPDATE CASCADE,
    created_by BLOB,
    created_at INTEGER NOT NULL,
    updated_by BLOB,
    updated_at INTEGER NOT NULL
);
CREATE INDEX domains_by_creation ON domains (created_at DESC, id);
CREATE INDEX domains_by_default_deployment ON domains (default_deployment) WHERE default_deployment IS NOT NULL;

CREATE TABLE roles (
    id TEXT PRIMARY KEY,
    domain_id BLOB NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- The built-in role `admin`: holds every action, cannot be changed or deleted.
    builtin INTEGER NOT NULL DEFAULT 0,
    created_by BLOB,
    created_at INTEGER NOT NULL,
    updated_by BLOB,
    updated_at INTEGER NOT NULL,
    UNIQUE (domain_id, name)
);

CREATE TABLE role_actions (
    role_id TEXT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    action TEXT NOT NULL,
    PRIMARY KEY (role_id, action)
) WITHOUT ROWID;

CREATE TABLE role_members (
    role_id TEXT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (role_id, user_id)
) WITHOUT ROWID;
CREATE INDEX role_members_by_user ON role_members (user_id);

CREATE TABLE invitations (
    domain_id BLOB NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    invitee_user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role_id TEXT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    invited_by BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    confirmed_at INTEGER,
    rejected_at INTEGER,
    PRIMARY KEY (domain_id, invitee_user_id)
) WITHOUT ROWID;
CREATE INDEX invitations_by_invitee ON invitations (invitee_user_id);

CREATE TABLE models (
    domain_id BLOB NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- NULL: the domain's default deployment.
    deployment TEXT REFERENCES deployments (name) ON UPDATE CASCADE,
    upstream_model TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (domain_id, name)
) WITHOUT ROWID;
CREATE INDEX models_by_deployment ON models (deployment) WHERE deployment IS NOT NULL;

CREATE TABLE routes (
    name TEXT PRIMARY KEY,
    domain_id BLOB REFERENCES domains (id) ON DELETE CASCADE,
    -- Either a URL of its own, for which there is an implicit deployment, or a deployment.
    target_url TEXT,
    deployment TEXT NOT NULL REFERENCES deployments (name) ON UPDATE CASCADE,
    matchers TEXT NOT NULL DEFAULT '[]',
    priority INTEGER NOT NULL,
    default_rule INTEGER NOT NULL DEFAULT 0,
    strip_prefix TEXT NOT NULL DEFAULT '',
    operation TEXT,
    event_type TEXT NOT NULL DEFAULT '',
    enabled INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
-- At most one default rule for each domain, and one for all.
CREATE UNIQUE INDEX routes_default ON routes (COALESCE(domain_id, x'')) WHERE default_rule = 1;
CREATE INDEX routes_by_deployment ON routes (deployment);

CREATE TABLE pats (
    id BLOB PRIMARY KEY,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT NOT NULL DEFAULT '',
    digest BLOB NOT NULL,
    -- The secret before the last reset, and until when it is good.
    previous_digest BLOB,
    previous_until INTEGER,
    full_access INTEGER NOT NULL DEFAULT 0,
    cidrs TEXT NOT NULL DEFAULT '[]',
    issued_at INTEGER NOT NULL,
    expires_at INTEGER,
    updated_at INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER,
    UNIQUE (user_id, name)
) WITHOUT ROWID;
CREATE INDEX pats_by_user ON pats (user_id, issued_at DESC, id);

CREATE TABLE scopes (
    pat_id BLOB NOT NULL REFERENCES pats (id) ON DELETE CASCADE,
    id BLOB NOT NULL UNIQUE,
    entity_type TEXT NOT NULL,
    domain_id BLOB REFERENCES domains (id) ON DELETE CASCADE,
    entity_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    PRIMARY KEY (pat_id, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX scopes_once ON scopes (pat_id, entity_type, COALESCE(domain_id, x''), operation, entity_id);
CREATE INDEX scopes_by_domain ON scopes (domain_id) WHERE domain_id IS NOT NULL;

-- Every management action, and who did it.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    actor_user BLOB,
    actor_pat BLOB,
    action TEXT NOT NULL,
    domain_id BLOB,
    entity_type TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    request_id TEXT NOT NULL DEFAULT '',
    client_ip TEXT,
    details TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_by_domain ON audit (domain_id, at_ms);
CREATE INDEX audit_by_time ON audit (at_ms);

-- Every proxied request, as its proxy told it. The key is what makes telling twice harmless.
CREATE TABLE usage (
    node TEXT NOT NULL,
    boot TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    domain_id BLOB,
    user_id BLOB,
    pat_id BLOB,
    operation TEXT,
    model TEXT,
    status INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (node, boot, seq)
) WITHOUT ROWID;
CREATE INDEX usage_by_domain ON usage (domain_id, at_ms);
CREATE INDEX usage_by_time ON usage (at_ms);

-- What `usage` adds up to, for each hour. Absent parts of the key are empty.
CREATE TABLE usage_hourly (
    hour_ms INTEGER NOT NULL,
    domain_id BLOB NOT NULL,
    user_id BLOB NOT NULL,
    pat_id BLOB NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    estimated INTEGER NOT NULL,
    bytes_in INTEGER NOT NULL,
    bytes_out INTEGER NOT NULL,
    first_byte_us INTEGER NOT NULL,
    first_bytes INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    PRIMARY KEY (hour_ms, domain_id, user_id, pat_id, model)
) WITHOUT ROWID;
CREATE INDEX usage_hourly_by_domain ON usage_hourly (domain_id, hour_ms);

CREATE TABLE nodes (
    name TEXT PRIMARY KEY,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    report TEXT NOT NULL
);
