from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from kitaru import faults
from kitaru.blobs import BlobStore, open_blobs
from kitaru.blobs.collecting import CollectStep, collect_step, safe_moment
from kitaru.blobs.contract import BlobEntry
from kitaru.blobs.local import LocalBlobs
from kitaru.errors import (
    KitaruBackendError,
    KitaruFeatureNotAvailableError,
    KitaruUsageError,
)
from tests.server.serving import RunningServer

DATA = bytes(range(256)) * 400
DIGEST = hashlib.sha256(DATA).hexdigest()
ROOT = Path(__file__).parents[2]


# Where the blobs lie that have a URL.
_roots: dict[str, Path] = {}


@pytest.fixture(params=["file", "http"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """Return an empty place for blobs; the suite holds both kinds to the same contract."""
    local = open_blobs(f"file://{tmp_path.as_posix()}/blobs")
    assert isinstance(local, LocalBlobs)
    if request.param == "file":
        _roots[local.url] = local.root
        return local
    server: RunningServer = request.getfixturevalue("http_server")
    server.serve_blobs(local)
    _roots[server.url] = local.root
    return open_blobs(server.url)


def file_of(blobs: BlobStore, digest: str = DIGEST) -> Path:
    return _roots[blobs.url] / digest[:2] / digest


def place_of(blobs: BlobStore) -> str:
    """Return where somebody has to look who cannot get a blob."""
    return str(file_of(blobs)) if isinstance(blobs, LocalBlobs) else blobs.url


@pytest.mark.parametrize("data", [b"", b"x", DATA])
def test_blob_is_found_under_its_digest(blobs: BlobStore, data: bytes) -> None:
    digest = blobs.put(data)

    assert digest == hashlib.sha256(data).hexdigest()
    assert blobs.get(digest) == data
    assert blobs.size(digest) == len(data)
    assert blobs.has(digest)


def test_equal_bytes_are_kept_once(blobs: BlobStore) -> None:
    blobs.put(DATA)
    written = file_of(blobs).stat()

    blobs.put(DATA)

    assert file_of(blobs).stat().st_ino == written.st_ino
    assert list(blobs.list_digests()) == [DIGEST]


def test_blobs_are_listed_in_order_without_what_a_crash_left(blobs: BlobStore) -> None:
    digests = sorted(blobs.put(bytes([number])) for number in range(20))
    root = file_of(blobs).parents[1]
    (root / "partial").mkdir(exist_ok=True)
    (root / "partial" / f"{DIGEST}.1.ab").write_bytes(b"half")
    (root / digests[0][:2] / "README").write_text("not ours")
    (root / "zz").mkdir()

    assert list(blobs.list_digests()) == digests


def test_nothing_is_listed_where_nothing_was_written(blobs: BlobStore) -> None:
    assert list(blobs.list_digests()) == []


def test_deleted_blob_is_gone_and_may_be_deleted_again(blobs: BlobStore) -> None:
    blobs.put(DATA)

    blobs.delete(DIGEST)
    blobs.delete(DIGEST)

    assert not blobs.has(DIGEST)
    assert blobs.put(DATA) == DIGEST


def test_missing_blob_is_named(blobs: BlobStore) -> None:
    for look in (blobs.get, blobs.size):
        with pytest.raises(KitaruBackendError, match="is missing") as raised:
            look(DIGEST)
        assert DIGEST in str(raised.value)
        assert place_of(blobs) in str(raised.value)


@pytest.mark.parametrize("damaged", [DATA[:-1], b"", DATA[:-1] + b"?"])
def test_damaged_blob_is_named_and_not_returned(blobs: BlobStore, damaged: bytes) -> None:
    blobs.put(DATA)
    file_of(blobs).write_bytes(damaged)

    with pytest.raises(KitaruBackendError, match="is damaged") as raised:
        blobs.get(DIGEST)

    assert place_of(blobs) in str(raised.value)


def test_cut_off_blob_is_repaired_by_writing_it_again(blobs: BlobStore) -> None:
    blobs.put(DATA)
    file_of(blobs).write_bytes(DATA[:100])

    blobs.put(DATA)

    assert blobs.get(DIGEST) == DATA


@pytest.mark.parametrize("digest", ["", "abc", "../" * 21 + "x", DIGEST.upper(), DIGEST + "\n"])
def test_only_digests_become_paths(blobs: BlobStore, digest: str) -> None:
    for use in (blobs.get, blobs.has, blobs.size, blobs.delete):
        with pytest.raises(KitaruUsageError, match="64 hexadecimal digits"):
            use(digest)


def test_threads_may_write_the_same_bytes_at_once(blobs: BlobStore) -> None:
    barrier = threading.Barrier(8)
    failed: list[BaseException] = []

    def put() -> None:
        barrier.wait(30)
        try:
            for number in range(10):
                blobs.put(bytes([number]) * 1000)
        except BaseException as error:  # noqa: BLE001 - looked at below
            failed.append(error)

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == []
    assert len(list(blobs.list_digests())) == 10
    assert all(hashlib.sha256(blobs.get(one)).hexdigest() == one for one in blobs.list_digests())
    assert list((file_of(blobs).parents[1] / "partial").iterdir()) == []


def test_path_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    blobs = LocalBlobs(tmp_path / "file" / "blobs")

    for use in (
        lambda: blobs.put(DATA),
        lambda: blobs.get(DIGEST),
        lambda: list(blobs.list_digests()),
    ):
        with pytest.raises(KitaruBackendError, match="a part of the path is a file"):
            use()


LIMITED = """
import resource, sys
from pathlib import Path
from kitaru.blobs.local import LocalBlobs
from kitaru.errors import KitaruBackendError
blobs = LocalBlobs(Path(sys.argv[1]))
limit = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
try:
    blobs.put(b"x" * 5000)
except KitaruBackendError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, limit)
assert list(blobs.list_digests()) == []
assert blobs.get(blobs.put(b"x" * 5000)) == b"x" * 5000
assert len(list((blobs.root / "partial").iterdir())) == 0
"""

FORBIDDEN = """
import os, sys
from pathlib import Path
from kitaru.blobs.local import LocalBlobs
from kitaru.errors import KitaruBackendError
os.setuid(65534)
try:
    LocalBlobs(Path(sys.argv[1])).put(b"x")
except KitaruBackendError as error:
    print(error)
"""


def python(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        check=True, capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit on file sizes")
def test_blob_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    said = python(LIMITED, str(tmp_path / "blobs"))

    assert "larger than this process may write" in said
    assert str(tmp_path / "blobs") in said


@pytest.mark.skipif(getattr(os, "geteuid", int)() != 0, reason="only root can become another user")
def test_folder_that_may_not_be_written_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)

        said = python(FORBIDDEN, f"{folder}/blobs")

    assert "this user may not" in said
    assert f"{folder}/blobs" in said


@pytest.mark.parametrize(
    ("url", "said"), [("/tmp/blobs", "such as 'file:///"), ("file://blobs", "'file:///blobs'")]
)
def test_wrong_url_is_refused_with_the_way_out(url: str, said: str) -> None:
    with pytest.raises(KitaruUsageError) as raised:
        open_blobs(url)

    assert said in str(raised.value)


def test_places_of_later_versions_are_told_apart_from_mistakes() -> None:
    with pytest.raises(KitaruFeatureNotAvailableError, match="'s3'"):
        open_blobs("s3://bucket/path")


def test_url_leads_back_to_the_same_place(blobs: BlobStore) -> None:
    blobs.put(DATA)

    assert open_blobs(blobs.url).get(DIGEST) == DATA


LONG_AGO = 1_000_000_000
YEAR_2001 = LONG_AGO * 1_000_000


def age(blobs: BlobStore, digest: str = DIGEST) -> None:
    """Make a blob one that was last put long ago."""
    os.utime(file_of(blobs, digest), (LONG_AGO, LONG_AGO))


def unwanted(blobs: BlobStore) -> Path:
    """Leave a blob as a deletion does that dies in the middle."""
    aside = file_of(blobs).with_name(f"{DIGEST}.0123abcd.unwanted")
    file_of(blobs).rename(aside)
    return aside


def test_list_tells_sizes_and_when_each_was_put(blobs: BlobStore) -> None:
    other = blobs.put(b"x")
    blobs.put(DATA)
    age(blobs)

    listed = {entry.digest: entry for entry in blobs.list_blobs()}

    assert listed[DIGEST] == BlobEntry(DIGEST, len(DATA), YEAR_2001)
    assert listed[other].put_at > YEAR_2001


def test_list_goes_on_after_a_digest(blobs: BlobStore) -> None:
    digests = sorted(blobs.put(bytes([number])) for number in range(20))

    assert [one.digest for one in blobs.list_blobs(after=digests[7])] == digests[8:]
    assert list(blobs.list_blobs(after=digests[-1])) == []


@pytest.mark.parametrize("how", ["put", "renew"])
def test_blob_that_is_put_again_is_as_if_it_were_new(blobs: BlobStore, how: str) -> None:
    blobs.put(DATA)
    age(blobs)

    assert (blobs.put(DATA) == DIGEST) if how == "put" else blobs.renew(DIGEST)

    assert not blobs.delete_if_stale(DIGEST, before=YEAR_2001 + 1)
    assert blobs.get(DIGEST) == DATA


def test_what_is_gone_cannot_be_renewed(blobs: BlobStore) -> None:
    assert not blobs.renew(DIGEST)


@pytest.mark.parametrize(("before", "gone"), [(YEAR_2001, False), (YEAR_2001 + 1, True)])
def test_only_what_was_put_before_is_deleted(blobs: BlobStore, before: int, gone: bool) -> None:
    blobs.put(DATA)
    age(blobs)

    assert blobs.delete_if_stale(DIGEST, before=before) is gone
    assert blobs.has(DIGEST) is not gone
    assert not blobs.delete_if_stale("0" * 64, before=before)


def test_blob_put_while_it_is_deleted_stays(blobs: BlobStore) -> None:
    blobs.put(DATA)
    age(blobs)
    met: list[str] = []

    def put_again(point: str) -> None:
        if point.startswith("blob."):
            met.append(point)
        if point == "blob.aside":
            assert blobs.get(DIGEST) == DATA
            assert blobs.size(DIGEST) == len(DATA)
            assert blobs.has(DIGEST)
            blobs.put(DATA)

    faults.arm(put_again)
    try:
        blobs.delete_if_stale(DIGEST, before=YEAR_2001 + 1)
    finally:
        faults.arm(None)

    assert met == ["blob.aside", "blob.after_delete"]
    assert blobs.get(DIGEST) == DATA
    assert [entry.digest for entry in blobs.list_blobs()] == [DIGEST]


def test_blob_renewed_just_before_it_is_renamed_goes_back(blobs: BlobStore) -> None:
    blobs.put(DATA)
    age(blobs)

    def renew(point: str) -> None:
        if point != "blob.aside":
            return
        # What a writer has done to the file before the rename is to be seen after it.
        [aside] = file_of(blobs).parent.glob("*.unwanted")
        os.utime(aside)

    faults.arm(renew)
    try:
        assert not blobs.delete_if_stale(DIGEST, before=YEAR_2001 + 1)
    finally:
        faults.arm(None)

    assert file_of(blobs).read_bytes() == DATA
    assert not list(file_of(blobs).parent.glob("*.unwanted"))


def test_half_deleted_blob_is_read_renewed_and_put_back(blobs: BlobStore) -> None:
    blobs.put(DATA)
    age(blobs)
    unwanted(blobs)

    assert blobs.get(DIGEST) == DATA
    assert [entry.put_at for entry in blobs.list_blobs()] == [YEAR_2001]
    assert file_of(blobs).read_bytes() == DATA

    unwanted(blobs)

    assert blobs.renew(DIGEST)
    assert file_of(blobs).read_bytes() == DATA


def test_half_deleted_blob_never_replaces_one_that_was_put_since(blobs: BlobStore) -> None:
    blobs.put(DATA)
    age(blobs)
    aside = unwanted(blobs)
    blobs.put(DATA)

    [entry] = blobs.list_blobs()

    assert entry.put_at > YEAR_2001
    assert not aside.exists()


def test_what_dead_writers_have_left_is_cleared(blobs: BlobStore) -> None:
    blobs.put(DATA)
    partial = file_of(blobs).parents[1] / "partial"
    (partial / f"{DIGEST}.1.ab").write_bytes(b"half")
    (partial / f"{DIGEST}.2.ab").write_bytes(b"new")
    os.utime(partial / f"{DIGEST}.1.ab", (LONG_AGO, LONG_AGO))

    assert blobs.clear_abandoned(before=YEAR_2001 + 1) == 4

    assert [file.name for file in partial.iterdir()] == [f"{DIGEST}.2.ab"]
    assert blobs.get(DIGEST) == DATA


def test_collecting_removes_what_is_old_and_unnamed_in_steps(blobs: BlobStore) -> None:
    digests = sorted(blobs.put(bytes([number]) * (number + 1)) for number in range(20))
    for digest in digests[1:]:
        age(blobs, digest)
    named = set(digests[5:])
    steps: list[CollectStep] = []
    after: str | None = ""
    while after is not None:
        found = collect_step(
            blobs,
            lambda asked: [digest for digest in asked if digest not in named],
            before=YEAR_2001 + 1,
            after=after,
            limit=3,
        )
        steps.append(found)
        after = found.after

    assert list(blobs.list_digests()) == [digests[0], *digests[5:]]
    assert [step.blobs for step in steps] == [2, 2, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("oldest_start", "moment"), [(None, 38), (50, 38), (39, 37), (10, 8)])
def test_safe_moment_lies_before_the_grace_and_before_whatever_runs(
    oldest_start: int | None, moment: int
) -> None:
    second = 1_000_000
    start = None if oldest_start is None else oldest_start * second

    assert safe_moment(100 * second, start, timedelta(minutes=1)) == moment * second
