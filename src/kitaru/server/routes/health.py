"""`/healthz`, `/readyz` and `/metrics`: for load balancers, supervisors and Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from kitaru.server import documents
from kitaru.server.asking import answer, problems
from kitaru.server.metrics import Metrics
from kitaru.server.serving import Serving

router = APIRouter(tags=["server"])


@router.get("/healthz", response_model=documents.Health)
async def tell_health() -> Response:
    """Tell that the process lives, whatever the database does."""
    return answer({"status": "ok"})


@router.get("/readyz", response_model=documents.Health, responses=problems())
def tell_readiness(request: Request) -> Response:
    """Tell that requests can be answered: the store answers, and its schema is this version's."""
    store = Serving.of(request).store
    # The first use of a connection checks the schema; this is a use, and a small one.
    store.get_statuses(["none"])
    return answer({"status": "ok"})


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        **problems(),
        200: {
            "description": "Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    },
)
def tell_metrics(request: Request) -> Response:
    """Tell Prometheus how much there is, how fast the store is, and what was asked."""
    metrics: Metrics = request.app.state.metrics
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
