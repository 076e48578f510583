from __future__ import annotations

import enum
import functools
import subprocess
import sys
import textwrap
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import attrs
import msgspec
import pytest

from kitaru import codec
from kitaru.errors import KitaruSerializationError
from tests.unit.codec.exactness import assert_round_trip

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red"
    ROT = "red"  # noqa: PIE796 - an alias, which decodes as its canonical member
    BLUE = ("b", 1)


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Mode(enum.IntFlag):
    A = 1
    B = 2


@dataclass
class Plain:
    x: int
    y: list[Any] = field(default_factory=list)
    z: int = field(init=False, default=7)
    seed: InitVar[int] = 0

    def __post_init__(self, seed: int) -> None:
        if seed == -1:
            raise AssertionError


@dataclass(frozen=True, slots=True)
class Frozen:
    x: Any


@dataclass(slots=True)
class Slotted:
    x: Any
    y: Any = None


@dataclass
class Derived(Plain):
    extra: str = "e"

    @functools.cached_property
    def computed(self) -> int:
        return 42


@dataclass
class Box(Generic[T]):
    content: T


class Point(NamedTuple):
    x: int
    y: Any = None


class NamedPoint(Point):
    pass


class Text(str):
    pass


class Number(int):
    pass


class Ratio(float):
    pass


class Blob(bytes):
    pass


class Stack(list[Any]):
    def append(self, item: Any) -> None:
        raise AssertionError

    def extend(self, items: Any) -> None:
        raise AssertionError


class Table(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError


class Bag(set[Any]):
    pass


class Group(frozenset[Any]):
    pass


class Ordinary:
    def __init__(self, must: Any) -> None:
        self.must = must

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ordinary) and vars(self) == vars(other)

    def __hash__(self) -> int:
        raise AssertionError

    def __repr__(self) -> str:
        return f"Ordinary({self.must!r})"

    class Inner:
        pass


class MixedSlots:
    __slots__ = ("__dict__", "__private", "unset")

    def __init__(self, private: Any) -> None:
        self.__private = private
        self.other = 1

    def state(self) -> Any:
        return self.__private, self.other


class Reducing:
    def __init__(self, a: int) -> None:
        self.a = a

    def __reduce__(self) -> Any:
        return Reducing, (self.a,)


@attrs.define
class Attrs:
    x: int
    y: list[int] = attrs.field(factory=list)


@attrs.frozen
class FrozenAttrs:
    x: Any


class Struct(msgspec.Struct):
    x: int
    y: Any = None


class FrozenStruct(msgspec.Struct, frozen=True, kw_only=True):
    x: int


class HookedStruct(msgspec.Struct):
    x: int

    def __post_init__(self) -> None:
        pass


def module_level() -> int:
    return 5


def with_extra(value: Any, **extra: Any) -> Any:
    vars(value).update(extra)
    return value


