"""Programs that keep their executions on a server: `kitaru.connect` and the client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru import KitaruClient, checkpoint, connect, flow, settings
from kitaru.client.login import forget_login, save_login
from kitaru.errors import KitaruAuthError, KitaruBackendError, KitaruUsageError
from kitaru.server import create_app
from kitaru.settings import Settings
from kitaru.store import open_store
from kitaru.store.opening import forget_stores
from kitaru.store.sqlite import SQLiteStore
from kitaru.worker import runners
from tests.server.serving import RunningServer, free_port, serving
from tests.store.records import create, finish

TOKEN = "geheim-und-lang"


@checkpoint
def double(n: int) -> int:
    return 2 * n


@flow
def twice(n: int) -> list[int]:
    return [double(n), double(n + 1)]


@pytest.fixture(autouse=True)
def place(config_dir: Path, server: RunningServer) -> Iterator[None]:
    settings.forget()
    yield
    settings.forget()
    for runner in runners.forget_runners(server.url):
        runner.close()
    forget_stores()


def test_connecting_changes_nothing_in_a_program_but_where_it_is_kept(
    server: RunningServer, behind: SQLiteStore
) -> None:
    here = settings.current().store_url
    connected = connect(server.url + "/", project="research")

    handle = twice.run(4)

    assert handle.wait() == [8, 10]
    assert (connected.store_url, connected.project) == (server.url, "research")
    kept = behind.get_execution(handle.exec_id)
    assert (kept.status.value, kept.project) == ("completed", "research")
    assert [one.exec_id for one in KitaruClient().executions.list()] == [handle.exec_id]
    assert open_store(here).find_execution_ids(handle.exec_id) == []


def test_a_server_that_is_not_there_is_told_at_once_and_nothing_is_changed(
    server: RunningServer,
) -> None:
    settings.override(project="mine", store_url="sqlite:///var/k.db")
    before = settings.current()

    with pytest.raises(KitaruBackendError):
        connect(f"http://127.0.0.1:{free_port()}", project="research", timeout=1)

    assert settings.current() == before


def test_a_server_with_a_token_is_shown_it(
    behind: SQLiteStore, server_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = server_settings.having(auth_token=TOKEN)
    with serving(lambda: create_app(guarded, store=behind)) as server:
        with pytest.raises(KitaruAuthError, match="no token") as refused:
            connect(server.url)
        with pytest.raises(KitaruAuthError, match="another token"):
            connect(server.url, api_key="falsch")
        connect(server.url, api_key=TOKEN)
        assert KitaruClient().executions.list() == []
        settings.forget()
        monkeypatch.setenv("KITARU_AUTH_TOKEN", TOKEN)
        assert connect(server.url).access.auth_token == TOKEN

    assert TOKEN not in str(refused.value)


def test_a_later_connection_does_not_get_the_token_of_an_earlier_one(
    server: RunningServer,
) -> None:
    connect(server.url, api_key=TOKEN, timeout=7)

    again = connect(server.url)

    assert (again.auth_token, again.server_timeout_seconds) == (None, 30.0)


def test_what_configure_says_after_connecting_holds(server: RunningServer, tmp_path: Path) -> None:
    from kitaru import configure

    connect(server.url)

    back = configure(store_url=f"sqlite://{tmp_path}/mine.db")

    assert back.store_url == f"sqlite://{tmp_path}/mine.db"
    assert back.artifact_store.startswith("file://")


def test_something_else_at_the_url_is_no_server(server: RunningServer, config_dir: Path) -> None:
    with pytest.raises(KitaruBackendError, match="is no server of Kitaru's"):
        connect(f"{server.url}/elsewhere")
    with pytest.raises(KitaruUsageError):
        connect("kitaru.example.com")


def test_a_client_acts_on_the_server_that_it_was_given(
    server: RunningServer, behind: SQLiteStore
) -> None:
    pending, done = create(behind), finish(behind)

    with KitaruClient(server_url=server.url) as client:
        assert len(client.executions.list()) == 2
        assert client.executions.cancel(pending.id).status.value == "cancelled"
        client.executions.delete(done.id)
        with pytest.raises(KitaruUsageError, match=r"kitaru\.connect"):
            client.executions.replay(pending.id)

    assert behind.find_execution_ids(done.id) == []
    assert KitaruClient().executions.list() == []


# --- what login saves ------------------------------------------------------------------------


def test_a_login_stands_beside_what_is_there_and_goes_without_a_trace(config_dir: Path) -> None:
    file = config_dir / "config.toml"
    before = '# mine\nproject = "mine"\nretries = 2\n\n[[retention]]\nkeep = 5\n'
    file.write_text(before)

    save_login({"server_url": "http://a", "auth_token": "x\"'y", "verify_ssl": False})
    first = settings.reread()
    save_login({"server_url": "http://b", "project": "ours"})
    second = settings.reread()
    left = forget_login()

    assert (first.server_url, first.auth_token, first.verify_ssl) == ("http://a", "x\"'y", False)
    assert (first.project, first.retries) == ("mine", 2)
    assert (second.server_url, second.auth_token, second.project) == ("http://b", None, "ours")
    assert left == "http://b"
    # A key that the login needed itself does not come back.
    assert file.read_text() == before.replace('project = "mine"\n', "")
    assert forget_login() is None


def test_a_file_that_cannot_be_edited_is_left_alone(config_dir: Path) -> None:
    file = config_dir / "config.toml"
    for text in ("this = is = no toml", 'stack = """\nlocal"""\nproject = """\nx"""\n'):
        file.write_text(text)

        with pytest.raises(KitaruUsageError, match=r"config\.toml"):
            save_login({"server_url": "http://a", "project": "ours"})

        assert file.read_text() == text
    assert [one.name for one in config_dir.iterdir()] == ["config.toml"]
