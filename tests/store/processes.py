"""Work of the concurrency tests that runs in processes of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from kitaru.model import Claim, ExecutionFilter, ExecutionStatus
from kitaru.store.journal_writer import JournalWriter
from kitaru.store.sqlite import SQLiteStore
from tests.store.records import (
    NOW,
    call,
    claim,
    commit_one,
    completed,
    entry,
    log_line,
    new_execution,
)


def churn(path: Path, name: str, number: int) -> list[str]:
    """Create, claim, commit, read, release and finish executions; return their ids."""
    store = SQLiteStore(path)
    writer = JournalWriter(store.commit)
    done: list[str] = []
    for count in range(number):
        new = new_execution(id=f"{name}-{count}", claim=claim(name) if count % 2 else None)
        execution = writer.write(new).execution
        assert execution is not None
        if execution.status is ExecutionStatus.PENDING:
            [execution] = store.claim_executions(
                claim(name), now=NOW, limit=1, exec_ids=[execution.id]
            )
        for step in range(3):
            assert writer.write(entry(execution, call(f"step#{step}"))).held
        store.append_logs([log_line(execution.id)])
        held = store.renew_leases(name, [(execution.id, execution.epoch)], lease_expires_at=2 * NOW)
        assert len(held) == 1
        assert len(store.list_calls(execution.id)) == 3
        store.list_executions(ExecutionFilter(project="default"), limit=5)
        store.reap(now=NOW, dead_owners=[])
        assert writer.write(entry(execution, outcome=completed())).held
        done.append(execution.id)
    store.close()
    return done


def grab(path: Path, name: str, number: int) -> list[str]:
    """Claim one execution after the other until none is left; return what was won."""
    store = SQLiteStore(path)
    won: list[str] = []
    for _ in range(10 * number):
        claimed = store.claim_executions(
            Claim(owner=name, lease_expires_at=2 * NOW), now=NOW, limit=1
        )
        if not claimed:
            break
        [execution] = claimed
        assert execution.epoch == 1
        won.append(execution.id)
    store.close()
    return won


def same_key(path: Path, name: str, number: int) -> list[str]:
    """Create executions under keys that every process uses; return those that were new."""
    store = SQLiteStore(path)
    created: list[str] = []
    for count in range(number):
        committed = commit_one(
            store, new_execution(id=f"{name}-{count}", idempotency_key=f"key-{count}")
        )
        if committed.created:
            created.append(f"{name}-{count}")
    store.close()
    return created


if __name__ == "__main__":
    _, task, path, name, number = sys.argv
    sys.stdin.read(1)  # all begin at once
    json.dump(globals()[task](Path(path), name, int(number)), sys.stdout)
