"""Every method of a store travels: it is in the table, has a kind, and comes through as it was."""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import cast

import msgspec
import pytest

from kitaru.errors import KitaruUsageError
from kitaru.store import contract
from kitaru.store.http import HttpStore
from kitaru.store.operations import OPERATIONS, Kind, unwrap_writes, wrap_writes
from kitaru.store.sqlite import SQLiteStore
from kitaru.wire.versions import WIRE_VERSION
from tests.store.records import (
    answered,
    artifact,
    attempt,
    call,
    completed,
    entry,
    event,
    metadata,
    new_execution,
    question,
    run,
)

HERE_ONLY = {"url", "clock", "company", "watch", "close", "migrate", "shrink", "back_up", "restore"}
"""What a store does where it is, and is not asked for."""

FINGERPRINTS = {1: "b8e5b43364af8e19"}
"""What all requests look like, by wire version. If this test fails, a request has changed: see
`wire/versions.py`."""


def test_every_method_of_the_contract_is_an_operation_or_stays_at_home() -> None:
    methods = {
        name
        for cls in inspect.getmro(contract.Store)
        for name, member in vars(cls).items()
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
    }

    assert methods == set(OPERATIONS) | HERE_ONLY


def test_every_operation_is_a_method_of_each_store_with_the_same_parameters() -> None:
    for name, operation in OPERATIONS.items():
        for cls in (SQLiteStore, HttpStore):
            parameters = list(inspect.signature(getattr(cls, name)).parameters)[1:]
            assert parameters == list(operation.parameters.__struct_fields__), (cls, name)


def test_what_changes_something_is_known() -> None:
    assert {
        name for name, operation in OPERATIONS.items() if operation.kind is Kind.REPEATABLE
    } == {
        "announce_worker",
        "commit",
        "forget_workers",
        "hasten_launch",
        "prune_events",
        "renew_leases",
    }
    reads = {name for name, operation in OPERATIONS.items() if operation.kind is Kind.READ}
    assert all(
        name.split("_")[0] in {"get", "find", "list", "count", "measure", "verify"}
        for name in reads
    )


def test_writes_come_through_as_they_were(store: HttpStore) -> None:
    execution = run(store)
    commit = OPERATIONS["commit"]
    writes = [
        new_execution(parent_call=call(), replay_plan={"from": ["a", 1, None]}, tags=("x",)),
        entry(
            execution,
            call(),
            attempts=(attempt(),),
            artifacts=(artifact(),),
            metadata=(metadata(),),
            events=(event(),),
            waits=(question(execution),),
            outcome=completed(),
        ),
    ]

    body = commit.encode_request({"writes": wrap_writes(writes)})

    assert unwrap_writes(commit.decode_request(body)["writes"]) == writes


def test_field_of_an_answer_that_a_later_server_adds_is_dropped() -> None:
    body = b'[{"held": true, "mood": "good", "execution": null, "created": true}]'

    [committed] = OPERATIONS["commit"].decode_answer(body)

    assert (committed.held, committed.created) == (True, True)


def test_field_of_a_request_that_an_older_client_does_not_have_gets_its_default() -> None:
    body = b'{"claim": {"owner": "me", "lease_expires_at": 1}, "now": 1, "limit": 1}'

    arguments = OPERATIONS["claim_executions"].decode_request(body)

    assert arguments["where"] == contract.ANY
    assert arguments["exec_ids"] is None


def test_number_that_is_none_is_refused_where_it_comes_from(store: HttpStore) -> None:
    with pytest.raises(KitaruUsageError):
        store.resolve_wait("a", "b", answered("\udc80"), now=1)


def test_requests_of_a_wire_version_never_change() -> None:
    kinds = [operation.parameters for _, operation in sorted(OPERATIONS.items())]
    described = msgspec.json.schema_components(kinds, schema_hook=lambda _: {"title": "anything"})

    bare = json.dumps(_without_words(msgspec.to_builtins(described)), sort_keys=True)

    assert hashlib.sha256(bare.encode()).hexdigest()[:16] == FINGERPRINTS[WIRE_VERSION]


def _without_words(schema: object) -> object:
    """Return a schema without the docstrings in it."""
    if isinstance(schema, list):
        return [_without_words(item) for item in cast("list[object]", schema)]
    if isinstance(schema, dict):
        named = cast("dict[str, object]", schema)
        return {key: _without_words(value) for key, value in named.items() if key != "description"}
    return schema
