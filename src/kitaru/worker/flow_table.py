"""The flows of the modules that a worker was started with, and which executions are of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitaru.code_ref import CodeRef, add_import_root, find_module, load_script
from kitaru.errors import KitaruNotFoundError, KitaruUsageError
from kitaru.fleet import code_key
from kitaru.worker.loading import is_of_another_folder

if TYPE_CHECKING:
    from types import ModuleType

    from kitaru.authoring.flow import Flow


class FlowTable:
    """Flows by what executions may call their code.

    A file that is run as a script and one that is imported as a module name the same flow differently
    (`/src/flows.py:release`, `flows:release`). Whoever serves the file serves both.

    Attributes:
        names: Of the flows, in order.
        known: The flows by the keys that executions started from the same folders have.
    """

    def __init__(self, flows: Sequence[Flow[..., Any]]) -> None:
        self._flows = {str(flow.code_ref): flow for flow in flows}
        self._aliases = {alias: flow for flow in flows for alias in _aliases(flow)}
        self.names = tuple(sorted({flow.name for flow in flows}))
        self.known = {
            **{code_key(*alias): flow for alias, flow in self._aliases.items()},
            **{code_key(flow.code_root, str(flow.code_ref)): flow for flow in flows},
        }

    def find(self, code_root: str, code_ref: str) -> Flow[..., Any] | None:
        """Return the flow that executions name so, if it is one of these and from their folder."""
        flow = self._flows.get(code_ref)
        if flow is not None:
            return None if is_of_another_folder(code_root, code_ref, flow) else flow
        # A script may be named from whichever folder it was started in.
        return self._aliases.get((code_root, code_ref)) or self._aliases.get(("", code_ref))


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


def _aliases(flow: Flow[..., Any]) -> list[tuple[str, str]]:
    """Return root and reference of how else executions may name a flow's code."""
    ref = flow.code_ref
    if ref.module.endswith(".py"):
        file = Path(ref.module)
        return [(str(file.parent), str(CodeRef(file.stem, ref.qualname)))]
    if not flow.code_root:
        return []
    file = Path(flow.code_root, *ref.module.split(".")).with_suffix(".py")
    return [("", str(CodeRef(str(file), ref.qualname)))]
