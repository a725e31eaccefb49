-- Why: the log of the `postgres` bus engine (a row is a chunk of records, not a record), who follows it, the dead letters of every consumer, and the keys of requests about them.
-- Lock: none that anybody waits for; everything here is new.

CREATE TABLE topics (
    id int4 GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    partitions int4 NOT NULL,
    log_id uuid NOT NULL,
    retention_ms int8 NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT topics_pkey PRIMARY KEY (id),
    CONSTRAINT topics_name_key UNIQUE (name),
    CONSTRAINT topics_partitions_check CHECK (partitions BETWEEN 1 AND 1024),
    CONSTRAINT topics_retention_ms_check CHECK (retention_ms > 0)
);

-- One row per partition: the lock that appenders queue at. Never updated, so it never leaves a dead row behind.
CREATE TABLE partitions (
    topic_id int4 NOT NULL,
    partition int4 NOT NULL,
    CONSTRAINT partitions_pkey PRIMARY KEY (topic_id, partition),
    CONSTRAINT partitions_topic_id_fkey FOREIGN KEY (topic_id) REFERENCES topics (id)
);

CREATE TABLE log (
    topic_id int4 NOT NULL,
    partition int4 NOT NULL,
    base_offset int8 NOT NULL,
    count int4 NOT NULL,
    written_at timestamptz NOT NULL,
    payload bytea NOT NULL,
    CONSTRAINT log_pkey PRIMARY KEY (topic_id, partition, base_offset),
    CONSTRAINT log_count_check CHECK (count > 0)
) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000
);
-- Payloads are read whole and are mostly small: compressing costs more than it saves, and their length stays known without reading them.
ALTER TABLE log ALTER COLUMN payload SET STORAGE EXTERNAL;

CREATE TABLE processes (
    id uuid NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT processes_pkey PRIMARY KEY (id)
);

CREATE TABLE dead_letters (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    consumer text NOT NULL,
    topic text NOT NULL,
    partition int4 NOT NULL,
    log_offset int8 NOT NULL,
    key bytea NOT NULL,
    event_id uuid NOT NULL,
    event_type text NOT NULL,
    source text NOT NULL,
    subject text NOT NULL,
    event_time timestamptz NOT NULL,
    event_version int8 NOT NULL,
    trace text NOT NULL,
    cause uuid,
    depth int4 NOT NULL,
    data bytea NOT NULL,
    error_code text NOT NULL,
    error_detail text NOT NULL,
    attempts int4 NOT NULL,
    state text NOT NULL,
    created_at timestamptz NOT NULL,
    replayed_at timestamptz,
    version int8 NOT NULL,
    CONSTRAINT dead_letters_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT dead_letters_state_check CHECK (state IN ('dead', 'replay', 'replayed'))
);
CREATE INDEX dead_letters_replay_idx ON dead_letters (consumer, topic, partition) WHERE state = 'replay';

-- As migrations/mechanisms makes it for services: the gateway answers for dead letters and has no schema of its own.
CREATE TABLE idempotency_keys (
    org_id uuid NOT NULL,
    principal text NOT NULL,
    rpc text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    response bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (org_id, principal, rpc, key)
);
CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at);

SELECT pulseops.system_table('topics', 'the log belongs to no tenant');
SELECT pulseops.system_table('partitions', 'the log belongs to no tenant');
SELECT pulseops.system_table('log', 'the log holds the records of all tenants; only the bus and consumers read it');
SELECT pulseops.system_table('processes', 'processes belong to no tenant');
SELECT pulseops.tenant_table('dead_letters');
SELECT pulseops.tenant_table('idempotency_keys');

-- Appends chunks to partitions of one topic, several to one partition in the order given. The partition's row is locked, not updated;
-- the next offset comes from the log's index. Offsets are contiguous, so a reader that finds a gap has fallen behind retention.
-- Returns the number of records.
CREATE FUNCTION append(topic_name text, to_partitions int4[], counts int4[], chunks bytea[]) RETURNS int8
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    topic int4;
    locked int4;
    next int8;
    total int8 := 0;
BEGIN
    IF cardinality(to_partitions) <> cardinality(counts) OR cardinality(counts) <> cardinality(chunks) THEN
        RAISE EXCEPTION 'append: % partitions, % counts, % chunks', cardinality(to_partitions), cardinality(counts), cardinality(chunks);
    END IF;
    SELECT t.id INTO topic FROM pulseops_bus.topics t WHERE t.name = topic_name;
    PERFORM FROM pulseops_bus.partitions p
        WHERE p.topic_id = topic AND p.partition = ANY (to_partitions) ORDER BY p.partition FOR UPDATE;
    GET DIAGNOSTICS locked = ROW_COUNT;
    IF locked <> (SELECT count(DISTINCT p) FROM unnest(to_partitions) p) THEN
        RAISE EXCEPTION 'append: topic % has no such partitions: %', topic_name, to_partitions;
    END IF;
    FOR i IN 1 .. cardinality(to_partitions) LOOP
        SELECT l.base_offset + l.count INTO next FROM pulseops_bus.log l
            WHERE l.topic_id = topic AND l.partition = to_partitions[i] ORDER BY l.base_offset DESC LIMIT 1;
        INSERT INTO pulseops_bus.log (topic_id, partition, base_offset, count, written_at, payload)
            VALUES (topic, to_partitions[i], coalesce(next, 0), counts[i], pulseops.now(), chunks[i]);
        total := total + counts[i];
    END LOOP;
    RETURN total;
END
$$;
ALTER FUNCTION append(text, int4[], int4[], bytea[]) OWNER TO pulseops_owner;
REVOKE ALL ON FUNCTION append(text, int4[], int4[], bytea[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION append(text, int4[], int4[], bytea[]) TO pulseops_bus;

-- Lets a service in: its relay appends, its consumers write dead letters. Called from the service's own schema by migrations/mechanisms.
CREATE FUNCTION admit(login text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA pulseops_bus TO %I, %I', login, login || '_sys');
    EXECUTE format('GRANT EXECUTE ON FUNCTION pulseops_bus.append(text, int4[], int4[], bytea[]) TO %I, %I', login, login || '_sys');
    IF login <> 'pulseops_bus' THEN
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON pulseops_bus.dead_letters TO %I', login || '_sys');
        EXECUTE format('DROP POLICY IF EXISTS %I ON pulseops_bus.dead_letters', login || '_consumers');
        EXECUTE format('CREATE POLICY %I ON pulseops_bus.dead_letters TO %I USING (true) WITH CHECK (true)',
                       login || '_consumers', login || '_sys');
    END IF;
END
$$;
ALTER FUNCTION admit(text) OWNER TO pulseops_owner;

-- Shows a service out, for its migrations' way down.
CREATE FUNCTION dismiss(login text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF login <> 'pulseops_bus' THEN
        EXECUTE format('DROP POLICY IF EXISTS %I ON pulseops_bus.dead_letters', login || '_consumers');
        EXECUTE format('REVOKE ALL ON pulseops_bus.dead_letters FROM %I', login || '_sys');
        EXECUTE format('REVOKE ALL ON FUNCTION pulseops_bus.append(text, int4[], int4[], bytea[]) FROM %I, %I', login, login || '_sys');
        EXECUTE format('REVOKE ALL ON SCHEMA pulseops_bus FROM %I, %I', login, login || '_sys');
    END IF;
END
$$;
ALTER FUNCTION dismiss(text) OWNER TO pulseops_owner;
