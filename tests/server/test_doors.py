"""What the server does not take: too much, too slow, no JSON, unknown words, strangers, other versions."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from kitaru.access import ServerAccess
from kitaru.errors import (
    KitaruAuthError,
    KitaruBackendError,
    KitaruError,
    KitaruFeatureNotAvailableError,
    KitaruNotFoundError,
    KitaruUsageError,
)
from kitaru.model import ExecutionStatus
from kitaru.server import create_app
from kitaru.server.problems import STATUSES, problem_of
from kitaru.settings import Settings
from kitaru.store.http import HttpStore
from kitaru.store.sqlite import SQLiteStore
from kitaru.testing import fail_at
from kitaru.wire.problems import CLASSES, attributes_of, rebuild
from kitaru.wire.versions import find_disagreement
from tests.server.serving import DEADLINE_SECONDS, RunningServer, serving, wait_until
from tests.store.records import NOW, create

MEBIBYTE = 1024 * 1024
JSON = {"Content-Type": "application/json"}
KEYED = {**JSON, "Idempotency-Key": "key-1"}


class Asked:
    """An answer, as somebody without a client of Kitaru's sees it."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.problem: dict[str, Any] = {}
        if self.body and response.headers.get_content_type() == "application/problem+json":
            self.problem = json.loads(self.body)


def ask(server: RunningServer, method: str, path: str, body: bytes = b"", **headers: str) -> Asked:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/api/v1{path}", body, named)
        return Asked(connection.getresponse())
    finally:
        connection.close()


def cancel(exec_id: str, by: str = "me") -> bytes:
    return json.dumps({"exec_id": exec_id, "by": by, "now": NOW}).encode()


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "no JSON"),
        (b"\xff\xfe", 400, "no JSON"),
        (b'{"exec_id": "\xff"}', 400, "no JSON"),
        (b"", 400, "no JSON"),
        (b"[]", 422, "Expected `object`"),
        (b"{}", 422, "missing required field `exec_id`"),
        (b'{"exec_id": 7, "by": "me", "now": 1}', 422, "Expected `str`"),
        (b'{"exec_id": "a", "by": "me", "now": 1, "why": 1}', 422, "unknown field `why`"),
    ],
)
def test_body_that_is_not_acceptable_is_refused_by_name(
    server: RunningServer, body: bytes, status: int, said: str
) -> None:
    asked = ask(server, "POST", "/store/request_cancel", body, **KEYED)

    assert asked.status == status
    assert asked.problem["code"] == "usage"
    assert asked.problem["status"] == status
    assert said in asked.problem["detail"]


def test_body_that_is_nested_without_end_is_refused(server: RunningServer) -> None:
    body = b'{"writes":[{"type":"execution","write":{"spec":{"a":' + b"[" * 100_000

    asked = ask(server, "POST", "/store/commit", body, **KEYED)

    assert asked.status == 400
    assert "nested too deeply" in asked.problem["detail"]


def test_field_that_a_record_does_not_have_is_refused_at_any_depth(server: RunningServer) -> None:
    body = b'{"writes":[{"type":"entry","write":{"exec_id":"a","epoch":1,"mood":"good"}}]}'

    asked = ask(server, "POST", "/store/commit", body, **KEYED)

    assert asked.status == 422
    assert "unknown field `mood`" in asked.problem["detail"]


def test_operation_that_does_not_exist_is_a_feature_of_another_version(
    server: RunningServer,
) -> None:
    asked = ask(server, "POST", "/store/drop_everything", b"{}", **KEYED)

    assert asked.status == 404
    assert asked.problem["code"] == "feature_not_available"
    assert "upgrade the server" in asked.problem["detail"]


def test_what_is_no_operation_cannot_be_called(server: RunningServer) -> None:
    for name in ("close", "perform_once", "back_up", "restore", "__class__", "watch"):
        assert ask(server, "POST", f"/store/{name}", b"{}", **KEYED).status == 404


def test_other_content_than_json_is_refused(server: RunningServer) -> None:
    asked = ask(server, "POST", "/store/list_workers", b"{}", Content_Type="text/plain")

    assert asked.status == 415
    assert "'text/plain'" in asked.problem["detail"]


def test_write_without_a_key_is_refused(server: RunningServer, behind: SQLiteStore) -> None:
    execution = create(behind)

    asked = ask(server, "POST", "/store/request_cancel", cancel(execution.id), **JSON)

    assert asked.status == 400
    assert "Idempotency-Key" in asked.problem["detail"]
    assert behind.get_execution(execution.id).status is ExecutionStatus.PENDING


