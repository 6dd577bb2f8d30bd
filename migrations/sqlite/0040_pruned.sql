-- What is left of an old edition's ledger once it was pruned: counts, so that its summary still tells what happened.

CREATE TABLE pruned (
    edition INTEGER PRIMARY KEY REFERENCES edition (id),
    -- When its attempts lost the relays' words, all of them.
    words_at INTEGER,
    -- When its deliveries were reduced to counts; the first of them, while some are left.
    deliveries_at INTEGER
) STRICT;

CREATE TABLE pruned_delivery (
    edition INTEGER NOT NULL REFERENCES edition (id),
    state TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (edition, state)
) STRICT, WITHOUT ROWID;

-- Empty texts and 0 stand for what an attempt did not have: a key holds no NULL.
CREATE TABLE pruned_attempt (
    edition INTEGER NOT NULL REFERENCES edition (id),
    relay TEXT NOT NULL,
    outcome TEXT NOT NULL,
    code INTEGER NOT NULL,
    enhanced TEXT NOT NULL,
    class TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (edition, relay, outcome, code, enhanced, class)
) STRICT, WITHOUT ROWID;
