-- Users as an identity provider knows them: its name for a user if that is no username of ours, its own identifier, and whatever else
-- it says (a JSON object; the e-mail address that is `users.email` stands there without its value).
ALTER TABLE users ADD COLUMN scim_user_name TEXT COLLATE NOCASE;
ALTER TABLE users ADD COLUMN external_id TEXT;
ALTER TABLE users ADD COLUMN scim TEXT NOT NULL DEFAULT '{}';
CREATE UNIQUE INDEX users_by_scim_name ON users (COALESCE(scim_user_name, username) COLLATE NOCASE);
CREATE INDEX users_by_external_id ON users (external_id) WHERE external_id IS NOT NULL;

CREATE TABLE scim_groups (
    id BLOB PRIMARY KEY,
    display_name TEXT NOT NULL COLLATE NOCASE UNIQUE,
    external_id TEXT,
    -- How often it or its members changed.
    revision INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);
CREATE INDEX scim_groups_by_external_id ON scim_groups (external_id) WHERE external_id IS NOT NULL;

CREATE TABLE scim_group_members (
    group_id BLOB NOT NULL REFERENCES scim_groups (id) ON DELETE CASCADE,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, user_id)
) WITHOUT ROWID;
CREATE INDEX scim_group_members_by_user ON scim_group_members (user_id);

-- Which roles the members of a group have.
CREATE TABLE scim_group_roles (
    id BLOB PRIMARY KEY,
    group_id BLOB NOT NULL REFERENCES scim_groups (id) ON DELETE CASCADE,
    role_id TEXT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
    created_by BLOB,
    created_at INTEGER NOT NULL,
    UNIQUE (group_id, role_id)
) WITHOUT ROWID;
CREATE INDEX scim_group_roles_by_role ON scim_group_roles (role_id);

-- A member of a role was given it, or is in a group that has it, or both.
ALTER TABLE role_members ADD COLUMN given INTEGER NOT NULL DEFAULT 1;
