"""The rules of docs/architecture.md that a machine can check, and proof that it does."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "kitaru"
MAX_LINES = 500

GROUND = frozenset(
    {
        "_version",
        "access",
        "errors",
        "ids",
        "clock",
        "model",
        "figures",
        "fleet",
        "statuses",
        "transitions",
        "retry",
        "retention",
        "faults",
        "forking",
        "stopping",
        "code_ref",
    }
)
SERVICES = frozenset({"blobs", "codec", "logs", "schemas", "settings", "settings_rules"})
# An entry covers everything below it; `store.open_store` is one name, `store.contract` one module.
STORE_FROM_OUTSIDE = frozenset({"store.open_store", "store.contract"})
ROOT = frozenset({""})  # `import kitaru`, as users write it

MAY_IMPORT: dict[str, frozenset[str]] = {
    **dict.fromkeys(GROUND, GROUND),
    **dict.fromkeys(SERVICES, GROUND),
    "settings": GROUND | {"settings_rules"},
    "blobs": GROUND | {"wire"},
    "store": GROUND | SERVICES - {"codec"} | {"wire"},
    "reopening": GROUND | {"store.contract"},
    "engine": GROUND | SERVICES | {"store.contract", "reopening"},
    "authoring": GROUND | SERVICES | STORE_FROM_OUTSIDE | {"engine", "events"},
    "events": GROUND | SERVICES | STORE_FROM_OUTSIDE | {"engine", "authoring"},
    "pruning": GROUND | SERVICES | {"store.contract"},
    "stacks": GROUND | SERVICES | {"store", "engine", "authoring", "events"},
    "worker": GROUND
    | SERVICES
    | {"store", "engine", "authoring", "events", "stacks", "deploy", "attendant"},
    "deploy": GROUND | SERVICES | {"store", "engine", "authoring", "events"},
    "attendant": GROUND | SERVICES | {"pruning", "store", "engine", "stacks"},
    "wire": GROUND,
    # Of `client`, the server uses what reads: what it answers has the shapes of the command line.
    "server": GROUND
    | SERVICES
    | {"store", "wire", "attendant", "deploy", "stacks", "client", "reopening"},
    "client": GROUND | SERVICES | STORE_FROM_OUTSIDE | {"pruning", "wire"},
    "__main__": frozenset({"cli"}),
    "cli": GROUND | ROOT | {"settings", "logs", "client"},
    "mcp": GROUND | ROOT | {"settings", "logs", "client"},
    "adapters": ROOT,
}
"""Who may import whom, by the first name below `kitaru`; a room always sees itself."""

MAY_IMPORT_LAZILY: dict[str, frozenset[str]] = {
    "authoring": frozenset({"client", "worker"}),
    "client": frozenset({"worker"}),
    "cli": frozenset({"server", "worker", "attendant"}),
    "mcp": frozenset({"server", "worker"}),
}
"""What a room may import inside a function only."""

UNBOUND = frozenset({"", "testing"})
"""The public names are gathered from everywhere, and the test kit may reach into everything."""

DATABASE_DRIVERS = frozenset({"sqlite3", "psycopg", "psycopg_pool", "aiosql"})
HTTP_LIBRARIES = frozenset(
    {"http", "urllib", "httpx", "requests", "fastapi", "starlette", "uvicorn"}
)
NAMELESS_NAMES = re.compile(r"_?(utils?|common|helpers?|core|managers?|misc)")
SQL_TEXT = re.compile(
    r"\s*(select\s.+\sfrom\s|insert\s+into\s|update\s+\w+\s+set\s|delete\s+from\s|create\s+table\s|pragma\s)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Module:
    """One parsed source file of the package."""

    package: Path
    path: Path
    tree: ast.Module

    @property
    def dotted(self) -> str:
        parts = self.path.relative_to(self.package).with_suffix("").parts
        return ".".join(part for part in parts if part != "__init__")

    @property
    def room(self) -> str:
        return self.dotted.partition(".")[0]

    def at(self, node: ast.AST) -> str:
        return f"{self.path.relative_to(self.package)}:{getattr(node, 'lineno', 1)}"

    def exists(self, dotted: str) -> bool:
        path = self.package.joinpath(*dotted.split("."))
        return path.with_suffix(".py").is_file() or path.is_dir()


@dataclass(frozen=True)
class Import:
    """One imported name: below `kitaru` as `inside`, from elsewhere as `outside`."""

    node: ast.AST
    lazy: bool
    inside: str | None = None
    outside: str = ""


def modules(package: Path) -> Iterator[Module]:
    for path in sorted(package.rglob("*.py")):
        yield Module(package, path, ast.parse(path.read_text(), str(path)))


def imports(module: Module) -> Iterator[Import]:
    yield from _imports(module, module.tree, lazy=False)


def _imports(module: Module, parent: ast.AST, *, lazy: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(parent):
        for name in _imported_names(module, node):
            top, _, rest = name.partition(".")
            if top == "kitaru":
                yield Import(node, lazy, inside=rest)
            else:
                yield Import(node, lazy, outside=top)
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        never = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        yield from _imports(module, node, lazy=lazy or deferred or never)


def _imported_names(module: Module, node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(origin), names=names, level=0):
            is_package = origin.startswith("kitaru.") and (
                module.package.joinpath(*origin.split(".")[1:]).is_dir()
            )
            for alias in names:
                child = f"{origin}.{alias.name}"
                below = child.removeprefix("kitaru.")
                if is_package or (origin == "kitaru" and module.exists(below)):
                    yield child
                else:
                    yield origin
        case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called), args=[first, *_]):
            if called in ("import_module", "__import__") and isinstance(first, ast.Constant):
                yield str(first.value)
        case _:
            pass


def covers(allowed: frozenset[str], name: str) -> bool:
    if name == "":
        return "" in allowed
    return any(name == entry or name.startswith(f"{entry}.") for entry in allowed - {""})


# --- the rules: each yields one line per violation -------------------------------------------


def import_directions(package: Path) -> Iterator[str]:
    for module in modules(package):
        if module.room in UNBOUND:
            continue
        if module.room not in MAY_IMPORT:
            yield f"{module.path.name}: {module.room!r} is in no layer; give it a row in MAY_IMPORT"
            continue
        always = MAY_IMPORT[module.room] | {module.room}
        for imported in imports(module):
            if imported.inside is None or covers(always, imported.inside):
                continue
            if not covers(MAY_IMPORT_LAZILY.get(module.room, frozenset()), imported.inside):
                yield f"{module.at(imported.node)}: imports kitaru.{imported.inside}"
            elif not imported.lazy:
                yield f"{module.at(imported.node)}: imports kitaru.{imported.inside} eagerly"


def ground_needs_only_the_standard_library(package: Path) -> Iterator[str]:
    for module in modules(package):
        for imported in imports(module):
            foreign = imported.outside and imported.outside not in sys.stdlib_module_names
            if module.room in GROUND and foreign:
                yield f"{module.at(imported.node)}: imports {imported.outside}"


def databases_and_sql_stay_in_the_store(package: Path) -> Iterator[str]:
    for module in modules(package):
        if module.room == "store":
            continue
        for imported in imports(module):
            if imported.outside in DATABASE_DRIVERS:
                yield f"{module.at(imported.node)}: imports {imported.outside}"
        for node in ast.walk(module.tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and SQL_TEXT.match(text):
                yield f"{module.at(node)}: SQL outside kitaru.store"
    for path in sorted(package.rglob("*.sql")):
        if path.relative_to(package).parts[0] != "store":
            yield f"{path.relative_to(package)}: SQL outside kitaru.store"


def the_engine_speaks_no_http(package: Path) -> Iterator[str]:
    for module in modules(package):
        for imported in imports(module):
            if module.room == "engine" and imported.outside in HTTP_LIBRARIES:
                yield f"{module.at(imported.node)}: imports {imported.outside}"


def only_settings_read_the_environment(package: Path) -> Iterator[str]:
    words = {"environ", "environb", "getenv", "getenvb"}
    for module in modules(package):
        if module.dotted == "settings":
            continue
        for node in ast.walk(module.tree):
            match node:
                case ast.Attribute(value=ast.Name(id="os"), attr=attribute) if attribute in words:
                    yield f"{module.at(node)}: reads os.{attribute}"
                case ast.ImportFrom(module="os", names=names):
                    for alias in names:
                        if alias.name in words:
                            yield f"{module.at(node)}: reads os.{alias.name}"
                case _:
                    pass


def modules_are_short(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("*.py")):
        lines = len(path.read_text().splitlines())
        if lines > MAX_LINES:
            yield f"{path.relative_to(package)}: {lines} lines, more than {MAX_LINES}"


def modules_are_named_after_their_work(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("*")):
        if path.suffix in ("", ".py") and NAMELESS_NAMES.fullmatch(path.stem):
            yield f"{path.relative_to(package)}: says nothing about what it does"


def nothing_is_written_twice_for_async(package: Path) -> Iterator[str]:
    for module in modules(package):
        for node in ast.walk(module.tree):
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if function and node.name.endswith("_async"):
                yield f"{module.at(node)}: {node.name} is a twin; see docs/decisions/0002"


RULES = [
    import_directions,
    ground_needs_only_the_standard_library,
    databases_and_sql_stay_in_the_store,
    the_engine_speaks_no_http,
    only_settings_read_the_environment,
    modules_are_short,
    modules_are_named_after_their_work,
    nothing_is_written_twice_for_async,
]
Rule = Callable[[Path], Iterator[str]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_source_follows_the_rule(rule: Rule) -> None:
    assert list(rule(PACKAGE)) == []


PLANTED: list[tuple[Rule, str, str, str]] = [
    (import_directions, "store/sqlite.py", "from kitaru.engine import run", "kitaru.engine"),
    (import_directions, "store/sqlite.py", "import kitaru.codec", "kitaru.codec"),
    (import_directions, "store/sqlite.py", "from kitaru import codec", "kitaru.codec"),
    (import_directions, "store/sqlite.py", "def f(): from kitaru.codec import x", "kitaru.codec"),
    (import_directions, "store/a.py", "import_module('kitaru.codec.json')", "kitaru.codec.json"),
    (import_directions, "engine/journal.py", "from kitaru.store.sqlite import Db", "store.sqlite"),
    (import_directions, "engine/journal.py", "from kitaru.store import open_store", "open_store"),
    (import_directions, "engine/journal.py", "import kitaru", "imports kitaru."),
    (import_directions, "authoring/flow.py", "from kitaru.store import sqlite", "store.sqlite"),
    (import_directions, "authoring/flow.py", "from kitaru.worker import claim", "eagerly"),
    (import_directions, "codec/json.py", "from kitaru.settings import Settings", "settings"),
    (import_directions, "cli/main.py", "def f(): from kitaru.engine import run", "kitaru.engine"),
    (import_directions, "client/client.py", "from kitaru.authoring import flow", "authoring"),
    (import_directions, "adapters/a.py", "from kitaru.engine import run", "kitaru.engine"),
    (import_directions, "gateway/a.py", "", "in no layer"),
    (ground_needs_only_the_standard_library, "model.py", "import msgspec", "msgspec"),
    (databases_and_sql_stay_in_the_store, "engine/a.py", "import sqlite3", "sqlite3"),
    (databases_and_sql_stay_in_the_store, "engine/a.py", "Q = 'SELECT a FROM b'", "SQL outside"),
    (databases_and_sql_stay_in_the_store, "engine/a.sql", "", "SQL outside"),
    (the_engine_speaks_no_http, "engine/a.py", "from urllib.request import urlopen", "urllib"),
    (only_settings_read_the_environment, "logs.py", "import os\nos.environ['A']", "os.environ"),
    (only_settings_read_the_environment, "logs.py", "from os import getenv", "os.getenv"),
    (modules_are_short, "engine/a.py", "x = 1\n" * (MAX_LINES + 1), "501 lines"),
    (modules_are_named_after_their_work, "engine/utils.py", "", "engine/utils.py"),
    (modules_are_named_after_their_work, "core/a.py", "", "core"),
    (nothing_is_written_twice_for_async, "a.py", "async def load_async(): ...", "load_async"),
]


@pytest.mark.parametrize(("rule", "path", "source", "expected"), PLANTED)
def test_rule_notices_a_planted_violation(
    tmp_path: Path, rule: Rule, path: str, source: str, expected: str
) -> None:
    for package in ("store", "engine", "codec", "authoring", "worker"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "store" / "sqlite.py").touch()
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(source)

    found = list(rule(tmp_path))

    assert len(found) == 1
    assert expected in found[0]


def test_allowed_imports_are_no_violations(tmp_path: Path) -> None:
    for package in ("store", "engine", "authoring", "codec", "cli"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "store" / "contract.py").touch()
    (tmp_path / "authoring" / "flow.py").write_text(
        dedent(
            """
            import logging
            from kitaru.authoring import handle
            from kitaru.engine.runner import run
            from kitaru.errors import KitaruError
            from kitaru.store import open_store
            from kitaru.store.contract import Store

            def start():
                from kitaru.worker import once
            """
        )
    )
    (tmp_path / "engine" / "journal.py").write_text("from kitaru.store import contract")
    (tmp_path / "cli" / "main.py").write_text("from kitaru import KitaruClient")

    assert list(import_directions(tmp_path)) == []


def test_fault_points_are_struck_where_they_are_listed() -> None:
    from kitaru.faults import FAULT_POINTS

    struck = {
        node.args[0].value
        for module in modules(PACKAGE)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "fault"
        and isinstance(node.args[0], ast.Constant)
    }

    assert struck == set(FAULT_POINTS)
