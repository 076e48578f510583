-- name: list_projects()
-- All projects that have executions, by name; each is found by the one before it.
WITH RECURSIVE found (project) AS (
    SELECT min(project) FROM execution
    UNION ALL
    SELECT (SELECT min(later.project) FROM execution AS later WHERE later.project > found.project)
    FROM found
    WHERE found.project IS NOT NULL
)
SELECT project FROM found WHERE project IS NOT NULL;

-- name: count_standing(status, at_most)
-- How many executions of any project have a status; no more are looked at than are counted.
SELECT count(*)
FROM (SELECT 1 FROM execution WHERE status = :status LIMIT :at_most) AS standing;

-- name: count_open_questions(now, at_most)
-- How many questions of any project are open that were asked until now.
SELECT count(*)
FROM (
    SELECT 1 FROM wait
    WHERE status = 'open' AND kind = 'input' AND created_at <= :now
    LIMIT :at_most
) AS asked;

-- name: count_due(now, at_most)
-- How many pending executions could be claimed now.
SELECT count(*)
FROM (
    SELECT 1 FROM execution
    WHERE status = 'pending' AND held_at IS NULL AND runnable_at <= :now
    LIMIT :at_most
) AS due;
