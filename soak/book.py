"""The soak's own books: what was ordered, done, answered, struck and seen, a line of JSON each.

They lie beside the store and owe it nothing, so that the record can be compared with them. Each process
writes files of its own; a line is flushed to disk before the one who wrote it goes on.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Line = dict[str, Any]

# The chapters of the book.
ORDERS, EFFECTS, ANSWERS, CANCELS, STRIKES, EXITS, FACTS, PRUNED, SAMPLES, ENDS = (
    *("orders", "effects", "answers", "cancels", "strikes", "exits", "facts", "pruned"),
    *("samples", "ends"),
)
# What may be lost with the machine, and is written often.
_UNFLUSHED = {FACTS, SAMPLES}


class Book:
    """Lines in a folder, added by any process and read by whoever checks.

    Args:
        folder: Of the soak.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._files: dict[tuple[int, str], int] = {}

    def add(self, chapter: str, **line: Any) -> None:
        """Add a line, with the moment and the process that says it, if the line does not name others.

        Durability: flushed when this returns; a process that dies in between leaves half a line at most.
        """
        entry = {"at": now(), "pid": os.getpid(), **line}
        descriptor = self._file(chapter)
        os.write(descriptor, (json.dumps(entry) + "\n").encode())
        if chapter not in _UNFLUSHED:
            os.fsync(descriptor)

    def read(self, chapter: str) -> Iterator[Line]:
        """Return a chapter's lines, by file; a last line that its writer could not finish is left out."""
        for file in sorted(self.folder.glob(f"{chapter}-*.jsonl")):
            with file.open("rb") as lines:
                for line in lines:
                    if line.endswith(b"\n"):
                        yield json.loads(line)

    def close(self) -> None:
        """Let go of this process's files."""
        with self._lock:
            for descriptor in self._files.values():
                os.close(descriptor)
            self._files.clear()

    def _file(self, chapter: str) -> int:
        key = (os.getpid(), chapter)
        with self._lock:
            descriptor = self._files.get(key)
            if descriptor is None:
                # The moment tells apart processes that have had one number.
                path = self.folder / f"{chapter}-{os.getpid()}-{now()}.jsonl"
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                self._files[key] = descriptor
            return descriptor


def now() -> int:
    """Return the moment in microseconds since the epoch, as the record has it."""
    return time.time_ns() // 1_000
