-- What hides a report: masks that a helper opens the sum of, or noise of the device's own.
ALTER TABLE masked_reports ADD COLUMN veil TEXT NOT NULL DEFAULT 'masks';
