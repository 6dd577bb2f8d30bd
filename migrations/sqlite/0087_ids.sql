-- A number that was given once is given to nobody else: the links, return paths and Message-IDs in mails that are still
-- kept somewhere carry it, and the ledger names its readers by it. Without AUTOINCREMENT the next row takes the number of
-- the newest one, once that was erased or pruned: the links of somebody who was erased opened the page of whoever came
-- next.
--
-- The tables are not made anew. That would copy the whole ledger, and with foreign keys nobody may drop what others refer
-- to. Only what the schema says changes, nothing of how rows are kept
-- (https://sqlite.org/lang_altertable.html#otheralter, the shorter procedure).

-- Where the engine keeps the highest numbers is there with the first table that asks for it, and not to be made by hand.
-- That this one comes and goes also tells other connections that the schema has changed.
CREATE TABLE numbered (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT;
INSERT INTO sqlite_sequence (name, seq)
SELECT 'subscriber', MAX(COALESCE((SELECT MAX(id) FROM subscriber), 0), COALESCE(MAX(subscriber), 0)) FROM delivery
UNION ALL
SELECT 'subscription', MAX(COALESCE((SELECT MAX(id) FROM subscription), 0), COALESCE(MAX(subscription), 0)) FROM delivery
UNION ALL
SELECT 'delivery', COALESCE(MAX(id), 0) FROM delivery;

PRAGMA writable_schema = ON;
UPDATE sqlite_master
SET sql = replace(sql, 'id INTEGER PRIMARY KEY,', 'id INTEGER PRIMARY KEY AUTOINCREMENT,')
WHERE type = 'table' AND name IN ('subscriber', 'subscription', 'delivery');
PRAGMA writable_schema = RESET;

DROP TABLE numbered;
