-- name: has_tag()
-- Condition of `listing.py`: one of the tags is the argument.
EXISTS (SELECT 1 FROM json_each(execution.tags) WHERE json_each.value = ?);
