"""`kitaru clean executions` and `kitaru db shrink`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kitaru import settings
from kitaru.blobs import open_blobs
from kitaru.clock import SYSTEM_CLOCK
from kitaru.model import ExecutionFilter, ExecutionStatus, StoredValue
from kitaru.store import Store
from tests.cli.conftest import Kitaru
from tests.client.journal import SECOND, START, Book

S = ExecutionStatus


def recent() -> float:
    """Return what `at` an hour ago is for a book."""
    return (SYSTEM_CLOCK.now() - START) / SECOND - 3600


def keep_large(store: Store, *, aged: bool = True) -> str:
    """Keep an old execution with a large value; return the value's digest."""
    digest = open_blobs(settings.current().artifact_store).put(b"x" * 50_000)
    book = Book.begin(store, "heavy")
    book.call("draw", output=StoredValue("kitaru/1", None, digest, 50_000))
    book.end(S.FAILED)
    if aged:
        root = Path(settings.current().artifact_store.removeprefix("file://"))
        os.utime(root / digest[:2] / digest, (1, 1))
    return digest


def kept(store: Store) -> list[str]:
    everything = ExecutionFilter(project="default")
    return [one.flow for one in store.list_executions(everything, limit=99)]


def test_old_executions_go_with_their_large_values(kitaru: Kitaru, store: Store):
    digest = keep_large(store)
    Book.begin(store, "new", at=recent()).end(S.COMPLETED, at=recent())

    done = kitaru("clean", "executions", "--older-than", "30d", "--yes")

    assert done.code == 0
    assert done.out.startswith("Removed 1 execution\n")
    assert "  default   heavy   failed   1            1\n" in done.out
    assert "\nLarge values removed: 1, 48.8 KiB\nThe store's file: " in done.out
    assert kept(store) == ["new"]
    assert not open_blobs(settings.current().artifact_store).has(digest)


def test_large_value_that_was_put_just_now_stays_for_the_grace(kitaru: Kitaru, store: Store):
    digest = keep_large(store, aged=False)

    item = kitaru("clean", "executions", "--older-than", "30d", "--yes", "-o", "json").json["item"]

    space = item.pop("space")
    assert item == {
        "dry_run": False,
        "aborted": False,
        "executions": 1,
        "groups": [
            {
                "project": "default",
                "flow": "heavy",
                "status": "failed",
                "executions": 1,
                "descendants": 0,
            }
        ],
        "skipped": 0,
        "blobs": 0,
        "blob_bytes": 0,
    }
    assert space["file_bytes"] > space["free_bytes"] >= 0
    assert open_blobs(settings.current().artifact_store).has(digest)


def test_dry_run_shows_flows_statuses_and_sizes_and_removes_nothing(kitaru: Kitaru, store: Store):
    keep_large(store)
    parent = Book.begin(store, "audit")
    Book.begin(store, "part", parent_id=parent.id, parent_position="c#1").end(S.COMPLETED)
    parent.end(S.COMPLETED)

    shown = kitaru("clean", "executions", "--keep", "0", "--dry-run")
    item = kitaru("clean", "executions", "--keep", "0", "--dry-run", "-o", "json").json["item"]

    assert shown.out.startswith("Would remove 3 executions\n")
    assert [line.split() for line in shown.out.splitlines()[3:5]] == [
        ["default", "audit", "completed", "1", "2", "38", "B", "0", "B"],
        ["default", "heavy", "failed", "1", "1", "12", "B", "48.8", "KiB"],
    ]
    assert item["executions"] == 3
    assert [group["blob_bytes"] for group in item["groups"]] == [0, 50_000]
    assert len(kept(store)) == 3


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--keep", "0", "--status", "failed"], ["b", "a"]),
        (["--keep", "0", "--status", "failed", "--status", "completed"], []),
        (["--keep", "0", "--flow", "a"], ["b"]),
        (["--keep", "0", "--flow", "[ab]"], []),
        (["--keep", "1"], ["b", "a"]),
        (["--keep", "0", "--project", "other"], ["b", "a", "a"]),
    ],
)
def test_options_say_what_goes(kitaru: Kitaru, store: Store, options: list[str], left: list[str]):
    Book.begin(store, "a").end(S.FAILED)
    Book.begin(store, "a", at=1).end(S.COMPLETED)
    Book.begin(store, "b", at=2).end(S.COMPLETED)
    Book.begin(store, "b", project="other").end(S.COMPLETED)

    done = kitaru("clean", "executions", *options, "--yes")

    assert done.code == 0
    assert kept(store) == left


