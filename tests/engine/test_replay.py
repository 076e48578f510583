"""S5: a new execution from an old one, with something changed."""

from __future__ import annotations

import asyncio
import dataclasses
from threading import Lock
from typing import Any

import pytest

import kitaru
from kitaru import (
    KitaruContextError,
    KitaruFeatureNotAvailableError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
    KitaruUserCodeError,
    KitaruWaitValidationError,
    checkpoint,
    flow,
)
from kitaru.authoring.handle import FlowHandle
from kitaru.model import ExecutionStatus, JournalEntry
from tests.engine.kit import (
    Interruption,
    answer,
    calls,
    execution,
    go_on,
    leave,
    parked,
    retry,
    runner,
    store,
)

ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


def took(handle: FlowHandle[Any]) -> dict[str, str]:
    """Return what became of each call of a replay."""
    return {position: call.status.value for position, call in calls(handle).items()}


@checkpoint
def research(topic: str) -> str:
    ran.append(f"research {topic}")
    return f"notes on {topic}"


@checkpoint
def draft(notes: str) -> str:
    ran.append(f"draft {notes}")
    return f"draft of {notes}"


@checkpoint
def publish(text: str, style: str) -> str:
    ran.append(f"publish {text}")
    return f"{text} in {style}"


@flow
def report(topic: str = "tea", style: str = "prose") -> str:
    return publish(draft(research(topic)), style)


def test_replay_from_a_call_runs_it_and_what_follows_and_leaves_the_old_one_alone() -> None:
    old = report.run()
    old.wait()
    before = (execution(old), calls(old))
    ran.clear()

    new = report.replay(old.exec_id, from_="draft")

    assert new.wait() == "draft of notes on tea in prose"
    assert ran == ["draft notes on tea", "publish draft of notes on tea"]  # S5.3
    assert took(new) == {"research#1": "reused", "draft#1": "completed", "publish#1": "completed"}
    assert calls(new)["research#1"].cached_from == f"{old.exec_id}/research#1"  # S5.6
    assert execution(new).origin_id == old.exec_id  # S5.1
    assert (execution(old), calls(old)) == before


def test_replay_without_a_selector_or_a_change_runs_nothing() -> None:
    old = report.run()
    old.wait()
    ran.clear()

    assert report.replay(old.exec_id).wait() == old.wait()
    assert ran == []  # S5.4


def test_override_replaces_an_output_and_runs_what_consumed_it() -> None:
    old = report.run()
    old.wait()
    ran.clear()

    new = report.replay(old.exec_id, overrides={"checkpoint.research": "my notes"})

    assert new.wait() == "draft of my notes in prose"
    assert ran == ["draft my notes", "publish draft of my notes"]
    assert took(new)["research#1"] == "overridden"


def test_changed_input_runs_what_it_changes_and_nothing_that_ended_before_the_selected_call() -> (
    None
):
    old = report.run()
    old.wait()
    ran.clear()

    assert report.replay(old.exec_id, style="verse").wait() == "draft of notes on tea in verse"
    assert ran == ["publish draft of notes on tea"]
    ran.clear()

    # `research` has other arguments now, but it ended before `publish` began.
    new = report.replay(old.exec_id, from_="publish", topic="coffee")
    assert new.wait() == "draft of notes on tea in prose"
    assert ran == ["publish draft of notes on tea"]  # S5.3


def test_replay_of_a_replay_reuses_what_the_first_one_reused() -> None:
    old = report.run()
    old.wait()
    first = report.replay(old.exec_id, overrides={"checkpoint.research": "my notes"})
    first.wait()
    ran.clear()

    second = report.replay(first.exec_id, from_="publish", style="verse")

    assert second.wait() == "draft of my notes in verse"
    assert ran == ["publish draft of my notes"]  # S5.6
    assert took(second) == {"research#1": "reused", "draft#1": "reused", "publish#1": "completed"}


def test_replay_of_a_failed_execution_goes_on_where_it_failed() -> None:
    broken = [True]

    @checkpoint
    def flaky(text: str) -> str:
        ran.append("flaky")
        if broken[0]:
            message = "not today"
            raise ValueError(message)
        return text.upper()

    @flow
    def fails() -> str:
        return flaky(research("tea"))

    old = fails.run()
    with pytest.raises(KitaruUserCodeError):
        old.wait()
    broken[0] = False
    ran.clear()

    assert fails.replay(old.exec_id).wait() == "NOTES ON TEA"
    assert ran == ["flaky"]  # S5.4
    assert execution(old).status is ExecutionStatus.FAILED


