-- Experiments that any trainer logs to, and the registry that models of any origin are numbered in.
CREATE TABLE experiments (
    id {id},
    name TEXT NOT NULL UNIQUE,
    artifact_location TEXT NOT NULL,
    lifecycle TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO experiments (id, name, artifact_location, lifecycle, created_at, updated_at)
VALUES (0, 'Default', '', 'active', 0, 0);
CREATE TABLE experiment_tags (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    mark BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);

CREATE TABLE tracked_runs (
    id {id},
    run_id TEXT NOT NULL UNIQUE,
    experiment BIGINT NOT NULL,
    name TEXT NOT NULL,
    user_id TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    lifecycle TEXT NOT NULL
);
CREATE INDEX tracked_runs_experiment ON tracked_runs (experiment, started_at);
-- `mark` are eight bytes of the value's digest: texts of any length are found by it.
CREATE TABLE run_params (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    mark BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX run_params_mark ON run_params (key, mark);
CREATE TABLE run_tags (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    mark BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX run_tags_mark ON run_tags (key, mark);
-- The newest point of each metric; NaN is NULL.
CREATE TABLE run_metrics (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    value DOUBLE PRECISION,
    at BIGINT NOT NULL,
    step BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX run_metrics_value ON run_metrics (key, value);
-- All points, 24 bytes each, as many in a row as came in one call.
CREATE TABLE metric_points (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    points BYTEA NOT NULL
);
CREATE INDEX metric_points_owner ON metric_points (owner, key);
CREATE TABLE tracked_datasets (
    id {id},
    experiment BIGINT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    source_type TEXT NOT NULL,
    source TEXT NOT NULL,
    schema TEXT NOT NULL,
    profile TEXT NOT NULL,
    UNIQUE (experiment, name, digest)
);
CREATE TABLE run_datasets (
    run BIGINT NOT NULL,
    dataset BIGINT NOT NULL,
    context TEXT NOT NULL,
    tags TEXT NOT NULL,
    PRIMARY KEY (run, dataset)
);
CREATE TABLE run_models (
    run BIGINT NOT NULL,
    model_id TEXT NOT NULL,
    direction TEXT NOT NULL,
    step BIGINT NOT NULL,
    PRIMARY KEY (run, model_id, direction)
);

CREATE TABLE logged_models (
    id {id},
    model_id TEXT NOT NULL UNIQUE,
    experiment BIGINT NOT NULL,
    name TEXT NOT NULL,
    model_type TEXT NOT NULL,
    source_run_id TEXT NOT NULL,
    status TEXT NOT NULL,
    status_message TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX logged_models_experiment ON logged_models (experiment, name);
CREATE TABLE logged_model_params (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    mark BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE TABLE logged_model_tags (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    mark BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE TABLE logged_model_metrics (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    value DOUBLE PRECISION,
    at BIGINT NOT NULL,
    step BIGINT NOT NULL,
    run_id TEXT NOT NULL,
    dataset_name TEXT NOT NULL,
    dataset_digest TEXT NOT NULL,
    PRIMARY KEY (owner, key, run_id, dataset_name, dataset_digest)
);

-- Every name of a model, whoever registers its versions, and the number of its last one.
CREATE TABLE registered_models (
    id {id},
    name TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    last_version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO registered_models (name, description, last_version, created_at, updated_at)
SELECT name, '', MAX(version), MIN(created_at), MAX(created_at) FROM models GROUP BY name;
CREATE TABLE registered_model_tags (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    mark BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
-- Versions that a client of the tracking API handed in; those of the pipeline are in `models`.
CREATE TABLE handed_versions (
    id {id},
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    source TEXT NOT NULL,
    run_id TEXT NOT NULL,
    logged_model TEXT NOT NULL,
    run_link TEXT NOT NULL,
    user_id TEXT NOT NULL,
    stage TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (name, version)
);
-- What is known of every version, by `NAME@VERSION`.
CREATE VIEW model_versions AS
SELECT name || '@' || version AS id, name, version, source, run_id, logged_model, run_link, user_id, stage,
       created_at, updated_at, 0 AS own
FROM handed_versions
UNION ALL
SELECT name || '@' || version, name, version, 'mlflow-artifacts:/tinyops/' || name || '/' || version,
       COALESCE('tinyops-' || run_id, ''), '', '', '',
       CASE stage WHEN 'production' THEN 'Production' WHEN 'canary' THEN 'Staging' WHEN 'archived' THEN 'Archived'
       ELSE 'None' END, created_at, created_at, 1
FROM models;
CREATE TABLE model_version_tags (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    mark BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE TABLE model_version_notes (
    id TEXT PRIMARY KEY,
    description TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE TABLE alias_changes (
    id {id},
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    version BIGINT,
    actor TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX alias_changes_name ON alias_changes (name, id);

-- Paths are bytes: both engines sort these alike, which texts they do not.
CREATE TABLE tracked_files (
    path BYTEA PRIMARY KEY,
    digest BYTEA NOT NULL,
    bytes BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
