-- name: has_tag()
-- Condition of `listing.py`: one of the tags is the argument.
EXISTS (SELECT 1 FROM json_each(execution.tags) WHERE json_each.value = ?);

-- name: get_statuses(exec_ids)
-- Where executions stand; `exec_ids` is a JSON list.
SELECT id, status
FROM execution
WHERE id IN (SELECT value FROM json_each(:exec_ids));
