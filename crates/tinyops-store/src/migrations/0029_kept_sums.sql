-- Sums of single devices are kept for a while after a round in the clear has closed: who is late joins it, and who
-- withdraws leaves it.
ALTER TABLE rounds ADD COLUMN kept_until BIGINT;
ALTER TABLE rounds ADD COLUMN is_stale BIGINT NOT NULL DEFAULT 0;
CREATE INDEX rounds_stale ON rounds (is_stale) WHERE is_stale = 1;
CREATE INDEX rounds_kept ON rounds (kept_until) WHERE kept_until IS NOT NULL;
CREATE INDEX contributions_owed ON contributions (round_id, device) WHERE whole = 0;
-- Devices that no round asks for sums.
CREATE TABLE withdrawals (
    device BIGINT PRIMARY KEY,
    actor TEXT NOT NULL,
    why TEXT NOT NULL,
    at BIGINT NOT NULL
);
