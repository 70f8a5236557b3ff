-- Tokens of people and programs, and an audit log that only grows: each entry carries a digest that covers the one before.
CREATE TABLE access_tokens (
    id {id},
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    digest BYTEA NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);
ALTER TABLE audit ADD COLUMN digest BYTEA;
{append_only_audit}
