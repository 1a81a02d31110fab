-- What proxies hold: one line for each record, as of the newest generation. Every commit that writes the change log writes it too,
-- so that a snapshot is a walk through this table. Filled when the database is next opened if it is empty.
CREATE TABLE published (
    -- Kinds in the order of a snapshot: things come before what names them.
    kind INTEGER NOT NULL,
    key BLOB NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;
