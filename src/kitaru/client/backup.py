"""A copy of the whole store with the large values that it names, made while runs go on, and brought back.

A backup is a folder: `kitaru.db`, `blobs/`, and `backup.json`, which says what belongs to it with its hashes.
It is written under another name beside it and gets its own when it is complete.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from kitaru._version import __version__
from kitaru.blobs import BlobStore, open_blobs
from kitaru.blobs.local import flush_folder
from kitaru.client.connection import Connection
from kitaru.clock import SYSTEM_CLOCK
from kitaru.errors import (
    KitaruBackendError,
    KitaruNotFoundError,
    KitaruStateError,
    KitaruUsageError,
)
from kitaru.faults import fault
from kitaru.settings_rules import file_url, sqlite_url

_FORMAT = "kitaru-backup"
_VERSION = 1
_MANIFEST = "backup.json"
_DATABASE = "kitaru.db"
_BLOBS = "blobs"
_CHUNK = 1024 * 1024
_MOST_TRIES = 5


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `backup.json` says."""

    format: str
    version: int
    kitaru: str
    created_at: int
    database_sha256: str
    blobs: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A complete backup.

    Attributes:
        folder: Where it is.
        blobs: How many large values it has.
        total_bytes: What it takes.
    """

    folder: Path
    blobs: int
    total_bytes: int


def back_up(connection: Connection, folder: Path) -> Backup:
    """Write a backup to a folder that does not exist; runs go on meanwhile.

    Durability: the folder is there with everything in it, flushed, or it is not there. A death may leave a
    folder beside it whose name ends in `.partial`.

    Raises:
        KitaruUsageError: There is something at that path.
        KitaruNotFoundError: The folder above it does not exist.
        KitaruBackendError: It cannot be written, or a large value is missing or damaged.
    """
    folder = folder.absolute()
    _check_target(folder)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    with _telling(folder):
        try:
            aside.mkdir()
            digests = _copy(connection, aside)
            manifest = _Manifest(
                format=_FORMAT,
                version=_VERSION,
                kitaru=__version__,
                created_at=SYSTEM_CLOCK.now(),
                database_sha256=_hash(aside / _DATABASE),
                blobs=digests,
            )
            _write(aside / _MANIFEST, msgspec.json.encode(manifest))
            flush_folder(aside)
            total = sum(file.stat().st_size for file in aside.rglob("*") if file.is_file())
            fault("backup.before_rename")
            # Unlike for files, a rename replaces no folder that has anything in it.
            aside.rename(folder)
            flush_folder(folder.parent)
            fault("backup.after_rename")
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return Backup(folder=folder, blobs=len(digests), total_bytes=total)


def restore(connection: Connection, folder: Path, *, force: bool) -> Backup:
    """Replace the store by a backup, after checking the backup as a whole.

    Durability: large values first; then the store in one transaction. A crash before that leaves the store
    as it was, and large values that no row names.

    Raises:
        KitaruNotFoundError: There is no backup there.
        KitaruStateError: The store has executions, and `force` is not given; or one is running.
        KitaruBackendError: The backup is not whole, or is a newer version's.
    """
    folder = folder.absolute()
    manifest = _read_manifest(folder)
    source = open_blobs(file_url(folder / _BLOBS))
    total = _check_whole(folder, manifest, source)
    _check_present(connection, force=force)
    for digest in manifest.blobs:
        connection.blobs.put(source.get(digest))
    fault("restore.after_blobs")
    # Once more, for copying took a while, and someone may have begun to use the store meanwhile.
    _check_present(connection, force=force)
    connection.store.restore(folder / _DATABASE)
    fault("restore.after_commit")
    return Backup(folder=folder, blobs=len(manifest.blobs), total_bytes=total)


def _copy(connection: Connection, aside: Path) -> list[str]:
    """Copy the store and what it names into a folder; return the digests."""
    from kitaru.store import open_store

    blobs = open_blobs(file_url(aside / _BLOBS))
    database = aside / _DATABASE
    for left in reversed(range(_MOST_TRIES)):
        connection.store.back_up(database)
        copy = open_store(sqlite_url(database))
        try:
            problems = copy.verify()
            digests = copy.list_blob_digests()
        finally:
            copy.close()
        if problems:
            message = f"the store {connection.store.url} is not sound: {problems[0]}. Nothing was backed up."
            raise KitaruBackendError(message)
        try:
            for digest in digests:
                if not blobs.has(digest):
                    blobs.put(connection.blobs.get(digest))
        except KitaruBackendError:
            # What it belongs to may have been pruned since the store was copied. If the store still
            # names it, then it is really missing.
            missing = [digest for digest in digests if not blobs.has(digest)]
            unnamed = connection.store.list_unnamed_blobs(missing[:1])
            if not (left and unnamed):
                raise
            database.unlink()
        else:
            _drop_surplus(blobs, digests)
            return digests
    raise AssertionError  # pragma: no cover - the last try returns or raises


def _drop_surplus(blobs: BlobStore, digests: list[str]) -> None:
    for digest in set(blobs.list_digests()).difference(digests):
        blobs.delete(digest)


def _check_target(folder: Path) -> None:
    if folder.exists() or folder.is_symlink():
        message = f"{str(folder)!r} is there already. Give a path where nothing is."
        raise KitaruUsageError(message)
    if not folder.parent.is_dir():
        message = f"there is no folder {str(folder.parent)!r} to put a backup in. Make it first."
        raise KitaruNotFoundError(message)


def _read_manifest(folder: Path) -> _Manifest:
    try:
        content = (folder / _MANIFEST).read_bytes()
    except OSError as error:
        message = (
            f"{str(folder)!r} is no backup: its {_MANIFEST!r} cannot be read ({error.strerror})."
            f" `kitaru db backup FOLDER` makes one."
        )
        raise KitaruNotFoundError(message) from error
    try:
        manifest = msgspec.json.decode(content, type=_Manifest)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _unsound(folder, f"its {_MANIFEST!r} makes no sense: {error}") from error
    if (manifest.format, manifest.version) != (_FORMAT, _VERSION):
        what = f"Kitaru {manifest.kitaru} has written it in a form that this version does not read"
        raise _unsound(folder, what)
    return manifest


def _check_whole(folder: Path, manifest: _Manifest, source: BlobStore) -> int:
    """Return how large a backup is that has everything its list names, unchanged."""
    database = folder / _DATABASE
    try:
        if _hash(database) != manifest.database_sha256:
            raise _unsound(folder, f"its {_DATABASE!r} has changed since it was written")
        total = database.stat().st_size
        for digest in manifest.blobs:
            total += len(source.get(digest))
    except (OSError, KitaruUsageError) as error:
        raise _unsound(folder, str(error)) from error
    return total


def _check_present(connection: Connection, *, force: bool) -> None:
    """Refuse to replace a store that is in use or, unless it is forced, that has anything in it."""
    now = connection.store.clock.now()
    running = [
        row.id for row in connection.store.list_running() if (row.lease_expires_at or 0) > now
    ]
    if running:
        message = (
            f"execution {running[0]!r} is running in the store {connection.store.url}, which would be"
            f" replaced. Wait for it, or `kitaru executions cancel {running[0]}`."
        )
        raise KitaruStateError(message)
    if not force and connection.store.find_execution_ids("", limit=1):
        message = (
            f"the store {connection.store.url} has executions, which would be lost. Restore into an empty"
            f" one (KITARU_CONFIG_PATH names its folder), or give `--force`."
        )
        raise KitaruStateError(message)


def _unsound(folder: Path, why: str) -> KitaruBackendError:
    return KitaruBackendError(
        f"the backup {str(folder)!r} cannot be restored: {why}. Nothing was changed. Take another backup."
    )


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(path):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _telling(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.ENOTEMPTY}:
            message = f"{str(folder)!r} was made by somebody else meanwhile. Give another path."
            raise KitaruUsageError(message) from error
        message = (
            f"the backup {str(folder)!r} could not be written: {error.strerror or error}. Nothing is left"
            f" of it. Make room, or give another place."
        )
        raise KitaruBackendError(message) from error
