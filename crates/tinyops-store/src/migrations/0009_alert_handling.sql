-- What people do about alerts: until when one is muted, and why; two kinds of them; who is told over HTTP.
ALTER TABLE alerts ADD COLUMN kind TEXT NOT NULL DEFAULT 'drift';
ALTER TABLE alerts ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE alerts ADD COLUMN muted_until BIGINT;
CREATE TABLE webhooks (
    name TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    authorities TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);
-- What webhooks are owed, and what came of it: written with what it tells of, so that a restart loses nothing.
CREATE TABLE webhook_deliveries (
    id {id},
    webhook TEXT NOT NULL,
    event TEXT NOT NULL,
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt_count BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    answer TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX webhook_deliveries_state ON webhook_deliveries (state, next_at);
-- What is remembered of the labelled errors of a cohort and model.
CREATE TABLE error_streams (
    cohort TEXT NOT NULL,
    model_id BIGINT NOT NULL,
    state BYTEA NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (cohort, model_id)
);
