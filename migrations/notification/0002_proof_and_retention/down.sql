-- Why: takes the codes away, and the columns and indexes beside them; open requests count as answered.
-- Lock: exclusive on contact_method_codes, code_mails and messages; whoever writes notifications waits while their index is built.

DROP INDEX notifications_status_idx;
CREATE INDEX notifications_status_idx ON notifications (org_id, status, id) WHERE status IN ('dead', 'cancelled');
DROP INDEX messages_code_idx;
DROP INDEX messages_created_at_idx;
ALTER TABLE messages DROP COLUMN carries_code;
ALTER TABLE messages DROP COLUMN complete;
DROP TABLE contact_method_codes, code_mails;
DELETE FROM pulseops.exempt_tables WHERE schema_name = current_schema() AND table_name = 'code_mails';
