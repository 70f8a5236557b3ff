-- A store may have several projects: which of them an upload came to. Of those from before it is known where there is one.
ALTER TABLE uploads ADD COLUMN project TEXT;
UPDATE uploads SET project = (SELECT MIN(name) FROM projects) WHERE (SELECT COUNT(*) FROM projects) = 1;
