-- One index for each way of being due: a planner takes a partial index only for the index's own words, and one over
-- both states would have to be sorted, the whole edition at every claim.
DROP INDEX delivery_due;
CREATE INDEX delivery_planned ON delivery (edition, next_at, id) WHERE state = 'planned';
CREATE INDEX delivery_deferred ON delivery (edition, next_at, id) WHERE state = 'deferred';
