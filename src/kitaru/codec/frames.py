"""Tables of pandas and pyarrow, as Arrow streams where Arrow gives back exactly what was put in.

Whether it does is verified on every value, because it depends on the contents: an object column of
mixed types, an index with a frequency, or attributes do not survive. What does not is pickled.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable
from typing import Any

from kitaru.codec.lift import Lifter, Lifting
from kitaru.codec.lower import Lowering, Strategy
from kitaru.codec.tree import TAG, Tree, Unreadable

_COLUMN = "value"  # the name that a Series goes by inside its stream
_NAMED_COLUMNS = 50


def kind_of(cls: type) -> str | None:
    """Return the kind of a table type, or None for any other."""
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if cls is pandas.DataFrame:
            return "data_frame"
        if cls is pandas.Series:
            return "series"
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is not None:
        if cls is pyarrow.Table:
            return "arrow_table"
        if cls is pyarrow.RecordBatch:
            return "arrow_batch"
    return None


def _data_frame(walk: Lowering, value: Any) -> Tree:
    stream = _frame_to_stream(value, lambda rebuilt: _same_frame(rebuilt, value))
    if stream is None:
        return walk.pickle(value)
    columns = [str(column) for column in value.columns[:_NAMED_COLUMNS]]
    return _node("data_frame", stream, list(value.shape), columns)


def _series(walk: Lowering, value: Any) -> Tree:
    stream = _frame_to_stream(
        value.to_frame(_COLUMN),
        lambda rebuilt: _same_series(_only_column(rebuilt, value.name), value),
    )
    if stream is None:
        return walk.pickle(value)
    tree = _node("series", stream, [len(value)], [str(value.name)])
    tree[5] = walk.lower(value.name)
    return tree


def _arrow_table(walk: Lowering, value: Any) -> Tree:
    return _arrow(walk, "arrow_table", value, lambda table: table)


def _arrow_batch(walk: Lowering, value: Any) -> Tree:
    return _arrow(walk, "arrow_batch", value, _only_batch)


def _arrow(walk: Lowering, tag: str, value: Any, read: Callable[[Any], Any]) -> Tree:
    stream = _to_stream(value)
    rebuilt = read(_from_stream(stream))
    if not rebuilt.equals(value, check_metadata=True) or rebuilt.num_rows != value.num_rows:
        return walk.pickle(value)
    columns = [field.name for field in value.schema][:_NAMED_COLUMNS]
    return _node(tag, stream, list(value.shape), columns)


def _node(tag: str, stream: bytes, shape: list[int], columns: list[str]) -> dict[Any, Tree]:
    # Shape and columns are for `describe`, which reads no streams.
    return {TAG: tag, 1: stream, 2: zlib.crc32(stream), 3: shape, 4: columns}


def _frame_to_stream(frame: Any, is_same: Callable[[Any], bool]) -> bytes | None:
    try:
        pa = _pyarrow()
        stream = _to_stream(pa.Table.from_pandas(frame))
        return stream if is_same(_from_stream(stream).to_pandas()) else None
    except Exception:  # noqa: BLE001 - no Arrow here, or an extension of it that raises what it likes
        return None


def _pyarrow() -> Any:
    return importlib.import_module("pyarrow")  # untyped, and only for tables


def _to_stream(table: Any) -> bytes:
    pa = _pyarrow()

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return sink.getvalue().to_pybytes()


def _from_stream(stream: bytes) -> Any:
    pa = _pyarrow()

    with pa.ipc.open_stream(stream) as reader:
        return reader.read_all()


def _same_frame(left: Any, right: Any) -> bool:
    return (
        type(left) is type(right)
        and left.attrs == right.attrs
        and left.flags == right.flags
        and _same_index(left.columns, right.columns)
        and _same_index(left.index, right.index)
        and list(left.dtypes) == list(right.dtypes)
        and bool(left.equals(right))
        and all(
            _same_objects(left.iloc[:, position], right.iloc[:, position])
            for position in range(left.shape[1])
        )
    )


def _same_series(left: Any, right: Any) -> bool:
    return (
        type(left) is type(right)
        and left.attrs == right.attrs
        and left.flags == right.flags
        and _same_index(left.index, right.index)
        and left.dtype == right.dtype
        and bool(left.equals(right))
        and _same_objects(left, right)
    )


def _same_index(left: Any, right: Any) -> bool:
    return (
        type(left) is type(right)
        and list(left.names) == list(right.names)
        and bool(left.identical(right))
        and left.dtype == right.dtype
        and getattr(left, "freq", None) == getattr(right, "freq", None)
        and _same_objects(left, right)
        and (left.nlevels == 1 or all(map(_same_index, left.levels, right.levels)))
    )


def _same_objects(left: Any, right: Any) -> bool:
    """Whether elements are of the same types, which `equals` does not ask of objects."""
    if left.dtype != object or (getattr(left, "nlevels", 1) > 1 and hasattr(left, "levels")):
        return True
    return all(
        type(one) is type(other) and not isinstance(one, list | dict | set)
        for one, other in zip(left, right, strict=True)
    )


def _only_column(frame: Any, name: Any) -> Any:
    series = frame[_COLUMN]
    series.name = name
    return series


def _only_batch(table: Any) -> Any:
    batches = table.to_batches()
    if len(batches) == 1:
        return batches[0]
    pa = _pyarrow()

    return pa.RecordBatch.from_pylist([], schema=table.schema)


def _checked_stream(tree: dict[Any, Tree]) -> Any:
    if zlib.crc32(tree[1]) != tree[2]:
        message = "the bytes of a table are damaged"
        raise Unreadable(message)
    return _from_stream(tree[1])


def _lift_series(walk: Lifting, tree: dict[Any, Tree]) -> Any:
    return _only_column(_checked_stream(tree).to_pandas(), walk.lift(tree[5]))


LOWERED: dict[str, Strategy] = {
    "data_frame": Strategy(_data_frame),
    "series": Strategy(_series),
    "arrow_table": Strategy(_arrow_table, late=True),
    "arrow_batch": Strategy(_arrow_batch, late=True),
}
LIFTED: dict[str, Lifter] = {
    "data_frame": Lifter(lambda _, tree: _checked_stream(tree).to_pandas()),
    "series": Lifter(_lift_series),
    "arrow_table": Lifter(lambda _, tree: _checked_stream(tree)),
    "arrow_batch": Lifter(lambda _, tree: _only_batch(_checked_stream(tree))),
}
