-- Why: takes back the log, with everything in it.
-- Lock: ACCESS EXCLUSIVE on the bus's tables; stop every process first.

DROP FUNCTION dismiss(text);
DROP FUNCTION admit(text);
DROP FUNCTION append(text, int4[], int4[], bytea[]);
DROP TABLE idempotency_keys, dead_letters, processes, log, partitions, topics;
DELETE FROM pulseops.exempt_tables WHERE schema_name = 'pulseops_bus';
