-- Why: services and their rules, alerts and incidents with their timeline, and what the rule engine remembers between two batches.
-- Lock: none that anybody waits for; everything here is new.

CREATE TABLE services (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    team_id uuid,
    team_name text NOT NULL,
    policy_id uuid,
    policy_name text NOT NULL,
    labels jsonb NOT NULL,
    runbook_url text,
    links jsonb NOT NULL,
    urgency_rule text NOT NULL,
    paused_until timestamptz,
    auto_resolve_ms int8,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    archived_at timestamptz,
    version int8 NOT NULL,
    CONSTRAINT services_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT services_slug_key UNIQUE (org_id, slug),
    CONSTRAINT services_urgency_rule_check CHECK (urgency_rule IN ('by_severity', 'high', 'low'))
);
CREATE INDEX services_created_at_idx ON services (org_id, created_at, id);
CREATE INDEX services_name_idx ON services (org_id, name, id);

-- `generation` moves when selection, condition or grouping change: windows of an older one are void.
CREATE TABLE rules (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    service_id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    selection text NOT NULL,
    cost int8 NOT NULL,
    condition jsonb NOT NULL,
    group_by text[] NOT NULL,
    generation int8 NOT NULL,
    severity text NOT NULL,
    dedup_key text NOT NULL,
    title text NOT NULL,
    cooldown_ms int8 NOT NULL,
    auto_resolve_ms int8,
    disabled bool NOT NULL,
    labels jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    archived_at timestamptz,
    version int8 NOT NULL,
    CONSTRAINT rules_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT rules_slug_key UNIQUE (org_id, slug),
    CONSTRAINT rules_service_id_fkey FOREIGN KEY (org_id, service_id) REFERENCES services (org_id, id),
    CONSTRAINT rules_severity_check CHECK (severity IN ('critical', 'high', 'medium', 'low', 'info')),
    CONSTRAINT rules_cooldown_ms_check CHECK (cooldown_ms >= 0)
);
CREATE INDEX rules_service_id_idx ON rules (org_id, service_id);
CREATE INDEX rules_created_at_idx ON rules (org_id, created_at, id);
CREATE INDEX rules_name_idx ON rules (org_id, name, id);

-- What the engine compares at every batch: the version moves with every change of one of the service's rules, or of what the engine reads
-- of the service.
CREATE TABLE rule_sets (
    org_id uuid NOT NULL,
    service_id uuid NOT NULL,
    version int8 NOT NULL,
    CONSTRAINT rule_sets_pkey PRIMARY KEY (org_id, service_id),
    CONSTRAINT rule_sets_service_id_fkey FOREIGN KEY (org_id, service_id) REFERENCES services (org_id, id)
);

CREATE TABLE incident_counters (
    org_id uuid NOT NULL,
    last int8 NOT NULL,
    CONSTRAINT incident_counters_pkey PRIMARY KEY (org_id)
) WITH (fillfactor = 20);

