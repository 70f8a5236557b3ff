-- Envelopes that are acknowledged and not folded into the other tables yet, a group a row.
CREATE TABLE intake_log (
    id {id},
    at BIGINT NOT NULL,
    entries BYTEA NOT NULL
);
