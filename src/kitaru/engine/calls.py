"""A checkpoint as the engine sees it, a call of it, and the call while its body runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from kitaru import codec
from kitaru.errors import KitaruTimeoutError
from kitaru.model import ArtifactRecord, CallKind, MetadataRecord

if TYPE_CHECKING:
    from kitaru.engine.journal import Match
    from kitaru.engine.scope import Scope
    from kitaru.retry import RetryPolicy

UserFunction = Callable[..., Any]

FINGERPRINT_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSpec:
    """What `@checkpoint` settled about a function.

    Attributes:
        type: Free label, such as `llm_call`.
        timeout: Seconds that one attempt may take.
        cache: Whether results are reused across executions, and up to which age; None leaves it to
            the execution.
        ignore: Parameters that are no part of the fingerprint.
        code_hash: Hash of the function's source.
    """

    name: str
    function: UserFunction
    is_async: bool
    retry: RetryPolicy
    timeout: float | None
    type: str | None
    cache: bool | timedelta | None
    ignore: frozenset[str]
    code_hash: str


@dataclass(slots=True, kw_only=True)
class Call:
    """One call, from the moment the flow makes it.

    Attributes:
        scope: Where it was made.
        arguments: By parameter name, bound and with defaults, for the fingerprint.
        args: As they were given, for the body.
        ordered: Whether the scope was ordered then.
        placed: Whether it was a task that had not paused yet.
        upstreams: Positions that it follows from.
        label: What its position counts in place of the name: the id that user code gave it, or the
            kind and name of what is no checkpoint.
        match: What the journal has for it, once its fingerprint is known.
        first_attempt: Number of its next attempt; earlier ones are recorded.
        attempts_before: How many of those the retry policy does not count.
        must_run: A replay is to run it again, whatever a cache has.
    """

    spec: CheckpointSpec
    scope: Scope
    arguments: Mapping[str, Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    label: str | None
    ordinal: int
    kind: CallKind = CallKind.CHECKPOINT
    ordered: bool
    placed: bool
    upstreams: tuple[str, ...]
    call_id: str = ""
    position: str = ""
    inputs: bytes = b""
    fingerprint: bytes = b""
    match: Match | None = None
    first_attempt: int = 1
    attempts_before: int = 0
    must_run: bool = False
    started_at: int = 0


def fingerprint_of(name: str, encoded_arguments: bytes) -> bytes:
    """Return the hash by which a record is recognised as the answer to a call."""
    digest = blake2b(name.encode(errors="replace") + b"\0", digest_size=FINGERPRINT_BYTES)
    digest.update(encoded_arguments)
    return digest.digest()


def encode_call_arguments(call: Call, *, allow_pickle: bool) -> bytes:
    """Encode a call's arguments, those that its checkpoint ignores left out.

    Raises:
        KitaruSerializationError: One of them cannot be encoded; it is named.
    """
    arguments = call.arguments
    if call.spec.ignore:
        arguments = {
            name: value for name, value in arguments.items() if name not in call.spec.ignore
        }
    return codec.encode_arguments(arguments, allow_pickle=allow_pickle)


def cache_key_of(spec: CheckpointSpec, fingerprint: bytes) -> bytes:
    """Return what two calls of different executions must share for one to reuse the other's result."""
    digest = blake2b(fingerprint, digest_size=FINGERPRINT_BYTES)
    digest.update(f"{spec.name}\0{spec.code_hash}".encode(errors="replace"))
    return digest.digest()


@dataclass(slots=True, kw_only=True)
class ActiveCall:
    """A call while its body runs: what `kitaru.current_call()` shows and `save` and `log` write to.

    Attributes:
        attempt: Which try of the body it is, from 1.
        deadline: Monotonic second after which the attempt has timed out, if it has a timeout.
    """

    call: Call
    attempt: int
    began: float
    deadline: float | None
    artifacts: list[ArtifactRecord] = field(default_factory=list[ArtifactRecord])
    metadata: dict[str, MetadataRecord] = field(default_factory=dict[str, MetadataRecord])
    children: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def name(self) -> str:
        """The checkpoint's name."""
        return self.call.spec.name

    def check(self) -> None:
        """Stop here if the execution is to stop or the attempt has run out of time."""
        run = self.call.scope.run
        run.check()
        if self.deadline is not None:
            now = run.clock.monotonic()
            if now > self.deadline:
                raise self.timed_out(now)

    def timed_out(self, now: float) -> KitaruTimeoutError:
        """Return the error for an attempt that has taken longer than its timeout."""
        assert self.call.spec.timeout is not None  # noqa: S101 - there is no deadline without one
        return KitaruTimeoutError(
            self.call.scope.run.exec_id,
            self.call.spec.timeout,
            now - self.began,
            call_id=self.call.call_id,
        )


def kind_prefix(kind: CallKind) -> str:
    """Return what keeps positions of other kinds of calls apart from checkpoints' own."""
    match kind:
        case CallKind.CHECKPOINT:
            return ""
        case CallKind.CHILD:
            return "flow:"
        case CallKind.VALUE:
            return "kitaru."
        case CallKind.WAIT:
            return "wait:"
        case CallKind.TIMER:
            return "timer:"
