"""Large values on their way: nothing that is not what it says is ever seen."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from kitaru import checkpoint, flow
from kitaru.blobs.http import HttpBlobs
from kitaru.blobs.local import LocalBlobs
from kitaru.errors import KitaruBackendError
from kitaru.store.sqlite import SQLiteStore
from tests.relay import Relay
from tests.server.serving import DEADLINE_SECONDS, RunningServer
from tests.server.test_doors import ask

DATA = bytes(range(256)) * 40_000  # ten megabytes: more than the server keeps in memory
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def local(server: RunningServer, tmp_path: Path) -> LocalBlobs:
    """Return the blobs that the server has."""
    return LocalBlobs(tmp_path / "server-blobs")


def test_large_value_comes_through_whole(server: RunningServer, local: LocalBlobs) -> None:
    blobs = HttpBlobs(server.url)

    assert blobs.put(DATA) == DIGEST

    assert local.get(DIGEST) == DATA
    assert blobs.get(DIGEST) == DATA


def test_bytes_that_are_not_what_they_say_are_not_kept(
    server: RunningServer, local: LocalBlobs
) -> None:
    asked = ask(server, "PUT", f"/blobs/{DIGEST}", b"something else")

    assert asked.status == 422
    assert DIGEST in asked.problem["detail"]
    assert list(local.list_digests()) == []


def test_digest_never_becomes_another_path(server: RunningServer, local: LocalBlobs) -> None:
    for digest in ("abc", "..%2f..%2fetc%2fpasswd", DIGEST.upper(), DIGEST + "%0a"):
        for method in ("GET", "PUT", "DELETE", "HEAD"):
            assert ask(server, method, f"/blobs/{digest}").status in {404, 422}

    assert list(local.list_digests()) == []


def test_value_whose_answers_are_lost_is_kept_and_comes_back(
    relay: Relay, local: LocalBlobs
) -> None:
    blobs = HttpBlobs(relay.url, runs_seconds=DEADLINE_SECONDS)
    relay.lose_answers(2)
    blobs.put(DATA)
    relay.lose_answers(2)

    assert blobs.get(DIGEST) == DATA
    assert list(local.list_digests()) == [DIGEST]
    assert list(local.root.glob("partial/*")) == []


def test_blobs_out_of_reach_are_named_with_the_way_out(relay: Relay) -> None:
    blobs = HttpBlobs(relay.url, runs_seconds=0.1, others_seconds=0.1)
    relay.cut()

    with pytest.raises(KitaruBackendError, match="'send a blob'") as raised:
        blobs.get(DIGEST)

    assert relay.url in str(raised.value)


def test_large_values_of_a_connected_flow_lie_on_the_server(
    connected: str, behind: SQLiteStore, local: LocalBlobs, config_dir: Path
) -> None:
    @checkpoint
    def make() -> bytes:
        return DATA

    @flow
    def making() -> int:
        return len(make())

    handle = making.run()

    assert handle.wait(timeout=DEADLINE_SECONDS) == len(DATA)
    [digest] = behind.list_blob_digests()
    assert local.has(digest)
    assert list(config_dir.rglob("*.db")) == []
