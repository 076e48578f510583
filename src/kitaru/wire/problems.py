"""Errors on their way over HTTP: `application/problem+json` (RFC 9457) there, the same exception here.

The `code` decides which class it is, never the text. A code that this version does not know becomes the
nearest class by the response's status.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kitaru.errors import FailureOrigin, KitaruBackendError, KitaruError, KitaruUsageError

PROBLEM_TYPE = "application/problem+json"

Scalar = str | int | float | bool | None


def _classes(root: type[KitaruError]) -> Iterator[type[KitaruError]]:
    yield root
    for below in root.__subclasses__():
        yield from _classes(below)


CLASSES: dict[str, type[KitaruError]] = {found.code: found for found in _classes(KitaruError)}
"""The class of each code."""

# What their constructors set. An error that was rebuilt has all of them, whatever the other side has sent.
_ATTRIBUTES: dict[str, dict[str, Scalar]] = {
    "serialization": {"path": ""},
    "timeout": {
        "exec_id": "",
        "timeout_seconds": 0.0,
        "elapsed_seconds": 0.0,
        "last_status": None,
        "call_id": None,
    },
}
_EXECUTION: dict[str, Scalar] = {"exec_id": None, "status": None, "failure_origin": "unknown"}


def attributes_of(error: KitaruError) -> dict[str, Scalar]:
    """Return what an error says beside its message, as JSON values."""
    return {
        name: value
        for name, value in vars(error).items()
        if name in _expected(type(error)) and isinstance(value, str | int | float | bool | None)
    }


def rebuild(
    code: str, message: str, attributes: Mapping[str, object], *, status: int
) -> KitaruError:
    """Return the exception that a problem stands for.

    Args:
        code: The problem's code.
        message: Its detail.
        attributes: Everything else that it says.
        status: Of the response, which decides where the code is unknown here.
    """
    cls = CLASSES.get(code)
    if cls is None:
        cls = KitaruUsageError if 400 <= status < 500 else KitaruBackendError
    state: dict[str, object] = {"message": message}
    for name, default in _expected(cls).items():
        value = attributes.get(name, default)
        state[name] = _origin(value) if name == "failure_origin" else value
    error = cls.__new__(cls)
    error.args = (message,)
    error.__dict__.update(state)
    return error


def _expected(cls: type[KitaruError]) -> dict[str, Scalar]:
    if any(base.__dict__.get("code") == "execution" for base in cls.__mro__):
        return _EXECUTION
    return _ATTRIBUTES.get(cls.code, {})


def _origin(value: object) -> FailureOrigin:
    try:
        return FailureOrigin(str(value))
    except ValueError:
        return FailureOrigin.UNKNOWN