def test_failure_that_the_flow_caught_is_reused_as_a_failure() -> None:
    @checkpoint
    def fails() -> None:
        ran.append("fails")
        message = "no"
        raise ValueError(message)

    @flow
    def careful() -> str:
        try:
            fails()
        except ValueError as error:
            return draft(str(error))
        return "fine"

    old = careful.run()
    old.wait()
    ran.clear()

    new = careful.replay(old.exec_id, from_="draft")

    assert new.wait() == "draft of no"
    assert ran == ["draft no"]
    assert took(new)["fails#1"] == "reused"


def test_replay_of_a_cancelled_execution_runs_what_it_had_not_done() -> None:
    @flow
    def asking() -> str:
        notes = research("tea")
        kitaru.wait(name="go")
        return draft(notes)

    old = asking.run()
    parked(old)
    old.cancel()
    leave(old)
    ran.clear()

    new = asking.replay(old.exec_id)
    answer(new, None, "go")

    assert new.wait() == "draft of notes on tea"
    assert ran == ["draft notes on tea"]


@flow
def asks() -> str:
    notes = research("tea")
    approved = kitaru.wait(schema=bool, name="approve")
    return draft(notes) if approved else "rejected"


def test_answer_is_kept_overridden_or_asked_for_again() -> None:
    old = asks.run()
    answer(old, True, "approve")
    old.wait()
    ran.clear()

    kept = asks.replay(old.exec_id, from_="draft")
    assert kept.wait() == "draft of notes on tea"  # S5.5
    overridden = asks.replay(old.exec_id, overrides={"wait.approve": False})
    assert overridden.wait() == "rejected"
    again = asks.replay(old.exec_id, from_="approve")
    answer(again, False, "approve")
    assert again.wait() == "rejected"
    assert ran == ["draft notes on tea"]
    assert took(overridden)["wait:approve#1"] == "overridden"


def test_waiting_execution_is_replayed_without_being_touched() -> None:
    old = asks.run()
    parked(old)
    ran.clear()

    new = asks.replay(old.exec_id, overrides={"wait.approve": False})

    assert new.wait() == "rejected"
    assert execution(old).status is ExecutionStatus.WAITING
    assert ran == []
    old.cancel()
    leave(old)


def test_branch_of_a_fan_out_is_replayed_alone_with_what_joins_it() -> None:
    @checkpoint
    def inspect(number: int) -> int:
        ran.append(f"inspect {number}")
        return number

    @checkpoint
    def total(numbers: list[int]) -> int:
        ran.append("total")
        return sum(numbers)

    @flow
    def fan_out() -> int:
        return total(inspect.map(range(1000)).result())

    old = fan_out.run()
    assert old.wait() == 499500
    [branch] = [
        c for c in calls(old).values() if c.name == "inspect" and c.position.endswith("#500")
    ]
    ran.clear()

    new = fan_out.replay(old.exec_id, from_=branch.position)

    assert new.wait() == 499500
    assert ran == ["inspect 499", "total"]
    assert sorted(took(new).values()).count("reused") == 999


def test_async_fan_out_is_replayed_by_branch() -> None:
    @checkpoint
    async def inspect(number: int) -> int:
        ran.append(f"inspect {number}")
        await asyncio.sleep(0)
        return number

    @checkpoint
    async def deepen(number: int) -> int:
        ran.append(f"deepen {number}")
        return number * 10

    @flow
    async def fan_out() -> int:
        async def branch(number: int) -> int:
            return await deepen(await inspect(number))

        return sum(await asyncio.gather(*(branch(number) for number in range(5))))

    old = fan_out.run()
    assert old.wait() == 100
    branch = next(c for c in calls(old).values() if c.position == "3/inspect#1")
    ran.clear()

    assert fan_out.replay(old.exec_id, from_=branch.position).wait() == 100
    assert ran == ["inspect 3", "deepen 3"]
    ran.clear()

    new = fan_out.replay(old.exec_id, overrides={"checkpoint.3/inspect#1": 7})
    assert new.wait() == 140
    assert ran == ["deepen 7"]


def test_artifacts_and_metadata_of_reused_calls_come_along() -> None:
    @checkpoint
    def saving() -> str:
        kitaru.save("plan", {"steps": 3})
        kitaru.log(cost=5)
        return "saved"

    @flow
    def keeps() -> str:
        return draft(saving())

    old = keeps.run()
    old.wait()
    new = keeps.replay(old.exec_id, from_="draft")
    new.wait()

    assert [artifact.name for artifact in store().list_artifacts(new.exec_id)] == ["plan"]
    assert [(m.position, m.key) for m in store().list_metadata(new.exec_id)] == [
        ("saving#1", "cost")
    ]


