"""Writing an execution, its descendants and their large values to one file, for another store to import."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import msgspec

from kitaru import logs
from kitaru._version import __version__
from kitaru.blobs import BlobStore
from kitaru.blobs.local import flush_folder
from kitaru.client.connection import Connection
from kitaru.client.container import (
    FORMAT,
    MANIFEST,
    VERSION,
    Manifest,
    Member,
    blob_digests,
    blob_member,
    execution_member,
)
from kitaru.client.lookup import key_of
from kitaru.errors import KitaruBackendError, KitaruNotFoundError, KitaruUsageError
from kitaru.faults import fault
from kitaru.model import (
    Bundle,
    ExecutionFilter,
    ExecutionRecord,
    ExecutionStatus,
    WaitRecord,
    WaitStatus,
)
from kitaru.store.contract import Store

_PAGE = 500
_FLUSH_SECONDS = 1.0


def export_execution(
    connection: Connection, exec_id: str, path: Path, *, overwrite: bool, now: int
) -> None:
    """Write an execution and its descendants to a file.

    Durability: the file is complete and flushed to disk when this returns, and absent, or what it was
    before, whenever the process dies. A death may leave a file beside it whose name ends in `.partial`.

    Raises:
        KitaruUsageError: The path is taken, or is a folder.
        KitaruNotFoundError: The folder, or the execution, does not exist.
        KitaruBackendError: The file cannot be written, or a large value cannot be read.
    """
    _check_target(path, overwrite=overwrite)
    logs.flush(_FLUSH_SECONDS)  # what runs of this process have just written
    bundles = [_ended(bundle, now) for bundle in read_tree(connection.store, exec_id)]
    try:
        with _written_aside(path, overwrite=overwrite) as file:
            _write(file, bundles, connection.blobs, now)
    except KitaruBackendError:
        # If it was pruned since its records were read, that is what has happened to its large values.
        connection.store.get_execution(exec_id)
        raise


def read_tree(store: Store, exec_id: str) -> list[Bundle]:
    """Return an execution and all its descendants, parents before their children."""
    found = [read_bundle(store, exec_id)]
    for bundle in found:
        # Asked after the calls were read: a child that a call names is there by now.
        found += [read_bundle(store, child) for child in _children(store, bundle.execution)]
    return found


def read_bundle(store: Store, exec_id: str) -> Bundle:
    """Return everything that a store has of one execution, as it was at one claim and in one status."""
    while True:
        bundle = Bundle(
            execution=store.get_execution(exec_id),
            calls=tuple(store.list_calls(exec_id)),
            attempts=tuple(store.list_attempts(exec_id)),
            artifacts=tuple(store.list_artifacts(exec_id)),
            metadata=tuple(store.list_metadata(exec_id)),
            waits=tuple(store.list_waits(exec_id)),
            events=tuple(event for _, event in store.list_events(exec_id)),
            logs=tuple(line for _, line in store.list_logs(exec_id)),
        )
        # Whoever runs it may have ended it or begun it anew, and someone may have deleted it, while it
        # was read in parts. What one claim adds meanwhile does no harm.
        after = store.get_execution(exec_id)
        if _standing(after) == _standing(bundle.execution):
            return bundle


def _standing(execution: ExecutionRecord) -> tuple[ExecutionStatus, int]:
    return execution.status, execution.epoch


def _children(store: Store, parent: ExecutionRecord) -> list[str]:
    """Return the ids of the executions that an execution has started, oldest first."""
    where = ExecutionFilter(project=parent.project, parent_id=parent.id)
    found: list[ExecutionRecord] = []
    before: tuple[int, str] | None = None
    while page := store.list_executions(where, limit=_PAGE, before=before):
        found += page
        before = key_of(page[-1])
    return [child.id for child in reversed(found)]


def _ended(bundle: Bundle, now: int) -> Bundle:
    """Return an execution as it is to arrive: over, so that no two stores ever go on with one run."""
    execution = bundle.execution
    if not execution.status.is_finished:
        execution = replace(
            execution,
            status=ExecutionStatus.CANCELLED,
            status_reason=f"was {execution.status.value} when it was exported",
            lease_owner=None,
            lease_expires_at=None,
            result=None,
            failure=None,
            ended_at=now,
        )
    moment = now if execution.ended_at is None else execution.ended_at
    waits = tuple(_closed(wait, moment) for wait in bundle.waits)
    return replace(bundle, execution=execution, waits=waits)


def _closed(wait: WaitRecord, moment: int) -> WaitRecord:
    # Which process of which machine asked is of no use elsewhere, and nobody else's business.
    wait = replace(wait, asked_by="")
    if wait.status is not WaitStatus.OPEN:
        return wait
    return replace(wait, status=WaitStatus.CLOSED, resolved_at=moment)


def _write(file: BinaryIO, bundles: Sequence[Bundle], blobs: BlobStore, now: int) -> None:
    members: list[Member] = []
    with ZipFile(file, "w", ZIP_STORED) as container:
        for name, content in _contents(bundles, blobs):
            container.writestr(ZipInfo(name), content)
            digest = hashlib.sha256(content).hexdigest()
            members.append(Member(name=name, size=len(content), sha256=digest))
        manifest = Manifest(
            format=FORMAT,
            version=VERSION,
            kitaru=__version__,
            exec_id=bundles[0].execution.id,
            exported_at=now,
            members=tuple(members),
        )
        container.writestr(ZipInfo(MANIFEST), msgspec.json.encode(manifest))


def _contents(bundles: Sequence[Bundle], blobs: BlobStore) -> Iterator[tuple[str, bytes]]:
    """Yield the members one after the other: at most one large value is in memory."""
    for bundle in bundles:
        yield execution_member(bundle.execution.id), msgspec.json.encode(bundle)
    # A dict keeps the order, and each digest once.
    for digest in dict.fromkeys(found for bundle in bundles for found in blob_digests(bundle)):
        yield blob_member(digest), blobs.get(digest)


def _check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse early what would be refused in the end."""
    if path.is_dir():
        message = f"expected the path of a file to export to, got the folder {str(path)!r}."
        raise KitaruUsageError(message)
    if path.exists() and not overwrite:
        raise _taken(path)
    if not path.parent.is_dir():
        message = f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}. Make it first."
        raise KitaruNotFoundError(message)


def _taken(path: Path) -> KitaruUsageError:
    return KitaruUsageError(
        f"{str(path)!r} is there already. Give another path, or `overwrite=True` (`--overwrite` on the"
        f" command line) to replace it."
    )


@contextmanager
def _written_aside(path: Path, *, overwrite: bool) -> Generator[BinaryIO]:
    """Give a file that takes its name, complete and flushed, only if nothing goes wrong."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fault("export.before_rename")
        _move(partial, path, overwrite=overwrite)
        flush_folder(path.parent)
        fault("export.after_rename")
    except FileExistsError as error:
        raise _taken(path) from error
    except OSError as error:
        message = (
            f"{str(path)!r} could not be written: {error.strerror or error}. Export to another place, or"
            f" make room."
        )
        raise KitaruBackendError(message) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _move(partial: Path, path: Path, *, overwrite: bool) -> None:
    """Give a file its name; without `overwrite`, only if nobody has taken it meanwhile."""
    if overwrite:
        partial.replace(path)
        return
    try:
        # Unlike a rename, which would replace what another process has put there by now.
        path.hardlink_to(partial)
    except FileExistsError:
        raise
    except OSError as error:
        # A file system without hard links: the best that is left.
        if path.exists():
            raise FileExistsError(path) from error
        partial.rename(path)
    else:
        partial.unlink()
