from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from examples.repo_audit.measures import (
    Finding,
    FunctionFacts,
    ModuleFacts,
    complexity_of,
    count_todos,
    depth_of,
    find_definitions,
    find_smells,
    measure,
)


def function_of(source: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    function = ast.parse(dedent(source)).body[0]
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    return function


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("return 1", 1),
        ("if a: return 1", 2),
        ("if a: pass\n    elif b: pass\n    else: pass", 3),
        ("return 1 if a else 2", 2),
        ("for x in a: pass\n    while b: pass", 3),
        ("return a and b and c or d", 4),
        ("return [x for x in a if x if b]", 4),
        ("try: pass\n    except A: pass\n    except B: pass\n    else: pass\n    finally: pass", 3),
        ("assert a", 2),
        ("with a: pass", 1),
        ("return lambda: 1 if a else 2", 2),
        ("match a:\n        case 1: pass\n        case 2: pass\n        case _: pass", 3),
        ("match a:\n        case 1: pass\n        case x if x: pass", 3),
        ("match a:\n        case x: pass", 1),
    ],
)
def test_complexity_is_the_number_of_decisions_plus_one(body: str, complexity: int) -> None:
    assert complexity_of(function_of(f"def f():\n    {body}")) == complexity


def test_nested_functions_count_for_themselves() -> None:
    source = """
        def outer():
            if a:
                pass
            def inner():
                if b and c:
                    pass
            class Local:
                def method(self):
                    if d:
                        pass
        """

    found = {
        name: complexity_of(node)
        for name, node in find_definitions(ast.parse(dedent(source)))
        if not isinstance(node, ast.ClassDef)
    }

    assert found == {"outer": 2, "outer.inner": 3, "outer.Local.method": 2}


def test_definitions_come_in_the_order_of_the_source() -> None:
    source = "class A:\n def b(self): pass\n async def c(self): pass\ndef d(): pass\n"

    assert [name for name, _ in find_definitions(ast.parse(source))] == ["A", "A.b", "A.c", "d"]


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        ("return 1", 0),
        ("if a:\n  for x in b:\n   with c: pass", 3),
        ("if a: pass\n elif b: pass\n elif c: pass", 1),
        ("if a: pass\n else:\n  if b: pass\n  x = 1", 2),
        ("def inner():\n  if a:\n   if b: pass", 0),
    ],
)
def test_depth_counts_blocks_inside_one_another(body: str, depth: int) -> None:
    assert depth_of(function_of(f"def f():\n {body}")) == depth


def test_todos_are_counted_in_comments_only() -> None:
    source = b'# TODO: this\nx = "TODO"  # FIXME and XXX\n# a TODOIST\n'

    assert count_todos(source) == 2


def test_todos_before_an_unfinished_end_are_counted() -> None:
    assert count_todos(b"# TODO\nx = (\n") == 1


def test_module_is_measured() -> None:
    source = dedent(
        '''
        """What it is for."""

        class Public:
            def method(self):
                """Say something."""

        def long(a):
            if a:
                return 1  # TODO: think
            return 2

        def _private():
            pass
        '''
    ).encode()

    assert measure("pkg/mod.py", source) == ModuleFacts(
        module="pkg/mod.py",
        lines=14,
        classes=1,
        functions=3,
        complexity=4,
        most_complex=(
            FunctionFacts("long", 8, 4, 2),
            FunctionFacts("Public.method", 5, 2, 1),
            FunctionFacts("_private", 13, 2, 1),
        ),
        longest=(
            FunctionFacts("long", 8, 4, 2),
            FunctionFacts("Public.method", 5, 2, 1),
            FunctionFacts("_private", 13, 2, 1),
        ),
        undocumented=("Public", "long"),
        todos=1,
    )


def test_empty_module_lacks_nothing() -> None:
    assert measure("__init__.py", b"") == ModuleFacts("__init__.py", 0)


def test_module_without_docstring_is_undocumented() -> None:
    assert measure("m.py", b"x = 1\n").undocumented == ("(the module)",)


def test_syntax_error_is_a_finding() -> None:
    facts = measure("broken.py", b"x = 1\ndef f(:\n")

    assert (facts.lines, facts.is_parsed) == (2, False)
    assert facts.problems == ("does not parse: invalid syntax in line 2",)


def test_declared_encoding_is_understood() -> None:
    facts = measure("old.py", "# coding: latin-1\nname = 'Zoë'\n".encode("latin-1"))

    assert (facts.is_parsed, facts.problems) == (True, ())


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("name = 'Zoë'\n".encode("latin-1"), id="undeclared encoding"),
        pytest.param(b"# coding: klingon\n", id="unknown encoding"),
        pytest.param(b"x = 1\0\n", id="zero byte"),
        pytest.param(b"x = " + b"(" * 5000 + b")" * 5000, id="too many parentheses"),
        pytest.param(b"x = " + b"-" * 100_000 + b"1", id="too deep"),
    ],
)
def test_unreadable_source_is_a_finding(source: bytes) -> None:
    facts = measure("odd.py", source)

    assert not facts.is_parsed
    assert len(facts.problems) == 1
    assert facts.problems[0].startswith("does not parse: ")
    assert len(find_smells(source)) == 1


def test_parsers_remark_is_a_finding_and_no_warning() -> None:
    facts = measure("m.py", b'"""Doc."""\nx = "\\d"\n')

    assert facts.is_parsed
    assert len(facts.problems) == 1
    assert facts.problems[0].startswith("line 2: invalid escape sequence")


def test_deep_expression_needs_no_recursion() -> None:
    source = b"x = " + b" + ".join([b"1"] * 2000)

    assert measure("sum.py", source).lines == 1


def test_smells_are_found_in_order() -> None:
    source = dedent(
        """
        def shared(a=[], *, b=dict()):
            try:
                pass
            except:
                pass

        def many(a, b, c, d, e, f, g, h):
            try:
                pass
            except:
                raise

        def deep():
            if a:
                if b:
                    if c:
                        if d:
                            if e:
                                pass
        """
    ).encode()

    assert find_smells(source) == [
        Finding(2, "`shared` has a mutable default argument, which all its calls share"),
        Finding(5, "a bare `except:` also catches Ctrl-C and exits"),
        Finding(8, "`many` takes 8 parameters"),
        Finding(14, "`deep` nests 5 blocks"),
    ]


def test_long_and_complex_functions_smell() -> None:
    lines = [f"    if a == {number}: pass" for number in range(70)]
    source = "\n".join(["def f(a):", *lines]).encode()

    assert find_smells(source) == [
        Finding(1, "`f` has a complexity of 71"),
        Finding(1, "`f` is 71 lines long"),
    ]
