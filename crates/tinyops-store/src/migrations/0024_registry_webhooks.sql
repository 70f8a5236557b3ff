-- Whoever is told of changes of the registry listens as whoever is told of alerts, and is owed in the same outbox.
ALTER TABLE webhooks ADD COLUMN kind TEXT NOT NULL DEFAULT 'alerts';
ALTER TABLE webhooks ADD COLUMN about TEXT NOT NULL DEFAULT 'null';
