-- What an editor says an article is worth is a step like any other. SQLite cannot change a check: the table is made anew.
CREATE TABLE editor_event_next (
    id INTEGER PRIMARY KEY,
    newsletter TEXT NOT NULL,
    date TEXT NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL
        CHECK (what IN ('added', 'dropped', 'restored', 'moved', 'pinned', 'freed', 'reworded', 'valued')),
    article INTEGER NOT NULL,
    -- Where it stood before and where it was put, 1 for the first; NULL: nowhere, or wherever its points put it.
    from_position INTEGER,
    to_position INTEGER,
    -- Of `valued`: the news value and the lifetime given; NULL: taken back.
    value INTEGER,
    lifetime TEXT
) STRICT;
INSERT INTO editor_event_next (id, newsletter, date, at, who, what, article, from_position, to_position)
SELECT id, newsletter, date, at, who, what, article, from_position, to_position
FROM editor_event;
DROP TABLE editor_event;
ALTER TABLE editor_event_next RENAME TO editor_event;
CREATE INDEX editor_event_edition ON editor_event (newsletter, date, id);
