-- What is known of a run lies together, in the order of its keys: a page of runs is read in few places.
DROP INDEX run_params_mark;
DROP INDEX run_tags_mark;
DROP INDEX run_metrics_value;
ALTER TABLE run_params RENAME TO run_params_before;
ALTER TABLE run_tags RENAME TO run_tags_before;
ALTER TABLE run_metrics RENAME TO run_metrics_before;
CREATE TABLE run_params (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    mark BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
){clustered};
CREATE TABLE run_tags (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    mark BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
){clustered};
CREATE TABLE run_metrics (
    owner BIGINT NOT NULL,
    key TEXT NOT NULL,
    value DOUBLE PRECISION,
    at BIGINT NOT NULL,
    step BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
){clustered};
INSERT INTO run_params SELECT owner, key, value, mark FROM run_params_before;
INSERT INTO run_tags SELECT owner, key, value, mark FROM run_tags_before;
INSERT INTO run_metrics SELECT owner, key, value, at, step FROM run_metrics_before;
DROP TABLE run_params_before;
DROP TABLE run_tags_before;
DROP TABLE run_metrics_before;
CREATE INDEX run_params_mark ON run_params (key, mark);
CREATE INDEX run_tags_mark ON run_tags (key, mark);
CREATE INDEX run_metrics_value ON run_metrics (key, value);
CREATE INDEX logged_model_params_mark ON logged_model_params (key, mark);
CREATE INDEX logged_model_tags_mark ON logged_model_tags (key, mark);
