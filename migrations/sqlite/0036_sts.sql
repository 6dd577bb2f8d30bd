-- MTA-STS policies that receiving domains published, as long as they said they hold.

CREATE TABLE sts_policy (
    domain TEXT PRIMARY KEY,
    -- Which of the domain's policies this is: it changes with it.
    id TEXT NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('enforce', 'testing', 'none')),
    -- Host names, one a line.
    mx TEXT NOT NULL,
    fetched_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
