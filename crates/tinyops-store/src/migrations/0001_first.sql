-- Written for SQLite and PostgreSQL; {id} is the only word that differs.
CREATE TABLE projects (
    name TEXT PRIMARY KEY,
    settings BYTEA NOT NULL,
    detail TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE datasets (
    digest BYTEA NOT NULL,
    project TEXT NOT NULL,
    sample_count BIGINT NOT NULL,
    detail TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project, digest)
);
CREATE INDEX datasets_digest ON datasets (digest);
CREATE TABLE triggers (
    id {id},
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    payload BYTEA,
    detail TEXT NOT NULL,
    state TEXT NOT NULL,
    run_id BIGINT,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX triggers_state ON triggers (state, id);
CREATE TABLE runs (
    id {id},
    project TEXT NOT NULL,
    kind TEXT NOT NULL,
    trigger_id BIGINT,
    settings BYTEA NOT NULL,
    code TEXT NOT NULL,
    seed BIGINT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    revision BIGINT NOT NULL
);
CREATE INDEX runs_state ON runs (state);
CREATE TABLE steps (
    run_id BIGINT NOT NULL,
    step_index BIGINT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    cache_key BYTEA,
    inputs TEXT NOT NULL,
    outputs TEXT NOT NULL,
    seconds DOUBLE PRECISION NOT NULL,
    detail TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (run_id, name)
);
CREATE INDEX steps_cache_key ON steps (cache_key);
CREATE TABLE models (
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    project TEXT NOT NULL,
    digest BYTEA NOT NULL,
    run_id BIGINT,
    parent BIGINT,
    metrics TEXT NOT NULL,
    stage TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);
CREATE INDEX models_digest ON models (digest);
CREATE TABLE model_aliases (
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (name, alias)
);
CREATE TABLE lineage (
    from_digest BYTEA NOT NULL,
    to_digest BYTEA NOT NULL,
    kind TEXT NOT NULL,
    run_id BIGINT,
    PRIMARY KEY (from_digest, to_digest, kind)
);
CREATE INDEX lineage_to ON lineage (to_digest);
CREATE TABLE capsules (
    manifest_digest BYTEA PRIMARY KEY,
    model_id BIGINT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    board TEXT NOT NULL,
    digest BYTEA NOT NULL,
    bytes BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    baseline BYTEA NOT NULL,
    detail TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (board, sequence)
);
CREATE INDEX capsules_model ON capsules (model, version, board);
CREATE INDEX capsules_payload ON capsules (payload);
CREATE TABLE audit (
    id {id},
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audit_subject ON audit (subject, id);

CREATE TABLE tokens (
    digest BYTEA PRIMARY KEY,
    board TEXT NOT NULL,
    cohort TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked BIGINT NOT NULL
);
CREATE TABLE devices (
    id BIGINT PRIMARY KEY,
    device_key BYTEA NOT NULL,
    board TEXT NOT NULL,
    cohort TEXT NOT NULL,
    tags TEXT NOT NULL,
    state TEXT NOT NULL,
    enrolled_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX devices_cohort ON devices (cohort);
CREATE TABLE presences (
    device BIGINT PRIMARY KEY,
    model_id BIGINT,
    last_seq BIGINT,
    last_seen BIGINT,
    report_count BIGINT NOT NULL,
    byte_count BIGINT NOT NULL,
    missing_count BIGINT NOT NULL,
    duplicate_count BIGINT NOT NULL,
    malformed_count BIGINT NOT NULL
);
CREATE TABLE reports (
    id {id},
    device BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    frame BYTEA NOT NULL,
    UNIQUE (device, seq)
);
CREATE TABLE drift_states (
    scope TEXT NOT NULL,
    device BIGINT,
    model_id BIGINT NOT NULL,
    state BYTEA NOT NULL,
    score DOUBLE PRECISION NOT NULL,
    alarmed BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (scope, model_id)
);
CREATE INDEX drift_states_device ON drift_states (device);
CREATE TABLE drift_points (
    id {id},
    scope TEXT NOT NULL,
    model_id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    score DOUBLE PRECISION NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX drift_points_scope ON drift_points (scope, id);
CREATE TABLE downlinks (
    device BIGINT PRIMARY KEY,
    last_seq BIGINT NOT NULL
);
CREATE TABLE alerts (
    id {id},
    scope TEXT NOT NULL,
    model_id BIGINT NOT NULL,
    advice TEXT NOT NULL,
    detail TEXT NOT NULL,
    state TEXT NOT NULL,
    actor TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX alerts_scope ON alerts (scope, model_id, state);
CREATE TABLE rollouts (
    id {id},
    model TEXT NOT NULL,
    version BIGINT NOT NULL,
    previous BIGINT,
    cohort TEXT,
    state TEXT NOT NULL,
    plan TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX rollouts_state ON rollouts (state);
CREATE TABLE rollout_members (
    rollout_id BIGINT NOT NULL,
    device BIGINT NOT NULL,
    delivery TEXT NOT NULL,
    target BIGINT,
    changed_at BIGINT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (rollout_id, device)
);
CREATE INDEX rollout_members_device ON rollout_members (device, rollout_id);
CREATE TABLE rounds (
    id {id},
    model_id BIGINT NOT NULL,
    cohort TEXT,
    state TEXT NOT NULL,
    device_count_min BIGINT NOT NULL,
    device_count BIGINT NOT NULL,
    gather_at BIGINT NOT NULL,
    deadline BIGINT NOT NULL,
    statistics BYTEA,
    detail TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revision BIGINT NOT NULL
);
CREATE INDEX rounds_state ON rounds (state);
CREATE TABLE contributions (
    round_id BIGINT NOT NULL,
    device BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    whole BIGINT NOT NULL,
    PRIMARY KEY (round_id, device)
);
CREATE TABLE outcomes (
    device BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    model_id BIGINT NOT NULL,
    predicted BIGINT NOT NULL,
    actual BIGINT NOT NULL,
    window_count BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (device, seq, predicted)
);
CREATE INDEX outcomes_at ON outcomes (at);
CREATE INDEX outcomes_model ON outcomes (model_id, at);
