-- Who works on a run, and until when that holds without a word; NULL is nobody.
ALTER TABLE runs ADD COLUMN owner TEXT;
ALTER TABLE runs ADD COLUMN lease_until BIGINT;
