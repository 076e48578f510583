"""What a decorator must know about the function that it is given."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

from kitaru.errors import KitaruUsageError

UserFunction = Callable[..., Any]
UserValue = Any

_NAME = re.compile(r"[^\W\d][\w .\-]*\Z")
_HASH_BYTES = 16


def check_function(function: object, decorator: str, reserved: Iterable[str]) -> UserFunction:
    """Return a decorated function, or say why it cannot be one.

    Args:
        function: What was decorated.
        decorator: Its name, such as `@flow`.
        reserved: Parameter names that mean something to Kitaru when the result is called.

    Raises:
        KitaruUsageError: It is no function, it is a generator, or a parameter's name is taken.
    """
    if not callable(function) or isinstance(function, type):
        message = f"`{decorator}` decorates functions, got: {function!r}"
        raise KitaruUsageError(message)
    name = getattr(function, "__qualname__", repr(function))
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        message = (
            f"{name!r} is a generator, whose values cannot be recorded one by one. Return a list, or"
            f" call a checkpoint for each part."
        )
        raise KitaruUsageError(message)
    taken = sorted(set(inspect.signature(function).parameters) & set(reserved))
    if taken:
        names = ", ".join(f"`{parameter}`" for parameter in taken)
        told = (
            f"parameter {names} of {name!r} has the name of an option of `{decorator}` functions."
            f" Rename it."
        )
        several = (
            f"parameters {names} of {name!r} have the names of options of `{decorator}` functions."
            f" Rename them."
        )
        message = told if len(taken) == 1 else several
        raise KitaruUsageError(message)
    return function


def check_name(name: object, function: UserFunction) -> str:
    """Return the name given to a decorator, or the one that the function has.

    Raises:
        KitaruUsageError: It is not a name that positions and people can work with.
    """
    if name is None:
        return re.sub(r"\W", "_", getattr(function, "__name__", type(function).__name__)) or "_"
    if not isinstance(name, str) or not _NAME.match(name):
        message = (
            f"expected `name` to begin with a letter and to contain only letters, digits, spaces and"
            f" the characters '_-.', got: {name!r}"
        )
        raise KitaruUsageError(message)
    return name


def check_text(what: str, value: object) -> str:
    """Return a text that can be stored and typed: a string, not empty, no lone surrogates.

    Raises:
        KitaruUsageError: It is not one; `what` says what it was meant for.
    """
    if not isinstance(value, str) or not value:
        message = f"expected {what} to be a non-empty string, got: {value!r}"
        raise KitaruUsageError(message)
    try:
        value.encode()
    except UnicodeEncodeError:
        message = f"expected {what} to be text that UTF-8 can express, got: {value!r}"
        raise KitaruUsageError(message) from None
    return value


def check_seconds(option: str, value: object) -> float | None:
    """Return a timeout in seconds.

    Raises:
        KitaruUsageError: It is not a positive number or `timedelta`.
    """
    if value is None:
        return None
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        message = f"expected `{option}` to be a positive number of seconds, got: {value!r}"
        raise KitaruUsageError(message)
    return float(seconds)


def is_whole_number(value: object, *, at_least: int) -> bool:
    """Return whether a value is an int, no bool, and not below a bound."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def check_cache(value: object) -> bool | timedelta | None:
    """Return a `cache=` option.

    Raises:
        KitaruUsageError: It is neither a bool nor a positive `timedelta`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, timedelta) and value > timedelta(0):
        return value
    message = f"expected `cache` to be True, False or a positive timedelta, got: {value!r}"
    raise KitaruUsageError(message)


def check_choice(option: str, value: object, choices: Iterable[str]) -> str:
    """Return a value that must be one of a few words.

    Raises:
        KitaruUsageError: It is not.
    """
    allowed = list(choices)
    if value not in allowed:
        message = (
            f"expected `{option}` to be one of {', '.join(map(repr, allowed))}, got: {value!r}"
        )
        raise KitaruUsageError(message)
    return str(value)


def hash_of_function(function: UserFunction) -> str:
    """Return a hash that changes when a function's source does."""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        return _hash_of_code(function)
    return blake2b(source.encode(errors="replace"), digest_size=_HASH_BYTES).hexdigest()


def hash_of_module(function: UserFunction) -> str:
    """Return a hash that changes when anything in the function's source file does.

    A flow's helpers decide about its calls as much as its own lines; the file is what they share.
    """
    try:
        file = inspect.getsourcefile(function)
        source = Path(file).read_bytes() if file is not None else None
    except (OSError, TypeError):
        source = None
    if source is None:  # written at a prompt or in a notebook
        return hash_of_function(function)
    return blake2b(source, digest_size=_HASH_BYTES).hexdigest()


def _hash_of_code(function: UserFunction) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    content = (
        repr(function) if code is None else f"{code.co_code.hex()}{code.co_consts}{code.co_names}"
    )
    return blake2b(content.encode(errors="replace"), digest_size=_HASH_BYTES).hexdigest()


@dataclass(frozen=True, slots=True)
class Binder:
    """Binds arguments to a function's parameters, defaults applied, as `inspect.Signature.bind` does.

    Most functions have only ordinary parameters, for which a dozen lines do in 1 µs what `bind` does
    in 8; everything else, mistakes included, goes to `bind`.
    """

    name: str
    signature: inspect.Signature
    ordinary: tuple[str, ...] | None
    defaults: Mapping[str, UserValue]

    @classmethod
    def of(cls, function: UserFunction, name: str) -> Binder:
        """Return the binder of a function; `name` is what errors call it."""
        signature = inspect.signature(function)
        parameters = signature.parameters.values()
        simple = all(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in parameters)
        defaults = {
            p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty
        }
        return cls(name, signature, tuple(signature.parameters) if simple else None, defaults)

    def bind(
        self, args: tuple[UserValue, ...], kwargs: Mapping[str, UserValue]
    ) -> dict[str, UserValue]:
        """Return the arguments by parameter name, in the order of the parameters.

        Raises:
            KitaruUsageError: They do not fit the function's signature.
        """
        names = self.ordinary
        if names is not None and len(args) <= len(names):
            arguments = dict(zip(names, args, strict=False))
            if not kwargs and len(args) == len(names):
                return arguments
            used = 0
            for name in names[len(args) :]:
                if name in kwargs:
                    arguments[name] = kwargs[name]
                    used += 1
                elif name in self.defaults:
                    arguments[name] = self.defaults[name]
                else:
                    break
            else:
                if used == len(kwargs):
                    return arguments
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            message = f"arguments do not fit {self.name}{self.signature}: {error}."
            raise KitaruUsageError(message) from error
        bound.apply_defaults()
        return dict(bound.arguments)


def copy_identity(target: object, function: UserFunction) -> None:
    """Give an object the name, docstring and module of the function that it stands for."""
    functools.update_wrapper(target, function)  # pyright: ignore[reportArgumentType] - it takes any object with a __dict__
