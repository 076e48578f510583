from __future__ import annotations

from pathlib import Path

import pytest

from kitaru.access import ServerAccess
from kitaru.errors import KitaruUsageError
from kitaru.store import open_store
from kitaru.store.http import HttpStore
from kitaru.store.opening import forget_stores
from tests.store.records import create


@pytest.fixture(autouse=True)
def forgotten() -> object:
    yield
    forget_stores()


def url(path: Path) -> str:
    return f"sqlite://{path.as_posix()}" if path.as_posix().startswith("/") else f"sqlite:///{path}"


def test_same_file_is_the_same_store_in_a_process(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    first = open_store(url(tmp_path / "k.db"))

    assert open_store(url(tmp_path / "x" / ".." / "k.db")) is first
    assert open_store(url(tmp_path / "link" / "k.db")) is first
    assert open_store(url(tmp_path / "other.db")) is not first


def test_url_of_a_store_opens_it(tmp_path: Path) -> None:
    store = open_store(url(tmp_path / "a folder" / "k#1?.db").replace(" ", "%20"))

    execution = create(store)

    assert (tmp_path / "a folder" / "k#1?.db").is_file()
    assert open_store(store.url).get_execution(execution.id) == execution


def test_four_slashes_mean_what_three_do(tmp_path: Path) -> None:
    assert open_store(f"sqlite:///{tmp_path.as_posix()}/k.db") is open_store(url(tmp_path / "k.db"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("sqlit:///x", "unknown kind of store 'sqlit', did you mean 'sqlite'?"),
        ("mongodb://x", "unknown kind of store 'mongodb'. Known: 'sqlite'"),
        ("/tmp/k.db", "such as 'sqlite:///home/me/kitaru.db', got: '/tmp/k.db'"),
        ("sqlite://k.db", "Write three slashes: 'sqlite:///k.db'"),
    ],
)
def test_wrong_url_is_refused_with_the_way_out(wrong: str, said: str) -> None:
    with pytest.raises(KitaruUsageError) as raised:
        open_store(wrong)

    assert said in str(raised.value)


def test_server_is_opened_once_for_everybody_with_the_same_token() -> None:
    mine, other = ServerAccess(auth_token="mine"), ServerAccess(auth_token="other")

    store = open_store("http://h:1", access=mine)

    assert isinstance(store, HttpStore)
    assert open_store("http://h:1/", access=mine) is store
    assert open_store("http://h:1", access=other) is not store
    assert store.url == "http://h:1"
    assert open_store("https://h/kitaru/").url == "https://h/kitaru"
