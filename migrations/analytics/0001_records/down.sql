-- Why: takes back 0001_records. What it held comes again from the incident events still in the log.
-- Lock: AccessExclusive on incident_records, which goes.

DROP TABLE incident_records;
