"""The file that an exported execution is: a zip of records and blobs with a manifest that vouches for them.

Nothing in it is compressed: then no file, whoever made it, holds more than its own size, and to check it
takes neither more memory nor more disk than that. Fields go by name: a later version may add some, which
this one passes over. What this version could misunderstand gets another `VERSION`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kitaru.model import Bundle, StoredValue

FORMAT = "kitaru-execution"
VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What every version's manifest has.

    Attributes:
        format: `FORMAT`.
        version: Of the format.
        kitaru: The version of Kitaru that wrote the file.
    """

    format: str
    version: int
    kitaru: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file in the container.

    Attributes:
        name: As `execution_member` and `blob_member` give it.
        size: In bytes.
        sha256: Hexadecimal.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Heading):
    """What the container holds.

    Attributes:
        exec_id: The execution that was exported; the others are its descendants.
        exported_at: In microseconds.
        members: All but the manifest. Executions come first, parents before their children.
    """

    exec_id: str
    exported_at: int
    members: tuple[Member, ...]


def execution_member(exec_id: str) -> str:
    """Return the name of an execution's records."""
    return f"executions/{exec_id}.json"


def blob_member(digest: str) -> str:
    """Return the name of a large value."""
    return f"blobs/{digest}"


def stored_values(bundle: Bundle) -> Iterator[StoredValue]:
    """Yield every value that an execution's records name."""
    execution = bundle.execution
    found = [execution.inputs, execution.result]
    for call in bundle.calls:
        found += (call.inputs, call.output)
    found += (artifact.value for artifact in bundle.artifacts)
    yield from (stored for stored in found if stored is not None)


def blob_digests(bundle: Bundle) -> Iterator[str]:
    """Yield the digests of all large values that an execution's records name, some more than once."""
    yield from (stored.digest for stored in stored_values(bundle) if stored.digest is not None)


def json_texts(bundle: Bundle) -> Iterator[str]:
    """Yield the texts that everyone takes for JSON, and that no database would look into."""
    yield from (logged.value for logged in bundle.metadata)
    yield from (event.payload for event in bundle.events)
    for wait in bundle.waits:
        optional = (wait.metadata, wait.schema, wait.answer)
        yield from (text for text in optional if text is not None)
