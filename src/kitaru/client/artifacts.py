"""`client.artifacts`: the outputs of checkpoints and what `kitaru.save` was given."""

from __future__ import annotations

from kitaru.client.bounds import check_bounds
from kitaru.client.executions import Executions
from kitaru.client.models import ArtifactRef
from kitaru.errors import KitaruNotFoundError

# Inside a class that has a method `list`, annotations cannot say so.
ArtifactList = list[ArtifactRef]


class Artifacts:
    """What executions have kept."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions

    def list(
        self,
        exec_id: str,
        *,
        name: str | None = None,
        kind: str | None = None,
        producing_call: str | None = None,
        limit: int | None = None,
    ) -> ArtifactList:
        """Return an execution's artifacts in the order of its calls.

        Raises:
            KitaruUsageError: `limit` is below 1.
        """
        check_bounds(limit=limit)
        found = [
            artifact
            for artifact in self._executions.get(exec_id).artifacts
            if name in {None, artifact.name}
            and kind in {None, artifact.kind}
            and producing_call in {None, artifact.producing_call}
        ]
        return found[:limit]

    def get(self, artifact_id: str) -> ArtifactRef:
        """Return one artifact by its whole id.

        Raises:
            KitaruNotFoundError: There is none.
        """
        exec_id, slash, _ = artifact_id.partition("/")
        if slash:
            for artifact in self._executions.get(exec_id).artifacts:
                if artifact.artifact_id == artifact_id:
                    return artifact
        message = (
            f"no artifact has the id {artifact_id!r}. Ids read `EXECUTION/CALL/…`;"
            f" `client.artifacts.list(exec_id)` shows them."
        )
        raise KitaruNotFoundError(message)
