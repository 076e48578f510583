from __future__ import annotations

import functools
import io
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kitaru import codec
from kitaru.errors import KitaruSerializationError


class Client:
    def __init__(self, session: Any) -> None:
        self.session = session


@dataclass
class Holder:
    parts: dict[str, Any]


@dataclass(slots=True)
class Slotted:
    inner: Any


class SelfReducing:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __reduce__(self) -> Any:
        return SelfReducing, (self.inner,)


class Rude:
    def __reduce__(self) -> Any:
        raise RuntimeError("I do not travel")


@pytest.fixture
def lock() -> Any:
    return threading.Lock()


def numbers() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda part: part, "result"),
        (lambda part: {"client": Client(part)}, 'result["client"].session'),
        (lambda part: [0, 1, (2, part)], "result[2][1]"),
        (lambda part: Holder({"a b": [Slotted(part)]}), 'result.parts["a b"][0].inner'),
        (lambda part: {5: {part: 1}}, "result[5].<key "),
        (lambda part: {frozenset({part})}, "result.<element>.<element>"),
        (lambda part: SelfReducing([part]), "result.inner[0]"),
        (lambda part: functools.partial(print, part), "result.args[0]"),
        (lambda part: Client(part).__init__, "result.__self__.session"),
        (lambda part: lambda: part, "result.<variable part>"),
        (
            lambda part: [[{"deep": [Client([Client(part)])]}]],
            'result[0][0]["deep"][0].session[0].session',
        ),
    ],
)
def test_refusal_names_the_path_to_the_part(wrap: Any, path: str, lock: Any) -> None:
    with pytest.raises(KitaruSerializationError) as caught:
        codec.encode(wrap(lock), root="result")

    assert caught.value.path.startswith(path)
    assert f"`{caught.value.path}` (`_thread.lock`) cannot be kept" in caught.value.message


def test_refusal_looks_past_cycles(lock: Any) -> None:
    root: dict[str, Any] = {}
    root["child"] = Client(root)
    root["lock"] = lock

    with pytest.raises(KitaruSerializationError) as caught:
        codec.encode(root, root="result")

    assert caught.value.path == 'result["lock"]'


def test_refusal_looks_past_what_is_fine(lock: Any) -> None:
    value = [{"fine": [index]} for index in range(2_000)]
    value[1_234]["bad"] = lock

    with pytest.raises(KitaruSerializationError) as caught:
        codec.encode(value, root="result")

    assert caught.value.path == 'result[1234]["bad"]'


def test_live_objects_are_refused(tmp_path: Path) -> None:
    with (
        (tmp_path / "file").open("w+") as text_file,
        (tmp_path / "file").open("rb") as binary_file,
        closing(sqlite3.connect(":memory:")) as database,
    ):
        for live in (
            text_file,
            binary_file,
            database,
            numbers(),
            memoryview(b"x"),
            threading.current_thread(),
            threading.local(),
            Rude(),
        ):
            with pytest.raises(KitaruSerializationError) as caught:
                codec.encode([live], root="result")
            assert caught.value.path.startswith("result[0]")


def test_file_in_memory_is_pickled() -> None:
    assert codec.decode(codec.encode(io.BytesIO(b"x"))).getvalue() == b"x"


def test_pickle_is_refused_where_it_is_switched_off() -> None:
    with pytest.raises(KitaruSerializationError, match="KITARU_ALLOW_PICKLE") as caught:
        codec.encode({"a": [SelfReducing(1)]}, root="result", allow_pickle=False)
    assert caught.value.path == 'result["a"][0]'

    encoded = codec.encode(SelfReducing(1))
    with pytest.raises(KitaruSerializationError, match="switched off"):
        codec.decode(encoded, allow_pickle=False)
    with pytest.raises(KitaruSerializationError, match="switched off"):
        codec.decode(codec.Encoded("kitaru/1", encoded.data))


def test_values_with_forms_of_their_own_need_no_pickle() -> None:
    value = {"a": [Client((1, {2})), Slotted(None), Path("x")]}

    encoded = codec.encode(value, allow_pickle=False)

    assert codec.decode(encoded, allow_pickle=False)["a"][0].session == (1, {2})


@pytest.mark.parametrize("name", ["kitaru/2", "kitaru/2+pickle", "pickle", ""])
def test_unknown_form_is_refused(name: str) -> None:
    with pytest.raises(KitaruSerializationError, match="cannot read"):
        codec.decode(codec.Encoded(name, codec.encode(1).data))


def test_argument_that_has_no_contents_is_refused_with_advice(lock: Any) -> None:
    with pytest.raises(KitaruSerializationError) as caught:
        codec.encode_arguments({"n": 1, "client": Client(lock)})

    assert caught.value.path == 'arguments["client"].session'
    assert '`@checkpoint(ignore=["client"])`' in caught.value.message


def test_argument_that_is_nested_too_deeply_is_refused() -> None:
    value: Any = None
    for _ in range(10_000):
        value = [value]

    with pytest.raises(KitaruSerializationError, match="nested too deeply"):
        codec.encode_arguments({"n": value})
