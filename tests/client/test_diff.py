"""`diff`: how two executions differ, by their values and call by call."""

from __future__ import annotations

import dataclasses
import datetime as dt
from datetime import timedelta
from typing import Any

import pytest

from kitaru import FlowHandle, KitaruClient, checkpoint, flow
from kitaru.client import CallDiff, ChangeKind, DiffKind, ValueChange, shapes
from kitaru.client.comparing import MOST_PATHS, compare, preview
from kitaru.client.connection import Connection
from kitaru.model import CallKind, CallRecord, CallStatus, ExecutionStatus, StoredValue
from kitaru.settings import current
from kitaru.store import Store
from tests.client.journal import START, Book, failure, kept
from tests.engine.kit import leave

# --- values -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int


@pytest.fixture
def connection(store: Store) -> Connection:
    return Connection(current())


def lines(connection: Connection, here: Any, there: Any) -> list[str]:
    return list(compare(connection, kept(here), kept(there)).lines())


@pytest.mark.parametrize(
    ("here", "there", "found"),
    [
        ({"topic": "owls"}, {"topic": "owls"}, []),
        ({"topic": "owls"}, {"topic": "cats"}, ['topic: "owls" -> "cats"']),
        (1, 2, ["1 -> 2"]),
        (1, True, ["1 -> true"]),
        (1, 1.0, ["1 -> 1.0"]),
        ("a", None, ['"a" -> null']),
        ([1, 2, 3], [1, 5], ["[1]: 2 -> 5", "[2]: removed 3"]),
        ((1, 2), [1, 2], ["(1, 2) -> [1, 2]"]),
        ((1, 2), (1, 3, 4), ["[1]: 2 -> 3", "[2]: added 4"]),
        ({"b", "a"}, {"c", "a"}, [".b", ".c"]),
        ({1: "a", (2, 3): "b"}, {1: "c", (2, 3): "b"}, ['[1]: "a" -> "c"']),
        ({"first name": 1}, {}, ['["first name"]: removed 1']),
        (
            {"items": [{"price": 1}, {"price": 2}], "gone": None},
            {"items": [{"price": 1}, {"price": 3}], "new": [1, "two"]},
            ["items[1].price: 2 -> 3", "gone: removed null", 'new: added [1, "two"]'],
        ),
        (Point(1, 2), Point(1, 3), ["y: 2 -> 3"]),
        (Point(1, 2), {"x": 1, "y": 2}, ['Point(x=1, y=2) -> {"x": 1, "y": 2}']),
        (dt.date(2026, 1, 1), dt.date(2026, 1, 2), ['value: "2026-01-01" -> "2026-01-02"']),
        (b"abc", b"abd", ['start: "616263" -> "616264"']),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, ["changed (not visible)"]),
    ],
)
def test_values_are_compared_part_by_part(
    connection: Connection, here: Any, there: Any, found: list[str]
) -> None:
    shown = lines(connection, here, there)

    if isinstance(here, set):
        shown = sorted(f".{line.partition(':')[0]}" for line in shown)
    if isinstance(here, bytes):
        shown = shown[:1]
    assert shown == found


def test_value_that_is_only_at_one_side_is_added_or_removed(connection: Connection) -> None:
    assert compare(connection, None, None).is_same
    assert compare(connection, None, kept(1)).lines() == ("added 1",)
    assert compare(connection, kept(1), None).lines() == ("removed 1",)


def test_paths_beyond_the_twentieth_are_counted(connection: Connection) -> None:
    found = compare(connection, kept(list(range(100))), kept([-1] * 100))

    assert (len(found.changes), found.more) == (MOST_PATHS, 100 - MOST_PATHS)
    assert found.lines()[-1] == "and 80 more"


def test_deeply_nested_values_are_compared(connection: Connection) -> None:
    here: Any = 1
    there: Any = 2
    for _ in range(60):
        here, there = [here], [there]

    [change] = compare(connection, kept(here), kept(there)).changes

    assert change.path.startswith("[0][0]")


def test_equal_bytes_are_not_even_fetched(connection: Connection) -> None:
    lost = StoredValue("kitaru/1", None, "0" * 64, 10**9)

    assert compare(connection, lost, dataclasses.replace(lost)).is_same


def test_value_whose_bytes_are_lost_or_damaged_is_told_as_such(connection: Connection) -> None:
    lost = StoredValue("kitaru/1", None, "0" * 64, 10**9)
    damaged = StoredValue("kitaru/1", b"\xc1", None, 1)

    for value in (lost, damaged):
        found = compare(connection, kept(1), value)
        assert (found.is_same, found.changes) == (False, ())
        assert found.problem
        assert found.lines() == (f"changed ({found.problem})",)


