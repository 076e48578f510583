"""Bringing in an exported execution: the file is checked as a whole before anything of it is kept.

The file may come from anywhere. Nothing in it becomes a path, no value is decoded, and nothing is read that
the file is not large enough to hold.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import struct
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import msgspec

from kitaru.client.connection import Connection
from kitaru.client.container import (
    FORMAT,
    MANIFEST,
    VERSION,
    Heading,
    Manifest,
    Member,
    blob_digests,
    blob_member,
    execution_member,
    json_texts,
    stored_values,
)
from kitaru.errors import KitaruBackendError, KitaruNotFoundError, KitaruUsageError
from kitaru.faults import fault
from kitaru.model import Bundle, StoredValue

T = TypeVar("T")

_CHUNK = 1024 * 1024
# What `zipfile` raises for bytes that make no sense to it, by experiment as much as by its documentation.
_SENSELESS = (
    BadZipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
)


class _FileError(Exception):
    """What is wrong with a file, and what to do."""


def import_execution(connection: Connection, path: Path) -> str:
    """Bring in the executions of a file; return the id of the one that was exported.

    Durability: large values first, each flushed; then all records in one transaction. A crash before that
    leaves values that no row names; importing again brings in the rest.

    Raises:
        KitaruNotFoundError: There is no such file.
        KitaruUsageError: It is no export, is damaged, or is from a newer version.
        KitaruStateError: One of its executions is here already.
        KitaruBackendError: It cannot be read.
    """
    found = import_values(connection, path)
    fault("import.after_blobs")
    connection.store.import_executions(found.bundles)
    fault("import.after_commit")
    return found.manifest.exec_id


def import_values(connection: Connection, path: Path) -> Container:
    """Bring in the large values of a file; return the file, which is closed, with its executions.

    Durability: each value is flushed. They are nobody's until the executions are brought in too.

    Raises:
        KitaruError: As `import_execution` raises.
    """
    with _naming(path):
        file = _open(path)
    with file:
        with _naming(path):
            found = Container.checked(file)
        for digest in found.digests:
            with _naming(path):
                content = found.blob(digest)
            connection.blobs.put(content)
    return found


class Container:
    """An exported file whose manifest, records and hashes have been found to be right.

    Attributes:
        manifest: What it says of itself.
        bundles: Its executions, parents before their children.
        digests: The large values that they name, each once.
    """

    def __init__(self, container: ZipFile, limit: int) -> None:
        self._zip = container
        infos = container.infolist()
        _check_plain(infos, limit)
        self._infos = {info.filename: info for info in infos}
        self.manifest = self._manifest()
        self._members = {member.name: member for member in self.manifest.members}
        names = [member.name for member in self.manifest.members]
        _check_names([info.filename for info in infos], [MANIFEST, *names])
        self.bundles = [
            self._bundle(member) for member in self.manifest.members if _is_execution(member.name)
        ]
        self.digests = tuple(
            dict.fromkeys(digest for bundle in self.bundles for digest in blob_digests(bundle))
        )
        _check_records(self.manifest.exec_id, self.bundles)
        self._check_values()
        for digest in self.digests:
            self._check_blob(digest)

    @classmethod
    def checked(cls, file: BinaryIO) -> Container:
        """Return the container in a file, which stays open for as long as large values are read."""
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            message = "it is empty. Export the execution again."
            raise _FileError(message)
        with _making_sense("it is no zip file, or its end is missing"):
            container = ZipFile(file)
        return cls(container, size)

    def blob(self, digest: str) -> bytes:
        """Return a large value, checked once more: the file may be changed while it is imported."""
        return self._read(self._members[blob_member(digest)])

    def _manifest(self) -> Manifest:
        info = self._infos.get(MANIFEST)
        if info is None:
            message = f"it has no {MANIFEST!r}, so Kitaru has not written it."
            raise _FileError(message)
        with _making_sense(f"its {MANIFEST!r} is damaged"), self._zip.open(info) as stream:
            content = stream.read()
        heading = _decoded(content, Heading, f"its {MANIFEST!r} is not one of Kitaru's")
        if heading.format != FORMAT:
            message = f"its {MANIFEST!r} says that it is {heading.format!r}, not {FORMAT!r}."
            raise _FileError(message)
        if heading.version != VERSION:
            message = (
                f"Kitaru {heading.kitaru} has written it in version {heading.version} of the format, of"
                f" which this Kitaru reads version {VERSION}. Import it with Kitaru {heading.kitaru} or"
                f" newer."
            )
            raise _FileError(message)
        return _decoded(content, Manifest, f"its {MANIFEST!r} is not one of Kitaru's")

    def _bundle(self, member: Member) -> Bundle:
        bundle = _decoded(self._read(member), Bundle, f"the records in {member.name!r} are no good")
        if execution_member(bundle.execution.id) != member.name:
            message = f"{member.name!r} has the records of execution {bundle.execution.id!r}."
            raise _FileError(message)
        return bundle

    def _check_values(self) -> None:
        """Check that every value lies in its record or is a member, and that no member is left over."""
        named = {blob_member(digest) for digest in self.digests}
        blobs = {name for name in self._members if not _is_execution(name)}
        if named != blobs:
            message = (
                f"{min(named ^ blobs)!r} is in its records or among its values, but not in both."
            )
            raise _FileError(message)
        for bundle in self.bundles:
            for stored in stored_values(bundle):
                if stored.size != self._size(stored):
                    message = (
                        f"a value of execution {bundle.execution.id!r} has not the size it says."
                    )
                    raise _FileError(message)

    def _size(self, stored: StoredValue) -> int | None:
        """Return how large a value is; None if it lies in two places, or in none."""
        if stored.digest is not None and stored.data is None:
            return self._members[blob_member(stored.digest)].size
        return len(stored.data) if stored.data is not None and stored.digest is None else None

    def _check_blob(self, digest: str) -> None:
        member = self._members[blob_member(digest)]
        if member.sha256 != digest:
            message = f"{member.name!r} is not named after its bytes."
            raise _FileError(message)
        self._stream(member, lambda _: None)

    def _read(self, member: Member) -> bytes:
        parts: list[bytes] = []
        self._stream(member, parts.append)
        return b"".join(parts)

    def _stream(self, member: Member, take: Callable[[bytes], None]) -> None:
        """Hand over a member's bytes in parts, and check that they are what the manifest says."""
        digest = hashlib.sha256()
        info = self._infos[member.name]
        with _making_sense(f"{member.name!r} is damaged"), self._zip.open(info) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                take(chunk)
        if info.file_size != member.size or digest.hexdigest() != member.sha256:
            message = (
                f"{member.name!r} is not what was exported: size or SHA-256 differ from the manifest's."
                f" Copy the file again, or export the execution again."
            )
            raise _FileError(message)


