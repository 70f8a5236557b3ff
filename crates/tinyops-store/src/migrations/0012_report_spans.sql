-- Reports of one device that are stored together are one row; a row of one report is its frame as it was before.
CREATE TABLE report_spans (
    device BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    report_count BIGINT NOT NULL,
    frames BYTEA NOT NULL,
    PRIMARY KEY (device, last_seq)
);
INSERT INTO report_spans (device, last_seq, model_id, received_at, report_count, frames)
    SELECT device, seq, model_id, received_at, 1, frame FROM reports ORDER BY device, seq;
DROP TABLE reports;
