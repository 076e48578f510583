"""NumPy arrays and scalars: their bytes, beside what the bytes mean.

NumPy is never imported to encode: if it is not loaded, no value can be of its types.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from kitaru.codec.lift import Lifter, Lifting
from kitaru.codec.lower import Lowering, Strategy
from kitaru.codec.tree import TAG, Tree, Unreadable


def kind_of(cls: type) -> str | None:
    """Return the kind of a NumPy type, or None for any other."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if cls is numpy.ndarray:
        return "ndarray"
    if issubclass(cls, numpy.generic) and cls.__module__ == "numpy":
        return "numpy_scalar"
    if issubclass(cls, numpy.dtype):
        return "dtype"
    return None


def _array(walk: Lowering, value: Any) -> Tree:
    dtype = value.dtype
    if dtype.char == "O":
        return {TAG: "object_array", 1: list(value.shape), 2: walk.items(value.ravel().tolist())}
    description = _describe_dtype(walk, dtype)
    if description is None:
        return walk.pickle(value)
    is_fortran = value.flags.f_contiguous and not value.flags.c_contiguous
    data = value.tobytes("F" if is_fortran else "C")
    tree: dict[Any, Tree] = {TAG: "ndarray", 1: description, 2: list(value.shape), 3: data}
    if is_fortran:
        tree[4] = "F"
    if not value.flags.writeable:
        tree[5] = "read-only"
    return tree


def _scalar(walk: Lowering, value: Any) -> Tree:
    import numpy as np

    if isinstance(value, str):
        return {TAG: "numpy_text", 1: walk.lower(str.__str__(value))}
    if isinstance(value, bytes):
        return {TAG: "numpy_text", 1: bytes.__getitem__(value, slice(None))}
    description = _describe_dtype(walk, value.dtype)
    if description is None:
        return walk.pickle(value)
    data = value.tobytes()
    rebuilt = np.ndarray((), value.dtype, data)[()]
    if type(rebuilt) is not type(value) or rebuilt.tobytes() != data:
        return walk.pickle(value)
    return {TAG: "numpy_scalar", 1: description, 2: data}


def _dtype(walk: Lowering, value: Any) -> Tree:
    description = _describe_dtype(walk, value)
    if description is None:
        return walk.pickle(value)
    return {TAG: "dtype", 1: description}


def _describe_dtype(walk: Lowering, dtype: Any) -> Tree | None:
    """Return the tree of a dtype's description, or None if NumPy cannot describe it exactly."""
    import numpy as np

    if dtype.hasobject or dtype.metadata:
        return None
    if dtype.names is None and dtype.subdtype is None:
        # Several C types share one width; only the type code tells `long` from `long long`.
        candidates = (dtype.str, dtype.byteorder.replace("|", "") + dtype.char)
        return next((text for text in candidates if _is_dtype(text, dtype)), None)
    description = np.lib.format.dtype_to_descr(dtype)
    try:
        rebuilt = np.lib.format.descr_to_dtype(description)
    except (TypeError, ValueError):
        return None
    if rebuilt != dtype or rebuilt.isalignedstruct != dtype.isalignedstruct:
        return None
    walk.hold(description)
    return walk.lower(description)


def _is_dtype(text: str, dtype: Any) -> bool:
    import numpy as np

    try:
        found = np.dtype(text)
    except TypeError:
        return False
    return bool(found == dtype) and found.char == dtype.char


def _read_dtype(walk: Lifting, tree: Tree) -> Any:
    import numpy as np

    # The format module's own inverse of `dtype_to_descr`, which drops the padding it had named.
    return np.lib.format.descr_to_dtype(walk.lift(tree))


def _lift_array(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    import numpy as np  # only where an array is decoded

    order = tree.get(4, "C")
    array = np.ndarray(tuple(tree[2]), _read_dtype(walk, tree[1]), bytearray(tree[3]), order=order)
    if array.nbytes != len(tree[3]):
        message = "an array's bytes do not fit its shape"
        raise Unreadable(message)
    if 5 in tree:
        array.flags.writeable = False
    return array


def _make_object_array(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    import numpy as np  # only where an array is decoded

    if math.prod(tree[1]) != len(tree[2]):
        message = "an array's items do not fit its shape"
        raise Unreadable(message)
    return np.empty(tuple(tree[1]), object)


def _fill_object_array(walk: Lifting, tree: dict[Any, Tree], value: Any) -> None:
    flat = value.reshape(-1)
    for index, item in enumerate(walk.items(tree[2])):
        flat[index] = item


def _lift_scalar(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    import numpy as np  # only where a scalar is decoded

    dtype = _read_dtype(walk, tree[1])
    if dtype.itemsize != len(tree[2]):
        message = "a scalar's bytes do not fit its type"
        raise Unreadable(message)
    return np.ndarray((), dtype, bytearray(tree[2]))[()]


def _lift_text(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    import numpy as np

    text = walk.lift(tree[1])
    return np.str_(text) if isinstance(text, str) else np.bytes_(text)


LOWERED: dict[str, Strategy] = {
    "ndarray": Strategy(_array),
    "numpy_scalar": Strategy(_scalar, late=True),
    "dtype": Strategy(_dtype, late=True),
}
LIFTED: dict[str, Lifter] = {
    "ndarray": Lifter(_lift_array),
    "object_array": Lifter(_make_object_array, _fill_object_array),
    "numpy_scalar": Lifter(_lift_scalar),
    "numpy_text": Lifter(_lift_text),
    "dtype": Lifter(lambda walk, tree: _read_dtype(walk, tree[1])),
}
