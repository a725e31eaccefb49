-- Why: takes the first tables of notification-service away, with their data.
-- Lock: exclusive on every one of them.

DROP TABLE attempts;
DROP TABLE notifications;
DROP TABLE messages;
DROP TABLE groups_seen;
DROP TABLE people;
DROP TABLE contact_methods;
DROP TABLE channels;
