-- Why: one record per incident, from which counts, MTTA, MTTR and history are read without asking anybody.
-- Lock: none that anybody waits for; everything here is new.

CREATE TABLE incident_records (
    org_id uuid NOT NULL,
    incident_id uuid NOT NULL,
    version int8 NOT NULL,
    number int8 NOT NULL,
    title text NOT NULL,
    status text NOT NULL,
    severity text NOT NULL,
    urgency text NOT NULL,
    service_id uuid NOT NULL,
    service_name text NOT NULL,
    team_id uuid,
    team_name text,
    created_at timestamptz NOT NULL,
    first_acknowledged_at timestamptz,
    resolved_at timestamptz,
    auto_resolved bool NOT NULL,
    escalations int4 NOT NULL,
    reopen_count int4 NOT NULL,
    merged bool NOT NULL,
    mtta_ms int8,
    mttr_ms int8,
    CONSTRAINT incident_records_pkey PRIMARY KEY (org_id, incident_id),
    CONSTRAINT incident_records_status_check CHECK (status IN ('triggered', 'acknowledged', 'resolved')),
    CONSTRAINT incident_records_severity_check CHECK (severity IN ('critical', 'high', 'medium', 'low', 'info')),
    CONSTRAINT incident_records_urgency_check CHECK (urgency IN ('high', 'low'))
);

CREATE INDEX incident_records_created_at_idx ON incident_records (org_id, created_at, incident_id);
CREATE INDEX incident_records_team_idx ON incident_records (org_id, team_id, created_at, incident_id) WHERE team_id IS NOT NULL;
CREATE INDEX incident_records_service_idx ON incident_records (org_id, service_id, created_at, incident_id);

SELECT pulseops.tenant_table('incident_records');
