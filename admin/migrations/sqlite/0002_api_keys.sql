-- API keys: what scripts and identity providers show. Only the digest of a key is kept.
CREATE TABLE api_keys (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL,
    scopes TEXT NOT NULL,
    -- NULL: not limited to some.
    domains TEXT,
    deployments TEXT,
    created_by BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_used_at INTEGER
) WITHOUT ROWID;
CREATE INDEX api_keys_by_creation ON api_keys (created_at DESC, id DESC);
CREATE INDEX api_keys_by_maker ON api_keys (created_by);

-- With which API key something was done.
ALTER TABLE audit ADD COLUMN actor_key BLOB;
