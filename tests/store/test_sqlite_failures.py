"""Full disks, damaged files, folders that may not be written."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kitaru.errors import KitaruBackendError, KitaruUsageError
from kitaru.store.sqlite import SQLiteStore
from tests.store.records import call, commit_one, create, entry, run

FULL = """
import json, resource, sys
from pathlib import Path
from kitaru.errors import KitaruBackendError
from kitaru.model import StoredValue
from kitaru.store.sqlite import SQLiteStore
from tests.store.records import call, commit_one, entry, run

path = Path(sys.argv[1])
store = SQLiteStore(path)
execution = run(store)
data = b"x" * 20_000
value = StoredValue("kitaru/1", data, None, len(data))
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limit[1]))
recorded, error = [], None
for number in range(1000):
    try:
        commit_one(store, entry(execution, call(f"a#{number}", output=value)))
    except KitaruBackendError as failure:
        error = failure
        break
    recorded.append(f"a#{number}")
kept = [row.position for row in store.list_calls(execution.id)]
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
after = commit_one(store, entry(execution, call("after#1", output=value))).held
print(json.dumps({
    "recorded": recorded, "kept": kept, "error": str(error), "after": after,
    "again": [row.position for row in store.list_calls(execution.id)], "damage": store.verify(),
}))
"""

READ_ONLY = """
import os, sys
from pathlib import Path
from kitaru.errors import KitaruBackendError
from kitaru.store.migrations import known_migrations
from kitaru.store.queries import load_statements
from kitaru.store.sqlite import SQLiteStore
# Read while this process may: the sources may lie in a home folder.
known_migrations("sqlite"), load_statements("sqlite", "?")
os.setgid(65534)
os.setuid(65534)
try:
    SQLiteStore(Path(sys.argv[1]))
except KitaruBackendError as error:
    print(error)
