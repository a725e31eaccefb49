-- Why: what people configure (workflows, escalation policies), what runs because of it, and the incidents' states as this service has heard of them.
-- Lock: none that anybody waits for; everything here is new.

-- `steps` is an encoded pulseops.workflow.v1.Workflow that holds its steps and nothing else; in it the values of http steps' headers are sealed.
CREATE TABLE workflows (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    triggers text[] NOT NULL,
    condition text NOT NULL,
    cost int8 NOT NULL,
    service_ids uuid[] NOT NULL,
    hold_paging_ms int8 NOT NULL,
    steps bytea NOT NULL,
    disabled bool NOT NULL,
    labels jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    version int8 NOT NULL,
    archived_at timestamptz,
    CONSTRAINT workflows_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT workflows_slug_key UNIQUE (org_id, slug),
    CONSTRAINT workflows_hold_paging_ms_check CHECK (hold_paging_ms BETWEEN 0 AND 900000)
);
CREATE INDEX workflows_created_at_idx ON workflows (org_id, created_at, id);
CREATE INDEX workflows_name_idx ON workflows (org_id, name, id);
CREATE INDEX workflows_live_idx ON workflows (org_id) WHERE archived_at IS NULL AND NOT disabled;

-- `levels` is an encoded pulseops.workflow.v1.EscalationPolicy that holds its levels and nothing else;
-- `target_names` has the names of the targets as they were when they were checked.
CREATE TABLE escalation_policies (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    levels bytea NOT NULL,
    target_names jsonb NOT NULL,
    repeat int4 NOT NULL,
    labels jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    version int8 NOT NULL,
    archived_at timestamptz,
    CONSTRAINT escalation_policies_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT escalation_policies_slug_key UNIQUE (org_id, slug),
    CONSTRAINT escalation_policies_repeat_check CHECK (repeat BETWEEN 0 AND 9)
);
CREATE INDEX escalation_policies_created_at_idx ON escalation_policies (org_id, created_at, id);
CREATE INDEX escalation_policies_name_idx ON escalation_policies (org_id, name, id);

-- The last version of each incident that the consumer `responder` has applied.
CREATE TABLE incident_states (
    org_id uuid NOT NULL,
    incident_id uuid NOT NULL,
    number int8 NOT NULL,
    status text NOT NULL,
    version int8 NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT incident_states_pkey PRIMARY KEY (org_id, incident_id),
    CONSTRAINT incident_states_status_check CHECK (status IN ('triggered', 'acknowledged', 'resolved'))
) WITH (fillfactor = 80);

-- A run is leased work: due_at is null when nothing is left to do, its timeline entries included. `program_id` is the workflow or policy
-- (nil for the built-in policy); `origin` says what started it (`event:<version>` or `step:<run>:<path>`), so that the same thing starts it once.
-- Each kind has a driver of its own: what hangs in a workflow's step must not keep a page waiting.
CREATE TABLE runs (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    program_id uuid NOT NULL,
    name text NOT NULL,
    incident_id uuid NOT NULL,
    incident_number int8 NOT NULL,
    origin text NOT NULL,
    trigger_event uuid NOT NULL,
    trigger_version int8 NOT NULL,
    depth int4 NOT NULL,
    trace text NOT NULL,
    status text NOT NULL,
    program jsonb NOT NULL,
    state jsonb NOT NULL,
    incident bytea NOT NULL,
    nudges int4 NOT NULL,
    hold_until timestamptz,
    decided_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    detail text NOT NULL,
    due_at timestamptz,
    lease_until timestamptz,
    epoch int8 NOT NULL DEFAULT 0,
    attempts int4 NOT NULL DEFAULT 0,
    CONSTRAINT runs_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT runs_origin_key UNIQUE (org_id, incident_id, kind, program_id, origin),
    CONSTRAINT runs_kind_check CHECK (kind IN ('workflow', 'policy')),
    CONSTRAINT runs_status_check CHECK (status IN ('held', 'running', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT runs_due_at_check CHECK (due_at IS NOT NULL OR status IN ('succeeded', 'failed', 'cancelled'))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX runs_due_policy_idx ON runs (due_at) WHERE due_at IS NOT NULL AND kind = 'policy';
CREATE INDEX runs_due_workflow_idx ON runs (due_at) WHERE due_at IS NOT NULL AND kind = 'workflow';
CREATE INDEX runs_org_due_policy_idx ON runs (org_id, due_at) WHERE due_at IS NOT NULL AND kind = 'policy';
CREATE INDEX runs_org_due_workflow_idx ON runs (org_id, due_at) WHERE due_at IS NOT NULL AND kind = 'workflow';
CREATE INDEX runs_status_idx ON runs (org_id, status, id DESC);
CREATE INDEX runs_program_id_idx ON runs (org_id, program_id, id DESC);
CREATE INDEX runs_incident_id_idx ON runs (org_id, incident_id, id DESC);

-- What became of each try of each step. `entry` is the timeline entry that is owed for it (null: none), `noted_at` when it was written.
CREATE TABLE run_steps (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    run_id uuid NOT NULL,
    path text NOT NULL,
    kind text NOT NULL,
    outcome text NOT NULL,
    detail text NOT NULL,
    attempt int4 NOT NULL,
    level int4 NOT NULL,
    round int4 NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    entry text,
    noted_at timestamptz,
    CONSTRAINT run_steps_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT run_steps_outcome_key UNIQUE (org_id, run_id, path, kind, attempt, outcome),
    CONSTRAINT run_steps_run_id_fkey FOREIGN KEY (org_id, run_id) REFERENCES runs (org_id, id),
    CONSTRAINT run_steps_outcome_check CHECK (outcome IN ('succeeded', 'failed', 'retrying', 'cancelled')),
    CONSTRAINT run_steps_entry_check CHECK (entry IN ('step', 'note', 'nobody_reachable', 'escalated'))
);
CREATE INDEX run_steps_run_id_idx ON run_steps (org_id, run_id, id);

SELECT pulseops.tenant_table('workflows');
SELECT pulseops.tenant_table('escalation_policies');
SELECT pulseops.tenant_table('incident_states');
SELECT pulseops.tenant_table('runs');
SELECT pulseops.tenant_table('run_steps');
