-- What `usage_hourly` adds up to without users and PATs: reports of the whole fleet over weeks read some thousand rows, not a million.
CREATE TABLE usage_by_model (
    hour_ms INTEGER NOT NULL,
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
    PRIMARY KEY (hour_ms, domain_id, model)
) WITHOUT ROWID;
INSERT INTO usage_by_model SELECT hour_ms, domain_id, model, SUM(requests), SUM(errors), SUM(prompt_tokens), SUM(completion_tokens),
    SUM(estimated), SUM(bytes_in), SUM(bytes_out), SUM(first_byte_us), SUM(first_bytes), SUM(duration_us)
    FROM usage_hourly GROUP BY hour_ms, domain_id, model;
