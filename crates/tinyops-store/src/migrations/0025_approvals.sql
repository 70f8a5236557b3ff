-- Who said of a version that it may go out.
CREATE TABLE model_approvals (
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    actor TEXT NOT NULL,
    role TEXT NOT NULL,
    why TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (model, version, actor)
);
