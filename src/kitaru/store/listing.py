"""The one statement whose text depends on its arguments: executions that fit a filter, newest first.

A filter that is left open must leave the text too. With `:flow IS NULL OR flow = :flow` the planner, which
does not see arguments, could use none of the indexes that keep a page fast among a million rows.
"""

from __future__ import annotations

from dataclasses import replace

from kitaru.model import ExecutionFilter, ExecutionStatus

_METADATA = (
    "EXISTS (SELECT 1 FROM metadata WHERE metadata.execution_id = execution.id"
    " AND metadata.position = '' AND metadata.key = ? AND metadata.value = ?)"
)


_NEWEST_FIRST = "ORDER BY created_at DESC, id DESC LIMIT ?"


def conditions(where: ExecutionFilter, has_tag: str) -> tuple[list[str], list[object]]:
    """Return the conditions of a filter and their arguments.

    Args:
        where: The filter.
        has_tag: The dialect's condition that `execution.tags` contains the one argument.
    """
    texts, arguments = ["project = ?"], list[object]([where.project])
    for text, argument in (
        ("flow = ?", where.flow),
        ("status = ?", where.status and where.status.value),
        ("stack = ?", where.stack),
        ("parent_id = ?", where.parent_id),
        ("origin_id = ?", where.origin_id),
        (has_tag, where.tag),
    ):
        if argument is not None:
            texts.append(text)
            arguments.append(argument)
    for key, value in where.metadata.items():
        texts.append(_METADATA)
        arguments += (key, value)
    return texts, arguments


def list_statement(
    columns: str,
    where: ExecutionFilter,
    has_tag: str,
    *,
    limit: int,
    before: tuple[int, str] | None,
    merges: bool,
) -> tuple[str, list[object]]:
    """Return the text and the arguments that list a page of executions, newest first.

    Args:
        columns: What is read of each.
        where: What they have in common.
        has_tag: As for `conditions`.
        limit: At most so many.
        before: The last key of the page before.
        merges: Whether the database merges parts that come in order, however large; if not, a page is
            read of each and sorted.
    """
    selects: list[str] = []
    arguments: list[object] = []
    parts = _parts(where)
    for part in parts:
        texts, values = conditions(part, has_tag)
        if before is not None:
            texts.append("(created_at, id) < (?, ?)")
            values += before
        select = f"{columns} WHERE {' AND '.join(texts)}"
        if len(parts) > 1 and not merges:
            select = f"({select} {_NEWEST_FIRST})"
            values.append(limit)
        selects.append(select)
        arguments += values
    return f"{' UNION ALL '.join(selects)} {_NEWEST_FIRST}", [*arguments, limit]


def _parts(where: ExecutionFilter) -> list[ExecutionFilter]:
    # Indexes are sorted within one status. The database merges the six, reading of each what it needs;
    # children of one parent are few and are sorted instead, replays of one origin lie in order.
    if where.status is not None or where.parent_id is not None or where.origin_id is not None:
        return [where]
    return [replace(where, status=status) for status in ExecutionStatus]


def count_statement(where: ExecutionFilter, has_tag: str, at_most: int) -> tuple[str, list[object]]:
    """Return the text and the arguments that count executions, stopping at so many."""
    texts, arguments = conditions(where, has_tag)
    # Only texts of this module are put together; every value is an argument.
    found = f"SELECT 1 FROM execution WHERE {' AND '.join(texts)} LIMIT ?"  # noqa: S608 - see above
    return f"SELECT count(*) FROM ({found}) AS found", [*arguments, at_most]  # noqa: S608 - see above
