"""What a process of Kitaru is told from outside, as one frozen object.

A value comes from the first of these that has one: an argument, `kitaru.configure()`, the
environment, `[tool.kitaru]` in the nearest pyproject.toml, the nearest `.kitaru/config.toml`, the
user's `config.toml`, the default. Only this module reads the environment; everything else is handed
a `Settings`.

Settings are read at their first use and again when a `KITARU_*` variable, the working directory or
`configure()` changes; an edited file counts from the next process on.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import cast

from kitaru.access import ServerAccess
from kitaru.errors import KitaruError, KitaruUsageError
from kitaru.retention import RetentionRule, rules_to_json
from kitaru.settings_rules import (
    FIELDS,
    SECRETS,
    absolute,
    checked,
    did_you_mean,
    file_url,
    is_server,
    masked_url,
    sqlite_url,
)

PROJECT_FOLDER = ".kitaru"
CONFIG_FILE = "config.toml"
_PREFIX = "KITARU_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this process of Kitaru works; `docs/settings.md` explains every field.

    Attributes:
        config_dir: Folder of the embedded store and of the user's or project's configuration.
        store_url: Where executions are kept.
        artifact_store: Where large values are kept.
        project: Which project executions belong to.
        server_url: The server that keeps executions; `store_url` follows it, unless it is set as well.
        auth_token: Who asks that server.
        verify_ssl: Whether a server that cannot prove its name is refused.
        ssl_ca_cert: A file of certificates to trust instead of the system's.
        server_timeout_seconds: How long one request to the server may take.
        stack: Where flows run.
        cache: Whether results are reused across executions, where a flow does not say.
        retries: How often a failed flow is tried again, where it does not say.
        allow_pickle: Whether values without a better codec may be pickled.
        max_workers: Threads that an execution's submitted calls share.
        capture_logs: Whether output and log records inside runs are stored.
        debug: Whether command-line errors come with a traceback.
        lease_seconds: How long a silent runner keeps its execution.
        lease_renew_seconds: How often a runner says that it is alive.
        attendant: Whether processes in which flows run look after the other executions of their store.
        retention: Which finished executions may go; none, if there is no rule.
        sources: For each field, where its value came from, in words.
    """

    config_dir: Path
    # May hold a password; `masked_url` shows it.
    store_url: str = field(repr=False)
    artifact_store: str = field(repr=False)
    project: str = "default"
    server_url: str | None = None
    auth_token: str | None = field(default=None, repr=False)
    verify_ssl: bool = True
    ssl_ca_cert: Path | None = None
    server_timeout_seconds: float = 30.0
    stack: str = "local"
    cache: bool | None = None
    retries: int | None = None
    allow_pickle: bool = True
    max_workers: int = 32
    capture_logs: bool = True
    debug: bool = False
    lease_seconds: float = 8.0  # three missed renewals before anyone may reap
    lease_renew_seconds: float = 2.0
    attendant: bool = True
    retention: tuple[RetentionRule, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict[str, str], repr=False, compare=False)

    def having(self, **arguments: object) -> Settings:
        """Return these settings with some given by an argument; `None` leaves a field as it is.

        Raises:
            KitaruUsageError: An argument is unknown or its value is not acceptable.
        """
        given: dict[str, object] = {
            name: checked(name, value, f"`{name}`", base=_folder())
            for name, value in arguments.items()
            if value is not None
        }
        sources = {**self.sources, **dict.fromkeys(given, "argument")}
        if "store_url" in given and "artifact_store" not in given and is_server(self.store_url):
            given["artifact_store"] = _large_values_of(str(given["store_url"]), self.config_dir)
        elif "server_url" in given:
            found = {"store_url": given["server_url"], "artifact_store": given["server_url"]}
            sources.update(dict.fromkeys(found.keys() - given.keys(), "argument"))
            given = {**found, **given}
            # Whoever names another server in code does not mean to hand it what a file has for the first.
            is_filed = self.sources.get("auth_token") not in _SENT_ANYWHERE
            if given["server_url"] != self.server_url and is_filed:
                given.setdefault("auth_token", None)
        # The values were checked against the fields' own types above.
        return replace(self, **given, sources=sources)

    @property
    def access(self) -> ServerAccess:
        """How the server is reached, for whoever opens the store or the large values."""
        return ServerAccess(
            auth_token=self.auth_token,
            verify_ssl=self.verify_ssl,
            ssl_ca_cert=self.ssl_ca_cert,
            timeout_seconds=self.server_timeout_seconds,
        )


VARIABLES: dict[str, str] = {
    name: "KITARU_CONFIG_PATH" if name == "config_dir" else _PREFIX + name.upper()
    for name in FIELDS
}
"""For each setting, its environment variable."""
_VARIABLE_NAMES = tuple(VARIABLES.values())


_SENT_ANYWHERE = frozenset({"configure()", VARIABLES["auth_token"], "argument"})
"""Sources whose token is for any server; one from a file is for the server that this file names."""


