-- What each device said of itself when it last booted: what it holds, and what it understands.
CREATE TABLE hellos (
    device BIGINT PRIMARY KEY,
    boot_count BIGINT NOT NULL,
    arena_bytes BIGINT NOT NULL,
    slot_bytes BIGINT NOT NULL,
    key_set BIGINT,
    features BIGINT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX hellos_key_set ON hellos (key_set);
