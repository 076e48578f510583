"""S3.2: which record answers which call, without a store."""

from __future__ import annotations

import pytest

from kitaru import KitaruUsageError
from kitaru.engine.journal import Journal, Match, OnDivergence
from kitaru.model import CallKind, CallRecord, CallStatus, StoredValue

ONE, TWO, THREE = b"1", b"2", b"3"

pytestmark = pytest.mark.only_kinds("sqlite", reason="a journal in memory has no store")


def record(
    position: str,
    fingerprint: bytes,
    *,
    name: str = "f",
    status: CallStatus = CallStatus.COMPLETED,
    ordered: bool = True,
    call_id: str | None = None,
    kind: CallKind = CallKind.CHECKPOINT,
) -> CallRecord:
    return CallRecord(
        position=position,
        call_id=call_id or position,
        name=name,
        kind=kind,
        type=None,
        fingerprint=fingerprint,
        ordered=ordered,
        status=status,
        inputs=None,
        output=StoredValue("kitaru/1", b"", None, 0),
        failure=None,
        upstreams=(),
        cache_key=None,
        cached_from=None,
        epoch=1,
        started_at=0,
        ended_at=0,
    )


def test_first_run_gives_every_call_its_own_position() -> None:
    journal = Journal()

    assert journal.match("", "f", 1, ONE, ordered=True) == Match("f#1")
    assert journal.match("0/", "f", 1, ONE, ordered=True) == Match("0/f#1")
    assert journal.match("", "f", 2, ONE, ordered=True, label="named") == Match("named#2")


def test_record_at_the_position_with_the_fingerprint_answers_first() -> None:
    first, second = record("f#1", ONE), record("f#2", ONE)
    journal = Journal([first, second])

    assert journal.match("", "f", 2, ONE, ordered=True) == Match("f#2", second)  # S3.2a
    assert journal.match("", "f", 1, ONE, ordered=True) == Match("f#1", first)


def test_record_answers_one_call_only() -> None:
    only = record("f#1", ONE)
    journal = Journal([only])
    assert journal.match("", "f", 1, ONE, ordered=True).record is only

    again = journal.match("", "f", 1, ONE, ordered=True)

    assert again == Match("f#2")


def test_unused_record_with_the_fingerprint_answers_from_another_place_in_the_scope() -> None:
    first, second = record("f#1", ONE), record("f#2", TWO)
    journal = Journal([first, second])

    assert journal.match("", "f", 1, TWO, ordered=True) == Match("f#2", second)  # S3.2b
    assert journal.match("", "f", 2, ONE, ordered=True) == Match("f#1", first)


def test_records_of_other_names_never_answer() -> None:
    journal = Journal([record("f#1", ONE)])

    assert journal.match("", "g", 1, ONE, ordered=True) == Match("g#1")
    assert journal.match("", "g", 1, ONE, ordered=True, label="f") == Match("f#2")


@pytest.mark.parametrize(
    ("record_ordered", "call_ordered", "anonymous", "code_changed", "is_given"),
    [
        (False, False, False, False, True),
        (True, False, False, False, False),
        (False, True, False, False, False),
        (False, False, True, False, False),
        (True, True, True, True, True),
    ],
)
def test_record_of_another_scope_is_given_only_where_chance_may_have_put_it_there(
    record_ordered: bool, call_ordered: bool, anonymous: bool, code_changed: bool, is_given: bool
) -> None:
    elsewhere = record("0/f#1", ONE, ordered=record_ordered)
    journal = Journal([elsewhere], code_changed=code_changed)

    match = journal.match("1/", "f", 1, ONE, ordered=call_ordered, anonymous=anonymous)

    assert match == (Match("0/f#1", elsewhere) if is_given else Match("1/f#1"))  # S3.2b


def test_contradiction_after_a_change_of_code_stops_the_run() -> None:
    here = record("f#1", ONE)
    journal = Journal([here], code_changed=True)

    match = journal.match("", "f", 1, TWO, ordered=True)

    assert match == Match("f#1", None, here, diverged=True)  # S3.2c


