-- Why: a mailed code proves an address; a request of which not all people are known yet is kept open; what is pending is found, and what ended long ago leaves.
-- Lock: exclusive on messages for a moment; whoever writes messages or notifications waits while their new indexes are built.

-- The code that was mailed last to prove an address. It is made of `message_id` and the deployment's secret, and kept nowhere.
CREATE TABLE contact_method_codes (
    org_id uuid NOT NULL,
    contact_method_id uuid NOT NULL,
    message_id uuid NOT NULL,
    -- Codes that were tried, right or wrong.
    tries int4 NOT NULL,
    sent_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT contact_method_codes_pkey PRIMARY KEY (org_id, contact_method_id),
    CONSTRAINT contact_method_codes_contact_method_id_fkey FOREIGN KEY (org_id, contact_method_id) REFERENCES contact_methods (org_id, id)
);

-- The codes of the last hour, counted by address over all organizations. The digest is keyed: it shows no address.
CREATE TABLE code_mails (
    address_digest bytea NOT NULL,
    sent_at timestamptz NOT NULL,
    CONSTRAINT code_mails_pkey PRIMARY KEY (address_digest, sent_at)
);
CREATE INDEX code_mails_sent_at_idx ON code_mails (sent_at);

-- Not complete: who is in some group of the targets is not known yet; the request comes again and adds them.
ALTER TABLE messages ADD COLUMN complete bool NOT NULL DEFAULT true;
-- The text has a place for a code, which is filled in for each attempt.
ALTER TABLE messages ADD COLUMN carries_code bool NOT NULL DEFAULT false;
CREATE INDEX messages_created_at_idx ON messages (created_at);
CREATE INDEX messages_code_idx ON messages (org_id, created_at) WHERE carries_code;

-- What people look for; delivered ones are too many to be worth an entry.
DROP INDEX notifications_status_idx;
CREATE INDEX notifications_status_idx ON notifications (org_id, status, id) WHERE status <> 'delivered';

SELECT pulseops.tenant_table('contact_method_codes');
SELECT pulseops.system_table('code_mails', 'an address is mailed so many codes, whichever tenants ask; only keyed digests stand here');
