-- Which stories articles were found in, and what editors said of that.

-- The story that an article bore last, for a newsletter: an id given once is kept.
CREATE TABLE story_article (
    newsletter TEXT NOT NULL,
    article BIGINT NOT NULL,
    story TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (newsletter, article)
);
CREATE INDEX story_article_story ON story_article (newsletter, story);
CREATE INDEX story_article_article ON story_article (article);

-- What an editor said of two articles; the one that came first stands first.
CREATE TABLE story_bond (
    one BIGINT NOT NULL,
    other BIGINT NOT NULL,
    bond TEXT NOT NULL CHECK (bond IN ('together', 'apart')),
    at BIGINT NOT NULL,
    who TEXT NOT NULL,
    PRIMARY KEY (one, other),
    CHECK (one < other)
);