VALUES = [
    Color.RED,
    Color.ROT,
    Color.BLUE,
    Level.LOW,
    Word.YES,
    Access.READ,
    Access.READ | Access.WRITE,
    Access(0),
    Mode.A | Mode.B,
    Mode(8),
    Plain(1, [2]),
    with_extra(Plain(1), added="later"),
    Frozen((1, Color.RED)),
    Slotted(1),
    Derived(1, extra="x"),
    Box(Frozen(1)),
    Point(1, [2]),
    NamedPoint(1),
    with_extra(NamedPoint(1), note="n"),
    Text("a\ud800"),
    with_extra(Text("a"), note=["n"]),
    Number(2**80),
    Ratio(0.5),
    Blob(b"b"),
    Stack([1, [2]]),
    Table({1: {2: 3}}),
    Bag({1}),
    Group({1}),
    Ordinary([1]),
    Attrs(1, [2]),
    FrozenAttrs("x"),
    Struct(1, [2]),
    FrozenStruct(x=1),
    Ordinary.Inner,
    module_level,
    {Color.RED: 1, Point(1): 2, Frozen(3): 4},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_instance_round_trips_without_its_constructor(value: object) -> None:
    assert_round_trip(value)


def test_extra_attributes_of_builtin_subclasses_survive() -> None:
    decoded = codec.decode(codec.encode(with_extra(Text("a"), note=["n"])))

    assert decoded.note == ["n"]


def test_private_slots_and_attributes_survive_and_unset_ones_stay_unset() -> None:
    decoded = codec.decode(codec.encode(MixedSlots([1])))

    assert decoded.state() == ([1], 1)
    assert not hasattr(decoded, "unset")


def test_parametrised_dataclass_keeps_its_parameters() -> None:
    value = Box[int](1)

    decoded = codec.decode(codec.encode(value))

    assert vars(decoded)["__orig_class__"] == Box[int]


@pytest.mark.parametrize("value", [Reducing(1), HookedStruct(1)])
def test_class_that_says_how_to_be_pickled_is_pickled(value: Any) -> None:
    encoded = codec.encode(value)

    assert encoded.codec == "kitaru/1+pickle"
    assert type(codec.decode(encoded)) is type(value)


def test_local_class_is_pickled_by_value_once() -> None:
    @dataclass
    class Local:
        x: int

    encoded = codec.encode([Local(1), Local(2)])

    assert encoded.codec == "kitaru/1+pickle"
    assert codec.decode(encoded) == [Local(1), Local(2)]
    assert len(encoded.data) < 2 * len(codec.encode(Local(1)).data)


def test_local_class_is_refused_where_pickle_is_switched_off() -> None:
    @dataclass
    class Local:
        x: int

    with pytest.raises(KitaruSerializationError, match="no other process can find") as caught:
        codec.encode({"a": [Local(1)]}, root="result", allow_pickle=False)

    assert caught.value.path == 'result["a"][0]'


def test_lost_enum_member_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = codec.encode(Color.BLUE)

    class Fewer(enum.Enum):
        RED = "red"

    monkeypatch.setattr(sys.modules[__name__], "Color", Fewer)

    with pytest.raises(KitaruSerializationError, match="no member 'BLUE'"):
        codec.decode(encoded)


def test_lost_class_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = codec.encode(Plain(1))
    monkeypatch.delattr(sys.modules[__name__], "Plain")

    with pytest.raises(KitaruSerializationError, match="renamed or moved"):
        codec.decode(encoded)


def test_class_that_became_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = codec.encode(Plain(1))
    monkeypatch.setattr(sys.modules[__name__], "Plain", Color)

    with pytest.raises(KitaruSerializationError, match="no dataclass any more"):
        codec.decode(encoded)


SCRIPT = """
from __future__ import annotations
import pathlib, sys
from dataclasses import dataclass
from functools import partial
from kitaru import codec
from kitaru.code_ref import load_script

@dataclass
class Plan:
    steps: list[str]

if __name__ == "__main__":
    encoded = codec.encode([Plan(["a"]), partial(Plan, ["b"])])
    pathlib.Path("data").write_bytes(encoded.data)
    pathlib.Path("codec").write_text(encoded.codec)
    again = codec.decode(encoded)
    assert type(again[0]) is Plan and type(again[1]()) is Plan
    pathlib.Path("args").write_bytes(codec.encode_arguments({"p": Plan(["a"])}))
"""


def test_classes_of_a_script_are_found_when_another_process_loads_it(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True, env=_environment())
    check = f"""
        from pathlib import Path
        from kitaru import codec
        from kitaru.code_ref import load_script
        module = load_script({str(script)!r})
        found = codec.decode(codec.Encoded(Path("codec").read_text(), Path("data").read_bytes()))
        assert type(found[0]) is module.Plan and found[0].steps == ["a"]
        assert type(found[1]()) is module.Plan
        assert codec.encode(found[0]) == codec.encode(module.Plan(["a"]))
        assert codec.encode_arguments({{"p": found[0]}}) == Path("args").read_bytes()
    """

    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(check)], cwd=tmp_path, check=True, env=_environment()
    )


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(codec.__file__).parents[2]), "PYTHONWARNINGS": "error"}
