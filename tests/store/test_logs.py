from __future__ import annotations

from kitaru.model import LogSource
from kitaru.store import Store
from tests.store.records import NOW, create, event, log_line


def test_log_lines_are_returned_exactly_and_in_order(store: Store) -> None:
    execution = create(store)
    lines = [
        log_line(execution.id, "one"),
        log_line(
            execution.id, "two", source=LogSource.LOGGING, level="INFO", logger="app", module="m",
            filename="/src/m.py", lineno=7, position="fetch#1", attempt=2, logged_at=NOW + 1,
        ),
        log_line(execution.id, "", source=LogSource.STDERR),
        log_line(execution.id, "\x1b[31m ☃ \n" * 1000),
    ]  # fmt: skip

    store.append_logs(lines)

    assert [line for _, line in store.list_logs(execution.id)] == lines


def test_log_line_with_nul_is_kept_with_its_symbol(store: Store) -> None:
    execution = create(store)

    store.append_logs([log_line(execution.id, "a\x00b")])

    assert [line.message for _, line in store.list_logs(execution.id)] == ["a\u2400b"]


def test_log_lines_of_unknown_executions_are_dropped_silently(store: Store) -> None:
    execution = create(store)

    store.append_logs([log_line("nobody"), log_line(execution.id), log_line("nobody")])
    store.append_logs([])

    assert len(store.list_logs(execution.id)) == 1
    assert store.list_logs("nobody") == []


def test_log_lines_with_what_utf8_cannot_express_are_kept_without_it(store: Store) -> None:
    execution = create(store)

    store.append_logs([log_line(execution.id, "bad \udc80 byte", logger="\ud800", level="\udfff")])

    [(_, line)] = store.list_logs(execution.id)
    assert (line.message, line.logger, line.level) == ("bad ? byte", "?", "?")


def test_log_is_read_on_from_a_cursor(store: Store) -> None:
    execution, other = create(store), create(store)
    store.append_logs(
        [log_line(execution.id, "1"), log_line(other.id), log_line(execution.id, "2")]
    )
    first = store.list_logs(execution.id, limit=1)
    store.append_logs([log_line(execution.id, "3")])

    rest = store.list_logs(execution.id, after=first[0][0])

    assert [line.message for _, line in first + rest] == ["1", "2", "3"]
    assert [cursor for cursor, _ in first + rest] == sorted(cursor for cursor, _ in first + rest)
    assert store.list_logs(execution.id, after=rest[-1][0]) == []


def test_log_is_narrowed_to_calls(store: Store) -> None:
    execution = create(store)
    store.append_logs(
        [
            log_line(execution.id, position, position=position)
            for position in ["", "a#1", "b#1", "a#1"]
        ]
    )

    def messages(*positions: str) -> list[str]:
        return [line.message for _, line in store.list_logs(execution.id, positions=positions)]

    assert messages("a#1") == ["a#1", "a#1"]
    assert messages("", "b#1") == ["", "b#1"]
    assert messages() == []


def test_events_are_added_from_outside_a_run_in_order(store: Store) -> None:
    execution, other = create(store), create(store)
    events = [event("1"), event("2", position="a#1", payload='{"x":1}', created_at=NOW + 1)]

    store.append_events(
        [(execution.id, events[0]), (other.id, event("3")), (execution.id, events[1])]
    )

    assert [found for _, found in store.list_events(execution.id)] == events
    assert [found.kind for _, found in store.list_events(other.id)] == ["3"]


def test_events_of_unknown_executions_are_dropped_silently(store: Store) -> None:
    execution = create(store)

    store.append_events([("nobody", event()), (execution.id, event()), ("nobody", event())])
    store.append_events([])

    assert len(store.list_events(execution.id)) == 1
    assert store.list_events("nobody") == []


def test_oldest_events_of_an_execution_are_forgotten(store: Store) -> None:
    execution, other = create(store), create(store)
    kinds = ["divergence", "1", "2", "3", "4"]
    store.append_events([(execution.id, event(kind)) for kind in kinds])
    store.append_events([(other.id, event("kept"))])

    store.prune_events(execution.id, keep=2)
    store.prune_events(other.id, keep=2)

    assert [kept.kind for _, kept in store.list_events(execution.id)] == ["divergence", "3", "4"]
    assert [kept.kind for _, kept in store.list_events(other.id)] == ["kept"]
    store.prune_events("nobody", keep=2)
