"""Counting and measuring what has run. The text depends on the arguments for the reason in `listing.py`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from kitaru.figures import CheckpointFigures, FlowFigures, SpanFigures
from kitaru.model import ExecutionStatus
from kitaru.store.database import Session
from kitaru.store.queries import Row

# What the statements of `sql/statistics.sql` go on from; nothing else has to be read of an execution's row.
_COLUMNS = "id, flow, status, recoveries, started_at, ended_at"
# Executions of every status, said so that the indexes, which begin with one, can be used.
_ANY_STATUS = f"status IN ({', '.join('?' for _ in ExecutionStatus)})"


def measure_flows(
    session: Session, project: str, flow: str | None, since: int | None
) -> list[FlowFigures]:
    """Return the figures of each flow that has executions, by name."""
    asking = _Asking(session, project, flow, since)
    statuses: dict[str, dict[ExecutionStatus, int]] = defaultdict(dict)
    recoveries: dict[str, int] = defaultdict(int)
    for name, status, count, lost in asking.rows("count_by_status"):
        statuses[name][ExecutionStatus(status)] = count
        recoveries[name] += lost
    spans = {row[0]: _spans(row[1:]) for row in asking.rows("measure_executions")}
    questions = {row[0]: row[1:] for row in asking.rows("count_questions")}
    answers = {row[0]: _spans(row[1:]) for row in asking.rows("measure_answers")}
    checkpoints = _checkpoints(asking)
    found: list[FlowFigures] = []
    for name, standing in statuses.items():
        asked, answered, aborted, expired = questions.get(name, (0, 0, 0, 0))
        flow_figures = FlowFigures(
            flow=name,
            statuses=standing,
            recoveries=recoveries[name],
            spans=spans.get(name),
            asked=asked,
            answered=answered,
            aborted=aborted,
            expired=expired,
            answer_spans=answers.get(name),
            checkpoints=tuple(checkpoints[name]),
        )
        found.append(flow_figures)
    return found


class _Asking:
    """The statements of `sql/statistics.sql`, asked about some executions."""

    def __init__(self, session: Session, project: str, flow: str | None, since: int | None) -> None:
        self._session = session
        self._chosen, self._arguments = chosen_statement(project, flow, since)

    def rows(self, name: str) -> list[Row]:
        text = f"{self._chosen} {self._session.statement(name).text}"
        return self._session.query(text, self._arguments)


def chosen_statement(
    project: str, flow: str | None, since: int | None
) -> tuple[str, Sequence[object]]:
    """Return the text and the arguments that choose the executions that are asked about."""
    texts = ["project = ?", _ANY_STATUS]
    arguments: list[object] = [project, *(status.value for status in ExecutionStatus)]
    for text, argument in (("flow = ?", flow), ("created_at >= ?", since)):
        if argument is not None:
            texts.append(text)
            arguments.append(argument)
    # Materialized, because an index in the order in which a statement groups would be taken otherwise,
    # whatever has to be read with it. Only texts of this module are put together; values are arguments.
    where = " AND ".join(texts)
    text = f"WITH chosen AS MATERIALIZED (SELECT {_COLUMNS} FROM execution WHERE {where})"  # noqa: S608 - see above
    return text, arguments


def _checkpoints(asking: _Asking) -> dict[str, list[CheckpointFigures]]:
    spans = {(row[0], row[1]): _spans(row[2:]) for row in asking.rows("measure_calls")}
    attempts = {(flow, name): count for flow, name, count in asking.rows("count_attempts")}
    found: dict[str, list[CheckpointFigures]] = defaultdict(list)
    for flow, name, calls, failed, cached, reused in asking.rows("count_calls"):
        found[flow].append(
            CheckpointFigures(
                name=name,
                calls=calls,
                failed=failed,
                cached=cached,
                reused=reused,
                failed_attempts=attempts.get((flow, name), 0),
                spans=spans.get((flow, name)),
            )
        )
    return found


def _spans(row: Row) -> SpanFigures:
    count, mean, median, p95, longest = row
    return SpanFigures(
        count=count, mean=float(mean), median=float(median), p95=p95, longest=longest
    )
