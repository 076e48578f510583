"""A copy of the whole store, made beside runs and brought back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru import KitaruClient, settings
from kitaru.blobs import open_blobs
from kitaru.errors import (
    KitaruBackendError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
)
from kitaru.model import Claim, ExecutionFilter, ExecutionStatus, StoredValue
from kitaru.store import Store, open_store
from tests.client.journal import START, Book

S = ExecutionStatus
EVERYTHING = ExecutionFilter(project="default")


pytestmark = pytest.mark.only_kinds(
    "sqlite", reason="a database that many share has its own means, and Kitaru says so"
)


def write_large(store: Store, number: int) -> str:
    """Keep an execution whose values are blobs."""
    blobs = open_blobs(settings.current().artifact_store)
    digest = blobs.put(f"{number}".encode() * 40_000)
    book = Book.begin(store, at=number)
    book.call("draw", output=StoredValue("kitaru/1", None, digest, 40_000))
    return book.end(S.COMPLETED)


@pytest.fixture
def elsewhere(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KitaruClient]:
    """Return a client of another, empty place; what follows uses that."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.setenv("KITARU_CONFIG_PATH", str(folder))
    client = KitaruClient()
    yield client
    open_store(settings.current().store_url).close()


def test_backup_made_beside_a_writer_is_whole(
    client: KitaruClient, store: Store, tmp_path: Path
) -> None:
    is_over = threading.Event()
    write_large(store, 0)

    def write() -> None:
        number = 1
        while not is_over.is_set():
            write_large(store, number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [client.upkeep.back_up(tmp_path / f"backup{number}") for number in range(3)]
    finally:
        is_over.set()
        writer.join()

    for backup in made:
        copy = open_store(f"sqlite://{backup.folder}/kitaru.db")
        assert copy.verify() == []
        digests = copy.list_blob_digests()
        copy.close()
        assert sorted(open_blobs(f"file://{backup.folder}/blobs").list_digests()) == digests
        assert backup.blobs == len(digests) > 0
    assert sorted(path.name for path in tmp_path.glob("backup*")) == [
        "backup0",
        "backup1",
        "backup2",
    ]
    assert not list(tmp_path.glob(".*"))


def test_restored_store_has_everything_and_is_sound(
    client: KitaruClient, store: Store, tmp_path: Path, elsewhere: KitaruClient
) -> None:
    with pytest.MonkeyPatch.context() as there:
        there.setenv("KITARU_CONFIG_PATH", str(tmp_path / "kitaru"))
        exec_id = write_large(store, 7)
        client.upkeep.back_up(tmp_path / "backup")

    restored = elsewhere.upkeep.restore(tmp_path / "backup")

    assert restored.blobs == 1
    assert elsewhere.upkeep.verify() == []
    assert [one.exec_id for one in elsewhere.executions.list()] == [exec_id]


def test_restore_replaces_a_store_with_executions_only_when_forced(
    client: KitaruClient, store: Store, tmp_path: Path
) -> None:
    before = write_large(store, 1)
    client.upkeep.back_up(tmp_path / "backup")
    write_large(store, 2)

    with pytest.raises(KitaruStateError, match="has executions, which would be lost"):
        client.upkeep.restore(tmp_path / "backup")
    client.upkeep.restore(tmp_path / "backup", force=True)

    assert [one.exec_id for one in client.executions.list()] == [before]
    assert client.upkeep.verify() == []


def test_restore_never_replaces_a_store_in_which_something_runs(
    client: KitaruClient, store: Store, tmp_path: Path
) -> None:
    client.upkeep.back_up(tmp_path / "backup")
    book = Book.begin(store)

    with pytest.raises(KitaruStateError, match="is running in the store"):
        client.upkeep.restore(tmp_path / "backup", force=True)

    assert store.get_execution(book.id).status is S.RUNNING


def test_interrupted_execution_of_a_backup_can_be_claimed_after_it_is_restored(
    client: KitaruClient, store: Store, tmp_path: Path
) -> None:
    gone = Claim(owner="gone", lease_expires_at=START)
    book = Book.begin(store, claim=gone)
    book.call("draw")
    client.upkeep.back_up(tmp_path / "backup")
    client.upkeep.restore(tmp_path / "backup", force=True)

    [reaped] = store.reap(now=START + 1, dead_owners=[])
    [again] = store.claim_executions(
        Claim(owner="new", lease_expires_at=2 * START), now=START + 1, limit=1
    )

    assert (reaped.id, again.id, again.epoch) == (book.id, book.id, 2)
    assert [call.name for call in store.list_calls(book.id)] == ["draw"]


@pytest.mark.parametrize("there", ["folder", "file"])
def test_backup_never_overwrites(
    client: KitaruClient, store: Store, tmp_path: Path, there: str
) -> None:
    target = tmp_path / "backup"
    target.mkdir() if there == "folder" else target.write_text("mine")

    with pytest.raises(KitaruUsageError, match="is there already"):
        client.upkeep.back_up(target)


def test_backup_needs_the_folder_above_it(
    client: KitaruClient, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(KitaruNotFoundError, match="Make it first"):
        client.upkeep.back_up(tmp_path / "no" / "backup")


def test_backup_of_a_store_whose_large_value_is_missing_fails_and_leaves_nothing(
    client: KitaruClient, store: Store, tmp_path: Path
) -> None:
    write_large(store, 1)
    blobs = open_blobs(settings.current().artifact_store)
    for digest in list(blobs.list_digests()):
        blobs.delete(digest)

    with pytest.raises(KitaruBackendError, match="is missing"):
        client.upkeep.back_up(tmp_path / "backup")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["kitaru"]


@pytest.mark.parametrize("damage", ["database", "blob", "no blob", "manifest", "newer"])
def test_backup_that_is_not_whole_is_not_restored(
    client: KitaruClient, store: Store, tmp_path: Path, damage: str
) -> None:
    kept = write_large(store, 1)
    folder = tmp_path / "backup"
    client.upkeep.back_up(folder)
    [blob] = [file for file in (folder / "blobs").rglob("*") if file.is_file()]
    manifest = folder / "backup.json"
    match damage:
        case "database":
            (folder / "kitaru.db").write_bytes(b"other")
        case "blob":
            blob.write_bytes(b"other")
        case "no blob":
            blob.unlink()
        case "manifest":
            manifest.write_text("{}")
        case _:
            manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": 99}))

    with pytest.raises(KitaruBackendError):
        client.upkeep.restore(folder, force=True)

    assert [one.exec_id for one in client.executions.list()] == [kept]


def test_folder_that_is_no_backup_is_told(
    client: KitaruClient, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(KitaruNotFoundError, match="is no backup"):
        client.upkeep.restore(tmp_path)
