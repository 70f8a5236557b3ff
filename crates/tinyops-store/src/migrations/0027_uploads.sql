-- Recordings that came over the network: what came when, from whom, and where it lies.
CREATE TABLE uploads (
    id {id},
    received_at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    category TEXT NOT NULL,
    path TEXT NOT NULL,
    digest BYTEA NOT NULL,
    bytes BIGINT NOT NULL,
    label TEXT,
    device TEXT,
    device_type TEXT,
    is_signed BIGINT NOT NULL,
    metadata TEXT NOT NULL,
    purpose TEXT,
    consent_until BIGINT,
    erased_at BIGINT
);
CREATE INDEX uploads_digest ON uploads (digest);
CREATE INDEX uploads_path ON uploads (path);
CREATE INDEX uploads_device ON uploads (device);

-- The greatest counter of a recording that each device's key has signed, and that was kept.
CREATE TABLE upload_counters (
    device BIGINT PRIMARY KEY,
    counter BIGINT NOT NULL
);