@pytest.mark.parametrize("record_ordered", [True, False])
@pytest.mark.parametrize("call_ordered", [True, False])
def test_contradiction_with_the_same_code_is_used_if_both_are_ordered(
    record_ordered: bool, call_ordered: bool
) -> None:
    here = record("f#1", ONE, ordered=record_ordered)
    journal = Journal([here])

    match = journal.match("", "f", 1, TWO, ordered=call_ordered)

    if record_ordered and call_ordered:
        assert match == Match("f#1", here, here)  # S3.2c
    else:
        assert match == Match("f#2", None, here)


@pytest.mark.parametrize("code_changed", [True, False])
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (OnDivergence.REUSE, ("f#1", True, False)),
        (OnDivergence.RERUN, ("f#2", False, False)),
        (OnDivergence.FAIL, ("f#1", False, True)),
    ],
)
def test_policy_replaces_the_choice_about_contradictions(
    policy: OnDivergence, expected: tuple[str, bool, bool], code_changed: bool
) -> None:
    here = record("f#1", ONE, ordered=False)
    journal = Journal([here], on_divergence=policy, code_changed=code_changed)

    match = journal.match("", "f", 1, TWO, ordered=False)

    assert (match.position, match.record is here, match.diverged) == expected
    assert match.contradiction is here


def test_call_without_a_record_runs_at_the_next_free_ordinal() -> None:
    journal = Journal([record("f#1", ONE), record("f#2", TWO)], on_divergence=OnDivergence.RERUN)

    assert journal.match("", "f", 1, THREE, ordered=True).position == "f#3"  # S3.2d
    assert journal.match("", "f", 3, b"4", ordered=True).position == "f#4"
    assert journal.match("", "f", 2, TWO, ordered=True).position == "f#2"


def test_row_without_an_outcome_keeps_its_id_and_attempts_for_the_call() -> None:
    running = record("f#1", ONE, status=CallStatus.RUNNING)
    journal = Journal([running])

    assert journal.match("", "f", 1, TWO, ordered=True) == Match("f#1", earlier=running)


def test_failed_record_answers_like_any_other() -> None:
    failed = record("f#1", ONE, status=CallStatus.FAILED)

    assert Journal([failed]).match("", "f", 1, ONE, ordered=True).record is failed


def test_ids_are_counted_by_name_and_never_repeat_across_recoveries() -> None:
    journal = Journal([record("f#1", ONE, call_id="f"), record("f#2", ONE, call_id="f-3")])

    assert [journal.new_call_id("f") for _ in range(3)] == ["f-2", "f-4", "f-5"]
    assert journal.new_call_id("g") == "g"


def test_given_id_is_taken_once_per_run_and_kept_from_counted_ones() -> None:
    journal = Journal()
    journal.take_call_id("f")

    assert journal.new_call_id("f") == "f-2"
    with pytest.raises(KitaruUsageError, match="'f'; ids are unique"):
        journal.take_call_id("f")


def test_records_that_nobody_asked_for_are_told_except_values() -> None:
    first, second = record("f#1", ONE), record("f#2", TWO)
    value = record("kitaru.now#1", THREE, name="kitaru.now", kind=CallKind.VALUE)
    journal = Journal([first, second, value])
    journal.match("", "f", 1, ONE, ordered=True)

    assert journal.unasked() == [second]  # S3.4


def test_ten_thousand_calls_without_arguments_are_matched_in_no_time() -> None:
    """Each looks among all unused records of its fingerprint, which must not be a search through them."""
    records = [record(f"f#{number}", ONE) for number in range(1, 10_001)]
    journal = Journal(records)

    for number in range(10_000, 0, -1):
        assert journal.match("", "f", number, ONE, ordered=True).record is not None
    for number in range(10_001, 20_001):
        assert journal.match("", "f", number, ONE, ordered=True) == Match(f"f#{number}")
