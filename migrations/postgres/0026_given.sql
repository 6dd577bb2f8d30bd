-- The news value and the lifetime that an editor gave an article in one edition; NULL: none, the article's own or a
-- table's hold.
ALTER TABLE decision ADD COLUMN value BIGINT CHECK (value BETWEEN 1 AND 5);
ALTER TABLE decision ADD COLUMN lifetime TEXT CHECK (lifetime IN ('short', 'medium', 'long'));