class _State:
    """What `configure()` has set, and the settings as they were last built."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.overrides: dict[str, object] = {}
        self.version = 0
        self.built: tuple[tuple[object, ...], Settings] | None = None


_state = _State()


def current() -> Settings:
    """Return the settings that hold now; cheap while nothing has changed.

    Raises:
        KitaruUsageError: A variable, a file or `configure()` holds a value that is not acceptable.
    """
    get = os.environ.get
    key = (_state.version, _folder_name(), *[get(name) for name in _VARIABLE_NAMES])
    built = _state.built
    if built is None or built[0] != key:
        built = (key, _build())
        _state.built = built
    return built[1]


def override(**values: object) -> Settings:
    """Set fields for this process, above the environment and files; `None` takes one back.

    Nothing is changed if one value is not acceptable.

    Raises:
        KitaruUsageError: A field is unknown or its value is not acceptable.
        KitaruFeatureNotAvailableError: This version has no such store.
    """
    given = {
        name: value
        if value is None and name in FIELDS
        else checked(name, value, place, base=_folder())
        for name, value in values.items()
        for place in [f"`configure({name}=…)`"]
    }
    with _state.lock:
        before = dict(_state.overrides)
        merged = {**before, **given}
        _set_overrides({name: value for name, value in merged.items() if value is not None})
        try:
            return current()
        except KitaruError:
            _set_overrides(before)
            raise


def _set_overrides(overrides: dict[str, object]) -> None:
    _state.overrides = overrides
    _state.version += 1


def overrides() -> Mapping[str, object]:
    """Return what `override` has set."""
    return dict(_state.overrides)


def forget() -> None:
    """Drop what `override` has set and what was read from files; the next use reads them again."""
    with _state.lock:
        _set_overrides({})


def reread() -> Settings:
    """Return the settings after reading the files again."""
    _state.built = None
    return current()


def environment() -> dict[str, str]:
    """Return the `KITARU_*` variables that have a value, fit to be shown."""
    secret = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|AUTH")
    return {
        name: "***" if secret.search(name) else masked_url(value)
        for name, value in sorted(os.environ.items())
        if name.startswith(_PREFIX) and value.strip()
    }


def shown(name: str, value: object) -> object:
    """Return a setting's value fit to be shown: stars for a secret, and in URLs for what is one."""
    if value is not None and name in SECRETS:
        return "***"
    return masked_url(value) if isinstance(value, str) else value


def environment_of(given: Settings) -> dict[str, str]:
    """Return the environment in which another process has these settings, with their secrets.

    Whatever came from `configure()` or an argument is said there by a variable. Project files say the rest.
    """
    found = dict(os.environ)
    for name, variable in VARIABLES.items():
        value: object = getattr(given, name)
        if value is not None and given.sources.get(name) != "default":
            found[variable] = _text_of(value)
    # Where it is by default depends on the folder that the other process is in.
    for name in ("config_dir", "store_url", "artifact_store"):
        found[VARIABLES[name]] = str(getattr(given, name))
    return found


