-- Why: takes back the outbox and the consumers' positions; unsent events are lost with them.
-- Lock: ACCESS EXCLUSIVE on these tables; stop the service first.

SELECT pulseops_bus.dismiss(current_schema()::text);
DROP TABLE members, positions, outbox;
DELETE FROM pulseops.exempt_tables
WHERE schema_name = current_schema() AND table_name IN ('members', 'positions', 'outbox');
