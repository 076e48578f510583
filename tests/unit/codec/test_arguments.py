from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kitaru import codec


@dataclass
class Part:
    x: Any


def multiply(factor: int) -> Any:
    return lambda number: number * factor


def test_sharing_makes_no_difference() -> None:
    part = [1, {"k": {1, 2}}]
    tree = Part(part)

    shared = codec.encode_arguments({"a": [part, part], "b": (tree, tree)})
    apart = codec.encode_arguments(
        {"a": [part, copy.deepcopy(part)], "b": (tree, copy.deepcopy(tree))}
    )

    assert shared == apart


def test_order_of_sets_makes_no_difference_and_order_of_dicts_does() -> None:
    numbers = list(range(0, 1 << 20, 1 << 15))  # which all want the same place in a small set
    backwards = numbers[::-1]

    assert list(set(numbers)) != list(set(backwards))
    assert codec.encode_arguments({"s": set(numbers)}) == codec.encode_arguments(
        {"s": set(backwards)}
    )
    assert codec.encode_arguments({"d": {1: 2, 3: 4}}) != codec.encode_arguments(
        {"d": {3: 4, 1: 2}}
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("1", 1),
        ([1], (1,)),
        ({1}, frozenset({1})),
        (b"x", bytearray(b"x")),
        (Part(1), {"x": 1}),
        (multiply(1), multiply(2)),
        (lambda: 1, lambda: 2),
        (SimpleNamespace(a=1), SimpleNamespace(a=2)),
        (int, str),
        (2**64, 2**65),
        ("\ud800", "\ud801"),
    ],
)
def test_different_arguments_give_different_bytes(one: Any, other: Any) -> None:
    assert codec.encode_arguments({"a": one}) != codec.encode_arguments({"a": other})


def test_equal_functions_and_reduced_objects_give_equal_bytes() -> None:
    one, other = ({"f": multiply(2), "n": SimpleNamespace(a={1, 2})} for _ in range(2))

    assert codec.encode_arguments(one) == codec.encode_arguments(other)


def test_cycle_is_written_by_how_far_up_it_leads() -> None:
    def make() -> list[Any]:
        inner: list[Any] = [1]
        outer = [inner]
        inner.append(outer)
        return outer

    assert codec.encode_arguments({"a": make()}) == codec.encode_arguments({"a": make()})
    assert codec.describe(codec.encode_arguments({"a": make()})) == {"a": [[1, {"$ref": "up 2"}]]}


def test_arguments_can_be_described_and_previewed() -> None:
    data = codec.encode_arguments({"a": 1, "f": multiply(1), "o": SimpleNamespace(x=[1])})

    assert codec.describe(data)["a"] == 1
    assert codec.preview(data).startswith('{"a": 1, "f": function("multiply')


PROGRAM = """
import enum, sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pydantic import BaseModel
from types import SimpleNamespace
from kitaru import codec

class Flag(enum.Flag):
    A = 1
    B = 2

class Model(BaseModel):
    names: set[str]

@dataclass
class Data:
    names: frozenset[str]

class Plain:
    def __init__(self):
        self.names = {"x", "y", "z"}

def local():
    class Local:
        pass
    value = Local()
    value.names = {"a", "b", "c"}
    return value

words = {"alpha", "beta", "gamma", "delta", ("t", frozenset({"p", "q", "r"}))}
sys.stdout.write(codec.encode_arguments({
    "words": words, "model": Model(names={"a", "b", "c"}), "data": Data(frozenset("xyz")),
    "plain": Plain(), "local": local(), "flag": Flag.A | Flag.B, "f": lambda x: x in {"u", "v", "w"},
    "space": SimpleNamespace(names={"k", "l", "m"}), "when": datetime(2024, 1, 1, tzinfo=timezone.utc),
    "big": 2**100, "count": Counter("hello"),
}).hex())
"""


def test_bytes_are_the_same_in_every_process(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    written = {
        subprocess.run(
            [sys.executable, str(script)],
            env={"PYTHONPATH": str(Path(codec.__file__).parents[2]), "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(written) == 1
