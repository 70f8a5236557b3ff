-- One sum of reports under masks that a helper is asked for; it is there until the answer is used.
CREATE TABLE masked_sums (
    id {id},
    cohort TEXT NOT NULL,
    model_id BIGINT NOT NULL,
    task BYTEA NOT NULL,
    device_count BIGINT NOT NULL,
    asked_at BIGINT NOT NULL,
    problem TEXT NOT NULL
);
-- Reports under masks, until the sum that they are in is known; sum_id is null while they wait to be in one.
CREATE TABLE masked_reports (
    device BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    cohort TEXT NOT NULL,
    model_id BIGINT NOT NULL,
    task BYTEA NOT NULL,
    numbers BYTEA NOT NULL,
    received_at BIGINT NOT NULL,
    sum_id BIGINT,
    PRIMARY KEY (device, seq)
);
CREATE INDEX masked_reports_sum ON masked_reports (sum_id);
-- What each device has paid of its privacy budgets, as far as what it sent shows it.
CREATE TABLE privacy_ledgers (
    device BIGINT NOT NULL,
    purpose TEXT NOT NULL,
    micro_rho BIGINT NOT NULL,
    period_from BIGINT NOT NULL,
    budget_class BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (device, purpose)
);
-- By which task each device was told to report under masks, and when that was last known to hold.
CREATE TABLE masked_tasks (
    device BIGINT PRIMARY KEY,
    task BIGINT NOT NULL,
    at BIGINT NOT NULL
);
