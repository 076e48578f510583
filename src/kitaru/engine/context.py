"""Where user code is: in which execution's flow scope, and inside which call's body.

ContextVars follow threads that Kitaru starts, asyncio tasks and `asyncio.to_thread`; a thread that user
code starts on its own has neither, and Kitaru's functions say so there.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import TYPE_CHECKING

from kitaru.errors import KitaruContextError

if TYPE_CHECKING:
    from kitaru.engine.calls import ActiveCall
    from kitaru.engine.scope import Scope

current_scope: ContextVar[Scope | None] = ContextVar("kitaru_scope", default=None)
current_call: ContextVar[ActiveCall | None] = ContextVar("kitaru_call", default=None)

_OUTSIDE = (
    "{what} was used outside a flow. Call it from a function decorated with `@flow`, started with"
    " `.run()`. Threads and processes that you start yourself do not carry the flow's context: use"
    " `.submit()`, `.map()` or `asyncio`, or start a thread with `contextvars.copy_context().run`."
)
_INSIDE_CALL = (
    "{what} was used inside checkpoint {call!r}. A checkpoint's body is one unit that is recorded as a"
    " whole; call a plain function here, or move this to the flow."
)


def _leave_flow() -> None:
    current_scope.set(None)
    current_call.set(None)


if hasattr(os, "register_at_fork"):
    # A forked child inherits the context, but neither the lease nor anybody who would hear of its calls.
    os.register_at_fork(after_in_child=_leave_flow)


def flow_scope(what: str) -> Scope:
    """Return the scope of the flow that runs here.

    Raises:
        KitaruContextError: There is none, or a checkpoint's body is running.
    """
    scope = current_scope.get()
    if scope is None:
        raise KitaruContextError(_OUTSIDE.format(what=what))
    call = current_call.get()
    if call is not None:
        raise KitaruContextError(_INSIDE_CALL.format(what=what, call=call.name))
    return scope


def active_call(what: str) -> ActiveCall:
    """Return the call whose body runs here.

    Raises:
        KitaruContextError: None does.
    """
    call = current_call.get()
    if call is None:
        where = (
            "outside a flow" if current_scope.get() is None else "in a flow, outside a checkpoint"
        )
        message = f"{what} was used {where}. Use it inside a function decorated with `@checkpoint`."
        raise KitaruContextError(message)
    return call
