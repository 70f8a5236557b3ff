-- The sum of the masked statistics of a round's devices, by the width of their embeddings: no device's own is kept.
CREATE TABLE masked_updates (
    round_id BIGINT NOT NULL,
    width BIGINT NOT NULL,
    device_count BIGINT NOT NULL,
    numbers BYTEA NOT NULL,
    PRIMARY KEY (round_id, width)
);
