-- Devices make their own keys. A class token's text proves nothing any more, so those of before end here.
DROP TABLE tokens;
CREATE TABLE class_tokens (
    id BIGINT PRIMARY KEY,
    token_key BYTEA NOT NULL,
    board TEXT NOT NULL,
    cohort TEXT NOT NULL,
    tags TEXT NOT NULL,
    uses_max BIGINT NOT NULL,
    use_count BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);
CREATE TABLE claim_authorities (
    name TEXT PRIMARY KEY,
    public_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    revoked_at BIGINT
);
CREATE TABLE claims (
    serial TEXT PRIMARY KEY,
    use_count BIGINT NOT NULL,
    used_at BIGINT,
    revoked_at BIGINT
);
-- One row for each device that was let in: the same request is answered the same, and no key enrols twice.
CREATE TABLE enrolments (
    public_key BYTEA PRIMARY KEY,
    request BYTEA NOT NULL UNIQUE,
    device BIGINT NOT NULL,
    answer BYTEA NOT NULL,
    proof TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX enrolments_device ON enrolments (device, at);
-- Until when a device that is known may enrol once more.
CREATE TABLE enrolment_permits (
    device BIGINT PRIMARY KEY,
    valid_until BIGINT NOT NULL
);
