-- Why: what every owner's tables stand on: the owner role, the database's clock, one way to make a service and to guard a table.
-- Lock: none that anybody waits for; everything here is new.

-- Roles are the cluster's: another database's migration may make the same ones at the same time.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pulseops_owner') THEN
        BEGIN
            CREATE ROLE pulseops_owner NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    -- Since version 16 who makes a role is its member and may not use it.
    IF NOT pg_has_role(current_user, 'pulseops_owner', 'USAGE') THEN
        BEGIN
            EXECUTE format('GRANT pulseops_owner TO %I', current_user);
        EXCEPTION WHEN unique_violation THEN NULL;
        END;
    END IF;
END
$$;

CREATE SCHEMA pulseops AUTHORIZATION pulseops_owner;

SET LOCAL ROLE pulseops_owner;

GRANT USAGE ON SCHEMA pulseops TO PUBLIC;

CREATE TABLE pulseops.migrations (
    owner text NOT NULL,
    version int4 NOT NULL,
    name text NOT NULL,
    applied_at timestamptz NOT NULL,
    CONSTRAINT migrations_pkey PRIMARY KEY (owner, version)
);

CREATE TABLE pulseops.services (
    name text NOT NULL,
    CONSTRAINT services_pkey PRIMARY KEY (name)
);

-- Tables that carry no row-level security, each on purpose.
CREATE TABLE pulseops.exempt_tables (
    schema_name text NOT NULL,
    table_name text NOT NULL,
    reason text NOT NULL,
    CONSTRAINT exempt_tables_pkey PRIMARY KEY (schema_name, table_name)
);

GRANT SELECT ON pulseops.migrations, pulseops.services, pulseops.exempt_tables TO PUBLIC;

-- The database's clock. Leases and due times compare with it and with nothing else; tests replace it by one that can be moved.
CREATE FUNCTION pulseops.now() RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE
    AS 'SELECT pg_catalog.statement_timestamp()';

-- Runs what makes something of the cluster's, unless another database's migration was faster.
CREATE FUNCTION pulseops.unless_there(statement text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    EXECUTE statement;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END
$$;

-- Makes the schema and the two roles of a service; does nothing for what is there. Roles belong to the cluster, schemas to this database.
-- The login role does not inherit: it becomes the system role by SET LOCAL ROLE only.
CREATE FUNCTION pulseops.create_service(service text) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    login text := 'pulseops_' || service;
    sys text := 'pulseops_' || service || '_sys';
BEGIN
    IF service !~ '^[a-z][a-z0-9_]{0,39}$' OR service = 'owner' THEN
        RAISE EXCEPTION 'not the name of a service: %', service;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
        PERFORM pulseops.unless_there(format('CREATE ROLE %I LOGIN NOINHERIT', login));
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = sys) THEN
        PERFORM pulseops.unless_there(format('CREATE ROLE %I NOLOGIN', sys));
    END IF;
    IF NOT EXISTS (SELECT FROM pg_auth_members m
                   JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles l ON l.oid = m.member
                   WHERE r.rolname = sys AND l.rolname = login) THEN
        PERFORM pulseops.unless_there(format('GRANT %I TO %I', sys, login));
    END IF;
    IF NOT pg_has_role(current_user, login, 'USAGE') THEN
        PERFORM pulseops.unless_there(format('GRANT %I TO %I', login, current_user));
    END IF;
    EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION pulseops_owner', login);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I, %I', login, login, sys);
    INSERT INTO pulseops.services (name) VALUES (service) ON CONFLICT DO NOTHING;
END
$$;

-- The services whose roles may use a table: the given ones, or the one in whose schema it stands.
CREATE FUNCTION pulseops.users_of(target regclass, given text[]) RETURNS text[]
    LANGUAGE plpgsql STABLE
    AS $$
DECLARE
    found text[];
BEGIN
    SELECT array_agg(s.name ORDER BY s.name) INTO found
    FROM pulseops.services s
    WHERE CASE WHEN given IS NULL
               THEN 'pulseops_' || s.name = (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target)
               ELSE s.name = ANY (given) END;
    IF found IS NULL OR cardinality(found) < coalesce(cardinality(given), 1) THEN
        RAISE EXCEPTION 'no service owns %, or not all of % are services', target, given;
    END IF;
    RETURN found;
END
$$;

-- A table with an organization in every row: the login role sees the rows of the transaction's organization, the system role all.
-- Without `services` it belongs to the service in whose schema it stands.
CREATE FUNCTION pulseops.tenant_table(target regclass, services text[] DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    service text;
    own constant text := 'org_id = nullif(current_setting(''pulseops.org'', true), '''')::uuid';
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attname = 'org_id'
                   AND atttypid = 'uuid'::regtype AND attnotnull AND NOT attisdropped) THEN
        RAISE EXCEPTION '% needs a column org_id uuid NOT NULL', target;
    END IF;
    EXECUTE format('ALTER TABLE %s OWNER TO pulseops_owner', target);
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    FOREACH service IN ARRAY pulseops.users_of(target, services) LOOP
        EXECUTE format('CREATE POLICY %I ON %s TO %I USING (%s) WITH CHECK (%s)',
                       service || '_tenant', target, 'pulseops_' || service, own, own);
        EXECUTE format('CREATE POLICY %I ON %s TO %I USING (true) WITH CHECK (true)',
                       service || '_system', target, 'pulseops_' || service || '_sys');
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I, %I',
                       target, 'pulseops_' || service, 'pulseops_' || service || '_sys');
    END LOOP;
END
$$;

-- A table of the machinery that no tenant reads through the API: grants only, and a line in the list of exemptions.
CREATE FUNCTION pulseops.system_table(target regclass, reason text DEFAULT 'machinery', services text[] DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    service text;
BEGIN
    EXECUTE format('ALTER TABLE %s OWNER TO pulseops_owner', target);
    FOREACH service IN ARRAY pulseops.users_of(target, services) LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I, %I',
                       target, 'pulseops_' || service, 'pulseops_' || service || '_sys');
    END LOOP;
    INSERT INTO pulseops.exempt_tables (schema_name, table_name, reason)
    SELECT n.nspname, c.relname, system_table.reason
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = target
    ON CONFLICT (schema_name, table_name) DO UPDATE SET reason = excluded.reason;
END
$$;

RESET ROLE;
