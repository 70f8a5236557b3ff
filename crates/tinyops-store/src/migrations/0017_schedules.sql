-- Up to which moment the schedule of a project has been answered.
CREATE TABLE schedules (
    project TEXT PRIMARY KEY,
    expression TEXT NOT NULL,
    answered_to BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
