-- How many PATs there are: counting a million rows would take a writer milliseconds for each new one.
CREATE TABLE totals (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO totals (name, value) SELECT 'pats', COUNT(*) FROM pats;
CREATE TRIGGER pat_added AFTER INSERT ON pats
BEGIN
    UPDATE totals SET value = value + 1 WHERE name = 'pats';
END;
CREATE TRIGGER pat_removed AFTER DELETE ON pats
BEGIN
    UPDATE totals SET value = value - 1 WHERE name = 'pats';
END;
