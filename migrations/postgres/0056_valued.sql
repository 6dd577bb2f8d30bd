-- What an editor says an article is worth is a step like any other.
ALTER TABLE editor_event DROP CONSTRAINT editor_event_what_check;
ALTER TABLE editor_event ADD CONSTRAINT editor_event_what_check
    CHECK (what IN ('added', 'dropped', 'restored', 'moved', 'pinned', 'freed', 'reworded', 'valued'));
-- Of `valued`: the news value and the lifetime given; NULL: taken back.
ALTER TABLE editor_event ADD COLUMN value BIGINT;
ALTER TABLE editor_event ADD COLUMN lifetime TEXT;
