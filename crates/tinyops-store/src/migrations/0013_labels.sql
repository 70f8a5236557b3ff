-- What people know of the newest windows of a device, until the device is told.
CREATE TABLE labels (
    id {id},
    device BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    class BIGINT NOT NULL,
    class_name TEXT NOT NULL,
    windows BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    told_at BIGINT
);
CREATE INDEX labels_untold ON labels (device) WHERE told_at IS NULL;
