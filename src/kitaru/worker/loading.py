"""Finding the code of executions in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitaru.code_ref import CodeRef, add_import_root
from kitaru.errors import KitaruNotFoundError

if TYPE_CHECKING:
    from kitaru.authoring.flow import Flow
    from kitaru.model import ExecutionRecord

# For tests, whose flows may have been made in a function, where nobody finds them by name.
_flow_at_hand: Callable[[str], Flow[..., Any] | None] | None = None


def look_up_flows(find: Callable[[str], Flow[..., Any] | None] | None) -> None:
    """Have the flows of executions looked up by `find(code_ref)` first; `None` takes it back."""
    global _flow_at_hand  # noqa: PLW0603 - executions are continued in any thread
    _flow_at_hand = find


def load_flow(execution: ExecutionRecord, *, from_any_folder: bool = False) -> Flow[..., Any]:
    """Return the flow object whose code an execution runs.

    Args:
        execution: The execution.
        from_any_folder: Also where a module of the same name has been loaded from another folder; whoever
            says so asks `is_of_another_folder`.

    Raises:
        KitaruNotFoundError: Its module, script or name cannot be found here.
    """
    try:
        flow = find_flow(execution.code_root, execution.code_ref)
    except KitaruNotFoundError as error:
        message = (
            f"execution {execution.id!r} cannot go on here: {error.message} It stays as it is, and can"
            f" be continued as soon as the code is back."
        )
        raise KitaruNotFoundError(message) from error
    is_foreign = is_of_another_folder(execution.code_root, execution.code_ref, flow)
    if is_foreign and not from_any_folder:
        message = (
            f"execution {execution.id!r} cannot go on in this process, which has loaded another"
            f" {CodeRef.parse(execution.code_ref).module!r} than that of {execution.code_root!r}. Continue"
            f" it in a process of its own: `kitaru executions recover {execution.id}`."
        )
        raise KitaruNotFoundError(message)
    return flow


def find_flow(code_root: str, code_ref: str) -> Flow[..., Any]:
    """Return the flow that a reference names, importing its module if need be.

    Raises:
        KitaruNotFoundError: Its module, script or name cannot be found here.
    """
    from kitaru.authoring.flow import Flow

    if _flow_at_hand is not None and (known := _flow_at_hand(code_ref)) is not None:
        return known
    if code_root:
        add_import_root(code_root)
    found = CodeRef.parse(code_ref).load()
    if not isinstance(found, Flow):
        message = (
            f"{code_ref!r} is no flow any more, but {type(found).__name__}."
            f" Decorate it with `@flow` again."
        )
        raise KitaruNotFoundError(message)
    return found  # pyright: ignore[reportUnknownVariableType] - of any parameters


def is_of_another_folder(code_root: str, code_ref: str, flow: Flow[..., Any]) -> bool:
    """Whether an execution's module has been loaded from another folder, and its own still exists.

    Two folders may each have a `flows.py`, and a process can have one of them. Where the execution's own
    is gone, the folder has been moved, or a new version lies elsewhere, and that one serves.
    """
    module = CodeRef.parse(code_ref).module
    if not code_root or module.endswith(".py"):
        return False
    own = Path(code_root, *module.split("."))
    files = [file for file in (own.with_suffix(".py"), own / "__init__.py") if file.is_file()]
    loaded: str | None = getattr(sys.modules.get(flow.__module__), "__file__", None)
    return bool(files) and loaded is not None and Path(loaded).resolve() not in files