def test_configured_retention_is_applied_without_options(
    kitaru: Kitaru, store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(
        "KITARU_RETENTION", json.dumps([{"flows": ["heavy"], "keep": 0}, {"keep": 1}])
    )
    keep_large(store)
    Book.begin(store, "a").end(S.COMPLETED)
    Book.begin(store, "a", at=1).end(S.COMPLETED)

    plan = kitaru("clean", "executions", "--dry-run", "-o", "json").json["item"]
    done = kitaru("clean", "executions", "--yes", "-o", "json").json["item"]

    assert (plan["executions"], done["executions"]) == (2, 2)
    assert kept(store) == ["a"]


def test_without_any_rule_everything_is_kept_and_the_way_is_shown(kitaru: Kitaru, store: Store):
    done = kitaru("clean", "executions", "--yes")

    assert done.code == 2
    assert "no retention rule is configured" in done.err
    assert "kitaru clean executions --older-than 30d" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--status", "failed"], "`--status` and `--flow` need `--older-than` or `--keep`"),
        (["--older-than", "soon"], "expected `older_than` in rule 1 of the options to be a span"),
        (["--keep", "1", "--status", "faild"], "Did you mean 'failed'?"),
        (["--keep", "-1"], "expected `keep` in rule 1 of the options to be a whole number"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    kitaru: Kitaru, store: Store, options: list[str], said: str
):
    done = kitaru("clean", "executions", *options, "--yes")

    assert done.code == 2
    assert said in done.err


def test_nobody_can_be_asked_without_a_terminal(kitaru: Kitaru, store: Store):
    Book.begin(store).end(S.COMPLETED)

    done = kitaru("clean", "executions", "--keep", "0")

    assert (done.code, done.err) == (2, "Error: `--yes` is needed where nobody can be asked.\n")
    assert len(kept(store)) == 1


def test_what_something_unfinished_needs_is_counted_and_stays(kitaru: Kitaru, store: Store):
    origin = Book.begin(store, "origin").end(S.COMPLETED)
    Book.begin(store, "again", origin_id=origin)

    done = kitaru("clean", "executions", "--keep", "0", "--yes")

    assert (
        "No executions were removed.\n1 stayed, because something unfinished needs them.\n"
        in done.out
    )


def test_shrink_tells_the_room_before_and_after(kitaru: Kitaru, store: Store):
    for _ in range(40):
        Book.begin(store, spec={"text": "x" * 20_000}).end(S.COMPLETED)
    kitaru("clean", "executions", "--keep", "1", "--yes")

    item = kitaru("db", "shrink", "-o", "json").json["item"]
    shown = kitaru("db", "shrink")

    assert item["before"]["free_bytes"] > 500_000
    assert item["after"]["free_bytes"] == 0
    assert item["after"]["file_bytes"] < item["before"]["file_bytes"] - 500_000
    assert shown.out.splitlines()[1].startswith("  before: ")
    assert store.verify() == []


def test_backup_is_written_and_restored_from_the_command_line(
    kitaru: Kitaru, store: Store, here: Path
):
    keep_large(store)

    made = kitaru("db", "backup", "copy")
    Book.begin(store, "late").end(S.COMPLETED)
    refused = kitaru("db", "restore", "copy")
    restored = kitaru("db", "restore", "copy", "--force", "-o", "json").json["item"]

    assert made.out.startswith("Backed up the store and 1 large value, ")
    assert made.out.endswith(f"{here}/copy\n")
    assert refused.code == 1
    assert "or give `--force`" in refused.err
    assert restored["blobs"] == 1
    assert kept(store) == ["heavy"]
    assert kitaru("db", "verify").code == 0
