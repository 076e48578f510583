"""The processes of a soak: workers, the attendant, people who answer; and what is done to the workers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from soak.book import EXITS, STRIKES, Book
from soak.flows import FOLDER_VARIABLE

ROOT = Path(__file__).parent.parent

SPARED_WORKER, ATTENDANT, PERSON, WORKER, LAUNCHED = (
    *("spared worker", "attendant", "person", "worker", "launched process"),
)
KILL, STOP, CONTINUE, TERMINATE = "kill", "stop", "continue", "terminate"
_KINDS = (KILL, STOP, TERMINATE)
_WEIGHTS = (14, 3, 3)

_DRAIN_SECONDS = 2.0
# A process that was told to end and has not by then never will.
_PATIENCE_SECONDS = 30.0
# Longer than a lease, with what it takes to be noticed.
_STOP_SECONDS = (9.0, 13.0)


@dataclass(slots=True)
class Member:
    """One process of the fleet.

    Attributes:
        may_end: Whether it was told to, or killed.
        stopped: Lets it go on in time, if it is stopped.
        ends_by: Monotonic second by which it must have ended, if it was told to.
    """

    role: str
    process: subprocess.Popen[bytes]
    log: Path
    may_end: bool = False
    stopped: threading.Timer | None = None
    ends_by: float | None = None


@dataclass
class Fleet:
    """Starts processes, strikes them, replaces them, and notes how each has ended.

    Attributes:
        workers: How many there are at any time; the first is spared, so that its growth can be seen.
        seed: Of whom to strike, and how.
    """

    folder: Path
    book: Book
    workers: int
    seed: int
    has_attendant: bool = True
    members: list[Member] = field(default_factory=list[Member])
    started: int = 0

    def __post_init__(self) -> None:
        self._chance = random.Random(f"fleet {self.seed}")

    def environment(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("KITARU_")}
        config = str(self.folder / "kitaru")
        return {**kept, "KITARU_CONFIG_PATH": config, FOLDER_VARIABLE: str(self.folder)}

    def start(self) -> None:
        """Start everyone."""
        if self.has_attendant:
            self._start(ATTENDANT, "kitaru", "up", "--port", "0")
        for number in range(self.workers):
            self._start_worker(WORKER if number else SPARED_WORKER)
        for number in range(2):
            self._start(PERSON, "soak.person", str(self.folder), f"{self.seed} {number}")

    def strike(self) -> None:
        """Do something to one of those who are not spared."""
        victims = [m for m in self.members if m.role == WORKER and not m.may_end]
        pids = [m.process.pid for m in victims if m.stopped is None] + self._launched()
        if not pids:
            return
        pid = self._chance.choice(pids)
        member = next((m for m in victims if m.process.pid == pid), None)
        [kind] = self._chance.choices(_KINDS, _WEIGHTS) if member is not None else [KILL]
        self.book.add(STRIKES, kind=kind, victim=pid)
        if kind == STOP and member is not None:
            self._stop(member)
        elif kind == TERMINATE and member is not None:
            self._terminate(member)
        elif member is not None:
            member.may_end = True
            member.process.kill()
        else:
            _kill(pid)

    def look(self) -> None:
        """Note who has ended, end who does not, and replace workers."""
        moment = time.monotonic()
        for member in list(self.members):
            if member.ends_by is not None and member.ends_by <= moment:
                self._end_by_force(member)
            if member.process.poll() is not None:
                self.members.remove(member)
                self._note_end(member)
        present = sum(m.role == WORKER and not m.may_end for m in self.members)
        for _ in range(self.workers - 1 - present):
            self._start_worker(WORKER)

    def go_on(self) -> None:
        """Let everyone go on that is stopped."""
        for member in self.members:
            if member.stopped is not None:
                member.stopped.cancel()
                self._continue(member)

    def end(self) -> None:
        """Tell everyone to end, and wait for it."""
        self.go_on()
        for member in self.members:
            if not member.may_end:  # a second signal would end it at once
                self._terminate(member)
        for member in self.members:
            try:
                member.process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self._end_by_force(member)
            self._note_end(member)
        self.members.clear()

    def kill(self) -> None:
        """End everyone at once, whatever it was doing; nothing happens to those who have ended."""
        launched = self._launched()
        for member in self.members:
            if member.stopped is not None:
                member.stopped.cancel()
            member.process.kill()
            member.process.wait()
        self.members.clear()
        for pid in launched:
            _kill(pid)

    def _start_worker(self, role: str) -> None:
        drain = ("--drain", str(_DRAIN_SECONDS))
        self._start(role, "kitaru", "worker", "soak.flows", "--concurrency", "16", *drain)

    def _start(self, role: str, module: str, *arguments: str) -> None:
        self.started += 1
        log = self.folder / f"{role.replace(' ', '-')}-{self.started}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.members.append(Member(role, process, log))

    def _launched(self) -> list[int]:
        """Return the processes that members have started for executions."""
        found: list[int] = []
        for member in self.members:
            try:
                found += [child.pid for child in psutil.Process(member.process.pid).children()]
            except psutil.NoSuchProcess:
                continue
        return found

    def _stop(self, member: Member) -> None:
        # On a thread of its own: a process that is stopped in the middle of a transaction keeps everyone
        # from writing, the driver too, which would then wait for ever for what only it can end.
        seconds = self._chance.uniform(*_STOP_SECONDS)
        member.stopped = threading.Timer(seconds, self._continue, [member])
        member.process.send_signal(signal.SIGSTOP)
        member.stopped.start()

    def _continue(self, member: Member) -> None:
        member.stopped = None
        self.book.add(STRIKES, kind=CONTINUE, victim=member.process.pid)
        member.process.send_signal(signal.SIGCONT)

    def _terminate(self, member: Member) -> None:
        member.may_end = True
        member.ends_by = time.monotonic() + _PATIENCE_SECONDS
        member.process.terminate()

    def _end_by_force(self, member: Member) -> None:
        member.ends_by = None
        pid = member.process.pid
        self.book.add(STRIKES, kind=KILL, victim=pid)
        member.process.kill()
        member.process.wait()
        self.book.add(
            EXITS, role=member.role, victim=pid, problem="did not end when it was told to"
        )

    def _note_end(self, member: Member) -> None:
        code = member.process.returncode
        problem = None
        if code == -signal.SIGTERM and member.log.stat().st_size == 0:
            code = 0  # told to end before it had begun to listen
        if not member.may_end:
            problem = f"ended by itself with {code}"
        elif code not in (0, -signal.SIGKILL):
            problem = f"ended with {code} when it was told to"
        self.book.add(EXITS, role=member.role, victim=member.process.pid, problem=problem)


def _kill(pid: int) -> None:
    try:
        psutil.Process(pid).kill()
    except psutil.NoSuchProcess:
        return