"""


def python(script: str, *arguments: str) -> str:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        check=True, capture_output=True, text=True, cwd=root, timeout=60,
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit on file sizes")
def test_full_disk_loses_nothing_and_ends_with_itself(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"

    found = json.loads(python(FULL, str(path)))

    assert found["recorded"]
    assert found["kept"] == found["recorded"]
    assert str(path) in found["error"]
    assert "MiB free" in found["error"]
    assert found["after"] is True
    assert found["again"] == [*found["recorded"], "after#1"]
    assert found["damage"] == []


@pytest.mark.skipif(sys.platform == "win32", reason="there are no users to become")
@pytest.mark.skipif(getattr(os, "geteuid", int)() != 0, reason="only root can become another user")
@pytest.mark.parametrize("has_file", [False, True])
def test_folder_that_may_not_be_written_is_named(has_file: bool) -> None:
    # Not in `tmp_path`, whose folders above let nobody else in.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "kitaru.db"
        if has_file:
            SQLiteStore(path).close()

        said = python(READ_ONLY, str(path))

    assert repr(str(path)) in said


def test_path_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "kitaru.db"

    with pytest.raises(KitaruBackendError, match="cannot be reached") as raised:
        SQLiteStore(path)

    assert str(path) in str(raised.value)


def test_folder_in_the_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "kitaru.db").mkdir()

    with pytest.raises(KitaruBackendError, match="is a folder"):
        SQLiteStore(tmp_path / "kitaru.db")


def test_missing_folders_are_created(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "a" / "b" / "kitaru.db")

    assert create(store).epoch == 0
    store.close()


def test_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    content = b"no database at all, but long enough to be looked at" * 20
    path = tmp_path / "kitaru.db"
    path.write_bytes(content)

    with pytest.raises(KitaruBackendError, match="kitaru db verify") as raised:
        SQLiteStore(path)

    assert str(path) in str(raised.value)
    assert isinstance(raised.value.__cause__, sqlite3.DatabaseError)
    assert path.read_bytes() == content


def filled(path: Path) -> str:
    store = SQLiteStore(path)
    execution = run(store)
    store.commit([entry(execution, *(call(f"step#{number}") for number in range(500)))])
    store.close()
    return execution.id


def test_half_a_file_is_reported_wherever_it_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    exec_id = filled(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(KitaruBackendError, match=r"damaged.*kitaru db verify"):
        SQLiteStore(path).list_calls(exec_id)


def fill_page_of_calls(path: Path, byte: int) -> None:
    content = bytearray(path.read_bytes())
    page = content.index(b"step#1") // 4096
    content[page * 4096 : (page + 1) * 4096] = bytes([byte]) * 4096
    path.write_bytes(content)


def test_zeroed_page_is_found_by_verify(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    filled(path)
    fill_page_of_calls(path, 0)
    store = SQLiteStore(path)

    found = store.verify()

    assert found
    assert all(isinstance(sentence, str) for sentence in found)
    store.close()


def test_damaged_file_can_be_replaced_while_its_store_is_open(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    exec_id = filled(path)
    good = path.read_bytes()
    fill_page_of_calls(path, 255)
    store = SQLiteStore(path)
    with pytest.raises(KitaruBackendError):
        store.list_calls(exec_id)
    store.close()

    path.write_bytes(good)

    assert len(store.list_calls(exec_id)) == 500
    store.close()


HOT_JOURNAL = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = DELETE")
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE call SET name = 'half'")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_transaction_that_was_killed_before_the_log_was_in_use_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "kitaru.db"
    exec_id = filled(path)
    subprocess.run([sys.executable, "-c", HOT_JOURNAL, str(path)], check=False, timeout=60)
    assert (tmp_path / "kitaru.db-journal").stat().st_size

    store = SQLiteStore(path)

    assert {row.name for row in store.list_calls(exec_id)} == {"step"}
    assert store.verify() == []
    store.close()


def test_file_system_that_cannot_share_a_log_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A database in memory stands for it: it cannot be switched to a log either.
    monkeypatch.setattr("kitaru.store.sqlite_schema._open", lambda *_: sqlite3.connect(":memory:"))

    with pytest.raises(KitaruBackendError, match="cannot share between processes"):
        SQLiteStore(tmp_path / "kitaru.db")


def test_store_whose_connection_broke_goes_on_with_a_new_one(sqlite_store: SQLiteStore) -> None:
    execution = run(sqlite_store)
    writer = sqlite_store._database._writer  # pyright: ignore[reportAttributeAccessIssue] - SQLite's
    writer.connection.close()

    with pytest.raises(KitaruBackendError):
        commit_one(sqlite_store, entry(execution, call()))

    assert commit_one(sqlite_store, entry(execution, call())).held


def test_name_that_utf8_cannot_express_is_no_name_to_look_for(sqlite_store: SQLiteStore) -> None:
    with pytest.raises(KitaruUsageError, match="lone surrogates"):
        sqlite_store.get_execution("\udc80")

    assert sqlite_store.list_running() == []


def test_verify_finds_nothing_wrong_with_a_good_store(sqlite_store: SQLiteStore) -> None:
    parent = run(sqlite_store)
    create(sqlite_store, parent_id=parent.id, parent_position="c#1")
    commit_one(sqlite_store, entry(parent, call()))

    assert sqlite_store.verify() == []


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        ("DELETE FROM execution", "row 1 of table 'call' names a row of 'execution'"),
        ("UPDATE call SET epoch = 9", "was recorded under epoch 9"),
        ("UPDATE call SET call_id = 'x'", "has 2 calls with the id 'x'"),
        (
            "UPDATE execution SET parent_id = id, parent_position = 'c#1'",
            "is among its own ancestors",
        ),
        ("UPDATE kitaru_migration SET checksum = 'x'", "was another one when it was applied"),
    ],
)
def test_verify_finds_rows_that_contradict_each_other(
    sqlite_store: SQLiteStore, harm: str, sentence: str
) -> None:
    execution = run(sqlite_store)
    commit_one(sqlite_store, entry(execution, call("a#1"), call("b#1")))
    connection = sqlite3.connect(sqlite_store.path)
    with connection:
        connection.execute(harm)
    connection.close()

    found = sqlite_store.verify()

    assert any(sentence in one for one in found), found
