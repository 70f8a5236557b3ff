-- A wish is made once, whoever repeats it (`once`); it is tried a few times, and not before its time.
ALTER TABLE triggers ADD COLUMN once TEXT;
ALTER TABLE triggers ADD COLUMN tries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE triggers ADD COLUMN not_before BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX triggers_once ON triggers (once);
