-- When somebody let an address be written to again, in milliseconds: what servers said of it before counts no more.
ALTER TABLE subscriber ADD COLUMN unsuppressed_at INTEGER;
