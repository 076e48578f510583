"""Values on their way into and out of the store: encoded, and kept inline or as a blob."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kitaru import codec
from kitaru.faults import fault
from kitaru.model import INLINE_LIMIT, StoredValue

if TYPE_CHECKING:
    from kitaru.blobs import BlobStore

UserValue = Any

ARGUMENTS_CODEC = "kitaru/1"
"""How call arguments are kept; they are for comparing and showing, never fed to a body."""


@dataclass(frozen=True, slots=True)
class Values:
    """Encodes what user code returns and decodes what was recorded.

    Attributes:
        blobs: Where large values lie.
        allow_pickle: Whether values that have no codec of their own may be pickled.
    """

    blobs: BlobStore
    allow_pickle: bool = True

    def encode(self, value: UserValue, *, root: str) -> codec.Encoded:
        """Encode a value; `root` names it in errors.

        Raises:
            KitaruSerializationError: It cannot be kept exactly.
        """
        return codec.encode(value, root=root, allow_pickle=self.allow_pickle)

    def is_inline(self, data: bytes) -> bool:
        """Whether keeping these bytes needs no blob."""
        return len(data) <= INLINE_LIMIT

    def keep(self, encoded: codec.Encoded) -> StoredValue:
        """Return what a row needs to name the encoded value.

        Durability: a large value is in the blob store, flushed, when this returns, so that the row
        written next never points at nothing. A crash in between leaves a blob that nothing names.
        """
        return self.keep_bytes(encoded.data, encoded.codec)

    def keep_arguments(self, encoded: bytes) -> StoredValue:
        """As `keep`, for what `codec.encode_arguments` returned."""
        return self.keep_bytes(encoded, ARGUMENTS_CODEC)

    def keep_bytes(self, data: bytes, codec_name: str) -> StoredValue:
        """As `keep`, for bytes that name their codec apart."""
        size = len(data)
        if size <= INLINE_LIMIT:
            return StoredValue(codec_name, data, None, size)
        fault("call.before_blob")
        digest = self.blobs.put(data)
        fault("call.after_blob")
        return StoredValue(codec_name, None, digest, size)

    def renew(self, stored: StoredValue | None) -> bool:
        """Return whether a value is there, for a row that will name it because another one does.

        Durability: its blob is not collected before that row is written.
        """
        return stored is None or stored.digest is None or self.blobs.renew(stored.digest)

    def fetch(self, stored: StoredValue) -> bytes:
        """Return a stored value's bytes."""
        if stored.data is not None:
            return stored.data
        assert stored.digest is not None  # noqa: S101 - a row has one or the other, by CHECK
        return self.blobs.get(stored.digest)

    def load(self, stored: StoredValue) -> UserValue:
        """Return the value that was recorded.

        Raises:
            KitaruSerializationError: Its bytes cannot be read, or a class in it is gone.
            KitaruBackendError: Its blob is missing or damaged.
        """
        return codec.decode(
            codec.Encoded(stored.codec, self.fetch(stored)), allow_pickle=self.allow_pickle
        )

    def as_recorded(self, value: UserValue, encoded: codec.Encoded) -> UserValue:
        """Return `value` as recovery will return it.

        Mutable values come back as a copy, so that what the body keeps a reference to and changes
        later does not change under the flow, and so that the first run sees what recovery will see.
        """
        if codec.is_immutable(value):
            return value
        return codec.decode(encoded, allow_pickle=self.allow_pickle)
