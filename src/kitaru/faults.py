"""Named points at which a test may kill the process or make an operation fail.

Every commit boundary calls `fault("noun.when")`. Unarmed, which is always outside tests, that costs one
look at a module variable. `kitaru.testing` arms them.
"""

from __future__ import annotations

from collections.abc import Callable

# A module variable rather than a ContextVar: a fault point must fire in whichever thread reaches it.
_armed: Callable[[str, object], None] | None = None

FAULT_POINTS: dict[str, str] = {
    "execution.before_create": "a run was asked for, nothing is written",
    "execution.after_create": "the execution's row is durable, its flow has not started",
    "call.before_body": "a call is about to run its body; an error here is the body's",
    "call.after_body": "the body has returned, nothing is recorded",
    "call.before_blob": "a large value is encoded, its blob is not written",
    "call.after_blob": "the blob is durable, no row names it",
    "call.before_commit": "the call's record is about to be committed",
    "call.after_commit": "the call's record is durable, the flow does not have the value yet",
    "attempt.before_commit": "a failed attempt that will be retried is about to be committed",
    "attempt.after_commit": "the failed attempt is durable",
    "commit.inside": "a transaction is open and its statements have run",
    "commit.group": "a transaction holds the records of several calls and is not committed",
    "request.before_send": "a request that changes something is about to go to a server",
    "request.sent": "a request is with a server, its answer is not known here",
    "child.before_create": "a child execution is about to be created",
    "child.after_create": "the child's row is durable, its parent does not have the handle yet",
    "wait.before_ask": "a wait or a sleep is about to be committed",
    "wait.after_ask": "the question is durable and perhaps the execution parked, nobody has been asked",
    "wait.after_claim": "an answer has come and its runner has the execution again, under a new epoch",
    "wait.before_commit": "the flow's value of an answer is about to be committed",
    "wait.after_commit": "the value is durable, the flow does not have it yet",
    "answer.before_commit": "someone's answer is checked and about to be committed",
    "answer.after_commit": "the answer is durable, nobody has taken it up",
    "outcome.before_commit": "the flow has returned or raised, nothing of that is recorded",
    "outcome.after_commit": "the outcome is durable, nobody has been told",
    "recovery.before_reap": "a dead owner was found, its execution is still its own",
    "recovery.after_reap": "the execution is pending again, nobody has claimed it",
    "recovery.after_claim": "the execution is claimed by its new runner, the flow has not started",
    "export.before_rename": "the exported file is complete and flushed beside its name",
    "export.after_rename": "the exported file has its name",
    "import.after_blobs": "the large values of a file are durable, no row names them",
    "import.after_commit": "the executions of a file are here, nobody has been told",
    "prune.inside": "a transaction has deleted some of what is to be pruned and is not committed",
    "prune.after_step": "one transaction of a pruning is durable, the next has not begun",
    "blob.aside": "a blob that nobody needs is renamed, to be deleted or put back",
    "blob.after_delete": "a blob that nobody needs is gone, the next is still there",
    "backup.before_rename": "a backup is complete and flushed beside its name",
    "backup.after_rename": "a backup has its name",
    "restore.after_blobs": "the large values of a backup are here, the store is as it was",
    "restore.after_commit": "the store is restored, nobody has been told",
    "migration.inside": "a migration's statements have run and are not committed",
    "migration.after_commit": "one migration is durable, the next has not begun",
}
"""Every fault point, with the state of the world in which it fires."""


def fault(name: str, subject: object = None) -> None:
    """Give an armed test the chance to strike here.

    Args:
        name: The point.
        subject: The call that has come to it, where it is one's.
    """
    if _armed is not None:
        _armed(name, subject)


def arm(strike: Callable[[str], None] | None) -> None:
    """Call `strike(name)` at every fault point from now on; `None` disarms."""
    arm_subjects(None if strike is None else lambda name, _: strike(name))


def arm_subjects(strike: Callable[[str, object], None] | None) -> None:
    """Call `strike(name, subject)` at every fault point from now on; `None` disarms."""
    global _armed  # noqa: PLW0603 - see above
    _armed = strike
