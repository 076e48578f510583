"""Executions leave a store in one file and arrive in another."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

import kitaru
from kitaru import checkpoint, faults, flow, settings, worker
from kitaru.client import ExecutionStatus, KitaruClient, WaitStatus
from kitaru.client.exporting import read_bundle, read_tree
from kitaru.errors import (
    KitaruBackendError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
)
from kitaru.model import (
    AttemptRecord,
    Bundle,
    CallStatus,
    EventRecord,
    MetadataRecord,
    Outcome,
    StoredValue,
    WaitKind,
    WaitRecord,
)
from kitaru.model import ExecutionStatus as Status
from kitaru.store import Store
from kitaru.testing import disarm, fail_at
from kitaru.worker import runners
from tests.client.journal import SECOND, START, Book, failure, kept

LARGE = b"owl" * 20_000


@pytest.fixture(autouse=True)
def _nothing_goes_on(store: Store, tmp_path: Path) -> Iterator[None]:
    """Close what runs of flows have opened, in either store."""
    assert store
    yield

    disarm()
    settings.forget()
    for key, runner in list(runners._runners.items()):
        if str(tmp_path) in runner.settings.store_url and key[0] == os.getpid():
            runner.close()
            runner.store.close()
            del runners._runners[key]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.kitaru"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], KitaruClient]:
    """Return what goes over to another, empty store, for this client and for flows."""

    def go() -> KitaruClient:
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        monkeypatch.setenv("KITARU_CONFIG_PATH", str(folder))
        for name in ("KITARU_STORE_URL", "KITARU_ARTIFACT_STORE"):
            monkeypatch.delenv(name, raising=False)
        settings.forget()
        return KitaruClient()

    return go


def store_of(client: KitaruClient) -> Store:
    return client.executions._connection.store


def question(book: Book) -> WaitRecord:
    return WaitRecord(
        exec_id=book.id,
        position="wait:first#1",
        wait_id="first",
        name="first",
        kind=WaitKind.INPUT,
        question="Ship it?",
        schema='{"type":"boolean"}',
        created_at=START + SECOND,
    )


def eventful(client: KitaruClient, **fields: Any) -> Book:
    """Return a running execution with several rows of every kind, and a large value in each place."""
    store, blobs = store_of(client), client.executions._connection.blobs

    def large(data: bytes) -> StoredValue:
        return StoredValue("kitaru/1", None, blobs.put(data), len(data))

    book = Book.begin(
        store,
        inputs=large(LARGE),
        tags=("x",),
        idempotency_key="key",
        spec={"retries": 1, "image": None, "nested": {"a": [1.5, "ü"]}},
        **fields,
    )
    page = book.artifact("fetch#1", "page", 1)
    book.call(
        "fetch",
        output=large(LARGE + b"1"),
        inputs=large(LARGE),
        cache_key=b"\x00\xff",
        attempts=[book.failed_attempt("fetch#1", number, at=1) for number in (1, 2)],
        saved=[dataclasses.replace(page, value=large(LARGE + b"2"))],
        metadata={"tokens": "12"},
    )
    book.call(
        "broken",
        status=CallStatus.FAILED,
        failure=failure(exception_codec="pickle/1", exception=b"\x80\x00\xff", positions=("a#1",)),
    )
    book.call("going", seconds=None)
    book.write(
        metadata=(MetadataRecord(position="", key="cost", value='{"usd": 0.5}'),),
        events=(EventRecord(kind="progress", position="", payload='{"n":1}', created_at=START),),
        waits=(question(book),),
    )
    book.log("hello")
    book.log("wörld", position="fetch#1")
    return book


def tree(client: KitaruClient, exec_id: str) -> list[Bundle]:
    return read_tree(store_of(client), exec_id)


def test_finished_execution_arrives_exactly_as_it_was(
    client: KitaruClient, path: Path, elsewhere: Callable[[], KitaruClient]
):
    book = eventful(client)
    child = Book.begin(book.store, "child", parent_id=book.id, parent_position="child#1")
    grandchild = Book.begin(book.store, "child", parent_id=child.id, parent_position="child#1")
    grandchild.end(Status.FAILED, at=2)
    child.end(Status.COMPLETED, at=3)
    book.end(Status.COMPLETED)
    before = tree(client, book.id)

    assert client.executions.export(book.id[:30], path) == path
    there = elsewhere()
    found = there.executions.import_(path)

    assert tree(there, book.id) == before
    assert [bundle.execution.id for bundle in before] == [book.id, child.id, grandchild.id]
    assert (found.exec_id, found.status) == (book.id, ExecutionStatus.COMPLETED)
    assert there.upkeep.verify() == []
    assert list(there.executions._connection.blobs.list_digests()) == sorted(
        hashlib.sha256(LARGE + suffix).hexdigest() for suffix in (b"", b"1", b"2")
    )


def test_each_large_value_is_in_the_file_once(client: KitaruClient, path: Path):
    book = eventful(client)

    client.executions.export(book.id, path)

    with ZipFile(path) as container:
        names = container.namelist()
        manifest = json.loads(container.read("manifest.json"))
    assert len([name for name in names if name.startswith("blobs/")]) == 3
    assert [member["name"] for member in manifest["members"]] == names[:-1]
    assert {key: manifest[key] for key in ("format", "version", "kitaru", "exec_id")} == {
        "format": "kitaru-execution",
        "version": 1,
        "kitaru": kitaru.__version__,
        "exec_id": book.id,
    }
    assert leftovers(path) == []


@pytest.mark.parametrize(
    ("end", "word"),
    [
        (None, "running"),
        (Outcome(status=Status.WAITING, waits_for=("wait:first#1",)), "waiting"),
        (Outcome(status=Status.PENDING), "pending"),
    ],
)
def test_unfinished_execution_arrives_cancelled_and_stays_what_it_is_here(
    client: KitaruClient,
    path: Path,
    elsewhere: Callable[[], KitaruClient],
    end: Outcome | None,
    word: str,
):
    book = eventful(client)
    child = Book.begin(book.store, "child", parent_id=book.id, parent_position="child#1")
    if end is not None:
        book.write(outcome=end)

    client.executions.export(book.id, path)

    assert client.executions.get(book.id).status.value == word
    there = elsewhere()
    found = there.executions.import_(path)
    assert found.status is ExecutionStatus.CANCELLED
    assert found.status_reason == f"was {word} when it was exported"
    assert found.ended_at is not None
    assert [wait.status for wait in found.waits] == [WaitStatus.CLOSED]
    assert {call.call_id: call.status.value for call in found.checkpoints} == {
        "fetch": "completed",
        "broken": "failed",
        "going": "cancelled",
    }
    assert there.executions.get(child.id).status_reason == "was running when it was exported"
    assert f"It was {word} when it was exported." in there.executions.why(book.id).text
    calls = {call.position: call.status for call in store_of(there).list_calls(book.id)}
    assert calls["going#1"] is CallStatus.RUNNING
    assert there.upkeep.verify() == []


def test_execution_of_another_project_keeps_it(
    client: KitaruClient, path: Path, elsewhere: Callable[[], KitaruClient]
):
    book = Book.begin(store_of(client), project="research")
    book.end(Status.COMPLETED)
    client.executions.export(book.id, path)

    there = elsewhere()
    found = there.executions.import_(path)

    assert found.result() == {"owls": 3}
    assert there.executions.list() == []
    with KitaruClient(project="research") as other:
        assert [each.exec_id for each in other.executions.list()] == [book.id]


def test_replay_arrives_without_the_execution_that_it_replays(
    client: KitaruClient, path: Path, elsewhere: Callable[[], KitaruClient]
):
    origin = Book.begin(store_of(client))
    replay = Book.begin(store_of(client), origin_id=origin.id, replay_plan={"version": 1})
    replay.call(
        "fetch", status=CallStatus.REUSED, output=kept(1), cached_from=f"{origin.id}/fetch#1"
    )
    replay.end(Status.COMPLETED)
    client.executions.export(replay.id, path)

    found = elsewhere().executions.import_(path)

    assert found.original_exec_id == origin.id
    [call] = found.checkpoints
    assert call.original_call_id == f"{origin.id}/fetch#1"
    assert call.artifacts[0].load() == 1


def test_execution_is_not_imported_where_it_is_already(client: KitaruClient, path: Path):
    book = Book.begin(store_of(client))
    book.end(Status.COMPLETED)
    client.executions.export(book.id, path)

    with pytest.raises(KitaruStateError, match=f"'{book.id}' cannot be imported: it is here"):
        client.executions.import_(path)


# --- flows --------------------------------------------------------------------------------------

ran: list[str] = []


@checkpoint(retries=1)
def fetch(topic: str) -> bytes:
    ran.append("fetch")
    print(f"fetching {topic}")  # noqa: T201 - to be captured
    kitaru.save("notes", {"topic": topic})
    kitaru.log(tokens=12)
    if ran.count("fetch") == 1:
        message = "not yet"
        raise ConnectionError(message)
    return topic.encode() * 20_000


@checkpoint
def count(page: bytes, factor: int) -> int:
    ran.append("count")
    return len(page) * factor


@flow
def inner(size: int) -> int:
    return count.submit(b"x" * size, 2).result()


@flow
def outer(topic: str, factor: int = 1) -> int:
    page = fetch(topic)
    small = inner.run(3).wait()
    if kitaru.wait(schema=bool, name="approve", question="Ship it?"):
        return count(page, factor) + small
    return 0


def answered_run(client: KitaruClient) -> str:
    ran.clear()
    handle = outer.run("owl")
    for event in handle.events():
        if event.kind == "kitaru.wait.asked":
            client.executions.input(handle.exec_id, wait="approve", value=True)
    assert handle.wait() == 60_006
    ran.clear()
    return handle.exec_id


def test_imported_run_can_be_inspected(
    client: KitaruClient, path: Path, elsewhere: Callable[[], KitaruClient]
):
    exec_id = answered_run(client)
    here = client.executions.get(exec_id)
    client.executions.export(exec_id, path)
    logs = client.executions.logs(exec_id)
    events = list(client.executions.events(exec_id))

    there = elsewhere()
    found = there.executions.import_(path)

    assert found == here
    assert found.result() == 60_006
    assert [artifact.load() for artifact in found.artifacts] == [
        artifact.load() for artifact in here.artifacts
    ]
    assert [call.call_id for call in found.checkpoints] == ["fetch", "inner", "approve", "count"]
    assert [len(call.attempts) for call in found.checkpoints] == [2, 0, 0, 1]
    assert found.checkpoints[0].metadata == {"tokens": 12}
    [asked] = found.waits
    assert (asked.status, asked.answer) == (WaitStatus.ANSWERED, True)
    child = there.executions.get(found.checkpoints[1].child_exec_id or "")
    assert (child.parent_exec_id, child.result()) == (exec_id, 6)
    assert there.executions.logs(exec_id) == logs
    assert [entry.message for entry in logs][:2] == ["fetching owl", "fetching owl"]
    assert [e.kind for e in there.executions.events(exec_id)] == [e.kind for e in events]
    assert there.upkeep.verify() == []


def test_imported_run_can_be_replayed(
    client: KitaruClient, path: Path, elsewhere: Callable[[], KitaruClient]
):
    exec_id = answered_run(client)
    client.executions.export(exec_id, path)
    there = elsewhere()
    there.executions.import_(path)

    by_flow = outer.replay(exec_id, from_="count", factor=2)
    assert by_flow.wait() == 120_006
    by_client = there.executions.replay(exec_id)

    assert worker.wait_for(by_client.exec_id).status is Status.COMPLETED
    assert by_client.refresh().result() == 60_006
    assert ran == ["count"]
    assert by_client.original_exec_id == exec_id
    told = there.executions.diff(exec_id, by_client.exec_id)
    assert (told.is_replay, told.is_same_code, told.result.is_same) == (True, True, True)
    assert there.executions.get(by_client.exec_id).checkpoints[0].original_call_id == (
        f"{exec_id}/fetch"
    )


# --- writing ------------------------------------------------------------------------------------


def test_file_that_is_there_is_replaced_only_if_told_to(client: KitaruClient, path: Path):
    book = Book.begin(store_of(client))
    path.write_text("mine")

    with pytest.raises(KitaruUsageError, match=r"'.*run.kitaru' is there already.*overwrite=True"):
        client.executions.export(book.id, path)
    assert path.read_text() == "mine"

    client.executions.export(book.id, str(path), overwrite=True)
    assert path.read_bytes()[:2] == b"PK"


def test_file_that_appears_meanwhile_is_not_replaced(client: KitaruClient, path: Path):
    book = Book.begin(store_of(client))

    def take(point: str) -> None:
        if point == "export.before_rename":
            path.write_text("mine")

    faults.arm(take)

    with pytest.raises(KitaruUsageError, match="is there already"):
        client.executions.export(book.id, path)

    assert path.read_text() == "mine"
    assert leftovers(path) == []


def leftovers(path: Path) -> list[str]:
    return [file.name for file in path.parent.iterdir() if file.name.startswith(f".{path.name}")]


def test_folder_is_no_place_for_a_file(client: KitaruClient, tmp_path: Path):
    book = Book.begin(store_of(client))

    with pytest.raises(KitaruUsageError, match="got the folder"):
        client.executions.export(book.id, tmp_path, overwrite=True)


def test_folder_that_is_missing_is_not_made(client: KitaruClient, tmp_path: Path):
    book = Book.begin(store_of(client))

    with pytest.raises(KitaruNotFoundError, match=r"there is no folder '.*nowhere'. Make it first"):
        client.executions.export(book.id, tmp_path / "nowhere" / "run.kitaru")


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may all")
def test_folder_that_cannot_be_written_to_is_told(client: KitaruClient, tmp_path: Path):
    book = Book.begin(store_of(client))
    folder = tmp_path / "sealed"
    folder.mkdir(mode=0o500)

    with pytest.raises(KitaruBackendError, match="could not be written: Permission denied"):
        client.executions.export(book.id, folder / "run.kitaru")


def test_name_that_no_file_can_have_is_told(client: KitaruClient, tmp_path: Path):
    book = Book.begin(store_of(client))

    with pytest.raises(KitaruBackendError, match="could not be written: File name too long"):
        client.executions.export(book.id, tmp_path / ("x" * 250))


def test_export_that_fails_leaves_the_file_as_it_was(client: KitaruClient, path: Path):
    book = Book.begin(store_of(client))
    path.write_text("mine")
    fail_at("export.before_rename", RuntimeError("struck"))

    with pytest.raises(RuntimeError, match="struck"):
        client.executions.export(book.id, path, overwrite=True)

    assert path.read_text() == "mine"
    assert leftovers(path) == []


def test_missing_large_value_fails_the_export(client: KitaruClient, path: Path):
    book = eventful(client)
    client.executions._connection.blobs.delete(hashlib.sha256(LARGE).hexdigest())

    with pytest.raises(KitaruBackendError, match="is missing"):
        client.executions.export(book.id, path)

    assert not path.exists()
    assert leftovers(path) == []


def test_unknown_execution_is_not_exported(client: KitaruClient, path: Path):
    with pytest.raises(KitaruNotFoundError, match="no execution's id begins with 'nope'"):
        client.executions.export("nope", path)


@dataclasses.dataclass
class Busy:
    """A store in which something happens while an execution is read."""

    store: Store
    happen: Callable[[], object] | None

    def list_attempts(self, exec_id: str) -> list[AttemptRecord]:
        if self.happen is not None:
            happen, self.happen = self.happen, None
            happen()
        return self.store.list_attempts(exec_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


def test_execution_that_ends_while_it_is_read_is_read_again(client: KitaruClient):
    book = Book.begin(store_of(client))

    def end() -> None:
        book.call("late")
        book.end(Status.COMPLETED)

    found = read_bundle(Busy(book.store, end), book.id)  # pyright: ignore[reportArgumentType] - it has the rest of a store

    assert found == read_bundle(book.store, book.id)
    assert [call.name for call in found.calls] == ["late"]


def test_execution_that_is_deleted_while_it_is_read_is_not_exported(client: KitaruClient):
    book = Book.begin(store_of(client))
    book.end(Status.COMPLETED)
    delete = Busy(book.store, lambda: book.store.delete_execution(book.id))

    with pytest.raises(KitaruNotFoundError):
        read_bundle(delete, book.id)  # pyright: ignore[reportArgumentType] - it has the rest of a store


# --- reading ------------------------------------------------------------------------------------


@pytest.fixture
def exported(client: KitaruClient, path: Path) -> Path:
    book = eventful(client, id="0190-export")
    book.end(Status.COMPLETED)
    return client.executions.export(book.id, path)


def refused(client: KitaruClient, path: Path, words: str) -> None:
    blobs = client.executions._connection.blobs
    before = set(blobs.list_digests())
    with pytest.raises(KitaruUsageError, match=rf"'{path}' cannot be imported: .*{words}"):
        client.executions.import_(path)
    assert client.executions.count() == 0
    assert set(blobs.list_digests()) == before


def rewrite(
    path: Path,
    change: Callable[[dict[str, bytes]], object],
    *,
    manifest: Callable[[Any], object] | None = None,
    compression: int = 0,
) -> None:
    """Write a file anew with other members; with `manifest`, one that vouches for them."""
    with ZipFile(path) as container:
        members = {name: container.read(name) for name in container.namelist()}
    change(members)
    if manifest is not None:
        told = json.loads(members.pop("manifest.json"))
        told["members"] = [
            {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
        ]
        manifest(told)
        members["manifest.json"] = json.dumps(told).encode()
    with ZipFile(path, "w", compression) as container:
        for name, data in members.items():
            container.writestr(name, data)


RECORDS = "executions/0190-export.json"
BLOB = f"blobs/{hashlib.sha256(LARGE).hexdigest()}"


def nothing(_: object) -> None:
    """Change nothing."""


def set_record(field: str, value: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        record = json.loads(members[RECORDS])
        record["execution"][field] = value
        members[RECORDS] = json.dumps(record).encode()

    return change


def test_missing_file_is_told(client: KitaruClient, tmp_path: Path):
    with pytest.raises(KitaruNotFoundError, match=r"there is no file '.*gone' to import"):
        client.executions.import_(tmp_path / "gone")


def test_folder_cannot_be_imported(client: KitaruClient, tmp_path: Path):
    refused(client, tmp_path, "it is a folder")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_pipe_is_not_waited_for(client: KitaruClient, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")

    refused(client, tmp_path / "pipe", "it is no regular file")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "it is empty"), (b"hello", "it is no zip file"), (b"PK\x03\x04", "it is no zip file")],
)
def test_what_is_no_container_is_refused(
    client: KitaruClient, path: Path, content: bytes, words: str
):
    path.write_bytes(content)

    refused(client, path, words)


def test_foreign_zip_file_is_refused(client: KitaruClient, path: Path):
    with ZipFile(path, "w") as container:
        container.writestr("notes.txt", "hello")

    refused(client, path, "no 'manifest.json', so Kitaru has not written it")


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (b"hello", "is not one of Kitaru's"),
        (b"[" * 100_000, "is not one of Kitaru's"),
        (b"\xff", "is not one of Kitaru's"),
        (b"{}", "is not one of Kitaru's: Object missing required field `format`"),
        (b'{"format":"x","version":1,"kitaru":"1"}', "says that it is 'x'"),
        (b'{"format":"kitaru-execution","version":1,"kitaru":"1"}', "missing required field"),
    ],
)
def test_foreign_manifest_is_refused(client: KitaruClient, path: Path, manifest: bytes, words: str):
    with ZipFile(path, "w") as container:
        container.writestr("manifest.json", manifest)

    refused(client, path, words)


def test_newer_format_says_which_version_reads_it(
    exported: Path, elsewhere: Callable[[], KitaruClient]
):
    rewrite(
        exported,
        nothing,
        manifest=lambda told: told.update(version=2, kitaru="9.1", members="elsewhere"),
    )

    refused(elsewhere(), exported, "Kitaru 9.1 has written it in version 2 .* 9.1 or newer")


def test_what_later_versions_add_is_passed_over(
    exported: Path, elsewhere: Callable[[], KitaruClient]
):
    rewrite(exported, set_record("mood", "good"), manifest=lambda told: told.update(mood="good"))

    assert elsewhere().executions.import_(exported).exec_id == "0190-export"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_record("flow", "other"), f"'{RECORDS}' is not what was exported"),
        (lambda members: members.pop(RECORDS), f"'{RECORDS}' is missing in it"),
        (lambda members: members.pop(BLOB), f"'{BLOB}' is missing in it"),
        (lambda members: members.update({BLOB: b"owl"}), f"'{BLOB}' is not what was exported"),
        (lambda members: members.update({"../../x": b""}), "holds '../../x', which its manifest"),
    ],
)
def test_file_that_differs_from_its_manifest_is_refused(
    exported: Path,
    elsewhere: Callable[[], KitaruClient],
    change: Callable[[dict[str, bytes]], object],
    words: str,
):
    rewrite(exported, change)

    refused(elsewhere(), exported, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_record("status", "dozing"), "are no good: Invalid enum value 'dozing'"),
        (set_record("id", "other"), f"'{RECORDS}' has the records of execution 'other'"),
        (lambda members: members.pop(RECORDS), "no records of execution '0190-export'"),
        (lambda members: members.pop(BLOB), f"'{BLOB}' is in its records or among its values"),
        (lambda members: members.update({"../x": b""}), "'../x' is in its records or among"),
        (lambda members: members.update({BLOB: b"owl"}), f"'{BLOB}' is not named after its bytes"),
        (
            set_record("inputs", {"codec": "c", "data": "AAAA", "digest": None, "size": 7}),
            "has not the size it says",
        ),
        (
            set_record("result", {"codec": "c", "data": None, "digest": None, "size": 0}),
            "has not the size it says",
        ),
        (
            lambda members: members.update({"executions/x.json": members[RECORDS]}),
            "'executions/x.json' has the records of execution '0190-export'",
        ),
        (
            lambda members: members.update(
                {"executions/x.json": members[RECORDS].replace(b"0190-export", b"x")}
            ),
            "execution 'x' in it is no descendant of '0190-export'",
        ),
        (
            lambda members: members.update(
                {
                    RECORDS: members[RECORDS].replace(
                        b'"logs":[{"exec_id":"0190-export"', b'"logs":[{"exec_id":"another"'
                    )
                }
            ),
            "the records of execution '0190-export' name 'another'",
        ),
    ],
)
def test_forged_file_is_refused(
    exported: Path,
    elsewhere: Callable[[], KitaruClient],
    change: Callable[[dict[str, bytes]], object],
    words: str,
):
    def keep_sizes(members: dict[str, bytes]) -> None:
        change(members)
        if members.get(BLOB) == b"owl":
            members[RECORDS] = members[RECORDS].replace(b"60000", b"3")

    rewrite(exported, keep_sizes, manifest=nothing)

    refused(elsewhere(), exported, words)


def test_unfinished_execution_in_a_forged_file_is_refused(
    exported: Path, elsewhere: Callable[[], KitaruClient]
):
    rewrite(exported, set_record("status", "running"), manifest=nothing)
    there = elsewhere()

    with pytest.raises(KitaruStateError, match="only finished executions can be imported"):
        there.executions.import_(exported)

    assert there.executions.count() == 0


def test_compressed_file_is_refused_unread(exported: Path, elsewhere: Callable[[], KitaruClient]):
    rewrite(exported, nothing, manifest=nothing, compression=ZIP_DEFLATED)

    refused(elsewhere(), exported, "is compressed")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_that_is_there_twice_is_refused(
    exported: Path, elsewhere: Callable[[], KitaruClient]
):
    with ZipFile(exported, "a") as container:
        container.writestr(RECORDS, "{}")

    refused(elsewhere(), exported, f"holds '{RECORDS}', which its manifest does not name")


def test_members_that_lie_over_each_other_are_refused(
    exported: Path, elsewhere: Callable[[], KitaruClient]
):
    size = exported.stat().st_size
    with ZipFile(exported, "a") as container:
        [large] = [info for info in container.infolist() if info.filename == BLOB]
        for number in range(9):
            other = container.NameToInfo[f"blobs/{number}"] = renamed(large, f"blobs/{number}")
            container.filelist.append(other)
        container._didModify = True  # pyright: ignore[reportAttributeAccessIssue] - no public way to make one

    assert exported.stat().st_size < 2 * size
    refused(elsewhere(), exported, "what it holds is larger than the file")


def renamed(info: ZipInfo, name: str) -> ZipInfo:
    other = copy.copy(info)
    other.filename = name
    return other


def test_file_that_is_cut_off_anywhere_is_refused(
    exported: Path, elsewhere: Callable[[], KitaruClient]
):
    there = elsewhere()
    content = exported.read_bytes()

    for length in [
        *range(1, 200),
        *range(200, len(content), 997),
        *range(len(content) - 200, len(content)),
    ]:
        exported.write_bytes(content[:length])
        with pytest.raises(KitaruUsageError, match="cannot be imported"):
            there.executions.import_(exported)

    assert there.executions.count() == 0


def test_flipped_byte_is_noticed_or_harmless(
    client: KitaruClient, path: Path, elsewhere: Callable[[], KitaruClient]
):
    book = Book.begin(store_of(client))
    book.call("fetch")
    book.end(Status.COMPLETED)
    client.executions.export(book.id, path)
    content, expected = path.read_bytes(), tree(client, book.id)
    there = elsewhere()
    harmless = 0

    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            there.executions.import_(path)
        except KitaruUsageError as error:
            assert "cannot be imported" in str(error)  # noqa: PT017 - most are refused, not all
        else:
            assert tree(there, book.id) == expected
            there.executions.delete(book.id)
            harmless += 1

    assert harmless < len(content) / 10  # dates and the like, which say nothing about the execution


@pytest.mark.parametrize("point", ["import.after_blobs", "import.after_commit"])
def test_import_that_fails_brings_in_all_records_or_none(
    exported: Path, elsewhere: Callable[[], KitaruClient], point: str
):
    there = elsewhere()
    fail_at(point, RuntimeError("struck"))

    with pytest.raises(RuntimeError, match="struck"):
        there.executions.import_(exported)

    disarm()
    if point == "import.after_blobs":
        assert there.executions.count() == 0
        there.executions.import_(exported)
    assert there.executions.count() == 1
    assert there.upkeep.verify() == []
