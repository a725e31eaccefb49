-- Why: takes back 0001; everything that incident-service owns is gone.
-- Lock: access exclusive on each table, for the moment of its drop.

DROP TABLE windows;
DROP TABLE seen_events;
DROP TABLE timeline;
DROP TABLE alerts;
DROP TABLE incident_assignees;
DROP TABLE incidents;
DROP TABLE incident_counters;
DROP TABLE rule_sets;
DROP TABLE rules;
DROP TABLE services;
