-- Repairs: what the loop does about a drift, rung by rung, from the alert to the verdict.
CREATE TABLE repairs (
    id {id},
    name TEXT NOT NULL,
    model_id BIGINT NOT NULL,
    is_open BIGINT NOT NULL,
    state TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX repairs_open ON repairs (name) WHERE is_open = 1;
CREATE INDEX repairs_of_a_name ON repairs (name, opened_at);
