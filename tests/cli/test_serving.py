"""Servers and the way to them, as real processes on ports that are free."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from kitaru import settings
from kitaru.client.login import save_login
from kitaru.model import ExecutionStatus
from kitaru.store import Store, open_store
from kitaru.store.opening import forget_store
from tests.cli.conftest import COMMAND, Kitaru
from tests.postgres import Databases
from tests.store.records import SECOND, claim, new_execution, park, question, timer

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 40.0
TOKEN = "geheim-und-lang"
S = ExecutionStatus

FLOW = """
from kitaru import checkpoint, flow

@checkpoint
def double(n: int) -> int:
    print("doubling", n)
    return 2 * n

@flow
def twice(n: int = 2) -> int:
    return double(n)
"""


def until(fits: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fits():
        assert time.monotonic() < deadline, "it has not come to that in time"
        time.sleep(0.02)


class Server:
    """A `kitaru serve` on a free port, with a folder of its own."""

    def __init__(self, folder: Path, *tokens: str, **environment: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self._said = folder / f"said-{time.monotonic_ns()}"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--port", "0", *tokens],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, "KITARU_CONFIG_PATH": str(folder), **environment},
            )
        until(lambda: self._url() is not None or self.process.poll() is not None)
        self.url = self._url() or ""
        assert self.url, self.said()

    def said(self) -> str:
        return self._said.read_text()

    def _url(self) -> str | None:
        found = re.search(r" at (http://127\.0\.0\.1:\d+)\.", self.said())
        return None if found is None else found[1]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


Serve = Callable[..., Server]


@pytest.fixture
def serve(here: Path, tmp_path: Path) -> Iterator[Serve]:
    started: list[Server] = []

    def start(*tokens: str, **environment: str) -> Server:
        started.append(Server(tmp_path / "served", *tokens, **environment))
        return started[-1]

    yield start
    for server in started:
        server.end()
        sys.stderr.write(server.said())  # shown if the test fails


@pytest.fixture
def taken() -> Iterator[int]:
    """Return a port that somebody else listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def config(config_dir: Path) -> str:
    return (config_dir / "config.toml").read_text()


# --- serving ---------------------------------------------------------------------------------


def test_a_server_serves_until_it_is_asked_to_stop(serve: Serve) -> None:
    server = serve()
    status = httpx.get(f"{server.url}/api/v1/status").json()

    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(PATIENCE_SECONDS) == 0
    assert server.said().rstrip().endswith("Server stopped.")
    assert "Traceback" not in server.said()
    assert status["store"] == f"sqlite://{server.folder}/kitaru.db"
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_a_server_with_a_token_lets_in_who_shows_it(serve: Serve) -> None:
    server = serve(KITARU_AUTH_TOKEN=TOKEN)
    path = f"{server.url}/api/v1/status"

    assert httpx.get(path).status_code == 401
    assert httpx.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert TOKEN not in server.said()


@pytest.mark.parametrize("command", [("serve",), ("up",), ("up", "--background")])
def test_a_port_that_is_taken_is_named_with_what_to_do(
    process: Kitaru, taken: int, command: tuple[str, ...]
) -> None:
    done = process(*command, "--port", str(taken))

    assert done.code == (1 if "--background" in command else 2)
    assert f"port {taken} of 127.0.0.1 is in use by another process" in done.err
    assert "`--port`" in done.err


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (
            ("serve", "--host", "0.0.0.0"),
            "Set `KITARU_AUTH_TOKEN` for the server, or say `--insecure`",
        ),
        (("up", "--host", "0.0.0.0"), "Use `kitaru serve` for that"),
        (
            ("serve", "--host", "192.0.2.1", "--insecure"),
            "'192.0.2.1' is no address of this machine",
        ),
        (("serve", "--port", "70000"), "to be from 0 to 65535"),
    ],
)
def test_a_place_that_cannot_be_had_is_refused(
    kitaru: Kitaru, tokens: tuple[str, ...], told: str
) -> None:
    done = kitaru(*tokens)

    assert (done.code, done.out) == (2, "")
    assert told in done.err


@pytest.mark.parametrize("command", [("serve",), ("up", "--port", "0"), ("login",)])
def test_what_is_not_installed_is_named_with_the_way_to_get_it(
    kitaru: Kitaru, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)

    done = kitaru(*command)

    assert done.code == 1
    assert "a server needs 'fastapi'" in done.err
    assert "pip install 'kitaru[server]'" in done.err


