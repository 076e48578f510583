"""A pass over a store: in steps, with rests, stoppable; and what clients get of it."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from kitaru import pruning, settings
from kitaru.blobs import open_blobs
from kitaru.blobs.local import LocalBlobs
from kitaru.client import KitaruClient, Pruned, PrunedGroup, RetentionRule
from kitaru.clock import SYSTEM_CLOCK
from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.model import EventRecord, ExecutionFilter, ExecutionStatus, StoredValue
from kitaru.store import Store
from tests.client.journal import START, Book

S = ExecutionStatus
ALL = RetentionRule(keep=0)
TOLD = EventRecord(kind="told", position="", payload='"hello"', created_at=START)


def fill(store: Store, count: int) -> None:
    for number in range(count):
        book = Book.begin(store, at=number)
        book.write(events=(TOLD,) * 20)
        book.end(S.COMPLETED)


def kept(store: Store) -> int:
    return store.count_executions(ExecutionFilter(project="default"))


def leave_blob(data: bytes) -> str:
    """Keep a blob that no row names and that was put long ago."""
    url = settings.current().artifact_store
    digest = open_blobs(url).put(data)
    os.utime(Path(url.removeprefix("file://")) / digest[:2] / digest, (1, 1))
    return digest


@pytest.mark.only_kinds("sqlite", reason="it looks into the folder of values")
def test_pass_rests_after_each_step_and_may_be_stopped_and_continued(store: Store) -> None:
    fill(store, 120)  # more rows than one step takes
    leave_blob(b"unneeded")
    blobs = open_blobs(settings.current().artifact_store)
    rests: list[float] = []

    def stop(seconds: float) -> bool:
        rests.append(seconds)
        return True

    first = pruning.prune(store, blobs, [ALL], clock=SYSTEM_CLOCK, rest=stop)
    left = kept(store)
    second = pruning.prune(store, blobs, [ALL], clock=SYSTEM_CLOCK, rest=lambda _: False)

    assert len(rests) == 1
    assert (first.is_complete, first.blobs) == (False, 0)
    assert 0 < first.executions == 120 - left
    assert second == Pruned(
        groups=(
            PrunedGroup(
                project="default", flow="audit", status=S.COMPLETED, executions=left, descendants=0
            ),
        ),
        blobs=1,
        blob_bytes=8,
    )


@pytest.mark.only_kinds("sqlite", reason="it looks into the folder of values")
def test_blobs_are_collected_without_any_rule(store: Store) -> None:
    fill(store, 1)
    digest = leave_blob(b"unneeded")
    blobs = open_blobs(settings.current().artifact_store)

    done = pruning.prune(store, blobs, [], clock=SYSTEM_CLOCK, rest=lambda _: False)

    assert (done.executions, done.blobs) == (0, 1)
    assert not blobs.has(digest)


@pytest.mark.only_kinds("sqlite", reason="it looks into the folder of values")
def test_blobs_stay_that_may_have_been_put_by_what_runs(store: Store) -> None:
    runs = Book.begin(store, created_at=0)
    digest = leave_blob(b"put by a body that goes on for years")
    blobs = open_blobs(settings.current().artifact_store)

    before = pruning.prune(store, blobs, [], clock=SYSTEM_CLOCK, rest=lambda _: False)
    runs.end(S.COMPLETED)
    after = pruning.prune(store, blobs, [], clock=SYSTEM_CLOCK, rest=lambda _: False)

    assert (before.blobs, after.blobs) == (0, 1)
    assert not blobs.has(digest)


def test_execution_that_several_rules_let_go_is_counted_once(
    client: KitaruClient, store: Store
) -> None:
    fill(store, 3)
    rules = [RetentionRule(keep=1), RetentionRule(older_than=timedelta(days=1))]

    plan = client.upkeep.plan_pruning(rules)
    done = client.upkeep.prune(rules)

    assert (plan.executions, done.executions) == (3, 3)


def test_project_narrows_what_is_pruned(client: KitaruClient, store: Store) -> None:
    fill(store, 2)
    Book.begin(store, project="other").end(S.COMPLETED)

    assert client.upkeep.plan_pruning([ALL], project="other").executions == 1
    assert client.upkeep.prune([ALL], project="other").executions == 1
    assert kept(store) == 2
    assert client.upkeep.plan_pruning([ALL]).executions == 2


def test_settings_are_applied_where_no_rules_are_given(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 3)
    monkeypatch.setenv("KITARU_RETENTION", '[{"keep": 1}]')

    assert KitaruClient().upkeep.prune().executions == 2


@pytest.mark.parametrize("rules", [None, []])
def test_nothing_is_pruned_without_a_rule(
    client: KitaruClient, store: Store, rules: list[RetentionRule] | None
) -> None:
    fill(store, 1)

    for ask in (client.upkeep.prune, client.upkeep.plan_pruning):
        with pytest.raises(KitaruUsageError, match="no retention rule is configured"):
            ask(rules)

    assert kept(store) == 1


@pytest.mark.only_kinds("sqlite", reason="only a file shrinks")
def test_room_is_measured_before_and_after_shrinking(client: KitaruClient, store: Store) -> None:
    fill(store, 60)
    client.upkeep.prune([ALL])

    measured = client.upkeep.measure()
    before, after = client.upkeep.shrink()

    assert before == measured
    assert before.free_bytes > after.free_bytes == 0
    assert after.file_bytes < before.file_bytes


@pytest.mark.only_kinds("sqlite", reason="it looks into the folder of values")
def test_execution_pruned_while_it_is_exported_is_said_to_be_gone(
    client: KitaruClient, store: Store, tmp_path: Path
) -> None:
    digest = leave_blob(b"x" * 50_000)
    book = Book.begin(store)
    book.call("draw", output=StoredValue("kitaru/1", None, digest, 50_000))
    exec_id = book.end(S.COMPLETED)

    class Pruning(LocalBlobs):
        def get(self, digest: str) -> bytes:
            client.upkeep.prune([ALL])
            return super().get(digest)

    client._connection.__dict__["blobs"] = Pruning(tmp_path / "kitaru" / "blobs")

    with pytest.raises(KitaruNotFoundError, match="there is no execution"):
        client.executions.export(exec_id, tmp_path / "gone.kitaru")

    assert [path.name for path in tmp_path.iterdir()] == ["kitaru"]


@pytest.mark.only_kinds("sqlite", reason="only a file is copied by Kitaru")
def test_backup_begins_anew_if_what_it_has_copied_is_pruned_meanwhile(
    client: KitaruClient, store: Store, tmp_path: Path
) -> None:
    digests = [leave_blob(bytes([number]) * 50_000) for number in range(3)]
    for number, digest in enumerate(digests):
        book = Book.begin(store, at=number)
        book.call("draw", output=StoredValue("kitaru/1", None, digest, 50_000))
        book.end(S.COMPLETED)
    asked: list[str] = []

    class Pruning(LocalBlobs):
        def get(self, digest: str) -> bytes:
            if not asked:
                client.upkeep.prune([RetentionRule(keep=1)])
            asked.append(digest)
            return super().get(digest)

    client._connection.__dict__["blobs"] = Pruning(tmp_path / "kitaru" / "blobs")

    made = client.upkeep.back_up(tmp_path / "backup")

    assert made.blobs == 1
    assert len(asked) > 1
    [left] = open_blobs(f"file://{made.folder}/blobs").list_digests()
    assert left == digests[-1]
    assert client.upkeep.restore(made.folder, force=True).blobs == 1
    assert client.upkeep.verify() == []
