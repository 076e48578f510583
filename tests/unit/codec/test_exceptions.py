from __future__ import annotations

import socket
from typing import Any

import pytest

from kitaru import codec
from kitaru.errors import KitaruError, KitaruSerializationError, KitaruTimeoutError


class FussyError(Exception):
    def __init__(self, code: int, *, detail: Any) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.detail = detail


class SlottedError(Exception):
    __slots__ = ("part",)


class Batch(ExceptionGroup[Exception]):
    def __new__(cls, errors: Any, label: Any) -> Batch:  # pyright: ignore[reportInconsistentConstructor] - the point
        made = super().__new__(cls, label, errors)
        made.label = label
        return made

    label: str


make_batch: Any = Batch  # whose parameters are not those of its base


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - raised in the line above
        return caught


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad", 3),
        KeyError("k"),
        FileNotFoundError(2, "no such file", "name"),
        OSError("only text"),
        OSError(2, "from", "a", None, "b"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "reason"),
        SyntaxError("m", ("file.py", 1, 2, "text")),
        StopIteration([1]),
        SystemExit(3),
        KeyboardInterrupt(),
        ImportError("m", name="n", path="p"),
        AttributeError("m", name="n", obj=object()),
        NameError("m", name="n"),
        KitaruTimeoutError("exec", 1.0, 2.0),
        FussyError(5, detail=[1]),
        ExceptionGroup("g", [ValueError(1), ExceptionGroup("h", [KeyError(2)])]),
        BaseExceptionGroup("g", [KeyboardInterrupt()]),
        make_batch([ValueError(1)], "label"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_exception_is_rebuilt_without_its_constructor(error: BaseException) -> None:
    encoded = codec.encode_exception(raised(error), allow_pickle=False)

    decoded = codec.decode_exception(encoded)

    assert decoded is not None
    assert type(decoded) is type(error)
    assert str(decoded) == str(error)
    assert repr(decoded) == repr(error)
    assert repr(vars(decoded)) == repr(vars(error))
    assert decoded.__traceback__ is None
    codec.preview(encoded.data)


def test_built_in_attributes_survive() -> None:
    decoded = codec.decode(codec.encode(FileNotFoundError(2, "text", "name")))

    assert (decoded.errno, decoded.strerror, decoded.filename) == (2, "text", "name")


def test_causes_contexts_notes_and_members_survive() -> None:
    error = FussyError(1, detail=None)
    error.__cause__ = ValueError("cause")
    error.__context__ = KeyError("context")
    error.add_note("note")
    group = ExceptionGroup("g", [error])
    group.__context__ = error

    decoded = codec.decode_exception(codec.encode_exception(group))

    assert isinstance(decoded, ExceptionGroup)
    member = decoded.exceptions[0]
    assert repr(member.__cause__) == "ValueError('cause')"
    assert repr(member.__context__) == "KeyError('context')"
    assert member.__suppress_context__
    assert member.__notes__ == ["note"]
    assert decoded.__context__ is member


def test_exception_that_refers_to_itself_survives() -> None:
    error = FussyError(1, detail=None)
    error.detail = {"me": error}

    decoded = codec.decode_exception(codec.encode_exception(error))

    assert isinstance(decoded, FussyError)
    assert decoded.detail["me"] is decoded


def test_slots_of_exceptions_survive() -> None:
    error = SlottedError("a")
    error.part = [None]

    decoded = codec.decode(codec.encode(error))

    assert decoded.part == [None]


def test_what_cannot_be_kept_is_left_out_of_a_recorded_exception() -> None:
    with socket.socket() as connection:
        error = FussyError(1, detail={"deep": [connection]})
        error.args = ("text", connection)
        error.__cause__ = ValueError(connection)

        decoded = codec.decode_exception(codec.encode_exception(error))

        assert isinstance(decoded, FussyError)
        assert vars(decoded) == {"code": 1}
        assert decoded.args == ("text", "<socket.socket that could not be kept>")
        assert decoded.__cause__ is not None
        with pytest.raises(KitaruSerializationError) as caught:
            codec.encode(error, root="result")
        assert caught.value.path.startswith("result.")


def test_exception_of_a_local_class_is_rebuilt_or_at_least_described() -> None:
    class LocalError(Exception):
        pass

    rebuilt = codec.decode_exception(codec.encode_exception(LocalError("text")))
    described = codec.encode_exception(LocalError("text"), allow_pickle=False)

    assert isinstance(rebuilt, LocalError)
    assert codec.decode_exception(described) is None
    assert codec.describe(described.data)["args"] == ["text"]


def test_lost_cause_does_not_lose_the_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ValueError("kept")
    error.__cause__ = FussyError(1, detail=None)
    encoded = codec.encode_exception(error)
    monkeypatch.delitem(globals(), "FussyError")

    decoded = codec.decode_exception(encoded)

    assert repr(decoded) == "ValueError('kept')"
    assert decoded is not None
    assert decoded.__cause__ is None


def test_every_kitaru_error_survives() -> None:
    pending = [KitaruError]
    while pending:
        cls = pending.pop()
        pending.extend(cls.__subclasses__())
        error = cls.__new__(cls)
        error.args, error.message = ("text",), "text"

        decoded = codec.decode_exception(codec.encode_exception(error, allow_pickle=False))

        assert type(decoded) is cls
        assert str(decoded) == "text"
