"""Which versions of Kitaru understand each other over HTTP.

Both sides say in every message which version of Kitaru they are, and which version of the wire they speak: a
number that grows with what is asked for, and with nothing else.

* A client speaks one wire version. A server speaks a range of them, down to the oldest that it still knows.
* What is added to requests (a field of a record or of an operation's parameters) makes a new wire version: a
  server that does not know a field would lose what somebody has sent, so it refuses the client instead and
  names the side to upgrade. What is missing in an older client's request has a default.
* What is added to answers makes none: clients drop fields that they do not know.
* An operation that a server does not have is refused by name, as a feature that is not available.

So servers are upgraded first, and clients of any version that the server still speaks go on working.
`tests/server/test_operations.py` holds a fingerprint of all requests for each wire version.
"""

from __future__ import annotations

from kitaru._version import __version__

WIRE_VERSION = 1
"""What this version of Kitaru speaks."""

OLDEST_WIRE_VERSION = 1
"""The oldest that a server of this version still understands."""

WIRE_HEADER = "Kitaru-Wire"
VERSION_HEADER = "Kitaru-Version"
CLOCK_HEADER = "Kitaru-Clock"
KEY_HEADER = "Idempotency-Key"


def find_disagreement(
    wire: str | None,
    version: str | None,
    *,
    spoken: tuple[int, int] = (OLDEST_WIRE_VERSION, WIRE_VERSION),
) -> str | None:
    """Return why a server cannot speak with a client, and which side to upgrade; None if it can.

    Args:
        wire: The wire version that the client has said, as it stands in its header. A client that says
            nothing, such as one at a prompt, is taken to speak this one.
        version: The client's version of Kitaru, as it has said.
        spoken: The oldest and the newest wire version that the server speaks.
    """
    oldest, newest = spoken
    if wire is None:
        return None
    if not (wire.isascii() and wire.isdecimal()):
        return f"expected the header `{WIRE_HEADER}` to be a whole number, got: {wire!r}"
    asked = int(wire)
    if oldest <= asked <= newest:
        return None
    what = (
        f"the client (Kitaru {version or 'of unknown version'}) speaks wire version {asked}, and the server"
        f" (Kitaru {__version__}) speaks {_range(oldest, newest)}."
    )
    if asked > newest:
        return f"{what} Upgrade the server to {version or 'the version of the client'} or later."
    return f"{what} Upgrade the client to {__version__}."


def _range(oldest: int, newest: int) -> str:
    return str(newest) if oldest == newest else f"{oldest} to {newest}"
