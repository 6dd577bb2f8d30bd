-- Editions of which no message can be made, and why: until one can.
CREATE TABLE unmade (
    edition INTEGER PRIMARY KEY REFERENCES edition (id),
    since INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
