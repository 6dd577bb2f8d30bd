-- What the ledger learned of addresses that exist and take nothing is looked at again and again: the last weeks of it.
CREATE INDEX attempt_disabled_at ON attempt (at) WHERE class = 'disabled';
