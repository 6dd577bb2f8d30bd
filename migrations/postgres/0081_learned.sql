-- What the ledger learned of addresses and domains is looked at again and again: the last weeks of it, and no more.
CREATE INDEX attempt_dead_at ON attempt (at) WHERE class = 'dead';
CREATE INDEX attempt_domain_at ON attempt (at) WHERE class = 'domain';
DROP INDEX attempt_dead;
DROP INDEX attempt_domain;
