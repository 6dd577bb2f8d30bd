-- The clock's memory and the alarms.

-- Up to when the locks of a newsletter were looked at: what lies behind was locked, missed or skipped.
CREATE TABLE clock (
    newsletter TEXT PRIMARY KEY,
    seen_until BIGINT NOT NULL
);

-- Each alarm once: its key names the thing and the day or the moment it began.
CREATE TABLE alarm (
    key TEXT PRIMARY KEY,
    newsletter TEXT,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    raised_at BIGINT NOT NULL,
    cleared_at BIGINT
);

-- Each alarm to each of its ears; kept until it was heard.
CREATE TABLE alarm_copy (
    alarm TEXT NOT NULL REFERENCES alarm (key),
    target TEXT NOT NULL,
    tries BIGINT NOT NULL DEFAULT 0,
    next_at BIGINT NOT NULL,
    sent_at BIGINT,
    PRIMARY KEY (alarm, target)
);
CREATE INDEX alarm_copy_due ON alarm_copy (next_at) WHERE sent_at IS NULL;