CREATE TABLE incidents (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    number int8 NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    severity text NOT NULL,
    urgency text NOT NULL,
    status text NOT NULL,
    service_id uuid NOT NULL,
    team_id uuid,
    team_name text NOT NULL,
    assignee_ids uuid[] NOT NULL,
    source jsonb NOT NULL,
    labels jsonb NOT NULL,
    custom_fields jsonb,
    links jsonb NOT NULL,
    images jsonb NOT NULL,
    runbook_url text,
    conference_url text,
    external_refs jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    first_acknowledged_at timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by jsonb,
    resolved_at timestamptz,
    resolved_by jsonb,
    auto_resolved bool NOT NULL,
    resolution_note text NOT NULL,
    reopen_count int4 NOT NULL,
    snoozed_until timestamptz,
    merged_into_id uuid,
    version int8 NOT NULL,
    CONSTRAINT incidents_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT incidents_number_key UNIQUE (org_id, number),
    CONSTRAINT incidents_service_id_fkey FOREIGN KEY (org_id, service_id) REFERENCES services (org_id, id),
    CONSTRAINT incidents_merged_into_id_fkey FOREIGN KEY (org_id, merged_into_id) REFERENCES incidents (org_id, id),
    CONSTRAINT incidents_severity_check CHECK (severity IN ('critical', 'high', 'medium', 'low', 'info')),
    CONSTRAINT incidents_urgency_check CHECK (urgency IN ('high', 'low')),
    CONSTRAINT incidents_status_check CHECK (status IN ('triggered', 'acknowledged', 'resolved')),
    CONSTRAINT incidents_resolved_at_check CHECK ((status = 'resolved') = (resolved_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE INDEX incidents_created_at_idx ON incidents (org_id, created_at, id);
CREATE INDEX incidents_service_id_idx ON incidents (org_id, service_id, created_at, id);
CREATE INDEX incidents_team_id_idx ON incidents (org_id, team_id, created_at, id) WHERE team_id IS NOT NULL;
CREATE INDEX incidents_severity_idx ON incidents (org_id, severity, created_at, id);
CREATE INDEX incidents_open_idx ON incidents (org_id, created_at, id) WHERE status <> 'resolved';

-- The index behind the filter by assignee: under row-level security a GIN index on the array is not used.
CREATE TABLE incident_assignees (
    org_id uuid NOT NULL,
    user_id uuid NOT NULL,
    incident_id uuid NOT NULL,
    CONSTRAINT incident_assignees_pkey PRIMARY KEY (org_id, user_id, incident_id),
    CONSTRAINT incident_assignees_incident_id_fkey FOREIGN KEY (org_id, incident_id) REFERENCES incidents (org_id, id)
);
CREATE INDEX incident_assignees_incident_id_idx ON incident_assignees (org_id, incident_id);

-- Leased work: `due_at` is when an alert that stayed quiet resolves itself, or one without an incident is to get it.
CREATE TABLE alerts (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    service_id uuid NOT NULL,
    incident_id uuid,
    source_kind text NOT NULL,
    source_id uuid NOT NULL,
    source_name text NOT NULL,
    dedup_key text NOT NULL,
    status text NOT NULL,
    severity text NOT NULL,
    title text NOT NULL,
    labels jsonb NOT NULL,
    attributes jsonb NOT NULL,
    value float8,
    count int8 NOT NULL,
    started_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    resolved_at timestamptz,
    auto_resolve_ms int8,
    version int8 NOT NULL,
    due_at timestamptz,
    lease_until timestamptz,
    epoch int8 NOT NULL DEFAULT 0,
    attempts int4 NOT NULL DEFAULT 0,
    CONSTRAINT alerts_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT alerts_service_id_fkey FOREIGN KEY (org_id, service_id) REFERENCES services (org_id, id),
    CONSTRAINT alerts_incident_id_fkey FOREIGN KEY (org_id, incident_id) REFERENCES incidents (org_id, id),
    CONSTRAINT alerts_source_kind_check CHECK (source_kind IN ('rule', 'integration', 'person')),
    CONSTRAINT alerts_status_check CHECK (status IN ('firing', 'resolved')),
    CONSTRAINT alerts_severity_check CHECK (severity IN ('critical', 'high', 'medium', 'low', 'info')),
    CONSTRAINT alerts_resolved_at_check CHECK ((status = 'resolved') = (resolved_at IS NOT NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX alerts_open_key ON alerts (org_id, service_id, source_id, dedup_key) WHERE status = 'firing';
CREATE INDEX alerts_resolved_idx ON alerts (org_id, service_id, source_id, dedup_key, resolved_at) WHERE status = 'resolved';
CREATE INDEX alerts_started_at_idx ON alerts (org_id, started_at, id);
CREATE INDEX alerts_firing_idx ON alerts (org_id, started_at, id) WHERE status = 'firing';
CREATE INDEX alerts_service_id_idx ON alerts (org_id, service_id, started_at, id);
CREATE INDEX alerts_dedup_key_idx ON alerts (org_id, dedup_key, started_at, id);
CREATE INDEX alerts_incident_id_idx ON alerts (org_id, incident_id, started_at, id) WHERE incident_id IS NOT NULL;
CREATE INDEX alerts_due_idx ON alerts (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX alerts_org_due_idx ON alerts (org_id, due_at) WHERE due_at IS NOT NULL;

-- Append-only. `data` is the protobuf of the entry's oneof.
CREATE TABLE timeline (
    org_id uuid NOT NULL,
    incident_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    actor jsonb NOT NULL,
    data bytea NOT NULL,
    CONSTRAINT timeline_pkey PRIMARY KEY (org_id, incident_id, at, id),
    CONSTRAINT timeline_incident_id_fkey FOREIGN KEY (org_id, incident_id) REFERENCES incidents (org_id, id)
);

-- Identity of an event is (org, service, id): 128 bits of the id's SHA-256, in the type that holds 16 bytes best.
-- Rows are only inserted and leave when `expires_at` is over.
CREATE TABLE seen_events (
    org_id uuid NOT NULL,
    service_id uuid NOT NULL,
    event_hash uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT seen_events_pkey PRIMARY KEY (org_id, service_id, event_hash)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX seen_events_expires_at_idx ON seen_events (expires_at);

-- One row per rule and group: 128 bits of the SHA-256 over the group's values. `expires_at` is a whole minute, so that most updates
-- leave the index alone and stay in their page.
CREATE TABLE windows (
    org_id uuid NOT NULL,
    rule_id uuid NOT NULL,
    group_hash uuid NOT NULL,
    generation int8 NOT NULL,
    state bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT windows_pkey PRIMARY KEY (org_id, rule_id, group_hash)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX windows_expires_at_idx ON windows (expires_at);

SELECT pulseops.tenant_table('services');
SELECT pulseops.tenant_table('rules');
SELECT pulseops.tenant_table('rule_sets');
SELECT pulseops.tenant_table('incident_counters');
SELECT pulseops.tenant_table('incidents');
SELECT pulseops.tenant_table('incident_assignees');
SELECT pulseops.tenant_table('alerts');
SELECT pulseops.tenant_table('timeline');
SELECT pulseops.tenant_table('seen_events');
SELECT pulseops.tenant_table('windows');