def test_a_store_that_cannot_be_used_is_told_at_the_start(
    process: Kitaru, config_dir: Path
) -> None:
    (config_dir / "kitaru.db").write_bytes(b"this is no database at all, but text" * 40)

    done = process("serve", "--port", "0")

    assert done.code == 1
    assert "kitaru.db" in done.err


def test_a_database_that_was_not_prepared_is_refused_with_the_command(
    process: Kitaru, databases: Databases
) -> None:
    with databases.unmigrated() as url:
        done = process("serve", "--port", "0", KITARU_STORE_URL=url)

    assert done.code == 1
    assert "`kitaru db migrate`" in done.err


def test_a_server_of_a_server_is_refused(process: Kitaru) -> None:
    done = process("serve", "--port", "0", KITARU_SERVER_URL="http://127.0.0.1:9", KITARU_DEBUG="")

    assert done.code != 0
    assert "http://127.0.0.1:9" in done.err


# --- on this machine -------------------------------------------------------------------------


def test_up_serves_the_store_that_it_looks_after_until_down(process: Kitaru, here: Path) -> None:
    up = process("up", "--background", "--port", "0", "-o", "json").json["item"]
    try:
        (here / "app.py").write_text(FLOW)
        ran = process("run", "app.py:twice", "-o", "json").json["item"]
        shown = httpx.get(f"{up['url']}/api/v1/executions/{ran['exec_id']}").json()
        status = process("status")
        asked = process("status", "-o", "json").json["item"]["attendant"]
    finally:
        down = process("down")

    assert shown["status"] == "completed"
    assert f"serves {up['url']}" in status.out
    assert asked["url"] == up["url"]
    assert down.code == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(up["url"])
    until(lambda: not psutil.pid_exists(up["pid"]))


def test_login_without_a_server_leaves_the_one_before_and_serves_this_machine(
    process: Kitaru, config_dir: Path
) -> None:
    (config_dir / "config.toml").write_text("retries = 1\n")
    save_login({"server_url": "http://127.0.0.1:9", "auth_token": TOKEN})
    first = process("login", "--port", "0", "--project", "research")
    try:
        again = process("login", "-o", "json")
        status = process("status", "-o", "json").json["item"]
    finally:
        process("down")

    assert first.code == 0, first.err
    assert "project 'research'" in first.out
    assert again.json["item"]["pid"] == status["attendant"]["pid"]
    assert again.json["item"]["server_url"] == status["attendant"]["url"]
    assert (status["connection"], status["active_project"]) == ("embedded store", "default")
    assert config(config_dir) == "retries = 1\n"
    until(lambda: not psutil.pid_exists(status["attendant"]["pid"]))


# --- logging in ------------------------------------------------------------------------------


def test_runs_are_kept_on_the_server_between_login_and_logout(
    process: Kitaru, serve: Serve, config_dir: Path, here: Path
) -> None:
    server = serve(KITARU_AUTH_TOKEN=TOKEN)
    (here / "app.py").write_text(FLOW)
    (config_dir / "config.toml").write_text("# mine\nretries = 1\n\n[[retention]]\nkeep = 5\n")
    before = config(config_dir)

    login = process("login", server.url + "/", "--api-key", TOKEN, "--project", "research")
    saved = config(config_dir)
    ran = process("run", "app.py:twice", "-o", "json")
    listed = process("executions", "list", "-o", "json").json["items"]
    logs = process("executions", "logs", ran.json["item"]["exec_id"]).out
    status = process("status")
    refused = process("up", "--background")
    logout = process("logout")
    after = process("executions", "list", "-o", "json").json["items"]

    assert login.code == 0, login.err
    assert TOKEN not in login.out + login.err + status.out + ran.err
    assert stat.S_IMODE((config_dir / "config.toml").stat().st_mode) == 0o600
    assert f'server_url = "{server.url}"' in saved
    assert ran.json["item"]["result"] == 4
    assert [one["exec_id"] for one in listed] == [ran.json["item"]["exec_id"]]
    assert logs == "doubling 2\n"
    assert "Connection: server (Kitaru " in status.out
    assert f"Store: {server.url}" in status.out
    assert (refused.code, server.url in refused.err) == (2, True)
    assert f"Logged out of {server.url}" in logout.out
    assert (after, config(config_dir)) == ([], before)
    kept = httpx.get(
        f"{server.url}/api/v1/executions?project=research",
        headers={"Authorization": f"Bearer {TOKEN}"},
    ).json()
    assert kept["count"] == 1