def test_recorded_values_come_along() -> None:
    @flow
    def chancy() -> tuple[float, str]:
        chance = kitaru.random()
        return chance, draft(str(chance))

    old = chancy.run()
    chance, _ = old.wait()
    ran.clear()

    assert chancy.replay(old.exec_id).wait()[0] == chance
    assert ran == []


def test_child_that_came_to_its_end_is_not_run_again() -> None:
    @flow
    def parent() -> str:
        return draft(report.run().wait())

    old = parent.run()
    old.wait()
    ran.clear()

    new = parent.replay(old.exec_id, from_="draft")

    assert new.wait().startswith("draft of draft of")
    assert len(ran) == 1


def test_selected_call_runs_although_a_cache_has_its_result() -> None:
    @checkpoint(cache=True)
    def cached(number: int) -> int:
        ran.append("cached")
        return number

    @flow
    def caching() -> int:
        return cached(1)

    old = caching.run()
    old.wait()
    caching.replay(old.exec_id, from_="cached").wait()

    assert ran == ["cached", "cached"]


def test_interrupted_replay_is_recovered_and_a_failed_one_retried() -> None:
    broken = [True]

    @checkpoint
    def flaky(text: str) -> str:
        if broken[0]:
            raise ValueError(text)
        return text

    @flow
    def fails(suffix: str = "") -> str:
        return flaky(research("tea") + suffix)

    old = fails.run()
    with pytest.raises(KitaruUserCodeError):
        old.wait()
    new = fails.replay(old.exec_id, suffix="!")
    with pytest.raises(KitaruUserCodeError):
        new.wait()
    broken[0] = False
    ran.clear()

    retry(fails, new)

    assert new.wait() == "notes on tea!"
    assert ran == []


def test_origin_of_an_unfinished_replay_cannot_be_deleted() -> None:
    old = asks.run()
    answer(old, True, "approve")
    old.wait()
    new = asks.replay(old.exec_id, from_="approve")
    parked(new)

    with pytest.raises(KitaruStateError, match=new.exec_id):
        store().delete_execution(old.exec_id)

    answer(new, True, "approve")
    new.wait()
    store().delete_execution(old.exec_id)


@flow
def loops() -> list[str]:
    return [draft("one"), draft("two"), research("three")]


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"from_": "draft"}, KitaruStateError, r"draft \(position 'draft#1'\), draft-2"),
        ({"from_": "nothing"}, KitaruStateError, "It has draft, research"),
        ({"from_": ""}, KitaruUsageError, "from_"),
        ({"from_": "draft-2", "at": "draft-2"}, KitaruUsageError, "`at`"),
        ({"overrides": {"draft-2": 1}}, KitaruUsageError, "'checkpoint.<selector>'"),
        ({"overrides": {"checkpoint.": 1}}, KitaruUsageError, "'checkpoint.<selector>'"),
        ({"overrides": {"checkpoint.never": 1}}, KitaruStateError, "no checkpoint 'never'"),
        ({"overrides": {"wait.draft": 1}}, KitaruStateError, "has no wait 'draft'"),
        (
            {"overrides": {"checkpoint.research": Lock()}},
            kitaru.KitaruSerializationError,
            "overrides",
        ),
        (
            {"overrides": {"checkpoint.research": "a", "checkpoint.research#1": "b"}},
            KitaruUsageError,
            "'checkpoint.research' and 'checkpoint.research#1' in `overrides` mean one call",
        ),
        (
            {"from_": "draft#1", "overrides": {"checkpoint.draft#1": "a"}},
            KitaruUsageError,
            r"'checkpoint.draft#1' .* `from_` selects, .* an overridden call does not run\. Leave",
        ),
        ({"code": "recorded"}, KitaruFeatureNotAvailableError, "deployed"),
        ({"code": "old"}, KitaruUsageError, "'current' or 'recorded'"),
        ({"topic": "tea"}, KitaruUsageError, "no parameter 'topic'; it has none"),
    ],
)
def test_replay_that_cannot_be_is_refused_and_starts_nothing(
    options: dict[str, Any], error: type[Exception], told: str
) -> None:
    old = loops.run()
    old.wait()

    with pytest.raises(error, match=told):
        loops.replay(old.exec_id, **options)

    from kitaru.model import ExecutionFilter

    assert store().count_executions(ExecutionFilter(project="default")) == 1


