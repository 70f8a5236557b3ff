-- Devices that poll the hawkBit DDI, what each is asked to install, and tokens that speak for the devices of one class.
CREATE TABLE ddi_targets (
    device BIGINT PRIMARY KEY,
    controller TEXT NOT NULL UNIQUE,
    token BYTEA,
    packing TEXT NOT NULL,
    asks_consent BIGINT NOT NULL,
    auto_confirm TEXT NOT NULL,
    wants_config BIGINT NOT NULL,
    counted_at BIGINT,
    revision BIGINT NOT NULL
);
CREATE TABLE ddi_actions (
    id {id},
    device BIGINT NOT NULL,
    rollout_id BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    state TEXT NOT NULL,
    statement BYTEA NOT NULL,
    detail TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX ddi_actions_device ON ddi_actions (device, id);
CREATE UNIQUE INDEX ddi_actions_standing ON ddi_actions (device) WHERE state IN ('waiting', 'open', 'canceling');
CREATE TABLE ddi_classes (
    token_id BIGINT PRIMARY KEY,
    board TEXT NOT NULL,
    cohort TEXT NOT NULL,
    packing TEXT NOT NULL
);
