"""Which settings there are, how each is read from text, and which values it may have.

Pure: the environment and the files are `kitaru.settings`' business.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlsplit

from kitaru.errors import KitaruUsageError
from kitaru.retention import read_rules

_WORDS = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_SECRET_PARAMETER = re.compile(
    r"(?i)([?&;][^=&;]*(?:key|token|secret|password|credential|auth|sig)[^=&;]*=)[^&;#\s]*"
)


def masked_url(url: str) -> str:
    """Return a URL that may be shown: its user, password and secret parameters are stars."""
    return _SECRET_PARAMETER.sub(r"\1***", _CREDENTIALS.sub("***@", url))


@dataclass(frozen=True, slots=True)
class Field:
    """How a setting is read from text, and which values it may have."""

    expected: str
    accepts: Callable[[object], bool]
    read: Callable[[str], object] = str
    in_files: bool = True


_STACKS = ("local",)
_STORES = ("sqlite", "postgresql", "http", "https")
_SERVERS = ("http", "https")
_FILES = ("config_dir", "ssl_ca_cert")
SECRETS = frozenset({"auth_token"})
"""Settings whose value is never shown."""


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_url(value: object) -> bool:
    return isinstance(value, str) and bool(re.match(r"[a-z][a-z0-9+.-]*://", value))


def _is_server_url(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        has_place = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is none, half an IPv6 address
        return False
    bare = not (parts.query or parts.fragment or parts.username or parts.password)
    return parts.scheme in _SERVERS and has_place and bare


def _is_token(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[\x21-\x7e]+", value))


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(minimum: int) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= minimum


def _is_span(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9


def _word(text: str) -> object:
    return _WORDS.get(text.lower(), text)


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _json(text: str) -> object:
    import json

    return json.loads(text)


_BOOL = Field("true or false", _is_bool, _word)
_SPAN = Field("a number of seconds above 0", _is_span, float)
FIELDS: dict[str, Field] = {
    "config_dir": Field("a folder", lambda value: isinstance(value, Path), Path, in_files=False),
    "store_url": Field("a URL like 'sqlite:///path/kitaru.db'", _is_url),
    "server_url": Field("a URL like 'https://kitaru.example.com'", _is_server_url),
    "auth_token": Field("a token: visible characters without spaces", _is_token),
    "verify_ssl": _BOOL,
    "ssl_ca_cert": Field("a file", lambda value: isinstance(value, Path), Path),
    "server_timeout_seconds": _SPAN,
    "artifact_store": Field("a URL like 'file:///path/blobs'", _is_url),
    "project": Field("a name", _is_text),
    "stack": Field("a name", _is_text),
    "cache": _BOOL,
    "retries": Field("a whole number, 0 or more", _is_whole(0), int),
    "allow_pickle": _BOOL,
    "max_workers": Field("a whole number, 1 or more", _is_whole(1), int),
    "capture_logs": _BOOL,
    "debug": _BOOL,
    "lease_seconds": _SPAN,
    "lease_renew_seconds": _SPAN,
    "attendant": _BOOL,
    "retention": Field("a list of rules like [{older_than = '30d'}]", _is_list, _json),
}


def checked(name: str, value: object, place: str, *, base: Path) -> object:
    """Return the value as the field keeps it, with relative paths taken from `base`."""
    if name not in FIELDS:
        hint = did_you_mean(name, tuple(FIELDS)) or f" Known settings: {', '.join(FIELDS)}."
        message = f"unknown setting `{name}`.{hint}"
        raise KitaruUsageError(message)
    wanted = FIELDS[name]
    if name in _FILES and isinstance(value, str) and value:
        value = Path(value)
    if not wanted.accepts(value):
        shown = masked_url(value) if isinstance(value, str) else value
        got = "something else" if name in SECRETS else f"{shown!r}"
        message = f"expected {place} to be {wanted.expected}, got: {got}"
        raise KitaruUsageError(message)
    if name == "server_url":
        return str(value).rstrip("/")
    if name == "store_url":
        check_store_kind(str(value).partition("://")[0])
    if name == "stack":
        check_stack(value, f" It is named by {place}.")
    if name == "retention":
        return read_rules(value, place)
    if isinstance(value, Path):
        return absolute(value, base)
    return float(cast("float", value)) if wanted is _SPAN else value


def check_stack(value: object, remark: str = "") -> str:
    """Return the name of a stack.

    Raises:
        KitaruUsageError: There is no such stack; `remark` may say where it was named.
    """
    if not isinstance(value, str) or value not in _STACKS:
        installed = ", ".join(map(repr, _STACKS))
        message = f"unknown stack {value!r}. Installed: {installed}.{remark}"
        raise KitaruUsageError(message)
    return value


def is_server(url: str) -> bool:
    """Return whether a store's URL, or its scheme, is that of a server."""
    return url.partition("://")[0] in _SERVERS


def check_store_kind(scheme: str) -> None:
    """Refuse the scheme of a store's URL, unless there are such stores.

    Raises:
        KitaruUsageError: There is no such kind.
    """
    if scheme in {"sqlite", "postgresql", "postgres"} or is_server(scheme):
        return
    import difflib

    similar = difflib.get_close_matches(scheme, _STORES, n=1)
    hint = f", did you mean {similar[0]!r}?" if similar else "."
    message = f"unknown kind of store {scheme!r}{hint} Known: {', '.join(map(repr, _STORES))}."
    raise KitaruUsageError(message)


def sqlite_url(file: Path) -> str:
    """Return the store URL of a database file."""
    return "sqlite://" + _url_path(file)


def file_url(folder: Path) -> str:
    """Return the artifact store URL of a folder."""
    return "file://" + _url_path(folder)


def _url_path(path: Path) -> str:
    text = quote(path.as_posix(), safe="/:")
    return text if text.startswith("/") else f"/{text}"  # a drive letter comes after a slash


def absolute(path: str | Path, base: Path) -> Path:
    """Return a path with `~` expanded and, if it is relative, taken from `base`."""
    return (base / Path(path).expanduser()).absolute()


def did_you_mean(name: str, known: tuple[str, ...]) -> str:
    """Return ` Did you mean …?` if a known name is close, else an empty text."""
    import difflib

    renamed = {"runner": "stack", "KITARU_RUNNER": "KITARU_STACK"}
    close = [renamed[name]] if name in renamed else difflib.get_close_matches(name, known, n=1)
    return f" Did you mean `{close[0]}`?" if close else ""
