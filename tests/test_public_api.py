"""What programs written for Kitaru rely on: names, signatures, docstrings, a cheap import."""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys
from importlib import import_module, metadata
from textwrap import dedent

import pytest

import kitaru
from kitaru import errors

ERRORS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.KitaruError)
}

PUBLIC = ERRORS | {
    "ArtifactRef",
    "CallContext",
    "Checkpoint",
    "CheckpointAttempt",
    "CheckpointCall",
    "CheckpointFuture",
    "CheckpointFutures",
    "Execution",
    "ExecutionEvent",
    "ExecutionStatus",
    "FailureInfo",
    "FailureOrigin",
    "Flow",
    "FlowHandle",
    "KitaruClient",
    "KitaruConfig",
    "LogEntry",
    "RetryPolicy",
    "__version__",
    "checkpoint",
    "configure",
    "connect",
    "current_call",
    "current_execution_id",
    "events",
    "flow",
    "load",
    "log",
    "now",
    "progress",
    "random",
    "save",
    "sleep",
    "uuid4",
    "wait",
}

SIGNATURES = {
    "flow": (
        "(func=None, *, name=None, stack=None, image=None, cache=None, retries=None, timeout=None,"
        " on_divergence='auto', max_recoveries=10, tags=None)"
    ),
    "checkpoint": (
        "(func=None, *, name=None, retries=0, timeout=None, type=None, runtime=None, cache=None,"
        " ignore=(), resources=None)"
    ),
    "RetryPolicy": (
        "(*, max_attempts=3, delay=1.0, backoff=2.0, max_delay=60.0, jitter=0.1,"
        " retry_on=(Exception,), give_up_on=())"
    ),
    "save": "(name, value, *, type='output', tags=None)",
    "load": "(exec_id, name)",
    "log": "(**values)",
    "progress": "(message, *, percent=None, correlation_id=None, flush=False, **fields)",
    "now": "()",
    "random": "()",
    "uuid4": "()",
    "wait": (
        "(*, schema=None, name=None, question=None, timeout=600, metadata=None, expires=None,"
        " on_expire=None)"
    ),
    "sleep": "(seconds=None, *, until=None, name=None)",
    "current_execution_id": "()",
    "current_call": "()",
}

ERROR_BASES = {
    "KitaruUsageError": ValueError,
    "KitaruContextError": RuntimeError,
    "KitaruStateError": RuntimeError,
    "KitaruNotFoundError": LookupError,
    "KitaruTimeoutError": TimeoutError,
    "KitaruRuntimeError": RuntimeError,
    "KitaruFeatureNotAvailableError": NotImplementedError,
}

# Each of these costs a user's first line milliseconds, and none is needed to define a flow.
NOT_ON_IMPORT = {
    "aiosql",
    "asyncio",
    "cloudpickle",
    "cyclopts",
    "msgspec",
    "numpy",
    "pandas",
    "platformdirs",
    "psutil",
    "pyarrow",
    "pydantic",
    "rich",
    "sqlite3",
}


def test_public_names_are_exactly_the_listed_ones() -> None:
    assert set(kitaru.__all__) == PUBLIC
    assert len(kitaru.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_name_exists_and_is_listed_by_dir(name: str) -> None:
    assert hasattr(kitaru, name)
    assert name in dir(kitaru)


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="frobnicate"):
        getattr(kitaru, "frobnicate")  # noqa: B009 - a type checker would refuse the plain form


def test_version_is_the_installed_one() -> None:
    assert kitaru.__version__ == metadata.version("kitaru")


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_signature_is_the_promised_one(name: str) -> None:
    signature = inspect.signature(getattr(kitaru, name))

    plain = signature.replace(
        parameters=[
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in signature.parameters.values()
        ],
        return_annotation=inspect.Signature.empty,
    )

    assert _with_class_names(plain) == SIGNATURES[name]


def _with_class_names(signature: inspect.Signature) -> str:
    return str(signature).replace("<class 'Exception'>", "Exception")


@pytest.mark.parametrize("name", sorted(ERROR_BASES))
def test_error_derives_from_the_builtin_that_people_catch(name: str) -> None:
    assert issubclass(getattr(kitaru, name), (ERROR_BASES[name], kitaru.KitaruError))
    assert issubclass(getattr(kitaru, name), ERROR_BASES[name])


def test_error_codes_are_unique() -> None:
    codes = [getattr(errors, name).code for name in ERRORS]

    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_public_thing_and_its_methods_have_docstrings(name: str) -> None:
    thing = getattr(kitaru, name)

    documented = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    undocumented = [
        f"{name}.{member}"
        for member, value in (vars(thing).items() if inspect.isclass(thing) else ())
        if not member.startswith("_")
        and (inspect.isroutine(value) or isinstance(value, property | classmethod | staticmethod))
        and not inspect.getdoc(value)
    ]

    assert documented
    assert not documented.startswith(f"{name}(")  # what a dataclass writes when its author does not
    assert undocumented == []


def test_import_is_lazy() -> None:
    script = dedent(
        """
        import json, sys
        before = set(sys.modules)
        import kitaru
        print(json.dumps(sorted(set(sys.modules) - before)))
        """
    )
    output = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout

    imported = {module.partition(".")[0] for module in json.loads(output)}

    assert imported & NOT_ON_IMPORT == set()


def test_importing_every_module_replaces_no_public_name() -> None:
    """A module `kitaru/log.py` would take the place of the function `kitaru.log`."""
    before = {name: getattr(kitaru, name) for name in PUBLIC}

    for module in pkgutil.walk_packages(kitaru.__path__, "kitaru."):
        if not module.name.endswith("__main__"):
            import_module(module.name)

    assert {name: getattr(kitaru, name) for name in PUBLIC} == before
