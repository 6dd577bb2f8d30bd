-- Editions of which no message can be made, and why: until one can.
CREATE TABLE unmade (
    edition BIGINT PRIMARY KEY REFERENCES edition (id),
    since BIGINT NOT NULL,
    reason TEXT NOT NULL
);
