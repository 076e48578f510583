"""`/executions`: look executions up, and act on them."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from kitaru.client import shapes
from kitaru.model import ExecutionStatus
from kitaru.server import documents
from kitaru.server.asking import (
    VISIBLE,
    AtDesk,
    ExecId,
    InProject,
    Key,
    Limit,
    Word,
    answer,
    listed,
    once,
    problems,
)
from kitaru.server.cursors import read_key, write_key
from kitaru.server.desk import Desk

router = APIRouter(prefix="/executions", tags=["executions"])

WaitName = Annotated[
    str,
    PathParameter(
        description="A question's name, id or position.",
        min_length=1,
        max_length=500,
        pattern=VISIBLE,
    ),
]
ARCHIVE_TYPE = "application/zip"


@router.get("", response_model=documents.ExecutionPage, responses=problems())
def list_executions(
    desk: InProject,
    flow: Word = None,
    status: ExecutionStatus | None = None,
    stack: Word = None,
    tag: Word = None,
    limit: Limit = 50,
    after: Word = None,
) -> Response:
    """List a project's executions, newest first."""
    found, following = desk.page(
        flow=flow,
        status=status,
        stack=stack,
        tag=tag,
        limit=limit,
        before=None if after is None else read_key(after, (int, str)),
    )
    items = [shapes.execution_summary(execution) for execution in found]
    return listed(items, next=None if following is None else write_key(following))


@router.get("/{exec_id}", response_model=documents.Execution, responses=problems(404, 409))
def get_execution(desk: AtDesk, exec_id: ExecId) -> Response:
    """Show an execution with its checkpoints, artifacts and questions."""
    return answer(shapes.execution(desk.get(exec_id)))


@router.delete("/{exec_id}", status_code=204, responses=problems(404, 409))
def delete_execution(desk: AtDesk, exec_id: ExecId) -> Response:
    """Remove a finished execution with all that it has kept, and its children."""
    desk.delete(exec_id)
    return Response(status_code=204)


@router.get(
    "/{exec_id}/checkpoints",
    response_model=documents.CheckpointList,
    responses=problems(404, 409),
)
def list_checkpoints(desk: AtDesk, exec_id: ExecId) -> Response:
    """List an execution's calls in the order in which they began."""
    return listed([shapes.checkpoint(call) for call in desk.get(exec_id).checkpoints])


@router.get(
    "/{exec_id}/artifacts", response_model=documents.ArtifactList, responses=problems(404, 409)
)
def list_artifacts(desk: AtDesk, exec_id: ExecId) -> Response:
    """List what an execution has kept."""
    return listed([shapes.artifact(kept) for kept in desk.get(exec_id).artifacts])


@router.get("/{exec_id}/waits", response_model=documents.WaitList, responses=problems(404, 409))
def list_waits(desk: AtDesk, exec_id: ExecId) -> Response:
    """List an execution's questions, open and over, in the order in which they were asked."""
    return listed([shapes.wait(asked) for asked in desk.get(exec_id).waits])


@router.get("/{exec_id}/why", response_model=documents.Explanation, responses=problems(404, 409))
def explain(desk: AtDesk, exec_id: ExecId) -> Response:
    """Say why an execution is in its state, and what would move it."""
    return answer(shapes.explanation(desk.why(exec_id)))


@router.get("/{exec_id}/inputs", response_model=documents.Value, responses=problems(404, 409))
def show_inputs(desk: AtDesk, exec_id: ExecId) -> Response:
    """Show the flow's arguments by name, as JSON-like values."""
    return answer({"value": shapes.plain(desk.get(exec_id).describe_inputs())})


@router.get("/{exec_id}/result", response_model=documents.Value, responses=problems(404, 409))
def show_result(desk: AtDesk, exec_id: ExecId) -> Response:
    """Show what the flow returned, as JSON-like values; 409 if it has not completed."""
    return answer({"value": shapes.plain(desk.get(exec_id).describe_result())})


@router.get("/{exec_id}/diff/{other}", response_model=documents.Diff, responses=problems(404, 409))
def compare(desk: AtDesk, exec_id: ExecId, other: ExecId) -> Response:
    """Compare two executions: inputs, result, and call by call."""
    return answer(shapes.diff(desk.diff(exec_id, other)))


@router.get(
    "/{exec_id}/export",
    response_class=FileResponse,
    responses={
        **problems(404, 409),
        200: {
            "description": "A file for `kitaru executions import` and `POST /imports`.",
            "content": {ARCHIVE_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        },
    },
)
def export(desk: AtDesk, exec_id: ExecId) -> Response:
    """Send an execution, its descendants and their large values as one file."""
    found = desk.id_of(exec_id)
    folder = tempfile.mkdtemp(prefix="kitaru-export-")
    try:
        file = desk.export(found, Path(folder) / f"{found}.kitaru")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    done = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(file, media_type=ARCHIVE_TYPE, filename=file.name, background=done)


@router.post("/{exec_id}/retry", response_model=documents.Execution, responses=problems(404, 409))
def retry(request: Request, desk: AtDesk, exec_id: ExecId, key: Key = None) -> Response:
    """Make a failed execution pending; workers take it up. Recorded calls are not repeated."""
    return once(request, desk, key, lambda at: shapes.execution(at.retry(exec_id)))


@router.post("/{exec_id}/resume", response_model=documents.Execution, responses=problems(404, 409))
def resume(request: Request, desk: AtDesk, exec_id: ExecId, key: Key = None) -> Response:
    """Make an execution runnable at once that waits for nothing any more."""
    return once(request, desk, key, lambda at: shapes.execution(at.resume(exec_id)))


@router.post("/{exec_id}/recover", response_model=documents.Execution, responses=problems(404, 409))
def recover(request: Request, desk: AtDesk, exec_id: ExecId, key: Key = None) -> Response:
    """Make an interrupted execution runnable at once: its runner is gone, or it was stopped by hand."""
    return once(request, desk, key, lambda at: shapes.execution(at.recover_one(exec_id)))


@router.post("/{exec_id}/cancel", response_model=documents.Execution, responses=problems(404, 409))
def cancel(request: Request, desk: AtDesk, exec_id: ExecId, key: Key = None) -> Response:
    """Ask for an execution and its children to be cancelled; a running one notices within seconds."""
    return once(request, desk, key, lambda at: shapes.execution(at.cancel(exec_id)))


def _answered(desk: Desk, exec_id: str, wait: str, value: Any) -> shapes.Shape:
    return shapes.execution(desk.input(exec_id, wait=wait, value=value, via="http"))


@router.post(
    "/{exec_id}/waits/{wait:path}/input",
    response_model=documents.Execution,
    responses=problems(404, 409, 413),
)
def answer_wait(
    request: Request,
    desk: AtDesk,
    exec_id: ExecId,
    wait: WaitName,
    body: documents.Answer,
    key: Key = None,
) -> Response:
    """Answer a question by its name, id or position; the execution goes on wherever someone runs it."""
    return once(
        request,
        desk,
        key,
        lambda at: _answered(at, exec_id, wait, body.value),
        body=json.dumps(body.value, sort_keys=True),
    )


@router.post(
    "/{exec_id}/waits/{wait:path}/abort",
    response_model=documents.Execution,
    responses=problems(404, 409),
)
def abort_wait(
    request: Request, desk: AtDesk, exec_id: ExecId, wait: WaitName, key: Key = None
) -> Response:
    """Abort a question: the flow gets `KitaruWaitAbortedError`."""
    return once(
        request,
        desk,
        key,
        lambda at: shapes.execution(at.abort_wait(exec_id, wait=wait, via="http")),
    )
