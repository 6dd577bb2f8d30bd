-- Editions: one newsletter on one local date; what was chosen, what editors changed, what was frozen.

CREATE TABLE edition (
    id INTEGER PRIMARY KEY,
    newsletter TEXT NOT NULL,
    -- The civil date it bears, YYYY-MM-DD.
    date TEXT NOT NULL,
    -- The edition that this one is an erratum to; 0 for the day's own.
    corrects INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL
        CHECK (state IN ('open', 'locked', 'sending', 'sent', 'held', 'cancelled', 'missed', 'skipped')),
    -- Where a held edition goes back to.
    held_from TEXT CHECK (held_from IN ('locked', 'sending')),
    -- The newest approved revision; 0 while nothing is frozen.
    revision INTEGER NOT NULL DEFAULT 0,
    -- Rises with every change, so that two desks do not overwrite each other.
    version INTEGER NOT NULL DEFAULT 1,
    lock_at INTEGER NOT NULL,
    -- The editors' own words around the items, as JSON; empty parts are proposed by the machine.
    words TEXT NOT NULL DEFAULT '{}',
    approved_by TEXT,
    approved_at INTEGER,
    -- Why it is held, skipped, missed or cancelled, for people.
    reason TEXT,
    refreshed_at INTEGER,
    locked_at INTEGER,
    sent_at INTEGER,
    created_at INTEGER NOT NULL,
    UNIQUE (newsletter, date, corrects)
) STRICT;
CREATE INDEX edition_state ON edition (state) WHERE state IN ('open', 'locked', 'sending', 'held');

-- The line-up as it stands: the chosen and the reserves, in order.
CREATE TABLE item (
    edition INTEGER NOT NULL REFERENCES edition (id),
    place TEXT NOT NULL CHECK (place IN ('chosen', 'reserve')),
    position INTEGER NOT NULL,
    article INTEGER NOT NULL,
    story TEXT NOT NULL,
    points INTEGER NOT NULL,
    -- [{"term", "points", "words"}], which add up to `points`.
    reasons TEXT NOT NULL,
    PRIMARY KEY (edition, place, position),
    UNIQUE (edition, article)
) STRICT;

-- What editors decided about one article in one edition. No automatic step writes here (P8).
CREATE TABLE decision (
    edition INTEGER NOT NULL REFERENCES edition (id),
    article INTEGER NOT NULL,
    -- The place it is pinned to, 1 for the first; 0 = in, wherever its points put it; NULL = no wish.
    pinned INTEGER,
    removed INTEGER NOT NULL DEFAULT 0,
    -- The editors' own words, as JSON: title, summary, kicker.
    words TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (edition, article)
) STRICT;

-- Everything that was done to an edition, by whom and when.
CREATE TABLE edition_event (
    id INTEGER PRIMARY KEY,
    edition INTEGER NOT NULL REFERENCES edition (id),
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX edition_event_edition ON edition_event (edition, id);

-- What was frozen: the content that every rendering of it was made from.
CREATE TABLE revision (
    edition INTEGER NOT NULL REFERENCES edition (id),
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (edition, number)
) STRICT;

-- The prepared bytes of a revision in one language: what was sent can be shown again byte for byte.
CREATE TABLE rendering (
    edition INTEGER NOT NULL REFERENCES edition (id),
    revision INTEGER NOT NULL,
    language TEXT NOT NULL,
    prepared BLOB NOT NULL,
    PRIMARY KEY (edition, revision, language)
) STRICT;
