"""What a project, and the server as a whole, has: flows, open questions, artifacts, projects, imports."""

from __future__ import annotations

import tempfile
from datetime import UTC
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter

from kitaru._version import __version__
from kitaru.attendant.presence import list_present
from kitaru.client import shapes
from kitaru.client.artifacts import Artifacts
from kitaru.clock import to_datetime
from kitaru.fleet import PresentWorker
from kitaru.server import documents
from kitaru.server.asking import (
    VISIBLE,
    AtDesk,
    InProject,
    Key,
    Limit,
    Moment,
    Word,
    answer,
    listed,
    once,
    problems,
)
from kitaru.server.cursors import read_key, write_key
from kitaru.server.desk import Desk
from kitaru.server.serving import Serving

router = APIRouter()

MOST_COUNTED = 10_000
"""Counts stop here, so that they cost the same however much is stored."""

ARCHIVE_TYPE = "application/octet-stream"


@router.get("/flows", response_model=documents.FlowList, responses=problems(), tags=["flows"])
def list_flows(
    desk: InProject,
    flow: Word = None,
    since: Annotated[
        Moment | None, Query(description="Only executions created at this moment or later.")
    ] = None,
) -> Response:
    """Show how a project's flows have fared: counts, rates and spans. Reads every execution it is about."""
    moment = since if since is None or since.tzinfo else since.replace(tzinfo=UTC)
    found = desk.statistics(flow=flow, since=moment)
    return listed(
        [shapes.flow_statistics(one) for one in found.flows],
        project=found.project,
        since=shapes.moment(found.since),
    )


@router.get("/waits", response_model=documents.WaitPage, responses=problems(), tags=["waits"])
def list_open_waits(desk: InProject, limit: Limit = 50, after: Word = None) -> Response:
    """List a project's open questions, oldest first."""
    found, following = desk.open_questions(
        limit=limit, after=None if after is None else read_key(after, (int, str, str))
    )
    return listed(
        [shapes.pending_wait(asked) for asked in found],
        next=None if following is None else write_key(following),
    )


@router.get(
    "/artifacts/{artifact_id:path}",
    response_model=documents.ArtifactValue,
    responses=problems(404, 409),
    tags=["artifacts"],
)
def get_artifact(
    desk: AtDesk,
    artifact_id: Annotated[
        str,
        PathParameter(
            description="As lists show it: `EXECUTION/CALL/…`.",
            min_length=1,
            max_length=1000,
            pattern=VISIBLE,
        ),
    ],
    with_value: Annotated[
        bool, Query(description="Say what it holds, as JSON-like values, without running anything.")
    ] = False,
) -> Response:
    """Show a kept value."""
    found = Artifacts(desk).get(artifact_id)
    shape = shapes.artifact(found)
    if with_value:
        shape["value"] = shapes.plain(found.describe())
    return answer(shape)


@router.get(
    "/projects", response_model=documents.ProjectList, responses=problems(), tags=["projects"]
)
def list_projects(desk: AtDesk) -> Response:
    """List the projects that have executions, by name."""
    return listed([{"name": name} for name in desk.store.list_projects()])


@router.get("/status", response_model=documents.Status, responses=problems(), tags=["server"])
def show_status(request: Request, desk: AtDesk) -> Response:
    """Show what this server is, what is there and what is to be done, over all projects."""
    serving = Serving.of(request)
    now = serving.store.clock.now()
    load = serving.store.measure_load(now=now, at_most=MOST_COUNTED)
    return answer(
        {
            "version": __version__,
            "project": desk.project,
            "store": serving.store.url,
            "now": shapes.moment(to_datetime(now)),
            "executions": {status.value: count for status, count in load.statuses.items()},
            "open_waits": load.open_questions,
            "due": load.due,
            "counted_up_to": MOST_COUNTED,
            "workers": [_worker(one) for one in list_present(serving.store, now=now)],
        }
    )


def _worker(present: PresentWorker) -> shapes.Shape:
    record = present.record
    flows = [ref for key in record.code_keys if (ref := key.partition("|")[2]) != "*"]
    return {
        "project": record.project,
        "stack": record.stack,
        "flows": list(dict.fromkeys(flows)),
        "concurrency": record.concurrency,
        "running": record.running,
        "seen_at": shapes.moment(to_datetime(record.seen_at)),
    }


@router.post(
    "/imports",
    response_model=documents.Execution,
    status_code=201,
    responses=problems(404, 409, 413),
    tags=["executions"],
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A file that `kitaru executions export` or `GET /executions/{id}/export` made.",
            "content": {ARCHIVE_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def import_execution(request: Request, key: Key = None) -> Response:
    """Bring in an exported execution. It keeps its id and its project; import what you trust."""
    serving = Serving.of(request)
    with tempfile.NamedTemporaryFile(prefix="kitaru-import-", suffix=".kitaru") as file:
        async for piece in request.stream():
            await serving.calls.run(file.write, piece)
        await serving.calls.run(file.flush)
        return await serving.calls.run(_import, request, Path(file.name), key)


def _import(request: Request, path: Path, key: str | None) -> Response:
    serving = Serving.of(request)
    client = "unknown" if request.client is None else request.client.host
    desk = Desk(serving, project=None, asker=f"http@{client}")
    brought = desk.import_values(path)

    def work(at: Desk) -> shapes.Shape:
        at.store.import_executions(brought.bundles)
        return shapes.execution(at.get(brought.manifest.exec_id))

    return once(
        request,
        desk,
        key,
        work,
        body=[member.sha256 for member in brought.manifest.members],
        status=201,
    )
