-- Open attempts are found by the claims that they belong to: this index was written twice for every message.
DROP INDEX attempt_open;
