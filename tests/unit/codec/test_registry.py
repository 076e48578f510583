from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kitaru import codec
from kitaru.codec import registry
from kitaru.errors import KitaruSerializationError, KitaruUsageError


class Money:
    def __init__(self, amount: int, currency: str) -> None:
        self.amount = amount
        self.currency = currency


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_by_type", {})
    monkeypatch.setattr(registry, "_by_name", {})


def _register(version: int = 2) -> None:
    codec.register(
        Money,
        name="acme.money",
        version=version,
        encode=lambda money: (money.amount, money.currency),
        decode=lambda parts, version: Money(parts[0] * version, parts[1]),
    )


def test_registered_codec_is_used_in_both_directions() -> None:
    _register()
    money = Money(5, "EUR")

    encoded = codec.encode([money, money], allow_pickle=False)
    first, second = codec.decode(encoded)

    assert first is second
    assert (first.amount, first.currency) == (10, "EUR")
    assert codec.describe(encoded.data)[0]["$type"] == "acme.money"
    assert codec.encode_arguments({"m": money}) == codec.encode_arguments({"m": Money(5, "EUR")})


def test_later_version_is_refused() -> None:
    _register(version=3)
    encoded = codec.encode(Money(1, "EUR"))
    _register(version=2)

    with pytest.raises(KitaruSerializationError, match="version 3"):
        codec.decode(encoded)


def test_name_belongs_to_one_type() -> None:
    _register()

    with pytest.raises(KitaruUsageError, match="is taken"):
        codec.register(
            int, name="acme.money", version=1, encode=str, decode=lambda text, _: int(text)
        )


def test_codec_of_an_installed_package_is_loaded_when_a_value_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "acme_codecs-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: acme-codecs\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        f"[{registry.ENTRY_POINT_GROUP}]\nacme.wrapped = acme_codecs:register\n"
    )
    (tmp_path / "acme_codecs.py").write_text(
        "from kitaru import codec\n"
        "class Wrapped:\n"
        "    content = None\n"
        "def register():\n"
        "    codec.register(Wrapped, name='acme.wrapped', version=1, encode=vars, decode=rebuild)\n"
        "def rebuild(content, version):\n"
        "    found = Wrapped()\n"
        "    found.content = content\n"
        "    return found\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    data = msgspec.msgpack.encode({0: "ext", 1: "acme.wrapped", 2: 1, 3: [1]})

    found: Any = codec.decode(codec.Encoded("kitaru/1", data))

    assert found.content == [1]
    monkeypatch.delitem(sys.modules, "acme_codecs")