def test_request_that_comes_again_is_answered_as_before(
    server: RunningServer, behind: SQLiteStore
) -> None:
    execution = create(behind)

    first = ask(server, "POST", "/store/request_cancel", cancel(execution.id), **KEYED)
    again = ask(server, "POST", "/store/request_cancel", cancel(execution.id), **KEYED)

    assert (first.status, again.status) == (200, 200)
    assert first.body == again.body


def test_key_that_comes_with_another_request_is_refused(
    server: RunningServer, behind: SQLiteStore
) -> None:
    execution, other = create(behind), create(behind)
    ask(server, "POST", "/store/request_cancel", cancel(execution.id), **KEYED)

    asked = ask(server, "POST", "/store/request_cancel", cancel(other.id), **KEYED)

    assert asked.status == 422
    assert "another request" in asked.problem["detail"]
    assert behind.get_execution(other.id).status is ExecutionStatus.PENDING


def test_keys_are_forgotten_after_a_while(
    behind: SQLiteStore, server_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = create(behind), create(behind)
    monkeypatch.setattr("kitaru.server.app._ASK_SECONDS", 0.01)
    monkeypatch.setattr("kitaru.server.app._FORGET_SECONDS", 0.0)
    monkeypatch.setattr("kitaru.server.app._RECEIPTS_ARE_KEPT", 0)

    with serving(lambda: create_app(server_settings, store=behind)) as server:
        ask(server, "POST", "/store/request_cancel", cancel(first.id), **KEYED)

        def is_taken_as_new() -> bool:
            asked = ask(server, "POST", "/store/request_cancel", cancel(second.id), **KEYED)
            return asked.status == 200

        wait_until(is_taken_as_new)
    assert behind.get_execution(second.id).status is ExecutionStatus.CANCELLED


def test_same_request_at_the_same_moment_is_done_once(
    server: RunningServer, behind: SQLiteStore
) -> None:
    for _ in range(8):
        create(behind)
    claim = {"owner": "me", "lease_expires_at": NOW + 1}
    body = json.dumps({"claim": claim, "now": NOW, "limit": 1}).encode()

    with ThreadPoolExecutor(8) as pool:
        asked = list(
            pool.map(
                lambda _: ask(server, "POST", "/store/claim_executions", body, **KEYED), range(8)
            )
        )

    assert {one.status for one in asked} == {200}
    assert len({one.body for one in asked}) == 1
    assert len(behind.list_running()) == 1


@pytest.fixture
def narrow(behind: SQLiteStore, server_settings: Settings) -> Iterator[RunningServer]:
    """Return a server that takes one mebibyte, and waits for half a second."""

    def make() -> Any:
        return create_app(server_settings, store=behind, most_bytes=MEBIBYTE, silent_seconds=0.5)

    with serving(make) as running:
        yield running


def test_body_that_is_too_large_is_refused_and_the_client_learns_why(
    narrow: RunningServer, behind: SQLiteStore
) -> None:
    store = HttpStore(narrow.url, others_seconds=0.0)

    with pytest.raises(KitaruUsageError, match=f"takes {MEBIBYTE} at most"):
        store.forget_workers(["x" * 4 * MEBIBYTE])

    assert store.list_workers() == []
    store.close()


def test_body_that_grows_too_large_without_saying_so_is_refused(narrow: RunningServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", narrow.port, timeout=DEADLINE_SECONDS)
    connection.putrequest("POST", "/api/v1/store/forget_workers")
    for name, value in {**KEYED, "Transfer-Encoding": "chunked"}.items():
        connection.putheader(name, value)
    connection.endheaders()
    piece = b"x" * (MEBIBYTE + 1)
    connection.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    status = connection.getresponse().status
    connection.close()

    assert status == 413


def test_body_that_does_not_come_is_not_waited_for(narrow: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", narrow.port), DEADLINE_SECONDS) as slow:
        slow.sendall(
            b"POST /api/v1/store/list_workers HTTP/1.1\r\nHost: here\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        answer = slow.recv(65536)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


@pytest.fixture
def guarded(behind: SQLiteStore, server_settings: Settings) -> Iterator[RunningServer]:
    """Return a server that lets in whoever has its token."""
    settings = replace(server_settings, auth_token="sesame")
    with serving(lambda: create_app(settings, store=behind)) as running:
        yield running


@pytest.mark.parametrize("token", [None, "sesam", "sesame2", "SESAME"])
def test_stranger_is_not_let_in(guarded: RunningServer, token: str | None) -> None:
    store = HttpStore(guarded.url, access=ServerAccess(auth_token=token), others_seconds=0.0)

    with pytest.raises(KitaruAuthError, match="KITARU_AUTH_TOKEN") as raised:
        store.list_workers()

    assert "sesame" not in str(raised.value)
    store.close()


def test_whoever_has_the_token_is_let_in(guarded: RunningServer) -> None:
    store = HttpStore(guarded.url, access=ServerAccess(auth_token="sesame"))

    assert store.list_workers() == []
    store.close()


@pytest.mark.parametrize("scheme", ["Basic sesame", "sesame", "Bearer", "Bearer  ", "bearer x"])
def test_other_ways_to_show_a_token_are_none(guarded: RunningServer, scheme: str) -> None:
    asked = ask(guarded, "GET", "/clock", Authorization=scheme)

    assert asked.status == 401
    assert asked.headers["WWW-Authenticate"] == "Bearer"


def test_database_that_is_away_is_worth_asking_again(
    server: RunningServer, behind: SQLiteStore
) -> None:
    create(behind)
    with fail_at("commit.inside", KitaruBackendError("the database is away.")):
        asked = ask(server, "POST", "/store/forget_workers", b'{"owners": ["a"]}', **KEYED)

    assert asked.status == 503
    assert asked.headers["Retry-After"] == "1"
    assert (asked.problem["code"], asked.problem["detail"]) == ("backend", "the database is away.")


def test_client_asks_again_while_the_database_is_away(store: HttpStore) -> None:
    patient = HttpStore(store.url, others_seconds=DEADLINE_SECONDS)
    with fail_at("commit.inside", KitaruBackendError("the database is away.")):
        patient.forget_workers(["a"])
    patient.close()


def test_record_that_the_database_refuses_is_not_sent_again(store: HttpStore) -> None:
    refused = KitaruBackendError("it contradicts another one.")
    refused.__cause__ = sqlite3.IntegrityError("UNIQUE")
    patient = HttpStore(store.url, others_seconds=DEADLINE_SECONDS)
    with (
        fail_at("commit.inside", refused) as strike,
        pytest.raises(KitaruBackendError, match="contradicts"),
    ):
        patient.forget_workers(["a"])
    patient.close()
    assert strike.reached == 1


def test_every_code_has_a_status_and_comes_back_as_its_class() -> None:
    assert set(STATUSES) == set(CLASSES)
    for code, cls in CLASSES.items():
        error = rebuild(code, "what happened", {}, status=STATUSES[code])
        response = problem_of(error)
        again = rebuild(code, "what happened", attributes_of(error), status=response.status_code)

        assert type(again) is cls
        assert str(again) == "what happened"
        assert vars(again) == vars(error)


def test_code_of_a_later_version_becomes_the_nearest_class() -> None:
    assert type(rebuild("quota", "no more", {}, status=429)) is KitaruUsageError
    assert type(rebuild("quota", "no more", {}, status=500)) is KitaruBackendError


def test_errors_of_the_store_come_back_as_they_were(store: HttpStore) -> None:
    with pytest.raises(KitaruNotFoundError, match="'nowhere'"):
        store.get_execution("nowhere")


def test_answer_of_something_else_is_told_apart(server: RunningServer) -> None:
    elsewhere = HttpStore(f"{server.url}/other", others_seconds=0.0)

    with pytest.raises(KitaruError) as raised:
        elsewhere.list_workers()

    assert "/other/api/v1/store/list_workers" in str(raised.value)
    elsewhere.close()


def test_what_only_a_machine_with_the_database_can_do_says_so(store: HttpStore) -> None:
    with pytest.raises(KitaruFeatureNotAvailableError, match="on the server's machine"):
        store.shrink()


def test_client_that_is_newer_than_the_server_is_told_to_upgrade_the_server(
    server: RunningServer,
) -> None:
    asked = ask(
        server, "POST", "/store/list_workers", b"{}", **JSON, Kitaru_Wire="9", Kitaru_Version="7.0"
    )

    assert asked.status == 400
    assert asked.problem["code"] == "feature_not_available"
    assert "Upgrade the server to 7.0 or later" in asked.problem["detail"]


def test_store_of_a_newer_client_raises_what_the_server_says(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kitaru.wire.connection.WIRE_VERSION", 9)
    newer = HttpStore(server.url)

    with pytest.raises(KitaruFeatureNotAvailableError, match="Upgrade the server"):
        newer.list_workers()
    newer.close()


def test_client_that_is_too_old_for_the_server_is_told_to_upgrade_itself() -> None:
    said = find_disagreement("2", "0.9", spoken=(3, 4)) or ""

    assert "(Kitaru 0.9) speaks wire version 2" in said
    assert "speaks 3 to 4" in said
    assert "Upgrade the client" in said


@pytest.mark.parametrize("wire", ["-1", "x", "²", ""])
def test_wire_version_that_is_none_is_refused(wire: str) -> None:
    assert find_disagreement(wire, None) is not None


def test_client_between_the_oldest_and_the_newest_is_understood() -> None:
    assert find_disagreement("3", "1", spoken=(2, 4)) is None
    assert find_disagreement(None, None) is None