@pytest.mark.parametrize(
    ("described", "shown"),
    [
        ("x" * 10**6, '"' + "x" * 58 + "…"),
        (list(range(10**6)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, …"),
        ({"$type": "bytes", "size": 3, "start": "ab"}, "bytes(3 bytes)"),
        ({"$pickle": "m.C", "bytes": 4}, "<m.C>"),
        ({"$ref": "up 1"}, "<…>"),
        ({"$type": "m:C", "items": [1]}, "C([1])"),
        ({"$type": "tuple", "items": [1, 2]}, "(1, 2)"),
    ],
)
def test_preview_is_one_short_line(described: Any, shown: str) -> None:
    assert preview(described) == shown


def test_preview_of_a_deep_value_ends() -> None:
    deep: Any = 1
    for _ in range(10_000):
        deep = {"a": deep}

    assert len(preview(deep)) <= 60


# --- calls ------------------------------------------------------------------------------------


def calls_of(client: KitaruClient, here: Book, there: Book) -> list[tuple[str, str, str | None]]:
    return [
        (call.kind.value, call.call_id, call.there)
        for call in client.executions.diff(here.id, there.id).calls
    ]


def call(book: Book, number: int, argument: str, **fields: Any) -> CallRecord:
    known: dict[str, Any] = {
        "position": f"work#{number}",
        "call_id": f"work-{number}",
        "fingerprint": argument.encode(),
        "inputs": kept({"argument": argument}),
        "output": kept(f"done {argument}"),
        "at": number,
        **fields,
    }
    return book.call("work", **known)


def test_executions_that_did_the_same_are_the_same(store: Store, client: KitaruClient) -> None:
    books = [Book.begin(store, code_hash=code) for code in ("old", "new")]
    for book in books:
        call(book, 1, "a")
        book.end(ExecutionStatus.COMPLETED)

    found = client.executions.diff(books[0].id, books[1].id)

    assert found.is_same
    assert (found.is_same_flow, found.is_same_code, found.is_replay) == (True, False, False)
    assert (found.same, found.changed, found.only_here, found.only_there) == (1, 0, 0, 0)
    assert found.calls == (
        CallDiff(
            kind=DiffKind.SAME,
            call_id="work-1",
            name="work",
            position="work#1",
            here="ran",
            there="ran",
            here_duration=timedelta(seconds=0.5),
            there_duration=timedelta(seconds=0.5),
        ),
    )
    assert str(found) == (
        f"execution {books[1].id!r} is compared with execution {books[0].id!r}\n"
        "flow: 'audit', other code\n"
        "status: completed\n"
        "inputs: same\n"
        "result: same\n"
        "calls: 1 same (ran)"
    )


def test_everything_that_differs_is_told(store: Store, client: KitaruClient) -> None:
    here = Book.begin(store, inputs=kept({"topic": "owls"}))
    call(here, 1, "a")
    here.end(ExecutionStatus.COMPLETED)
    there = Book.begin(store, "other", inputs=kept({"topic": "cats"}))
    call(there, 1, "b", status=CallStatus.FAILED, output=None, failure=failure("no"))
    there.end(ExecutionStatus.FAILED, failure=failure())

    found = client.executions.diff(here.id, there.id)

    assert not found.is_same
    assert found.inputs.changes == (
        ValueChange(path="topic", kind=ChangeKind.CHANGED, here='"owls"', there='"cats"'),
    )
    assert str(found) == (
        f"execution {there.id!r} is compared with execution {here.id!r}\n"
        "flow: 'audit' -> 'other'\n"
        "status: completed -> failed\n"
        "inputs: changed\n"
        '  topic: "owls" -> "cats"\n'
        "result: changed\n"
        '  removed {"owls": 3}\n'
        "failure: none -> ValueError: bad input\n"
        "calls: 1 changed (failed)\n"
        "  work-1: changed (ran, failed there)\n"
        '    input argument: "a" -> "b"\n'
        '    output removed "done a"\n'
        "    failure: none -> ValueError: no"
    )
    shape = shapes.diff(found)
    assert {key: shape[key] for key in ("is_same", "changed", "status", "other_failure")} == {
        "is_same": False,
        "changed": 1,
        "status": "completed",
        "other_failure": "ValueError: bad input",
    }
    assert shape["calls"] == [
        {
            "kind": "changed",
            "call_id": "work-1",
            "name": "work",
            "position": "work#1",
            "here": "ran",
            "there": "failed",
            "inputs": {
                "is_same": False,
                "changes": [{"path": "argument", "kind": "changed", "here": '"a"', "there": '"b"'}],
                "more": 0,
                "problem": None,
            },
            "output": {
                "is_same": False,
                "changes": [{"path": "", "kind": "removed", "here": '"done a"', "there": None}],
                "more": 0,
                "problem": None,
            },
            "here_failure": None,
            "there_failure": "ValueError: no",
            "here_duration_seconds": 0.5,
            "there_duration_seconds": 0.5,
        }
    ]


def test_call_put_in_before_others_is_the_only_difference(
    store: Store, client: KitaruClient
) -> None:
    here, there = Book.begin(store), Book.begin(store)
    for number, argument in enumerate("abc", start=1):
        call(here, number, argument)
    for number, argument in enumerate("axbc", start=1):
        call(there, number, argument)

    assert calls_of(client, here, there) == [
        ("same", "work-1", "ran"),
        ("only_there", "work-2", "ran"),
        ("same", "work-2", "ran"),
        ("same", "work-3", "ran"),
    ]
    assert calls_of(client, there, here) == [
        ("same", "work-1", "ran"),
        ("only_here", "work-2", None),
        ("same", "work-3", "ran"),
        ("same", "work-4", "ran"),
    ]
    assert "work-2: only there (ran)" in str(client.executions.diff(here.id, there.id))


def test_calls_match_by_position_and_then_by_id_if_they_were_asked_something_else(
    store: Store, client: KitaruClient
) -> None:
    here, there = Book.begin(store), Book.begin(store)
    call(here, 1, "a")
    call(there, 1, "b")
    call(here, 2, "c", call_id="mine")
    call(there, 3, "d", call_id="mine")
    call(here, 4, "e")
    call(there, 5, "f", kind=CallKind.WAIT)

    assert calls_of(client, here, there) == [
        ("changed", "work-1", "ran"),
        ("changed", "mine", "ran"),
        ("only_there", "work-5", "answered"),
        ("only_here", "work-4", None),
    ]


def test_first_calls_that_are_only_there_stand_first(store: Store, client: KitaruClient) -> None:
    here, there = Book.begin(store), Book.begin(store)
    call(there, 1, "x")
    call(here, 1, "a", position="late#1", call_id="late")
    call(there, 2, "a", position="late#1", call_id="late")

    assert calls_of(client, here, there) == [
        ("only_there", "work-1", "ran"),
        ("same", "late", "ran"),
    ]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"status": CallStatus.CACHED}, "cached"),
        ({"status": CallStatus.REUSED, "cached_from": "o/work#1"}, "reused"),
        ({"status": CallStatus.OVERRIDDEN, "cached_from": "o/work#1"}, "overridden"),
        ({"kind": CallKind.WAIT}, "answered"),
        ({"kind": CallKind.TIMER}, "over"),
        ({"seconds": None, "output": None}, "not over"),
    ],
)
def test_how_a_call_came_about_is_told(
    store: Store, client: KitaruClient, fields: dict[str, Any], shown: str
) -> None:
    here, there = Book.begin(store), Book.begin(store)
    call(here, 1, "a", **fields)
    call(there, 1, "a", **fields)

    [found] = client.executions.diff(here.id, there.id).calls

    assert (found.kind, found.here, found.there) == (DiffKind.SAME, shown, shown)


