-- Why: the answer of a mutation is kept with its Idempotency-Key, in the transaction that made it, so that the same key twice acts once.
-- Lock: none that anybody waits for; the table is new.

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

SELECT pulseops.tenant_table('idempotency_keys');
