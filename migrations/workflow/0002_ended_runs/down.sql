-- Why: takes back 0002: nothing is swept by the time at which runs ended.
-- Lock: exclusive on the dropped index and on runs, for a moment.

DROP INDEX runs_ended_at_idx;
