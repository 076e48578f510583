"""Blobs as files in a folder: `ab/abcd…`, each written aside and moved into place when complete.

One level of 256 folders: a million blobs make 4,000 files in each, which file systems take easily, while a
second level would let nearly every blob wait for new folders to be flushed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kitaru.errors import KitaruBackendError, KitaruUsageError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FAN_OUT = re.compile(r"[0-9a-f]{2}")

# Where files are while they are incomplete. What a crash leaves here is never looked at.
_PARTIAL = "partial"

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than this process may write",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "this user may not",
    errno.EPERM: "this user may not",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a part of the path is a file",
}


class LocalBlobs:
    """Blobs in a folder. The methods are specified in `contract.py`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        posix = self.root.as_posix()
        return "file://" + (posix if posix.startswith("/") else "/" + posix)

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        with _telling("written", path):
            # A file of another length was cut off behind our back; it is written anew.
            if not _has_length(path, len(data)):
                self._write(path, data)
            # Also where the file was there already: whoever moved it may die before flushing this.
            flush_folder(path.parent)
        return digest

    def get(self, digest: str) -> bytes:
        path = self._path(digest)
        try:
            with _telling("read", path):
                data = path.read_bytes()
        except FileNotFoundError as error:
            raise _missing(digest, path) from error
        if hashlib.sha256(data).hexdigest() != digest:
            message = (
                f"the blob {digest!r} is damaged: {str(path)!r} holds {len(data)} bytes that do not"
                f" match their digest. Restore the file from a backup."
            )
            raise KitaruBackendError(message)
        return data

    def has(self, digest: str) -> bool:
        path = self._path(digest)
        with _telling("looked at", path):
            return path.is_file()

    def size(self, digest: str) -> int:
        path = self._path(digest)
        try:
            with _telling("looked at", path):
                return path.stat().st_size
        except FileNotFoundError as error:
            raise _missing(digest, path) from error

    def delete(self, digest: str) -> None:
        path = self._path(digest)
        with _telling("deleted", path):
            path.unlink(missing_ok=True)

    def list_digests(self) -> Iterator[str]:
        with _telling("listed", self.root):
            for folder in _folders(self.root):
                for file in sorted(folder.iterdir()):
                    if _DIGEST.fullmatch(file.name):
                        yield file.name

    def _path(self, digest: str) -> Path:
        # Digests come from rows and over the network; no other text may become a path.
        if not _DIGEST.fullmatch(digest):
            message = f"expected a SHA-256 digest of 64 hexadecimal digits, got: {digest!r}"
            raise KitaruUsageError(message)
        return self.root / digest[:2] / digest

    def _write(self, path: Path, data: bytes) -> None:
        aside = self.root / _PARTIAL
        aside.mkdir(parents=True, exist_ok=True)
        partial = aside / f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            with partial.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._make_folders(path.parent)
            _move(partial, path, len(data))
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise

    def _make_folders(self, folder: Path) -> None:
        if folder.is_dir():
            return
        folder.mkdir(parents=True, exist_ok=True)
        # A new folder is durable once the folder above it is flushed.
        flush_folder(self.root)
        flush_folder(self.root.parent)


@contextmanager
def _telling(action: str, path: Path) -> Generator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, os.strerror(error.errno or 0))
        message = (
            f"the blob store could not be {action} at {str(path)!r}: {reason}."
            f" What was recorded before is kept. Once the disk works and has room, continue with"
            f" `kitaru executions recover`."
        )
        raise KitaruBackendError(message) from error


def _missing(digest: str, path: Path) -> KitaruBackendError:
    return KitaruBackendError(
        f"the blob {digest!r} is missing: there is no file {str(path)!r}. Restore it from a backup."
    )


def _has_length(path: Path, length: int) -> bool:
    try:
        return path.stat().st_size == length
    except FileNotFoundError:
        return False


def _move(partial: Path, path: Path, length: int) -> None:
    try:
        partial.replace(path)
    except PermissionError:
        # Windows does not replace a file that is being read. Then somebody else's equal one is there.
        if not _has_length(path, length):
            raise
        partial.unlink()


def flush_folder(folder: Path) -> None:
    """Make durable which files a folder has."""
    if os.name == "nt":  # pragma: no cover - Windows has no way to, and does without
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems refuse to flush folders; they are flushed with their files.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if _FAN_OUT.fullmatch(path.name))
    except FileNotFoundError:
        return []
