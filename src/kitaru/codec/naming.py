"""Classes and functions by name: `module:qualname`, or `/path/script.py:qualname`.

A name is only given where looking it up gives the very same object back, and a lookup goes through
modules and classes alone, never through attributes that could run code.
"""

from __future__ import annotations

import sys
import types
from types import ModuleType
from typing import Any

from kitaru.code_ref import find_module, module_name_of
from kitaru.codec.tree import Unreadable
from kitaru.errors import KitaruNotFoundError

_scripts: dict[str, ModuleType] = {}


def find_name(target: Any) -> str | None:
    """Return the name of a class or function, or None if no other process could find it by name."""
    qualname: str = target.__qualname__
    if "<" in qualname:
        return None
    home = sys.modules.get(target.__module__ or "")
    if home is None:
        return None
    if find_in(home, qualname) is not target:
        # Such as NoneType, which says that it is a builtin.
        return f"types:{qualname}" if vars(types).get(qualname) is target else None
    module = stable_module_name(target)
    if module == "__main__":  # an interactive session: its classes end with it
        return None
    return f"{module}:{qualname}"


def stable_module_name(target: Any) -> str:
    """Return the name by which every process knows the module of a class or function."""
    home = sys.modules.get(target.__module__ or "")
    if home is None:
        return str(target.__module__)
    # Finding a script's path asks the file system, once per script instead of once per value.
    for path, script in _scripts.items():
        if script is home:
            return path
    name = module_name_of(target)
    if name.endswith(".py"):
        _scripts[name] = home
    return name


def find_in(module: ModuleType, qualname: str) -> Any:
    """Return what a dotted name means in a module, or None."""
    first, *rest = qualname.split(".")
    found: Any = vars(module).get(first)
    if found is None:
        # Packages that load their parts on demand answer for them in a module-level `__getattr__`.
        try:
            found = getattr(module, first, None)
        except ImportError:
            return None
    for part in rest:
        if not isinstance(found, type):
            return None
        found = vars(found).get(part)
    return found.__func__ if type(found) in (staticmethod, classmethod) else found


def load_named(name: str) -> Any:
    """Return the class or function of that name, importing its module if need be.

    Raises:
        Unreadable: There is none, or what goes by the name is something else.
    """
    module_name, colon, qualname = name.rpartition(":")
    if not colon:
        message = f"{name!r} is not the name of a class or function"
        raise Unreadable(message)
    module = sys.modules.get(module_name) or _find_script(module_name)
    if module is None:
        try:
            module = find_module(module_name)
        except KitaruNotFoundError as error:
            message = f"{name!r} cannot be found: {error}"
            raise Unreadable(message) from error
        if module_name.endswith(".py"):
            _scripts[module_name] = module
    found = find_in(module, qualname)
    if found is None:
        message = f"{module_name!r} has no {qualname!r}; was it renamed or moved?"
        raise Unreadable(message)
    return found


def _find_script(path: str) -> ModuleType | None:
    script = _scripts.get(path)
    if script is None or sys.modules.get(script.__name__) is not script:
        return None
    return script
