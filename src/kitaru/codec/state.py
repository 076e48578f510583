"""What an instance of a Python class consists of, and how to make one without calling the class."""

from __future__ import annotations

import contextlib
import copyreg
import types
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from kitaru.codec.tree import Unreadable

# Whose generated `__getstate__` and `__setstate__` do no more than copy the attributes.
_PLAIN_STATE_MODULES = ("dataclasses", "attr", "pydantic")
_PROTOCOL_METHODS = (
    "__reduce_ex__",
    "__reduce__",
    "__getnewargs__",
    "__getnewargs_ex__",
    "__getstate__",
    "__setstate__",
)
_slots: WeakKeyDictionary[type, dict[str, Any]] = WeakKeyDictionary()


def state_of(value: object) -> dict[str, Any]:
    """Return the attributes in the instance's slots and `__dict__`, none of them computed."""
    cls: type[Any] = type(value)
    state: dict[str, Any] = {}
    for name, slot in slots_of(cls).items():
        try:
            state[name] = slot.__get__(value, cls)
        except AttributeError:
            continue
    with contextlib.suppress(AttributeError):
        state.update(object.__getattribute__(value, "__dict__"))
    return state


def set_state(value: object, state: Mapping[str, Any]) -> None:
    """Set attributes as `state_of` found them, past any `__setattr__`.

    Raises:
        Unreadable: The class has no room for one of them any more.
    """
    slots = slots_of(type(value))
    for name, part in state.items():
        slot = slots.get(name)
        if slot is not None:
            slot.__set__(value, part)
            continue
        try:
            object.__getattribute__(value, "__dict__")[name] = part
        except AttributeError:
            cls = type(value).__qualname__
            message = f"class {cls!r} has no attribute {name!r} any more"
            raise Unreadable(message) from None


def slots_of(cls: type) -> dict[str, Any]:
    """Return the descriptors of a class's slots by name."""
    found = _slots.get(cls)
    if found is None:
        found = {}
        hidden: set[str] = set()
        for owner in cls.__mro__:
            for name, member in vars(owner).items():
                if type(member) is types.MemberDescriptorType and name not in hidden:
                    found[name] = member
            hidden.update(vars(owner))
        _slots[cls] = found
    return found


def is_rebuilt_like(cls: type, base: type) -> bool:
    """Whether instances consist of what `base` makes and of attributes, with nothing customised.

    False for classes that say themselves how to be pickled or that have a finaliser, which would run on
    half-built instances.
    """
    if cls in copyreg.dispatch_table or hasattr(cls, "__del__"):
        return False
    for name in _PROTOCOL_METHODS:
        method = getattr(cls, name, None)
        if method is not getattr(base, name, None) and not _only_copies_state(method):
            return False
    return maker_of(cls) is base


def maker_of(cls: type) -> type:
    """Return the class whose built-in `__new__` makes bare instances of `cls`."""
    for owner in cls.__mro__:
        new = vars(owner).get("__new__")
        if new is not None and not isinstance(new, staticmethod | types.FunctionType):
            return owner
    return object


def _only_copies_state(method: Any) -> bool:
    # Not `__module__`, which attrs sets to the decorated class's.
    home = getattr(method, "__globals__", {}).get("__name__", "")
    return home == "collections" or home.partition(".")[0] in _PLAIN_STATE_MODULES
