"""The store and the blobs that a client reads, opened when they are first needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from kitaru.client.models import UserValue
from kitaru.model import StoredValue

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kitaru.blobs import BlobStore
    from kitaru.fleet import PresentWorker, RunnerFacts
    from kitaru.model import ExecutionRecord
    from kitaru.settings import Settings
    from kitaru.store.contract import Store


class Neighbours(Protocol):
    """What a client asks of its own process and machine, beside the store; `kitaru.worker` is it."""

    def answered(self, exec_id: str) -> None:
        """Tell the runs of this process that an execution's wait is over."""
        ...

    def find_workers(
        self, store: Store, execution: ExecutionRecord, *, now: int
    ) -> Sequence[PresentWorker]:
        """Return the workers that take an execution up as soon as they have room for it."""
        ...

    def runner_of_execution(self, execution: ExecutionRecord, now: int) -> RunnerFacts:
        """Return what is known of the process that has claimed a running execution."""
        ...

    def runner_log(self, settings: Settings, exec_id: str) -> Path:
        """Return the file that processes started for an execution write to."""
        ...


class Connection:
    """One client's way to what is kept.

    Args:
        settings: Where that is.
        store: Use this one instead.
        blobs: Use these instead.
        neighbours: Who knows what goes on around the client, if not `kitaru.worker`.
        asker: Who asks, if not the user of this process.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store | None = None,
        blobs: BlobStore | None = None,
        neighbours: Neighbours | None = None,
        asker: str | None = None,
    ) -> None:
        self.settings = settings
        self.asker = asker
        if store is not None:
            self.store = store
        if blobs is not None:
            self.blobs = blobs
        if neighbours is not None:
            self.neighbours = neighbours

    @cached_property
    def neighbours(self) -> Neighbours:
        """Who knows what goes on in this process and on this machine."""
        from kitaru import worker

        return worker

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