def test_child_that_is_not_over_differs_from_one_that_was_cancelled(
    store: Store, client: KitaruClient
) -> None:
    here, there = Book.begin(store), Book.begin(store)
    for book in (here, there):
        child = Book.begin(store, "sub", parent_id=book.id, parent_position="sub#1")
        book.call("sub", kind=CallKind.CHILD, position="sub#1", output=kept(child.id))
        if book is here:
            child.end(ExecutionStatus.CANCELLED)

    assert calls_of(client, here, there) == [("changed", "sub", "not over")]
    [found] = client.executions.diff(here.id, there.id).calls
    assert (found.here, found.lines()) == ("cancelled", ())


def test_recorded_values_are_no_calls(store: Store, client: KitaruClient) -> None:
    here, there = Book.begin(store), Book.begin(store)
    call(here, 1, "a", kind=CallKind.VALUE)

    found = client.executions.diff(here.id, there.id)

    assert found.calls == ()
    assert str(found).endswith("calls: none")


def test_children_are_compared_by_what_came_of_them(store: Store, client: KitaruClient) -> None:
    here, there = Book.begin(store), Book.begin(store)
    results = {
        "sub#1": ("a", "a"),
        "sub#2": ("a", "b"),
        "sub#3": ("a", None),
        "sub#4": (None, None),
    }
    for number, (position, pair) in enumerate(results.items()):
        for book, result in zip((here, there), pair, strict=True):
            child = Book.begin(store, "sub", parent_id=book.id, parent_position=position)
            if result is not None:
                child.end(ExecutionStatus.COMPLETED, at=5, result=kept(result))
            elif position == "sub#3":
                child.end(ExecutionStatus.FAILED, at=5)
            fields: dict[str, Any] = {"position": position, "output": kept(child.id)}
            book.call("sub", at=number, kind=CallKind.CHILD, call_id=position, **fields)

    found = client.executions.diff(here.id, there.id).calls

    assert [(call.kind.value, call.here, call.there) for call in found] == [
        ("same", "ran", "ran"),
        ("changed", "ran", "ran"),
        ("changed", "ran", "failed"),
        ("same", "not over", "not over"),
    ]
    assert found[1].lines() == ('output "a" -> "b"',)
    assert found[2].lines() == ('output removed "a"', "failure: none -> ValueError: bad input")
    assert found[0].here_duration == timedelta(seconds=5)


