-- Each statement goes on after `WITH chosen AS (...)`, which `statistics.py` puts before it: the executions
-- that are asked about. In SQLite, CROSS JOIN keeps the order in which tables are named.
--
-- The place of a span among the others gives percentiles where a database has no functions for them: the
-- median is the mean of the one or two in the middle, the 95th percentile the first that 95 of 100 do not exceed.

-- name: count_by_status()
-- How many executions of each flow stand where.
SELECT flow, status, count(*), sum(recoveries)
FROM chosen
GROUP BY flow, status
ORDER BY flow, status;

-- name: measure_executions()
-- How long completed executions of each flow took.
SELECT
    flow,
    count(*),
    avg(span),
    avg(CASE WHEN place IN ((places + 1) / 2, (places + 2) / 2) THEN span END),
    max(CASE WHEN place = (places * 95 + 99) / 100 THEN span END),
    max(span)
FROM (
    SELECT
        flow,
        ended_at - started_at AS span,
        row_number() OVER (PARTITION BY flow ORDER BY ended_at - started_at) AS place,
        count(*) OVER (PARTITION BY flow) AS places
    FROM chosen
    WHERE status = 'completed' AND started_at IS NOT NULL
) AS placed
GROUP BY flow;

-- name: count_calls()
-- How many calls of each checkpoint there are, failed, and were not run.
SELECT
    chosen.flow,
    call.name,
    count(*),
    sum(CASE WHEN call.status = 'failed' THEN 1 ELSE 0 END),
    sum(CASE WHEN call.status = 'cached' THEN 1 ELSE 0 END),
    sum(CASE WHEN call.status IN ('reused', 'overridden') THEN 1 ELSE 0 END)
FROM chosen
CROSS JOIN call
WHERE call.execution_id = chosen.id AND call.kind = 'checkpoint'
GROUP BY chosen.flow, call.name
ORDER BY chosen.flow, call.name;

-- name: measure_calls()
-- How long those calls took whose body returned.
SELECT
    flow,
    name,
    count(*),
    avg(span),
    avg(CASE WHEN place IN ((places + 1) / 2, (places + 2) / 2) THEN span END),
    max(CASE WHEN place = (places * 95 + 99) / 100 THEN span END),
    max(span)
FROM (
    SELECT
        chosen.flow,
        call.name,
        call.ended_at - call.started_at AS span,
        row_number() OVER (
            PARTITION BY chosen.flow, call.name ORDER BY call.ended_at - call.started_at
        ) AS place,
        count(*) OVER (PARTITION BY chosen.flow, call.name) AS places
    FROM chosen
    CROSS JOIN call
    WHERE call.execution_id = chosen.id AND call.kind = 'checkpoint' AND call.status = 'completed'
) AS placed
GROUP BY flow, name;

-- name: count_attempts()
-- How many tries of each checkpoint's calls failed.
SELECT chosen.flow, call.name, count(*)
FROM chosen
CROSS JOIN attempt
CROSS JOIN call
WHERE attempt.execution_id = chosen.id
    AND call.execution_id = attempt.execution_id
    AND call.position = attempt.position
    AND call.kind = 'checkpoint'
GROUP BY chosen.flow, call.name;

-- name: count_questions()
-- How many questions each flow has asked, and how many of them came to which end.
SELECT
    chosen.flow,
    count(*),
    sum(CASE WHEN wait.status = 'answered' THEN 1 ELSE 0 END),
    sum(CASE WHEN wait.status = 'aborted' THEN 1 ELSE 0 END),
    sum(CASE WHEN wait.status = 'expired' THEN 1 ELSE 0 END)
FROM chosen
CROSS JOIN wait
WHERE wait.execution_id = chosen.id AND wait.kind = 'input'
GROUP BY chosen.flow;

-- name: measure_answers()
-- How long the answers took.
SELECT
    flow,
    count(*),
    avg(span),
    avg(CASE WHEN place IN ((places + 1) / 2, (places + 2) / 2) THEN span END),
    max(CASE WHEN place = (places * 95 + 99) / 100 THEN span END),
    max(span)
FROM (
    SELECT
        chosen.flow,
        wait.resolved_at - wait.created_at AS span,
        row_number() OVER (
            PARTITION BY chosen.flow ORDER BY wait.resolved_at - wait.created_at
        ) AS place,
        count(*) OVER (PARTITION BY chosen.flow) AS places
    FROM chosen
    CROSS JOIN wait
    WHERE wait.execution_id = chosen.id AND wait.kind = 'input' AND wait.status = 'answered'
) AS placed
GROUP BY flow;
