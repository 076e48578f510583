"""Requests made from the OpenAPI document: no answer is a failure, or other than the document says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import CHECKS, load_all_checks

from kitaru import settings
from kitaru.model import ExecutionStatus
from kitaru.server import create_app
from kitaru.settings import Settings
from kitaru.store import open_store
from tests.server.serving import RunningServer, serving
from tests.store.records import (
    artifact,
    call,
    commit_one,
    create,
    entry,
    event,
    finish,
    log_line,
    metadata,
    park,
    question,
    run,
)

load_all_checks()


S = ExecutionStatus

# The document depends on no store, and tests are collected from it before there is one.
NOWHERE = Settings(
    config_dir=Path("/nowhere"), store_url="sqlite:///nowhere", artifact_store="file:///nowhere"
)
schema = schemathesis.openapi.from_dict(create_app(NOWHERE).openapi())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Return a server that has executions of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KITARU_CONFIG_PATH", str(tmp_path_factory.mktemp("kitaru")))
        settings.forget()
        present = settings.current()
    store = open_store(present.store_url)
    for _ in range(3):
        create(store)
        for status in (S.COMPLETED, S.FAILED, S.CANCELLED):
            finish(store, status)
        full = run(store)
        told = entry(
            full, call(), artifacts=(artifact(),), metadata=(metadata(),), events=(event(),)
        )
        commit_one(store, told)
        store.append_logs([log_line(full.id)])
        asking = run(store)
        park(store, question(asking), execution=asking)
    with serving(lambda: create_app(present)) as running:
        yield running
    store.close()
    settings.forget()


# No schema can tell whether a cursor is one that the server gave, or a key one that was used before.
_BEYOND_SCHEMAS: list[Any] = [CHECKS.get_one("positive_data_acceptance")]


@pytest.mark.slow
@schema.parametrize()  # pyright: ignore[reportUntypedFunctionDecorator] - as the library has it
@hypothesis_settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_answers_are_as_the_document_says_whatever_is_asked(
    case: schemathesis.Case, server: RunningServer
) -> None:
    case.call_and_validate(base_url=server.url, excluded_checks=_BEYOND_SCHEMAS)
