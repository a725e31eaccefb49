-- Why: takes every account, key and audit row away; nobody can sign in afterwards.
-- Lock: ACCESS EXCLUSIVE on these tables; stop the service first.

DROP TABLE audit, signing_keys, api_keys, refresh_tokens, sessions, team_members, teams, users, organizations;
DELETE FROM pulseops.exempt_tables
WHERE schema_name = current_schema() AND table_name = 'signing_keys';
