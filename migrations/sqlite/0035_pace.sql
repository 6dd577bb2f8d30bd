-- Limits that all daemons keep together. A limit belongs to a relay and a receiving provider ('' = the relay as a whole).

CREATE TABLE pace (
    relay TEXT NOT NULL,
    provider TEXT NOT NULL,
    -- When the next message may start, in microseconds: whoever takes a block of them moves it on.
    free_at INTEGER NOT NULL DEFAULT 0,
    -- What signals asked for: nothing until then, and then no more connections, no shorter waits (microseconds),
    -- until holds_until; then one step back every `step` milliseconds. NULL: nothing was asked for.
    suspended_until INTEGER,
    connections INTEGER,
    gap INTEGER,
    holds_until INTEGER NOT NULL DEFAULT 0,
    step INTEGER NOT NULL DEFAULT 0,
    signalled_at INTEGER NOT NULL DEFAULT 0,
    -- Since when nobody there could be reached, and why; NULL while somebody can.
    down_since INTEGER,
    reason TEXT,
    -- The last reply that was no yes, and what all of them came to.
    reply TEXT,
    replied_at INTEGER,
    accepted INTEGER NOT NULL DEFAULT 0,
    deferred INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (relay, provider)
) STRICT;

-- Looked at many times a second: whom signals were heard of, among all that are written to.
CREATE INDEX pace_signalled ON pace (signalled_at) WHERE signalled_at > 0;

-- Connections to a provider, each a number below its limit; a number whose daemon is gone is free.
CREATE TABLE connection (
    relay TEXT NOT NULL,
    provider TEXT NOT NULL,
    number INTEGER NOT NULL,
    daemon INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    PRIMARY KEY (relay, provider, number)
) STRICT, WITHOUT ROWID;

-- A new identity's days: how much a provider may have of a relay, how much it had, and how much of it was put off there.
CREATE TABLE warm_up (
    relay TEXT NOT NULL,
    provider TEXT NOT NULL,
    -- YYYY-MM-DD, in UTC.
    day TEXT NOT NULL,
    cap INTEGER NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0,
    deferred INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (relay, provider, day)
) STRICT, WITHOUT ROWID;
