"""What must be true of stored rows beyond what the schema's constraints can say."""

from __future__ import annotations

from kitaru.store.database import Session

_CHECKS = {
    "find_duplicate_call_ids": "execution {0!r} has {2} calls with the id {1!r}",
    "find_calls_from_the_future": "call {1!r} of execution {0!r} was recorded under epoch {2}, which"
    " nobody has claimed",
    "find_parent_cycles": "execution {0!r} is among its own ancestors",
    "find_waits_of_the_finished": "wait {1!r} of execution {0!r} is open, but the execution is {2}",
    "find_waits_for_the_finished": "wait {1!r} of execution {0!r} is open, but execution {2!r}, for whose"
    " end it waits, has finished or is gone",
    "find_waiting_for_nothing": "execution {0!r} is waiting, but none of its waits is open",
}


def find_broken_invariants(session: Session) -> list[str]:
    """Return one sentence for each row that contradicts another."""
    return [
        sentence.format(*row) for name, sentence in _CHECKS.items() for row in session.rows(name)
    ]


def list_blob_digests(session: Session) -> list[str]:
    """Return the digests of all blobs that rows name."""
    return sorted(digest for (digest,) in session.rows("list_blob_digests"))