def _is_execution(name: str) -> bool:
    return name.startswith("executions/")


def _check_plain(infos: Sequence[ZipInfo], limit: int) -> None:
    """Refuse what is larger inside than outside."""
    # `zipfile` reads no more of a member than its `file_size`.
    for info in infos:
        if info.compress_type != ZIP_STORED or info.compress_size != info.file_size:
            message = f"{info.filename!r} in it is compressed, which Kitaru does not do."
            raise _FileError(message)
    if sum(info.file_size for info in infos) > limit:  # some lie over each other
        message = "what it holds is larger than the file. Do not trust it."
        raise _FileError(message)


def _check_names(present: Sequence[str], declared: Sequence[str]) -> None:
    """Check that a container has the members that its manifest names, each once, and no others."""
    if missing := Counter(declared) - Counter(present):
        message = f"{min(missing)!r} is missing in it. Export the execution again."
        raise _FileError(message)
    if surplus := Counter(present) - Counter(declared):
        message = f"it holds {min(surplus)!r}, which its manifest does not name. Do not trust it."
        raise _FileError(message)


def _check_records(root: str, bundles: Sequence[Bundle]) -> None:
    """Check that records are those of one execution and its descendants, and of nothing else."""
    known = set[str]()
    for bundle in bundles:
        exec_id = bundle.execution.id
        if bundle.execution.parent_id not in known and (known or exec_id != root):
            message = f"execution {exec_id!r} in it is no descendant of {root!r}."
            raise _FileError(message)
        known.add(exec_id)
        strange = {row.exec_id for row in (*bundle.waits, *bundle.logs)} - {exec_id}
        if strange:
            message = f"the records of execution {exec_id!r} name {min(strange)!r}."
            raise _FileError(message)
        for text in json_texts(bundle):
            _decoded(text, object, f"a text of execution {exec_id!r} should be JSON")
    if not known:
        message = f"it has no records of execution {root!r}."
        raise _FileError(message)


def _decoded(content: bytes | str, of: type[T], problem: str) -> T:
    try:
        return msgspec.json.decode(content, type=of)
    # Also bytes that are no text, and what is nested too deep.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = f"{problem}: {str(error).rstrip('.')}."
        raise _FileError(message) from error


@contextmanager
def _making_sense(problem: str) -> Generator[None]:
    try:
        yield
    except (*_SENSELESS, OSError) as error:
        # What makes no sense may lead to before the file's beginning; a disk that fails is another matter.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        message = (
            f"{problem} ({str(error).rstrip('.') or type(error).__name__}). Copy the file again, or"
            f" export the execution again."
        )
        raise _FileError(message) from error


def _open(path: Path) -> BinaryIO:
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):  # to open a pipe would wait for who writes to it
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        message = f"it is {what}. Give the path of the file that `export` has returned."
        raise _FileError(message)
    return path.open("rb")


@contextmanager
def _naming(path: Path) -> Generator[None]:
    """Say of which file something is wrong."""
    try:
        yield
    except _FileError as problem:
        message = f"{str(path)!r} cannot be imported: {problem}"
        raise KitaruUsageError(message) from problem.__cause__
    except FileNotFoundError as error:
        message = f"there is no file {str(path)!r} to import."
        raise KitaruNotFoundError(message) from error
    except OSError as error:
        message = f"{str(path)!r} could not be read: {error.strerror or error}."
        raise KitaruBackendError(message) from error
