"""Every method of a store as a request that can travel: its parameters, its answer, and how often it counts.

The table is made from the contract's own type hints, so that a method that is added there is here as well;
only its kind has to be said. Bytes travel as base64 text, records as objects, moments as numbers. Nothing
here runs or unpickles anything, and values of users stay the bytes that they are.

Kinds:

* `READ` changes nothing and is repeated at will.
* `REPEATABLE` may be done twice: the second time changes nothing and says the same. Only the events of a
  `commit` would double, so that one with events counts as `ONCE`.
* `ONCE` would do something else the second time (claim the next execution, say that it is over already). Its
  answer is kept under the request's key, and given again if the request comes again.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, cast

import msgspec

from kitaru.errors import KitaruUsageError
from kitaru.model import JournalEntry, NewExecution, Write
from kitaru.store import contract
from kitaru.wire.strictness import strict_twin


class Kind(Enum):
    """How often a request may be done."""

    READ = "read"
    REPEATABLE = "repeatable"
    ONCE = "once"


class Entry(msgspec.Struct, tag="entry", forbid_unknown_fields=True):
    """A `JournalEntry` among the writes of a `commit`."""

    write: JournalEntry


class Creation(msgspec.Struct, tag="execution", forbid_unknown_fields=True):
    """A `NewExecution` among the writes of a `commit`."""

    write: NewExecution


_NOUNS = (
    contract.Executions,
    contract.Leases,
    contract.Journal,
    contract.Waits,
    contract.Attendance,
    contract.Archive,
    contract.Statistics,
    contract.Logs,
    contract.Pruning,
)
_OF_THE_WHOLE = ("list_blob_digests", "verify", "measure_space")

_REPEATABLE = frozenset(
    {
        "commit",
        "renew_leases",
        "announce_worker",
        "forget_workers",
        "hasten_launch",
        "prune_events",
    }
)
_ONCE = frozenset(
    {
        "retry_execution",
        "request_cancel",
        "delete_execution",
        "claim_executions",
        "reap",
        "resolve_wait",
        "wake_due",
        "reserve_launch",
        "reserve_launches",
        "import_executions",
        "append_logs",
        "append_events",
        "prune_executions",
    }
)
_READ = frozenset(
    {
        "get_execution",
        "find_execution_ids",
        "list_executions",
        "count_executions",
        "list_running",
        "list_unfinished",
        "list_lease_owners",
        "list_calls",
        "list_attempts",
        "list_artifacts",
        "list_metadata",
        "find_cached_call",
        "list_waits",
        "list_open_waits",
        "find_pending_ids",
        "get_statuses",
        "list_workers",
        "list_pending_code",
        "measure_flows",
        "list_projects",
        "measure_load",
        "list_logs",
        "list_events",
        "list_prunable",
        "measure_trees",
        "list_unnamed_blobs",
        "find_oldest_start",
        *_OF_THE_WHOLE,
    }
)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of a store.

    Attributes:
        name: Of the method, and in the request's path.
        kind: How often it may be done.
        parameters: A struct with a field for each parameter.
    """

    name: str
    kind: Kind
    parameters: type[msgspec.Struct]
    _returned: Any

    # Made when they are needed: a client never reads requests, and a server no answers.

    @cached_property
    def _request(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(self.parameters)

    @cached_property
    def _strict_request(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(strict_twin(self.parameters))

    @cached_property
    def _answer(self) -> msgspec.json.Decoder[Any]:
        return msgspec.json.Decoder(self._returned)

    def encode_request(self, arguments: Mapping[str, object]) -> bytes:
        """Return arguments as the body of a request.

        Raises:
            KitaruUsageError: A text or a number among them cannot be kept anywhere.
        """
        try:
            return _encoder.encode(self.parameters(**arguments))
        except (UnicodeEncodeError, OverflowError, TypeError, msgspec.MsgspecError):
            return self._encode_with_care(arguments)

    def decode_request(self, body: bytes) -> dict[str, Any]:
        """Return the arguments that a request's body has.

        Raises:
            msgspec.ValidationError: A field is missing, unknown or of another type.
            msgspec.DecodeError: It is no JSON.
            RecursionError: It is nested too deeply.
        """
        self._strict_request.decode(body)
        given = self._request.decode(body)
        return {name: getattr(given, name) for name in self.parameters.__struct_fields__}

    def _encode_with_care(self, arguments: Mapping[str, object]) -> bytes:
        """Return arguments of which something cannot travel as it is, or say what it is."""
        # Imported here: it loads what only a store in a database needs otherwise.
        from kitaru.store.execution_rows import plan_to_json, spec_to_json

        for write in cast("Sequence[object]", arguments.get("writes", ())):
            if isinstance(write, Creation):
                spec_to_json(write.write.spec)
                plan_to_json(write.write.replay_plan or {})
        fit = {name: _fit(value) for name, value in arguments.items()}
        try:
            return _encoder.encode(self.parameters(**fit))
        except UnicodeEncodeError as error:
            message = f"no store can keep text with lone surrogates: {error}."
            raise KitaruUsageError(message) from error
        except (OverflowError, TypeError, msgspec.MsgspecError) as error:
            message = f"no store can keep what {self.name!r} was given: {error}."
            raise KitaruUsageError(message) from error

    def encode_answer(self, answer: object) -> bytes:
        """Return what the method has returned as the body of a response."""
        return _encoder.encode(answer)

    def decode_answer(self, body: bytes) -> Any:
        """Return what the method has returned on the other side; fields that are unknown here are dropped.

        Raises:
            msgspec.DecodeError: It is something else.
        """
        return self._answer.decode(body)


def wrap_writes(writes: Sequence[Write]) -> list[Entry | Creation]:
    """Return the writes of a `commit` as they travel."""
    return [
        Entry(write) if isinstance(write, JournalEntry) else Creation(write) for write in writes
    ]


def unwrap_writes(wrapped: Sequence[Entry | Creation]) -> list[Write]:
    """Return the writes of a `commit` as the store takes them."""
    return [entry.write for entry in wrapped]


def _fit(value: object) -> object:
    from kitaru.store.expressible import expressible

    if isinstance(value, list):
        return [_fit(item) for item in cast("list[object]", value)]
    if isinstance(value, Entry | Creation):
        return type(value)(expressible(value.write))  # pyright: ignore[reportArgumentType] - it stays what it is
    return expressible(value)


def _kind_of(name: str) -> Kind:
    kinds = {Kind.READ: _READ, Kind.REPEATABLE: _REPEATABLE, Kind.ONCE: _ONCE}
    found = [kind for kind, names in kinds.items() if name in names]
    if len(found) != 1:  # pragma: no cover - a method without a kind is a mistake of ours
        message = f"the kind of the store's operation {name!r} is not said once"
        raise AssertionError(message)
    return found[0]


def _operation(name: str, method: Callable[..., object]) -> Operation:
    hints = typing.get_type_hints(method)
    fields: list[Any] = []
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        kind = hints[parameter.name]
        if (name, parameter.name) == ("commit", "writes"):
            kind = list[Entry | Creation]
        is_needed = parameter.default is inspect.Parameter.empty
        fields.append(
            (parameter.name, kind) if is_needed else (parameter.name, kind, parameter.default)
        )
    parameters = msgspec.defstruct(
        name, fields, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
    )
    return Operation(
        name=name,
        kind=_kind_of(name),
        parameters=parameters,
        _returned=hints["return"],
    )


def _operations() -> dict[str, Operation]:
    methods: dict[str, Callable[..., object]] = {
        name: cast("Callable[..., object]", method)
        for noun in _NOUNS
        for name, method in vars(noun).items()
        if inspect.isfunction(method) and not name.startswith("_")
    }
    methods |= {name: getattr(contract.Store, name) for name in _OF_THE_WHOLE}
    return {name: _operation(name, method) for name, method in methods.items()}


_encoder = msgspec.json.Encoder()

OPERATIONS: Mapping[str, Operation] = _operations()
"""Every method that can be asked for over HTTP, by name."""
