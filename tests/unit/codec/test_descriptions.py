from __future__ import annotations

import datetime as dt
import enum
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from kitaru import codec
from kitaru.errors import KitaruSerializationError

HERE = __name__


class Color(enum.Enum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Plan:
    steps: list[Any]


class Words(list[str]):
    pass


@pytest.mark.parametrize(
    ("value", "expected", "line"),
    [
        ({"a": [1, None, "x"]}, {"a": [1, None, "x"]}, '{"a": [1, null, "x"]}'),
        ((1,), {"$type": "tuple", "items": [1]}, "tuple([1])"),
        ({1: 2}, {"$type": "dict", "items": [[1, 2]]}, "dict([[1, 2]])"),
        ({"$type": 1}, {"$type": "dict", "items": [["$type", 1]]}, 'dict([["$type", 1]])'),
        (Plan([1]), {"$type": f"{HERE}:Plan", "steps": [1]}, "Plan(steps=[1])"),
        (Point(1, 2), {"$type": f"{HERE}:Point", "x": 1, "y": 2}, "Point(x=1, y=2)"),
        (Color.RED, {"$type": f"{HERE}:Color", "name": "RED"}, 'Color(name="RED")'),
        (Words(["a"]), {"$type": f"{HERE}:Words", "value": ["a"]}, 'Words(["a"])'),
        (float("nan"), {"$type": "float", "value": "nan"}, 'float("nan")'),
        (2**64, {"$type": "int", "value": str(2**64)}, f'int("{2**64}")'),
        (Decimal("1.10"), {"$type": "decimal", "value": "1.10"}, 'decimal("1.10")'),
        (
            dt.datetime(2024, 1, 1, tzinfo=dt.timezone(-dt.timedelta(hours=3, minutes=30))),
            {"$type": "datetime", "value": "2024-01-01T00:00:00", "zone": "-03:30"},
            'datetime(value="2024-01-01T00:00:00", zone="-03:30")',
        ),
        (partial(print), {"$pickle": "functools.partial", "bytes": 33}, "<functools.partial>"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_description_and_preview(value: Any, expected: Any, line: str) -> None:
    data = codec.encode(value).data

    described = codec.describe(data)
    if isinstance(described, dict) and "$pickle" in described:
        described["bytes"] = 33

    assert described == expected
    assert codec.preview(data) == line


def test_preview_is_one_line_of_limited_length() -> None:
    line = codec.preview(codec.encode("a\nb " * 100).data, limit=30)

    assert len(line) == 30
    assert line.endswith("…")
    assert "\n" not in line


def test_descriptions_of_different_bytes_differ() -> None:
    one, other = (codec.describe(codec.encode(b"x" * 100 + end).data) for end in (b"1", b"2"))

    assert one != other


def test_describe_imports_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("raise AssertionError('imported')")
    kinds = ["dataclass", "model", "object", "attrs", "struct"]
    trees: list[Any] = [{0: kind, 1: "trap:X", 2: {"a": 1}} for kind in kinds]
    trees += [
        {0: "enum", 1: "trap:X", 2: "A"},
        {0: "exception", 1: "trap:X", 2: [], 3: {}},
        {0: "namedtuple", 1: "trap:X", 2: ["a"], 3: [1]},
        {0: "class", 1: "trap:X"},
        {0: "function", 1: "trap:f"},
        {0: "pickle", 1: "trap.X", 2: b"ctrap\nX\n.", 3: 0},
        {0: "ext", 1: "trap", 2: 1, 3: None},
    ]
    data = msgspec.msgpack.encode(trees)
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from kitaru import codec
before = set(sys.modules)
codec.describe({data!r})
codec.preview({data!r})
assert not (set(sys.modules) - before), set(sys.modules) - before
"""

    subprocess.run([sys.executable, "-c", program], check=True, env=_environment())


def test_importing_the_codec_loads_no_heavy_library() -> None:
    program = """
import sys
from kitaru import codec
codec.decode(codec.encode({"a": [1, (2,)]}))
heavy = {"pydantic", "numpy", "pandas", "pyarrow", "cloudpickle", "zoneinfo"} & set(sys.modules)
assert not heavy, heavy
"""

    subprocess.run([sys.executable, "-c", program], check=True, env=_environment())


def test_damaged_bytes_are_refused() -> None:
    for data in (b"", b"\xc1", codec.encode([1, 2]).data[:-1], codec.encode(1).data + b"\x00"):
        with pytest.raises(KitaruSerializationError):
            codec.describe(data)


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(codec.__file__).parents[2])}
