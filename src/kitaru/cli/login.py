"""`kitaru login`: keep executions on a server from now on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from kitaru import settings
from kitaru.cli.output import OutputFormat, print_item, print_note, print_text
from kitaru.client import login as logins
from kitaru.errors import KitaruAuthError, KitaruUsageError
from kitaru.settings import Settings


def login(
    server: str | None = None,
    /,
    *,
    api_key: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="The server's token; `-` reads it from stdin, where nobody else sees it.",
        ),
    ] = None,
    project: Annotated[str | None, Parameter(help="Which project executions belong to.")] = None,
    port: Annotated[
        int | None,
        Parameter(negative=(), help="Where a server on this machine listens that is started."),
    ] = None,
    no_verify_ssl: Annotated[
        bool, Parameter(negative=(), help="Believe a server that cannot prove its name.")
    ] = False,
    ssl_ca_cert: Annotated[
        Path | None, Parameter(help="A file of certificates to trust instead of the system's.")
    ] = None,
    output: OutputFormat = "text",
) -> None:
    """Keep this user's executions on a server from now on; without one, on this machine, and serve them.

    The server is asked first. What is saved lies in the user's own `config.toml`.

    Args:
        server: Its URL.
    """
    if server is None:
        given = {"api_key": api_key, "ssl_ca_cert": ssl_ca_cert, "no_verify_ssl": no_verify_ssl}
        if odd := [f"--{name.replace('_', '-')}" for name, value in given.items() if value]:
            message = f"{', '.join(odd)} is for a server: `kitaru login SERVER`."
            raise KitaruUsageError(message)
        _stay_here(project, port, output)
        return
    if port is not None:
        message = (
            "`--port` is for a server that `kitaru login` starts on this machine; that of another is in its"
            " URL."
        )
        raise KitaruUsageError(message)
    token = sys.stdin.readline().strip() if api_key == "-" else api_key
    wanted: dict[str, Any] = {
        "server_url": server,
        "auth_token": token,
        "project": project,
        "verify_ssl": False if no_verify_ssl else None,
        "ssl_ca_cert": None if ssl_ca_cert is None else str(ssl_ca_cert.absolute()),
    }
    asked = settings.current().having(**wanted)
    try:
        found = logins.ask_server(asked)
    except KitaruAuthError as error:
        if asked.auth_token is not None:
            raise
        message = f"the server {found_at(asked)} asks for its token. Give it with `--api-key`."
        raise KitaruAuthError(message) from error
    saved = {name: value for name, value in wanted.items() if value is not None}
    saved["server_url"] = asked.server_url
    file = logins.save_login(saved)
    present = settings.reread()
    if output == "json":
        shape = {"server_url": found.url, "server_version": found.version, "config_file": str(file)}
        print_item("login", {**shape, "project": present.project})
    else:
        print_text(
            f"Logged in to {found.url} (Kitaru {found.version}), project {present.project!r}.\n"
            f"  Saved in {file}"
        )
    _mention_stronger(present, str(asked.server_url))


def found_at(asked: Settings) -> str:
    """Return a server's URL, fit to be shown."""
    return settings.masked_url(asked.store_url)


def _stay_here(project: str | None, port: int | None, output: OutputFormat) -> None:
    """Leave a server, and serve the store of this machine."""
    from kitaru.attendant.instance import find_instance
    from kitaru.cli.extras import require_server
    from kitaru.cli.up import refuse_servers, start_in_background

    require_server()
    logins.forget_login()
    if project is not None:
        logins.save_login({"project": project})
    present = settings.reread()
    refuse_servers(present)
    found = find_instance(present)
    if found is None:
        found = start_in_background(present, port=port)
    elif found.url is None or (port is not None and not found.url.endswith(f":{port}")):
        where = "serves nothing" if found.url is None else f"serves {found.url}"
        message = (
            f"process {found.pid} looks after the store and {where}. `kitaru down` stops it; then log in"
            f" again."
        )
        raise KitaruUsageError(message)
    store = settings.masked_url(present.store_url)
    if output == "json":
        shape = {"server_url": found.url, "store": store, "pid": found.pid}
        print_item("login", {**shape, "project": present.project})
    else:
        print_text(
            f"Executions are kept in {store}, project {present.project!r}.\n"
            f"  API: {found.url}/api/v1 (process {found.pid}; `kitaru down` stops it)"
        )


def _mention_stronger(present: Settings, server_url: str) -> None:
    if present.store_url != server_url:
        print_note(
            f"Warning: {present.sources['store_url']} stands above what was saved, and executions are"
            f" kept in {settings.masked_url(present.store_url)}."
        )
