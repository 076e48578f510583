"""A ledger of effects: what fakes of outside services write down, where no crash loses it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from kitaru.engine.context import current_call, current_scope
from kitaru.errors import KitaruUsageError

UserValue = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One thing that was done to the outside world.

    Equal to another with the same name and facts, to its name alone, and to a tuple of both.

    Attributes:
        key: The idempotency key it was done under.
        facts: What else was said about it.
        exec_id: The execution that did it, if one did.
        call_id: The checkpoint call that did it, if one did.
    """

    name: str
    key: str | None = None
    facts: Mapping[str, UserValue] = field(default_factory=dict[str, UserValue])
    exec_id: str | None = None
    call_id: str | None = None

    def __eq__(self, other: object) -> bool:
        match other:
            case Effect():
                return (self.name, dict(self.facts)) == (other.name, dict(other.facts))
            case str():
                return self.name == other
            case tuple():
                return (self.name, dict(self.facts)) == other
            case _:
                return NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in self.facts.items())})"

    def __repr__(self) -> str:
        return str(self)


class EffectLog:
    """A ledger in a file: append-only, each entry flushed to disk before `record` returns.

    Equal to a list if its effects are equal to the list's elements, in that order.

    Args:
        path: The file; a temporary one if not given.
    """

    __hash__ = None  # pyright: ignore[reportAssignmentType] - it changes, as a list does

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        if path is None:
            folder = tempfile.mkdtemp(prefix="kitaru-effects-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            path = Path(folder) / "effects.jsonl"
        self.path = Path(path)
        self._lock = threading.Lock()
        _logs[next(_numbers)] = self

    def record(self, name: str, key: str | None = None, **facts: UserValue) -> Effect:
        """Write an effect down, and return it.

        Args:
            name: What was done, such as `charge`.
            key: An idempotency key. Under a key that was used before nothing is done again, as services
                do it: the effect of then is returned.
            facts: What to tell of it, as JSON values.

        Durability: one append, flushed to disk. A crash right before leaves no entry, right after a
        whole one; without a key, a repeat is another effect.

        Raises:
            KitaruUsageError: A fact is no JSON value.
        """
        scope, active = current_scope.get(), current_call.get()
        entry = {
            "name": name,
            "key": key,
            "facts": facts,
            "exec_id": None if scope is None else scope.run.exec_id,
            "call_id": None if active is None else active.call.call_id,
        }
        try:
            line = json.dumps(entry)
        except (TypeError, ValueError) as error:
            message = f"effect {name!r} cannot be written down: {error}. Facts are JSON values."
            raise KitaruUsageError(message) from error
        with self._lock:
            self._append(line)
        effect = _effect_of(json.loads(line))
        if key is None:
            return effect
        return next(each for each in self if (each.name, each.key) == (name, key))

    def names(self) -> list[str]:
        """Return the effects' names, in order."""
        return [effect.name for effect in self]

    def entries(self) -> list[Effect]:
        """Return all that was written down, repeats under the same key included."""
        try:
            text = self.path.read_text("utf-8")
        except FileNotFoundError:
            return []
        return [_effect_of(json.loads(line)) for line in text.splitlines() if line]

    def move_to(self, path: Path) -> None:
        """Go on in another file; unless it is there, it begins with what is here."""
        if self.path.exists() and not path.exists():
            shutil.copyfile(self.path, path)
        self.path = path
        self._lock = threading.Lock()  # in a forked child, nobody will release the old one

    def _append(self, line: str) -> None:
        data = f"{line}\n".encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def __iter__(self) -> Iterator[Effect]:
        seen: set[tuple[str, str]] = set()
        for effect in self.entries():
            if effect.key is not None:
                if (effect.name, effect.key) in seen:
                    continue
                seen.add((effect.name, effect.key))
            yield effect

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, EffectLog | list | tuple):
            return list(self) == list(cast("list[object]", other))
        return NotImplemented

    def __repr__(self) -> str:
        return repr(list(self))


def _effect_of(entry: Mapping[str, UserValue]) -> Effect:
    return Effect(**entry)


# By the order in which they were made, which is the same in a forked child.
_logs: weakref.WeakValueDictionary[int, EffectLog] = weakref.WeakValueDictionary()
_numbers = itertools.count()


def all_logs() -> dict[int, EffectLog]:
    """Return the ledgers of this process by their numbers."""
    return dict(sorted(_logs.items()))