def test_wrong_origin_is_refused() -> None:
    old = asks.run()
    parked(old)
    with pytest.raises(KitaruStateError, match="not of 'report'"):
        report.replay(old.exec_id)
    with pytest.raises(KitaruWaitValidationError, match="'approve' is no answer to it") as refused:
        asks.replay(old.exec_id, overrides={"wait.approve": "yes"})
    assert refused.value.message.endswith("It asks for: yes or no. Nothing was started.")
    with pytest.raises(KitaruNotFoundError):
        asks.replay("no-such-id")
    old.cancel()
    leave(old)

    @flow
    def inside() -> None:
        report.replay(old.exec_id)

    with pytest.raises(KitaruUserCodeError) as caught:
        inside.run().wait()
    assert isinstance(caught.value.__cause__, KitaruContextError)


@dataclasses.dataclass(frozen=True)
class Facts:
    module: str
    lines: int


@checkpoint
def inspect_module() -> Facts:
    return Facts("a", 1)


@checkpoint
def describe(facts: Facts) -> str:
    return f"{facts.module}: {facts.lines}"


@flow
def inspecting() -> str:
    return describe(inspect_module())


def test_override_given_as_json_becomes_what_the_checkpoint_returns() -> None:
    old = inspecting.run()
    old.wait()

    new = inspecting.replay(
        old.exec_id, overrides={"checkpoint.inspect_module": {"module": "b", "lines": 2}}
    )

    assert new.wait() == "b: 2"
    with pytest.raises(KitaruUsageError, match="a dict cannot stand for Facts"):
        inspecting.replay(old.exec_id, overrides={"checkpoint.inspect_module": {"module": "b"}})
    assert (
        inspecting.replay(
            old.exec_id, overrides={"checkpoint.inspect_module": Facts("c", 3)}
        ).wait()
        == "c: 3"
    )


@checkpoint
def ask() -> int:
    ran.append("ask")
    return len(ran)


@checkpoint
def keep(word: str) -> str:
    ran.append(word)
    return word


def test_override_of_one_of_several_equal_calls_goes_to_that_one() -> None:
    @flow
    def equal() -> list[int]:
        return [ask(), ask(), ask()]

    @flow
    def mapped() -> list[str]:
        return keep.map(["a"] * 4).result()

    old = equal.run()
    assert old.wait() == [1, 2, 3]
    assert equal.replay(old.exec_id, overrides={"checkpoint.ask-2": 99}).wait() == [1, 99, 4]

    old_map = mapped.run()
    old_map.wait()
    new = mapped.replay(old_map.exec_id, overrides={"checkpoint.keep#3": "x"})
    assert new.wait() == ["a", "a", "x", "a"]


def test_inserted_call_runs_alone_and_all_others_keep_their_records() -> None:
    @flow
    def each(words: list[str]) -> list[str]:
        return [keep(word) for word in words]

    @flow
    def mapped(words: list[str]) -> list[str]:
        return keep.map(words).result()

    for kind in (each, mapped):
        old = kind.run(["a", "b", "c"])
        old.wait()
        ran.clear()

        new = kind.replay(old.exec_id, words=["z", "a", "b", "c"])

        assert new.wait() == ["z", "a", "b", "c"]
        assert ran == ["z"]
        ids = [call.call_id for call in calls(new).values()]
        assert len(set(ids)) == 4


def test_selected_call_runs_again_after_a_crash_of_the_replay_too(
    interruption: Interruption,
) -> None:
    interruption.is_due = False

    @flow
    def pair(x: int = 1) -> list[str]:
        first, second = keep.submit("a"), keep.submit("a")
        if x == 2:
            interruption()
        return [first.result(), second.result(), keep(str(x))]

    old = pair.run()
    old.wait()
    ran.clear()
    interruption.is_due = True
    new = pair.replay(old.exec_id, from_="keep#1", x=2)
    leave(new)
    go_on(pair, new)

    assert new.wait() == ["a", "a", "2"]
    rows = calls(new)
    assert rows["keep#2"].status.value == "reused"
    assert rows["keep#1"].status.value == "completed"


def test_wide_async_replay_writes_what_it_takes_over_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @checkpoint
    async def inspect(number: int) -> int:
        ran.append(str(number))
        return number

    @flow
    async def fan_out() -> int:
        return sum(await asyncio.gather(*(inspect(number) for number in range(1000))))

    old = fan_out.run()
    old.wait()
    ran.clear()
    written: list[int] = []
    former = runner().store.commit

    def count(writes: Any) -> Any:
        written.extend(len(write.calls) for write in writes if isinstance(write, JournalEntry))
        return former(writes)

    monkeypatch.setattr(runner().services.writer, "_commit", count)
    new = fan_out.replay(old.exec_id, from_="500/inspect#1")

    assert new.wait() == 499500
    assert ran == ["500"]
    assert sum(written) == 1000
