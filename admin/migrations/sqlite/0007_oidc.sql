-- Who somebody is to an external issuer. Made when a user is first known there, or by a superadmin.
CREATE TABLE oidc_links (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) WITHOUT ROWID;
-- One account there for one user here.
CREATE UNIQUE INDEX oidc_links_by_user ON oidc_links (user_id, issuer);
