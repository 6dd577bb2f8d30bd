-- What was proposed, what editors made of it, and what was learned from that.

-- Every proposal that differs from the one before it.
CREATE TABLE proposal (
    id INTEGER PRIMARY KEY,
    newsletter TEXT NOT NULL,
    -- The date of its edition, YYYY-MM-DD.
    date TEXT NOT NULL,
    at INTEGER NOT NULL,
    -- A hash of its items, so that a refresh that changes nothing is not kept again.
    fingerprint TEXT NOT NULL
) STRICT;
CREATE INDEX proposal_edition ON proposal (newsletter, date, id);

CREATE TABLE proposal_item (
    proposal INTEGER NOT NULL REFERENCES proposal (id),
    place TEXT NOT NULL CHECK (place IN ('chosen', 'reserve')),
    position INTEGER NOT NULL,
    article INTEGER NOT NULL,
    story TEXT NOT NULL,
    points INTEGER NOT NULL,
    -- [{"term", "points", "words"}], which add up to `points`.
    reasons TEXT NOT NULL,
    PRIMARY KEY (proposal, place, position)
) STRICT;

-- What an editor did to a line-up, one step a row.
CREATE TABLE editor_event (
    id INTEGER PRIMARY KEY,
    newsletter TEXT NOT NULL,
    date TEXT NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL
        CHECK (what IN ('added', 'dropped', 'restored', 'moved', 'pinned', 'freed', 'reworded')),
    article INTEGER NOT NULL,
    -- Where it stood before and where it was put, 1 for the first; NULL: nowhere, or wherever its points put it.
    from_position INTEGER,
    to_position INTEGER
) STRICT;
CREATE INDEX editor_event_edition ON editor_event (newsletter, date, id);

-- One row an edition, at its lock: what its editors saw and took, and how near each way of choosing had come before
-- it was learned from.
CREATE TABLE lesson (
    newsletter TEXT NOT NULL,
    date TEXT NOT NULL,
    at INTEGER NOT NULL,
    -- [{"terms", "traits", "proposed", "taken"}].
    shown TEXT NOT NULL,
    -- nDCG@10 against the final line-up, in ten-thousandths, and how many limits gave way.
    given INTEGER NOT NULL,
    learned INTEGER NOT NULL,
    given_relaxed INTEGER NOT NULL,
    learned_relaxed INTEGER NOT NULL,
    -- How many editions the learned weights were learned from.
    lessons INTEGER NOT NULL,
    -- The learned weights that ran in shadow, as JSON.
    weights TEXT NOT NULL,
    PRIMARY KEY (newsletter, date)
) STRICT;

-- Each promotion and each way back; the newest one of a newsletter is in force.
CREATE TABLE promotion (
    id INTEGER PRIMARY KEY,
    newsletter TEXT NOT NULL,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    -- As JSON; NULL: the given ones.
    weights TEXT
) STRICT;
CREATE INDEX promotion_newsletter ON promotion (newsletter, id);
