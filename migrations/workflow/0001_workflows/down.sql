-- Why: takes back 0001: every workflow, policy and run goes.
-- Lock: exclusive on the dropped tables.

DROP TABLE run_steps;
DROP TABLE runs;
DROP TABLE incident_states;
DROP TABLE escalation_policies;
DROP TABLE workflows;
