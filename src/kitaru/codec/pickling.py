"""The last resort: parts that only cloudpickle can take, marked and checksummed.

Loading a pickle runs what the pickle says. That is why it needs permission, why nothing but `decode`
ever does it, and why flipped bits are found by a checksum before the pickle is touched.
"""

from __future__ import annotations

import functools
import io
import pickle
import types
import zlib
from typing import Any

from kitaru.codec.naming import find_name, load_named
from kitaru.codec.tree import TAG, Refused, Tree, Unreadable, UserValue, type_name

_PROTOCOL = 5  # the one that every supported Python writes alike
# Picklers let these pass as something else: a file as its text, a view as bytes.
_SILENTLY_CHANGED = (io.IOBase, memoryview)


def lower_by_pickle(value: UserValue) -> Tree:
    """Return the tree that holds a value's pickle.

    Raises:
        Refused: The value cannot be pickled.
    """
    buffer = io.BytesIO()
    try:
        _pickler_class()(buffer, protocol=_PROTOCOL).dump(value)
    except RecursionError:
        raise
    except Exception as error:  # a value's own `__reduce__` may raise anything
        raise Refused(value, f"cannot be kept: {_reason(error)}") from error
    data = buffer.getvalue()
    named: type = value if isinstance(value, type) else type(value)
    return {TAG: "pickle", 1: type_name(named), 2: data, 3: zlib.crc32(data)}


def lift_pickle(tree: dict[Any, Tree], *, allowed: bool) -> UserValue:
    """Load a pickle.

    Raises:
        Unreadable: Pickle is forbidden, the bytes are damaged, or loading fails.
    """
    if not allowed:
        message = f"it holds a pickled `{tree[1]}`, and pickle is switched off here"
        raise Unreadable(message)
    data = tree[2]
    if zlib.crc32(data) != tree[3]:
        message = f"the pickle of a `{tree[1]}` is damaged"
        raise Unreadable(message)
    return pickle.loads(data)  # permitted by the caller; the codec's name says so


def _reason(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return text or type(error).__name__


@functools.cache
def _pickler_class() -> Any:
    import cloudpickle  # costs 10 ms that most processes never need

    base: Any = cloudpickle.CloudPickler  # untyped

    class Pickler(base):
        """Names the classes of scripts by file, so that other processes get their own class."""

        def reducer_override(self, obj: Any) -> Any:
            if _is_named(obj):
                name = find_name(obj)
                if name is not None and name.rpartition(":")[0] != obj.__module__:
                    return load_named, (name,)
            elif _would_change(obj):
                message = f"cannot pickle {type_name(obj.__class__)!r} object"
                raise pickle.PicklingError(message)
            return base.reducer_override(self, obj)

    return Pickler


def _is_named(value: object) -> bool:
    return isinstance(value, type | types.FunctionType)


def _would_change(value: object) -> bool:
    return isinstance(value, _SILENTLY_CHANGED) and not isinstance(value, io.BytesIO | io.StringIO)
