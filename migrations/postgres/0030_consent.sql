-- When and where the reader had asked for the newsletter, as that attempt's mail said it: a doubtful delivery repeats
-- it. Emptied when its owner is erased; NULL where nothing was known.
ALTER TABLE attempt ADD COLUMN consent TEXT;
