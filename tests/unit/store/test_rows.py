from __future__ import annotations

import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from kitaru.errors import FailureOrigin
from kitaru.model import CallKind, CallRecord, CallStatus, FailureRecord, StoredValue
from kitaru.store.rows import call_from_row, call_to_row, clean

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
BYTES = st.binary(max_size=50)
MOMENTS = st.integers(0, 2**62)


@st.composite
def values(draw: st.DrawFn) -> StoredValue:
    data = draw(st.none() | BYTES)
    digest = None if data is not None else draw(WORDS)
    return StoredValue(draw(WORDS), data, digest, draw(MOMENTS))


FAILURES = st.builds(
    FailureRecord, exception_type=WORDS, message=WORDS, traceback=WORDS,
    origin=st.sampled_from(FailureOrigin), exception_codec=WORDS, exception=BYTES,
    positions=st.lists(WORDS, max_size=3).map(tuple),
)  # fmt: skip

CALLS = st.builds(
    CallRecord, position=WORDS, call_id=WORDS, name=WORDS, kind=st.sampled_from(CallKind),
    type=st.none() | WORDS, fingerprint=BYTES, ordered=st.booleans(),
    status=st.sampled_from(CallStatus), inputs=st.none() | values(), output=st.none() | values(),
    failure=st.none() | FAILURES, upstreams=st.lists(WORDS, max_size=3).map(tuple),
    cache_key=st.none() | BYTES, cached_from=st.none() | WORDS, epoch=MOMENTS, started_at=MOMENTS,
    ended_at=st.none() | MOMENTS,
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(CALLS)
def test_call_survives_the_way_through_sqlite(call: CallRecord) -> None:
    connection = sqlite3.connect(":memory:")
    row = call_to_row("x", call)

    marks = ", ".join("?" * len(row))
    [stored] = connection.execute(f"SELECT {marks}", row).fetchall()
    connection.close()

    assert call_from_row(stored[1:]) == call


@settings(max_examples=30, deadline=None)
@given(CALLS)
def test_rows_hold_only_what_drivers_take_without_a_detour(call: CallRecord) -> None:
    plain = {str, int, bytes, type(None)}

    assert {type(column) for column in call_to_row("x", call)} <= plain


@given(st.text())
def test_cleaned_text_can_be_kept_and_good_text_stays_as_it_is(text: str) -> None:
    cleaned = clean(text)

    assert isinstance(cleaned.encode(), bytes)
    assert len(cleaned) == len(text)
    assert "\0" not in cleaned
    if all(not "\ud800" <= character <= "\udfff" and character != "\0" for character in text):
        assert cleaned == text
