-- Why: what every service needs to tell and to hear: its outbox, its consumers' positions and members.
-- Lock: none that anybody waits for; everything here is new.

CREATE TABLE outbox (
    id int8 GENERATED ALWAYS AS IDENTITY,
    aggregate_id text NOT NULL,
    version int8 NOT NULL,
    topic text NOT NULL,
    partition int4 NOT NULL,
    key bytea NOT NULL,
    type text NOT NULL,
    org_id uuid NOT NULL,
    cause uuid,
    depth int4 NOT NULL,
    frame bytea NOT NULL,
    created_at timestamptz NOT NULL,
    sent_at timestamptz,
    held_at timestamptz,
    CONSTRAINT outbox_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE outbox ALTER COLUMN frame SET STORAGE EXTERNAL;
CREATE INDEX outbox_unsent_idx ON outbox (id) WHERE sent_at IS NULL;
-- Rows that the bus refuses: later events of their aggregates wait for them. Almost always empty.
CREATE INDEX outbox_held_idx ON outbox (aggregate_id, id) WHERE held_at IS NOT NULL;
-- The oldest of them is asked for in every round: without this the planner may look for it among the sent ones.
CREATE INDEX outbox_held_id_idx ON outbox (id) WHERE held_at IS NOT NULL;
-- Consumers ignore a version that they have applied: a second event under one version would be lost, so it is refused here.
CREATE UNIQUE INDEX outbox_aggregate_version_key ON outbox (aggregate_id, version, topic) WHERE version > 0;

-- The counter in `next` moves with every batch: the page keeps room for it, so that it moves in place.
CREATE TABLE positions (
    consumer text NOT NULL,
    topic text NOT NULL,
    partition int4 NOT NULL,
    log_id uuid NOT NULL,
    next int8 NOT NULL,
    epoch int8 NOT NULL,
    owner uuid,
    lease_until timestamptz,
    CONSTRAINT positions_pkey PRIMARY KEY (consumer, topic, partition)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE members (
    consumer text NOT NULL,
    owner uuid NOT NULL,
    seen_until timestamptz NOT NULL,
    CONSTRAINT members_pkey PRIMARY KEY (consumer, owner)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_cost_delay = 0);

SELECT pulseops.system_table('outbox', 'the relay moves the rows of all tenants');
SELECT pulseops.system_table('positions', 'positions belong to no tenant');
SELECT pulseops.system_table('members', 'processes belong to no tenant');

SELECT pulseops_bus.admit(current_schema()::text);
