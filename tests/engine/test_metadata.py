"""S6.1, S6.3: metadata and artifacts."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

import kitaru
from kitaru import (
    KitaruContextError,
    KitaruNotFoundError,
    KitaruSerializationError,
    KitaruStateError,
    KitaruUsageError,
    checkpoint,
    flow,
)
from kitaru.authoring.handle import FlowHandle
from tests.engine.kit import Interruption, calls, go_on, store


def metadata(handle: FlowHandle[Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for record in store().list_metadata(handle.exec_id):
        found.setdefault(record.position, {})[record.key] = json.loads(record.value)
    return found


def test_logged_values_attach_to_the_call_or_to_the_execution() -> None:
    @checkpoint
    def step() -> None:
        kitaru.log(tokens=5)

    @flow
    def steps() -> None:
        kitaru.log(stage="first")
        step()
        kitaru.log(stage="last")

    handle = steps.run()

    handle.wait()
    assert metadata(handle) == {"": {"stage": "last"}, "step#1": {"tokens": 5}}  # S6.1


def test_same_key_overwrites_and_mappings_merge() -> None:
    @flow
    def steps() -> None:
        kitaru.log(cost={"in": 1, "out": 1}, plain=1)
        kitaru.log(cost={"out": 2}, plain={"now": "a mapping"})

    handle = steps.run()

    handle.wait()
    assert metadata(handle)[""] == {  # S6.1
        "cost": {"in": 1, "out": 2},
        "plain": {"now": "a mapping"},
    }


def test_mappings_merge_with_what_was_logged_before_a_recovery(interruption: Interruption) -> None:
    @checkpoint
    def step() -> None: ...

    @flow
    def steps() -> None:
        kitaru.log(cost={"a": 1})
        step()
        interruption()
        kitaru.log(cost={"b": 2})
        step()

    handle = steps.run()

    go_on(steps, handle)

    handle.wait()
    assert metadata(handle)[""] == {"cost": {"a": 1, "b": 2}}  # S6.1


def test_logging_outside_a_flow_or_of_other_values_is_refused() -> None:
    with pytest.raises(KitaruContextError):
        kitaru.log(a=1)

    @flow
    def steps() -> None:
        with pytest.raises(KitaruUsageError, match=r"`kitaru.log\(lock=\.\.\.\)` takes JSON-like"):
            kitaru.log(lock=object())

    steps.run().wait()


def test_failed_attempts_metadata_is_kept() -> None:
    @checkpoint(retries=1)
    def step() -> None:
        call = kitaru.current_call()
        assert call is not None
        kitaru.log(**{f"attempt_{call.attempt}": True})
        if call.attempt == 1:
            raise ConnectionError

    @flow
    def steps() -> None:
        step()

    handle = steps.run()

    handle.wait()
    assert metadata(handle)["step#1"] == {"attempt_1": True, "attempt_2": True}


def test_saved_value_is_durable_with_its_call_and_is_loaded_by_name() -> None:
    @checkpoint
    def step() -> None:
        kitaru.save("plan", {"steps": [1, 2]}, type="context", tags=["draft"])

    @flow
    def steps() -> object:
        step()
        exec_id = kitaru.current_execution_id()
        assert exec_id is not None
        return kitaru.load(exec_id, "plan")

    handle = steps.run()

    assert handle.wait() == {"steps": [1, 2]}  # S6.3
    [artifact] = store().list_artifacts(handle.exec_id)
    assert (artifact.name, artifact.kind, artifact.tags) == ("plan", "context", ("draft",))
    assert artifact.position == "step#1"
    assert not artifact.attempt_failed


def test_failed_attempts_artifacts_are_kept_and_marked() -> None:
    @checkpoint(retries=1)
    def step() -> None:
        call = kitaru.current_call()
        assert call is not None
        kitaru.save("draft", call.attempt)
        if call.attempt == 1:
            raise ConnectionError

    @flow
    def steps() -> None:
        step()

    handle = steps.run()

    handle.wait()
    found = [(a.attempt, a.attempt_failed) for a in store().list_artifacts(handle.exec_id)]
    assert found == [(1, True), (2, False)]  # S6.3
    assert kitaru.load(handle.exec_id, "draft") == 2


def test_load_finds_results_by_checkpoint_or_call() -> None:
    @checkpoint
    def once() -> str:
        return "one"

    @checkpoint
    def twice(number: int) -> int:
        return number

    @flow
    def steps() -> None:
        once()
        twice(1)
        twice(2)

    handle = steps.run()
    handle.wait()

    assert kitaru.load(handle.exec_id, "once") == "one"  # S6.3
    assert kitaru.load(handle.exec_id, "twice-2") == 2
    with pytest.raises(KitaruStateError, match="'twice', 'twice-2'"):
        kitaru.load(handle.exec_id, "twice")
    with pytest.raises(KitaruNotFoundError, match="no checkpoint result named 'thrice'"):
        kitaru.load(handle.exec_id, "thrice")
    with pytest.raises(KitaruNotFoundError):
        kitaru.load("no-such-execution", "once")


def test_save_outside_a_checkpoint_or_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(KitaruContextError, match="Use it inside a function decorated with"):
        kitaru.save("name", 1)

    @checkpoint
    def step() -> None:
        with pytest.raises(KitaruUsageError, match="expected `type` to be one of 'prompt'"):
            kitaru.save("name", 1, type="poem")
        with pytest.raises(KitaruUsageError, match="name to be a non-empty string"):
            kitaru.save("", 1)
        with pytest.raises(KitaruSerializationError) as caught:
            kitaru.save("name", [threading.Lock()])
        assert caught.value.path.startswith("name[")

    @flow
    def steps() -> None:
        with pytest.raises(KitaruContextError, match="in a flow, outside a checkpoint"):
            kitaru.save("name", 1)
        step()

    handle = steps.run()

    handle.wait()
    assert list(calls(handle)) == ["step#1"]
