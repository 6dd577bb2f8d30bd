-- The article store, and how the feeds that fill it are doing.

CREATE TABLE article (
    id INTEGER PRIMARY KEY,
    -- What readers follow; `url_key` is its identity (see articles::canonical).
    url TEXT NOT NULL,
    url_key TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    -- The title folded to letters and digits: equal keys, one story.
    title_key TEXT NOT NULL,
    summary TEXT NOT NULL,
    body TEXT NOT NULL,
    language TEXT,
    section TEXT,
    -- Country codes and tags, one a line.
    countries TEXT NOT NULL,
    tags TEXT NOT NULL,
    author TEXT,
    source TEXT NOT NULL,
    published_at INTEGER,
    image_url TEXT,
    image_alt TEXT,
    image_credit TEXT,
    value INTEGER CHECK (value BETWEEN 1 AND 5),
    lifetime TEXT CHECK (lifetime IN ('short', 'medium', 'long')),
    embargo_until INTEGER,
    -- What brought it first: feed:NAME, push:NAME or import.
    origin TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    first_seen_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    retracted_at INTEGER,
    retracted_why TEXT
) STRICT;

CREATE INDEX article_published ON article (published_at);
CREATE INDEX article_first_seen ON article (first_seen_at);
CREATE INDEX article_title ON article (title_key);

-- One row a feed, by its name in the configuration.
CREATE TABLE feed (
    name TEXT PRIMARY KEY,
    -- Where it was asked; another URL forgets etag and last_modified.
    url TEXT NOT NULL,
    etag TEXT,
    last_modified TEXT,
    next_at INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    last_status INTEGER,
    last_error TEXT,
    last_asked_at INTEGER,
    last_success_at INTEGER,
    -- When it last brought an article that was new.
    last_article_at INTEGER,
    last_new INTEGER NOT NULL,
    last_updated INTEGER NOT NULL,
    last_refused INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
