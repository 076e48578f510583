"""How stored records name code: `package.module:qualname`, or `/path/script.py:qualname` for scripts.

A script runs as the module `__main__`, a name that means something else in every process. Whatever is
stored about it (flows, classes of values) therefore names its file, and a process that continues its
execution loads that file under a module name derived from the path.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Self

from kitaru.errors import KitaruNotFoundError, KitaruUsageError

_SCRIPT_MODULE_PREFIX = "kitaru_script_"


def module_name_of(target: object) -> str:
    """Return the name under which another process finds the module that defines `target`.

    That is the module's name, or the script's absolute path where the module is `__main__` or was
    loaded from a script. An interactive `__main__`, which has no file, stays `__main__`.
    """
    name: str = getattr(target, "__module__", None) or "__main__"
    if name == "__main__" or name.startswith(_SCRIPT_MODULE_PREFIX):
        return _script_path(name) or name
    return name


def _script_path(module_name: str) -> str | None:
    module = sys.modules.get(module_name)
    if module is None:
        return None
    # `python -m package.module` also runs as `__main__`; its spec knows the importable name.
    spec = getattr(module, "__spec__", None)
    if module_name == "__main__" and spec is not None and spec.name != "__main__":
        return str(spec.name)
    file: str | None = getattr(module, "__file__", None)
    return str(Path(file).resolve()) if file else None


def find_module(name: str) -> ModuleType:
    """Return the module that `module_name_of` named; import it if it is not a script.

    Raises:
        KitaruNotFoundError: There is no such module, or the script is not loaded in this process.
        KitaruUsageError: It ends the process instead of being imported.
    """
    if not name.endswith(".py"):
        if name == _script_path("__main__"):
            return sys.modules["__main__"]
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            message = f"module {name!r} cannot be imported: {error}."
            raise KitaruNotFoundError(message) from error
        except SystemExit as error:
            message = _ends_the_process("module", name, error)
            raise KitaruUsageError(message) from error
    if _script_path("__main__") == name:
        return sys.modules["__main__"]
    loaded = sys.modules.get(_script_module_name(name))
    if loaded is None:
        message = (
            f"script {name!r} is not loaded in this process; load it with `load_script` first."
        )
        raise KitaruNotFoundError(message)
    return loaded


_being_loaded: ContextVar[Path | None] = ContextVar("kitaru_script_being_loaded", default=None)


def script_being_loaded() -> Path | None:
    """Return the script whose lines run now for its definitions alone, if one is being loaded."""
    return _being_loaded.get()


@contextmanager
def _loading(file: Path) -> Generator[None]:
    token = _being_loaded.set(file)
    try:
        yield
    finally:
        _being_loaded.reset(token)


def load_script(path: str | Path) -> ModuleType:
    """Load a script as a module, once per process, with its folder on `sys.path` as Python has it.

    Its `if __name__ == "__main__":` part does not run.

    Raises:
        KitaruNotFoundError: There is no such file.
        KitaruUsageError: It ends the process instead of being loaded.
    """
    file = Path(path).resolve()
    if _script_path("__main__") == str(file):
        return sys.modules["__main__"]
    name = _script_module_name(str(file))
    if name in sys.modules:
        return sys.modules[name]
    if not file.is_file():
        message = (
            f"source file {str(file)!r} does not exist. Put it back where the execution was started"
            f" from; nothing that was recorded is lost."
        )
        raise KitaruNotFoundError(message)
    add_import_root(str(file.parent))
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        message = f"source file {str(file)!r} is not a Python script."
        raise KitaruUsageError(message)
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs, so that its own dataclasses and pickles can find their module.
    sys.modules[name] = module
    try:
        with _loading(file):
            spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        del sys.modules[name]
        message = f"script {str(file)!r} cannot be loaded: {error}."
        raise KitaruNotFoundError(message) from error
    except SystemExit as error:
        del sys.modules[name]
        message = _ends_the_process("script", str(file), error)
        raise KitaruUsageError(message) from error
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _ends_the_process(kind: str, name: str, error: SystemExit) -> str:
    # Left as it is, it would end a worker because of one flow of many.
    return (
        f"{kind} {name!r} ends the process while it is imported (exit code {error.code!r})."
        f' Put what only a script does below `if __name__ == "__main__":`.'
    )


def _script_module_name(path: str) -> str:
    digest = blake2b(path.encode(errors="surrogateescape"), digest_size=4).hexdigest()
    stem = "".join(letter if letter.isalnum() else "_" for letter in Path(path).stem)
    return f"{_SCRIPT_MODULE_PREFIX}{stem}_{digest}"


def add_import_root(folder: str) -> None:
    """Put a folder at the front of `sys.path` unless it is there already."""
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)


@dataclass(frozen=True, slots=True)
class CodeRef:
    """Where a flow's function is defined.

    Attributes:
        module: `package.module`, or the absolute path of a script.
        qualname: Dotted name within the module.
    """

    module: str
    qualname: str

    def __str__(self) -> str:
        return f"{self.module}:{self.qualname}"

    @classmethod
    def of(cls, target: object) -> Self:
        """Return the reference of a function or class."""
        return cls(
            module_name_of(target), getattr(target, "__qualname__", type(target).__qualname__)
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `module:qualname` or `path/to/file.py:qualname`; relative paths become absolute.

        Raises:
            KitaruUsageError: The text has another shape.
        """
        module, colon, qualname = text.rpartition(":")
        if not colon or not module or not qualname:
            message = f"expected a target like 'package.module:flow' or 'path/to/file.py:flow', got: {text!r}"
            raise KitaruUsageError(message)
        if module.endswith(".py"):
            module = str(Path(module).resolve())
        return cls(module, qualname)

    def load(self) -> object:
        """Return what the reference names, importing or loading its module if need be.

        Raises:
            KitaruNotFoundError: The module, the script or the name in it does not exist.
        """
        if "<locals>" in self.qualname:
            message = (
                f"{self} is defined inside a function, where no other process can find it."
                f" Move it to the top of its module."
            )
            raise KitaruNotFoundError(message)
        if self.module.endswith(".py"):
            found: object = load_script(self.module)
        else:
            found = find_module(self.module)
        for part in self.qualname.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                message = f"{self.module!r} has no {self.qualname!r}; was it renamed or moved?"
                if self.module == "__main__":
                    message = (
                        f"{self.qualname!r} was defined at a prompt or in a notebook, where no other"
                        f" process can find it. Put it in a file."
                    )
                raise KitaruNotFoundError(message) from None
        return found


def import_root_of(module: str) -> str:
    """Return the folder that must be on `sys.path` for `module` to be importable elsewhere.

    Empty for what Python finds by itself (installed packages). A script's own folder follows from its
    path; what it imports from elsewhere may come from the folder that the process was started in
    (`kitaru run`, `python -m`).
    """
    if module.endswith(".py"):
        here = str(Path.cwd())
        return here if here in sys.path and here != str(Path(module).parent) else ""
    loaded = sys.modules.get(module)
    file: str | None = getattr(loaded, "__file__", None)
    if file is None:
        return ""
    here = Path(file).resolve()
    package = here.parent if here.name == "__init__.py" else here
    root = package.parents[module.count(".")]
    return "" if root.name in {"site-packages", "dist-packages"} else str(root)
