-- Why: who acts: organizations, users and their teams, sessions and their tokens, keys of programs, keys that sign, and what was changed by whom.
-- Lock: none that anybody waits for; everything here is new.

-- An organization is its own tenant: its id is the org_id of everything in it.
CREATE TABLE organizations (
    org_id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    time_zone text NOT NULL,
    labels jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    archived_at timestamptz,
    version int8 NOT NULL,
    CONSTRAINT organizations_pkey PRIMARY KEY (org_id),
    CONSTRAINT organizations_slug_key UNIQUE (slug),
    CONSTRAINT organizations_slug_check CHECK (slug ~ '^[a-z0-9-]{1,63}$')
);

-- `password_hash` is a PHC string of argon2id; a user without one cannot sign in.
CREATE TABLE users (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    password_hash text,
    time_zone text NOT NULL,
    locale text,
    status text NOT NULL,
    labels jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    archived_at timestamptz,
    version int8 NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT users_org_id_fkey FOREIGN KEY (org_id) REFERENCES organizations (org_id),
    CONSTRAINT users_role_check CHECK (role IN ('owner', 'admin', 'responder', 'viewer')),
    CONSTRAINT users_status_check CHECK (status IN ('active', 'disabled')),
    CONSTRAINT users_email_check CHECK (email = lower(email))
);
-- One account an address in the whole deployment, because a login names no organization. An archived account frees its address.
CREATE UNIQUE INDEX users_email_key ON users (email) WHERE archived_at IS NULL;
CREATE INDEX users_created_at_idx ON users (org_id, created_at, id);
CREATE INDEX users_name_idx ON users (org_id, name, id);

CREATE TABLE teams (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    slug text NOT NULL,
    name text NOT NULL,
    labels jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    archived_at timestamptz,
    version int8 NOT NULL,
    CONSTRAINT teams_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT teams_slug_key UNIQUE (org_id, slug),
    CONSTRAINT teams_org_id_fkey FOREIGN KEY (org_id) REFERENCES organizations (org_id),
    CONSTRAINT teams_slug_check CHECK (slug ~ '^[a-z0-9-]{1,63}$')
);
CREATE INDEX teams_created_at_idx ON teams (org_id, created_at, id);
CREATE INDEX teams_name_idx ON teams (org_id, name, id);

CREATE TABLE team_members (
    org_id uuid NOT NULL,
    team_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    added_at timestamptz NOT NULL,
    added_by text NOT NULL,
    CONSTRAINT team_members_pkey PRIMARY KEY (org_id, team_id, user_id),
    CONSTRAINT team_members_team_id_fkey FOREIGN KEY (org_id, team_id) REFERENCES teams (org_id, id),
    CONSTRAINT team_members_user_id_fkey FOREIGN KEY (org_id, user_id) REFERENCES users (org_id, id),
    CONSTRAINT team_members_role_check CHECK (role IN ('manager', 'member'))
);
CREATE INDEX team_members_user_id_idx ON team_members (org_id, user_id);
CREATE INDEX team_members_added_at_idx ON team_members (org_id, team_id, added_at, user_id);

-- A session is a family of refresh tokens: it ends when one of them is used twice.
CREATE TABLE sessions (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_reason text,
    version int8 NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT sessions_user_id_fkey FOREIGN KEY (org_id, user_id) REFERENCES users (org_id, id),
    CONSTRAINT sessions_revoked_reason_check
        CHECK (revoked_reason IN ('logout', 'reuse', 'password', 'disabled', 'archived'))
);
CREATE INDEX sessions_user_id_idx ON sessions (org_id, user_id);
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);

-- Spent ones stay until they expire, so that their reuse is noticed.
CREATE TABLE refresh_tokens (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    session_id uuid NOT NULL,
    hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    spent_at timestamptz,
    CONSTRAINT refresh_tokens_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT refresh_tokens_hash_key UNIQUE (hash),
    CONSTRAINT refresh_tokens_session_id_fkey FOREIGN KEY (org_id, session_id)
        REFERENCES sessions (org_id, id) ON DELETE CASCADE
);
CREATE INDEX refresh_tokens_session_id_idx ON refresh_tokens (org_id, session_id);
CREATE INDEX refresh_tokens_expires_at_idx ON refresh_tokens (expires_at);

-- An API key is of a user and may do no more than that user; an integration key is of a service, and of nobody.
-- `service_id` names a service of incident-service: a bare id, checked when the key is made.
CREATE TABLE api_keys (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    hash bytea NOT NULL,
    scopes text[] NOT NULL,
    user_id uuid,
    service_id uuid,
    expires_at timestamptz,
    last_used_at timestamptz,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by text NOT NULL,
    revoked_at timestamptz,
    version int8 NOT NULL,
    CONSTRAINT api_keys_pkey PRIMARY KEY (org_id, id),
    CONSTRAINT api_keys_hash_key UNIQUE (hash),
    CONSTRAINT api_keys_org_id_fkey FOREIGN KEY (org_id) REFERENCES organizations (org_id),
    CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (org_id, user_id) REFERENCES users (org_id, id),
    CONSTRAINT api_keys_kind_check CHECK (kind IN ('api', 'integration')),
    CONSTRAINT api_keys_user_id_check CHECK ((kind = 'api') = (user_id IS NOT NULL)),
    CONSTRAINT api_keys_service_id_check CHECK ((kind = 'integration') = (service_id IS NOT NULL))
);
CREATE INDEX api_keys_created_at_idx ON api_keys (org_id, kind, created_at, id);
CREATE INDEX api_keys_user_id_idx ON api_keys (org_id, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX api_keys_service_id_idx ON api_keys (org_id, service_id, created_at, id) WHERE service_id IS NOT NULL;

-- Ed25519 seeds, sealed with a key of the deployment's secret. A retired one still verifies until its last token has ended.
CREATE TABLE signing_keys (
    kid text NOT NULL,
    sealed_seed bytea NOT NULL,
    public_key bytea NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz,
    CONSTRAINT signing_keys_pkey PRIMARY KEY (kid)
);

-- `before` and `after` are the resource as the API shows it: no secret is in them.
CREATE TABLE audit (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    actor_kind text NOT NULL,
    actor_id uuid NOT NULL,
    actor_name text NOT NULL,
    action text NOT NULL,
    subject_kind text NOT NULL,
    subject_id uuid NOT NULL,
    before jsonb,
    after jsonb,
    request_id uuid NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (org_id, id)
);
CREATE INDEX audit_at_idx ON audit (org_id, at, id);
CREATE INDEX audit_subject_id_idx ON audit (org_id, subject_id, at);

SELECT pulseops.tenant_table('organizations');
SELECT pulseops.tenant_table('users');
SELECT pulseops.tenant_table('teams');
SELECT pulseops.tenant_table('team_members');
SELECT pulseops.tenant_table('sessions');
SELECT pulseops.tenant_table('refresh_tokens');
SELECT pulseops.tenant_table('api_keys');
SELECT pulseops.tenant_table('audit');
SELECT pulseops.system_table('signing_keys', 'the keys of the deployment belong to no tenant');

-- History is not rewritten by the service that writes it.
REVOKE UPDATE, DELETE ON audit FROM pulseops_auth, pulseops_auth_sys;
