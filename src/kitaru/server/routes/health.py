"""`/healthz`, `/readyz` and `/metrics`: for load balancers, supervisors and Prometheus."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from kitaru.errors import KitaruBackendError
from kitaru.server import documents
from kitaru.server.asking import answer, problems
from kitaru.server.metrics import Metrics
from kitaru.server.serving import Serving

router = APIRouter(tags=["server"])

_SOON_SECONDS = 2.0


class Readiness:
    """Whether a server's store answers soon.

    However many ask, one question is on its way: a store that is away for minutes must not have all the
    server's threads wait for it.
    """

    def __init__(self) -> None:
        self._question: asyncio.Task[object] | None = None

    async def check(self, serving: Serving) -> None:
        """Return if it does.

        Raises:
            KitaruBackendError: It does not, or cannot be used.
        """
        if self._question is None or self._question.done():
            # The first use of a connection checks the schema; this is a use, and a small one.
            self._question = asyncio.create_task(
                serving.calls.run(serving.store.get_statuses, ["none"])
            )
            # Looked at even if whoever asked has gone: asyncio complains of an error that nobody sees.
            self._question.add_done_callback(lambda task: task.cancelled() or task.exception())
        done, _ = await asyncio.wait({self._question}, timeout=_SOON_SECONDS)
        if not done:
            message = f"the store {serving.store.url!r} has not answered for {_SOON_SECONDS:g} s."
            raise KitaruBackendError(message)
        self._question.result()


@router.get("/healthz", response_model=documents.Health)
async def tell_health() -> Response:
    """Tell that the process lives, whatever the database does."""
    return answer({"status": "ok"})


@router.get("/readyz", response_model=documents.Health, responses=problems())
async def tell_readiness(request: Request) -> Response:
    """Tell that requests can be answered: the store answers, and its schema is this version's."""
    readiness: Readiness = request.app.state.readiness
    await readiness.check(Serving.of(request))
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
