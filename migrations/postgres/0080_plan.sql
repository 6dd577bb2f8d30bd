-- By what an edition was planned: who changes hour or zone has the instants that the lock would have given.
CREATE TABLE plan (
    edition BIGINT PRIMARY KEY REFERENCES edition (id),
    -- The date that it bears, YYYY-MM-DD.
    date TEXT NOT NULL,
    -- When it was locked, in civil time: `edition.locked_at` is real.
    lock_at BIGINT NOT NULL,
    -- When it is yesterday's news where the reader is, and how long it lasts at least.
    deadline TEXT NOT NULL,
    window_ms BIGINT NOT NULL,
    -- Of those who gave none.
    hour TEXT NOT NULL,
    zone TEXT NOT NULL,
    -- No deadline of a delivery is before this one, and none has come nearer while `changes` is the same.
    nearest BIGINT NOT NULL,
    changes BIGINT NOT NULL DEFAULT 0
);
