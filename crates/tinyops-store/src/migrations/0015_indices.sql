-- An episode asks for the alerts of one model in a stretch of time; a turn, for labels that nobody was told and that hold.
CREATE INDEX alerts_opened ON alerts (model_id, opened_at);
CREATE INDEX labels_standing ON labels (expires_at) WHERE told_at IS NULL;
