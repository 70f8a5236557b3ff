-- A report is one entry in one tree, under its device and number, and no longer in a second one under a row number.
CREATE TABLE reports_by_device (
    device BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    frame BYTEA NOT NULL,
    PRIMARY KEY (device, seq)
){by_primary_key};
INSERT INTO reports_by_device (device, seq, model_id, received_at, frame)
    SELECT device, seq, model_id, received_at, frame FROM reports ORDER BY device, seq;
DROP TABLE reports;
ALTER TABLE reports_by_device RENAME TO reports;
