"""Which server this user's executions are kept on: asking it, and writing that down.

What is written stands in one marked block of the user's own `config.toml`, which nobody else may read. The
rest of the file stays as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from kitaru import settings
from kitaru.errors import KitaruBackendError, KitaruNotFoundError, KitaruUsageError
from kitaru.settings import Settings
from kitaru.wire.connection import Patience, ServerConnection

_STATUS = "/api/v1/status"
_WAY_OUT = "Nothing was changed. Check its URL, that it runs, and that this machine reaches it."
# Somebody waits for it; a server that is starting has a moment.
_PATIENCE = Patience(3.0, 10.0)
_GLANCE = Patience(0.0, 3.0)

_BEGIN = "# Written by `kitaru login`; `kitaru logout` removes it."
_END = "# End of what `kitaru login` has written."
_BLOCK = re.compile(rf"^{re.escape(_BEGIN)}\n.*?^{re.escape(_END)}\n?", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"^\s*\[", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """What a server says of itself.

    Attributes:
        url: Where it is reached.
        version: Of Kitaru there.
        project: Which project it means where none is named.
        store: Where it keeps executions, without credentials.
    """

    url: str
    version: str
    project: str
    store: str


class _Said(msgspec.Struct):
    version: str
    project: str
    store: str


def ask_server(present: Settings, *, at_a_glance: bool = False) -> ServerFacts:
    """Return what the server of some settings says of itself.

    Args:
        present: They name it, and say who asks.
        at_a_glance: Give up at once if it does not answer.

    Raises:
        KitaruBackendError: It cannot be reached, or is no server of Kitaru's.
        KitaruAuthError: It does not know the token.
        KitaruFeatureNotAvailableError: It speaks another version.
    """
    url = present.store_url
    connection = ServerConnection(url, present.access)
    try:
        answer = connection.ask(
            "GET",
            _STATUS,
            patience=_GLANCE if at_a_glance else _PATIENCE,
            what="status",
            way_out=_WAY_OUT,
        )
        connection.raise_for_problem(answer)
        said = msgspec.json.decode(answer.body, type=_Said)
    except (KitaruNotFoundError, msgspec.MsgspecError) as error:
        message = (
            f"what answers at {settings.masked_url(url)!r} is no server of Kitaru's: it has no"
            f" {_STATUS!r}. Is the URL right?"
        )
        raise KitaruBackendError(message) from error
    finally:
        connection.close()
    return ServerFacts(url=url, version=said.version, project=said.project, store=said.store)


def config_file() -> Path:
    """Return the user's own settings file."""
    return settings.user_dir() / settings.CONFIG_FILE


def save_login(values: Mapping[str, str | bool]) -> Path:
    """Write settings into the user's own file, in place of an earlier login's; return the file.

    Keys of these names elsewhere in the file's beginning are removed: they would be said twice.

    Durability: the file is replaced as a whole, and readable by its owner only.

    Raises:
        KitaruUsageError: The file cannot be edited; nothing is changed.
    """
    file = config_file()
    before = _without_login(_read(file))
    head, tables = _parted(before)
    key = re.compile(rf"^\s*(?:{'|'.join(map(re.escape, values))})\s*=.*\n?", re.MULTILINE)
    lines = [f"{name} = {_literal(value)}" for name, value in values.items()]
    block = "\n".join([_BEGIN, *lines, _END, ""])
    _write(file, block + key.sub("", head) + tables, {**_table(file, before), **values})
    return file


def forget_login() -> str | None:
    """Remove what a login has written; return which server it named, if there was one.

    Durability: as `save_login`.

    Raises:
        KitaruUsageError: The file cannot be edited; nothing is changed.
    """
    file = config_file()
    before = _read(file)
    after = _without_login(before)
    if after == before:
        return None
    found = _table(file, before)
    _write(file, after, None)
    return cast("str | None", found.get("server_url"))


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        message = f"the settings file '{file}' cannot be read: {error}."
        raise KitaruUsageError(message) from error


def _without_login(text: str) -> str:
    return _BLOCK.sub("", text)


def _parted(text: str) -> tuple[str, str]:
    """Return what stands before the first table, and the rest."""
    found = _TABLE.search(text)
    return (text, "") if found is None else (text[: found.start()], text[found.start() :])


def _table(file: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"the settings file '{file}' is not valid TOML: {error}. Mend or remove it first."
        raise KitaruUsageError(message) from error


def _literal(value: str | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write(file: Path, text: str, expected: Mapping[str, object] | None) -> None:
    # A text that was edited line by line is believed only if it says what it should.
    if expected is not None and _loaded(text) != expected:
        message = (
            f"the settings file '{file}' is too intricate to be edited. Write there by hand:"
            f" server_url, and auth_token if the server has one."
        )
        raise KitaruUsageError(message)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".config-", suffix=".toml")
        try:
            with open(handle, "w", encoding="utf-8") as written:  # noqa: PTH123 - a descriptor
                written.write(text)
                written.flush()
                os.fsync(written.fileno())
            Path(name).replace(file)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        message = f"the settings file '{file}' cannot be written: {error.strerror}."
        raise KitaruUsageError(message) from error


def _loaded(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
