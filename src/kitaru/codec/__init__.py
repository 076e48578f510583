"""Values to bytes and back, exactly, or a refusal that names the part that cannot be kept.

`encode` and `decode` are for values that a flow gets back: same types, same contents, same sharing.
`encode_arguments` is for fingerprints: equal arguments give equal bytes. `describe` and `preview` are
for people, and never import or run anything. What round-trips, and how, is told in `docs/values.md`.
"""

from __future__ import annotations

from kitaru.codec.arguments import encode_arguments
from kitaru.codec.describing import describe, preview
from kitaru.codec.registry import register
from kitaru.codec.values import (
    Encoded,
    decode,
    decode_exception,
    encode,
    encode_exception,
    is_immutable,
)

__all__ = [
    "Encoded",
    "decode",
    "decode_exception",
    "describe",
    "encode",
    "encode_arguments",
    "encode_exception",
    "is_immutable",
    "preview",
    "register",
]
