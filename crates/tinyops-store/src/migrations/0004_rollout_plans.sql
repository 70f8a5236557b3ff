-- Rollouts go to the devices that a selector holds for, by a plan of waves; a device listens to one of them.
ALTER TABLE rollouts ADD COLUMN selector TEXT NOT NULL DEFAULT '';
ALTER TABLE rollouts ADD COLUMN priority BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rollouts ADD COLUMN progress TEXT NOT NULL DEFAULT '{}';
UPDATE rollouts SET selector = 'cohort = "' || cohort || '"' WHERE cohort IS NOT NULL;
UPDATE rollouts SET progress = '{"wave":1,"share":1.0}' WHERE state = 'full';
UPDATE rollouts SET progress = '{"wave":0,"share":0.1}' WHERE state IN ('canary', 'paused');
UPDATE rollouts SET state = 'running' WHERE state IN ('canary', 'full');
ALTER TABLE rollouts DROP COLUMN cohort;
UPDATE rollout_members SET target = NULL WHERE target IS NOT NULL AND rollout_id <> (
    SELECT MAX(other.rollout_id) FROM rollout_members other
    WHERE other.device = rollout_members.device AND other.target IS NOT NULL
);
CREATE UNIQUE INDEX rollout_members_target ON rollout_members (device) WHERE target IS NOT NULL;
