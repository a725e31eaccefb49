-- Why: who is told and what became of it: channels, contact methods, people as last heard of, messages, notifications and their attempts.
-- Lock: none that anybody waits for; everything here is new.

CREATE TABLE channels (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    team_id uuid,
    kind text NOT NULL CONSTRAINT channels_kind_check CHECK (kind IN ('webhook', 'email', 'log')),
    -- Addresses may hold secrets (a webhook's path): sealed, with a keyed digest to compare and a short form to show.
    address_sealed bytea NOT NULL,
    address_shown text NOT NULL,
    address_digest bytea NOT NULL,
    secret_sealed bytea,
    disabled bool NOT NULL,
    labels jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by uuid NOT NULL,
    version int8 NOT NULL,
    archived_at timestamptz,
    CONSTRAINT channels_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT channels_slug_key UNIQUE (org_id, slug)
);
CREATE INDEX channels_created_at_idx ON channels (org_id, created_at, id);
CREATE INDEX channels_name_idx ON channels (org_id, name, id);
CREATE INDEX channels_team_id_idx ON channels (org_id, team_id) WHERE team_id IS NOT NULL;

CREATE TABLE contact_methods (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    kind text NOT NULL CONSTRAINT contact_methods_kind_check CHECK (kind IN ('webhook', 'email', 'log')),
    address_sealed bytea NOT NULL,
    address_shown text NOT NULL,
    address_digest bytea NOT NULL,
    secret_sealed bytea,
    disabled bool NOT NULL,
    verified_at timestamptz,
    created_at timestamptz NOT NULL,
    created_by uuid NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by uuid NOT NULL,
    version int8 NOT NULL,
    archived_at timestamptz,
    CONSTRAINT contact_methods_pkey PRIMARY KEY (org_id, id)
);
CREATE INDEX contact_methods_user_id_idx ON contact_methods (org_id, user_id, id);
CREATE UNIQUE INDEX contact_methods_address_key ON contact_methods (org_id, user_id, kind, address_digest) WHERE archived_at IS NULL;

-- Names for trails and answers, the account's own address and its standing, as auth last said them.
CREATE TABLE people (
    org_id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    -- The address that the account was registered with: a contact method with it needs no proof.
    verified_digest bytea,
    -- The account is disabled or archived: its person is told of nothing.
    inactive bool NOT NULL,
    -- Version of the user in auth that said so: older words change nothing.
    version int8 NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT people_pkey PRIMARY KEY (org_id, user_id)
);

-- The last good answer to "who is in this team" and "who are the owners" (group_id = the nil UUID): used when auth is silent.
CREATE TABLE groups_seen (
    org_id uuid NOT NULL,
    kind text NOT NULL CONSTRAINT groups_seen_kind_check CHECK (kind IN ('team', 'owners')),
    group_id uuid NOT NULL,
    user_ids uuid[] NOT NULL,
    names text[] NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT groups_seen_pkey PRIMARY KEY (org_id, kind, group_id)
);

-- What is said, rendered once for all notifications of one request; never changed.
CREATE TABLE messages (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    -- The key of the request that made it: the same key again finds this row and makes nothing new.
    send_key text NOT NULL,
    subject text NOT NULL,
    text_body text NOT NULL,
    json_body text NOT NULL,
    incident_id uuid,
    run_id uuid,
    nobody_reachable bool NOT NULL,
    actor_kind int4 NOT NULL,
    actor_id text NOT NULL,
    actor_name text NOT NULL,
    trace text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT messages_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT messages_send_key_key UNIQUE (org_id, send_key)
);

CREATE TABLE notifications (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    -- What the receiver sees on every attempt.
    key text NOT NULL,
    message_id uuid NOT NULL,
    status text NOT NULL CONSTRAINT notifications_status_check CHECK (status IN ('pending', 'delivered', 'dead', 'cancelled')),
    kind text NOT NULL CONSTRAINT notifications_kind_check CHECK (kind IN ('webhook', 'email', 'log')),
    channel_id uuid,
    contact_method_id uuid,
    user_id uuid,
    recipient text NOT NULL,
    address_shown text NOT NULL,
    incident_id uuid,
    run_id uuid,
    -- Of one order key, sequences go out in order.
    order_key text NOT NULL,
    sequence int8 NOT NULL,
    decided_at timestamptz NOT NULL,
    -- The incident's status when it was decided to tell; an incident that has moved on since cancels. NULL: about no incident.
    decided_status text CONSTRAINT notifications_decided_status_check CHECK (decided_status IN ('triggered', 'acknowledged', 'resolved')),
    -- Attempts up to this number belong to budgets that are spent (a replay grants a new one).
    spent int4 NOT NULL,
    -- The incident's timeline has that attempts of this budget fail.
    failing_told bool NOT NULL,
    -- What the incident's timeline is owed besides the end: whom the message leaves out (on one notification of a
    -- message), the death before a replay. Until it is told.
    notes jsonb,
    created_at timestamptz NOT NULL,
    delivered_at timestamptz,
    ended_at timestamptz,
    due_at timestamptz,
    lease_until timestamptz,
    epoch int8 NOT NULL DEFAULT 0,
    attempts int4 NOT NULL DEFAULT 0,
    CONSTRAINT notifications_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT notifications_key_key UNIQUE (org_id, key),
    CONSTRAINT notifications_message_id_fkey FOREIGN KEY (org_id, message_id) REFERENCES messages (org_id, id),
    CONSTRAINT notifications_channel_id_fkey FOREIGN KEY (org_id, channel_id) REFERENCES channels (org_id, id),
    CONSTRAINT notifications_contact_method_id_fkey FOREIGN KEY (org_id, contact_method_id) REFERENCES contact_methods (org_id, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX notifications_due_at_idx ON notifications (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notifications_org_due_at_idx ON notifications (org_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notifications_order_key_idx ON notifications (org_id, order_key, sequence);
CREATE INDEX notifications_message_id_idx ON notifications (org_id, message_id);
CREATE INDEX notifications_incident_id_idx ON notifications (org_id, incident_id, id) WHERE incident_id IS NOT NULL;
CREATE INDEX notifications_channel_id_idx ON notifications (org_id, channel_id, id) WHERE channel_id IS NOT NULL;
CREATE INDEX notifications_user_id_idx ON notifications (org_id, user_id, id) WHERE user_id IS NOT NULL;
-- What people look for; delivered ones are too many and pending ones too short-lived to be worth an entry.
CREATE INDEX notifications_status_idx ON notifications (org_id, status, id) WHERE status IN ('dead', 'cancelled');

-- Written by the claim, before anything is sent: an attempt without an end is one that was maybe sent.
CREATE TABLE attempts (
    org_id uuid NOT NULL,
    notification_id uuid NOT NULL,
    number int4 NOT NULL,
    epoch int8 NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    outcome text NOT NULL CONSTRAINT attempts_outcome_check CHECK (outcome IN ('started', 'delivered', 'failed', 'refused', 'cancelled')),
    status int4 NOT NULL,
    detail text NOT NULL,
    CONSTRAINT attempts_pkey PRIMARY KEY (org_id, notification_id, number),
    CONSTRAINT attempts_notification_id_fkey FOREIGN KEY (org_id, notification_id) REFERENCES notifications (org_id, id)
);

SELECT pulseops.tenant_table('channels');
SELECT pulseops.tenant_table('contact_methods');
SELECT pulseops.tenant_table('people');
SELECT pulseops.tenant_table('groups_seen');
SELECT pulseops.tenant_table('messages');
SELECT pulseops.tenant_table('notifications');
SELECT pulseops.tenant_table('attempts');
