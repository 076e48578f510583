"""The store and the blobs that a client reads, opened when they are first needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from kitaru.client.models import UserValue
from kitaru.model import StoredValue

if TYPE_CHECKING:
    from kitaru.blobs import BlobStore
    from kitaru.settings import Settings
    from kitaru.store.contract import Store


class Connection:
    """One client's way to what is kept."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def store(self) -> Store:
        """Where executions are kept."""
        from kitaru.store import open_store

        return open_store(self.settings.store_url, access=self.settings.access)

    @cached_property
    def blobs(self) -> BlobStore:
        """Where large values are kept."""
        from kitaru.blobs import open_blobs

        return open_blobs(self.settings.artifact_store, access=self.settings.access)

    def close(self) -> None:
        """Let go of the store; runs of this process may go on using it."""
        self.__dict__.pop("store", None)
        self.__dict__.pop("blobs", None)

    def fetch(self, stored: StoredValue) -> bytes:
        """Return a stored value's bytes."""
        if stored.data is not None:
            return stored.data
        assert stored.digest is not None  # noqa: S101 - a row has one or the other, by CHECK
        return self.blobs.get(stored.digest)

    def load(self, stored: StoredValue) -> UserValue:
        """Return a stored value.

        Raises:
            KitaruSerializationError: A class in it is gone, or its bytes cannot be read.
            KitaruBackendError: Its bytes are missing.
        """
        from kitaru import codec

        encoded = codec.Encoded(stored.codec, self.fetch(stored))
        return codec.decode(encoded, allow_pickle=self.settings.allow_pickle)

    def describe(self, stored: StoredValue) -> UserValue:
        """Return what a stored value holds as JSON-like values, without running anything."""
        from kitaru import codec

        return codec.describe(self.fetch(stored))
