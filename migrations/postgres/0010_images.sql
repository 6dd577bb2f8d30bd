-- Pictures made fit for mail, and where each came from.

CREATE TABLE picture (
    -- The beginning of the SHA-256 of `bytes`: the same picture is kept once, and its address never changes.
    hash TEXT PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('jpg', 'png')),
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

-- What became of a picture's own address: asked once, and again only after a failure.
CREATE TABLE picture_source (
    url TEXT PRIMARY KEY,
    -- NULL = there is no picture to be had.
    hash TEXT REFERENCES picture (hash),
    why TEXT,
    asked_at BIGINT NOT NULL
);