def test_child_that_a_replay_took_over_or_that_was_deleted_is_compared(
    store: Store, client: KitaruClient
) -> None:
    here, there = Book.begin(store), Book.begin(store)
    child = Book.begin(store, "sub", parent_id=here.id, parent_position="sub#1")
    child.end(ExecutionStatus.COMPLETED, result=kept(1))
    about: dict[str, Any] = {"kind": CallKind.CHILD, "position": "sub#1"}
    here.call("sub", output=kept(child.id), **about)
    there.call("sub", output=kept(child.id), status=CallStatus.REUSED, **about)
    damaged = StoredValue("kitaru/1", b"\xc1", None, 1)
    for book in (here, there):
        book.call("gone", kind=CallKind.CHILD, position="gone#1", output=kept("gone"))
        book.call("bad", kind=CallKind.CHILD, position="bad#1", output=damaged)

    assert calls_of(client, here, there) == [
        ("same", "sub", "reused"),
        ("same", "gone", "ran"),
        ("same", "bad", "ran"),
    ]


@pytest.mark.slow
def test_ten_thousand_moved_calls_are_matched_at_once(store: Store, client: KitaruClient) -> None:
    books = [Book.begin(store), Book.begin(store)]
    many = 10_000
    for book, first in zip(books, (0, 1), strict=True):
        example = call(book, many + 9, "example")
        book.write(
            calls=tuple(
                dataclasses.replace(
                    example,
                    position=f"work#{number + first + 1}",
                    call_id=f"work-{number + first + 1}",
                    fingerprint=b"%d" % number,
                    started_at=START + number,
                )
                for number in range(many)
            )
        )

    found = client.executions.diff(books[0].id, books[1].id)

    assert (found.same, found.is_same) == (many + 1, True)


def test_many_differences_are_cut_short_in_the_text(store: Store, client: KitaruClient) -> None:
    here, there = Book.begin(store), Book.begin(store)
    for number in range(1, 31):
        call(here, number, "a")

    text = str(client.executions.diff(here.id, there.id))

    assert text.count("only here (ran)") == 21  # one of them in the summary
    assert text.endswith("  and 10 more only here")


# --- replays ----------------------------------------------------------------------------------


@checkpoint
def work(number: int) -> int:
    return number * number


@checkpoint
def add(parts: list[int]) -> int:
    return sum(parts)


@flow
def fan_out(count: int) -> str:
    return f"total {add(work.map(range(count)).result())}"


def finished(handle: FlowHandle[str]) -> str:
    handle.wait()
    leave(handle)
    return handle.exec_id


def test_replay_of_a_fan_out_with_one_call_overridden_reads_well(client: KitaruClient) -> None:
    exec_id = finished(fan_out.run(33))
    other_id = finished(fan_out.replay(exec_id, overrides={"checkpoint.work-7": -1}))

    found = client.executions.diff(exec_id, other_id)

    assert (found.same, found.changed, found.only_here, found.only_there) == (32, 2, 0, 0)
    assert str(found) == (
        f"execution {other_id!r} replays execution {exec_id!r}\n"
        "flow: 'fan_out', the same code\n"
        "status: completed\n"
        "inputs: same\n"
        "result: changed\n"
        '  "total 11440" -> "total 11403"\n'
        "calls: 32 same (reused), 1 changed (overridden), 1 changed (ran again)\n"
        "  work-7: changed (ran, overridden there)\n"
        "    output 36 -> -1\n"
        "  add: changed (ran, ran again there)\n"
        "    input parts[6]: 36 -> -1\n"
        "    output 11440 -> 11403"
    )
    assert client.executions.diff(other_id[:30], other_id).is_same
