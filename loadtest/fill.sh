#!/usr/bin/env bash
# Puts many users and PATs into the database of a kept demo or fleet state, while neither runs: one user for each 100 PATs, one scope each in
# the domain `demo`. The proxy's memory of it is removed, so that its next start takes everything from the feed.
#
#   cube-demo --state DIR … (once, then ended)
#   loadtest/fill.sh DIR 1000000
set -euo pipefail
state=$1
count=$2
command -v sqlite3 >/dev/null || { echo "missing: sqlite3. Install it: apt-get install sqlite3" >&2; exit 1; }
[ -f "$state/admin/cube-admin.sqlite" ] || { echo "$state holds no world" >&2; exit 1; }
sqlite3 "$state/admin/cube-admin.sqlite" <<SQL
PRAGMA foreign_keys = OFF;
BEGIN;
CREATE TEMP TABLE fill AS WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $count / 100)
    SELECT i, randomblob(16) AS id FROM n;
INSERT INTO users (id, username, status, created_at, updated_at)
    SELECT id, 'fill-' || lower(hex(id)), 'enabled', 1767225600000 + i, 1767225600000 + i FROM fill;
CREATE TEMP TABLE filled AS WITH RECURSIVE k(j) AS (SELECT 0 UNION ALL SELECT j + 1 FROM k WHERE j < 99)
    SELECT fill.id AS user_id, j, randomblob(16) AS id FROM fill, k;
INSERT INTO pats (id, user_id, name, digest, issued_at, updated_at, expires_at)
    SELECT id, user_id, 'pat ' || j, randomblob(32), 1767225600000 + j, 1767225600000, 4102444800000 FROM filled ORDER BY id;
INSERT INTO scopes (pat_id, id, entity_type, domain_id, entity_id, operation)
    SELECT filled.id, randomblob(16), 'domains', d.id,
        lower(substr(hex(d.id), 1, 8) || '-' || substr(hex(d.id), 9, 4) || '-' || substr(hex(d.id), 13, 4) || '-' || substr(hex(d.id), 17, 4) || '-' || substr(hex(d.id), 21)),
        'llm_chat_completions'
    FROM filled, (SELECT id FROM domains WHERE alias = 'demo') d ORDER BY filled.id;
COMMIT;
SQL
rm -rf "$state/proxy"
