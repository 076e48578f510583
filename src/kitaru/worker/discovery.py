"""Which code a worker has for what is pending, found out beside the claim loop.

Nothing is claimed before its code is there: importing may take long, fail, or take the process with it. A
module that this process has not been told to serve is therefore tried in another process first.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitaru import settings as configuration
from kitaru.code_ref import CodeRef
from kitaru.errors import KitaruBackendError, KitaruError
from kitaru.fleet import code_key, folder_key
from kitaru.worker.loading import find_flow, is_of_another_folder

if TYPE_CHECKING:
    from kitaru.authoring.flow import Flow
    from kitaru.worker.flow_table import FlowTable
    from kitaru.worker.local import LocalRunner

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
_BROKEN_SECONDS = 1.0
# Code that cannot be had is tried again after so long, then after twice as long each time.
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 300.0
# An import that takes longer hangs.
_TRIAL_SECONDS = 120.0


class Discovery:
    """Looks again and again whose code is wanted, and loads it.

    Args:
        runner: Of the worker.
        flows: All that the worker serves; None if it serves what it can find.
        stack: Whose executions count.
        found: Called, in another thread, when there is more code than before.
    """

    def __init__(
        self,
        runner: LocalRunner,
        flows: FlowTable | None,
        stack: str,
        found: Callable[[], None],
    ) -> None:
        self._runner = runner
        self._flows = flows
        self._stack = stack
        self._found = found
        self._home = Path.cwd()
        self._served: dict[str, Flow[..., Any]] = {} if flows is None else dict(flows.known)
        self._left_until: dict[str, tuple[float, float]] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="kitaru-discovery", daemon=True)

    @property
    def served(self) -> Mapping[str, Flow[..., Any]]:
        """The flows that the worker has, by the keys of their code."""
        return self._served

    @property
    def announced(self) -> tuple[str, ...]:
        """What others may count on: the code that it has, and the folder that it looks in."""
        looked_in = [] if self._flows is not None else [folder_key(str(self._home))]
        return tuple(sorted([*self._served, *looked_in]))

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; an import that is going on is not waited for."""
        self._done.set()

    def look(self) -> None:
        """Look once."""
        wanted = self._runner.store.list_pending_code(
            now=self._runner.services.clock.now(),
            project=self._runner.settings.project,
            stack=self._stack,
        )
        for root, ref in wanted:
            key = code_key(root, ref)
            if key in self._served or self._is_left(key) or self._done.is_set():
                continue
            if (flow := self._find(root, ref)) is not None:
                # Another mapping, because the claim loop may be reading this one.
                self._served = {**self._served, key: flow}
                self._left_until.pop(key, None)
                self._found()
            else:
                self._leave(key)

    def _look(self) -> None:
        pause = 0.0
        while not self._done.wait(pause):
            pause = _LOOK_SECONDS
            try:
                self.look()
            except KitaruBackendError:
                pause = _BROKEN_SECONDS  # the claim loop tells of it
            except Exception:
                logger.exception("pending code could not be looked up")
                pause = _BROKEN_SECONDS

    def _find(self, root: str, ref: str) -> Flow[..., Any] | None:
        if self._flows is not None:
            return self._flows.find(root, ref)
        if not self._is_at_home(root, ref):
            return None
        if (problem := self._try_elsewhere(root, ref)) is not None:
            logger.warning(
                "flow %s of %r cannot be run here: %s", ref, root or "no folder", problem
            )
            return None
        try:
            flow = find_flow(root, ref)
        except Exception as error:  # noqa: BLE001 - a module may fail in any way when it is imported
            told = (
                error.message
                if isinstance(error, KitaruError)
                else f"{type(error).__name__}: {error}"
            )
            logger.warning("flow %s of %r cannot be run here: %s", ref, root or "no folder", told)
            return None
        if is_of_another_folder(root, ref, flow):
            logger.warning(
                "flow %s of %r is left to others: a module of that name from elsewhere is loaded here",
                ref,
                root,
            )
            return None
        return flow

    def _is_at_home(self, root: str, ref: str) -> bool:
        """Whether code is of the folder that the worker was started in, or installed.

        Modules of one process have one `sys.path`: what another folder calls `tools` would be found here,
        too, and be another thing.
        """
        module = CodeRef.parse(ref).module
        folder = Path(module).parent if module.endswith(".py") else Path(root)
        return folder == self._home or (not root and not module.endswith(".py"))

    def _try_elsewhere(self, root: str, ref: str) -> str | None:
        """Return what keeps a process from loading a flow; None if nothing does."""
        try:
            tried = subprocess.run(  # noqa: S603 - this interpreter
                [sys.executable, "-m", "kitaru.worker", "--check", root, ref],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=configuration.environment_of(self._runner.settings),
                timeout=_TRIAL_SECONDS,
                check=False,
                text=True,
                errors="replace",
            )
        except subprocess.TimeoutExpired:
            return f"importing it takes longer than {_TRIAL_SECONDS:.0f} s"
        except OSError as error:
            return f"no process could be started to try it: {error}"
        if tried.returncode == 0:
            return None
        said = tried.stderr.strip()[-500:]
        return said or f"importing it ended the process (exit code {tried.returncode})"

    def _is_left(self, key: str) -> bool:
        return key in self._left_until and self._left_until[key][0] > time.monotonic()

    def _leave(self, key: str) -> None:
        _, before = self._left_until.get(key, (0.0, 0.0))
        pause = min(before * 2, _LONGEST_PAUSE_SECONDS) or _FIRST_PAUSE_SECONDS
        self._left_until[key] = (time.monotonic() + pause, pause)
