"""Blobs as files in a folder: `ab/abcd…`, each written aside and moved into place when complete.

A file's time of modification says when the blob was last put. To delete one, its file is renamed to
`abcd….<token>.unwanted` beside it and only then looked at: a writer who has renewed it before has left its
mark, and one who comes after finds no file and writes anew. Readers who meet the gap read the renamed file.

One level of 256 folders: a million blobs make 4,000 files in each, which file systems take easily, while a
second level would let nearly every blob wait for new folders to be flushed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from kitaru.blobs.contract import BlobEntry
from kitaru.errors import KitaruBackendError, KitaruUsageError
from kitaru.faults import fault

T = TypeVar("T")

_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNWANTED = re.compile(r"([0-9a-f]{64})\.[0-9a-f]{8}\.unwanted")
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

    def put(self, data: bytes | memoryview) -> str:
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        with _telling("written", path):
            # A file of another length was cut off behind our back; it is written anew.
            if not (_has_length(path, len(data)) and _renewed(path)):
                self._write(path, data)
            # Also where the file was there already: whoever moved it may die before flushing this.
            flush_folder(path.parent)
        return digest

    def get(self, digest: str) -> bytes:
        path = self._path(digest)
        try:
            with _telling("read", path):
                data = _where_it_lies(path, Path.read_bytes)
        except FileNotFoundError as error:
            raise _missing(digest, path) from error
        if hashlib.sha256(data).hexdigest() != digest:
            message = (
                f"the blob {digest!r} is damaged: {str(path)!r} holds {len(data)} bytes that do not"
                f" match their digest. Restore the file from a backup."
            )
            raise KitaruBackendError(message)
        return data

    def open(self, digest: str) -> BinaryIO:
        path = self._path(digest)
        try:
            with _telling("read", path):
                return _where_it_lies(path, lambda found: found.open("rb"))
        except FileNotFoundError as error:
            raise _missing(digest, path) from error

    def has(self, digest: str) -> bool:
        path = self._path(digest)
        with _telling("looked at", path):
            try:
                return stat.S_ISREG(_where_it_lies(path, Path.stat).st_mode)
            except FileNotFoundError:
                return False

    def size(self, digest: str) -> int:
        path = self._path(digest)
        try:
            with _telling("looked at", path):
                return _where_it_lies(path, Path.stat).st_size
        except FileNotFoundError as error:
            raise _missing(digest, path) from error

    def delete(self, digest: str) -> None:
        path = self._path(digest)
        with _telling("deleted", path):
            path.unlink(missing_ok=True)

    def renew(self, digest: str) -> bool:
        path = self._path(digest)
        with _telling("written", path):
            if _renewed(path):
                return True
            # It lies aside, or may not be touched by this user; or it is gone.
            try:
                data = _where_it_lies(path, Path.read_bytes)
            except FileNotFoundError:
                return False
            self._write(path, data)
            return True

    def list_blobs(self, *, after: str = "") -> Iterator[BlobEntry]:
        with _telling("listed", self.root):
            for folder in _folders(self.root):
                if folder.name < after[:2]:
                    continue
                names = set(os.listdir(folder))  # noqa: PTH208 - a hundred thousand names
                for name in [name for name in names if _UNWANTED.fullmatch(name)]:
                    names.add(_put_back(folder / name).name)
                for name in sorted(names):
                    if name > after and _DIGEST.fullmatch(name):
                        # Whoever collects beside us may have removed it by now.
                        with suppress(FileNotFoundError):
                            found = (folder / name).stat()
                            yield BlobEntry(name, found.st_size, found.st_mtime_ns // 1000)

    def delete_if_stale(self, digest: str, *, before: int) -> bool:
        path = self._path(digest)
        aside = path.with_name(f"{digest}.{secrets.token_hex(4)}.unwanted")
        with _telling("deleted", path), suppress(FileNotFoundError):
            if not _is_stale(path, before):
                return False
            try:
                path.rename(aside)
            except PermissionError:  # Windows does not rename a file that is being read
                return False
            fault("blob.aside")
            # From here on nobody can renew it; who has done so before is seen.
            if not _is_stale(aside, before):
                _put_back(aside)
                return False
            aside.unlink()
            fault("blob.after_delete")
            return True
        return False

    def clear_abandoned(self, *, before: int) -> int:
        cleared = 0
        with _telling("cleared", self.root), suppress(FileNotFoundError):
            for file in sorted((self.root / _PARTIAL).iterdir()):
                with suppress(FileNotFoundError):
                    size = file.stat().st_size
                    if _is_stale(file, before):
                        file.unlink()
                        cleared += size
        return cleared

    def list_digests(self) -> Iterator[str]:
        with _telling("listed", self.root):
            for folder in _folders(self.root):
                for name in sorted(os.listdir(folder)):  # noqa: PTH208 - a hundred thousand names
                    if _DIGEST.fullmatch(name):
                        yield name

    def _path(self, digest: str) -> Path:
        # Digests come from rows and over the network; no other text may become a path.
        if not _DIGEST.fullmatch(digest):
            message = f"expected a SHA-256 digest of 64 hexadecimal digits, got: {digest!r}"
            raise KitaruUsageError(message)
        return self.root / digest[:2] / digest

    def _write(self, path: Path, data: bytes | memoryview) -> None:
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


def _where_it_lies(path: Path, look: Callable[[Path], T]) -> T:
    """Return what `look` sees of a blob, also while somebody decides whether to delete it."""
    with suppress(FileNotFoundError):
        return look(path)
    for aside in path.parent.glob(f"{path.name}.*.unwanted"):
        with suppress(FileNotFoundError):
            return look(aside)
    return look(path)


def _renewed(path: Path) -> bool:
    """Set a file's time to now; return whether that could be done."""
    try:
        os.utime(path)
    except (FileNotFoundError, PermissionError):
        return False
    return True


def _is_stale(path: Path, before: int) -> bool:
    return path.stat().st_mtime_ns // 1000 < before


def _put_back(aside: Path) -> Path:
    """Give a file that was renamed for deletion its name again, and return that."""
    path = aside.with_name(aside.name.partition(".")[0])
    with suppress(FileNotFoundError):
        try:
            # Unlike a rename, which would put an old file in the place of one that was just written.
            path.hardlink_to(aside)
        except FileExistsError:
            pass
        except FileNotFoundError:
            raise
        except OSError:
            # A file system without hard links. What is renewed is kept a while longer, no more.
            os.utime(aside)
            aside.replace(path)
            return path
        aside.unlink()
    return path


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
