"""Kept bytes for people: what they hold, without importing or running anything.

Used where user code must never run: the server, the dashboard, comparisons in the CLI.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from kitaru.codec.deep import with_whole_stack
from kitaru.codec.tree import TAG, Tree, Unreadable, is_list, is_map, unpack
from kitaru.errors import KitaruSerializationError

_SHOWN_BYTES = 32
_CLASS_TAGS = ("dataclass", "model", "attrs", "object", "struct")
_DEEPEST = 100
_LARGEST_EXACT = 2**53  # what JavaScript can hold


def describe(data: bytes) -> Any:
    """Return what kept bytes hold, as JSON-like values.

    Instances become `{"$type": "module:Qual", **attributes}`, other values that JSON lacks
    `{"$type": "datetime", "value": ...}`, pickles `{"$pickle": "module.Qual", "bytes": n}`.

    Raises:
        KitaruSerializationError: The bytes are damaged.
    """
    try:
        try:
            return with_whole_stack(lambda: _describe(unpack(data)))
        except RecursionError:
            return with_whole_stack(lambda: _describe(_trimmed(unpack(data), _DEEPEST)))
    except Exception as error:  # damaged bytes may break any assumption
        message = f"a kept value cannot be described; its bytes are damaged: {error}."
        raise KitaruSerializationError(message) from error


def preview(data: bytes, *, limit: int = 80) -> str:
    """Return what kept bytes hold as one line of text of at most `limit` characters.

    Raises:
        KitaruSerializationError: The bytes are damaged.
    """
    text = with_whole_stack(lambda: _inline(describe(data)))
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: max(limit - 1, 0)] + "…"


def _trimmed(tree: Tree, levels: int) -> Tree:
    """Return a tree without what lies deeper than so many levels."""
    if levels == 0 and (is_list(tree) or is_map(tree)):
        return {TAG: "ref", 1: "…"}
    if is_list(tree):
        return [_trimmed(part, levels - 1) for part in tree]
    if is_map(tree):
        return {key: _trimmed(part, levels - 1) for key, part in tree.items()}
    return tree


def _describe(tree: Tree) -> Any:
    if tree is None or isinstance(tree, bool):
        return tree
    if isinstance(tree, int):
        return tree if abs(tree) <= _LARGEST_EXACT else _typed("int", str(tree))
    if isinstance(tree, float):
        return tree if math.isfinite(tree) else _typed("float", str(tree))
    if isinstance(tree, str):
        return tree
    if isinstance(tree, bytes):
        return _bytes("bytes", tree)
    if is_list(tree):
        return [_describe(part) for part in tree]
    if is_map(tree):
        return _describe_tagged(tree) if TAG in tree else _describe_dict(tree)
    message = f"a {type(tree).__name__} is no part of the format"
    raise Unreadable(message)


def _describe_dict(tree: dict[Any, Tree]) -> Any:
    if any(key.startswith("$") for key in tree):
        return _typed("dict", [[key, _describe(part)] for key, part in tree.items()], "items")
    return {key: _describe(part) for key, part in tree.items()}


def _describe_tagged(tree: dict[Any, Tree]) -> Any:
    tag = tree[TAG]
    if tag in _CLASS_TAGS:
        return {"$type": _class_name(tree[1]), **_attributes(tree[2])}
    special = _SPECIAL.get(tag)
    if special is not None:
        return special(tree)
    return _typed(tag, [_describe(part) for key, part in tree.items() if key != TAG], "parts")


def _typed(tag: str, content: Any, key: str = "value") -> dict[str, Any]:
    return {"$type": tag, key: content}


def _text(tree: Tree) -> str:
    if not isinstance(tree, str):
        message = "a text is missing"
        raise Unreadable(message)
    return tree


def _number(tree: Tree) -> int:
    if not isinstance(tree, int):
        message = "a number is missing"
        raise Unreadable(message)
    return tree


def _bytes(tag: str, content: bytes) -> dict[str, Any]:
    # The digest tells two long ones apart in a comparison.
    digest = blake2b(content, digest_size=8).hexdigest()
    return {
        "$type": tag,
        "size": len(content),
        "start": content[:_SHOWN_BYTES].hex(),
        "digest": digest,
    }


def _class_name(tree: Tree) -> str:
    if isinstance(tree, str):
        return tree
    if not is_map(tree):
        message = "a class is missing"
        raise Unreadable(message)
    if tree[TAG] == "def":
        return _class_name(tree[2])
    if tree[TAG] == "ref":
        return f"class {tree[1]}"
    if tree[TAG] == "generic_model":
        arguments = ", ".join(_inline(_describe(part)) for part in tree[2])
        return f"{_class_name(tree[1])}[{arguments}]"
    return str(tree[1])


def _attributes(tree: Tree) -> dict[str, Any]:
    found = _describe(tree)
    if not is_map(found):
        message = "attributes are missing"
        raise Unreadable(message)
    if "$type" in found:
        return {"attributes": found}
    extra: dict[str, Any] = found.pop("__pydantic_extra__", None) or {}
    return {
        **{key: part for key, part in found.items() if not key.startswith("__pydantic_")},
        **extra,
    }


def _first(tag: str) -> Callable[[dict[Any, Tree]], Any]:
    return lambda tree: _typed(tag, _describe(tree[1]))


def _items(tag: str) -> Callable[[dict[Any, Tree]], Any]:
    return lambda tree: _typed(tag, [_describe(part) for part in tree[1]], "items")


def _pairs(tag: str) -> Callable[[dict[Any, Tree]], Any]:
    def read(tree: dict[Any, Tree]) -> Any:
        flat = [_describe(part) for part in tree[1]]
        return _typed(tag, list(map(list, zip(flat[::2], flat[1::2], strict=True))), "items")

    return read


def _moment(tree: dict[Any, Tree]) -> Any:
    found = _typed(tree[TAG], _text(tree[1]))
    if 2 in tree:
        zone = _describe(tree[2])
        found["zone"] = zone.get("value", zone) if is_map(zone) else zone
    if 3 in tree:
        found["fold"] = _number(tree[3])
    return found


def _zone(tree: dict[Any, Tree]) -> Any:
    if 1 not in tree:
        return _typed("timezone", "UTC")
    sign = "-" if tree[1] < 0 else "+"
    minutes, rest = divmod(abs(tree[1]), 60_000_000)
    seconds = f":{rest / 1_000_000:g}" if rest else ""
    return _typed("timezone", f"{sign}{minutes // 60:02}:{minutes % 60:02}{seconds}")


def _duration(tree: dict[Any, Tree]) -> Any:
    return _typed("timedelta", str(dt.timedelta(tree[1], tree[2], tree[3])))


def _enum(tree: dict[Any, Tree]) -> Any:
    found = _typed(_class_name(tree[1]), _describe(tree[2]), "name")
    if 3 in tree:
        found["value"] = _describe(tree[3])
    return found


def _namedtuple(tree: dict[Any, Tree]) -> Any:
    fields = dict(zip(map(_text, tree[2]), map(_describe, tree[3]), strict=True))
    return {"$type": _class_name(tree[1]), **fields}


def _subclass(tree: dict[Any, Tree]) -> Any:
    content = _describe(tree[3])
    if tree[2] == "dict":
        content = list(map(list, zip(content[::2], content[1::2], strict=True)))
    return {"$type": _class_name(tree[1]), "value": content, **_attributes(tree[4])}


def _exception(tree: dict[Any, Tree]) -> Any:
    found = {
        "$type": _class_name(tree[1]),
        **_attributes(tree[3]),
        "args": [_describe(part) for part in tree[2]],
    }
    if 4 in tree:
        found["cause"] = _describe(tree[4])
    if 7 in tree:
        found["message"], found["exceptions"] = map(_describe, tree[7])
    return found


def _table(tree: dict[Any, Tree]) -> Any:
    return {"$type": tree[TAG], "shape": _describe(tree[3]), "columns": _describe(tree[4])}


def _array(tree: dict[Any, Tree]) -> Any:
    shown = _bytes("ndarray", tree[3])
    return {**shown, "dtype": _describe(tree[1]), "shape": _describe(tree[2])}


_SPECIAL: dict[str, Callable[[dict[Any, Tree]], Any]] = {
    "pickle": lambda tree: {"$pickle": _text(tree[1]), "bytes": len(tree[2])},
    "ref": lambda tree: {"$ref": _describe(tree[1])},
    "def": lambda tree: _describe(tree[2]),
    "then": lambda tree: _describe(tree[1]),
    "up": lambda tree: {"$ref": f"up {_number(tree[1])}"},
    "int": lambda tree: _typed("int", str(int(tree[1], 16)) if len(tree[1]) < 1000 else tree[1]),
    "str": lambda tree: _typed("str", tree[1].decode("utf-8", "backslashreplace")),
    "bytearray": lambda tree: _bytes("bytearray", tree[1]),
    "class": lambda tree: _typed("class", _class_name(tree[1])),
    "function": lambda tree: _typed("function", _class_name(tree[1])),
    "generic_model": lambda tree: _typed("class", _class_name(tree)),
    "datetime": _moment,
    "time": _moment,
    "timezone": _zone,
    "timedelta": _duration,
    "enum": _enum,
    "namedtuple": _namedtuple,
    "subclass": _subclass,
    "exception": _exception,
    "ndarray": _array,
    "ext": lambda tree: {
        "$type": _text(tree[1]),
        "version": _number(tree[2]),
        "value": _describe(tree[3]),
    },
    "code": lambda tree: _typed("function", _text(tree[1])),
    "module": _first("module"),
    "reduce": lambda tree: {
        "$type": _text(tree[1]),
        "parts": [_describe(tree[key]) for key in (3, 4, 5, 6)],
    },
    **{
        tag: _first(tag)
        for tag in ("decimal", "fraction", "uuid", "date", "path", "constant", "zone")
    },
    **{tag: _items(tag) for tag in ("tuple", "set", "frozenset", "deque", "range", "slice")},
    **{tag: _pairs(tag) for tag in ("dict", "ordered_dict", "counter", "default_dict")},
    **dict.fromkeys(("data_frame", "series", "arrow_table", "arrow_batch"), _table),
}


def _inline(found: Any) -> str:
    """Write a description as people would write the value."""
    if is_list(found):
        return f"[{', '.join(map(_inline, found))}]"
    if not is_map(found):
        return json.dumps(found, ensure_ascii=False)
    if "$pickle" in found:
        return f"<{found['$pickle']}>"
    if "$ref" in found:
        return "<…>"
    if "$type" not in found:
        pairs = (
            f"{json.dumps(key, ensure_ascii=False)}: {_inline(part)}" for key, part in found.items()
        )
        return f"{{{', '.join(pairs)}}}"
    name = str(found["$type"]).rpartition(":")[2]
    rest = {key: part for key, part in found.items() if key != "$type"}
    if name in ("bytes", "bytearray") and "size" in rest:
        return f"{name}({rest['size']} bytes)"
    if len(rest) == 1 and next(iter(rest)) in ("value", "items"):
        return f"{name}({_inline(next(iter(rest.values())))})"
    return f"{name}({', '.join(f'{key}={_inline(part)}' for key, part in rest.items())})"
