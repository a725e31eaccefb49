-- Why: runs leave a while after they have ended (docs/adr/0010); the sweep finds the oldest of them by this index.
-- Lock: SHARE on runs, which keeps writers waiting while the index is built.

CREATE INDEX runs_ended_at_idx ON runs (ended_at) WHERE due_at IS NULL;
