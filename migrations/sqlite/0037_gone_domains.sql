-- What the ledger learned about domains that take no mail, until it was acted upon; and who is meant.
CREATE INDEX attempt_domain ON attempt (delivery) WHERE class = 'domain';
