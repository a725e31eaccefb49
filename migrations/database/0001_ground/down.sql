-- Why: takes the ground away again; every owner's own migrations must have been taken back before (their schemas must be empty).
-- Lock: AccessExclusive on what it drops. Roles stay: they belong to the cluster, and another database may use them.

DO $$
DECLARE
    service text;
BEGIN
    FOR service IN SELECT name FROM pulseops.services LOOP
        EXECUTE format('DROP SCHEMA %I', 'pulseops_' || service);
    END LOOP;
END
$$;

DROP SCHEMA pulseops CASCADE;
