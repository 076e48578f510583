"""Where large values lie: bytes under their digest, each kept once."""

from __future__ import annotations

from kitaru.blobs.contract import BlobStore
from kitaru.blobs.opening import open_blobs

__all__ = ["BlobStore", "open_blobs"]
