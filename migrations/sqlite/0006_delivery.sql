-- The ledger: one row for each edition owed to each subscriber, and one for each try. Kept for ever.

-- Processes that claim deliveries. One row a start: the epoch rises when another daemon takes its work over.
CREATE TABLE daemon (
    id INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL DEFAULT 1,
    lease_until INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    -- Tell whether the process still lives, on the host where it runs.
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    birth TEXT NOT NULL,
    -- 1 once it has left and holds nothing any more.
    gone INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    edition INTEGER NOT NULL REFERENCES edition (id),
    -- No foreign keys to readers: erasing a person leaves the ledger.
    subscriber INTEGER NOT NULL,
    subscription INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN
        ('planned', 'claimed', 'accepted', 'deferred', 'rejected', 'withdrawn', 'expired', 'uncertain')),
    due_at INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    -- When the next try may start: civil time while planned, real time while deferred.
    next_at INTEGER NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    -- Who holds it while claimed.
    daemon INTEGER,
    epoch INTEGER,
    -- Whether the dot of some try may have left unanswered: then nobody knows that nothing arrived.
    doubtful INTEGER NOT NULL DEFAULT 0,
    accepted_at INTEGER,
    bounced_at INTEGER,
    complained_at INTEGER,
    UNIQUE (edition, subscriber)
) STRICT;
CREATE INDEX delivery_due ON delivery (edition, state, next_at, id) WHERE state IN ('planned', 'deferred');
CREATE INDEX delivery_claimed ON delivery (daemon, epoch) WHERE state = 'claimed';

CREATE TABLE attempt (
    delivery INTEGER NOT NULL REFERENCES delivery (id),
    number INTEGER NOT NULL,
    daemon INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    at INTEGER NOT NULL,
    relay TEXT NOT NULL,
    -- As it stood in RCPT; emptied when its owner is erased.
    address TEXT NOT NULL,
    -- What its bytes were made from: a doubtful delivery repeats them.
    revision INTEGER NOT NULL,
    language TEXT NOT NULL,
    date_at INTEGER NOT NULL,
    date_offset INTEGER NOT NULL,
    -- NULL: open, its dot may be on the wire.
    outcome TEXT CHECK (outcome IN ('accepted', 'deferred', 'rejected', 'uncertain')),
    code INTEGER,
    enhanced TEXT,
    text TEXT,
    class TEXT,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_open ON attempt (daemon, epoch) WHERE outcome IS NULL;
-- What the ledger learned about addresses, until it was acted upon.
CREATE INDEX attempt_dead ON attempt (delivery) WHERE class = 'dead';

-- What is known of the relays, for every daemon and every command.
CREATE TABLE relay (
    name TEXT PRIMARY KEY,
    -- Since when it takes nothing, and why; NULL while it does.
    down_since INTEGER,
    reason TEXT,
    -- Until when nothing is given to it, because somebody said so or its replies did.
    paused_until INTEGER
) STRICT;
