-- Why: takes the idempotency keys away; repeated requests act again.
-- Lock: AccessExclusive on idempotency_keys.

DROP TABLE idempotency_keys;