def _text_of(value: object) -> str:
    if isinstance(value, tuple):
        return rules_to_json(cast("tuple[RetentionRule, ...]", value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def unknown_variables() -> dict[str, str]:
    """Return `KITARU_*` variables that mean nothing, each with a hint or an empty text.

    `KITARU_TEST_*` is left to tests.
    """
    return {
        name: did_you_mean(name, _VARIABLE_NAMES)
        for name in sorted(os.environ)
        if name.startswith(_PREFIX)
        and name not in _VARIABLE_NAMES
        and not name.startswith("KITARU_TEST_")
    }


def find_project() -> Path | None:
    """Return the nearest `.kitaru` folder upward that `kitaru init` made, or None."""
    marker = _nearest(f"{PROJECT_FOLDER}/{CONFIG_FILE}")
    return None if marker is None else marker.parent


def user_dir() -> Path:
    """Return the folder of the user's own configuration."""
    given = (os.environ.get(VARIABLES["config_dir"]) or "").strip()
    if given:
        return absolute(given, _folder())
    import platformdirs

    return Path(platformdirs.user_data_dir("kitaru", appauthor=False))


def _build() -> Settings:
    layers = [
        ({**_state.overrides}, dict.fromkeys(_state.overrides, "configure()")),
        _environment_layer(),
        *_file_layers(),
    ]
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for layer, layer_sources in reversed(layers):
        if "store_url" in layer and values.get("artifact_store") == values.get("store_url"):
            values.pop("artifact_store", None)  # it came with a server that is not asked
        _follow_server(layer, layer_sources)
        values.update(layer)
        sources.update(layer_sources)
    _keep_token(layers, values, sources)
    if "config_dir" not in values:
        project = find_project()
        values["config_dir"] = user_dir() if project is None else project
        sources["config_dir"] = "default" if project is None else "kitaru init"
    folder = cast("Path", values["config_dir"])
    values.setdefault("store_url", sqlite_url(folder / "kitaru.db"))
    values.setdefault("artifact_store", _large_values_of(str(values["store_url"]), folder))
    sources = {
        name: sources.get(name, "default") if name in values else "default" for name in FIELDS
    }
    built = Settings(**values, sources=sources)  # pyright: ignore[reportArgumentType] - every value was checked by its field
    if built.lease_renew_seconds >= built.lease_seconds:
        message = (
            f"expected `lease_renew_seconds` to be below `lease_seconds` ({built.lease_seconds:g},"
            f" from {sources['lease_seconds']}), got: {built.lease_renew_seconds:g} (from"
            f" {sources['lease_renew_seconds']})"
        )
        raise KitaruUsageError(message)
    return built


_Layer = tuple[dict[str, object], dict[str, str]]


def _large_values_of(store_url: str, folder: Path) -> str:
    """Return where large values are kept if nothing else is said: beside the store."""
    return store_url if is_server(store_url) else file_url(folder / "blobs")


def _follow_server(layer: dict[str, object], sources: dict[str, str]) -> None:
    """Let a layer that names a server, and no store, mean that server's store."""
    if "server_url" in layer and "store_url" not in layer:
        for name in ("store_url", "artifact_store"):
            if name not in layer:
                layer[name], sources[name] = layer["server_url"], sources["server_url"]


def _keep_token(
    layers: Sequence[_Layer], values: dict[str, object], sources: dict[str, str]
) -> None:
    """Drop a token that a file has for another server than the one that is asked."""
    if "auth_token" not in values or sources["auth_token"] in _SENT_ANYWHERE:
        return
    owner = next(layer for layer, _ in layers if "auth_token" in layer)
    asked = str(values.get("store_url")).rstrip("/")
    if asked not in {owner.get("server_url"), owner.get("store_url")}:
        del values["auth_token"], sources["auth_token"]


def _environment_layer() -> _Layer:
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    base = _folder()
    for name, variable in VARIABLES.items():
        text = (os.environ.get(variable) or "").strip()
        if not text:  # a blank variable counts as unset
            continue
        try:
            value = FIELDS[name].read(text)
        except ValueError:
            value = text
        values[name] = checked(name, value, variable, base=base)
        sources[name] = variable
    return values, sources


def _file_layers() -> list[_Layer]:
    layers: list[_Layer] = []
    pyproject = _nearest("pyproject.toml")
    if pyproject is not None:
        layers.append(_file_layer(pyproject, ("tool", "kitaru")))
    files = [_nearest(f"{PROJECT_FOLDER}/{CONFIG_FILE}"), user_dir() / CONFIG_FILE]
    layers.extend(_file_layer(file, ()) for file in dict.fromkeys(files) if file is not None)
    return layers


def _file_layer(file: Path, path: tuple[str, ...]) -> _Layer:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return {}, {}
    except OSError as error:
        message = f"settings file '{file}' cannot be read: {error.strerror}."
        raise KitaruUsageError(message) from error
    if path and b"kitaru" not in content:  # other people's pyproject.toml is none of our business
        return {}, {}
    table = _table(file, content, path)
    place = f"[{'.'.join(path)}] of '{file}'" if path else f"'{file}'"
    values: dict[str, object] = {}
    for name, value in table.items():
        if name not in FIELDS or not FIELDS[name].in_files:
            known = tuple(key for key, entry in FIELDS.items() if entry.in_files)
            hint = did_you_mean(name, known) or f" Known keys: {', '.join(known)}."
            message = f"unknown key `{name}` in {place}.{hint}"
            raise KitaruUsageError(message)
        values[name] = checked(name, value, f"`{name}` in {place}", base=file.parent)
    return values, dict.fromkeys(values, str(file))


def _table(file: Path, content: bytes, path: tuple[str, ...]) -> dict[str, object]:
    import tomllib

    try:
        found: object = tomllib.loads(content.decode())
    except ValueError as error:  # also what undecodable text raises
        message = f"settings file '{file}' is not valid TOML: {error}."
        raise KitaruUsageError(message) from error
    for part in path:
        found = cast("dict[str, object]", found).get(part, {})
        if not isinstance(found, dict):
            message = f"expected [{'.'.join(path)}] of '{file}' to be a table, got: {found!r}"
            raise KitaruUsageError(message)
    return cast("dict[str, object]", found)


def _folder() -> Path:
    return Path(_folder_name())


def _folder_name() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - much cheaper than `Path.cwd`, and asked for often
    except FileNotFoundError:  # the folder was removed under us
        return os.sep


def _nearest(name: str) -> Path | None:
    start = _folder()
    for folder in (start, *start.parents):
        file = folder / name
        if file.is_file():
            return file
    return None


_UNLISTED = {entry.name for entry in fields(Settings)} - {*FIELDS, "sources"}
if _UNLISTED:  # pragma: no cover - a field without a rule is a mistake of ours
    raise AssertionError(_UNLISTED)
