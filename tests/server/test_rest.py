"""What people, dashboards and scripts ask a server."""

from __future__ import annotations

import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from kitaru import codec
from kitaru.model import CallKind, CallStatus, ExecutionStatus, Outcome, StoredValue
from kitaru.server import create_app, documents
from kitaru.settings import Settings
from kitaru.store.sqlite import SQLiteStore
from tests.server.serving import RunningServer, serving
from tests.store.records import (
    FAILURE,
    NOW,
    SECOND,
    answered,
    artifact,
    attempt,
    call,
    claim,
    commit_one,
    create,
    entry,
    event,
    failed,
    finish,
    log_line,
    metadata,
    new_execution,
    park,
    question,
    run,
)

API = "/api/v1"
S = ExecutionStatus


@pytest.fixture
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as found:
        yield found


def problem_of(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    found = response.json()
    assert found["status"] == response.status_code
    return response.status_code, found["code"]


def kept(value: Any) -> StoredValue:
    encoded = codec.encode(value)
    return StoredValue(encoded.codec, bytes(encoded.data), None, len(encoded.data))


# --- lists and looks -------------------------------------------------------------------------


def test_executions_come_in_pages_newest_first(behind: SQLiteStore, client: httpx.Client) -> None:
    ids = [create(behind, created_at=NOW + number).id for number in range(5)]

    first = client.get(f"{API}/executions", params={"limit": 2}).json()
    behind.delete_execution(cancelled(behind, ids[3]))
    second = client.get(f"{API}/executions", params={"limit": 2, "after": first["next"]}).json()
    third = client.get(f"{API}/executions", params={"limit": 2, "after": second["next"]}).json()

    pages = [[item["exec_id"] for item in page["items"]] for page in (first, second, third)]
    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    assert (first["count"], third["next"]) == (2, None)


def cancelled(store: SQLiteStore, exec_id: str) -> str:
    return store.request_cancel(exec_id, by="me", now=NOW).id


def test_lists_are_about_a_project_and_what_is_asked_for(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    create(behind)
    wanted = finish(behind, S.FAILED, project="other", flow="audit", tags=("a",), stack="local")
    finish(behind, S.FAILED, project="other")

    asked = {"project": "other", "flow": "audit", "status": "failed", "tag": "a", "stack": "local"}
    found = client.get(f"{API}/executions", params=asked).json()

    assert [item["exec_id"] for item in found["items"]] == [wanted.id]
    assert client.get(f"{API}/executions").json()["count"] == 1
    assert [one["name"] for one in client.get(f"{API}/projects").json()["items"]] == [
        "default",
        "other",
    ]


def test_executions_are_found_by_how_their_id_begins(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    one, other = create(behind), create(behind)

    assert client.get(f"{API}/executions/{one.id}").json()["exec_id"] == one.id
    assert problem_of(client.get(f"{API}/executions/{one.id[:8]}")) == (409, "state")
    assert problem_of(client.get(f"{API}/executions/none")) == (404, "not_found")
    assert other.id != one.id


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/executions?limit=0", 422, "usage"),
        ("GET", "/executions?limit=1001", 422, "usage"),
        ("GET", "/executions?status=lost", 422, "usage"),
        ("GET", "/executions?after=nothing", 422, "usage"),
        ("GET", "/executions?flow=%00", 422, "usage"),
        ("GET", "/executions?project=", 422, "usage"),
        ("GET", "/flows?since=1700000000", 422, "usage"),
        ("GET", "/artifacts/none", 404, "not_found"),
        ("GET", "/nowhere", 404, "not_found"),
        ("PATCH", "/executions/x", 405, "usage"),
        ("POST", "/executions/none/retry", 404, "not_found"),
    ],
)
def test_bad_requests_are_answered_with_problems(
    client: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    assert problem_of(client.request(method, f"{API}{path}")) == (status, code)


def test_a_body_that_cannot_be_read_or_is_too_much_changes_nothing(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    execution = run(behind)
    park(behind, question(execution), execution=execution)
    path, kind = (
        f"{API}/executions/{execution.id}/waits/approve/input",
        {"Content-Type": "application/json"},
    )

    half = client.post(path, content=b'{"value": tr', headers=kind)
    deep = client.post(path, content=b'{"value":' + b"[" * 100_000, headers=kind)
    large = client.post(path, content=b" " * (64 * 1024 * 1024 + 1), headers=kind)

    assert problem_of(half) == (400, "usage")
    assert problem_of(deep)[0] in (400, 422)
    assert problem_of(large) == (413, "usage")
    assert [wait.answer for wait in behind.list_waits(execution.id)] == [None]


def test_a_refused_method_names_those_that_are_not(client: httpx.Client) -> None:
    assert client.patch(f"{API}/executions/x").headers["allow"] == "GET, DELETE"


# --- documents -------------------------------------------------------------------------------


@pytest.fixture
def full(behind: SQLiteStore) -> str:
    """Return an execution that has one of everything."""
    execution = run(behind)
    commit_one(
        behind,
        entry(
            execution,
            call(status=CallStatus.FAILED),
            attempts=(attempt(),),
            artifacts=(artifact(value=kept([1, 2])),),
            metadata=(metadata(),),
            events=(event(payload='{"message": "half way"}'),),
            waits=(question(execution),),
            outcome=failed(NOW + SECOND),
        ),
    )
    behind.append_logs([log_line(execution.id, "hello"), log_line(execution.id, "there")])
    return execution.id


DOCUMENTS: list[tuple[str, type[BaseModel]]] = [
    ("/executions", documents.ExecutionPage),
    ("/executions/{id}", documents.Execution),
    ("/executions/{id}/checkpoints", documents.CheckpointList),
    ("/executions/{id}/artifacts", documents.ArtifactList),
    ("/executions/{id}/waits", documents.WaitList),
    ("/executions/{id}/logs", documents.LogPage),
    ("/executions/{id}/events", documents.EventPage),
    ("/executions/{id}/why", documents.Explanation),
    ("/executions/{id}/inputs", documents.Value),
    ("/executions/{id}/diff/{other}", documents.Diff),
    ("/artifacts/{artifact}?with_value=true", documents.ArtifactValue),
    ("/flows", documents.FlowList),
    ("/waits", documents.WaitPage),
    ("/projects", documents.ProjectList),
    ("/status", documents.Status),
]


@pytest.mark.parametrize(("path", "model"), DOCUMENTS, ids=str)
def test_answers_have_what_their_document_says_and_nothing_else(
    behind: SQLiteStore, client: httpx.Client, full: str, path: str, model: type[BaseModel]
) -> None:
    other = finish(behind)
    asking = run(behind)
    park(behind, question(asking, position="wait:next#1"), execution=asking)
    kept_id = client.get(f"{API}/executions/{full}/artifacts").json()["items"][0]["artifact_id"]

    found = client.get(API + path.format(id=full, other=other.id, artifact=kept_id)).json()

    model.model_validate(found)
    assert list(undescribed(model, found, "")) == []


def undescribed(model: type[BaseModel], found: dict[str, Any], at: str) -> Iterator[str]:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    yield from (f"{at}.{name}" for name in found.keys() - fields.keys())
    for name, field in fields.items():
        inner, value = model_in(field.annotation), found.get(name)
        if inner is not None and value is not None:
            for one in value if isinstance(value, list) else [value]:
                yield from undescribed(inner, one, f"{at}.{name}")


def model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (list, types.UnionType, typing.Union):
        found = (model_in(part) for part in typing.get_args(annotation))
        return next((one for one in found if one is not None), None)
    return None


def test_pages_of_logs_and_events_go_on_where_the_one_before_ended(
    client: httpx.Client, full: str
) -> None:
    for kind, key in (("logs", "message"), ("events", "kind")):
        whole = client.get(f"{API}/executions/{full}/{kind}").json()["items"]
        parts: list[Any] = []
        after = None
        while True:
            given = {"limit": 1} | ({} if after is None else {"after": after})
            page = client.get(f"{API}/executions/{full}/{kind}", params=given).json()
            parts += page["items"]
            if (after := page["next"]) is None:
                break
        assert [one[key] for one in parts] == [one[key] for one in whole]
        assert len(whole) == 2


# --- acting ----------------------------------------------------------------------------------


def test_a_failed_execution_is_made_pending_with_the_failed_call_and_child(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    parent = run(behind)
    child = run(behind, parent_id=parent.id, parent_position="child#1")
    commit_one(behind, entry(child, outcome=failed()))
    blamed = replace(FAILURE, positions=("fetch#1", "child#1"))
    calls = (
        call(status=CallStatus.FAILED),
        call("child#1", kind=CallKind.CHILD, output=kept(child.id)),
    )
    outcome = Outcome(status=S.FAILED, failure=blamed, ended_at=NOW)
    commit_one(behind, entry(parent, *calls, outcome=outcome))

    done = client.post(f"{API}/executions/{parent.id}/retry")

    assert (done.status_code, done.json()["status"]) == (200, "pending")
    assert behind.get_execution(child.id).status is S.PENDING
    assert [one.status for one in behind.list_calls(parent.id)] == [
        CallStatus.PENDING,
        CallStatus.COMPLETED,
    ]


@pytest.mark.parametrize("action", ["retry", "resume", "recover", "cancel"])
def test_what_is_over_cannot_be_acted_on(
    behind: SQLiteStore, client: httpx.Client, action: str
) -> None:
    execution = finish(behind)

    assert problem_of(client.post(f"{API}/executions/{execution.id}/{action}")) == (409, "state")


def test_a_held_execution_is_recovered_to_be_taken_up_by_anyone(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    execution = run(behind)
    held = Outcome(status=S.PENDING, reason="released", runnable_at=NOW, held_at=NOW)
    commit_one(behind, entry(execution, outcome=held))
    assert behind.find_pending_ids(now=NOW, limit=5) == []

    done = client.post(f"{API}/executions/{execution.id}/recover")

    assert (done.status_code, done.json()["status"]) == (200, "pending")
    now = behind.clock.now()
    assert behind.find_pending_ids(now=now, limit=5) == [execution.id]
    assert behind.get_execution(execution.id).recoveries == 0


def test_an_execution_whose_lease_ran_out_is_recovered(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    lost = run(behind)

    done = client.post(f"{API}/executions/{lost.id}/recover")

    assert (done.json()["status"], done.json()["recoveries"]) == ("pending", 1)


def test_an_execution_is_resumed_once_it_waits_for_nothing(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    execution = run(behind)
    park(behind, question(execution), execution=execution)
    path = f"{API}/executions/{execution.id}/resume"

    waiting = client.post(path)
    behind.resolve_wait(execution.id, "wait:approve#1", answered(), now=NOW)
    resumed = client.post(path)

    assert problem_of(waiting) == (409, "state")
    assert "an answer to 'approve-1'" in waiting.json()["detail"]
    assert (resumed.status_code, resumed.json()["status"]) == (200, "pending")


def test_an_answer_is_checked_and_kept_with_who_gave_it(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    execution = run(behind)
    park(behind, question(execution), execution=execution)
    path = f"{API}/executions/{execution.id}/waits/approve/input"

    wrong = client.post(path, json={"value": "perhaps"})
    unknown = client.post(path, json={"value": True, "by": "me"})
    right = client.post(path, json={"value": True})
    again = client.post(path, json={"value": True})

    assert problem_of(wrong) == (422, "wait_validation")
    assert problem_of(unknown) == (422, "usage")
    assert right.json()["status"] == "pending"
    assert problem_of(again) == (409, "state")
    [wait] = behind.list_waits(execution.id)
    assert (wait.answer, wait.resolved_by, wait.resolved_via) == ("true", "http@127.0.0.1", "http")


def test_a_question_is_aborted_by_its_position(behind: SQLiteStore, client: httpx.Client) -> None:
    execution = run(behind)
    park(behind, question(execution, "s.1/wait:go#1"), execution=execution)

    done = client.post(f"{API}/executions/{execution.id}/waits/s.1%2Fwait:go%231/abort")

    assert done.status_code == 200
    assert [wait["status"] for wait in done.json()["waits"]] == ["aborted"]


def test_an_execution_is_cancelled_and_then_deleted(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    execution = create(behind)
    path = f"{API}/executions/{execution.id}"

    early = client.delete(path)
    done = client.post(f"{path}/cancel").json()
    gone = client.delete(path)

    assert problem_of(early) == (409, "state")
    assert (done["status"], done["cancel_requested_by"]) == ("cancelled", "http@127.0.0.1")
    assert (gone.status_code, gone.content) == (204, b"")
    assert problem_of(client.get(path)) == (404, "not_found")


# --- once ------------------------------------------------------------------------------------


def test_a_request_with_a_key_is_done_once_and_answered_the_same(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    execution = create(behind)
    path, key = f"{API}/executions/{execution.id}/cancel", {"Idempotency-Key": "k-1"}

    first, second = client.post(path, headers=key), client.post(path, headers=key)
    without = client.post(path)

    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    assert problem_of(without) == (409, "state")


def test_a_key_is_refused_for_another_request(behind: SQLiteStore, client: httpx.Client) -> None:
    one, other, key = create(behind), create(behind), {"Idempotency-Key": "k-1"}
    client.post(f"{API}/executions/{one.id}/cancel", headers=key)

    done = client.post(f"{API}/executions/{other.id}/cancel", headers=key)

    assert problem_of(done) == (422, "usage")
    assert behind.get_execution(other.id).status is S.PENDING


def test_a_request_that_failed_is_tried_again_with_its_key(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    execution = run(behind)
    path, key = f"{API}/executions/{execution.id}/retry", {"Idempotency-Key": "k-1"}

    early = client.post(path, headers=key)
    commit_one(behind, entry(execution, outcome=failed()))
    done = client.post(path, headers=key)

    assert (early.status_code, done.status_code) == (409, 200)


# --- files -----------------------------------------------------------------------------------


def test_an_execution_goes_out_as_a_file_and_comes_in_once(
    behind: SQLiteStore, client: httpx.Client, full: str
) -> None:
    file = client.get(f"{API}/executions/{full[:36]}/export")
    before = client.get(f"{API}/executions/{full}").json()
    kind = {"Content-Type": "application/octet-stream"}

    taken = client.post(f"{API}/imports", content=file.content, headers=kind)
    behind.delete_execution(full)
    key = {**kind, "Idempotency-Key": "k"}
    done = client.post(f"{API}/imports", content=file.content, headers=key)
    again = client.post(f"{API}/imports", content=file.content, headers=key)
    damaged = client.post(f"{API}/imports", content=file.content[:-40], headers=kind)

    assert file.headers["content-disposition"] == f'attachment; filename="{full}.kitaru"'
    assert problem_of(taken) == (409, "state")
    assert (done.status_code, again.status_code) == (201, 201)
    assert done.json() == again.json() == before
    assert problem_of(damaged) == (422, "usage")
    assert "/tmp" not in damaged.json()["detail"]


def test_values_are_described_and_never_run(behind: SQLiteStore, client: httpx.Client) -> None:
    execution = run(behind, inputs=kept({"topic": "owls"}))
    outcome = Outcome(status=S.COMPLETED, result=kept([1, {2}]), ended_at=NOW)
    commit_one(behind, entry(execution, outcome=outcome))
    path = f"{API}/executions/{execution.id}"

    assert client.get(f"{path}/inputs").json() == {"value": {"topic": "owls"}}
    result = client.get(f"{path}/result").json()["value"]
    assert result[0] == 1
    assert problem_of(client.get(f"{API}/executions/{create(behind).id}/result")) == (409, "state")


# --- the server itself -----------------------------------------------------------------------


def test_health_is_told_and_what_is_there_is_counted(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    create(behind)
    asking = run(behind)
    park(behind, question(asking), execution=asking)

    ready, health = client.get("/readyz"), client.get("/healthz")
    told = client.get("/metrics").text.splitlines()

    assert (ready.status_code, health.status_code) == (200, 200)
    assert 'kitaru_executions{status="pending"} 1.0' in told
    assert 'kitaru_executions{status="waiting"} 1.0' in told
    assert "kitaru_queue_depth 1.0" in told
    assert "kitaru_open_waits 1.0" in told
    assert "kitaru_store_up 1.0" in told
    asked = 'kitaru_http_request_seconds_count{method="GET",route="/healthz",status="200"} 1.0'
    assert asked in told


def test_metrics_have_one_series_for_all_executions(
    behind: SQLiteStore, client: httpx.Client
) -> None:
    for _ in range(3):
        client.get(f"{API}/executions/{create(behind).id}")
    client.get(f"{API}/{'x' * 50}")

    told = client.get("/metrics").text
    route = f'route="{API}/executions/{{exec_id}}",status="200"'
    assert f'kitaru_http_request_seconds_count{{method="GET",{route}}} 3.0' in told
    assert "xxx" not in told


def test_a_store_that_does_not_answer_makes_a_server_unready_not_dead(
    server_settings: Settings, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database at all, but text" * 40)
    store = SQLiteStore(broken, at_once=False)

    with (
        serving(lambda: create_app(server_settings, store=store)) as server,
        httpx.Client(base_url=server.url, timeout=20) as client,
    ):
        ready, health = client.get("/readyz"), client.get("/healthz")
        told = client.get("/metrics").text

    assert problem_of(ready) == (503, "backend")
    assert "retry-after" in ready.headers
    assert health.status_code == 200
    assert "kitaru_store_up 0.0" in told
    store.close()


def test_a_server_never_loads_what_runs_flows(config_dir: Path) -> None:
    program = dedent(
        """
        import sys
        import httpx
        from kitaru import settings
        from kitaru.server import create_app
        from tests.server.serving import serving
        from tests.store.records import create, finish, park, question, run

        from kitaru.store import open_store
        store = open_store(settings.current().store_url)
        done, asking, pending = finish(store), run(store), create(store)
        park(store, question(asking), execution=asking)
        with serving(lambda: create_app(settings.current())) as server:
            at = f"{server.url}/api/v1/executions"
            for path in ("", *[f"/{done.id}{sub}" for sub in ("", "/why", "/result", "/export")]):
                assert httpx.get(at + path).status_code == 200, path
            assert httpx.get(f"{at}/{pending.id}/why").status_code == 200
            answer = httpx.post(f"{at}/{asking.id}/waits/approve/input", json={"value": True})
            assert answer.status_code == 200, answer.text
            assert httpx.post(f"{at}/{pending.id}/cancel").status_code == 200
            assert httpx.delete(f"{at}/{done.id}").status_code == 204
        found = [name for name in sys.modules if name.startswith(("kitaru.worker", "kitaru.authoring"))]
        print(found)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_claims_commits_and_losses_are_measured(
    behind: SQLiteStore, store: Any, client: httpx.Client
) -> None:
    execution = store.commit([new_execution()])[0].execution
    claimed = store.claim_executions(
        claim("one"), now=NOW + 2 * SECOND, limit=1, exec_ids=[execution.id]
    )
    store.renew_leases("other", [(execution.id, 7)], lease_expires_at=NOW)
    store.reap(now=NOW + 100 * SECOND, dead_owners=[])

    told = client.get("/metrics").text.splitlines()

    route = f'route="{API}/store/{{operation}}",status="200"'
    assert f'kitaru_http_request_seconds_count{{method="POST",{route}}} 4.0' in told
    assert len(claimed) == 1
    assert "kitaru_commit_seconds_count 1.0" in told
    assert "kitaru_claim_latency_seconds_sum 2.0" in told
    assert "kitaru_leases_lost_total 1.0" in told
    assert "kitaru_executions_reaped_total 1.0" in told


# --- browsers --------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_somewhere_else_gets_nothing_done(
    behind: SQLiteStore, client: httpx.Client, origin: str
) -> None:
    execution = create(behind)
    path = f"{API}/executions/{execution.id}/cancel"

    done = client.post(path, headers={"Origin": origin})

    assert problem_of(done) == (403, "auth")
    assert behind.get_execution(execution.id).status is S.PENDING
    own = client.post(path, headers={"Origin": str(client.base_url).rstrip("/")})
    assert own.status_code == 200


def test_a_name_that_was_made_to_mean_this_machine_opens_nothing(
    server_settings: Settings, behind: SQLiteStore
) -> None:
    app = create_app(server_settings, store=behind, only_loopback=True)
    with serving(lambda: app) as server, httpx.Client(base_url=server.url) as client:
        path = f"{API}/executions"
        hosts = ["evil.example", f"evil.example:{server.port}", "[::1", "", "192.0.2.1"]
        refused = [client.get(path, headers={"Host": host}) for host in hosts]
        fine = [client.get(path, headers={"Host": host}) for host in ("localhost:1", "[::1]:8422")]

    assert [problem_of(one) for one in refused] == [(403, "auth")] * len(hosts)
    assert [one.status_code for one in fine] == [200, 200]
