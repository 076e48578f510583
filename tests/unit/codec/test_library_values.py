from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kitaru import codec
from kitaru.errors import KitaruSerializationError

STRUCTURED = np.dtype([("a", "i4"), ("b", ">f8", (2,)), ("c", [("d", "U3")])])

ARRAYS = [
    np.arange(6).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    np.arange(10)[::-2],
    np.array(3.5),
    np.zeros((0, 3)),
    np.zeros((3, 0), order="F"),
    np.array([True, False]),
    np.array(["a", "bcd"]),
    np.array([b"a", b"b\x00c"]),
    np.array([1, 2], ">i4"),
    np.array([1], np.longlong),
    np.array([1.5, np.nan], np.float16),
    np.array([1 + 2j]),
    np.array(["2020-01-01", "NaT"], "M8[ns]"),
    np.array([3], "m8[h]"),
    np.zeros(2, STRUCTURED),
    np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")])),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_array_round_trips_exactly(array: Any) -> None:
    encoded = codec.encode([array, array])

    decoded, again = codec.decode(encoded)

    assert encoded.codec == "kitaru/1"
    assert decoded is again
    assert decoded.dtype == array.dtype
    assert decoded.dtype.char == array.dtype.char
    assert decoded.shape == array.shape
    assert decoded.tobytes() == array.tobytes()
    if array.flags.forc:
        assert decoded.flags.f_contiguous == array.flags.f_contiguous
    assert decoded.flags.writeable
    codec.preview(encoded.data)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(1, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        np.array(["a", "bc"], np.dtypes.StringDType()),
        np.ma.masked_array([1, 2], [True, False]),
        np.zeros(2, np.dtype([("a", object)])),
    ],
    ids=["aligned", "strings", "masked", "structured objects"],
)
def test_unusual_array_is_pickled(array: Any) -> None:
    encoded = codec.encode(array)

    decoded = codec.decode(encoded)

    assert encoded.codec == "kitaru/1+pickle"
    assert type(decoded) is type(array)
    assert decoded.dtype == array.dtype
    assert repr(decoded) == repr(array)


def test_read_only_array_stays_read_only() -> None:
    array = np.arange(3)
    array.flags.writeable = False

    assert not codec.decode(codec.encode(array)).flags.writeable


def test_object_array_keeps_items_and_sharing() -> None:
    shared = [1]
    array = np.array([[shared, None], ["a", shared]], object)

    decoded = codec.decode(codec.encode(array))

    assert decoded.tolist() == [[[1], None], ["a", [1]]]
    assert decoded[0, 0] is decoded[1, 1]


@pytest.mark.parametrize(
    "scalar",
    [
        np.float64(1.5),
        np.float16("nan"),
        np.longdouble("0.1"),
        np.int8(-3),
        np.longlong(3),
        np.uint64(2**64 - 1),
        np.bool_(True),
        np.complex64(1j),
        np.datetime64("2020-01-01T00:00", "m"),
        np.timedelta64("NaT", "s"),
        np.str_("a\x00"),
        np.bytes_(b"a\x00"),
        np.ones((), STRUCTURED)[()],
        np.dtype("<M8[us]"),
        STRUCTURED,
    ],
    ids=lambda scalar: type(scalar).__name__,
)
def test_scalar_round_trips_exactly(scalar: Any) -> None:
    encoded = codec.encode({"k": scalar})

    decoded = codec.decode(encoded)["k"]

    assert encoded.codec == "kitaru/1"
    assert type(decoded) is type(scalar)
    assert repr(decoded) == repr(scalar)
    if isinstance(scalar, str | bytes):
        assert len(decoded) == len(scalar)


FRAME = pd.DataFrame(
    {
        "number": [1, 2],
        "text": ["x", None],
        "moment": pd.to_datetime(["2020", "2021"]).tz_localize("Europe/Berlin"),
        "kind": pd.Categorical(["u", "v"], ordered=True),
        "whole": pd.array([1, None], "Int64"),
    }
)
ODD_FRAME = FRAME.copy()
ODD_FRAME.attrs["source"] = {"nested": [1]}


@pytest.mark.parametrize(
    "table",
    [
        FRAME,
        FRAME.set_index(["number", "text"]),
        FRAME[["number"]].set_axis([7], axis=1),
        pd.DataFrame({"a": [1.0, np.nan]}, index=pd.RangeIndex(5, 9, 2)),
        ODD_FRAME,
        pd.DataFrame(),
        pd.DataFrame({"a": [1, "mixed", None]}),
        pd.DataFrame({"a": [[1], [2, 3]]}),
        pd.DataFrame([[1, 2]], columns=["same", "same"]),
        FRAME["text"],
        pd.Series(FRAME["moment"], name=("tuple", "name")),
        pd.Series([1, "a", None]),
        pd.Series([1.5, 2.5], index=pd.date_range("2020", periods=2, freq="D")),
        pd.date_range("2020", periods=3),
        pd.MultiIndex.from_product([[1, 2], ["a"]]),
        pd.RangeIndex(3),
    ],
    ids=lambda table: f"{type(table).__name__}{table.shape}",
)
def test_pandas_value_round_trips_exactly(table: Any) -> None:
    encoded = codec.encode(table)
    decoded = codec.decode(encoded)

    if isinstance(table, pd.DataFrame):
        pd.testing.assert_frame_equal(decoded, table, check_freq=True)
        assert decoded.attrs == table.attrs
        objects = [
            column for column in range(table.shape[1]) if table.iloc[:, column].dtype == object
        ]
        for column in objects:
            assert list(map(type, decoded.iloc[:, column])) == list(
                map(type, table.iloc[:, column])
            )
    elif isinstance(table, pd.Series):
        pd.testing.assert_series_equal(decoded, table, check_freq=True)
    else:
        pd.testing.assert_index_equal(decoded, table, exact=True)
    codec.preview(encoded.data)
    assert codec.encode_arguments({"t": table}) == codec.encode_arguments({"t": table.copy()})


def test_ordinary_frame_needs_no_pickle() -> None:
    assert codec.encode(FRAME).codec == "kitaru/1"


ARROW = pa.table({"a": [1, 2], "b": ["x", None]}).replace_schema_metadata({"k": "v"})


@pytest.mark.parametrize(
    "table",
    [
        ARROW,
        ARROW.slice(0, 0),
        ARROW.to_batches()[0],
        ARROW.slice(0, 0).combine_chunks().to_batches(),
    ],
)
def test_arrow_value_round_trips_exactly(table: Any) -> None:
    encoded = codec.encode(table)
    decoded = codec.decode(encoded)

    assert encoded.codec == "kitaru/1"
    assert type(decoded) is type(table)
    assert decoded == table


def test_damaged_table_is_not_handed_to_arrow() -> None:
    encoded = codec.encode(ARROW)
    damaged = encoded.data.replace(b"ARROW", b"WORRA").replace(b"\x10", b"\x11")

    with pytest.raises(KitaruSerializationError, match="damaged"):
        codec.decode(codec.Encoded(encoded.codec, damaged))


def test_array_whose_bytes_do_not_fit_is_refused() -> None:
    encoded = codec.encode(np.arange(3))
    smaller = encoded.data.replace(b"\x02\x91\x03", b"\x02\x91\x02")

    with pytest.raises(KitaruSerializationError, match="do not fit"):
        codec.decode(codec.Encoded(encoded.codec, smaller))
