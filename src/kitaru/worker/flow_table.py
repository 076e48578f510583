"""The flows of the modules that a worker was started with, and which executions are of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitaru.code_ref import CodeRef, add_import_root, find_module, load_script
from kitaru.errors import KitaruNotFoundError, KitaruUsageError

if TYPE_CHECKING:
    from types import ModuleType

    from kitaru.authoring.flow import Flow
    from kitaru.model import ExecutionRecord


class FlowTable:
    """Flows by the references under which executions may name their code.

    A file that is run as a script and one that is imported as a module name the same flow differently
    (`/src/flows.py:release`, `flows:release`). Whoever serves the file serves both.
    """

    def __init__(self, flows: Sequence[Flow[..., Any]]) -> None:
        self._flows = {ref: flow for flow in flows for ref in _references(flow)}
        self.names = tuple(sorted({flow.name for flow in flows}))

    @property
    def code_refs(self) -> tuple[str, ...]:
        """Every reference, in order."""
        return tuple(sorted(self._flows))

    def find(self, execution: ExecutionRecord) -> Flow[..., Any] | None:
        """Return an execution's flow, if it is one of these."""
        return self._flows.get(execution.code_ref)


def load_flows(targets: Sequence[str]) -> FlowTable:
    """Import modules, given as `package.module` or `path/to/file.py`, and return the flows in them.

    Raises:
        KitaruNotFoundError: There is no such module or file.
        KitaruUsageError: It has no flows, or cannot be imported.
    """
    add_import_root(str(Path.cwd()))
    flows: list[Flow[..., Any]] = []
    for target in targets:
        found = _flows_of(_load(target))
        if not found:
            message = (
                f"module {target!r} has no flows: nothing in it is decorated with `@flow`."
                f" Name the module that defines or imports them."
            )
            raise KitaruUsageError(message)
        flows += found
    return FlowTable(flows)


def _load(target: str) -> ModuleType:
    if ":" in target and not Path(target).exists():
        module = target.rpartition(":")[0]
        message = f"expected a module or a file, got: {target!r}. A worker serves all flows of {module!r}."
        raise KitaruUsageError(message)
    is_file = target.endswith(".py")
    if is_file and not Path(target).is_file():
        message = f"the file {target!r} does not exist; there are no flows to serve."
        raise KitaruNotFoundError(message)
    try:
        return load_script(target) if is_file else find_module(target)
    except (KitaruNotFoundError, KitaruUsageError):
        raise
    except Exception as error:
        message = f"module {target!r} cannot be imported: {type(error).__name__}: {error}."
        raise KitaruUsageError(message) from error


def _flows_of(module: ModuleType) -> list[Flow[..., Any]]:
    from kitaru.authoring.flow import Flow

    found: dict[str, Flow[..., Any]] = {}
    for value in vars(module).values():
        if isinstance(value, Flow):
            flow: Flow[..., Any] = value  # pyright: ignore[reportUnknownVariableType] - of any parameters
            found[str(flow.code_ref)] = flow
    return list(found.values())


def _references(flow: Flow[..., Any]) -> list[str]:
    ref = flow.code_ref
    references = [str(ref)]
    if ref.module.endswith(".py"):
        references.append(str(CodeRef(Path(ref.module).stem, ref.qualname)))
    elif flow.code_root:
        file = Path(flow.code_root, *ref.module.split(".")).with_suffix(".py")
        references.append(str(CodeRef(str(file), ref.qualname)))
    return references
