-- What an edition came to, as JSON: how much of the proposal was kept, how mixed it was. NULL before this was kept.
ALTER TABLE lesson ADD COLUMN figures TEXT;
