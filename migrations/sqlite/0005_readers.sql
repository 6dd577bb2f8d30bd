-- Readers, what they wished for, and who must not be written to.

CREATE TABLE subscriber (
    id INTEGER PRIMARY KEY,
    -- Lower-case NFC local part @ A-label domain: one person.
    key TEXT NOT NULL UNIQUE,
    -- The same under our key: what a suppression keeps of an erased person.
    key_hash TEXT NOT NULL,
    -- The spelling that its owner gave.
    address TEXT NOT NULL,
    name TEXT,
    language TEXT,
    timezone TEXT,
    send_at TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX subscriber_key_hash ON subscriber (key_hash);

CREATE TABLE subscription (
    id INTEGER PRIMARY KEY,
    subscriber INTEGER NOT NULL REFERENCES subscriber (id) ON DELETE CASCADE,
    newsletter TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'active', 'ended')),
    send_at TEXT,
    -- When and where the reader said yes, in which words.
    consented_at TEXT,
    consent_source TEXT,
    consent_text TEXT,
    confirmed_at INTEGER,
    ended_at INTEGER,
    -- By which door: "one-click", "page", "operator", "complaint".
    ended_by TEXT,
    created_at INTEGER NOT NULL,
    UNIQUE (subscriber, newsletter)
) STRICT;
CREATE INDEX subscription_active ON subscription (newsletter, subscriber) WHERE status = 'active';

CREATE TABLE suppression (
    id INTEGER PRIMARY KEY,
    key_hash TEXT NOT NULL UNIQUE,
    -- NULL once its owner was erased.
    key TEXT,
    reason TEXT NOT NULL CHECK (reason IN ('bounce', 'complaint', 'operator', 'erased')),
    note TEXT,
    since INTEGER NOT NULL
) STRICT;
