"""What one module's source tells about it: size, complexity, documentation, smells. Nothing durable."""

from __future__ import annotations

import ast
import io
import re
import threading
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

TOO_COMPLEX = 10  # McCabe's own proposal for when to split a function
TOO_LONG = 60  # lines; about a screen
TOO_DEEP = 4  # blocks inside one another
TOO_MANY_PARAMETERS = 7

_TODO = re.compile(r"\b(TODO|FIXME|XXX)\b")
_MUTABLE_CALLS = {"list", "dict", "set", "bytearray"}
# `warnings.catch_warnings` changes the whole process, and modules are inspected in several threads.
_PARSING = threading.Lock()

Function = ast.FunctionDef | ast.AsyncFunctionDef
_Definition = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_Block = (
    ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """One function: where it is, how long, how complex."""

    name: str
    line: int
    lines: int
    complexity: int


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """One module in numbers.

    Attributes:
        module: Its path below the audited folder.
        complexity: McCabe's number, summed over the functions.
        most_complex: Up to three functions, the most complex first.
        longest: Up to three functions, the longest first.
        undocumented: Public functions and classes, and the module itself, without a docstring.
        problems: Why it could not be parsed, or what the parser had to remark.
        is_parsed: Whether the numbers other than `lines` mean anything.
    """

    module: str
    lines: int
    classes: int = 0
    functions: int = 0
    complexity: int = 0
    most_complex: tuple[FunctionFacts, ...] = ()
    longest: tuple[FunctionFacts, ...] = ()
    undocumented: tuple[str, ...] = ()
    todos: int = 0
    problems: tuple[str, ...] = ()
    is_parsed: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a reader of the code should look at."""

    line: int
    text: str


def measure(module: str, source: bytes) -> ModuleFacts:
    """Return a module's facts; source that does not parse is a finding, not an error."""
    lines = len(source.splitlines())
    try:
        tree, remarks = parse(source)
    except SyntaxError as error:
        return ModuleFacts(module, lines, problems=(_why(error),), is_parsed=False)
    definitions = list(find_definitions(tree))
    functions = [
        facts_of(name, node) for name, node in definitions if not isinstance(node, ast.ClassDef)
    ]
    return ModuleFacts(
        module=module,
        lines=lines,
        classes=len(definitions) - len(functions),
        functions=len(functions),
        complexity=sum(function.complexity for function in functions),
        most_complex=_first_three(functions, key="complexity"),
        longest=_first_three(functions, key="lines"),
        undocumented=tuple(_undocumented(tree, definitions)),
        todos=count_todos(source),
        problems=remarks,
    )


def parse(source: bytes) -> tuple[ast.Module, tuple[str, ...]]:
    """Return the syntax tree and what the parser remarked.

    Bytes go to the parser, not text: it knows about byte order marks and `# coding:` lines.

    Raises:
        SyntaxError: It is not Python, or not in the encoding that it claims, or nested too deeply.
    """
    with _PARSING, warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        try:
            tree = ast.parse(source, filename="<audited>")
        except ValueError as error:  # a zero byte, before Python 3.12
            raise SyntaxError(str(error)) from error
        except (RecursionError, MemoryError) as error:  # MemoryError: the parser's own stack
            message = "it is nested too deeply"
            raise SyntaxError(message) from error
    remarks = [
        f"line {warning.lineno}: {warning.message}"
        for warning in noticed
        if warning.filename == "<audited>"
    ]
    return tree, tuple(remarks)


def find_definitions(tree: ast.Module) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Yield each function and class with its qualified name, in the order of the source."""
    # A stack rather than recursion: machine-made code can be nested deeper than Python recurses.
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        prefix, node = stack.pop()
        if isinstance(node, _Definition):
            prefix = f"{prefix}.{node.name}" if prefix else node.name
            yield prefix, node
        stack.extend((prefix, child) for child in reversed(list(ast.iter_child_nodes(node))))


def facts_of(name: str, function: Function) -> FunctionFacts:
    """Return where a function is, how long and how complex."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    return FunctionFacts(name, function.lineno, lines, complexity_of(function))


def complexity_of(function: Function) -> int:
    """Return McCabe's cyclomatic complexity: the number of decisions, plus one.

    Functions and classes inside count for themselves.
    """
    return 1 + sum(_decisions(node) for node in own_nodes(function))


def own_nodes(function: Function) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body without those of functions and classes inside it."""
    stack: list[ast.AST] = list(function.body)
    while stack:
        node = stack.pop()
        if not isinstance(node, _Definition):
            yield node
            stack.extend(ast.iter_child_nodes(node))


def _decisions(node: ast.AST) -> int:
    match node:
        case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While():
            return 1
        case ast.ExceptHandler() | ast.Assert():
            return 1
        case ast.BoolOp(values=values):
            return len(values) - 1
        case ast.comprehension(ifs=conditions):
            return 1 + len(conditions)
        case ast.match_case(pattern=ast.MatchAs(pattern=None), guard=None):
            return 0  # `case _:` and `case name:` always match
        case ast.match_case():
            return 1
        case _:
            return 0


def depth_of(function: Function) -> int:
    """Return how many blocks are inside one another at the deepest place."""
    deepest = 0
    stack: list[tuple[int, ast.AST]] = [(0, node) for node in function.body]
    while stack:
        depth, node = stack.pop()
        if isinstance(node, _Definition):
            continue
        depth += isinstance(node, _Block)
        deepest = max(deepest, depth)
        for child in ast.iter_child_nodes(node):
            # The parser has `elif` as an `if` in the `else`, but nobody reads it as deeper.
            is_elif = isinstance(node, ast.If) and node.orelse == [child] and _is_if(child)
            stack.append((depth - is_elif, child))
    return deepest


def count_todos(source: bytes) -> int:
    """Return how many comments say TODO, FIXME or XXX."""
    found = 0
    try:
        for token in tokenize.tokenize(io.BytesIO(source).readline):
            found += token.type == tokenize.COMMENT and _TODO.search(token.string) is not None
    except (tokenize.TokenError, SyntaxError):
        pass  # the parser is more lenient at the end of a file; what was counted so far holds
    return found


def find_smells(source: bytes) -> list[Finding]:
    """Return what a reviewer would point at, in the order of the source."""
    try:
        tree, _ = parse(source)
    except SyntaxError as error:
        return [Finding(error.lineno or 1, _why(error))]
    findings: list[Finding] = []
    for name, node in find_definitions(tree):
        if not isinstance(node, ast.ClassDef):
            findings.extend(
                Finding(node.lineno, f"`{name}` {what}") for what in _smells(name, node)
            )
    findings.extend(
        Finding(node.lineno, "a bare `except:` also catches Ctrl-C and exits")
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None and not _raises(node)
    )
    return sorted(findings, key=lambda finding: finding.line)


def _smells(name: str, function: Function) -> Iterator[str]:
    facts = facts_of(name, function)
    if facts.complexity > TOO_COMPLEX:
        yield f"has a complexity of {facts.complexity}"
    if facts.lines > TOO_LONG:
        yield f"is {facts.lines} lines long"
    if (depth := depth_of(function)) > TOO_DEEP:
        yield f"nests {depth} blocks"
    arguments = function.args
    count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
    if count > TOO_MANY_PARAMETERS:
        yield f"takes {count} parameters"
    if any(_is_mutable(default) for default in (*arguments.defaults, *arguments.kw_defaults)):
        yield "has a mutable default argument, which all its calls share"


def _is_mutable(default: ast.expr | None) -> bool:
    match default:
        case ast.List() | ast.Dict() | ast.Set():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in _MUTABLE_CALLS
        case _:
            return False


def _raises(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for node in ast.walk(handler))


def _undocumented(
    tree: ast.Module, definitions: list[tuple[str, Function | ast.ClassDef]]
) -> Iterator[str]:
    if tree.body and ast.get_docstring(tree, clean=False) is None:
        yield "(the module)"
    for name, node in definitions:
        is_public = not any(part.startswith("_") for part in name.split("."))
        if is_public and ast.get_docstring(node, clean=False) is None:
            yield name


def _first_three(functions: list[FunctionFacts], *, key: str) -> tuple[FunctionFacts, ...]:
    ranked = sorted(functions, key=lambda function: (-getattr(function, key), function.line))
    return tuple(ranked[:3])


def _is_if(node: ast.AST) -> bool:
    return isinstance(node, ast.If)


def _why(error: SyntaxError) -> str:
    place = "" if error.lineno is None else f" in line {error.lineno}"
    return f"does not parse: {error.msg}{place}"
