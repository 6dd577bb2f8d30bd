-- What a proposal was made of: a hash of everything that went in, and every candidate with its terms and what stopped
-- it, as JSON. The record is kept of the last proposal of an edition only; before it NULL.
ALTER TABLE proposal ADD COLUMN inputs TEXT NOT NULL DEFAULT '';
ALTER TABLE proposal ADD COLUMN record TEXT;
