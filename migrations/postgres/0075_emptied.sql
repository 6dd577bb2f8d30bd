-- When the last of a day's cap was taken, in milliseconds: for a while after that some of it may come back. NULL: some was
-- left, or it was before this was kept.
ALTER TABLE warm_up ADD COLUMN emptied_at BIGINT;
