-- A number that was given once is given to nobody else. An identity column keeps that by itself; on SQLite it had to be
-- asked for.
COMMENT ON COLUMN subscriber.id IS 'Given once.';
COMMENT ON COLUMN subscription.id IS 'Given once.';
COMMENT ON COLUMN delivery.id IS 'Given once.';
