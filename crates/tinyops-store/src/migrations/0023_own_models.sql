-- Versions of pipelines name the logged model that they are: `m-` and the first 32 digits of their digest.
DROP VIEW model_versions;
CREATE VIEW model_versions AS
SELECT name || '@' || version AS id, name, version, source, run_id, logged_model, run_link, user_id, stage,
       created_at, updated_at, 0 AS own
FROM handed_versions
UNION ALL
SELECT name || '@' || version, name, version, 'mlflow-artifacts:/tinyops/' || name || '/' || version,
       COALESCE('tinyops-' || run_id, ''), 'm-' || SUBSTR({hex_digest}, 1, 32), '', '',
       CASE stage WHEN 'production' THEN 'Production' WHEN 'canary' THEN 'Staging' WHEN 'archived' THEN 'Archived'
       ELSE 'None' END, created_at, created_at, 1
FROM models;
