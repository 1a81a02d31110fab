-- Usage of every user and PAT over weeks, and the audit log of one of them, without reading everybody else's.
--
-- `usage_hourly` stays what everything is made of. The tables below say the same for hours, days and weeks (`step_ms`, counted from the
-- beginning of Unix time), told apart by less. They are filled of it when the database is next opened.
DROP TABLE usage_by_model;
DROP INDEX usage_by_domain;
CREATE TABLE usage_by_domain (
    step_ms INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    domain_id BLOB NOT NULL,
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
    PRIMARY KEY (step_ms, start_ms, domain_id)
) WITHOUT ROWID;
CREATE TABLE usage_by_model (
    step_ms INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    domain_id BLOB NOT NULL,
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
    PRIMARY KEY (step_ms, start_ms, domain_id, model)
) WITHOUT ROWID;
CREATE TABLE usage_by_pat (
    step_ms INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
    domain_id BLOB NOT NULL,
    user_id BLOB NOT NULL,
    pat_id BLOB NOT NULL,
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
    PRIMARY KEY (step_ms, start_ms, domain_id, user_id, pat_id)
) WITHOUT ROWID;
CREATE INDEX usage_by_pat_of_user ON usage_by_pat (user_id, step_ms, start_ms);
-- In full detail; hours are in `usage_hourly`.
CREATE TABLE usage_by_all (
    step_ms INTEGER NOT NULL,
    start_ms INTEGER NOT NULL,
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
    PRIMARY KEY (step_ms, start_ms, domain_id, user_id, pat_id, model)
) WITHOUT ROWID;
CREATE INDEX usage_by_all_of_user ON usage_by_all (user_id, step_ms, start_ms);
-- Reports of a domain without users are read from the sums by model now; what is asked of these rows is mostly of one user.
DROP INDEX usage_hourly_by_domain;
CREATE INDEX usage_hourly_of_user ON usage_hourly (user_id, hour_ms);

-- As the other indices of single requests are called; the name is that of a table now.
CREATE INDEX usage_of_domain ON usage (domain_id, at_ms);
CREATE INDEX usage_of_user ON usage (user_id, at_ms) WHERE user_id IS NOT NULL;
CREATE INDEX usage_of_pat ON usage (pat_id, at_ms) WHERE pat_id IS NOT NULL;
CREATE INDEX audit_of_user ON audit (actor_user, at_ms);
CREATE INDEX audit_of_pat ON audit (actor_pat, at_ms) WHERE actor_pat IS NOT NULL;