def test_a_login_that_does_not_work_changes_nothing(
    process: Kitaru, serve: Serve, config_dir: Path
) -> None:
    server = serve(KITARU_AUTH_TOKEN=TOKEN)

    without = process("login", server.url)
    wrong = process("login", server.url, "--api-key", "falsch")
    elsewhere = process("login", f"http://127.0.0.1:{free_port()}")
    bad = process("login", "kitaru.example.com")

    assert [one.code for one in (without, wrong, elsewhere, bad)] == [1, 1, 1, 2]
    assert "Give it with `--api-key`" in without.err
    assert "another token" in wrong.err
    assert "falsch" not in wrong.err
    waiting, failed = elsewhere.err.splitlines()
    assert "is asked again for up to 3 s: nobody listens there" in waiting
    assert "Nothing was changed. Check its URL" in failed
    assert "recover" not in failed
    assert not (config_dir / "config.toml").exists()


def test_login_says_what_stands_above_it(process: Kitaru, serve: Serve, tmp_path: Path) -> None:
    server = serve()

    done = process("login", server.url, KITARU_STORE_URL=f"sqlite://{tmp_path}/mine.db")

    assert done.code == 0
    assert "Warning: KITARU_STORE_URL stands above what was saved" in done.err
    assert process("logout").code == 0


def test_a_token_is_read_from_stdin(serve: Serve, config_dir: Path) -> None:
    server = serve(KITARU_AUTH_TOKEN=TOKEN)

    done = subprocess.run(
        [*COMMAND, "login", server.url, "--api-key", "-"],
        input=f"{TOKEN}\n",
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert f'auth_token = "{TOKEN}"' in config(config_dir)


def test_status_tells_that_a_server_is_away(process: Kitaru) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    text = process("status", KITARU_SERVER_URL=url)
    item = process("status", "-o", "json", KITARU_SERVER_URL=url).json["item"]

    assert text.code == 0
    assert "Connection: server, which cannot be used:" in text.out
    assert (item["server"]["reachable"], item["executions"]) == (False, None)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# --- several servers -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_two_servers_of_one_store_share_the_duties_and_repeat_none(
    serve: Serve, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    url = settings.sqlite_url(tmp_path / "shared.db")
    if kind == "postgres":
        url = request.getfixturevalue("postgres_url")
    store = open_store(url)
    servers = [serve(KITARU_STORE_URL=url), serve(KITARU_STORE_URL=url)]

    lost, asleep, expired = seed(store, 60)

    until(lambda: set(statuses(store, lost + asleep + expired)) == {S.PENDING})
    listed = [store.get_execution(one) for one in lost]
    assert {one.recoveries for one in listed} == {1}
    assert {one.recoveries for one in map(store.get_execution, asleep + expired)} == {0}
    told = [reaped(server) for server in servers]
    assert sum(told) == len(lost)
    forget_store(url)


def seed(store: Store, count: int) -> tuple[list[str], list[str], list[str]]:
    """Return executions that lost their runner, whose timer is due, and whose question has expired."""
    now = store.clock.now()
    gone = claim("gone", now - 100 * SECOND)
    made = store.commit([new_execution(created_at=now, claim=gone) for _ in range(count)])
    lost = [one.execution.id for one in made if one.execution is not None]
    asleep, expired = list[str](), list[str]()
    for number in range(count):
        there = claim("there", now + 1000 * SECOND)
        [one] = store.commit([new_execution(created_at=now, claim=there)])
        assert one.execution is not None
        kind: Any = timer if number % 2 else question
        park(store, kind(one.execution, wake_at=now), execution=one.execution)
        (asleep if number % 2 else expired).append(one.execution.id)
    return lost, asleep, expired


def statuses(store: Store, exec_ids: list[str]) -> list[ExecutionStatus]:
    return list(store.get_statuses(exec_ids).values())


def reaped(server: Server) -> int:
    found = re.search(
        r"^kitaru_executions_reaped_total (\d+)", httpx.get(f"{server.url}/metrics").text, re.M
    )
    assert found is not None
    return int(found[1])
