"""What must stand still while a process forks, without a fork: only who is told what, and when."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from kitaru import forking

PATIENCE_SECONDS = 30.0


class Thing:
    """Remembers what it was told."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.told: list[str] = []
        self.is_broken = is_broken

    def pause(self) -> None:
        self.told.append("pause")
        if self.is_broken:
            raise RuntimeError("it cannot stand still")

    def resume(self, *, is_child: bool) -> None:
        self.told.append("child" if is_child else "parent")


@pytest.fixture
def thing() -> Iterator[Thing]:
    made = Thing()
    forking.pause_at_fork(made)
    yield made
    forking._pausing.discard(made)


def test_who_forks_meanwhile_waits_until_the_first_one_has(thing: Thing) -> None:
    forking._pause()
    begins, is_done = threading.Event(), threading.Event()

    def fork_too() -> None:
        begins.set()
        forking._pause()
        forking._resume()
        is_done.set()

    other = threading.Thread(target=fork_too)
    other.start()
    assert begins.wait(PATIENCE_SECONDS)
    assert not is_done.wait(0.1)
    assert thing.told == ["pause"]

    forking._resume()

    assert is_done.wait(PATIENCE_SECONDS)
    other.join()
    assert thing.told == ["pause", "parent", "pause", "parent"]


def test_child_may_fork_itself(thing: Thing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "_forgetful", set[object]())
    held = forking._forking
    forking._pause()

    forking._begin_child()
    forking._pause()
    forking._resume()

    assert thing.told == ["pause", "child", "pause", "parent"]
    held.release()  # the parent's, which this process is, too


def test_what_fails_fails_alone(thing: Thing, caplog: pytest.LogCaptureFixture) -> None:
    broken = Thing(is_broken=True)
    forking.pause_at_fork(broken)

    forking._pause()
    forking._resume()
    forking._pausing.discard(broken)

    assert thing.told == broken.told == ["pause", "parent"]
    assert "left something of Kitaru's out of order" in caplog.text
