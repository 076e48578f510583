"""One attendant of its own per store: a file that the process which is it holds a lock on.

The lock goes with the process, however that ends, so that a file alone means nothing. What the file says is
for people and for `kitaru down`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import unquote

import msgspec

from kitaru.errors import KitaruBackendError, KitaruStateError
from kitaru.settings import Settings, masked_url

# Beyond whatever the file says: Windows lets nobody read what is locked.
_LOCKED_BYTE = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """The process that is a store's attendant.

    Attributes:
        owner: The process as leases name it: it may be one of another machine or container.
        pid: Its number there.
        started_at: When it began, in microseconds since the epoch.
        log: The file that it writes to, if it runs in the background.
        url: Where it answers over HTTP, if it does.
    """

    owner: str
    pid: int
    started_at: int
    log: str | None = None
    url: str | None = None


def instance_file(settings: Settings) -> Path:
    """Return the file that says which process is the attendant of a store.

    It lies beside a store that is a file, so that whoever uses the file finds it.
    """
    scheme, _, rest = settings.store_url.partition("://")
    if scheme == "sqlite":
        path = unquote(rest)
        path = path[1:] if os.name == "nt" else path
        return Path(f"{path}.attendant")
    digest = hashlib.sha256(settings.store_url.encode()).hexdigest()[:16]
    return settings.config_dir / f"store-{digest}.attendant"


def find_instance(settings: Settings) -> Instance | None:
    """Return the attendant of a store that runs on this machine."""
    path = instance_file(settings)
    try:
        with path.open("rb+") as file:
            if _lock(file):
                return None  # nobody holds it; closing the file lets go of it
            return msgspec.json.decode(file.read(), type=Instance)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None
    except OSError as error:
        raise _unusable(path, error) from error


@contextlib.contextmanager
def only_instance(settings: Settings, instance: Instance) -> Generator[None, None, None]:
    """Be the attendant of a store inside this block.

    Raises:
        KitaruStateError: Another process is.
        KitaruBackendError: The file beside the store cannot be written.
    """
    path = instance_file(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab+")
    except OSError as error:
        raise _unusable(path, error) from error
    with file:
        if not _lock_soon(file):
            found = find_instance(settings)
            who = "another process" if found is None else f"process {found.pid}"
            message = (
                f"the store {masked_url(settings.store_url)!r} has an attendant already: {who}."
                f" `kitaru status` shows it, `kitaru down` stops it."
            )
            raise KitaruStateError(message)
        file.truncate(0)
        file.write(msgspec.json.encode(instance))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _lock_soon(file: IO[bytes]) -> bool:
    """As `_lock`, but not put off by someone who only looks."""
    for _ in range(5):
        if _lock(file):
            return True
        time.sleep(0.02)
    return False


def _unusable(path: Path, error: OSError) -> KitaruBackendError:
    return KitaruBackendError(f"the file {str(path)!r} cannot be used: {error.strerror}.")


if os.name == "nt":  # pragma: no cover - the other half is for everything else

    def _lock(file: IO[bytes]) -> bool:
        import msvcrt

        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            file.seek(0)
        return True

else:

    def _lock(file: IO[bytes]) -> bool:
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        file.seek(0)
        return True
