"""The tree of commands, and what all of them share: errors, exit codes, a word about interruptions.

Commands are named as text and imported when they are chosen, so that `kitaru --help` imports none.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from cyclopts import App, CycloptsError

from kitaru.cli.output import print_error, print_note
from kitaru.errors import KitaruError, KitaruSerializationError, KitaruUsageError

logger = logging.getLogger(__name__)

EXIT_OK = 0
EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_EXIT_PIPE_CLOSED = 141  # 128 + SIGPIPE

# What was answered just now is about to be taken up, and no interruption to be told of.
_QUIET = frozenset({"executions.input", "worker", "up", "serve", "login", "logout"})

_COMMANDS = {
    "init": "Make a project: runs started below the folder are kept in it.",
    "run": "Run a flow here and print its result.",
    "worker": "Run what is pending here, until it is told to stop.",
    "up": "Look after the store's executions and serve them to this machine.",
    "down": "Stop the attendant that `up` started.",
    "serve": "Be the server of a team.",
    "login": "Keep executions on a server from now on.",
    "logout": "Keep executions on this machine again.",
    "status": "Show what is kept, where, and who looks after it.",
    "info": "Show the installation, for a bug report.",
}
_GROUPS = {
    "executions": (
        "Look executions up and act on them.",
        {
            "list": "List executions, newest first.",
            "get": "Show an execution with its checkpoints.",
            "logs": "Show what an execution printed and logged.",
            "watch": "Show an execution until it has finished.",
            "why": "Say why an execution is in its state, and what would move it.",
            "input": "Answer what an execution waits for.",
            "resume": "Continue an execution here that waits for nothing any more.",
            "replay": "Start a new execution from an old one's record.",
            "diff": "Compare two executions.",
            "statistics": "Show how flows have fared.",
            "export": "Write an execution to a file.",
            "import": "Bring in an execution that was exported.",
            "retry": "Continue a failed execution here.",
            "recover": "Continue interrupted executions here.",
            "cancel": "Ask for an execution to be cancelled.",
            "delete": "Remove a finished execution and all that it has kept.",
        },
    ),
    "config": ("Look at the configuration.", {"show": "Show each setting and where it is from."}),
    "db": (
        "Look after the store.",
        {
            "verify": "Check that everything kept is whole.",
            "migrate": "Bring the store to what this version needs.",
            "shrink": "Give free space in the store's file back to the disk.",
            "backup": "Copy the store and its large values to a folder, while runs go on.",
            "restore": "Replace the store by a backup.",
        },
    ),
    "clean": (
        "Remove what is kept.",
        {
            "executions": "Remove finished executions that are old or too many.",
            "project": "Remove what the project here has kept.",
            "global": "Remove what is kept in the user's own folder.",
            "all": "Remove both.",
        },
    ),
}


def _version() -> str:
    from kitaru import __version__

    return __version__


def _make_app() -> App:
    made = App(
        name="kitaru",
        help="Durable execution for Python agents.",
        version=_version,
        version_flags=["--version", "-V"],
        suppress_keyboard_interrupt=False,  # `main` says how to go on
    )
    for name, text in _COMMANDS.items():
        made.command(f"kitaru.cli.{name}:{name}", name=name, help=text)
    for group, (about, commands) in _GROUPS.items():
        below = App(name=group, help=about)
        for name, text in commands.items():
            function = f"{name}_" if name in {"list", "global", "all", "input", "import"} else name
            below.command(f"kitaru.cli.{group}:{function}", name=name, help=text)
        made.command(below)
    return made


app = _make_app()


def run() -> None:
    """Run the command line of this process and end it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Callable[..., None] | None = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")  # a terminal may not know every character
    sys.exit(main(sys.argv[1:]))


def main(tokens: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    chain, _, _ = app.parse_commands(list(tokens))
    command = ".".join(chain) or "cli"
    _configure_logging()
    as_json = _wants_json(tokens)
    try:
        app(list(tokens), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print_error(command, "KitaruUsageError", str(error), as_json=as_json)
        return EXIT_USAGE
    except (KitaruError, KeyboardInterrupt, BrokenPipeError, Exception) as error:  # noqa: BLE001 - whatever happens is told, with an exit code
        return _tell(command, error, as_json=as_json)
    if chain and command not in _QUIET and not as_json and not {"--help", "-h"} & set(tokens):
        _mention_interrupted()
    return EXIT_OK


def _tell(command: str, error: BaseException, *, as_json: bool) -> int:
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has seen enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_PIPE_CLOSED
    if debugging():
        import traceback

        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        print_error(command, "KeyboardInterrupt", str(error) or "interrupted", as_json=as_json)
        return EXIT_INTERRUPTED
    if isinstance(error, KitaruError):
        print_error(command, type(error).__name__, error.message, as_json=as_json)
        is_usage = isinstance(error, KitaruUsageError)
        is_usage = is_usage and not isinstance(error, KitaruSerializationError)
        return EXIT_USAGE if is_usage else EXIT_ERROR
    message = (
        f"{type(error).__name__}: {error}\n"
        f"This was not expected. Set KITARU_DEBUG=true to see where it happened."
    )
    print_error(command, type(error).__name__, message, as_json=as_json)
    return EXIT_ERROR


def _configure_logging() -> None:
    """Keep Kitaru's own records to itself; the commands tell what people need to know."""
    handler = logging.StreamHandler() if debugging() else logging.NullHandler()
    own = logging.getLogger("kitaru")
    if own.handlers:
        return
    own.addHandler(handler)
    own.setLevel(logging.DEBUG if debugging() else logging.NOTSET)
    if not debugging():
        for name in _WHO_WAITS:
            logging.getLogger(name).addHandler(_Notes(logging.WARNING))


# Whoever waits for a store that is away does not answer meanwhile, and people should know why.
_WHO_WAITS = (
    "kitaru.wire.connection",
    "kitaru.store.postgres_attempts",
    "kitaru.store.sqlite_patience",
)


class _Notes(logging.Handler):
    """Tells people in a line what a record says."""

    def emit(self, record: logging.LogRecord) -> None:
        print_note(f"Kitaru: {record.getMessage()}")


def debugging() -> bool:
    """Whether someone looks for a mistake of Kitaru's own."""
    from kitaru import settings

    try:
        return settings.current().debug
    except KitaruError:
        return False


def _wants_json(tokens: Sequence[str]) -> bool:
    pairs = zip(tokens, [*tokens[1:], ""], strict=True)
    return any(
        token in {"--output=json", "-o=json", "-ojson"}
        or (token in {"--output", "-o"} and following == "json")
        for token, following in pairs
    )


def _is_attended() -> bool:
    from kitaru import settings
    from kitaru.attendant.instance import find_instance

    return find_instance(settings.current()) is not None


def _mention_interrupted() -> None:
    """Say so if executions wait for someone to continue them; never fail for it.

    A server looks after its executions itself.
    """
    try:
        from kitaru import settings
        from kitaru.client import KitaruClient

        if settings.is_server(settings.current().store_url):
            return
        found: Sequence[Any] = KitaruClient().upkeep.find_interrupted()
        if found and _is_attended():
            found = [one for one in found if one.is_held]
    except Exception:
        logger.debug("interrupted executions cannot be looked up", exc_info=True)
        return
    if found:
        count = "1 execution was" if len(found) == 1 else f"{len(found)} executions were"
        reason = found[0].reason if len(found) == 1 else f"the oldest: {found[0].reason}"
        which = f" {found[0].exec_id}" if len(found) == 1 else ""
        print_note(f"{count} interrupted ({reason}): `kitaru executions recover{which}`")
