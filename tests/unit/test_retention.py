from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from kitaru.errors import KitaruUsageError
from kitaru.model import ExecutionStatus
from kitaru.retention import RetentionRule, read_rules, read_span, span_words

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("written", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("30d", 30 * DAY),
        ("2w", 14 * DAY),
        ("1.5h", timedelta(minutes=90)),
        ("90", timedelta(seconds=90)),
        (90, timedelta(seconds=90)),
        (0.5, timedelta(seconds=0.5)),
        (" 7 d ", 7 * DAY),
    ],
)
def test_span_is_read_in_each_unit(written: object, span: timedelta) -> None:
    assert read_span(written) == span


@pytest.mark.parametrize(
    "written", ["", "d", "30 days", "-1d", "1e3", True, None, "nan", "9" * 400]
)
def test_what_is_no_span_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="span"):
        read_span(written)


@pytest.mark.parametrize("written", ["2w", "8d", "12h", "15m", "91s", "0.5s", "0s"])
def test_span_is_written_as_it_is_read(written: str) -> None:
    assert span_words(read_span(written)) == written


def test_rule_is_read_with_every_field() -> None:
    found = read_rules(
        [{"older_than": "30d", "statuses": ["failed"], "flows": ["nightly*"], "keep": 3}], "here"
    )

    assert found == (
        RetentionRule(
            flows=("nightly*",),
            statuses=(ExecutionStatus.FAILED,),
            older_than=30 * DAY,
            keep=3,
        ),
    )
    assert str(found[0]) == "flows nightly*; failed; older than 30d; keep 3"


def test_rule_without_flows_and_statuses_is_about_all_that_is_finished() -> None:
    [rule] = read_rules([{"keep": 0}], "here")

    assert rule.covers("anything")
    assert set(rule.statuses) == {status for status in ExecutionStatus if status.is_finished}
    assert rule.ended_before(1000) == 1001


@pytest.mark.parametrize(
    ("flows", "covered"),
    [(("a",), False), (("nightly-*",), True), (("nightly-?",), False), (("x", "*ly-*"), True)],
)
def test_wildcards_stand_for_any_part_of_a_flow(flows: tuple[str, ...], covered: bool) -> None:
    assert RetentionRule(flows=flows, keep=1).covers("nightly-report") is covered


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"keep": 1}, "expected R to be a list of rules"),
        ([3], "expected rule 1 of R to be a table"),
        (
            [{"keep": 1}, {"older_then": "3d"}],
            "unknown key `older_then` in rule 2 of R. Did you mean",
        ),
        ([{"flows": ["a"]}], "rule 1 of R is not acceptable: expected a retention rule to have"),
        ([{"older_than": "3 days"}], "expected `older_than` in rule 1 of R to be a span such as"),
        ([{"keep": -1}], "expected `keep` in rule 1 of R to be a whole number"),
        ([{"keep": True}], "expected `keep` in rule 1 of R to be a whole number"),
        ([{"keep": 1, "flows": "a"}], "expected `flows` in rule 1 of R to be a list of words"),
        ([{"keep": 1, "statuses": ["faild"]}], "got: 'faild'. Did you mean 'failed'?"),
        (
            [{"keep": 1, "statuses": ["running"]}],
            "`statuses` in rule 1 of R to be among 'completed'",
        ),
        ([{"keep": 1, "statuses": []}], "rule 1 of R is not acceptable: expected `statuses`"),
    ],
)
def test_rule_that_makes_no_sense_is_named_with_its_field(rules: Any, said: str) -> None:
    with pytest.raises(KitaruUsageError, match=re.escape(said)):
        read_rules(rules, "R")


@pytest.mark.parametrize(
    "fields",
    [
        {"older_than": -DAY},
        {"older_than": 1_000_000 * DAY},
        {"keep": -1},
        {"keep": 1, "statuses": (ExecutionStatus.RUNNING,)},
    ],
)
def test_rule_made_in_code_is_checked_too(fields: dict[str, Any]) -> None:
    with pytest.raises(KitaruUsageError):
        RetentionRule(**fields)
