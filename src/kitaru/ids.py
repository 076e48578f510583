"""Identifiers: of things, time-ordered so that new rows lie beside each other in every index; of people."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import uuid

from kitaru.clock import SYSTEM_CLOCK


def new_id() -> str:
    """Return a UUID of version 7 (RFC 9562): 48 bits of Unix milliseconds, then 74 random bits."""
    milliseconds = SYSTEM_CLOCK.now() // 1_000
    random_bits = int.from_bytes(os.urandom(10))
    high = (milliseconds << 16) | 0x7000 | (random_bits >> 68)
    low = (0b10 << 62) | (random_bits & ((1 << 62) - 1))
    return str(uuid.UUID(int=(high << 64) | low))


def current_user() -> str:
    """Return who runs this process, as `user@host`, for the record of who asked for what."""
    user = "unknown"
    with contextlib.suppress(KeyError, OSError):  # no name for this uid, as in some containers
        user = getpass.getuser()
    return f"{user}@{platform.node()}"
