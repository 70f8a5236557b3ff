-- Orders for windows that devices choose for an annotator, and what came of them.
CREATE TABLE annotations (
    id {id},
    device BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    annotator BYTEA NOT NULL,
    count BIGINT NOT NULL,
    windows BIGINT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    chosen BIGINT NOT NULL,
    quota_left BIGINT,
    bytes BIGINT NOT NULL,
    parcel BYTEA,
    made_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX annotations_open ON annotations (device) WHERE state IN ('asked', 'collecting', 'ready');

-- Sealed bytes of a parcel that is not whole yet.
CREATE TABLE annotation_parts (
    annotation_id BIGINT NOT NULL,
    first_byte BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (annotation_id, first_byte)
);
